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
fn a_rule_that_a_selected_correlation_needs_runs_unheard() {
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
        "psr-forensics: pack {path}: it holds no rule: a pack is a folder, a zip or a file of \
         rules, which are .yml or .yaml\n"
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
    let message = "no rule of it loads; c.yml: 'C': it refers to 'x', and no such rule is loaded\n";
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
    // Some of its rules are for logs that this program does not know.
    assert!([0, 4].contains(&analyze(one.to_str().unwrap(), &out, &args)));
    let run = run_json(&out);
    let rules = run["counts"]["rules"].as_u64().unwrap();
    let refused = run["rules_refused"].as_array().unwrap();
    assert_eq!(rules + refused.len() as u64, 2407);
    assert!(refused.iter().all(|rule| !rule["reason"].as_str().unwrap().is_empty()));
}
