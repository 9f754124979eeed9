use crate::chunk::ChunkWriter;
use crate::header::{CHUNK_SIZE, FILE_HEADER_SIZE, FileHeaderFields};
use crate::{Error, EvtxEvent, Result};

/// Collects events into a log in the order they are pushed.
pub struct LogWriter {
    /// Room for the header, then the finished chunks.
    out: Vec<u8>,
    chunk: ChunkWriter,
    /// The next record's number, where it is not the event's own.
    next: Option<u64>,
    last_number: u64,
}

impl LogWriter {
    /// A log as the service keeps it: each record's number is its EventRecordID.
    pub fn new() -> Self {
        Self {
            out: vec![0; FILE_HEADER_SIZE],
            chunk: ChunkWriter::new(),
            next: None,
            last_number: 0,
        }
    }

    /// A log as an export leaves it: records numbered from `first` on in their headers, while
    /// EventRecordID stays what the event has.
    pub fn numbered_from(first: u64) -> Self {
        Self { next: Some(first), ..Self::new() }
    }

    /// Appends an event.
    ///
    /// # Errors
    ///
    /// If the event does not fit into a chunk, or the log has all the chunks it can have. The log
    /// is then as it was, and takes further events.
    pub fn push(&mut self, event: &EvtxEvent) -> Result<()> {
        let number = self.next.unwrap_or(event.record_id);
        if !self.chunk.push(number, event) {
            let mut chunk = ChunkWriter::new();
            if !chunk.push(number, event) {
                return Err(Error::RecordTooLarge { record_id: event.record_id });
            }
            // Both the full chunk and the new one are still to come.
            if chunk_count(&self.out) + 2 > usize::from(u16::MAX) {
                return Err(Error::TooManyChunks);
            }
            self.out.extend(std::mem::replace(&mut self.chunk, chunk).finish().unwrap_or_default());
        }
        self.last_number = number;
        self.next = self.next.map(|next| next.wrapping_add(1));
        Ok(())
    }

    /// The whole file.
    pub fn finish(self) -> Vec<u8> {
        let Self { mut out, chunk, last_number, .. } = self;
        out.extend(chunk.finish().unwrap_or_default());
        let header = FileHeaderFields {
            chunks: chunk_count(&out) as u16, // `push` sees to it
            next_record_number: last_number.wrapping_add(1),
        };
        out[..FILE_HEADER_SIZE].copy_from_slice(&header.to_bytes());
        out
    }
}

/// Chunks in a file: its header is smaller than one.
fn chunk_count(file: &[u8]) -> usize {
    file.len() / CHUNK_SIZE
}

impl Default for LogWriter {
    fn default() -> Self {
        Self::new()
    }
}
