//! Finds where a session came from: all evidence is compared, best first.
//!
//! The logon does not show it: HTTP.sys ends the connection, so 4624 has no address.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::draft::SessionDraft;
use super::lookup::LookupTables;
use super::names::WINRM_PORTS;
use super::source_index::SourceIndex;
use super::windows::{JOIN_WINDOW, STEP_WINDOW, is_within};
use crate::model::{
    AccountName, Auth, EventIdx, EventKind, HostName, Link, Rejected, Rival, SourceBasis,
    SourceEvidence, SourceHint, Weighed, file_name, host_of_service,
};

/// How long before a session its service ticket may have been requested. The ticket may also have
/// been cached for hours; then no record is near.
const TICKET_WINDOW: TimeDelta = JOIN_WINDOW;

/// How much nearer to a session's start one of two hints of a kind must be to decide. About what
/// the network and the target need for one step.
const DECISIVE: TimeDelta = TimeDelta::seconds(2);

/// Most rival sources of a session that are compared and kept. Keeps a log full of forged records
/// cheap.
const MOST_KEPT_RIVALS: usize = 8;

/// A record that may show the source: its kind, the source that it names, and other facts about the
/// session.
struct CandidateHint {
    basis: SourceEvidence,
    event: EventIdx,
    host: Option<HostName>,
    ip: Option<String>,
    auth: Option<Auth>,
    https: Option<bool>,
    /// Set at once if the record cannot be the session's.
    rejected: Option<Rejected>,
}

impl CandidateHint {
    fn new(
        basis: SourceEvidence,
        event: EventIdx,
        host: Option<HostName>,
        ip: Option<String>,
    ) -> CandidateHint {
        CandidateHint { basis, event, host, ip, auth: None, https: None, rejected: None }
    }

    /// Returns true if two hints name the same source: the same address or the same host.
    fn agrees(&self, other: &CandidateHint) -> bool {
        let ip = self.ip.is_some() && self.ip == other.ip;
        ip || (self.host.is_some() && self.host == other.host)
    }

    /// Returns true if two hints name different sources. If one names a host and the other an
    /// address without a known host, they may be the same.
    fn differs(&self, other: &CandidateHint) -> bool {
        let hosts = self.host.is_some() && other.host.is_some();
        let ips = self.ip.is_some() && other.ip.is_some();
        (hosts || ips) && !self.agrees(other)
    }

    fn to_source_hint(&self) -> SourceHint {
        SourceHint {
            basis: self.basis,
            host: self.host.clone(),
            ip: self.ip.clone(),
            event: self.event,
            records: 1,
        }
    }
}

/// Sets the source of a draft with name and address, adds the records that agree, and keeps those
/// that do not.
pub(super) fn assess_source(
    tables: LookupTables<'_>,
    source_index: &SourceIndex<'_>,
    draft: &mut SessionDraft,
) {
    let LookupTables { events, directory, clocks, .. } = tables;
    let logged_by = draft.server.as_ref().or(draft.source_host.as_ref()).cloned();
    let start = logged_by.map_or(draft.start(), |host| clocks.correct(&host, draft.start()));
    let distance = |hint: &CandidateHint| {
        let event = &events[hint.event];
        (clocks.correct(&event.host, event.time) - start).abs()
    };
    let mut hints = candidate_hints(tables, source_index, draft);
    let at = draft.start();
    for hint in &mut hints {
        let named = hint.ip.as_deref().and_then(|ip| {
            directory.resolve(ip, at).or_else(|| directory.unlogged_host_by_ip(ip, at))
        });
        hint.host = hint.host.take().or_else(|| named.cloned());
    }
    hints.sort_by_key(|hint| (hint.rejected.is_some(), hint.basis, distance(hint), hint.event));
    let (best, reason) = match choose(&hints, distance) {
        SourceChoice::Nothing => {
            draft.source_assessment.rivals = rivals(&hints, |hint| hint.rejected);
            return;
        }
        SourceChoice::Undecided(basis) => {
            let same = |hint: &&CandidateHint| hint.basis == basis;
            draft.source_basis = SourceBasis::Undecided;
            draft.auth =
                draft.auth.or(common_value(hints.iter().filter(same).map(|hint| hint.auth)));
            draft.source_assessment.rivals = rivals(&hints, |hint| {
                let undecided =
                    if hint.basis == basis { Rejected::Undecided } else { Rejected::WeakerKind };
                hint.rejected.or(Some(undecided))
            });
            return;
        }
        SourceChoice::Decided(best, reason) => (best, reason),
    };
    let winner = &hints[best];
    draft.source_basis = SourceBasis::Evidence(winner.basis);
    // An address without a logging host does not contradict the client that was joined.
    let joined = draft.source_host.take();
    draft.source_host = winner.host.clone().or(joined);
    let by_host = || draft.source_host.as_ref().and_then(|host| directory.ip_of(host, at)).cloned();
    draft.source_ip = winner.ip.clone().or_else(by_host);
    let mut taken = vec![false; hints.len()];
    for (hint, taken) in hints.iter().zip(&mut taken) {
        let same_ip = hint.ip.is_some() && hint.ip == draft.source_ip;
        let same_host = hint.host.is_some() && hint.host == draft.source_host;
        if hint.rejected.is_some() || !(same_ip || same_host) {
            continue;
        }
        *taken = true;
        draft.add_evidence(hint.event, Link::Source);
        draft.source_host = draft.source_host.take().or_else(|| hint.host.clone());
        draft.source_ip = draft.source_ip.take().or_else(|| hint.ip.clone());
        draft.auth = draft.auth.or(hint.auth);
        draft.https = draft.https.or(hint.https);
        draft.dc |= matches!(hint.basis, SourceEvidence::Ticket | SourceEvidence::Ntlm);
        let logged_by = Some(&events[hint.event].host);
        draft.client_seen |=
            logged_by == draft.source_host.as_ref() && logged_by != draft.server.as_ref();
    }
    // An address without a known host is joined with the only name without a known address.
    if draft.source_host.is_none() && draft.source_ip.is_some() {
        let unplaced = |hint: &&CandidateHint| {
            hint.ip.is_none()
                && hint.host.as_ref().is_some_and(|host| directory.addresses(host).is_empty())
        };
        let named: BTreeSet<&HostName> =
            hints.iter().filter(unplaced).filter_map(|hint| hint.host.as_ref()).collect();
        if let [host] = named.iter().collect::<Vec<_>>()[..] {
            draft.source_host = Some((*host).clone());
            for hint in hints.iter().filter(unplaced) {
                draft.add_evidence(hint.event, Link::Source);
                draft.auth = draft.auth.or(hint.auth);
                draft.dc |= hint.basis == SourceEvidence::Ntlm;
            }
        }
    }
    // If all unknown callers that the target saw have one address, it is the source.
    if draft.source_ip.is_none() {
        let inbound = hints.iter().enumerate().filter(|(_, hint)| {
            hint.basis == SourceEvidence::Connection
                && hint.host.is_none()
                && hint.rejected.is_none()
        });
        let inbound: Vec<(usize, &CandidateHint)> = inbound.collect();
        let addresses: BTreeSet<&String> =
            inbound.iter().filter_map(|(_, hint)| hint.ip.as_ref()).collect();
        if let [address] = addresses.iter().collect::<Vec<_>>()[..] {
            draft.source_ip = Some((*address).clone());
            for (index, hint) in inbound {
                taken[index] = true;
                draft.add_evidence(hint.event, Link::Source);
                draft.https = draft.https.or(hint.https);
            }
        }
    }
    let nearest = distance(winner);
    // Hints for the same source are not rivals, whatever their kind.
    let same = |hint: &CandidateHint| {
        (hint.host.is_some() && hint.host == draft.source_host)
            || (hint.ip.is_some() && hint.ip == draft.source_ip)
    };
    let others = hints.iter().zip(&taken).filter(|(hint, taken)| !**taken && !same(hint));
    let others: Vec<&CandidateHint> = others.map(|(hint, _)| hint).collect();
    draft.source_assessment = Weighed {
        winner: Some(winner.to_source_hint()),
        agreeing: grouped(
            hints
                .iter()
                .enumerate()
                .filter(|&(index, _)| index != best && taken[index])
                .map(|(_, hint)| hint),
        ),
        rivals: rivals(others, |hint| {
            let why = || match (hint.basis == winner.basis, reason) {
                (false, _) => Rejected::WeakerKind,
                (true, ChoiceReason::Agreed) => Rejected::Alone,
                (true, ChoiceReason::Nearest) => Rejected::Farther(distance(hint) - nearest),
            };
            Some(hint.rejected.unwrap_or_else(why))
        }),
    };
}

/// The result of comparing the hints.
enum SourceChoice {
    Nothing,
    /// The best kind of evidence names two sources, and nothing decides between them.
    Undecided(SourceEvidence),
    /// The index of the hint to follow, and why it was chosen among its kind.
    Decided(usize, ChoiceReason),
}

#[derive(Clone, Copy)]
enum ChoiceReason {
    Nearest,
    /// Other kinds agree with it, and with no other hint of its kind.
    Agreed,
}

/// Chooses among hints, which are sorted by kind and distance. If two of the best kind disagree,
/// the one that another kind agrees with wins. Otherwise the nearer one wins, if it is nearer by
/// [`DECISIVE`].
fn choose(hints: &[CandidateHint], distance: impl Fn(&CandidateHint) -> TimeDelta) -> SourceChoice {
    let usable = || hints.iter().enumerate().take_while(|(_, hint)| hint.rejected.is_none());
    let Some((_, best)) = usable().next() else { return SourceChoice::Nothing };
    let of_kind = || usable().filter(|(_, hint)| hint.basis == best.basis);
    let Some((_, rival)) = of_kind().find(|(_, hint)| hint.differs(best)) else {
        return SourceChoice::Decided(0, ChoiceReason::Nearest);
    };
    let agreed = |hint: &CandidateHint| {
        usable().any(|(_, other)| other.basis != best.basis && other.agrees(hint))
    };
    let mut sources: Vec<(usize, &CandidateHint)> = Vec::new();
    for (index, hint) in of_kind() {
        let named = |known: &(usize, &CandidateHint)| {
            (&known.1.host, &known.1.ip) == (&hint.host, &hint.ip)
        };
        if sources.len() < MOST_KEPT_RIVALS && !sources.iter().any(named) {
            sources.push((index, hint));
        }
    }
    let mut backed = sources.into_iter().filter(|(_, hint)| agreed(hint));
    if let Some((index, first)) = backed.next()
        && backed.all(|(_, hint)| !hint.differs(first))
    {
        return SourceChoice::Decided(index, ChoiceReason::Agreed);
    }
    match distance(rival) - distance(best) >= DECISIVE {
        true => SourceChoice::Decided(0, ChoiceReason::Nearest),
        false => SourceChoice::Undecided(best.basis),
    }
}

/// Returns one hint for each kind and source.
fn grouped<'h>(hints: impl Iterator<Item = &'h CandidateHint>) -> Vec<SourceHint> {
    let mut groups: Vec<SourceHint> = Vec::new();
    for hint in hints {
        let found = hint.to_source_hint();
        let same = |known: &SourceHint| {
            (known.basis, &known.host, &known.ip) == (found.basis, &found.host, &found.ip)
        };
        match groups.iter().position(same) {
            Some(known) => groups[known].records += 1,
            None if groups.len() < MOST_KEPT_RIVALS => groups.push(found),
            None => {}
        }
    }
    groups
}

/// Returns one rival for each kind, source and reason.
fn rivals<'h>(
    hints: impl IntoIterator<Item = &'h CandidateHint>,
    why: impl Fn(&CandidateHint) -> Option<Rejected>,
) -> Vec<Rival> {
    let mut rivals: Vec<Rival> = Vec::new();
    for hint in hints {
        let Some(why) = why(hint) else { continue };
        let found = hint.to_source_hint();
        let same = |known: &Rival| {
            let known = &known.hint;
            (known.basis, &known.host, &known.ip) == (found.basis, &found.host, &found.ip)
        };
        match rivals.iter().position(same) {
            Some(known) => rivals[known].hint.records += 1,
            None if rivals.len() < MOST_KEPT_RIVALS => rivals.push(Rival { hint: found, why }),
            None => {}
        }
    }
    rivals
}

/// Returns the value, if all have the same.
fn common_value<T: PartialEq>(mut values: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = values.next()??;
    values.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

fn candidate_hints(
    tables: LookupTables<'_>,
    source_index: &SourceIndex<'_>,
    draft: &SessionDraft,
) -> Vec<CandidateHint> {
    let LookupTables { events, directory, clocks, .. } = tables;
    let mut hints = Vec::new();
    if let Some(shell) = draft.shell
        && let EventKind::ShellCreated(created) = &events[shell].kind
        && created.client_ip.is_some()
    {
        hints.push(CandidateHint::new(
            SourceEvidence::Shell,
            shell,
            None,
            created.client_ip.clone(),
        ));
    }
    for caller in draft.callers.iter().filter(|caller| caller.ip.is_some()) {
        hints.push(CandidateHint::new(
            SourceEvidence::Answer,
            caller.event,
            None,
            caller.ip.clone(),
        ));
    }
    if let Some(client) = draft.client {
        hints.push(CandidateHint::new(
            SourceEvidence::Client,
            client,
            Some(events[client].host.clone()),
            None,
        ));
    }
    for &(rival, rejected) in &draft.client_rivals {
        let host = Some(events[rival].host.clone());
        let hint = CandidateHint::new(SourceEvidence::Client, rival, host, None);
        hints.push(CandidateHint { rejected: Some(rejected), ..hint });
    }
    // A target without logs is identified by the name that the client used.
    let named = || {
        let target = draft.client_target.as_deref()?;
        Some(
            directory
                .resolve(target, draft.start())
                .cloned()
                .unwrap_or_else(|| target.to_lowercase().into()),
        )
    };
    let Some(server) = draft.server.clone().or_else(named) else { return hints };
    let target = SessionTarget { server, time: draft.start(), tables };
    let logged_by = draft.server.as_ref().or(draft.source_host.as_ref()).unwrap_or(&target.server);
    let start = clocks.correct(logged_by, draft.start());
    let process = draft.client.map(|client| &events[client]);
    let process = process.and_then(|client| Some((&client.host, client.process_id?)));
    let user = draft.user.as_ref();
    let mut near = source_index.near(&target.server, user, process, start, TICKET_WINDOW);
    near.extend(draft.evidence.keys());
    hints.extend(near.into_iter().filter_map(|index| target.hint_from_record(draft, index)));
    hints
}

/// Returns true if a domain controller granted the request. Some versions log no status.
fn succeeded(status: &str) -> bool {
    matches!(status, "" | "0x0" | "0")
}

/// The session's target, as other records may name it.
struct SessionTarget<'e> {
    server: HostName,
    /// When the session started.
    time: DateTime<Utc>,
    tables: LookupTables<'e>,
}

impl SessionTarget<'_> {
    /// Returns true if a name, address or service (`HTTP/host`, `HOST$`) is the target.
    fn is_named(&self, name: &str) -> bool {
        let name = host_of_service(name);
        match self.tables.directory.resolve(name, self.time) {
            Some(host) => *host == self.server,
            None => self.server.same_host(name),
        }
    }

    /// Returns the host that a record names, or the record's own text if it is unknown.
    fn host_name(&self, name: Option<&str>) -> Option<HostName> {
        name.map(|name| {
            let known = self.tables.directory.resolve(name, self.time);
            let known = known.or_else(|| self.tables.directory.unlogged_host(name));
            known.cloned().unwrap_or_else(|| name.into())
        })
    }

    /// Returns the hint in a record near the session's start.
    fn hint_from_record(&self, draft: &SessionDraft, index: EventIdx) -> Option<CandidateHint> {
        let events = self.tables.events;
        let event = &events[index];
        let at_target = event.host == self.server;
        let logged_by =
            draft.server.as_ref().or(draft.source_host.as_ref()).unwrap_or(&self.server);
        let start = self.tables.clocks.correct(logged_by, draft.start());
        let time = self.tables.clocks.correct(&event.host, event.time);
        let close = is_within(time, start, STEP_WINDOW);
        let same_user = |account: Option<&_>| {
            account.is_some() && draft.user.is_some() && draft.may_belong_to(account, None)
        };
        let other_user = |account: Option<&AccountName>| {
            let person = account.is_some_and(|account| account.machine().is_none());
            person && draft.user.is_some() && !draft.may_belong_to(account, None)
        };
        match &event.kind {
            EventKind::ExplicitCredentials(used) => {
                let http = used.target_info.to_uppercase().starts_with("HTTP/");
                let fits = close && !at_target && http && self.is_named(&used.target_info);
                let other = other_user(used.account.as_ref());
                fits.then(|| CandidateHint {
                    rejected: other.then_some(Rejected::OtherAccount),
                    ..CandidateHint::new(
                        SourceEvidence::Credentials,
                        index,
                        Some(event.host.clone()),
                        None,
                    )
                })
            }
            EventKind::KerberosTicket(ticket) => {
                const SERVICE_TICKET: u32 = 4769;
                let fits = event.event_id == SERVICE_TICKET
                    && time >= start - TICKET_WINDOW
                    && time <= start + STEP_WINDOW
                    && succeeded(&ticket.status)
                    && !matches!(draft.auth, Some(Auth::Ntlm | Auth::Basic | Auth::Certificate))
                    && self.is_named(&ticket.service);
                let other = close && other_user(ticket.account.as_ref());
                (fits && (other || same_user(ticket.account.as_ref()))).then(|| CandidateHint {
                    auth: Some(Auth::Kerberos),
                    rejected: other.then_some(Rejected::OtherAccount),
                    ..CandidateHint::new(SourceEvidence::Ticket, index, None, ticket.ip.clone())
                })
            }
            EventKind::Connection(connection) => {
                let outbound = connection.outbound;
                let here = if outbound {
                    self.is_named(&connection.destination_ip)
                        || self.is_named(&connection.destination_host)
                } else {
                    at_target
                };
                // A service's connection, such as event forwarding, is not a person's session.
                let service = outbound && file_name(&connection.image) == "svchost.exe";
                let port = WINRM_PORTS.contains(&connection.destination_port) && !draft.ssh;
                // The process that opened the session also opened its connection.
                let own = outbound
                    && draft.client.is_some_and(|client| {
                        let client = &events[client];
                        client.host == event.host
                            && client.process_id == Some(connection.process_id)
                            && connection.process_id != 0
                            && is_within(client.time, event.time, STEP_WINDOW)
                    });
                let fits = port && (own || (close && here && !service));
                let ip = Some(connection.source_ip.clone()).filter(|ip| !ip.is_empty());
                let host = outbound.then(|| event.host.clone());
                fits.then(|| CandidateHint {
                    https: Some(connection.destination_port == WINRM_PORTS[1]),
                    ..CandidateHint::new(SourceEvidence::Connection, index, host, ip)
                })
            }
            EventKind::NtlmValidation(check) => {
                let fits = close
                    && !at_target
                    && succeeded(&check.status)
                    && draft.auth != Some(Auth::Kerberos)
                    && same_user(check.account.as_ref());
                fits.then(|| CandidateHint {
                    auth: Some(Auth::Ntlm),
                    ..CandidateHint::new(
                        SourceEvidence::Ntlm,
                        index,
                        self.host_name(check.workstation.as_deref()),
                        None,
                    )
                })
            }
            EventKind::SshAccepted(caller) => {
                let fits = at_target && draft.ssh && close && same_user(caller.account.as_ref());
                fits.then(|| {
                    CandidateHint::new(SourceEvidence::Ssh, index, None, Some(caller.ip.clone()))
                })
            }
            EventKind::Logon(logon) => {
                let fits = at_target && draft.evidence.contains_key(&index);
                let host = self.host_name(logon.workstation.as_deref());
                let names_source = host.is_some() || logon.ip.is_some();
                (fits && names_source).then(|| {
                    CandidateHint::new(SourceEvidence::Logon, index, host, logon.ip.clone())
                })
            }
            _ => None,
        }
    }
}
