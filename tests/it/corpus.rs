//! Real logs outside the repository: as many records as evtx_dump 0.15.1 reads, all damage located.

use crate::common::{analyze, corpus, rows, run_json};
use serde_json::Value;

fn faults<'r>(run: &'r Value, kind: &str) -> Vec<(&'r str, &'r Value)> {
    let inputs = run["inputs"].as_array().unwrap().iter();
    let of = |input: &'r Value| {
        let path = input["path"].as_str().unwrap();
        input["faults"].as_array().unwrap().iter().map(move |fault| (path, fault))
    };
    inputs.flat_map(of).filter(|(_, fault)| fault["kind"] == kind).collect()
}

#[test]
fn real_logs_are_read_to_the_last_record() {
    let Some(path) = corpus("evtx") else { return };
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze(&path, out.path(), &[]), 0);
    let run = run_json(out.path());
    assert_eq!(run["counts"]["inputs_read"], 297);
    assert_eq!(run["counts"]["records"], 14_443);
    assert_eq!(faults(&run, "lost"), []);
    // A shell on DC1 whose 91 was logged as ProcessingErrorData is a winrs session.
    let sessions = rows(out.path(), "sessions.csv");
    let on_dc1 = sessions.iter().filter(|row| row["target_host"] == "DC1.insecurebank.local");
    assert!(on_dc1.clone().count() > 0);
    assert!(on_dc1.clone().all(|row| row["kind"] == "winrs"));
    assert!(on_dc1.into_iter().any(|row| row["user_sid"].ends_with("-500")));
}

#[test]
fn damage_is_located_and_costs_no_other_record() {
    let Some(path) = corpus("damaged") else { return };
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze(&path, out.path(), &[]), 4);
    let run = run_json(out.path());
    assert_eq!(run["counts"]["inputs_read"], 10);
    assert_eq!(run["counts"]["records"], 7_100);
    let lost = faults(&run, "lost");
    for name in ["sample-with-zero-data-size-event", "sample_with_a_bad_chunk_magic"] {
        assert!(lost.iter().any(|(path, _)| path.contains(name)), "{name}");
    }
    for (path, fault) in lost {
        assert!(fault["chunk"].is_u64() && fault["offset"].is_u64(), "{path}: {fault}");
    }
}
