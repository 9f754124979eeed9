//! SQL over a run's tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use psr_forensics::query::ResultTables;
use psr_forensics::report::TABLES;
use serde_json::Value;

use crate::common::{analyze, psr, root, rows};

/// The answer to a query, as CSV.
fn ask(out: &Path, sql: &str) -> Vec<Vec<String>> {
    let done = psr(&["query", out.to_str().unwrap(), sql]);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let mut csv = csv::ReaderBuilder::new().has_headers(false).from_reader(&done.stdout[..]);
    csv.deserialize().collect::<Result<_, _>>().unwrap()
}

#[test]
fn queries_answer_what_the_tables_hold() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    assert_eq!(analyze("samples", &whole, &["--format", "csv", "--format", "parquet"]), 0);
    let parted = folder.path().join("parted");
    let more = ["--format", "parquet", "--partition-by-host"];
    assert_eq!(analyze("samples", &parted, &more), 0);
    let timeline = rows(&whole, "timeline.csv");
    let mut by_host: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for row in &timeline {
        let (count, last) = by_host.entry(&row["host"]).or_default();
        *count += 1;
        *last = (*last).max(&row["time"]);
    }
    let expected: Vec<Vec<String>> =
        std::iter::once(["host", "n", "last"].map(str::to_owned).to_vec())
            .chain(by_host.iter().map(|(host, (count, last))| {
                vec![(*host).to_owned(), count.to_string(), (*last).to_owned()]
            }))
            .collect();
    let logons = timeline.iter().filter(|row| row["event_id"] == "4624").count();
    for out in [&whole, &parted] {
        let sql = "SELECT host, COUNT(*) AS n, MAX(time) AS last FROM timeline GROUP BY host ORDER BY host";
        assert_eq!(ask(out, sql), expected);
        let count = |sql: &str| ask(out, sql)[1][0].clone();
        assert_eq!(count("SELECT COUNT(*) FROM timeline"), timeline.len().to_string());
        assert_eq!(
            count("SELECT COUNT(*) FROM timeline WHERE event_id = 4624"),
            logons.to_string()
        );
        let joined = "SELECT DISTINCT s.session_id FROM sessions s JOIN commands c \
            ON s.session_id = c.session_id ORDER BY s.session_id";
        let mut sessions: Vec<String> =
            rows(&whole, "commands.csv").iter().map(|row| row["session_id"].clone()).collect();
        sessions.sort();
        sessions.dedup();
        let found: Vec<String> = ask(out, joined)[1..].iter().map(|row| row[0].clone()).collect();
        assert_eq!(found, sessions);
        assert_eq!(ask(out, "SELECT * FROM timeline LIMIT 3").len(), 4);
        let early = "SELECT COUNT(*) FROM timeline WHERE time < '2000-01-01'";
        assert_eq!(count(early), "0");
    }
    let json = psr(&["query", "--json", whole.to_str().unwrap(), "SELECT * FROM sessions"]);
    let lines: Vec<Value> = String::from_utf8(json.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let sessions = rows(&whole, "sessions.csv");
    assert_eq!(lines.len(), sessions.len());
    for (line, row) in lines.iter().zip(&sessions) {
        assert_eq!(line["start_time"], row["start_time"]);
        assert_eq!(line["command_count"].to_string(), row["command_count"]);
        assert_eq!(line["user"], row["user"]);
    }
}

#[test]
fn a_query_that_fails_gives_the_reason_on_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    assert_eq!(analyze("samples", &plain, &[]), 0);
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &["--format", "parquet"]), 0);
    let cases = [
        (&plain, "SELECT 1", "--format parquet"),
        (&out, "SELEKT", "SELEKT"),
        (&out, "SELECT * FROM nowhere", "timeline"),
        (&out, "SELECT nothing FROM sessions", "nothing"),
        (&out, "SELECT * FROM read_parquet('/etc/passwd')", "read_parquet"),
        (&out, "SELECT * FROM read_csv('http://none.invalid/x.csv')", "read_csv"),
        (&out, "/* all */ drop table timeline", "drop"),
        (&out, "DELETE FROM timeline", "DELETE"),
        (&out, "CREATE TABLE t AS SELECT * FROM timeline", "CREATE"),
    ];
    for (folder, sql, told) in cases {
        let done = psr(&["query", folder.to_str().unwrap(), sql]);
        let errors = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{sql}: {errors}");
        assert!(errors.contains(told), "{sql}: {errors}");
        assert_eq!(errors.trim_end().lines().count(), 1, "{sql}: {errors}");
        assert!(done.stdout.is_empty());
    }
}

/// The queries of a page, as it shows them to be typed.
fn queries(page: &str) -> Vec<String> {
    let quoted = page.lines().filter(|line| line.contains("psr-forensics query "));
    quoted.filter_map(|line| Some(line.split('"').nth(1)?.to_owned())).collect()
}

#[test]
fn the_queries_of_help_and_documents_have_answers() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &["--format", "parquet"]), 0);
    let help = String::from_utf8(psr(&["query", "--help"]).stdout).unwrap();
    let page = fs::read_to_string(root().join("docs/outputs.md")).unwrap();
    let typed = [queries(&help), queries(&page)];
    assert!(typed.iter().all(|typed| typed.len() >= 2), "{typed:?}");
    for sql in typed.iter().flatten() {
        assert!(ask(&out, sql).len() > 1, "{sql}");
    }
}

#[test]
fn every_column_can_be_asked_for_sorted_and_cut() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &["--format", "csv", "--format", "parquet"]), 0);
    let mut tables = ResultTables::open(&out).unwrap();
    for table in &TABLES {
        let name = table.file.trim_end_matches(".csv");
        for column in table.columns {
            // The one name that SQL keeps for itself.
            let column = if column.name == "from" { "\"from\"" } else { column.name };
            for sql in [
                format!("SELECT {column} FROM {name} ORDER BY {column} LIMIT 2"),
                format!("SELECT t.{column} AS found FROM {name} t WHERE t.{column} IS NOT NULL"),
            ] {
                let answer = tables.query(&sql);
                assert!(answer.is_ok(), "{sql}: {}", answer.unwrap_err());
            }
        }
    }
    // What is cut is what comes first, under a condition of its own, too.
    let mut last: Vec<(String, String)> = rows(&out, "timeline.csv")
        .iter()
        .filter(|row| row["host"].starts_with("SRV02") && !row["user"].is_empty())
        .map(|row| (row["time"].clone(), row["user"].clone()))
        .collect();
    last.sort_by(|a, b| b.0.cmp(&a.0));
    last.truncate(5);
    let sql = "SELECT time, user FROM timeline WHERE host LIKE 'SRV02%' AND user IS NOT NULL \
        ORDER BY time DESC LIMIT 5";
    let times = |rows: Vec<(String, String)>| rows.into_iter().map(|(time, _)| time);
    let found = ask(&out, sql).into_iter().skip(1).map(|row| (row[0].clone(), row[1].clone()));
    assert!(times(found.collect()).eq(times(last)));
    // In a text or in quotes it is no column.
    let sql = "SELECT 'user' AS a, \"user\" AS b FROM sessions ORDER BY user LIMIT 1";
    assert_eq!(ask(&out, sql)[1], ["user", "CORP\\adm.lee"]);
}
