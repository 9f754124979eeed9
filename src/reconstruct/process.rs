//! Processes of a host: ids recur, so each is bounded by its lifetime.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{Account, Event, EventKind, ProcessStart, file_name};

/// How far apart two logs of one host write the same moment.
const SLACK: TimeDelta = TimeDelta::seconds(2);

/// Logon ids of the system and its two services, which every host has (ntifs.h: SYSTEM_LUID,
/// NETWORKSERVICE_LUID, LOCALSERVICE_LUID).
const SERVICE_LOGONS: [u64; 3] = [0x3e7, 0x3e4, 0x3e5];

/// How far from a remote engine's own records its process may have logged others, where no audit
/// log bounds its life: ids recur.
const UNAUDITED: TimeDelta = TimeDelta::minutes(2);

/// A process, as far as its records tell.
#[derive(Debug)]
pub(super) struct Process {
    /// 0 when no record tells it.
    pub id: u32,
    /// Lower-case file name of its image.
    pub image: String,
    /// Empty where auditing does not log it.
    pub command_line: String,
    /// None when only its work was logged, not its start.
    pub start: Option<DateTime<Utc>>,
    pub end: Option<DateTime<Utc>>,
    /// The engine that proves it where its start was not logged: HostId, first and last record.
    engine: Option<(String, DateTime<Utc>, DateTime<Utc>)>,
    pub parent: Option<usize>,
    pub logon_id: u64,
    pub account: Option<Account>,
    pub sid: Option<String>,
    /// Its start and exit records.
    pub events: Vec<usize>,
}

impl Process {
    fn lives_at(&self, time: DateTime<Utc>) -> bool {
        if let Some((_, first, last)) = self.engine {
            return time >= first - UNAUDITED && time <= last + UNAUDITED;
        }
        self.start.is_none_or(|start| time >= start - SLACK)
            && self.end.is_none_or(|end| time <= end + SLACK)
    }

    /// Whether it is what WinRM starts for a shell.
    pub fn is_remoting_host(&self) -> bool {
        matches!(self.image.as_str(), "wsmprovhost.exe" | "winrshost.exe")
    }
}

/// A host's processes.
#[derive(Debug, Default)]
pub(super) struct Processes {
    all: Vec<Process>,
    by_id: BTreeMap<u32, Vec<usize>>,
    /// Of each process, the remoting host process it is or descends from, and how deep.
    roots: Vec<Option<(usize, u32)>>,
}

impl Processes {
    /// Learns from a host's events, which are in order of time.
    pub fn learn(events: &[Event], indexes: &[usize]) -> Processes {
        let mut table = Processes::default();
        for &index in indexes {
            let event = &events[index];
            match &event.kind {
                EventKind::ProcessStart(start) if start.process_id != 0 => {
                    table.started(index, event.time, start);
                }
                EventKind::ProcessExit(exit) => {
                    let image = file_name(&exit.image);
                    let alive = table.latest(exit.process_id, |process| {
                        process.end.is_none_or(|end| event.time - end <= SLACK)
                            && process.image == image
                    });
                    if let Some(slot) = alive {
                        table.all[slot].end.get_or_insert(event.time);
                        table.all[slot].events.push(index);
                    }
                }
                // A remote engine's own records prove its host process where no audit log does.
                EventKind::Command(command) | EventKind::CommandError(command)
                    if command.context.is_remote() =>
                {
                    let Some(id) = event.process_id.filter(|&id| id != 0) else { continue };
                    let host_id = &command.context.host_id;
                    let known = table.latest(id, |process| {
                        process.is_remoting_host()
                            && match &process.engine {
                                Some((known, ..)) if !host_id.is_empty() => known == host_id,
                                _ => process.lives_at(event.time),
                            }
                    });
                    if let Some(slot) = known {
                        if let Some((_, _, last)) = &mut table.all[slot].engine {
                            *last = event.time;
                        }
                    } else {
                        table.push(Process {
                            id,
                            engine: Some((host_id.clone(), event.time, event.time)),
                            image: "wsmprovhost.exe".to_owned(),
                            command_line: String::new(),
                            start: None,
                            end: None,
                            parent: None,
                            logon_id: 0,
                            account: None,
                            sid: event.user_sid.as_deref().map(str::to_owned),
                            events: Vec::new(),
                        });
                    }
                }
                _ => {}
            }
        }
        // Some collectors drop the process id: such a start is its twin's, or a process of its own.
        for &index in indexes {
            if let EventKind::ProcessStart(start) = &events[index].kind
                && start.process_id == 0
            {
                table.started(index, events[index].time, start);
            }
        }
        for index in 0..table.all.len() {
            let process = &table.all[index];
            let root = match process.parent.filter(|&parent| parent < index) {
                _ if process.is_remoting_host() => Some((index, 0)),
                Some(parent) => table.roots[parent].map(|(root, depth)| (root, depth + 1)),
                None => None,
            };
            table.roots.push(root);
        }
        table
    }

    /// Takes a start. Security and Sysmon both log it: one process.
    fn started(&mut self, index: usize, time: DateTime<Utc>, start: &ProcessStart) {
        let image = start.image_name();
        let same_time =
            |process: &Process| process.start.is_some_and(|known| (time - known).abs() <= SLACK);
        let twin = match start.process_id {
            0 => self.all.iter().position(|process| {
                process.image == image && process.logon_id == start.logon_id && same_time(process)
            }),
            id => self.latest(id, |process| process.image == image && same_time(process)),
        };
        // An id that recurred: the parent's image, where logged, must be the process's.
        let parent_image = file_name(&start.parent_image);
        let parent = self
            .at(start.parent_process_id, time)
            .filter(|&parent| parent_image.is_empty() || self.all[parent].image == parent_image);
        let slot = twin.unwrap_or_else(|| {
            self.push(Process {
                id: start.process_id,
                engine: None,
                image,
                command_line: String::new(),
                start: Some(time),
                end: None,
                parent,
                logon_id: 0,
                account: None,
                sid: None,
                events: Vec::new(),
            })
        });
        let process = &mut self.all[slot];
        process.events.push(index);
        process.parent = process.parent.or(parent);
        if process.command_line.is_empty() {
            process.command_line.clone_from(&start.command_line);
        }
        // Before Windows 10, 4688 names only the creator, and a shell's is the system itself.
        if process.is_remoting_host() && SERVICE_LOGONS.contains(&start.logon_id) {
            return;
        }
        if process.logon_id == 0 {
            process.logon_id = start.logon_id;
        }
        if process.account.is_none() {
            process.account.clone_from(&start.account);
        }
        if process.sid.is_none() {
            process.sid.clone_from(&start.sid);
        }
    }

    fn push(&mut self, process: Process) -> usize {
        let index = self.all.len();
        self.by_id.entry(process.id).or_default().push(index);
        self.all.push(process);
        index
    }

    fn latest(&self, id: u32, fits: impl Fn(&Process) -> bool) -> Option<usize> {
        let known = self.by_id.get(&id)?;
        known.iter().rev().copied().find(|&index| fits(&self.all[index]))
    }

    /// The process that has this id at that time.
    pub fn at(&self, id: u32, time: DateTime<Utc>) -> Option<usize> {
        if id == 0 {
            return None;
        }
        let known = self.by_id.get(&id)?.iter().copied().rev();
        // Of lives that overlap because no audit log bounds them, the one nearest in time.
        known.filter(|&index| self.all[index].lives_at(time)).min_by_key(|&index| {
            self.all[index].engine.as_ref().map_or(TimeDelta::zero(), |(_, first, last)| {
                (*first - time).max(time - *last).max(TimeDelta::zero())
            })
        })
    }

    pub fn get(&self, index: usize) -> &Process {
        &self.all[index]
    }

    /// All processes, in order of their first record.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Process)> {
        self.all.iter().enumerate()
    }

    /// The remoting host process that a process is or descends from, and how deep.
    pub fn remoting_host(&self, index: usize) -> Option<(usize, u32)> {
        self.roots[index]
    }
}
