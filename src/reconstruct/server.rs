//! The target's side: host processes, engines, shells and logons to session drafts.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::gather::Image;
use super::process::Processes;
use super::{Draft, JOIN_WINDOW, STEP_WINDOW, context, near};
use crate::model::{
    Account, Auth, EndKind, EngineState, Event, EventKind, Link, Logon, ShellKind, Str,
};

/// Whether a SID is a person's or a service's, and not one that WinRM made up for a virtual account
/// (S-1-5-94-…).
fn is_real(sid: &str) -> bool {
    !sid.starts_with("S-1-5-94-")
}

/// How long after its shell a session's first command may come where no record tells of its process.
pub(super) const WAITED: TimeDelta = TimeDelta::hours(1);

/// SIDs of the services that WinRM runs as.
const SERVICE_SIDS: [&str; 2] = ["S-1-5-19", "S-1-5-20"];

/// The sessions that one host's own events show.
pub(super) fn sessions(
    events: &[Event],
    host: &Str,
    indexes: &[usize],
    processes: &Processes,
    accounts: &BTreeMap<String, Account>,
) -> Vec<Draft> {
    let mut drafts = host_processes(processes, host);
    let host_events = HostEvents { events, indexes, host, processes, accounts };
    host_events.process_events(&mut drafts);
    host_events.own_logons(&mut drafts);
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
            let details = processes.details(index);
            let mut draft = Draft {
                server: Some(host.clone()),
                process: Some(index),
                kind: Some(match process.image {
                    Image::WinrsHost => ShellKind::Winrs,
                    Image::PowerShellHost | Image::SshHost | Image::Other => ShellKind::PowerShell,
                }),
                ssh: process.image == Image::SshHost,
                user: details.and_then(|details| details.account.clone()).map(Account::caller),
                user_sid: details
                    .and_then(|details| details.sid.clone())
                    .filter(|sid| is_real(sid)),
                start: process.start,
                ..Draft::default()
            };
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
    /// Accounts by SID, from all logons.
    accounts: &'a BTreeMap<String, Account>,
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
                EventKind::ProcessStart(_)
                | EventKind::ProcessExit(_)
                | EventKind::Command(_)
                | EventKind::CommandError(_)
                | EventKind::ScriptBlockPart(_)
                | EventKind::ScriptBlockRun(_)
                | EventKind::EngineListening(_)
                | EventKind::PowerShell(_)
                | EventKind::Connection(_) => self.processes.of(event),
                _ => None,
            };
            let root = process.and_then(|process| self.processes.remoting_host(process));
            let Some((root, depth)) = root else { continue };
            let Some(&slot) = by_process.get(&root) else { continue };
            let draft = &mut drafts[slot];
            draft.add(index, Link::Process);
            if draft.process.is_some_and(|process| self.processes.get(process).start.is_none()) {
                draft.begins(event.time);
            }
            if depth == 0
                && let Some(sid) = event.user_sid.as_deref().filter(|sid| is_real(sid))
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
                    draft.user = Account::parse(user).map(Account::caller);
                }
            }
        }
    }

    /// The classic log's remote engines: an engine's records by HostId or RunspaceId, the engine to
    /// its session by the same ids, or by user and time where no 4103 ties it to a process.
    fn engines(&self, drafts: &mut Vec<Draft>) {
        let mut engines: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, event) in self.iter() {
            let classic = matches!(event.kind, EventKind::Engine(_) | EventKind::Pipeline(_));
            if let Some(context) = context(event).filter(|context| classic && context.is_remote()) {
                let id = match context.host_id.as_str() {
                    "" => &context.runspace_id,
                    host_id => host_id,
                };
                engines.entry(id).or_default().push(index);
            }
        }
        let mut engines: Vec<Vec<usize>> = engines.into_values().collect();
        engines.sort();
        let mut by_id: BTreeMap<String, usize> = BTreeMap::new();
        for (slot, draft) in drafts.iter().enumerate() {
            let ids = draft.host_ids.iter().chain(&draft.runspace_ids);
            by_id.extend(ids.map(|id| (id.clone(), slot)));
        }
        for records in engines {
            let contexts = || records.iter().filter_map(|&index| context(&self.events[index]));
            let ids = contexts().flat_map(|context| {
                [(&context.host_id, Link::HostId), (&context.runspace_id, Link::Runspace)]
            });
            let keyed = ids.filter_map(|(id, link)| Some((*by_id.get(id)?, link))).next();
            let user = contexts().find_map(|context| Account::parse(&context.user));
            let user = user.map(Account::caller);
            let start = self.events[records[0]].time;
            let (slot, link) = match keyed {
                Some(keyed) => keyed,
                None => match self.starting_near(drafts, start, user.as_ref()) {
                    Some(slot) => (slot, Link::Account),
                    None => {
                        drafts.push(Draft {
                            server: Some(self.host.clone()),
                            kind: Some(ShellKind::PowerShell),
                            ..Draft::default()
                        });
                        (drafts.len() - 1, Link::Own)
                    }
                },
            };
            let draft = &mut drafts[slot];
            draft.begins(start);
            for &index in &records {
                draft.add(index, link);
                if let EventKind::Engine(engine) = &self.events[index].kind
                    && engine.state == EngineState::Stopped
                {
                    draft.ends(self.events[index].time, EndKind::EngineStopped);
                }
            }
            for context in contexts() {
                remember(&mut draft.host_ids, &context.host_id);
                remember(&mut draft.runspace_ids, &context.runspace_id);
                if draft.engine_version.is_empty() {
                    draft.engine_version.clone_from(&context.engine_version);
                }
            }
            if draft.user.is_none() {
                draft.user = user;
            }
        }
    }

    /// Engines of PowerShell processes that a session started, which the classic log names by
    /// command line only: by that and time, then by HostId.
    fn child_engines(&self, drafts: &mut [Draft]) {
        let slots: BTreeMap<Option<usize>, usize> =
            drafts.iter().enumerate().map(|(slot, draft)| (draft.process, slot)).collect();
        let children = self.processes.iter().filter_map(|(index, process)| {
            let (root, depth) = self.processes.remoting_host(index)?;
            let line = self.processes.details(index)?.command_line.trim();
            let child = depth > 0 && !line.is_empty();
            child.then_some((line, process.start?, *slots.get(&Some(root))?))
        });
        let children: Vec<(&str, DateTime<Utc>, usize)> = children.collect();
        let mut by_host_id: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, event) in self.iter() {
            if !matches!(event.kind, EventKind::Engine(_) | EventKind::Pipeline(_)) {
                continue;
            }
            let Some(context) = context(event).filter(|context| !context.is_remote()) else {
                continue;
            };
            let slot = match by_host_id.get(context.host_id.as_str()) {
                Some(&slot) => slot,
                None => {
                    let line = context.host_application.trim();
                    let started = children
                        .iter()
                        .find(|(own, at, _)| *own == line && near(*at, event.time, STEP_WINDOW));
                    let Some(&(.., slot)) = started else { continue };
                    if !context.host_id.is_empty() {
                        by_host_id.insert(&context.host_id, slot);
                    }
                    slot
                }
            };
            // An id that was tied by time ties no better than time.
            drafts[slot].add(index, Link::CommandLine);
        }
    }

    /// The PowerShell host process without an engine yet whose start is nearest.
    fn starting_near(
        &self,
        drafts: &[Draft],
        time: DateTime<Utc>,
        user: Option<&Account>,
    ) -> Option<usize> {
        let candidates = drafts.iter().enumerate().filter(|(_, draft)| {
            draft.kind == Some(ShellKind::PowerShell)
                && draft.host_ids.is_empty()
                && draft.can_be(user, None)
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
            let sid = event.user_sid.as_deref();
            let account = self.account_of(sid);
            let candidates = drafts.iter().enumerate().filter(|(_, draft)| {
                draft.process.is_none()
                    && !draft.runspace_ids.is_empty()
                    && draft.can_be(account, sid)
                    && near(draft.start(), event.time, STEP_WINDOW)
            });
            if let Some(slot) = nearest(candidates, event.time) {
                drafts[slot].add(index, Link::Account);
            }
        }
    }

    /// WinRM 91, to the host process it started: by account and time, nearest pairs first.
    fn shells(&self, drafts: &mut Vec<Draft>) {
        let mut shells = Vec::new();
        let mut pairs = Vec::new();
        for (index, event) in self.iter() {
            let EventKind::ShellCreated(shell) = &event.kind else { continue };
            // Event forwarding subscribes by a shell of its own.
            if shell.resource_uri.to_ascii_lowercase().contains("/subscription") {
                continue;
            }
            // Some builds log it as the service, not as the caller.
            let sid = event.user_sid.as_deref().filter(|sid| !SERVICE_SIDS.contains(sid));
            let account = shell.account.as_ref().or_else(|| self.account_of(sid));
            for (slot, draft) in drafts.iter().enumerate() {
                // Without process audit, a session's start is its first command's.
                let unaudited = draft
                    .process
                    .is_some_and(|process| self.processes.get(process).start.is_none());
                let before = draft.start() - event.time;
                let same = sid.is_some() && sid == draft.user_sid.as_deref();
                let waited = unaudited && same && before >= TimeDelta::zero() && before <= WAITED;
                if (near(draft.start(), event.time, STEP_WINDOW) || waited)
                    && !draft.ssh
                    && (draft.kind == Some(shell.kind) || shell.kind == ShellKind::Other)
                    && draft.can_be(account, sid)
                {
                    pairs.push(((draft.start() - event.time).abs(), shells.len(), slot));
                }
            }
            shells.push((index, event, shell, sid));
        }
        pairs.sort_unstable();
        let mut taken: Vec<Option<usize>> = vec![None; shells.len()];
        for (_, shell, slot) in pairs {
            if taken[shell].is_none() && drafts[slot].shell.is_none() {
                taken[shell] = Some(slot);
                drafts[slot].shell = Some(shells[shell].0);
            }
        }
        for ((index, event, shell, sid), slot) in shells.into_iter().zip(taken) {
            let link = if slot.is_some() { Link::Account } else { Link::Own };
            let slot = slot.unwrap_or_else(|| {
                drafts.push(Draft {
                    server: Some(self.host.clone()),
                    kind: Some(shell.kind),
                    shell: Some(index),
                    ..Draft::default()
                });
                drafts.len() - 1
            });
            let draft = &mut drafts[slot];
            draft.add(index, link);
            draft.begins(event.time);
            draft.configuration.clone_from(&shell.configuration);
            if let Some(account) = &shell.account {
                draft.user = Some(account.clone());
            } else if draft.user.is_none() {
                draft.user = self.account_of(sid).cloned();
            }
            if let Some(sid) = sid {
                draft.user_sid = Some(sid.to_owned());
            }
        }
    }

    /// The account that logons on any host give a SID.
    fn account_of(&self, sid: Option<&str>) -> Option<&Account> {
        self.accounts.get(sid?)
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
                Some(slot) => Some((slot, Link::Activity)),
                None => account.and_then(|account| {
                    let candidates = drafts.iter().enumerate().filter(|(_, draft)| {
                        draft.user.is_some()
                            && draft.can_be(Some(account), None)
                            && near(draft.start(), event.time, STEP_WINDOW)
                    });
                    Some((nearest(candidates, event.time)?, Link::Account))
                }),
            };
            let Some((slot, link)) = found else { continue };
            let draft = &mut drafts[slot];
            draft.add(index, link);
            if let EventKind::ServerOperation(operation) = &event.kind
                && draft.configuration.is_empty()
                && let Some(uri) = &operation.resource_uri
            {
                ShellKind::of(uri).1.clone_into(&mut draft.configuration);
            }
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

    /// The logon that each host process runs in, by its id: it says who the session is.
    fn own_logons(&self, drafts: &mut [Draft]) {
        let mut owners: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (slot, draft) in drafts.iter().enumerate() {
            for &logon_id in &draft.logon_ids {
                owners.entry(logon_id).or_default().push(slot);
            }
        }
        for (index, event) in self.iter() {
            let EventKind::Logon(logon) = &event.kind else { continue };
            for &slot in owners.get(&logon.logon_id).into_iter().flatten() {
                // Logon ids recur after a restart: the logon comes shortly before the process.
                if near(event.time, drafts[slot].start(), JOIN_WINDOW) {
                    self.take_logon(&mut drafts[slot], index, logon, Link::Logon);
                }
            }
        }
    }

    /// Other network logons by the same account, which HTTP.sys makes one per connection, by time;
    /// then what was logged of all of a session's logons.
    fn logons(&self, drafts: &mut [Draft]) {
        let own: BTreeSet<u64> = drafts
            .iter()
            .filter(|d| d.process.is_some())
            .flat_map(|d| d.logon_ids.clone())
            .collect();
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (slot, draft) in drafts.iter().enumerate() {
            let name = draft.user.as_ref().map(|user| user.name.to_lowercase());
            for name in name.into_iter().chain(draft.user_sid.clone()) {
                by_name.entry(name).or_default().push(slot);
            }
        }
        for (index, event) in self.iter() {
            if let EventKind::Logon(logon) = &event.kind
                && !own.contains(&logon.logon_id)
            {
                let name = logon.account.as_ref().map(|account| account.name.to_lowercase());
                let named = name.and_then(|name| by_name.get(&name)).into_iter().flatten();
                let same = named.chain(by_name.get(&logon.sid).into_iter().flatten());
                for &slot in same.collect::<BTreeSet<_>>() {
                    if self.is_connection_of(&drafts[slot], event, logon) {
                        self.take_logon(&mut drafts[slot], index, logon, Link::Account);
                    }
                }
            }
        }
        let mut by_logon: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (slot, draft) in drafts.iter().enumerate() {
            for &logon_id in &draft.logon_ids {
                by_logon.entry(logon_id).or_default().push(slot);
            }
        }
        // 4672 is logged before the 4624 it belongs to.
        for (index, event) in self.iter() {
            let (logon_id, ended) = match &event.kind {
                EventKind::SpecialPrivileges(held) => (held.logon_id, false),
                EventKind::Logoff(logoff) => (logoff.logon_id, true),
                _ => continue,
            };
            for &slot in by_logon.get(&logon_id).into_iter().flatten() {
                let draft = &mut drafts[slot];
                let Some(link) = self.logon_link(draft, logon_id) else { continue };
                if event.time < draft.start() - STEP_WINDOW {
                    continue;
                }
                draft.add(index, link);
                // The process's own logon ends with it; without one, the last connection tells.
                let tells = link.is_key() || !self.owns_logon(draft);
                if ended && tells && event.time >= draft.start() {
                    draft.ends(event.time, EndKind::Logoff);
                }
            }
        }
    }

    /// Whether the logon that a draft's host process runs in is known.
    fn owns_logon(&self, draft: &Draft) -> bool {
        draft.process.is_some_and(|process| self.processes.get(process).logon_id != 0)
    }

    /// How a logon id is tied to a draft: as its host process's own, or by time.
    fn logon_link(&self, draft: &Draft, logon_id: u64) -> Option<Link> {
        match draft.logon_ids.iter().position(|&known| known == logon_id)? {
            0 if self.owns_logon(draft) => Some(Link::Logon),
            _ => Some(Link::Account),
        }
    }

    /// Whether a logon can be one of a session's connections: a network logon of its account in
    /// its time. HTTP.sys ends the connection, so it has no address; where the process's own logon
    /// is known, one that has an address is something else.
    fn is_connection_of(&self, draft: &Draft, event: &Event, logon: &Logon) -> bool {
        const NETWORK: u32 = 3;
        let end = draft.end.map_or(draft.start(), |(end, _)| end);
        let in_time = event.time >= draft.start() - STEP_WINDOW && event.time <= end + STEP_WINDOW;
        let at_start = near(event.time, draft.start(), STEP_WINDOW);
        // One with a ticket and an address was made by something that is no WinRM.
        let kerberos = logon.package.eq_ignore_ascii_case("kerberos");
        in_time
            && logon.logon_type == NETWORK
            && (draft.user.is_some() || draft.user_sid.is_some())
            && draft.can_be(logon.account.as_ref(), Some(&logon.sid))
            && (logon.ip.is_none() || (at_start && !kerberos && !self.owns_logon(draft)))
    }

    fn take_logon(&self, draft: &mut Draft, index: usize, logon: &Logon, link: Link) {
        draft.add(index, link);
        if !draft.logon_ids.contains(&logon.logon_id) {
            draft.logon_ids.push(logon.logon_id);
        }
        if draft.auth.is_none() && (link.is_key() || !self.owns_logon(draft)) {
            draft.auth = Some(Auth::parse(&logon.package)).filter(|auth| *auth != Auth::Unknown);
        }
        if draft.user_sid.is_none() && logon.sid.starts_with("S-1-") && is_real(&logon.sid) {
            draft.user_sid = Some(logon.sid.clone());
        }
        if draft.user.is_none() {
            draft.user = logon.account.clone().map(Account::caller);
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
