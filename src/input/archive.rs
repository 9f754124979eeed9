//! Opens triage zips: their members become inputs of their own.
//!
//! Only members that may be logs are unpacked, to an unlinked temporary file in the scratch folder.
//! Names in archives are hostile: they are displayed, and no path is made of them.

use std::io::{self, Read};
use std::path::Path;

use rayon::prelude::*;
use zip::ZipArchive;

use super::source::{FilePart, InputSource, Spool};
use super::{HEAD_BYTES, Input, InputKind, binary_kind, identify, not_a_log, part_path, text_kind};
use crate::error::{Error, Fault, FaultKind, with_causes};
use crate::limits::{Limit, Limits};

/// Adds the members of each archive to the inputs, in the order of the paths.
///
/// # Errors
/// [`Error::Write`] when the scratch folder cannot be written.
pub fn unpack(inputs: Vec<Input>, scratch: &Path, limits: &Limits) -> Result<Vec<Input>, Error> {
    if inputs.iter().all(|input| input.kind != InputKind::Zip) {
        return Ok(inputs);
    }
    let spool = Spool::new(scratch).map_err(Error::write(scratch))?;
    let unpacked = inputs.into_par_iter().map(|input| match input.kind {
        InputKind::Zip => {
            let by_ratio = input.size.saturating_mul(limits.get(Limit::ArchiveRatio));
            let mut budget = limits.get(Limit::ArchiveBytes).max(by_ratio);
            open_with_members(input, &spool, limits, &mut budget, Depth::Outer)
        }
        _ => Ok(vec![input]),
    });
    let unpacked: Vec<Vec<Input>> =
        unpacked.collect::<io::Result<_>>().map_err(Error::write(scratch))?;
    let mut inputs: Vec<Input> = unpacked.into_iter().flatten().collect();
    inputs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(inputs)
}

/// The reason of an archive that was not opened, and of the archives around it if they contain
/// nothing else.
const NOT_OPENED: &str = "an archive in an archive in an archive is not opened";

/// Whether an archive lies in another archive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Outer,
    Inner,
}

/// Returns an archive and its members. An archive without a log or a loss in it is reported as not
/// a log.
///
/// # Errors
/// When the spool cannot be written.
fn open_with_members(
    mut input: Input,
    spool: &Spool,
    limits: &Limits,
    budget: &mut u64,
    depth: Depth,
) -> io::Result<Vec<Input>> {
    let archive = match open_archive(&input, limits, budget) {
        Ok(archive) => archive,
        Err(reason) => {
            input.faults.push(Fault::file(FaultKind::Lost, reason));
            return Ok(vec![input]);
        }
    };
    if archive.has_duplicate_names() {
        let reason = "some of its members have the same name; the last one of each is read";
        input.faults.push(Fault::file(FaultKind::Lost, reason));
    }
    let found = (0..archive.len()).into_par_iter().map(|index| {
        let mut archive = archive.clone();
        read_member(&input.path, &mut archive, index, spool)
    });
    let found: Vec<Option<Input>> = found.collect::<io::Result<_>>()?;
    let mut members = Vec::new();
    // One after the other, because each uses part of the unpacking budget.
    for mut member in found.into_iter().flatten() {
        match (member.kind, depth) {
            (InputKind::Zip, Depth::Outer) => {
                members.extend(open_with_members(member, spool, limits, budget, Depth::Inner)?);
            }
            (InputKind::Zip, Depth::Inner) => {
                member.kind = InputKind::Unknown;
                member.faults.push(Fault::file(FaultKind::NotALog, NOT_OPENED));
                members.push(member);
            }
            _ => members.push(member),
        }
    }
    let matters = |input: &Input| {
        input.kind.is_log() || input.faults.iter().any(|fault| fault.kind != FaultKind::NotALog)
    };
    if !matters(&input) && !members.iter().any(matters) {
        input.kind = InputKind::Unknown;
        let closed = members
            .iter()
            .flat_map(|member| &member.faults)
            .any(|fault| fault.reason == NOT_OPENED);
        let reason = if closed { NOT_OPENED } else { "an archive without an event log" };
        input.faults.push(Fault::file(FaultKind::NotALog, reason));
        return Ok(vec![input]);
    }
    members.insert(0, input);
    Ok(members)
}

/// Opens an archive if its members may be unpacked within the limits.
fn open_archive(
    input: &Input,
    limits: &Limits,
    budget: &mut u64,
) -> Result<ZipArchive<FilePart>, String> {
    let part = FilePart::whole(&input.source).map_err(|error| error.to_string())?;
    let archive = ZipArchive::new(part).map_err(|error| with_causes(&error))?;
    let most = limits.get(Limit::ArchiveMembers);
    if archive.len() as u64 > most {
        limits.count_reached(Limit::ArchiveMembers, 1);
        return Err(format!("not unpacked: more members than the limit archive-members, {most}"));
    }
    let sizes = (0..archive.len()).filter_map(|index| archive.by_index_data(index).ok());
    let size = sizes.fold(0_u64, |sum, member| sum.saturating_add(member.size()));
    *budget = budget.checked_sub(size).ok_or_else(|| {
        limits.count_reached(Limit::ArchiveRatio, 1);
        format!(
            "not unpacked: its {} bytes would become {size}, as in a zip bomb; the limits \
             archive-ratio and archive-bytes set the most",
            input.size
        )
    })?;
    Ok(archive)
}

/// Returns a member as an input, or `None` for a folder.
///
/// # Errors
/// When the spool cannot be written.
fn read_member(
    archive_path: &Path,
    archive: &mut ZipArchive<FilePart>,
    index: usize,
    spool: &Spool,
) -> io::Result<Option<Input>> {
    let lost = |path, size, reason: String| {
        Ok(Some(Input::not_opened(path, size, Fault::file(FaultKind::Lost, reason))))
    };
    let entry = match archive.by_index_data(index) {
        Ok(entry) => entry,
        Err(error) => return lost(archive_path.to_owned(), 0, with_causes(&error)),
    };
    if entry.is_dir() {
        return Ok(None);
    }
    let (size, encrypted) = (entry.size(), entry.encrypted());
    let path = match entry.name() {
        Ok(name) => part_path(archive_path, &name),
        Err(_) => part_path(archive_path, &String::from_utf8_lossy(entry.name_raw())),
    };
    if encrypted {
        return lost(
            path,
            size,
            "encrypted in its archive: unpack it with its password".to_owned(),
        );
    }
    let mut file = match archive.by_index(index) {
        Ok(file) => file,
        Err(error) => {
            return lost(path, size, format!("damaged in its archive: {}", with_causes(&error)));
        }
    };
    let mut head = Vec::new();
    let read = file.by_ref().take(HEAD_BYTES.min(size)).read_to_end(&mut head);
    if binary_kind(&head).or_else(|| text_kind(&head)).is_none() {
        return Ok(Some(match read {
            Err(error) => return lost(path, size, format!("damaged in its archive: {error}")),
            Ok(_) => {
                let fault = not_a_log(&path, size);
                Input::not_opened(path, size, fault)
            }
        }));
    }
    // After an error nothing more can be read.
    let rest = if read.is_ok() { size.saturating_sub(head.len() as u64) } else { 0 };
    let mut content = head.as_slice().chain(file.by_ref().take(rest));
    let (part, read_on) = spool.store(&mut content, size)?;
    // Reading once more at the end makes the library compare size and checksum.
    let whole = read.map(|_| ()).and(read_on).and_then(|()| file.read(&mut [0]).map(drop));
    let mut input = identify(path, InputSource::Part(part));
    if let Err(error) = whole {
        let reason = format!("damaged in its archive, read as far as possible: {error}");
        input.faults.push(Fault::file(FaultKind::Lost, reason));
    }
    Ok(Some(input))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::input::{Piece, PlaceReader, discover};
    use crate::model::InputIdx;

    /// Returns a zip with these members.
    fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn unpack_all(path: &Path, scratch: &Path) -> Vec<Input> {
        unpack(discover(&[path.to_owned()]).unwrap(), scratch, &Limits::default()).unwrap()
    }

    /// A path below a zip, its kind, and its faults.
    type Found = (String, InputKind, Vec<(FaultKind, String)>);

    /// Returns the inputs that a run finds in a zip.
    fn found(zip: &[u8]) -> Vec<Found> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, zip).unwrap();
        let inputs = unpack_all(&path, folder.path());
        let shown = |input: &Input| {
            let shown = input.path.to_str().unwrap().strip_prefix(path.to_str().unwrap());
            shown.unwrap().to_owned()
        };
        let faults = |input: &Input| {
            input.faults.iter().map(|fault| (fault.kind, fault.reason.clone())).collect()
        };
        inputs.iter().map(|input| (shown(input), input.kind, faults(input))).collect()
    }

    fn log(fill: u8) -> Vec<u8> {
        [&b"ElfFile\0"[..], &[fill; 100_000]].concat()
    }

    /// Overwrites bytes of the first entry of the list of members (APPNOTE 4.3.12).
    fn patched(mut zip: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
        let entry = memchr::memmem::find(&zip, b"PK\x01\x02").unwrap();
        zip[entry + at..entry + at + bytes.len()].copy_from_slice(bytes);
        zip
    }

    #[test]
    fn members_are_inputs_and_their_names_only_shown() {
        let inner = zip(&[("b.evtx", &log(2)), ("x.zip", &zip(&[("c.evtx", &log(3))]))]);
        let outer = zip(&[
            ("../../etc/x", &log(1)),
            ("/abs\u{7}", b"{\"EventID\": 1}"),
            ("C%3A/in.zip", &inner),
            ("note.txt", b"text"),
            ("no.evtx", b"text"),
        ]);
        use InputKind::*;
        let found = found(&outer);
        let known: Vec<_> = found
            .iter()
            .map(|(path, kind, faults)| (&**path, *kind, faults.first().map(|fault| fault.0)))
            .collect();
        let expected = [
            ("", Zip, None),
            ("/../../etc/x", Evtx, None),
            ("/C%3A/in.zip", Zip, None),
            ("/C%3A/in.zip/b.evtx", Evtx, None),
            ("/C%3A/in.zip/x.zip", Unknown, Some(FaultKind::NotALog)),
            ("//abs\u{7}", Json, None),
            ("/no.evtx", Unknown, Some(FaultKind::Lost)),
            ("/note.txt", Unknown, Some(FaultKind::NotALog)),
        ];
        assert_eq!(known, expected);
    }

    #[test]
    fn a_member_is_read_where_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, zip(&[("a", &log(1)), ("b", &log(2))])).unwrap();
        let inputs = unpack_all(&path, folder.path());
        let mut piece = Piece::default();
        for (index, fill) in [(1, 1), (2, 2)] {
            PlaceReader::default()
                .read(InputIdx::default(), &inputs[index], 4096, &mut piece)
                .unwrap();
            assert_eq!(piece.chunks[0], vec![fill; 65_536]);
        }
    }

    #[test]
    fn an_archive_without_a_log_is_one_input() {
        let found = found(&zip(&[("a", b"text"), ("b.xml", b"<a/>")]));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].1, found[0].2[0].0), (InputKind::Unknown, FaultKind::NotALog));
        assert_eq!(found[0].2[0].1, "an archive without an event log");
    }

    #[test]
    fn an_archive_with_another_that_is_left_closed_is_not_said_to_be_without_a_log() {
        let nest = (0..3).fold(log(1), |content, _| zip(&[("a", &content)]));
        let found = found(&nest);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].2, [(FaultKind::NotALog, NOT_OPENED.to_owned())]);
    }

    #[test]
    fn what_says_it_is_a_bomb_is_not_unpacked() {
        let bomb = patched(zip(&[("a", &log(0))]), 24, &0xffff_fff0_u32.to_le_bytes());
        let found = found(&bomb);
        assert_eq!(found.len(), 1);
        assert!(found[0].2[0].1.contains("zip bomb"), "{found:?}");
    }

    #[test]
    fn what_is_longer_than_it_says_is_cut() {
        let found = found(&patched(zip(&[("a", &log(0))]), 24, &5000_u32.to_le_bytes()));
        assert_eq!(found[1].1, InputKind::Evtx);
        assert!(found[1].2.iter().any(|fault| fault.1.contains("larger")), "{found:?}");
    }

    #[test]
    fn damaged_and_encrypted_members_are_faults_of_their_own() {
        let whole = zip(&[("a", &log(0)), ("b", &log(1))]);
        // The flags' first bit says encrypted; CRC-32 is at 16.
        for (at, bytes, kind, word) in [
            (8, &[1, 0][..], InputKind::Unknown, "encrypted"),
            (16, &[1, 2, 3, 4][..], InputKind::Evtx, "damaged"),
        ] {
            let found = found(&patched(whole.clone(), at, bytes));
            assert_eq!((found[1].1, found[1].2[0].0), (kind, FaultKind::Lost));
            assert!(found[1].2[0].1.contains(word), "{found:?}");
            assert_eq!((found[2].1, &found[2].2), (InputKind::Evtx, &Vec::new()));
        }
        let cut = found(&whole[..whole.len() / 2]);
        assert_eq!((cut.len(), cut[0].2[0].0), (1, FaultKind::Lost));
    }
}
