//! What two hosts log of one thing, each at its own time: what their clocks are compared by.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::client::Clients;
use super::directory::HostDirectory;
use super::draft::Drafts;
use super::index::{DraftIdx, Events};
use super::windows::{CLOCK_ERROR, JOIN_WINDOW};
use crate::model::{
    Auth, Connection, EndKind, EventIdx, EventKind, HostName, Logon, host_of_service,
};

/// Pairs that one record may be part of, with earlier and with later ones: a log full of forged
/// ones costs no more.
const MOST_PAIRS: usize = 32;

/// Something that two hosts logged, each at its own time.
#[derive(Debug, Clone)]
pub(super) struct Pair<'e> {
    /// Who logs first.
    pub from: &'e HostName,
    /// Who logs next.
    pub to: &'e HostName,
    /// What was logged on each side: a record may be part of several pairs, one of them right.
    pub records: (Thing, Thing),
    pub difference: TimeDelta,
    /// Whether a key ties the two, and not only that they may be one thing.
    pub sure: bool,
}

/// What was logged: an event, or the start or end of a session that is known by its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    Event(EventIdx),
    Start(DraftIdx),
    End(DraftIdx),
    /// The end of a client's session, by the event that began it.
    Closed(EventIdx),
}

/// All pairs that may be one thing.
pub(super) fn pairs<'e>(
    events: &'e Events,
    directory: &'e HostDirectory,
    drafts: &'e Drafts,
    clients: &'e Clients,
) -> Vec<Pair<'e>> {
    let mut pairs = sessions(directory, drafts, clients);
    pairs.extend(logons(events, directory));
    pairs.extend(connections(events));
    pairs
}

/// Times and what was logged then, in order.
struct Times<I>(Vec<(DateTime<Utc>, I)>);

impl<I> Default for Times<I> {
    fn default() -> Times<I> {
        Times(Vec::new())
    }
}

impl<I: Copy> Times<I> {
    /// What lies near enough to a time to be the same moment by another clock, nearest first on
    /// each side.
    fn near(&self, time: DateTime<Utc>) -> impl Iterator<Item = (DateTime<Utc>, I)> {
        let split = self.0.partition_point(|&(known, _)| known < time);
        let earlier = self.0[..split].iter().rev().take(MOST_PAIRS);
        let later = self.0[split..].iter().take(MOST_PAIRS);
        let near = move |(known, _): &&(DateTime<Utc>, I)| (*known - time).abs() <= CLOCK_ERROR;
        earlier.take_while(near).chain(later.take_while(near)).copied()
    }
}

/// Clients and the sessions on their targets that may be theirs: their starts, and the ends of those
/// that last as long on both sides and long enough for that to mean something.
fn sessions<'e>(
    directory: &'e HostDirectory,
    drafts: &'e Drafts,
    clients: &'e Clients,
) -> Vec<Pair<'e>> {
    let mut by_server: BTreeMap<&HostName, Times<DraftIdx>> = BTreeMap::new();
    for (slot, draft) in drafts.iter_enumerated() {
        if let Some(server) = &draft.server {
            by_server.entry(server).or_default().0.push((draft.start(), slot));
        }
    }
    by_server.values_mut().for_each(|starts| starts.0.sort_unstable());
    let mut pairs = Vec::new();
    for client in clients {
        let Some(target) = directory.resolve(&client.target, client.time) else { continue };
        let Some(starts) = by_server.get(target) else { continue };
        let time = client.time;
        for (start, slot) in starts.near(time) {
            let draft = &drafts[slot];
            if !client.may_have(draft) {
                continue;
            }
            let pair = |thing, own, theirs: DateTime<Utc>| Pair {
                from: &client.host,
                to: target,
                records: thing,
                difference: theirs - own,
                sure: false,
            };
            let event = client.event;
            pairs.push(pair((Thing::Event(event), Thing::Start(slot)), time, start));
            let told = draft.end.filter(|(_, kind)| {
                matches!(kind, EndKind::EngineStopped | EndKind::ProcessExited)
            });
            if let (Some(closed), Some((end, _))) = (client.closed, told)
                && closed - time >= JOIN_WINDOW
            {
                pairs.push(pair((Thing::Closed(event), Thing::End(slot)), closed, end));
            }
        }
    }
    pairs
}

/// Logons, and what other hosts log of them first: the ticket (4769), NTLM's check (4776), and at
/// the client the credentials it used (4648).
fn logons<'e>(events: &'e Events, directory: &'e HostDirectory) -> Vec<Pair<'e>> {
    // By account and host, and by account and workstation, which NTLM names.
    let mut at_host: BTreeMap<(&HostName, String), Times<EventIdx>> = BTreeMap::new();
    let mut from_workstation: BTreeMap<(String, String), Times<EventIdx>> = BTreeMap::new();
    for (index, event) in events.iter_enumerated() {
        if let EventKind::Logon(logon) = &event.kind
            && let Some(account) = &logon.account
        {
            let name = account.name_key();
            if let Some(workstation) = logon.workstation.as_ref().filter(|_| !is_kerberos(logon)) {
                let key = (name.clone(), workstation.to_lowercase());
                from_workstation.entry(key).or_default().0.push((event.time, index));
            }
            at_host.entry((&event.host, name)).or_default().0.push((event.time, index));
        }
    }
    let mut pairs = Vec::new();
    for (index, event) in events.iter_enumerated() {
        let (found, kerberos) = match &event.kind {
            EventKind::KerberosTicket(ticket) => {
                const SERVICE_TICKET: u32 = 4769;
                let server = directory.resolve(host_of_service(&ticket.service), event.time);
                let (SERVICE_TICKET, Some(server), Some(account)) =
                    (event.event_id, server, &ticket.account)
                else {
                    continue;
                };
                (at_host.get(&(server, account.name_key())), true)
            }
            EventKind::ExplicitCredentials(used) => {
                let service = used.target_info.split_once('/');
                let service = service.map_or(used.target.as_str(), |(_, service)| service);
                let server = directory.resolve(service, event.time);
                let (Some(server), Some(account)) = (server, &used.account) else {
                    continue;
                };
                (at_host.get(&(server, account.name_key())), false)
            }
            EventKind::NtlmValidation(check) => {
                let (Some(account), Some(workstation)) = (&check.account, &check.workstation)
                else {
                    continue;
                };
                let key = (account.name_key(), workstation.to_lowercase());
                (from_workstation.get(&key), false)
            }
            _ => continue,
        };
        let near = found.into_iter().flat_map(|times| times.near(event.time));
        pairs.extend(near.filter_map(|(time, at)| {
            let logon = &events[at];
            let EventKind::Logon(of) = &logon.kind else { return None };
            let fits = logon.host != event.host && (!kerberos || is_kerberos(of));
            fits.then(|| Pair {
                from: &event.host,
                to: &logon.host,
                records: (Thing::Event(index), Thing::Event(at)),
                difference: time - event.time,
                sure: false,
            })
        }));
    }
    pairs
}

fn is_kerberos(logon: &Logon) -> bool {
    logon.auth() == Auth::Kerberos
}

/// A connection's addresses and ports.
type Ends<'e> = (&'e str, u32, &'e str, u32);

fn ends(connection: &Connection) -> Option<Ends<'_>> {
    let Connection { source_ip, source_port, destination_ip, destination_port, .. } = connection;
    (*source_port != 0).then_some((source_ip, *source_port, destination_ip, *destination_port))
}

/// Connections that both ends log: their ports tell which are one.
fn connections(events: &Events) -> Vec<Pair<'_>> {
    let mut accepted: BTreeMap<Ends<'_>, Times<EventIdx>> = BTreeMap::new();
    let connections = || {
        events.iter_enumerated().filter_map(|(index, event)| match &event.kind {
            EventKind::Connection(connection) => Some((index, event, &**connection)),
            _ => None,
        })
    };
    for (index, event, connection) in connections().filter(|(.., one)| !one.outbound) {
        if let Some(ends) = ends(connection) {
            accepted.entry(ends).or_default().0.push((event.time, index));
        }
    }
    let mut pairs = Vec::new();
    for (index, event, connection) in connections().filter(|(.., one)| one.outbound) {
        let Some(times) = ends(connection).and_then(|ends| accepted.get(&ends)) else { continue };
        let near = times.near(event.time).filter(|&(_, at)| events[at].host != event.host);
        pairs.extend(near.map(|(time, at)| Pair {
            from: &event.host,
            to: &events[at].host,
            records: (Thing::Event(index), Thing::Event(at)),
            difference: time - event.time,
            sure: true,
        }));
    }
    pairs
}
