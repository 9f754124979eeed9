//! What was run in each session, in order: one row for each thing, with all its records.
//!
//! `shell` puts the records of each process together; `list` shares them out by process, and gives
//! processes, which are rows of their own, the row that they came from.

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
