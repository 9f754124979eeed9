//! Commands in the making, and where they ran.

use super::words::TextWords;
use crate::model::{Command, EventIdx, HostName, IdxVec, Link, SessionIdx, index_types};
use crate::reconstruct::index::ProcessIdx;

/// Where something ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunPlace<'e> {
    pub session: SessionIdx,
    pub host: &'e HostName,
    /// Index of its process in the host's table, when known.
    pub process: Option<ProcessIdx>,
    /// How far below the remoting host process.
    pub depth: u32,
}

index_types! {
    /// Index of a row among those of a shell or of all sessions.
    pub(super) CommandDraftIdx;
}

/// Commands in the making.
pub(super) type CommandDrafts = IdxVec<CommandDraftIdx, CommandDraft>;

/// A command in the making: its own parent is not known before all rows are in order.
#[derive(Debug)]
pub(super) struct CommandDraft {
    pub command: Command,
    /// The row that ran it, and how that is known.
    pub parent: Option<(CommandDraftIdx, Link)>,
    /// Its first event.
    pub first: EventIdx,
    pub words: TextWords,
}
