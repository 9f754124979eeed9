//! `sessions.csv` and `attempts.csv`.

use std::borrow::Cow;
use std::cmp::Reverse;

use super::cell::{cell, list, owned};
use super::{Rows, columns, evidence, missing};
use crate::analysis::Analysis;
use crate::detect::{Counts, session_id};
use crate::model::{
    Account, AttemptIdx, ConfidenceReason, EndpointKind, EventIdx, IdxVec, LoggedId, Proof, Rival,
    RuleIdx, SessionIdx, SourceHint, csv_time,
};
use crate::reconstruct::Case;

columns! { pub(super) COLUMNS:
    "session_id" => "the session's name in all files of this run, by start",
    "start_time": Time => "its shell, host process or engine on the target, whichever is logged first, or the client's first record where only that was seen: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "end_time": Time => "its end, as far as known, UTC",
    "end_kind" => "how the end is known: engine_stopped (403), process_exited (4689), logoff (4634), client_closed, last_event",
    "start_corrected": Time => "its start by the clocks of most hosts (hosts.csv), where the clock that logged it could be compared with theirs, UTC",
    "end_corrected": Time => "its end by the same",
    "source_host" => "the client's name",
    "source_ip" => "the client's address",
    "source_basis" => "the best evidence for the source; undecided where two records of one kind name two sources and nothing decides",
    "source_rivals" => "who else was named: by which kind of evidence, and why that was not followed",
    "target_host" => "the target's name",
    "user" => "the account on the target, as logged",
    "user_sid" => "its SID",
    "auth" => "kerberos, ntlm, basic, credssp, certificate, ssh or unknown",
    "transport" => "http, https, ssh or unknown",
    "kind" => "powershell, winrs or other",
    "configuration" => "the session configuration (endpoint)",
    "endpoint_kind" => "what that is for: default, 32bit, powershell7, workflow, server_manager, exchange, admin_center, custom, custom_virtual_account (JEA as a rule)",
    "tool" => "what made it, where that is sure: Enter-PSSession, winrs, evil-winrm, winrm gem (Ruby), Ansible, or the name of the program on the client that connected",
    "tool_basis" => "what shows it",
    "logon_ids" => "logon ids on the target, the host process's own first",
    "process_id": Integer => "the host process on the target (wsmprovhost, winrshost)",
    "runspace_ids" => "RunspaceIds on the target",
    "command_count": Integer => "commands in commands.csv; child processes and what the engine runs by itself not counted",
    "command_completeness" => "which records of commands there are, and which were not seen",
    "script_block_count": Integer => "script blocks, each counted once however many records hold it",
    "child_process_count": Integer => "processes below the host process",
    "message_encryption" => "what encrypted its messages: none, rc4, ticket, tls, ssh or unknown",
    "server_identity_proven" => "whether the client could be sure of the target: yes, no or unknown",
    "credential_exposed" => "whether the target could take the caller's credentials: yes, no or unknown",
    "second_hop" => "whether the caller's identity could go on to a next host: yes, no, with_delegation or unknown",
    "parent_session_id" => "the session that it was started from: a second hop",
    "parent_link" => "how that is known: key (a process of that session started it) or time (the same account had it open on the source)",
    "evidence_sides" => "whose logs show it: client, server, dc",
    "confidence" => "high: both ends seen, the target's records tied by keys; medium: the target alone by keys, or both ends without; low: less",
    "confidence_reasons" => "why no more and no less",
    "level" => "the highest level of the detections in it",
    "detections" => "titles of the rules that fired in it",
    "key_links": Integer => "records tied to it by a key",
    "time_links": Integer => "records tied to it by time and names",
    "recovered_links": Integer => "of both, records that no log holds any more, and --recover found in a file",
    "missing" => "records that one expects and that are not there: whose log, channel, event ids, and why: not_collected, rolled_over, cleared, ends_before, not_audited (none at any time), not_logged, may_be_cached, outside_window",
    "log_coverage" => "how much of its time each of the target's logs covers, by channel, in percent: from the log's first record to the host's last one in any log, less holes that count; not_collected where there is none",
    "collect_next" => "the logs to look for next: host, channel, from when to when, UTC by that host's clock",
    "evidence" => "its records: FILE:EVENT_RECORD_ID@OFFSET, with #NUMBER where the header's differs",
}

struct Sessions<'a> {
    analysis: &'a Analysis,
    counts: Counts,
    /// The rules that fired in each session, most severe first.
    fired: IdxVec<SessionIdx, Vec<RuleIdx>>,
}

pub(super) fn rows(analysis: &Analysis) -> impl Rows + '_ {
    Sessions { analysis, counts: Counts::of(&analysis.case), fired: fired(analysis) }
}

/// The rules that fired in each session, most severe first.
pub(super) fn fired(analysis: &Analysis) -> IdxVec<SessionIdx, Vec<RuleIdx>> {
    let mut fired: IdxVec<SessionIdx, Vec<RuleIdx>> =
        analysis.case.sessions.iter().map(|_| Vec::new()).collect();
    for detection in &analysis.fired {
        if let Some(session) = detection.session {
            fired[session].push(detection.rule);
        }
    }
    let rules = &analysis.rules.rules;
    for fired in &mut fired {
        fired.sort_by_key(|&rule| (Reverse(rules[rule].level), rule));
        fired.dedup();
    }
    fired
}

impl Sessions<'_> {
    fn rival(&self, rival: &Rival) -> String {
        let hint = &rival.hint;
        let host = hint.host.as_ref().map(|host| self.analysis.case.name(host).clone());
        let name = SourceHint { host, ..hint.clone() }.name();
        format!("{name} by {} ({})", hint.basis.as_str(), rival.why.reason())
    }
}

impl Rows for Sessions<'_> {
    fn count(&self) -> usize {
        self.analysis.case.sessions.len()
    }

    fn is_told(&self, index: usize) -> bool {
        self.analysis.scope.session(&self.analysis.case.sessions[SessionIdx::new(index)])
    }

    fn row(&self, index: usize) -> Vec<Cow<'_, str>> {
        let Sessions { analysis, counts, fired } = self;
        let case = &analysis.case;
        let index = SessionIdx::new(index);
        let session = &case.sessions[index];
        let consequences = session.consequences();
        let rules = fired[index].iter().map(|&rule| &analysis.rules.rules[rule]);
        let level = rules.clone().next().map(|rule| rule.level.to_string());
        let corrected =
            |time| session.clock.map(|clock| csv_time(clock.correct(time))).unwrap_or_default();
        let by =
            |key| session.evidence.iter().filter(|e| e.link.is_key() == key).count().to_string();
        let recovered = session.evidence.iter().map(|e| case.events[e.event].source.input);
        let recovered = recovered.filter(|&input| analysis.is_recovered(input)).count();
        vec![
            session_id(index).into(),
            csv_time(session.start).into(),
            csv_time(session.end).into(),
            session.end_kind.as_str().into(),
            corrected(session.start).into(),
            corrected(session.end).into(),
            cell(session.source_host.as_deref().unwrap_or_default()),
            cell(session.source_ip.as_deref().unwrap_or_default()),
            session.source_basis.as_str().into(),
            list(session.weighed.rivals.iter().map(|rival| self.rival(rival))),
            cell(&session.target_host),
            owned(account(session.user.as_ref())),
            cell(session.user_sid.as_deref().unwrap_or_default()),
            session.auth.as_str().into(),
            session.transport.as_str().into(),
            session.kind.as_str().into(),
            cell(&session.configuration),
            session.endpoint_kind.map_or("", EndpointKind::as_str).into(),
            cell(session.tool.as_ref().map(|tool| &*tool.name).unwrap_or_default()),
            session.tool.as_ref().map(|tool| tool.basis).unwrap_or_default().into(),
            list(session.logon_ids.iter().map(|id| format!("{id:#x}"))),
            session.process_id.map(|id| id.to_string()).unwrap_or_default().into(),
            list(session.runspace_ids.iter().map(LoggedId::to_string)),
            counts.commands[index].to_string().into(),
            cell(&session.command_completeness),
            counts.scripts[index].to_string().into(),
            counts.children[index].to_string().into(),
            consequences.encryption.as_str().into(),
            consequences.server_identity_proven.as_str().into(),
            consequences.credential_exposed.as_str().into(),
            consequences.second_hop.as_str().into(),
            session.parent.map(|(parent, _)| session_id(parent)).unwrap_or_default().into(),
            session.parent.map(|(_, link)| link.strength()).unwrap_or_default().into(),
            list(session.sides.names()),
            session.confidence.as_str().into(),
            list(session.confidence_reasons.iter().map(ConfidenceReason::text)),
            level.unwrap_or_default().into(),
            list(rules.map(|rule| &rule.title)),
            by(true).into(),
            by(false).into(),
            recovered.to_string().into(),
            list(session.missing.iter().map(missing::short_form)),
            list(session.covered.iter().map(missing::covered_form)),
            list(missing::collect(&session.missing).iter().map(missing::collect_form)),
            evidence::cell(
                &analysis.paths,
                &proofs(case, session.evidence.iter().map(|e| e.event)),
            ),
        ]
    }
}

columns! { pub(super) ATTEMPT_COLUMNS:
    "time": Time => "when the client tried: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "source_host" => "the client",
    "source_ip" => "the client's address",
    "target_host" => "the target",
    "user" => "who tried, as logged, or the SID",
    "reason" => "access_denied, bad_credentials, unreachable, not_authorised or other",
    "error_code": Integer => "the client's error code",
    "later_session_id" => "the next session on the target within an hour by the same source or account",
    "evidence_sides" => "whose logs show it: client, server",
    "evidence" => "its records: FILE:EVENT_RECORD_ID@OFFSET",
}

struct Attempts<'a>(&'a Analysis);

pub(super) fn attempt_rows(analysis: &Analysis) -> impl Rows + '_ {
    Attempts(analysis)
}

impl Rows for Attempts<'_> {
    fn count(&self) -> usize {
        self.0.case.attempts.len()
    }

    fn is_told(&self, index: usize) -> bool {
        self.0.scope.attempt(&self.0.case.attempts[AttemptIdx::new(index)])
    }

    fn row(&self, index: usize) -> Vec<Cow<'_, str>> {
        let case = &self.0.case;
        let attempt = &case.attempts[AttemptIdx::new(index)];
        let sid = || attempt.user_sid.clone().unwrap_or_default();
        vec![
            csv_time(attempt.time).into(),
            cell(&attempt.source_host),
            cell(attempt.source_ip.as_deref().unwrap_or_default()),
            cell(&attempt.target_host),
            owned(attempt.user.as_ref().map_or_else(sid, Account::to_string)),
            attempt.reason.as_str().into(),
            attempt.error_code.map(|code| code.to_string()).unwrap_or_default().into(),
            attempt.later.map(session_id).unwrap_or_default().into(),
            list(attempt.sides.names()),
            evidence::cell(&self.0.paths, &proofs(case, attempt.events.iter().copied())),
        ]
    }
}

fn proofs(case: &Case, events: impl Iterator<Item = EventIdx>) -> Vec<Proof> {
    events.map(|event| Proof::of(&case.events[event])).collect()
}

fn account(account: Option<&Account>) -> String {
    account.map(Account::to_string).unwrap_or_default()
}
