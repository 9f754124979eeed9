//! The commands of all sessions: the rows of each shell, what traffic adds, and processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ps_layers::{UnwrapLimits, find_layers};

use super::heard;
use super::row::{Place, Row, RowIdx, Rows};
use super::shell::{self, MOST_RIVALS, Shell};
use super::words::Words;
use crate::model::{
    Command, CommandIdx, Completeness, Event, EventIdx, EventKind, HostName, IdxVec, Link,
    LoggedId, ProcessStart, Role, ScriptBlock, ScriptIdx, SessionIdx, file_name,
};
use crate::reconstruct::index::{Events, ProcessIdx, SessionOf};
use crate::reconstruct::traffic::talk::Spoken;
use crate::reconstruct::world::World;

/// The commands of all sessions, by time.
pub(in crate::reconstruct) fn of_sessions(
    world: World<'_>,
    session_of: &SessionOf,
    scripts: &IdxVec<ScriptIdx, ScriptBlock>,
    heard: &BTreeMap<SessionIdx, Vec<Spoken>>,
) -> IdxVec<CommandIdx, Command> {
    let World { events, processes, .. } = world;
    let shells = shells(world, session_of, scripts);
    let mut rows = Rows::new();
    // Of each process, its rows in order.
    let mut by_place: BTreeMap<Place<'_>, Vec<RowIdx>> = BTreeMap::new();
    for (place, shell) in &shells {
        let offset = rows.len();
        let in_all = |row: RowIdx| RowIdx::new(offset + row.index());
        let mut order = Vec::new();
        for row in shell::rows(events, scripts, place, shell) {
            let parent = row.parent.map(|(parent, link)| (in_all(parent), link));
            order.push(rows.push(Row { parent, ..row }));
        }
        order.sort_by_key(|&at| rows[at].first);
        by_place.insert(*place, order);
    }
    for (&session, spoken) in heard {
        let Some(Spoken { host, process, .. }) = spoken.first() else { continue };
        let place = Place { session, host, process: *process, depth: 0 };
        let own = by_place.entry(place).or_default();
        heard::merge(events, &place, spoken, &mut rows, own);
    }
    let mut started: BTreeMap<(SessionIdx, &HostName, ProcessIdx), RowIdx> = BTreeMap::new();
    for (index, event) in events.iter_enumerated() {
        let EventKind::ProcessStart(start) = &event.kind else { continue };
        let Some(session) = session_of[index] else { continue };
        let table = &processes[&event.host];
        let Some(process) = table.of(event) else { continue };
        // Security and Sysmon log a start each: the first tells. The host process itself was not
        // run by anyone, and the client's processes are none of the session's.
        let depth = table.remoting_host(process).map_or(0, |(_, depth)| depth);
        if depth == 0 {
            continue;
        }
        if table.get(process).first != event.source {
            if let Some(&row) = started.get(&(session, &event.host, process)) {
                rows[row].command.events.push(index);
            }
            continue;
        }
        let parent = table.parent(process).and_then(|parent| {
            let place =
                Place { session, host: &event.host, process: Some(parent), depth: depth - 1 };
            let own = by_place.get(&place).map(Vec::as_slice).unwrap_or_default();
            let by_text = runner(events, &rows, own, (index, start)).map(|row| (row, Link::Text));
            let by_process = || started.get(&(session, &event.host, parent)).copied();
            by_text.or_else(|| Some((by_process()?, Link::Process)))
        });
        let row = rows.push(of_process(event, start, (index, session, depth), parent));
        started.insert((session, &event.host, process), row);
    }
    for (place, own) in &by_place {
        // What nothing else of a child process ran, the process itself was started for.
        let process = place.process.and_then(|at| started.get(&(place.session, place.host, at)));
        let Some(&process) = process else { continue };
        for &at in own {
            let Row { command, parent, .. } = &mut rows[at];
            *parent = parent.or(Some((process, Link::Process)));
            if command.role == Role::Typed {
                command.role = Role::Called;
            }
        }
    }
    in_order(rows)
}

/// The shells of all sessions, by place.
fn shells<'e>(
    world: World<'e>,
    session_of: &SessionOf,
    scripts: &IdxVec<ScriptIdx, ScriptBlock>,
) -> BTreeMap<Place<'e>, Shell> {
    let World { events, processes, .. } = world;
    let process = |event: &Event| {
        let table = &processes[&event.host];
        let process = table.of(event)?;
        Some((process, table.remoting_host(process)?))
    };
    // The classic log tells no process: its runspace does, or that it is the session's own.
    let mut by_runspace: BTreeMap<(SessionIdx, &LoggedId), (ProcessIdx, u32)> = BTreeMap::new();
    let mut roots: BTreeMap<SessionIdx, ProcessIdx> = BTreeMap::new();
    for (index, event) in events.iter_enumerated() {
        let Some(session) = session_of[index] else { continue };
        let Some((process, (root, depth))) = process(event) else { continue };
        roots.entry(session).or_insert(root);
        let runspace = match &event.kind {
            EventKind::ScriptBlockRun(run) => run.runspace_id.as_ref(),
            _ => event.engine().and_then(|context| context.runspace_id.as_ref()),
        };
        if let Some(runspace) = runspace {
            by_runspace.entry((session, runspace)).or_insert((process, depth));
        }
    }
    let place = |index: EventIdx| {
        let (event, session) = (&events[index], session_of[index]?);
        let known = process(event).map(|(process, (_, depth))| (process, depth)).or_else(|| {
            let context = event.engine()?;
            let runspace = context.runspace_id.as_ref();
            let of_runspace =
                runspace.and_then(|runspace| by_runspace.get(&(session, runspace)).copied());
            let root = || roots.get(&session).filter(|_| context.is_remote());
            of_runspace.or_else(|| root().map(|&root| (root, 0)))
        });
        let depth = known.map_or(0, |(_, depth)| depth);
        Some(Place { session, host: &event.host, process: known.map(|(at, _)| at), depth })
    };
    let mut shells: BTreeMap<Place<'_>, Shell> = BTreeMap::new();
    for (index, event) in events.iter_enumerated() {
        let kind: fn(&mut Shell) -> &mut Vec<EventIdx> = match &event.kind {
            EventKind::Command(_) | EventKind::CommandLifecycle(_) | EventKind::Pipeline(_) => {
                |shell| &mut shell.records
            }
            EventKind::ScriptBlockRun(_) => |shell| &mut shell.runs,
            _ => continue,
        };
        if let Some(place) = place(index) {
            kind(shells.entry(place).or_default()).push(index);
        }
    }
    for (at, script) in scripts.iter_enumerated() {
        // A part may have been logged where its process is not known.
        if let Some(place) = script.events.iter().find_map(|&event| place(event))
            && !script.text.trim().is_empty()
        {
            shells.entry(place).or_default().blocks.push(at);
        }
    }
    shells
}

/// The row whose text names a process that was started, the latest before it.
fn runner(
    events: &Events,
    rows: &Rows,
    own: &[RowIdx],
    (index, start): (EventIdx, &ProcessStart),
) -> Option<RowIdx> {
    let before = own.partition_point(|&at| rows[at].first < index);
    let arguments = arguments(&start.command_line);
    let names = [file_name(&start.image)];
    let fits = |row: &Row| {
        let later = events[index].time - events[row.first].time;
        row.command.role != Role::Engine
            && row.words.agree(&names, std::iter::once(arguments), later)
    };
    own[..before].iter().rev().take(MOST_RIVALS).copied().find(|&at| fits(&rows[at]))
}

/// A command line without its program.
fn arguments(line: &str) -> &str {
    let line = line.trim_start();
    let end = match line.strip_prefix('"') {
        Some(quoted) => quoted.find('"').map(|at| at + 2),
        None => line.find(' '),
    };
    line.get(end.unwrap_or(line.len())..).unwrap_or_default()
}

fn of_process(
    event: &Event,
    start: &ProcessStart,
    (index, session, depth): (EventIdx, SessionIdx, u32),
    parent: Option<(RowIdx, Link)>,
) -> Row {
    let line = start.command_line.as_str();
    let (text, completeness) = match line.trim() {
        "" => (start.image.as_str(), Completeness::NoCommandLine),
        _ => (line, Completeness::Whole),
    };
    let command = Command {
        time: event.time,
        session,
        events: vec![index],
        link: Link::Own,
        role: Role::Process,
        parent: None,
        runspace_id: None,
        pipeline_id: String::new(),
        text: text.to_owned(),
        hidden: Arc::new(find_layers(text, &UnwrapLimits::default())),
        invocations: Vec::new(),
        heard: None,
        completeness,
        depth,
    };
    Row { command, parent, first: index, words: Words::default() }
}

/// The commands of rows by time, none before what ran it, then in the order of their first events.
fn in_order(rows: Rows) -> IdxVec<CommandIdx, Command> {
    let mut order: Vec<RowIdx> = rows.indices().collect();
    order.sort_by_key(|&at| (rows[at].first, at));
    // Some logs tell whole seconds only.
    let mut below: IdxVec<RowIdx, u32> = rows.iter().map(|_| 0).collect();
    for &at in order.iter().chain(&order) {
        let Row { command, parent, .. } = &rows[at];
        let parent = parent.filter(|&(parent, _)| rows[parent].command.time == command.time);
        below[at] = parent.map_or(0, |(parent, _)| below[parent].saturating_add(1));
    }
    order.sort_by_key(|&at| (rows[at].command.time, below[at], rows[at].first, at));
    let order: IdxVec<CommandIdx, RowIdx> = order.into();
    let mut places: IdxVec<RowIdx, CommandIdx> = rows.iter().map(|_| CommandIdx::new(0)).collect();
    for (place, &at) in order.iter_enumerated() {
        places[at] = place;
    }
    let mut rows: IdxVec<RowIdx, Option<Row>> = rows.into_iter().map(Some).collect();
    let commands = order.into_iter().filter_map(|at| rows[at].take()).map(
        |Row { command, parent, .. }| {
            let parent = parent.map(|(parent, link)| (places[parent], link));
            Command { parent, ..command }
        },
    );
    commands.collect()
}
