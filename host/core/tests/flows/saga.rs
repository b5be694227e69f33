//! Sagas on ports in memory.

mod counter;
mod lead;
mod life;
mod outcomes;
mod set_aside;
mod storm;
mod timers;
