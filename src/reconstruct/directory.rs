//! The names and addresses of hosts, learned from the logs.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::hosts::LoggingHosts;
use super::marks::TaskMarks;
use super::names::exactly_one;
use super::sightings::Sightings;
use crate::model::{HostName, host_key, is_address, short_name};

/// How many times more connections must show an address for one host than for another, so that the
/// other is taken as a mistake.
const MISTAKE_RATIO: u64 = 4;

/// Which host has which names and addresses. Addresses change hands, so every look-up of an address
/// has a time.
pub(super) struct HostDirectory {
    /// Logging hosts by their full name and by its first label.
    names: BTreeMap<String, BTreeSet<HostName>>,
    /// Logging hosts by address.
    hosts_by_ip: BTreeMap<String, BTreeMap<HostName, Sightings>>,
    /// Addresses by logging host.
    ips_by_host: BTreeMap<HostName, BTreeMap<String, Sightings>>,
    /// Hosts whose addresses are known from other hosts' records only.
    known_by_report: BTreeSet<HostName>,
    /// Hosts without logs in the input, by first label, as other hosts' records name them.
    unlogged_hosts: BTreeMap<String, UnloggedHost>,
    /// The first labels of such hosts, by address.
    unlogged_by_ip: BTreeMap<String, BTreeSet<String>>,
}

/// A host that is known from other hosts' records only.
struct UnloggedHost {
    /// The longest of its names, lower case.
    name: HostName,
    ips: BTreeMap<String, Sightings>,
}

impl HostDirectory {
    /// Builds the directory from all marks. The near end of a host's connection is its own address.
    /// Addresses that other hosts report count only if the host's own connections show none.
    pub fn build(hosts: &LoggingHosts, task_marks: &[TaskMarks]) -> HostDirectory {
        let mut directory = HostDirectory {
            names: BTreeMap::new(),
            hosts_by_ip: BTreeMap::new(),
            ips_by_host: BTreeMap::new(),
            known_by_report: BTreeSet::new(),
            unlogged_hosts: BTreeMap::new(),
            unlogged_by_ip: BTreeMap::new(),
        };
        for host in hosts.names() {
            for name in [host.as_str(), host.short_name()].map(str::to_owned) {
                directory.names.entry(name).or_default().insert(host.clone());
            }
        }
        let mut claims: BTreeMap<&str, BTreeMap<&HostName, Sightings>> = BTreeMap::new();
        for (host, own) in task_marks.iter().flat_map(|task| &task.addresses) {
            for (ip, seen) in own {
                let claims = claims.entry(ip).or_default();
                claims.entry(hosts.full_name(host)).or_default().add_all(seen);
            }
        }
        for (ip, mut claims) in claims {
            claims.values_mut().for_each(Sightings::sort_and_join);
            for (host, seen) in &claims {
                if !claims.values().any(|other| is_mistake(seen, other)) {
                    directory.add_address(host, ip, seen);
                }
            }
        }
        let mut reported: BTreeMap<HostName, BTreeMap<&str, Sightings>> = BTreeMap::new();
        for (name, ips) in task_marks.iter().flat_map(|task| &task.reported_addresses) {
            let Some(host) = directory.host_of_name(name) else {
                directory.add_unlogged_host(name, ips);
                continue;
            };
            // A host's own connections are better evidence than reports of others.
            if directory.ips_by_host.contains_key(host) {
                continue;
            }
            let known = reported.entry(host.clone()).or_default();
            for (ip, seen) in ips {
                known.entry(ip).or_default().add_all(seen);
            }
        }
        for (host, ips) in reported {
            for (ip, mut seen) in ips {
                seen.sort_and_join();
                directory.add_address(&host, ip, &seen);
            }
            directory.known_by_report.insert(host);
        }
        let ips = directory
            .unlogged_hosts
            .values_mut()
            .flat_map(|unlogged_host| unlogged_host.ips.values_mut());
        ips.for_each(Sightings::sort_and_join);
        directory
    }

    fn add_unlogged_host(&mut self, name: &str, ips: &BTreeMap<String, Sightings>) {
        let label = short_name(name);
        if label.is_empty() || self.names.contains_key(label) || is_address(name) {
            return;
        }
        for (ip, seen) in ips.iter().filter(|(ip, _)| is_routable(ip)) {
            let unknown = || UnloggedHost { name: name.into(), ips: BTreeMap::new() };
            let unlogged_host = self.unlogged_hosts.entry(label.to_owned()).or_insert_with(unknown);
            if (name.len(), &*unlogged_host.name) > (unlogged_host.name.len(), name) {
                unlogged_host.name = name.into();
            }
            unlogged_host.ips.entry(ip.clone()).or_default().add_all(seen);
            self.unlogged_by_ip.entry(ip.clone()).or_default().insert(label.to_owned());
        }
    }

    /// Returns the host without logs that others name with an address that no logging host has. If
    /// there are several, returns the one that was named nearest to `time`.
    pub fn unlogged_host_by_ip(&self, ip: &str, time: DateTime<Utc>) -> Option<&HostName> {
        let labels = self.unlogged_by_ip.get(ip).filter(|_| !self.hosts_by_ip.contains_key(ip))?;
        let named = labels.iter().map(|label| &self.unlogged_hosts[label]);
        unique_nearest(
            named.map(|unlogged_host| (unlogged_host.ips[ip].distance(time), &unlogged_host.name)),
        )
    }

    /// Returns the fullest name of a host without logs.
    pub fn unlogged_host(&self, name: &str) -> Option<&HostName> {
        let known = self.unlogged_hosts.get(&host_key(name));
        known.map(|unlogged_host| &unlogged_host.name)
    }

    fn add_address(&mut self, host: &HostName, ip: &str, seen: &Sightings) {
        if is_routable(ip) {
            let hosts = self.hosts_by_ip.entry(ip.to_owned()).or_default();
            hosts.insert(host.clone(), seen.clone());
            let ips = self.ips_by_host.entry(host.clone()).or_default();
            ips.insert(ip.to_owned(), seen.clone());
        }
    }

    /// Returns the logging host that has a name or address at a time. Returns `None` if there are
    /// two.
    pub fn resolve(&self, target: &str, time: DateTime<Utc>) -> Option<&HostName> {
        match is_address(target) {
            true => self.host_of_ip(&target.to_lowercase(), time),
            false => self.host_of_name(target),
        }
    }

    /// Returns the only logging host with a name.
    fn host_of_name(&self, name: &str) -> Option<&HostName> {
        let name = name.to_lowercase();
        // A full name may be logged as its first label only, and the other way round. Two different
        // full names are two hosts.
        let label = || {
            let short = Some(short_name(&name)).filter(|short| *short != name)?;
            let hosts = self.names.get(short)?;
            hosts.iter().all(|host| !host.contains('.')).then_some(hosts)
        };
        exactly_one(self.names.get(&name).or_else(label)?.iter())
    }

    /// Returns the only host that has an address at a time. If several had it, returns the one seen
    /// with it nearest to `time`; on a tie, a host's own records count before reports of others.
    fn host_of_ip(&self, ip: &str, time: DateTime<Utc>) -> Option<&HostName> {
        let claims = self.hosts_by_ip.get(ip)?;
        let held = claims.iter().filter(|(host, _)| self.holds_address(host, ip, time));
        let held = held
            .map(|(host, seen)| ((seen.distance(time), self.known_by_report.contains(host)), host));
        let held: Vec<_> = held.collect();
        let unique_nearest = held.iter().map(|(rank, _)| *rank).min()?;
        exactly_one(held.iter().filter(|(rank, _)| *rank == unique_nearest)).map(|(_, host)| *host)
    }

    /// Returns true if an address that a host was seen with belongs to it at a time, and was not
    /// replaced by another.
    fn holds_address(&self, host: &HostName, ip: &str, time: DateTime<Utc>) -> bool {
        self.ips_by_host.get(host).is_some_and(|ips| {
            let own = ips.get(ip);
            own.is_some_and(|own| !ips.values().any(|other| own.was_replaced_by(other, time)))
        })
    }

    /// Returns all known addresses of a host.
    pub fn addresses(&self, host: &HostName) -> Vec<String> {
        self.ips_by_host.get(host).into_iter().flatten().map(|(ip, _)| ip.clone()).collect()
    }

    /// Returns the only known address of a host at a time.
    pub fn ip_of(&self, host: &HostName, time: DateTime<Utc>) -> Option<&String> {
        let Some(ips) = self.ips_by_host.get(host) else {
            let unlogged_host = self.unlogged_hosts.get(&host_key(host))?;
            return unique_nearest(
                unlogged_host.ips.iter().map(|(ip, seen)| (seen.distance(time), ip)),
            );
        };
        exactly_one(ips.keys().filter(|ip| self.holds_address(host, ip, time)))
    }
}

/// Returns the nearest item. Returns `None` if two are equally near.
fn unique_nearest<T>(items: impl Iterator<Item = (TimeDelta, T)>) -> Option<T> {
    let mut items: Vec<(TimeDelta, T)> = items.collect();
    items.sort_by_key(|(distance, _)| *distance);
    let tie = items.len() > 1 && items[0].0 == items[1].0;
    items.into_iter().next().filter(|_| !tie).map(|(_, item)| item)
}

/// Returns true if the sightings of one host's address are a mistake, given those of another host.
/// Some records swap the ends of a connection. They are few, and lie among the correct ones.
fn is_mistake(seen: &Sightings, other: &Sightings) -> bool {
    seen.count * MISTAKE_RATIO <= other.count && seen.lies_within(other)
}

/// Returns true if an address identifies a host: it is not loopback, link-local, multicast or
/// unset.
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

#[cfg(test)]
mod tests {
    use super::super::tests::{ANN, WINRM, by, logon, on, rebuilt_from, shell};
    use crate::model::{Record, SessionIdx};

    fn ntlm(seconds: i64, workstation: &str, ip: &str) -> Record {
        let data = [
            ("TargetUserName", "bob"),
            ("TargetUserSid", "S-1-5-21-1-1-1-1102"),
            ("TargetLogonId", "0x999"),
            ("LogonType", "3"),
            ("AuthenticationPackageName", "NTLM"),
            ("WorkstationName", workstation),
            ("IpAddress", ip),
        ];
        on("file", seconds, "Security", 4624, &data)
    }

    fn called_from(ip: &str) -> Record {
        let uri = format!(
            "http://schemas.microsoft.com/powershell/Microsoft.PowerShell (CORP\\ann clientIP: {ip})"
        );
        let data = [("resourceUri", uri.as_str())];
        Record { ..by(ANN, 900, on("srv", 1000, WINRM, 91, &data)) }
    }

    #[test]
    fn a_host_without_logs_goes_by_the_name_that_others_give_its_address() {
        let named = rebuilt_from(vec![ntlm(10, "PC9", "10.0.0.9"), called_from("10.0.0.9")]);
        assert_eq!(named.sessions[SessionIdx::new(0)].source_host.as_deref(), Some("pc9"));
        // Two names at the same time: neither.
        let two =
            vec![ntlm(10, "PC9", "10.0.0.9"), ntlm(10, "PC8", "10.0.0.9"), called_from("10.0.0.9")];
        assert_eq!(rebuilt_from(two).sessions[SessionIdx::new(0)].source_host, None);
        // The host that had the address last before the session.
        let later = vec![
            ntlm(-20_000, "PC8", "10.0.0.9"),
            ntlm(900, "PC9", "10.0.0.9"),
            called_from("10.0.0.9"),
        ];
        assert_eq!(
            rebuilt_from(later).sessions[SessionIdx::new(0)].source_host.as_deref(),
            Some("pc9")
        );
    }

    #[test]
    fn a_client_known_by_its_sid_has_the_name_that_logons_give_it() {
        let target = [("connection", "far.corp/wsman?PSVersion=5.1.1")];
        let reconstruction = rebuilt_from(vec![
            logon("file", 1, "ann", ANN, "0x111"),
            by(ANN, 50, on("pc", 100, WINRM, 6, &target)),
            shell("other", 5000, ANN),
        ]);
        let client =
            reconstruction.sessions.iter().find(|session| &*session.target_host == "far.corp");
        let user = client.and_then(|session| session.user.as_ref()).map(ToString::to_string);
        assert_eq!(user.as_deref(), Some("CORP\\ann"));
    }
}
