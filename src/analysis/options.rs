//! The options of a run.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::cancel::CancelToken;
use crate::limits::Limits;
use crate::rows::Scope;

/// The options of a run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Events before this time are left out.
    pub from: Option<DateTime<Utc>>,
    /// Events at or after this time are left out.
    pub to: Option<DateTime<Utc>>,
    /// The folder for data that does not fit in memory. The system's folder for temporary files
    /// when `None`.
    pub scratch: Option<PathBuf>,
    /// Keep the texts of script blocks, for `scripts/`.
    pub scripts: bool,
    /// Ends the reading early.
    pub stop: CancelToken,
    /// Search for records outside of logs: in slack space, in damaged parts, in files that are not
    /// logs. The results are inputs of their own, of
    /// [`InputKind::Recovered`](crate::input::InputKind::Recovered).
    pub recover: bool,
    /// The limits on what input may cost.
    pub limits: Limits,
    /// Read and hash each input a second time at the end.
    pub rehash: bool,
    /// The results that are shown. All logs are still read and all sessions rebuilt.
    pub scope: Scope,
    /// Keep the records of all events, on disk if there are many. Formats that show whole records
    /// need them.
    pub keep_records: bool,
}

impl Options {
    pub(super) fn scratch(&self) -> PathBuf {
        self.scratch.clone().unwrap_or_else(std::env::temp_dir)
    }
}
