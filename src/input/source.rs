//! Where an input's bytes are: in its own file, or in the file to which archives were unpacked.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::state::{self, FileState};

/// Where an input's bytes are.
#[derive(Debug, Clone)]
pub(super) enum InputSource {
    /// A file.
    File(PathBuf),
    /// A part of a file that is already open.
    Part(FilePart),
    /// The bytes are not available: the records were extracted in an earlier run.
    #[cfg_attr(
        not(feature = "parquet"),
        expect(dead_code, reason = "only case folders hold records without their bytes")
    )]
    Extracted,
}

impl InputSource {
    pub fn open(&self) -> io::Result<OpenInput> {
        match self {
            InputSource::File(path) => state::open_input(path).map(OpenInput::File),
            InputSource::Part(part) => {
                Ok(OpenInput::Part(FilePart { position: 0, ..part.clone() }))
            }
            InputSource::Extracted => Err(io::Error::other("its bytes are not available")),
        }
    }
}

/// An input that is open for reading.
pub(super) enum OpenInput {
    File(File),
    Part(FilePart),
}

impl OpenInput {
    pub fn size(&self) -> io::Result<u64> {
        match self {
            OpenInput::File(file) => Ok(file.metadata()?.len()),
            OpenInput::Part(part) => Ok(part.size),
        }
    }

    /// Returns the state of the file, or `None` for an archive's member.
    pub fn state(&self) -> io::Result<Option<FileState>> {
        match self {
            OpenInput::File(file) => Ok(Some(FileState::from_metadata(&file.metadata()?))),
            OpenInput::Part(_) => Ok(None),
        }
    }

    /// Fills a block with the next bytes. The block is cut at the end of the input or at a read
    /// error.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    pub fn fill_block(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
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

impl Read for OpenInput {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            OpenInput::File(file) => file.read(room),
            OpenInput::Part(part) => part.read(room),
        }
    }
}

impl Seek for OpenInput {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            OpenInput::File(file) => file.seek(to),
            OpenInput::Part(part) => part.seek(to),
        }
    }
}

/// A part of an open file. Its clones and other parts can be read side by side.
#[derive(Debug, Clone)]
pub(super) struct FilePart {
    file: Arc<Mutex<File>>,
    start: u64,
    size: u64,
    position: u64,
}

impl FilePart {
    /// Returns the whole of a source as one part.
    pub fn whole(source: &InputSource) -> io::Result<FilePart> {
        match source.open()? {
            OpenInput::Part(part) => Ok(part),
            OpenInput::File(file) => {
                let size = file.metadata()?.len();
                Ok(FilePart { file: Arc::new(Mutex::new(file)), start: 0, size, position: 0 })
            }
        }
    }
}

impl Read for FilePart {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(self.position);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.start + self.position))?;
        let read = (&*file).take(left).read(room)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for FilePart {
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

/// An unlinked temporary file to which archives are unpacked.
pub(super) struct Spool {
    file: Arc<Mutex<File>>,
    end: Mutex<u64>,
}

impl Spool {
    pub fn new(folder: &Path) -> io::Result<Spool> {
        let file = Arc::new(Mutex::new(tempfile::tempfile_in(folder)?));
        Ok(Spool { file, end: Mutex::new(0) })
    }

    /// Copies up to `most` bytes of `from` to the spool and returns the part that they take.
    ///
    /// # Errors
    /// The outer result fails when the spool cannot be written. The inner one is how reading ended.
    pub fn store(
        &self,
        from: &mut impl Read,
        most: u64,
    ) -> io::Result<(FilePart, Result<(), io::Error>)> {
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
            // Bytes that were read before an error count.
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
        Ok((FilePart { file: self.file.clone(), start, size, position: 0 }, read))
    }
}

/// Bytes that are unpacked at a time.
const BLOCK: u64 = 1 << 18;
