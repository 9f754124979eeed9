//! How far the hosts' clocks are apart, learnt from what two of them log of one thing.
//!
//! A client logs that it connects (WinRM 6), and the target that a session starts; a domain
//! controller logs a ticket (4769), and the target the logon made with it. One such pair may be a
//! coincidence; differences that many pairs share are the clocks'.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::client::Client;
use super::estate::Estate;
use super::{CLOCK_ERROR, Draft};
use crate::model::{Clock, Event, EventKind, Str};

/// How much the time between two logs of one thing varies: what the network and the target need.
const JITTER: TimeDelta = TimeDelta::seconds(3);

/// Pairs that one record may be part of: a log full of forged ones costs no more.
const MOST_PAIRS: usize = 64;

/// The clocks of all hosts whose difference to others is known.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    clocks: BTreeMap<Str, Clock>,
}

/// Something that two hosts logged, each at its own time.
struct Pair<'e> {
    /// Who logs first.
    from: &'e Str,
    /// Who logs next.
    to: &'e Str,
    /// What was logged on each side: a record may be part of several pairs, one of them right.
    records: (usize, usize),
    difference: TimeDelta,
}

/// What the pairs of two hosts say of their clocks.
struct Edge<'e> {
    from: &'e Str,
    to: &'e Str,
    /// How much later the second host's clock is.
    difference: TimeDelta,
    /// Pairs that agree.
    pairs: usize,
}

impl Clocks {
    /// Learns from the targets' sessions and the clients that may belong to them.
    pub fn learn(
        events: &[Event],
        estate: &Estate,
        drafts: &[Draft],
        clients: &[Client],
    ) -> Clocks {
        let mut by_hosts: BTreeMap<(&Str, &Str), Vec<Pair<'_>>> = BTreeMap::new();
        let pairs = connections(estate, drafts, clients);
        for pair in pairs.into_iter().chain(tickets(events, estate)) {
            by_hosts.entry((pair.from, pair.to)).or_default().push(pair);
        }
        let mut edges: Vec<Edge<'_>> = by_hosts.into_values().filter_map(agree).collect();
        // The best known differences first: each host hangs on the others by one.
        edges.sort_by_key(|edge| (std::cmp::Reverse(edge.pairs), edge.from, edge.to));
        let mut groups = Groups::default();
        for edge in &edges {
            groups.tie(edge);
        }
        Clocks { clocks: groups.clocks() }
    }

    /// How far a host's clock is ahead of the others', as far as known.
    pub fn offset(&self, host: &Str) -> TimeDelta {
        self.clocks.get(host).map_or(TimeDelta::zero(), |clock| clock.offset)
    }

    /// A host's time by the others' clocks.
    pub fn correct(&self, host: &Str, time: DateTime<Utc>) -> DateTime<Utc> {
        time - self.offset(host)
    }

    /// Whether the times of two hosts can be compared.
    pub fn know(&self, a: &Str, b: &Str) -> bool {
        a == b || (self.clocks.contains_key(a) && self.clocks.contains_key(b))
    }

    /// What is known of a host's clock.
    pub fn get(&self, host: &Str) -> Option<Clock> {
        self.clocks.get(host).copied()
    }
}

/// Times and what was logged then.
type Times = Vec<(DateTime<Utc>, usize)>;

/// Clients and the sessions on their targets that may be theirs.
fn connections<'e>(
    estate: &'e Estate,
    drafts: &'e [Draft],
    clients: &'e [Client],
) -> Vec<Pair<'e>> {
    let mut by_server: BTreeMap<&Str, Times> = BTreeMap::new();
    for (slot, draft) in drafts.iter().enumerate() {
        if let Some(server) = &draft.server {
            by_server.entry(server).or_default().push((draft.start(), slot));
        }
    }
    by_server.values_mut().for_each(|starts| starts.sort_unstable());
    let mut pairs = Vec::new();
    for (index, client) in clients.iter().enumerate() {
        let Some(target) = estate.resolve(client.target()) else { continue };
        let Some(starts) = by_server.get(target) else { continue };
        let (host, time) = (client.host(), client.time());
        let near = within(starts, time).filter(|(_, slot)| client.may_have(&drafts[*slot]));
        pairs.extend(near.take(MOST_PAIRS).map(|(start, slot)| Pair {
            from: host,
            to: target,
            records: (index, slot),
            difference: start - time,
        }));
    }
    pairs
}

/// Tickets and the logons on their services' hosts that may be made with them.
fn tickets<'e>(events: &'e [Event], estate: &'e Estate) -> Vec<Pair<'e>> {
    const SERVICE_TICKET: u32 = 4769;
    let mut logons: BTreeMap<(&Str, String), Times> = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        if let EventKind::Logon(logon) = &event.kind
            && let Some(account) = &logon.account
            && logon.package.eq_ignore_ascii_case("kerberos")
        {
            let key = (&event.host, account.name.to_lowercase());
            logons.entry(key).or_default().push((event.time, index));
        }
    }
    let mut pairs = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let EventKind::KerberosTicket(ticket) = &event.kind else { continue };
        let (SERVICE_TICKET, Some(account)) = (event.event_id, &ticket.account) else { continue };
        let service = ticket.service.split('/').nth(1).unwrap_or(&ticket.service);
        let Some(server) = estate.resolve(service.trim_end_matches('$')) else { continue };
        if *server == event.host {
            continue;
        }
        let Some(logons) = logons.get(&(server, account.name.to_lowercase())) else { continue };
        let near = within(logons, event.time).take(MOST_PAIRS);
        pairs.extend(near.map(|(time, logon)| Pair {
            from: &event.host,
            to: server,
            records: (index, logon),
            difference: time - event.time,
        }));
    }
    pairs
}

/// What lies near enough to a time to be the same moment by another clock; times are in order.
fn within(
    times: &[(DateTime<Utc>, usize)],
    time: DateTime<Utc>,
) -> impl Iterator<Item = (DateTime<Utc>, usize)> {
    let from = times.partition_point(|&(known, _)| known < time - CLOCK_ERROR);
    let to = times.partition_point(|&(known, _)| known <= time + CLOCK_ERROR);
    times[from..to].iter().copied()
}

/// The difference on which most pairs of two hosts agree; none when others agree as well on
/// another one, or when a single pair speaks.
fn agree(mut pairs: Vec<Pair<'_>>) -> Option<Edge<'_>> {
    pairs.sort_by_key(|pair| (pair.difference, pair.records));
    // Each record is part of one right pair at most: of a window's pairs, as many agree as there
    // are records on the side that has fewer.
    let mut sides: [BTreeMap<usize, usize>; 2] = Default::default();
    let (mut windows, mut to) = (Vec::with_capacity(pairs.len()), 0);
    for (from, first) in pairs.iter().enumerate() {
        while let Some(pair) = pairs.get(to)
            && pair.difference <= first.difference + JITTER
        {
            *sides[0].entry(pair.records.0).or_default() += 1;
            *sides[1].entry(pair.records.1).or_default() += 1;
            to += 1;
        }
        windows.push((sides[0].len().min(sides[1].len()), from, to));
        for (side, record) in sides.iter_mut().zip([first.records.0, first.records.1]) {
            match side.get_mut(&record) {
                Some(count) if *count > 1 => *count -= 1,
                _ => _ = side.remove(&record),
            }
        }
    }
    let &(count, from, to) = windows.iter().max_by_key(|&&(count, from, _)| {
        // Clocks are more likely to be right than wrong.
        (count, std::cmp::Reverse(pairs[from].difference.abs()))
    })?;
    let rival = windows.iter().filter(|&&(_, start, end)| end <= from || start >= to);
    let rival = rival.map(|&(count, ..)| count).max().unwrap_or(0);
    if count < 2 || rival >= count {
        return None;
    }
    let middle = &pairs[from + (to - from) / 2];
    Some(Edge { from: middle.from, to: middle.to, difference: middle.difference, pairs: count })
}

/// Hosts tied to each other by differences of their clocks.
#[derive(Default)]
struct Groups<'e> {
    /// Of each host, its group, how far its clock is ahead of the group's first host's, and the
    /// pairs that say so.
    of: BTreeMap<&'e Str, (usize, TimeDelta, usize)>,
    members: Vec<Vec<&'e Str>>,
}

impl<'e> Groups<'e> {
    fn place(&mut self, host: &'e Str) -> (usize, TimeDelta) {
        let next = self.members.len();
        let &mut (group, ahead, _) = self.of.entry(host).or_insert((next, TimeDelta::zero(), 0));
        if group == next {
            self.members.push(vec![host]);
        }
        (group, ahead)
    }

    fn tie(&mut self, edge: &Edge<'e>) {
        let (a, a_ahead) = self.place(edge.from);
        let (b, b_ahead) = self.place(edge.to);
        for host in [edge.from, edge.to] {
            if let Some((.., pairs)) = self.of.get_mut(host) {
                *pairs = (*pairs).max(edge.pairs);
            }
        }
        if a == b {
            return;
        }
        // What has to be added in the second group so that the edge holds.
        let shift = a_ahead + edge.difference - b_ahead;
        for host in std::mem::take(&mut self.members[b]) {
            if let Some((group, ahead, _)) = self.of.get_mut(host) {
                (*group, *ahead) = (a, *ahead + shift);
            }
            self.members[a].push(host);
        }
    }

    /// Each clock against the middle one of its group: most clocks are right.
    fn clocks(self) -> BTreeMap<Str, Clock> {
        let mut clocks = BTreeMap::new();
        for members in self.members.iter().filter(|members| members.len() > 1) {
            let mut ahead: Vec<TimeDelta> = members.iter().map(|host| self.of[host].1).collect();
            ahead.sort_unstable();
            let middle = ahead[ahead.len() / 2];
            for &host in members {
                let (_, ahead, pairs) = self.of[host];
                clocks.insert(host.clone(), Clock { offset: ahead - middle, pairs });
            }
        }
        clocks
    }
}
