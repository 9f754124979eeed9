//! Names of hosts, and the one rule for the same host.
//!
//! Logs name a host by its full name, by the first label of it, or by an address, in any case.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::{Str, is_same};

/// A host's name or address, as it was logged or typed. Two are equal if their texts are; whether
/// they mean one host, [`HostName::same_host`] says.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(Str);

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, to share.
    pub(crate) fn shared(&self) -> &Str {
        &self.0
    }

    /// Whether two names are one text, which most often is shared.
    pub(crate) fn is_same_text(&self, other: &HostName) -> bool {
        is_same(&self.0, &other.0)
    }

    /// Whether two names can mean one host: see `same_host`.
    pub fn same_host(&self, other: &str) -> bool {
        same_host(self, other)
    }

    /// The first label: see `short_name`.
    pub fn short_name(&self) -> &str {
        short_name(self)
    }
}

impl Deref for HostName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Str> for HostName {
    fn from(name: Str) -> HostName {
        HostName(name)
    }
}

impl From<&str> for HostName {
    fn from(name: &str) -> HostName {
        HostName(name.into())
    }
}

impl From<String> for HostName {
    fn from(name: String) -> HostName {
        HostName(name.into())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Whether two names can mean one host: they are equal but for case, or one is short and the first
/// label of the other. An address is the same as itself only, and an empty name as none.
pub(crate) fn same_host(a: &str, b: &str) -> bool {
    if a.is_empty() || b.is_empty() {
        return false;
    }
    if a.eq_ignore_ascii_case(b) {
        return true;
    }
    let one_is_short = !a.contains('.') || !b.contains('.');
    one_is_short
        && !is_address(a)
        && !is_address(b)
        && short_name(a).to_lowercase() == short_name(b).to_lowercase()
}

/// The first label of a host's name, as it is shown and as hosts are looked up by; all of an
/// address.
pub(crate) fn short_name(name: &str) -> &str {
    match name.split_once('.') {
        Some((label, _)) if !is_address(name) => label,
        _ => name,
    }
}

/// The key that hosts are looked up by, whoever names them: the first label or the address, in
/// lower case. Names that are the `same_host` have the same one, and hosts of one label in other
/// domains, too.
pub(crate) fn host_key(name: &str) -> String {
    short_name(name).to_lowercase()
}

/// The host in the name of a service (`HTTP/host`, `HTTP/host:5985`) or of a machine's account
/// (`HOST$`).
pub(crate) fn host_of_service(name: &str) -> &str {
    split_port(name.split('/').nth(1).unwrap_or(name)).0.trim_end_matches('$')
}

/// Splits `host:port` and `[v6]:port`; a bare IPv6 address has no port.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Whether it is an address, not a name.
pub(crate) fn is_address(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_same_in_short_and_in_full() {
        for (a, b) in [
            ("srv02.corp.example", "SRV02"),
            ("srv02", "srv02.corp.example"),
            ("SRV02.Corp.Example", "srv02.corp.example"),
            ("Srv02", "srv02"),
            ("BÜRO1", "büro1.corp"),
            ("10.0.0.1", "10.0.0.1"),
            ("FE80::1", "fe80::1"),
        ] {
            assert!(same_host(a, b) && same_host(b, a), "{a} {b}");
        }
    }

    #[test]
    fn other_domains_addresses_and_nothing_are_other_hosts() {
        for (a, b) in [
            ("srv02.corp.example", "srv02.other.example"),
            ("srv02", "srv03.corp.example"),
            ("srv02", "srv020"),
            ("10.0.0.1", "10.0.0.2"),
            ("10.0.0.1", "10"),
            ("10", "10.0.0.1"),
            ("", ""),
            ("", "srv02"),
            ("", ".corp"),
        ] {
            assert!(!same_host(a, b) && !same_host(b, a), "{a} {b}");
        }
    }

    #[test]
    fn what_is_the_same_host_has_the_same_key() {
        assert_eq!([host_key("SRV02.corp"), host_key("srv02")], ["srv02", "srv02"]);
        assert_eq!([host_key("10.0.0.1"), host_key("FE80::1")], ["10.0.0.1", "fe80::1"]);
        assert_eq!(host_key(""), "");
    }

    #[test]
    fn names_are_shown_by_their_first_label() {
        assert_eq!(HostName::from("WS01.corp.example").short_name(), "WS01");
        assert_eq!(HostName::from("10.0.0.1").short_name(), "10.0.0.1");
    }

    #[test]
    fn services_and_machines_name_hosts() {
        for (service, host) in [
            ("HTTP/srv.corp", "srv.corp"),
            ("SRV$", "SRV"),
            ("srv", "srv"),
            ("HTTP/srv.corp/CORP", "srv.corp"),
            ("WSMAN/srv.corp:5985", "srv.corp"),
            ("HTTP/srv:5986", "srv"),
            ("HTTP/[fe80::1]:5985", "fe80::1"),
            ("fe80::1", "fe80::1"),
        ] {
            assert_eq!(host_of_service(service), host, "{service}");
        }
    }
}
