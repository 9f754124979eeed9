//! Finding logs: in files, folders and globs. What a file is, its content says, not its name.

mod reader;

pub use reader::Reader;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::error::{Error, Fault, FaultKind};

/// An EVTX file's header block, before its first chunk.
pub const FILE_HEADER: u64 = 4096;

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// An EVTX log.
    Evtx,
    /// Chunks of an EVTX log behind a file header that is not one.
    EvtxWithoutHeader,
    /// Not a log, or not readable.
    Unknown,
}

/// A file that was given or found.
#[derive(Debug, Clone)]
pub struct Input {
    /// The file, as given or found below what was given.
    pub path: PathBuf,
    /// Its size in bytes when the run began.
    pub size: u64,
    /// What it is.
    pub kind: InputKind,
    /// Why it is not read, or what is wrong with its header.
    pub fault: Option<Fault>,
}

/// Finds all files below the given paths, each once, in the order of their names.
///
/// # Errors
/// [`Error::MissingInput`] for a path that does not exist or a glob that matches nothing,
/// [`Error::BadGlob`] for one that does not parse.
pub fn discover(paths: &[PathBuf]) -> Result<Vec<Input>, Error> {
    let mut files = BTreeSet::new();
    let mut faults = Vec::new();
    for given in paths {
        for root in expand(given)? {
            for entry in WalkDir::new(&root).follow_links(true).sort_by_file_name() {
                match entry {
                    Ok(entry) if entry.file_type().is_file() => {
                        files.insert(entry.into_path());
                    }
                    Ok(_) => {}
                    Err(error) => faults.push(unreadable(&root, &error)),
                }
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut inputs: Vec<Input> = files
        .into_iter()
        .filter(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())))
        .map(|path| inspect(&path))
        .collect();
    inputs.extend(faults);
    inputs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(inputs)
}

/// A path as it is, or what it matches when it is a glob.
fn expand(given: &Path) -> Result<Vec<PathBuf>, Error> {
    if given.exists() {
        return Ok(vec![given.to_owned()]);
    }
    let pattern = given.to_string_lossy();
    if !pattern.contains(['*', '?', '[']) {
        return Err(Error::MissingInput(given.to_owned()));
    }
    let matches = glob::glob(&pattern).map_err(|error| Error::BadGlob {
        pattern: pattern.to_string(),
        reason: error.to_string(),
    })?;
    let found: Vec<PathBuf> = matches.flatten().collect();
    if found.is_empty() { Err(Error::MissingInput(given.to_owned())) } else { Ok(found) }
}

fn unreadable(root: &Path, error: &walkdir::Error) -> Input {
    let reason = match error.loop_ancestor() {
        Some(ancestor) => format!("a link back to {}, not followed", ancestor.display()),
        None => error.to_string(),
    };
    Input {
        path: error.path().unwrap_or(root).to_owned(),
        size: 0,
        kind: InputKind::Unknown,
        fault: Some(Fault::file(FaultKind::Lost, reason)),
    }
}

/// Tells what a file is from its first bytes.
fn inspect(path: &Path) -> Input {
    let (size, kind, fault) = match sniff(path) {
        Err(error) => {
            (0, InputKind::Unknown, Some(Fault::file(FaultKind::Lost, error.to_string())))
        }
        Ok((size, InputKind::Unknown)) => {
            // A file named as a log that is none is a loss the user must hear of.
            let named_evtx = path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("evtx"));
            let (kind, reason) = match (named_evtx, size) {
                (true, 0) => (FaultKind::Lost, "named .evtx but empty"),
                (true, _) => (FaultKind::Lost, "named .evtx but not an event log"),
                (false, _) => (FaultKind::NotALog, "not an event log"),
            };
            (size, InputKind::Unknown, Some(Fault::file(kind, reason)))
        }
        Ok((size, InputKind::EvtxWithoutHeader)) => {
            let reason = "the file header is damaged; its chunks are read all the same";
            let fault = Fault { offset: Some(0), ..Fault::file(FaultKind::Suspect, reason) };
            (size, InputKind::EvtxWithoutHeader, Some(fault))
        }
        Ok((size, InputKind::Evtx)) => {
            let reason = "the file ends inside its own header";
            let fault = (size < FILE_HEADER).then(|| Fault::file(FaultKind::Lost, reason));
            (size, InputKind::Evtx, fault)
        }
    };
    Input { path: path.to_owned(), size, kind, fault }
}

fn sniff(path: &Path) -> io::Result<(u64, InputKind)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut head = Vec::new();
    file.by_ref().take(FILE_HEADER + 8).read_to_end(&mut head)?;
    let kind = if head.starts_with(b"ElfFile\0") {
        InputKind::Evtx
    } else if head.get(FILE_HEADER as usize..) == Some(b"ElfChnk\0") {
        InputKind::EvtxWithoutHeader
    } else {
        InputKind::Unknown
    };
    Ok((size, kind))
}

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn logs_are_told_by_content() {
        let folder = tempfile::tempdir().unwrap();
        file(folder.path(), "a.txt", &[&b"ElfFile\0"[..], &[0; FILE_HEADER as usize]].concat());
        file(folder.path(), "a2.evtx", b"ElfFile\0rest");
        file(folder.path(), "b.evtx", b"hello");
        file(folder.path(), "c.txt", b"hello");
        let mut headless = vec![0; FILE_HEADER as usize];
        headless.extend(b"ElfChnk\0");
        file(folder.path(), "d", &headless);
        let found = discover(&[folder.path().to_owned()]).unwrap();
        let kinds: Vec<_> =
            found.iter().map(|f| (f.kind, f.fault.as_ref().map(|f| f.kind))).collect();
        use InputKind::*;
        assert_eq!(
            kinds,
            [
                (Evtx, None),
                (Evtx, Some(FaultKind::Lost)),
                (Unknown, Some(FaultKind::Lost)),
                (Unknown, Some(FaultKind::NotALog)),
                (EvtxWithoutHeader, Some(FaultKind::Suspect)),
            ]
        );
    }

    #[test]
    fn a_file_given_twice_counts_once_and_globs_expand() {
        let folder = tempfile::tempdir().unwrap();
        let log = file(folder.path(), "a.evtx", b"ElfFile\0");
        let pattern = folder.path().join("*.evtx");
        assert_eq!(discover(&[log.clone(), pattern, folder.path().into()]).unwrap().len(), 1);
        let missing = discover(&[folder.path().join("none")]).unwrap_err();
        assert!(matches!(missing, Error::MissingInput(_)));
        assert!(discover(&[folder.path().join("*.none")]).is_err());
    }
}
