//! The client's side: what its WinRM log tried, joined to the target's sessions by names and time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rayon::prelude::*;

use super::clocks::Clocks;
use super::estate::Estate;
use super::{CLOCK_ERROR, Draft, DraftIdx, Drafts, Events, JOIN_WINDOW, STEP_WINDOW, near};
use crate::model::{
    Account, Attempt, AttemptIdx, EndKind, Event, EventIdx, EventKind, FailureReason, HostName,
    Identity, Idx, IdxVec, Link, LoggedId, Rejected, Session, SessionIdx, ShellKind, Sides,
    creates_shell, host_key, index_types, is_address, same_host,
};

/// Sessions of one name that one client may be weighed against, before it and after: a log full of
/// forged ones costs no more.
const MOST_RIVALS: usize = 64;

/// How far apart hosts whose clocks are compared log one moment.
const SAME_MOMENT: TimeDelta = TimeDelta::seconds(3);
/// Clients besides its own that a session keeps.
const MOST_KEPT: usize = 8;

/// How much farther in time another host's client must be, for the nearer one to be surely the
/// session's: what the network and the target need for one step, more or less.
const UNSURE: TimeDelta = TimeDelta::seconds(2);

/// How long a client may be silent before its process id may be another's.
const IDLE: TimeDelta = TimeDelta::minutes(30);

index_types! {
    /// Index of a client, of one host's or of all that may have a session.
    pub(super) ClientIdx;
}

/// What clients tried.
pub(super) type Clients = IdxVec<ClientIdx, Client>;

/// WinRM 6 and what its process logged after it.
pub(super) struct Client {
    host: HostName,
    /// WinRM 6.
    event: EventIdx,
    time: DateTime<Utc>,
    target: String,
    https: Option<bool>,
    /// The session configuration it asked for; empty when not logged.
    configuration: String,
    /// PowerShell names its version in the connection string; winrs and CIM do not.
    powershell: bool,
    user_sid: Option<String>,
    /// The account of explicit credentials (4648).
    account: Option<Account>,
    evidence: BTreeMap<EventIdx, Link>,
    /// WinRM 11: it asked for a shell.
    asked: bool,
    /// WinRM 13: it ran a command in it.
    ran: bool,
    failures: Vec<EventIdx>,
    closed: Option<DateTime<Utc>>,
    /// Its latest record.
    last: DateTime<Utc>,
}

/// All clients: those that may have a session, and those that failed to get one.
pub(super) fn sessions(
    events: &Events,
    by_host: &BTreeMap<HostName, Vec<EventIdx>>,
) -> (Clients, Clients) {
    let all = by_host.par_iter().flat_map_iter(|(host, indexes)| on_host(events, host, indexes));
    let all: Vec<Client> = all.collect();
    all.into_iter().partition(|client| client.ran || client.failures.is_empty())
}

fn on_host(events: &Events, host: &HostName, indexes: &[EventIdx]) -> Clients {
    let mut clients = Clients::new();
    let mut owners = Owners::default();
    let mut credentials = Vec::new();
    for &index in indexes {
        let event = &events[index];
        match &event.kind {
            EventKind::ClientSession(session) => {
                let sid = event.user_sid.as_deref();
                let connection = session.connection.to_lowercase();
                if connection.contains("/subscriptionmanager/") {
                    continue;
                }
                let client = clients.push(Client {
                    host: host.clone(),
                    event: index,
                    time: event.time,
                    target: session.target.clone(),
                    https: session.https,
                    configuration: String::new(),
                    powershell: connection.contains("psversion="),
                    user_sid: sid.map(str::to_owned),
                    account: None,
                    evidence: BTreeMap::from([(index, Link::Own)]),
                    asked: false,
                    ran: false,
                    failures: Vec::new(),
                    closed: None,
                    last: event.time,
                });
                owners.add(event, client);
            }
            EventKind::ClientStep(_)
            | EventKind::ClientFailure(_)
            | EventKind::ClientRunspace(_) => {
                let Some((client, link)) = owners.of(&mut clients, event) else { continue };
                client.evidence.insert(index, link);
                if let EventKind::ClientStep(step) = &event.kind
                    && client.configuration.is_empty()
                    && let Some(uri) = &step.resource_uri
                {
                    ShellKind::of(uri).1.clone_into(&mut client.configuration);
                }
                match (&event.kind, event.event_id) {
                    (EventKind::ClientFailure(failure), _) => {
                        // Only the way into the session: a later operation may fail in it.
                        if failure.operation.as_deref().is_none_or(creates_shell) {
                            client.failures.push(index);
                        }
                    }
                    // To ask again after a failure is to try another way in.
                    (EventKind::ClientStep(step), _) if step.asks_shell => {
                        client.asked = true;
                        client.failures.clear();
                    }
                    (EventKind::ClientStep(_), 13) => client.ran = true,
                    // Session, shell closing or closed.
                    (EventKind::ClientStep(_), 8 | 16 | 33) => client.closed = Some(event.time),
                    _ => {}
                }
            }
            EventKind::ExplicitCredentials(_) => credentials.push(index),
            _ => {}
        }
    }
    for index in credentials {
        let event = &events[index];
        let EventKind::ExplicitCredentials(used) = &event.kind else { continue };
        let (class, service) = used.target_info.split_once('/').unwrap_or(("", &used.target));
        let http = class.eq_ignore_ascii_case("http");
        // Clients are in order of time.
        let from = clients.partition_point(|client| client.time < event.time - STEP_WINDOW);
        let to = clients.partition_point(|client| client.time <= event.time + STEP_WINDOW);
        let candidates =
            clients.as_mut_slice()[from..to].iter_mut().take(MOST_RIVALS).filter(|client| {
                let own = events[client.event].process_id == Some(used.process_id);
                // An address cannot be compared with the name that the credentials were used for.
                let by_address = own && http && is_address(&client.target);
                let named =
                    same_host(&client.target, service) || same_host(&client.target, &used.target);
                (http || own) && (named || by_address)
            });
        if let Some(client) = candidates.min_by_key(|client| (client.time - event.time).abs()) {
            let own = events[client.event].process_id == Some(used.process_id);
            client.evidence.insert(index, if own { Link::Process } else { Link::Target });
            if client.account.is_none() {
                client.account.clone_from(&used.account);
            }
        }
    }
    clients
}

/// Whose a client's later records are: by ActivityID, else the latest client of their process.
#[derive(Default)]
struct Owners<'e> {
    by_activity: BTreeMap<&'e LoggedId, ClientIdx>,
    by_process: BTreeMap<(u32, Option<&'e str>), ClientIdx>,
}

impl<'e> Owners<'e> {
    /// Takes a client's first record.
    fn add(&mut self, event: &'e Event, client: ClientIdx) {
        if let Some(activity) = &event.activity_id {
            self.by_activity.insert(activity, client);
        }
        if let Some(process) = process_of(event) {
            self.by_process.insert(process, client);
        }
    }

    /// The client that an event belongs to, and by what.
    fn of<'c>(&self, clients: &'c mut Clients, event: &Event) -> Option<(&'c mut Client, Link)> {
        let activity = event.activity_id.as_ref();
        let by_activity = activity.and_then(|activity| self.by_activity.get(activity)).copied();
        let by_process = || {
            let latest = *self.by_process.get(&process_of(event)?)?;
            (event.time - clients[latest].last <= IDLE).then_some(latest)
        };
        let (slot, link) = match by_activity {
            Some(slot) => (slot, Link::Activity),
            None => (by_process()?, Link::Process),
        };
        let client = &mut clients[slot];
        client.last = event.time;
        Some((client, link))
    }
}

/// The process that logged an event, and who runs it.
pub(super) fn process_of(event: &Event) -> Option<(u32, Option<&str>)> {
    let id = event.process_id.filter(|&id| id != 0)?;
    Some((id, event.user_sid.as_deref()))
}

/// Joins clients to the drafts of their targets, nearest in time first; a client with a session of
/// its own but no such draft becomes a draft seen from its side only.
pub(super) fn join(
    events: &Events,
    estate: &Estate,
    clocks: &Clocks,
    drafts: &mut Drafts,
    clients: Clients,
) {
    let candidates = Candidates::of(events, estate, clocks, drafts);
    let mut pairs = Vec::new();
    // Pairs that only clocks far apart would explain, and that nothing but time speaks against.
    let mut far = Vec::new();
    for (c, client) in clients.iter_enumerated() {
        let asked = clocks.correct(&client.host, client.time);
        for d in candidates.of_client(estate, client, asked) {
            let draft = &drafts[d];
            let Some(server) = draft.server.as_ref() else { continue };
            let Some(tie) = tie(events, estate, client, draft) else { continue };
            let started = clocks.correct(server, draft.start());
            let known = clocks.know(&client.host, server);
            let window = if known { STEP_WINDOW } else { JOIN_WINDOW };
            let closed = client.closed.map(|closed| clocks.correct(&client.host, closed));
            let distance = (started - asked).abs();
            let other_account = !draft.can_be(client.account.as_ref(), client.sid());
            // Credentials that the client's log does not show can be anybody's: then only the time
            // speaks for them, and that must be known well.
            let unlikely = client.is_another(draft) && !(known && distance <= SAME_MOMENT);
            if unlikely {
                continue;
            }
            if distance <= window && closed.is_none_or(|closed| closed >= started - window) {
                pairs.push((other_account, tie, distance, c, d));
            } else if !known && tie == Tie::Name && client.has_account_of(draft) {
                far.push((c, d));
            }
        }
    }
    let mut pairs = without_guesses(&clients, drafts, pairs);
    pairs.sort_unstable();
    let mut joined: IdxVec<ClientIdx, bool> = clients.iter().map(|_| false).collect();
    for &(_, _, distance, c, d) in &pairs {
        if !joined[c] && drafts[d].client.is_none() {
            joined[c] = true;
            drafts[d].client_distance = Some(distance);
            take(&mut drafts[d], &clients[c]);
        }
    }
    for &(other_account, _, distance, c, d) in &pairs {
        let (client, draft) = (&clients[c], &mut drafts[d]);
        let Some(nearest) = draft.client_distance.filter(|_| draft.client != Some(client.event))
        else {
            continue;
        };
        let elsewhere = draft.source_host.as_ref() != Some(&client.host);
        let as_near = (distance - nearest).abs() < UNSURE;
        draft.client_unsure |= elsewhere && as_near && !other_account;
        if draft.client_rivals.len() < MOST_KEPT {
            let rejected = match (other_account, joined[c]) {
                (true, _) => Rejected::OtherAccount,
                (false, true) => Rejected::OtherSession,
                (false, false) => Rejected::Farther(distance - nearest),
            };
            draft.client_rivals.push((client.event, rejected));
        }
    }
    far.retain(|&(c, d)| !joined[c] && drafts[d].client.is_none());
    let mut of_client: BTreeMap<ClientIdx, usize> = BTreeMap::new();
    let mut of_draft: BTreeMap<DraftIdx, usize> = BTreeMap::new();
    for &(c, d) in &far {
        *of_client.entry(c).or_default() += 1;
        *of_draft.entry(d).or_default() += 1;
    }
    for (c, d) in far {
        if of_client[&c] == 1 && of_draft[&d] == 1 {
            joined[c] = true;
            take(&mut drafts[d], &clients[c]);
        }
    }
    for (client, _) in clients.iter().zip(joined).filter(|(_, joined)| !joined) {
        if client.powershell || client.asked {
            let mut draft = Draft {
                kind: Some(if client.powershell {
                    ShellKind::PowerShell
                } else {
                    ShellKind::Winrs
                }),
                user: client.account.clone(),
                user_sid: client.sid().map(str::to_owned),
                client_target: Some(client.target.clone()),
                ..Draft::default()
            };
            take(&mut draft, client);
            drafts.push(draft);
        }
    }
}

impl Client {
    pub fn host(&self) -> &HostName {
        &self.host
    }

    pub fn target(&self) -> &str {
        &self.target
    }

    pub fn time(&self) -> DateTime<Utc> {
        self.time
    }

    /// Index of its WinRM 6.
    pub fn event(&self) -> EventIdx {
        self.event
    }

    /// When it closed its session.
    pub fn closed(&self) -> Option<DateTime<Utc>> {
        self.closed
    }

    /// Whether a session can be this client's by what it is and whose.
    pub fn may_have(&self, draft: &Draft) -> bool {
        self.may_make(draft) && !self.is_another(draft)
    }

    /// Whether a session is another account's than the one that ran this client.
    fn is_another(&self, draft: &Draft) -> bool {
        self.sid().zip(draft.user_sid.as_deref()).is_some_and(|(own, theirs)| own != theirs)
    }

    /// Whether a session can be this client's by what it is.
    fn may_make(&self, draft: &Draft) -> bool {
        let kind = match draft.kind {
            Some(ShellKind::PowerShell) => self.powershell,
            Some(ShellKind::Winrs) => !self.powershell,
            Some(ShellKind::Other) | None => true,
        };
        kind && !draft.ssh
    }

    /// Whether a session is known to be of the account that this client used.
    fn has_account_of(&self, draft: &Draft) -> bool {
        let own = Identity { name: self.account.as_ref(), sid: self.sid() };
        own.same_as(draft.identity()) == Some(true)
    }

    /// The SID the session runs as, where the client's own log can tell: with explicit
    /// credentials it is another's.
    fn sid(&self) -> Option<&str> {
        self.user_sid.as_deref().filter(|_| self.account.is_none())
    }
}

/// What ties a client to a session on a target, besides the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tie {
    /// The client names the target.
    Name,
    /// The client names an address that is no known host's, and the target's own log the client.
    Address,
}

/// What ties a client to a session, whatever the time; none where it cannot be its.
fn tie(events: &Events, estate: &Estate, client: &Client, draft: &Draft) -> Option<Tie> {
    let server = draft.server.as_ref()?;
    if !client.may_make(draft) {
        return None;
    }
    let caller_ip = caller_ip(events, draft);
    let caller = caller_ip.and_then(|ip| estate.resolve(ip, draft.start()));
    let other_ip =
        caller_ip.zip(estate.ip_of(&client.host, client.time)).is_some_and(|(ip, own)| ip != own);
    let (tie, fits) = match (caller, estate.resolve(&client.target, client.time)) {
        (Some(caller), _) if *caller != client.host => return None,
        (None, _) if other_ip => return None,
        (_, Some(target)) => (Tie::Name, target == server),
        // The target's address is not known: the caller's address or name, in the target's own log,
        // decides.
        (caller, None) if is_address(&client.target) && **server != *client.target => {
            (Tie::Address, caller.is_some() || names_workstation(events, draft, &client.host))
        }
        (_, None) => (Tie::Name, server.same_host(&client.target)),
    };
    fits.then_some(tie)
}

/// The caller's address, as the target's 91 has it.
fn caller_ip<'e>(events: &'e Events, draft: &Draft) -> Option<&'e str> {
    match &events[draft.shell?].kind {
        EventKind::ShellCreated(shell) => shell.client_ip.as_deref(),
        _ => None,
    }
}

/// A client, and a session that may be its: whether that is another account's, what ties the two,
/// how far apart they are, and the slots of both.
type Pair = (bool, Tie, TimeDelta, ClientIdx, DraftIdx);

/// The pairs without those that are guesses: a client that names no one host and may have made
/// sessions on two, or a session that clients of two unknown addresses may have made, both as near.
fn without_guesses(clients: &Clients, drafts: &Drafts, mut pairs: Vec<Pair>) -> Vec<Pair> {
    let servers = undecided(
        pairs.iter().map(|&(.., distance, c, d)| (c, drafts[d].server.as_deref(), distance)),
    );
    pairs.retain(|(.., c, _)| !servers.contains(c));
    let by_address = pairs.iter().filter(|(_, tie, ..)| *tie == Tie::Address);
    let addresses =
        undecided(by_address.map(|&(.., distance, c, d)| (d, Some(&*clients[c].target), distance)));
    pairs.retain(|(_, tie, .., d)| *tie == Tie::Name || !addresses.contains(d));
    pairs
}

/// Of some slots that may belong to what has a name, each so far away, those that two names are as
/// near to.
fn undecided<'n, I: Idx>(
    pairs: impl Iterator<Item = (I, Option<&'n str>, TimeDelta)>,
) -> BTreeSet<I> {
    let mut nearest: BTreeMap<I, BTreeMap<Option<&str>, TimeDelta>> = BTreeMap::new();
    for (slot, name, distance) in pairs {
        let known = nearest.entry(slot).or_default().entry(name).or_insert(distance);
        *known = (*known).min(distance);
    }
    let undecided = nearest.into_iter().filter(|(_, names)| {
        let mut distances: Vec<TimeDelta> = names.values().copied().collect();
        distances.sort_unstable();
        matches!(distances[..], [first, second, ..] if second - first < UNSURE)
    });
    undecided.map(|(slot, _)| slot).collect()
}

/// The sessions that clients may have made, by the names that may tie the two: the target's, the
/// caller's as the target has it, the workstation's. In order of corrected starts.
struct Candidates(BTreeMap<String, Vec<(DateTime<Utc>, DraftIdx)>>);

impl Candidates {
    fn of(events: &Events, estate: &Estate, clocks: &Clocks, drafts: &Drafts) -> Candidates {
        let mut by_name: BTreeMap<String, Vec<(DateTime<Utc>, DraftIdx)>> = BTreeMap::new();
        for (d, draft) in drafts.iter_enumerated() {
            let Some(server) = &draft.server else { continue };
            let caller = caller_ip(events, draft);
            let caller = caller.and_then(|ip| estate.resolve(ip, draft.start()));
            let workstations =
                draft.evidence.keys().filter_map(|&index| match &events[index].kind {
                    EventKind::Logon(logon) => logon.workstation.as_deref(),
                    _ => None,
                });
            let names = [&**server].into_iter().chain(caller.map(|caller| &**caller));
            let names: BTreeSet<String> = names.chain(workstations).flat_map(both_names).collect();
            for name in names {
                let start = clocks.correct(server, draft.start());
                by_name.entry(name).or_default().push((start, d));
            }
        }
        by_name.values_mut().for_each(|drafts| drafts.sort_unstable());
        Candidates(by_name)
    }

    /// The sessions near the time that a client asked, nearest first on each side.
    fn of_client(
        &self,
        estate: &Estate,
        client: &Client,
        asked: DateTime<Utc>,
    ) -> BTreeSet<DraftIdx> {
        let names: BTreeSet<String> = match estate.resolve(&client.target, client.time) {
            Some(target) => BTreeSet::from([target.to_string()]),
            None => [&client.target, &*client.host].into_iter().flat_map(both_names).collect(),
        };
        let lists = names.iter().filter_map(|name| self.0.get(name));
        let near = lists.flat_map(|list| {
            let split = list.partition_point(|&(start, _)| start < asked);
            let before = list[..split].iter().rev().take(MOST_RIVALS);
            let after = list[split..].iter().take(MOST_RIVALS);
            let near = move |(start, _): &&(DateTime<Utc>, DraftIdx)| {
                (*start - asked).abs() <= CLOCK_ERROR
            };
            before.take_while(near).chain(after.take_while(near))
        });
        near.map(|&(_, d)| d).collect()
    }
}

/// The names that a host is looked up by: all of its name, and its key.
fn both_names(name: &str) -> BTreeSet<String> {
    BTreeSet::from([host_key(name), name.to_lowercase()])
}

/// Whether a session's logon names a host as the workstation that it came from.
fn names_workstation(events: &Events, draft: &Draft, host: &str) -> bool {
    draft.evidence.keys().any(|&index| match &events[index].kind {
        EventKind::Logon(logon) => {
            logon.workstation.as_ref().is_some_and(|workstation| same_host(workstation, host))
        }
        _ => false,
    })
}

fn take(draft: &mut Draft, client: &Client) {
    draft.client = Some(client.event);
    draft.source_host = Some(client.host.clone());
    draft.https = draft.https.or(client.https);
    if draft.configuration.is_empty() {
        draft.configuration.clone_from(&client.configuration);
    }
    for (&event, &link) in &client.evidence {
        let link = match draft.server {
            Some(_) if event == client.event => Link::Target,
            Some(_) => Link::Connection,
            None => link,
        };
        draft.add(event, link);
    }
    if draft.server.is_none() {
        draft.begins(client.time);
    }
    if let Some(closed) = client.closed {
        draft.ends(closed, EndKind::ClientClosed);
    }
}

/// The attempts that failed, with what the target's and the domain controllers' logs say of them.
pub(super) fn attempts(
    events: &Events,
    estate: &Estate,
    clocks: &Clocks,
    failures: Clients,
) -> IdxVec<AttemptIdx, Attempt> {
    // What each host refused, in order of time.
    let mut by_host: BTreeMap<&HostName, Vec<EventIdx>> = BTreeMap::new();
    for (index, event) in events.iter_enumerated() {
        if matches!(event.kind, EventKind::AuthorizationFailed(_) | EventKind::LogonFailed(_)) {
            by_host.entry(&event.host).or_default().push(index);
        }
    }
    let mut attempts: IdxVec<AttemptIdx, Attempt> = failures
        .into_iter()
        .map(|client| {
            let server = estate.resolve(&client.target, client.time).cloned();
            let mut found: Vec<EventIdx> = client.evidence.keys().copied().collect();
            let (mut reason, error_code) = reason(events, &client.failures);
            let mut sides = Sides { client: true, ..Sides::default() };
            let tried = clocks.correct(&client.host, client.time);
            let refusals = server.as_ref().and_then(|server| by_host.get(server));
            let refusals = refusals.map_or(&[][..], Vec::as_slice);
            // When that was by the target's clock.
            let then = tried + clocks.offset(server.as_ref().unwrap_or(&client.host));
            let from = refusals.partition_point(|&at| events[at].time < then - STEP_WINDOW);
            let near = refusals[from..].iter().take(MOST_RIVALS).copied();
            let near = near.map(|index| (index, &events[index]));
            for (index, event) in near.take_while(|(_, event)| event.time <= then + STEP_WINDOW) {
                let refused = match &event.kind {
                    EventKind::AuthorizationFailed(_) => Some(FailureReason::NotAuthorised),
                    EventKind::LogonFailed(logon) => {
                        let same = match (&client.account, &logon.account) {
                            (Some(used), Some(tried)) => used.same_as(tried),
                            (None, _) | (_, None) => false,
                        };
                        same.then_some(FailureReason::BadCredentials)
                    }
                    _ => None,
                };
                if let Some(refused) = refused {
                    sides.server = true;
                    found.push(index);
                    if reason == FailureReason::Other {
                        reason = refused;
                    }
                }
            }
            found.sort_unstable();
            Attempt {
                time: client.time,
                source_host: client.host.clone(),
                source_ip: estate.ip_of(&client.host, client.time).cloned(),
                target_host: server.unwrap_or_else(|| client.target.as_str().into()),
                user: client.account.clone(),
                user_sid: client.user_sid.clone(),
                reason,
                error_code,
                later: None,
                sides,
                events: found,
            }
        })
        .collect();
    attempts.extend(refusals(events, &attempts));
    attempts.sort_by(|a, b| {
        (a.time, &a.source_host, &a.events).cmp(&(b.time, &b.source_host, &b.events))
    });
    attempts
}

/// How long after a failed attempt a session may be the same caller's next one.
const SOON: TimeDelta = TimeDelta::hours(1);

/// Ties attempts to the next session on their target that the same source or account had soon after;
/// sessions are in the order of their starts, and all names are as logged.
pub(super) fn tie_later(attempts: &mut [Attempt], sessions: &IdxVec<SessionIdx, Session>) {
    for attempt in attempts {
        let from = sessions.partition_point(|session| session.start < attempt.time);
        let soon = sessions.as_slice()[from..].iter().enumerate();
        let soon = soon.take_while(|(_, session)| session.start <= attempt.time + SOON);
        let mut on_target = soon
            .filter(|(_, session)| session.target_host.eq_ignore_ascii_case(&attempt.target_host))
            .take(MOST_RIVALS);
        let later = on_target.find(|(_, session)| {
            let source = session.source_host.as_ref().filter(|_| !attempt.source_host.is_empty());
            let source = source.map(|host| host.eq_ignore_ascii_case(&attempt.source_host));
            let user = attempt.user.as_ref().zip(session.user.as_ref());
            let user = user.map(|(tried, had)| tried.same_as(had));
            // What is known of both must agree, and something must be known.
            [source, user].iter().flatten().count() > 0
                && [source, user].iter().flatten().all(|&same| same)
        });
        attempt.later = later.map(|(after, _)| SessionIdx::new(from + after));
    }
}

/// What targets refused whose clients' logs are not at hand: one attempt for what one host logs
/// within a step.
fn refusals(events: &Events, known: &[Attempt]) -> Vec<Attempt> {
    let told: BTreeSet<EventIdx> =
        known.iter().flat_map(|attempt| attempt.events.iter().copied()).collect();
    let mut refusals: Vec<Attempt> = Vec::new();
    let mut latest: BTreeMap<&HostName, usize> = BTreeMap::new();
    for (index, event) in events.iter_enumerated().filter(|(index, _)| !told.contains(index)) {
        let EventKind::AuthorizationFailed(error_code) = event.kind else { continue };
        if let Some(&slot) = latest.get(&event.host)
            && near(refusals[slot].time, event.time, STEP_WINDOW)
        {
            refusals[slot].events.push(index);
            continue;
        }
        latest.insert(&event.host, refusals.len());
        refusals.push(Attempt {
            time: event.time,
            source_host: "".into(),
            source_ip: None,
            target_host: event.host.clone(),
            user: None,
            user_sid: None,
            reason: FailureReason::NotAuthorised,
            error_code,
            later: None,
            sides: Sides { server: true, ..Sides::default() },
            events: vec![index],
        });
    }
    refusals
}

/// The most telling reason among a client's failures, and its error code.
fn reason(events: &Events, failures: &[EventIdx]) -> (FailureReason, Option<u32>) {
    let told = failures.iter().filter_map(|&index| match &events[index].kind {
        EventKind::ClientFailure(failure) => {
            Some((by_code(events[index].event_id, failure.error_code), failure.error_code))
        }
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let reason = told.iter().map(|(reason, _)| *reason).min().unwrap_or(FailureReason::Other);
    (reason, told.iter().find_map(|(_, code)| *code))
}

/// Error codes: winerror.h and wsmerror.h.
fn by_code(event_id: u32, code: Option<u32>) -> FailureReason {
    match (event_id, code) {
        (164, _) | (_, Some(5 | 0x8007_0005)) => FailureReason::AccessDenied,
        (162, _) | (_, Some(1326 | 0x8007_052e | 0x8009_030c)) => FailureReason::BadCredentials,
        (_, Some(0x8033_8126 | 0x8033_8012 | 0x8033_809d)) => FailureReason::Unreachable,
        _ => FailureReason::Other,
    }
}
