//! The program and the library from outside.

mod cli;
mod common;
mod copies;
mod corpus;
mod determinism;
mod explain;
mod inputs;
mod layers;
mod psrp;
mod readme;
mod samples;
mod sigma;
