//! The rows of script blocks, and those that are kept of blocks outside sessions with their texts.
//!
//! A busy host logs a hundred thousand blocks that nobody will read. So outside sessions those blocks
//! are kept that a rule fired on, that hide something, or that were put together from several records.
//! A block of one record is kept when the record is read; whether a session has it is known later.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::copies::Copies;
use super::detections::SessionRef;
use super::outside::OutsideSessions;
use crate::model::{Event, EventIdx, IdxVec, LoggedId, Proof, ScriptBlock};
use crate::reconstruct::Reconstruction;
use crate::sorted::{SortBuffer, SortedRows, Sorter, push_place, push_time};

/// Missing parts that a row names.
const MOST_RANGES: usize = 10;
/// Texts that a task remembers to have kept.
const MOST_KNOWN: usize = 1 << 16;

/// The SHA-256 of a script's text.
pub(crate) type ScriptHash = [u8; 32];

/// Why a block outside sessions is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeepReason {
    /// A rule fired on it.
    pub rule: bool,
    /// It hides something.
    pub layers: bool,
    /// It has several records.
    pub parts: bool,
}

impl KeepReason {
    pub fn any(self) -> bool {
        self.rule || self.layers || self.parts
    }

    fn words(self) -> Vec<String> {
        let words = [(self.rule, "rule"), (self.layers, "layers"), (self.parts, "parts")];
        words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word.to_owned()).collect()
    }
}

/// A script block, all but its session and the file that has its text.
#[derive(Serialize, Deserialize)]
pub(crate) struct ScriptRow {
    /// When the first of its records was logged, UTC.
    pub time: DateTime<Utc>,
    /// The host that logged it.
    pub host: String,
    /// The session's account; else the account or SID that the record has.
    pub user: String,
    /// ScriptBlockId.
    pub id: String,
    /// SHA-256 of the text.
    pub hash: ScriptHash,
    /// The text's size in bytes.
    pub size: u64,
    /// `whole`, or which parts are missing.
    pub completeness: String,
    /// The script's path as logged.
    pub path: String,
    /// Why it is here, in words.
    pub why: Vec<String>,
    /// Its records by part.
    pub evidence: Vec<Proof>,
}

impl ScriptRow {
    /// Makes the row of a block whose parts are among these events.
    pub fn new(
        events: &IdxVec<EventIdx, Event>,
        block: &ScriptBlock,
        user: String,
        why: Vec<String>,
    ) -> ScriptRow {
        ScriptRow {
            time: first(events, block).time,
            host: block.host.to_string(),
            user,
            id: LoggedId::text(block.id.as_ref()),
            hash: Sha256::digest(block.text.as_bytes()).into(),
            size: block.text.len() as u64,
            completeness: completeness(block),
            path: block.path.clone(),
            why,
            evidence: block.events.iter().map(|&event| Proof::of(&events[event])).collect(),
        }
    }
}

/// The event of a block that was logged first.
fn first<'e>(events: &'e IdxVec<EventIdx, Event>, block: &ScriptBlock) -> &'e Event {
    let events = block.events.iter().map(|&event| &events[event]);
    events.min_by_key(|event| (event.time, event.source)).expect("a block has a part")
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

/// A row as it is kept.
#[derive(Serialize, Deserialize)]
struct Stored {
    session: SessionRef,
    row: ScriptRow,
}

/// Takes blocks outside sessions from all tasks.
pub(crate) struct ScriptCollector {
    rows: Sorter,
    texts: Sorter,
}

/// The blocks that were kept, in the order of time.
pub(crate) struct ScriptArchive {
    rows: SortedRows,
    /// Their texts, by hash. A text may be there more than once.
    pub texts: SortedRows,
}

/// What one task keeps.
#[derive(Default)]
pub(crate) struct TaskScripts {
    rows: SortBuffer,
    texts: SortBuffer,
    known: HashSet<ScriptHash>,
}

impl ScriptCollector {
    /// Makes a collector that spills to unlinked files in `folder`.
    pub fn new(folder: PathBuf) -> ScriptCollector {
        ScriptCollector { rows: Sorter::new(folder.clone()), texts: Sorter::new(folder) }
    }

    /// Takes the blocks of a task.
    ///
    /// # Errors
    /// When the folder takes no more.
    pub fn add(&self, task: &mut TaskScripts) -> io::Result<()> {
        self.rows.add(&mut task.rows)?;
        self.texts.add(&mut task.texts)
    }

    /// All blocks.
    pub fn finish(self) -> ScriptArchive {
        ScriptArchive { rows: self.rows.finish(), texts: self.texts.finish() }
    }
}

impl TaskScripts {
    /// Keeps a block whose parts are these events.
    ///
    /// # Errors
    /// When a row has no serial form.
    pub fn keep(
        &mut self,
        events: &IdxVec<EventIdx, Event>,
        block: &ScriptBlock,
        session: SessionRef,
        why: KeepReason,
    ) -> io::Result<()> {
        let user = events[block.events[0]].user();
        let row = ScriptRow::new(events, block, user, why.words());
        let (at, hash) = (row.time, row.hash);
        let key = |key: &mut Vec<u8>| {
            push_time(key, at);
            key.extend(block.host.bytes());
            key.push(0);
            block.events.iter().for_each(|&event| push_place(key, events[event].source));
        };
        self.rows.push(key, &Stored { session, row })?;
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

impl ScriptArchive {
    /// Calls `each` with every row of a block that is in no session, and no copy.
    ///
    /// # Errors
    /// When the rows cannot be read back, and what `each` returns.
    pub fn each(
        &self,
        copies: &Copies,
        case: &Reconstruction,
        mut each: impl FnMut(&ScriptRow) -> io::Result<()>,
    ) -> io::Result<()> {
        let outside = OutsideSessions::new(case);
        for frame in self.rows.rows()? {
            let Stored { session, row } =
                postcard::from_bytes(frame?.content()).map_err(io::Error::other)?;
            match session {
                SessionRef::Record(source)
                    if copies.contains(source) || !outside.is_script(source) => {}
                _ => each(&row)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            events: vec![EventIdx::new(0)],
        };
        assert_eq!(completeness(&block), "missing of 5: 2; 4-5");
        block.missing = (0..12).map(|n| (2 * n, 2 * n)).collect();
        assert!(completeness(&block).ends_with("; 18; and 2 more"), "{}", completeness(&block));
        block.missing.clear();
        assert_eq!(completeness(&block), "whole");
    }
}
