//! A log read once, from its first byte to its last: hashed as it is read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};

use super::{FILE_HEADER, Input, hex};

/// Reads a log block by block. The file is open from its first block to its last.
pub struct Reader<'i> {
    input: &'i Input,
    file: Option<File>,
    position: u64,
    hash: Result<Sha256, String>,
}

impl<'i> Reader<'i> {
    /// A reader at the start of a log.
    pub fn new(input: &'i Input) -> Reader<'i> {
        Reader { input, file: None, position: 0, hash: Ok(Sha256::new()) }
    }

    /// Fills the blocks with the bytes that follow the file header and what was read before, each
    /// up to `size` of them, and yields the offset of the first.
    ///
    /// # Errors
    /// When the file cannot be read, or ends before the size it had; the blocks hold what could
    /// be read, and the rest of what they could hold is passed over.
    pub fn next(&mut self, blocks: &mut [Vec<u8>], size: u64) -> (u64, io::Result<()>) {
        blocks.iter_mut().for_each(Vec::clear);
        let end = self.input.size;
        let from = self.position.max(FILE_HEADER).min(end);
        let to = end.min(from + size * blocks.len() as u64);
        let read = self.read(from, to, blocks, size);
        self.position = to;
        if let Err(error) = &read {
            self.hash = Err(error.to_string());
        }
        if to == end {
            self.file = None;
        }
        (from, read)
    }

    fn read(&mut self, from: u64, to: u64, blocks: &mut [Vec<u8>], size: u64) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.input.path)?),
        };
        if self.position < from {
            let mut header = Vec::new();
            file.take(from - self.position).read_to_end(&mut header)?;
            if let Ok(hash) = &mut self.hash {
                hash.update(&header);
            }
        } else if self.hash.is_err() {
            file.seek(SeekFrom::Start(from))?;
        }
        let mut left = to - from;
        for block in blocks {
            let wanted = left.min(size);
            block.reserve_exact(wanted as usize);
            file.take(wanted).read_to_end(block)?;
            if block.len() as u64 != wanted {
                let reason = "the file became shorter while it was read";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
            }
            if let Ok(hash) = &mut self.hash {
                hash.update(&*block);
            }
            left -= wanted;
        }
        Ok(())
    }

    /// The SHA-256 of all that was read, lower-case hex.
    ///
    /// # Errors
    /// Why the file was not read to its end.
    pub fn sha256(self) -> Result<String, String> {
        self.hash.map(|hash| hex(&hash.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::discover;

    #[test]
    fn blocks_follow_the_header_and_the_hash_is_the_files() {
        let folder = tempfile::tempdir().unwrap();
        // A million times "a": FIPS 180-2, appendix B.3.
        let path = folder.path().join("a");
        std::fs::write(&path, vec![b'a'; 1_000_000]).unwrap();
        let inputs = discover(&[path]).unwrap();
        let mut reader = Reader::new(&inputs[0]);
        let mut blocks = vec![Vec::new(); 2];
        let mut next = || {
            let (offset, read) = reader.next(&mut blocks, 300_000);
            read.unwrap();
            (offset, blocks[0].len(), blocks[1].len())
        };
        assert_eq!(next(), (4096, 300_000, 300_000));
        assert_eq!(next(), (604_096, 300_000, 95_904));
        assert_eq!(
            reader.sha256().unwrap(),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
    }

    #[test]
    fn a_file_that_shrinks_is_lost_from_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![0; 20_000]).unwrap();
        let inputs = discover(std::slice::from_ref(&path)).unwrap();
        std::fs::write(&path, vec![0; 10_000]).unwrap();
        let mut reader = Reader::new(&inputs[0]);
        let mut blocks = vec![Vec::new()];
        assert!(reader.next(&mut blocks, 1000).1.is_ok());
        assert!(reader.next(&mut blocks, 10_000).1.is_err());
        assert!(reader.sha256().unwrap_err().contains("shorter"));
    }
}
