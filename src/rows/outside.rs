//! Texts of single records that no session has.

use std::collections::BTreeSet;

use crate::model::{EventKind, RecordRef};
use crate::reconstruct::Reconstruction;

/// Tells which texts of single records no session has.
pub(crate) struct OutsideSessions<'c> {
    case: &'c Reconstruction,
    /// Records of processes that are commands of sessions.
    processes: BTreeSet<RecordRef>,
}

impl<'c> OutsideSessions<'c> {
    /// Looks through the commands of a case.
    pub fn new(case: &'c Reconstruction) -> OutsideSessions<'c> {
        let events = case.commands.iter().map(|command| &case.events[command.event()]);
        let processes = events.filter(|event| matches!(event.kind, EventKind::ProcessStart(_)));
        OutsideSessions { case, processes: processes.map(|event| event.source).collect() }
    }

    /// Whether the script block that is one record's is in no session.
    pub fn is_script(&self, source: RecordRef) -> bool {
        self.case.unassigned_scripts.whole.contains(&source)
    }

    /// Whether a record's command line is no command of a session.
    pub fn is_line(&self, source: RecordRef) -> bool {
        !self.processes.contains(&source)
    }
}
