//! The state of a file in the file system, which reveals changes during a run. Also opens inputs:
//! only for reading, and without changing their access times where possible.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The state of a file. Two states of one path are equal if nobody wrote to or replaced the file
/// between them, as far as the file system shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written to, UTC.
    pub modified: Option<DateTime<Utc>>,
    /// Which file it is, and when its times or attributes were last set (Unix). This reveals a file
    /// that was written to and given back its old time.
    inode: Option<Inode>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Inode {
    /// Device and number.
    identity: (u64, u64),
    /// Seconds and nanoseconds of ctime.
    changed: (i64, i64),
}

impl FileState {
    /// Creates the state from a file's metadata.
    pub(super) fn from_metadata(metadata: &Metadata) -> FileState {
        FileState {
            size: metadata.len(),
            modified: metadata.modified().ok().map(DateTime::from),
            inode: inode(metadata),
        }
    }

    /// Returns whether nobody wrote to the file between this state and a later one, wherever the
    /// file lies: a disk that is mounted again may number its files differently.
    #[cfg(feature = "parquet")]
    pub(crate) fn is_unchanged_in(&self, later: &FileState) -> bool {
        let changed = |state: &FileState| state.inode.as_ref().map(|inode| inode.changed);
        self.size == later.size
            && self.modified == later.modified
            && changed(self) == changed(later)
    }

    /// Describes how the file at `path` changed since this state. Returns `None` if it did not.
    pub fn describe_change(&self, path: &Path) -> Option<String> {
        let now = match std::fs::metadata(path) {
            Ok(metadata) => FileState::from_metadata(&metadata),
            Err(error) => return Some(format!("it cannot be found any more: {error}")),
        };
        let time_text =
            |time: Option<DateTime<Utc>>| time.map_or("unknown".to_owned(), crate::model::csv_time);
        let identity = |state: &FileState| state.inode.as_ref().map(|inode| inode.identity);
        if identity(self) != identity(&now) {
            Some("another file is in its place".to_owned())
        } else if self.size != now.size {
            Some(format!("it had {} bytes and has {}", self.size, now.size))
        } else if self.modified != now.modified {
            let (before, after) = (time_text(self.modified), time_text(now.modified));
            Some(format!("it was written to: modified {before} before, {after} now (UTC)"))
        } else if self != &now {
            Some("its times or attributes were changed".to_owned())
        } else {
            None
        }
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> Option<Inode> {
    use std::os::unix::fs::MetadataExt;
    let identity = (metadata.dev(), metadata.ino());
    Some(Inode { identity, changed: (metadata.ctime(), metadata.ctime_nsec()) })
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> Option<Inode> {
    None
}

/// Opens an input for reading. On Linux its access time stays unchanged where the system allows it:
/// for the file's owner and for root (open(2), `O_NOATIME`).
pub(super) fn open_input(path: &Path) -> io::Result<File> {
    match open_without_access_time(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(path),
        opened => opened,
    }
}

#[cfg(target_os = "linux")]
fn open_without_access_time(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let unseen = rustix::fs::OFlags::NOATIME.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(unseen).open(path)
}

#[cfg(not(target_os = "linux"))]
fn open_without_access_time(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::io::Read;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn state(path: &Path) -> FileState {
        FileState::from_metadata(&std::fs::metadata(path).unwrap())
    }

    #[test]
    fn whatever_happens_to_a_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "1234").unwrap();
        let before = state(&path);
        assert_eq!(before.describe_change(&path), None);
        let set = |time| File::options().write(true).open(&path).unwrap().set_modified(time);
        set(SystemTime::UNIX_EPOCH).unwrap();
        assert!(before.describe_change(&path).unwrap().contains("modified"));
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(before.describe_change(&path).unwrap(), "it had 4 bytes and has 5");
        std::fs::rename(&path, folder.path().join("b")).unwrap();
        assert!(before.describe_change(&path).unwrap().contains("cannot be found"));
    }

    #[cfg(unix)]
    #[test]
    fn a_time_put_back_and_a_file_put_in_place_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "1234").unwrap();
        let (before, time) = (state(&path), std::fs::metadata(&path).unwrap().modified().unwrap());
        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(&path, "4321").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert!(before.describe_change(&path).unwrap().contains("attributes were changed"));
        let other = folder.path().join("b");
        std::fs::write(&other, "1234").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(before.describe_change(&path).unwrap(), "another file is in its place");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn reading_leaves_the_time_of_access() {
        let folder = tempfile::tempdir().unwrap();
        let accessed = |path: &Path| std::fs::metadata(path).unwrap().accessed().unwrap();
        // Read long ago and written to since: a plain reading sets the time even under relatime.
        let old = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "1234").unwrap();
            let times = FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH);
            File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
            path
        };
        let (plain, unseen) = (old("plain"), old("unseen"));
        let mut text = String::new();
        File::open(&plain).unwrap().read_to_string(&mut text).unwrap();
        open_input(&unseen).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(accessed(&unseen), SystemTime::UNIX_EPOCH);
        // Else the file system keeps no such times, and the test shows nothing.
        if accessed(&plain) == SystemTime::UNIX_EPOCH {
            let mut out = io::stderr().lock();
            let _ = io::Write::write_all(&mut out, b"no times of access are kept here\n");
        }
    }
}
