//! Names that rows have in all outputs of a run.

use crate::model::{Command, CommandIdx, IdxVec, SessionIdx, session_id};
use crate::reconstruct::Reconstruction;

/// The ids of commands as outputs write them: their session's and their number in it.
pub(crate) fn command_ids(case: &Reconstruction) -> IdxVec<CommandIdx, String> {
    let mut counts: IdxVec<SessionIdx, usize> = case.sessions.iter().map(|_| 0).collect();
    let id = |command: &Command| {
        let count = &mut counts[command.session];
        *count += 1;
        format!("{}-{count}", session_id(command.session))
    };
    case.commands.iter().map(id).collect()
}
