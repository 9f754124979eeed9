//! Errors and faults: an [`Error`] ends the run, a [`Fault`] is a row in its report.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// An error that ends the run: what is wrong, and where. The caller knows how the library was
/// called, so the caller adds advice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An input path does not exist or matches nothing.
    #[error("{}: no such file or folder", .0.display())]
    MissingInput(PathBuf),
    /// A glob that does not parse.
    #[error("'{pattern}' is not a valid glob: {reason}")]
    BadGlob {
        /// The glob as given.
        pattern: String,
        /// The reason, in words.
        reason: String,
    },
    /// No input could be read as a log.
    #[error("no event log to read: {0}")]
    NothingToRead(String),
    /// A rule pack that cannot be read or contains no rule.
    #[error("pack {}: {reason}", path.display())]
    Pack {
        /// The pack.
        path: PathBuf,
        /// Why it cannot be used, and what helps.
        reason: String,
    },
    /// A reference to a rule that was not loaded.
    #[error("no loaded rule has the id, title or file name '{0}'")]
    UnknownRule(String),
    /// A reference to a rule that does not load.
    #[error("{file} is not loaded: {reason}")]
    RejectedRule {
        /// The rule's file in its pack.
        file: String,
        /// Why it does not load.
        reason: String,
    },
    /// A selection that excludes a rule or filter that no pack contains.
    #[error(
        "the selection of rules excludes '{0}': no loaded rule has this id, title or file name"
    )]
    UnknownExclusion(String),
    /// A selection that leaves no rule.
    #[error(
        "the selection of rules leaves none of {rules} rules (excluded {excluded}, below the level \
         {below_level}, without a tag {without_tag}, without a status {without_status})"
    )]
    NothingSelected {
        /// How many rules there are.
        rules: usize,
        /// How many the selection excludes by name.
        excluded: usize,
        /// How many of the others are below its level.
        below_level: usize,
        /// How many of the others have none of its tags.
        without_tag: usize,
        /// How many of the others have none of its statuses.
        without_status: usize,
    },
    /// A name that is not an output format.
    #[error("'{0}' is not a format")]
    UnknownFormat(String),
    /// A format that this build cannot write.
    #[error("the format '{format}' needs the feature '{feature}', which this build lacks")]
    NotBuilt {
        /// The format.
        format: &'static str,
        /// The Cargo feature that has it.
        feature: &'static str,
    },
    /// An evidence pointer that does not lead to a record.
    #[error("{0}")]
    Pointer(String),
    /// A query that cannot be answered.
    #[error("{0}")]
    Sql(String),
    /// The output folder exists already.
    #[error("{} exists already", .0.display())]
    OutputExists(PathBuf),
    /// A folder that does not hold results of this version.
    #[error("{}: {reason}", path.display())]
    NoResults {
        /// The file or folder.
        path: PathBuf,
        /// Why it cannot be used, and what helps.
        reason: String,
    },
    /// A folder of results without Parquet tables.
    #[error("{}: no Parquet tables in it", .0.display())]
    NoTables(PathBuf),
    /// A folder that is not a case folder of this version, or that is in use.
    #[error("{}: {reason}", path.display())]
    Case {
        /// The folder or its journal.
        path: PathBuf,
        /// Why it cannot be used, and what helps.
        reason: String,
    },
    /// A file or folder that cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl Error {
    /// Returns a function for `map_err` that reports that `path` could not be written.
    pub(crate) fn write<E: Into<std::io::Error>>(path: &Path) -> impl FnOnce(E) -> Error + '_ {
        move |source| Error::Write { path: path.to_owned(), source: source.into() }
    }
}

/// How much a fault costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Something was not read: a file, a chunk, a record.
    Lost,
    /// It was read in full, but its checksum or header is wrong, so it is less trustworthy.
    Suspect,
    /// The remains of a record that no log holds any more and that cannot be decoded.
    Remnant,
    /// It is not a log and was not named as one, so it was not read.
    NotALog,
}

/// Something wrong with an input, with its location. The run continued.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fault {
    /// How much it costs.
    pub kind: FaultKind,
    /// The chunk's number in its file, from 0.
    pub chunk: Option<u64>,
    /// The offset in the file, in bytes.
    pub offset: Option<u64>,
    /// The number in the record's header.
    pub record: Option<u64>,
    /// The reason, in words.
    pub reason: String,
}

impl Fault {
    /// Begins the reason of a fault that reports that a file changed while it was read.
    pub(crate) const CHANGED: &'static str = "the file changed during the run";

    /// Returns whether it makes a run partial.
    pub fn is_damage(&self) -> bool {
        matches!(self.kind, FaultKind::Lost | FaultKind::Suspect)
    }

    /// Creates a fault of a whole file.
    pub fn file(kind: FaultKind, reason: impl Into<String>) -> Fault {
        Fault { kind, chunk: None, offset: None, record: None, reason: reason.into() }
    }
}

/// Returns an error and its causes on one line, as the program prints them.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
