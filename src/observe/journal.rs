//! The journal of a case folder: one line of JSON for each step, added when the step is done.
//!
//! A process that is killed leaves at most one incomplete line, which is ignored. A file counts
//! only if a line names it, so a file of observations is in the case as a whole or not at all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::SCHEMA;
use crate::decode::EvtxHeaders;
use crate::detect::EventFilter;
use crate::error::Fault;
use crate::hex::{hex, unhex};
use crate::input::{FileState, InputKind, ReadExtent};
use crate::model::Edge;
use crate::reconstruct::LogExtent;

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum JournalLine {
    /// The version that wrote the following lines.
    Case { schema: u32, version: String },
    /// The event filter of the rules when the files of the following lines were extracted.
    #[serde(rename = "asks")]
    EventFilter(EventFilter),
    /// Files that are about to be extracted. Those that no other line names were not finished.
    Begun(Vec<PathText>),
    /// A file that was extracted. It replaces earlier lines for the same file.
    File(Box<FileEntry>),
}

impl JournalLine {
    /// Returns the first line.
    pub fn first() -> JournalLine {
        JournalLine::Case { schema: SCHEMA, version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// A path in JSON: as text, or its bytes in hex if it is not text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PathText {
    /// A path that is text.
    Text(String),
    /// One that is not.
    Bytes {
        /// In lower-case hex.
        hex: String,
    },
}

impl From<&std::path::Path> for PathText {
    fn from(path: &std::path::Path) -> PathText {
        match path.to_str() {
            Some(text) => PathText::Text(text.to_owned()),
            None => PathText::Bytes { hex: hex(path.as_os_str().as_encoded_bytes()) },
        }
    }
}

impl From<&PathText> for PathBuf {
    fn from(path: &PathText) -> PathBuf {
        match path {
            PathText::Text(text) => PathBuf::from(text),
            PathText::Bytes { hex } => path_from_bytes(&unhex(hex)),
        }
    }
}

#[cfg(unix)]
fn path_from_bytes(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// On systems whose names are not bytes, a path that is not text is only for display.
#[cfg(not(unix))]
fn path_from_bytes(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

/// The settings with which a file was read. Other settings may give other observations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractSettings {
    /// The version of the program.
    pub version: String,
    /// Whether records outside of logs were searched for, too.
    pub recover: bool,
    /// The limits, by name.
    pub limits: BTreeMap<String, u64>,
}

/// A file that was given, and the inputs found in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileEntry {
    /// The file's path, as given or found.
    pub path: PathText,
    /// The settings with which it was read.
    pub settings: ExtractSettings,
    /// The file itself, then the members of an archive in order, and recovered records last.
    pub inputs: Vec<ExtractedInput>,
}

impl FileEntry {
    /// Returns the file's state when it was read.
    pub fn state(&self) -> Option<&FileState> {
        self.inputs.first()?.state.as_ref()
    }

    /// Returns whether another entry has the same observations.
    pub fn has_same_tables(&self, other: &FileEntry) -> bool {
        let sums = |entry: &FileEntry| -> Vec<(String, String)> {
            entry.tables().map(|table| (table.name.clone(), table.sha256.clone())).collect()
        };
        self.settings == other.settings
            && self.state() == other.state()
            && sums(self) == sums(other)
    }

    /// Returns the files of all its observations.
    pub fn tables(&self) -> impl Iterator<Item = &TableEntry> {
        self.inputs.iter().flat_map(|input| &input.tables)
    }
}

/// An input that was extracted.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExtractedInput {
    /// Its name in outputs.
    pub path: PathText,
    /// Its size in bytes.
    pub size: u64,
    /// The kind of file.
    pub kind: InputKind,
    /// Its state when it was read. `None` for an archive's member.
    pub state: Option<FileState>,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: Option<String>,
    /// How much of it was read.
    pub extent: ReadExtent,
    /// Chunks in the file.
    pub chunks: u64,
    /// Records read, whether kept or not.
    pub records: u64,
    /// Records that are longer than the limit.
    pub too_long: u64,
    /// Its faults.
    pub faults: Vec<Fault>,
    /// Its headers.
    #[serde(rename = "form")]
    pub headers: EvtxHeaders,
    /// The first record of each chunk that a later run may ask for.
    pub firsts: BTreeMap<u64, Edge>,
    /// How far its logs reach, for each piece that was read.
    pub reach: Vec<LogExtent>,
    /// Its observations.
    pub tables: Vec<TableEntry>,
}

/// A file of observations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableEntry {
    /// Its path below the case folder.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// The lowest offset of a record in it.
    pub first: u64,
    /// The highest offset of a record in it.
    pub last: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn paths_come_back_as_they_were() {
        for path in ["logs/a.evtx", "", "logs/\u{202e}\"\\\n"] {
            let text = PathText::from(Path::new(path));
            let line = serde_json::to_string(&text).unwrap();
            assert_eq!(
                PathBuf::from(&serde_json::from_str::<PathText>(&line).unwrap()),
                Path::new(path)
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn so_do_those_that_are_no_text() {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"logs/\xff\x00\x7f.evtx"));
        let line = serde_json::to_string(&PathText::from(path)).unwrap();
        assert_eq!(PathBuf::from(&serde_json::from_str::<PathText>(&line).unwrap()), path);
    }
}
