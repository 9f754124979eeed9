//! What psrpcore, an independent implementation of the protocol, encodes, is decoded.

use std::process::Command;

use psr_forensics::psrp::Fragment;
use serde_json::{Value, json};

use super::fixtures::{bytes, exchange, text};
use crate::common::root;

/// A conversation that psrpcore made; says so where Python does not have it.
fn conversation(seed: u32) -> Option<Value> {
    let script = root().join("tests/it/psrp/peer.py");
    let python = |arguments: &[&str]| Command::new("python3").args(arguments).output().ok();
    if !python(&["-c", "import psrpcore"]).is_some_and(|run| run.status.success()) {
        #[expect(clippy::print_stdout, reason = "a test that skips says so")]
        {
            println!("skipped: there is no Python with psrpcore");
        }
        return None;
    }
    let run = python(&[script.to_str().unwrap(), &seed.to_string()]).unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Some(serde_json::from_slice(&run.stdout).unwrap())
}

#[test]
fn what_psrpcore_encodes_is_decoded() {
    for seed in 1..=10 {
        let Some(made) = conversation(seed) else { return };
        let rows = made["rows"].as_array().unwrap().iter().flat_map(|row| {
            let (fragments, rest) = Fragment::split(&bytes(text(row, "bytes")));
            assert_eq!(rest, None);
            let to_server = row["to_server"].as_bool().unwrap();
            fragments.into_iter().map(move |fragment| (1, to_server, fragment))
        });
        let conversation = exchange(rows);
        assert_eq!((conversation.gaps.len(), conversation.faults.len()), (0, 0));
        assert_eq!(conversation.absent, []);
        let pipelines: Vec<Value> = conversation
            .pipelines()
            .map(|found| {
                let (creation, _) = found.creation.as_ref().unwrap();
                assert_eq!(creation.commands[1].text, "Get-Item");
                assert_eq!(found.state(), Some("Completed"));
                json!({
                    "pool": found.pool.to_string(),
                    "id": found.id.to_string(),
                    "script": creation.commands[0].text,
                    "argument": creation.commands[0].parameters[0].value,
                    "output": found.output.iter().map(|item| item.line()).collect::<Vec<_>>(),
                    "warning": found.warnings[0].0,
                })
            })
            .collect();
        let expected = made["pipelines"].as_array().unwrap();
        for (found, expected) in pipelines.iter().zip(expected) {
            for (key, expected) in expected.as_object().unwrap() {
                assert_eq!(&found[key], expected, "seed {seed}: {key}");
            }
        }
        assert_eq!(pipelines.len(), expected.len());
    }
}
