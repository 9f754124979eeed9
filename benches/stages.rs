//! Each stage by itself, on the logs in `samples/`: `cargo bench --bench stages`.
//!
//! The samples are small, so the chunks of each log are read again and again until they fill a
//! task, as many records of one channel do in the log of a busy host.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use psr_forensics::decode::{Decoder, RecordFilter};
use psr_forensics::input::InputKind;
use psr_forensics::input::{CHUNK_SIZE, FILE_HEADER, InputReader, Piece, piece_count};
use psr_forensics::model::index::InputIdx;
use psr_forensics::model::{Channel, Event, RecordRef};
use psr_forensics::normalise::Normaliser;
use psr_forensics::reconstruct::{KeyHasher, RecordReader, TaskMarks, TrafficRecord, reconstruct};
use psr_forensics::{
    Input, NoProgress, Options, Output, Pack, Record, RuleSet, RunInfo, analyze, discover,
    normalise, report,
};

/// Chunks in a task: 2 MiB, as the program reads them.
const CHUNKS_PER_TASK: usize = 32;

/// The allocator of the program. The default allocator would change the measurement.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps no record. It measures the cost of counting records.
struct Nothing;

impl RecordFilter for Nothing {
    fn wants(&self, _: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        false
    }
}

/// Keeps the records that the program keeps without any rule.
struct Relevant;

impl RecordFilter for Relevant {
    fn wants(&self, _: RecordRef, channel: Channel, _: &str, event_id: u32) -> bool {
        normalise::relevant(channel, event_id)
    }
}

fn samples() -> Vec<Input> {
    let found = discover(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")]);
    let mut samples = found.expect("they are there");
    samples.retain(|input| input.kind == InputKind::Evtx);
    samples
}

/// A task for each sample log: its chunks, again and again.
fn tasks() -> Vec<Vec<Vec<u8>>> {
    let task = |input: Input| {
        let bytes = std::fs::read(&input.path).expect("a readable sample");
        let chunks = bytes.get(FILE_HEADER as usize..)?.chunks_exact(CHUNK_SIZE as usize);
        let used = chunks.filter(|chunk| chunk.starts_with(b"ElfChnk\0")).map(<[u8]>::to_vec);
        let used: Vec<Vec<u8>> = used.collect();
        (!used.is_empty()).then(|| used.iter().cycle().take(CHUNKS_PER_TASK).cloned().collect())
    };
    samples().into_iter().filter_map(task).collect()
}

/// Decodes all tasks and returns their number of records.
fn decode(
    tasks: Vec<Vec<Vec<u8>>>,
    wanted: &dyn RecordFilter,
    take: &mut dyn FnMut(&Record),
) -> u64 {
    let mut records = 0;
    let mut decoder = Decoder::default();
    for ((index, input), chunks) in samples().into_iter().enumerate().zip(tasks) {
        let mut piece = Piece { start: FILE_HEADER, chunks, ..Piece::default() };
        records += decoder
            .decode_piece(&input, InputIdx::new(index), &mut piece, wanted, &mut *take)
            .records;
    }
    records
}

/// The relevant records of all tasks.
fn records() -> Vec<Record> {
    let mut records = Vec::new();
    decode(tasks(), &Relevant, &mut |record| records.push(record.clone()));
    records
}

/// The relevant events of the samples, each once.
fn events() -> Vec<Event> {
    let (mut events, mut normaliser) = (Vec::new(), Normaliser::default());
    for (index, input) in samples().into_iter().enumerate() {
        let (mut decoder, mut piece) = (Decoder::default(), Piece::default());
        let mut reader = InputReader::new(&input);
        for _ in 0..piece_count(&input) {
            reader.next(&mut piece).expect("a readable sample");
            let take = |record: &Record| events.push(normaliser.event(record));
            decoder.decode_piece(&input, InputIdx::new(index), &mut piece, &Relevant, take);
        }
    }
    events
}

fn default_rules() -> RuleSet {
    RuleSet::load(vec![Pack::default_pack()]).expect("the default pack loads")
}

fn input(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let header = [b"ElfFile\0".to_vec(), vec![0; FILE_HEADER as usize - 8]].concat();
    let bytes = [header, tasks().concat().concat()].concat();
    std::fs::write(&path, &bytes).expect("room for a log");
    let log = &discover(&[path]).expect("it was just written")[0];
    let mut group = c.benchmark_group("input");
    group.throughput(Throughput::Bytes(log.size));
    group.bench_function("read and hash", |b| {
        let mut piece = Piece::default();
        b.iter(|| {
            let mut reader = InputReader::new(log);
            for _ in 0..piece_count(log) {
                reader.next(&mut piece).expect("a readable log");
            }
            reader.end()
        });
    });
}

fn decoding(c: &mut Criterion) {
    let tasks = tasks();
    let all = decode(tasks.clone(), &Nothing, &mut |_| {});
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(all));
    let cases: [(&str, &dyn RecordFilter); 2] =
        [("nothing wanted", &Nothing), ("all relevant", &Relevant)];
    for (name, wanted) in cases {
        group.bench_function(name, |b| {
            let run = |tasks| decode(tasks, wanted, &mut |record| _ = black_box(record));
            b.iter_batched(|| tasks.clone(), run, BatchSize::PerIteration);
        });
    }
}

fn normalising(c: &mut Criterion) {
    let records = records();
    let mut group = c.benchmark_group("normalise");
    group.throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("events", |b| {
        let mut normaliser = Normaliser::default();
        b.iter(|| records.iter().for_each(|record| drop(black_box(normaliser.event(record)))));
    });
}

fn detecting(c: &mut Criterion) {
    let (records, rules) = (records(), default_rules());
    let mut group = c.benchmark_group("detect");
    group.throughput(Throughput::Elements(rules.rules.len() as u64));
    group.bench_function("load the default pack", |b| b.iter(default_rules));
    group.throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("rules on records", |b| {
        b.iter(|| records.iter().map(|record| rules.on_record(record).len()).sum::<usize>());
    });
}

/// Events in memory, by the places of their records.
struct EventsInMemory<'e>(BTreeMap<RecordRef, &'e Event>);

impl RecordReader for EventsInMemory<'_> {
    fn events(&self, records: Vec<RecordRef>) -> Vec<Event> {
        records.iter().filter_map(|record| self.0.get(record).copied().cloned()).collect()
    }

    fn traffic(&self, _: Vec<RecordRef>) -> Vec<TrafficRecord> {
        Vec::new()
    }
}

fn rebuilding(c: &mut Criterion) {
    let events = events();
    let by_place: BTreeMap<RecordRef, &Event> =
        events.iter().map(|event| (event.source, event)).collect();
    let logs = EventsInMemory(by_place);
    let rebuild = |events: Vec<Event>| {
        let (keys, mut gathered) = (KeyHasher::default(), TaskMarks::default());
        events.into_iter().for_each(|event| gathered.add_event(event, &keys));
        reconstruct(vec![gathered], &keys, &logs)
    };
    let sessions = rebuild(events.clone()).sessions.len();
    assert_eq!(sessions, 2, "the sessions of samples/README.md");
    let mut group = c.benchmark_group("reconstruct");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("sessions", |b| {
        b.iter_batched(|| events.clone(), rebuild, BatchSize::LargeInput);
    });
}

fn reporting(c: &mut Criterion) {
    let analysis = analyze(samples(), &Options::default(), default_rules(), &NoProgress);
    let analysis = analysis.expect("the samples are logs");
    let folder = tempfile::tempdir().expect("a folder");
    let info = RunInfo { arguments: Vec::new(), started: Utc::now() };
    let mut group = c.benchmark_group("report");
    group.throughput(Throughput::Elements(analysis.events));
    group.bench_function("all files", |b| {
        b.iter(|| {
            let output = Output::open(folder.path(), true).expect("a folder to write to");
            report::write(&analysis, &info, &psr_forensics::Wanted::default(), output)
                .expect("room for the files");
        });
    });
}

/// The configuration of short runs. `compare.py` measures smaller changes, on a large log.
fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
}

criterion_group! {
    name = stages;
    config = short();
    targets = input, decoding, normalising, detecting, rebuilding, reporting
}
criterion_main!(stages);
