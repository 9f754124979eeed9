//! `run.json`, read back.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Fault};
use crate::input::InputKind;
use crate::model::{IdxVec, InputIdx};
use crate::report::{RUN, Sum};

/// What `run.json` says of a run, as far as it can be checked.
#[derive(Debug, Deserialize)]
pub struct Ledger {
    /// The program's version.
    pub version: String,
    /// The command line's arguments.
    pub arguments: Vec<String>,
    /// The folder that paths are relative to.
    pub working_directory: Option<PathBuf>,
    /// Whether it was interrupted: nothing gives the same again.
    pub interrupted: bool,
    /// How much there is.
    pub counts: Counts,
    /// The packs.
    pub packs: Vec<PackEntry>,
    /// The inputs.
    pub inputs: IdxVec<InputIdx, InputEntry>,
    /// The outputs.
    pub outputs: Vec<Sum>,
}

/// Of the counts, those that files must have.
#[derive(Debug, Deserialize)]
pub struct Counts {
    /// Lines of the timeline.
    pub events: u64,
    /// Lines of sessions.csv.
    pub sessions: u64,
    /// Lines of attempts.csv.
    pub attempts: u64,
    /// Lines of commands.csv.
    pub commands: u64,
    /// Lines of detections.csv.
    pub detections: u64,
}

/// A pack.
#[derive(Debug, Deserialize)]
pub struct PackEntry {
    /// Its name.
    pub name: String,
    /// Where it was; none of the built-in one.
    pub path: Option<PathBuf>,
    /// Its hash.
    pub sha256: String,
}

/// An input.
#[derive(Debug, Deserialize)]
pub struct InputEntry {
    /// Its path, as outputs have it.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash; none of what was not read.
    pub sha256: Option<String>,
    /// What it was.
    pub kind: InputKind,
    /// What was said of it.
    pub faults: Vec<Fault>,
}

impl Ledger {
    /// Reads the ledger of a folder of results.
    ///
    /// # Errors
    /// [`Error::NoResults`] when there is none, or it is of another version.
    pub fn read(folder: &Path) -> Result<Ledger, Error> {
        let path = folder.join(RUN);
        let fail = |reason: String| Error::NoResults { path: path.clone(), reason };
        let text = fs::read(&path).map_err(|error| {
            fail(format!("cannot be read ({error}): name the folder of a run's results"))
        })?;
        serde_json::from_slice(&text).map_err(|error| {
            fail(format!("not the ledger of a run that this version can check ({error})"))
        })
    }

    /// Whether the run wrote this file.
    pub fn has_output(&self, file: &str) -> bool {
        self.outputs.iter().any(|output| output.file == file)
    }

    /// The indices of the inputs that are files of their own: a zip's members are not, nor what
    /// was recovered of a file.
    pub fn files(&self) -> impl Iterator<Item = InputIdx> {
        let archives = self.inputs.iter().filter(|input| input.kind == InputKind::Zip);
        let archives: BTreeSet<&str> = archives.map(|input| input.path.as_str()).collect();
        let is_member = move |input: &InputEntry| {
            let mut folders = input.path.match_indices('/').map(|(end, _)| &input.path[..end]);
            folders.any(|folder| archives.contains(folder))
        };
        let inputs = self.inputs.iter_enumerated();
        let inputs = inputs.filter(|(_, input)| input.kind != InputKind::Recovered);
        inputs.filter(move |(_, input)| !is_member(input)).map(|(index, _)| index)
    }
}
