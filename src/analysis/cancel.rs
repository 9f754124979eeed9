//! Cancels a run, which then ends with what it has read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cancels a run from any thread. The pieces of logs that are being read are finished, and the run
/// continues with what was read until then. Clones cancel the same run.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Cancels the run. Returns whether it was already cancelled.
    pub fn cancel(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// Returns whether the run was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
