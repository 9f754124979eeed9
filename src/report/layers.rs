//! `layers.csv`: what the texts of the logs hide, layer by layer.
//!
//! Of what one record holds, rows are made when it is read, and left out again where a session
//! turns out to have the text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use ps_layers::Limit;
use serde::{Deserialize, Serialize};

use super::cell::{MAX_CELL, push};
use super::detections::Of;
use super::{columns, evidence};
use crate::analysis::{Alone, Analysis, Copies};
use crate::detect::session_id;
use crate::model::{RecordRef, SessionIdx, TextKind, Wrapped, csv_time};
use crate::reconstruct::Case;
use crate::sorted::{Rows, Sorted, place, time};

columns! { pub(super) COLUMNS:
    "time": Time => "when the first record of the text was logged: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "host" => "the host that logged it",
    "user" => "the account that ran it, as logged",
    "session_id" => "its session (sessions.csv)",
    "command_id" => "the command that it is the text of (commands.csv)",
    "source" => "what the text is: script_block, command, process, engine (HostApplication), service or task",
    "image" => "the process's image",
    "depth": Integer => "how many layers deep this one lies; 1 in the text itself",
    "how" => "how it was hidden: encoded_command, base64, inflated (a compressed stream), command_line, invoked (put together and handed to an interpreter), evaluated (the text above with what could be worked out in its place); program for a program; limit where unwrapping ended",
    "parent" => "how the layer it was in was hidden; text for the text itself",
    "text" => "the layer; of a program what it is and its size, of a limit which",
    "evidence" => "the records of the text: FILE:EVENT_RECORD_ID@OFFSET",
}

/// What `run.json` has to say of a row.
#[derive(Serialize, Deserialize)]
enum Remark {
    /// Nothing.
    None,
    /// A program was found.
    Program,
    /// This limit left something wrapped.
    Left(Limit),
}

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    session: Of,
    is_script: bool,
    remark: Remark,
    /// What the cells hold, up to the session's.
    before: &'a str,
    command: &'a str,
    depth: usize,
    /// From the source on.
    after: &'a str,
    text: &'a str,
    pointer: &'a str,
}

/// Bytes of a text's layers that rows show in full cells: eight of the longest. A short text can be
/// made to hide 64 long ones, and a log to hold a million such texts.
const SHOWN: usize = 8 * MAX_CELL;
/// What is shown of each further layer, in characters.
const SHOWN_AFTER: usize = 1000;

/// A layer as far as it is shown, when so many bytes more may be.
fn shown<'t>(text: &'t str, room: &mut usize) -> Cow<'t, str> {
    let size = text.len().min(MAX_CELL);
    if size <= *room {
        *room -= size;
        return Cow::Borrowed(text);
    }
    match text.char_indices().nth(SHOWN_AFTER) {
        Some((end, _)) => Cow::Owned(format!("{}… (cut: one of many long layers)", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Adds the rows of a text: of all that it hides and of a limit that was met.
///
/// # Errors
/// When a row has no serial form.
pub(crate) fn add(
    rows: &mut Rows,
    wrapped: &Wrapped,
    session: Of,
    command: &str,
    paths: &[PathBuf],
) -> io::Result<()> {
    let mut before = String::new();
    for cell in [&csv_time(wrapped.time), &*wrapped.host, &wrapped.user] {
        push(&mut before, cell);
        before.push(',');
    }
    let proofs = evidence::cell(paths, &wrapped.evidence);
    let pointer = wrapped.evidence.first().map(|proof| evidence::pointer(paths, proof));
    let pointer = pointer.unwrap_or_default();
    let mut number = 0_u32;
    let mut add = |depth: usize, how: &str, parent: &str, text: &str, remark| {
        let mut after = String::new();
        let depth_cell = depth.to_string();
        for cell in [wrapped.kind.as_str(), &wrapped.image, &depth_cell, how, parent, text, &proofs]
        {
            after.push(',');
            push(&mut after, cell);
        }
        let row = Row {
            session,
            is_script: wrapped.kind == TextKind::ScriptBlock,
            remark,
            before: &before,
            command,
            depth,
            after: &after,
            text: if how == PROGRAM { text } else { "" },
            pointer: &pointer,
        };
        number += 1;
        rows.push(|key| order(key, wrapped, number), &row)
    };
    let mut room = SHOWN;
    for found in wrapped.found() {
        let text = shown(&found.text, &mut room);
        let remark = if found.how == PROGRAM { Remark::Program } else { Remark::None };
        add(found.depth, found.how, found.parent, &text, remark)?;
    }
    if let Some(stopped) = wrapped.hidden.stopped {
        let depth = wrapped.hidden.depth(stopped.layer) + 1;
        let layers = &wrapped.hidden.layers;
        let parent = stopped.layer.map_or("text", |layer| layers[layer].how.as_str());
        let limit = stopped.limit;
        add(depth, "limit", parent, limit.as_str(), Remark::Left(limit))?;
    }
    Ok(())
}

/// The word for a program in the column `how`.
const PROGRAM: &str = "program";

/// The order of rows: time, host, the text's records, then as they were found. It is total.
fn order(key: &mut Vec<u8>, wrapped: &Wrapped, number: u32) {
    time(key, wrapped.time);
    key.extend(wrapped.host.bytes());
    key.push(0);
    key.push(wrapped.kind as u8);
    wrapped.evidence.iter().for_each(|proof| place(key, proof.source));
    // What the records of several rows have in common must not mix their numbers.
    key.extend([u8::MAX; 12]);
    key.extend((wrapped.command.map_or(0, |command| command.index() as u64 + 1)).to_be_bytes());
    key.extend(number.to_be_bytes());
}

/// Calls `each` with every row that counts and the session it is in, in the order of lines.
fn each(
    found: &Sorted,
    copies: &Copies,
    case: &Case,
    mut each: impl FnMut(&Row<'_>, Option<SessionIdx>) -> io::Result<()>,
) -> io::Result<()> {
    let alone = Alone::of(case);
    let sessions: BTreeMap<RecordRef, SessionIdx> = case.sessions_of_records();
    for row in found.rows()? {
        let row = row?;
        let row: Row<'_> = postcard::from_bytes(row.content()).map_err(io::Error::other)?;
        let session = match row.session {
            Of::Record(source) if copies.contains(source) => continue,
            Of::Record(source) if row.is_script && !alone.is_script(source) => continue,
            Of::Record(source) if !row.is_script && !alone.is_line(source) => continue,
            Of::Record(source) => sessions.get(&source).copied(),
            Of::Session(session) => session,
        };
        each(&row, session)?;
    }
    Ok(())
}

pub(super) fn write(analysis: &Analysis, to: &mut (dyn Write + Send)) -> io::Result<()> {
    let Analysis { case, copies, layers, .. } = analysis;
    let mut line = String::new();
    each(layers, copies, case, |row, session| {
        let told = session.map(|session| &case.sessions[session]);
        if !analysis.scope.line(told, row.before, [1, 2]) {
            return Ok(());
        }
        line.clear();
        line.push_str(row.before);
        if let Some(session) = session {
            line.push_str(&session_id(session));
        }
        line.push(',');
        line.push_str(row.command);
        line.push_str(row.after);
        line.push('\n');
        to.write_all(line.as_bytes())
    })
}

/// Texts that `run.json` names of each kind.
const MOST_NAMED: usize = 100;

/// What the run's ledger says of texts that hide others. None of it makes a run partial: the
/// records were read, and the limits are the same on any machine.
#[derive(Debug, Default, Serialize)]
pub struct Notes {
    /// Texts in which a limit left something wrapped.
    pub left_wrapped: u64,
    /// The first of them.
    pub left_wrapped_first: Vec<Left>,
    /// Programs found in texts.
    pub programs: u64,
    /// The first of them.
    pub programs_first: Vec<Program>,
}

/// A text in which a limit left something wrapped.
#[derive(Debug, Serialize)]
pub struct Left {
    /// The first of its records.
    pub evidence: String,
    /// The limit.
    pub limit: Limit,
    /// How many layers deep what was left lies; 1 in the text itself.
    pub depth: usize,
}

/// A program found in a text.
#[derive(Debug, Serialize)]
pub struct Program {
    /// The first record of the text.
    pub evidence: String,
    /// What it is, and its size.
    pub what: String,
    /// How many layers deep it lies; 1 in the text itself.
    pub depth: usize,
}

/// Reads the rows for what the ledger has to say of them.
///
/// # Errors
/// When the rows cannot be read back.
pub(crate) fn notes(found: &Sorted, copies: &Copies, case: &Case) -> io::Result<Notes> {
    let mut notes = Notes::default();
    each(found, copies, case, |row, _| {
        let evidence = || row.pointer.to_owned();
        let depth = row.depth;
        match row.remark {
            Remark::None => {}
            Remark::Program => {
                notes.programs += 1;
                if notes.programs_first.len() < MOST_NAMED {
                    let what = row.text.to_owned();
                    notes.programs_first.push(Program { evidence: evidence(), what, depth });
                }
            }
            Remark::Left(limit) => {
                notes.left_wrapped += 1;
                if notes.left_wrapped_first.len() < MOST_NAMED {
                    notes.left_wrapped_first.push(Left { evidence: evidence(), limit, depth });
                }
            }
        }
        Ok(())
    })?;
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_long_layers_are_cut_and_short_ones_are_not() {
        let long = "x".repeat(10 * MAX_CELL);
        let mut room = SHOWN;
        for _ in 0..8 {
            assert_eq!(shown(&long, &mut room), long, "the cell cuts it");
        }
        let cut = shown(&long, &mut room);
        assert!(cut.starts_with(&"x".repeat(SHOWN_AFTER)) && cut.len() < SHOWN_AFTER + 60, "{cut}");
        assert_eq!(shown("whoami", &mut room), "whoami");
    }
}
