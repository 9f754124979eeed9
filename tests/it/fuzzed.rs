//! What fuzzing kept: each target on its corpus, and on what once broke it.

#[path = "../../fuzz/src/targets.rs"]
mod targets;

use std::fs;
use std::panic::catch_unwind;

use crate::common::root;

#[test]
fn kept_inputs_hold() {
    for (name, target) in targets::TARGETS {
        let folder = root().join("fuzz/corpus").join(name);
        let mut inputs: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            assert!(catch_unwind(|| target(&bytes)).is_ok(), "{}", input.display());
        }
    }
}
