//! The commands of all sessions: the rows of each engine, the rows from traffic, and processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ps_layers::{UnwrapLimits, find_layers};

use super::activity::{self, EngineActivity, MOST_RIVALS};
use super::draft::{CommandDraft, CommandDraftIdx, CommandDrafts, RunPlace};
use super::traffic_rows;
use super::words::TextWords;
use crate::model::{
    Command, CommandIdx, Completeness, Event, EventIdx, EventKind, HostName, IdxVec, Link,
    LoggedId, ProcessStart, Role, ScriptBlock, ScriptIdx, SessionIdx, file_name,
};
use crate::reconstruct::index::{Events, ProcessIdx, SessionByEvent};
use crate::reconstruct::lookup::LookupTables;
use crate::reconstruct::traffic::conversation::SessionCommand;

/// Returns the commands of all sessions, by time.
pub(in crate::reconstruct) fn session_commands(
    tables: LookupTables<'_>,
    session_of: &SessionByEvent,
    scripts: &IdxVec<ScriptIdx, ScriptBlock>,
    from_traffic: &BTreeMap<SessionIdx, Vec<SessionCommand>>,
) -> IdxVec<CommandIdx, Command> {
    let LookupTables { events, processes, .. } = tables;
    let activities = activities(tables, session_of, scripts);
    let mut rows = CommandDrafts::new();
    // The rows of each process, in order.
    let mut by_place: BTreeMap<RunPlace<'_>, Vec<CommandDraftIdx>> = BTreeMap::new();
    for (place, activity) in &activities {
        let offset = rows.len();
        let in_all = |row: CommandDraftIdx| CommandDraftIdx::new(offset + row.index());
        let mut order = Vec::new();
        for row in activity::command_drafts(events, scripts, place, activity) {
            let parent = row.parent.map(|(parent, link)| (in_all(parent), link));
            order.push(rows.push(CommandDraft { parent, ..row }));
        }
        order.sort_by_key(|&at| rows[at].first);
        by_place.insert(*place, order);
    }
    for (&session, spoken) in from_traffic {
        let Some(SessionCommand { host, process, .. }) = spoken.first() else { continue };
        let place = RunPlace { session, host, process: *process, depth: 0 };
        let own = by_place.entry(place).or_default();
        traffic_rows::merge_traffic(events, &place, spoken, &mut rows, own);
    }
    let mut started: BTreeMap<(SessionIdx, &HostName, ProcessIdx), CommandDraftIdx> =
        BTreeMap::new();
    for (index, event) in events.iter_enumerated() {
        let EventKind::ProcessStart(start) = &event.kind else { continue };
        let Some(session) = session_of[index] else { continue };
        let table = &processes[&event.host];
        let Some(process) = table.process_of_event(event) else { continue };
        // Security and Sysmon both log a start; the first record makes the row. Nobody ran the host
        // process itself, and the client's processes are not part of the session.
        let depth = table.remoting_ancestor(process).map_or(0, |(_, depth)| depth);
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
                RunPlace { session, host: &event.host, process: Some(parent), depth: depth - 1 };
            let own = by_place.get(&place).map(Vec::as_slice).unwrap_or_default();
            let by_text =
                starter_row(events, &rows, own, (index, start)).map(|row| (row, Link::Text));
            let by_process = || started.get(&(session, &event.host, parent)).copied();
            by_text.or_else(|| Some((by_process()?, Link::Process)))
        });
        let row = rows.push(process_row(event, start, (index, session, depth), parent));
        started.insert((session, &event.host, process), row);
    }
    for (place, own) in &by_place {
        // Rows of a child process without a parent belong to the row of the process.
        let process = place.process.and_then(|at| started.get(&(place.session, place.host, at)));
        let Some(&process) = process else { continue };
        for &at in own {
            let CommandDraft { command, parent, .. } = &mut rows[at];
            *parent = parent.or(Some((process, Link::Process)));
            if command.role == Role::Typed {
                command.role = Role::Called;
            }
        }
    }
    in_order(rows)
}

/// Returns the events of each engine of all sessions, by place.
fn activities<'e>(
    tables: LookupTables<'e>,
    session_of: &SessionByEvent,
    scripts: &IdxVec<ScriptIdx, ScriptBlock>,
) -> BTreeMap<RunPlace<'e>, EngineActivity> {
    let LookupTables { events, processes, .. } = tables;
    let process = |event: &Event| {
        let table = &processes[&event.host];
        let process = table.process_of_event(event)?;
        Some((process, table.remoting_ancestor(process)?))
    };
    // The classic log names no process. The process is found by the runspace, else it is the host
    // process.
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
        Some(RunPlace { session, host: &event.host, process: known.map(|(at, _)| at), depth })
    };
    let mut activities: BTreeMap<RunPlace<'_>, EngineActivity> = BTreeMap::new();
    for (index, event) in events.iter_enumerated() {
        let kind: fn(&mut EngineActivity) -> &mut Vec<EventIdx> = match &event.kind {
            EventKind::Command(_) | EventKind::CommandLifecycle(_) | EventKind::Pipeline(_) => {
                |activity| &mut activity.records
            }
            EventKind::ScriptBlockRun(_) => |activity| &mut activity.runs,
            _ => continue,
        };
        if let Some(place) = place(index) {
            kind(activities.entry(place).or_default()).push(index);
        }
    }
    for (at, script) in scripts.iter_enumerated() {
        // A part may have been logged where its process is not known.
        if let Some(place) = script.events.iter().find_map(|&event| place(event))
            && !script.text.trim().is_empty()
        {
            activities.entry(place).or_default().blocks.push(at);
        }
    }
    activities
}

/// Returns the latest earlier row whose text names the process that was started.
fn starter_row(
    events: &Events,
    rows: &CommandDrafts,
    own: &[CommandDraftIdx],
    (index, start): (EventIdx, &ProcessStart),
) -> Option<CommandDraftIdx> {
    let before = own.partition_point(|&at| rows[at].first < index);
    let arguments = arguments(&start.command_line);
    let names = [file_name(&start.image)];
    let fits = |row: &CommandDraft| {
        let later = events[index].time - events[row.first].time;
        row.command.role != Role::Engine
            && row.words.may_have_run(&names, std::iter::once(arguments), later)
    };
    own[..before].iter().rev().take(MOST_RIVALS).copied().find(|&at| fits(&rows[at]))
}

/// Returns a command line without its program.
fn arguments(line: &str) -> &str {
    let line = line.trim_start();
    let end = match line.strip_prefix('"') {
        Some(quoted) => quoted.find('"').map(|at| at + 2),
        None => line.find(' '),
    };
    line.get(end.unwrap_or(line.len())..).unwrap_or_default()
}

fn process_row(
    event: &Event,
    start: &ProcessStart,
    (index, session, depth): (EventIdx, SessionIdx, u32),
    parent: Option<(CommandDraftIdx, Link)>,
) -> CommandDraft {
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
    CommandDraft { command, parent, first: index, words: TextWords::default() }
}

/// Returns the commands by time, none before its parent, then in order of their first events.
fn in_order(rows: CommandDrafts) -> IdxVec<CommandIdx, Command> {
    let mut order: Vec<CommandDraftIdx> = rows.indices().collect();
    order.sort_by_key(|&at| (rows[at].first, at));
    // Some logs have whole seconds only.
    let mut below: IdxVec<CommandDraftIdx, u32> = rows.iter().map(|_| 0).collect();
    for &at in order.iter().chain(&order) {
        let CommandDraft { command, parent, .. } = &rows[at];
        let parent = parent.filter(|&(parent, _)| rows[parent].command.time == command.time);
        below[at] = parent.map_or(0, |(parent, _)| below[parent].saturating_add(1));
    }
    order.sort_by_key(|&at| (rows[at].command.time, below[at], rows[at].first, at));
    let order: IdxVec<CommandIdx, CommandDraftIdx> = order.into();
    let mut places: IdxVec<CommandDraftIdx, CommandIdx> =
        rows.iter().map(|_| CommandIdx::new(0)).collect();
    for (place, &at) in order.iter_enumerated() {
        places[at] = place;
    }
    let mut rows: IdxVec<CommandDraftIdx, Option<CommandDraft>> =
        rows.into_iter().map(Some).collect();
    let commands = order.into_iter().filter_map(|at| rows[at].take()).map(
        |CommandDraft { command, parent, .. }| {
            let parent = parent.map(|(parent, link)| (places[parent], link));
            Command { parent, ..command }
        },
    );
    commands.collect()
}
