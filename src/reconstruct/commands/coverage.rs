//! Which records show a session's commands, and which kinds of records are absent.
//!
//! A session without known commands proves nothing by itself: script blocks and invocations are
//! logged only if a policy asks for it. Whether the policy was set is seen from other processes of
//! the host at other times. Whether the log was there is seen from records that every engine
//! leaves.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::model::{
    Event, EventKind, HostIdx, HostName, IdxVec, ScriptBlock, ScriptIdx, Session, SessionIdx,
    ShellKind,
};
use crate::reconstruct::hosts::LoggingHosts;
use crate::reconstruct::index::Events;
use crate::reconstruct::marks::{ProcessMarkKind, TaskMarks};
use crate::reconstruct::windows::STEP_WINDOW;

/// When each host logs PowerShell activity.
pub(in crate::reconstruct) struct CommandCoverage {
    by_host: BTreeMap<HostName, PowerShellTimes>,
}

/// The times of a host's PowerShell records.
#[derive(Debug, Default)]
struct PowerShellTimes {
    /// First and last script block without a warning. These are logged by policy only.
    blocks: Option<TimeSpan>,
    /// First and last 4103 or 800.
    invocations: Option<TimeSpan>,
    /// The first record of the PowerShell log.
    log: Option<DateTime<Utc>>,
}

type TimeSpan = (DateTime<Utc>, DateTime<Utc>);

fn extend_span(span: &mut Option<TimeSpan>, time: DateTime<Utc>) {
    let (first, last) = span.get_or_insert((time, time));
    (*first, *last) = ((*first).min(time), (*last).max(time));
}

impl CommandCoverage {
    /// Collects the times from all marks.
    pub fn build(task_marks: &[TaskMarks], hosts: &LoggingHosts) -> CommandCoverage {
        let mut seen: IdxVec<HostIdx, PowerShellTimes> =
            hosts.names().map(|_| PowerShellTimes::default()).collect();
        for (host, script) in hosts.marks_with_host(task_marks, |task| &task.scripts) {
            let seen = &mut seen[host];
            if !script.warning {
                extend_span(&mut seen.blocks, script.mark.time);
            }
            let time = script.mark.time;
            seen.log = Some(seen.log.map_or(time, |log| log.min(time)));
        }
        for (host, event) in hosts.marks_with_host(task_marks, |task| &task.in_process) {
            if event.command {
                let (seen, time) = (&mut seen[host], event.mark.time);
                extend_span(&mut seen.invocations, time);
                seen.log = Some(seen.log.map_or(time, |log| log.min(time)));
            }
        }
        for (host, mark) in hosts.marks_with_host(task_marks, |task| &task.processes) {
            if mark.kind == ProcessMarkKind::Listens {
                let (seen, time) = (&mut seen[host], mark.mark.time);
                seen.log = Some(seen.log.map_or(time, |log| log.min(time)));
            }
        }
        CommandCoverage { by_host: hosts.names().cloned().zip(seen).collect() }
    }

    /// Adds the time of a remoting event.
    pub fn add(&mut self, event: &Event) {
        let Some(seen) = self.by_host.get_mut(&event.host) else { return };
        if let EventKind::Command(_) = &event.kind {
            extend_span(&mut seen.invocations, event.time);
            seen.log = Some(seen.log.map_or(event.time, |log| log.min(event.time)));
        }
    }

    /// Describes which records show the commands of a session, and which are absent. `incomplete`
    /// is the number of its script blocks with missing parts.
    pub fn describe(
        &self,
        events: &Events,
        session: &Session,
        host: Option<&HostName>,
        incomplete: usize,
    ) -> String {
        let Some(host) = host else { return "target's logs not seen".to_owned() };
        let none = PowerShellTimes::default();
        let seen = self.by_host.get(host).unwrap_or(&none);
        let own = SessionSources::from_session(events, session, host);
        let at_other_times = |span: Option<TimeSpan>, what: &str, log: &str| match span {
            Some((first, last)) if first < session.start && last > session.end => {
                format!("no {what}, though the host logged some before and after")
            }
            Some(_) => format!("no {what}, though the host logged some at other times"),
            None => format!("no {log} seen"),
        };
        let mut parts: Vec<String> = Vec::new();
        if own.traffic {
            parts.push("remoting traffic".to_owned());
        }
        let powershell = session.kind != ShellKind::Winrs;
        if powershell || own.blocks || own.warnings {
            parts.push(match (own.blocks, own.warnings) {
                (true, _) => "script blocks (4104)".to_owned(),
                (false, true) => "only script blocks that the engine warned of (4104)".to_owned(),
                (false, false) => {
                    at_other_times(seen.blocks, "script blocks", "script block logging")
                }
            });
        }
        if powershell || !own.invocations.is_empty() {
            parts.push(match own.invocations.is_empty() {
                false => format!("invocations ({})", list_ids(&own.invocations)),
                true => at_other_times(seen.invocations, "invocations", "module logging"),
            });
        }
        parts.push(match own.processes.is_empty() {
            false => format!("processes ({})", list_ids(&own.processes)),
            true => "no process starts seen".to_owned(),
        });
        if incomplete > 0 {
            parts.push(format!("script blocks with parts missing: {incomplete}"));
        }
        if powershell && seen.log.is_some_and(|log| log > session.start + STEP_WINDOW) {
            parts.push("the host's PowerShell log begins inside it".to_owned());
        }
        parts.join("; ")
    }
}

/// The kinds of records that a session has.
#[derive(Debug, Default)]
struct SessionSources {
    blocks: bool,
    warnings: bool,
    traffic: bool,
    /// Event ids.
    invocations: BTreeSet<u32>,
    processes: BTreeSet<u32>,
}

impl SessionSources {
    fn from_session(events: &Events, session: &Session, host: &HostName) -> SessionSources {
        let mut sources = SessionSources::default();
        let all = || session.evidence.iter().map(|evidence| &events[evidence.event]);
        sources.traffic = all().any(|event| matches!(event.kind, EventKind::Traffic(_)));
        for event in all().filter(|event| event.host == *host) {
            match &event.kind {
                EventKind::ScriptBlockPart(part) if part.warning => sources.warnings = true,
                EventKind::ScriptBlockPart(_) => sources.blocks = true,
                EventKind::Command(_) | EventKind::Pipeline(_) | EventKind::CommandLifecycle(_) => {
                    sources.invocations.insert(event.event_id);
                }
                EventKind::ProcessStart(_) => {
                    sources.processes.insert(event.event_id);
                }
                _ => {}
            }
        }
        sources
    }
}

/// Returns the event ids as a list, the most informative first.
fn list_ids(ids: &BTreeSet<u32>) -> String {
    let best = [4103, 800, 7937, 4688, 1].iter().filter(|id| ids.contains(id));
    best.map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns the number of script blocks with missing parts of each session.
pub(in crate::reconstruct) fn count_incomplete_scripts(
    scripts: &IdxVec<ScriptIdx, ScriptBlock>,
    sessions: impl Iterator<Item = SessionIdx>,
) -> IdxVec<SessionIdx, usize> {
    let mut incomplete: IdxVec<SessionIdx, usize> = sessions.map(|_| 0).collect();
    for script in scripts.iter().filter(|script| !script.complete()) {
        if let Some(session) = script.session {
            incomplete[session] += 1;
        }
    }
    incomplete
}
