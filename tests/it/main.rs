//! The program and the library from outside.

mod cli;
mod common;
mod copies;
mod corpus;
mod correlations;
mod determinism;
mod explain;
mod findings;
mod fuzzed;
mod gaps;
mod hidden;
mod inputs;
mod layers;
mod mutation;
mod packs;
mod psrp;
mod readme;
mod samples;
mod sigma;
