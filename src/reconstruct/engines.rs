//! PowerShell engines on the target: adds the records of the classic log to session drafts.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::draft::{DraftsByTime, SessionDraft, SessionDrafts, nearest_draft, push_new_id};
use super::host_events::HostEvents;
use super::index::{DraftIdx, ProcessIdx};
use super::names::exactly_one;
use super::windows::STEP_WINDOW;
use crate::model::{
    AccountName, EndKind, EngineContext, EngineState, EventIdx, EventKind, Link, LoggedId,
    ShellKind,
};

/// The indexes of one engine's records, in order.
pub(super) type EngineRecords = Vec<EventIdx>;

/// How long a session may have been open if its engine's start is lost.
const LONGEST_OPEN: TimeDelta = TimeDelta::hours(24);

impl HostEvents<'_> {
    /// Adds the remote engines of the classic log. The records of an engine are grouped by HostId
    /// or RunspaceId. The engine is joined to its session by the same ids, or by user and time if
    /// no 4103 ties it to a process. Returns the engines whose start is lost.
    pub fn add_engines(&self, drafts: &mut SessionDrafts) -> Vec<EngineRecords> {
        let mut engines: BTreeMap<Option<&LoggedId>, Vec<EventIdx>> = BTreeMap::new();
        for (index, event) in self.iter() {
            let classic = matches!(event.kind, EventKind::Engine(_) | EventKind::Pipeline(_));
            if let Some(context) = event.engine().filter(|context| classic && context.is_remote()) {
                let id = context.host_id.as_ref().or(context.runspace_id.as_ref());
                engines.entry(id).or_default().push(index);
            }
        }
        let mut engines: Vec<Vec<EventIdx>> = engines.into_values().collect();
        engines.sort();
        let mut by_id: BTreeMap<LoggedId, DraftIdx> = BTreeMap::new();
        for (slot, draft) in drafts.iter_enumerated() {
            let ids = draft.host_ids.iter().chain(&draft.runspace_ids);
            by_id.extend(ids.map(|id| (id.clone(), slot)));
        }
        let by_start = DraftsByTime::by_start(drafts);
        let mut late = Vec::new();
        for records in engines {
            let keyed = self.contexts(&records).find_map(|context| {
                let ids =
                    [(&context.host_id, Link::HostId), (&context.runspace_id, Link::Runspace)];
                ids.into_iter().find_map(|(id, link)| Some((*by_id.get(id.as_ref()?)?, link)))
            });
            let (slot, link) = match keyed {
                Some(keyed) => keyed,
                None if !self.has_start(&records) => {
                    late.push(records);
                    continue;
                }
                None => match self.nearest_without_engine(drafts, &by_start, &records) {
                    Some(slot) => (slot, Link::Account),
                    None => (self.push_unknown_session(drafts), Link::Own),
                },
            };
            self.add_engine(&mut drafts[slot], &records, link);
            drafts[slot].set_earlier_start(self.events[records[0]].time);
        }
        late
    }

    /// Adds engines whose start is lost: by the end of their process, else to the only session that
    /// was open.
    pub fn add_engines_without_start(
        &self,
        drafts: &mut SessionDrafts,
        engines: Vec<EngineRecords>,
    ) {
        let by_end = DraftsByTime::by_end(drafts);
        let by_start = DraftsByTime::by_start(drafts);
        for records in engines {
            let [first, last] = [records[0], records[records.len() - 1]];
            let [first, last] = [first, last].map(|index| self.events[index].time);
            let user = self.user(&records);
            let can_be = |&slot: &DraftIdx| {
                let draft = &drafts[slot];
                draft.kind == Some(ShellKind::PowerShell)
                    && !draft.ssh
                    && draft.host_ids.is_empty()
                    && draft.start() <= first + STEP_WINDOW
                    && draft.end.is_none_or(|(end, _)| end >= last - STEP_WINDOW)
                    && draft.may_belong_to(user.as_ref(), None)
            };
            let stopped = self.stop_time(&records).and_then(|stop| {
                let ending = by_end.near(stop, STEP_WINDOW, STEP_WINDOW).filter(can_be);
                exactly_one(ending)
            });
            let open =
                || exactly_one(by_start.near(first, LONGEST_OPEN, STEP_WINDOW).filter(can_be));
            let (slot, link) = match stopped.or_else(open) {
                Some(slot) => (slot, Link::Account),
                None => (self.push_unknown_session(drafts), Link::Own),
            };
            self.add_engine(&mut drafts[slot], &records, link);
            drafts[slot].set_earlier_start(first);
        }
    }

    /// Adds a new draft without any facts.
    fn push_unknown_session(&self, drafts: &mut SessionDrafts) -> DraftIdx {
        drafts.push(SessionDraft {
            server: Some(self.host.clone()),
            kind: Some(ShellKind::PowerShell),
            ..SessionDraft::default()
        })
    }

    fn contexts(&self, records: &EngineRecords) -> impl Iterator<Item = &EngineContext> {
        records.iter().filter_map(|&index| self.events[index].engine())
    }

    /// Returns the account that an engine's records name.
    fn user(&self, records: &EngineRecords) -> Option<AccountName> {
        let user = self.contexts(records).find_map(|context| AccountName::parse(&context.user));
        user.map(AccountName::caller)
    }

    /// Returns true if an engine's first record is its start.
    fn has_start(&self, records: &EngineRecords) -> bool {
        match &self.events[records[0]].kind {
            EventKind::Engine(engine) => engine.state != EngineState::Stopped,
            _ => false,
        }
    }

    fn stop_time(&self, records: &EngineRecords) -> Option<DateTime<Utc>> {
        let stops = records.iter().map(|&index| &self.events[index]).filter(|event| {
            matches!(&event.kind, EventKind::Engine(engine) if engine.state == EngineState::Stopped)
        });
        stops.map(|event| event.time).next_back()
    }

    fn add_engine(&self, draft: &mut SessionDraft, records: &EngineRecords, link: Link) {
        for &index in records {
            draft.add_evidence(index, link);
        }
        if let Some(stop) = self.stop_time(records) {
            draft.set_better_end(stop, EndKind::EngineStopped);
        }
        for context in self.contexts(records) {
            push_new_id(&mut draft.host_ids, context.host_id.as_ref());
            push_new_id(&mut draft.runspace_ids, context.runspace_id.as_ref());
            if draft.engine_version.is_empty() {
                draft.engine_version.clone_from(&context.engine_version);
            }
        }
        if draft.user.is_none() {
            draft.user = self.user(records);
        }
    }

    /// Returns the nearest PowerShell host process that has no engine. It is compared by the time
    /// when its engine began to listen, which the classic log takes as the engine's start, else by
    /// its own start.
    fn nearest_without_engine(
        &self,
        drafts: &SessionDrafts,
        by_start: &DraftsByTime,
        records: &EngineRecords,
    ) -> Option<DraftIdx> {
        let (time, user) = (self.events[records[0]].time, self.user(records));
        let near = by_start.near(time, STEP_WINDOW, STEP_WINDOW).filter(|&slot| {
            let draft = &drafts[slot];
            draft.kind == Some(ShellKind::PowerShell)
                && draft.host_ids.is_empty()
                && draft.may_belong_to(user.as_ref(), None)
        });
        near.min_by_key(|&slot| {
            let draft = &drafts[slot];
            ((draft.listens.unwrap_or_else(|| draft.start()) - time).abs(), slot)
        })
    }

    /// Adds the engines of PowerShell processes that a session started. If 4103 shows the process,
    /// they are joined by HostId. Otherwise the classic log has only their command line: they are
    /// joined by it and time, then by HostId.
    pub fn add_child_engines(&self, drafts: &mut SessionDrafts) {
        let slots: BTreeMap<Option<ProcessIdx>, DraftIdx> =
            drafts.iter_enumerated().map(|(slot, draft)| (draft.process, slot)).collect();
        let children = self.processes.iter().filter_map(|(index, process)| {
            let (root, depth) = self.processes.remoting_ancestor(index)?;
            let line = self.processes.details(index)?.command_line.trim();
            let child = depth > 0 && !line.is_empty();
            child.then_some((line, process.start?, *slots.get(&Some(root))?))
        });
        let mut by_line: BTreeMap<&str, Vec<(DateTime<Utc>, DraftIdx)>> = BTreeMap::new();
        for (line, start, slot) in children {
            by_line.entry(line).or_default().push((start, slot));
        }
        by_line.values_mut().for_each(|starts| starts.sort_unstable());
        let mut by_host_id: BTreeMap<&LoggedId, (DraftIdx, Link)> = BTreeMap::new();
        for (_, event) in self.iter() {
            let EventKind::Command(command) = &event.kind else { continue };
            let root = self
                .processes
                .process_of_event(event)
                .and_then(|of| self.processes.remoting_ancestor(of));
            if let Some(&slot) = root.and_then(|(root, _)| slots.get(&Some(root)))
                && !command.context.is_remote()
                && let Some(host_id) = &command.context.host_id
            {
                by_host_id.entry(host_id).or_insert((slot, Link::HostId));
            }
        }
        for (index, event) in self.iter() {
            if !matches!(event.kind, EventKind::Engine(_) | EventKind::Pipeline(_)) {
                continue;
            }
            let Some(context) = event.engine().filter(|context| !context.is_remote()) else {
                continue;
            };
            let host_id = context.host_id.as_ref();
            let (slot, link) = match host_id.and_then(|id| by_host_id.get(id)) {
                Some(&known) => known,
                None => {
                    let line = context.host_application.trim();
                    let Some(starts) = by_line.get(line) else { continue };
                    let from = starts.partition_point(|&(at, _)| at < event.time - STEP_WINDOW);
                    let started =
                        starts.get(from).filter(|(at, _)| *at <= event.time + STEP_WINDOW);
                    let Some(&(_, slot)) = started else { continue };
                    // An id that was joined by time is not a stronger link than time.
                    let known = (slot, Link::CommandLine);
                    if let Some(host_id) = host_id {
                        by_host_id.insert(host_id, known);
                    }
                    known
                }
            };
            drafts[slot].add_evidence(index, link);
        }
    }

    /// Adds 53504 by time. It names an engine's process: without process audit it is the only link
    /// between the classic log's engine and the process in the Operational log.
    pub fn add_listening_engines(&self, drafts: &mut SessionDrafts) {
        let by_start = DraftsByTime::by_start(drafts);
        for (index, event) in self.iter() {
            let EventKind::EngineListening(_) = event.kind else { continue };
            let untied = event
                .process_id
                .is_some_and(|id| self.processes.process_at(id, event.time).is_none());
            if !untied {
                continue;
            }
            let sid = event.user_sid.as_deref();
            let account = self.account_of(sid);
            let near = by_start.near(event.time, STEP_WINDOW, STEP_WINDOW).filter(|&slot| {
                let draft = &drafts[slot];
                draft.process.is_none()
                    && !draft.runspace_ids.is_empty()
                    && draft.may_belong_to(account, sid)
            });
            if let Some(slot) = nearest_draft(drafts, near, event.time) {
                drafts[slot].add_evidence(index, Link::Account);
            }
        }
    }
}
