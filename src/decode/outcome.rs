//! The outcome of decoding a piece.

use crate::error::Fault;

/// The outcome of decoding a piece.
#[derive(Debug, Default)]
pub struct DecodeOutcome {
    /// Records read, wanted or not.
    pub records: u64,
    /// Faults: parts that could not be read, or only with doubt.
    pub faults: Vec<Fault>,
    /// Values that are sound but not records. A text with nothing else is not a log.
    pub foreign: Vec<Fault>,
    /// Records whose texts are longer than the limit. Each is a fault, listed or counted.
    pub too_long: u64,
}
