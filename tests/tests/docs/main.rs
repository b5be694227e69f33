//! README, `docs/` and the SDK's page: their quotes match the files, and their instructions work.
//!
//! Comments above a fenced block say how it is tested. A block without one fails, so that none is skipped silently:
//!
//! - `from: FILE`: it quotes the file ([`quotes`]).
//! - `file: WORLD/PATH`: it is written there, as the reader is told to.
//! - `run: WORLD`: it is a script, run by bash in the world's folder. `start: WORLD` is one that runs on, a host: the test
//!   waits until it listens, and puts its address in the place of the one that the configuration names.
//! - `gives`: what the script before it printed: JSON of which the last line has at least these members, or lines of
//!   text. `becomes` likewise, for a script that is run until it does.
//! - `config`: appended to the library's configuration, it passes `pelton check`.
//! - `make`: targets of the Makefile.
//! - `picture`: for people alone.
//!
//! A world is a folder of its own for each document: `empty`, or `library` with the components and the configuration of
//! `plugins/library`. `FOLDER` may follow it: `run: empty/lending`.
#![forbid(unsafe_code)]

mod blocks;
mod deploy;
mod http;
mod quotes;
mod session;
mod words;
