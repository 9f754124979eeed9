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

    /// How far it has read, in bytes.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Fills `block` with up to `most` of the bytes that follow the file header and what was read
    /// before, and yields the offset of the first.
    ///
    /// # Errors
    /// When the file cannot be read, or ends before the size it had; then the block is passed over.
    pub fn next(&mut self, most: u64, block: &mut Vec<u8>) -> io::Result<u64> {
        block.clear();
        let size = self.input.size;
        let from = self.position.max(FILE_HEADER).min(size);
        let to = size.min(from + most);
        let read = self.read(from, to, block);
        self.position = to;
        if let Err(error) = &read {
            self.hash = Err(error.to_string());
        }
        if to == size {
            self.file = None;
        }
        read.map(|()| from)
    }

    fn read(&mut self, from: u64, to: u64, block: &mut Vec<u8>) -> io::Result<()> {
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
        file.take(to - from).read_to_end(block)?;
        if block.len() as u64 != to - from {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was read",
            ));
        }
        if let Ok(hash) = &mut self.hash {
            hash.update(&*block);
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
        let (mut block, mut offsets) = (Vec::new(), Vec::new());
        while offsets.len() < 4 {
            offsets.push((reader.next(300_000, &mut block).unwrap(), block.len()));
        }
        assert_eq!(
            offsets,
            [(4096, 300_000), (304_096, 300_000), (604_096, 300_000), (904_096, 95_904)]
        );
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
        let mut block = Vec::new();
        assert_eq!(reader.next(1000, &mut block).unwrap(), 4096);
        assert!(reader.next(10_000, &mut block).is_err());
        assert!(reader.sha256().unwrap_err().contains("shorter"));
    }
}
