//! Pairs of records in which two hosts log one event, each at its own time. The clocks are compared
//! by them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::client::ClientConnections;
use super::directory::HostDirectory;
use super::draft::SessionDrafts;
use super::index::{DraftIdx, Events};
use super::windows::{JOIN_WINDOW, MAX_CLOCK_DIFFERENCE};
use crate::model::{
    Auth, Connection, EndKind, EventIdx, EventKind, HostName, Logon, host_of_service,
};

/// Most pairs that one record may be part of, with earlier and with later records. Keeps a log full
/// of forged records cheap.
const MOST_PAIRS: usize = 32;

/// An event that two hosts logged, each at its own time.
#[derive(Debug, Clone)]
pub(super) struct RecordPair<'e> {
    /// The host that logs first.
    pub from: &'e HostName,
    /// The host that logs next.
    pub to: &'e HostName,
    /// The moment on each side. A moment may be part of several pairs, of which one at most is
    /// correct.
    pub records: (PairedMoment, PairedMoment),
    pub difference: TimeDelta,
    /// A key ties the two. Otherwise they only may be one event.
    pub sure: bool,
}

/// A logged moment: an event, or the start or end of a session draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PairedMoment {
    Event(EventIdx),
    Start(DraftIdx),
    End(DraftIdx),
    /// The end of a client's session, by the event that began it.
    Closed(EventIdx),
}

/// Returns all pairs that may be one event.
pub(super) fn find_pairs<'e>(
    events: &'e Events,
    directory: &'e HostDirectory,
    drafts: &'e SessionDrafts,
    clients: &'e ClientConnections,
) -> Vec<RecordPair<'e>> {
    let mut pairs = session_pairs(directory, drafts, clients);
    pairs.extend(logon_pairs(events, directory));
    pairs.extend(connection_pairs(events));
    pairs
}

/// Times in order, each with its item.
struct SortedTimes<I>(Vec<(DateTime<Utc>, I)>);

impl<I> Default for SortedTimes<I> {
    fn default() -> SortedTimes<I> {
        SortedTimes(Vec::new())
    }
}

impl<I: Copy> SortedTimes<I> {
    /// Returns the items that are near enough to be the same moment by another clock, nearest first
    /// on each side.
    fn near(&self, time: DateTime<Utc>) -> impl Iterator<Item = (DateTime<Utc>, I)> {
        let split = self.0.partition_point(|&(known, _)| known < time);
        let earlier = self.0[..split].iter().rev().take(MOST_PAIRS);
        let later = self.0[split..].iter().take(MOST_PAIRS);
        let near =
            move |(known, _): &&(DateTime<Utc>, I)| (*known - time).abs() <= MAX_CLOCK_DIFFERENCE;
        earlier.take_while(near).chain(later.take_while(near)).copied()
    }
}

/// Returns pairs of clients and the sessions on their targets that may be theirs: the starts, and
/// the ends of sessions that last equally long on both sides and long enough for that to mean
/// something.
fn session_pairs<'e>(
    directory: &'e HostDirectory,
    drafts: &'e SessionDrafts,
    clients: &'e ClientConnections,
) -> Vec<RecordPair<'e>> {
    let mut by_server: BTreeMap<&HostName, SortedTimes<DraftIdx>> = BTreeMap::new();
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
            if !client.may_have_made(draft) {
                continue;
            }
            let pair = |records, own, theirs: DateTime<Utc>| RecordPair {
                from: &client.host,
                to: target,
                records,
                difference: theirs - own,
                sure: false,
            };
            let event = client.event;
            pairs.push(pair((PairedMoment::Event(event), PairedMoment::Start(slot)), time, start));
            let real_end = draft.end.filter(|(_, kind)| {
                matches!(kind, EndKind::EngineStopped | EndKind::ProcessExited)
            });
            if let (Some(closed), Some((end, _))) = (client.closed_at, real_end)
                && closed - time >= JOIN_WINDOW
            {
                pairs.push(pair(
                    (PairedMoment::Closed(event), PairedMoment::End(slot)),
                    closed,
                    end,
                ));
            }
        }
    }
    pairs
}

/// Returns pairs of logons and the records that other hosts log before: the ticket (4769), the NTLM
/// check (4776), and at the client the credentials that it used (4648).
fn logon_pairs<'e>(events: &'e Events, directory: &'e HostDirectory) -> Vec<RecordPair<'e>> {
    // By account and host, and by account and workstation, which NTLM names.
    let mut at_host: BTreeMap<(&HostName, String), SortedTimes<EventIdx>> = BTreeMap::new();
    let mut from_workstation: BTreeMap<(String, String), SortedTimes<EventIdx>> = BTreeMap::new();
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
            fits.then(|| RecordPair {
                from: &event.host,
                to: &logon.host,
                records: (PairedMoment::Event(index), PairedMoment::Event(at)),
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

/// The addresses and ports of a connection.
type Endpoints<'e> = (&'e str, u32, &'e str, u32);

fn endpoints(connection: &Connection) -> Option<Endpoints<'_>> {
    let Connection { source_ip, source_port, destination_ip, destination_port, .. } = connection;
    (*source_port != 0).then_some((source_ip, *source_port, destination_ip, *destination_port))
}

/// Returns pairs of connections that both ends log. Their ports identify them.
fn connection_pairs(events: &Events) -> Vec<RecordPair<'_>> {
    let mut accepted: BTreeMap<Endpoints<'_>, SortedTimes<EventIdx>> = BTreeMap::new();
    let connections = || {
        events.iter_enumerated().filter_map(|(index, event)| match &event.kind {
            EventKind::Connection(connection) => Some((index, event, &**connection)),
            _ => None,
        })
    };
    for (index, event, connection) in connections().filter(|(.., one)| !one.outbound) {
        if let Some(endpoints) = endpoints(connection) {
            accepted.entry(endpoints).or_default().0.push((event.time, index));
        }
    }
    let mut pairs = Vec::new();
    for (index, event, connection) in connections().filter(|(.., one)| one.outbound) {
        let Some(times) = endpoints(connection).and_then(|endpoints| accepted.get(&endpoints))
        else {
            continue;
        };
        let near = times.near(event.time).filter(|&(_, at)| events[at].host != event.host);
        pairs.extend(near.map(|(time, at)| RecordPair {
            from: &event.host,
            to: &events[at].host,
            records: (PairedMoment::Event(index), PairedMoment::Event(at)),
            difference: time - event.time,
            sure: true,
        }));
    }
    pairs
}
