//! The program and the library from outside.

mod cli;
mod common;
mod corpus;
mod determinism;
mod inputs;
mod psrp;
mod readme;
mod samples;
