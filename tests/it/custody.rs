//! What `run.json` vouches for, and that nothing is done to the evidence.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use psr_forensics::{Options, Pack, Progress, RuleSet, discover};
use sha2::{Digest, Sha256};

use crate::common::{analyze, psr, root, run_json, say};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder with copies of the samples.
pub fn evidence(folder: &Path) -> PathBuf {
    let to = folder.join("evidence");
    for host in fs::read_dir(root().join("samples")).unwrap().map(|entry| entry.unwrap().path()) {
        if host.is_dir() {
            let copy = to.join(host.file_name().unwrap());
            fs::create_dir_all(&copy).unwrap();
            for log in fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().path()) {
                fs::copy(&log, copy.join(log.file_name().unwrap())).unwrap();
            }
        }
    }
    to
}

#[test]
fn every_output_is_vouched_for_and_run_json_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &["--transcripts"]), 0);
    let run = run_json(&out);
    let outputs = run["outputs"].as_array().unwrap();
    let mut named: Vec<String> = Vec::new();
    for output in outputs {
        let name = output["file"].as_str().unwrap();
        let bytes = fs::read(out.join(name)).unwrap();
        assert_eq!(output["size"].as_u64(), Some(bytes.len() as u64), "{name}");
        assert_eq!(output["sha256"], sha256(&bytes), "{name}");
        named.push(name.to_owned());
    }
    named.extend(["run.json", "run.json.sha256"].map(str::to_owned));
    named.sort();
    let files = walkdir::WalkDir::new(&out).into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file());
    let mut there: Vec<String> = files
        .map(|entry| entry.path().strip_prefix(&out).unwrap().to_str().unwrap().replace('\\', "/"))
        .collect();
    there.sort();
    assert_eq!(named, there);
    let seal = fs::read_to_string(out.join("run.json.sha256")).unwrap();
    assert_eq!(seal, format!("{}  run.json\n", sha256(&fs::read(out.join("run.json")).unwrap())));
    let mut check = Command::new("sha256sum");
    match check.args(["-c", "run.json.sha256"]).current_dir(&out).output() {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(_) => say("sha256sum is not here: the seal is read by our own means only"),
    }
}

#[test]
fn run_json_records_program_machine_and_user() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = psr(&["analyze", "samples", "--threads", "2", "-o", out.to_str().unwrap()]);
    let run = run_json(&out);
    assert_eq!(run["threads"], 2);
    assert_eq!(run["working_directory"], root().to_str().unwrap());
    assert_eq!(run["arguments"][1], "samples");
    assert!(run["build"]["rustc"].as_str().unwrap().starts_with("rustc "));
    assert!(run["build"]["target"].as_str().unwrap().contains('-'));
    if cfg!(unix) {
        let uname = Command::new("uname").arg("-n").output().unwrap().stdout;
        assert_eq!(run["machine"]["name"], String::from_utf8_lossy(&uname).trim());
        assert!(run["machine"]["user_id"].is_number());
    }
    let rules = run["rules_fired"].as_array().unwrap();
    let detections: u64 = rules.iter().map(|rule| rule["detections"].as_u64().unwrap()).sum();
    assert_eq!(run["counts"]["detections"].as_u64(), Some(detections));
    for rule in rules {
        let file = Path::new("detections").join(rule["file"].as_str().unwrap());
        let text = fs::read(root().join(&file)).unwrap();
        assert_eq!(rule["sha256"], sha256(&text), "{}", file.display());
    }
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    let seal = sha256(&fs::read(out.join("run.json")).unwrap());
    assert!(summary.contains(&seal), "{summary}");
}

#[test]
fn inputs_stay_as_they_were_their_times_too() {
    let folder = tempfile::tempdir().unwrap();
    let logs = evidence(folder.path());
    let files = || {
        let entries = walkdir::WalkDir::new(&logs).sort_by_file_name().into_iter();
        entries.map(Result::unwrap).filter(|entry| entry.file_type().is_file())
    };
    // Read long ago and written to since: even relatime would set the time of access.
    for entry in files() {
        let times = FileTimes::new()
            .set_accessed(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        File::options().write(true).open(entry.path()).unwrap().set_times(times).unwrap();
    }
    let state = || {
        let states = files().map(|entry| {
            let of = entry.metadata().unwrap();
            // Content last: reading it here sets the time of access.
            let times = (of.modified().unwrap(), of.accessed().unwrap(), of.permissions());
            (entry.path().to_owned(), of.len(), times)
        });
        states.collect::<Vec<_>>()
    };
    let before = state();
    let out = folder.path().join("out");
    assert_eq!(analyze(logs.to_str().unwrap(), &out, &["--rehash"]), 0);
    let after = state();
    if cfg!(target_os = "linux") {
        assert_eq!(before, after);
    }
    for input in run_json(&out)["inputs"].as_array().unwrap() {
        let bytes = fs::read(input["path"].as_str().unwrap()).unwrap();
        assert_eq!(input["sha256"], sha256(&bytes));
        assert_eq!(input["sha256_after"], input["sha256"]);
        assert_eq!(input["modified"], "2001-09-09 01:46:40.0000000");
    }
}

/// Does something once the logs are read.
struct WhenRead<F>(F);

impl<F: Fn() + Sync> Progress for WhenRead<F> {
    fn begin(&self, _: usize, _: u64) {}
    fn advance(&self, _: u64, _: u64) {}
    fn stage(&self, name: &str) {
        if name == "matching rules" {
            self.0();
        }
    }
}

#[test]
fn an_input_that_changes_during_a_run_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let logs = evidence(folder.path());
    let inputs = discover(std::slice::from_ref(&logs)).unwrap();
    let (victim, original) = (inputs[3].path.clone(), fs::read(&inputs[3].path).unwrap());
    let time = fs::metadata(&victim).unwrap().modified().unwrap();
    let rules = || RuleSet::load(vec![Pack::default_pack()]).unwrap();
    let reasons = |rehash, change: &(dyn Fn() + Sync)| {
        fs::write(&victim, &original).unwrap();
        let options = Options { rehash, ..Options::default() };
        let inputs = discover(std::slice::from_ref(&logs)).unwrap();
        let analysis = psr_forensics::analyze(inputs, &options, rules(), &WhenRead(change));
        let analysis = analysis.unwrap();
        let faults = analysis.inputs.iter().enumerate().flat_map(|(index, report)| {
            report.faults.iter().map(move |fault| (index, fault.reason.clone()))
        });
        (analysis.is_partial(), faults.collect::<Vec<_>>())
    };
    assert_eq!(reasons(true, &|| {}), (false, vec![]));
    let grow = || fs::write(&victim, [&original[..], b"x"].concat()).unwrap();
    let (partial, faults) = reasons(false, &grow);
    assert!(partial);
    assert_eq!((faults.len(), faults[0].0), (1, 3), "{faults:?}");
    assert!(faults[0].1.starts_with("the file changed during the run: it had "), "{faults:?}");
    // Same size and time: a second reading shows it on any system.
    let flip = || {
        let mut bytes = original.clone();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&victim, &bytes).unwrap();
        File::options().write(true).open(&victim).unwrap().set_modified(time).unwrap();
    };
    let (_, faults) = reasons(true, &flip);
    assert!(faults.iter().any(|(_, reason)| reason.contains("its SHA-256 is")), "{faults:?}");
}
