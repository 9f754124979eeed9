//! Records that are copies of a record in another input. `dedup` finds them; rows leave them out.

use std::collections::BTreeMap;
use std::io;
use std::iter::Peekable;

use super::pointers::Pointers;
use crate::model::{IdxVec, InputIdx, Proof, RecordRef};
use crate::sorted::{RowEntry, SortedRows};

/// What two inputs have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Events of the one that are copies of the other's.
    pub copies: u64,
    /// Events of the one that have the name and time of one of the other's, and say something else.
    pub differing: u64,
}

/// The records that are copies.
#[derive(Default)]
pub(crate) struct Copies {
    /// Their offsets, by input and in order.
    pub offsets: IdxVec<InputIdx, Vec<u64>>,
    /// The copies of each record that has some, by its row of the timeline.
    pub places: SortedRows,
    /// What an input, the first, has in common with one that is preferred.
    pub overlaps: BTreeMap<(InputIdx, InputIdx), Overlap>,
}

impl Copies {
    /// Whether the record there is a copy.
    pub fn contains(&self, source: RecordRef) -> bool {
        let offsets = self.offsets.get(source.input);
        offsets.is_some_and(|offsets| offsets.binary_search(&source.offset).is_ok())
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.offsets.iter().map(|offsets| offsets.len() as u64).sum()
    }
}

/// Copies of one record that are named; of more, their number is known.
const MOST_COPIES: usize = 10_000;

/// The copies of one record.
#[derive(Debug, Default)]
pub(crate) struct CopiesOfRow {
    named: Vec<Proof>,
    count: usize,
}

impl CopiesOfRow {
    /// Pointers to them.
    pub fn pointers<'p>(&'p self, paths: &'p [std::path::PathBuf]) -> Pointers<'p> {
        Pointers::copies(paths, &self.named, self.count)
    }
}

/// The copies of each row of the timeline, row by row in the order of rows.
pub(crate) struct CopyLocations<I: Iterator>(Peekable<I>);

impl Copies {
    /// The copies of all rows; one reading at a time.
    ///
    /// # Errors
    /// When they cannot be read back.
    pub fn locations(
        &self,
    ) -> io::Result<CopyLocations<impl Iterator<Item = io::Result<RowEntry<'_>>>>> {
        Ok(CopyLocations(self.places.rows()?.peekable()))
    }
}

impl<'p, I: Iterator<Item = io::Result<RowEntry<'p>>>> CopyLocations<I> {
    /// The copies of the next row's record.
    ///
    /// # Errors
    /// When they cannot be read back.
    pub fn next_of(&mut self, row: &RowEntry<'_>) -> io::Result<CopiesOfRow> {
        let mut copies = CopiesOfRow::default();
        let is_of_row = |place: &io::Result<RowEntry<'_>>| match place {
            Ok(place) => place.key().starts_with(row.key()),
            Err(_) => true,
        };
        while let Some(place) = self.0.next_if(is_of_row) {
            let place = place?;
            copies.count += 1;
            if copies.named.len() < MOST_COPIES {
                copies.named.push(postcard::from_bytes(place.content()).map_err(io::Error::other)?);
            }
        }
        Ok(copies)
    }
}
