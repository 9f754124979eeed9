//! findings.csv is detections.csv folded, and nothing is lost on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::common::{Row, analyze, psr, rows};

/// Every logon and every process start of the samples, and what the built-in pack finds.
const RULES: &str = "\
title: A logon
level: medium
logsource: {product: windows, service: security}
detection: {s: {EventID: 4624}, condition: s}
---
title: A process
level: informational
logsource: {product: windows, category: process_creation}
detection: {s: {CommandLine|exists: true}, condition: s}
";

#[test]
fn each_rule_host_and_session_is_a_row_that_counts_its_detections() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, out) = (folder.path().join("r.yml"), folder.path().join("out"));
    fs::write(&rules, RULES).unwrap();
    assert_eq!(analyze("samples", &out, &["--pack", rules.to_str().unwrap()]), 0);
    let detections = rows(&out, "detections.csv");
    let mut expected: BTreeMap<[&str; 3], Vec<&Row>> = BTreeMap::new();
    for row in &detections {
        let key = [&*row["rule_id"], &*row["host"], &*row["session_id"]];
        let title = [&*row["rule_title"], key[1], key[2]];
        expected.entry(title).or_default().push(row);
    }
    let findings = rows(&out, "findings.csv");
    assert_eq!(findings.len(), expected.len());
    assert!(findings.len() * 5 < detections.len(), "{} of {}", findings.len(), detections.len());
    for finding in &findings {
        let key = [&*finding["rule_title"], &*finding["host"], &*finding["session_id"]];
        // They are in order of time.
        let folded = &expected[&key];
        let (first, last) = (folded[0], folded[folded.len() - 1]);
        assert_eq!(finding["count"], folded.len().to_string(), "{key:?}");
        assert_eq!(
            (&finding["first_time"], &finding["last_time"]),
            (&first["time"], &last["time"])
        );
        for column in ["level", "rule_id"] {
            assert_eq!(finding[column], first[column], "{key:?}");
        }
        let pointers: Vec<&str> =
            folded.iter().take(3).map(|row| row["evidence"].split("; ").next().unwrap()).collect();
        assert_eq!(finding["evidence"], pointers.join("; "));
        let users: BTreeSet<&str> =
            folded.iter().map(|row| &*row["user"]).filter(|user| !user.is_empty()).collect();
        let named: Vec<&str> = finding["users"].split("; ").filter(|u| !u.is_empty()).collect();
        assert_eq!(named.len(), users.len().min(10));
        assert!(named.iter().all(|user| users.contains(user)));
    }
    let levels = ["critical", "high", "medium", "low", "informational"];
    let rank = |row: &Row| levels.iter().position(|level| *level == row["level"]);
    assert!(findings.is_sorted_by_key(rank));
}

#[test]
fn the_summary_shows_the_most_severe_first() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, out) = (folder.path().join("r.yml"), folder.path().join("out"));
    fs::write(&rules, RULES).unwrap();
    let args = ["analyze", "samples", "--no-default-pack", "-p", rules.to_str().unwrap(), "-o"];
    let output = psr(&[&args[..], &[out.to_str().unwrap()]].concat());
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = summary.lines().skip_while(|l| !l.starts_with("Detections")).collect();
    // Of each host and session one line; of one level, the most frequent first.
    let shown =
        lines.iter().filter(|line| line.starts_with("  medium") || line.starts_with("  info"));
    let shown: Vec<&str> = shown.copied().collect();
    assert_eq!(shown.len(), 10.min(rows(&out, "findings.csv").len()), "{summary}");
    let count = |line: &str| line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap();
    let medium: Vec<&str> =
        shown.iter().copied().filter(|line| line.starts_with("  medium")).collect();
    assert!(medium.len() > 1 && shown.starts_with(&medium));
    assert!(medium.is_sorted_by(|a, b| count(a) >= count(b)), "{summary}");
}
