//! Which process a remote engine of the classic log runs in, where only 53504 tells.
//!
//! The classic log names no process. 4103 does, and an audit log names the host process; where
//! neither is there, the process whose engine began to listen (53504) in the same moment is the
//! engine's, if no other may be.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::gather::{IdKey, Image, Key, ProcessMark, Told};
use super::windows::{STEP_WINDOW, WAITED};

/// How much farther in time another pair must be for the nearer one to be surely right.
const SURE: TimeDelta = TimeDelta::seconds(1);

/// Listening engines that one engine may be weighed against, before it and after: a log full of
/// forged ones costs no more.
const MOST_RIVALS: usize = 16;

/// The process of an engine, and the SID of who runs it.
pub(super) type Served = HashMap<IdKey, (u32, Key)>;

/// The processes of a host's remote engines by HostId, as far as 53504 alone tells them. Marks are
/// in order of time.
pub(super) fn served(marks: &[&ProcessMark]) -> Served {
    let mut proven: HashSet<IdKey> = HashSet::new();
    // Of each process id, when processes started and when they worked.
    let mut known: HashMap<u32, [Vec<DateTime<Utc>>; 2]> = HashMap::new();
    for mark in marks {
        match mark.what {
            Told::Serves(_, host_id) => {
                proven.insert(host_id);
                known.entry(mark.id).or_default()[1].push(mark.mark.time);
            }
            Told::Started(_) => known.entry(mark.id).or_default()[0].push(mark.mark.time),
            Told::Exited(_) | Told::Listens | Told::Engine(..) => {}
        }
    }
    // A start before it or work after it says what process listens.
    let untold = |mark: &&&ProcessMark| {
        let time = mark.mark.time;
        let one_in = |times: &[DateTime<Utc>], from, to| {
            times.get(times.partition_point(|&at| at < from)).is_some_and(|&at| at <= to)
        };
        !known.get(&mark.id).is_some_and(|[starts, works]| {
            one_in(starts, time - WAITED, time + STEP_WINDOW) || one_in(works, time, time + WAITED)
        })
    };
    let listens = marks.iter().filter(|mark| mark.what == Told::Listens && mark.id != 0);
    let listens: Vec<&&ProcessMark> = listens.filter(untold).collect();
    let mut seen: HashSet<IdKey> = HashSet::new();
    let engines = marks.iter().filter_map(|mark| match mark.what {
        Told::Engine(Image::PowerShellHost, id) if id.is_some() && !proven.contains(&id) => {
            seen.insert(id).then_some((mark.mark.time, id))
        }
        _ => None,
    });
    let engines: Vec<(DateTime<Utc>, IdKey)> = engines.collect();

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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::tests::{ANN, POWERSHELL, by, case, engine, on};
    use crate::model::{Record, SessionIdx};

    fn listens(milliseconds: i64, process: u32) -> Record {
        let record = by(ANN, process, on("srv", 0, POWERSHELL, 53504, &[("param1", "1")]));
        let time = record.time + TimeDelta::seconds(1000) + TimeDelta::milliseconds(milliseconds);
        Record { time, ..record }
    }

    fn script(seconds: i64, process: u32, text: &str) -> Record {
        let data = [
            ("MessageNumber", "1"),
            ("MessageTotal", "1"),
            ("ScriptBlockText", text),
            ("ScriptBlockId", text),
        ];
        by(ANN, process, on("srv", seconds, POWERSHELL, 4104, &data))
    }

    #[test]
    fn a_process_that_begins_to_listen_with_the_engine_is_the_engines() {
        let case = case(vec![
            listens(-100, 77),
            engine("srv", 1000, 400, "h", ""),
            script(1030, 77, "Get-Date"),
            script(1040, 78, "of another process"),
            engine("srv", 1060, 403, "h", ""),
        ]);
        assert_eq!(case.sessions.len(), 1);
        assert_eq!(case.sessions[SessionIdx::new(0)].process_id, Some(77));
        let texts: Vec<&str> = case.commands.iter().map(|command| &*command.text).collect();
        assert_eq!(texts, ["Get-Date"]);
    }

    #[test]
    fn of_two_that_begin_at_once_neither_is() {
        let case = case(vec![
            listens(-100, 77),
            listens(300, 99),
            engine("srv", 1000, 400, "h", ""),
            script(1030, 77, "Get-Date"),
            engine("srv", 1060, 403, "h", ""),
        ]);
        assert_eq!((case.sessions.len(), case.sessions[SessionIdx::new(0)].process_id), (1, None));
        assert!(case.commands.is_empty());
    }
}
