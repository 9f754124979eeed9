//! `scripts/`: the texts of script blocks, a file each, and an index of the blocks.
//!
//! A busy host logs a hundred thousand blocks that nobody will read. So there is a file of every
//! block of a session; and outside sessions of those that a rule fired on, that hide something, or
//! that were put together from several records. What of these is one record's is kept when the
//! record is read; whether a session has it is known later.
//!
//! Files are named by session and number: nothing of a log is in a name.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cell::push;
use super::detections::Of;
use super::output::Output;
use super::{Column, columns, evidence};
use crate::analysis::{Alone, Analysis, Copies};
use crate::detect::session_id;
use crate::error::Error;
use crate::input::hex;
use crate::model::{
    Account, Event, EventIdx, IdxVec, LoggedId, Proof, ScriptBlock, SessionIdx, csv_time,
};
use crate::sorted::{Rows, Sorted, Sorter, place, time};

columns! { COLUMNS:
    "file" => "the file in this folder that holds its text; blocks of one text share a file; empty where there were too many",
    "session_id" => "its session (sessions.csv); empty outside sessions",
    "time" => "when the first of its records was logged: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "host" => "the host that logged it",
    "user" => "the session's account; else the account or SID that the record has",
    "script_block_id" => "ScriptBlockId",
    "sha256" => "SHA-256 of the text, as the file has it: UTF-8, line ends as logged",
    "bytes" => "its size",
    "completeness" => "whole, or which parts of how many are missing; the text says so in their place",
    "path" => "the script's path as logged; empty for what was typed or sent",
    "why" => "why it is here: session; rule (one fired on it); layers (it hides something); parts (put together from several records, or some are missing)",
    "evidence" => "its records by part: FILE:EVENT_RECORD_ID@OFFSET",
}

/// The folder.
pub(super) const FOLDER: &str = "scripts";
/// The index's name.
pub const INDEX: &str = "scripts/index.csv";
/// Its columns.
pub const INDEX_COLUMNS: &[Column] = COLUMNS;

/// Most files of sessions' texts.
const MOST_OF_SESSIONS: usize = 1 << 16;
/// Most files of texts outside sessions.
const MOST_OUTSIDE: usize = 10_000;
/// Missing parts that a cell names.
const MOST_RANGES: usize = 10;
/// Texts that a task remembers to have kept.
const MOST_KNOWN: usize = 1 << 16;

/// A text's SHA-256.
type Hash = [u8; 32];

/// Whether a name in the folder is one that this program gives.
pub(super) fn is_own(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(stem) = name.strip_suffix(".txt") else { return name == "index.csv" };
    match stem.split_once('-') {
        Some(("outside", number)) => digits(number),
        Some((session, number)) => session.strip_prefix('S').is_some_and(digits) && digits(number),
        None => false,
    }
}

/// Why a block outside sessions is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Why {
    /// A rule fired on it.
    pub rule: bool,
    /// It hides something.
    pub layers: bool,
    /// It has several records.
    pub parts: bool,
}

impl Why {
    pub fn any(self) -> bool {
        self.rule || self.layers || self.parts
    }

    fn words(self) -> String {
        let words = [(self.rule, "rule"), (self.layers, "layers"), (self.parts, "parts")];
        let words = words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word);
        words.collect::<Vec<_>>().join("; ")
    }
}

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    session: Of,
    hash: Hash,
    /// What the cells hold from the time on.
    after: &'a str,
}

/// Takes blocks outside sessions from all tasks.
pub(crate) struct Keeper {
    rows: Sorter,
    texts: Sorter,
}

/// The blocks kept: rows of the index in order, and each text.
pub(crate) struct Kept {
    rows: Sorted,
    texts: Sorted,
}

/// What one task keeps.
#[derive(Default)]
pub(crate) struct Task {
    rows: Rows,
    texts: Rows,
    known: HashSet<Hash>,
}

impl Keeper {
    /// A keeper that puts what memory shall not hold into nameless files in `folder`.
    pub fn new(folder: PathBuf) -> Keeper {
        Keeper { rows: Sorter::new(folder.clone()), texts: Sorter::new(folder) }
    }

    /// Takes a task's blocks out of its hands.
    ///
    /// # Errors
    /// When the folder takes no more.
    pub fn add(&self, task: &mut Task) -> io::Result<()> {
        self.rows.add(&mut task.rows)?;
        self.texts.add(&mut task.texts)
    }

    /// All blocks.
    pub fn finish(self) -> Kept {
        Kept { rows: self.rows.finish(), texts: self.texts.finish() }
    }
}

impl Task {
    /// Keeps a block whose parts are these events.
    ///
    /// # Errors
    /// When a row has no serial form.
    pub fn keep(
        &mut self,
        events: &IdxVec<EventIdx, Event>,
        block: &ScriptBlock,
        session: Of,
        why: Why,
        paths: &[PathBuf],
    ) -> io::Result<()> {
        let hash = hash(&block.text);
        let user = events[block.events[0]].user();
        let after = cells(events, block, &hash, &user, &why.words(), paths);
        let key = |key: &mut Vec<u8>| {
            time(key, first(events, block).time);
            key.extend(block.host.bytes());
            key.push(0);
            block.events.iter().for_each(|&event| place(key, events[event].source));
        };
        self.rows.push(key, &Row { session, hash, after: &after })?;
        if !self.known.contains(&hash) {
            if self.known.len() < MOST_KNOWN {
                self.known.insert(hash);
            }
            // Another task may keep the same text: of equal keys, either will do.
            self.texts.push(|key| key.extend(hash), &block.text)?;
        }
        Ok(())
    }
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

/// The event of a block that was logged first.
fn first<'e>(events: &'e IdxVec<EventIdx, Event>, block: &ScriptBlock) -> &'e Event {
    let events = block.events.iter().map(|&event| &events[event]);
    events.min_by_key(|event| (event.time, event.source)).expect("a block has a part")
}

/// The cells of a block from its time on.
fn cells(
    events: &IdxVec<EventIdx, Event>,
    block: &ScriptBlock,
    hash: &Hash,
    user: &str,
    why: &str,
    paths: &[PathBuf],
) -> String {
    let proofs: Vec<Proof> = block.events.iter().map(|&event| Proof::of(&events[event])).collect();
    let (time, size) = (csv_time(first(events, block).time), block.text.len().to_string());
    let (hash, evidence) = (hex(hash), evidence::cell(paths, &proofs));
    let completeness = completeness(block);
    let id = LoggedId::text(block.id.as_ref());
    let id = id.as_str();
    let cells =
        [&*time, &*block.host, user, id, &hash, &size, &completeness, &block.path, why, &evidence];
    let mut line = String::new();
    for cell in cells {
        line.push(',');
        push(&mut line, cell);
    }
    line
}

fn completeness(block: &ScriptBlock) -> String {
    if block.missing.is_empty() {
        return "whole".to_owned();
    }
    let ranges = block.missing.iter().take(MOST_RANGES).map(|&(from, to)| match from == to {
        true => from.to_string(),
        false => format!("{from}-{to}"),
    });
    let mut text = format!("missing of {}: {}", block.total, ranges.collect::<Vec<_>>().join("; "));
    if block.missing.len() > MOST_RANGES {
        let _ = write!(text, "; and {} more", block.missing.len() - MOST_RANGES);
    }
    text
}

/// What `run.json` says of the folder.
#[derive(Debug, Default, Serialize)]
pub(super) struct Written {
    /// Blocks in the index.
    blocks: usize,
    /// Files of texts.
    files: usize,
    /// Their size in all.
    bytes: u64,
    /// Blocks in the index whose text has no file, as there were too many.
    left_out: usize,
}

/// The files that texts have; none for those that were too many.
struct Files<'o> {
    output: &'o mut Output,
    names: BTreeMap<Hash, Option<String>>,
    written: Written,
}

impl Files<'_> {
    fn put(&mut self, name: &str, text: &str) -> Result<(), Error> {
        self.output.put(&format!("{FOLDER}/{name}"), text.as_bytes())?;
        self.written.files += 1;
        self.written.bytes += text.len() as u64;
        Ok(())
    }

    /// Appends a line of the index.
    fn line(&mut self, to: &mut String, hash: &Hash, session: Option<SessionIdx>, after: &str) {
        let name = self.names.get(hash).cloned().flatten();
        self.written.blocks += 1;
        self.written.left_out += usize::from(name.is_none());
        to.push_str(name.as_deref().unwrap_or_default());
        to.push(',');
        if let Some(session) = session {
            to.push_str(&session_id(session));
        }
        to.push_str(after);
        to.push('\n');
    }
}

/// Writes the folder.
///
/// # Errors
/// [`Error::Write`] when a file cannot be written.
pub(super) fn write(
    analysis: &Analysis,
    kept: &Kept,
    output: &mut Output,
) -> Result<Written, Error> {
    let mut index = output.create(INDEX)?;
    let path = output.path(INDEX);
    let mut files = Files { output, names: BTreeMap::new(), written: Written::default() };
    let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    let mut lines = names.join(",");
    lines.push('\n');
    of_sessions(analysis, &mut files, &mut lines)?;
    index.write_all(lines.as_bytes()).map_err(Error::write(&path))?;
    outside(analysis, kept, &mut files, &mut index, &path)?;
    index.flush().map_err(Error::write(&path))?;
    Ok(files.written)
}

/// Blocks of sessions, by session and time.
fn of_sessions(
    analysis: &Analysis,
    files: &mut Files<'_>,
    lines: &mut String,
) -> Result<(), Error> {
    let case = &analysis.case;
    let mut blocks: Vec<(SessionIdx, &ScriptBlock)> =
        case.scripts.iter().filter_map(|block| Some((block.session?, block))).collect();
    blocks.retain(|(session, _)| analysis.scope.session(&case.sessions[*session]));
    blocks.sort_by_key(|&(session, _)| session);
    for of_session in blocks.chunk_by(|(a, _), (b, _)| a == b) {
        for (number, &(session, block)) in (1..).zip(of_session) {
            let hash = hash(&block.text);
            if !files.names.contains_key(&hash) {
                let room = files.written.files < MOST_OF_SESSIONS;
                let name = room.then(|| format!("{}-{number:03}.txt", session_id(session)));
                if let Some(name) = &name {
                    files.put(name, &block.text)?;
                }
                files.names.insert(hash, name);
            }
            let user = case.sessions[session].user.as_ref().map(Account::to_string);
            let user = user.unwrap_or_default();
            let after = cells(&case.events, block, &hash, &user, "session", &analysis.paths);
            files.line(lines, &hash, Some(session), &after);
        }
    }
    Ok(())
}

/// Blocks outside sessions, by time.
fn outside(
    analysis: &Analysis,
    kept: &Kept,
    files: &mut Files<'_>,
    index: &mut impl Write,
    path: &std::path::Path,
) -> Result<(), Error> {
    let (mut line, mut number) = (String::new(), 0);
    let rows = each(kept, analysis, |row| {
        files.names.entry(row.hash).or_insert_with(|| {
            number += 1;
            (number <= MOST_OUTSIDE).then(|| format!("outside-{number:05}.txt"))
        });
        line.clear();
        files.line(&mut line, &row.hash, None, row.after);
        index.write_all(line.as_bytes())
    });
    rows.map_err(Error::write(path))?;
    let mut latest = None;
    for row in kept.texts.rows().map_err(Error::write(path))? {
        let row = row.map_err(Error::write(path))?;
        let Some(&hash) = row.key().first_chunk::<32>() else { continue };
        let name = files.names.get(&hash).cloned().flatten();
        // A session's text has its file.
        let Some(name) = name.filter(|name| name.starts_with("outside-")) else { continue };
        if latest.replace(hash) != Some(hash) {
            let text: &str = postcard::from_bytes(row.content())
                .map_err(|error| Error::write(path)(io::Error::other(error)))?;
            files.put(&name, text)?;
        }
    }
    Ok(())
}

/// Calls `each` with every row of a block that is in no session, and no copy.
fn each(
    kept: &Kept,
    analysis: &Analysis,
    mut each: impl FnMut(&Row<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let copies: &Copies = &analysis.copies;
    let alone = Alone::of(&analysis.case);
    for row in kept.rows.rows()? {
        let row = row?;
        let row: Row<'_> = postcard::from_bytes(row.content()).map_err(io::Error::other)?;
        match row.session {
            Of::Record(source) if copies.contains(source) || !alone.is_script(source) => {}
            // Cell 0 is before the first comma.
            _ if !analysis.scope.line(None, row.after, [2, 3]) => {}
            _ => each(&row)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_told_from_others() {
        for name in ["index.csv", "S0001-001.txt", "S12345-1000.txt", "outside-00001.txt"] {
            assert!(is_own(name), "{name}");
        }
        for name in ["notes.txt", "S1.txt", "S-1.txt", "outside-.txt", "S0001-001.ps1", "Sx-1.txt"]
        {
            assert!(!is_own(name), "{name}");
        }
    }

    #[test]
    fn missing_parts_are_named_and_bounded() {
        let mut block = ScriptBlock {
            id: None,
            host: "".into(),
            text: String::new(),
            hidden: std::sync::Arc::default(),
            path: String::new(),
            parts: 2,
            total: 5,
            missing: vec![(2, 2), (4, 5)],
            session: None,
            events: vec![EventIdx::default()],
        };
        assert_eq!(completeness(&block), "missing of 5: 2; 4-5");
        block.missing = (0..12).map(|n| (2 * n, 2 * n)).collect();
        assert!(completeness(&block).ends_with("; 18; and 2 more"), "{}", completeness(&block));
        block.missing.clear();
        assert_eq!(completeness(&block), "whole");
    }
}
