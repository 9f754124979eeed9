//! Plans come to what the evtx crate comes to, on every log there is and on what damage makes of
//! them.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::definition::Definition;
use super::super::plan::Plan;
use super::*;
use crate::model::Channel;

/// Wants every record.
struct All;
impl Wanted for All {
    fn wants(&self, _: Channel, _: &str, _: u32) -> bool {
        true
    }
}

/// Wants about every second record.
struct Even;
impl Wanted for Even {
    fn wants(&self, _: Channel, _: &str, event_id: u32) -> bool {
        event_id.is_multiple_of(2)
    }
}

const PLACE: Place = Place { input: 7, number: 3 };

/// What the evtx crate makes of a chunk.
fn by_crate(wanted: &dyn Wanted, data: EvtxChunkData) -> (Vec<Record>, ChunkTally) {
    let (mut records, mut tally) = (Vec::new(), ChunkTally::default());
    Decoder::new(wanted).by_crate(data, PLACE, &mut tally, |record| records.push(record));
    (records, tally)
}

/// Compares both ways; why plans did not read the chunk, if they did not.
fn compare(decoder: &mut Decoder, chunk: &[u8], what: &dyn std::fmt::Debug) -> Result<u64, Odd> {
    let data = EvtxChunkData::new(chunk.to_vec(), false).expect("a chunk");
    let count = decoder.by_plans(chunk, PLACE)?;
    let (records, tally) = by_crate(decoder.wanted, data);
    assert_eq!((count, &[][..]), (tally.records, &tally.faults[..]), "{what:?}");
    for (planned, read) in decoder.records.iter().zip(&records) {
        assert_eq!(planned, read, "{what:?}");
    }
    assert_eq!(decoder.records.len(), records.len(), "{what:?}");
    Ok(count)
}

fn logs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    let paths = entries.map(|entry| entry.into_path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "evtx")).collect()
}

/// The chunks of a log that start as chunks do.
fn chunks(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).expect("a readable log");
    let chunks = bytes.get(FILE_HEADER as usize..).unwrap_or_default();
    let whole =
        chunks.chunks_exact(CHUNK_SIZE as usize).filter(|chunk| chunk.starts_with(b"ElfChnk\0"));
    whole.map(<[u8]>::to_vec).collect()
}

/// The logs at hand: of people's machines, damaged ones, our own samples.
const FOLDERS: [&str; 3] = ["../shared/data/evtx", "../shared/data/damaged", "samples"];

#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
fn skipped(folder: &str) {
    eprintln!("skipped: no logs in {folder}");
}

#[test]
fn every_log_reads_the_same_both_ways() {
    for (folder, least) in FOLDERS.into_iter().zip([97, 80, 97]) {
        let logs = logs(folder);
        if logs.is_empty() {
            skipped(folder);
            continue;
        }
        let (mut all, mut planned) = (0, 0);
        for path in &logs {
            let mut decoders = [Decoder::new(&All), Decoder::new(&Even)];
            for (number, chunk) in chunks(path).iter().enumerate() {
                let [every, even] =
                    decoders.each_mut().map(|decoder| compare(decoder, chunk, &(path, number)));
                all += 1;
                planned += u32::from(every.is_ok());
                assert!(even.is_ok() || every.is_err(), "{path:?} {number}: {even:?}");
            }
        }
        assert!(planned * 100 > all * least, "{folder}: only {planned} of {all} chunks by plans");
    }
}

/// Marsaglia's xorshift: the same numbers each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end
    }
}

/// Ends a chunk's live records with its `count`th, if it has that many; where that one ends.
fn cut(chunk: &mut [u8], count: usize) -> usize {
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap()) as usize;
    let free_space = number(&chunk[48..52]);
    let mut at = 512;
    for _ in 0..count {
        let size = chunk.get(at + 4..at + 8).map_or(0, number);
        if size == 0 || at + size >= free_space {
            break;
        }
        at += size;
    }
    chunk[48..52].copy_from_slice(&(at as u32).to_le_bytes());
    at
}

#[test]
fn damaged_chunks_read_the_same_both_ways() {
    /// Records a chunk keeps, so that damage hits what is read; times each chunk is damaged.
    const RECORDS: usize = 8;
    const TIMES: usize = 40;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut all, mut planned) = (0, 0);
    for path in FOLDERS.into_iter().flat_map(logs) {
        let mut decoder = Decoder::new(&All);
        let Some(mut chunk) = chunks(&path).into_iter().next() else { continue };
        let end = cut(&mut chunk, RECORDS);
        for _ in 0..TIMES {
            let mut damaged = chunk.clone();
            for _ in 0..=random.below(3) {
                let at = 128 + random.below(end - 128);
                damaged[at] = match random.below(4) {
                    0 => damaged[at] ^ 1 << random.below(8),
                    1 => damaged[at].wrapping_add(1),
                    2 => [0x00, 0x01, 0x0d, 0x21, 0x81, 0xff][random.below(6)],
                    _ => random.below(256) as u8,
                };
            }
            all += 1;
            let read = compare(&mut decoder, &damaged, &path);
            planned += u32::from(read.is_ok());
        }
    }
    // Where plans refuse, the evtx crate alone speaks, so most damage must get past them.
    assert!(planned * 100 > all * 40, "only {planned} of {all} by plans");
}

#[test]
fn no_bytes_make_plans_panic() {
    let mut random = Random(42);
    let mut noise = || (0..CHUNK_SIZE).map(|_| random.below(256) as u8).collect::<Vec<_>>();
    let mut chunks: Vec<_> = logs("samples").iter().flat_map(|path| chunks(path)).take(2).collect();
    chunks.extend([noise(), vec![0; CHUNK_SIZE as usize], vec![0xff; CHUNK_SIZE as usize]]);
    for chunk in chunks {
        let mut decoder = Decoder::new(&All);
        for length in (0..chunk.len()).step_by(509) {
            let _ = decoder.by_plans(&chunk[..length], PLACE);
            decoder.chunk(chunk[..length].to_vec(), 0, 0, |_| {});
        }
        let mut names = Interner::default();
        for offset in 0..chunk.len() + 8 {
            if let Ok(definition) = Definition::at(&chunk, offset) {
                let plan = Plan::new(definition, &mut names);
                assert!(plan.is_err() || plan.is_ok_and(|plan| plan.imprint.is_of(definition)));
            }
        }
    }
}
