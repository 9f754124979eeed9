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
use crate::reconstruct::gather::{Gathered, Told};
use crate::reconstruct::hosts::Hosts;
use crate::reconstruct::index::Events;
use crate::reconstruct::windows::STEP_WINDOW;

/// What hosts log of PowerShell at any time.
pub(in crate::reconstruct) struct Coverage {
    by_host: BTreeMap<HostName, Seen>,
}

/// The times of a host's records.
#[derive(Debug, Default)]
struct Seen {
    /// Script blocks that the engine did not warn of, first and last: logged by policy only.
    blocks: Option<Span>,
    /// 4103 and 800, first and last.
    invocations: Option<Span>,
    /// The first record of the PowerShell log.
    log: Option<DateTime<Utc>>,
}

type Span = (DateTime<Utc>, DateTime<Utc>);

fn widen(span: &mut Option<Span>, time: DateTime<Utc>) {
    let (first, last) = span.get_or_insert((time, time));
    (*first, *last) = ((*first).min(time), (*last).max(time));
}

impl Coverage {
    /// Learns from all that was gathered.
    pub fn learn(gathered: &[Gathered], hosts: &Hosts) -> Coverage {
        let mut seen: IdxVec<HostIdx, Seen> = hosts.names().map(|_| Seen::default()).collect();
        for (host, script) in hosts.each(gathered, |task| &task.scripts) {
            let seen = &mut seen[host];
            if !script.warning {
                widen(&mut seen.blocks, script.mark.time);
            }
            let time = script.mark.time;
            seen.log = Some(seen.log.map_or(time, |log| log.min(time)));
        }
        for (host, event) in hosts.each(gathered, |task| &task.in_process) {
            if event.command {
                let (seen, time) = (&mut seen[host], event.mark.time);
                widen(&mut seen.invocations, time);
                seen.log = Some(seen.log.map_or(time, |log| log.min(time)));
            }
        }
        for (host, mark) in hosts.each(gathered, |task| &task.processes) {
            if mark.what == Told::Listens {
                let (seen, time) = (&mut seen[host], mark.mark.time);
                seen.log = Some(seen.log.map_or(time, |log| log.min(time)));
            }
        }
        Coverage { by_host: hosts.names().cloned().zip(seen).collect() }
    }

    /// Learns from the events that show remoting by themselves.
    pub fn add(&mut self, event: &Event) {
        let Some(seen) = self.by_host.get_mut(&event.host) else { return };
        if let EventKind::Command(_) = &event.kind {
            widen(&mut seen.invocations, event.time);
            seen.log = Some(seen.log.map_or(event.time, |log| log.min(event.time)));
        }
    }

    /// What is known of the commands of a session on a host, of whose script blocks some have
    /// parts missing.
    pub fn statement(
        &self,
        events: &Events,
        session: &Session,
        host: Option<&HostName>,
        broken: usize,
    ) -> String {
        let Some(host) = host else { return "target's logs not seen".to_owned() };
        let none = Seen::default();
        let seen = self.by_host.get(host).unwrap_or(&none);
        let of = Sources::of(events, session, host);
        let elsewhere = |span: Option<Span>, what: &str, log: &str| match span {
            Some((first, last)) if first < session.start && last > session.end => {
                format!("no {what}, though the host logged some before and after")
            }
            Some(_) => format!("no {what}, though the host logged some at other times"),
            None => format!("no {log} seen"),
        };
        let mut told: Vec<String> = Vec::new();
        if of.traffic {
            told.push("remoting traffic".to_owned());
        }
        let powershell = session.kind != ShellKind::Winrs;
        if powershell || of.blocks || of.warnings {
            told.push(match (of.blocks, of.warnings) {
                (true, _) => "script blocks (4104)".to_owned(),
                (false, true) => "only script blocks that the engine warned of (4104)".to_owned(),
                (false, false) => elsewhere(seen.blocks, "script blocks", "script block logging"),
            });
        }
        if powershell || !of.invocations.is_empty() {
            told.push(match of.invocations.is_empty() {
                false => format!("invocations ({})", list(&of.invocations)),
                true => elsewhere(seen.invocations, "invocations", "module logging"),
            });
        }
        told.push(match of.processes.is_empty() {
            false => format!("processes ({})", list(&of.processes)),
            true => "no process starts seen".to_owned(),
        });
        if broken > 0 {
            told.push(format!("script blocks with parts missing: {broken}"));
        }
        if powershell && seen.log.is_some_and(|log| log > session.start + STEP_WINDOW) {
            told.push("the host's PowerShell log begins inside it".to_owned());
        }
        told.join("; ")
    }
}

/// Which records a session has.
#[derive(Debug, Default)]
struct Sources {
    blocks: bool,
    warnings: bool,
    traffic: bool,
    /// Event ids.
    invocations: BTreeSet<u32>,
    processes: BTreeSet<u32>,
}

impl Sources {
    fn of(events: &Events, session: &Session, host: &HostName) -> Sources {
        let mut of = Sources::default();
        let all = || session.evidence.iter().map(|evidence| &events[evidence.event]);
        of.traffic = all().any(|event| matches!(event.kind, EventKind::Traffic(_)));
        let own = all();
        for event in own.filter(|event| event.host == *host) {
            match &event.kind {
                EventKind::ScriptBlockPart(part) if part.warning => of.warnings = true,
                EventKind::ScriptBlockPart(_) => of.blocks = true,
                EventKind::Command(_) | EventKind::Pipeline(_) | EventKind::CommandLifecycle(_) => {
                    of.invocations.insert(event.event_id);
                }
                EventKind::ProcessStart(_) => {
                    of.processes.insert(event.event_id);
                }
                _ => {}
            }
        }
        of
    }
}

/// Event ids, those that tell most first.
fn list(ids: &BTreeSet<u32>) -> String {
    let best = [4103, 800, 7937, 4688, 1].iter().filter(|id| ids.contains(id));
    best.map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// The number of script blocks with parts missing in each of some sessions.
pub(in crate::reconstruct) fn broken(
    scripts: &IdxVec<ScriptIdx, ScriptBlock>,
    sessions: impl Iterator<Item = SessionIdx>,
) -> IdxVec<SessionIdx, usize> {
    let mut broken: IdxVec<SessionIdx, usize> = sessions.map(|_| 0).collect();
    for script in scripts.iter().filter(|script| !script.complete()) {
        if let Some(session) = script.session {
            broken[session] += 1;
        }
    }
    broken
}
