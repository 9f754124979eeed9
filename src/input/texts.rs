//! Reads the texts in a zip into memory, as rule packs may be zips.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use zip::ZipArchive;

use crate::error::with_causes;

/// The longest text that is read from a file or zip: 1 MiB, far more than any rule.
pub const LONGEST_TEXT: u64 = 1 << 20;
/// The most members that such a zip may have.
const MOST_MEMBERS: usize = 1 << 16;
/// The most bytes of text that are read from one zip: 64 MiB.
const MOST_BYTES: u64 = 64 << 20;

/// A text's name in its zip or folder, and the text, or why it could not be read.
pub type ZippedText = (String, Result<Vec<u8>, String>);

/// Returns whether a file is a zip, by its content (APPNOTE 4.3.6: a local header, or an empty
/// archive).
///
/// # Errors
/// When it cannot be read.
pub fn is_zip(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut head)?;
    Ok(head == b"PK\x03\x04" || head == b"PK\x05\x06")
}

/// Reads the texts in a zip whose names `wanted` accepts. Names are labels: no path is made of
/// them.
///
/// # Errors
/// When the zip cannot be read or is too large.
pub fn zipped_texts(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<ZippedText>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| with_causes(&error))?;
    if archive.len() > MOST_MEMBERS {
        return Err(format!("it has more than {MOST_MEMBERS} members"));
    }
    let mut texts = Vec::new();
    let mut room = MOST_BYTES;
    for index in 0..archive.len() {
        let name = match archive.by_index_data(index) {
            Ok(entry) if entry.is_dir() => continue,
            Ok(entry) => String::from_utf8_lossy(entry.name_raw()).replace('\\', "/"),
            Err(error) => return Err(with_causes(&error)),
        };
        if !wanted(&name) {
            continue;
        }
        let text = match archive.by_index(index) {
            Ok(member) => read_text(member, room),
            Err(error) => Err(with_causes(&error)),
        };
        room = room.saturating_sub(text.as_ref().map_or(0, |text| text.len() as u64));
        if room == 0 {
            return Err(format!("its texts come to more than {} MiB", MOST_BYTES >> 20));
        }
        texts.push((name, text));
    }
    Ok(texts)
}

/// Reads a text. It may be no longer than [`LONGEST_TEXT`] and is cut after `room` bytes.
pub fn read_text(from: impl Read, room: u64) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    from.take(room.min(LONGEST_TEXT + 1)).read_to_end(&mut text).map_err(|e| e.to_string())?;
    match text.len() as u64 > LONGEST_TEXT {
        true => Err(format!("it is longer than {} MiB", LONGEST_TEXT >> 20)),
        false => Ok(text),
    }
}
