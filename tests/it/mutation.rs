//! Logs that were damaged on purpose: no panic, no hang, and what is not damaged reads as before.
//!
//! CI damages a few hundred; `PSR_MUTATIONS` and `PSR_SEED` say how many else, and by which chance.

#[path = "../../fuzz/src/damage.rs"]
mod damage;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use damage::{DAMAGE, Random, Read, check, logs, read};

use crate::common::{root, say, shared};

/// A log that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(10);

/// Reads a log in a thread of its own.
fn read_in_time(log: &[u8], folder: &Path, what: &str) -> (Read, Duration) {
    let start = Instant::now();
    let (done, wait) = channel();
    let (log, folder) = (log.to_vec(), folder.to_owned());
    let reader = thread::spawn(move || {
        let found = read(&log, &folder);
        let _ = done.send(());
        found
    });
    let timeout = wait.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout);
    assert!(!timeout, "{what}: not read after {LONGEST:?}");
    let found = reader.join().unwrap_or_else(|_| panic!("{what}: a panic"));
    (found, start.elapsed())
}

/// What came of all logs that were damaged in one way.
#[derive(Default)]
struct Figures {
    logs: usize,
    same: usize,
    longest: Duration,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The most memory that this process ever had, in MiB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes >> 10)
}

/// Damages logs of a folder, each in each way in turn.
fn damage_logs(folder: &Path) {
    let logs = logs(folder);
    let (count, seed) = (number("PSR_MUTATIONS", 240) as usize, number("PSR_SEED", 1));
    say(&format!("{}: {} logs, seed {seed}", folder.display(), logs.len()));
    let scratch = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed);
    let mut wholes: BTreeMap<usize, Read> = BTreeMap::new();
    let mut figures: BTreeMap<&str, Figures> = BTreeMap::new();
    for turn in 0..count {
        let (way, damage) = DAMAGE[turn % DAMAGE.len()];
        let index = random.below(logs.len());
        let (name, log) = &logs[index];
        let whole = wholes.entry(index).or_insert_with(|| read(log, scratch.path()));
        let mut damaged = log.clone();
        let expected = damage(&mut damaged, &mut random);
        let what = format!("{name}, {way}, turn {turn} of seed {seed}");
        let (found, time) = read_in_time(&damaged, scratch.path(), &what);
        let check = || check(&damaged, whole, &found, &expected, scratch.path());
        let same = catch_unwind(AssertUnwindSafe(check));
        let of_way = figures.entry(way).or_default();
        of_way.logs += 1;
        of_way.same += same.unwrap_or_else(|_| panic!("{what}: read otherwise"));
        of_way.longest = of_way.longest.max(time);
    }
    say("| Damage | Logs | Records that had to be the same, and were | Longest |");
    say("|---|---|---|---|");
    for (way, Figures { logs, same, longest }) in figures {
        say(&format!("| {way} | {logs} | {same} | {} ms |", longest.as_millis()));
    }
    let Some(peak) = peak_memory() else { return };
    say(&format!("peak memory: {peak} MiB"));
    assert!(peak < 1024, "{peak} MiB");
}

#[test]
fn damaged_samples_lose_no_other_record() {
    damage_logs(&root().join("samples"));
}

#[test]
fn damaged_logs_of_the_corpus_lose_no_other_record() {
    for name in ["data/evtx", "data/damaged"] {
        if let Some(folder) = shared(name) {
            damage_logs(&folder);
        }
    }
}
