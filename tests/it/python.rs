//! The Python package, by its own tests: where a Python has it and what they need.

use std::process::Command;

use scenario::{Config, Fleet, Loss};

use crate::common::{root, say};

#[test]
fn the_package_passes_its_own_tests() {
    let Ok(python) = std::env::var("PSR_WHEEL_PYTHON") else {
        return say("skipped: PSR_WHEEL_PYTHON names no Python that has the wheel");
    };
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::generate(&Config {
        seed: 9,
        hosts: 60,
        sessions: 300,
        noise_per_host: 500,
        max_clock_error_seconds: 90,
        loss: Loss { cleared: 1, rolled_over: 2, uncollected: 3 },
    });
    fleet.write_evtx(folder.path()).unwrap();
    let mut run = Command::new(&python);
    run.current_dir(root()).env("PSR_FORENSICS", env!("CARGO_BIN_EXE_psr-forensics"));
    run.env("PSR_FLEET", folder.path());
    run.args(["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "crates/python/tests"]);
    let done = run.output().unwrap_or_else(|error| panic!("{python}: {error}"));
    let told = String::from_utf8_lossy(&done.stdout);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}\n{errors}");
    told.lines().for_each(say);
}
