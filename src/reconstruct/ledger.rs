//! What was run in each session, in order.

use std::collections::{BTreeMap, BTreeSet};

use super::process::Processes;
use crate::model::{Command, Event, EventKind, ScriptBlock, Str};
use crate::normalise::decode_command;

/// Script texts that the engine itself runs for each prompt.
const ENGINE_NOISE: [&str; 2] = ["prompt", "$global:?"];

/// The commands of all sessions, in the order of their events.
pub(super) fn commands(
    events: &[Event],
    session_of: &[Option<usize>],
    scripts: &[ScriptBlock],
    processes: &BTreeMap<Str, Processes>,
) -> Vec<Command> {
    // A block of several parts is one command, at the first part that was logged.
    let blocks: BTreeMap<usize, &ScriptBlock> =
        scripts.iter().filter_map(|script| Some((*script.events.iter().min()?, script))).collect();
    let invoked: BTreeSet<_> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Command(command) => {
                let context = &command.context;
                Some((&event.host, &context.runspace_id, &context.pipeline_id))
            }
            _ => None,
        })
        .collect();
    let mut commands = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let Some(session) = session_of[index] else { continue };
        let depth = depth(event, &processes[&event.host]);
        let (runspace_id, pipeline_id, text) = match &event.kind {
            EventKind::Command(command) => {
                let context = &command.context;
                (&*context.runspace_id, &*context.pipeline_id, &*command.text)
            }
            EventKind::Pipeline(pipeline) => {
                let context = &pipeline.context;
                // 4103 logs the same pipeline, in more detail.
                let named = !context.runspace_id.is_empty() && !context.pipeline_id.is_empty();
                if named
                    && invoked.contains(&(&event.host, &context.runspace_id, &context.pipeline_id))
                {
                    continue;
                }
                let line = &*context.command_line;
                let text = if line.is_empty() { &*pipeline.details } else { line };
                (&*context.runspace_id, &*context.pipeline_id, text)
            }
            EventKind::ScriptBlockPart(_) => match blocks.get(&index) {
                Some(block) => ("", "", &*block.text),
                None => continue,
            },
            EventKind::ProcessStart(start) => {
                let table = &processes[&event.host];
                let process = table.of(event);
                // Security and Sysmon log a start each: the first tells. The host process itself
                // was not run by anyone, and the client's processes are none of the session's.
                let first = process.is_some_and(|at| table.get(at).first == event.source);
                if !first || depth.is_none_or(|depth| depth == 0) {
                    continue;
                }
                let line = &*start.command_line;
                ("", "", if line.is_empty() { &*start.image } else { line })
            }
            _ => continue,
        };
        if !text.trim().is_empty() && !ENGINE_NOISE.contains(&text.trim()) {
            commands.push(Command {
                time: event.time,
                session,
                event: index,
                runspace_id: runspace_id.to_owned(),
                pipeline_id: pipeline_id.to_owned(),
                text: text.to_owned(),
                decoded: decode_command(text),
                depth: depth.unwrap_or(0),
            });
        }
    }
    commands
}

/// How far below a remoting host process an event's process is.
fn depth(event: &Event, processes: &Processes) -> Option<u32> {
    processes.remoting_host(processes.of(event)?).map(|(_, depth)| depth)
}
