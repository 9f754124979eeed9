//! The processes of each host. Process ids recur, so each process is bounded by its lifetime.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rayon::prelude::*;

use super::engine_process;
use super::hosts::LoggingHosts;
use super::index::ProcessIdx;
use super::marks::{HostKind, IdKey, ProcessMark, ProcessMarkKind, TaskMarks, TextKey};
use super::windows::FIRST_COMMAND_WINDOW;
use crate::model::{AccountName, Event, EventKind, HostIdx, IdxVec, RecordRef, file_name};

/// How far apart two logs of one host write the same moment.
const LOG_SKEW: TimeDelta = TimeDelta::seconds(2);

/// Logon ids of the system and its two services, which every host has (ntifs.h: SYSTEM_LUID,
/// NETWORKSERVICE_LUID, LOCALSERVICE_LUID).
const SERVICE_LOGONS: [u64; 3] = [0x3e7, 0x3e4, 0x3e5];

/// How far from a remote engine's own records its process may have logged others, if no audit log
/// bounds its life. Process ids recur.
const UNAUDITED_MARGIN: TimeDelta = TimeDelta::minutes(2);

/// Most processes with one id that a record is compared with. Keeps a log full of forged records
/// cheap.
const MOST_LIVES: usize = 64;

/// A process, as far as its records show it.
#[derive(Debug)]
pub(super) struct TrackedProcess {
    /// 0 if no record shows it.
    pub id: u32,
    pub host_kind: HostKind,
    /// The key of the lower-case file name of its image.
    image: TextKey,
    /// The key of its command line, trimmed.
    pub line: TextKey,
    /// The time of its first record.
    known: DateTime<Utc>,
    /// `None` if only its work was logged, not its start.
    pub start: Option<DateTime<Utc>>,
    pub end: Option<DateTime<Utc>>,
    /// The engine that proves the process if its start was not logged: HostId, first and last
    /// record.
    engine: Option<(IdKey, DateTime<Utc>, DateTime<Utc>)>,
    parent: Option<ProcessIdx>,
    pub logon_id: u64,
    /// The keys of its account's name and SID.
    pub account_keys: [TextKey; 2],
    /// The first of its records.
    pub first: RecordRef,
}

impl TrackedProcess {
    fn is_alive_at(&self, time: DateTime<Utc>) -> bool {
        if let Some((_, first, last)) = self.engine {
            let last = self.end.map_or(last + UNAUDITED_MARGIN, |end| end + LOG_SKEW);
            return time >= first - UNAUDITED_MARGIN && time <= last;
        }
        self.start.is_none_or(|start| time >= start - LOG_SKEW)
            && self.end.is_none_or(|end| time <= end + LOG_SKEW)
    }

    /// Returns the time of the first record of the engine that proves the process.
    pub fn first_engine_record(&self) -> Option<DateTime<Utc>> {
        self.engine.map(|(_, first, _)| first)
    }

    /// Returns true if WinRM or sshd starts such a process for a session.
    pub fn is_remoting_host(&self) -> bool {
        self.host_kind != HostKind::Other
    }
}

/// Facts from the records of a process in a session, with their texts.
#[derive(Debug, Default)]
pub(super) struct ProcessDetails {
    /// Empty if auditing does not log it.
    pub command_line: String,
    pub account: Option<AccountName>,
    pub sid: Option<String>,
}

impl ProcessDetails {
    /// Sets the account, where it is not known yet.
    fn set_account(&mut self, account: Option<&AccountName>, sid: Option<&str>) {
        if self.account.is_none() {
            self.account = account.cloned();
        }
        if self.sid.is_none() {
            self.sid = sid.map(str::to_owned);
        }
    }
}

/// The processes of a host.
#[derive(Debug, Default)]
pub(super) struct ProcessTable {
    all: IdxVec<ProcessIdx, TrackedProcess>,
    by_id: BTreeMap<u32, Vec<ProcessIdx>>,
    /// The latest listening engine of each process id whose process is not known: when it began,
    /// and the SID that runs it.
    listening: BTreeMap<u32, (DateTime<Utc>, TextKey)>,
    /// Processes by the record that lacks their id.
    by_record: BTreeMap<RecordRef, ProcessIdx>,
    /// For each process, the remoting host process that it is or descends from, and the depth below
    /// it.
    ancestors: IdxVec<ProcessIdx, Option<(ProcessIdx, u32)>>,
    details: BTreeMap<ProcessIdx, ProcessDetails>,
}

/// Returns the exits of remoting host processes whose starts are not logged, each with the earliest
/// time from which it may have had its id.
fn unmatched_exits<'m>(marks: &[&'m ProcessMark]) -> Vec<(DateTime<Utc>, &'m ProcessMark)> {
    let mut latest: BTreeMap<u32, (DateTime<Utc>, Option<TextKey>)> = BTreeMap::new();
    let mut unmatched_exits = Vec::new();
    let is_audit = |mark: &&&ProcessMark| {
        matches!(mark.kind, ProcessMarkKind::Started(_) | ProcessMarkKind::Exited(_))
    };
    // Before the audit log begins, any process may have had the id.
    let Some(audited) = marks.iter().find(is_audit).map(|mark| mark.mark.time) else {
        return unmatched_exits;
    };
    for &mark in marks.iter().filter(|mark| mark.id != 0) {
        match mark.kind {
            ProcessMarkKind::Started(_) => {
                latest.insert(mark.id, (mark.mark.time, Some(mark.image)));
            }
            ProcessMarkKind::Exited(host_kind) => {
                let known = latest.insert(mark.id, (mark.mark.time, None));
                let alive = known.is_some_and(|(_, name)| name == Some(mark.image));
                // Security and Sysmon both log it: one exit.
                let again = known.is_some_and(|(time, name)| {
                    name.is_none() && mark.mark.time - time <= LOG_SKEW
                });
                if host_kind != HostKind::Other && !alive && !again {
                    let since = known.map_or(audited, |(time, _)| time);
                    unmatched_exits.push((since, mark));
                }
            }
            ProcessMarkKind::Listens
            | ProcessMarkKind::HostsEngine(..)
            | ProcessMarkKind::EngineOnly(..) => {}
        }
    }
    unmatched_exits.sort_by_key(|(since, exit)| (*since, exit.mark.time, exit.mark.source));
    unmatched_exits
}

/// Returns the processes of each host.
pub(super) fn process_tables(
    task_marks: &[TaskMarks],
    hosts: &LoggingHosts,
) -> IdxVec<HostIdx, ProcessTable> {
    let mut by_host: IdxVec<HostIdx, Vec<&ProcessMark>> =
        hosts.names().map(|_| Vec::new()).collect();
    for (host, mark) in hosts.marks_with_host(task_marks, |task| &task.processes) {
        by_host[host].push(mark);
    }
    let build = |mut marks: Vec<&ProcessMark>| {
        marks.sort_unstable_by_key(|mark| (mark.mark.time, mark.mark.source));
        ProcessTable::build(&marks)
    };
    by_host.into_vec().into_par_iter().map(build).collect()
}

impl ProcessTable {
    /// Builds the table from a host's marks, which are in order of time.
    pub fn build(marks: &[&ProcessMark]) -> ProcessTable {
        let mut table = ProcessTable::default();
        let mut unmatched_exits = unmatched_exits(marks).into_iter().peekable();
        let engines = engine_process::engine_processes(marks);
        for &mark in marks {
            while let Some((known, exit)) =
                unmatched_exits.next_if(|(known, _)| *known <= mark.mark.time)
            {
                table.add_unmatched_exit(known, exit);
            }
            match mark.kind {
                ProcessMarkKind::Started(host_kind) if mark.id != 0 => {
                    table.add_start(mark, host_kind);
                }
                ProcessMarkKind::Started(_) => {}
                ProcessMarkKind::Exited(_) => table.add_exit(mark),
                ProcessMarkKind::EngineOnly(host_kind, host_id) => {
                    if let Some(&(id, sid)) = engines.get(&host_id) {
                        let account_keys = [TextKey::default(), sid];
                        table.add_engine_work(
                            &ProcessMark { id, account_keys, ..*mark },
                            host_kind,
                            host_id,
                        );
                    }
                }
                ProcessMarkKind::Listens => {
                    table.listening.insert(mark.id, (mark.mark.time, mark.account_keys[1]));
                }
                ProcessMarkKind::HostsEngine(host_kind, host_id) => {
                    table.add_engine_work(mark, host_kind, host_id)
                }
            }
        }
        // Some collectors drop the process id. Such a start belongs to a known process with the
        // same image and logon, or to a new one.
        let known = |index: ProcessIdx, process: &TrackedProcess| {
            Some((process.image, process.logon_id, process.start?, index))
        };
        let all = table.all.iter_enumerated();
        let mut by_image: BTreeSet<(TextKey, u64, DateTime<Utc>, ProcessIdx)> =
            all.filter_map(|(index, process)| known(index, process)).collect();
        for mark in marks.iter().copied().filter(|mark| mark.id == 0) {
            let ProcessMarkKind::Started(host_kind) = mark.kind else { continue };
            let time = mark.mark.time;
            let from = (mark.image, mark.logon_id, time - LOG_SKEW, ProcessIdx::new(0));
            let twin = by_image.range(from..).next().filter(|&&(image, logon_id, start, _)| {
                (image, logon_id) == (mark.image, mark.logon_id) && start <= time + LOG_SKEW
            });
            let slot = twin.map(|&(.., index)| index).unwrap_or_else(|| {
                let slot = table.push(mark, host_kind);
                by_image.insert((mark.image, mark.logon_id, time, slot));
                slot
            });
            table.add_start_details(slot, mark);
            table.by_record.insert(mark.mark.source, slot);
        }
        for index in table.all.indices() {
            let process = &table.all[index];
            let root = match process.parent.filter(|&parent| parent < index) {
                _ if process.is_remoting_host() => Some((index, 0)),
                Some(parent) => table.ancestors[parent].map(|(root, depth)| (root, depth + 1)),
                None => None,
            };
            table.ancestors.push(root);
        }
        table.inherit_from_children();
        table
    }

    /// Takes the logon of a session from its child processes, if no record of the host process
    /// shows it. 4688 of a child names the creator's logon; before Windows 10, the start of the
    /// host process does not.
    fn inherit_from_children(&mut self) {
        for index in self.all.indices() {
            let Some((root, 1)) = self.ancestors[index] else { continue };
            let (logon_id, account_keys) = (self.all[index].logon_id, self.all[index].account_keys);
            self.all[root].set_logon(logon_id, account_keys);
        }
    }

    /// Adds a start. If Security and Sysmon both log it, it is one process.
    fn add_start(&mut self, mark: &ProcessMark, host_kind: HostKind) {
        let same =
            |process: &TrackedProcess| process.image == mark.image && process.is_same_start(mark);
        let twin = self.find_latest(mark.id, same);
        let slot = twin.unwrap_or_else(|| {
            self.listening.remove(&mark.id);
            self.push(mark, host_kind)
        });
        self.add_start_details(slot, mark);
    }

    /// Adds the facts of a start to its process.
    fn add_start_details(&mut self, slot: ProcessIdx, mark: &ProcessMark) {
        // Process ids recur: if the parent's image is logged, it must be that of the process.
        let parent = self.process_at(mark.parent, mark.mark.time).filter(|&parent| {
            parent != slot
                && (!mark.parent_image.is_some() || self.all[parent].image == mark.parent_image)
        });
        let process = &mut self.all[slot];
        process.parent = process.parent.or(parent);
        if !process.line.is_some() {
            process.line = mark.line;
        }
        // Before Windows 10, 4688 names only the creator, and a shell's creator is the system
        // itself.
        process.set_logon(mark.logon_id, mark.account_keys);
    }

    fn add_exit(&mut self, mark: &ProcessMark) {
        let time = mark.mark.time;
        let alive = self.find_latest(mark.id, |process| {
            process.end.is_none_or(|end| time - end <= LOG_SKEW) && process.image == mark.image
        });
        if let Some(slot) = alive {
            self.all[slot].end.get_or_insert(time);
            self.all[slot].set_logon(mark.logon_id, mark.account_keys);
        }
    }

    /// Adds a record of a remote engine, which proves its host process if no audit log does.
    fn add_engine_work(&mut self, mark: &ProcessMark, host_kind: HostKind, host_id: IdKey) {
        let time = mark.mark.time;
        let known = self.find_latest(mark.id, |process| {
            process.is_remoting_host()
                && match process.engine {
                    Some((known, ..)) if host_id.is_some() && known.is_some() => known == host_id,
                    // Known by 32850 alone: its first command may come late.
                    Some((_, _, last)) if host_id.is_some() => time - last <= FIRST_COMMAND_WINDOW,
                    _ => process.is_alive_at(time),
                }
        });
        match known {
            Some(slot) => {
                if let Some((known, _, last)) = &mut self.all[slot].engine {
                    *last = time;
                    // 32850 comes first, and names no engine.
                    if !known.is_some() {
                        *known = host_id;
                    }
                }
            }
            None => {
                // Each PowerShell process logs once that its engine listens. The latest such record
                // of the id belongs to this process.
                let listened = self.listening.remove(&mark.id).filter(|(listened, sid)| {
                    time - *listened <= FIRST_COMMAND_WINDOW
                        && (*sid == mark.account_keys[1] || !sid.is_some())
                });
                let first = listened.map_or(time, |(listened, _)| listened);
                let slot = self.push(mark, host_kind);
                let process = &mut self.all[slot];
                process.known = first;
                process.start = None;
                process.engine = Some((host_id, first, time));
                process.account_keys = mark.account_keys;
            }
        }
    }

    /// Extends the life of a process over the time in which it served a runspace pool.
    pub fn extend_engine_life(&mut self, id: u32, from: DateTime<Utc>, to: DateTime<Utc>) {
        let Some(slot) = self.process_at(id, from) else { return };
        if let Some((_, _, last)) = &mut self.all[slot].engine {
            *last = to.max(*last);
        }
    }

    /// Adds the exit of a remoting host process whose start is lost: to the process that an engine
    /// proved before, or as a new one.
    fn add_unmatched_exit(&mut self, known: DateTime<Utc>, exit: &ProcessMark) {
        let ProcessMarkKind::Exited(host_kind) = exit.kind else { return };
        let latest = self.by_id.get(&exit.id).and_then(|lives| lives.last().copied());
        let proven = latest.map(|slot| &mut self.all[slot]).filter(|process| {
            process.engine.is_some() && process.end.is_none() && process.image == exit.image
        });
        if let Some(process) = proven {
            process.end = Some(exit.mark.time);
            return;
        }
        let slot = self.push(exit, host_kind);
        let process = &mut self.all[slot];
        (process.known, process.start) = (known, None);
    }

    fn push(&mut self, mark: &ProcessMark, host_kind: HostKind) -> ProcessIdx {
        let index = self.all.push(TrackedProcess {
            id: mark.id,
            host_kind,
            image: mark.image,
            line: TextKey::default(),
            known: mark.mark.time,
            start: Some(mark.mark.time),
            end: None,
            engine: None,
            parent: None,
            logon_id: 0,
            account_keys: [TextKey::default(); 2],
            first: mark.mark.source,
        });
        self.by_id.entry(mark.id).or_default().push(index);
        index
    }

    /// Returns the latest process of an id that fits.
    fn find_latest(&self, id: u32, fits: impl Fn(&TrackedProcess) -> bool) -> Option<ProcessIdx> {
        let known = self.by_id.get(&id)?.iter().rev().take(MOST_LIVES);
        known.copied().find(|&index| fits(&self.all[index]))
    }

    /// Adds the texts of the events of sessions' processes. Events are in order of time.
    pub fn add_details<'e>(&mut self, events: impl Iterator<Item = &'e Event>) {
        for event in events {
            let Some(slot) =
                self.process_of_event(event).filter(|&slot| self.ancestors[slot].is_some())
            else {
                continue;
            };
            let process = &self.all[slot];
            let details = self.details.entry(slot).or_default();
            match &event.kind {
                EventKind::ProcessStart(start) => {
                    if details.command_line.is_empty() {
                        details.command_line.clone_from(&start.command_line);
                    }
                    if process.is_remoting_host() && SERVICE_LOGONS.contains(&start.logon_id) {
                        continue;
                    }
                    details.set_account(start.account.as_ref(), start.sid.as_deref());
                    let Some((root, 1)) = self.ancestors[slot] else { continue };
                    if self.all[root].logon_id == start.logon_id {
                        let details = self.details.entry(root).or_default();
                        details.set_account(start.account.as_ref(), start.sid.as_deref());
                    }
                }
                EventKind::ProcessExit(exit) if !SERVICE_LOGONS.contains(&exit.logon_id) => {
                    details.set_account(exit.account.as_ref(), exit.sid.as_deref());
                }
                EventKind::Command(command) | EventKind::CommandError(command)
                    if process.engine.is_some()
                        && command.context.is_remote()
                        && details.sid.is_none() =>
                {
                    details.sid = event.user_sid.as_deref().map(str::to_owned);
                }
                _ => {}
            }
        }
    }

    /// Returns the details of a process in a session.
    pub fn details(&self, index: ProcessIdx) -> Option<&ProcessDetails> {
        self.details.get(&index)
    }

    /// Returns the process that an event is about, or that logged it.
    pub fn process_of_event(&self, event: &Event) -> Option<ProcessIdx> {
        match &event.kind {
            EventKind::ProcessStart(start) if start.process_id == 0 => {
                self.by_record.get(&event.source).copied()
            }
            EventKind::ProcessStart(start) => self.process_at(start.process_id, event.time),
            // The exit of another program with the same id is unrelated.
            EventKind::ProcessExit(exit) => {
                self.process_at(exit.process_id, event.time).filter(|&at| {
                    let host = match self.all[at].host_kind {
                        HostKind::PowerShellHost => Some("wsmprovhost.exe"),
                        HostKind::WinrsHost => Some("winrshost.exe"),
                        HostKind::SshHost | HostKind::Other => None,
                    };
                    host.is_none_or(|host| file_name(&exit.image) == host)
                })
            }
            EventKind::Connection(connection) => self.process_at(connection.process_id, event.time),
            _ => self.process_at(event.process_id?, event.time),
        }
    }

    /// Returns the process of a mark.
    pub fn process_of_mark(&self, mark: &ProcessMark) -> Option<ProcessIdx> {
        match mark.id {
            0 => self.by_record.get(&mark.mark.source).copied(),
            id => self.process_at(id, mark.mark.time),
        }
    }

    /// Returns the process that has this id at a time.
    pub fn process_at(&self, id: u32, time: DateTime<Utc>) -> Option<ProcessIdx> {
        if id == 0 {
            return None;
        }
        let known = self.by_id.get(&id)?;
        let begun =
            known.partition_point(|&index| self.all[index].known <= time + UNAUDITED_MARGIN);
        let mut nearest: Option<(TimeDelta, ProcessIdx)> = None;
        for &index in known[..begun].iter().rev().take(MOST_LIVES) {
            let process = &self.all[index];
            if process.is_alive_at(time) {
                // If processes overlap because no audit log bounds them, the nearest in time is
                // taken.
                let distance = process.engine.map_or(TimeDelta::zero(), |(_, first, last)| {
                    (first - time).max(time - last).max(TimeDelta::zero())
                });
                if nearest.is_none_or(|(known, _)| distance < known) {
                    nearest = Some((distance, index));
                }
            }
            // Earlier processes no longer have the id.
            if process.start.is_some_and(|start| start + LOG_SKEW <= time) {
                break;
            }
        }
        nearest.map(|(_, index)| index)
    }

    pub fn get(&self, index: ProcessIdx) -> &TrackedProcess {
        &self.all[index]
    }

    /// Returns all processes, in order of their first record.
    pub fn iter(&self) -> impl Iterator<Item = (ProcessIdx, &TrackedProcess)> {
        self.all.iter_enumerated()
    }

    /// Returns the process that started it.
    pub fn parent(&self, index: ProcessIdx) -> Option<ProcessIdx> {
        self.all[index].parent
    }

    /// Returns the remoting host process that a process is or descends from, and the depth below
    /// it.
    pub fn remoting_ancestor(&self, index: ProcessIdx) -> Option<(ProcessIdx, u32)> {
        self.ancestors[index]
    }
}

impl TrackedProcess {
    /// Sets logon and account, where they are not known yet.
    fn set_logon(&mut self, logon_id: u64, account_keys: [TextKey; 2]) {
        if self.is_remoting_host() && SERVICE_LOGONS.contains(&logon_id) {
            return;
        }
        if self.logon_id == 0 {
            self.logon_id = logon_id;
        }
        for (known, found) in self.account_keys.iter_mut().zip(account_keys) {
            if !known.is_some() {
                *known = found;
            }
        }
    }

    /// Returns true if a start is another log's record of the start of this process.
    fn is_same_start(&self, mark: &ProcessMark) -> bool {
        self.start.is_some_and(|known| (mark.mark.time - known).abs() <= LOG_SKEW)
    }
}
