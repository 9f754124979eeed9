//! What a session's commands rest on, and what is not known for want of records.
//!
//! That no command is known says nothing by itself: script blocks and invocations are logged only where a
//! policy asks for it. That it did can be told from what the host logged of other processes at
//! other times, and that a log was there at all from the records that every engine leaves.

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

/// What hosts log of PowerShell at any time.
pub(in crate::reconstruct) struct CommandCoverage {
    by_host: BTreeMap<HostName, PowerShellTimes>,
}

/// The times of a host's records.
#[derive(Debug, Default)]
struct PowerShellTimes {
    /// Script blocks that the engine did not warn of, first and last: logged by policy only.
    blocks: Option<TimeSpan>,
    /// 4103 and 800, first and last.
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
    /// Learns from all that was gathered.
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

    /// Learns from the events that show remoting by themselves.
    pub fn add(&mut self, event: &Event) {
        let Some(seen) = self.by_host.get_mut(&event.host) else { return };
        if let EventKind::Command(_) = &event.kind {
            extend_span(&mut seen.invocations, event.time);
            seen.log = Some(seen.log.map_or(event.time, |log| log.min(event.time)));
        }
    }

    /// What is known of the commands of a session on a host, of whose script blocks some have
    /// parts missing.
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
            parts.push(format!("script blocks with parts missing: {BROKEN}"));
        }
        if powershell && seen.log.is_some_and(|log| log > session.start + STEP_WINDOW) {
            parts.push("the host's PowerShell log begins inside it".to_owned());
        }
        parts.join("; ")
    }
}

/// Which records a session has.
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
        own.traffic = all().any(|event| matches!(event.kind, EventKind::Traffic(_)));
        for event in all().filter(|event| event.host == *host) {
            match &event.kind {
                EventKind::ScriptBlockPart(part) if part.warning => own.warnings = true,
                EventKind::ScriptBlockPart(_) => own.blocks = true,
                EventKind::Command(_) | EventKind::Pipeline(_) | EventKind::CommandLifecycle(_) => {
                    own.invocations.insert(event.event_id);
                }
                EventKind::ProcessStart(_) => {
                    own.processes.insert(event.event_id);
                }
                _ => {}
            }
        }
        sources
    }
}

/// Event ids, those that tell most first.
fn list_ids(ids: &BTreeSet<u32>) -> String {
    let best = [4103, 800, 7937, 4688, 1].iter().filter(|id| ids.contains(id));
    best.map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// The number of script blocks with parts missing in each of some sessions.
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
