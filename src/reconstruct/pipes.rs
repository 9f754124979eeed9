//! Which process a remote engine of the classic log runs in, where only 53504 tells.
//!
//! The classic log names no process. 4103 does, and an audit log names the host process; where
//! neither is there, the process whose engine began to listen (53504) in the same moment is the
//! engine's, if no other may be.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::STEP_WINDOW;
use super::gather::{Image, Key, ProcessMark, Told};
use super::server::WAITED;

/// How much farther in time another pair must be for the nearer one to be surely right.
const SURE: TimeDelta = TimeDelta::seconds(1);

/// Listening engines that one engine may be weighed against, before it and after: a log full of
/// forged ones costs no more.
const MOST_RIVALS: usize = 16;

/// The process of an engine, and the SID of who runs it.
pub(super) type Served = HashMap<Key, (u32, Key)>;

/// The processes of a host's remote engines by HostId, as far as 53504 alone tells them. Marks are
/// in order of time.
pub(super) fn served(marks: &[&ProcessMark]) -> Served {
    let mut proven: HashSet<Key> = HashSet::new();
    let mut known: HashMap<u32, Vec<(DateTime<Utc>, bool)>> = HashMap::new();
    for mark in marks {
        match mark.what {
            Told::Serves(_, host_id) => {
                proven.insert(host_id);
                known.entry(mark.id).or_default().push((mark.mark.time, false));
            }
            Told::Started(_) => known.entry(mark.id).or_default().push((mark.mark.time, true)),
            Told::Exited(_) | Told::Listens | Told::Engine(..) => {}
        }
    }
    // A start before it or work after it says what process listens.
    let untold = |mark: &&&ProcessMark| {
        let time = mark.mark.time;
        let told = |&(at, start): &(DateTime<Utc>, bool)| match start {
            true => at <= time + STEP_WINDOW && time - at <= WAITED,
            false => at >= time && at - time <= WAITED,
        };
        !known.get(&mark.id).is_some_and(|known| known.iter().any(told))
    };
    let listens = marks.iter().filter(|mark| mark.what == Told::Listens && mark.id != 0);
    let listens: Vec<&&ProcessMark> = listens.filter(untold).collect();
    let mut seen: HashSet<Key> = HashSet::new();
    let engines = marks.iter().filter_map(|mark| match mark.what {
        Told::Engine(Image::PowerShellHost, id) if id.is_some() && !proven.contains(&id) => {
            seen.insert(id).then_some((mark.mark.time, id))
        }
        _ => None,
    });
    let engines: Vec<(DateTime<Utc>, Key)> = engines.collect();

    let mut pairs = Vec::new();
    for (engine, (time, _)) in engines.iter().enumerate() {
        let split = listens.partition_point(|mark| mark.mark.time < *time);
        let before = (0..split).rev().take(MOST_RIVALS);
        for listen in before.chain((split..listens.len()).take(MOST_RIVALS)) {
            let apart = (listens[listen].mark.time - *time).abs();
            if apart <= STEP_WINDOW {
                pairs.push((apart, engine, listen));
            }
        }
    }
    pairs.sort_unstable();
    let mut served = Served::new();
    let (mut of_engine, mut of_listen) = (HashMap::new(), HashMap::new());
    for &(apart, engine, listen) in &pairs {
        of_engine.entry(engine).or_insert_with(Vec::new).push(apart);
        of_listen.entry(listen).or_insert_with(Vec::new).push(apart);
    }
    let sure = |all: &[TimeDelta], apart| match all {
        [first, second, ..] => *first == apart && *second - *first >= SURE,
        _ => true,
    };
    for (apart, engine, listen) in pairs {
        if sure(&of_engine[&engine], apart) && sure(&of_listen[&listen], apart) {
            let mark = listens[listen];
            served.insert(engines[engine].1, (mark.id, mark.who[1]));
        }
    }
    served
}
