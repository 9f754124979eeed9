//! What a run is asked for.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::stop::Stop;
use crate::limits::Limits;
use crate::rows::Scope;

/// What to keep.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Events before this time are left out.
    pub from: Option<DateTime<Utc>>,
    /// Events at or after this time are left out.
    pub to: Option<DateTime<Utc>>,
    /// The folder for what memory shall not hold; the system's own for such things when none.
    pub scratch: Option<PathBuf>,
    /// Keep the texts of script blocks, for `scripts/`.
    pub scripts: bool,
    /// Ends the reading early.
    pub stop: Stop,
    /// Look for records outside of logs: in slack space, in what is damaged, in files that are no
    /// logs. What is found comes as inputs of their own, of [`InputKind::Recovered`](crate::input::InputKind::Recovered).
    pub recover: bool,
    /// What input may cost.
    pub limits: Limits,
    /// Each input is read and hashed a second time when all is done.
    pub rehash: bool,
    /// What results tell of; everything is read and rebuilt all the same.
    pub scope: Scope,
    /// Whether the records of all events are kept, on disk where they are many: formats that show
    /// them whole need it.
    pub keep_records: bool,
}

impl Options {
    pub(super) fn scratch(&self) -> PathBuf {
        self.scratch.clone().unwrap_or_else(std::env::temp_dir)
    }
}
