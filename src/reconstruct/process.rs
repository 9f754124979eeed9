//! Processes of a host: ids recur, so each is bounded by its lifetime.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rayon::prelude::*;

use super::engine_process;
use super::gather::{Gathered, IdKey, Image, Key, ProcessMark, Told};
use super::hosts::Hosts;
use super::index::ProcessIdx;
use super::windows::WAITED;
use crate::model::{AccountName, Event, EventKind, HostIdx, IdxVec, RecordRef, file_name};

/// How far apart two logs of one host write the same moment.
const SLACK: TimeDelta = TimeDelta::seconds(2);

/// Logon ids of the system and its two services, which every host has (ntifs.h: SYSTEM_LUID,
/// NETWORKSERVICE_LUID, LOCALSERVICE_LUID).
const SERVICE_LOGONS: [u64; 3] = [0x3e7, 0x3e4, 0x3e5];

/// How far from a remote engine's own records its process may have logged others, where no audit
/// log bounds its life: ids recur.
const UNAUDITED: TimeDelta = TimeDelta::minutes(2);

/// Lives of one id that a record may be weighed against: a log full of forged ones costs no more.
const MOST_LIVES: usize = 64;

/// A process, as far as its records tell.
#[derive(Debug)]
pub(super) struct Process {
    /// 0 when no record tells it.
    pub id: u32,
    pub image: Image,
    /// The lower-case file name of its image.
    name: Key,
    /// Its command line, trimmed.
    pub line: Key,
    /// When its first record was logged.
    known: DateTime<Utc>,
    /// None when only its work was logged, not its start.
    pub start: Option<DateTime<Utc>>,
    pub end: Option<DateTime<Utc>>,
    /// The engine that proves it where its start was not logged: HostId, first and last record.
    engine: Option<(IdKey, DateTime<Utc>, DateTime<Utc>)>,
    parent: Option<ProcessIdx>,
    pub logon_id: u64,
    /// Its account's name and SID.
    pub who: [Key; 2],
    /// The first of its records.
    pub first: RecordRef,
}

impl Process {
    fn lives_at(&self, time: DateTime<Utc>) -> bool {
        if let Some((_, first, last)) = self.engine {
            let last = self.end.map_or(last + UNAUDITED, |end| end + SLACK);
            return time >= first - UNAUDITED && time <= last;
        }
        self.start.is_none_or(|start| time >= start - SLACK)
            && self.end.is_none_or(|end| time <= end + SLACK)
    }

    /// When the engine that proves it was first heard of.
    pub fn engine_first(&self) -> Option<DateTime<Utc>> {
        self.engine.map(|(_, first, _)| first)
    }

    /// Whether it is what WinRM or sshd starts for a session.
    pub fn is_remoting_host(&self) -> bool {
        self.image != Image::Other
    }
}

/// What the records of a process in a session say of it.
#[derive(Debug, Default)]
pub(super) struct Details {
    /// Empty where auditing does not log it.
    pub command_line: String,
    pub account: Option<AccountName>,
    pub sid: Option<String>,
}

impl Details {
    /// Takes an account that is not known yet.
    fn runs_as(&mut self, account: Option<&AccountName>, sid: Option<&str>) {
        if self.account.is_none() {
            self.account = account.cloned();
        }
        if self.sid.is_none() {
            self.sid = sid.map(str::to_owned);
        }
    }
}

/// A host's processes.
#[derive(Debug, Default)]
pub(super) struct Processes {
    all: IdxVec<ProcessIdx, Process>,
    by_id: BTreeMap<u32, Vec<ProcessIdx>>,
    /// Of each id, the latest engine that listens and whose process is not known: when, and the
    /// SID of who runs it.
    listening: BTreeMap<u32, (DateTime<Utc>, Key)>,
    /// Processes by the record that lacks their id.
    by_record: BTreeMap<RecordRef, ProcessIdx>,
    /// Of each process, the remoting host process it is or descends from, and how deep.
    roots: IdxVec<ProcessIdx, Option<(ProcessIdx, u32)>>,
    details: BTreeMap<ProcessIdx, Details>,
}

/// The exits of remoting host processes whose starts are not logged, and since when each may have
/// had its id.
fn orphans<'m>(marks: &[&'m ProcessMark]) -> Vec<(DateTime<Utc>, &'m ProcessMark)> {
    let mut latest: BTreeMap<u32, (DateTime<Utc>, Option<Key>)> = BTreeMap::new();
    let mut orphans = Vec::new();
    let is_audit = |mark: &&&ProcessMark| matches!(mark.what, Told::Started(_) | Told::Exited(_));
    // Before the audit log begins, an id may have been anybody's.
    let Some(audited) = marks.iter().find(is_audit).map(|mark| mark.mark.time) else {
        return orphans;
    };
    for &mark in marks.iter().filter(|mark| mark.id != 0) {
        match mark.what {
            Told::Started(_) => {
                latest.insert(mark.id, (mark.mark.time, Some(mark.image)));
            }
            Told::Exited(image) => {
                let known = latest.insert(mark.id, (mark.mark.time, None));
                let alive = known.is_some_and(|(_, name)| name == Some(mark.image));
                // Security and Sysmon both log it: one exit.
                let again = known
                    .is_some_and(|(time, name)| name.is_none() && mark.mark.time - time <= SLACK);
                if image != Image::Other && !alive && !again {
                    let since = known.map_or(audited, |(time, _)| time);
                    orphans.push((since, mark));
                }
            }
            Told::Listens | Told::Serves(..) | Told::Engine(..) => {}
        }
    }
    orphans.sort_by_key(|(since, exit)| (*since, exit.mark.time, exit.mark.source));
    orphans
}

/// Each host's processes.
pub(super) fn processes(gathered: &[Gathered], hosts: &Hosts) -> IdxVec<HostIdx, Processes> {
    let mut by_host: IdxVec<HostIdx, Vec<&ProcessMark>> =
        hosts.names().map(|_| Vec::new()).collect();
    for (host, mark) in hosts.each(gathered, |task| &task.processes) {
        by_host[host].push(mark);
    }
    let learn = |mut marks: Vec<&ProcessMark>| {
        marks.sort_unstable_by_key(|mark| (mark.mark.time, mark.mark.source));
        Processes::learn(&marks)
    };
    by_host.into_vec().into_par_iter().map(learn).collect()
}

impl Processes {
    /// Learns from a host's marks, which are in order of time.
    pub fn learn(marks: &[&ProcessMark]) -> Processes {
        let mut table = Processes::default();
        let mut orphans = orphans(marks).into_iter().peekable();
        let served = engine_process::served(marks);
        for &mark in marks {
            while let Some((known, exit)) = orphans.next_if(|(known, _)| *known <= mark.mark.time) {
                table.push_orphan(known, exit);
            }
            match mark.what {
                Told::Started(image) if mark.id != 0 => {
                    table.started(mark, image);
                }
                Told::Started(_) => {}
                Told::Exited(_) => table.exited(mark),
                Told::Engine(image, host_id) => {
                    if let Some(&(id, sid)) = served.get(&host_id) {
                        let who = [Key::default(), sid];
                        table.serves(&ProcessMark { id, who, ..*mark }, image, host_id);
                    }
                }
                Told::Listens => {
                    table.listening.insert(mark.id, (mark.mark.time, mark.who[1]));
                }
                Told::Serves(image, host_id) => table.serves(mark, image, host_id),
            }
        }
        // Some collectors drop the process id: such a start is its twin's, or a process of its own.
        let known = |index: ProcessIdx, process: &Process| {
            Some((process.name, process.logon_id, process.start?, index))
        };
        let all = table.all.iter_enumerated();
        let mut by_image: BTreeSet<(Key, u64, DateTime<Utc>, ProcessIdx)> =
            all.filter_map(|(index, process)| known(index, process)).collect();
        for mark in marks.iter().copied().filter(|mark| mark.id == 0) {
            let Told::Started(image) = mark.what else { continue };
            let time = mark.mark.time;
            let from = (mark.image, mark.logon_id, time - SLACK, ProcessIdx::new(0));
            let twin = by_image.range(from..).next().filter(|&&(image, logon_id, start, _)| {
                (image, logon_id) == (mark.image, mark.logon_id) && start <= time + SLACK
            });
            let slot = twin.map(|&(.., index)| index).unwrap_or_else(|| {
                let slot = table.push(mark, image);
                by_image.insert((mark.image, mark.logon_id, time, slot));
                slot
            });
            table.complete(slot, mark);
            table.by_record.insert(mark.mark.source, slot);
        }
        for index in table.all.indices() {
            let process = &table.all[index];
            let root = match process.parent.filter(|&parent| parent < index) {
                _ if process.is_remoting_host() => Some((index, 0)),
                Some(parent) => table.roots[parent].map(|(root, depth)| (root, depth + 1)),
                None => None,
            };
            table.roots.push(root);
        }
        table.inherit();
        table
    }

    /// A session's logon is also its children's (4688 names the creator's), where none of the host
    /// process's own records tells it: before Windows 10 its start does not.
    fn inherit(&mut self) {
        for index in self.all.indices() {
            let Some((root, 1)) = self.roots[index] else { continue };
            let (logon_id, who) = (self.all[index].logon_id, self.all[index].who);
            self.all[root].runs_in(logon_id, who);
        }
    }

    /// Takes a start. Security and Sysmon both log it: one process.
    fn started(&mut self, mark: &ProcessMark, image: Image) {
        let same = |process: &Process| process.name == mark.image && process.starts_at(mark);
        let twin = self.latest(mark.id, same);
        let slot = twin.unwrap_or_else(|| {
            self.listening.remove(&mark.id);
            self.push(mark, image)
        });
        self.complete(slot, mark);
    }

    /// Takes what a start says of its process.
    fn complete(&mut self, slot: ProcessIdx, mark: &ProcessMark) {
        // An id that recurred: the parent's image, where logged, must be the process's.
        let parent = self.at(mark.parent, mark.mark.time).filter(|&parent| {
            parent != slot
                && (!mark.parent_image.is_some() || self.all[parent].name == mark.parent_image)
        });
        let process = &mut self.all[slot];
        process.parent = process.parent.or(parent);
        if !process.line.is_some() {
            process.line = mark.line;
        }
        // Before Windows 10, 4688 names only the creator, and a shell's is the system itself.
        process.runs_in(mark.logon_id, mark.who);
    }

    fn exited(&mut self, mark: &ProcessMark) {
        let time = mark.mark.time;
        let alive = self.latest(mark.id, |process| {
            process.end.is_none_or(|end| time - end <= SLACK) && process.name == mark.image
        });
        if let Some(slot) = alive {
            self.all[slot].end.get_or_insert(time);
            self.all[slot].runs_in(mark.logon_id, mark.who);
        }
    }

    /// A remote engine's own records prove its host process where no audit log does.
    fn serves(&mut self, mark: &ProcessMark, image: Image, host_id: IdKey) {
        let time = mark.mark.time;
        let known = self.latest(mark.id, |process| {
            process.is_remoting_host()
                && match process.engine {
                    Some((known, ..)) if host_id.is_some() && known.is_some() => known == host_id,
                    // Known by 32850 alone: its first command may come late.
                    Some((_, _, last)) if host_id.is_some() => time - last <= WAITED,
                    _ => process.lives_at(time),
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
                // Each PowerShell process says once that its engine listens: the latest of its id
                // to do so is this one.
                let heard = self.listening.remove(&mark.id).filter(|(heard, sid)| {
                    time - *heard <= WAITED && (*sid == mark.who[1] || !sid.is_some())
                });
                let first = heard.map_or(time, |(heard, _)| heard);
                let slot = self.push(mark, image);
                let process = &mut self.all[slot];
                process.known = first;
                process.start = None;
                process.engine = Some((host_id, first, time));
                process.who = mark.who;
            }
        }
    }

    /// Takes from when to when a process served a runspace pool: as long as that is open, it lives.
    pub fn carries(&mut self, id: u32, from: DateTime<Utc>, to: DateTime<Utc>) {
        let Some(slot) = self.at(id, from) else { return };
        if let Some((_, _, last)) = &mut self.all[slot].engine {
            *last = to.max(*last);
        }
    }

    /// Takes a remoting host process whose start is lost, and its exit not: the one that an engine
    /// proved before, or one not known yet.
    fn push_orphan(&mut self, known: DateTime<Utc>, exit: &ProcessMark) {
        let Told::Exited(image) = exit.what else { return };
        let latest = self.by_id.get(&exit.id).and_then(|lives| lives.last().copied());
        let proven = latest.map(|slot| &mut self.all[slot]).filter(|process| {
            process.engine.is_some() && process.end.is_none() && process.name == exit.image
        });
        if let Some(process) = proven {
            process.end = Some(exit.mark.time);
            return;
        }
        let slot = self.push(exit, image);
        let process = &mut self.all[slot];
        (process.known, process.start) = (known, None);
    }

    fn push(&mut self, mark: &ProcessMark, image: Image) -> ProcessIdx {
        let index = self.all.push(Process {
            id: mark.id,
            image,
            name: mark.image,
            line: Key::default(),
            known: mark.mark.time,
            start: Some(mark.mark.time),
            end: None,
            engine: None,
            parent: None,
            logon_id: 0,
            who: [Key::default(); 2],
            first: mark.mark.source,
        });
        self.by_id.entry(mark.id).or_default().push(index);
        index
    }

    /// The latest process of an id that fits.
    fn latest(&self, id: u32, fits: impl Fn(&Process) -> bool) -> Option<ProcessIdx> {
        let known = self.by_id.get(&id)?.iter().rev().take(MOST_LIVES);
        known.copied().find(|&index| fits(&self.all[index]))
    }

    /// Learns what the events of sessions' processes say in full; they are in order of time.
    pub fn describe<'e>(&mut self, events: impl Iterator<Item = &'e Event>) {
        for event in events {
            let Some(slot) = self.of(event).filter(|&slot| self.roots[slot].is_some()) else {
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
                    details.runs_as(start.account.as_ref(), start.sid.as_deref());
                    let Some((root, 1)) = self.roots[slot] else { continue };
                    if self.all[root].logon_id == start.logon_id {
                        let details = self.details.entry(root).or_default();
                        details.runs_as(start.account.as_ref(), start.sid.as_deref());
                    }
                }
                EventKind::ProcessExit(exit) if !SERVICE_LOGONS.contains(&exit.logon_id) => {
                    details.runs_as(exit.account.as_ref(), exit.sid.as_deref());
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

    /// What is known in full of a process in a session.
    pub fn details(&self, index: ProcessIdx) -> Option<&Details> {
        self.details.get(&index)
    }

    /// The process an event is about, or was logged by.
    pub fn of(&self, event: &Event) -> Option<ProcessIdx> {
        match &event.kind {
            EventKind::ProcessStart(start) if start.process_id == 0 => {
                self.by_record.get(&event.source).copied()
            }
            EventKind::ProcessStart(start) => self.at(start.process_id, event.time),
            // The exit of another program that had the id says nothing of this one.
            EventKind::ProcessExit(exit) => self.at(exit.process_id, event.time).filter(|&at| {
                let host = match self.all[at].image {
                    Image::PowerShellHost => Some("wsmprovhost.exe"),
                    Image::WinrsHost => Some("winrshost.exe"),
                    Image::SshHost | Image::Other => None,
                };
                host.is_none_or(|host| file_name(&exit.image) == host)
            }),
            EventKind::Connection(connection) => self.at(connection.process_id, event.time),
            _ => self.at(event.process_id?, event.time),
        }
    }

    /// The process a mark is of.
    pub fn of_mark(&self, mark: &ProcessMark) -> Option<ProcessIdx> {
        match mark.id {
            0 => self.by_record.get(&mark.mark.source).copied(),
            id => self.at(id, mark.mark.time),
        }
    }

    /// The process that has this id at that time.
    pub fn at(&self, id: u32, time: DateTime<Utc>) -> Option<ProcessIdx> {
        if id == 0 {
            return None;
        }
        let known = self.by_id.get(&id)?;
        let begun = known.partition_point(|&index| self.all[index].known <= time + UNAUDITED);
        let mut nearest: Option<(TimeDelta, ProcessIdx)> = None;
        for &index in known[..begun].iter().rev().take(MOST_LIVES) {
            let process = &self.all[index];
            if process.lives_at(time) {
                // Of lives that overlap because no audit log bounds them, the one nearest in time.
                let distance = process.engine.map_or(TimeDelta::zero(), |(_, first, last)| {
                    (first - time).max(time - last).max(TimeDelta::zero())
                });
                if nearest.is_none_or(|(known, _)| distance < known) {
                    nearest = Some((distance, index));
                }
            }
            // Who had the id before this one has it no more.
            if process.start.is_some_and(|start| start + SLACK <= time) {
                break;
            }
        }
        nearest.map(|(_, index)| index)
    }

    pub fn get(&self, index: ProcessIdx) -> &Process {
        &self.all[index]
    }

    /// All processes, in order of their first record.
    pub fn iter(&self) -> impl Iterator<Item = (ProcessIdx, &Process)> {
        self.all.iter_enumerated()
    }

    /// The process that started it.
    pub fn parent(&self, index: ProcessIdx) -> Option<ProcessIdx> {
        self.all[index].parent
    }

    /// The remoting host process that a process is or descends from, and how deep.
    pub fn remoting_host(&self, index: ProcessIdx) -> Option<(ProcessIdx, u32)> {
        self.roots[index]
    }
}

impl Process {
    /// Takes what a record says of its logon and account, where they are not known.
    fn runs_in(&mut self, logon_id: u64, who: [Key; 2]) {
        if self.is_remoting_host() && SERVICE_LOGONS.contains(&logon_id) {
            return;
        }
        if self.logon_id == 0 {
            self.logon_id = logon_id;
        }
        for (known, told) in self.who.iter_mut().zip(who) {
            if !known.is_some() {
                *known = told;
            }
        }
    }

    /// Whether a start is another log's record of this process's own.
    fn starts_at(&self, mark: &ProcessMark) -> bool {
        self.start.is_some_and(|known| (mark.mark.time - known).abs() <= SLACK)
    }
}
