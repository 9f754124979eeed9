//! Which of the records that were only marked may belong to a session, by rules that take in all
//! that the stages after this one could use, and a little more.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::gather::{Gathered, Key, Keys, LocalEngine, Marked, ProcessMark, Told};
use super::process::Processes;
use super::server::WAITED;
use super::shells::creates;
use super::{CLOCK_ERROR, Hosts, JOIN_WINDOW, STEP_WINDOW, context};
use crate::model::{Account, Event, EventKind, RecordRef};

/// What reconstruction knows before it reads the records it needs.
pub(super) struct Focus<'a> {
    /// The events that show remoting by themselves.
    pub core: &'a [Event],
    /// The marks of the others.
    pub gathered: &'a [Gathered],
    pub hosts: &'a Hosts,
    pub processes: &'a [Processes],
    pub accounts: &'a BTreeMap<String, Account>,
    pub keys: &'a Keys,
}

/// From when to when something lived.
type Life = (DateTime<Utc>, DateTime<Utc>);

/// What remoting leaves on one host.
#[derive(Default)]
struct Traces {
    /// The lives that sessions may have had.
    lives: Vec<Life>,
    /// The names and SIDs of those who may have had one.
    who: HashSet<Key>,
    logon_ids: HashSet<u64>,
    /// The runspaces of what sessions' processes invoked.
    runspaces: HashSet<Key>,
    /// The command lines of sessions' processes, and when they started.
    lines: BTreeMap<Key, Vec<DateTime<Utc>>>,
}

impl Focus<'_> {
    /// The records to read, in the order of their places.
    pub fn records(&self) -> Vec<RecordRef> {
        let mut traces: Vec<Traces> = self.processes.iter().map(|_| Traces::default()).collect();
        let mut starts = Vec::new();
        let mut found = Vec::new();
        self.core(&mut traces, &mut starts);
        self.roots(&mut traces, &mut starts);
        self.in_trees(&mut traces, &mut starts, &mut found);
        starts.sort_unstable();
        self.engines(&traces, &mut found);
        self.logons(&mut traces, &starts, &mut found);
        self.near_starts(&starts, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What was gathered of one kind, each with the index of its host.
    fn each<T: Marked>(&self, kind: fn(&Gathered) -> &Vec<T>) -> impl Iterator<Item = (usize, &T)> {
        self.hosts.each(self.gathered, kind)
    }

    /// What the events that show remoting by themselves tell.
    fn core(&self, traces: &mut [Traces], starts: &mut Vec<DateTime<Utc>>) {
        let mut engines: BTreeMap<(usize, &str), Life> = BTreeMap::new();
        for event in self.core {
            let Some(host) = self.hosts.index_of(&event.host) else { continue };
            let mut names: Vec<&Account> = Vec::new();
            let (mut users, mut remote) = (Vec::new(), false);
            match &event.kind {
                EventKind::ClientSession(_) => starts.push(event.time),
                EventKind::ShellCreated(shell) => {
                    starts.push(event.time);
                    remote = true;
                    names.extend(&shell.account);
                    // Its engine may be heard of late.
                    traces[host].lives.push((event.time, event.time + WAITED));
                }
                EventKind::ServerOperation(operation) if creates(operation) => {
                    starts.push(event.time);
                    traces[host].lives.push((event.time, event.time));
                }
                EventKind::Authenticated(caller) => names.extend(&caller.account),
                EventKind::EngineListening(_) | EventKind::ServerSession(_) => {
                    starts.push(event.time);
                    remote = true;
                    traces[host].lives.push((event.time, event.time));
                }
                _ => {}
            }
            if let Some(context) = context(event) {
                starts.push(event.time);
                remote = true;
                users.extend(Account::parse(&context.user));
                users.extend(Account::parse(&context.connected_user));
                let id = if context.host_id.is_empty() {
                    &context.runspace_id
                } else {
                    &context.host_id
                };
                let processes = &self.processes[host];
                let root = processes.of(event).and_then(|of| processes.remoting_host(of));
                let start = root.and_then(|(root, _)| processes.get(root).start);
                let life = engines.entry((host, id)).or_insert((event.time, event.time));
                let from = start.unwrap_or(event.time).min(event.time);
                *life = (life.0.min(from), life.1.max(event.time));
            }
            let who = &mut traces[host].who;
            if remote && let Some(sid) = event.user_sid.as_deref() {
                who.insert(self.keys.of(sid));
                names.extend(self.accounts.get(sid));
            }
            for account in names.into_iter().chain(&users) {
                who.insert(self.keys.of_account(Some(account)));
            }
        }
        for ((host, _), life) in engines {
            traces[host].lives.push(life);
        }
    }

    /// What the processes that serve sessions tell.
    fn roots(&self, traces: &mut [Traces], starts: &mut Vec<DateTime<Utc>>) {
        for (traces, processes) in traces.iter_mut().zip(self.processes) {
            for (index, process) in processes.iter() {
                if processes.remoting_host(index).is_none() {
                    continue;
                }
                if process.line.is_some() {
                    traces.lines.entry(process.line).or_default().extend(process.start);
                }
                if process.is_remoting_host() {
                    starts.extend(process.start);
                    let start = process.start.or(process.engine_first());
                    traces.lives.extend(start.map(|start| (start, process.end.unwrap_or(start))));
                    traces.who.extend(process.who.iter().filter(|key| key.is_some()));
                    traces.logon_ids.extend(Some(process.logon_id).filter(|&id| id != 0));
                }
            }
            traces.lines.values_mut().for_each(|starts| starts.sort_unstable());
        }
    }

    /// What sessions' processes did, and what bounds their lives.
    fn in_trees(
        &self,
        traces: &mut [Traces],
        starts: &mut Vec<DateTime<Utc>>,
        found: &mut Vec<RecordRef>,
    ) {
        let root = |host: usize, process: Option<usize>| {
            let processes = &self.processes[host];
            let (root, _) = processes.remoting_host(process?)?;
            Some(processes.get(root))
        };
        // A remote engine's records are at hand.
        let marks = self.each(|task| &task.processes);
        let at_hand = |mark: &ProcessMark| !matches!(mark.what, Told::Started(_) | Told::Exited(_));
        for (host, mark) in marks.filter(|(_, mark)| !at_hand(mark)) {
            if let Some(root) = root(host, self.processes[host].of_mark(mark)) {
                found.push(mark.mark.source);
                if root.start.is_none() {
                    starts.push(mark.mark.time);
                    traces[host].lives.push((mark.mark.time, mark.mark.time));
                }
            }
        }
        let scripts = self.each(|task| &task.scripts);
        let none = Key::default();
        let scripts = scripts.map(|(host, part)| (host, part.mark, part.process, part.sid, none));
        let events = self.each(|task| &task.in_process);
        let events = events.map(|(host, one)| (host, one.mark, one.id, one.sid, one.runspace));
        let traffic = self.each(|task| &task.traffic);
        let traffic = traffic.map(|(host, one)| (host, one.mark, one.process, none, none));
        for (host, mark, id, sid, runspace) in events.chain(scripts).chain(traffic) {
            let process = self.processes[host].at(id, mark.time);
            let Some(root) = root(host, process) else { continue };
            found.push(mark.source);
            traces[host].who.extend(Some(sid).filter(|sid| sid.is_some()));
            traces[host].runspaces.extend(Some(runspace).filter(|runspace| runspace.is_some()));
            if root.start.is_none() {
                starts.push(mark.time);
                traces[host].lives.push((mark.time, mark.time));
            }
        }
        // A block is put together from all its parts.
        let in_tree: HashSet<RecordRef> = found.iter().copied().collect();
        let parts = || {
            let parts = self.each(|task| &task.scripts);
            parts.filter(|(_, part)| part.id.is_some())
        };
        let blocks: HashSet<(usize, Key)> = parts()
            .filter(|(_, part)| in_tree.contains(&part.mark.source))
            .map(|(host, part)| (host, part.id))
            .collect();
        let others = parts().filter(|(host, part)| blocks.contains(&(*host, part.id)));
        found.extend(others.map(|(_, part)| part.mark.source));
    }

    /// The engines of processes that sessions started, and the commands that they log, too.
    fn engines(&self, traces: &[Traces], found: &mut Vec<RecordRef>) {
        let engines = || self.each(|task| &task.engines);
        let started = |host: usize, engine: &LocalEngine| {
            if traces[host].runspaces.contains(&engine.runspace) {
                return true;
            }
            let starts = traces[host].lines.get(&engine.line);
            starts.is_some_and(|starts| is_near(starts, engine.mark.time, STEP_WINDOW))
        };
        let mut ids = HashSet::new();
        for (host, engine) in engines().filter(|(host, engine)| started(*host, engine)) {
            found.push(engine.mark.source);
            ids.insert((host, engine.host_id));
        }
        ids.retain(|(_, id)| id.is_some());
        let mut runspaces = HashSet::new();
        for (host, engine) in engines().filter(|(host, one)| ids.contains(&(*host, one.host_id))) {
            found.push(engine.mark.source);
            runspaces.insert((host, engine.runspace));
        }
        runspaces.retain(|(_, runspace)| runspace.is_some());
        let commands = self.each(|task| &task.in_process);
        let commands = commands.filter(|(host, one)| runspaces.contains(&(*host, one.runspace)));
        found.extend(commands.map(|(_, command)| command.mark.source));
    }

    /// Logons of those who had sessions, in the time of a session; then what ended them.
    fn logons(&self, traces: &mut [Traces], starts: &[DateTime<Utc>], found: &mut Vec<RecordRef>) {
        let logons = || self.each(|task| &task.logons);
        for (host, logon) in logons() {
            let traces = &mut traces[host];
            if traces.logon_ids.contains(&logon.logon_id) {
                traces.who.extend(logon.who.iter().filter(|key| key.is_some()));
            }
        }
        for traces in traces.iter_mut() {
            traces.lives = joined(std::mem::take(&mut traces.lives));
        }
        for (host, logon) in logons() {
            let traces = &mut traces[host];
            let own = traces.logon_ids.contains(&logon.logon_id)
                && is_near(starts, logon.mark.time, JOIN_WINDOW);
            let known = logon.who.iter().any(|who| traces.who.contains(who));
            if own || (known && covers(&traces.lives, logon.mark.time)) {
                found.push(logon.mark.source);
                traces.logon_ids.insert(logon.logon_id);
            }
        }
        let ends = self.each(|task| &task.logon_ids);
        let ends = ends.filter(|(host, end)| traces[*host].logon_ids.contains(&end.logon_id));
        found.extend(ends.map(|(_, end)| end.mark.source));
    }

    /// What may tell where a session came from, or why an attempt failed.
    fn near_starts(&self, starts: &[DateTime<Utc>], found: &mut Vec<RecordRef>) {
        let clients =
            self.core.iter().filter(|event| matches!(event.kind, EventKind::ClientSession(_)));
        let mut tried: Vec<DateTime<Utc>> = clients.map(|event| event.time).collect();
        tried.sort_unstable();
        for task in self.gathered {
            let connections = task.in_process.iter().filter(|event| event.winrm);
            let hints = task.hints.iter().chain(connections.map(|event| &event.mark));
            let hints = hints.filter(|mark| is_near(starts, mark.time, CLOCK_ERROR + JOIN_WINDOW));
            let failed = task.failed_logons.iter();
            let failed =
                failed.filter(|mark| is_near(&tried, mark.time, CLOCK_ERROR + STEP_WINDOW));
            found.extend(hints.chain(failed).map(|mark| mark.source));
        }
    }
}

/// Whether one of some times, which are in order, is at most `window` away.
fn is_near(times: &[DateTime<Utc>], time: DateTime<Utc>, window: TimeDelta) -> bool {
    let next = times.partition_point(|&known| known < time - window);
    times.get(next).is_some_and(|&known| known <= time + window)
}

/// Lives, with what may belong to their ends, in order and without overlaps.
fn joined(mut lives: Vec<Life>) -> Vec<Life> {
    lives.sort_unstable();
    let mut joined: Vec<Life> = Vec::new();
    for (start, end) in lives {
        let (start, end) = (start - JOIN_WINDOW, end + JOIN_WINDOW);
        match joined.last_mut() {
            Some((_, last)) if *last >= start => *last = end.max(*last),
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// Whether a time is in one of some lives, which are in order and do not overlap.
fn covers(lives: &[Life], time: DateTime<Utc>) -> bool {
    let next = lives.partition_point(|&(_, end)| end < time);
    lives.get(next).is_some_and(|&(start, _)| start <= time)
}
