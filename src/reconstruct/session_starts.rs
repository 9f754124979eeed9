//! When and where sessions may have started, and which hints may concern one.
//!
//! A busy domain controller grants tickets all day. Only those that name a session's target or
//! account, near its start, may show its source.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::directory::HostDirectory;
use super::hosts::LoggingHosts;
use super::marks::{HintKind, HintMark, KeyHasher, TextKey};
use super::windows::{JOIN_WINDOW, MAX_CLOCK_DIFFERENCE, STEP_WINDOW};
use crate::model::{HostIdx, IdxVec};

/// Most hosts that may share a name or address. A name or address that more hosts share may mean
/// any session.
const MOST_HOLDERS: usize = 16;

/// Where and when sessions may have started.
pub(super) struct SessionStarts {
    /// The starts of sessions on each host, by its own clock and by its clients' clocks.
    starts: IdxVec<HostIdx, Vec<DateTime<Utc>>>,
    /// Starts by the name that the client used for the target.
    by_target_name: HashMap<TextKey, Vec<DateTime<Utc>>>,
    /// When the clients of each host connected.
    clients: IdxVec<HostIdx, Vec<DateTime<Utc>>>,
    /// Clients that may have no session: host, time and target.
    unconfirmed_clients: Vec<(HostIdx, DateTime<Utc>, HostIdx)>,
    /// When clients of other hosts tried to reach each host.
    tried: IdxVec<HostIdx, Vec<DateTime<Utc>>>,
    /// All starts.
    all_starts: Vec<DateTime<Utc>>,
    /// The hosts with sessions, by first label and by all addresses that they ever had.
    holders: HashMap<TextKey, Vec<HostIdx>>,
}

impl SessionStarts {
    pub fn new(hosts: &LoggingHosts) -> SessionStarts {
        let none = || hosts.names().map(|_| Vec::new()).collect();
        SessionStarts {
            starts: none(),
            by_target_name: HashMap::new(),
            clients: none(),
            unconfirmed_clients: Vec::new(),
            tried: none(),
            all_starts: Vec::new(),
            holders: HashMap::new(),
        }
    }

    /// Adds a start on a host.
    pub fn add_start(&mut self, host: HostIdx, time: DateTime<Utc>) {
        self.starts[host].push(time);
    }

    /// Adds a client that may have a session or fail to get one: its host and time, the name that
    /// it used for the target, and the target if it logs.
    pub fn add_client(
        &mut self,
        host: HostIdx,
        time: DateTime<Utc>,
        name: TextKey,
        target: Option<HostIdx>,
    ) {
        self.clients[host].push(time);
        self.by_target_name.entry(name).or_default().push(time);
        if let Some(target) = target {
            self.tried[target].push(time);
            self.starts[target].push(time);
        }
    }

    /// Adds a client that has no session of its own. It counts only if a session started near it on
    /// its target.
    pub fn add_other_client(
        &mut self,
        host: HostIdx,
        time: DateTime<Utc>,
        target: Option<HostIdx>,
    ) {
        match target {
            Some(target) => self.unconfirmed_clients.push((host, time, target)),
            None => self.clients[host].push(time),
        }
    }

    /// Sorts all times, and indexes the names and addresses of the hosts.
    pub fn sort_and_index(
        &mut self,
        hosts: &LoggingHosts,
        directory: &HostDirectory,
        keys: &KeyHasher,
    ) {
        let in_order = |times: &mut Vec<DateTime<Utc>>| {
            times.sort_unstable();
            times.dedup();
        };
        self.starts.iter_mut().for_each(in_order);
        for (host, time, target) in std::mem::take(&mut self.unconfirmed_clients) {
            if any_near(&self.starts[target], time, MAX_CLOCK_DIFFERENCE + JOIN_WINDOW) {
                self.clients[host].push(time);
            }
        }
        self.all_starts =
            self.starts.iter().chain(self.by_target_name.values()).flatten().copied().collect();
        let others = self.clients.iter_mut().chain(&mut self.tried);
        others
            .chain(self.by_target_name.values_mut())
            .chain([&mut self.all_starts])
            .for_each(in_order);
        for (host, _) in self.starts.iter_enumerated().filter(|(_, starts)| !starts.is_empty()) {
            let name = hosts.name_at(host);
            let addresses = directory.addresses(name);
            let addresses = addresses.iter().map(|address| keys.text_key(&address.to_lowercase()));
            let names: HashSet<TextKey> =
                std::iter::once(keys.host_key(name)).chain(addresses).collect();
            for name in names.into_iter().filter(|name| name.is_some()) {
                let holders = self.holders.entry(name).or_default();
                if holders.len() <= MOST_HOLDERS {
                    holders.push(host);
                }
            }
        }
    }

    /// Returns true if a session on a host started within `window` of a time by its clock.
    pub fn has_start_near(&self, host: HostIdx, time: DateTime<Utc>, window: TimeDelta) -> bool {
        any_near(&self.starts[host], time, window)
    }

    /// Returns true if a client of a host connected at about this time by its clock.
    pub fn has_client_near(&self, host: HostIdx, time: DateTime<Utc>) -> bool {
        any_near(&self.clients[host], time, STEP_WINDOW)
    }

    /// Returns true if a refusal by a host may belong to an attempt in a client's log.
    pub fn may_be_attempt(&self, host: HostIdx, time: DateTime<Utc>) -> bool {
        any_near(&self.tried[host], time, MAX_CLOCK_DIFFERENCE + STEP_WINDOW)
    }

    /// Returns true if a hint may concern a session of one of the accounts.
    pub fn may_concern(
        &self,
        host: HostIdx,
        hint: &HintMark,
        account_keys: &HashSet<TextKey>,
    ) -> bool {
        let time = hint.mark.time;
        match hint.kind {
            HintKind::Inbound => {
                self.has_start_near(host, time, MAX_CLOCK_DIFFERENCE + JOIN_WINDOW)
            }
            HintKind::Check => {
                account_keys.contains(&hint.account)
                    && any_near(&self.all_starts, time, MAX_CLOCK_DIFFERENCE + JOIN_WINDOW)
            }
            HintKind::Ticket => self.names_target(hint),
            HintKind::Credentials | HintKind::Outbound => {
                self.has_client_near(host, time) || self.names_target(hint)
            }
        }
    }

    /// Returns true if a hint names a target near the start of a session there.
    fn names_target(&self, hint: &HintMark) -> bool {
        let near =
            |times: &Vec<_>| any_near(times, hint.mark.time, MAX_CLOCK_DIFFERENCE + JOIN_WINDOW);
        hint.targets.iter().filter(|target| target.is_some()).any(|target| {
            let holders = self.holders.get(target).map_or(&[][..], Vec::as_slice);
            self.by_target_name.get(target).is_some_and(near)
                || match holders.len() > MOST_HOLDERS {
                    true => near(&self.all_starts),
                    false => holders.iter().any(|&host| near(&self.starts[host])),
                }
        })
    }
}

/// Returns true if one of the times, which are in order, is within `window` of `time`.
pub(super) fn any_near(times: &[DateTime<Utc>], time: DateTime<Utc>, window: TimeDelta) -> bool {
    let next = times.partition_point(|&known| known < time - window);
    times.get(next).is_some_and(|&known| known <= time + window)
}
