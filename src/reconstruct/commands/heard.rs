//! What remoting's traffic says of a session's commands: the best evidence there is of them.
//!
//! A pipeline is the row that has its text and was logged within seconds, where there is one; else
//! a row of its own.

use std::sync::Arc;

use super::engine;
use super::row::{Place, Row, RowIdx, Rows};
use super::shell::MOST_RIVALS;
use super::words::{Words, values};
use crate::model::{Command, Completeness, Link, Role};
use crate::reconstruct::index::Events;
use crate::reconstruct::traffic::talk::Spoken;
use crate::reconstruct::windows::STEP_WINDOW;
use ps_layers::{UnwrapLimits, find_layers};

/// Adds what was heard to rows, or as rows. `own` are the indexes of the rows of the session's own
/// process, in order.
pub(super) fn merge(
    events: &Events,
    place: &Place<'_>,
    spoken: &[Spoken],
    rows: &mut Rows,
    own: &mut Vec<RowIdx>,
) {
    for one in spoken {
        let found = row_of(events, one, rows, own);
        match found {
            Some(at) => take(&mut rows[at], one),
            None => {
                own.push(rows.push(new_row(place, one)));
            }
        }
    }
    own.sort_by_key(|&at| rows[at].first);
}

/// The row that a pipeline is, nearest in time.
fn row_of(events: &Events, one: &Spoken, rows: &Rows, own: &[RowIdx]) -> Option<RowIdx> {
    let before = own.partition_point(|&at| events[rows[at].first].time < one.said.time);
    let rivals = own[..before].iter().rev().take(MOST_RIVALS);
    let rivals = rivals.chain(own[before..].iter().take(MOST_RIVALS)).copied();
    let apart = |at: RowIdx| (events[rows[at].first].time - one.said.time).abs();
    let fits = |&at: &RowIdx| {
        let Row { command, .. } = &rows[at];
        apart(at) <= STEP_WINDOW
            && command.heard.is_none()
            && command.role != Role::Process
            && is_same(command, one)
    };
    rivals.filter(fits).min_by_key(|&at| (apart(at), at))
}

/// Whether a row's text is a pipeline's: a script's own text, or the names and values of what it
/// invoked.
fn is_same(command: &Command, one: &Spoken) -> bool {
    let text = command.text.trim();
    let said = &one.said;
    if said.text.is_empty() {
        return false;
    }
    let script = said.parts.iter().any(|part| part.trim() == text);
    // Without a script's text, the row is made of what was invoked.
    let invoked = || {
        let names: Vec<&str> = said.parts.iter().map(String::as_str).collect();
        command.completeness.lacks_script_text()
            && Words::of(text).agree(&names, values(&said.text), chrono::TimeDelta::zero())
    };
    script || said.text.trim() == text || invoked()
}

fn take(row: &mut Row, one: &Spoken) {
    let command = &mut row.command;
    // Parts of a script block that no record holds, the traffic has.
    let is_better = !command.completeness.is_whole() && one.said.completeness.is_whole();
    if is_better {
        command.text.clone_from(&one.said.text);
        command.hidden = Arc::new(find_layers(&command.text, &UnwrapLimits::default()));
        command.completeness = Completeness::Whole;
    }
    let at = if is_better { 0 } else { 1 };
    command.events.splice(at..at, one.events.iter().copied());
    if command.pipeline_id.is_empty() {
        command.pipeline_id.clone_from(&one.said.heard.id);
    }
    command.heard = Some(Box::new(one.said.heard.clone()));
}

fn new_row(place: &Place<'_>, one: &Spoken) -> Row {
    let said = &one.said;
    let text = if said.text.is_empty() { "(a command whose text is lost)" } else { &said.text };
    let is_engine = match &said.parts[..] {
        [] => said.asks_metadata,
        parts => {
            let name = |part: &String| engine::script(part) || part == "Out-Default";
            parts.iter().all(name) && said.text.lines().count() == 1
        }
    };
    let first = one.events.iter().copied().min().unwrap_or_default();
    let command = Command {
        time: said.time,
        session: place.session,
        events: one.events.clone(),
        link: Link::Pool,
        role: if is_engine { Role::Engine } else { Role::Typed },
        parent: None,
        runspace_id: None,
        pipeline_id: said.heard.id.clone(),
        text: text.to_owned(),
        hidden: Arc::new(find_layers(text, &UnwrapLimits::default())),
        invocations: Vec::new(),
        completeness: said.completeness.clone(),
        heard: Some(Box::new(said.heard.clone())),
        depth: place.depth,
    };
    Row { command, parent: None, first, words: Words::of(text) }
}
