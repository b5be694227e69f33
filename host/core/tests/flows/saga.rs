//! Sagas on ports in memory.

mod counter;
mod life;
mod lead;
mod outcomes;
mod set_aside;
mod storm;
mod timers;
