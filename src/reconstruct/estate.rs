//! The estate's names and addresses, learnt from the logs themselves.

use std::collections::{BTreeMap, BTreeSet};

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
    full.into_iter().filter_map(|(label, hosts)| Some((label, *only(&hosts)?))).collect()
}

/// How many times as many connections show an address as one host's than as another's, for the
/// other's to be taken for mistakes.
const SELDOM: u64 = 4;

/// Which host has which names and addresses.
pub(super) struct Estate {
    /// Logging hosts by their names: full and first label.
    names: BTreeMap<String, BTreeSet<Str>>,
    /// Logging hosts by address.
    hosts_by_ip: BTreeMap<String, BTreeSet<Str>>,
    /// Addresses by logging host.
    ips_by_host: BTreeMap<Str, BTreeSet<String>>,
}

impl Estate {
    /// Learns from all logs: whoever logs is a host; the near end of its connections is its own.
    /// What others say of an address counts where a host's own connections say nothing.
    pub fn learn(hosts: &Hosts, gathered: &[Gathered]) -> Estate {
        let mut estate = Estate {
            names: BTreeMap::new(),
            hosts_by_ip: BTreeMap::new(),
            ips_by_host: BTreeMap::new(),
        };
        for host in hosts.names() {
            let label = host.split('.').next().unwrap_or("").to_owned();
            for name in [host.to_string(), label] {
                estate.names.entry(name).or_default().insert(host.clone());
            }
        }
        let mut claims: BTreeMap<&str, BTreeMap<&Str, u64>> = BTreeMap::new();
        for (host, own) in gathered.iter().flat_map(|task| &task.addresses) {
            for (ip, count) in own {
                *claims.entry(ip).or_default().entry(hosts.name(host)).or_default() += count;
            }
        }
        for (ip, claims) in claims {
            let most = claims.values().copied().max().unwrap_or(0);
            // Some records turn a connection's ends around: they are few beside the right ones.
            for (host, _) in claims.iter().filter(|(_, count)| *count * SELDOM > most) {
                estate.address(host, ip);
            }
        }
        let heard = gathered.iter().flat_map(|task| &task.hearsay).filter_map(|(name, ips)| {
            let host = estate.resolve(name)?;
            let ips = ips.iter().filter(|ip| !estate.hosts_by_ip.contains_key(*ip));
            let silent = !estate.ips_by_host.contains_key(host);
            silent.then(|| (host.clone(), ips.collect::<Vec<_>>()))
        });
        for (host, ips) in heard.collect::<Vec<(Str, Vec<&String>)>>() {
            ips.into_iter().for_each(|ip| estate.address(&host, ip));
        }
        estate
    }

    fn address(&mut self, host: &Str, ip: &str) {
        if is_routable(ip) {
            self.hosts_by_ip.entry(ip.to_owned()).or_default().insert(host.clone());
            self.ips_by_host.entry(host.clone()).or_default().insert(ip.to_owned());
        }
    }

    /// The one logging host that a name or address means; none when it could be two.
    pub fn resolve(&self, target: &str) -> Option<&Str> {
        let target = target.to_lowercase();
        let label = || match target.split_once('.') {
            // A full name is another's full name only when they are equal.
            Some((label, _)) => {
                let hosts = self.names.get(label)?;
                hosts.iter().all(|host| !host.contains('.')).then_some(hosts)
            }
            None => None,
        };
        let hosts = match target.parse::<std::net::IpAddr>() {
            Ok(_) => self.hosts_by_ip.get(&target)?,
            // A full name may be logged by its first label only, or the other way round.
            Err(_) => self.names.get(&target).or_else(label)?,
        };
        only(hosts)
    }

    /// The addresses a host is known to have had.
    pub fn addresses(&self, host: &Str) -> Vec<String> {
        self.ips_by_host.get(host).into_iter().flatten().cloned().collect()
    }

    /// The one address a host is known to have.
    pub fn ip_of(&self, host: &Str) -> Option<&String> {
        only(self.ips_by_host.get(host)?)
    }
}

fn only<T>(set: &BTreeSet<T>) -> Option<&T> {
    let mut items = set.iter();
    items.next().filter(|_| items.next().is_none())
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
