//! The estate's names and addresses, learnt from the logs themselves.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::seen::Seen;
use super::server::only;
use super::{Gathered, Hosts};
use crate::model::Str;

/// The full names of hosts that log under their first label in one log and their full name in
/// another, unless two hosts share the label.
pub(super) fn full_names<'h>(hosts: impl Iterator<Item = &'h Str>) -> BTreeMap<&'h str, &'h Str> {
    let mut full: BTreeMap<&str, BTreeSet<&Str>> = BTreeMap::new();
    for host in hosts {
        if let Some((label, _)) = host.split_once('.') {
            full.entry(label).or_default().insert(host);
        }
    }
    full.into_iter().filter_map(|(label, hosts)| Some((label, *only(hosts.iter())?))).collect()
}

/// How many times as many connections show an address as one host's than as another's, for the
/// other's to be taken for mistakes.
const SELDOM: u64 = 4;

/// Which host has which names and addresses. Addresses change hands: all that is asked of them is
/// asked for a time.
pub(super) struct Estate {
    /// Logging hosts by their names: full and first label.
    names: BTreeMap<String, BTreeSet<Str>>,
    /// Logging hosts by address.
    hosts_by_ip: BTreeMap<String, BTreeMap<Str, Seen>>,
    /// Addresses by logging host.
    ips_by_host: BTreeMap<Str, BTreeMap<String, Seen>>,
    /// Hosts whose addresses only others tell.
    hearsay: BTreeSet<Str>,
}

impl Estate {
    /// Learns from all logs: whoever logs is a host; the near end of its connections is its own.
    /// What others say of an address counts where a host's own connections say nothing.
    pub fn learn(hosts: &Hosts, gathered: &[Gathered]) -> Estate {
        let mut estate = Estate {
            names: BTreeMap::new(),
            hosts_by_ip: BTreeMap::new(),
            ips_by_host: BTreeMap::new(),
            hearsay: BTreeSet::new(),
        };
        for host in hosts.names() {
            let label = host.split('.').next().unwrap_or("").to_owned();
            for name in [host.to_string(), label] {
                estate.names.entry(name).or_default().insert(host.clone());
            }
        }
        let mut claims: BTreeMap<&str, BTreeMap<&Str, Seen>> = BTreeMap::new();
        for (host, own) in gathered.iter().flat_map(|task| &task.addresses) {
            for (ip, seen) in own {
                let claims = claims.entry(ip).or_default();
                claims.entry(hosts.name(host)).or_default().merge(seen);
            }
        }
        for (ip, mut claims) in claims {
            claims.values_mut().for_each(Seen::settle);
            for (host, seen) in &claims {
                if !claims.values().any(|other| is_mistake(seen, other)) {
                    estate.address(host, ip, seen);
                }
            }
        }
        let mut heard: BTreeMap<Str, BTreeMap<&str, Seen>> = BTreeMap::new();
        for (name, ips) in gathered.iter().flat_map(|task| &task.hearsay) {
            let Some(host) = estate.host_of_name(name) else { continue };
            // A host that tells its own addresses is known better than others know it.
            if estate.ips_by_host.contains_key(host) {
                continue;
            }
            let known = heard.entry(host.clone()).or_default();
            for (ip, seen) in ips {
                known.entry(ip).or_default().merge(seen);
            }
        }
        for (host, ips) in heard {
            for (ip, mut seen) in ips {
                seen.settle();
                estate.address(&host, ip, &seen);
            }
            estate.hearsay.insert(host);
        }
        estate
    }

    fn address(&mut self, host: &Str, ip: &str, seen: &Seen) {
        if is_routable(ip) {
            let hosts = self.hosts_by_ip.entry(ip.to_owned()).or_default();
            hosts.insert(host.clone(), seen.clone());
            let ips = self.ips_by_host.entry(host.clone()).or_default();
            ips.insert(ip.to_owned(), seen.clone());
        }
    }

    /// The one logging host that a name or address means at a time; none when it could be two.
    pub fn resolve(&self, target: &str, time: DateTime<Utc>) -> Option<&Str> {
        match target.parse::<std::net::IpAddr>() {
            Ok(_) => self.host_of_ip(&target.to_lowercase(), time),
            Err(_) => self.host_of_name(target),
        }
    }

    /// The one logging host that a name means.
    fn host_of_name(&self, name: &str) -> Option<&Str> {
        let name = name.to_lowercase();
        // A full name may be logged by its first label only, or the other way round; it is another's
        // full name only when they are equal.
        let label = || {
            let hosts = self.names.get(name.split_once('.')?.0)?;
            hosts.iter().all(|host| !host.contains('.')).then_some(hosts)
        };
        only(self.names.get(&name).or_else(label)?.iter())
    }

    /// The one host that has an address at a time: of several that had it, the one that was seen
    /// with it nearest to then; its own word before others'.
    fn host_of_ip(&self, ip: &str, time: DateTime<Utc>) -> Option<&Str> {
        let claims = self.hosts_by_ip.get(ip)?;
        let held = claims.iter().filter(|(host, _)| self.has(host, ip, time));
        let held =
            held.map(|(host, seen)| ((seen.distance(time), self.hearsay.contains(host)), host));
        let held: Vec<_> = held.collect();
        let nearest = held.iter().map(|(rank, _)| *rank).min()?;
        only(held.iter().filter(|(rank, _)| *rank == nearest)).map(|(_, host)| *host)
    }

    /// Whether an address that a host was seen with is its own at a time, and was not changed for
    /// another.
    fn has(&self, host: &Str, ip: &str, time: DateTime<Utc>) -> bool {
        self.ips_by_host.get(host).is_some_and(|ips| {
            let own = ips.get(ip);
            own.is_some_and(|own| !ips.values().any(|other| own.gave_way(other, time)))
        })
    }

    /// The addresses a host is known to have had.
    pub fn addresses(&self, host: &Str) -> Vec<String> {
        self.ips_by_host.get(host).into_iter().flatten().map(|(ip, _)| ip.clone()).collect()
    }

    /// The one address a host is known to have at a time.
    pub fn ip_of(&self, host: &Str, time: DateTime<Utc>) -> Option<&String> {
        let ips = self.ips_by_host.get(host)?.keys();
        only(ips.filter(|ip| self.has(host, ip, time)))
    }
}

/// Whether what is seen of one host's address is a mistake beside what is seen of another's: some
/// records turn a connection's ends around, and they are few beside and among the right ones.
fn is_mistake(seen: &Seen, other: &Seen) -> bool {
    seen.count * SELDOM <= other.count && seen.within(other)
}

/// Whether an address tells hosts apart: not loopback, link-local, multicast or unset.
fn is_routable(ip: &str) -> bool {
    match ip.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => {
            !(ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_unspecified()
                || ip.is_broadcast())
        }
        Ok(std::net::IpAddr::V6(ip)) => {
            !(ip.is_loopback()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip.is_unspecified())
        }
        Err(_) => false,
    }
}
