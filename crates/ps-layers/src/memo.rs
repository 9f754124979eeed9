//! Unwraps equal texts only once: a log contains the same script hundreds of times.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

use super::budget::UnwrapLimits;
use super::unwrap::find_layers;
use super::unwrapped::Unwrapped;

/// Largest amount of text in remembered layers, in bytes; beyond it, texts are unwrapped anew
/// each time.
const MOST_HELD: usize = 16 << 20;

/// Unwraps texts within the default [`UnwrapLimits`], and remembers the results.
pub struct Unwrapper {
    hasher: SeedableRandomState,
    /// Results by the hash of the text. The operating system seeds the hasher, so that nobody can
    /// write two texts with the same hash into a log.
    known: HashMap<u64, Arc<Unwrapped>>,
    /// The result for most texts: no layers.
    nothing: Arc<Unwrapped>,
    held: usize,
}

impl Default for Unwrapper {
    fn default() -> Unwrapper {
        // foldhash takes its seed from addresses and the clock; this one comes from the operating
        // system.
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
    /// Returns the layers of a text.
    pub fn find_layers(&mut self, text: &str) -> Arc<Unwrapped> {
        let key = self.hasher.hash_one(text);
        if let Some(known) = self.known.get(&key) {
            return Arc::clone(known);
        }
        let found = find_layers(text, &UnwrapLimits::default());
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
        let found = texts.map(|text| unwrapper.find_layers(text));
        for (found, text) in found.iter().zip(texts) {
            assert_eq!(**found, find_layers(text, &UnwrapLimits::default()), "{text}");
        }
        assert_eq!(found[0].layers[0].text, "whoami");
        assert!(Arc::ptr_eq(&found[0], &found[2]));
    }
}
