//! Hashes that are keyed anew in each run, so that no log can be written to make two texts one.

use std::hash::{BuildHasher, Hash, RandomState};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

/// Makes a run's hashes of what is known by them.
#[derive(Debug, Clone)]
pub(crate) struct Keyed(pub SeedableRandomState);

impl Default for Keyed {
    fn default() -> Keyed {
        // The library seeds its hashes from addresses and the clock; this seed is the system's.
        let seed = RandomState::new().hash_one(());
        Keyed(SeedableRandomState::with_seed(seed, SharedSeed::global_random()))
    }
}

impl Keyed {
    /// The hash of a value.
    pub fn of(&self, value: impl Hash) -> u64 {
        self.0.hash_one(value)
    }
}
