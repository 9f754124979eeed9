//! `--recover`: records that no log holds any more, found and never taken for live ones.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};

use crate::common::{FILES, Row, analyze, rows, run_json};
use crate::inputs::samples;

/// The record with this number of a log of this host.
fn event(computer: &str, number: u64) -> EvtxEvent {
    EvtxEvent {
        provider: "Microsoft-Windows-Security-Auditing".into(),
        event_id: 4672,
        time: FileTime::from_unix(1_773_522_847 + number, 0),
        record_id: number,
        channel: "Security".into(),
        computer: computer.into(),
        payload: Payload::EventData(vec![
            ("SubjectUserName".into(), format!("user{number}").into()),
            ("filler".into(), "x".repeat(200).into()),
        ]),
        ..EvtxEvent::default()
    }
}

fn log(computer: &str, records: u64) -> Vec<u8> {
    let mut log = LogWriter::new();
    (1..=records).for_each(|number| log.push(&event(computer, number)).unwrap());
    log.finish()
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

/// The records of the chunk at an offset.
fn records(bytes: &[u8], chunk: usize) -> Vec<Range<usize>> {
    let end = chunk + number(bytes, chunk + 48) as usize;
    let mut records = Vec::new();
    let mut at = chunk + 512;
    while at < end {
        let size = number(bytes, at + 4) as usize;
        records.push(at..at + size);
        at += size;
    }
    records
}

/// Makes a chunk's checksums right again, as who edits a log does.
fn seal(bytes: &mut [u8], chunk: usize) {
    let free = number(bytes, chunk + 48) as usize;
    let records = crc32fast::hash(&bytes[chunk + 512..chunk + free]);
    put(bytes, chunk + 52, records.to_le_bytes());
    let header = [&bytes[chunk..chunk + 120], &bytes[chunk + 128..chunk + 512]].concat();
    put(bytes, chunk + 124, crc32fast::hash(&header).to_le_bytes());
}

/// Ends a chunk with its `count`th record: the others are in its slack space then.
fn end_with(bytes: &mut [u8], chunk: usize, count: usize) {
    let records = records(bytes, chunk);
    let last = &records[count - 1];
    let [offset, free] = [last.start, last.end].map(|at| ((at - chunk) as u32).to_le_bytes());
    put(bytes, chunk + 44, offset);
    put(bytes, chunk + 48, free);
    let number: [u8; 8] = bytes[last.start + 8..last.start + 16].try_into().unwrap();
    put(bytes, chunk + 16, number);
    put(bytes, chunk + 32, number);
    seal(bytes, chunk);
}

const FIRST: usize = 4096;
const CHUNK: usize = 65536;

/// Bytes of no pattern.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// A folder in which a file is analyzed.
struct Bench(tempfile::TempDir);

impl Bench {
    fn of(files: &[(&str, &[u8])]) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        for (name, content) in files {
            fs::write(folder.path().join("logs").join(name), content).unwrap();
        }
        Bench(folder)
    }

    fn out(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs and gives the timeline and the exit code.
    fn run(&self, name: &str, more: &[&str]) -> (Vec<Row>, i32) {
        let logs = self.out("logs");
        let code = analyze(logs.to_str().unwrap(), &self.out(name), more);
        (rows(&self.out(name), "timeline.csv"), code)
    }

    /// The faults of the input whose name ends so.
    fn faults(&self, name: &str, input: &str) -> Vec<(String, String)> {
        let run = run_json(&self.out(name));
        let inputs = run["inputs"].as_array().unwrap();
        let of = |row: &&serde_json::Value| row["path"].as_str().unwrap().ends_with(input);
        let faults = inputs.iter().find(of).expect("the input is there")["faults"].as_array();
        let text =
            |fault: &serde_json::Value, member: &str| fault[member].as_str().unwrap().to_owned();
        let faults = faults.unwrap().iter();
        faults.map(|fault| (text(fault, "kind"), text(fault, "reason"))).collect()
    }
}

/// Of each record its host, id, whether it was recovered, and what it says.
fn facts(rows: &[Row]) -> BTreeSet<(String, u64, bool, String)> {
    let fact = |row: &Row| {
        let recovered = row["recovered"] == "yes";
        assert_eq!(recovered, row["input_file"].ends_with("/[recovered]"));
        assert!(recovered || row["recovered"].is_empty());
        let what = format!("{} {} {} {}", row["time"], row["kind"], row["user"], row["summary"]);
        (row["host"].clone(), row["record_id"].parse().unwrap(), recovered, what)
    };
    let facts: BTreeSet<_> = rows.iter().map(fact).collect();
    assert_eq!(facts.len(), rows.len(), "a record is there twice");
    facts
}

/// The truth: what a whole log of these records gives, those for which it is true recovered.
fn truth(
    logs: &[(&str, u64)],
    recovered: impl Fn(&str, u64) -> bool,
) -> BTreeSet<(String, u64, bool, String)> {
    let files: Vec<(String, Vec<u8>)> =
        logs.iter().map(|(host, count)| (format!("{host}.evtx"), log(host, *count))).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, log)| (&**name, &**log)).collect();
    let (rows, code) = Bench::of(&files).run("truth", &[]);
    assert_eq!(code, 0);
    assert_eq!(rows.len() as u64, logs.iter().map(|(_, count)| count).sum::<u64>());
    let mark = |(host, id, _, what): (String, u64, bool, String)| {
        let recovered = recovered(&host, id);
        (host, id, recovered, what)
    };
    facts(&rows).into_iter().map(mark).collect()
}

#[test]
fn records_in_slack_space_are_recovered_and_marked() {
    let mut bytes = log("A", 60);
    end_with(&mut bytes, FIRST, 20);
    let bench = Bench::of(&[("a.evtx", &bytes)]);
    let (plain, code) = bench.run("plain", &[]);
    assert_eq!((plain.len(), code), (20, 0));
    assert!(plain.iter().all(|row| row["recovered"].is_empty()));
    let (found, code) = bench.run("recover", &["--recover"]);
    assert_eq!(code, 0);
    assert_eq!(facts(&found), truth(&[("A", 60)], |_, id| id > 20));
    // The live ones are told as before, to the byte.
    let live: Vec<&Row> = found.iter().filter(|row| row["recovered"].is_empty()).collect();
    assert_eq!(live, plain.iter().collect::<Vec<_>>());
    // What is left says where it lies in the file, and is read again by that.
    let row = found.iter().find(|row| row["record_id"] == "33").unwrap();
    let offset: usize = row["offset"].parse().unwrap();
    assert_eq!(bytes[offset..offset + 4], *b"**\0\0");
    assert_eq!(bytes[offset + 8], 33);
    let record =
        psr_forensics::analysis::read_record(&format!("{}:33@{offset}", row["input_file"]))
            .unwrap();
    assert_eq!(record.data.get("SubjectUserName"), Some("user33"));
    for nowhere in [offset as u64 + 8, bytes.len() as u64, u64::MAX] {
        let pointer = format!("{}:33@{nowhere}", row["input_file"]);
        assert!(psr_forensics::analysis::read_record(&pointer).is_err(), "{pointer}");
    }
}

#[test]
fn the_forms_of_other_tools_say_what_was_recovered() {
    let mut bytes = log("A", 60);
    end_with(&mut bytes, FIRST, 20);
    let bench = Bench::of(&[("a.evtx", &bytes)]);
    let forms = ["evtxecmd", "timesketch", "ecs", "splunk"];
    let forms = forms.iter().flat_map(|form| ["--format", form]);
    let more: Vec<&str> = ["--recover", "--format", "csv"].into_iter().chain(forms).collect();
    let (timeline, _) = bench.run("out", &more);
    let marked: Vec<bool> = timeline.iter().map(|row| row["recovered"] == "yes").collect();
    assert_eq!(marked.iter().filter(|is_marked| **is_marked).count(), 40);
    let out = bench.out("out");
    let hidden = rows(&out, "evtxecmd.csv");
    assert!(hidden.iter().map(|row| row["HiddenRecord"] == "True").eq(marked.iter().copied()));
    let sketch = rows(&out, "timesketch.csv");
    let marks = sketch.iter().map(|row| row["recovered"] == "yes");
    assert!(marks.take(60).eq(marked.iter().copied()));
    for (file, place) in [
        ("timesketch.jsonl", "/recovered"),
        ("ecs.jsonl", "/psr/recovered"),
        ("splunk.jsonl", "/fields/psr_recovered"),
    ] {
        let text = fs::read_to_string(out.join(file)).unwrap();
        let marks = text.lines().take(60).map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.pointer(place).is_some_and(|mark| *mark == "yes" || *mark == true)
        });
        assert!(marks.eq(marked.iter().copied()), "{file}");
    }
}

#[test]
fn a_record_whose_template_is_overwritten_is_not_guessed_at() {
    // The first record holds the templates that the others refer to.
    for (from, to) in [(38, 60), (70, 80), (100, 400)] {
        let mut bytes = log("A", 60);
        end_with(&mut bytes, FIRST, 1);
        let first = FIRST + 512;
        bytes[first + from..first + to].fill(0x41);
        seal(&mut bytes, FIRST);
        let bench = Bench::of(&[("a.evtx", &bytes), ("b.evtx", &log("B", 1))]);
        let (found, _) = bench.run("recover", &["--recover"]);
        let recovered = found.iter().filter(|row| row["recovered"] == "yes").count();
        assert_eq!(recovered, 0, "{from}");
        let faults = bench.faults("recover", "a.evtx/[recovered]");
        let [(kind, reason)] = &faults[..] else { panic!("{faults:?}") };
        assert_eq!(kind, "remnant");
        assert!(reason.starts_with("the remains of 59 records "), "{reason}");
    }
}

#[test]
fn chunks_are_found_at_any_offset_of_a_raw_image_and_each_record_once() {
    // Some 45 chunks, which lie across the pieces in which a file is read.
    let (long, short) = (log("A", 5_000), log("B", 60));
    let chunks = (long.len() - FIRST) / CHUNK;
    assert!(chunks > 33, "{chunks}");
    let mut image = noise(777);
    image.extend(&long);
    image.extend(noise(12_345));
    // A chunk that is cut inside a record, and one that is there twice.
    let cut = records(&short, FIRST)[40].start + 50;
    image.extend(&short[FIRST..cut]);
    image.extend(noise(3));
    image.extend(&long[FIRST + 3 * CHUNK..FIRST + 4 * CHUNK]);
    image.extend(noise(100_000));
    let bench = Bench::of(&[("memory.dmp", &image)]);
    let (found, code) = bench.run("recover", &["--recover"]);
    assert_eq!(code, 4, "a chunk is cut");
    let mut expected = truth(&[("A", 5_000), ("B", 60)], |_, _| true);
    expected.retain(|(host, id, ..)| host == "A" || *id <= 40);
    assert_eq!(facts(&found), expected);
    let twice = found.iter().filter(|row| !row["copies"].is_empty()).count();
    assert_eq!(twice, records(&long, FIRST + 3 * CHUNK).len());
    // Any number of threads.
    bench.run("threads", &["--recover", "--threads", "3"]);
    for file in FILES {
        let read = |name: &str| fs::read(bench.out(name).join(file)).unwrap();
        assert!(read("recover") == read("threads"), "{file}");
    }
    // Beside the log itself, what is in it is a copy, and the live record counts.
    let bench = Bench::of(&[("a.dmp", &image), ("z.evtx", &long)]);
    let (found, _) = bench.run("both", &["--recover"]);
    let mut expected: BTreeSet<_> = expected.into_iter().collect();
    expected = expected
        .into_iter()
        .map(|(host, id, _, what)| (host.clone(), id, host == "B", what))
        .collect();
    assert_eq!(facts(&found), expected);
    let run = run_json(&bench.out("both"));
    assert_eq!(run["counts"]["copies"], 5_000 + twice);
}

#[test]
fn a_record_hidden_by_another_one_is_found_and_reported() {
    let mut bytes = log("A", 60);
    let records = records(&bytes, FIRST);
    // The fifth grows over the sixth, at both its ends, as tools that remove records do it.
    let size = ((records[5].end - records[4].start) as u32).to_le_bytes();
    put(&mut bytes, records[4].start + 4, size);
    put(&mut bytes, records[5].end - 4, size);
    seal(&mut bytes, FIRST);
    let bench = Bench::of(&[("a.evtx", &bytes)]);
    let (plain, code) = bench.run("plain", &[]);
    assert_eq!((plain.len(), code), (59, 0));
    // The size at the end of the hidden record is no longer its own.
    let (found, code) = bench.run("recover", &["--recover"]);
    assert_eq!(code, 4);
    assert_eq!(facts(&found), truth(&[("A", 60)], |_, id| id == 6));
    let faults = bench.faults("recover", "a.evtx/[recovered]");
    let [(kind, reason)] = &faults[..] else { panic!("{faults:?}") };
    assert_eq!(kind, "suspect");
    assert!(reason.contains(&format!("inside the one at byte {}", records[4].start)), "{reason}");
}

#[test]
fn what_a_damaged_log_still_holds_is_recovered() {
    let whole = log("A", 600);
    assert!(whole.len() > FIRST + 4 * CHUNK);
    // Bytes are missing: all that follows lies at other offsets.
    let mut bytes = whole.clone();
    bytes.drain(FIRST + CHUNK + 30_000..FIRST + CHUNK + 30_100);
    let bench = Bench::of(&[("a.evtx", &bytes)]);
    let (plain, _) = bench.run("plain", &[]);
    let (found, code) = bench.run("recover", &["--recover"]);
    assert_eq!(code, 4);
    let broken = records(&whole, FIRST + CHUNK);
    let hit = |record: &Range<usize>| record.contains(&(FIRST + CHUNK + 30_050));
    let lost: BTreeSet<u64> = broken
        .iter()
        .filter(|record| hit(record))
        .map(|record| number(&whole, record.start + 8).into())
        .collect();
    let ids: BTreeSet<u64> = found.iter().map(|row| row["record_id"].parse().unwrap()).collect();
    let missing: BTreeSet<u64> = (1..=600).filter(|id| !ids.contains(id)).collect();
    assert!(plain.len() < 400, "{}", plain.len());
    // The record that was cut says something else; those behind it, in its chunk, refer to templates that are
    // no longer where they say.
    let behind = number(&whole, broken.last().unwrap().start + 8).into();
    assert!(missing.iter().all(|id| (*lost.first().unwrap()..=behind).contains(id)), "{missing:?}");
    let known = truth(&[("A", 600)], |_, _| true);
    for (host, id, _, what) in facts(&found).into_iter().filter(|(_, id, ..)| !lost.contains(id)) {
        assert!(known.contains(&(host, id, true, what)), "{id}");
    }
}

#[test]
fn without_a_chunk_header_a_record_with_its_template_shows_the_chunks_place() {
    let whole = log("A", 60);
    let mut image = noise(1_001);
    let start = image.len();
    image.extend(&whole[FIRST..FIRST + CHUNK]);
    image[start..start + 512].fill(0);
    image.extend(noise(500));
    let bench = Bench::of(&[("image.raw", &image)]);
    let (found, code) = bench.run("recover", &["--recover"]);
    assert_eq!(code, 0);
    assert_eq!(facts(&found), truth(&[("A", 60)], |_, _| true));
    // Without the record that holds the templates, nothing can be said.
    let second = records(&whole, FIRST)[1].start;
    let bench = Bench::of(&[("image.raw", &whole[second..]), ("b.evtx", &log("B", 1))]);
    let (found, code) = bench.run("recover", &["--recover"]);
    assert_eq!((found.len(), code), (1, 0));
    let faults = bench.faults("recover", "image.raw/[recovered]");
    assert_eq!(faults[0].0, "remnant");
    assert!(faults[0].1.starts_with("the remains of 59 records "), "{faults:?}");
}

#[test]
fn chunks_that_a_closed_log_does_not_count_are_not_live() {
    let mut bytes = log("A", 600);
    let chunks = (bytes.len() - FIRST) / CHUNK;
    assert!(chunks > 3);
    let live = records(&bytes, FIRST).len() + records(&bytes, FIRST + CHUNK).len();
    put(&mut bytes, 42, 2_u16.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..120]);
    put(&mut bytes, 124, checksum.to_le_bytes());
    let (found, code) = Bench::of(&[("a.evtx", &bytes)]).run("recover", &["--recover"]);
    assert_eq!(code, 0);
    assert_eq!(facts(&found), truth(&[("A", 600)], |_, id| id > live as u64));
    // Of an open log the header is an old one.
    put(&mut bytes, 120, 1_u32.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..120]);
    put(&mut bytes, 124, checksum.to_le_bytes());
    let (found, _) = Bench::of(&[("a.evtx", &bytes)]).run("recover", &["--recover"]);
    assert_eq!(facts(&found), truth(&[("A", 600)], |_, _| false));
}

#[test]
fn sessions_are_rebuilt_from_an_image_of_the_samples_and_say_so() {
    let mut image = noise(4_321);
    for (path, _) in samples() {
        image.extend(fs::read(path).unwrap());
        image.extend(noise(99));
    }
    let bench = Bench::of(&[("image.raw", &image)]);
    bench.run("image", &["--recover"]);
    let expected = bench.out("expected");
    assert_eq!(analyze("samples", &expected, &[]), 0);
    let told = |out: &Path| -> Vec<Vec<String>> {
        let columns = [
            "start_time",
            "end_time",
            "source_host",
            "target_host",
            "user",
            "auth",
            "kind",
            "command_count",
            "key_links",
            "time_links",
        ];
        let sessions = rows(out, "sessions.csv");
        sessions.iter().map(|row| columns.map(|column| row[column].clone()).to_vec()).collect()
    };
    assert_eq!(told(&bench.out("image")), told(&expected));
    for (out, recovered) in [(bench.out("image"), true), (expected, false)] {
        for row in rows(&out, "sessions.csv") {
            let [keys, times, all] = ["key_links", "time_links", "recovered_links"]
                .map(|column| row[column].parse::<u32>().unwrap());
            assert_eq!(all, if recovered { keys + times } else { 0 });
            assert!(!recovered || row["evidence"].contains("image.raw/[recovered]:"));
        }
    }
}
