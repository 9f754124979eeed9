//! The rows of what the texts of the logs hide, layer by layer, as they are kept.
//!
//! Rows of what one record holds are made when it is read, and left out again where a session turns
//! out to have the text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::copies::Copies;
use super::detections::SessionRef;
use super::outside::OutsideSessions;
use super::pointers::pointer;
use super::value::Excerpt;
use crate::model::{Proof, RecordRef, SessionIdx, TextKind, Wrapped};
use crate::reconstruct::Reconstruction;
use crate::sorted::{SortBuffer, SortedRows, push_place, push_time};
use crate::table::MOST_IN_CELL;
use ps_layers::UnwrapLimit;

/// A layer of a text, or where unwrapping ended.
#[derive(Serialize, Deserialize)]
pub(crate) struct LayerRow<'a> {
    session: SessionRef,
    /// When the first record of the text was logged, UTC.
    pub time: DateTime<Utc>,
    /// The host that logged it.
    pub host: &'a str,
    /// The account that ran it, as logged.
    pub user: &'a str,
    /// The command that it is the text of; empty where it is none's.
    pub command: &'a str,
    /// What the text is.
    pub kind: TextKind,
    /// The process's image.
    pub image: &'a str,
    /// How many layers deep it lies; 1 in the text itself.
    pub depth: usize,
    /// How it was hidden.
    pub how: &'a str,
    /// How the layer it was in was hidden.
    pub parent: &'a str,
    #[serde(borrow)]
    text: Cow<'a, str>,
    /// Whether a cell shows the head of the text only.
    shows_head: bool,
    what: What,
    /// The records of the text.
    #[serde(borrow)]
    pub evidence: Cow<'a, [Proof]>,
}

/// What a row is of.
#[derive(Serialize, Deserialize)]
enum What {
    /// A text.
    Layer,
    /// A program.
    Program,
    /// A limit that left something wrapped.
    Left(UnwrapLimit),
}

/// Bytes of a text's layers that are kept whole. A short text can be made to hide 64 long ones, and a
/// log to hold a million such texts.
const WHOLE: usize = 2 << 20;
/// Bytes of a text's layers that full cells show: eight of the longest.
const SHOWN: usize = 8 * MOST_IN_CELL;
/// Characters that are shown of each further layer.
const HEAD: usize = 1000;
/// What follows the head of a text.
const MORE: &str = "… (cut: one of many long layers)";

/// The room that is left for a text's layers, in bytes.
struct Room {
    whole: usize,
    shown: usize,
}

impl Room {
    const FULL: Room = Room { whole: WHOLE, shown: SHOWN };

    /// What is kept of the next layer, and whether cells show the head of that only.
    fn next<'t>(&mut self, text: &'t str) -> (Cow<'t, str>, bool) {
        let takes = |room: &mut usize, size: usize| match room.checked_sub(size) {
            Some(rest) => {
                *room = rest;
                true
            }
            None => false,
        };
        let is_whole = takes(&mut self.whole, text.len());
        let is_shown = takes(&mut self.shown, text.len().min(MOST_IN_CELL));
        match (is_whole, is_shown) {
            (true, _) => (Cow::Borrowed(text), !is_shown),
            (false, true) => (head(text, MOST_IN_CELL), false),
            (false, false) => (head(text, HEAD), false),
        }
    }
}

/// The first characters of a text, with a note where it is longer.
fn head(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}{MORE}", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

impl LayerRow<'_> {
    /// The layer's text; of a program what it is and its size, of a limit which.
    pub fn text(&self) -> Excerpt<'_> {
        let text = &*self.text;
        let shown = if self.shows_head { head(text, HEAD) } else { Cow::Borrowed(text) };
        Excerpt { whole: Cow::Borrowed(text), shown }
    }
}

/// Adds the rows of a text: of all that it hides and of a limit that was met.
///
/// # Errors
/// When a row has no serial form.
pub(crate) fn add(
    rows: &mut SortBuffer,
    wrapped: &Wrapped,
    session: SessionRef,
    command: &str,
) -> io::Result<()> {
    let mut number = 0_u32;
    let mut add = |depth: usize, how: &str, parent: &str, text: Cow<'_, str>, shows_head, what| {
        let row = LayerRow {
            session,
            time: wrapped.time,
            host: &wrapped.host,
            user: &wrapped.user,
            command,
            kind: wrapped.kind,
            image: &wrapped.image,
            depth,
            how,
            parent,
            text,
            shows_head,
            what,
            evidence: Cow::Borrowed(&wrapped.evidence),
        };
        number += 1;
        rows.push(|key| order(key, wrapped, number), &row)
    };
    let mut room = Room::FULL;
    for found in wrapped.found() {
        let (text, shows_head) = room.next(&found.text);
        let what = if found.how == PROGRAM { What::Program } else { What::Layer };
        add(found.depth, found.how, found.parent, text, shows_head, what)?;
    }
    if let Some(stopped) = wrapped.hidden.stopped {
        let depth = wrapped.hidden.depth(stopped.layer) + 1;
        let layers = &wrapped.hidden.layers;
        let parent = stopped.layer.map_or("text", |layer| layers[layer].how.as_str());
        let limit = stopped.limit;
        let text = Cow::Borrowed(limit.as_str());
        add(depth, "limit", parent, text, false, What::Left(limit))?;
    }
    Ok(())
}

/// The word for a program in the column `how`.
const PROGRAM: &str = "program";

/// The order of rows: time, host, the text's records, then as they were found. It is total.
fn order(key: &mut Vec<u8>, wrapped: &Wrapped, number: u32) {
    push_time(key, wrapped.time);
    key.extend(wrapped.host.bytes());
    key.push(0);
    key.push(wrapped.kind as u8);
    wrapped.evidence.iter().for_each(|proof| push_place(key, proof.source));
    // What the records of several rows have in common must not mix their numbers.
    key.extend([u8::MAX; 12]);
    key.extend((wrapped.command.map_or(0, |command| command.index() as u64 + 1)).to_be_bytes());
    key.extend(number.to_be_bytes());
}

/// Calls `each` with every row that counts and the session it is in, in the order of rows.
///
/// # Errors
/// When the rows cannot be read back, and what `each` returns.
pub(crate) fn each(
    layers: &SortedRows,
    copies: &Copies,
    case: &Reconstruction,
    mut each: impl FnMut(&LayerRow<'_>, Option<SessionIdx>) -> io::Result<()>,
) -> io::Result<()> {
    let outside = OutsideSessions::new(case);
    let sessions: BTreeMap<RecordRef, SessionIdx> = case.sessions_of_records();
    for frame in layers.rows()? {
        let frame = frame?;
        let row: LayerRow<'_> = postcard::from_bytes(frame.content()).map_err(io::Error::other)?;
        let is_script = row.kind == TextKind::ScriptBlock;
        let session = match row.session {
            SessionRef::Record(source) if copies.contains(source) => continue,
            SessionRef::Record(source) if is_script && !outside.is_script(source) => continue,
            SessionRef::Record(source) if !is_script && !outside.is_line(source) => continue,
            SessionRef::Record(source) => sessions.get(&source).copied(),
            SessionRef::Session(session) => session,
        };
        each(&row, session)?;
    }
    Ok(())
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
    pub limit: UnwrapLimit,
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
pub(crate) fn notes(
    found: &SortedRows,
    copies: &Copies,
    case: &Reconstruction,
    paths: &[PathBuf],
) -> io::Result<Notes> {
    let mut notes = Notes::default();
    each(found, copies, case, |row, _| {
        let first = || row.evidence.first().map(|proof| pointer(paths, proof));
        let evidence = || first().unwrap_or_default();
        let depth = row.depth;
        match row.what {
            What::Layer => {}
            What::Program => {
                notes.programs += 1;
                if notes.programs_first.len() < MOST_NAMED {
                    let what = row.text.to_string();
                    notes.programs_first.push(Program { evidence: evidence(), what, depth });
                }
            }
            What::Left(limit) => {
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
    fn cells_show_less_of_many_long_layers() {
        let long = "x".repeat(2 * MOST_IN_CELL);
        let mut room = Room::FULL;
        for _ in 0..8 {
            assert_eq!(room.next(&long), (Cow::Borrowed(&*long), false), "only the writer cuts it");
        }
        assert_eq!(room.next(&long), (Cow::Borrowed(&*long), true));
        assert_eq!(head(&long, HEAD), format!("{}{MORE}", "x".repeat(HEAD)));
        assert_eq!(head("whoami", HEAD), "whoami");
    }

    #[test]
    fn rows_keep_less_of_very_long_layers() {
        let long = "x".repeat(WHOLE);
        let mut room = Room::FULL;
        assert_eq!(room.next(&long).0, long);
        assert_eq!(room.next("whoami"), (Cow::Borrowed("whoami"), false));
        assert_eq!(room.next(&long).0, format!("{}{MORE}", "x".repeat(MOST_IN_CELL)));
        (0..8).for_each(|_| drop(room.next(&long)));
        assert_eq!(room.next(&long).0, format!("{}{MORE}", "x".repeat(HEAD)));
    }
}
