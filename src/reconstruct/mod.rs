//! Events to sessions: which records belong together, and by what.
//!
//! Keys come before time: a host process within its lifetime, a RunspaceId, a logon id, an
//! ActivityID tie records; time and names only join what no key does, and then the link says so.

mod client;
mod clocks;
mod confidence;
#[cfg(test)]
mod cost_tests;
mod coverage;
mod engines;
mod estate;
#[cfg(test)]
mod finding_tests;
mod focus;
mod gaps;
mod gather;
mod hops;
mod integrity;
mod ledger;
mod pairs;
mod pipes;
mod process;
mod reach;
mod scripts;
mod seen;
mod server;
mod shells;
mod source;
mod starts;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tools;
mod traffic;
mod witnesses;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use ps_layers::Unwrapper;
use rayon::prelude::*;

pub use coverage::Window;
pub use gather::{Gathered, Keys};
pub use integrity::{FileFacts, first_records};
pub use reach::Reach;
pub(crate) use reach::Runs;
#[cfg(feature = "cli")]
pub(crate) use traffic::shown;
pub use traffic::{Logs, Overheard};

pub(crate) use scripts::{Elsewhere, assemble};

use crate::model::{
    Account, Attempt, AttemptIdx, Auth, Clearing, Command, CommandIdx, Coverage, Edge, EndKind,
    EndpointKind, Event, EventIdx, Evidence, Host, HostIdx, HostName, Identity, IdxVec, InputIdx,
    Link, LogGap, LogSign, LoggedId, RecordRef, Rejected, ScriptBlock, ScriptIdx, Session,
    SessionIdx, ShellKind, Sides, SourceBasis, Transport, Weighed, index_types,
};
use clocks::Clocks;
use estate::Estate;
use focus::Focus;
use gather::{Marked, ProcessMark, Spelling, Spellings, spell};
use process::Processes;
use witnesses::Witnesses;

/// How far apart the ends of one session may log its start, clocks included.
const JOIN_WINDOW: TimeDelta = TimeDelta::seconds(60);
/// How far apart the clocks of two hosts may be: Kerberos refuses more (RFC 4120, 8.2, recommends
/// five minutes, which is Windows' default).
const CLOCK_ERROR: TimeDelta = TimeDelta::minutes(5);
/// How far apart one host logs what belongs to one step.
const STEP_WINDOW: TimeDelta = TimeDelta::seconds(10);

/// SIDs of services, LOCAL SERVICE and NETWORK SERVICE: what WinRM runs as, and event forwarding.
const SERVICE_SIDS: [&str; 2] = ["S-1-5-19", "S-1-5-20"];

/// WinRM's ports: HTTP, HTTPS.
const WINRM_PORTS: [u32; 2] = [5985, 5986];

/// The events of a case.
type Events = IdxVec<EventIdx, Event>;
/// Of each event, its session.
type SessionOf = IdxVec<EventIdx, Option<SessionIdx>>;
/// Sessions in the making: of one host, or of all.
type Drafts = IdxVec<DraftIdx, Draft>;

index_types! {
    /// Index of a session in the making, before all of them are in order.
    DraftIdx;
    /// Index of a process in its host's table.
    ProcessIdx;
}

/// All that reconstruction knows, over all hosts.
#[derive(Debug, Default)]
pub struct Case {
    /// The events that may have to do with remoting, by time, host, channel, record id and place:
    /// what indexes point into.
    pub events: IdxVec<EventIdx, Event>,
    /// Sessions by start, target and process.
    pub sessions: IdxVec<SessionIdx, Session>,
    /// Commands by time, in the order of their events.
    pub commands: IdxVec<CommandIdx, Command>,
    /// The sessions' script blocks by first part.
    pub scripts: IdxVec<ScriptIdx, ScriptBlock>,
    /// The script blocks outside sessions.
    pub(crate) elsewhere: Elsewhere,
    /// Failed attempts by time.
    pub attempts: IdxVec<AttemptIdx, Attempt>,
    /// The logging hosts, by name.
    pub hosts: IdxVec<HostIdx, Host>,
    /// How far the logs reach, by host, channel and input.
    pub coverage: Vec<Coverage>,
    /// Where logs were cleared, by time.
    pub cleared: Vec<Clearing>,
    /// Holes in logs that nothing harmless is known to explain, by host, channel and place.
    pub gaps: Vec<LogGap>,
    /// Signs that a log is not as it was written, the weightiest first.
    pub signs: Vec<LogSign>,
    /// The session of each event, if it has one.
    pub session_of: IdxVec<EventIdx, Option<SessionIdx>>,
    /// The part of the time that the run looks at.
    pub(crate) window: Window,
}

impl Case {
    /// Script blocks, in sessions and elsewhere.
    pub fn script_blocks(&self) -> usize {
        self.scripts.len() + self.elsewhere.whole.len() + self.elsewhere.parted.len()
    }

    /// A host's name as its records spell it, by the name that events have of it.
    pub fn name<'n>(&'n self, host: &'n HostName) -> &'n HostName {
        self.host(host).map_or(host, |host| &host.name)
    }

    /// The host that events have this name of.
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        let found = self.hosts.binary_search_by(|known| known.full_name.cmp(name)).ok()?;
        Some(&self.hosts[HostIdx::new(found)])
    }

    /// Judges which records of its sessions are missing and how much of them logs cover, in a run that
    /// looks at a part of the time. The holes that count are to be known.
    pub(crate) fn look_for_missing(&mut self, window: Window) {
        self.window = window;
        let judged = coverage::judge(self, window);
        for (session, (missing, covered)) in self.sessions.iter_mut().zip(judged) {
            (session.missing, session.covered) = (missing, covered);
        }
    }

    /// Says which holes in logs count, in a run that looks at a part of the time. `sound` says of
    /// an input whether it is EVTX of which nothing was lost.
    pub(crate) fn look_for_gaps(&mut self, window: Window, sound: impl Fn(InputIdx) -> bool) {
        self.gaps = gaps::gaps(&self.coverage, &self.sessions, window, sound);
    }

    /// Looks for signs that logs are not as they were written, in a run that looks at a part of the
    /// time. `files` are the inputs', `first` finds the first record that can be read of an input's
    /// chunk.
    pub(crate) fn look_for_signs(
        &mut self,
        window: Window,
        files: &IdxVec<InputIdx, FileFacts<'_>>,
        first: impl Fn(InputIdx, u64) -> Option<Edge>,
    ) {
        self.signs = integrity::signs(self, window, files, first);
    }

    /// The sessions of a host that lie in a span of time, or in part.
    pub(crate) fn sessions_within<'c>(
        &'c self,
        host: &'c HostName,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> impl Iterator<Item = SessionIdx> {
        let sessions = self.sessions.iter_enumerated();
        let inside = move |session: &Session| {
            session.target_host == *host && session.start <= to && session.end >= from
        };
        sessions.filter(move |(_, session)| inside(session)).map(|(index, _)| index)
    }

    /// The records that belong to sessions: which session, and by what.
    pub(crate) fn by_record(&self) -> BTreeMap<RecordRef, (SessionIdx, Link)> {
        let mut by_record = BTreeMap::new();
        for (index, session) in self.sessions.iter_enumerated() {
            for &Evidence { event, link } in &session.evidence {
                if self.session_of[event] == Some(index) {
                    by_record.insert(self.events[event].source, (index, link));
                }
            }
        }
        by_record
    }

    /// The sessions that records belong to.
    pub(crate) fn sessions_of_records(&self) -> BTreeMap<RecordRef, SessionIdx> {
        let records = self.by_record().into_iter();
        records.map(|(record, (session, _))| (record, session)).collect()
    }
}

/// The logging hosts.
pub(crate) struct Hosts {
    /// Their full names as far as known, lower case, in order, and as their records spell them.
    names: IdxVec<HostIdx, (HostName, HostName)>,
    /// Indexes by the names that logs use.
    by_name: BTreeMap<HostName, HostIdx>,
    /// Of each task, the indexes of its hosts.
    of_tasks: Vec<Vec<HostIdx>>,
}

impl Hosts {
    fn of(gathered: &[Gathered]) -> Hosts {
        let all = || gathered.iter().flat_map(|gathered| &gathered.hosts);
        let logged: BTreeSet<&HostName> = all().map(|(host, _)| host).collect();
        let full = estate::full_names(logged.into_iter());
        let name = |host: &HostName| full.get(&**host).copied().unwrap_or(host).clone();
        let mut spelled: BTreeMap<HostName, &Spelling> = BTreeMap::new();
        for (host, spelling) in all() {
            let known = spelled.entry(name(host)).or_insert(spelling);
            *known = (*known).min(spelling);
        }
        let names: IdxVec<HostIdx, (HostName, HostName)> =
            spelled.into_iter().map(|(name, known)| (name, known.computer.clone())).collect();
        let index =
            |host: &HostName| HostIdx::new(names.partition_point(|(known, _)| *known < name(host)));
        let by_name = all().map(|(host, _)| (host.clone(), index(host))).collect();
        let of_task = |task: &Gathered| task.hosts.iter().map(|(host, _)| index(host)).collect();
        let of_tasks = gathered.iter().map(of_task).collect();
        Hosts { names, by_name, of_tasks }
    }

    /// The host that logs under this name.
    fn index_of(&self, name: &str) -> Option<HostIdx> {
        self.by_name.get(name).copied()
    }

    fn names(&self) -> impl Iterator<Item = &HostName> {
        self.names.iter().map(|(name, _)| name)
    }

    /// The full name of a host by its index.
    fn full_name(&self, index: HostIdx) -> &HostName {
        &self.names[index].0
    }

    /// The full name of a host, as far as known.
    fn name<'h>(&'h self, host: &'h HostName) -> &'h HostName {
        self.index_of(host).map_or(host, |index| &self.names[index].0)
    }

    /// A host's name as its records spell it.
    fn as_logged(&self, host: &HostName) -> HostName {
        self.index_of(host).map_or(host, |index| &self.names[index].1).clone()
    }

    /// What all tasks gathered of one kind, each with the index of its host.
    fn each<'g, T: Marked>(
        &'g self,
        gathered: &'g [Gathered],
        kind: fn(&Gathered) -> &Vec<T>,
    ) -> impl Iterator<Item = (HostIdx, &'g T)> {
        gathered.iter().zip(&self.of_tasks).flat_map(move |(task, hosts)| {
            kind(task).iter().map(|found| (hosts[found.mark().host as usize], found))
        })
    }
}

/// A session in the making: what is known of it on each side.
#[derive(Debug, Default)]
struct Draft {
    /// The target's events that tie it together, and how.
    evidence: BTreeMap<EventIdx, Link>,
    /// The logging target; none for a session seen from the client only.
    server: Option<HostName>,
    /// Index of the host process in its host's table.
    process: Option<ProcessIdx>,
    /// When its host process said that its engine listens (53504).
    listens: Option<DateTime<Utc>>,
    host_ids: Vec<LoggedId>,
    runspace_ids: Vec<LoggedId>,
    /// WinRM 91.
    shell: Option<EventIdx>,
    /// WinRM 6 and its host.
    client: Option<EventIdx>,
    /// How far apart client and target log the start, by corrected clocks, where time joined them.
    client_distance: Option<TimeDelta>,
    /// WinRM 6 of other clients that could be its own but for this.
    client_rivals: Vec<(EventIdx, Rejected)>,
    /// One of them, on another host, is as near.
    client_unsure: bool,
    /// The name the client used for the target.
    client_target: Option<String>,
    https: Option<bool>,
    /// It came over SSH.
    ssh: bool,
    kind: Option<ShellKind>,
    configuration: String,
    engine_version: String,
    user: Option<Account>,
    user_sid: Option<String>,
    auth: Option<Auth>,
    logon_ids: Vec<u64>,
    /// The best source found, and what it rests on.
    source_host: Option<HostName>,
    source_ip: Option<String>,
    source_basis: SourceBasis,
    weighed: Weighed,
    /// Who its shell was made for, as the traffic tells.
    callers: Vec<traffic::Caller>,
    /// The source's own logs show it.
    client_seen: bool,
    /// A domain controller's log shows it.
    dc: bool,
    start: Option<DateTime<Utc>>,
    end: Option<(DateTime<Utc>, EndKind)>,
}

impl Draft {
    /// Takes an event as evidence; a key is not weakened by time.
    fn add(&mut self, event: EventIdx, link: Link) {
        let known = self.evidence.entry(event).or_insert(link);
        *known = (*known).min(link);
    }

    /// Takes an earlier start.
    fn begins(&mut self, time: DateTime<Utc>) {
        self.start = Some(self.start.map_or(time, |start| start.min(time)));
    }

    /// Takes an end that is known better, or as well and later.
    fn ends(&mut self, time: DateTime<Utc>, kind: EndKind) {
        self.end = match self.end {
            Some((end, known)) if known < kind || (known == kind && end >= time) => {
                Some((end, known))
            }
            _ => Some((time, kind)),
        };
    }

    fn start(&self) -> DateTime<Utc> {
        self.start.unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// The session's account, as far as known.
    fn identity(&self) -> Identity<'_> {
        Identity { name: self.user.as_ref(), sid: self.user_sid.as_deref() }
    }

    /// Whether an account can be this session's.
    fn can_be(&self, account: Option<&Account>, sid: Option<&str>) -> bool {
        self.identity().same_as(Identity { name: account, sid }).unwrap_or(true)
    }
}

/// Whether two times are at most `window` apart.
fn near(a: DateTime<Utc>, b: DateTime<Utc>, window: TimeDelta) -> bool {
    (a - b).abs() <= window
}

/// Rebuilds sessions and what belongs to them from what all logs gave, in any order. `logs` reads
/// records again.
pub fn reconstruct(gathered: Vec<Gathered>, keys: &Keys, logs: &impl Logs) -> Case {
    rebuild(gathered, keys, logs, |focus| focus.records())
}

fn rebuild(
    mut gathered: Vec<Gathered>,
    keys: &Keys,
    logs: &impl Logs,
    records: impl FnOnce(&Focus<'_>) -> Vec<RecordRef>,
) -> Case {
    let begun = Instant::now();
    let mut events: Events =
        gathered.iter_mut().flat_map(|task| std::mem::take(&mut task.core)).collect();
    let hosts = Hosts::of(&gathered);
    let mut processes = processes(&gathered, &hosts);
    let talks = traffic::listen(&gathered, &hosts, logs);
    for talk in &talks {
        if let (Some(host), Some(process)) = (hosts.index_of(&talk.host), talk.served_by) {
            processes[host].carries(process, talk.first, talk.last);
        }
    }
    let accounts = accounts(&gathered);
    let estate = Estate::learn(&hosts, &gathered);
    let focus = Focus {
        core: &events,
        gathered: &gathered,
        hosts: &hosts,
        processes: &processes,
        estate: &estate,
        accounts: &accounts,
        keys,
    };
    let mut records = records(&focus);
    records.extend(talks.iter().flat_map(traffic::Talk::records));
    let (at_hand, to_read) = (events.len(), records.len());
    tracing::debug!(at_hand, to_read, ms = begun.elapsed().as_millis(), "records in focus");
    let mut coverage = ledger::Coverage::learn(&gathered, &hosts);
    // There are millions: they make room for the records.
    gathered.iter_mut().for_each(Gathered::forget);
    events.extend(logs.events(records));
    tracing::debug!(ms = begun.elapsed().as_millis(), "records read again");
    for event in &mut events {
        event.host = hosts.name(&event.host).clone();
    }
    // The order is total, so that no two sorts differ.
    events.par_sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    let by_host = by_host(&events, &hosts);
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
    let clocks = Clocks::learn(&events, &estate, &drafts, &clients);
    client::join(&events, &estate, &clocks, &mut drafts, clients);
    let mut attempts = client::attempts(&events, &estate, &clocks, failures);
    // A session without a record that shows it is none.
    drafts.retain(|draft| !draft.evidence.is_empty());
    // Who a client is, its own log says by SID only.
    for draft in drafts.iter_mut().filter(|draft| draft.user.is_none()) {
        draft.user = draft.user_sid.as_ref().and_then(|sid| accounts.get(sid)).cloned();
    }
    traffic::introduce(&mut drafts, &talks, &events, &processes);
    let witnesses = Witnesses::of(&events, &estate, &clocks);
    drafts.par_iter_mut().for_each(|draft| {
        source::weigh(&events, &estate, &clocks, &witnesses, draft);
    });
    name_sids(&accounts, &mut drafts);
    drafts.sort_by(|a, b| order(a).cmp(&order(b)));
    // From here on they are the sessions, in the sessions' order.
    let mut drafts: IdxVec<SessionIdx, Draft> = drafts.into_vec().into();
    for attempt in &mut attempts {
        attempt.source_host = hosts.as_logged(&attempt.source_host);
        attempt.target_host = hosts.as_logged(&attempt.target_host);
    }

    let heard = traffic::tie(&mut drafts, talks, &events, &processes);
    let mut case =
        Case { session_of: events.iter().map(|_| None).collect(), events, ..Case::default() };
    for (index, draft) in drafts.iter_enumerated() {
        for &event in draft.evidence.keys() {
            case.session_of[event].get_or_insert(index);
        }
    }
    case.attempts = attempts;
    case.scripts = assemble(&case.events, &case.session_of, &mut Unwrapper::default());
    case.scripts.retain(|script| script.session.is_some());
    case.elsewhere = Elsewhere::of(&gathered, &hosts, &case);
    case.commands =
        ledger::commands(&case.events, &case.session_of, &case.scripts, &processes, &heard);
    case.events.iter().for_each(|event| coverage.add(event));
    let broken = ledger::broken(&case.scripts, drafts.indices());
    let parents = hops::parents(&case.events, &drafts, &processes);
    let finished = drafts.into_iter().zip(parents).zip(broken).map(|((draft, parent), broken)| {
        let server = draft.server.clone();
        let logged_by = draft.server.clone().or_else(|| draft.source_host.clone());
        let mut session = finish(&case.events, &processes, &clocks, draft);
        session.parent = parent;
        session.command_completeness =
            coverage.statement(&case.events, &session, server.as_ref(), broken);
        session.clock = logged_by.and_then(|host| clocks.get(&host));
        session.source_host = session.source_host.as_ref().map(|host| hosts.as_logged(host));
        // A client may name a host by its address or first label.
        let target = estate.resolve(&session.target_host, session.start).cloned();
        session.target_host = target.unwrap_or(session.target_host);
        session.target_host = hosts.as_logged(&session.target_host);
        session
    });
    case.sessions = finished.collect();
    client::tie_later(&mut case.attempts, &case.sessions);
    let host = |name: &HostName| Host {
        full_name: name.clone(),
        name: hosts.as_logged(name),
        addresses: estate.addresses(name),
        clock: clocks.get(name),
    };
    case.hosts = hosts.names().map(host).collect();
    let tools = tools::tools(&case);
    let endpoints = case.sessions.iter().map(|session| tools::endpoint_kind(&case, session));
    let endpoints: Vec<Option<EndpointKind>> = endpoints.collect();
    for ((session, tool), endpoint) in case.sessions.iter_mut().zip(tools).zip(endpoints) {
        session.tool = tool;
        session.endpoint_kind = endpoint;
    }
    case.coverage = reach::coverage(gathered.iter().map(|task| &task.reach), &hosts);
    let cleared = gathered.iter().flat_map(|task| &task.cleared);
    case.cleared = cleared
        .map(|cleared| Clearing { host: hosts.as_logged(&cleared.host), ..cleared.clone() })
        .collect();
    case.cleared.sort_by_key(|cleared| (cleared.time, cleared.source));
    case
}

/// Each host's processes.
fn processes(gathered: &[Gathered], hosts: &Hosts) -> IdxVec<HostIdx, Processes> {
    let mut by_host: IdxVec<HostIdx, Vec<&ProcessMark>> =
        hosts.names().map(|_| Vec::new()).collect();
    for (host, mark) in hosts.each(gathered, |task| &task.processes) {
        by_host[host].push(mark);
    }
    let learn = |mut marks: Vec<&ProcessMark>| {
        marks.sort_unstable_by_key(|mark| (mark.mark.time, mark.mark.source));
        Processes::learn(&marks)
    };
    by_host.into_vec().into_par_iter().map(learn).collect()
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
fn name_sids(accounts: &BTreeMap<String, Account>, drafts: &mut Drafts) {
    let mut by_name: BTreeMap<String, Vec<(&String, &Account)>> = BTreeMap::new();
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

/// The indexes of each host's events.
fn by_host(events: &Events, hosts: &Hosts) -> IdxVec<HostIdx, Vec<EventIdx>> {
    let mut by_host: IdxVec<HostIdx, Vec<EventIdx>> = hosts.names().map(|_| Vec::new()).collect();
    for (index, event) in events.iter_enumerated() {
        if let Some(host) = hosts.index_of(&event.host) {
            by_host[host].push(index);
        }
    }
    by_host
}

/// The accounts that logons give a SID; a SID with two names is told by none.
fn accounts(gathered: &[Gathered]) -> BTreeMap<String, Account> {
    let mut spelled: BTreeMap<&str, Spellings> = BTreeMap::new();
    for (sid, spellings) in gathered.iter().flat_map(|task| &task.accounts) {
        let known = spelled.entry(sid).or_default();
        for (account, (time, source)) in spellings {
            spell(known, *time, *source, account);
        }
    }
    let told = spelled.into_iter().filter_map(|(sid, spellings)| {
        let (first, _) = spellings.iter().min_by_key(|(_, earliest)| **earliest)?;
        let one = spellings.keys().all(|account| first.same_as(account));
        one.then(|| (sid.to_owned(), first.clone()))
    });
    told.collect()
}

fn finish(
    events: &Events,
    processes: &BTreeMap<HostName, Processes>,
    clocks: &Clocks,
    draft: Draft,
) -> Session {
    let start = draft.start();
    let on_target =
        |event: EventIdx| draft.server.as_ref().is_none_or(|host| events[event].host == *host);
    let keyed = draft.evidence.iter().filter(|&(&event, &link)| link.is_key() && on_target(event));
    let last = keyed.map(|(&event, _)| events[event].time).max().unwrap_or(start);
    let (end, end_kind) = match draft.end {
        // What a session's own process and engine say ends it; other ends are guesses that its own
        // records refute when they go on for more than a step.
        Some((end, kind @ (EndKind::EngineStopped | EndKind::ProcessExited))) => (end, kind),
        Some((end, kind)) if end >= last - STEP_WINDOW => (end, kind),
        _ => (last, EndKind::LastEvent),
    };
    let process = draft.server.as_ref().zip(draft.process);
    let process_id = process.map(|(host, index)| processes[host].get(index).id);
    let process_id = process_id.filter(|&id| id != 0);
    let sides = Sides {
        client: draft.client.is_some() || draft.client_seen,
        server: draft.server.is_some(),
        dc: draft.dc,
    };
    let found = process.map(|(host, index)| processes[host].get(index));
    let (confidence, confidence_reasons) =
        confidence::judge(&draft, sides, found, end_kind, clocks);
    let named = || draft.client_target.as_deref().unwrap_or("").into();
    let evidence = draft.evidence.iter().map(|(&event, &link)| Evidence { event, link });
    Session {
        start,
        end: end.max(start),
        end_kind,
        source_host: draft.source_host,
        source_ip: draft.source_ip,
        source_basis: draft.source_basis,
        weighed: draft.weighed,
        target_host: draft.server.clone().unwrap_or_else(named),
        user: draft.user,
        user_sid: draft.user_sid,
        auth: match draft.auth {
            _ if draft.ssh => Auth::Ssh,
            auth => auth.unwrap_or(Auth::Unknown),
        },
        transport: match draft.https {
            _ if draft.ssh => Transport::Ssh,
            Some(true) => Transport::Https,
            Some(false) => Transport::Http,
            None => Transport::Unknown,
        },
        kind: draft.kind.unwrap_or(ShellKind::Other),
        configuration: draft.configuration,
        engine_version: draft.engine_version,
        logon_ids: draft.logon_ids,
        process_id,
        process_life: found.map_or((None, None), |process| (process.start, process.end)),
        runspace_ids: draft.runspace_ids,
        parent: None,
        clock: None,
        sides,
        confidence,
        confidence_reasons,
        tool: None,
        endpoint_kind: None,
        missing: Vec::new(),
        covered: Vec::new(),
        evidence: evidence.collect(),
        command_completeness: String::new(),
    }
}
