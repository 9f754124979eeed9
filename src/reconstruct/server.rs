//! The target's side: host processes, engines, shells and logons to session drafts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::process::{Process, Processes};
use super::{Draft, STEP_WINDOW, context, near};
use crate::model::{
    Account, Auth, EndKind, EngineState, Event, EventKind, Link, Logon, ShellKind, Str,
};

/// SIDs of the services that WinRM runs as.
const SERVICE_SIDS: [&str; 2] = ["S-1-5-19", "S-1-5-20"];

/// The sessions that one host's own events show.
pub(super) fn sessions(
    events: &[Event],
    host: &Str,
    indexes: &[usize],
    processes: &Processes,
) -> Vec<Draft> {
    let mut drafts = host_processes(processes, host);
    let host_events = HostEvents { events, indexes, host, processes };
    host_events.process_events(&mut drafts);
    host_events.engines(&mut drafts);
    host_events.child_engines(&mut drafts);
    host_events.named_pipes(&mut drafts);
    host_events.shells(&mut drafts);
    host_events.requests(&mut drafts);
    host_events.logons(&mut drafts);
    drafts
}

/// A host process is a shell: one session each.
fn host_processes(processes: &Processes, host: &Str) -> Vec<Draft> {
    let hosts = processes.iter().filter(|(_, process)| process.is_remoting_host());
    hosts
        .map(|(index, process)| {
            let mut draft = Draft {
                server: Some(host.clone()),
                process: Some(index),
                kind: Some(match process.image.as_str() {
                    "winrshost.exe" => ShellKind::Winrs,
                    _ => ShellKind::PowerShell,
                }),
                user: process.account.clone(),
                user_sid: process.sid.clone(),
                start: process.start,
                ..Draft::default()
            };
            for &event in &process.events {
                draft.add(event, Link::Key);
            }
            if let Some(end) = process.end {
                draft.ends(end, EndKind::ProcessExited);
            }
            if process.logon_id != 0 {
                draft.logon_ids.push(process.logon_id);
            }
            draft
        })
        .collect()
}

struct HostEvents<'a> {
    events: &'a [Event],
    indexes: &'a [usize],
    host: &'a Str,
    processes: &'a Processes,
}

impl HostEvents<'_> {
    fn iter(&self) -> impl Iterator<Item = (usize, &Event)> {
        self.indexes.iter().map(|&index| (index, &self.events[index]))
    }

    /// Children, and what PowerShell logged in a session's process tree: keyed by process.
    fn process_events(&self, drafts: &mut [Draft]) {
        let by_process: BTreeMap<usize, usize> = drafts
            .iter()
            .enumerate()
            .filter_map(|(slot, draft)| Some((draft.process?, slot)))
            .collect();
        for (index, event) in self.iter() {
            let process = match &event.kind {
                EventKind::ProcessStart(start) => self.processes.at(start.process_id, event.time),
                EventKind::ProcessExit(exit) => self.processes.at(exit.process_id, event.time),
                EventKind::Command(_)
                | EventKind::CommandError(_)
                | EventKind::ScriptBlockPart(_)
                | EventKind::ScriptBlockRun(_)
                | EventKind::EngineListening(_)
                | EventKind::PowerShell(_) => {
                    event.process_id.and_then(|id| self.processes.at(id, event.time))
                }
                EventKind::Connection(connection) => {
                    self.processes.at(connection.process_id, event.time)
                }
                _ => None,
            };
            let root = process.and_then(|process| self.processes.remoting_host(process));
            let Some((root, depth)) = root else { continue };
            let Some(&slot) = by_process.get(&root) else { continue };
            let draft = &mut drafts[slot];
            draft.add(index, Link::Key);
            if draft.process.is_some_and(|process| self.processes.get(process).start.is_none()) {
                draft.begins(event.time);
            }
            if depth == 0
                && let Some(sid) = event.user_sid.as_deref()
                && matches!(
                    event.kind,
                    EventKind::Command(_)
                        | EventKind::ScriptBlockPart(_)
                        | EventKind::EngineListening(_)
                )
            {
                draft.user_sid.get_or_insert_with(|| sid.to_owned());
            }
            if let Some(context) = context(event).filter(|context| context.is_remote()) {
                remember(&mut draft.host_ids, &context.host_id);
                remember(&mut draft.runspace_ids, &context.runspace_id);
                let user = match context.connected_user.as_str() {
                    "" => &context.user,
                    connected => connected,
                };
                if draft.user.is_none() {
                    draft.user = Account::parse(user);
                }
            }
        }
    }

    /// The classic log's remote engines, by HostId and RunspaceId; by time where no 4103 ties them
    /// to a process.
    fn engines(&self, drafts: &mut Vec<Draft>) {
        for (index, event) in self.iter() {
            let Some(context) = context(event).filter(|context| context.is_remote()) else {
                continue;
            };
            let state = match &event.kind {
                EventKind::Engine(engine) => Some(engine.state),
                EventKind::Pipeline(_) => None,
                _ => continue,
            };
            let keyed = drafts.iter().position(|draft| {
                (!context.host_id.is_empty() && draft.host_ids.contains(&context.host_id))
                    || (!context.runspace_id.is_empty()
                        && draft.runspace_ids.contains(&context.runspace_id))
            });
            let (slot, link) = match keyed {
                Some(slot) => (slot, Link::Key),
                None => match self.starting_near(drafts, event.time) {
                    Some(slot) => (slot, Link::Time),
                    None => {
                        drafts.push(Draft {
                            server: Some(self.host.clone()),
                            kind: Some(ShellKind::PowerShell),
                            ..Draft::default()
                        });
                        (drafts.len() - 1, Link::Key)
                    }
                },
            };
            let draft = &mut drafts[slot];
            draft.add(index, link);
            draft.begins(event.time);
            remember(&mut draft.host_ids, &context.host_id);
            remember(&mut draft.runspace_ids, &context.runspace_id);
            if draft.engine_version.is_empty() {
                draft.engine_version.clone_from(&context.engine_version);
            }
            if draft.user.is_none() {
                draft.user = Account::parse(&context.user);
            }
            if state == Some(EngineState::Stopped) {
                draft.ends(event.time, EndKind::EngineStopped);
            }
        }
    }

    /// Engines of PowerShell processes that a session started, which the classic log names by
    /// command line only: by that and time, then by HostId.
    fn child_engines(&self, drafts: &mut [Draft]) {
        let slots: BTreeMap<Option<usize>, usize> =
            drafts.iter().enumerate().map(|(slot, draft)| (draft.process, slot)).collect();
        let children: Vec<(&Process, usize)> = self
            .processes
            .iter()
            .filter(|(_, process)| !process.command_line.is_empty())
            .filter_map(|(index, process)| {
                let (root, depth) = self.processes.remoting_host(index)?;
                (depth > 0).then_some((process, *slots.get(&Some(root))?))
            })
            .collect();
        let mut by_host_id: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, event) in self.iter() {
            if !matches!(event.kind, EventKind::Engine(_) | EventKind::Pipeline(_)) {
                continue;
            }
            let Some(context) = context(event).filter(|context| !context.is_remote()) else {
                continue;
            };
            let (slot, link) = match by_host_id.get(context.host_id.as_str()) {
                Some(&slot) => (slot, Link::Key),
                None => {
                    let line = context.host_application.trim();
                    let started = children.iter().find(|(process, _)| {
                        process.command_line.trim() == line
                            && process.start.is_some_and(|at| near(at, event.time, STEP_WINDOW))
                    });
                    let Some(&(_, slot)) = started else { continue };
                    if !context.host_id.is_empty() {
                        by_host_id.insert(&context.host_id, slot);
                    }
                    (slot, Link::Time)
                }
            };
            drafts[slot].add(index, link);
        }
    }

    /// The PowerShell host process without an engine yet whose start is nearest.
    fn starting_near(&self, drafts: &[Draft], time: DateTime<Utc>) -> Option<usize> {
        let candidates = drafts.iter().enumerate().filter(|(_, draft)| {
            draft.kind == Some(ShellKind::PowerShell)
                && draft.host_ids.is_empty()
                && draft.start.is_some_and(|start| near(start, time, STEP_WINDOW))
        });
        nearest(candidates, time)
    }

    /// 53504 names an engine's process: with no process audit, the only tie between the classic
    /// log's engine and what Operational logs by process. By time.
    fn named_pipes(&self, drafts: &mut [Draft]) {
        for (index, event) in self.iter() {
            let EventKind::EngineListening(_) = event.kind else { continue };
            let untied =
                event.process_id.is_some_and(|id| self.processes.at(id, event.time).is_none());
            if !untied {
                continue;
            }
            let candidates = drafts.iter().enumerate().filter(|(_, draft)| {
                draft.process.is_none()
                    && !draft.runspace_ids.is_empty()
                    && near(draft.start(), event.time, STEP_WINDOW)
            });
            if let Some(slot) = nearest(candidates, event.time) {
                let draft = &mut drafts[slot];
                draft.add(index, Link::Time);
                if let Some(sid) = event.user_sid.as_deref() {
                    draft.user_sid.get_or_insert_with(|| sid.to_owned());
                }
            }
        }
    }

    /// WinRM 91, to the host process it started: by account and time.
    fn shells(&self, drafts: &mut Vec<Draft>) {
        for (index, event) in self.iter() {
            let EventKind::ShellCreated(shell) = &event.kind else { continue };
            // Some builds log it as the service, not as the caller.
            let sid = event.user_sid.as_deref().filter(|sid| !SERVICE_SIDS.contains(sid));
            let candidates = drafts.iter().enumerate().filter(|(_, draft)| {
                draft.shell.is_none()
                    && (draft.kind == Some(shell.kind) || shell.kind == ShellKind::Other)
                    && draft.can_be(shell.account.as_ref(), sid)
                    && near(draft.start(), event.time, STEP_WINDOW)
            });
            let slot = nearest(candidates, event.time).unwrap_or_else(|| {
                drafts.push(Draft {
                    server: Some(self.host.clone()),
                    kind: Some(shell.kind),
                    ..Draft::default()
                });
                drafts.len() - 1
            });
            let alone = drafts[slot].evidence.is_empty();
            let draft = &mut drafts[slot];
            draft.add(index, if alone { Link::Key } else { Link::Time });
            draft.begins(event.time);
            draft.shell = Some(index);
            draft.configuration.clone_from(&shell.configuration);
            if let Some(account) = &shell.account {
                draft.user = Some(account.clone());
            }
            if let Some(sid) = sid {
                draft.user_sid = Some(sid.to_owned());
            }
        }
    }

    /// The WinRM service's records of the request that made the shell: by ActivityID, or for the
    /// authentication by account and time.
    fn requests(&self, drafts: &mut [Draft]) {
        for (index, event) in self.iter() {
            let account = match &event.kind {
                EventKind::Authenticated(caller) => caller.account.as_ref(),
                EventKind::ServerOperation(_) => None,
                _ => continue,
            };
            let same_activity = |draft: &Draft| {
                let shell = draft.shell.map(|shell| &self.events[shell]);
                shell.is_some_and(|shell| {
                    shell.activity_id.is_some() && shell.activity_id == event.activity_id
                })
            };
            let keyed = drafts.iter().position(same_activity);
            let found = match keyed {
                Some(slot) => Some((slot, Link::Key)),
                None => account.and_then(|account| {
                    let candidates = drafts.iter().enumerate().filter(|(_, draft)| {
                        draft.user.is_some()
                            && draft.can_be(Some(account), None)
                            && near(draft.start(), event.time, STEP_WINDOW)
                    });
                    Some((nearest(candidates, event.time)?, Link::Time))
                }),
            };
            let Some((slot, link)) = found else { continue };
            let draft = &mut drafts[slot];
            draft.add(index, link);
            if let EventKind::Authenticated(caller) = &event.kind {
                match Auth::parse(&caller.mechanism) {
                    Auth::Unknown => {}
                    auth => draft.auth = Some(auth),
                }
                if draft.user.is_none() {
                    draft.user.clone_from(&caller.account);
                }
            }
        }
    }

    /// The logon the host process runs in, by its id; other network logons without an address by
    /// the same account, which HTTP.sys makes one per connection, by time.
    fn logons(&self, drafts: &mut [Draft]) {
        for (index, event) in self.iter() {
            if let EventKind::Logon(logon) = &event.kind {
                for draft in drafts.iter_mut() {
                    self.logon(draft, index, event, logon);
                }
            }
        }
        // 4672 is logged before the 4624 it belongs to.
        for (index, event) in self.iter() {
            match &event.kind {
                EventKind::SpecialPrivileges(held) => {
                    for draft in drafts.iter_mut() {
                        if event.time >= draft.start() - STEP_WINDOW
                            && let Some(link) = self.logon_link(draft, held.logon_id)
                        {
                            draft.add(index, link);
                        }
                    }
                }
                EventKind::Logoff(logoff) => {
                    for draft in drafts.iter_mut() {
                        if event.time >= draft.start()
                            && let Some(link) = self.logon_link(draft, logoff.logon_id)
                        {
                            draft.add(index, link);
                            if draft.logon_ids.first() == Some(&logoff.logon_id) {
                                draft.ends(event.time, EndKind::Logoff);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// How a logon id is tied to a draft: as its host process's own, or by time.
    fn logon_link(&self, draft: &Draft, logon_id: u64) -> Option<Link> {
        let own = draft.process.map(|process| self.processes.get(process).logon_id);
        if own == Some(logon_id) && logon_id != 0 {
            Some(Link::Key)
        } else {
            draft.logon_ids.contains(&logon_id).then_some(Link::Time)
        }
    }

    fn logon(&self, draft: &mut Draft, index: usize, event: &Event, logon: &Logon) {
        const NETWORK: u32 = 3;
        let end = draft.end.map_or(draft.start(), |(end, _)| end);
        let in_time = event.time >= draft.start() - STEP_WINDOW && event.time <= end + STEP_WINDOW;
        let keyed = self.logon_link(draft, logon.logon_id) == Some(Link::Key);
        let known = draft.user.is_some() || draft.user_sid.is_some();
        let by_time = logon.logon_type == NETWORK
            && known
            && draft.can_be(logon.account.as_ref(), Some(&logon.sid))
            && (logon.ip.is_none() || near(event.time, draft.start(), STEP_WINDOW));
        if !in_time || !(keyed || by_time) {
            return;
        }
        // With the process's own logon known, one that names an address is another connection's.
        let owned = draft.process.is_some_and(|process| self.processes.get(process).logon_id != 0);
        if !keyed && owned && logon.ip.is_some() {
            return;
        }
        draft.add(index, if keyed { Link::Key } else { Link::Time });
        if !draft.logon_ids.contains(&logon.logon_id) {
            draft.logon_ids.push(logon.logon_id);
        }
        if draft.auth.is_none() {
            draft.auth = Some(Auth::parse(&logon.package)).filter(|auth| *auth != Auth::Unknown);
        }
        if draft.user_sid.is_none() && logon.sid.starts_with("S-1-") {
            draft.user_sid = Some(logon.sid.clone());
        }
        if draft.user.is_none() {
            draft.user.clone_from(&logon.account);
        }
    }
}

fn nearest<'d>(
    drafts: impl Iterator<Item = (usize, &'d Draft)>,
    time: DateTime<Utc>,
) -> Option<usize> {
    let nearest = drafts.min_by_key(|(slot, draft)| ((draft.start() - time).abs(), *slot));
    nearest.map(|(slot, _)| slot)
}

fn remember(ids: &mut Vec<String>, id: &str) {
    if !id.is_empty() && !ids.iter().any(|known| known == id) {
        ids.push(id.to_owned());
    }
}
