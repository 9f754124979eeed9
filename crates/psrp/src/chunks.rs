//! Documents from the chunks in which WinRM traces them: `index` from 1, of `totalChunks`.

use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};

/// Longest document that is joined, in bytes. WinRM's MaxEnvelopeSizekb is 500 by default, and
/// 8192 at most is usual.
const LONGEST_DOCUMENT: usize = 64 << 20;
/// Most bytes held for documents that are not whole; past it, the oldest are given up.
const MOST_HELD: usize = 128 << 20;
/// Most bytes kept of the start of a document that is lost, but for its first chunk.
const LONGEST_START: usize = 16 << 10;
/// Most chunks of a document.
const MOST_CHUNKS: u32 = 1 << 20;

/// What chunks of one document share, and no other document open at that time does.
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

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its document.
    pub key: ChunkKey,
    /// Its place, from 1.
    pub index: u32,
    /// How many there are.
    pub total: u32,
    /// Its text.
    pub text: String,
}

/// A document of which chunks are missing.
#[derive(Debug, Clone)]
pub struct LostDocument<T> {
    /// What its chunks share.
    pub key: ChunkKey,
    /// How many chunks it has.
    pub total: u32,
    /// The places of those that are missing, ranges from first to last; none where it was too long.
    pub missing: Vec<(u32, u32)>,
    /// The text before the first gap.
    pub start: String,
    /// The callers' tags of the chunks that are there.
    pub tags: Vec<T>,
}

/// What became of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It waits for others.
    Kept,
    /// It is there already.
    Duplicate,
    /// Its place is none.
    Refused(String),
    /// Its document is whole: text and tags, in the order of places.
    Whole(String, Vec<T>),
}

/// Joins chunks as they come.
#[derive(Debug)]
pub struct Chunks<T> {
    open: BTreeMap<ChunkKey, Draft<T>>,
    lost: Vec<LostDocument<T>>,
    /// Bytes of documents that are not whole, and the most there may be.
    held: usize,
    most_held: usize,
    /// Documents of several chunks, by number, in the order in which they began.
    begun: VecDeque<(ChunkKey, u64)>,
    count: u64,
}

#[derive(Debug)]
struct Draft<T> {
    number: u64,
    total: u32,
    /// Gone once the document is whole.
    parts: BTreeMap<u32, Part<T>>,
    bytes: usize,
    /// What is left of a whole document: its parts' digests, which know their repeats.
    whole: Box<[[u8; 16]]>,
}

#[derive(Debug)]
struct Part<T> {
    digest: [u8; 16],
    text: String,
    tag: T,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Chunks {
            open: BTreeMap::new(),
            lost: Vec::new(),
            held: 0,
            most_held: MOST_HELD,
            begun: VecDeque::new(),
            count: 0,
        }
    }
}

impl<T: Clone> Chunks<T> {
    /// Takes a chunk.
    pub fn push(&mut self, chunk: Chunk, tag: T) -> Outcome<T> {
        let Chunk { key, index, total, text } = chunk;
        if index == 0 || index > total || total > MOST_CHUNKS {
            return Outcome::Refused(format!("chunk {index} of {total}"));
        }
        let digest = digest(&text);
        if let Some(draft) = self.open.get(&key) {
            let same = draft.digest_of(index).map(|known| known == digest);
            if draft.total == total && same == Some(true) {
                return Outcome::Duplicate;
            }
            if draft.total != total || draft.is_whole() || same == Some(false) {
                self.give_up(&key);
            }
        }
        let number = self.count;
        let (parts, whole) = (BTreeMap::new(), Box::default());
        let new = || Draft { number, total, parts, bytes: 0, whole };
        let draft = self.open.entry(key.clone()).or_insert_with(new);
        let is_new = draft.parts.is_empty();
        draft.bytes += text.len();
        self.held += text.len();
        draft.parts.insert(index, Part { digest, text, tag });
        if draft.bytes > LONGEST_DOCUMENT {
            self.give_up(&key);
            return Outcome::Refused("its document is too long".to_owned());
        }
        if draft.parts.len() < total as usize {
            if is_new {
                self.begun.push_back((key, number));
                self.count += 1;
            }
            self.make_room();
            return Outcome::Kept;
        }
        self.held -= std::mem::take(&mut draft.bytes);
        draft.whole = draft.parts.values().map(|part| part.digest).collect();
        let parts = std::mem::take(&mut draft.parts).into_values();
        let (mut texts, tags): (Vec<String>, Vec<T>) =
            parts.map(|part| (part.text, part.tag)).unzip();
        // Most documents are one chunk, which need not be copied.
        let text = if texts.len() == 1 { texts.remove(0) } else { texts.concat() };
        Outcome::Whole(text, tags)
    }

    /// Gives up the oldest documents that are not whole, until what is held is little enough.
    fn make_room(&mut self) {
        while self.held > self.most_held {
            let Some((key, number)) = self.begun.pop_front() else { return };
            if self.open.get(&key).is_some_and(|draft| draft.number == number && !draft.is_whole())
            {
                self.give_up(&key);
            }
        }
    }

    /// Makes room for another document of this key: the one that is there is lost, if not whole.
    fn give_up(&mut self, key: &ChunkKey) {
        if let Some((key, draft)) = self.open.remove_entry(key) {
            self.held -= draft.bytes;
            self.lost.extend(draft.lost(key));
        }
    }

    /// Forgets what is whole, and gives the documents that can no longer become so.
    pub fn part(&mut self) -> Vec<LostDocument<T>> {
        self.open.retain(|_, draft| !draft.is_whole());
        let is_open = |(key, number): &(ChunkKey, u64)| {
            self.open.get(key).is_some_and(|draft| draft.number == *number)
        };
        self.begun.retain(is_open);
        std::mem::take(&mut self.lost)
    }

    /// The documents that did not get whole.
    pub fn finish(mut self) -> Vec<LostDocument<T>> {
        self.lost.extend(self.open.into_iter().filter_map(|(key, draft)| draft.lost(key)));
        self.lost
    }
}

impl<T> Draft<T> {
    fn is_whole(&self) -> bool {
        !self.whole.is_empty()
    }

    /// What tells a part that is or was there from another of its place.
    fn digest_of(&self, index: u32) -> Option<[u8; 16]> {
        let part = || self.parts.get(&index).map(|part| part.digest);
        self.whole.get(index as usize - 1).copied().or_else(part)
    }

    fn lost(self, key: ChunkKey) -> Option<LostDocument<T>> {
        if self.is_whole() {
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

    fn chunk(thread: u32, index: u32, total: u32, text: &str) -> Chunk {
        let key = ChunkKey {
            host: "srv".to_owned(),
            activity: None,
            process: None,
            thread: Some(thread),
            event_id: 772,
        };
        Chunk { key, index, total, text: text.to_owned() }
    }

    fn joined(chunks: &[Chunk]) -> (Vec<String>, Vec<LostDocument<usize>>) {
        let mut joiner = Chunks::default();
        let mut whole = Vec::new();
        for (tag, chunk) in chunks.iter().enumerate() {
            if let Outcome::Whole(text, tags) = joiner.push(chunk.clone(), tag) {
                assert_eq!(tags.len(), chunk.total as usize);
                whole.push(text);
            }
        }
        (whole, joiner.finish())
    }

    #[test]
    fn turns_disorder_and_repeats() {
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
    fn a_gap_is_told_and_ends_with_the_next_document() {
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
        let mut joiner = Chunks { most_held: 100, ..Chunks::default() };
        for thread in 0..9 {
            joiner.push(chunk(thread, 1, 2, &"x".repeat(20)), ());
        }
        assert!(joiner.held <= 100);
        assert!(matches!(joiner.push(chunk(8, 2, 2, "y"), ()), Outcome::Whole(..)));
        assert_eq!(joiner.push(chunk(0, 2, 2, "y"), ()), Outcome::Kept);
        // Eight starts and the end that came too late.
        assert_eq!(joiner.finish().len(), 9);
    }

    #[test]
    fn places_that_are_none() {
        let mut joiner = Chunks::default();
        for (index, total) in [(0, 1), (2, 1), (1, u32::MAX), (0, 0)] {
            assert!(matches!(joiner.push(chunk(1, index, total, "x"), ()), Outcome::Refused(_)));
        }
    }
}
