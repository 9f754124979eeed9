//! Joins SOAP documents from the chunks in which WinRM traces them: `index` from 1, of
//! `totalChunks`.

use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};

/// Longest document that is joined, in bytes. WinRM's MaxEnvelopeSizekb is 500 by default; values
/// above 8192 are unusual.
const LONGEST_DOCUMENT: usize = 64 << 20;
/// Largest number of bytes held for incomplete documents; beyond it, the oldest are given up.
const MOST_HELD: usize = 128 << 20;
/// Largest number of bytes kept from the start of a lost document, apart from its first chunk.
const LONGEST_START: usize = 16 << 10;
/// Largest number of chunks in a document.
const MOST_CHUNKS: u32 = 1 << 20;

/// The values that the chunks of one document share. No other document that is open at the same
/// time has all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkKey {
    /// The logging host.
    pub host: String,
    /// System/Correlation ActivityID.
    pub activity: Option<String>,
    /// System/Execution ProcessID.
    pub process: Option<u32>,
    /// System/Execution ThreadID.
    pub thread: Option<u32>,
    /// System/EventID.
    pub event_id: u32,
}

/// A part of a SOAP document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoapChunk {
    /// The document it belongs to.
    pub key: ChunkKey,
    /// Its position, from 1.
    pub index: u32,
    /// The number of chunks in the document.
    pub total: u32,
    /// Its text.
    pub text: String,
}

/// A document with missing chunks.
#[derive(Debug, Clone)]
pub struct LostDocument<T> {
    /// The values that its chunks share.
    pub key: ChunkKey,
    /// The number of its chunks.
    pub total: u32,
    /// The positions of the missing chunks, as ranges from first to last; empty if the document
    /// was too long.
    pub missing: Vec<(u32, u32)>,
    /// The text before the first gap.
    pub start: String,
    /// The callers' tags of the chunks that were found.
    pub tags: Vec<T>,
}

/// The result of adding a chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum ChunkOutcome<T> {
    /// The chunk is kept until others arrive.
    Kept,
    /// The same chunk was added before.
    Duplicate,
    /// The chunk is rejected; the text says why.
    Rejected(String),
    /// The document is complete: text and tags, in the order of positions.
    Complete(String, Vec<T>),
}

/// Joins chunks in the order in which they arrive.
#[derive(Debug)]
pub struct ChunkJoiner<T> {
    open: BTreeMap<ChunkKey, OpenDocument<T>>,
    lost: Vec<LostDocument<T>>,
    /// Bytes held for incomplete documents, and their limit.
    held: usize,
    most_held: usize,
    /// Documents of several chunks, by number, in the order in which they began.
    begun: VecDeque<(ChunkKey, u64)>,
    count: u64,
}

#[derive(Debug)]
struct OpenDocument<T> {
    number: u64,
    total: u32,
    /// Empty once the document is complete.
    parts: BTreeMap<u32, ChunkText<T>>,
    bytes: usize,
    /// The digests of a complete document's parts, to recognise repeated chunks.
    digests: Box<[[u8; 16]]>,
}

#[derive(Debug)]
struct ChunkText<T> {
    digest: [u8; 16],
    text: String,
    tag: T,
}

impl<T> Default for ChunkJoiner<T> {
    fn default() -> Self {
        ChunkJoiner {
            open: BTreeMap::new(),
            lost: Vec::new(),
            held: 0,
            most_held: MOST_HELD,
            begun: VecDeque::new(),
            count: 0,
        }
    }
}

impl<T: Clone> ChunkJoiner<T> {
    /// Adds a chunk.
    pub fn push(&mut self, chunk: SoapChunk, tag: T) -> ChunkOutcome<T> {
        let SoapChunk { key, index, total, text } = chunk;
        if index == 0 || index > total || total > MOST_CHUNKS {
            return ChunkOutcome::Rejected(format!("chunk {index} of {total}"));
        }
        let digest = digest(&text);
        if let Some(draft) = self.open.get(&key) {
            let same = draft.digest_of(index).map(|known| known == digest);
            if draft.total == total && same == Some(true) {
                return ChunkOutcome::Duplicate;
            }
            if draft.total != total || draft.is_complete() || same == Some(false) {
                self.give_up(&key);
            }
        }
        let number = self.count;
        let (parts, digests) = (BTreeMap::new(), Box::default());
        let new = || OpenDocument { number, total, parts, bytes: 0, digests };
        let draft = self.open.entry(key.clone()).or_insert_with(new);
        let is_new = draft.parts.is_empty();
        draft.bytes += text.len();
        self.held += text.len();
        draft.parts.insert(index, ChunkText { digest, text, tag });
        if draft.bytes > LONGEST_DOCUMENT {
            self.give_up(&key);
            return ChunkOutcome::Rejected("its document is too long".to_owned());
        }
        if draft.parts.len() < total as usize {
            if is_new {
                self.begun.push_back((key, number));
                self.count += 1;
            }
            self.make_room();
            return ChunkOutcome::Kept;
        }
        self.held -= std::mem::take(&mut draft.bytes);
        draft.digests = draft.parts.values().map(|part| part.digest).collect();
        let parts = std::mem::take(&mut draft.parts).into_values();
        let (mut texts, tags): (Vec<String>, Vec<T>) =
            parts.map(|part| (part.text, part.tag)).unzip();
        // Most documents have one chunk, which need not be copied.
        let text = if texts.len() == 1 { texts.remove(0) } else { texts.concat() };
        ChunkOutcome::Complete(text, tags)
    }

    /// Gives up the oldest incomplete documents until the bytes held are below the limit.
    fn make_room(&mut self) {
        while self.held > self.most_held {
            let Some((key, number)) = self.begun.pop_front() else { return };
            if self
                .open
                .get(&key)
                .is_some_and(|draft| draft.number == number && !draft.is_complete())
            {
                self.give_up(&key);
            }
        }
    }

    /// Removes the document with this key to make room for another one. It is lost unless it was
    /// complete.
    fn give_up(&mut self, key: &ChunkKey) {
        if let Some((key, draft)) = self.open.remove_entry(key) {
            self.held -= draft.bytes;
            self.lost.extend(draft.into_lost(key));
        }
    }

    /// Forgets complete documents. Returns those that can no longer be completed.
    pub fn take_lost(&mut self) -> Vec<LostDocument<T>> {
        self.open.retain(|_, draft| !draft.is_complete());
        let is_open = |(key, number): &(ChunkKey, u64)| {
            self.open.get(key).is_some_and(|draft| draft.number == *number)
        };
        self.begun.retain(is_open);
        std::mem::take(&mut self.lost)
    }

    /// Returns the documents that were never completed.
    pub fn finish(mut self) -> Vec<LostDocument<T>> {
        self.lost.extend(self.open.into_iter().filter_map(|(key, draft)| draft.into_lost(key)));
        self.lost
    }
}

impl<T> OpenDocument<T> {
    fn is_complete(&self) -> bool {
        !self.digests.is_empty()
    }

    /// Returns the digest of a part. It distinguishes a repeated part from a different one at the
    /// same position.
    fn digest_of(&self, index: u32) -> Option<[u8; 16]> {
        let part = || self.parts.get(&index).map(|part| part.digest);
        self.digests.get(index as usize - 1).copied().or_else(part)
    }

    fn into_lost(self, key: ChunkKey) -> Option<LostDocument<T>> {
        if self.is_complete() {
            return None;
        }
        let (mut missing, mut start, mut tags) = (Vec::new(), String::new(), Vec::new());
        let mut next = 1;
        for (index, part) in self.parts {
            if index > next {
                missing.push((next, index - 1));
            }
            next = index + 1;
            if missing.is_empty() && start.len() < LONGEST_START {
                start.push_str(&part.text);
            }
            tags.push(part.tag);
        }
        if next <= self.total {
            missing.push((next, self.total));
        }
        Some(LostDocument { key, total: self.total, missing, start, tags })
    }
}

fn digest(text: &str) -> [u8; 16] {
    let digest = Sha256::digest(text);
    std::array::from_fn(|at| digest[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(thread: u32, index: u32, total: u32, text: &str) -> SoapChunk {
        let key = ChunkKey {
            host: "srv".to_owned(),
            activity: None,
            process: None,
            thread: Some(thread),
            event_id: 772,
        };
        SoapChunk { key, index, total, text: text.to_owned() }
    }

    fn joined(chunks: &[SoapChunk]) -> (Vec<String>, Vec<LostDocument<usize>>) {
        let mut joiner = ChunkJoiner::default();
        let mut whole = Vec::new();
        for (tag, chunk) in chunks.iter().enumerate() {
            if let ChunkOutcome::Complete(text, tags) = joiner.push(chunk.clone(), tag) {
                assert_eq!(tags.len(), chunk.total as usize);
                whole.push(text);
            }
        }
        (whole, joiner.finish())
    }

    #[test]
    fn interleaved_unordered_and_repeated_chunks_are_joined() {
        let chunks = [
            chunk(1, 2, 2, "b"),
            chunk(2, 1, 3, "x"),
            chunk(2, 2, 3, "y"),
            chunk(1, 1, 2, "a"),
            chunk(1, 1, 2, "a"),
            chunk(1, 2, 2, "b"),
            chunk(2, 2, 3, "y"),
            chunk(2, 3, 3, "z"),
        ];
        let (whole, lost) = joined(&chunks);
        assert_eq!((whole, lost.len()), (vec!["ab".to_owned(), "xyz".to_owned()], 0));
    }

    #[test]
    fn a_gap_is_reported_and_ends_with_the_next_document() {
        let chunks = [
            chunk(1, 1, 5, "a"),
            chunk(1, 4, 5, "d"),
            chunk(1, 1, 2, "e"),
            chunk(1, 2, 2, "f"),
            chunk(1, 1, 1, "g"),
        ];
        let (whole, lost) = joined(&chunks);
        assert_eq!(whole, ["ef", "g"]);
        assert_eq!((lost.len(), &*lost[0].missing), (1, &[(2, 3), (5, 5)][..]));
        assert_eq!((&*lost[0].start, &*lost[0].tags), ("a", &[0, 1][..]));
    }

    #[test]
    fn the_oldest_are_given_up_when_too_much_is_held() {
        let mut joiner = ChunkJoiner { most_held: 100, ..ChunkJoiner::default() };
        for thread in 0..9 {
            joiner.push(chunk(thread, 1, 2, &"x".repeat(20)), ());
        }
        assert!(joiner.held <= 100);
        assert!(matches!(joiner.push(chunk(8, 2, 2, "y"), ()), ChunkOutcome::Complete(..)));
        assert_eq!(joiner.push(chunk(0, 2, 2, "y"), ()), ChunkOutcome::Kept);
        // Eight starts, and the end that came too late.
        assert_eq!(joiner.finish().len(), 9);
    }

    #[test]
    fn invalid_positions_are_rejected() {
        let mut joiner = ChunkJoiner::default();
        for (index, total) in [(0, 1), (2, 1), (1, u32::MAX), (0, 0)] {
            assert!(matches!(
                joiner.push(chunk(1, index, total, "x"), ()),
                ChunkOutcome::Rejected(_)
            ));
        }
    }
}
