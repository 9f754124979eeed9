//! Per-run keyed hashing. No log can be written to give two texts the same hash.
//!
//! Use a hash of 64 bits for look-ups whose result is compared again, or that only select what is
//! read again. Use a hash of 128 bits where the hash alone identifies a value.

use std::hash::{BuildHasher, Hash, RandomState};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

/// Computes hashes that are keyed anew in each run.
#[derive(Debug, Clone)]
pub(crate) struct KeyedHasher {
    state: SeedableRandomState,
    /// A second seed, for the other half of 128-bit hashes.
    other: SeedableRandomState,
}

impl Default for KeyedHasher {
    fn default() -> KeyedHasher {
        // The library derives its seeds from addresses and the clock. These seeds come from the
        // system.
        let state = || {
            let seed = RandomState::new().hash_one(());
            SeedableRandomState::with_seed(seed, SharedSeed::global_random())
        };
        KeyedHasher { state: state(), other: state() }
    }
}

impl KeyedHasher {
    /// Returns a 64-bit hash of a value.
    pub fn hash(&self, value: impl Hash) -> u64 {
        self.state.hash_one(value)
    }

    /// Returns a 128-bit hash of a value, for values that are identified by their hash alone.
    pub fn hash_128(&self, value: &impl Hash) -> [u64; 2] {
        [self.state.hash_one(value), self.other.hash_one(value)]
    }

    /// Returns a hasher for values of several parts.
    pub fn hasher(&self) -> impl std::hash::Hasher {
        self.state.build_hasher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_of_a_wide_hash_have_seeds_of_their_own() {
        let keys = KeyedHasher::default();
        assert_eq!(keys.hash_128(&"a"), keys.hash_128(&"a"));
        let (a, b) = (keys.hash_128(&"a"), keys.hash_128(&"b"));
        assert!(a[0] != b[0] && a[1] != b[1] && a[0] != a[1]);
        assert_ne!(a, KeyedHasher::default().hash_128(&"a"));
    }
}
