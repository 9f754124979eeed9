//! How far a session can be trusted, and the reasons.

use super::clocks::HostClocks;
use super::draft::SessionDraft;
use super::process::TrackedProcess;
use crate::model::{Confidence, ConfidenceReason, EndKind, Link, Rejected, Sides, Weighed};

/// Returns the confidence in a session, and the reasons.
pub(super) fn assess_confidence(
    draft: &SessionDraft,
    sides: Sides,
    process: Option<&TrackedProcess>,
    end: EndKind,
    clocks: &HostClocks,
) -> (Confidence, Vec<ConfidenceReason>) {
    let keyed = draft.process.is_some() || !draft.runspace_ids.is_empty();
    let mut confidence = match (sides.server, keyed, sides.client) {
        (true, true, true) => Confidence::High,
        (true, true, false) | (true, false, true) => Confidence::Medium,
        (true, false, false) | (false, ..) => Confidence::Low,
    };
    let mut reasons = vec![target_reason(draft, process)];
    if draft.evidence.values().any(|link| *link == Link::Logon) {
        reasons.push(ConfidenceReason::LogonId);
    }
    reasons.push(client_reason(draft, sides, clocks));
    if sides.dc {
        reasons.push(ConfidenceReason::DomainController);
    }
    // Other evidence that names the same host makes the time irrelevant. An address without a known
    // host does not.
    let Weighed { winner, agreeing, .. } = &draft.source_assessment;
    let named = winner.iter().chain(agreeing).any(|hint| {
        Some(hint.event) != draft.client && hint.host.is_some() && hint.host == draft.source_host
    });
    if draft.client_unsure && !named {
        confidence = confidence.min(Confidence::Medium);
        reasons.push(ConfidenceReason::AnotherClient);
    }
    let callers = draft.callers.iter().filter_map(|caller| caller.account.as_ref());
    for account in callers.filter(|account| !draft.may_belong_to(Some(account), None)) {
        reasons.push(ConfidenceReason::OtherOwner(account.clone()));
    }
    let whys = || draft.source_assessment.rivals.iter().map(|rival| rival.why);
    if draft.source_assessment.winner.is_none() && whys().any(|why| why == Rejected::Undecided) {
        reasons.push(ConfidenceReason::TwoSources);
    } else if draft.client.is_none() && whys().any(|why| matches!(why, Rejected::Farther(_))) {
        confidence = confidence.min(Confidence::Medium);
        reasons.push(ConfidenceReason::NearerSource);
    }
    if end == EndKind::LastEvent {
        reasons.push(ConfidenceReason::NoEnd);
    }
    (confidence, reasons)
}

/// Returns the reason for the strongest link among the target's records.
fn target_reason(draft: &SessionDraft, process: Option<&TrackedProcess>) -> ConfidenceReason {
    match (&draft.server, process) {
        (None, _) => ConfidenceReason::NoTargetLog,
        (Some(_), Some(process)) if process.start.is_some() => ConfidenceReason::HostProcess,
        (Some(_), Some(_)) => ConfidenceReason::HostProcessWithoutStart,
        (Some(_), None) if !draft.runspace_ids.is_empty() => ConfidenceReason::EngineOnly,
        (Some(_), None) => ConfidenceReason::NeitherProcessNorEngine,
    }
}

/// Returns the reason for the link to the client's records.
fn client_reason(draft: &SessionDraft, sides: Sides, clocks: &HostClocks) -> ConfidenceReason {
    let (Some(server), true) = (&draft.server, sides.client) else {
        return match sides.client {
            true => ConfidenceReason::ClientOnly,
            false => ConfidenceReason::NoClientLog,
        };
    };
    let compared =
        draft.source_host.as_ref().is_some_and(|host| clocks.are_comparable(host, server));
    match (draft.client, draft.client_distance) {
        (Some(_), Some(apart)) => ConfidenceReason::ClientByTime { apart, compared },
        (Some(_), None) => ConfidenceReason::ClientByAccount,
        (None, _) => ConfidenceReason::ClientConnected,
    }
}
