//! Events to sessions: which records belong together, and by what.
//!
//! Keys come before time: a host process within its lifetime, a RunspaceId, a logon id, an
//! ActivityID tie records; time and names only join what no key does, and then the link says so.

mod client;
mod estate;
mod ledger;
mod process;
mod scripts;
mod server;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rayon::prelude::*;

use crate::model::{
    Account, Attempt, Auth, Command, Confidence, EndKind, Event, EventKind, Evidence, Link,
    ScriptBlock, Session, ShellKind, Sides, Str, Transport,
};
use estate::Estate;
use process::Processes;

/// How far apart the ends of one session may log its start, clocks included.
const JOIN_WINDOW: TimeDelta = TimeDelta::seconds(60);
/// How far apart one host logs what belongs to one step.
const STEP_WINDOW: TimeDelta = TimeDelta::seconds(10);

/// All that reconstruction knows, over all hosts.
#[derive(Debug, Default)]
pub struct Case {
    /// Events by time, host, channel, record id and place: what indexes point into.
    pub events: Vec<Event>,
    /// Sessions by start, target and process.
    pub sessions: Vec<Session>,
    /// Commands by time, in the order of their events.
    pub commands: Vec<Command>,
    /// Script blocks by first part.
    pub scripts: Vec<ScriptBlock>,
    /// Failed attempts by time.
    pub attempts: Vec<Attempt>,
    /// The session of each event, if it has one.
    pub session_of: Vec<Option<usize>>,
}

/// A session in the making: what is known of it on each side.
#[derive(Debug, Default)]
struct Draft {
    /// The target's events that tie it together, and how.
    evidence: BTreeMap<usize, Link>,
    /// The logging target; none for a session seen from the client only.
    server: Option<Str>,
    /// Index of the host process in its host's table.
    process: Option<usize>,
    host_ids: Vec<String>,
    runspace_ids: Vec<String>,
    /// WinRM 91.
    shell: Option<usize>,
    /// WinRM 6 and its host.
    client: Option<usize>,
    /// The name the client used for the target.
    client_target: Option<String>,
    https: Option<bool>,
    kind: Option<ShellKind>,
    configuration: String,
    engine_version: String,
    user: Option<Account>,
    user_sid: Option<String>,
    auth: Option<Auth>,
    logon_ids: Vec<u64>,
    /// The best source found, and what it rests on.
    source_host: Option<Str>,
    source_ip: Option<String>,
    source_basis: &'static str,
    /// The source's own logs show it.
    client_seen: bool,
    /// A domain controller's log shows it.
    dc: bool,
    start: Option<DateTime<Utc>>,
    end: Option<(DateTime<Utc>, EndKind)>,
}

impl Draft {
    /// Takes an event as evidence; a key is not weakened by time.
    fn add(&mut self, event: usize, link: Link) {
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

    /// Whether an account can be this session's.
    fn can_be(&self, account: Option<&Account>, sid: Option<&str>) -> bool {
        if let (Some(known), Some(sid)) = (&self.user_sid, sid) {
            return known == sid;
        }
        match (&self.user, account) {
            (Some(known), Some(account)) => known.same_as(account),
            (None, _) | (_, None) => true,
        }
    }
}

/// Whether two times are at most `window` apart.
fn near(a: DateTime<Utc>, b: DateTime<Utc>, window: TimeDelta) -> bool {
    (a - b).abs() <= window
}

/// Rebuilds sessions and what belongs to them from the events of all hosts, in any order.
pub fn reconstruct(mut events: Vec<Event>) -> Case {
    estate::unify_names(&mut events);
    // The order is total, so that no two sorts differ.
    events.par_sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    let by_host = by_host(&events);
    let estate = Estate::learn(&events, by_host.keys());
    let processes: BTreeMap<Str, Processes> = by_host
        .iter()
        .map(|(host, indexes)| (host.clone(), Processes::learn(&events, indexes)))
        .collect();
    let accounts = accounts(&events);
    let mut drafts = Vec::new();
    for (host, indexes) in &by_host {
        drafts.extend(server::sessions(&events, host, indexes, &processes[host], &accounts));
    }
    let (clients, failures) = client::sessions(&events, &by_host);
    client::join(&events, &estate, &mut drafts, clients);
    let mut attempts = client::attempts(&events, &estate, failures);
    // A session without a record that shows it is none.
    drafts.retain(|draft| !draft.evidence.is_empty());
    for draft in &mut drafts {
        source::weigh(&events, &estate, draft);
    }
    drafts.sort_by(|a, b| order(a).cmp(&order(b)));

    let as_logged: BTreeMap<&Str, Str> =
        by_host.iter().map(|(host, at)| (host, events[at[0]].computer.clone())).collect();
    let as_logged = |host: &Str| as_logged.get(host).unwrap_or(host).clone();
    for attempt in &mut attempts {
        attempt.source_host = as_logged(&attempt.source_host);
        attempt.target_host = as_logged(&attempt.target_host);
    }

    let mut case = Case { session_of: vec![None; events.len()], events, ..Case::default() };
    for (index, draft) in drafts.iter().enumerate() {
        for &event in draft.evidence.keys() {
            case.session_of[event].get_or_insert(index);
        }
    }
    case.attempts = attempts;
    case.scripts = scripts::assemble(&case.events, &case.session_of);
    case.commands = ledger::commands(&case.events, &case.session_of, &case.scripts, &processes);
    let finished = drafts.into_iter().map(|draft| {
        let mut session = finish(&case.events, &processes, draft);
        session.source_host = session.source_host.as_ref().map(as_logged);
        session.target_host = as_logged(&session.target_host);
        session
    });
    case.sessions = finished.collect();
    case
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

fn by_host(events: &[Event]) -> BTreeMap<Str, Vec<usize>> {
    let mut by_host: BTreeMap<Str, Vec<usize>> = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        match by_host.get_mut(&event.host) {
            Some(indexes) => indexes.push(index),
            None => {
                by_host.insert(event.host.clone(), vec![index]);
            }
        }
    }
    by_host
}

/// The accounts that logons give a SID; a SID with two names is told by none.
fn accounts(events: &[Event]) -> BTreeMap<String, Account> {
    let mut accounts: BTreeMap<&str, Option<&Account>> = BTreeMap::new();
    for event in events {
        if let EventKind::Logon(logon) = &event.kind
            && let Some(account) = &logon.account
            && logon.sid.starts_with("S-1-5-21-")
        {
            let known = accounts.entry(&logon.sid).or_insert(Some(account));
            if known.is_some_and(|known| !known.same_as(account)) {
                *known = None;
            }
        }
    }
    let told = accounts.into_iter().filter_map(|(sid, a)| Some((sid.to_owned(), a?.clone())));
    told.collect()
}

fn finish(events: &[Event], processes: &BTreeMap<Str, Processes>, draft: Draft) -> Session {
    let start = draft.start();
    let on_target =
        |event: usize| draft.server.as_ref().is_none_or(|host| events[event].host == *host);
    let keyed =
        draft.evidence.iter().filter(|&(&event, &link)| link == Link::Key && on_target(event));
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
    let keyed = draft.process.is_some() || !draft.runspace_ids.is_empty();
    let confidence = match (sides.server, keyed, sides.client) {
        (true, true, true) => Confidence::High,
        (true, true, false) | (true, false, true) => Confidence::Medium,
        (true, false, false) | (false, ..) => Confidence::Low,
    };
    let named = || draft.client_target.as_deref().unwrap_or("").into();
    let evidence = draft.evidence.iter().map(|(&event, &link)| Evidence { event, link });
    Session {
        start,
        end: end.max(start),
        end_kind,
        source_host: draft.source_host,
        source_ip: draft.source_ip,
        source_basis: draft.source_basis,
        target_host: draft.server.clone().unwrap_or_else(named),
        user: draft.user,
        user_sid: draft.user_sid,
        auth: draft.auth.unwrap_or(Auth::Unknown),
        transport: match draft.https {
            Some(true) => Transport::Https,
            Some(false) => Transport::Http,
            None => Transport::Unknown,
        },
        kind: draft.kind.unwrap_or(ShellKind::Other),
        configuration: draft.configuration,
        engine_version: draft.engine_version,
        logon_ids: draft.logon_ids,
        process_id,
        runspace_ids: draft.runspace_ids,
        sides,
        confidence,
        evidence: evidence.collect(),
    }
}

/// The context an event gives of a PowerShell engine.
fn context(event: &Event) -> Option<&crate::model::EngineContext> {
    match &event.kind {
        EventKind::Engine(engine) => Some(&engine.context),
        EventKind::Pipeline(pipeline) => Some(&pipeline.context),
        EventKind::Command(command) | EventKind::CommandError(command) => Some(&command.context),
        _ => None,
    }
}
