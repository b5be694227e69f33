//! README, `docs/` and the SDK's page: what they quote is what is in the files, and what they say to do works.
#![forbid(unsafe_code)]

mod blocks;
mod quotes;
