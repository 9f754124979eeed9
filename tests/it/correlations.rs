//! Correlation and filter rules over the samples. What is expected is told in samples/README.md.

use std::fs;
use std::path::Path;

use crate::common::{Row, analyze, rows, run_json};

/// Sessions A and B of the samples, from WS01 to SRV02, within an hour; and of each its client's
/// WinRM 6 and its target's 91.
const PACK: &str = "\
title: A session
name: session
level: low
logsource: {product: windows, category: remoting_session}
detection: {selection: {Kind: [powershell, winrs]}, condition: selection}
---
title: Two sessions within the hour
id: 0e95725d-7320-415d-80f7-004da920fc11
level: high
correlation:
    type: event_count
    rules: [session]
    group-by: [SourceHost, TargetHost]
    timespan: 1h
    condition: {gte: 2}
---
title: A client connects
name: connects
logsource: {product: windows, service: winrm}
detection: {selection: {EventID: 6}, condition: selection}
---
title: A shell opens
name: opens
logsource: {product: windows, service: winrm}
detection: {selection: {EventID: 91}, condition: selection}
---
title: Connected and opened
level: medium
correlation:
    type: temporal_ordered
    rules: [connects, opens]
    timespan: 10s
";

fn run(folder: &Path, files: &[(&str, &str)], threads: &str) -> Vec<Row> {
    let pack = folder.join("pack");
    fs::create_dir_all(&pack).unwrap();
    for (name, text) in files {
        fs::write(pack.join(name), text).unwrap();
    }
    let out = folder.join(format!("out-{threads}"));
    let pack = pack.to_str().unwrap();
    let more = ["--no-default-pack", "--pack", pack, "--threads", threads];
    assert_eq!(analyze("samples", &out, &more), 0);
    assert_eq!(run_json(&out)["rules_limited"].as_array().unwrap().len(), 0);
    rows(&out, "detections.csv")
}

#[test]
fn correlations_over_hosts_files_and_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let found = run(folder.path(), &[("pack.yml", "name: mine"), ("rules.yml", PACK)], "1");
    let cell =
        |column: &str| -> Vec<&str> { found.iter().map(|row| row[column].as_str()).collect() };
    // The rules they refer to are not reported: `generate` is not set.
    let titles = ["Connected and opened", "Connected and opened", "Two sessions within the hour"];
    assert_eq!(cell("rule_title"), titles);
    assert_eq!(cell("fired_on"), ["correlation"; 3]);
    assert_eq!(cell("session_id"), ["S0001", "S0002", ""]);
    assert_eq!(cell("time")[0], "2026-03-14 21:14:07.2010880");
    assert_eq!(cell("matched_fields")[0], "count=2; hits=2");
    let two = &found[2];
    // All records of both sessions count, and ten of each are named.
    let out = folder.path().join("out-1");
    let links = |row: &Row| ["key_links", "time_links"].map(|c| row[c].parse::<u32>().unwrap());
    let records: u32 = rows(&out, "sessions.csv").iter().flat_map(links).sum();
    assert_eq!(
        two["matched_fields"],
        format!(
            "SourceHost=WS01.corp.example; TargetHost=SRV02.corp.example; count=2; hits=2; \
             records={records}"
        )
    );
    assert_eq!(two["evidence"].split("; ").count(), 20);
    // One target, two accounts.
    assert_eq!((&*two["host"], &*two["user"]), ("SRV02.corp.example", ""));
    // Both ends' records, the one that completed it first.
    let evidence: Vec<&str> = found[0]["evidence"].split("; ").collect();
    let winrm = "Microsoft-Windows-WinRM%4Operational.evtx:";
    assert_eq!(evidence.len(), 2);
    assert!(evidence[0].starts_with(&format!("samples/SRV02/{winrm}")), "{evidence:?}");
    assert!(evidence[1].starts_with(&format!("samples/WS01/{winrm}")), "{evidence:?}");
    // It shows in the timeline at the record that completed it, and there alone.
    let timeline = rows(&out, "timeline.csv");
    let shown = timeline.iter().filter(|row| row["detections"].contains("Connected and opened"));
    let shown: Vec<(&str, &str)> = shown.map(|row| (&*row["host"], &*row["event_id"])).collect();
    assert_eq!(shown, [("SRV02.corp.example", "91"); 2]);
    // The same at any number of threads.
    assert_eq!(run(folder.path(), &[], "3"), found);
}

#[test]
fn a_filter_takes_a_rule_s_hits_from_correlations_too() {
    let filter = "title: Not adm.lee\nlogsource: {category: remoting_session}\nfilter:\n  \
                  rules: [session]\n  who: {User|endswith: adm.lee}\n  condition: not who\n";
    let folder = tempfile::tempdir().unwrap();
    let found = run(folder.path(), &[("rules.yml", PACK), ("filter.yml", filter)], "2");
    assert!(
        found.iter().all(|row| row["rule_title"] != "Two sessions within the hour"),
        "{found:?}"
    );
    assert_eq!(found.len(), 2);
}

#[test]
fn generate_reports_the_rules_it_refers_to_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let text = PACK.replace("id: 0e95725d", "generate: true\nid: 0e95725d");
    let found = run(folder.path(), &[("rules.yml", &text)], "2");
    assert_eq!(found.iter().filter(|row| row["rule_title"] == "A session").count(), 2);
    assert_eq!(found.len(), 5);
}

#[test]
fn a_correlation_that_another_refers_to_is_not_reported_by_itself() {
    let more = "\
---
title: Both, once more
level: high
correlation:
    type: event_count
    rules: [Two sessions within the hour]
    timespan: 1h
    condition: {gte: 1}
";
    let folder = tempfile::tempdir().unwrap();
    let found = run(folder.path(), &[("rules.yml", &(PACK.to_owned() + more))], "2");
    let titles: Vec<&str> = found.iter().map(|row| row["rule_title"].as_str()).collect();
    assert_eq!(titles, ["Connected and opened", "Connected and opened", "Both, once more"]);
}
