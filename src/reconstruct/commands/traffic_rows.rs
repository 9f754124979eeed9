//! Commands from remoting traffic, which is the best evidence of them.
//!
//! A pipeline is merged into the row that has the same text within seconds. Otherwise it gets a row
//! of its own.

use std::sync::Arc;

use super::activity::MOST_RIVALS;
use super::draft::{CommandDraft, CommandDraftIdx, CommandDrafts, RunPlace};
use super::engine;
use super::words::{TextWords, parameter_values};
use crate::model::{Command, Completeness, Link, Role};
use crate::reconstruct::index::Events;
use crate::reconstruct::traffic::conversation::SessionCommand;
use crate::reconstruct::windows::STEP_WINDOW;
use ps_layers::{UnwrapLimits, find_layers};

/// Merges commands from traffic into rows, or adds rows for them. `own` are the rows of the
/// session's own process, in order.
pub(super) fn merge_traffic(
    events: &Events,
    place: &RunPlace<'_>,
    spoken: &[SessionCommand],
    rows: &mut CommandDrafts,
    own: &mut Vec<CommandDraftIdx>,
) {
    for one in spoken {
        let found = matching_row(events, one, rows, own);
        match found {
            Some(at) => add_output(&mut rows[at], one),
            None => {
                own.push(rows.push(new_row(place, one)));
            }
        }
    }
    own.sort_by_key(|&at| rows[at].first);
}

/// Returns the row of a pipeline, the nearest in time.
fn matching_row(
    events: &Events,
    one: &SessionCommand,
    rows: &CommandDrafts,
    own: &[CommandDraftIdx],
) -> Option<CommandDraftIdx> {
    let before = own.partition_point(|&at| events[rows[at].first].time < one.sent.time);
    let rivals = own[..before].iter().rev().take(MOST_RIVALS);
    let rivals = rivals.chain(own[before..].iter().take(MOST_RIVALS)).copied();
    let apart = |at: CommandDraftIdx| (events[rows[at].first].time - one.sent.time).abs();
    let fits = |&at: &CommandDraftIdx| {
        let CommandDraft { command, .. } = &rows[at];
        apart(at) <= STEP_WINDOW
            && command.heard.is_none()
            && command.role != Role::Process
            && is_same(command, one)
    };
    rivals.filter(fits).min_by_key(|&at| (apart(at), at))
}

/// Returns true if a row has the text of the pipeline: the script's own text, or the names and
/// values of the invocations.
fn is_same(command: &Command, one: &SessionCommand) -> bool {
    let text = command.text.trim();
    let sent = &one.sent;
    if sent.text.is_empty() {
        return false;
    }
    let script = sent.parts.iter().any(|part| part.trim() == text);
    // Without a script's text, the row consists of invocations.
    let invoked = || {
        let names: Vec<&str> = sent.parts.iter().map(String::as_str).collect();
        command.completeness.lacks_script_text()
            && TextWords::from_text(text).may_have_run(
                &names,
                parameter_values(&sent.text),
                chrono::TimeDelta::zero(),
            )
    };
    script || sent.text.trim() == text || invoked()
}

fn add_output(row: &mut CommandDraft, one: &SessionCommand) {
    let command = &mut row.command;
    // The traffic has the parts of the script block that no record holds.
    let is_better = !command.completeness.is_whole() && one.sent.completeness.is_whole();
    if is_better {
        command.text.clone_from(&one.sent.text);
        command.hidden = Arc::new(find_layers(&command.text, &UnwrapLimits::default()));
        command.completeness = Completeness::Whole;
    }
    let at = if is_better { 0 } else { 1 };
    command.events.splice(at..at, one.events.iter().copied());
    if command.pipeline_id.is_empty() {
        command.pipeline_id.clone_from(&one.sent.output.id);
    }
    command.heard = Some(Box::new(one.sent.output.clone()));
}

fn new_row(place: &RunPlace<'_>, one: &SessionCommand) -> CommandDraft {
    let sent = &one.sent;
    let text = if sent.text.is_empty() { "(a command whose text is lost)" } else { &sent.text };
    let is_engine = match &sent.parts[..] {
        [] => sent.asks_metadata,
        parts => {
            let name = |part: &String| engine::is_engine_script(part) || part == "Out-Default";
            parts.iter().all(name) && sent.text.lines().count() == 1
        }
    };
    let first = one.events.iter().copied().min().unwrap_or_default();
    let command = Command {
        time: sent.time,
        session: place.session,
        events: one.events.clone(),
        link: Link::Pool,
        role: if is_engine { Role::Engine } else { Role::Typed },
        parent: None,
        runspace_id: None,
        pipeline_id: sent.output.id.clone(),
        text: text.to_owned(),
        hidden: Arc::new(find_layers(text, &UnwrapLimits::default())),
        invocations: Vec::new(),
        completeness: sent.completeness.clone(),
        heard: Some(Box::new(sent.output.clone())),
        depth: place.depth,
    };
    CommandDraft { command, parent: None, first, words: TextWords::from_text(text) }
}
