//! Lanes: the paths on which objects are numbered.

use std::sync::Arc;

/// A path on which a sender numbers its objects. Within a lane an ObjectId identifies one object,
/// until the sender connects again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The traffic that one process received, or that it sent.
    Process {
        /// The logging host.
        host: Arc<str>,
        /// The process that logged the traffic.
        process: u32,
        /// Whether the process received it.
        received: bool,
    },
    /// The traffic through a shell in one direction.
    Shell {
        /// The shell's index in [`Conversation::shells`](crate::Conversation::shells).
        shell: usize,
        /// Whether the client sent it.
        to_server: bool,
    },
}

impl Lane {
    /// Returns whether every numbered object passes through the lane. A client numbers what it
    /// sends over all its sessions, so a shell sees only some of its numbers.
    pub(super) fn has_all_objects(&self) -> bool {
        !matches!(self, Lane::Shell { to_server: true, .. })
    }
}
