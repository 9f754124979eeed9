//! Whole logs, damaged: of the folder that `PSR_LOGS` names, else of the samples. The input is
//! nothing but chance, so this is for many runs, not for coverage.

#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use std::sync::Mutex;

use libfuzzer_sys::fuzz_target;
use psr_forensics_fuzz::damage::{DAMAGE, Random, Read, check, logs, read};

/// How many runs pass between two tables of figures.
const ROUND: usize = 1000;

struct State {
    logs: Vec<(String, Vec<u8>)>,
    wholes: BTreeMap<usize, Read>,
    folder: tempfile::TempDir,
    /// Logs, and records that had to be the same, by way.
    figures: BTreeMap<&'static str, (usize, usize)>,
    runs: usize,
}

/// Which log is read, for whoever hears of a panic.
static CURRENT: Mutex<String> = Mutex::new(String::new());

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State {
        logs: logs(&std::env::var_os("PSR_LOGS").map_or_else(
            || concat!(env!("CARGO_MANIFEST_DIR"), "/../samples").into(),
            PathBuf::from,
        )),
        wholes: BTreeMap::new(),
        folder: tempfile::tempdir().expect("a scratch folder"),
        figures: BTreeMap::new(),
        runs: 0,
    });
}

fuzz_target!(
    init: {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            eprintln!("{}", CURRENT.lock().map_or_else(|_| String::new(), |what| what.clone()));
            tell(panic);
        }));
    },
    |data: &[u8]| {
    STATE.with_borrow_mut(|state| {
        // The same input many times over is to be another log each time; what fails can be had
        // again by the number that is printed.
        let mut seed = DefaultHasher::new();
        seed.write(data);
        seed.write_usize(state.runs);
        run(state, seed.finish());
    });
}
);

fn run(state: &mut State, seed: u64) {
    let State { logs, wholes, folder, figures, runs } = state;
    let mut random = Random::new(seed);
    let (way, damage) = DAMAGE[*runs % DAMAGE.len()];
    let index = random.below(logs.len());
    let (name, log) = &logs[index];
    let whole = wholes.entry(index).or_insert_with(|| read(log, folder.path()));
    *CURRENT.lock().expect("one thread") = format!("{name}, {way}, seed {seed}");
    let mut damaged = log.clone();
    let expected = damage(&mut damaged, &mut random);
    let found = read(&damaged, folder.path());
    let same = check(&damaged, whole, &found, &expected, folder.path());
    let figure = figures.entry(way).or_default();
    *figure = (figure.0 + 1, figure.1 + same);
    *runs += 1;
    if runs.is_multiple_of(ROUND) {
        eprintln!("after {runs} logs: {figures:?}");
    }
}
