//! The program and the library from outside.

mod cli;
mod common;
mod copies;
mod corpus;
mod correlations;
mod determinism;
mod explain;
mod findings;
mod formats;
mod gaps;
mod hidden;
mod inputs;
mod layers;
mod packs;
mod psrp;
mod readme;
mod samples;
mod sigma;
