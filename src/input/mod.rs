//! Finds logs in files, folders, globs and archives. Files are identified by content, not by name.

mod archive;
mod boundaries;
mod header;
mod kind;
mod reader;
mod recovered;
mod source;
mod state;
mod text;
mod texts;

pub use archive::unpack;
pub use header::{EvtxFileHeader, file_header};
pub use kind::{CHUNK_SIZE, FILE_HEADER, InputKind};
pub use reader::{InputReader, Piece, PlaceReader, ReadEnd, ReadExtent, piece_count};
pub use recovered::with_recovered;
pub use state::FileState;
pub use text::TextPartKind;
pub(crate) use texts::{ZippedText, is_zip, read_text, zipped_texts};

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memchr::memmem;
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::error::{Error, Fault, FaultKind};
use crate::hex::hex;
use source::InputSource;
use text::{TextEncoding, Utf8Converter};

/// A file that was given or found, or a member of an archive.
#[derive(Debug, Clone)]
pub struct Input {
    /// The file's path, as given or found. A member's path is its archive's path followed by its
    /// name. It is only for display.
    pub path: PathBuf,
    /// Its size in bytes when the run began.
    pub size: u64,
    /// The kind of file.
    pub kind: InputKind,
    /// Why it is not read, or what is wrong with it as a whole.
    pub faults: Vec<Fault>,
    /// The file's state when the run began. `None` for an archive's member.
    pub state: Option<FileState>,
    /// How many of its chunks, from the first on, belong to the log.
    pub(crate) live_chunks: u64,
    source: InputSource,
    encoding: TextEncoding,
}

impl Input {
    /// Creates an input that is not read, with the reason.
    fn not_opened(path: PathBuf, size: u64, fault: Fault) -> Input {
        Input::unread(path, size, vec![fault])
    }

    /// Creates an input that was not read, with its faults.
    pub fn unread(path: PathBuf, size: u64, faults: Vec<Fault>) -> Input {
        let source = InputSource::File(path.clone());
        let (kind, encoding) = (InputKind::Unknown, TextEncoding::default());
        Input { path, size, kind, faults, state: None, live_chunks: u64::MAX, source, encoding }
    }

    /// Creates an input whose records were extracted before, so that its bytes are not needed.
    #[cfg(feature = "parquet")]
    pub(crate) fn extracted(
        path: PathBuf,
        state: Option<FileState>,
        size: u64,
        kind: InputKind,
        faults: Vec<Fault>,
    ) -> Input {
        let encoding = TextEncoding::default();
        Input {
            path,
            size,
            kind,
            faults,
            state,
            live_chunks: u64::MAX,
            source: InputSource::Extracted,
            encoding,
        }
    }

    /// Returns whether its records come from a case folder instead of its bytes.
    pub fn is_extracted(&self) -> bool {
        matches!(self.source, InputSource::Extracted)
    }

    /// Creates an input that is shown under one path and read from another, for evidence that was
    /// moved.
    pub fn shown_as(shown: PathBuf, path: PathBuf) -> Input {
        identify(shown, InputSource::File(path))
    }

    /// Describes how the file changed since the run began. Returns `None` if it did not.
    pub fn describe_change(&self) -> Option<String> {
        match &self.source {
            InputSource::File(path) => self.state.as_ref()?.describe_change(path),
            InputSource::Part(_) | InputSource::Extracted => None,
        }
    }

    /// Reads a file once more from its first byte to its last and returns its SHA-256, lower-case
    /// hex. Returns `None` for an archive's member, whose bytes are the archive's.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn rehash(&self) -> Option<io::Result<String>> {
        match &self.source {
            InputSource::File(path) => Some(sha256(path)),
            InputSource::Part(_) | InputSource::Extracted => None,
        }
    }
}

/// Returns the SHA-256 of a file, lower-case hex.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut file = state::open_input(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; HASHED_AT_ONCE];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&block[..read]),
        }
    }
}

/// Bytes that are read at a time for a hash.
const HASHED_AT_ONCE: usize = 1 << 18;

/// Finds all files below the given paths, each once, in the order of their names.
///
/// # Errors
/// [`Error::MissingInput`] for a path that does not exist or a glob that matches nothing,
/// [`Error::BadGlob`] for one that does not parse.
pub fn discover(paths: &[PathBuf]) -> Result<Vec<Input>, Error> {
    let mut files = BTreeSet::new();
    let mut faults = Vec::new();
    for given in paths {
        for root in expand_glob(given)? {
            for entry in WalkDir::new(&root).follow_links(true).sort_by_file_name() {
                match entry {
                    Ok(entry) if entry.file_type().is_file() => {
                        files.insert(entry.into_path());
                    }
                    Ok(entry) if entry.file_type().is_dir() => {}
                    Ok(entry) => faults.push(Input::not_opened(
                        entry.into_path(),
                        0,
                        Fault::file(FaultKind::NotALog, "a pipe, a socket or a device: not opened"),
                    )),
                    Err(error) => faults.push(unreadable_input(&root, &error)),
                }
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut inputs: Vec<Input> = files
        .into_iter()
        .filter(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())))
        .map(|path| identify(path.clone(), InputSource::File(path)))
        .collect();
    inputs.extend(faults);
    inputs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(inputs)
}

/// Returns a path as it is, or the paths that a glob matches.
fn expand_glob(given: &Path) -> Result<Vec<PathBuf>, Error> {
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

fn unreadable_input(root: &Path, error: &walkdir::Error) -> Input {
    let reason = match error.loop_ancestor() {
        Some(ancestor) => format!("a link back to {}, not followed", ancestor.display()),
        None => error.to_string(),
    };
    let path = error.path().unwrap_or(root).to_owned();
    Input::not_opened(path, 0, Fault::file(FaultKind::Lost, reason))
}

/// Identifies a file by its first bytes.
fn identify(path: PathBuf, source: InputSource) -> Input {
    let FileProbe { size, state, kind, encoding } = match probe(&source) {
        Err(error) => {
            return Input::not_opened(path, 0, Fault::file(FaultKind::Lost, error.to_string()));
        }
        Ok(FileProbe { size, state, kind: InputKind::Unknown, .. }) => {
            let fault = not_a_log(&path, size);
            return Input { state, ..Input::not_opened(path, size, fault) };
        }
        Ok(known) => known,
    };
    let fault = match kind {
        InputKind::EvtxWithoutHeader => {
            let reason = "the file header is damaged; its chunks are still read";
            Some(Fault { offset: Some(0), ..Fault::file(FaultKind::Suspect, reason) })
        }
        InputKind::Evtx if size < FILE_HEADER => {
            Some(Fault::file(FaultKind::Lost, "the file ends inside its own header"))
        }
        _ => None,
    };
    let faults = fault.into_iter().collect();
    Input { path, size, kind, faults, state, live_chunks: u64::MAX, source, encoding }
}

/// Returns the fault of a file that is not a log. If its name ends with .evtx, the user must learn
/// of the loss.
fn not_a_log(path: &Path, size: u64) -> Fault {
    let named_evtx = path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("evtx"));
    let (kind, reason) = match (named_evtx, size) {
        (true, 0) => (FaultKind::Lost, "named .evtx but empty"),
        (true, _) => (FaultKind::Lost, "named .evtx but not an event log"),
        (false, _) => (FaultKind::NotALog, "not an event log"),
    };
    Fault::file(kind, reason)
}

/// Bytes that identify all kinds of files except texts, in which the first record is needed.
const HEAD_BYTES: u64 = FILE_HEADER + 8;
/// Bytes of a text within which a record must name its event id.
const TEXT_HEAD_BYTES: u64 = 1 << 20;

/// The results of reading the first bytes of an input.
struct FileProbe {
    size: u64,
    state: Option<FileState>,
    kind: InputKind,
    encoding: TextEncoding,
}

fn probe(source: &InputSource) -> io::Result<FileProbe> {
    let mut file = source.open()?;
    let (size, state) = (file.size()?, file.state()?);
    let mut head = Vec::new();
    file.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let encoding = TextEncoding::detect(&head);
    let kind = match binary_kind(&head) {
        Some(kind) => kind,
        None if text_kind(&head).is_some() => {
            file.take(TEXT_HEAD_BYTES).read_to_end(&mut head)?;
            text_kind(&head)
                .filter(|kind| names_event_ids(*kind, &head))
                .unwrap_or(InputKind::Unknown)
        }
        None => InputKind::Unknown,
    };
    Ok(FileProbe { size, state, kind, encoding })
}

fn binary_kind(head: &[u8]) -> Option<InputKind> {
    if head.starts_with(b"ElfFile\0") {
        Some(InputKind::Evtx)
    } else if head.get(FILE_HEADER as usize..).is_some_and(|at| at.starts_with(b"ElfChnk\0")) {
        Some(InputKind::EvtxWithoutHeader)
    } else if head.starts_with(b"PK\x03\x04") {
        Some(InputKind::Zip)
    } else {
        None
    }
}

/// Returns the kind of text that these first bytes suggest.
fn text_kind(head: &[u8]) -> Option<InputKind> {
    let text = as_utf8(head.get(..HEAD_BYTES as usize).unwrap_or(head));
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text).trim_ascii_start();
    // evtx_dump writes the record's number before each record.
    let first = match text.strip_prefix(b"Record ") {
        Some(rest) => {
            rest.iter().find(|byte| !byte.is_ascii_digit() && !byte.is_ascii_whitespace())
        }
        None => text.first(),
    };
    match first? {
        b'{' | b'[' => Some(InputKind::Json),
        b'<' => Some(InputKind::Xml),
        _ => None,
    }
}

/// Returns whether a text contains a field that each record has.
fn names_event_ids(kind: InputKind, head: &[u8]) -> bool {
    let text = as_utf8(head);
    let names: &[&str] = match kind {
        InputKind::Xml => &["<EventID"],
        _ => &["EventID\"", "event_id\"", "event.code\""],
    };
    names.iter().any(|name| memmem::find(&text, name.as_bytes()).is_some())
}

fn as_utf8(head: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    Utf8Converter::new(TextEncoding::detect(head)).append_decoded(head, false, &mut text);
    text
}

/// Returns the display path of a part of a file: the file's path and the part's name, whatever that
/// contains.
fn part_path(file: &Path, name: &str) -> PathBuf {
    let mut path = OsString::from(file);
    path.push("/");
    path.push(name);
    PathBuf::from(path)
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
            found.iter().map(|f| (f.kind, f.faults.first().map(|f| f.kind))).collect();
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
