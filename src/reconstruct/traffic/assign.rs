//! Assigns conversations to sessions.

use std::collections::{BTreeMap, BTreeSet};

use super::conversation::{PoolConversation, SessionCommand};
use crate::model::{
    EventIdx, EventKind, HostName, Idx, IdxVec, Link, LoggedId, RecordRef, SessionIdx,
};
use crate::reconstruct::draft::{SessionDraft, SessionDrafts, ShellCaller};
use crate::reconstruct::index::{Events, ProcessIdx};
use crate::reconstruct::lookup::LookupTables;
use crate::reconstruct::process::ProcessTable;

/// Most answers about one session's caller that are kept.
const MOST_CALLERS: usize = 4;

/// Finds the session of a conversation by its process and ids.
struct SessionLookup<I> {
    by_process: BTreeMap<(HostName, ProcessIdx), I>,
    /// An id that two sessions have belongs to neither.
    by_id: BTreeMap<LoggedId, Option<I>>,
}

impl<I: Idx> SessionLookup<I> {
    fn build(drafts: &IdxVec<I, SessionDraft>, events: &Events) -> SessionLookup<I> {
        let mut lookup = SessionLookup { by_process: BTreeMap::new(), by_id: BTreeMap::new() };
        for (slot, draft) in drafts.iter_enumerated() {
            if let Some((host, process)) = draft.server.as_ref().zip(draft.process) {
                lookup.by_process.insert((host.clone(), process), slot);
            }
            for &event in draft.evidence.keys() {
                let id = match &events[event].kind {
                    EventKind::ShellCreated(shell) => shell.shell_id.as_ref(),
                    EventKind::ClientRunspace(_) => events[event].activity_id.as_ref(),
                    _ => None,
                };
                if let Some(id) = id {
                    let known = lookup.by_id.entry(id.clone()).or_insert(Some(slot));
                    *known = known.filter(|&known| known == slot);
                }
            }
        }
        lookup
    }

    /// Returns a conversation's session, and the host process if it was found by process.
    fn find(
        &self,
        conversation: &PoolConversation,
        processes: &BTreeMap<HostName, ProcessTable>,
    ) -> Option<(I, Option<ProcessIdx>)> {
        let process = conversation
            .served_by
            .and_then(|id| processes[&conversation.host].process_at(id, conversation.first));
        let served = process.and_then(|process| {
            let slot = *self.by_process.get(&(conversation.host.clone(), process))?;
            Some((slot, Some(process)))
        });
        let named = || conversation.ids.iter().find_map(|id| self.by_id.get(id).copied().flatten());
        served.or_else(|| Some((named()?, None)))
    }
}

/// Adds to drafts the caller from the documents that made their shells. Facts that are still
/// unknown are set; the others are compared later with the rest.
pub(in crate::reconstruct) fn add_callers(
    tables: LookupTables<'_>,
    drafts: &mut SessionDrafts,
    conversations: &[PoolConversation],
) {
    let LookupTables { events, processes, .. } = tables;
    let conversations: Vec<&PoolConversation> = conversations
        .iter()
        .filter(|conversation| !conversation.client.records.is_empty())
        .collect();
    if conversations.is_empty() {
        return;
    }
    let lookup = SessionLookup::build(drafts, events);
    let by_record = by_record(events);
    for conversation in conversations {
        let Some((slot, _)) = lookup.find(conversation, processes) else { continue };
        let draft = &mut drafts[slot];
        let answers =
            conversation.client.records.iter().filter_map(|record| by_record.get(record).copied());
        let answers: Vec<EventIdx> = answers.collect();
        answers.iter().for_each(|&event| draft.add_evidence(event, Link::Pool));
        let to = conversation.client.to.as_deref().unwrap_or_default().to_ascii_lowercase();
        let https = to.starts_with("https:").then_some(true);
        let https = https.or_else(|| to.starts_with("http:").then_some(false));
        draft.https = draft.https.or(https);
        // The answer comes after the request.
        let Some(&event) = answers.last() else { continue };
        let (ip, account) = (conversation.client.ip.clone(), conversation.client.account.clone());
        if draft.user.is_none() {
            draft.user.clone_from(&account);
        }
        if draft.callers.len() < MOST_CALLERS && (ip.is_some() || account.is_some()) {
            draft.callers.push(ShellCaller { event, ip, account });
        }
    }
}

fn by_record(events: &Events) -> BTreeMap<RecordRef, EventIdx> {
    events.iter_enumerated().map(|(index, event)| (event.source, index)).collect()
}

/// Assigns conversations to sessions, and returns the commands of each session.
pub(in crate::reconstruct) fn assign_commands(
    tables: LookupTables<'_>,
    drafts: &mut IdxVec<SessionIdx, SessionDraft>,
    mut conversations: Vec<PoolConversation>,
) -> BTreeMap<SessionIdx, Vec<SessionCommand>> {
    let LookupTables { events, processes, .. } = tables;
    if conversations.is_empty() {
        return BTreeMap::new();
    }
    let lookup = SessionLookup::build(drafts, events);
    let by_record = by_record(events);
    // The target's own log of a pool comes before the client's.
    conversations.sort_by_key(|conversation| conversation.served_by.is_none());
    let mut commands: BTreeMap<SessionIdx, Vec<SessionCommand>> = BTreeMap::new();
    let mut seen: BTreeSet<(SessionIdx, String)> = BTreeSet::new();
    for conversation in conversations {
        let Some((slot, process)) = lookup.find(&conversation, processes) else { continue };
        let mut all_sent = conversation.commands;
        all_sent.sort_by_key(|sent| sent.time);
        let host = match &drafts[slot].server {
            Some(server) => server.clone(),
            None => conversation.host.clone(),
        };
        for sent in all_sent {
            let records = sent.records.iter().filter_map(|record| by_record.get(record).copied());
            let records: Vec<EventIdx> = records.collect();
            records.iter().for_each(|&event| drafts[slot].add_evidence(event, Link::Pool));
            let is_new = sent.output.id.is_empty() || seen.insert((slot, sent.output.id.clone()));
            if is_new && !records.is_empty() {
                let process = process.or(drafts[slot].process);
                let spoken = SessionCommand { sent, host: host.clone(), process, events: records };
                commands.entry(slot).or_default().push(spoken);
            }
        }
    }
    commands
}
