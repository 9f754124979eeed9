//! Failed attempts, from the logs of clients and targets, and the later sessions that they led to.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::client::ClientConnections;
use super::index::Events;
use super::lookup::LookupTables;
use super::windows::{STEP_WINDOW, is_within};
use crate::model::{
    Attempt, AttemptIdx, EventIdx, EventKind, FailureReason, HostName, IdxVec, Session, SessionIdx,
    Sides,
};

/// Most refusals or sessions that one attempt is compared with. Keeps a log full of forged records
/// cheap.
const MOST_RIVALS: usize = 64;

/// Returns the failed attempts, with the matching records of the targets and the domain
/// controllers.
pub(super) fn failed_attempts(
    tables: LookupTables<'_>,
    failures: ClientConnections,
) -> IdxVec<AttemptIdx, Attempt> {
    let LookupTables { events, directory, clocks, .. } = tables;
    // The refusals of each host, in order of time.
    let mut by_host: BTreeMap<&HostName, Vec<EventIdx>> = BTreeMap::new();
    for (index, event) in events.iter_enumerated() {
        if matches!(event.kind, EventKind::AuthorizationFailed(_) | EventKind::LogonFailed(_)) {
            by_host.entry(&event.host).or_default().push(index);
        }
    }
    let mut attempts: IdxVec<AttemptIdx, Attempt> = failures
        .into_iter()
        .map(|client| {
            let server = directory.resolve(&client.target, client.time).cloned();
            let mut found: Vec<EventIdx> = client.evidence.keys().copied().collect();
            let (mut reason, error_code) = main_reason(events, &client.failures);
            let mut sides = Sides { client: true, ..Sides::default() };
            let tried = clocks.correct(&client.host, client.time);
            let refusals = server.as_ref().and_then(|server| by_host.get(server));
            let refusals = refusals.map_or(&[][..], Vec::as_slice);
            // The time of the attempt by the target's clock.
            let then = tried + clocks.offset(server.as_ref().unwrap_or(&client.host));
            let from = refusals.partition_point(|&at| events[at].time < then - STEP_WINDOW);
            let near = refusals[from..].iter().take(MOST_RIVALS).copied();
            let near = near.map(|index| (index, &events[index]));
            for (index, event) in near.take_while(|(_, event)| event.time <= then + STEP_WINDOW) {
                let refused = match &event.kind {
                    EventKind::AuthorizationFailed(_) => Some(FailureReason::NotAuthorised),
                    EventKind::LogonFailed(logon) => {
                        let same = match (&client.account, &logon.account) {
                            (Some(used), Some(tried)) => used.same_as(tried),
                            (None, _) | (_, None) => false,
                        };
                        same.then_some(FailureReason::BadCredentials)
                    }
                    _ => None,
                };
                if let Some(refused) = refused {
                    sides.server = true;
                    found.push(index);
                    if reason == FailureReason::Other {
                        reason = refused;
                    }
                }
            }
            found.sort_unstable();
            Attempt {
                time: client.time,
                source_host: client.host.clone(),
                source_ip: directory.ip_of(&client.host, client.time).cloned(),
                target_host: server.unwrap_or_else(|| client.target.as_str().into()),
                user: client.account.clone(),
                user_sid: client.user_sid.clone(),
                reason,
                error_code,
                later: None,
                sides,
                events: found,
            }
        })
        .collect();
    attempts.extend(refusals_without_client(events, &attempts));
    attempts.sort_by(|a, b| {
        (a.time, &a.source_host, &a.events).cmp(&(b.time, &b.source_host, &b.events))
    });
    attempts
}

/// How long after a failed attempt a session of the same caller may be its next try.
const RETRY_WINDOW: TimeDelta = TimeDelta::hours(1);

/// Links each attempt to the next session on its target by the same source or account. `sessions`
/// are in order of their starts. All names are as logged.
pub(super) fn link_later_sessions(
    attempts: &mut [Attempt],
    sessions: &IdxVec<SessionIdx, Session>,
) {
    for attempt in attempts {
        let from = sessions.partition_point(|session| session.start < attempt.time);
        let soon = sessions.as_slice()[from..].iter().enumerate();
        let soon = soon.take_while(|(_, session)| session.start <= attempt.time + RETRY_WINDOW);
        let mut on_target = soon
            .filter(|(_, session)| session.target_host.eq_ignore_ascii_case(&attempt.target_host))
            .take(MOST_RIVALS);
        let later = on_target.find(|(_, session)| {
            let source = session.source_host.as_ref().filter(|_| !attempt.source_host.is_empty());
            let source = source.map(|host| host.eq_ignore_ascii_case(&attempt.source_host));
            let user = attempt.user.as_ref().zip(session.user.as_ref());
            let user = user.map(|(tried, had)| tried.same_as(had));
            // All facts that are known on both sides must agree, and at least one must be known.
            [source, user].iter().flatten().count() > 0
                && [source, user].iter().flatten().all(|&same| same)
        });
        attempt.later = later.map(|(after, _)| SessionIdx::new(from + after));
    }
}

/// Returns the refusals of targets whose clients' logs are not in the input. Refusals of one host
/// within [`STEP_WINDOW`] are one attempt.
fn refusals_without_client(events: &Events, known: &[Attempt]) -> Vec<Attempt> {
    let known_reasons: BTreeSet<EventIdx> =
        known.iter().flat_map(|attempt| attempt.events.iter().copied()).collect();
    let mut refusals: Vec<Attempt> = Vec::new();
    let mut latest: BTreeMap<&HostName, usize> = BTreeMap::new();
    for (index, event) in
        events.iter_enumerated().filter(|(index, _)| !known_reasons.contains(index))
    {
        let EventKind::AuthorizationFailed(error_code) = event.kind else { continue };
        if let Some(&slot) = latest.get(&event.host)
            && is_within(refusals[slot].time, event.time, STEP_WINDOW)
        {
            refusals[slot].events.push(index);
            continue;
        }
        latest.insert(&event.host, refusals.len());
        refusals.push(Attempt {
            time: event.time,
            source_host: "".into(),
            source_ip: None,
            target_host: event.host.clone(),
            user: None,
            user_sid: None,
            reason: FailureReason::NotAuthorised,
            error_code,
            later: None,
            sides: Sides { server: true, ..Sides::default() },
            events: vec![index],
        });
    }
    refusals
}

/// Returns the most specific reason among a client's failures, and the first error code.
fn main_reason(events: &Events, failures: &[EventIdx]) -> (FailureReason, Option<u32>) {
    let known_reasons = failures.iter().filter_map(|&index| match &events[index].kind {
        EventKind::ClientFailure(failure) => {
            Some((reason_by_code(events[index].event_id, failure.error_code), failure.error_code))
        }
        _ => None,
    });
    let known_reasons: Vec<_> = known_reasons.collect();
    let reason =
        known_reasons.iter().map(|(reason, _)| *reason).min().unwrap_or(FailureReason::Other);
    (reason, known_reasons.iter().find_map(|(_, code)| *code))
}

/// Maps an error code to a reason. Sources: winerror.h and wsmerror.h.
fn reason_by_code(event_id: u32, code: Option<u32>) -> FailureReason {
    match (event_id, code) {
        (164, _) | (_, Some(5 | 0x8007_0005)) => FailureReason::AccessDenied,
        (162, _) | (_, Some(1326 | 0x8007_052e | 0x8009_030c)) => FailureReason::BadCredentials,
        (_, Some(0x8033_8126 | 0x8033_8012 | 0x8033_809d)) => FailureReason::Unreachable,
        _ => FailureReason::Other,
    }
}
