//! Finds the process of a remote engine in the classic log, if only 53504 shows it.
//!
//! The classic log names no process. 4103 does, and an audit log shows the host process. If both
//! are missing, the process whose engine began to listen (53504) at the same moment is taken,
//! provided that no other process fits.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::marks::{HostKind, IdKey, ProcessMark, ProcessMarkKind, TextKey};
use super::windows::{FIRST_COMMAND_WINDOW, STEP_WINDOW};

/// How much farther in time another pair must be, so that the nearer pair is certain.
const CLEARLY_FARTHER: TimeDelta = TimeDelta::seconds(1);

/// Most listening engines that one engine is compared with, before it and after. Keeps a log full
/// of forged records cheap.
const MOST_RIVALS: usize = 16;

/// The process id of each engine, and the SID that runs it, by HostId.
pub(super) type EngineProcesses = HashMap<IdKey, (u32, TextKey)>;

/// Returns the processes of a host's remote engines that only 53504 shows, by HostId. Marks are in
/// order of time.
pub(super) fn engine_processes(marks: &[&ProcessMark]) -> EngineProcesses {
    let mut proven: HashSet<IdKey> = HashSet::new();
    // The times of starts and of work of each process id.
    let mut known: HashMap<u32, [Vec<DateTime<Utc>>; 2]> = HashMap::new();
    for mark in marks {
        match mark.kind {
            ProcessMarkKind::HostsEngine(_, host_id) => {
                proven.insert(host_id);
                known.entry(mark.id).or_default()[1].push(mark.mark.time);
            }
            ProcessMarkKind::Started(_) => {
                known.entry(mark.id).or_default()[0].push(mark.mark.time)
            }
            ProcessMarkKind::Exited(_)
            | ProcessMarkKind::Listens
            | ProcessMarkKind::EngineOnly(..) => {}
        }
    }
    // A start before it, or work after it, already identifies the listening process.
    let has_no_other_record = |mark: &&&ProcessMark| {
        let time = mark.mark.time;
        let one_in = |times: &[DateTime<Utc>], from, to| {
            times.get(times.partition_point(|&at| at < from)).is_some_and(|&at| at <= to)
        };
        !known.get(&mark.id).is_some_and(|[starts, works]| {
            one_in(starts, time - FIRST_COMMAND_WINDOW, time + STEP_WINDOW)
                || one_in(works, time, time + FIRST_COMMAND_WINDOW)
        })
    };
    let listens = marks.iter().filter(|mark| mark.kind == ProcessMarkKind::Listens && mark.id != 0);
    let listens: Vec<&&ProcessMark> = listens.filter(has_no_other_record).collect();
    let mut known_engines: HashSet<IdKey> = HashSet::new();
    let engines = marks.iter().filter_map(|mark| match mark.kind {
        ProcessMarkKind::EngineOnly(HostKind::PowerShellHost, id)
            if id.is_some() && !proven.contains(&id) =>
        {
            known_engines.insert(id).then_some((mark.mark.time, id))
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
    let mut engine_processes = EngineProcesses::new();
    let (mut of_engine, mut of_listen) = (HashMap::new(), HashMap::new());
    for &(apart, engine, listen) in &pairs {
        of_engine.entry(engine).or_insert_with(Vec::new).push(apart);
        of_listen.entry(listen).or_insert_with(Vec::new).push(apart);
    }
    let is_clear = |all: &[TimeDelta], apart| match all {
        [first, second, ..] => *first == apart && *second - *first >= CLEARLY_FARTHER,
        _ => true,
    };
    for (apart, engine, listen) in pairs {
        if is_clear(&of_engine[&engine], apart) && is_clear(&of_listen[&listen], apart) {
            let mark = listens[listen];
            engine_processes.insert(engines[engine].1, (mark.id, mark.account_keys[1]));
        }
    }
    engine_processes
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::tests::{ANN, POWERSHELL, by, engine, on, rebuilt_from};
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
        let reconstruction = rebuilt_from(vec![
            listens(-100, 77),
            engine("srv", 1000, 400, "h", ""),
            script(1030, 77, "Get-Date"),
            script(1040, 78, "of another process"),
            engine("srv", 1060, 403, "h", ""),
        ]);
        assert_eq!(reconstruction.sessions.len(), 1);
        assert_eq!(reconstruction.sessions[SessionIdx::new(0)].process_id, Some(77));
        let texts: Vec<&str> =
            reconstruction.commands.iter().map(|command| &*command.text).collect();
        assert_eq!(texts, ["Get-Date"]);
    }

    #[test]
    fn of_two_that_begin_at_once_neither_is() {
        let reconstruction = rebuilt_from(vec![
            listens(-100, 77),
            listens(300, 99),
            engine("srv", 1000, 400, "h", ""),
            script(1030, 77, "Get-Date"),
            engine("srv", 1060, 403, "h", ""),
        ]);
        assert_eq!(
            (reconstruction.sessions.len(), reconstruction.sessions[SessionIdx::new(0)].process_id),
            (1, None)
        );
        assert!(reconstruction.commands.is_empty());
    }
}
