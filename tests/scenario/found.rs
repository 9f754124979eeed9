//! Reads the program's output back.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use chrono::{DateTime, NaiveDateTime, Utc};

/// A row of a CSV file, by column.
pub type Row = BTreeMap<String, String>;

/// The program's output on a fleet.
pub struct Found {
    pub sessions: Vec<Row>,
    pub commands: Vec<Row>,
    pub attempts: Vec<Row>,
    /// Clock offsets by host, where the program gives any.
    pub hosts: Vec<Row>,
}

impl Found {
    /// Runs the program on a folder of logs.
    pub fn of(logs: &Path, out: &Path) -> Found {
        let run = Command::new(env!("CARGO_BIN_EXE_psr-forensics"))
            .args(["analyze", "-q", "--no-default-pack"])
            .arg(logs)
            .arg("-o")
            .arg(out)
            .output()
            .expect("the program starts");
        let errors = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(0), "{errors}");
        Found {
            sessions: rows(out, "sessions.csv"),
            commands: rows(out, "commands.csv"),
            attempts: rows(out, "attempts.csv"),
            hosts: rows(out, "hosts.csv"),
        }
    }
}

/// Returns the rows of a file; none if the program did not write it.
pub fn rows(out: &Path, name: &str) -> Vec<Row> {
    let path = out.join(name);
    if !path.exists() {
        return Vec::new();
    }
    let mut csv = csv::Reader::from_path(path).expect("it can be read");
    csv.deserialize().map(|row| row.expect("every row has every column")).collect()
}

/// A time of the CSV files or of the truth.
pub fn time(text: &str) -> Option<DateTime<Utc>> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    Some(time.and_utc())
}

/// Returns the distance of two times in seconds; infinity if one is missing.
pub fn apart(a: Option<&str>, b: Option<&str>) -> f64 {
    match (a.and_then(time), b.and_then(time)) {
        (Some(a), Some(b)) => (a - b).as_seconds_f64().abs(),
        _ => f64::INFINITY,
    }
}
