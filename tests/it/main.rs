//! The program and the library from outside.

mod browser;
mod cli;
mod common;
mod copies;
mod corpus;
mod correlations;
mod determinism;
mod explain;
mod findings;
mod gaps;
mod hidden;
mod inputs;
mod layers;
mod packs;
mod psrp;
mod readme;
mod report;
mod samples;
mod sigma;
