//! Where a session came from: all evidence is weighed, best first.
//!
//! The logon itself does not tell: HTTP.sys ends the connection, so 4624 has no address.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::clocks::Clocks;
use super::estate::Estate;
use super::witnesses::Witnesses;
use super::{Draft, JOIN_WINDOW, STEP_WINDOW, WINRM_PORTS, near};
use crate::model::{Auth, Event, EventKind, Link, Str, file_name};

/// How long before a session its service ticket may have been asked for; it may also have been
/// cached for hours, and then no record is near.
const TICKET_WINDOW: TimeDelta = JOIN_WINDOW;

/// Kinds of evidence for a source, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Basis {
    Shell,
    Ssh,
    Client,
    Credentials,
    Ticket,
    Connection,
    Ntlm,
    Logon,
}

impl Basis {
    fn as_str(self) -> &'static str {
        match self {
            Basis::Shell => "winrm 91 clientIP",
            Basis::Ssh => "openssh 4",
            Basis::Client => "client's winrm 6",
            Basis::Credentials => "client's 4648",
            Basis::Ticket => "domain controller's 4769",
            Basis::Connection => "connection to WinRM's port",
            Basis::Ntlm => "domain controller's 4776",
            Basis::Logon => "4624's own address",
        }
    }
}

/// A hint at the source: what it is, what it names, what else it says of the session.
struct Hint {
    basis: Basis,
    event: usize,
    host: Option<Str>,
    ip: Option<String>,
    auth: Option<Auth>,
    https: Option<bool>,
}

impl Hint {
    fn new(basis: Basis, event: usize, host: Option<Str>, ip: Option<String>) -> Hint {
        Hint { basis, event, host, ip, auth: None, https: None }
    }
}

/// Finds the source of a draft, completes name and address, and adds the records that agree.
pub(super) fn weigh(
    events: &[Event],
    estate: &Estate,
    clocks: &Clocks,
    witnesses: &Witnesses<'_>,
    draft: &mut Draft,
) {
    let mut hints = hints(events, estate, clocks, witnesses, draft);
    let corrected = |host: &Str, time| clocks.correct(host, time);
    let logged_by = draft.server.as_ref().or(draft.source_host.as_ref());
    let start = logged_by.map_or(draft.start(), |host| corrected(host, draft.start()));
    hints.sort_by_key(|hint| {
        let event = &events[hint.event];
        let distance = (corrected(&event.host, event.time) - start).abs();
        (hint.basis, distance, hint.event)
    });
    let Some(best) = hints.first() else { return };
    draft.source_basis = best.basis.as_str();
    let at = draft.start();
    let by_ip = |ip: &Option<String>| ip.as_deref().and_then(|ip| estate.resolve(ip, at)).cloned();
    // An address that is no logging host's does not speak against the client that was joined.
    let joined = draft.source_host.take();
    draft.source_host = best.host.clone().or_else(|| by_ip(&best.ip)).or(joined);
    let by_host = || draft.source_host.as_ref().and_then(|host| estate.ip_of(host, at)).cloned();
    draft.source_ip = best.ip.clone().or_else(by_host);
    for hint in &hints {
        let host = hint.host.clone().or_else(|| by_ip(&hint.ip));
        let same_ip = hint.ip.is_some() && hint.ip == draft.source_ip;
        let same_host = host.is_some() && host == draft.source_host;
        if !(same_ip || same_host) {
            continue;
        }
        draft.add(hint.event, Link::Time);
        draft.source_host = draft.source_host.take().or(host);
        draft.source_ip = draft.source_ip.take().or_else(|| hint.ip.clone());
        draft.auth = draft.auth.or(hint.auth);
        draft.https = draft.https.or(hint.https);
        draft.dc |= matches!(hint.basis, Basis::Ticket | Basis::Ntlm);
        let logged_by = Some(&events[hint.event].host);
        draft.client_seen |=
            logged_by == draft.source_host.as_ref() && logged_by != draft.server.as_ref();
    }
    // An address that is no known host's goes with the one name that is.
    if draft.source_host.is_none() && draft.source_ip.is_some() {
        let unplaced = |hint: &&Hint| {
            hint.ip.is_none()
                && hint.host.as_ref().is_some_and(|host| estate.addresses(host).is_empty())
        };
        let named: BTreeSet<&Str> =
            hints.iter().filter(unplaced).filter_map(|hint| hint.host.as_ref()).collect();
        if let [host] = named.iter().collect::<Vec<_>>()[..] {
            draft.source_host = Some((*host).clone());
            for hint in hints.iter().filter(unplaced) {
                draft.add(hint.event, Link::Time);
                draft.auth = draft.auth.or(hint.auth);
                draft.dc |= hint.basis == Basis::Ntlm;
            }
        }
    }
    // The target saw callers whose addresses are no known host's: one caller is the source.
    if draft.source_ip.is_none() {
        let inbound = hints.iter().filter(|hint| {
            hint.basis == Basis::Connection && hint.host.is_none() && by_ip(&hint.ip).is_none()
        });
        let inbound: Vec<&Hint> = inbound.collect();
        let addresses: BTreeSet<&String> =
            inbound.iter().filter_map(|hint| hint.ip.as_ref()).collect();
        if let [address] = addresses.iter().collect::<Vec<_>>()[..] {
            draft.source_ip = Some((*address).clone());
            for hint in inbound {
                draft.add(hint.event, Link::Time);
                draft.https = draft.https.or(hint.https);
            }
        }
    }
}

fn hints(
    events: &[Event],
    estate: &Estate,
    clocks: &Clocks,
    witnesses: &Witnesses<'_>,
    draft: &Draft,
) -> Vec<Hint> {
    let mut hints = Vec::new();
    if let Some(shell) = draft.shell
        && let EventKind::ShellCreated(created) = &events[shell].kind
        && created.client_ip.is_some()
    {
        hints.push(Hint::new(Basis::Shell, shell, None, created.client_ip.clone()));
    }
    if let Some(client) = draft.client {
        hints.push(Hint::new(Basis::Client, client, Some(events[client].host.clone()), None));
    }
    // A target whose logs are not at hand goes by the name that the client used.
    let named = || {
        let target = draft.client_target.as_deref()?;
        Some(
            estate
                .resolve(target, draft.start())
                .cloned()
                .unwrap_or_else(|| target.to_lowercase().into()),
        )
    };
    let Some(server) = draft.server.clone().or_else(named) else { return hints };
    let label = server.split('.').next().unwrap_or("").to_owned();
    let target = Target { label, server, time: draft.start(), estate, clocks };
    let logged_by = draft.server.as_ref().or(draft.source_host.as_ref()).unwrap_or(&target.server);
    let start = clocks.correct(logged_by, draft.start());
    let process = draft.client.map(|client| &events[client]);
    let process = process.and_then(|client| Some((&client.host, client.process_id?)));
    let user = draft.user.as_ref();
    let mut near = witnesses.near(&target.server, user, process, start, TICKET_WINDOW);
    near.extend(draft.evidence.keys());
    hints.extend(near.into_iter().filter_map(|index| target.hint(events, draft, index)));
    hints
}

/// Whether a domain controller granted what was asked; not every version logs a status.
fn succeeded(status: &str) -> bool {
    matches!(status, "" | "0x0" | "0")
}

/// The session's target, as other records may name it.
struct Target<'e> {
    server: Str,
    label: String,
    /// When its session started.
    time: DateTime<Utc>,
    estate: &'e Estate,
    clocks: &'e Clocks,
}

impl Target<'_> {
    /// Whether a name, address or service (`HTTP/host`, `HOST$`) is the target.
    fn is(&self, name: &str) -> bool {
        let name = name.split('/').nth(1).unwrap_or(name).trim_end_matches('$');
        match self.estate.resolve(name, self.time) {
            Some(host) => *host == self.server,
            None => {
                let label = name.split('.').next().unwrap_or("");
                let address = self.server.parse::<std::net::IpAddr>().is_ok();
                name.eq_ignore_ascii_case(&self.server)
                    || (!address && label.eq_ignore_ascii_case(&self.label))
            }
        }
    }

    /// A logging host's name for what a record calls it, or the record's word.
    fn host(&self, name: Option<&str>) -> Option<Str> {
        name.map(|name| {
            self.estate.resolve(name, self.time).cloned().unwrap_or_else(|| name.into())
        })
    }

    /// What a record near the session's start says of its source.
    fn hint(&self, events: &[Event], draft: &Draft, index: usize) -> Option<Hint> {
        let event = &events[index];
        let at_target = event.host == self.server;
        let logged_by =
            draft.server.as_ref().or(draft.source_host.as_ref()).unwrap_or(&self.server);
        let start = self.clocks.correct(logged_by, draft.start());
        let time = self.clocks.correct(&event.host, event.time);
        let close = near(time, start, STEP_WINDOW);
        let same_user = |account: Option<&_>| {
            account.is_some() && draft.user.is_some() && draft.can_be(account, None)
        };
        match &event.kind {
            EventKind::ExplicitCredentials(used) => {
                let http = used.target_info.to_uppercase().starts_with("HTTP/");
                let fits = close && !at_target && http && self.is(&used.target_info);
                let hint = || Hint::new(Basis::Credentials, index, Some(event.host.clone()), None);
                (fits && draft.can_be(used.account.as_ref(), None)).then(hint)
            }
            EventKind::KerberosTicket(ticket) => {
                const SERVICE_TICKET: u32 = 4769;
                let fits = event.event_id == SERVICE_TICKET
                    && time >= start - TICKET_WINDOW
                    && time <= start + STEP_WINDOW
                    && succeeded(&ticket.status)
                    && self.is(&ticket.service)
                    && same_user(ticket.account.as_ref());
                fits.then(|| Hint {
                    auth: Some(Auth::Kerberos),
                    ..Hint::new(Basis::Ticket, index, None, ticket.ip.clone())
                })
            }
            EventKind::Connection(connection) => {
                let outbound = connection.outbound;
                let here = if outbound {
                    self.is(&connection.destination_ip) || self.is(&connection.destination_host)
                } else {
                    at_target
                };
                // Event forwarding and the like: a service's connection is no person's session.
                let service = outbound && file_name(&connection.image) == "svchost.exe";
                let port = WINRM_PORTS.contains(&connection.destination_port) && !draft.ssh;
                // The process that opened the session opened its connection, too.
                let own = outbound
                    && draft.client.is_some_and(|client| {
                        let client = &events[client];
                        client.host == event.host
                            && client.process_id == Some(connection.process_id)
                            && connection.process_id != 0
                            && near(client.time, event.time, STEP_WINDOW)
                    });
                let fits = port && (own || (close && here && !service));
                let ip = Some(connection.source_ip.clone()).filter(|ip| !ip.is_empty());
                let host = outbound.then(|| event.host.clone());
                fits.then(|| Hint {
                    https: Some(connection.destination_port == WINRM_PORTS[1]),
                    ..Hint::new(Basis::Connection, index, host, ip)
                })
            }
            EventKind::NtlmValidation(check) => {
                let fits = close
                    && !at_target
                    && succeeded(&check.status)
                    && draft.auth != Some(Auth::Kerberos)
                    && same_user(check.account.as_ref());
                fits.then(|| Hint {
                    auth: Some(Auth::Ntlm),
                    ..Hint::new(Basis::Ntlm, index, self.host(check.workstation.as_deref()), None)
                })
            }
            EventKind::SshAccepted(caller) => {
                let fits = at_target && draft.ssh && close && same_user(caller.account.as_ref());
                fits.then(|| Hint::new(Basis::Ssh, index, None, Some(caller.ip.clone())))
            }
            EventKind::Logon(logon) => {
                let fits = at_target && draft.evidence.contains_key(&index);
                let host = self.host(logon.workstation.as_deref());
                let told = host.is_some() || logon.ip.is_some();
                (fits && told).then(|| Hint::new(Basis::Logon, index, host, logon.ip.clone()))
            }
            _ => None,
        }
    }
}
