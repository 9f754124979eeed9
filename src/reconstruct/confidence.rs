//! How far a session can be trusted, and why no more and no less.

use super::Draft;
use super::clocks::Clocks;
use super::process::Process;
use crate::model::{Confidence, EndKind, Link, Reason, Rejected, Sides, Weighed};

/// The confidence in a session, and the reasons in short sentences.
pub(super) fn judge(
    draft: &Draft,
    sides: Sides,
    process: Option<&Process>,
    end: EndKind,
    clocks: &Clocks,
) -> (Confidence, Vec<Reason>) {
    let keyed = draft.process.is_some() || !draft.runspace_ids.is_empty();
    let mut confidence = match (sides.server, keyed, sides.client) {
        (true, true, true) => Confidence::High,
        (true, true, false) | (true, false, true) => Confidence::Medium,
        (true, false, false) | (false, ..) => Confidence::Low,
    };
    let mut reasons = vec![on_target(draft, process)];
    if draft.evidence.values().any(|link| *link == Link::Logon) {
        reasons.push(pro("the host process's logon is tied by its logon id"));
    }
    reasons.push(on_client(draft, sides, clocks));
    if sides.dc {
        reasons.push(pro("a domain controller's log agrees"));
    }
    // What names the same host besides is no matter of time: an address that is no known host's
    // does not.
    let Weighed { winner, agreeing, .. } = &draft.weighed;
    let named = winner.iter().chain(agreeing).any(|hint| {
        Some(hint.event) != draft.client && hint.host.is_some() && hint.host == draft.source_host
    });
    if draft.client_unsure && !named {
        confidence = confidence.min(Confidence::Medium);
        reasons.push(con("another client could fit as well: only time speaks for this one"));
    }
    let callers = draft.callers.iter().filter_map(|caller| caller.account.as_ref());
    for account in callers.filter(|account| !draft.can_be(Some(account), None)) {
        reasons.push(con(format!("the traffic names another owner of its shell, {account}")));
    }
    let whys = || draft.weighed.rivals.iter().map(|rival| rival.why);
    if draft.weighed.winner.is_none() && whys().any(|why| why == Rejected::Undecided) {
        reasons.push(con("two sources are named alike, so none is given"));
    } else if draft.client.is_none() && whys().any(|why| matches!(why, Rejected::Farther(_))) {
        confidence = confidence.min(Confidence::Medium);
        reasons.push(con("its source is the nearer in time of those that are named alike"));
    }
    if end == EndKind::LastEvent {
        reasons.push(con("no record tells its end"));
    }
    (confidence, reasons)
}

fn pro(says: impl Into<String>) -> Reason {
    Reason { says: says.into(), against: false }
}

fn con(says: impl Into<String>) -> Reason {
    Reason { says: says.into(), against: true }
}

/// What the target's logs hold it together by.
fn on_target(draft: &Draft, process: Option<&Process>) -> Reason {
    match (&draft.server, process) {
        (None, _) => con("no log of the target shows it"),
        (Some(_), Some(process)) if process.start.is_some() => {
            pro("the target's logs show its host process, and what that did is tied by process id")
        }
        (Some(_), Some(_)) => {
            pro("its records are tied by the id of its host process, whose start is not logged")
        }
        (Some(_), None) if !draft.runspace_ids.is_empty() => {
            pro("its engine's records are tied by HostId and RunspaceId; its process is not logged")
        }
        (Some(_), None) => con("the target's logs show neither its process nor its engine"),
    }
}

/// What the client's logs add.
fn on_client(draft: &Draft, sides: Sides, clocks: &Clocks) -> Reason {
    let (Some(server), true) = (&draft.server, sides.client) else {
        return match sides.client {
            true => pro("the client's logs show it"),
            false => con("no log of the client shows it"),
        };
    };
    let known = draft.source_host.as_ref().is_some_and(|host| clocks.know(host, server));
    let compared = if known { "clocks compared" } else { "clocks not compared" };
    match (draft.client, draft.client_distance) {
        (Some(_), Some(apart)) => pro(format!(
            "the client's log is joined by target and time, {:.1} s apart, {compared}",
            apart.num_milliseconds() as f64 / 1000.0
        )),
        (Some(_), None) => {
            pro("the client's log is joined by target and account, which leave no other")
        }
        (None, _) => pro("the client's log shows it connect to the target at the time"),
    }
}
