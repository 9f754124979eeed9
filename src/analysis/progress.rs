//! How far a run has come.

/// Receives progress updates of a run, from any thread.
pub trait Progress: Sync {
    /// The run is about to read this many files and bytes.
    fn begin(&self, files: usize, bytes: u64);
    /// So many more bytes are decoded, with so many records in them.
    fn advance(&self, bytes: u64, records: u64);
    /// The files are read; what follows is of this name.
    fn stage(&self, name: &str);
}

/// Ignores all updates.
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: usize, _: u64) {}
    fn advance(&self, _: u64, _: u64) {}
    fn stage(&self, _: &str) {}
}
