//! `scripts/`: the texts of script blocks, a file each, and an index of the blocks.
//!
//! There is a file of every block of a session, and of those blocks outside sessions that were kept
//! (`rows/scripts.rs`).
//!
//! Files are named by session and number: nothing of a log is in a name.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::csv::CsvLines;
use super::names::SCRIPTS;
use super::output::Output;
use crate::analysis::Analysis;
use crate::error::Error;
use crate::hex::hex;
use crate::model::{AccountName, ScriptBlock, SessionIdx, session_id};
use crate::rows::value::row;
use crate::rows::{Pointers, Row, ScriptArchive, ScriptHash, ScriptRow};
use crate::table::Column;

/// A line of the index.
struct IndexRow<'r> {
    /// The file that has the text.
    file: Option<&'r str>,
    session: Option<SessionIdx>,
    script: &'r ScriptRow,
    paths: &'r [PathBuf],
}

row! { IndexRow<'_> as row:
    "file": Text = row.file => "the file in this folder that holds its text; blocks of one text share a file; empty where there were too many",
    "session_id": Text = row.session.map(session_id) => "its session (sessions.csv); empty outside sessions",
    "time": Time = row.script.time => "when the first of its records was logged: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "host": Text = &*row.script.host => "the host that logged it",
    "user": Text = &*row.script.user => "the session's account; else the account or SID that the record has",
    "script_block_id": Text = &*row.script.id => "ScriptBlockId",
    "sha256": Text = hex(&row.script.hash) => "SHA-256 of the text, as the file has it: UTF-8, line ends as logged",
    "bytes": Integer = row.script.size => "its size",
    "completeness": Text = &*row.script.completeness => "whole, or which parts of how many are missing; the text says so in their place",
    "path": Text = &*row.script.path => "the script's path as logged; empty for what was typed or sent",
    "why": Texts = row.script.why.iter().map(String::as_str).collect::<Vec<_>>() => "why it is here: session; rule (one fired on it); layers (it hides something); parts (put together from several records, or some are missing)",
    "evidence": Texts = Pointers::new(row.paths, &row.script.evidence[..]) => "its records by part: FILE:EVENT_RECORD_ID@OFFSET",
}

/// The index's name.
pub const INDEX: &str = "scripts/index.csv";
/// Its columns.
pub const INDEX_COLUMNS: &[Column] = IndexRow::COLUMNS;

/// Most files of sessions' texts.
const MOST_OF_SESSIONS: usize = 1 << 16;
/// Most files of texts outside sessions.
const MOST_OUTSIDE: usize = 10_000;

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
    names: BTreeMap<ScriptHash, Option<String>>,
    written: Written,
}

impl Files<'_> {
    fn put(&mut self, name: &str, text: &str) -> Result<(), Error> {
        self.output.put(&format!("{SCRIPTS}/{name}"), text.as_bytes())?;
        self.written.files += 1;
        self.written.bytes += text.len() as u64;
        Ok(())
    }

    /// Appends a line of the index.
    fn line(
        &mut self,
        to: &mut CsvLines,
        paths: &[PathBuf],
        session: Option<SessionIdx>,
        row: &ScriptRow,
    ) {
        let file = self.names.get(&row.hash).and_then(Option::as_deref);
        self.written.blocks += 1;
        self.written.left_out += usize::from(file.is_none());
        to.row(&IndexRow { file, session, script: row, paths });
    }
}

/// Writes the folder.
///
/// # Errors
/// [`Error::Write`] when a file cannot be written.
pub(super) fn write(
    analysis: &Analysis,
    archive: &ScriptArchive,
    output: &mut Output,
) -> Result<Written, Error> {
    let mut index = output.create(INDEX)?;
    let path = output.path(INDEX);
    let mut files = Files { output, names: BTreeMap::new(), written: Written::default() };
    let mut lines = CsvLines::default();
    lines.head(INDEX_COLUMNS);
    of_sessions(analysis, &mut files, &mut lines)?;
    lines.write_to(&mut index).map_err(Error::write(&path))?;
    outside(analysis, archive, &mut files, &mut index, &path)?;
    index.flush().map_err(Error::write(&path))?;
    Ok(files.written)
}

/// Blocks of sessions, by session and time.
fn of_sessions(
    analysis: &Analysis,
    files: &mut Files<'_>,
    lines: &mut CsvLines,
) -> Result<(), Error> {
    let case = &analysis.reconstruction;
    let mut blocks: Vec<(SessionIdx, &ScriptBlock)> =
        case.scripts.iter().filter_map(|block| Some((block.session?, block))).collect();
    blocks.retain(|(session, _)| analysis.scope.session(&case.sessions[*session]));
    blocks.sort_by_key(|&(session, _)| session);
    for of_session in blocks.chunk_by(|(a, _), (b, _)| a == b) {
        for (number, &(session, block)) in (1..).zip(of_session) {
            let user = case.sessions[session].user.as_ref().map(AccountName::to_string);
            let why = vec!["session".to_owned()];
            let row = ScriptRow::new(&case.events, block, user.unwrap_or_default(), why);
            let hash = row.hash;
            if !files.names.contains_key(&hash) {
                let room = files.written.files < MOST_OF_SESSIONS;
                let name = room.then(|| format!("{}-{number:03}.txt", session_id(session)));
                if let Some(name) = &name {
                    files.put(name, &block.text)?;
                }
                files.names.insert(hash, name);
            }
            files.line(lines, &analysis.paths, Some(session), &row);
        }
    }
    Ok(())
}

/// Blocks outside sessions, by time.
fn outside(
    analysis: &Analysis,
    archive: &ScriptArchive,
    files: &mut Files<'_>,
    index: &mut impl Write,
    path: &std::path::Path,
) -> Result<(), Error> {
    let (mut lines, mut number) = (CsvLines::default(), 0);
    let Analysis { copies, reconstruction: case, scope, paths, .. } = analysis;
    let rows = archive.each(copies, case, |row| {
        if !scope.row(None, &row.host, &row.user) {
            return Ok(());
        }
        files.names.entry(row.hash).or_insert_with(|| {
            number += 1;
            (number <= MOST_OUTSIDE).then(|| format!("outside-{number:05}.txt"))
        });
        files.line(&mut lines, paths, None, row);
        lines.write_to(index)
    });
    rows.map_err(Error::write(path))?;
    let mut latest = None;
    for row in archive.texts.rows().map_err(Error::write(path))? {
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
