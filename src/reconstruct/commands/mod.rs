//! What was run in each session, in order: one row for each thing, with all its records.
//!
//! The records of each process are put together in `shell`; here they are shared out by process,
//! and processes, which are rows of their own, get the row that they came from.

mod coverage;
mod engine;
mod heard;
mod list;
mod pipelines;
mod row;
mod shell;
#[cfg(test)]
mod tests;
mod words;

pub(super) use coverage::{Coverage, broken};
pub(super) use list::of_sessions;
