//! PowerShell engines on the target: the classic log's records to session drafts.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::draft::{ByTime, Draft, Drafts, nearest, remember};
use super::host_events::HostEvents;
use super::index::{DraftIdx, ProcessIdx};
use super::names::only;
use super::windows::STEP_WINDOW;
use crate::model::{
    AccountName, EndKind, EngineContext, EngineState, EventIdx, EventKind, Link, LoggedId,
    ShellKind,
};

/// The indexes of one engine's records, in order.
pub(super) type Records = Vec<EventIdx>;

/// How long a session may have been open whose engine's start is lost.
const OPEN: TimeDelta = TimeDelta::hours(24);

impl HostEvents<'_> {
    /// The classic log's remote engines: an engine's records by HostId or RunspaceId, the engine to
    /// its session by the same ids, or by user and time where no 4103 ties it to a process. Those
    /// whose start is lost are left.
    pub fn engines(&self, drafts: &mut Drafts) -> Vec<Records> {
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
        let by_start = ByTime::of_starts(drafts);
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
                None => match self.starting_near(drafts, &by_start, &records) {
                    Some(slot) => (slot, Link::Account),
                    None => (self.unknown(drafts), Link::Own),
                },
            };
            self.take_engine(&mut drafts[slot], &records, link);
            drafts[slot].begins(self.events[records[0]].time);
        }
        late
    }

    /// Engines whose start is lost: by their end, which is their process's, else the one session
    /// that was open.
    pub fn late_engines(&self, drafts: &mut Drafts, engines: Vec<Records>) {
        let by_end = ByTime::of_ends(drafts);
        let by_start = ByTime::of_starts(drafts);
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
                    && draft.can_be(user.as_ref(), None)
            };
            let stopped = self.stop(&records).and_then(|stop| {
                let ending = by_end.near(stop, STEP_WINDOW, STEP_WINDOW).filter(can_be);
                only(ending)
            });
            let open = || only(by_start.near(first, OPEN, STEP_WINDOW).filter(can_be));
            let (slot, link) = match stopped.or_else(open) {
                Some(slot) => (slot, Link::Account),
                None => (self.unknown(drafts), Link::Own),
            };
            self.take_engine(&mut drafts[slot], &records, link);
            drafts[slot].begins(first);
        }
    }

    /// A session of which nothing is known.
    fn unknown(&self, drafts: &mut Drafts) -> DraftIdx {
        drafts.push(Draft {
            server: Some(self.host.clone()),
            kind: Some(ShellKind::PowerShell),
            ..Draft::default()
        })
    }

    fn contexts(&self, records: &Records) -> impl Iterator<Item = &EngineContext> {
        records.iter().filter_map(|&index| self.events[index].engine())
    }

    /// The account that an engine's records name.
    fn user(&self, records: &Records) -> Option<AccountName> {
        let user = self.contexts(records).find_map(|context| AccountName::parse(&context.user));
        user.map(AccountName::caller)
    }

    /// Whether an engine's first record is of its start.
    fn has_start(&self, records: &Records) -> bool {
        match &self.events[records[0]].kind {
            EventKind::Engine(engine) => engine.state != EngineState::Stopped,
            _ => false,
        }
    }

    fn stop(&self, records: &Records) -> Option<DateTime<Utc>> {
        let stops = records.iter().map(|&index| &self.events[index]).filter(|event| {
            matches!(&event.kind, EventKind::Engine(engine) if engine.state == EngineState::Stopped)
        });
        stops.map(|event| event.time).next_back()
    }

    fn take_engine(&self, draft: &mut Draft, records: &Records, link: Link) {
        for &index in records {
            draft.add(index, link);
        }
        if let Some(stop) = self.stop(records) {
            draft.ends(stop, EndKind::EngineStopped);
        }
        for context in self.contexts(records) {
            remember(&mut draft.host_ids, context.host_id.as_ref());
            remember(&mut draft.runspace_ids, context.runspace_id.as_ref());
            if draft.engine_version.is_empty() {
                draft.engine_version.clone_from(&context.engine_version);
            }
        }
        if draft.user.is_none() {
            draft.user = self.user(records);
        }
    }

    /// The PowerShell host process without an engine yet that is nearest: by when its engine began
    /// to listen, which is the moment that the classic log calls the engine's start, else by its
    /// own start.
    fn starting_near(
        &self,
        drafts: &Drafts,
        by_start: &ByTime,
        records: &Records,
    ) -> Option<DraftIdx> {
        let (time, user) = (self.events[records[0]].time, self.user(records));
        let near = by_start.near(time, STEP_WINDOW, STEP_WINDOW).filter(|&slot| {
            let draft = &drafts[slot];
            draft.kind == Some(ShellKind::PowerShell)
                && draft.host_ids.is_empty()
                && draft.can_be(user.as_ref(), None)
        });
        near.min_by_key(|&slot| {
            let draft = &drafts[slot];
            ((draft.listens.unwrap_or_else(|| draft.start()) - time).abs(), slot)
        })
    }

    /// Engines of PowerShell processes that a session started, which the classic log names by their
    /// ids, where 4103 tells whose they are, else by command line only: by that and time, then by
    /// HostId.
    pub fn child_engines(&self, drafts: &mut Drafts) {
        let slots: BTreeMap<Option<ProcessIdx>, DraftIdx> =
            drafts.iter_enumerated().map(|(slot, draft)| (draft.process, slot)).collect();
        let children = self.processes.iter().filter_map(|(index, process)| {
            let (root, depth) = self.processes.remoting_host(index)?;
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
            let root = self.processes.of(event).and_then(|of| self.processes.remoting_host(of));
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
                    // An id that was tied by time ties no better than time.
                    let known = (slot, Link::CommandLine);
                    if let Some(host_id) = host_id {
                        by_host_id.insert(host_id, known);
                    }
                    known
                }
            };
            drafts[slot].add(index, link);
        }
    }

    /// 53504 names an engine's process: with no process audit, the only tie between the classic
    /// log's engine and what Operational logs by process. By time.
    pub fn named_pipes(&self, drafts: &mut Drafts) {
        let by_start = ByTime::of_starts(drafts);
        for (index, event) in self.iter() {
            let EventKind::EngineListening(_) = event.kind else { continue };
            let untied =
                event.process_id.is_some_and(|id| self.processes.at(id, event.time).is_none());
            if !untied {
                continue;
            }
            let sid = event.user_sid.as_deref();
            let account = self.account_of(sid);
            let near = by_start.near(event.time, STEP_WINDOW, STEP_WINDOW).filter(|&slot| {
                let draft = &drafts[slot];
                draft.process.is_none()
                    && !draft.runspace_ids.is_empty()
                    && draft.can_be(account, sid)
            });
            if let Some(slot) = nearest(drafts, near, event.time) {
                drafts[slot].add(index, Link::Account);
            }
        }
    }
}
