//! The target's side: session drafts from host processes and logons. Engines and shells have files
//! of their own.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::draft::{DraftsByTime, SessionDraft, SessionDrafts, push_new_id};
use super::host_events::HostEvents;
use super::index::{DraftIdx, Events, ProcessIdx};
use super::marks::HostKind;
use super::process::ProcessTable;
use super::windows::{JOIN_WINDOW, STEP_WINDOW, is_within};
use crate::model::{
    AccountName, Auth, EndKind, Event, EventIdx, EventKind, HostName, Link, Logon, ShellKind,
    is_virtual_sid,
};

/// Returns true if a SID belongs to a person or a service. WinRM makes up other SIDs for virtual
/// accounts.
fn is_not_virtual(sid: &str) -> bool {
    !is_virtual_sid(sid)
}

/// How long before one of its connections a session may have begun. Longer than logs reach back.
const LONGEST_SESSION: TimeDelta = TimeDelta::days(3660);

/// Returns the sessions that one host's own events show.
pub(super) fn target_sessions(
    events: &Events,
    host: &HostName,
    indexes: &[EventIdx],
    processes: &ProcessTable,
    accounts: &BTreeMap<String, AccountName>,
) -> SessionDrafts {
    let mut drafts = host_processes(processes, host);
    let host_events = HostEvents { events, indexes, host, processes, accounts };
    host_events.add_process_events(&mut drafts);
    host_events.add_own_logons(&mut drafts);
    let late = host_events.add_engines(&mut drafts);
    host_events.add_child_engines(&mut drafts);
    host_events.add_listening_engines(&mut drafts);
    host_events.add_shells(&mut drafts);
    host_events.add_other_logons(&mut drafts);
    host_events.add_engines_without_start(&mut drafts, late);
    drafts
}

/// Returns a draft for each host process: it is a shell, and so one session.
fn host_processes(processes: &ProcessTable, host: &HostName) -> SessionDrafts {
    let hosts = processes.iter().filter(|(_, process)| process.is_remoting_host());
    hosts
        .map(|(index, process)| {
            let details = processes.details(index);
            let mut draft = SessionDraft {
                server: Some(host.clone()),
                process: Some(index),
                kind: Some(match process.host_kind {
                    HostKind::WinrsHost => ShellKind::Winrs,
                    HostKind::PowerShellHost | HostKind::SshHost | HostKind::Other => {
                        ShellKind::PowerShell
                    }
                }),
                ssh: process.host_kind == HostKind::SshHost,
                user: details.and_then(|details| details.account.clone()).map(AccountName::caller),
                user_sid: details
                    .and_then(|details| details.sid.clone())
                    .filter(|sid| is_not_virtual(sid)),
                start: process.start,
                ..SessionDraft::default()
            };
            if let Some(end) = process.end {
                draft.set_better_end(end, EndKind::ProcessExited);
            }
            if process.logon_id != 0 {
                draft.logon_ids.push(process.logon_id);
            }
            draft
        })
        .collect()
}

impl HostEvents<'_> {
    /// Adds the events of each session's process tree, by process.
    fn add_process_events(&self, drafts: &mut SessionDrafts) {
        let by_process: BTreeMap<ProcessIdx, DraftIdx> = drafts
            .iter_enumerated()
            .filter_map(|(slot, draft)| Some((draft.process?, slot)))
            .collect();
        for (index, event) in self.iter() {
            let process = match &event.kind {
                EventKind::ProcessStart(_)
                | EventKind::ProcessExit(_)
                | EventKind::Command(_)
                | EventKind::CommandError(_)
                | EventKind::CommandLifecycle(_)
                | EventKind::ScriptBlockPart(_)
                | EventKind::ScriptBlockRun(_)
                | EventKind::EngineListening(_)
                | EventKind::PowerShell(_)
                | EventKind::ServerSession(_)
                | EventKind::Traffic(_)
                | EventKind::Connection(_) => self.processes.process_of_event(event),
                _ => None,
            };
            let root = process.and_then(|process| self.processes.remoting_ancestor(process));
            let Some((root, depth)) = root else { continue };
            let Some(&slot) = by_process.get(&root) else { continue };
            let draft = &mut drafts[slot];
            draft.add_evidence(index, Link::Process);
            if draft.process.is_some_and(|process| self.processes.get(process).start.is_none()) {
                draft.set_earlier_start(event.time);
            }
            if depth == 0 && matches!(event.kind, EventKind::EngineListening(_)) {
                draft.listens.get_or_insert(event.time);
            }
            if depth == 0
                && let Some(sid) = event.user_sid.as_deref().filter(|sid| is_not_virtual(sid))
                && matches!(
                    event.kind,
                    EventKind::Command(_)
                        | EventKind::ScriptBlockPart(_)
                        | EventKind::EngineListening(_)
                )
            {
                draft.user_sid.get_or_insert_with(|| sid.to_owned());
            }
            if let EventKind::ServerSession(session) = &event.kind {
                if draft.user.is_none() {
                    draft.user = session.account.clone().map(AccountName::caller);
                }
                let (kind, configuration) =
                    ShellKind::of(session.shell.as_deref().unwrap_or_default());
                if kind == ShellKind::PowerShell && draft.configuration.is_empty() {
                    configuration.clone_into(&mut draft.configuration);
                }
            }
            if let Some(context) = event.engine().filter(|context| context.is_remote()) {
                push_new_id(&mut draft.host_ids, context.host_id.as_ref());
                push_new_id(&mut draft.runspace_ids, context.runspace_id.as_ref());
                let user = match context.connected_user.as_str() {
                    "" => &context.user,
                    connected => connected,
                };
                if draft.user.is_none() {
                    draft.user = AccountName::parse(user).map(AccountName::caller);
                }
            }
        }
    }

    /// Adds the logon of each host process by its id. It shows the session's account.
    fn add_own_logons(&self, drafts: &mut SessionDrafts) {
        let owners = DraftsByTime::grouped_by_key(drafts, |draft| draft.logon_ids.clone());
        for (index, event) in self.iter() {
            let EventKind::Logon(logon) = &event.kind else { continue };
            // Logon ids recur after a restart: the logon comes shortly before the process.
            let owners = owners.get(&logon.logon_id).into_iter();
            for slot in owners.flat_map(|own| own.near(event.time, JOIN_WINDOW, JOIN_WINDOW)) {
                self.add_logon(&mut drafts[slot], index, logon, Link::Logon);
            }
        }
    }

    /// Adds other network logons of the same account by time: HTTP.sys makes one for each
    /// connection. Then adds the events of all logons of a session.
    fn add_other_logons(&self, drafts: &mut SessionDrafts) {
        let own: BTreeSet<u64> = drafts
            .iter()
            .filter(|d| d.process.is_some())
            .flat_map(|d| d.logon_ids.clone())
            .collect();
        let by_name = DraftsByTime::grouped_by_key(drafts, |draft| {
            let name = draft.user.as_ref().map(AccountName::name_key);
            name.into_iter().chain(draft.user_sid.clone())
        });
        for (index, event) in self.iter() {
            if let EventKind::Logon(logon) = &event.kind
                && !own.contains(&logon.logon_id)
            {
                let name = logon.account.as_ref().map(AccountName::name_key);
                let lists = [name.as_ref(), Some(&logon.sid)].into_iter().flatten();
                let lists = lists.filter_map(|name| by_name.get(name));
                let same =
                    lists.flat_map(|drafts| drafts.near(event.time, LONGEST_SESSION, STEP_WINDOW));
                for slot in same.collect::<BTreeSet<_>>() {
                    if self.is_connection_of(&drafts[slot], event, logon) {
                        self.add_logon(&mut drafts[slot], index, logon, Link::Account);
                    }
                }
            }
        }
        let by_logon = DraftsByTime::grouped_by_key(drafts, |draft| draft.logon_ids.clone());
        // For each draft, the logons that ended.
        let mut all_ended: BTreeMap<DraftIdx, (DateTime<Utc>, BTreeSet<u64>)> = BTreeMap::new();
        // 4672 is logged before the 4624 that it belongs to.
        for (index, event) in self.iter() {
            let (logon_id, ended) = match &event.kind {
                EventKind::SpecialPrivileges(held) => (held.logon_id, false),
                EventKind::Logoff(logoff) => (logoff.logon_id, true),
                _ => continue,
            };
            let begun = by_logon.get(&logon_id).into_iter();
            for slot in begun.flat_map(|drafts| drafts.begun_by(event.time + STEP_WINDOW)) {
                let draft = &mut drafts[slot];
                let Some(link) = self.logon_link(draft, logon_id) else { continue };
                draft.add_evidence(index, link);
                if !ended || event.time < draft.start() {
                    continue;
                }
                if link.is_key() {
                    draft.set_better_end(event.time, EndKind::Logoff);
                } else {
                    let (last, ended) = all_ended.entry(slot).or_default();
                    *last = event.time.max(*last);
                    ended.insert(logon_id);
                }
            }
        }
        // The process ends with its own logon. If that logon is not known, the session ends when
        // all its logons have ended.
        for (slot, (last, ended)) in all_ended {
            let draft = &mut drafts[slot];
            if !self.knows_process_logon(draft)
                && draft.logon_ids.iter().all(|id| ended.contains(id))
            {
                draft.set_better_end(last, EndKind::Logoff);
            }
        }
    }

    /// Returns true if the logon of the draft's host process is known.
    fn knows_process_logon(&self, draft: &SessionDraft) -> bool {
        draft.process.is_some_and(|process| self.processes.get(process).logon_id != 0)
    }

    /// Returns true if that logon is the caller's own. An endpoint with a virtual account has
    /// another.
    fn runs_in_callers_logon(&self, draft: &SessionDraft) -> bool {
        let details = draft.process.and_then(|process| self.processes.details(process));
        let sid = details.and_then(|details| details.sid.as_deref());
        let account = details.and_then(|details| details.account.as_ref());
        self.knows_process_logon(draft)
            && sid.is_none_or(is_not_virtual)
            && account.is_none_or(|account| account.virtual_caller().is_none())
    }

    /// Returns the link of a logon id to a draft: the host process's own logon, or by time.
    fn logon_link(&self, draft: &SessionDraft, logon_id: u64) -> Option<Link> {
        match draft.logon_ids.iter().position(|&known| known == logon_id)? {
            0 if self.knows_process_logon(draft) => Some(Link::Logon),
            _ => Some(Link::Account),
        }
    }

    /// Returns true if a logon may be one of a session's connections: a network logon of its
    /// account during the session. HTTP.sys ends the connection, so the logon has no address. If
    /// the process's own logon is known, a logon with an address is something else.
    fn is_connection_of(&self, draft: &SessionDraft, event: &Event, logon: &Logon) -> bool {
        const NETWORK: u32 = 3;
        let end = draft.end.map_or(draft.start(), |(end, _)| end);
        let in_time = event.time >= draft.start() - STEP_WINDOW && event.time <= end + STEP_WINDOW;
        let at_start = is_within(event.time, draft.start(), STEP_WINDOW);
        // A logon with a ticket and an address does not come from WinRM.
        let kerberos = logon.auth() == Auth::Kerberos;
        in_time
            && logon.logon_type == NETWORK
            && (draft.user.is_some() || draft.user_sid.is_some())
            && draft.may_belong_to(logon.account.as_ref(), Some(&logon.sid))
            && (logon.ip.is_none() || (at_start && !kerberos && !self.runs_in_callers_logon(draft)))
    }

    fn add_logon(&self, draft: &mut SessionDraft, index: EventIdx, logon: &Logon, link: Link) {
        draft.add_evidence(index, link);
        if !draft.logon_ids.contains(&logon.logon_id) {
            draft.logon_ids.push(logon.logon_id);
        }
        if draft.auth.is_none() && (link.is_key() || !self.runs_in_callers_logon(draft)) {
            draft.auth = Some(logon.auth()).filter(|auth| *auth != Auth::Unknown);
        }
        if draft.user_sid.is_none() && logon.sid.starts_with("S-1-") && is_not_virtual(&logon.sid) {
            draft.user_sid = Some(logon.sid.clone());
        }
        if draft.user.is_none() {
            draft.user = logon.account.clone().map(AccountName::caller);
        }
    }
}
