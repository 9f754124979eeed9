//! `sessions` and `attempts`.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io;

use chrono::{DateTime, Utc};

use super::missing;
use super::table_rows::TableRows;
use crate::analysis::Analysis;
use crate::detect::{SessionCounts, session_counts};
use crate::model::{
    AccountName, Attempt, ConfidenceReason, EndpointKind, EventIdx, IdxVec, LoggedId, Proof, Rival,
    RuleIdx, RuleMeta, Session, SessionIdx, SourceHint, session_id,
};
use crate::reconstruct::Reconstruction;
use crate::rows::Pointers;
use crate::rows::value::row;

/// A session.
pub(super) struct SessionRow<'r> {
    index: SessionIdx,
    session: &'r Session,
    analysis: &'r Analysis,
    counts: &'r SessionCounts,
    /// The rules that fired in it, most severe first.
    fired: &'r [RuleIdx],
}

row! { SessionRow<'_> as row:
    "session_id": Text = row.id() => "the session's name in all files of this run, by start",
    "start_time": Time = row.session.start => "its shell, host process or engine on the target, whichever is logged first, or the client's first record where only that was seen: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "end_time": Time = row.session.end => "its end, as far as known, UTC",
    "end_kind": Text = row.session.end_kind.as_str() => "how the end is known: engine_stopped (403), process_exited (4689), logoff (4634), client_closed, last_event",
    "start_corrected": Time = row.corrected(row.session.start) => "its start by the clocks of most hosts (hosts.csv), where the clock that logged it could be compared with theirs, UTC",
    "end_corrected": Time = row.corrected(row.session.end) => "its end by the same",
    "source_host": Text = row.session.source_host.as_deref() => "the client's name",
    "source_ip": Text = row.session.source_ip.as_deref() => "the client's address",
    "source_basis": Text = row.session.source_basis.as_str() => "the best evidence for the source; undecided where two records of one kind name two sources and nothing decides",
    "source_rivals": Texts = row.rivals() => "who else was named: by which kind of evidence, and why that was not followed",
    "target_host": Text = &*row.session.target_host => "the target's name",
    "user": Text = row.session.user.as_ref().map(AccountName::to_string) => "the account on the target, as logged",
    "user_sid": Text = row.session.user_sid.as_deref() => "its SID",
    "auth": Text = row.session.auth.as_str() => "kerberos, ntlm, basic, credssp, certificate, ssh or unknown",
    "transport": Text = row.session.transport.as_str() => "http, https, ssh or unknown",
    "kind": Text = row.session.kind.as_str() => "powershell, winrs or other",
    "configuration": Text = &*row.session.configuration => "the session configuration (endpoint)",
    "endpoint_kind": Text = row.session.endpoint_kind.map(EndpointKind::as_str) => "what that is for: default, 32bit, powershell7, workflow, server_manager, exchange, admin_center, custom, custom_virtual_account (JEA as a rule)",
    "tool": Text = row.session.tool.as_ref().map(|tool| &*tool.name) => "what made it, where that is sure: Enter-PSSession, winrs, evil-winrm, winrm gem (Ruby), Ansible, or the name of the program on the client that connected",
    "tool_basis": Text = row.session.tool.as_ref().map(|tool| tool.basis) => "what shows it",
    "logon_ids": Texts = row.session.logon_ids.iter().map(|id| format!("{id:#x}")).collect::<Vec<_>>() => "logon ids on the target, the host process's own first",
    "process_id": Integer = row.session.process_id => "the host process on the target (wsmprovhost, winrshost)",
    "runspace_ids": Texts = row.session.runspace_ids.iter().map(LoggedId::to_string).collect::<Vec<_>>() => "RunspaceIds on the target",
    "command_count": Integer = row.counts.commands => "commands in commands.csv; child processes and what the engine runs by itself not counted",
    "command_completeness": Text = &*row.session.command_completeness => "which records of commands there are, and which were not seen",
    "script_block_count": Integer = row.counts.scripts => "script blocks, each counted once however many records hold it",
    "child_process_count": Integer = row.counts.children => "processes below the host process",
    "message_encryption": Text = row.session.consequences().encryption.as_str() => "what encrypted its messages: none, rc4, ticket, tls, ssh or unknown",
    "server_identity_proven": Text = row.session.consequences().server_identity_proven.as_str() => "whether the client could be sure of the target: yes, no or unknown",
    "credential_exposed": Text = row.session.consequences().credential_exposed.as_str() => "whether the target could take the caller's credentials: yes, no or unknown",
    "second_hop": Text = row.session.consequences().second_hop.as_str() => "whether the caller's identity could go on to a next host: yes, no, with_delegation or unknown",
    "parent_session_id": Text = row.session.parent.map(|(parent, _)| session_id(parent)) => "the session that it was started from: a second hop",
    "parent_link": Text = row.session.parent.map(|(_, link)| link.strength()) => "how that is known: key (a process of that session started it) or time (the same account had it open on the source)",
    "evidence_sides": Texts = row.session.sides.names() => "whose logs show it: client, server, dc",
    "confidence": Text = row.session.confidence.as_str() => "high: both ends seen, the target's records tied by keys; medium: the target alone by keys, or both ends without; low: less",
    "confidence_reasons": Texts = row.reasons() => "why no more and no less",
    "level": Text = row.rules().next().map(|rule| rule.level.as_str()) => "the highest level of the detections in it",
    "detections": Texts = row.rules().map(|rule| &*rule.title).collect::<Vec<_>>() => "titles of the rules that fired in it",
    "key_links": Integer = row.links(true) => "records tied to it by a key",
    "time_links": Integer = row.links(false) => "records tied to it by time and names",
    "recovered_links": Integer = row.recovered() => "of both, records that no log holds any more, and --recover found in a file",
    "missing": Texts = row.session.missing.iter().map(missing::short_form).collect::<Vec<_>>() => "records that one expects and that are not there: whose log, channel, event ids, and why: not_collected, rolled_over, cleared, ends_before, not_audited (none at any time), not_logged, may_be_cached, outside_window",
    "log_coverage": Texts = row.session.covered.iter().map(missing::covered_form).collect::<Vec<_>>() => "how much of its time each of the target's logs covers, by channel, in percent: from the log's first record to the host's last one in any log, less holes that count; not_collected where there is none",
    "collect_next": Texts = row.collect_next() => "the logs to look for next: host, channel, from when to when, UTC by that host's clock",
    "evidence": Texts = row.evidence() => "its records: FILE:EVENT_RECORD_ID@OFFSET, with #NUMBER where the header's differs",
}

impl<'r> SessionRow<'r> {
    fn id(&self) -> String {
        session_id(self.index)
    }

    fn corrected(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.session.clock.map(|clock| clock.correct(time))
    }

    fn rivals(&self) -> Vec<String> {
        let case = &self.analysis.reconstruction;
        let rival = |rival: &Rival| {
            let hint = &rival.hint;
            let host = hint.host.as_ref().map(|host| case.name(host).clone());
            let name = SourceHint { host, ..hint.clone() }.name();
            format!("{name} by {} ({})", hint.basis.as_str(), rival.why.reason())
        };
        self.session.weighed.rivals.iter().map(rival).collect()
    }

    fn reasons(&self) -> Vec<Cow<'r, str>> {
        self.session.confidence_reasons.iter().map(ConfidenceReason::text).collect()
    }

    fn rules(&self) -> impl Iterator<Item = &'r RuleMeta> {
        let rules = &self.analysis.rules.rules;
        self.fired.iter().map(move |&rule| &rules[rule].meta)
    }

    /// Records that are tied to it by a key, or by time and names.
    fn links(&self, by_key: bool) -> usize {
        self.session.evidence.iter().filter(|of| of.link.is_key() == by_key).count()
    }

    fn recovered(&self) -> usize {
        let Analysis { reconstruction: case, .. } = self.analysis;
        let inputs = self.session.evidence.iter().map(|of| case.events[of.event].source.input);
        inputs.filter(|&input| self.analysis.is_recovered(input)).count()
    }

    fn collect_next(&self) -> Vec<String> {
        missing::collect(&self.session.missing).iter().map(missing::collect_form).collect()
    }

    fn evidence(&self) -> Pointers<'r> {
        let events = self.session.evidence.iter().map(|of| of.event);
        Pointers::new(&self.analysis.paths, proofs(&self.analysis.reconstruction, events))
    }
}

/// The table of sessions.
pub(super) struct Sessions;

impl TableRows for Sessions {
    type Row<'r> = SessionRow<'r>;

    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&SessionRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Analysis { reconstruction: case, scope, .. } = analysis;
        let (counts, fired) = (session_counts(case), fired(analysis));
        let sessions = case.sessions.iter_enumerated().zip(&fired);
        for ((index, session), fired) in sessions.filter(|((_, session), _)| scope.session(session))
        {
            each(&SessionRow { index, session, analysis, counts: &counts[index], fired })?;
        }
        Ok(())
    }
}

/// The rules that fired in each session, most severe first.
pub(super) fn fired(analysis: &Analysis) -> IdxVec<SessionIdx, Vec<RuleIdx>> {
    let mut fired: IdxVec<SessionIdx, Vec<RuleIdx>> =
        analysis.reconstruction.sessions.iter().map(|_| Vec::new()).collect();
    for detection in &analysis.fired {
        if let Some(session) = detection.session {
            fired[session].push(detection.rule);
        }
    }
    let rules = &analysis.rules.rules;
    for fired in &mut fired {
        fired.sort_by_key(|&rule| (Reverse(rules[rule].meta.level), rule));
        fired.dedup();
    }
    fired
}

/// An attempt to connect that failed.
pub(super) struct AttemptRow<'r> {
    attempt: &'r Attempt,
    analysis: &'r Analysis,
}

row! { AttemptRow<'_> as row:
    "time": Time = row.attempt.time => "when the client tried: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "source_host": Text = &*row.attempt.source_host => "the client",
    "source_ip": Text = row.attempt.source_ip.as_deref() => "the client's address",
    "target_host": Text = &*row.attempt.target_host => "the target",
    "user": Text = row.user() => "who tried, as logged, or the SID",
    "reason": Text = row.attempt.reason.as_str() => "access_denied, bad_credentials, unreachable, not_authorised or other",
    "error_code": Integer = row.attempt.error_code => "the client's error code",
    "later_session_id": Text = row.attempt.later.map(session_id) => "the next session on the target within an hour by the same source or account",
    "evidence_sides": Texts = row.attempt.sides.names() => "whose logs show it: client, server",
    "evidence": Texts = row.evidence() => "its records: FILE:EVENT_RECORD_ID@OFFSET",
}

impl<'r> AttemptRow<'r> {
    fn user(&self) -> Option<String> {
        let account = self.attempt.user.as_ref().map(AccountName::to_string);
        account.or_else(|| self.attempt.user_sid.clone())
    }

    fn evidence(&self) -> Pointers<'r> {
        let Analysis { reconstruction: case, paths, .. } = self.analysis;
        Pointers::new(paths, proofs(case, self.attempt.events.iter().copied()))
    }
}

/// The table of attempts.
pub(super) struct Attempts;

impl TableRows for Attempts {
    type Row<'r> = AttemptRow<'r>;

    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&AttemptRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Analysis { reconstruction: case, scope, .. } = analysis;
        let mut shown = case.attempts.iter().filter(|attempt| scope.attempt(attempt));
        shown.try_for_each(|attempt| each(&AttemptRow { attempt, analysis }))
    }
}

fn proofs(case: &Reconstruction, events: impl Iterator<Item = EventIdx>) -> Vec<Proof> {
    events.map(|event| Proof::of(&case.events[event])).collect()
}
