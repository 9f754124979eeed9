//! When sessions may have started and where, and which hints may speak of one.
//!
//! A busy domain controller grants tickets all day. Those that may tell a session's source name its
//! target or its account, and come near its start.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::directory::HostDirectory;
use super::gather::{Hint, HintMark, Key, Keys};
use super::hosts::Hosts;
use super::windows::{CLOCK_ERROR, JOIN_WINDOW, STEP_WINDOW};
use crate::model::{HostIdx, IdxVec};

/// Hosts that are told apart by a name or address that they share; one that more share may speak of
/// any session.
const MOST_HOLDERS: usize = 16;

/// Where and when sessions may have started.
pub(super) struct SessionStarts {
    /// Of each host, the starts of sessions on it, by its own clock and by its clients'.
    on: IdxVec<HostIdx, Vec<DateTime<Utc>>>,
    /// By what clients call targets.
    called: HashMap<Key, Vec<DateTime<Utc>>>,
    /// Of each host, when its clients began.
    clients: IdxVec<HostIdx, Vec<DateTime<Utc>>>,
    /// Clients that may be no session's: of which host, when, and to which.
    others: Vec<(HostIdx, DateTime<Utc>, HostIdx)>,
    /// Of each host, when others' clients tried to reach it.
    tried: IdxVec<HostIdx, Vec<DateTime<Utc>>>,
    /// All of them.
    any: Vec<DateTime<Utc>>,
    /// The hosts with sessions, by first label and by addresses that they had at any time.
    holders: HashMap<Key, Vec<HostIdx>>,
}

impl SessionStarts {
    pub fn of(hosts: &Hosts) -> SessionStarts {
        let none = || hosts.names().map(|_| Vec::new()).collect();
        SessionStarts {
            on: none(),
            called: HashMap::new(),
            clients: none(),
            others: Vec::new(),
            tried: none(),
            any: Vec::new(),
            holders: HashMap::new(),
        }
    }

    /// Takes a start on a host.
    pub fn on(&mut self, host: HostIdx, time: DateTime<Utc>) {
        self.on[host].push(time);
    }

    /// Takes when a host's client began that may have a session or fail to get one, what it calls
    /// its target, and which host that is, if one that logs.
    pub fn client(
        &mut self,
        host: HostIdx,
        time: DateTime<Utc>,
        name: Key,
        target: Option<HostIdx>,
    ) {
        self.clients[host].push(time);
        self.called.entry(name).or_default().push(time);
        if let Some(target) = target {
            self.tried[target].push(time);
            self.on[target].push(time);
        }
    }

    /// Takes when a client began that is no session's, unless there is one near it on its target.
    pub fn other_client(&mut self, host: HostIdx, time: DateTime<Utc>, target: Option<HostIdx>) {
        match target {
            Some(target) => self.others.push((host, time, target)),
            None => self.clients[host].push(time),
        }
    }

    /// Puts all of them in order, and learns what their hosts are called.
    pub fn settle(&mut self, hosts: &Hosts, directory: &HostDirectory, keys: &Keys) {
        let in_order = |times: &mut Vec<DateTime<Utc>>| {
            times.sort_unstable();
            times.dedup();
        };
        self.on.iter_mut().for_each(in_order);
        for (host, time, target) in std::mem::take(&mut self.others) {
            if is_near(&self.on[target], time, CLOCK_ERROR + JOIN_WINDOW) {
                self.clients[host].push(time);
            }
        }
        self.any = self.on.iter().chain(self.called.values()).flatten().copied().collect();
        let others = self.clients.iter_mut().chain(&mut self.tried);
        others.chain(self.called.values_mut()).chain([&mut self.any]).for_each(in_order);
        for (host, _) in self.on.iter_enumerated().filter(|(_, starts)| !starts.is_empty()) {
            let name = hosts.full_name(host);
            let addresses = directory.addresses(name);
            let addresses = addresses.iter().map(|address| keys.of(&address.to_lowercase()));
            let names: HashSet<Key> =
                std::iter::once(keys.of_host(name)).chain(addresses).collect();
            for name in names.into_iter().filter(|name| name.is_some()) {
                let holders = self.holders.entry(name).or_default();
                if holders.len() <= MOST_HOLDERS {
                    holders.push(host);
                }
            }
        }
    }

    /// Whether a session on a host started at most so long before or after a time on its clock.
    pub fn is_on(&self, host: HostIdx, time: DateTime<Utc>, window: TimeDelta) -> bool {
        is_near(&self.on[host], time, window)
    }

    /// Whether a host's clients began at about a time on its clock.
    pub fn is_clients(&self, host: HostIdx, time: DateTime<Utc>) -> bool {
        is_near(&self.clients[host], time, STEP_WINDOW)
    }

    /// Whether what a host refused at a time may be an attempt that a client's log shows.
    pub fn is_attempt(&self, host: HostIdx, time: DateTime<Utc>) -> bool {
        is_near(&self.tried[host], time, CLOCK_ERROR + STEP_WINDOW)
    }

    /// Whether a hint that a host logged may speak of a session of somebody who had one.
    pub fn may_concern(&self, host: HostIdx, hint: &HintMark, who: &HashSet<Key>) -> bool {
        let time = hint.mark.time;
        match hint.what {
            Hint::Inbound => self.is_on(host, time, CLOCK_ERROR + JOIN_WINDOW),
            Hint::Check => {
                who.contains(&hint.account) && is_near(&self.any, time, CLOCK_ERROR + JOIN_WINDOW)
            }
            Hint::Ticket => self.names_target(hint),
            Hint::Credentials | Hint::Outbound => {
                self.is_clients(host, time) || self.names_target(hint)
            }
        }
    }

    /// Whether a hint names a target near the start of a session there.
    fn names_target(&self, hint: &HintMark) -> bool {
        let near = |times: &Vec<_>| is_near(times, hint.mark.time, CLOCK_ERROR + JOIN_WINDOW);
        hint.targets.iter().filter(|target| target.is_some()).any(|target| {
            let holders = self.holders.get(target).map_or(&[][..], Vec::as_slice);
            self.called.get(target).is_some_and(near)
                || match holders.len() > MOST_HOLDERS {
                    true => near(&self.any),
                    false => holders.iter().any(|&host| near(&self.on[host])),
                }
        })
    }
}

/// Whether one of some times, which are in order, is at most `window` away.
pub(super) fn is_near(times: &[DateTime<Utc>], time: DateTime<Utc>, window: TimeDelta) -> bool {
    let next = times.partition_point(|&known| known < time - window);
    times.get(next).is_some_and(|&known| known <= time + window)
}
