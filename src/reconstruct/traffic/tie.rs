//! Conversations and sessions: which is whose.

use std::collections::{BTreeMap, BTreeSet};

use super::talk::{Spoken, Talk};
use crate::model::{
    EventIdx, EventKind, HostName, Idx, IdxVec, Link, LoggedId, RecordRef, SessionIdx,
};
use crate::reconstruct::draft::{Caller, Draft, Drafts};
use crate::reconstruct::index::{Events, ProcessIdx};
use crate::reconstruct::process::Processes;
use crate::reconstruct::world::World;

/// Most answers on one session's caller that are weighed.
const MOST_CALLERS: usize = 4;

/// Finds sessions by what a conversation names.
struct Slots<I> {
    by_process: BTreeMap<(HostName, ProcessIdx), I>,
    /// An id that two sessions have ties to neither.
    by_id: BTreeMap<LoggedId, Option<I>>,
}

impl<I: Idx> Slots<I> {
    fn of(drafts: &IdxVec<I, Draft>, events: &Events) -> Slots<I> {
        let mut slots = Slots { by_process: BTreeMap::new(), by_id: BTreeMap::new() };
        for (slot, draft) in drafts.iter_enumerated() {
            if let Some((host, process)) = draft.server.as_ref().zip(draft.process) {
                slots.by_process.insert((host.clone(), process), slot);
            }
            for &event in draft.evidence.keys() {
                let id = match &events[event].kind {
                    EventKind::ShellCreated(shell) => shell.shell_id.as_ref(),
                    EventKind::ClientRunspace(_) => events[event].activity_id.as_ref(),
                    _ => None,
                };
                if let Some(id) = id {
                    let known = slots.by_id.entry(id.clone()).or_insert(Some(slot));
                    *known = known.filter(|&known| known == slot);
                }
            }
        }
        slots
    }

    /// A conversation's session, and the host process where that told it.
    fn find(
        &self,
        talk: &Talk,
        processes: &BTreeMap<HostName, Processes>,
    ) -> Option<(I, Option<ProcessIdx>)> {
        let process = talk.served_by.and_then(|id| processes[&talk.host].at(id, talk.first));
        let served = process.and_then(|process| {
            let slot = *self.by_process.get(&(talk.host.clone(), process))?;
            Some((slot, Some(process)))
        });
        let named = || talk.ids.iter().find_map(|id| self.by_id.get(id).copied().flatten());
        served.or_else(|| Some((named()?, None)))
    }
}

/// Tells sessions what the documents that made their shells say of the caller: what is not known by
/// other records, is taken; the rest is weighed with them.
pub(in crate::reconstruct) fn introduce(world: World<'_>, drafts: &mut Drafts, talks: &[Talk]) {
    let World { events, processes, .. } = world;
    let talks: Vec<&Talk> = talks.iter().filter(|talk| !talk.asked_by.records.is_empty()).collect();
    if talks.is_empty() {
        return;
    }
    let slots = Slots::of(drafts, events);
    let by_record = by_record(events);
    for talk in talks {
        let Some((slot, _)) = slots.find(talk, processes) else { continue };
        let draft = &mut drafts[slot];
        let told = talk.asked_by.records.iter().filter_map(|record| by_record.get(record).copied());
        let told: Vec<EventIdx> = told.collect();
        told.iter().for_each(|&event| draft.add(event, Link::Pool));
        let to = talk.asked_by.to.as_deref().unwrap_or_default().to_ascii_lowercase();
        let https = to.starts_with("https:").then_some(true);
        let https = https.or_else(|| to.starts_with("http:").then_some(false));
        draft.https = draft.https.or(https);
        // The answer comes after the request.
        let Some(&event) = told.last() else { continue };
        let (ip, account) = (talk.asked_by.ip.clone(), talk.asked_by.account.clone());
        if draft.user.is_none() {
            draft.user.clone_from(&account);
        }
        if draft.callers.len() < MOST_CALLERS && (ip.is_some() || account.is_some()) {
            draft.callers.push(Caller { event, ip, account });
        }
    }
}

fn by_record(events: &Events) -> BTreeMap<RecordRef, EventIdx> {
    events.iter_enumerated().map(|(index, event)| (event.source, index)).collect()
}

/// Ties conversations to sessions; gives each session's commands.
pub(in crate::reconstruct) fn tie(
    world: World<'_>,
    drafts: &mut IdxVec<SessionIdx, Draft>,
    mut talks: Vec<Talk>,
) -> BTreeMap<SessionIdx, Vec<Spoken>> {
    let World { events, processes, .. } = world;
    if talks.is_empty() {
        return BTreeMap::new();
    }
    let slots = Slots::of(drafts, events);
    let by_record = by_record(events);
    // The target's own log of a pool before the client's.
    talks.sort_by_key(|talk| talk.served_by.is_none());
    let mut heard: BTreeMap<SessionIdx, Vec<Spoken>> = BTreeMap::new();
    let mut seen: BTreeSet<(SessionIdx, String)> = BTreeSet::new();
    for talk in talks {
        let Some((slot, process)) = slots.find(&talk, processes) else { continue };
        let mut said = talk.said;
        said.sort_by_key(|said| said.time);
        let host = match &drafts[slot].server {
            Some(server) => server.clone(),
            None => talk.host.clone(),
        };
        for said in said {
            let records = said.records.iter().filter_map(|record| by_record.get(record).copied());
            let records: Vec<EventIdx> = records.collect();
            records.iter().for_each(|&event| drafts[slot].add(event, Link::Pool));
            let is_new = said.heard.id.is_empty() || seen.insert((slot, said.heard.id.clone()));
            if is_new && !records.is_empty() {
                let process = process.or(drafts[slot].process);
                let spoken = Spoken { said, host: host.clone(), process, events: records };
                heard.entry(slot).or_default().push(spoken);
            }
        }
    }
    heard
}
