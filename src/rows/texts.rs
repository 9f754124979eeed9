//! Texts that many rows have are kept once: a host's rows have few names, and most scripts are run
//! again and again.

use std::sync::{Mutex, PoisonError};

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use crate::keyed::KeyedHasher;
use crate::model::Str;

/// The number of a text that is kept once, in the order in which texts came to be kept. Rows of one
/// run have it; no output shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TextIdx(u32);

impl TextIdx {
    /// The number, to look something up by.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// A text of a row, as it lies in the row's serial form.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum RowText<'t> {
    /// One that is kept once.
    Shared(TextIdx),
    /// One of this row alone, as far as is known.
    Own(&'t str),
}

/// A text of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SharedText<'t> {
    /// One that many rows have, with its number.
    Shared(TextIdx, &'t str),
    /// One of this row alone, as far as is known.
    Own(&'t str),
}

impl<'t> SharedText<'t> {
    /// The text.
    pub fn as_str(self) -> &'t str {
        match self {
            SharedText::Shared(_, text) | SharedText::Own(text) => text,
        }
    }
}

/// Takes texts that rows of all tasks share.
#[derive(Default)]
pub(crate) struct TextPool(Mutex<Pool>);

#[derive(Default)]
struct Pool {
    texts: Vec<Str>,
    size: usize,
}

/// Bytes of texts that are kept once; a log may be written to have ever new ones.
const MOST_BYTES: usize = 16 << 20;
/// What a text takes besides its bytes.
const OVERHEAD: usize = 64;

impl TextPool {
    /// Keeps a text if there is room, and yields its number.
    fn keep(&self, text: Str) -> Option<TextIdx> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pool.size += text.len() + OVERHEAD;
        if pool.size > MOST_BYTES {
            return None;
        }
        pool.texts.push(text);
        // The room for texts bounds their number far below 2^32.
        Some(TextIdx(pool.texts.len() as u32 - 1))
    }

    /// The texts that were kept.
    pub fn finish(self) -> Texts {
        Texts(self.0.into_inner().unwrap_or_else(PoisonError::into_inner).texts)
    }
}

/// Texts that rows share, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Texts(Vec<Str>);

impl Texts {
    /// The text of a row.
    pub fn get<'t>(&'t self, text: RowText<'t>) -> SharedText<'t> {
        match text {
            RowText::Shared(index) => SharedText::Shared(index, &self.0[index.get()]),
            RowText::Own(text) => SharedText::Own(text),
        }
    }

    /// All of them, in the order of their numbers.
    pub fn all(&self) -> &[Str] {
        &self.0
    }
}

/// Finds which texts of one task's rows repeat. A text is kept once it is seen a second time.
#[derive(Default)]
pub(crate) struct Repeats {
    keys: KeyedHasher,
    /// By their hash, texts that are kept and their numbers.
    known: HashMap<u64, (Str, TextIdx)>,
    /// Hashes of texts seen before, each in the place that its last bits name.
    seen: Vec<u64>,
    full: bool,
}

/// Texts that are remembered to have been seen.
const SEEN: usize = 1 << 14;

impl Repeats {
    /// The number of a text that is kept once; none before it is seen a second time.
    pub fn index(&mut self, text: &str, pool: &TextPool) -> Option<TextIdx> {
        let Repeats { keys, known, seen, full } = self;
        let key = keys.hash(text);
        if let Some((same, index)) = known.get(&key) {
            return (**same == *text).then_some(*index);
        }
        seen.resize(SEEN, 0);
        let before = std::mem::replace(&mut seen[key as usize % SEEN], key);
        if *full || before != key {
            return None;
        }
        let text = Str::from(text);
        let index = pool.keep(text.clone());
        *full = index.is_none();
        known.insert(key, (text, index?));
        index
    }

    /// A text as a row has it.
    pub fn text<'t>(&mut self, text: &'t str, pool: &TextPool) -> RowText<'t> {
        let index = if text.is_empty() { None } else { self.index(text, pool) };
        index.map_or(RowText::Own(text), RowText::Shared)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn texts_that_repeat_are_kept_once() {
        let (pool, mut repeats) = (TextPool::default(), Repeats::default());
        // Texts with places of their own among those that were seen.
        let keys = repeats.keys.clone();
        let mut places = BTreeSet::new();
        let mut names = ('a'..='z').map(String::from);
        let mut next =
            || names.find(|name| places.insert(keys.hash(&**name) as usize % SEEN)).unwrap();
        let [a, b, c] = [next(), next(), next()];
        let mut index = |text: &str| repeats.index(text, &pool).map(TextIdx::get);
        let texts = [&a, &b, &a, &a, &c, &b].map(|text| index(text));
        assert_eq!(texts, [None, None, Some(0), Some(0), None, Some(1)]);
        // So many others that each place holds another one, and what is known stays so.
        (0..20 * SEEN).for_each(|other| assert_eq!(index(&other.to_string()), None));
        assert_eq!([&c, &a, &c].map(|text| index(text)), [None, Some(0), Some(2)]);
        assert_eq!(pool.finish().all(), [a, b, c].map(Str::from));
    }

    #[test]
    fn room_for_texts_is_bounded() {
        let (pool, mut repeats) = (TextPool::default(), Repeats::default());
        let mut index = |text: &str| repeats.index(text, &pool).map(TextIdx::get);
        let long = |letter: &str| letter.repeat(MOST_BYTES / 2);
        assert_eq!(
            ["a", "a", "b", "b"].map(|letter| index(&long(letter))),
            [None, Some(0), None, None]
        );
        assert_eq!(["c", "c", &long("a")].map(index), [None, None, Some(0)]);
        assert_eq!(pool.finish().all(), [Str::from(long("a"))]);
    }
}
