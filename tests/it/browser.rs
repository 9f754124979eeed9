//! `report.html` in Chromium: `tests/browser/report.cjs` opens it, as people do.
//!
//! Needs `PSR_CHROMIUM`, the browser, and node with playwright-core where `NODE_PATH` says; `.ci/run`
//! gives both.

use std::process::Command;

use crate::common::{analyze, root, say};
use crate::report::{hostile, many};

#[test]
fn people_can_use_it_and_logs_cannot() {
    let Some(chromium) = std::env::var_os("PSR_CHROMIUM") else {
        return say("skipped: no browser is named by PSR_CHROMIUM");
    };
    let folder = tempfile::tempdir().unwrap();
    let report = |name: &str, path: &str| {
        let out = folder.path().join(name);
        assert_eq!(analyze(path, &out, &[]), 0);
        out.join("report.html")
    };
    let samples = report("samples", "samples");
    let hostile = report("hostile", hostile(folder.path()).to_str().unwrap());
    let many = report("many", many(folder.path(), 10_000).to_str().unwrap());
    let script = root().join("tests/browser/report.cjs");
    let mut node = Command::new("node");
    let output = node.arg(script).arg(chromium).args([samples, hostile, many]).output();
    let output = output.expect("node starts");
    let (said, wrong) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{wrong}");
    said.lines().for_each(say);
}
