//! How far the clocks of the hosts are apart, measured by events that two hosts log.
//!
//! One pair of records that may log one event can be a coincidence. A difference that many pairs
//! share is the difference of the clocks.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::client::ClientConnections;
use super::directory::HostDirectory;
use super::draft::SessionDrafts;
use super::index::Events;
use super::pairs::{self, PairedMoment, RecordPair};
use crate::model::{Clock, HostName, IdxVec, index_types};

/// How much the time between two logs of one event varies, because of the network and the target.
const JITTER: TimeDelta = TimeDelta::seconds(3);

/// The clocks of all hosts that could be compared with another host.
#[derive(Debug, Default)]
pub(super) struct HostClocks {
    /// The clock of each host, and the group of hosts that it was compared with.
    clocks: BTreeMap<HostName, (Clock, GroupIdx)>,
}

/// The difference between the clocks of two hosts.
struct ClockDifference<'e> {
    from: &'e HostName,
    to: &'e HostName,
    /// How much later the second host's clock is.
    difference: TimeDelta,
    /// How many pairs agree on the difference.
    pairs: usize,
}

impl HostClocks {
    /// Compares the clocks, by all events and by the sessions and clients that may belong together.
    pub fn build(
        events: &Events,
        directory: &HostDirectory,
        drafts: &SessionDrafts,
        clients: &ClientConnections,
    ) -> HostClocks {
        let pairs = pairs::find_pairs(events, directory, drafts, clients);
        let mut by_hosts: BTreeMap<(&HostName, &HostName), Vec<RecordPair<'_>>> = BTreeMap::new();
        for pair in &pairs {
            by_hosts.entry((pair.from, pair.to)).or_default().push(pair.clone());
        }
        let mut differences: Vec<ClockDifference<'_>> =
            by_hosts.into_values().filter_map(agreed_difference).collect();
        // Uses the differences that most pairs agree on first. One difference is enough to connect
        // a host.
        differences.sort_by_key(|found| (std::cmp::Reverse(found.pairs), found.from, found.to));
        let mut groups = ClockGroups::default();
        for found in &differences {
            groups.connect(found);
        }
        groups.connect_rest(&pairs);
        HostClocks { clocks: groups.clocks() }
    }

    /// Returns how far a host's clock is ahead of the others. Zero if unknown.
    pub fn offset(&self, host: &HostName) -> TimeDelta {
        self.clocks.get(host).map_or(TimeDelta::zero(), |(clock, _)| clock.offset)
    }

    /// Returns a host's time, corrected by the offset of its clock.
    pub fn correct(&self, host: &HostName, time: DateTime<Utc>) -> DateTime<Utc> {
        time - self.offset(host)
    }

    /// Returns true if the times of two hosts can be compared.
    pub fn are_comparable(&self, a: &HostName, b: &HostName) -> bool {
        let group = |host| self.clocks.get(host).map(|(_, group)| group);
        a == b || (group(a).is_some() && group(a) == group(b))
    }

    /// Returns the clock of a host, if known.
    pub fn get(&self, host: &HostName) -> Option<Clock> {
        self.clocks.get(host).map(|(clock, _)| *clock)
    }
}

/// Returns the difference on which most pairs of two hosts agree. Returns `None` if as many pairs
/// agree on another difference, or if there is only one pair.
fn agreed_difference(mut pairs: Vec<RecordPair<'_>>) -> Option<ClockDifference<'_>> {
    pairs.sort_by_key(|pair| (pair.difference, pair.records));
    // Each record belongs to one correct pair at most. So the pairs that agree in a window are as
    // many as the records on the side with fewer. A pair that a key ties counts twice.
    let mut sides: [BTreeMap<PairedMoment, usize>; 2] = Default::default();
    let (mut windows, mut to, mut sure) = (Vec::with_capacity(pairs.len()), 0, 0);
    for (from, first) in pairs.iter().enumerate() {
        while let Some(pair) = pairs.get(to)
            && pair.difference <= first.difference + JITTER
        {
            *sides[0].entry(pair.records.0).or_default() += 1;
            *sides[1].entry(pair.records.1).or_default() += 1;
            sure += usize::from(pair.sure);
            to += 1;
        }
        windows.push((sides[0].len().min(sides[1].len()) + sure, from, to));
        sure -= usize::from(first.sure);
        for (side, record) in sides.iter_mut().zip([first.records.0, first.records.1]) {
            match side.get_mut(&record) {
                Some(count) if *count > 1 => *count -= 1,
                _ => _ = side.remove(&record),
            }
        }
    }
    let &(count, from, to) = windows.iter().max_by_key(|&&(count, from, _)| {
        // Clocks are more likely right than wrong.
        (count, std::cmp::Reverse(pairs[from].difference.abs()))
    })?;
    let rival = windows.iter().filter(|&&(_, start, end)| end <= from || start >= to);
    let rival = rival.map(|&(count, ..)| count).max().unwrap_or(0);
    if count < 2 || rival >= count {
        return None;
    }
    let middle = &pairs[from + (to - from) / 2];
    Some(ClockDifference {
        from: middle.from,
        to: middle.to,
        difference: middle.difference,
        pairs: count,
    })
}

index_types! {
    /// Index of a group of hosts whose clocks can be compared.
    GroupIdx;
}

/// Groups of hosts that are connected by differences of their clocks.
#[derive(Default)]
struct ClockGroups<'e> {
    /// The group of each host, how far its clock is ahead of the first host of the group, and the
    /// number of pairs that show it.
    by_host: BTreeMap<&'e HostName, (GroupIdx, TimeDelta, usize)>,
    members: IdxVec<GroupIdx, Vec<&'e HostName>>,
}

impl<'e> ClockGroups<'e> {
    fn group_of(&mut self, host: &'e HostName) -> (GroupIdx, TimeDelta) {
        let next = GroupIdx::new(self.members.len());
        let &mut (group, ahead, _) =
            self.by_host.entry(host).or_insert((next, TimeDelta::zero(), 0));
        if group == next {
            self.members.push(vec![host]);
        }
        (group, ahead)
    }

    fn connect(&mut self, found: &ClockDifference<'e>) {
        let (a, a_ahead) = self.group_of(found.from);
        let (b, b_ahead) = self.group_of(found.to);
        for host in [found.from, found.to] {
            if let Some((.., pairs)) = self.by_host.get_mut(host) {
                *pairs = (*pairs).max(found.pairs);
            }
        }
        if a == b {
            return;
        }
        // The shift of the second group that makes this difference hold.
        let shift = a_ahead + found.difference - b_ahead;
        for host in std::mem::take(&mut self.members[b]) {
            if let Some((group, ahead, _)) = self.by_host.get_mut(host) {
                (*group, *ahead) = (a, *ahead + shift);
            }
            self.members[a].push(host);
        }
    }

    /// Connects to the largest group each host that has too few pairs with any single host. The
    /// pairs with all hosts of the group are counted together.
    fn connect_rest(&mut self, pairs: &[RecordPair<'e>]) {
        loop {
            let largest = self.members.indices().max_by_key(|&group| self.members[group].len());
            let Some(largest) = largest.filter(|&group| self.members[group].len() > 1) else {
                return;
            };
            let ahead = |host| {
                let known = self.by_host.get(host).filter(|(group, ..)| *group == largest);
                known.map(|&(_, ahead, _)| ahead)
            };
            let first = self.members[largest][0];
            // Corrects the clock at the other end of each pair, as if the group's first host had
            // logged it.
            let mut by_host: BTreeMap<&HostName, Vec<RecordPair<'e>>> = BTreeMap::new();
            for pair in pairs {
                let (host, difference) = match (ahead(pair.from), ahead(pair.to)) {
                    (Some(ahead), None) => (pair.to, pair.difference + ahead),
                    (None, Some(ahead)) => (pair.from, ahead - pair.difference),
                    _ => continue,
                };
                let records =
                    if host == pair.to { pair.records } else { (pair.records.1, pair.records.0) };
                let seen = RecordPair { from: first, to: host, difference, records, ..*pair };
                by_host.entry(host).or_default().push(seen);
            }
            let differences: Vec<ClockDifference<'e>> =
                by_host.into_values().filter_map(agreed_difference).collect();
            if differences.is_empty() {
                return;
            }
            differences.iter().for_each(|found| self.connect(found));
        }
    }

    /// Returns each clock relative to the median clock of its group. The median clock is assumed to
    /// be correct.
    fn clocks(self) -> BTreeMap<HostName, (Clock, GroupIdx)> {
        let mut clocks = BTreeMap::new();
        let groups = self.members.iter_enumerated();
        for (group, members) in groups.filter(|(_, members)| members.len() > 1) {
            let mut ahead: Vec<TimeDelta> =
                members.iter().map(|host| self.by_host[host].1).collect();
            ahead.sort_unstable();
            let middle = ahead[ahead.len() / 2];
            for &host in members {
                let (_, ahead, pairs) = self.by_host[host];
                clocks.insert(host.clone(), (Clock { offset: ahead - middle, pairs }, group));
            }
        }
        clocks
    }
}
