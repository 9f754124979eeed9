//! How far a session can be trusted, and why no more and no less.

use super::Draft;
use super::clocks::Clocks;
use super::process::Process;
use crate::model::{Confidence, EndKind, Link, Rejected, Sides};

/// The confidence in a session, and the reasons in short sentences.
pub(super) fn judge(
    draft: &Draft,
    sides: Sides,
    process: Option<&Process>,
    end: EndKind,
    clocks: &Clocks,
) -> (Confidence, Vec<String>) {
    let keyed = draft.process.is_some() || !draft.runspace_ids.is_empty();
    let mut confidence = match (sides.server, keyed, sides.client) {
        (true, true, true) => Confidence::High,
        (true, true, false) | (true, false, true) => Confidence::Medium,
        (true, false, false) | (false, ..) => Confidence::Low,
    };
    let mut reasons = vec![on_target(draft, process)];
    if draft.evidence.values().any(|link| *link == Link::Logon) {
        reasons.push("the host process's logon is tied by its logon id".to_owned());
    }
    reasons.extend(on_client(draft, sides, clocks));
    if sides.dc {
        reasons.push("a domain controller's log agrees".to_owned());
    }
    // The caller's address, as the target logged it, is no matter of time.
    let by_address =
        draft.source_ip.is_some() && draft.weighed.winner.as_ref().is_some_and(|w| w.ip.is_some());
    if draft.client_unsure && draft.weighed.agreeing.is_empty() && !by_address {
        confidence = confidence.min(Confidence::Medium);
        reasons
            .push("another client could fit as well, and only time speaks for this one".to_owned());
    }
    let whys = || draft.weighed.rivals.iter().map(|rival| rival.why);
    if draft.weighed.winner.is_none() && whys().any(|why| why == Rejected::Undecided) {
        reasons.push("two sources are named alike, so none is given".to_owned());
    } else if draft.client.is_none() && whys().any(|why| matches!(why, Rejected::Farther(_))) {
        confidence = confidence.min(Confidence::Medium);
        reasons.push("its source is the nearer in time of those that are named alike".to_owned());
    }
    if end == EndKind::LastEvent {
        reasons.push("no record tells its end".to_owned());
    }
    (confidence, reasons)
}

/// What the target's logs hold it together by.
fn on_target(draft: &Draft, process: Option<&Process>) -> String {
    let text = match (&draft.server, process) {
        (None, _) => "no log of the target shows it",
        (Some(_), Some(process)) if process.start.is_some() => {
            "the target's logs show its host process, and its records are tied by process id"
        }
        (Some(_), Some(_)) => {
            "its records are tied by the id of its host process, whose start is not logged"
        }
        (Some(_), None) if !draft.runspace_ids.is_empty() => {
            "its engine's records are tied by HostId and RunspaceId; its process is not logged"
        }
        (Some(_), None) => "the target's logs show neither its process nor its engine",
    };
    text.to_owned()
}

/// What the client's logs add.
fn on_client(draft: &Draft, sides: Sides, clocks: &Clocks) -> Option<String> {
    let (Some(server), true) = (&draft.server, sides.client) else {
        return Some(match sides.client {
            true => "only the client's logs show it".to_owned(),
            false => "no log of the client shows it".to_owned(),
        });
    };
    let known = draft.source_host.as_ref().is_some_and(|host| clocks.know(host, server));
    let compared = if known { "clocks compared" } else { "clocks not compared" };
    Some(match (draft.client, draft.client_distance) {
        (Some(_), Some(apart)) => format!(
            "the client's log is joined by target and time, {:.1} s apart, {compared}",
            apart.num_milliseconds() as f64 / 1000.0
        ),
        (Some(_), None) => {
            "the client's log is joined by target and account, which leave no other".to_owned()
        }
        (None, _) => "the client's log shows it connect to the target at the time".to_owned(),
    })
}
