//! The outcome of comparing rows with records.

use super::Deviation;

/// What of a folder's rows was compared with records.
#[derive(Debug, Default)]
pub struct Checked {
    /// Rows that name records.
    pub rows: u64,
    /// Records they name, each as often as it is named.
    pub records: u64,
    /// What does not agree.
    pub deviations: Vec<Deviation>,
}
