//! Where a session came from: all evidence is weighed, best first.
//!
//! The logon itself does not tell: HTTP.sys ends the connection, so 4624 has no address.

use chrono::TimeDelta;

use super::estate::Estate;
use super::{Draft, STEP_WINDOW, near};
use crate::model::{Auth, Event, EventKind, Link, Str};

/// How long before a session its service ticket may have been asked for; it may also have been
/// cached for hours, and then no record is near.
const TICKET_WINDOW: TimeDelta = TimeDelta::seconds(60);

/// WinRM's ports: HTTP, HTTPS.
const PORTS: [u32; 2] = [5985, 5986];

/// A hint at the source: what it rests on and what it names.
struct Hint {
    basis: &'static str,
    event: usize,
    host: Option<Str>,
    ip: Option<String>,
}

/// Finds the source of a draft, adds what proves it, and completes name and address.
pub(super) fn weigh(events: &[Event], estate: &Estate, draft: &mut Draft) {
    let mut hints = Vec::new();
    if let Some(shell) = draft.shell
        && let EventKind::ShellCreated(created) = &events[shell].kind
        && let Some(ip) = &created.client_ip
    {
        hints.push(Hint {
            basis: "winrm 91 clientIP",
            event: shell,
            host: None,
            ip: Some(ip.clone()),
        });
    }
    if let Some(client) = draft.client {
        let host = Some(events[client].host.clone());
        hints.push(Hint { basis: "client's winrm 6", event: client, host, ip: None });
    }
    hints.extend(elsewhere(events, estate, draft));
    for hint in &hints {
        draft.add(hint.event, Link::Time);
    }
    if let Some(best) = hints.first() {
        draft.source_basis = best.basis;
        let by_ip = || best.ip.as_deref().and_then(|ip| estate.resolve(ip)).cloned();
        let host = best.host.clone().or_else(by_ip);
        let same = |hint: &&Hint| hint.host.is_some() && hint.ip.is_none() || hint.ip == best.ip;
        draft.source_host = host.or_else(|| hints.iter().filter(same).find_map(|h| h.host.clone()));
        let by_host = || draft.source_host.as_ref().and_then(|host| estate.ip_of(host)).cloned();
        draft.source_ip = best.ip.clone().or_else(by_host);
        if draft.source_ip.is_none() {
            draft.source_ip = hints.iter().find_map(|hint| hint.ip.clone());
        }
    }
}

/// What other records near the session's start say, best kind first, nearest first.
fn elsewhere(events: &[Event], estate: &Estate, draft: &mut Draft) -> Vec<Hint> {
    let start = draft.start();
    let server = draft.server.clone();
    let server = server.or_else(|| estate.resolve(draft.client_target.as_deref()?).cloned());
    let Some(server) = server else { return Vec::new() };
    let label = server.split('.').next().unwrap_or("").to_owned();
    let names_target = |name: &str| {
        let name = name.split('/').nth(1).unwrap_or(name).trim_end_matches('$');
        estate.resolve(name).map_or(name.eq_ignore_ascii_case(&label), |host| *host == server)
    };
    let from = events.partition_point(|event| event.time < start - TICKET_WINDOW);
    let to = events.partition_point(|event| event.time <= start + STEP_WINDOW);
    let mut ranked = Vec::new();
    for (index, event) in (from..to).map(|index| (index, &events[index])) {
        let close = near(event.time, start, STEP_WINDOW);
        let (rank, hint) = match &event.kind {
            EventKind::ExplicitCredentials(used)
                if close
                    && event.host != server
                    && used.target_info.to_uppercase().starts_with("HTTP/")
                    && names_target(&used.target_info)
                    && draft.can_be(used.account.as_ref(), None) =>
            {
                let host = Some(event.host.clone());
                (0, Hint { basis: "client's 4648", event: index, host, ip: None })
            }
            EventKind::KerberosTicket(ticket)
                if ticket.account.is_some()
                    && event.event_id == 4769
                    && names_target(&ticket.service)
                    && knows_user(draft)
                    && draft.can_be(ticket.account.as_ref(), None) =>
            {
                draft.dc = true;
                if draft.auth.is_none() {
                    draft.auth = Some(Auth::Kerberos);
                }
                (
                    1,
                    Hint {
                        basis: "domain controller's 4769",
                        event: index,
                        host: None,
                        ip: ticket.ip.clone(),
                    },
                )
            }
            EventKind::Connection(connection)
                if close
                    && PORTS.contains(&connection.destination_port)
                    && draft.client.is_none_or(|client| {
                        event.host == server || events[client].host == event.host
                    })
                    && (event.host == server && !connection.outbound
                        || connection.outbound
                            && (names_target(&connection.destination_ip)
                                || names_target(&connection.destination_host))) =>
            {
                draft.https.get_or_insert(connection.destination_port == PORTS[1]);
                let host = connection.outbound.then(|| event.host.clone());
                let ip = Some(connection.source_ip.clone()).filter(|ip| !ip.is_empty());
                (2, Hint { basis: "connection to WinRM's port", event: index, host, ip })
            }
            EventKind::NtlmValidation(check)
                if close
                    && event.host != server
                    && check.account.is_some()
                    && knows_user(draft)
                    && draft.auth != Some(Auth::Kerberos)
                    && draft.can_be(check.account.as_ref(), None) =>
            {
                draft.dc = true;
                if draft.auth.is_none() {
                    draft.auth = Some(Auth::Ntlm);
                }
                let named = check.workstation.as_deref();
                let host =
                    named.map(|name| estate.resolve(name).cloned().unwrap_or_else(|| name.into()));
                (3, Hint { basis: "domain controller's 4776", event: index, host, ip: None })
            }
            EventKind::Logon(logon)
                if draft.evidence.contains_key(&index)
                    && (logon.ip.is_some() || logon.workstation.is_some())
                    && event.host == server =>
            {
                let named = logon.workstation.as_deref();
                let host =
                    named.map(|name| estate.resolve(name).cloned().unwrap_or_else(|| name.into()));
                (4, Hint { basis: "4624's own address", event: index, host, ip: logon.ip.clone() })
            }
            _ => continue,
        };
        ranked.push((rank, (event.time - start).abs(), index, hint));
    }
    ranked.sort_by_key(|(rank, distance, index, _)| (*rank, *distance, *index));
    // The nearest of each kind is the session's; others may be another session's.
    ranked.dedup_by_key(|(rank, ..)| *rank);
    ranked.into_iter().map(|(_, _, _, hint)| hint).collect()
}

fn knows_user(draft: &Draft) -> bool {
    draft.user.is_some()
}
