//! Selects which of the marked records may belong to a session. The rules include all records that
//! later stages could use, and a few more.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::client::logging_process;
use super::directory::HostDirectory;
use super::hosts::LoggingHosts;
use super::index::ProcessIdx;
use super::marks::{
    HasMark, HintKind, HintMark, IdKey, KeyHasher, LocalEngineMark, LogonIdMark, LogonMark,
    ProcessMarkKind, RecordMark, TaskMarks, TextKey,
};
use super::process::ProcessTable;
use super::session_starts::{SessionStarts, any_near};
use super::shells::is_shell_request;
use super::windows::{FIRST_COMMAND_WINDOW, JOIN_WINDOW, STEP_WINDOW};
use crate::model::{AccountName, Event, EventKind, HostIdx, IdxVec, LoggedId, RecordRef};

/// What is known before the records are read a second time.
pub(super) struct RecordSelector<'a> {
    /// The events that show remoting by themselves.
    pub remoting_events: &'a [Event],
    /// The marks of the other events.
    pub task_marks: &'a [TaskMarks],
    pub hosts: &'a LoggingHosts,
    pub processes: &'a IdxVec<HostIdx, ProcessTable>,
    pub directory: &'a HostDirectory,
    pub accounts: &'a BTreeMap<String, AccountName>,
    pub keys: &'a KeyHasher,
}

/// The first and the last time of something that lived.
type Lifetime = (DateTime<Utc>, DateTime<Utc>);

/// The traces of remoting on one host.
#[derive(Default)]
struct HostTraces {
    /// The times in which sessions may have been open.
    lives: Vec<Lifetime>,
    /// The keys of names and SIDs of accounts that may have had a session.
    account_keys: HashSet<TextKey>,
    /// The keys of SIDs that ran clients on the host.
    callers: HashSet<TextKey>,
    /// The first records of its remote engines.
    engines: Vec<DateTime<Utc>>,
    logon_ids: HashSet<u64>,
    /// The runspaces of sessions' processes.
    runspaces: HashSet<TextKey>,
    /// The command lines of sessions' processes, and when they started.
    lines: BTreeMap<TextKey, Vec<DateTime<Utc>>>,
}

/// The traces of remoting on each host.
type AllTraces = IdxVec<HostIdx, HostTraces>;

impl RecordSelector<'_> {
    /// Returns the records to read, in order of their places.
    pub fn records(&self) -> Vec<RecordRef> {
        let mut traces: AllTraces = self.processes.iter().map(|_| HostTraces::default()).collect();
        let mut starts = SessionStarts::new(self.hosts);
        let mut found = Vec::new();
        self.trace_remoting_events(&mut traces, &mut starts);
        self.trace_clients(&mut traces, &mut starts);
        self.trace_remoting_hosts(&mut traces, &mut starts);
        self.select_process_tree_records(&mut traces, &mut starts, &mut found);
        starts.sort_and_index(self.hosts, self.directory, self.keys);
        self.select_engine_records(&traces, &mut found);
        self.select_logons(&mut traces, &starts, &mut found);
        self.select_hints(&traces, &starts, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Applies `take` to all marks of one kind, each with the index of its host, and returns the
    /// results.
    fn filter_marks<T: HasMark, R: Send>(
        &self,
        kind: fn(&TaskMarks) -> &Vec<T>,
        take: impl Fn(HostIdx, &T) -> Option<R> + Sync,
    ) -> Vec<R> {
        let take = &take;
        let tasks = self.task_marks.par_iter().zip(&self.hosts.hosts_of_tasks);
        let taken = tasks.flat_map_iter(|(task, hosts)| {
            let marks = kind(task).iter();
            marks.filter_map(move |mark| take(hosts[mark.mark().host as usize], mark))
        });
        taken.collect()
    }

    /// Returns the records of the marks of one kind for which `is_one` returns true.
    fn matching_records<T: HasMark>(
        &self,
        kind: fn(&TaskMarks) -> &Vec<T>,
        is_one: impl Fn(HostIdx, &T) -> bool + Sync,
    ) -> Vec<RecordRef> {
        self.filter_marks(kind, |host, mark| is_one(host, mark).then_some(mark.mark().source))
    }

    /// Collects the traces of the events that show remoting by themselves.
    fn trace_remoting_events(&self, traces: &mut AllTraces, starts: &mut SessionStarts) {
        let mut engines: BTreeMap<(HostIdx, Option<&LoggedId>), Lifetime> = BTreeMap::new();
        // The first record of each engine in each process that has its id.
        let mut firsts: BTreeMap<(HostIdx, Option<&LoggedId>, _), DateTime<Utc>> = BTreeMap::new();
        for event in self.remoting_events {
            let Some(host) = self.hosts.index_of(&event.host) else { continue };
            let mut names: Vec<&AccountName> = Vec::new();
            let (mut users, mut remote) = (Vec::new(), false);
            match &event.kind {
                EventKind::ShellCreated(shell) => {
                    starts.add_start(host, event.time);
                    remote = true;
                    names.extend(&shell.account);
                    // Its engine may be logged late.
                    traces[host].lives.push((event.time, event.time + FIRST_COMMAND_WINDOW));
                }
                EventKind::ServerOperation(operation) if is_shell_request(operation) => {
                    starts.add_start(host, event.time);
                    traces[host].lives.push((event.time, event.time));
                }
                EventKind::Authenticated(caller) => names.extend(&caller.account),
                EventKind::ServerSession(_) => {
                    starts.add_start(host, event.time);
                    remote = true;
                    traces[host].lives.push((event.time, event.time));
                }
                _ => {}
            }
            if let Some(context) = event.engine() {
                remote = true;
                users.extend(AccountName::parse(&context.user));
                users.extend(AccountName::parse(&context.connected_user));
                let id = context.host_id.as_ref().or(context.runspace_id.as_ref());
                let processes = &self.processes[host];
                let root = processes
                    .process_of_event(event)
                    .and_then(|of| processes.remoting_ancestor(of));
                let start = root.and_then(|(root, _)| processes.get(root).start);
                let first = firsts.entry((host, id, event.process_id)).or_insert(event.time);
                *first = event.time.min(*first);
                let life = engines.entry((host, id)).or_insert((event.time, event.time));
                let from = start.unwrap_or(event.time).min(event.time);
                *life = (life.0.min(from), life.1.max(event.time));
            }
            let account_keys = &mut traces[host].account_keys;
            if remote && let Some(sid) = event.user_sid.as_deref() {
                account_keys.insert(self.keys.text_key(sid));
                names.extend(self.accounts.get(sid));
            }
            for account in names.into_iter().chain(&users) {
                account_keys.insert(self.keys.account_key(Some(account)));
            }
        }
        for ((host, _), life) in engines {
            traces[host].lives.push(life);
        }
        for ((host, ..), first) in firsts {
            starts.add_start(host, first);
            traces[host].engines.push(first);
        }
        traces.iter_mut().for_each(|traces| traces.engines.sort_unstable());
    }

    /// Collects the traces of clients. PowerShell names its version when it connects; other clients
    /// ask for a shell or fail. A client that does none of this, such as CIM, has a session only if
    /// a target's logs show one.
    fn trace_clients(&self, traces: &mut AllTraces, starts: &mut SessionStarts) {
        let telling = self.remoting_events.iter().filter(|event| match &event.kind {
            EventKind::ClientStep(step) => step.asks_shell,
            EventKind::ClientFailure(_) => true,
            _ => false,
        });
        let (mut activities, mut processes) = (HashSet::new(), HashSet::new());
        for event in telling {
            activities.extend(event.activity_id.as_ref().map(|id| (&event.host, id)));
            processes.extend(logging_process(event).map(|process| (&event.host, process)));
        }
        for event in self.remoting_events {
            let EventKind::ClientSession(session) = &event.kind else { continue };
            let Some(host) = self.hosts.index_of(&event.host) else { continue };
            let target = self.directory.resolve(&session.target, event.time);
            let target = target.and_then(|target| self.hosts.index_of(target));
            let activity = event.activity_id.as_ref();
            let asks = activity.is_some_and(|id| activities.contains(&(&event.host, id)))
                || logging_process(event).is_some_and(|of| processes.contains(&(&event.host, of)));
            if !asks && !session.connection.to_lowercase().contains("psversion=") {
                starts.add_other_client(host, event.time, target);
                continue;
            }
            starts.add_client(host, event.time, self.keys.host_key(&session.target), target);
            let sid = self.keys.text_key(event.user_sid.as_deref().unwrap_or_default());
            traces[host].callers.extend(Some(sid).filter(|sid| sid.is_some()));
        }
    }

    /// Collects the traces of the processes that serve sessions.
    fn trace_remoting_hosts(&self, traces: &mut AllTraces, starts: &mut SessionStarts) {
        for ((host, traces), processes) in traces.iter_mut_enumerated().zip(self.processes) {
            for (index, process) in processes.iter() {
                if processes.remoting_ancestor(index).is_none() {
                    continue;
                }
                if process.line.is_some() {
                    traces.lines.entry(process.line).or_default().extend(process.start);
                }
                if process.is_remoting_host() {
                    let start = process.start.or(process.first_engine_record());
                    if let Some(start) = start {
                        starts.add_start(host, start);
                        traces.lives.push((start, process.end.unwrap_or(start)));
                    }
                    traces
                        .account_keys
                        .extend(process.account_keys.iter().filter(|key| key.is_some()));
                    traces.logon_ids.extend(Some(process.logon_id).filter(|&id| id != 0));
                }
            }
            traces.lines.values_mut().for_each(|starts| starts.sort_unstable());
        }
    }

    /// Selects the records of sessions' process trees, and extends the lifetimes of sessions by
    /// them.
    fn select_process_tree_records(
        &self,
        traces: &mut AllTraces,
        starts: &mut SessionStarts,
        found: &mut Vec<RecordRef>,
    ) {
        let root = |host: HostIdx, process: Option<ProcessIdx>| {
            self.processes[host].remoting_ancestor(process?).map(|(root, _)| root)
        };
        let of_process = self.filter_marks(
            |task| &task.processes,
            |host, mark| {
                // The records of a remote engine are kept already.
                if matches!(
                    mark.kind,
                    ProcessMarkKind::HostsEngine(..) | ProcessMarkKind::EngineOnly(..)
                ) {
                    return None;
                }
                let (listens, time) = (mark.kind == ProcessMarkKind::Listens, mark.mark.time);
                let process = self.processes[host].process_of_mark(mark);
                let root = root(host, process);
                // It may be the only record of an engine's process.
                let untied = process.is_none()
                    && listens
                    && any_near(&traces[host].engines, time, STEP_WINDOW);
                let sid =
                    if listens && !untied { mark.account_keys[1] } else { TextKey::default() };
                (root.is_some() || untied).then_some((
                    host,
                    mark.mark,
                    root,
                    sid,
                    TextKey::default(),
                ))
            },
        );
        let scripts = self.filter_marks(
            |task| &task.scripts,
            |host, part| {
                let root =
                    root(host, self.processes[host].process_at(part.process, part.mark.time))?;
                Some((host, part.mark, Some(root), part.sid, TextKey::default()))
            },
        );
        let traffic = self.filter_marks(
            |task| &task.traffic,
            |host, one| {
                let root = root(host, self.processes[host].process_at(one.process, one.mark.time))?;
                Some((host, one.mark, Some(root), TextKey::default(), TextKey::default()))
            },
        );
        let events = self.filter_marks(
            |task| &task.in_process,
            |host, one| {
                let root = root(host, self.processes[host].process_at(one.id, one.mark.time))?;
                Some((host, one.mark, Some(root), one.sid, one.runspace))
            },
        );
        // For each host process whose start is lost, the time of its first and last record.
        let mut heard: BTreeMap<(HostIdx, ProcessIdx), Lifetime> = BTreeMap::new();
        let all = of_process.into_iter().chain(events).chain(scripts).chain(traffic);
        for (host, mark, root, sid, runspace) in all {
            found.push(mark.source);
            traces[host].account_keys.extend(Some(sid).filter(|sid| sid.is_some()));
            traces[host].runspaces.extend(Some(runspace).filter(|runspace| runspace.is_some()));
            if let Some(root) = root
                && self.processes[host].get(root).start.is_none()
            {
                let life = heard.entry((host, root)).or_insert((mark.time, mark.time));
                *life = (life.0.min(mark.time), life.1.max(mark.time));
            }
        }
        for ((host, _), life) in heard {
            starts.add_start(host, life.0);
            traces[host].lives.push(life);
        }
        // A block is assembled from all its parts.
        let in_tree: HashSet<RecordRef> = found.iter().copied().collect();
        let blocks = self.filter_marks(
            |task| &task.scripts,
            |host, part| {
                let known = part.id.is_some() && in_tree.contains(&part.mark.source);
                known.then_some((host, part.id))
            },
        );
        let blocks: HashSet<(HostIdx, IdKey)> = blocks.into_iter().collect();
        found.extend(self.matching_records(
            |task| &task.scripts,
            |host, part| blocks.contains(&(host, part.id)),
        ));
    }

    /// Selects the records of engines in processes that sessions started, and of their commands.
    fn select_engine_records(&self, traces: &AllTraces, found: &mut Vec<RecordRef>) {
        let started = |host: HostIdx, engine: &LocalEngineMark| {
            if traces[host].runspaces.contains(&engine.runspace) {
                return true;
            }
            let starts = traces[host].lines.get(&engine.line);
            starts.is_some_and(|starts| any_near(starts, engine.mark.time, STEP_WINDOW))
        };
        let first = self.filter_marks(
            |task| &task.engines,
            |host, engine| {
                let id = (host, engine.host_id);
                started(host, engine).then_some((engine.mark.source, id))
            },
        );
        found.extend(first.iter().map(|(source, _)| source));
        let ids = first.into_iter().map(|(_, id)| id).filter(|(_, id)| id.is_some());
        let ids: HashSet<(HostIdx, TextKey)> = ids.collect();
        let all = self.filter_marks(
            |task| &task.engines,
            |host, engine| {
                let known = ids.contains(&(host, engine.host_id));
                known.then_some((engine.mark.source, (host, engine.runspace)))
            },
        );
        found.extend(all.iter().map(|(source, _)| source));
        let runspaces = all.into_iter().map(|(_, one)| one).filter(|(_, one)| one.is_some());
        let runspaces: HashSet<(HostIdx, TextKey)> = runspaces.collect();
        found.extend(self.matching_records(
            |task| &task.in_process,
            |host, one| runspaces.contains(&(host, one.runspace)),
        ));
    }

    /// Selects the logons of accounts that had sessions, during a session, and the ends of these
    /// logons.
    fn select_logons(
        &self,
        traces: &mut AllTraces,
        starts: &SessionStarts,
        found: &mut Vec<RecordRef>,
    ) {
        let own = |traces: &AllTraces, host: HostIdx, logon: &LogonMark| {
            traces[host].logon_ids.contains(&logon.logon_id)
        };
        let account_keys = self.filter_marks(
            |task| &task.logons,
            |host, logon| own(traces, host, logon).then_some((host, logon.account_keys)),
        );
        for (host, account_keys) in account_keys {
            traces[host].account_keys.extend(account_keys.iter().filter(|key| key.is_some()));
        }
        for traces in traces.iter_mut() {
            traces.lives = merge_lifetimes(std::mem::take(&mut traces.lives));
        }
        let logons = self.filter_marks(
            |task| &task.logons,
            |host, logon| {
                let time = logon.mark.time;
                let own =
                    own(traces, host, logon) && starts.has_start_near(host, time, JOIN_WINDOW);
                let known = || {
                    logon
                        .account_keys
                        .iter()
                        .any(|account_keys| traces[host].account_keys.contains(account_keys))
                };
                let is_one = own || (any_contains(&traces[host].lives, time) && known());
                is_one.then_some((host, *logon))
            },
        );
        for (host, logon) in logons {
            found.push(logon.mark.source);
            traces[host].logon_ids.insert(logon.logon_id);
            traces[host].callers.extend(logon.account_keys.iter().filter(|key| key.is_some()));
        }
        let is_end =
            |host: HostIdx, end: &LogonIdMark| traces[host].logon_ids.contains(&end.logon_id);
        found.extend(self.matching_records(|task| &task.logon_ids, is_end));
    }

    /// Selects records that may show where a session came from, or why an attempt failed.
    fn select_hints(&self, traces: &AllTraces, starts: &SessionStarts, found: &mut Vec<RecordRef>) {
        let known =
            traces.iter().flat_map(|traces| traces.account_keys.iter().chain(&traces.callers));
        let mut account_keys: HashSet<TextKey> = known.copied().collect();
        // A client's explicit credentials show whose session it opens.
        let used = self.filter_marks(
            |task| &task.hints,
            |host, hint| {
                let used = hint.kind == HintKind::Credentials && hint.account.is_some();
                (used && starts.has_client_near(host, hint.mark.time)).then_some(hint.account)
            },
        );
        account_keys.extend(used);
        for (sid, account) in self.accounts {
            if account_keys.contains(&self.keys.text_key(sid)) {
                account_keys.insert(self.keys.account_key(Some(account)));
            }
        }
        let is_hint =
            |host: HostIdx, hint: &HintMark| starts.may_concern(host, hint, &account_keys);
        found.extend(self.matching_records(|task| &task.hints, is_hint));
        let is_attempt = |host: HostIdx, mark: &RecordMark| starts.may_be_attempt(host, mark.time);
        found.extend(self.matching_records(|task| &task.failed_logons, is_attempt));
    }
}

/// Extends lifetimes by [`JOIN_WINDOW`] on both sides, sorts them, and joins those that overlap.
fn merge_lifetimes(mut lives: Vec<Lifetime>) -> Vec<Lifetime> {
    lives.sort_unstable();
    let mut merge_lifetimes: Vec<Lifetime> = Vec::new();
    for (start, end) in lives {
        let (start, end) = (start - JOIN_WINDOW, end + JOIN_WINDOW);
        match merge_lifetimes.last_mut() {
            Some((_, last)) if *last >= start => *last = end.max(*last),
            _ => merge_lifetimes.push((start, end)),
        }
    }
    merge_lifetimes
}

/// Returns true if one of the lifetimes contains a time. They are in order and do not overlap.
fn any_contains(lives: &[Lifetime], time: DateTime<Utc>) -> bool {
    let next = lives.partition_point(|&(_, end)| end < time);
    lives.get(next).is_some_and(|&(start, _)| start <= time)
}
