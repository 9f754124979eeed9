//! The program and the library from outside.

mod cli;
mod common;
mod corpus;
mod correlations;
mod determinism;
mod findings;
mod inputs;
mod packs;
mod readme;
mod samples;
