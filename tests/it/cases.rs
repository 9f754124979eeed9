//! Cases: what is extracted once gives the same as the logs themselves, however often the run that
//! extracted it was ended.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use psr_forensics::input::ReadExtent;
use psr_forensics::observe::CaseFolder;
use psr_forensics::{CancelToken, NoProgress, Options, Pack, Progress, RuleSet, discover, extract};
use serde_json::Value;
use walkdir::WalkDir;

use crate::common::{FILES, corpus, psr, root, run_json, say};
use crate::faults::logs;
use crate::inputs;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a verb, and gives its exit code.
fn code(args: &[&str]) -> i32 {
    let output = psr(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{errors}");
    output.status.code().unwrap()
}

/// Every file below a folder, but `run.json`, which has the clock in it.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let found = WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    let found = found.filter(|entry| entry.file_type().is_file());
    let found = found.filter(|entry| !entry.file_name().to_string_lossy().starts_with("run.json"));
    let found = found.map(|entry| entry.into_path());
    let below = |path: &Path| path.strip_prefix(folder).unwrap().to_owned();
    found.map(|path| (below(&path), fs::read(path).unwrap())).collect()
}

fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    let names = |files: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&one), names(&other));
    for ((name, a), (_, b)) in one.iter().zip(&other) {
        assert!(a == b, "{} differs", name.display());
    }
}

/// The ledger's rows of inputs, but for what says where their records came from.
fn ledger(out: &Path) -> Vec<Value> {
    let mut inputs = run_json(out)["inputs"].as_array().unwrap().clone();
    for input in &mut inputs {
        input.as_object_mut().unwrap().remove("extracted");
    }
    inputs
}

/// That `analyze`, `extract` with `correlate`, and `analyze --case` say the same of a path, at any
/// number of threads.
fn assert_alike(path: &str, expected: i32, reading: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [logs, halves, case, both] = ["logs", "halves", "case", "both"].map(at);
    let formats = ["--format", "csv", "--format", "html", "--format", "ecs", "--transcripts", "-q"];
    let run = |verb: &[&str], out: &Path| code(&[verb, &formats, &["-o", text(out)]].concat());
    assert_eq!(run(&[&["analyze", path][..], reading].concat(), &logs), expected);
    let extract = ["extract", path, "-q", "--threads", "1", "--case", text(&case)];
    assert_eq!(code(&[&extract, reading].concat()), expected);
    assert_eq!(run(&["correlate", text(&case), "--threads", "3"], &halves), expected);
    assert_same(&logs, &halves);
    assert_eq!(ledger(&logs), ledger(&halves));
    let own = at("own");
    let args = [&["analyze", path, "--case", text(&own), "--threads", "3"][..], reading].concat();
    assert_eq!(run(&args, &both), expected);
    assert_same(&logs, &both);
    // What a case has of a file does not depend on the threads, either.
    assert_same(&case, &own);
}

#[test]
fn of_the_samples() {
    assert_alike("samples", 0, &[]);
}

#[test]
fn of_real_logs() {
    if let Some(path) = corpus("evtx") {
        assert_alike(&path, 0, &[]);
    }
    if let Some(path) = corpus("json") {
        assert_alike(&path, 0, &[]);
    }
}

#[test]
fn of_damaged_logs_and_what_is_recovered_of_them() {
    if let Some(path) = corpus("damaged") {
        assert_alike(&path, 4, &[]);
        assert_alike(&path, 4, &["--recover"]);
    }
}

#[test]
fn of_exports_and_archives() {
    let folder = tempfile::tempdir().unwrap();
    let logs = inputs::exports_and_archives(folder.path());
    fs::write(logs.join("notes.txt"), "no log").unwrap();
    fs::write(logs.join("empty.evtx"), "").unwrap();
    assert_alike(text(&logs), 4, &[]);
}

/// Does something once, when so many pieces are decoded.
struct After<'a> {
    pieces: u64,
    decoded: AtomicU64,
    what: Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>,
}

impl Progress for After<'_> {
    fn begin(&self, _: usize, _: u64) {}
    fn advance(&self, _: u64, _: u64) {
        if self.decoded.fetch_add(1, Ordering::Relaxed) + 1 == self.pieces {
            let what = self.what.lock().unwrap().take();
            what.into_iter().for_each(|what| what());
        }
    }
    fn stage(&self, _: &str) {}
}

/// Extracts on one thread, and does something after so many pieces; yields how many files were
/// finished before, and the extent of each.
fn extracted(
    logs: &Path,
    case: &Path,
    after: Option<After<'_>>,
    stop: CancelToken,
) -> (usize, Vec<ReadExtent>) {
    let rules = RuleSet::load(vec![Pack::default_pack()]).unwrap();
    let inputs = discover(&[logs.to_owned()]).unwrap();
    let options = Options { stop, ..Options::default() };
    let mut folder = CaseFolder::open(case).unwrap();
    let progress = after.as_ref().map_or(&NoProgress as &dyn Progress, |after| after);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let evidence = pool.install(|| extract(inputs, &mut folder, &options, &rules, progress));
    let before = evidence.unwrap().before;
    drop(folder);
    let known = CaseFolder::read(case).unwrap();
    let extents = known.files.values().flat_map(|(_, entry)| &entry.inputs);
    (before, extents.map(|input| input.extent).collect())
}

fn copy(from: &Path, to: &Path) {
    for (name, content) in files(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// A case that was extracted without a pause.
fn whole(logs: &Path, case: &Path) {
    assert_eq!(code(&["extract", text(logs), "-q", "--case", text(case)]), 0);
}

#[test]
fn what_a_killed_run_has_finished_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let logs = logs(folder.path(), &[60, 4500, 60]);
    let at = |name: &str| folder.path().join(name);
    // The second log is three pieces, and the process is killed when one of them is done: the disk
    // has then what is there at that moment, and half a line.
    let killed = at("killed");
    let kill = || {
        copy(&at("case"), &killed);
        let mut journal = File::options().append(true).open(killed.join("journal.jsonl")).unwrap();
        journal.write_all(b"{\"file\":{\"path\":\"half").unwrap();
        fs::create_dir_all(killed.join("observations/host=srv1/day=2026-03-14")).unwrap();
        let half = "observations/host=srv1/day=2026-03-14/.half.unfinished";
        fs::write(killed.join(half), "half").unwrap();
    };
    let after =
        After { pieces: 2, decoded: AtomicU64::new(0), what: Mutex::new(Some(Box::new(kill))) };
    extracted(&logs, &at("case"), Some(after), CancelToken::default());
    let known = CaseFolder::read(&killed).unwrap();
    assert_eq!((known.files.len(), known.begun.len()), (1, 2));
    // A case in this state says what is missing.
    assert_eq!(code(&["correlate", text(&killed), "-q", "-o", text(&at("half"))]), 4);
    let faults: Vec<Value> =
        ledger(&at("half")).into_iter().map(|row| row["faults"].clone()).collect();
    assert_eq!(faults[0], Value::Array(Vec::new()));
    assert!(faults[1][0]["reason"].as_str().unwrap().contains("to be extracted"), "{faults:?}");

    assert_eq!(
        extracted(&logs, &killed, None, CancelToken::default()),
        (1, vec![ReadExtent::Whole; 3])
    );
    assert_same(&at("case"), &killed);
    assert_eq!(extracted(&logs, &killed, None, CancelToken::default()).0, 3);
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let logs = logs(folder.path(), &[60, 4500, 60]);
    let (case, other) = (folder.path().join("case"), folder.path().join("other"));
    let stop = CancelToken::default();
    let asked = stop.clone();
    let ask = move || assert!(!asked.cancel());
    let after =
        After { pieces: 2, decoded: AtomicU64::new(0), what: Mutex::new(Some(Box::new(ask))) };
    let (_, extents) = extracted(&logs, &case, Some(after), stop);
    assert_eq!(extents, [ReadExtent::Whole, ReadExtent::Partly, ReadExtent::Nothing]);
    assert_eq!(code(&["correlate", text(&case), "-q", "-o", text(&folder.path().join("half"))]), 4);
    assert_eq!(
        extracted(&logs, &case, None, CancelToken::default()),
        (1, vec![ReadExtent::Whole; 3])
    );
    whole(&logs, &other);
    assert_same(&case, &other);
}

#[cfg(unix)]
#[test]
fn a_process_that_is_killed_loses_nothing_that_it_had_finished() {
    let folder = tempfile::tempdir().unwrap();
    let logs = logs(folder.path(), &[300; 40]);
    let (case, other) = (folder.path().join("case"), folder.path().join("other"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_psr-forensics"));
    command.current_dir(root()).args(["extract", text(&logs), "-q", "--case", text(&case)]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let finished = || {
        let journal = fs::read(case.join("journal.jsonl")).unwrap_or_default();
        journal.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"{\"file\"")).count()
    };
    while finished() < 3 && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = finished();
    assert!(before >= 3);
    say(&format!("killed when {before} of 40 logs were finished"));
    let output = psr(&["extract", text(&logs), "--case", text(&case)]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    // A line that was being written when the process died is not whole, and its file read again.
    let again = said
        .lines()
        .find_map(|line| line.strip_suffix(" files were finished before, and not read again"));
    let again: usize = again.unwrap().parse().unwrap();
    assert!(again == before || again + 1 == before, "{said}");
    whole(&logs, &other);
    assert_same(&case, &other);
}

#[test]
fn what_changed_or_is_asked_for_anew_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let logs = logs(folder.path(), &[10, 20]);
    let at = |name: &str| folder.path().join(name);
    let case = at("case");
    let before = |more: &[&str]| {
        let output = psr(&[&["extract", text(&logs), "--case", text(&case)][..], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said.lines().find(|line| line.contains("finished before"));
        line.map_or(0, |line| line.split(' ').next().unwrap().parse().unwrap())
    };
    assert_eq!((before(&[]), before(&[])), (0, 2));
    // Written to.
    let mut log = File::options().append(true).open(logs.join("1.evtx")).unwrap();
    log.write_all(&[0; 65536]).unwrap();
    assert_eq!(before(&[]), 1);
    // Another way of reading.
    assert_eq!(before(&["--recover"]), 0);
    assert_eq!(before(&[]), 0);
    // A rule that asks for what nobody asked for.
    let rule = at("rule.yml");
    let text_of = "title: t\nid: 5f0d6f5e-0000-4000-8000-000000000001\nstatus: test\nlevel: low\n\
                   logsource:\n  product: windows\n  service: application\n\
                   detection:\n  selection:\n    EventID: 1000\n  condition: selection\n";
    fs::write(&rule, text_of).unwrap();
    let correlate = |out: &str| {
        code(&["correlate", text(&case), "-q", "--pack", text(&rule), "-o", text(&at(out))])
    };
    assert_eq!(correlate("without"), 4);
    let faults = ledger(&at("without"))[0]["faults"].to_string();
    assert!(faults.contains("extracted for other rules"), "{faults}");
    assert_eq!(before(&["--pack", text(&rule)]), 0);
    assert_eq!(correlate("with"), 0);
    // Those who ask for less are served.
    assert_eq!(before(&[]), 2);
    // Nothing of what was extracted before is left.
    let names = || {
        let known = CaseFolder::read(&case).unwrap();
        let tables = known.files.values().flat_map(|(_, entry)| entry.tables());
        tables.map(|table| PathBuf::from(&table.name)).collect::<Vec<_>>()
    };
    let mut found: Vec<PathBuf> = files(&case).into_iter().map(|(name, _)| name).collect();
    found.retain(|name| name.starts_with("observations"));
    let mut named = names();
    named.sort();
    found.sort();
    assert_eq!(found, named);
}

#[test]
fn cases_of_several_hosts_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let hosts = hosts();
    let mut cases = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        let case = at(&format!("case{number}"));
        assert_eq!(code(&["extract", host, "-q", "--case", text(&case)]), 0);
        cases.push(case);
    }
    let mut args = vec!["analyze"];
    args.extend(hosts.iter().map(String::as_str));
    let logs = at("logs");
    args.extend(["-q", "-o", text(&logs)]);
    assert_eq!(code(&args), 0);
    for (name, order) in [("forth", cases.clone()), ("back", cases.iter().rev().cloned().collect())]
    {
        let out = at(name);
        let mut args = vec!["correlate"];
        args.extend(order.iter().map(|case| text(case)));
        args.extend(["-q", "-o", text(&out)]);
        assert_eq!(code(&args), 0);
        assert_same(&logs, &out);
    }
}

#[test]
fn a_changed_table_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let logs = logs(folder.path(), &[10, 20]);
    let case = folder.path().join("case");
    whole(&logs, &case);
    let known = CaseFolder::read(&case).unwrap();
    let (_, entry) = known.files.values().next().unwrap();
    let table = case.join(&entry.tables().next().unwrap().name);
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&table, bytes).unwrap();
    let out = folder.path().join("out");
    assert_eq!(code(&["correlate", text(&case), "-q", "-o", text(&out)]), 4);
    let inputs = ledger(&out);
    let reason = inputs[0]["faults"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("10 of its observations not read"), "{reason}");
    assert_eq!(inputs[0]["faults"].as_array().unwrap().len(), 1, "told once");
    assert_eq!(inputs[1]["faults"], Value::Array(Vec::new()));
}

#[test]
fn folders_that_are_not_case_folders_are_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let logs = logs(folder.path(), &[10]);
    fs::create_dir(at("other")).unwrap();
    fs::write(at("other/file"), "text").unwrap();
    let fails = |args: &[&str], expected: i32, word: &str| {
        let output = psr(args);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(expected), "{errors}");
        assert!(errors.contains(word), "{errors}");
    };
    fails(&["extract", text(&logs), "--case", text(&at("other"))], 2, "not a case");
    fails(&["correlate", text(&at("other")), "-o", text(&at("out"))], 2, "no case folder");
    assert_eq!(files(&at("other")).len(), 1);
    assert!(!at("out").exists());
    // One at a time.
    let case = at("case");
    let held = CaseFolder::open(&case).unwrap();
    fails(&["extract", text(&logs), "--case", text(&case)], 2, "another run is writing");
    drop(held);
    whole(&logs, &case);
    let journal = case.join("journal.jsonl");
    let lines = fs::read_to_string(&journal).unwrap();
    // One that names a table elsewhere is not followed there.
    fs::write(
        &journal,
        lines.replacen("\"name\":\"observations", "\"name\":\"observations/../..", 1),
    )
    .unwrap();
    fails(&["merge", text(&at("into")), text(&case)], 2, "elsewhere");
    assert!(!at("into").exists());
    // Of another version, and not as it was written.
    fs::write(&journal, lines.replacen("\"schema\":1", "\"schema\":2", 1)).unwrap();
    fails(&["correlate", text(&case), "-o", text(&at("out"))], 2, "extract anew");
    fs::write(&journal, lines.replacen("\"asks\"", "\"axes\"", 1)).unwrap();
    fails(&["correlate", text(&case), "-o", text(&at("out"))], 2, "line 2");
}

#[test]
fn a_run_from_a_case_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (case, out) = (at("case"), at("out"));
    whole(&root().join("samples"), &case);
    assert_eq!(code(&["correlate", text(&case), "-q", "-o", text(&out)]), 0);
    assert_eq!(code(&["verify", text(&out), "-q"]), 0);
    let with = at("with");
    assert_eq!(
        code(&["analyze", "samples", "-q", "--case", text(&at("own")), "-o", text(&with)]),
        0
    );
    assert_eq!(code(&["verify", text(&with), "-q"]), 0);
    // Recovered records are in the case, whatever the second half was told.
    if let Some(damaged) = corpus("damaged") {
        let [case, out] = [at("recovered"), at("recovered-out")];
        assert_eq!(code(&["extract", &damaged, "--recover", "-q", "--case", text(&case)]), 4);
        assert_eq!(code(&["correlate", text(&case), "-q", "-o", text(&out)]), 4);
        assert_eq!(code(&["verify", text(&out), "-q"]), 0);
    }
    let path = out.join("sessions.csv");
    let changed = fs::read_to_string(&path).unwrap().replace("adm", "bdm");
    fs::write(&path, changed).unwrap();
    assert_eq!(code(&["verify", text(&out), "-q"]), 6);
    assert!(FILES.iter().all(|file| out.join(file).exists()));
}

/// The folders of the samples' hosts, from the repository's folder.
fn hosts() -> Vec<String> {
    let found = fs::read_dir(root().join("samples")).unwrap().flatten();
    let folders = found.filter(|entry| entry.path().is_dir());
    let mut hosts: Vec<String> =
        folders.map(|entry| format!("samples/{}", entry.file_name().to_str().unwrap())).collect();
    hosts.sort();
    assert!(hosts.len() > 2, "{hosts:?}");
    hosts
}

#[test]
fn a_case_folder_extended_host_by_host_equals_a_full_one_and_changes_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let hosts = hosts();
    let whole = at("whole");
    let args: Vec<&str> =
        [&["analyze"][..], &hosts.iter().map(String::as_str).collect::<Vec<_>>()].concat();
    assert_eq!(code(&[&args[..], &["-q", "-o", text(&whole)]].concat()), 0);
    let cases: Vec<PathBuf> = { 0..hosts.len() }.map(|number| at(&format!("of{number}"))).collect();
    for (host, case) in hosts.iter().zip(&cases) {
        assert_eq!(code(&["extract", host, "-q", "--case", text(case)]), 0);
    }
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let case = at(&format!("case{}", order[0]));
        let mut before: Option<PathBuf> = None;
        for (step, &host) in order.iter().enumerate() {
            let merged = psr(&["merge", text(&case), text(&cases[host])]);
            assert_eq!(
                merged.status.code(),
                Some(0),
                "{}",
                String::from_utf8_lossy(&merged.stderr)
            );
            let out = at(&format!("out{}-{step}", order[0]));
            assert_eq!(code(&["correlate", text(&case), "-q", "-o", text(&out)]), 0);
            if let Some(before) = &before {
                let diff = psr(&["diff", text(before), text(&out), "--json"]);
                let changes: Value = serde_json::from_slice(&diff.stdout).unwrap();
                let count = |name: &str| changes[name].as_array().unwrap().len();
                let sessions = |out: &Path| crate::common::rows(out, "sessions.csv").len();
                let kept = changes["same"].as_u64().unwrap() as usize + count("changed");
                assert_eq!(kept + count("gone"), sessions(before));
                assert_eq!(kept + count("new"), sessions(&out));
                let detections = |out: &Path| crate::common::rows(out, "detections.csv").len();
                assert_eq!(
                    detections(before) + count("new_detections"),
                    detections(&out) + count("gone_detections")
                );
            }
            before = Some(out);
        }
        assert_same(&whole, &before.unwrap());
        // What is there already is not copied again.
        let again = psr(&["merge", text(&case), text(&cases[0])]);
        let said = String::from_utf8(again.stdout).unwrap();
        assert!(said.contains("0 files new, 0 extracted anew"), "{said}");
    }
}

#[test]
fn the_clients_logs_change_what_is_reported_of_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let analyze = |hosts: &[&str], out: &str| {
        assert_eq!(code(&[&["analyze"], hosts, &["-q", "-o", text(&at(out))]].concat()), 0);
    };
    analyze(&["samples/SRV02"], "target");
    analyze(&["samples/SRV02", "samples/WS01"], "both");
    let diff = psr(&["diff", text(&at("target")), text(&at("both"))]);
    let said = String::from_utf8(diff.stdout).unwrap();
    // samples/truth.json: WS01 has client's records of the session from WS01 to SRV02.
    let sides = said.lines().find(|line| line.contains("evidence_sides"));
    assert!(sides.is_some_and(|line| line.contains("client")), "{said}");
    assert!(!said.contains("\n- S"), "no session is lost: {said}");
    let same = psr(&["diff", text(&at("both")), text(&at("both"))]);
    let said = String::from_utf8(same.stdout).unwrap();
    assert!(said.contains("0 told otherwise, 0 new, 0 gone"), "{said}");
    assert!(said.contains("Detections: 0 new, 0 gone"), "{said}");
    let none = psr(&["diff", text(&at("both")), "samples"]);
    assert_eq!(none.status.code(), Some(2));
}
