//! Evidence pointers: finds the record that a cell of a CSV file names.

use std::path::{Path, PathBuf};

use crate::decode::{self, Decoder, RecordFilter};
use crate::error::Error;
use crate::input::{self, Input, Piece, PlaceReader, discover};
use crate::limits::Limits;
use crate::model::{Channel, InputIdx, Record, RecordRef};

/// An evidence pointer as in the CSV files: `FILE:ID@OFFSET` or `FILE:ID#NUMBER@OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EvidencePointer<'p> {
    pub file: &'p str,
    pub record_id: u64,
    /// The number in the record's header, where it differs from the id.
    pub number: Option<u64>,
    pub offset: u64,
}

impl<'p> EvidencePointer<'p> {
    /// Parses a pointer from its right end, because paths may contain any character.
    pub fn parse(text: &'p str) -> Option<EvidencePointer<'p>> {
        let (rest, offset) = text.trim().rsplit_once('@')?;
        let (file, id) = rest.rsplit_once(':')?;
        let (record_id, number) = match id.split_once('#') {
            Some((id, number)) => (id, Some(number.parse().ok()?)),
            None => (id, None),
        };
        let (record_id, offset) = (record_id.parse().ok()?, offset.parse().ok()?);
        (!file.is_empty()).then_some(EvidencePointer { file, record_id, number, offset })
    }
}

/// Reads the record that an evidence pointer names.
///
/// # Errors
/// [`Error::Pointer`] when the text is not a pointer, or no longer leads to that record.
pub fn read_record(pointer: &str) -> Result<Record, Error> {
    let fail = |reason: &str| Error::Pointer(format!("'{pointer}': {reason}"));
    let form = "an evidence pointer reads FILE:EVENT_RECORD_ID@OFFSET, as in detections.csv";
    let EvidencePointer { file, record_id, number, offset } =
        EvidencePointer::parse(pointer).ok_or_else(|| fail(form))?;
    // Zips are unpacked to the folder for temporary files. The unpacked file vanishes with the
    // program.
    let scratch = std::env::temp_dir();
    let limits = Limits::default();
    let inputs = input::unpack(discover(&[path_on_disk(file)])?, &scratch, &limits)?;
    let inputs = input::with_recovered(inputs);
    let named = |input: &&Input| input.path == Path::new(file);
    let input = inputs.iter().find(named).ok_or_else(|| fail("there is no such file in it"))?;
    if !input.kind.is_log() {
        return Err(fail("the file is not an event log"));
    }
    let mut found = None;
    let mut piece = Piece::default();
    let read = PlaceReader::with_limits(&limits).read(
        InputIdx::default(),
        input,
        decode::reread_offset(input, offset),
        &mut piece,
    );
    read.map_err(|error| fail(&format!("the file cannot be read there: {error}")))?;
    let take = |record: &Record| found = Some(record.clone());
    Decoder::default().decode_piece(
        input,
        InputIdx::default(),
        &mut piece,
        &RecordAtOffset(offset),
        take,
    );
    let record = found.ok_or_else(|| fail("no record begins at this offset"))?;
    if record.record_id != record_id || number.is_some_and(|n| n != record.source.number) {
        let other = format!("the record at this offset has the id {}", record.record_id);
        return Err(fail(&other));
    }
    Ok(record)
}

/// Returns the file on disk that a path names or leads into: a member's path continues after its
/// archive's.
fn path_on_disk(file: &str) -> PathBuf {
    let path = Path::new(file);
    let existing = path.ancestors().find(|path| path.is_file());
    existing.unwrap_or(path).to_owned()
}

/// Selects the record at an offset.
struct RecordAtOffset(u64);

impl RecordFilter for RecordAtOffset {
    fn wants(&self, source: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        source.offset == self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_read_from_their_right_end() {
        let pointer = |file, record_id, number, offset| {
            Some(EvidencePointer { file, record_id, number, offset })
        };
        for (text, expected) in [
            ("a.evtx:7@4608", pointer("a.evtx", 7, None, 4608)),
            (r"C:\a@b:1\x.evtx:7#3@4608", pointer(r"C:\a@b:1\x.evtx", 7, Some(3), 4608)),
            ("a.zip/b:c.evtx:7@0", pointer("a.zip/b:c.evtx", 7, None, 0)),
            ("a.evtx", None),
            ("a.evtx:7", None),
            (":7@1", None),
            ("a.evtx:x@1", None),
        ] {
            assert_eq!(EvidencePointer::parse(text), expected, "{text}");
        }
    }
}
