//! Where an input's bytes are: in a file of its own, or in what archives were unpacked to.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::state::{self, FileState};

/// Where an input's bytes are.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A file.
    File(PathBuf),
    /// A part of a file that is open already.
    Part(Part),
    /// Not at hand: its records were extracted before.
    #[cfg_attr(
        not(feature = "parquet"),
        expect(
            dead_code,
            reason = "only records of a case folder are at hand without their bytes"
        )
    )]
    Elsewhere,
}

impl Source {
    pub fn open(&self) -> io::Result<Opened> {
        match self {
            Source::File(path) => state::open(path).map(Opened::File),
            Source::Part(part) => Ok(Opened::Part(Part { position: 0, ..part.clone() })),
            Source::Elsewhere => Err(io::Error::other("its bytes are not at hand")),
        }
    }
}

/// A source that is being read.
pub(super) enum Opened {
    File(File),
    Part(Part),
}

impl Opened {
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Opened::File(file) => Ok(file.metadata()?.len()),
            Opened::Part(part) => Ok(part.size),
        }
    }

    /// The state of a file of its own.
    pub fn state(&self) -> io::Result<Option<FileState>> {
        match self {
            Opened::File(file) => Ok(Some(FileState::of(&file.metadata()?))),
            Opened::Part(_) => Ok(None),
        }
    }

    /// Fills a block with the next bytes; it is cut where there are no more, or reading failed.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn fill(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        let mut filled = 0;
        let mut read = Ok(());
        while filled < block.len() {
            match self.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    read = Err(error);
                    break;
                }
            }
        }
        block.truncate(filled);
        read
    }
}

impl Read for Opened {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Opened::File(file) => file.read(room),
            Opened::Part(part) => part.read(room),
        }
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Opened::File(file) => file.seek(to),
            Opened::Part(part) => part.seek(to),
        }
    }
}

/// A part of an open file, which clones of it and other parts read side by side.
#[derive(Debug, Clone)]
pub(super) struct Part {
    file: Arc<Mutex<File>>,
    start: u64,
    size: u64,
    position: u64,
}

impl Part {
    /// The whole of a source.
    pub fn whole(source: &Source) -> io::Result<Part> {
        match source.open()? {
            Opened::Part(part) => Ok(part),
            Opened::File(file) => {
                let size = file.metadata()?.len();
                Ok(Part { file: Arc::new(Mutex::new(file)), start: 0, size, position: 0 })
            }
        }
    }
}

impl Read for Part {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(self.position);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.start + self.position))?;
        let read = (&*file).take(left).read(room)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(from) => self.size.checked_add_signed(from),
            SeekFrom::Current(from) => self.position.checked_add_signed(from),
        };
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "a place before the start");
        self.position = position.ok_or_else(outside)?;
        Ok(self.position)
    }
}

/// A nameless file that archives are unpacked to.
pub(super) struct Spool {
    file: Arc<Mutex<File>>,
    end: Mutex<u64>,
}

impl Spool {
    pub fn new(folder: &Path) -> io::Result<Spool> {
        let file = Arc::new(Mutex::new(tempfile::tempfile_in(folder)?));
        Ok(Spool { file, end: Mutex::new(0) })
    }

    /// Takes what can be read, up to `most` bytes.
    ///
    /// # Errors
    /// The outer when the spool takes no more, the inner what reading ended with.
    pub fn take(
        &self,
        from: &mut impl Read,
        most: u64,
    ) -> io::Result<(Part, Result<(), io::Error>)> {
        let start = {
            let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            let start = *end;
            *end += most;
            start
        };
        let mut size = 0;
        let mut block = Vec::new();
        let read = loop {
            block.clear();
            let read = from.take(BLOCK.min(most - size)).read_to_end(&mut block);
            // What was read before an error counts.
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(start + size))?;
            file.write_all(&block)?;
            size += block.len() as u64;
            match read {
                Err(error) => break Err(error),
                Ok(0) => break Ok(()),
                Ok(_) => {}
            }
        };
        Ok((Part { file: self.file.clone(), start, size, position: 0 }, read))
    }
}

/// Bytes that are unpacked at a time.
const BLOCK: u64 = 1 << 18;
