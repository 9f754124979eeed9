//! What ends a run early or goes wrong under it: nothing finished is lost, and nothing half-written
//! looks whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use evtx_writer::{EvtxEvent, FileTime, LogWriter, Payload};
use psr_forensics::error::FaultKind;
use psr_forensics::input::ReadExtent;
use psr_forensics::model::index::InputIdx;
use psr_forensics::{
    Analysis, CancelToken, NoProgress, Options, Pack, Progress, RuleSet, analyze, discover,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::{FILES, psr, root, rows, run_json, say};

/// A log of so many records that the timeline shows, about 100 a chunk.
fn log(computer: &str, records: u64) -> Vec<u8> {
    let mut log = LogWriter::new();
    for number in 1..=records {
        let event = EvtxEvent {
            provider: "Microsoft-Windows-Security-Auditing".into(),
            event_id: 4672,
            time: FileTime::from_unix(1_773_522_847 + number, 0),
            record_id: number,
            channel: "Security".into(),
            computer: computer.into(),
            payload: Payload::EventData(vec![("filler".into(), "x".repeat(200).into())]),
            ..EvtxEvent::default()
        };
        log.push(&event).unwrap();
    }
    log.finish()
}

/// A folder with logs of so many records each.
pub fn logs(folder: &Path, records: &[u64]) -> PathBuf {
    let logs = folder.join("logs");
    fs::create_dir(&logs).unwrap();
    for (index, &records) in records.iter().enumerate() {
        fs::write(logs.join(format!("{index}.evtx")), log(&format!("SRV{index}"), records))
            .unwrap();
    }
    logs
}

/// Does something when the run has decoded so many pieces.
struct After<F: Fn() + Sync> {
    pieces: u64,
    decoded: AtomicU64,
    what: F,
}

impl<F: Fn() + Sync> Progress for After<F> {
    fn begin(&self, _: usize, _: u64) {}
    fn advance(&self, _: u64, _: u64) {
        if self.decoded.fetch_add(1, Ordering::Relaxed) + 1 == self.pieces {
            (self.what)();
        }
    }
    fn stage(&self, _: &str) {}
}

/// Analyzes on one thread, and does something after so many pieces.
fn run(path: &Path, stop: CancelToken, pieces: u64, what: impl Fn() + Sync) -> Analysis {
    let rules = RuleSet::load(vec![Pack::default_pack()]).unwrap();
    let inputs = discover(&[path.to_owned()]).unwrap();
    let after = After { pieces, decoded: AtomicU64::new(0), what };
    let options = Options { stop, ..Options::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| analyze(inputs, &options, rules, &after)).unwrap()
}

#[test]
fn an_interrupted_run_keeps_what_was_read_and_reports_what_was_not() {
    let folder = tempfile::tempdir().unwrap();
    // One piece, four pieces of 2 MiB, one piece.
    let logs = logs(folder.path(), &[500, 9_000, 500]);
    let stop = CancelToken::default();
    let analysis = run(&logs, stop.clone(), 3, || {
        stop.cancel();
    });
    assert!(analysis.interrupted && analysis.is_partial());
    let extents: Vec<ReadExtent> = analysis.inputs.iter().map(|input| input.extent).collect();
    assert_eq!(extents, [ReadExtent::Whole, ReadExtent::Partly, ReadExtent::Nothing]);
    let [whole, partly, nothing] = analysis.inputs.as_slice() else { panic!() };
    assert!(whole.faults.is_empty() && whole.sha256.is_some() && whole.records == 500);
    // Two pieces of 32 chunks behind the header were decoded, and the third may have been begun.
    let [fault] = &partly.faults[..] else { panic!("{:?}", partly.faults) };
    let pieces = (fault.offset.unwrap() - 4096) / (2 << 20);
    assert!(
        (2..4).contains(&pieces) && (fault.offset.unwrap() - 4096) % (2 << 20) == 0,
        "{fault:?}"
    );
    assert!(fault.kind == FaultKind::Lost && fault.chunk == Some(pieces * 32), "{fault:?}");
    assert!((1..9_000).contains(&partly.records) && partly.sha256.is_none());
    assert!(nothing.records == 0 && nothing.sha256.is_none() && nothing.faults.len() == 1);
    assert_eq!(analysis.events, whole.records + partly.records);
}

#[test]
fn a_file_cut_under_the_reader_is_lost_from_there_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let logs = logs(folder.path(), &[9_000, 500]);
    let first = logs.join("0.evtx");
    let analysis = run(&logs, CancelToken::default(), 1, || {
        let file = File::options().write(true).open(&first).unwrap();
        file.set_len(4096 + (2 << 20) + 3 * 65536 + 1000).unwrap();
    });
    let [cut, whole] = analysis.inputs.as_slice() else { panic!() };
    assert_eq!((cut.extent, whole.extent), (ReadExtent::Partly, ReadExtent::Whole));
    assert_eq!(whole.records, 500);
    // The 35th chunk is cut, and a record in it; the file ends there; it has no hash; it is another
    // than at the start.
    let lost: Vec<_> = cut.faults.iter().map(|fault| (fault.kind, fault.chunk)).collect();
    let of = |chunk| (FaultKind::Lost, chunk);
    let chunk = Some(35);
    let changed = (FaultKind::Suspect, None);
    assert_eq!(lost, [of(chunk), of(chunk), of(chunk), of(None), changed], "{:?}", cut.faults);
    let shorter = &cut.faults[2];
    assert!(shorter.reason.contains("became shorter"), "{shorter:?}");
    assert_eq!(shorter.offset, Some(4096 + (2 << 20) + 3 * 65536 + 1000));
    assert!(cut.records > 35 * 50 && cut.records < 9_000);
    assert!(!analysis.interrupted && analysis.is_partial());
}

#[test]
fn a_vanished_file_is_reported_and_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let logs = logs(folder.path(), &[9_000, 500]);
    let inputs = discover(std::slice::from_ref(&logs)).unwrap();
    fs::remove_file(logs.join("0.evtx")).unwrap();
    let rules = RuleSet::load(vec![Pack::default_pack()]).unwrap();
    let analysis = analyze(inputs, &Options::default(), rules, &NoProgress).unwrap();
    let [gone, whole] = analysis.inputs.as_slice() else { panic!() };
    let reasons: Vec<&str> = gone.faults.iter().map(|fault| fault.reason.as_str()).collect();
    let [unread, unhashed, changed] = reasons[..] else { panic!("{reasons:?}") };
    assert!(changed.starts_with("the file changed during the run: "), "{changed}");
    assert!(unread.starts_with("not read in full from here on: "), "{unread}");
    assert!(unhashed.starts_with("not hashed: "), "{unhashed}");
    assert_eq!(
        (gone.extent, whole.extent, whole.records),
        (ReadExtent::Partly, ReadExtent::Whole, 500)
    );
}

/// The program, started on a folder of logs that keeps it busy for seconds.
fn start(logs: &Path, out: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_psr-forensics"));
    command.args([
        "analyze".as_ref(),
        logs.as_os_str(),
        "--no-scripts".as_ref(),
        "-o".as_ref(),
        out.as_os_str(),
    ]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("the program starts");
    // It listens for signals before this file is there for long.
    let begun = out.join(".run.json.unfinished");
    let since = Instant::now();
    while !begun.exists() {
        assert!(since.elapsed() < Duration::from_secs(60), "it does not begin");
        sleep(Duration::from_millis(1));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// Logs that take some seconds.
fn many_logs(folder: &Path) -> PathBuf {
    let logs = folder.join("logs");
    fs::create_dir(&logs).unwrap();
    let one = log("SRV", 20_000);
    for index in 0..24 {
        fs::write(logs.join(format!("{index:02}.evtx")), &one).unwrap();
    }
    logs
}

/// The names in a folder, and those one below.
fn names(folder: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name();
    let name = |entry: walkdir::DirEntry| {
        entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned()
    };
    entries.into_iter().flatten().map(name).collect()
}

#[test]
#[cfg(unix)]
fn signals_leave_whole_outputs_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let logs = many_logs(folder.path());
    let out = |name: &str| folder.path().join(name);

    // Interrupted: all outputs, marked.
    let mut child = start(&logs, &out("int"));
    sleep(Duration::from_millis(300));
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let run = run_json(&out("int"));
    assert_eq!((&run["interrupted"], &run["partial"]), (&Value::Bool(true), &Value::Bool(true)));
    let mut expected: Vec<String> = FILES.iter().map(|&name| name.to_owned()).collect();
    expected.extend(["run.json", "run.json.sha256"].map(str::to_owned));
    expected.sort();
    assert_eq!(names(&out("int")), expected);
    let inputs = run["inputs"].as_array().unwrap();
    let unread = inputs.iter().filter(|input| input["read"] != "whole").count();
    assert!(unread > 0, "the signal came too late to test anything");
    let hash = {
        let bytes = Sha256::digest(fs::read(logs.join("00.evtx")).unwrap());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    for input in inputs {
        match input["read"].as_str().unwrap() {
            "whole" => {
                assert_eq!(input["sha256"], hash.as_str());
                assert_eq!(
                    (&input["records"], &input["faults"]),
                    (&20_000.into(), &Value::Array(vec![]))
                );
            }
            word => {
                assert!(["partly", "nothing"].contains(&word), "{word}");
                assert!(input["sha256"].is_null() && input["faults"][0]["kind"] == "lost");
            }
        }
    }
    let lines = rows(&out("int"), "timeline.csv").len() as u64;
    assert_eq!(lines, run["counts"]["events"].as_u64().unwrap());
    // All that can be checked of it holds; it cannot be made again.
    let verified = psr(&["verify", out("int").to_str().unwrap()]);
    let told = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(4), "{told}");
    assert!(told.contains("NOT CHECKED the run made again: it was interrupted"), "{told}");

    // Twice: it leaves at once, with all outputs or none.
    let mut child = start(&logs, &out("twice"));
    sleep(Duration::from_millis(300));
    signal(&child, "-INT");
    sleep(Duration::from_millis(30));
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let left = if out("twice").exists() { names(&out("twice")) } else { Vec::new() };
    assert!(left.is_empty() || left == expected, "{left:?}");

    // Killed: what is left says that it is unfinished, and the next run needs no --force.
    let mut child = start(&logs, &out("kill"));
    fs::create_dir(out("kill").join("sessions")).unwrap();
    fs::write(out("kill").join("sessions/.S0001.txt.unfinished"), "half").unwrap();
    sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
    let left = names(&out("kill"));
    let files = left.iter().filter(|name| *name != "sessions");
    assert!(left.len() >= 3, "{left:?}");
    assert!(files.clone().all(|name| name.ends_with(".unfinished")), "{left:?}");
    let explained = psr(&["explain", "all", "-o", out("kill").to_str().unwrap()]);
    assert_eq!(explained.status.code(), Some(2));
    let args = ["analyze", "samples", "-q", "--no-scripts", "-o", out("kill").to_str().unwrap()]
        .map(str::to_owned);
    assert_eq!(psr(&args.each_ref().map(String::as_str)).status.code(), Some(0));
    assert_eq!(names(&out("kill")), expected);
}

/// A folder in a file system of so many KiB, for the program alone; none where that takes rights
/// that the test has not.
fn on_a_small_disk(kib: u64, folder: &Path, input: &Path) -> Option<std::process::Output> {
    let script = format!(
        "mount -t tmpfs -o size={kib}k none {0} || exit 99\n\
         {1} analyze {2} -q -o {0}/out\ncode=$?\nls -A {0}/out {0} 1>&2\nexit $code",
        folder.display(),
        env!("CARGO_BIN_EXE_psr-forensics"),
        input.display()
    );
    let mut unshare = Command::new("unshare");
    let output = unshare.args(["-rm", "sh", "-c", &script]).current_dir(root()).output().ok()?;
    (output.status.code() != Some(99) && output.status.code() != Some(1)
        || output.stderr.starts_with(b"psr"))
    .then_some(output)
}

#[test]
fn a_full_disk_is_reported_once_and_leaves_no_output() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mut full = 0;
    for kib in [16, 64, 256, 512] {
        let Some(output) = on_a_small_disk(kib, &disk, Path::new("samples")) else {
            say("skipped: no small file system can be made here");
            return;
        };
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(0) {
            continue;
        }
        full += 1;
        assert_eq!(output.status.code(), Some(1), "{kib}: {told}");
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0].starts_with("psr-forensics: cannot write "), "{kib}: {told}");
        assert!(lines[0].contains("No space left on device"), "{kib}: {told}");
        // The folder that the run made is gone: `ls` does not find it, and the disk is empty.
        assert!(lines[1].starts_with("ls: "), "{kib}: {told}");
        assert_eq!(
            lines[2..].iter().filter(|line| !line.ends_with(':')).count(),
            0,
            "{kib}: {told}"
        );
    }
    assert!(full >= 2, "the disks were too large to test anything");
}

#[test]
fn a_vanished_output_folder_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let logs = logs(folder.path(), &[20_000]);
    let out = folder.path().join("out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_psr-forensics"));
    command.args(["analyze".as_ref(), logs.as_os_str(), "-o".as_ref(), out.as_os_str()]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !out.join(".run.json.unfinished").exists() {
        sleep(Duration::from_millis(1));
    }
    fs::remove_dir_all(&out).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with("psr-forensics: cannot write "), "{told}");
    assert!(!out.exists());
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    for args in [
        &["analyze", "samples", "-o", out][..],
        &["explain", "all", "-o", out],
        &["packs", "list"],
        &["decode", "powershell -e dwBoAG8AYQBtAGkA"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_psr-forensics"));
        command.current_dir(root()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*told), (Some(0), ""), "{args:?}");
    }
    assert_eq!(run_json(Path::new(out))["partial"], false);
}

#[test]
fn strict_makes_what_was_not_read_an_error_and_writes_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let logs = logs(folder.path(), &[500]);
    let run = |out: &str, strict: &[&str]| {
        let out = folder.path().join(out);
        let args =
            ["analyze", logs.to_str().unwrap(), "-q", "--no-scripts", "-o", out.to_str().unwrap()];
        (psr(&[&args, strict].concat()).status.code().unwrap(), names(&out).len())
    };
    let files = FILES.len() + 2;
    assert_eq!(run("whole", &["--strict"]), (0, files));
    let path = logs.join("0.evtx");
    let length = fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(length - 1000).unwrap();
    assert_eq!(run("cut", &[]), (4, files));
    assert_eq!(run("strict", &["--strict"]), (5, files));
}

#[test]
fn a_run_that_is_stopped_before_it_reads_still_ends_with_a_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let logs = logs(folder.path(), &[500]);
    let stop = CancelToken::default();
    assert!(!stop.cancel() && stop.cancel());
    let rules = RuleSet::load(vec![Pack::default_pack()]).unwrap();
    let options = Options { stop, ..Options::default() };
    let analysis = analyze(discover(&[logs]).unwrap(), &options, rules, &NoProgress).unwrap();
    assert!(analysis.interrupted && analysis.events == 0);
    assert_eq!(analysis.inputs[InputIdx::default()].extent, ReadExtent::Nothing);
}
