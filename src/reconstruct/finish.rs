//! Turns drafts into sessions.

use super::confidence;
use super::draft::SessionDraft;
use super::lookup::LookupTables;
use super::windows::STEP_WINDOW;
use crate::model::{
    Auth, EndKind, EventIdx, Evidence, HostName, Link, Session, SessionIdx, ShellKind, Sides,
    Transport,
};

/// Makes a session from a draft. Host names are spelled as their records spell them.
pub(super) fn finish_session(
    tables: LookupTables<'_>,
    draft: SessionDraft,
    parent: Option<(SessionIdx, Link)>,
) -> Session {
    let LookupTables { events, hosts, directory, clocks, processes, .. } = tables;
    let start = draft.start();
    let on_target =
        |event: EventIdx| draft.server.as_ref().is_none_or(|host| events[event].host == *host);
    let keyed = draft.evidence.iter().filter(|&(&event, &link)| link.is_key() && on_target(event));
    let last = keyed.map(|(&event, _)| events[event].time).max().unwrap_or(start);
    let (end, end_kind) = match draft.end {
        // The end of the session's own process or engine is certain. Other ends are guesses, which
        // the session's own records refute if they go on for more than a step.
        Some((end, kind @ (EndKind::EngineStopped | EndKind::ProcessExited))) => (end, kind),
        Some((end, kind)) if end >= last - STEP_WINDOW => (end, kind),
        _ => (last, EndKind::LastEvent),
    };
    let process = draft.server.as_ref().zip(draft.process);
    let process_id = process.map(|(host, index)| processes[host].get(index).id);
    let process_id = process_id.filter(|&id| id != 0);
    let sides = Sides {
        client: draft.client.is_some() || draft.client_seen,
        server: draft.server.is_some(),
        dc: draft.dc,
    };
    let found = process.map(|(host, index)| processes[host].get(index));
    let (confidence, confidence_reasons) =
        confidence::assess_confidence(&draft, sides, found, end_kind, clocks);
    let named = || draft.client_target.as_deref().unwrap_or("").into();
    let target: HostName = draft.server.clone().unwrap_or_else(named);
    // A client may name a host by its address or first label.
    let target = directory.resolve(&target, start).cloned().unwrap_or(target);
    let clock = draft.server.as_ref().or(draft.source_host.as_ref());
    let clock = clock.and_then(|host| clocks.get(host));
    let evidence = draft.evidence.iter().map(|(&event, &link)| Evidence { event, link });
    Session {
        start,
        end: end.max(start),
        end_kind,
        source_host: draft.source_host.map(|host| hosts.as_logged(&host)),
        source_ip: draft.source_ip,
        source_basis: draft.source_basis,
        weighed: draft.source_assessment,
        target_host: hosts.as_logged(&target),
        user: draft.user,
        user_sid: draft.user_sid,
        auth: match draft.auth {
            _ if draft.ssh => Auth::Ssh,
            auth => auth.unwrap_or(Auth::Unknown),
        },
        transport: match draft.https {
            _ if draft.ssh => Transport::Ssh,
            Some(true) => Transport::Https,
            Some(false) => Transport::Http,
            None => Transport::Unknown,
        },
        kind: draft.kind.unwrap_or(ShellKind::Other),
        configuration: draft.configuration,
        engine_version: draft.engine_version,
        logon_ids: draft.logon_ids,
        process_id,
        process_life: found.map_or((None, None), |process| (process.start, process.end)),
        runspace_ids: draft.runspace_ids,
        parent,
        clock,
        sides,
        confidence,
        confidence_reasons,
        tool: None,
        endpoint_kind: None,
        missing: Vec::new(),
        covered: Vec::new(),
        evidence: evidence.collect(),
        command_completeness: String::new(),
    }
}
