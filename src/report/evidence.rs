//! Pointers to the records that prove a row.

use std::borrow::Cow;
use std::path::PathBuf;

use super::cell::list;
use crate::model::{Proof, RecordRef};

/// Most records a cell names.
pub(super) const MAX_NAMED: usize = 100;

/// `FILE:EVENT_RECORD_ID@OFFSET`, and `#NUMBER` where the record's header has another number.
pub(super) fn pointer(paths: &[PathBuf], proof: &Proof) -> String {
    let Proof { source: RecordRef { input, offset, number }, record_id } = *proof;
    let file = paths[input.index()].display();
    if number == record_id {
        format!("{file}:{record_id}@{offset}")
    } else {
        format!("{file}:{record_id}#{number}@{offset}")
    }
}

/// Pointers to records in one cell, all of them or the first and how many more: the timeline has
/// them all, by session. `paths` are those of the inputs.
pub(super) fn cell(paths: &[PathBuf], proofs: &[Proof]) -> Cow<'static, str> {
    pointers(paths, proofs, proofs.len(), " in timeline.csv")
}

/// Pointers to a record's copies in one cell: these, at most [`MAX_NAMED`], of so many.
pub(super) fn copies(paths: &[PathBuf], named: &[Proof], count: usize) -> Cow<'static, str> {
    pointers(paths, named, count, "")
}

fn pointers(paths: &[PathBuf], proofs: &[Proof], count: usize, at: &str) -> Cow<'static, str> {
    let more = count.saturating_sub(MAX_NAMED);
    let mut pointers: Vec<String> =
        proofs.iter().take(MAX_NAMED).map(|proof| pointer(paths, proof)).collect();
    if more > 0 {
        pointers.push(format!("and {more} more{at}"));
    }
    list(pointers)
}
