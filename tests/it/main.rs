//! The program and the library from outside.

mod cli;
mod comfort;
mod common;
mod copies;
mod corpus;
mod correlations;
mod determinism;
mod explain;
mod findings;
mod gaps;
mod hidden;
#[cfg(target_os = "linux")]
mod hostile_names;
mod info;
mod inputs;
mod layers;
mod packs;
mod psrp;
mod readme;
mod samples;
mod scripts;
mod sigma;
mod walk;
