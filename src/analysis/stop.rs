//! Ending a run early, with what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks a run, from any thread, to read no more. The pieces of logs that are being read are
/// finished, and the run goes on with what was read until then. Clones ask the same run.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for it; whether it was asked for before.
    pub fn ask(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
