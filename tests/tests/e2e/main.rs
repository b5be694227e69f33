//! The real program against a real nats-server, with real components: failures, and the ordinary case.
#![forbid(unsafe_code)]

mod ahead;
mod border;
mod check;
mod crash;
mod dead_letters;
mod dev;
mod direct;
mod drain;
mod fold;
mod gate;
mod hostile;
mod house;
mod languages;
mod load;
mod nats_away;
mod new;
mod order;
mod recording;
mod retries;
mod saga_crash;
mod sagas;
mod scenario;
mod snapshots;
mod stop;
mod store;
mod swap;
mod topology;
mod trial;
mod two_hosts;
mod watch;
