//! `verify`: it passes on a whole folder, and names whatever was changed, with its place.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::common::{analyze, corpus, psr, root};
use crate::custody::evidence;
use crate::inputs;

/// Runs `verify` and gives its exit code and what it printed.
fn verify(out: &Path, more: &[&str]) -> (i32, String) {
    let output = psr(&[&["verify", out.to_str().unwrap()], more].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &errors;
    (output.status.code().unwrap(), text)
}

fn whole(out: &Path, more: &[&str]) {
    let (code, text) = verify(out, more);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("\nVerified. "), "{text}");
}

/// A file's lines changed.
fn edit(path: &Path, edit: impl FnOnce(&mut Vec<String>)) {
    let mut lines: Vec<String> =
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    edit(&mut lines);
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// A folder copied.
fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from).into_iter().map(Result::unwrap) {
        let to = to.join(entry.path().strip_prefix(from).unwrap());
        match entry.file_type().is_dir() {
            true => fs::create_dir_all(&to).unwrap(),
            false => drop(fs::copy(entry.path(), &to).unwrap()),
        }
    }
}

fn sha256(path: &Path) -> String {
    Sha256::digest(fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes the ledger and its seal agree with the files, as one would who covers his tracks.
fn cover(out: &Path) {
    let path = out.join("run.json");
    let mut run = crate::common::run_json(out);
    for output in run["outputs"].as_array_mut().unwrap() {
        let file = out.join(output["file"].as_str().unwrap());
        output["size"] = fs::metadata(&file).unwrap().len().into();
        output["sha256"] = sha256(&file).into();
    }
    fs::write(&path, serde_json::to_vec_pretty(&run).unwrap()).unwrap();
    fs::write(out.join("run.json.sha256"), sha256(&path) + "  run.json\n").unwrap();
}

/// A planted change: its name, what makes it of the results and the evidence, and what the report
/// must have in one line.
type Planted = (&'static str, fn(&Path, &Path), &'static [&'static str]);

/// The line of timeline.csv of a type 3 logon, from 0.
fn logon(lines: &[String]) -> usize {
    lines.iter().position(|line| line.contains(",4624,")).unwrap()
}

const IN_OUTPUTS: [Planted; 12] = [
    (
        "a cell of the timeline changed",
        |out, _| {
            edit(&out.join("timeline.csv"), |lines| {
                let line = logon(lines);
                lines[line] = lines[line].replacen(",4624,", ",4625,", 1);
            })
        },
        &["timeline.csv, line ", ", event_id: found '4625', expected '4624'"],
    ),
    (
        "a row taken out",
        |out, _| edit(&out.join("timeline.csv"), |lines| drop(lines.remove(9))),
        &["timeline.csv, line 10: taken out before this line: "],
    ),
    (
        "a row put in",
        |out, _| {
            edit(&out.join("timeline.csv"), |lines| {
                let mut line = lines[19].clone();
                line.insert(line.find('.').unwrap() + 7, 'x');
                lines.insert(20, line);
            })
        },
        &["timeline.csv, line 21: put in: "],
    ),
    (
        "a row moved",
        |out, _| {
            edit(&out.join("timeline.csv"), |lines| {
                let line = lines.remove(30);
                lines.insert(60, line);
            })
        },
        &["timeline.csv, line 61: moved: line 31 of "],
    ),
    (
        "a session's account changed",
        |out, _| {
            edit(&out.join("sessions.csv"), |lines| {
                let user = crate::common::rows(out, "sessions.csv")[0]["user"].clone();
                lines[1] = lines[1].replacen(&user, r"CORP\scapegoat", 1);
            })
        },
        &["sessions.csv, line 2, user: found 'CORP\\scapegoat', expected "],
    ),
    (
        "a session's account changed in sessions.jsonl",
        |out, _| {
            edit(&out.join("sessions.jsonl"), |lines| {
                let mut story: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
                story["user"] = r"CORP\scapegoat".into();
                lines[1] = story.to_string();
            })
        },
        &["sessions.jsonl, line 2, /user: found 'CORP\\scapegoat'"],
    ),
    (
        "a detection taken out",
        |out, _| edit(&out.join("detections.csv"), |lines| drop(lines.remove(4))),
        &["detections.csv, line 5: taken out before this line: "],
    ),
    (
        "a file cut",
        |out, _| edit(&out.join("commands.csv"), |lines| lines.truncate(2)),
        &["commands.csv, line 3: taken out before this line: "],
    ),
    (
        "a text changed that no hash guards any more",
        |out, _| {
            edit(&out.join("commands.csv"), |lines| {
                lines[1] = lines[1].replacen("powershell", "powers-hell", 1) + "x";
            })
        },
        &["commands.csv, line 2, "],
    ),
    (
        "an empty table filled",
        |out, _| edit(&out.join("hosts.csv"), |lines| lines.push("DC99,10.0.0.9,,".to_owned())),
        &["hosts.csv, line ", ": put in: 'DC99,10.0.0.9,,'"],
    ),
    (
        "the ledger's numbers changed",
        |out, _| {
            let path = out.join("run.json");
            let mut run = crate::common::run_json(out);
            run["counts"]["records"] = 1.into();
            fs::write(&path, serde_json::to_vec_pretty(&run).unwrap()).unwrap();
        },
        &["run.json, /counts/records: found '1', expected '1197'"],
    ),
    (
        "a fault struck out of the ledger",
        |out, _| {
            let path = out.join("run.json");
            let mut run = crate::common::run_json(out);
            run["inputs"][0]["records"] = 7.into();
            run["packs"][0]["filters"] = 3.into();
            fs::write(&path, serde_json::to_vec_pretty(&run).unwrap()).unwrap();
        },
        &["run.json, /packs/0/filters: found '3', expected '0'"],
    ),
];

const IN_FILES: [Planted; 8] = [
    (
        "a file cut",
        |out, _| {
            let file = fs::File::options().write(true).open(out.join("timeline.csv")).unwrap();
            file.set_len(5000).unwrap();
        },
        &["timeline.csv: cut: 5000 bytes, "],
    ),
    (
        "a file missing",
        |out, _| fs::remove_file(out.join("findings.csv")).unwrap(),
        &["findings.csv: missing: "],
    ),
    (
        "a file that is not of the run",
        |out, _| fs::write(out.join("notes.csv"), "a,b\n").unwrap(),
        &["notes.csv: not of this run"],
    ),
    (
        "the ledger edited",
        |out, _| {
            edit(&out.join("run.json"), |lines| {
                let at = lines.iter().position(|line| line.contains("\"started\"")).unwrap();
                lines[at] = lines[at].replacen("20", "19", 1);
            })
        },
        &["run.json: changed: SHA-256 ", " by run.json.sha256"],
    ),
    (
        "the seal missing",
        |out, _| fs::remove_file(out.join("run.json.sha256")).unwrap(),
        &["run.json.sha256: missing"],
    ),
    (
        "a byte of an input flipped",
        |_, logs| {
            let path = logs.join("SRV02/Security.evtx");
            let mut bytes = fs::read(&path).unwrap();
            bytes[4096 + 512 + 40] ^= 1;
            fs::write(&path, bytes).unwrap();
        },
        &["SRV02/Security.evtx: changed: SHA-256 "],
    ),
    (
        "the same, with its place",
        |_, logs| {
            let path = logs.join("SRV02/Security.evtx");
            let mut bytes = fs::read(&path).unwrap();
            bytes[4096 + 512 + 40] ^= 1;
            fs::write(&path, bytes).unwrap();
        },
        &["run.json, /inputs/", "wrong checksum of the chunk"],
    ),
    (
        "an input missing",
        |_, logs| fs::remove_file(logs.join("SRV02/Security.evtx")).unwrap(),
        &["SRV02/Security.evtx: missing: "],
    ),
];

#[test]
fn every_planted_change_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let logs = evidence(folder.path());
    assert_eq!(analyze(logs.to_str().unwrap(), &at("out"), &[]), 0);
    whole(&at("out"), &[]);
    copy(&logs, &at("safe"));
    // Where the hashes are made to agree, rows tell, or the run made again.
    let plants = IN_OUTPUTS.iter().map(|plant| (plant, true));
    let plants = plants.chain(IN_FILES.iter().map(|plant| (plant, false)));
    for ((name, plant, expected), covered) in plants {
        let out = at("changed");
        copy(&at("out"), &out);
        plant(&out, &logs);
        if covered {
            cover(&out);
        }
        let (code, text) = verify(&out, &[]);
        assert_eq!(code, 6, "{name}, covered: {covered}:\n{text}");
        let named = text.lines().filter(|line| line.starts_with("DEVIATION "));
        let named = { named }.any(|line| expected.iter().all(|part| line.contains(part)));
        assert!(named, "{name}, covered: {covered}:\n{text}");
        fs::remove_dir_all(&out).unwrap();
        copy(&at("safe"), &logs);
    }
}

#[test]
fn rows_are_checked_by_their_records_without_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &[]), 0);
    whole(&out, &["--no-rerun"]);
    let original = fs::read_to_string(out.join("timeline.csv")).unwrap();
    // Each column that a record gives, in a line of its own.
    let columns = ["time", "host", "channel", "provider", "event_id", "record_id", "kind", "user"];
    let header: Vec<&str> = original.lines().next().unwrap().split(',').collect();
    edit(&out.join("timeline.csv"), |lines| {
        for (index, column) in columns.iter().enumerate() {
            let place = header.iter().position(|name| name == column).unwrap();
            let line = &mut lines[10 + 3 * index];
            let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
            cells[place] = match *column {
                "time" => cells[place].replacen("20", "21", 1),
                "event_id" | "record_id" => format!("{}7", cells[place]),
                _ => format!("{}x", cells[place]),
            };
            *line = cells.join(",");
        }
    });
    cover(&out);
    let (code, text) = verify(&out, &["--no-rerun"]);
    assert_eq!(code, 6);
    for (index, column) in columns.iter().enumerate() {
        let place = format!("timeline.csv, line {}, {column}: found ", 11 + 3 * index);
        assert!(text.contains(&place), "{place} in:\n{text}");
    }
}

#[test]
fn evidence_that_was_moved_or_zipped_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let logs = evidence(folder.path());
    inputs::triage_zip(&logs.join("triage.zip"));
    assert_eq!(analyze(logs.to_str().unwrap(), &at("out"), &["--threads", "2"]), 0);
    whole(&at("out"), &["--threads", "1"]);
    fs::create_dir(at("store")).unwrap();
    fs::rename(&logs, at("store/2026-031")).unwrap();
    let (code, text) = verify(&at("out"), &[]);
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("say with --inputs where the evidence is now"), "{text}");
    whole(&at("out"), &["--inputs", at("store").to_str().unwrap()]);
    assert_eq!(verify(&at("out"), &["--inputs", "no/such/folder"]).0, 2);
    assert_eq!(verify(&at("none"), &[]).0, 2);
}

#[test]
fn runs_with_any_options_are_checked_by_what_they_wrote() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options) in [
        ("forms", &["--format", "ecs", "--format", "parquet"][..]),
        ("parts", &["--format", "csv", "--format", "parquet", "--partition-by-host"]),
        ("narrow", &["--host", "WS01", "--format", "csv", "--format", "splunk"]),
        ("recovered", &["--recover"]),
        (
            "others",
            &["--from", "2026-03-14T21:15:00", "--no-scripts", "--limit", "record-bytes=1MiB"],
        ),
    ] {
        let out = folder.path().join(name);
        assert_eq!(analyze("samples", &out, options), 0, "{name}");
        whole(&out, &[]);
    }
    // What was not written of the sessions is no deviation, and what was taken away is one.
    let out = folder.path().join("narrow");
    fs::remove_file(out.join("timeline.csv")).unwrap();
    let (code, text) = verify(&out, &["--no-rerun"]);
    assert!(code == 6 && text.contains("DEVIATION   timeline.csv: missing"), "{text}");
}

#[test]
fn with_another_pack_the_run_is_not_repeated_and_this_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack");
    fs::create_dir(&pack).unwrap();
    let rule = "title: Any session\nid: 11111111-1111-4111-8111-111111111111\nlevel: high\n\
                logsource: {product: windows, category: remoting_session}\n\
                detection: {s: {Kind: winrs}, condition: s}\n";
    fs::write(pack.join("rule.yml"), rule).unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &["--pack", pack.to_str().unwrap()]), 0);
    whole(&out, &[]);
    fs::write(pack.join("rule.yml"), rule.replace("winrs", "powershell")).unwrap();
    let (code, text) = verify(&out, &[]);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("NOT CHECKED rules on records, and the run: the pack 'pack'"), "{text}");
}

#[test]
fn real_and_damaged_logs_verify() {
    for (name, code) in [("evtx", 0), ("json", 0), ("damaged", 4)] {
        let Some(path) = corpus(name) else { continue };
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        assert_eq!(analyze(&path, &out, &[]), code);
        whole(&out, &[]);
    }
}

/// Where tests run, paths are relative to the repository.
#[test]
fn relative_paths_lead_from_where_the_run_was_started() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &[]), 0);
    let run = |folder: PathBuf| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_psr-forensics"));
        let output = command.current_dir(folder).args(["verify", out.to_str().unwrap()]).output();
        output.unwrap().status.code()
    };
    assert_eq!(run(folder.path().to_owned()), Some(0));
    assert_eq!(run(root()), Some(0));
}
