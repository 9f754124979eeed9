//! Equal texts are unwrapped once: a log holds the same script hundreds of times.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

use super::budget::Limits;
use super::unwrap::layers;
use super::unwrapped::Unwrapped;

/// Text that the layers kept may hold, in bytes; what more texts hide is found anew each time.
const MOST_HELD: usize = 16 << 20;

/// Takes the layers off texts, within the default [`Limits`], and remembers what it found.
pub struct Unwrapper {
    hasher: SeedableRandomState,
    /// By the text's hash. The hasher is seeded by the system, so that nobody can write two texts of
    /// one hash into a log.
    known: HashMap<u64, Arc<Unwrapped>>,
    /// What most texts hide.
    nothing: Arc<Unwrapped>,
    held: usize,
}

impl Default for Unwrapper {
    fn default() -> Unwrapper {
        // foldhash takes its own seed from addresses and the clock; this one is the system's.
        let seed = RandomState::new().hash_one(());
        Unwrapper {
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_random()),
            known: HashMap::new(),
            nothing: Arc::default(),
            held: 0,
        }
    }
}

impl Unwrapper {
    /// What a text hides.
    pub fn layers(&mut self, text: &str) -> Arc<Unwrapped> {
        let key = self.hasher.hash_one(text);
        if let Some(known) = self.known.get(&key) {
            return Arc::clone(known);
        }
        let found = layers(text, &Limits::default());
        let found = if found.is_empty() { Arc::clone(&self.nothing) } else { Arc::new(found) };
        let size: usize = found.layers.iter().map(|layer| layer.text.len()).sum();
        if self.held + size <= MOST_HELD && self.known.len() < MOST_HELD / size_of::<Unwrapped>() {
            self.held += size;
            self.known.insert(key, Arc::clone(&found));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_hides_the_same_the_second_time() {
        let mut unwrapper = Unwrapper::default();
        // UTF-16LE Base64 of "whoami".
        let texts =
            ["powershell -e dwBoAG8AYQBtAGkA", "Get-Date", "powershell -e dwBoAG8AYQBtAGkA"];
        let found = texts.map(|text| unwrapper.layers(text));
        for (found, text) in found.iter().zip(texts) {
            assert_eq!(**found, layers(text, &Limits::default()), "{text}");
        }
        assert_eq!(found[0].layers[0].text, "whoami");
        assert!(Arc::ptr_eq(&found[0], &found[2]));
    }
}
