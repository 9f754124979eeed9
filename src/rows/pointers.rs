//! Pointers to the records that prove a row.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::model::{Proof, RecordRef};

/// Most records that a cell names.
pub(crate) const MOST_NAMED: usize = 100;

/// `FILE:EVENT_RECORD_ID@OFFSET`, and `#NUMBER` where the record's header has another number.
pub(crate) fn pointer(paths: &[PathBuf], proof: &Proof) -> String {
    let Proof { source: RecordRef { input, offset, number }, record_id } = *proof;
    let file = paths[input.index()].display();
    if number == record_id {
        format!("{file}:{record_id}@{offset}")
    } else {
        format!("{file}:{record_id}#{number}@{offset}")
    }
}

/// Pointers to records.
#[derive(Debug, Clone, PartialEq)]
pub struct Pointers<'p> {
    /// The paths of the inputs.
    paths: &'p [PathBuf],
    records: Cow<'p, [Proof]>,
    /// Records that are counted and not named.
    more: usize,
    /// What follows the number of those that a cell leaves out.
    place: &'static str,
}

impl<'p> Pointers<'p> {
    /// Pointers to records that the timeline has as well, by session.
    pub(crate) fn new(paths: &'p [PathBuf], records: impl Into<Cow<'p, [Proof]>>) -> Self {
        Pointers { paths, records: records.into(), more: 0, place: " in timeline.csv" }
    }

    /// Pointers to a record's copies, of which there are `count`.
    pub(crate) fn copies(paths: &'p [PathBuf], records: &'p [Proof], count: usize) -> Self {
        let more = count.saturating_sub(records.len());
        Pointers { paths, records: records.into(), more, place: "" }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.more == 0
    }

    /// All pointers; where some are not named, the last text says how many.
    pub fn all(&self) -> impl Iterator<Item = String> + '_ {
        self.first(usize::MAX)
    }

    /// The pointers that a cell names; the last text says how many it does not.
    pub fn in_cell(&self) -> impl Iterator<Item = String> + '_ {
        self.first(MOST_NAMED)
    }

    fn first(&self, most: usize) -> impl Iterator<Item = String> + '_ {
        let more = self.records.len().saturating_sub(most) + self.more;
        let rest = (more > 0).then(|| format!("and {more} more{}", self.place));
        self.records.iter().take(most).map(|proof| pointer(self.paths, proof)).chain(rest)
    }
}
