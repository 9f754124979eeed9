//! The program and the library from outside.

mod cli;
mod common;
mod corpus;
mod determinism;
mod explain;
mod inputs;
mod readme;
mod samples;
