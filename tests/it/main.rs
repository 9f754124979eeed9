//! The program and the library from outside.

mod cli;
mod common;
mod corpus;
mod determinism;
mod inputs;
mod psrp;
mod psrp_hostile;
mod readme;
mod samples;
