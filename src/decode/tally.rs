//! The outcome of decoding a piece.

use crate::error::Fault;

/// What decoding a piece came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Records read, wanted or not.
    pub records: u64,
    /// What could not be read, or read with doubt.
    pub faults: Vec<Fault>,
    /// What is sound but no record. A text that has nothing else is no log.
    pub foreign: Vec<Fault>,
    /// Records whose texts are longer than the limit: each is a fault, listed or counted.
    pub too_long: u64,
}
