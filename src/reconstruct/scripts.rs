//! Script blocks, assembled from the records of their parts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ps_layers::Unwrapper;

use super::hosts::LoggingHosts;
use super::index::{Events, SessionByEvent};
use super::marks::{ScriptMark, TaskMarks};
use crate::model::{
    EventIdx, EventKind, HostIdx, HostName, IdxVec, LoggedId, RecordRef, ScriptBlock, ScriptIdx,
};

/// Script blocks outside sessions, by the places of their parts.
#[derive(Debug, Default)]
pub(crate) struct UnassignedScripts {
    /// Blocks of one part.
    pub whole: BTreeSet<RecordRef>,
    /// Blocks of several parts, or with missing parts: the records of the parts, in order, and the
    /// full name of the logging host, as a host may log under two names.
    pub in_parts: Vec<(Vec<RecordRef>, HostName)>,
}

impl UnassignedScripts {
    /// Finds the blocks that belong to no session.
    pub(super) fn find(
        task_marks: &[TaskMarks],
        hosts: &LoggingHosts,
        events: &Events,
        scripts: &IdxVec<ScriptIdx, ScriptBlock>,
    ) -> UnassignedScripts {
        let known = scripts.iter().flat_map(|script| &script.events);
        let in_sessions: BTreeSet<RecordRef> = known.map(|&event| events[event].source).collect();
        let mut marks: Vec<(HostIdx, &ScriptMark)> =
            hosts.marks_with_host(task_marks, |task| &task.scripts).collect();
        // Each record without an id is a block of its own.
        marks.sort_unstable_by_key(|(host, mark)| {
            let alone = (!mark.id.is_some()).then_some(mark.mark.source);
            (*host, mark.id, alone, mark.number, mark.mark.time, mark.mark.source)
        });
        let mut unassigned = UnassignedScripts::default();
        let one = |a: &(HostIdx, &ScriptMark), b: &(HostIdx, &ScriptMark)| {
            a.0 == b.0 && a.1.id == b.1.id && a.1.id.is_some()
        };
        for block in marks.chunk_by(one) {
            // A copied log may hold a part twice.
            let mut parts: Vec<&ScriptMark> = block.iter().map(|(_, mark)| *mark).collect();
            parts.dedup_by_key(|part| part.number);
            if block.iter().any(|(_, part)| in_sessions.contains(&part.mark.source)) {
                continue;
            }
            match parts[..] {
                [part] if part.whole => {
                    unassigned.whole.insert(part.mark.source);
                }
                _ => {
                    let records = parts.iter().map(|part| part.mark.source).collect();
                    unassigned.in_parts.push((records, hosts.name_at(block[0].0).clone()));
                }
            }
        }
        // Keys cannot give the order: they differ from run to run.
        unassigned.in_parts.sort_unstable();
        unassigned
    }
}

/// Assembles script blocks from the events of their parts, in order of the first part. The text
/// shows where a part is missing.
pub(crate) fn assemble_script_blocks(
    events: &Events,
    session_of: &SessionByEvent,
    unwrapper: &mut Unwrapper,
) -> IdxVec<ScriptIdx, ScriptBlock> {
    // A block's id is unique within an engine, and a copied log may hold a record twice.
    let mut blocks: BTreeMap<(&HostName, &LoggedId), BTreeMap<u32, EventIdx>> = BTreeMap::new();
    let mut alone = Vec::new();
    for (index, event) in events.iter_enumerated() {
        let EventKind::ScriptBlockPart(part) = &event.kind else { continue };
        match &part.id {
            Some(id) => {
                blocks.entry((&event.host, id)).or_default().entry(part.number).or_insert(index);
            }
            None => alone.push(BTreeMap::from([(part.number, index)])),
        }
    }
    let blocks = blocks.into_values().chain(alone);
    let mut scripts: IdxVec<ScriptIdx, ScriptBlock> =
        blocks.map(|parts| assemble_block(events, session_of, &parts, unwrapper)).collect();
    scripts.sort_by_key(|script| script.events.iter().min().copied());
    scripts
}

fn assemble_block(
    events: &Events,
    session_of: &SessionByEvent,
    parts: &BTreeMap<u32, EventIdx>,
    unwrapper: &mut Unwrapper,
) -> ScriptBlock {
    let mut script = ScriptBlock {
        id: None,
        host: "".into(),
        text: String::new(),
        hidden: Arc::default(),
        path: String::new(),
        parts: parts.len() as u32,
        total: 0,
        missing: Vec::new(),
        session: parts.values().find_map(|&event| session_of[event]),
        events: parts.values().copied().collect(),
    };
    let mut next = 1;
    for (&number, &index) in parts {
        let EventKind::ScriptBlockPart(part) = &events[index].kind else { continue };
        mark_missing(&mut script, next, number);
        next = number.saturating_add(1);
        script.text.push_str(&part.text);
        script.id.clone_from(&part.id);
        script.host = events[index].computer.clone();
        script.total = script.total.max(part.total).max(number);
        if script.path.is_empty() {
            script.path.clone_from(&part.path);
        }
    }
    let end = script.total.saturating_add(1);
    mark_missing(&mut script, next, end);
    script.hidden = unwrapper.find_layers(&script.text);
    script
}

/// Marks parts `from` to before `to` as missing, at their place in the text.
fn mark_missing(script: &mut ScriptBlock, from: u32, to: u32) {
    match to.saturating_sub(from) {
        0 => return,
        1 => script.text.push_str(&format!("<# part {from} is missing #>")),
        _ => script.text.push_str(&format!("<# parts {from} to {} are missing #>", to - 1)),
    }
    script.missing.push((from, to - 1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, ScriptBlockPart};
    use crate::normalise::testing::record;

    fn part(number: u32, total: u32, text: &str) -> Event {
        let part = ScriptBlockPart {
            id: LoggedId::parse("a"),
            number,
            total,
            text: text.into(),
            path: String::new(),
            warning: false,
        };
        let record = record("Microsoft-Windows-PowerShell/Operational", 4104, &[]);
        Event::new(&record, "host".into(), EventKind::ScriptBlockPart(Box::new(part)))
    }

    fn text(parts: &[Event]) -> (String, bool) {
        let events = parts.iter().cloned().collect();
        let session_of = parts.iter().map(|_| None).collect();
        let scripts = assemble_script_blocks(&events, &session_of, &mut Unwrapper::default());
        assert_eq!(scripts.len(), 1);
        let first = &scripts[ScriptIdx::new(0)];
        (first.text.clone(), first.complete())
    }

    #[test]
    fn parts_come_in_their_own_order_whatever_the_log_says() {
        let parts = [part(3, 3, "c"), part(1, 3, "a"), part(2, 3, "b"), part(2, 3, "b")];
        assert_eq!(text(&parts), ("abc".into(), true));
    }

    #[test]
    fn holes_show_in_place() {
        assert_eq!(text(&[part(2, 2, "b")]), ("<# part 1 is missing #>b".into(), false));
        assert_eq!(
            text(&[part(1, 5, "a"), part(3, 5, "c")]),
            ("a<# part 2 is missing #>c<# parts 4 to 5 are missing #>".into(), false)
        );
        // A hostile total makes no long text.
        assert!(text(&[part(1, u32::MAX, "a")]).0.len() < 60);
    }
}
