//! Helpers that the tests share: run the program, read its outputs, find the corpus outside the
//! repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A row of a CSV file, by column.
pub type Row = BTreeMap<String, String>;

/// The names of the CSV files a run writes.
pub const TABLES: [&str; 10] = [
    "timeline.csv",
    "sessions.csv",
    "commands.csv",
    "layers.csv",
    "attempts.csv",
    "hosts.csv",
    "coverage.csv",
    "integrity.csv",
    "detections.csv",
    "findings.csv",
];

/// The names of all files that are the same bytes in two runs on the same input.
pub const FILES: [&str; 12] = {
    let [a, b, c, d, e, f, g, h, i, j] = TABLES;
    [a, b, c, d, e, f, g, h, i, j, "sessions.jsonl", "report.html"]
};

/// The repository's folder.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the program from the repository's folder.
pub fn psr(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_psr-forensics"));
    command.current_dir(root()).args(args).output().expect("the program starts")
}

/// Analyzes a path into a folder and returns the exit code.
pub fn analyze(path: &str, out: &Path, more: &[&str]) -> i32 {
    let out = out.to_str().expect("test folders are UTF-8");
    let mut args = vec!["analyze", path, "-q", "-o", out];
    args.extend(more);
    let output = psr(&args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{errors}");
    output.status.code().expect("no signal ended it")
}

/// Reads a CSV file with a reader of its own.
pub fn rows(out: &Path, name: &str) -> Vec<Row> {
    let mut csv = csv::Reader::from_path(out.join(name)).expect("the file is there");
    csv.deserialize().map(|row| row.expect("every row has every column")).collect()
}

/// `run.json`.
pub fn run_json(out: &Path) -> serde_json::Value {
    let text = std::fs::read(out.join("run.json")).expect("the file is there");
    serde_json::from_slice(&text).expect("it is JSON")
}

/// Returns a folder of the corpus that CI has beside the repository; prints a line if it is absent.
pub fn corpus(name: &str) -> Option<String> {
    let path = shared(&format!("data/{name}"))?;
    Some(path.to_str().expect("it is UTF-8").to_owned())
}

/// Returns a file or folder that CI has beside the repository; prints a line if it is absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = root().join("../shared").join(name);
    if path.exists() {
        return Some(path);
    }
    say(&format!("skipped: {} is not here", path.display()));
    None
}

/// Prints a line; `--nocapture` shows it.
#[expect(clippy::print_stdout, reason = "a test that skips or compares says so")]
pub fn say(line: &str) {
    println!("{line}");
}
