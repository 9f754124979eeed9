//! Same input, same bytes out: run after run, at any number of threads.

use std::fs;

use crate::common::{FILES, analyze, corpus};
use crate::inputs;

pub fn assert_same_bytes(path: &str, code: i32) {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, threads: &str| {
        let out = folder.path().join(name);
        assert_eq!(analyze(path, &out, &["--threads", threads]), code);
        FILES.map(|file| fs::read(out.join(file)).unwrap())
    };
    let first = run("a", "1");
    for (name, threads) in [("b", "1"), ("c", "2"), ("d", "3")] {
        let next = run(name, threads);
        for (file, (a, b)) in FILES.iter().zip(first.iter().zip(&next)) {
            assert!(a == b, "{file} differs with {threads} threads");
        }
    }
}

#[test]
fn of_the_samples() {
    assert_same_bytes("samples", 0);
}

#[test]
fn of_real_and_damaged_logs() {
    if let Some(path) = corpus("evtx") {
        assert_same_bytes(&path, 0);
    }
    if let Some(path) = corpus("damaged") {
        assert_same_bytes(&path, 4);
    }
}

#[test]
fn of_exports_and_archives() {
    let folder = tempfile::tempdir().unwrap();
    let logs = inputs::exports_and_archives(folder.path());
    assert_same_bytes(logs.to_str().unwrap(), 0);
    if let Some(path) = corpus("json") {
        assert_same_bytes(&path, 0);
    }
}
