//! Command rows that are not finished, and the place where a command ran.

use super::words::TextWords;
use crate::model::{Command, EventIdx, HostName, IdxVec, Link, SessionIdx, index_types};
use crate::reconstruct::index::ProcessIdx;

/// The place where a command ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunPlace<'e> {
    pub session: SessionIdx,
    pub host: &'e HostName,
    /// Index of the process in its host's table, if known.
    pub process: Option<ProcessIdx>,
    /// How many processes below the remoting host process.
    pub depth: u32,
}

index_types! {
    /// Index of a row, of one engine or of all sessions.
    pub(super) CommandDraftIdx;
}

/// Command rows that are not finished.
pub(super) type CommandDrafts = IdxVec<CommandDraftIdx, CommandDraft>;

/// A command row that is not finished. The index of its parent is not final until all rows are in
/// order.
#[derive(Debug)]
pub(super) struct CommandDraft {
    pub command: Command,
    /// The row that ran this one, and the link between them.
    pub parent: Option<(CommandDraftIdx, Link)>,
    /// The first event.
    pub first: EventIdx,
    pub words: TextWords,
}
