//! The journal of a case folder: a line of JSON for each thing that was done, added when it is done.
//!
//! A process that is killed leaves at most one line that is not whole, which nobody reads. What no
//! line names does not count, so that a file of observations is in the case as a whole or not at all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::SCHEMA;
use crate::decode::Form;
use crate::detect::EventFilter;
use crate::error::Fault;
use crate::hex::{hex, unhex};
use crate::input::{Extent, FileState, InputKind};
use crate::model::Edge;
use crate::reconstruct::LogExtent;

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// Which version wrote what follows.
    Case { schema: u32, version: String },
    /// What rules asked for when the files of the lines below were extracted.
    EventFilter(EventFilter),
    /// These files are to be extracted: those that no other line names were not.
    Begun(Vec<PathText>),
    /// A file was extracted. One that was before counts no more.
    File(Box<FileEntry>),
}

impl Line {
    /// The first line.
    pub fn head() -> Line {
        Line::Case { schema: SCHEMA, version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// A path in JSON: as text, or its bytes in hex where it is none.
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
            PathText::Bytes { hex } => from_bytes(&unhex(hex)),
        }
    }
}

#[cfg(unix)]
fn from_bytes(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// Where names are made of something else than bytes, one that is no text is only shown.
#[cfg(not(unix))]
fn from_bytes(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

/// How a file was read: another way, and other observations may come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The version of the program.
    pub version: String,
    /// Records outside of logs were looked for, too.
    pub recover: bool,
    /// The limits, by name.
    pub limits: BTreeMap<String, u64>,
}

/// A file that was given, and what was found in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileEntry {
    /// The file, as given or found below what was given.
    pub path: PathText,
    /// How it was read.
    pub settings: Settings,
    /// What it is itself, then of an archive its members in order, and what was recovered last.
    pub inputs: Vec<Observed>,
}

impl FileEntry {
    /// The file's state when it was read.
    pub fn state(&self) -> Option<&FileState> {
        self.inputs.first()?.state.as_ref()
    }

    /// Whether another entry has the same observations.
    pub fn has_tables_of(&self, other: &FileEntry) -> bool {
        let sums = |entry: &FileEntry| -> Vec<(String, String)> {
            entry.tables().map(|table| (table.name.clone(), table.sha256.clone())).collect()
        };
        self.settings == other.settings
            && self.state() == other.state()
            && sums(self) == sums(other)
    }

    /// The files of all its observations.
    pub fn tables(&self) -> impl Iterator<Item = &TableEntry> {
        self.inputs.iter().flat_map(|input| &input.tables)
    }
}

/// An input that was extracted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Observed {
    /// What it is called in outputs.
    pub path: PathText,
    /// Its size in bytes.
    pub size: u64,
    /// What it is.
    pub kind: InputKind,
    /// Its state when it was read; none of an archive's member.
    pub state: Option<FileState>,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: Option<String>,
    /// How much of it was read.
    pub extent: Extent,
    /// Chunks in the file.
    pub chunks: u64,
    /// Records read, observed or not.
    pub records: u64,
    /// Records that are longer than the limit.
    pub too_long: u64,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// What its headers say.
    pub form: Form,
    /// The first record of each chunk of which that may be asked.
    pub firsts: BTreeMap<u64, Edge>,
    /// How far its logs reach: of each piece that was read.
    pub reach: Vec<LogExtent>,
    /// Its observations.
    pub tables: Vec<TableEntry>,
}

/// A file of observations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableEntry {
    /// Its name below the case folder.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// The lowest offset of a record in it.
    pub first: u64,
    /// The highest one.
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
