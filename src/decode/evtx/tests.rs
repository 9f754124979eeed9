//! Plans give the same records as the evtx crate, on every available log and on damaged copies of
//! them.

use std::fs;
use std::io::Read;
use std::path::Path;

use rayon::prelude::*;
use serde_json::Value as Json;

use super::super::binxml::{BinXmlValue, kind};
use super::super::definition::TemplateDefinition;
use super::super::plan::{TemplatePlan, is_data_container};
use super::super::record::FieldContent;
use super::*;
use crate::model::{Channel, FieldName};

/// Selects each record of [`PLACE`] whose event id is a multiple of this.
struct Every(u32);
impl RecordFilter for Every {
    fn wants(&self, source: RecordRef, _: Channel, _: &str, event_id: u32) -> bool {
        assert!(source.input == PLACE.input && source.offset >= PLACE.start + 512);
        event_id.is_multiple_of(self.0)
    }
}

const ALL: Every = Every(1);
const EVEN: Every = Every(2);
const PLACE: ChunkPlace =
    ChunkPlace { input: InputIdx::new(7), number: Some(3), start: chunk_start(3) };

/// The records passed on, how many were read, and the faults of the others.
type Outcome = (Vec<Record>, u64, Vec<Fault>);

fn outcome(
    chunk: &[u8],
    read: impl FnOnce(&mut EvtxChunkData, &mut ChunkOutcome, &mut dyn FnMut(&Record)),
) -> Outcome {
    let (mut records, mut outcome) = (Vec::new(), ChunkOutcome::default());
    let mut data = EvtxChunkData::new(chunk.to_vec(), false).expect("a chunk");
    read(&mut data, &mut outcome, &mut |record| records.push(record.clone()));
    assert!(data.data == chunk);
    (records, outcome.records, outcome.faults)
}

/// Decodes a chunk with the evtx crate.
fn by_crate(filter: &dyn RecordFilter, chunk: &[u8]) -> Outcome {
    outcome(chunk, |data, outcome, take| {
        EvtxDecoder::default().decode_by_crate(data, PLACE, filter, outcome, take);
    })
}

/// Decodes a chunk by plans as far as possible, then with the evtx crate.
fn by_both(decoder: &mut EvtxDecoder, filter: &dyn RecordFilter, chunk: &[u8]) -> Outcome {
    outcome(chunk, |data, outcome, take| decoder.decode_sound(data, PLACE, filter, outcome, take))
}

/// Returns how many records of a chunk plans alone read, and whether these are all.
fn by_plans(decoder: &mut EvtxDecoder, chunk: &[u8]) -> (usize, bool) {
    let mut records = 0;
    let read = decoder.decode_by_plans(chunk, PLACE, &ALL, |_| records += 1);
    (records, read.is_ok())
}

/// The type a value has in JSON; no text is as good as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Type {
    Nothing,
    Text,
    Number,
    Bool,
}

/// A value's type by [MS-EVEN6] 2.2.13 and its text. The crate shows what is no number or truth
/// to XML as text, and a mask in a boolean's place as the number it is.
fn planned_type(found: FieldContent) -> Type {
    match found {
        FieldContent::Nothing => Type::Nothing,
        FieldContent::Fixed(_) => Type::Text,
        FieldContent::Value(BinXmlValue { kind: kind::INT8..=kind::REAL64, .. }) => Type::Number,
        FieldContent::Value(BinXmlValue { kind: kind::BOOL, bytes: [0 | 1, 0, 0, 0] }) => {
            Type::Bool
        }
        FieldContent::Value(BinXmlValue { kind: kind::BOOL, .. }) => Type::Number,
        FieldContent::Value(value) if value.is_empty() => Type::Nothing,
        FieldContent::Value(_) => Type::Text,
    }
}

fn json_type(json: &Json) -> Type {
    match json {
        Json::Null => Type::Nothing,
        Json::String(text) if text.is_empty() => Type::Nothing,
        Json::String(_) => Type::Text,
        Json::Number(_) => Type::Number,
        Json::Bool(_) => Type::Bool,
        _ => panic!("no scalar: {json}"),
    }
}

/// The System fields a record has, as an element and maybe an attribute.
const SYSTEM: [(&str, Option<&str>); 11] = [
    ("Provider", Some("Name")),
    ("EventID", None),
    ("Level", None),
    ("TimeCreated", Some("SystemTime")),
    ("EventRecordID", None),
    ("Correlation", Some("ActivityID")),
    ("Execution", Some("ProcessID")),
    ("Execution", Some("ThreadID")),
    ("Channel", None),
    ("Computer", None),
    ("Security", Some("UserID")),
];

/// A record's System fields' types, and its other fields' names and types.
type Types = ([Type; 11], Vec<(String, Type)>);

/// The types of the records that plans read.
fn planned_types(decoder: &mut EvtxDecoder, chunk: &[u8]) -> Vec<Types> {
    let EvtxDecoder { names, plans, .. } = decoder;
    let mut all = Vec::new();
    let mut records = plans.chunk_records(chunk, names).expect("a chunk that plans read");
    while records.next().expect("a chunk that plans read").is_some() {
        let (instances, _) = records.current();
        let root = instances.root().unwrap();
        let system = instances.plan(root).system.as_ref().unwrap();
        let system = [
            &system.provider,
            &system.event_id,
            &system.level,
            &system.time,
            &system.record_id,
            &system.activity_id,
            &system.process_id,
            &system.thread_id,
            &system.channel,
            &system.computer,
            &system.user_sid,
        ];
        let mut fields = Vec::new();
        let field = &mut |name: &FieldName, found: FieldContent| {
            fields.push((name.as_str().to_owned(), planned_type(found)));
            Ok(())
        };
        instances.for_each_field(root, field).expect("a chunk that plans read");
        fields.sort();
        all.push((system.map(|field| planned_type(instances.system_content(root, field))), fields));
    }
    all
}

/// The types of the records that the crate reads.
fn crate_types(chunk: &[u8]) -> Vec<Types> {
    let mut data = EvtxChunkData::new(chunk.to_vec(), false).expect("a chunk");
    let mut chunk = data.parse(Arc::default()).expect("a chunk that plans read");
    let types = chunk.iter().map(|record| {
        let json = record.unwrap().into_json_value().unwrap().data;
        let system = SYSTEM.map(|(element, attribute)| {
            let element = &json["Event"]["System"][element];
            json_type(match (attribute, element) {
                (Some(name), element) => &element["#attributes"][name],
                (None, Json::Object(_)) => &element["#text"],
                (None, element) => element,
            })
        });
        let mut fields = Vec::new();
        for (name, member) in json["Event"].as_object().unwrap() {
            if !matches!(name.as_str(), "#attributes" | "System" | "RenderingInfo") {
                leaves(name, member, &mut fields);
            }
        }
        fields.sort();
        (system, fields)
    });
    types.collect()
}

fn leaves(name: &str, json: &Json, fields: &mut Vec<(String, Type)>) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| leaves(name, item, fields)),
        Json::Object(members) => {
            for (member, json) in members.iter().filter(|(member, _)| *member != "#attributes") {
                leaves(if member == "#text" { name } else { member }, json, fields);
            }
        }
        // An empty container is not a field.
        _ if is_data_container(name) && json_type(json) == Type::Nothing => {}
        _ => fields.push((name.to_owned(), json_type(json))),
    }
}

/// The available logs, and how many of a hundred chunks plans read: logs of real machines, damaged
/// logs, those of a rule set's tests, our own samples.
const FOLDERS: [(&str, usize); 4] = [
    ("../shared/data/evtx", 97),
    ("../shared/data/damaged", 80),
    ("../shared/data/sigma", 97),
    ("samples", 97),
];

/// A folder's logs, those in ZIP files too: each one's name, and its chunks that start as chunks.
#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
fn logs(folder: &str) -> Vec<(String, Vec<Vec<u8>>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut logs = Vec::new();
    for entry in walkdir::WalkDir::new(path).sort_by_file_name().into_iter().flatten() {
        let name = entry.path().to_string_lossy().into_owned();
        if name.ends_with(".evtx") {
            logs.push((name, fs::read(entry.path()).expect("a readable log")));
        } else if name.ends_with(".zip") {
            let files = unzip(&fs::read(entry.path()).expect("a readable archive"));
            logs.extend(files.into_iter().filter(|(name, _)| name.ends_with(".evtx")));
        }
    }
    if logs.is_empty() {
        eprintln!("skipped: no logs in {folder}");
    }
    let chunks = |bytes: Vec<u8>| {
        let chunks = bytes.get(FILE_HEADER as usize..).unwrap_or_default();
        let chunks = chunks.chunks_exact(CHUNK_SIZE as usize);
        chunks.filter(|chunk| chunk.starts_with(b"ElfChnk\0")).map(<[u8]>::to_vec).collect()
    };
    logs.into_iter().map(|(name, bytes)| (name, chunks(bytes))).collect()
}

/// The files of a ZIP archive.
fn unzip(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).expect("an archive");
    let count = archive.len();
    let read = |index| {
        let mut member = archive.by_index(index).expect("a member");
        let mut file = Vec::new();
        member.read_to_end(&mut file).expect("whole data");
        (member.name().expect("a name").into_owned(), file)
    };
    (0..count).map(read).collect()
}

#[test]
fn every_log_reads_the_same_both_ways() {
    for (folder, least) in FOLDERS {
        let logs = logs(folder);
        let counts = logs.par_iter().map(|(name, chunks)| {
            let (mut every, mut even) = (EvtxDecoder::default(), EvtxDecoder::default());
            let mut planned = 0;
            for (number, chunk) in chunks.iter().enumerate() {
                let mut read = by_crate(&ALL, chunk);
                assert!(by_both(&mut every, &ALL, chunk) == read, "{name} {number}");
                read.0.retain(|record| record.event_id.is_multiple_of(2));
                assert!(by_both(&mut even, &EVEN, chunk) == read, "{name} {number}");
                if by_plans(&mut every, chunk).1 {
                    planned += 1;
                    let types = (planned_types(&mut every, chunk), crate_types(chunk));
                    assert_eq!(types.0.len(), types.1.len(), "{name} {number}");
                    for (planned, rendered) in types.0.iter().zip(&types.1) {
                        assert_eq!(planned, rendered, "{name} {number}");
                    }
                }
            }
            (chunks.len(), planned)
        });
        let (all, planned) = counts.reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        assert!(planned * 100 >= all * least, "{folder}: only {planned} of {all} chunks by plans");
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
    let logs: Vec<_> = FOLDERS.iter().flat_map(|(folder, _)| logs(folder)).collect();
    let counts = logs.par_iter().enumerate().map(|(index, (name, chunks))| {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 + index as u64);
        let mut decoder = EvtxDecoder::default();
        let mut counts = [0; 3];
        let Some(mut chunk) = chunks.first().cloned() else { return counts };
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
            for filter in [ALL, EVEN] {
                let read = by_crate(&filter, &damaged);
                let both = by_both(&mut decoder, &filter, &damaged);
                assert!(both == read, "{name}: {both:#?}\n{read:#?}");
            }
            let (records, all) = by_plans(&mut decoder, &damaged);
            counts[0] += 1;
            counts[1] += usize::from(all);
            counts[2] += usize::from(!all && records > 0);
        }
        counts
    });
    let add = |a: [usize; 3], b: [usize; 3]| [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
    let [all, planned, partly] = counts.reduce(|| [0; 3], add);
    // If plans fail at once, only the evtx crate is tested. So plans must accept most damage, and
    // the crate must often continue after them.
    assert!(planned * 100 > all * 40, "only {planned} of {all} by plans");
    assert!(partly * 100 > all * 5, "only {partly} of {all} by plans and the crate");
}

#[test]
fn no_bytes_make_plans_panic() {
    let mut random = Random(42);
    let mut noise = || (0..CHUNK_SIZE).map(|_| random.below(256) as u8).collect::<Vec<_>>();
    let mut chunks: Vec<_> = logs("samples").into_iter().flat_map(|(_, chunks)| chunks).collect();
    chunks.truncate(2);
    chunks.extend([noise(), vec![0; CHUNK_SIZE as usize], vec![0xff; CHUNK_SIZE as usize]]);
    for chunk in chunks {
        let mut decoder = EvtxDecoder::default();
        for length in (0..chunk.len()).step_by(509) {
            let _ = decoder.decode_by_plans(&chunk[..length], PLACE, &ALL, |_| {});
            decoder.decode_chunk(&mut chunk[..length].to_vec(), PLACE.input, 3, &ALL, |_| {});
        }
        let mut names = Interner::default();
        for offset in 0..chunk.len() + 8 {
            if let Ok(definition) = TemplateDefinition::read_at(&chunk, offset) {
                let plan = TemplatePlan::new(definition, &mut names);
                assert!(
                    plan.is_err() || plan.is_ok_and(|plan| plan.fingerprint.matches(definition))
                );
            }
        }
    }
}

/// Records without a channel are identified by their provider, and a decoder still works after a
/// chunk that was left to the evtx crate.
#[test]
fn an_odd_channel_leaves_no_trace_in_the_next_chunk() {
    /// Chunks of one channel: without it, and with half a surrogate pair in it.
    struct DamagedChunks {
        channel: Channel,
        none: Vec<u8>,
        odd: Vec<u8>,
    }
    let mut told: Vec<DamagedChunks> = Vec::new();
    for (_, chunks) in logs("../shared/data/evtx") {
        let Some(chunk) = chunks.first() else { continue };
        let Some(first) = by_crate(&ALL, chunk).0.into_iter().next() else { continue };
        let name: Vec<u8> = first.channel.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let with = |unit: u16| {
            let mut chunk = chunk.clone();
            let mut at = 512;
            while !name.is_empty() && at + name.len() <= chunk.len() {
                if chunk[at..at + name.len()] == name[..] {
                    chunk[at..at + 2].copy_from_slice(&unit.to_le_bytes());
                }
                at += 1;
            }
            chunk
        };
        let (none, odd) = (with(0), with(0xd800));
        let plain = by_plans(&mut EvtxDecoder::default(), &none).1;
        let left = by_plans(&mut EvtxDecoder::default(), &odd) == (0, false);
        let channel = by_crate(&ALL, &none).0.first().map(|record| record.known_channel);
        let Some(channel) = channel.filter(|_| plain && left) else { continue };
        if told.iter().all(|known| known.channel != channel) {
            told.push(DamagedChunks { channel, none, odd });
        }
    }
    for a in &told {
        for b in &told {
            let mut decoder = EvtxDecoder::default();
            by_both(&mut decoder, &ALL, &a.none);
            by_both(&mut decoder, &ALL, &b.odd);
            assert!(by_both(&mut decoder, &ALL, &b.none) == by_crate(&ALL, &b.none));
        }
    }
}
