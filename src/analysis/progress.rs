//! Progress updates of a run.

/// Receives progress updates of a run, from any thread.
pub trait Progress: Sync {
    /// The run is about to read this many files and bytes.
    fn begin(&self, files: usize, bytes: u64);
    /// This many more bytes and records are decoded.
    fn advance(&self, bytes: u64, records: u64);
    /// All files are read, and the stage of this name begins.
    fn stage(&self, name: &str);
}

/// Ignores all updates.
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: usize, _: u64) {}
    fn advance(&self, _: u64, _: u64) {}
    fn stage(&self, _: &str) {}
}
