//! Second hops: sessions that were started from inside another session.

use std::collections::BTreeMap;

use super::draft::SessionDraft;
use super::index::ProcessIdx;
use super::lookup::LookupTables;
use super::windows::STEP_WINDOW;
use crate::model::{Event, EventKind, HostName, IdxVec, Link, SessionIdx};

/// Most sessions on a host that are considered as a parent. Keeps a log full of forged records
/// cheap.
const MOST_RIVALS: usize = 64;

/// Returns for each draft the session that it was started from, and the link between them.
///
/// The source's records of the draft (WinRM 6, 4648, its connection) name a process. If the process
/// is in the tree of a session there, this is a key. If the source logged no process, the parent is
/// the only session of the same account that was open there at the time. A process that is in no
/// session's tree belongs to a user at the keyboard.
pub(super) fn parents(
    tables: LookupTables<'_>,
    drafts: &IdxVec<SessionIdx, SessionDraft>,
) -> IdxVec<SessionIdx, Option<(SessionIdx, Link)>> {
    let LookupTables { events, processes, .. } = tables;
    let mut by_process: BTreeMap<(&HostName, ProcessIdx), SessionIdx> = BTreeMap::new();
    // Drafts are in order of their starts.
    let mut by_server: BTreeMap<&HostName, Vec<SessionIdx>> = BTreeMap::new();
    for (slot, draft) in drafts.iter_enumerated() {
        let Some(server) = &draft.server else { continue };
        by_server.entry(server).or_default().push(slot);
        if let Some(process) = draft.process {
            by_process.insert((server, process), slot);
        }
    }
    let of_source = |draft: &SessionDraft| -> Vec<&Event> {
        let records = draft.evidence.keys().map(|&index| &events[index]);
        records.filter(|event| Some(&event.host) != draft.server.as_ref()).collect()
    };
    let by_key = |slot: SessionIdx, draft: &SessionDraft| {
        let found = of_source(draft).into_iter().filter_map(|event| {
            let table = processes.get(&event.host)?;
            let process = match &event.kind {
                EventKind::ExplicitCredentials(used) => {
                    table.process_at(used.process_id, event.time)
                }
                _ => table.process_of_event(event),
            };
            let (root, _) = table.remoting_ancestor(process?)?;
            by_process.get(&(&event.host, root)).copied()
        });
        let mut found = found.filter(|&parent| parent != slot);
        found.next().map(|parent| (parent, Link::Process))
    };
    let by_time = |slot: SessionIdx, draft: &SessionDraft| {
        let source = draft.source_host.as_ref()?;
        let names_process = |event: &&Event| match &event.kind {
            EventKind::ExplicitCredentials(used) => used.process_id != 0,
            EventKind::Connection(connection) => connection.process_id != 0,
            _ => event.process_id.is_some_and(|id| id != 0),
        };
        if of_source(draft).iter().any(|event| event.host == *source && names_process(event)) {
            return None;
        }
        let began = by_server.get(source)?;
        let before = began.partition_point(|&other| drafts[other].start() < draft.start());
        let latest = began[..before].iter().rev().take(MOST_RIVALS).copied();
        let open = latest.filter(|&other| {
            let parent = &drafts[other];
            let end = parent.end.map(|(end, _)| end);
            other != slot
                && end.is_some_and(|end| draft.start() <= end + STEP_WINDOW)
                && parent.user.is_some()
                && draft.user.is_some()
                && parent.may_belong_to(draft.user.as_ref(), draft.user_sid.as_deref())
        });
        let open: Vec<SessionIdx> = open.collect();
        match open[..] {
            [parent] => Some((parent, Link::Account)),
            _ => None,
        }
    };
    let parent = |(slot, draft)| by_key(slot, draft).or_else(|| by_time(slot, draft));
    drafts.iter_enumerated().map(parent).collect()
}
