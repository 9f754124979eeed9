//! What makes the program easy to use: files of options, completions, pages, zones, filters.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::common::{Row, analyze, psr, root, rows, run_json};

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_page_on_usage_has_the_exit_codes() {
    let page = fs::read_to_string(root().join("docs/usage.md")).unwrap();
    let rows = psr_forensics::cli::EXIT_CODES.iter();
    let rows: String = rows.map(|(code, text)| format!("| {code} | {text} |\n")).collect();
    assert!(page.contains(&rows), "the page's exit codes are not:\n{rows}");
}

#[test]
fn options_come_from_a_file_and_what_is_typed_wins() {
    let folder = tempfile::tempdir().unwrap();
    let (out, other) = (path(folder.path(), "out"), path(folder.path(), "other"));
    let config = path(folder.path(), "case.yml");
    let lines = format!(
        "# the case\noutput: '{out}'\nquiet: true\nno-default-pack: true\n\
         from: 2026-03-14 22:00\nno-scripts: false\nthreads: 2\njson: true\n"
    );
    fs::write(&config, lines).unwrap();
    let (code, text, errors) = said(&psr(&["analyze", "samples", "--config", &config]));
    assert_eq!((code, text.as_str(), errors.as_str()), (Some(0), "", ""));
    let run = run_json(Path::new(&out));
    assert_eq!(run["packs"], serde_json::json!([]));
    assert!(Path::new(&out).join("scripts").exists());
    assert_eq!(rows(Path::new(&out), "sessions.csv").len(), 1);
    // The command line as it came to be, with what the file added.
    let arguments: Vec<&str> =
        run["arguments"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert!(arguments.contains(&"--no-default-pack") && arguments.contains(&"--threads=2"));

    let typed =
        ["analyze", "--config", &config, "samples", "-v", "-o", &other, "--from", "2026-03-14"];
    let (code, text, _) = said(&psr(&typed));
    // -v is the opposite of the file's quiet.
    assert_eq!(code, Some(0));
    assert!(text.contains("Sessions    2"), "{text}");
    assert_eq!(rows(Path::new(&other), "sessions.csv").len(), 2);
    // The same file serves another verb.
    let (code, text, _) = said(&psr(&["explain", "all", "--config", &config]));
    assert_eq!(code, Some(0));
    assert!(text.starts_with("S0001  CORP\\j.doe"), "{text}");
}

#[test]
fn what_is_wrong_in_a_file_of_options_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = path(folder.path(), "case.yml");
    let out = path(folder.path(), "out");
    let fails = |text: &str| {
        fs::write(&config, text).unwrap();
        let output = psr(&["analyze", "samples", "-o", &out, "--config", &config]);
        let (code, _, errors) = said(&output);
        assert_eq!((code, errors.lines().count()), (Some(2), 1), "{errors}");
        errors.replace(&config, "FILE")
    };
    let error = fails("quiet: true\noutputs: x\n");
    assert_eq!(error, "psr-forensics: FILE:2: no option is called 'outputs'\n");
    let error = fails("\n# levels\nmin-level: worst\n");
    assert!(
        error.starts_with("psr-forensics: FILE:3: invalid value 'worst' for '--min-level"),
        "{error}"
    );
    assert!(fails("force: 1\n").contains("FILE:1: write true or false"));
    assert!(fails("threads: [1, 2]\n").contains("FILE:1: 'threads' takes one text or number"));
    assert!(fails("config: x\n").contains("FILE:1: no option is called 'config'"));
    assert!(fails("- a\n").contains("--config FILE: write one option a line"));
    assert!(fails("a: [\n").contains("line 2"));
    fs::remove_file(&config).unwrap();
    let (code, _, errors) = said(&psr(&["analyze", "samples", "-o", &out, "--config", &config]));
    assert_eq!(code, Some(2), "{errors}");
    assert!(!Path::new(&out).exists());
}

#[test]
fn shells_and_pages_are_served() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, text, _) = said(&psr(&["completions", shell]));
        assert_eq!(code, Some(0));
        for word in ["psr-forensics", "no-scripts", "timezone"] {
            assert!(text.contains(word), "{word} in {shell}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (code, ..) = said(&psr(&["man", &path(folder.path(), "man1")]));
    assert_eq!(code, Some(0));
    for page in ["psr-forensics.1", "psr-forensics-analyze.1", "psr-forensics-packs-explain.1"] {
        let page = fs::read_to_string(folder.path().join("man1").join(page)).unwrap();
        assert!(page.contains(".TH") && page.contains(".SH"), "{page}");
    }
    let (code, text, _) = said(&psr(&["man"]));
    assert!(code == Some(0) && text.contains("Exit codes:"), "{text}");
}

#[test]
fn times_are_shown_in_a_zone_and_files_stay_utc() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let args = ["analyze", "samples", "-o", out.to_str().unwrap(), "--timezone", "Asia/Kolkata"];
    let (code, text, _) = said(&psr(&args));
    assert_eq!(code, Some(0));
    // 21:14:07 UTC, five hours and a half later.
    assert!(text.contains("  S0001 2026-03-15 02:44:07 +05:30  WS01"), "{text}");
    assert!(text.contains("2026-03-15 02:45:31 to 02:45:32\n"), "{text}");
    assert_eq!(rows(&out, "sessions.csv")[0]["start_time"], "2026-03-14 21:14:07.2010880");

    let explain = |zone: &str| {
        said(&psr(&["explain", "S0001", "-o", out.to_str().unwrap(), "--timezone", zone]))
    };
    let (_, text, _) = explain("-03:30");
    let when = "  When        2026-03-14 17:44:07.2010880 to 2026-03-14 17:46:42.0318876 -03:30, ";
    assert!(text.contains(when), "{text}");
    let head = "\nWhat happened (UTC-03:30, as logged, and by corrected clocks in brackets and order)\n  times that texts and reasons quote are UTC, \
                as in the files\n  2026-03-14\n  17:4";
    assert!(text.contains(head), "{text}");
    let (_, utc, _) = explain("utc");
    assert!(utc.contains(" 2026-03-14 21:16:42.0318876 UTC, "), "{utc}");
    let (code, _, errors) = explain("Mars");
    assert!(code == Some(2) && errors.contains("'Mars' is no time zone"), "{errors}");
}

#[test]
fn sessions_are_filtered_by_host_and_user() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(folder.path(), "out");
    assert_eq!(analyze("samples", Path::new(&out), &[]), 0);
    let explain = |more: &[&str]| {
        let (code, text, errors) = said(&psr(&[&["explain", "-o", &out], more].concat()));
        let heads = text.lines().filter(|line| line.starts_with("S0"));
        (code, heads.map(|head| head[..5].to_owned()).collect::<Vec<_>>(), errors)
    };
    assert_eq!(explain(&["--host", "srv02"]).1, ["S0001", "S0002"]);
    assert_eq!(explain(&["--host", "10.20.0.15", "--user", "j.doe"]).1, ["S0002"]);
    assert_eq!(explain(&["S0001", "--user", "j.doe"]).0, Some(2));
    let (code, heads, errors) = explain(&["--host", "DC01"]);
    assert_eq!((code, heads.len()), (Some(2), 0));
    assert_eq!(errors, "psr-forensics: no session '--host DC01': there are S0001, S0002\n");
    assert_eq!(explain(&[]).0, Some(2));
}

#[test]
fn a_run_reports_only_the_named_hosts_and_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let (all, some) = (folder.path().join("all"), folder.path().join("some"));
    assert_eq!(analyze("samples", &all, &[]), 0);
    let run = |more: &[&str]| {
        let args = ["analyze", "samples", "--force", "-o", some.to_str().unwrap()];
        let (code, text, errors) = said(&psr(&[&args[..], more].concat()));
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        text
    };
    let ids = |out: &Path, name: &str| -> Vec<String> {
        rows(out, name).into_iter().map(|row| row["session_id"].clone()).collect()
    };
    let text = run(&["--user", "j.doe"]);
    let head =
        "Sessions    1, failed attempts 1\n  --host and --user tell of these of 2 and 1\n  S0002 ";
    assert!(text.contains(head), "{text}");
    // Sessions keep their names, and what is in none goes by its own account.
    assert_eq!(ids(&some, "sessions.csv"), ["S0002"]);
    assert!(ids(&some, "commands.csv").iter().all(|id| id == "S0002"));
    assert_eq!(rows(&some, "scripts/index.csv").len(), 0);
    assert_eq!(rows(&some, "layers.csv").len(), 0);
    for name in ["timeline.csv", "detections.csv"] {
        let is_theirs = |row: &&Row| {
            let account = row["user"].rsplit('\\').next().unwrap_or_default().to_lowercase();
            match row["session_id"].as_str() {
                "" => account.split('@').next() == Some("j.doe"),
                id => id == "S0002",
            }
        };
        let expected = rows(&all, name);
        let expected: Vec<&Row> = expected.iter().filter(is_theirs).collect();
        assert!(!expected.is_empty());
        assert_eq!(rows(&some, name).iter().collect::<Vec<_>>(), expected, "{name}");
    }
    // The forms of other tools tell of no more.
    run(&["--user", "j.doe", "--format", "csv", "--format", "ecs", "--format", "evtxecmd"]);
    let told = rows(&some, "timeline.csv");
    assert_eq!(rows(&some, "evtxecmd.csv").len(), told.len());
    let lines = fs::read_to_string(some.join("ecs.jsonl")).unwrap();
    let others = rows(&some, "sessions.csv").len() + rows(&some, "detections.csv").len();
    assert_eq!(lines.lines().count(), told.len() + others);
    let findings = rows(&some, "findings.csv");
    let counts = findings.iter().map(|row| row["count"].parse::<usize>().unwrap());
    assert_eq!(counts.sum::<usize>(), rows(&some, "detections.csv").len());
    // What was read is told whole.
    for name in ["hosts.csv", "coverage.csv"] {
        assert_eq!(rows(&some, name), rows(&all, name));
    }
    run(&["--host", "DC01"]);
    assert_eq!((rows(&some, "sessions.csv").len(), rows(&some, "attempts.csv").len()), (0, 1));
    let timeline = rows(&some, "timeline.csv");
    assert!(timeline.iter().all(|row| row["host"] == "DC01.corp.example"));
    // All hosts and all accounts: nothing is left out; the page says what was asked for.
    run(&["--host", "ws01", "--host", "srv02", "--host", "dc01"]);
    for name in crate::common::FILES.into_iter().filter(|name| *name != "report.html") {
        assert!(fs::read(some.join(name)).unwrap() == fs::read(all.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn no_colour_gets_into_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(folder.path(), "out");
    for args in
        [&["analyze", "samples", "-o", &out][..], &["explain", "all", "-o", &out], &["--help"]]
    {
        let output = psr(args);
        assert!(!output.stdout.contains(&0x1b), "{args:?}");
    }
}

#[cfg(not(windows))]
#[test]
fn live_logs_are_those_of_windows() {
    for verb in ["analyze", "info"] {
        let (code, _, errors) = said(&psr(&[verb, "--live"]));
        assert_eq!((code, errors.lines().count()), (Some(2), 1), "{errors}");
        assert!(errors.contains("wevtutil epl") && errors.contains(r"winevt\Logs"), "{errors}");
    }
}
