//! Finds the texts that hide others: texts of single records, and texts of rebuilt sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use ps_layers::Unwrapper;

use crate::model::{
    AccountName, Channel, Command, CommandIdx, Event, EventIdx, EventKind, IdxVec, Proof, Record,
    ScriptBlock, SessionIdx, TextKind, Wrapped,
};
use crate::reconstruct::Reconstruction;

/// Returns the command line in a record, if it hides something.
pub(super) fn hidden_in_record(
    record: &Record,
    event: &Event,
    unwrapper: &mut Unwrapper,
) -> Option<Wrapped> {
    let data = |name| record.data.get(name).unwrap_or_default();
    let (kind, text, image) = match (&event.kind, record.known_channel, record.event_id) {
        (EventKind::ProcessStart(start), ..) => {
            (TextKind::Process, &*start.command_line, &*start.image)
        }
        (EventKind::Engine(engine), _, 400) => {
            (TextKind::Engine, &*engine.context.host_application, "")
        }
        (_, Channel::System, 7045) => (TextKind::Service, data("ImagePath"), ""),
        (_, Channel::Security, 4697) => (TextKind::Service, data("ServiceFileName"), ""),
        (_, Channel::Security, 4698) => (TextKind::Task, data("TaskContent"), ""),
        _ => return None,
    };
    let hidden = unwrapper.find_layers(text);
    (!hidden.is_empty()).then(|| Wrapped {
        kind,
        time: event.time,
        host: event.computer.clone(),
        user: event.user(),
        image: image.to_owned(),
        session: None,
        command: None,
        evidence: vec![Proof::of(event)],
        hidden,
    })
}

/// Returns a script block outside sessions, if it hides something. `events` are its parts.
pub(super) fn hidden_in_block(
    events: &IdxVec<EventIdx, Event>,
    block: &ScriptBlock,
) -> Option<Wrapped> {
    let first = &events[block.events[0]];
    (!block.hidden.is_empty()).then(|| Wrapped {
        kind: TextKind::ScriptBlock,
        time: first.time,
        host: first.computer.clone(),
        user: first.user(),
        image: String::new(),
        session: None,
        command: None,
        evidence: block.events.iter().map(|&event| Proof::of(&events[event])).collect(),
        hidden: Arc::clone(&block.hidden),
    })
}

/// Returns the texts of rebuilt sessions that hide something: commands and script blocks. Where
/// both have the same text, the script block counts and names the command.
pub(super) fn hidden_in_sessions(case: &Reconstruction) -> impl Iterator<Item = Wrapped> + '_ {
    let events = &case.events;
    let is_script =
        |command: &Command| matches!(events[command.event()].kind, EventKind::ScriptBlockPart(_));
    let shown: BTreeMap<EventIdx, CommandIdx> = (case.commands.iter_enumerated())
        .filter(|(_, command)| is_script(command))
        .map(|(index, command)| (command.event(), index))
        .collect();
    let user = |session: Option<SessionIdx>| {
        let account = session.and_then(|session| case.sessions[session].user.as_ref());
        account.map(AccountName::to_string).unwrap_or_default()
    };
    let scripts = case.scripts.iter().filter_map(move |block| {
        let command = block.events.iter().find_map(|event| shown.get(event)).copied();
        let wrapped = hidden_in_block(events, block)?;
        Some(Wrapped { session: block.session, user: user(block.session), command, ..wrapped })
    });
    let commands = case.commands.iter_enumerated();
    let commands = commands.filter(move |(_, command)| !is_script(command));
    let commands = commands.filter(|(_, command)| !command.hidden.is_empty());
    let commands = commands.map(move |(index, command)| {
        let event = &events[command.event()];
        let (kind, image) = match &event.kind {
            EventKind::ProcessStart(start) => (TextKind::Process, start.image.clone()),
            _ => (TextKind::Command, String::new()),
        };
        Wrapped {
            kind,
            time: command.time,
            host: event.computer.clone(),
            user: user(Some(command.session)),
            image,
            session: Some(command.session),
            command: Some(index),
            evidence: command.events.iter().map(|&event| Proof::of(&events[event])).collect(),
            hidden: Arc::clone(&command.hidden),
        }
    });
    scripts.chain(commands)
}
