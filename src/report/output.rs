//! The output folder: files get their names when all of them are whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::names::{
    PARQUET_EXTENSION, PARQUET_FOLDER, RUN, SCRIPTS, SEAL, TRANSCRIPTS, is_script, is_transcript,
};
use crate::error::Error;
use crate::hex::hex;

/// How the name of a file in the making ends: a killed run leaves it, and it is in no one's way.
const UNFINISHED: &str = ".unfinished";

/// A file of a run, its size in bytes and its SHA-256 in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Its name in the output folder.
    pub file: String,
    /// Its size.
    pub size: u64,
    /// Its hash.
    pub sha256: String,
}

impl Sum {
    /// The sum of a file of this content.
    fn of(name: &str, content: &[u8]) -> Sum {
        let sha256 = hex(&Sha256::digest(content));
        Sum { file: name.to_owned(), size: content.len() as u64, sha256 }
    }
}

/// The sums of the files that are written, by name.
type Sums = Arc<Mutex<BTreeMap<String, Sum>>>;

/// Bytes of a file that are hashed and written at a time: they are still at hand for the second.
pub(super) const AT_ONCE: usize = 1 << 18;

/// A file that is hashed as it is written. Its sum is known whenever it is flushed, and in the end.
pub(super) struct Summed {
    file: File,
    name: String,
    size: u64,
    hash: Sha256,
    sums: Sums,
}

impl Summed {
    fn note(&self) {
        let sha256 = hex(&self.hash.clone().finalize());
        let sum = Sum { file: self.name.clone(), size: self.size, sha256 };
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.insert(self.name.clone(), sum);
    }
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // So much at a time that a second thread is worth the asking.
        let Summed { file, hash, .. } = self;
        let (written, ()) = rayon::join(|| file.write_all(bytes), || hash.update(bytes));
        written?;
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.note();
        self.file.flush()
    }
}

impl Drop for Summed {
    fn drop(&mut self) {
        self.note();
    }
}

/// An output folder with files in the making. Dropped before all are whole, it
/// leaves nothing new behind.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
    /// Folders this run made, outermost first: removed again if nothing comes of it.
    made: Vec<PathBuf>,
    names: Vec<String>,
    sums: Sums,
    whole: bool,
    /// Held while files get their names.
    naming: Arc<Mutex<()>>,
}

/// Takes back what a run is about to write, from another thread, for a process that must end at
/// once.
#[derive(Debug, Clone)]
pub struct TakeBack {
    folder: PathBuf,
    made: Vec<PathBuf>,
    naming: Arc<Mutex<()>>,
}

impl TakeBack {
    /// Removes the files in the making, then leaves. A run that is giving its files their names
    /// gives them to all first.
    pub fn and_leave(&self, leave: impl FnOnce()) {
        let _no_names = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        remove_unfinished(&self.folder);
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
        leave();
    }
}

/// Removes files in the making from a folder and those in it: a run that was killed left them.
/// What cannot be removed is in no one's way.
fn remove_unfinished(folder: &Path) {
    let own = |name: &OsStr| name.as_encoded_bytes().starts_with(b".") && is_unfinished(name);
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let remove = |folder: &Path| {
        let unfinished = entries(folder).filter(|entry| own(&entry.file_name()));
        unfinished.filter(|entry| fs::remove_file(entry.path()).is_ok()).count()
    };
    for entry in entries(folder).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if remove(&entry.path()) > 0 {
            // Stays where it holds something else.
            let _ = fs::remove_dir(entry.path());
        }
    }
    remove(folder);
}

fn is_unfinished(name: &OsStr) -> bool {
    name.as_encoded_bytes().ends_with(UNFINISHED.as_bytes())
}

impl Output {
    /// Opens a folder for output, making it where it is missing, and tries that it can be written.
    ///
    /// # Errors
    /// [`Error::OutputExists`] when it holds something and `force` is not set, [`Error::Write`]
    /// when it cannot be written.
    pub fn open(folder: &Path, force: bool) -> Result<Output, Error> {
        remove_unfinished(folder);
        let occupied = || {
            let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.any(|entry| !is_unfinished(&entry.file_name()))
        };
        if folder.exists() && !force && (folder.is_file() || occupied()) {
            return Err(Error::OutputExists(folder.to_owned()));
        }
        let missing =
            folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let mut made: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        made.reverse();
        fs::create_dir_all(folder).map_err(Error::write(folder))?;
        let mut output = Output {
            folder: folder.to_owned(),
            made,
            names: Vec::new(),
            sums: Sums::default(),
            whole: false,
            naming: Arc::default(),
        };
        output.create(RUN)?;
        Ok(output)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What takes the files in the making back.
    pub fn take_back(&self) -> TakeBack {
        let Output { folder, made, naming, .. } = self;
        TakeBack { folder: folder.clone(), made: made.clone(), naming: naming.clone() }
    }

    /// The path a file will have.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn unfinished(&self, name: &str) -> PathBuf {
        let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
        self.folder.join(folder).join(format!(".{name}{UNFINISHED}"))
    }

    /// Begins a file; its name may have folders in it.
    pub(super) fn create(&mut self, name: &str) -> Result<BufWriter<Summed>, Error> {
        self.make_folder(name)?;
        let file = File::create(self.unfinished(name)).map_err(Error::write(&self.path(name)))?;
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
        let (name, sums) = (name.to_owned(), self.sums.clone());
        let summed = Summed { file, name, size: 0, hash: Sha256::new(), sums };
        Ok(BufWriter::with_capacity(AT_ONCE, summed))
    }

    /// Writes a small file whole; no other has its name.
    pub(super) fn put(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        self.make_folder(name)?;
        fs::write(self.unfinished(name), content).map_err(Error::write(&self.path(name)))?;
        self.names.push(name.to_owned());
        let sum = Sum::of(name, content);
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.insert(name.to_owned(), sum);
        Ok(())
    }

    /// Makes the folders that a name has in it.
    fn make_folder(&mut self, name: &str) -> Result<(), Error> {
        for (end, _) in name.match_indices('/') {
            let folder = self.path(&name[..end]);
            if !folder.exists() {
                fs::create_dir(&folder).map_err(Error::write(&folder))?;
                self.made.push(folder);
            }
        }
        Ok(())
    }

    /// The sums of the files that are written, but for `run.json`, which has them.
    pub(super) fn sums(&self) -> Vec<Sum> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.values().filter(|sum| sum.file != RUN).cloned().collect()
    }

    /// Gives all files their names, and `run.json`, which is whole now, its seal. Files of earlier
    /// runs go: of those of all formats, `names`, and of scripts and transcripts. Yields the
    /// SHA-256 of `run.json`.
    pub(super) fn commit(mut self, names: &[Cow<'static, str>]) -> Result<String, Error> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let sha256 = sums.get(RUN).map(|sum| sum.sha256.clone()).unwrap_or_default();
        drop(sums);
        let name = format!("{}{SEAL}", RUN);
        let mut seal = self.create(&name)?;
        let written = writeln!(seal, "{sha256}  {}", RUN).and_then(|()| seal.flush());
        written.map_err(Error::write(&self.path(&name)))?;
        if let Some(path) = self.names.iter().map(|name| self.path(name)).find(|p| p.is_dir()) {
            let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
            return Err(Error::Write { path, source });
        }
        let naming = self.naming.clone();
        let _naming = naming.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(TRANSCRIPTS, is_transcript);
        self.forget(SCRIPTS, is_script);
        self.forget_formats(names);
        // The file that was begun first, run.json, vouches for the others: an old one goes before
        // any of them is replaced, and the new one comes last.
        if let Some(voucher) = self.names.first().map(|name| self.path(name))
            && voucher.exists()
        {
            fs::remove_file(&voucher).map_err(Error::write(&voucher))?;
        }
        for (done, name) in self.names.iter().rev().enumerate() {
            let path = self.path(name);
            if let Err(error) = fs::rename(self.unfinished(name), &path) {
                // Some files without the others would look whole.
                for name in self.names.iter().rev().take(done) {
                    let _ = fs::remove_file(self.path(name));
                }
                return Err(Error::write(&path)(error));
            }
        }
        self.whole = true;
        Ok(sha256)
    }

    /// Removes from a folder the files of results that this run replaces: they name other
    /// sessions.
    fn forget(&self, folder: &str, is_own: fn(&str) -> bool) {
        let folder = self.path(folder);
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if is_own(&entry.file_name().to_string_lossy()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        // Stays where it holds something else, or files that get their names now.
        let _ = fs::remove_dir(&folder);
    }

    /// Removes the files of formats that this run does not write: they are of other records.
    fn forget_formats(&self, names: &[Cow<'static, str>]) {
        let forget = |name: &str| {
            if !self.names.iter().any(|known| known == name) {
                let _ = fs::remove_file(self.path(name));
            }
        };
        names.iter().for_each(|name| forget(name));
        // Tables in parts: a folder for each, a file for each host.
        for folder in names.iter().filter_map(|name| name.strip_suffix(PARQUET_EXTENSION)) {
            for entry in fs::read_dir(self.path(folder)).into_iter().flatten().flatten() {
                let part = entry.file_name();
                let part = part.to_string_lossy();
                if part.ends_with(PARQUET_EXTENSION) {
                    forget(&format!("{folder}/{part}"));
                }
            }
            // Stays where it holds something else.
            let _ = fs::remove_dir(self.path(folder));
        }
        let _ = fs::remove_dir(self.path(PARQUET_FOLDER));
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        // Best effort: the error that brought us here is the one to report.
        for name in &self.names {
            let _ = fs::remove_file(self.unfinished(name));
        }
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn nothing_is_left_of_a_run_that_failed() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        let mut output = Output::open(&folder, false).unwrap();
        output.create("x.csv").unwrap().write_all(b"half").unwrap();
        drop(output);
        assert!(!root.path().join("a").exists());
    }

    #[test]
    fn what_a_killed_run_leaves_is_in_no_ones_way() {
        let root = tempfile::tempdir().unwrap();
        let mut output = Output::open(root.path(), false).unwrap();
        output.put("scripts/S0001-001.txt", b"text").unwrap();
        // As when the process ends here.
        std::mem::forget(output);
        let mut output = Output::open(root.path(), false).unwrap();
        output.put("scripts/S0001-001.txt", b"text").unwrap();
        output.commit(&[]).unwrap();
        let left = fs::read_dir(root.path().join("scripts")).unwrap().count();
        assert_eq!(left, 1);
        assert!(matches!(Output::open(root.path(), false), Err(Error::OutputExists(_))));
    }

    #[test]
    fn files_get_their_names_together_and_are_not_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("out");
        let mut output = Output::open(&folder, false).unwrap();
        output.create("x.csv").unwrap().write_all(b"whole").unwrap();
        assert!(!folder.join("x.csv").exists());
        output.commit(&[]).unwrap();
        assert_eq!(fs::read(folder.join("x.csv")).unwrap(), b"whole");
        let names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{names:?}");
        assert!(matches!(Output::open(&folder, false), Err(Error::OutputExists(_))));
        assert!(Output::open(&folder, true).is_ok());
        // An aborted second run leaves the first one's files.
        assert!(folder.join("x.csv").exists());
    }
}
