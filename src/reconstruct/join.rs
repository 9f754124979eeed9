//! Joins clients to the sessions on their targets, by names and time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::client::{ClientConnection, ClientConnections, ClientIdx};
use super::directory::HostDirectory;
use super::draft::{SessionDraft, SessionDrafts};
use super::index::{DraftIdx, Events};
use super::lookup::LookupTables;
use super::windows::{JOIN_WINDOW, MAX_CLOCK_DIFFERENCE, STEP_WINDOW};
use crate::model::{
    EndKind, EventKind, Idx, IdxVec, Link, Rejected, ShellKind, host_key, is_address, same_host,
};

/// Most sessions of one name that one client is compared with, before it and after. Keeps a log
/// full of forged records cheap.
const MOST_RIVALS: usize = 64;

/// How far apart hosts with compared clocks log one moment.
const SAME_MOMENT: TimeDelta = TimeDelta::seconds(3);
/// Most rival clients that a session keeps.
const MOST_KEPT_RIVALS: usize = 8;

/// How much farther in time another host's client must be, so that the nearer one is certain. About
/// what the network and the target need for one step.
const UNSURE_MARGIN: TimeDelta = TimeDelta::seconds(2);

/// Joins clients to the drafts of their targets, nearest in time first. A client that opened a
/// session without such a draft becomes a draft of its own.
pub(super) fn join_clients(
    tables: LookupTables<'_>,
    drafts: &mut SessionDrafts,
    clients: ClientConnections,
) {
    let LookupTables { events, directory, clocks, .. } = tables;
    let candidates = CandidateSessions::build(tables, drafts);
    let mut pairs = Vec::new();
    // Pairs that fit in everything but time, which a difference of the clocks could explain.
    let mut far = Vec::new();
    for (c, client) in clients.iter_enumerated() {
        let asked = clocks.correct(&client.host, client.time);
        for d in candidates.for_client(directory, client, asked) {
            let draft = &drafts[d];
            let Some(server) = draft.server.as_ref() else { continue };
            let Some(tie) = client_tie(events, directory, client, draft) else { continue };
            let started = clocks.correct(server, draft.start());
            let known = clocks.are_comparable(&client.host, server);
            let window = if known { STEP_WINDOW } else { JOIN_WINDOW };
            let closed = client.closed_at.map(|closed| clocks.correct(&client.host, closed));
            let distance = (started - asked).abs();
            let other_account = !draft.may_belong_to(client.account.as_ref(), client.session_sid());
            // If the client's log does not show the credentials, they can be anybody's. Then only
            // the time supports the pair, and it must be known well.
            let unlikely = client.is_other_account(draft) && !(known && distance <= SAME_MOMENT);
            if unlikely {
                continue;
            }
            if distance <= window && closed.is_none_or(|closed| closed >= started - window) {
                pairs.push((other_account, tie, distance, c, d));
            } else if !known && tie == ClientTie::Name && client.is_same_account(draft) {
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
            add_client(&mut drafts[d], &clients[c]);
        }
    }
    for &(other_account, _, distance, c, d) in &pairs {
        let (client, draft) = (&clients[c], &mut drafts[d]);
        let Some(nearest) = draft.client_distance.filter(|_| draft.client != Some(client.event))
        else {
            continue;
        };
        let from_other_host = draft.source_host.as_ref() != Some(&client.host);
        let as_near = (distance - nearest).abs() < UNSURE_MARGIN;
        draft.client_unsure |= from_other_host && as_near && !other_account;
        if draft.client_rivals.len() < MOST_KEPT_RIVALS {
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
            add_client(&mut drafts[d], &clients[c]);
        }
    }
    for (client, _) in clients.iter().zip(joined).filter(|(_, joined)| !joined) {
        if client.powershell || client.asked_for_shell {
            let mut draft = SessionDraft {
                kind: Some(if client.powershell {
                    ShellKind::PowerShell
                } else {
                    ShellKind::Winrs
                }),
                user: client.account.clone(),
                user_sid: client.session_sid().map(str::to_owned),
                client_target: Some(client.target.clone()),
                ..SessionDraft::default()
            };
            add_client(&mut draft, client);
            drafts.push(draft);
        }
    }
}

/// What ties a client to a session, besides the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ClientTie {
    /// The client names the target.
    Name,
    /// The client names an address without a known host, and the target's own log names the client.
    Address,
}

/// Returns what ties a client to a session, at any time. `None` if they cannot belong together.
fn client_tie(
    events: &Events,
    directory: &HostDirectory,
    client: &ClientConnection,
    draft: &SessionDraft,
) -> Option<ClientTie> {
    let server = draft.server.as_ref()?;
    if !client.fits_kind(draft) {
        return None;
    }
    let caller_ip = caller_ip(events, draft);
    let caller = caller_ip.and_then(|ip| directory.resolve(ip, draft.start()));
    let other_ip = caller_ip
        .zip(directory.ip_of(&client.host, client.time))
        .is_some_and(|(ip, own)| ip != own);
    let (tie, fits) = match (caller, directory.resolve(&client.target, client.time)) {
        (Some(caller), _) if *caller != client.host => return None,
        (None, _) if other_ip => return None,
        (_, Some(target)) => (ClientTie::Name, target == server),
        // The target's address is not known. The caller's address or name in the target's own log
        // decides.
        (caller, None) if is_address(&client.target) && **server != *client.target => {
            (ClientTie::Address, caller.is_some() || names_workstation(events, draft, &client.host))
        }
        (_, None) => (ClientTie::Name, server.same_host(&client.target)),
    };
    fits.then_some(tie)
}

/// Returns the caller's address from the target's WinRM 91.
fn caller_ip<'e>(events: &'e Events, draft: &SessionDraft) -> Option<&'e str> {
    match &events[draft.shell?].kind {
        EventKind::ShellCreated(shell) => shell.client_ip.as_deref(),
        _ => None,
    }
}

/// A client and a session that may be its own: whether the session belongs to another account, what
/// ties the two, how far apart they are, and the indexes of both.
type JoinCandidate = (bool, ClientTie, TimeDelta, ClientIdx, DraftIdx);

/// Removes pairs that would be guesses: a client that names no single host and is equally near to
/// sessions on two, or a session that is equally near to clients with two unknown addresses.
fn without_guesses(
    clients: &ClientConnections,
    drafts: &SessionDrafts,
    mut pairs: Vec<JoinCandidate>,
) -> Vec<JoinCandidate> {
    let servers = equally_near(
        pairs.iter().map(|&(.., distance, c, d)| (c, drafts[d].server.as_deref(), distance)),
    );
    pairs.retain(|(.., c, _)| !servers.contains(c));
    let by_address = pairs.iter().filter(|(_, tie, ..)| *tie == ClientTie::Address);
    let addresses = equally_near(
        by_address.map(|&(.., distance, c, d)| (d, Some(&*clients[c].target), distance)),
    );
    pairs.retain(|(_, tie, .., d)| *tie == ClientTie::Name || !addresses.contains(d));
    pairs
}

/// Returns the indexes that have two different names at about the same, smallest distance.
fn equally_near<'n, I: Idx>(
    pairs: impl Iterator<Item = (I, Option<&'n str>, TimeDelta)>,
) -> BTreeSet<I> {
    let mut nearest: BTreeMap<I, BTreeMap<Option<&str>, TimeDelta>> = BTreeMap::new();
    for (slot, name, distance) in pairs {
        let known = nearest.entry(slot).or_default().entry(name).or_insert(distance);
        *known = (*known).min(distance);
    }
    let equally_near = nearest.into_iter().filter(|(_, names)| {
        let mut distances: Vec<TimeDelta> = names.values().copied().collect();
        distances.sort_unstable();
        matches!(distances[..], [first, second, ..] if second - first < UNSURE_MARGIN)
    });
    equally_near.map(|(slot, _)| slot).collect()
}

/// The sessions that clients may have made, by the names that may tie the two: the target's, the
/// caller's as the target logs it, the workstation's. In order of corrected starts.
struct CandidateSessions(BTreeMap<String, Vec<(DateTime<Utc>, DraftIdx)>>);

impl CandidateSessions {
    fn build(tables: LookupTables<'_>, drafts: &SessionDrafts) -> CandidateSessions {
        let LookupTables { events, directory, clocks, .. } = tables;
        let mut by_name: BTreeMap<String, Vec<(DateTime<Utc>, DraftIdx)>> = BTreeMap::new();
        for (d, draft) in drafts.iter_enumerated() {
            let Some(server) = &draft.server else { continue };
            let caller = caller_ip(events, draft);
            let caller = caller.and_then(|ip| directory.resolve(ip, draft.start()));
            let workstations =
                draft.evidence.keys().filter_map(|&index| match &events[index].kind {
                    EventKind::Logon(logon) => logon.workstation.as_deref(),
                    _ => None,
                });
            let names = [&**server].into_iter().chain(caller.map(|caller| &**caller));
            let names: BTreeSet<String> =
                names.chain(workstations).flat_map(lookup_names).collect();
            for name in names {
                let start = clocks.correct(server, draft.start());
                by_name.entry(name).or_default().push((start, d));
            }
        }
        by_name.values_mut().for_each(|drafts| drafts.sort_unstable());
        CandidateSessions(by_name)
    }

    /// Returns the sessions near the time of a client's request.
    fn for_client(
        &self,
        directory: &HostDirectory,
        client: &ClientConnection,
        asked: DateTime<Utc>,
    ) -> BTreeSet<DraftIdx> {
        let names: BTreeSet<String> = match directory.resolve(&client.target, client.time) {
            Some(target) => BTreeSet::from([target.to_string()]),
            None => [&client.target, &*client.host].into_iter().flat_map(lookup_names).collect(),
        };
        let lists = names.iter().filter_map(|name| self.0.get(name));
        let near = lists.flat_map(|list| {
            let split = list.partition_point(|&(start, _)| start < asked);
            let before = list[..split].iter().rev().take(MOST_RIVALS);
            let after = list[split..].iter().take(MOST_RIVALS);
            let near = move |(start, _): &&(DateTime<Utc>, DraftIdx)| {
                (*start - asked).abs() <= MAX_CLOCK_DIFFERENCE
            };
            before.take_while(near).chain(after.take_while(near))
        });
        near.map(|&(_, d)| d).collect()
    }
}

/// Returns the names that a host is looked up by: its whole name, and its key.
fn lookup_names(name: &str) -> BTreeSet<String> {
    BTreeSet::from([host_key(name), name.to_lowercase()])
}

/// Returns true if a session's logon names a host as the workstation that it came from.
fn names_workstation(events: &Events, draft: &SessionDraft, host: &str) -> bool {
    draft.evidence.keys().any(|&index| match &events[index].kind {
        EventKind::Logon(logon) => {
            logon.workstation.as_ref().is_some_and(|workstation| same_host(workstation, host))
        }
        _ => false,
    })
}

fn add_client(draft: &mut SessionDraft, client: &ClientConnection) {
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
        draft.add_evidence(event, link);
    }
    if draft.server.is_none() {
        draft.set_earlier_start(client.time);
    }
    if let Some(closed) = client.closed_at {
        draft.set_better_end(closed, EndKind::ClientClosed);
    }
}
