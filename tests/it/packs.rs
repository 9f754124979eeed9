//! Packs on the command line: where they come from, what is selected of them.

use std::fs;
use std::path::Path;

use crate::common::{analyze, corpus, psr, root, rows, run_json};

const RULES: &str = "\
title: Any session
id: 11111111-1111-4111-8111-111111111111
name: any
status: stable
level: low
tags: [attack.t1021.006]
logsource: {category: remoting_session}
detection: {s: {Kind: [powershell, winrs]}, condition: s}
---
title: A winrs session
status: experimental
level: high
tags: [attack.t1021, attack.lateral-movement]
logsource: {category: remoting_session}
detection: {s: {Kind: winrs}, condition: s}
";

/// Titles of the detections of a run over the samples with these rules, and its `run.json`.
fn selected(rules: &str, more: &[&str]) -> (Vec<String>, serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("my_rules.yml");
    fs::write(&pack, rules).unwrap();
    let out = folder.path().join("out");
    let all = [&["--no-default-pack", "--pack", pack.to_str().unwrap()], more].concat();
    assert_eq!(analyze("samples", &out, &all), 0);
    let titles = rows(&out, "detections.csv").iter().map(|row| row["rule_title"].clone()).collect();
    (titles, run_json(&out))
}

#[test]
fn rules_are_selected_by_level_tag_status_and_name() {
    let (any, winrs) = ("Any session", "A winrs session");
    for (more, expected) in [
        (&[][..], &[any, any, winrs][..]),
        (&["--min-level", "medium"], &[winrs]),
        (&["--tag", "attack.t1021"], &[any, any, winrs]),
        (&["--tag", "attack.t1021.006"], &[any, any]),
        (&["--tag", "ATTACK.T1021.006,attack.lateral-movement"], &[any, any, winrs]),
        (&["--tag", "attack.t1021.006", "--tag", "attack.lateral"], &[any, any]),
        (&["--status", "stable"], &[any, any]),
        (&["--status", "stable,test", "--status", "experimental"], &[any, any, winrs]),
        (&["--exclude-rule", "11111111-1111-4111-8111-111111111111"], &[winrs]),
        (&["--exclude-rule", "a winrs session"], &[any, any]),
    ] {
        let (mut titles, run) = selected(RULES, more);
        titles.sort_by_key(|title| title != any);
        assert_eq!(titles, expected, "{more:?}");
        let excluded = run["rules_excluded"].as_object().unwrap().values();
        let excluded: u64 = excluded.map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(excluded + run["counts"]["rules"].as_u64().unwrap(), 2, "{more:?}");
    }
}

#[test]
fn a_rule_that_a_selected_correlation_needs_runs_without_reporting() {
    let correlation = "---\ntitle: Two\nlevel: high\ncorrelation:\n  type: event_count\n  \
                       rules: [any]\n  timespan: 2h\n  condition: {gte: 2}\n";
    let rules = RULES.to_owned() + correlation;
    let (mut titles, run) = selected(&rules, &["--min-level", "high"]);
    titles.sort();
    assert_eq!(titles, ["A winrs session", "Two"]);
    assert_eq!(run["rules_excluded"]["min_level"], 1);
    // Without the correlation it is heard.
    let (titles, _) = selected(&rules, &["--exclude-rule", "Two"]);
    assert_eq!(titles.len(), 3);
}

fn fails(args: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = psr(&[&["analyze", "samples", "-o", out.to_str().unwrap()], args].concat());
    assert!(!out.exists());
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_selection_of_nothing_or_of_what_is_not_there_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("r.yml");
    fs::write(&pack, RULES).unwrap();
    let pack = ["--no-default-pack", "--pack", pack.to_str().unwrap()];
    let with = |more: &[&str]| fails(&[&pack, more].concat());
    let message = "psr-forensics: the selection of rules: it leaves none of 2 rules \
                   (--min-level 1, --tag 1)\n";
    assert_eq!(with(&["--min-level", "high", "--tag", "attack.t1059"]), (2, message.into()));
    let message = "psr-forensics: the selection of rules: --exclude-rule 'none': no loaded rule \
                   has this id, title or file name\n";
    assert_eq!(with(&["--exclude-rule", "none"]), (2, message.into()));
    assert_eq!(with(&["--min-level", "huge"]).0, 2);
    assert_eq!(with(&["--status", "new"]).0, 2);
}

#[test]
fn a_pack_that_loads_no_rule_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (code, errors) = fails(&["--pack", folder.path().to_str().unwrap()]);
    assert_eq!(code, 3);
    let path = folder.path().display();
    let message = format!(
        "psr-forensics: pack {path}: it contains no rule: a pack is a folder, a zip or a file with \
         rules in .yml or .yaml files\n"
    );
    assert_eq!(errors, message);
    let (code, errors) = fails(&["--pack", "no/such/pack"]);
    assert_eq!(code, 3);
    assert!(errors.starts_with("psr-forensics: pack no/such/pack: No such file"), "{errors}");
    // A correlation alone, whose rules no pack has.
    fs::write(
        folder.path().join("c.yml"),
        "title: C\ncorrelation: {type: temporal, rules: [x], timespan: 1m}\n",
    )
    .unwrap();
    let (code, errors) = fails(&["--pack", folder.path().to_str().unwrap()]);
    assert_eq!(code, 3);
    let message =
        "none of its rules loads; c.yml: 'C': it refers to 'x', and no such rule is loaded\n";
    assert!(errors.ends_with(message), "{errors}");
}

#[test]
fn sigma_s_windows_rules_load_from_their_zip() {
    let Some(folder) = corpus("sigma") else { return };
    let zip = Path::new(&folder).join("sigma-windows-rules.zip");
    let (folder, zip) = (tempfile::tempdir().unwrap(), zip.to_str().unwrap());
    let out = folder.path().join("out");
    let one = root().join("samples/WS01/Security.evtx");
    let args = ["--no-default-pack", "--pack", zip];
    assert_eq!(analyze(one.to_str().unwrap(), &out, &args), 0);
    assert_eq!(run_json(&out)["counts"]["rules"], 2407);
}

/// What a `packs` command says on stdout and stderr, with its exit code.
fn packs(args: &[&str]) -> (i32, String, String) {
    let output = psr(&[&["packs"], args].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn the_built_in_pack_is_listed_sound_and_its_cases_hold() {
    let (code, list, _) = packs(&["list"]);
    assert_eq!(code, 0);
    let below = |folder: &Path, ending: &str| -> usize {
        let files = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap());
        files.filter(|file| file.file_name().to_str().unwrap().ends_with(ending)).count()
    };
    let folder = root().join("detections");
    let cases = below(&folder, ".cases.yml");
    let files = below(&folder, ".yml") - cases - 1;
    assert!(list.starts_with("investigation (inside the program)\n  sha256      "), "{list}");
    assert!(list.contains(" 0 filters, 0 not loaded\n"), "{list}");
    let (code, check, _) = packs(&["check"]);
    assert_eq!((code, check), (0, format!("{files} files in 1 pack checked: nothing wrong\n")));
    let (code, test, _) = packs(&["test"]);
    assert_eq!(code, 0);
    assert!(test.ends_with(&format!(" cases of {cases} files: all hold\n")), "{test}");
}

#[test]
fn a_list_counts_by_level_and_log_source_and_names_what_does_not_load() {
    let folder = folder(&[("r.yml", RULES), ("bad.yml", "title: x\n"), ("pack.yml", "name: mine")]);
    let path = folder.path().to_str().unwrap();
    let (code, list, _) = packs(&["list", "--no-default-pack", "-p", path]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines[0], format!("mine ({path})"));
    assert_eq!(
        lines[2..],
        [
            "  holds       2 rules, 0 filters, 1 not loaded",
            "  levels      high 1, low 1",
            "  log sources     2  remoting_session",
            lines[5],
        ]
    );
    assert!(lines[5].starts_with("  not loaded  bad.yml: "), "{list}");
    let (_, list, _) = packs(&["list", "--no-default-pack", "-p", path, "--min-level", "high"]);
    assert!(list.ends_with("1 rule left out by the selection\n"), "{list}");
}

#[test]
fn check_and_test_name_what_is_wrong_and_where() {
    let rule = "title: Any winrs\nid: 11111111-1111-4111-8111-111111111111\nstatus: test\n\
                description: x\nauthor: x\ndate: 2026-01-01\ntags: [attack.t1021.006]\n\
                logsource: {product: windows, category: remoting_session}\ndetection:\n  \
                selection:\n    Knd: winrs\n  condition: selection\nlevel: low\n";
    let cases =
        "fires:\n- name: winrs\n  derived: {category: remoting_session, fields: {Kind: winrs}}\n";
    let folder = folder(&[
        ("r.yml", rule),
        ("r.cases.yml", cases),
        ("s.yml", &RULES.replace("11111111-1", "21111111-1")),
    ]);
    let path = folder.path().display().to_string();
    let only = ["--no-default-pack", "--pack", &path];
    let (code, check, _) = packs(&[&["check"][..], &only].concat());
    assert_eq!(code, 3);
    let line = format!("{path}/r.yml:11: an event of kind session has no field 'Knd'\n");
    assert!(check.contains(&line), "{check}");
    assert!(
        check.contains("/s.yml:1: missing recommended field 'description' (missing_description)\n"),
        "{check}"
    );
    let (code, test, _) = packs(&[&["test"][..], &only].concat());
    assert_eq!(code, 3);
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let expected = format!(
        "{path}/r.yml: 'winrs' should fire\n\
         {name}: 1 case of 1 file: 1 wrong; 1 file without cases\n"
    );
    assert_eq!(test, expected);
    // Mended, all is well, but for a pack without any case.
    fs::write(folder.path().join("r.yml"), rule.replace("Knd", "Kind")).unwrap();
    assert_eq!(packs(&[&["test"][..], &only].concat()).0, 0);
    fs::remove_file(folder.path().join("s.yml")).unwrap();
    assert_eq!(packs(&[&["check"][..], &only].concat()).0, 0);
    fs::remove_file(folder.path().join("r.cases.yml")).unwrap();
    let (code, test, _) = packs(&[&["test"][..], &only].concat());
    assert_eq!(
        (code, test),
        (3, format!("{name}: 0 cases of 0 files: no case was run; 1 file without cases\n"))
    );
}

#[test]
fn an_evidence_pointer_leads_to_why_a_rule_fired() {
    let folder = folder(&[(
        "r.yml",
        "title: A shell opens\nlogsource: {product: windows, service: winrm}\n\
         detection:\n  selection: {EventID: 91}\n  filter: {User: nobody}\n  \
         condition: selection and not filter\n",
    )]);
    let out = folder.path().join("out");
    let pack = folder.path().join("r.yml");
    let pack = ["--no-default-pack", "--pack", pack.to_str().unwrap()];
    // A record of an exported log, whose header's number is another one, and one in a zip.
    let zip = folder.path().join("triage.zip");
    crate::inputs::triage_zip(&zip);
    for input in ["samples/SRV02", zip.to_str().unwrap()] {
        assert_eq!(analyze(input, &out, &[&pack[..], &["--force"]].concat()), 0);
        let found = rows(&out, "detections.csv");
        assert_eq!(found.len(), 2);
        let evidence = found[0]["evidence"].as_str();
        let (code, text, errors) =
            packs(&[&["explain", "a shell opens", evidence], &pack[..]].concat());
        assert_eq!((code, &*errors), (0, ""));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1..],
            [
                "            2026-03-14 21:14:07.2010880 UTC, SRV02.corp.example, \
                 Microsoft-Windows-WinRM/Operational, event 91",
                "Rule        A shell opens (r.yml)",
                "            r.yml in r.yml, level informational",
                "Log source  yes: winrm",
                "Condition   holds",
                "  all of these: holds",
                "    selection holds",
                "      EventID as a number '= 91': yes; it is '91'",
                "    not: holds",
                "      filter does not hold",
                "        User is 'nobody': no, the field is missing",
                "Result      the rule fires",
            ]
        );
    }
    let pointer = "samples/SRV02/Security.evtx:48317#108@62520";
    let (_, text, _) = packs(&[&["explain", "r", pointer], &pack[..]].concat());
    assert!(
        text.contains("\nLog source  no: the rule is for winrm, the record is 4689 in Security\n"),
        "{text}"
    );
    assert!(text.ends_with("\nResult      the rule does not fire\n"), "{text}");
    // What leads nowhere.
    let fails = |rule: &str, pointer: &str| {
        let (code, text, errors) = packs(&[&["explain", rule, pointer], &pack[..]].concat());
        assert_eq!((code, &*text), (2, ""));
        errors
    };
    let message = "psr-forensics: no loaded rule has the id, title or file name 'other'\n";
    assert_eq!(fails("other", pointer), message);
    let message = "psr-forensics: 'samples/SRV02/Security.evtx:48317@62521': no record begins at this offset\n";
    assert_eq!(fails("r", "samples/SRV02/Security.evtx:48317@62521"), message);
    let message = "psr-forensics: 'samples/SRV02/Security.evtx:7@62520': the record at this offset has the id 48317\n";
    assert_eq!(fails("r", "samples/SRV02/Security.evtx:7@62520"), message);
    assert_eq!(fails("r", "no/file:7@1"), "psr-forensics: no/file: no such file or folder\n");
    assert!(
        fails("r", "samples").contains("an evidence pointer reads FILE:EVENT_RECORD_ID@OFFSET")
    );
}

#[test]
fn an_exported_pack_is_the_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pack");
    let path = out.to_str().unwrap();
    let (code, text, _) = packs(&["export", path]);
    assert_eq!(code, 0);
    assert!(text.ends_with(&format!(" files written to {path}\n")), "{text}");
    // The same rules by hash, and the same cases.
    let hash = |list: &str| list.lines().nth(1).unwrap().to_owned();
    let (_, own, _) = packs(&["list"]);
    let (_, exported, _) = packs(&["list", "--no-default-pack", "--pack", path]);
    assert_eq!(hash(&own), hash(&exported));
    let (code, test, _) = packs(&["test", "--no-default-pack", "--pack", path]);
    assert_eq!((code, test), (0, packs(&["test"]).1));
    let (code, _, errors) = packs(&["export", path]);
    assert_eq!(code, 2);
    assert_eq!(
        errors,
        format!(
            "psr-forensics: {path} exists already: name another folder, or replace its files with --force\n"
        )
    );
    assert_eq!(packs(&["export", path, "--force"]).0, 0);
}

/// The target's WinRM log begins at 21:00:02, the sessions are of 21:14:07 and 22:03:20.
#[test]
fn sessions_know_how_far_their_target_s_logs_reach_back() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("hours.yml");
    let rule = |hours: u32| {
        format!(
            "title: '{hours}'\nlogsource: {{category: remoting_session}}\n\
             detection: {{s: {{HistoryHours: {hours}}}, condition: s}}\n"
        )
    };
    fs::write(&pack, rule(0) + "---\n" + &rule(1)).unwrap();
    let hours = |name: &str, more: &[&str]| -> Vec<(String, String)> {
        let out = folder.path().join(name);
        let mut args = vec!["--no-default-pack", "--pack", pack.to_str().unwrap()];
        args.extend(more);
        assert_eq!(analyze("samples", &out, &args), 0);
        let found = rows(&out, "detections.csv").into_iter();
        found.map(|row| (row["user"].clone(), row["rule_title"].clone())).collect()
    };
    let of = |user: &str, hours: &str| (format!(r"CORP\{user}"), hours.to_owned());
    assert_eq!(hours("whole", &[]), [of("adm.lee", "0"), of("j.doe", "1")]);
    // What a run leaves out, it cannot have seen.
    let later = ["--from", "2026-03-14T21:30:00Z"];
    assert_eq!(hours("part", &later), [of("j.doe", "0")]);
}
