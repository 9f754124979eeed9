//! The program as a user meets it: exit codes, messages, what is left on disk.

use std::fs;
use std::path::Path;

use crate::common::{FILES, analyze, psr, run_json};

/// Runs `analyze` and gives exit code and what it said on stderr.
fn fails(args: &[&str]) -> (i32, String) {
    let output = psr(&[&["analyze"], args].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), errors)
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_missing_path_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(folder.path(), "out");
    let (code, errors) = fails(&["no/such/folder", "-o", &out]);
    assert_eq!(code, 2);
    assert_eq!(errors, "psr-forensics: no/such/folder: no such file or folder\n");
    assert!(!Path::new(&out).exists());
}

#[test]
fn an_empty_folder_holds_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(folder.path(), "out");
    fs::create_dir(folder.path().join("empty")).unwrap();
    let (code, errors) = fails(&[&path(folder.path(), "empty"), "-o", &out]);
    assert_eq!(code, 1);
    assert_eq!(errors, "psr-forensics: no event log to read: the paths given hold no file\n");
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_text_file_named_evtx_is_named_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(folder.path(), "out");
    let text = path(folder.path(), "notes.evtx");
    fs::write(&text, "just text").unwrap();
    let (code, errors) = fails(&[&text, "-o", &out]);
    assert_eq!(code, 1);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("notes.evtx: named .evtx but not an event log"), "{errors}");
    assert!(!Path::new(&out).exists());
    // Beside a log it is a loss, and the run goes on.
    let out = folder.path().join("out2");
    let output = psr(&["analyze", &text, "samples", "-q", "-o", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(run_json(&out)["partial"], true);
}

#[test]
fn a_broken_rule_stops_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(folder.path(), "out");
    let rule = path(folder.path(), "broken.yml");
    fs::write(&rule, "title: broken\nlogsource: {product: windows\n").unwrap();
    let (code, errors) = fails(&["samples", "--pack", &rule, "-o", &out]);
    assert_eq!(code, 3);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("broken.yml: none of its rules loads; broken.yml: "), "{errors}");
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_pack_with_some_bad_rules_runs_with_the_good_ones() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack");
    fs::create_dir(&pack).unwrap();
    let rule = "title: Any session\nid: 11111111-1111-4111-8111-111111111111\nlevel: high\n\
                logsource: {product: windows, category: remoting_session}\n\
                detection: {s: {Kind: winrs}, condition: s}\n";
    fs::write(pack.join("good.yml"), rule).unwrap();
    fs::write(pack.join("bad.yml"), "title: [").unwrap();
    let out = folder.path().join("out");
    let pack = pack.to_str().unwrap();
    assert_eq!(analyze("samples", &out, &["--no-default-pack", "--pack", pack]), 4);
    let detections = crate::common::rows(&out, "detections.csv");
    assert_eq!(detections.len(), 1);
    assert_eq!(detections[0]["rule_title"], "Any session");
    assert_eq!(run_json(&out)["rules_refused"][0]["file"], "bad.yml");
}

#[test]
fn an_unwritable_output_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let (code, errors) = fails(&["samples", "-o", &path(folder.path(), "file/out")]);
    assert_eq!(code, 1);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with("psr-forensics: cannot write "), "{errors}");
    assert_eq!(errors.matches("os error").count(), 1, "{errors}");
}

#[test]
fn results_are_replaced_only_with_force() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &[]), 0);
    let (code, errors) = fails(&["samples", "-o", out.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(errors.contains("--force"), "{errors}");
    assert_eq!(analyze("samples", &out, &["--force"]), 0);
    let mut names: Vec<_> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut expected: Vec<&str> = FILES.to_vec();
    expected.extend(["run.json", "run.json.sha256", "scripts"]);
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn a_window_leaves_out_what_lies_outside() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let window = ["--from", "2026-03-14T22:00:00", "--to", "2026-03-14 22:10"];
    assert_eq!(analyze("samples", &out, &window), 0);
    let timeline = crate::common::rows(&out, "timeline.csv");
    assert!(!timeline.is_empty());
    let inside = |time: &str| ("2026-03-14 22:00:00".."2026-03-14 22:10:00").contains(&time);
    assert!(timeline.iter().all(|row| inside(&row["time"])));
    let sessions = crate::common::rows(&out, "sessions.csv");
    assert_eq!(sessions.iter().map(|row| row["kind"].as_str()).collect::<Vec<_>>(), ["winrs"]);
    assert_eq!(fails(&["samples", "--from", "soon"]).0, 2);
    // No event lies in it: not a run without results.
    for to in ["2026-03-14 22:00", "2026-03-14"] {
        let (code, errors) = fails(&["samples", "--from", "2026-03-14 22:00", "--to", to]);
        assert_eq!(code, 2);
        assert!(errors.contains("--from is not before --to"), "{errors}");
    }
}

#[test]
fn stdout_has_the_summary_and_stderr_is_silent_off_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(folder.path(), "out");
    let output = psr(&["analyze", "samples", "-o", &out]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in ["13 logs read", "1197 records", "Sessions    2, failed attempts 1", &out] {
        assert!(summary.contains(line), "{line} in:\n{summary}");
    }
}

#[test]
fn run_json_names_inputs_packs_and_their_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &[]), 0);
    let run = run_json(&out);
    assert_eq!(run["tool"], "psr-forensics");
    assert_eq!(run["packs"][0]["sha256"].as_str().unwrap().len(), 64);
    let hashed = run["inputs"].as_array().unwrap().iter().filter(|input| input["kind"] == "evtx");
    for input in hashed {
        let path = crate::common::root().join(input["path"].as_str().unwrap());
        let sha256 = input["sha256"].as_str().unwrap();
        // The samples' README lists what an independent tool computed.
        let readme = fs::read_to_string(crate::common::root().join("samples/README.md")).unwrap();
        assert!(readme.contains(sha256), "{}: {sha256}", path.display());
        assert_eq!(input["size"].as_u64(), Some(fs::metadata(&path).unwrap().len()));
    }
}

#[cfg(not(feature = "sql"))]
#[test]
fn a_build_without_sql_shows_how_to_get_it() {
    let done = psr(&["query", "results", "SELECT 1"]);
    let errors = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{errors}");
    assert!(errors.contains("cargo build --release --features sql"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(done.stdout.is_empty());
}
