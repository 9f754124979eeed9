//! Hostile input costs little, and what a limit leaves out is in the ledger.

use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::Path;

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::common::{analyze, psr, rows, run_json, say};

const RECORD: &str =
    r#"{"EventID":4672,"Channel":"Security","Hostname":"H","EventTime":"2026-03-14 21:14:07"}"#;

/// Analyzes a folder and gives the exit code and run.json.
fn run(folder: &Path, out: &str, more: &[&str]) -> (i32, Value) {
    let out = folder.join(out);
    let code = analyze(folder.join("logs").to_str().unwrap(), &out, more);
    (code, run_json(&out))
}

/// How often a limit was met, and what held.
fn met(run: &Value, name: &str) -> (u64, u64) {
    let limits = run["limits"].as_array().unwrap();
    let limit = limits.iter().find(|limit| limit["name"] == name).expect("it is listed");
    (limit["value"].as_u64().unwrap(), limit["met"].as_u64().unwrap())
}

/// The faults of the input whose path ends so, in words.
fn faults(run: &Value, path: &str) -> Vec<String> {
    let inputs = run["inputs"].as_array().unwrap();
    let of = |row: &&Value| row["path"].as_str().unwrap().ends_with(path);
    let faults = inputs.iter().find(of).expect("the input is there")["faults"].as_array().unwrap();
    faults.iter().map(|fault| format!("{} {}", fault["kind"], fault["reason"])).collect()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A folder with a log, and room for others beside it.
fn bench() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("logs")).unwrap();
    fs::write(folder.path().join("logs/good.jsonl"), format!("{RECORD}\n")).unwrap();
    folder
}

#[test]
fn a_long_record_is_left_out_and_counted_unless_it_may_be_long() {
    let folder = bench();
    let field = "x".repeat(10 << 20);
    let long = RECORD.replace("\"Hostname\"", &format!("\"Field\":\"{field}\",\"Hostname\""));
    fs::write(folder.path().join("logs/long.jsonl"), format!("{RECORD}\n{long}\n{RECORD}\n"))
        .unwrap();
    let (code, told) = run(folder.path(), "out", &[]);
    assert_eq!(code, 4);
    assert_eq!(met(&told, "record-bytes"), (8 << 20, 1));
    let reasons = faults(&told, "long.jsonl");
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("longer than the limit record-bytes"), "{reasons:?}");
    assert_eq!(told["counts"]["records"], 3);
    let (code, told) = run(folder.path(), "more", &["--limit", "record-bytes=16MiB"]);
    assert_eq!(code, 0);
    assert_eq!(met(&told, "record-bytes"), (16 << 20, 0));
    assert_eq!(told["counts"]["records"], 4);
}

#[test]
fn an_archive_that_grows_too_much_is_not_unpacked() {
    let folder = bench();
    // 64 MiB of spaces, which deflate takes down a thousandfold.
    let mut log = format!("{RECORD}\n").into_bytes();
    log.resize(64 << 20, b' ');
    fs::write(folder.path().join("logs/bomb.zip"), zip(&[("a.jsonl", &log)])).unwrap();
    let (code, told) = run(folder.path(), "out", &["--limit", "archive-bytes=32MiB"]);
    assert_eq!(code, 4);
    assert_eq!(
        (met(&told, "archive-ratio"), met(&told, "archive-bytes")),
        ((100, 1), (32 << 20, 0))
    );
    assert!(faults(&told, "bomb.zip")[0].contains("as in a zip bomb"), "{told}");
    // By default 1 GiB is allowed whatever an archive's size is.
    let (code, told) = run(folder.path(), "more", &[]);
    assert_eq!((code, told["counts"]["records"].as_u64()), (0, Some(2)));
    let more = ["--limit", "archive-members=1"];
    fs::write(folder.path().join("logs/two.zip"), zip(&[("a", b"x"), ("b", b"y")])).unwrap();
    let (code, told) = run(folder.path(), "fewer", &more);
    assert_eq!((code, met(&told, "archive-members")), (4, (1, 1)));
    assert!(faults(&told, "two.zip")[0].contains("archive-members"), "{told}");
}

#[test]
fn archives_in_archives_end_at_the_second() {
    let folder = bench();
    let mut nest = zip(&[("deepest.jsonl", format!("{RECORD}\n").as_bytes())]);
    for depth in 0..100 {
        nest = zip(&[(&*format!("{depth}.zip"), &nest)]);
    }
    fs::write(folder.path().join("logs/nest.zip"), &nest).unwrap();
    let (code, told) = run(folder.path(), "out", &[]);
    assert_eq!((code, told["counts"]["records"].as_u64()), (0, Some(1)));
    let inputs = told["inputs"].as_array().unwrap().len();
    assert!(inputs <= 4, "{told}");
}

#[test]
#[cfg(unix)]
fn links_that_lead_back_are_rows_and_no_file_is_read_twice() {
    use std::os::unix::fs::symlink;
    let folder = bench();
    let logs = folder.path().join("logs");
    fs::create_dir(logs.join("a")).unwrap();
    symlink(&logs, logs.join("a/back")).unwrap();
    symlink(logs.join("a"), logs.join("b")).unwrap();
    symlink("self", logs.join("self")).unwrap();
    symlink("nowhere", logs.join("dangling.evtx")).unwrap();
    symlink("/dev/zero", logs.join("endless.evtx")).unwrap();
    symlink(logs.join("good.jsonl"), logs.join("again.jsonl")).unwrap();
    let (code, told) = run(folder.path(), "out", &[]);
    assert_eq!(code, 4);
    assert_eq!(told["counts"]["records"], 1);
    let inputs = told["inputs"].as_array().unwrap();
    let rows: Vec<_> = inputs
        .iter()
        .map(|row| {
            let path = Path::new(row["path"].as_str().unwrap()).strip_prefix(&logs).unwrap();
            (path.to_str().unwrap(), row["faults"][0]["kind"].as_str().unwrap_or("read"))
        })
        .collect();
    let expected = [
        ("a/back", "lost"),
        ("again.jsonl", "read"),
        ("b/back", "lost"),
        ("dangling.evtx", "lost"),
        ("endless.evtx", "not_a_log"),
        ("self", "lost"),
    ];
    assert_eq!(rows, expected);
    verified(&folder.path().join("out"));
}

/// Nothing in a folder of results deviates from what `verify` finds.
#[cfg(unix)]
fn verified(out: &Path) {
    let output = psr(&["verify", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[cfg(unix)]
fn names_in_any_encoding_are_shown_and_break_nothing() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = bench();
    let names: [&[u8]; 8] = [
        b"latin1-\xe4\xf6\xfc.jsonl",
        b"utf8-\xc3\xa4.jsonl",
        b"half-\xc3.jsonl",
        b"line\nbreak.jsonl",
        b"esc\x1b[2J.jsonl",
        b"=cmd|' \"quoted\",x.jsonl",
        b"\xe2\x80\xaertl.jsonl",
        b"sjis-\x93\xfa\x96\x7b.jsonl",
    ];
    for (index, name) in names.iter().enumerate() {
        let path = folder.path().join("logs").join(OsStr::from_bytes(name));
        fs::write(path, RECORD.replace("\"H\"", &format!("\"H{index}\""))).unwrap();
    }
    let (code, told) = run(folder.path(), "out", &[]);
    assert_eq!((code, told["counts"]["records"].as_u64()), (0, Some(9)));
    let timeline = rows(&folder.path().join("out"), "timeline.csv");
    assert_eq!(timeline.len(), 9);
    for row in &timeline {
        assert!(!row["input_file"].contains(['\u{1b}', '\n']), "{row:?}");
    }
    verified(&folder.path().join("out"));
    let output = psr(&[
        "analyze",
        folder.path().join("logs").to_str().unwrap(),
        "-f",
        "-o",
        folder.path().join("out").to_str().unwrap(),
    ]);
    assert!(!output.stdout.contains(&0x1b), "{output:?}");
}

#[test]
fn limits_are_listed_and_a_wrong_one_is_named() {
    let output = psr(&["analyze", "--limit", "help"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for limit in psr_forensics::limits::Limit::ALL {
        let line = told
            .lines()
            .find(|line| line.trim_start().starts_with(limit.name()))
            .unwrap_or_else(|| panic!("{}", limit.name()));
        assert!(line.contains(&limit.default_value().to_string()), "{line}");
    }
    for (set, says) in [("depth=1", "no limit 'depth'"), ("record-bytes=x", "a number above 0")] {
        let output = psr(&["analyze", "samples", "--limit", set]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(told.contains(says), "{told}");
    }
}

/// The most memory that a run of the program had, in MiB.
#[cfg(target_os = "linux")]
fn peak_mib(logs: &Path, out: &Path) -> u64 {
    use std::process::Command;
    let mut command = Command::new(env!("CARGO_BIN_EXE_psr-forensics"));
    command.arg("analyze").arg(logs).arg("-q").arg("-o").arg(out);
    let mut child = command.spawn().expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let told = fs::read_to_string(&status).unwrap_or_default();
        let kib = told.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = kib.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        if child.try_wait().unwrap().is_some() {
            return peak >> 10;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "a minute of a release build: five million records"]
fn millions_of_tiny_records_take_no_more_than_a_gigabyte() {
    let folder = bench();
    let mut file =
        std::io::BufWriter::new(File::create(folder.path().join("logs/tiny.jsonl")).unwrap());
    for number in 0..5_000_000_u64 {
        let time = format!(
            "2026-03-{:02} {:02}:{:02}:{:02}",
            number / 86_400 % 28 + 1,
            number / 3600 % 24,
            number / 60 % 60,
            number % 60
        );
        let record = json!({"EventID": 4672, "Channel": "Security", "Hostname": "H", "EventTime": time, "RecordNumber": number});
        writeln!(file, "{record}").unwrap();
    }
    file.into_inner().unwrap();
    let out = folder.path().join("out");
    let peak = peak_mib(&folder.path().join("logs"), &out);
    say(&format!("peak of {peak} MiB"));
    assert!(peak < 1024, "{peak} MiB");
    assert_eq!(run_json(&out)["counts"]["records"], 5_000_001);
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "makes 100,000 files"]
fn a_hundred_thousand_files_take_no_more_than_a_gigabyte() {
    let folder = bench();
    for number in 0..100_000 {
        let path = folder.path().join(format!("logs/{number}.jsonl"));
        fs::write(path, RECORD.replace("\"H\"", &format!("\"H{}\"", number % 1000))).unwrap();
    }
    let out = folder.path().join("out");
    let peak = peak_mib(&folder.path().join("logs"), &out);
    say(&format!("peak of {peak} MiB"));
    assert!(peak < 1024, "{peak} MiB");
    assert_eq!(run_json(&out)["counts"]["records"], 100_001);
}
