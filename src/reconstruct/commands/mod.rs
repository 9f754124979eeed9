//! The commands of each session, in order: a row for each command, with all its records.
//!
//! `activity` joins the records of each engine's process. `list` splits the records by process,
//! adds rows for processes, and finds the row that started each process.

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
