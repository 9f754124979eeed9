//! What is known of a session from the sessions and attempts before it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::model::{
    AccountName, Channel, Coverage, EventKind, FailureReason, IdxVec, Session, SessionIdx,
};
use crate::reconstruct::Reconstruction;

/// What went before a session.
pub(super) struct History {
    /// Whether its account and target have no earlier session; none where the account is unknown.
    pub first_seen: Option<bool>,
    /// How many whole hours before it the logs reach back that would show an earlier one.
    pub hours: Option<i64>,
    /// How many refused attempts it follows: of the same source or account at the same target.
    pub refused: i64,
}

/// What went before each session of a case.
pub(super) fn histories(case: &Reconstruction) -> IdxVec<SessionIdx, History> {
    let mut logs: BTreeMap<String, Vec<&Coverage>> = BTreeMap::new();
    for coverage in &case.coverage {
        logs.entry(coverage.host.to_lowercase()).or_default().push(coverage);
    }
    let mut pairs: BTreeSet<(String, String)> = BTreeSet::new();
    // Sessions are in the order of their starts.
    let histories = case.sessions.iter().map(|session| {
        let accounts = accounts(session);
        let target = session.target_host.to_lowercase();
        // A session may be known by its account's SID and a later one by its name, or both.
        let mut new = true;
        for account in &accounts {
            new &= pairs.insert((account.clone(), target.clone()));
        }
        History {
            first_seen: (!accounts.is_empty()).then_some(new),
            hours: logs.get(&target).and_then(|of_target| hours(case, session, of_target)),
            refused: 0,
        }
    });
    let mut histories: IdxVec<SessionIdx, History> = histories.collect();
    let turned_away = case.attempts.iter().filter(|attempt| {
        use FailureReason::{AccessDenied, BadCredentials, NotAuthorised};
        matches!(attempt.reason, AccessDenied | BadCredentials | NotAuthorised)
    });
    for later in turned_away.filter_map(|attempt| attempt.later) {
        histories[later].refused += 1;
    }
    histories
}

/// The names that a session's account goes by.
fn accounts(session: &Session) -> Vec<String> {
    let sid = session.user_sid.clone();
    let name = session.user.as_ref().map(AccountName::spelling_key);
    sid.into_iter().chain(name).filter(|name| !name.is_empty()).collect()
}

/// How far the logs of the target that tell of sessions reach back before one, in whole hours.
///
/// Of the channels that the session itself is known from there, the one that reaches furthest
/// counts: as it shows this session, it would have shown an earlier one. Logons alone show none, so
/// Security and Sysmon count only where they show its host process.
fn hours(case: &Reconstruction, session: &Session, logs: &[&Coverage]) -> Option<i64> {
    let seen = session.evidence.iter().filter_map(|evidence| {
        let event = &case.events[evidence.event];
        let on_target = case.name(&event.host).eq_ignore_ascii_case(&session.target_host);
        let channel = Channel::of(&event.channel, &event.provider);
        let tells = match channel {
            Channel::Security | Channel::Sysmon => {
                matches!(event.kind, EventKind::ProcessStart(_))
            }
            _ => true,
        };
        (on_target && tells).then_some(channel)
    });
    let seen: BTreeSet<Channel> = seen.collect();
    let first: Option<DateTime<Utc>> = logs
        .iter()
        .filter(|coverage| seen.contains(&coverage.channel))
        .map(|coverage| coverage.first.0)
        .min();
    // What the run leaves out, it cannot have seen.
    let first = first?.max(case.window.from.unwrap_or(DateTime::<Utc>::MIN_UTC));
    Some((session.start - first).num_hours().max(0))
}
