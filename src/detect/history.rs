//! The history of a session: the sessions and attempts before it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::model::{
    AccountName, Channel, Coverage, EventKind, FailureReason, IdxVec, Session, SessionIdx,
};
use crate::reconstruct::Reconstruction;

/// The history of a session.
pub(super) struct SessionHistory {
    /// Whether there is no earlier session of its account on its target; `None` if the account is
    /// unknown.
    pub first_seen: Option<bool>,
    /// How many whole hours before the session the logs begin that would show an earlier one.
    pub hours: Option<i64>,
    /// How many refused attempts came before it, of the same source or account at the same
    /// target.
    pub refused: i64,
}

/// Returns the history of each session.
pub(super) fn session_histories(case: &Reconstruction) -> IdxVec<SessionIdx, SessionHistory> {
    let mut logs: BTreeMap<String, Vec<&Coverage>> = BTreeMap::new();
    for coverage in &case.coverage {
        logs.entry(coverage.host.to_lowercase()).or_default().push(coverage);
    }
    let mut pairs: BTreeSet<(String, String)> = BTreeSet::new();
    // Sessions are sorted by their start.
    let histories = case.sessions.iter().map(|session| {
        let accounts = account_keys(session);
        let target = session.target_host.to_lowercase();
        // One session may have only its account's SID, a later one only the name, or both.
        let mut new = true;
        for account in &accounts {
            new &= pairs.insert((account.clone(), target.clone()));
        }
        SessionHistory {
            first_seen: (!accounts.is_empty()).then_some(new),
            hours: logs.get(&target).and_then(|of_target| hours_covered(case, session, of_target)),
            refused: 0,
        }
    });
    let mut histories: IdxVec<SessionIdx, SessionHistory> = histories.collect();
    let turned_away = case.attempts.iter().filter(|attempt| {
        use FailureReason::{AccessDenied, BadCredentials, NotAuthorised};
        matches!(attempt.reason, AccessDenied | BadCredentials | NotAuthorised)
    });
    for later in turned_away.filter_map(|attempt| attempt.later) {
        histories[later].refused += 1;
    }
    histories
}

/// Returns the SID and name of a session's account.
fn account_keys(session: &Session) -> Vec<String> {
    let sid = session.user_sid.clone();
    let name = session.user.as_ref().map(AccountName::spelling_key);
    sid.into_iter().chain(name).filter(|name| !name.is_empty()).collect()
}

/// Returns how many whole hours before a session the target's logs begin that show sessions.
///
/// Only channels from which the session itself is known on the target count, and of these the one
/// that begins earliest: it shows this session, so it would have shown an earlier one. Logons
/// alone do not show a session, so Security and Sysmon count only if they show its host process.
fn hours_covered(case: &Reconstruction, session: &Session, logs: &[&Coverage]) -> Option<i64> {
    let seen = session.evidence.iter().filter_map(|evidence| {
        let event = &case.events[evidence.event];
        let on_target = case.name(&event.host).eq_ignore_ascii_case(&session.target_host);
        let channel = Channel::of(&event.channel, &event.provider);
        let shows_session = match channel {
            Channel::Security | Channel::Sysmon => {
                matches!(event.kind, EventKind::ProcessStart(_))
            }
            _ => true,
        };
        (on_target && shows_session).then_some(channel)
    });
    let seen: BTreeSet<Channel> = seen.collect();
    let first: Option<DateTime<Utc>> = logs
        .iter()
        .filter(|coverage| seen.contains(&coverage.channel))
        .map(|coverage| coverage.first.0)
        .min();
    // The run cannot have seen events outside its time window.
    let first = first?.max(case.window.from.unwrap_or(DateTime::<Utc>::MIN_UTC));
    Some((session.start - first).num_hours().max(0))
}
