//! The order of work: what all logs gave, to a case.

use std::collections::BTreeMap;
use std::time::Instant;

use ps_layers::Unwrapper;
use rayon::prelude::*;

use super::case::Case;
use super::clocks::Clocks;
use super::directory::HostDirectory;
use super::draft::{Draft, Drafts};
use super::finish::finish;
use super::focus::Focus;
use super::gather::{Gathered, Keys};
use super::hosts::{self, Hosts};
use super::index::{Events, SessionOf};
use super::process::{self, Processes};
use super::scripts::{Elsewhere, assemble};
use super::source_index::SourceIndex;
use super::traffic::logs::Logs;
use super::traffic::talk::Talk;
use super::world::World;
use super::{
    accounts, attempts, client, commands, hops, join, reach, server, source, tools, traffic,
};
use crate::model::{
    AccountName, Clearing, Event, EventIdx, Host, HostName, IdxVec, RecordRef, Session, SessionIdx,
};

/// Rebuilds sessions and what belongs to them from what all logs gave, in any order. `logs` reads
/// records again.
pub fn reconstruct(gathered: Vec<Gathered>, keys: &Keys, logs: &impl Logs) -> Case {
    rebuild(gathered, keys, logs, |focus| focus.records())
}

pub(super) fn rebuild(
    mut gathered: Vec<Gathered>,
    keys: &Keys,
    logs: &impl Logs,
    records: impl FnOnce(&Focus<'_>) -> Vec<RecordRef>,
) -> Case {
    let begun = Instant::now();
    let mut events: Events =
        gathered.iter_mut().flat_map(|task| std::mem::take(&mut task.core)).collect();
    let hosts = Hosts::of(&gathered);
    let mut processes = process::processes(&gathered, &hosts);
    let talks = traffic::listen(&gathered, &hosts, logs);
    for talk in &talks {
        if let (Some(host), Some(process)) = (hosts.index_of(&talk.host), talk.served_by) {
            processes[host].carries(process, talk.first, talk.last);
        }
    }
    let accounts = accounts::accounts(&gathered);
    let directory = HostDirectory::learn(&hosts, &gathered);
    let focus = Focus {
        core: &events,
        gathered: &gathered,
        hosts: &hosts,
        processes: &processes,
        directory: &directory,
        accounts: &accounts,
        keys,
    };
    let mut records = records(&focus);
    records.extend(talks.iter().flat_map(Talk::records));
    let (at_hand, to_read) = (events.len(), records.len());
    tracing::debug!(at_hand, to_read, ms = begun.elapsed().as_millis(), "records in focus");
    let mut coverage = commands::Coverage::learn(&gathered, &hosts);
    // There are millions: they make room for the records.
    gathered.iter_mut().for_each(Gathered::forget);
    events.extend(logs.events(records));
    tracing::debug!(ms = begun.elapsed().as_millis(), "records read again");
    for event in &mut events {
        event.host = hosts.name(&event.host).clone();
    }
    // The order is total, so that no two sorts differ.
    events.par_sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    let by_host = hosts::by_host(&events, &hosts);
    processes.par_iter_mut().zip(by_host.as_slice()).for_each(|(processes, indexes)| {
        processes.describe(indexes.iter().map(|&index| &events[index]));
    });
    let processes: BTreeMap<HostName, Processes> = hosts.names().cloned().zip(processes).collect();
    let by_host: BTreeMap<HostName, Vec<EventIdx>> = hosts.names().cloned().zip(by_host).collect();

    let drafts = by_host.par_iter().flat_map_iter(|(host, indexes)| {
        server::sessions(&events, host, indexes, &processes[host], &accounts)
    });
    let mut drafts: Drafts = drafts.collect();
    let (clients, failures) = client::sessions(&events, &by_host);
    let clocks = Clocks::learn(&events, &directory, &drafts, &clients);
    let world = World {
        events: &events,
        hosts: &hosts,
        directory: &directory,
        clocks: &clocks,
        processes: &processes,
        accounts: &accounts,
    };
    join::join(world, &mut drafts, clients);
    let mut attempts = attempts::failed(world, failures);
    let mut drafts = settle(world, drafts, &talks);
    for attempt in &mut attempts {
        attempt.source_host = hosts.as_logged(&attempt.source_host);
        attempt.target_host = hosts.as_logged(&attempt.target_host);
    }

    let heard = traffic::tie(world, &mut drafts, talks);
    let mut session_of: SessionOf = events.iter().map(|_| None).collect();
    for (index, draft) in drafts.iter_enumerated() {
        for &event in draft.evidence.keys() {
            session_of[event].get_or_insert(index);
        }
    }
    let mut scripts = assemble(&events, &session_of, &mut Unwrapper::default());
    scripts.retain(|script| script.session.is_some());
    let elsewhere = Elsewhere::of(&gathered, &hosts, &events, &scripts);
    let commands = commands::of_sessions(world, &session_of, &scripts, &heard);
    events.iter().for_each(|event| coverage.add(event));
    let broken = commands::broken(&scripts, drafts.indices());
    let parents = hops::parents(world, &drafts);
    let finished = drafts.into_iter().zip(parents).zip(broken).map(|((draft, parent), broken)| {
        let server = draft.server.clone();
        let mut session = finish(world, draft, parent);
        session.command_completeness =
            coverage.statement(&events, &session, server.as_ref(), broken);
        session
    });
    let sessions: IdxVec<SessionIdx, Session> = finished.collect();
    attempts::tie_later(&mut attempts, &sessions);
    let host = |name: &HostName| Host {
        full_name: name.clone(),
        name: hosts.as_logged(name),
        addresses: directory.addresses(name),
        clock: clocks.get(name),
    };
    let cleared = gathered.iter().flat_map(|task| &task.cleared);
    let mut cleared: Vec<Clearing> = cleared
        .map(|cleared| Clearing { host: hosts.as_logged(&cleared.host), ..cleared.clone() })
        .collect();
    cleared.sort_by_key(|cleared| (cleared.time, cleared.source));
    let mut case = Case {
        sessions,
        commands,
        scripts,
        elsewhere,
        attempts,
        hosts: hosts.names().map(host).collect(),
        coverage: reach::coverage(gathered.iter().map(|task| &task.reach), |host| {
            hosts.as_logged(host)
        }),
        cleared,
        session_of,
        events,
        ..Case::default()
    };
    tools::identify(&mut case);
    case
}

/// Completes drafts by what is known of them besides, finds where each came from, and puts them in
/// order: from here on they are the sessions, in the sessions' order.
fn settle(world: World<'_>, mut drafts: Drafts, talks: &[Talk]) -> IdxVec<SessionIdx, Draft> {
    // A session without a record that shows it is none.
    drafts.retain(|draft| !draft.evidence.is_empty());
    // Who a client is, its own log says by SID only.
    for draft in drafts.iter_mut().filter(|draft| draft.user.is_none()) {
        draft.user = draft.user_sid.as_ref().and_then(|sid| world.accounts.get(sid)).cloned();
    }
    traffic::introduce(world, &mut drafts, talks);
    let source_index = SourceIndex::of(world);
    drafts.par_iter_mut().for_each(|draft| source::weigh(world, &source_index, draft));
    name_sids(world.accounts, &mut drafts);
    drafts.sort_by(|a, b| order(a).cmp(&order(b)));
    drafts.into_vec().into()
}

/// The total order of events: no output depends on how the work was shared out.
fn key(event: &Event) -> impl Ord + '_ {
    (event.time, &event.host, &event.channel, event.record_id, event.source)
}

fn order(draft: &Draft) -> impl Ord + '_ {
    (
        draft.start(),
        &draft.server,
        &draft.client_target,
        draft.process,
        draft.evidence.keys().next(),
    )
}

/// Gives drafts whose account is known by name only its SID, where logons give it one and no more.
fn name_sids(accounts: &BTreeMap<String, AccountName>, drafts: &mut Drafts) {
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
