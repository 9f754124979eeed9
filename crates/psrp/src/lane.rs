//! The paths that objects are counted on.

use std::sync::Arc;

/// Who counts objects: within a lane, an ObjectId is an object's for as long as nobody connects
/// again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What one process received, or sent.
    Process {
        /// The logging host.
        host: Arc<str>,
        /// The process that logged it.
        process: u32,
        /// Whether it received it.
        received: bool,
    },
    /// What went through a shell in one direction.
    Shell {
        /// The shell's index in [`Conversation::shells`](crate::Conversation::shells).
        shell: usize,
        /// Whether the client sent it.
        to_server: bool,
    },
}

impl Lane {
    /// Whether all objects that are counted go through it. A client counts what it sends over all
    /// its sessions, so a shell sees some of its numbers only.
    pub(super) fn has_all_objects(&self) -> bool {
        !matches!(self, Lane::Shell { to_server: true, .. })
    }
}
