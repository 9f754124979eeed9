//! The order of work: from the marks of all logs to the reconstruction.

use std::collections::BTreeMap;
use std::time::Instant;

use ps_layers::Unwrapper;
use rayon::prelude::*;

use super::clocks::HostClocks;
use super::directory::HostDirectory;
use super::draft::{SessionDraft, SessionDrafts};
use super::finish::finish_session;
use super::hosts::{self, LoggingHosts};
use super::index::{Events, SessionByEvent};
use super::lookup::LookupTables;
use super::marks::{KeyHasher, TaskMarks};
use super::process::{self, ProcessTable};
use super::reconstruction::Reconstruction;
use super::record_selector::RecordSelector;
use super::scripts::{UnassignedScripts, assemble_script_blocks};
use super::source_index::SourceIndex;
use super::traffic::conversation::PoolConversation;
use super::traffic::reader::RecordReader;
use super::{
    accounts, attempts, client, commands, hops, join, log_extent, server, source, tools, traffic,
};
use crate::model::{
    AccountName, Clearing, Event, EventIdx, Host, HostName, IdxVec, RecordRef, Session, SessionIdx,
};

/// Rebuilds sessions, and all that belongs to them, from the marks of all logs, in any order.
/// `logs` reads records again.
pub fn reconstruct(
    task_marks: Vec<TaskMarks>,
    keys: &KeyHasher,
    logs: &impl RecordReader,
) -> Reconstruction {
    rebuild_from_records(task_marks, keys, logs, |selector| selector.records())
}

pub(super) fn rebuild_from_records(
    mut task_marks: Vec<TaskMarks>,
    keys: &KeyHasher,
    logs: &impl RecordReader,
    records: impl FnOnce(&RecordSelector<'_>) -> Vec<RecordRef>,
) -> Reconstruction {
    let begun = Instant::now();
    let mut events: Events =
        task_marks.iter_mut().flat_map(|task| std::mem::take(&mut task.remoting_events)).collect();
    let hosts = LoggingHosts::from_marks(&task_marks);
    let mut processes = process::process_tables(&task_marks, &hosts);
    let conversations = traffic::collect_traffic(&task_marks, &hosts, logs);
    for conversation in &conversations {
        if let (Some(host), Some(process)) =
            (hosts.index_of(&conversation.host), conversation.served_by)
        {
            processes[host].extend_engine_life(process, conversation.first, conversation.last);
        }
    }
    let accounts = accounts::accounts_by_sid(&task_marks);
    let directory = HostDirectory::build(&hosts, &task_marks);
    let selector = RecordSelector {
        remoting_events: &events,
        task_marks: &task_marks,
        hosts: &hosts,
        processes: &processes,
        directory: &directory,
        accounts: &accounts,
        keys,
    };
    let mut records = records(&selector);
    records.extend(conversations.iter().flat_map(PoolConversation::records));
    let (at_hand, to_read) = (events.len(), records.len());
    tracing::debug!(at_hand, to_read, ms = begun.elapsed().as_millis(), "records in focus");
    let mut coverage = commands::CommandCoverage::build(&task_marks, &hosts);
    // There are millions of marks. They make room for the records.
    task_marks.iter_mut().for_each(TaskMarks::drop_marks_but_scripts);
    events.extend(logs.events(records));
    tracing::debug!(ms = begun.elapsed().as_millis(), "records read again");
    for event in &mut events {
        event.host = hosts.full_name(&event.host).clone();
    }
    // The order is total, so that two sorts cannot differ.
    events.par_sort_unstable_by(|a, b| event_order(a).cmp(&event_order(b)));
    let by_host = hosts::events_by_host(&events, &hosts);
    processes.par_iter_mut().zip(by_host.as_slice()).for_each(|(processes, indexes)| {
        processes.add_details(indexes.iter().map(|&index| &events[index]));
    });
    let processes: BTreeMap<HostName, ProcessTable> =
        hosts.names().cloned().zip(processes).collect();
    let by_host: BTreeMap<HostName, Vec<EventIdx>> = hosts.names().cloned().zip(by_host).collect();

    let drafts = by_host.par_iter().flat_map_iter(|(host, indexes)| {
        server::target_sessions(&events, host, indexes, &processes[host], &accounts)
    });
    let mut drafts: SessionDrafts = drafts.collect();
    let (clients, failures) = client::client_connections(&events, &by_host);
    let clocks = HostClocks::build(&events, &directory, &drafts, &clients);
    let tables = LookupTables {
        events: &events,
        hosts: &hosts,
        directory: &directory,
        clocks: &clocks,
        processes: &processes,
        accounts: &accounts,
    };
    join::join_clients(tables, &mut drafts, clients);
    let mut attempts = attempts::failed_attempts(tables, failures);
    let mut drafts = complete_drafts(tables, drafts, &conversations);
    for attempt in &mut attempts {
        attempt.source_host = hosts.as_logged(&attempt.source_host);
        attempt.target_host = hosts.as_logged(&attempt.target_host);
    }

    let from_traffic = traffic::assign_commands(tables, &mut drafts, conversations);
    let mut session_of: SessionByEvent = events.iter().map(|_| None).collect();
    for (index, draft) in drafts.iter_enumerated() {
        for &event in draft.evidence.keys() {
            session_of[event].get_or_insert(index);
        }
    }
    let mut scripts = assemble_script_blocks(&events, &session_of, &mut Unwrapper::default());
    scripts.retain(|script| script.session.is_some());
    let unassigned_scripts = UnassignedScripts::find(&task_marks, &hosts, &events, &scripts);
    let commands = commands::session_commands(tables, &session_of, &scripts, &from_traffic);
    events.iter().for_each(|event| coverage.add(event));
    let incomplete = commands::count_incomplete_scripts(&scripts, drafts.indices());
    let parents = hops::parents(tables, &drafts);
    let finished =
        drafts.into_iter().zip(parents).zip(incomplete).map(|((draft, parent), incomplete)| {
            let server = draft.server.clone();
            let mut session = finish_session(tables, draft, parent);
            session.command_completeness =
                coverage.describe(&events, &session, server.as_ref(), incomplete);
            session
        });
    let sessions: IdxVec<SessionIdx, Session> = finished.collect();
    attempts::link_later_sessions(&mut attempts, &sessions);
    let host = |name: &HostName| Host {
        full_name: name.clone(),
        name: hosts.as_logged(name),
        addresses: directory.addresses(name),
        clock: clocks.get(name),
    };
    let cleared = task_marks.iter().flat_map(|task| &task.cleared);
    let mut cleared: Vec<Clearing> = cleared
        .map(|cleared| Clearing { host: hosts.as_logged(&cleared.host), ..cleared.clone() })
        .collect();
    cleared.sort_by_key(|cleared| (cleared.time, cleared.source));
    let mut reconstruction = Reconstruction {
        sessions,
        commands,
        scripts,
        unassigned_scripts,
        attempts,
        hosts: hosts.names().map(host).collect(),
        coverage: log_extent::log_coverage(task_marks.iter().map(|task| &task.extent), |host| {
            hosts.as_logged(host)
        }),
        cleared,
        session_of,
        events,
        ..Reconstruction::default()
    };
    tools::identify_tools(&mut reconstruction);
    reconstruction
}

/// Completes drafts with other facts, finds the source of each, and sorts them. After this they are
/// in the order of the sessions.
fn complete_drafts(
    tables: LookupTables<'_>,
    mut drafts: SessionDrafts,
    conversations: &[PoolConversation],
) -> IdxVec<SessionIdx, SessionDraft> {
    // A draft without a record is not a session.
    drafts.retain(|draft| !draft.evidence.is_empty());
    // A client's own log identifies its user by SID only.
    for draft in drafts.iter_mut().filter(|draft| draft.user.is_none()) {
        draft.user = draft.user_sid.as_ref().and_then(|sid| tables.accounts.get(sid)).cloned();
    }
    traffic::add_callers(tables, &mut drafts, conversations);
    let source_index = SourceIndex::build(tables);
    drafts.par_iter_mut().for_each(|draft| source::assess_source(tables, &source_index, draft));
    add_sids(tables.accounts, &mut drafts);
    drafts.sort_by(|a, b| draft_order(a).cmp(&draft_order(b)));
    drafts.into_vec().into()
}

/// The total order of events. No output depends on how the work was distributed.
fn event_order(event: &Event) -> impl Ord + '_ {
    (event.time, &event.host, &event.channel, event.record_id, event.source)
}

fn draft_order(draft: &SessionDraft) -> impl Ord + '_ {
    (
        draft.start(),
        &draft.server,
        &draft.client_target,
        draft.process,
        draft.evidence.keys().next(),
    )
}

/// Sets the SID of drafts whose account is known by name only, if logons give the name exactly one
/// SID.
fn add_sids(accounts: &BTreeMap<String, AccountName>, drafts: &mut SessionDrafts) {
    let mut by_name: BTreeMap<String, Vec<(&String, &AccountName)>> = BTreeMap::new();
    for (sid, account) in accounts {
        by_name.entry(account.name_key()).or_default().push((sid, account));
    }
    for draft in drafts.iter_mut().filter(|draft| draft.user_sid.is_none()) {
        let Some(user) = &draft.user else { continue };
        let known = by_name.get(&user.name_key()).into_iter().flatten();
        let mut same = known.filter(|(_, account)| account.same_as(user));
        if let (Some((sid, _)), None) = (same.next(), same.next()) {
            draft.user_sid = Some((*sid).clone());
        }
    }
}
