//! When sessions may have started and where, and which hints may speak of one.
//!
//! A busy domain controller grants tickets all day. Those that may tell a session's source name its
//! target or its account, and come near its start.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::directory::HostDirectory;
use super::hosts::LoggingHosts;
use super::marks::{HintKind, HintMark, KeyHasher, TextKey};
use super::windows::{JOIN_WINDOW, MAX_CLOCK_DIFFERENCE, STEP_WINDOW};
use crate::model::{HostIdx, IdxVec};

/// Hosts that are told apart by a name or address that they share; one that more share may speak of
/// any session.
const MOST_HOLDERS: usize = 16;

/// Where and when sessions may have started.
pub(super) struct SessionStarts {
    /// Of each host, the starts of sessions on it, by its own clock and by its clients'.
    starts: IdxVec<HostIdx, Vec<DateTime<Utc>>>,
    /// By what clients call targets.
    by_target_name: HashMap<TextKey, Vec<DateTime<Utc>>>,
    /// Of each host, when its clients began.
    clients: IdxVec<HostIdx, Vec<DateTime<Utc>>>,
    /// Clients that may be no session's: of which host, when, and to which.
    unconfirmed_clients: Vec<(HostIdx, DateTime<Utc>, HostIdx)>,
    /// Of each host, when others' clients tried to reach it.
    tried: IdxVec<HostIdx, Vec<DateTime<Utc>>>,
    /// All of them.
    all_starts: Vec<DateTime<Utc>>,
    /// The hosts with sessions, by first label and by addresses that they had at any time.
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

    /// Takes a start on a host.
    pub fn add_start(&mut self, host: HostIdx, time: DateTime<Utc>) {
        self.starts[host].push(time);
    }

    /// Takes when a host's client began that may have a session or fail to get one, what it calls
    /// its target, and which host that is, if one that logs.
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

    /// Takes when a client began that is no session's, unless there is one near it on its target.
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

    /// Puts all of them in order, and learns what their hosts are called.
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
            let name = hosts.full_name(host);
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

    /// Whether a session on a host started at most so long before or after a time on its clock.
    pub fn has_start_near(&self, host: HostIdx, time: DateTime<Utc>, window: TimeDelta) -> bool {
        any_near(&self.starts[host], time, window)
    }

    /// Whether a host's clients began at about a time on its clock.
    pub fn has_client_near(&self, host: HostIdx, time: DateTime<Utc>) -> bool {
        any_near(&self.clients[host], time, STEP_WINDOW)
    }

    /// Whether what a host refused at a time may be an attempt that a client's log shows.
    pub fn may_be_attempt(&self, host: HostIdx, time: DateTime<Utc>) -> bool {
        any_near(&self.tried[host], time, MAX_CLOCK_DIFFERENCE + STEP_WINDOW)
    }

    /// Whether a hint that a host logged may speak of a session of somebody who had one.
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

    /// Whether a hint names a target near the start of a session there.
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

/// Whether one of some times, which are in order, is at most `window` away.
pub(super) fn any_near(times: &[DateTime<Utc>], time: DateTime<Utc>, window: TimeDelta) -> bool {
    let next = times.partition_point(|&known| known < time - window);
    times.get(next).is_some_and(|&known| known <= time + window)
}
