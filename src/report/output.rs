//! The output folder: files get their names when all of them are whole.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::{scripts, transcript};
use crate::error::Error;

/// How the name of a file in the making ends: a killed run leaves it, and it is in no one's way.
const UNFINISHED: &str = ".unfinished";
/// The folder of transcripts.
const TRANSCRIPTS: &str = "sessions";

/// An output folder with files in the making. Dropped before all are whole, it
/// leaves nothing new behind.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
    /// Folders this run made, outermost first: removed again if nothing comes of it.
    made: Vec<PathBuf>,
    names: Vec<String>,
    whole: bool,
}

impl Output {
    /// Opens a folder for output, making it where it is missing, and tries that it can be written.
    ///
    /// # Errors
    /// [`Error::OutputExists`] when it holds something and `force` is not set, [`Error::Write`]
    /// when it cannot be written.
    pub fn open(folder: &Path, force: bool) -> Result<Output, Error> {
        if folder.exists() && !force && (folder.is_file() || is_occupied(folder)) {
            return Err(Error::OutputExists(folder.to_owned()));
        }
        let missing =
            folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let mut made: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        made.reverse();
        fs::create_dir_all(folder).map_err(Error::write(folder))?;
        let mut output =
            Output { folder: folder.to_owned(), made, names: Vec::new(), whole: false };
        output.create("run.json")?;
        Ok(output)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path a file will have.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn unfinished(&self, name: &str) -> PathBuf {
        let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
        self.folder.join(folder).join(format!(".{name}{UNFINISHED}"))
    }

    /// Begins a file; its name may have one folder in it.
    pub(super) fn create(&mut self, name: &str) -> Result<BufWriter<File>, Error> {
        self.make_folder(name)?;
        let file = File::create(self.unfinished(name)).map_err(Error::write(&self.path(name)))?;
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
        Ok(BufWriter::with_capacity(1 << 20, file))
    }

    /// Writes a small file whole; no other has its name.
    pub(super) fn put(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        self.make_folder(name)?;
        fs::write(self.unfinished(name), content).map_err(Error::write(&self.path(name)))?;
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Makes the folder that a name has in it.
    fn make_folder(&mut self, name: &str) -> Result<(), Error> {
        if let Some((folder, _)) = name.split_once('/') {
            let folder = self.path(folder);
            if !folder.exists() {
                fs::create_dir(&folder).map_err(Error::write(&folder))?;
                self.made.push(folder);
            }
        }
        Ok(())
    }

    /// Gives all files their names.
    pub(super) fn commit(mut self) -> Result<(), Error> {
        if let Some(path) = self.names.iter().map(|name| self.path(name)).find(|p| p.is_dir()) {
            let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
            return Err(Error::Write { path, source });
        }
        self.forget(TRANSCRIPTS, transcript::is_own);
        self.forget(scripts::FOLDER, scripts::is_own);
        // The file that was begun first, run.json, vouches for the others: it comes last.
        for name in self.names.iter().rev() {
            let path = self.path(name);
            fs::rename(self.unfinished(name), &path).map_err(Error::write(&path))?;
        }
        self.whole = true;
        Ok(())
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
}

/// Whether a folder holds anything but what a killed run leaves.
fn is_occupied(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| match entry.file_name().to_string_lossy() {
        name if name.ends_with(UNFINISHED) => false,
        name if name == scripts::FOLDER || name == TRANSCRIPTS => {
            !entry.path().is_dir() || is_occupied(&entry.path())
        }
        _ => true,
    })
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
        output.commit().unwrap();
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
        output.commit().unwrap();
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
