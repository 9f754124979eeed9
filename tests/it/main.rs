//! The program and the library from outside.

mod bounds;
mod cli;
mod common;
mod copies;
mod corpus;
mod correlations;
mod determinism;
mod explain;
mod faults;
mod findings;
mod gaps;
mod hidden;
mod inputs;
mod layers;
mod packs;
mod psrp;
mod readme;
mod recover;
mod samples;
mod sigma;
