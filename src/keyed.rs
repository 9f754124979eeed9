//! Per-run keyed hashing: no log can be written to make two texts have one hash.
//!
//! A hash of 64 bits is for look-ups whose result is compared, or that only pick what is read
//! again. What is known by its hash alone has one of 128 bits.

use std::hash::{BuildHasher, Hash, RandomState};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

/// Makes a run's hashes of what is known by them.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    state: SeedableRandomState,
    /// Of another seed, for the other half of wide hashes.
    other: SeedableRandomState,
}

impl Default for Keyed {
    fn default() -> Keyed {
        // The library seeds its hashes from addresses and the clock; these seeds are the system's.
        let state = || {
            let seed = RandomState::new().hash_one(());
            SeedableRandomState::with_seed(seed, SharedSeed::global_random())
        };
        Keyed { state: state(), other: state() }
    }
}

impl Keyed {
    /// The hash of a value.
    pub fn of(&self, value: impl Hash) -> u64 {
        self.state.hash_one(value)
    }

    /// The hash of a value that is known by it alone.
    pub fn wide(&self, value: &impl Hash) -> [u64; 2] {
        [self.state.hash_one(value), self.other.hash_one(value)]
    }

    /// A hasher, for values of several parts.
    pub fn hasher(&self) -> impl std::hash::Hasher {
        self.state.build_hasher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_of_a_wide_hash_have_seeds_of_their_own() {
        let keys = Keyed::default();
        assert_eq!(keys.wide(&"a"), keys.wide(&"a"));
        let (a, b) = (keys.wide(&"a"), keys.wide(&"b"));
        assert!(a[0] != b[0] && a[1] != b[1] && a[0] != a[1]);
        assert_ne!(a, Keyed::default().wide(&"a"));
    }
}
