//! The program and the library from outside.

mod cli;
mod common;
mod copies;
mod corpus;
mod correlations;
mod custody;
mod determinism;
mod explain;
mod findings;
mod gaps;
mod hidden;
mod inputs;
mod integrity;
mod layers;
mod packs;
mod psrp;
mod readme;
mod samples;
mod sigma;
mod verify;
