//! What was run in each session, in order: one row for each thing, with all its records.
//!
//! `activity` puts the records of each process together; `list` shares them out by process, and gives
//! processes, which are rows of their own, the row that they came from.

mod activity;
mod coverage;
mod draft;
mod engine;
mod list;
mod pipelines;
#[cfg(test)]
mod tests;
mod traffic_rows;
mod words;

pub(super) use coverage::{CommandCoverage, count_incomplete_scripts};
pub(super) use list::session_commands;
