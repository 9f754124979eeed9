//! Second hops: sessions that were started from inside another session.

use std::collections::BTreeMap;

use super::process::Processes;
use super::{Draft, STEP_WINDOW};
use crate::model::{Event, EventKind, Link, Str};

/// Sessions on a host that may be a parent: a log full of forged ones costs no more.
const MOST_RIVALS: usize = 64;

/// Of each draft, the one it was started from, and how that is known.
///
/// What the source logged of it (WinRM 6, 4648, its connection) names a process, and a session's
/// process tree there is a key. Without one, a session of the same account on the source that was
/// open at the time is a link by time, if there is no more than one.
pub(super) fn parents(
    events: &[Event],
    drafts: &[Draft],
    processes: &BTreeMap<Str, Processes>,
) -> Vec<Option<(usize, Link)>> {
    let mut by_process: BTreeMap<(&Str, usize), usize> = BTreeMap::new();
    // Drafts are in the order of their starts.
    let mut by_server: BTreeMap<&Str, Vec<usize>> = BTreeMap::new();
    for (slot, draft) in drafts.iter().enumerate() {
        let Some(server) = &draft.server else { continue };
        by_server.entry(server).or_default().push(slot);
        if let Some(process) = draft.process {
            by_process.insert((server, process), slot);
        }
    }
    let by_key = |slot: usize, draft: &Draft| {
        let records = draft.evidence.keys().map(|&index| &events[index]);
        let of_source = records.filter(|event| Some(&event.host) != draft.server.as_ref());
        let mut found = of_source.filter_map(|event| {
            let table = processes.get(&event.host)?;
            let process = match &event.kind {
                EventKind::ExplicitCredentials(used) => table.at(used.process_id, event.time),
                _ => table.of(event),
            };
            let (root, _) = table.remoting_host(process?)?;
            by_process.get(&(&event.host, root)).copied()
        });
        found.find(|&parent| parent != slot).map(|parent| (parent, Link::Process))
    };
    let by_time = |slot: usize, draft: &Draft| {
        let source = draft.source_host.as_ref()?;
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
                && parent.can_be(draft.user.as_ref(), draft.user_sid.as_deref())
        });
        let open: Vec<usize> = open.collect();
        match open[..] {
            [parent] => Some((parent, Link::Account)),
            _ => None,
        }
    };
    let parent = |(slot, draft)| by_key(slot, draft).or_else(|| by_time(slot, draft));
    drafts.iter().enumerate().map(parent).collect()
}
