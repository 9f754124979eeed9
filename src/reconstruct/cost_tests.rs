//! Logs full of forged records, each of one host within one second. The cost must not be quadratic:
//! these tests would take minutes instead of seconds.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::marks::{KeyHasher, TaskMarks};
use super::reconstruction::Reconstruction;
use super::tests::{ANN, WINRM, by, host_process, logon, on, shell};
use super::{RecordReader, TrafficRecord, reconstruct};
use crate::model::{Event, Record, RecordRef};
use crate::normalise::testing::event;

const MANY: i64 = 4_000;

struct InMemory(BTreeMap<RecordRef, Event>);

impl RecordReader for InMemory {
    fn events(&self, records: Vec<RecordRef>) -> Vec<Event> {
        records.iter().map(|at| self.0[at].clone()).collect()
    }

    fn traffic(&self, _: Vec<RecordRef>) -> Vec<TrafficRecord> {
        Vec::new()
    }
}

/// Rebuilds from the records that `records` returns for each number, all within a second.
fn rebuilt(many: i64, records: impl Fn(i64) -> Vec<Record>) -> Reconstruction {
    let keys = KeyHasher::default();
    let mut task_marks = TaskMarks::default();
    let mut all: BTreeMap<RecordRef, Event> = BTreeMap::new();
    for number in 0..many {
        for mut record in records(number) {
            record.source.offset = all.len() as u64;
            record.time += TimeDelta::microseconds(number * 100);
            let event = event(&record);
            all.insert(event.source, event.clone());
            task_marks.add_event(event, &keys);
        }
    }
    reconstruct(vec![task_marks], &keys, &InMemory(all))
}

fn client(target: &str) -> Record {
    let connection = format!("{target}/wsman?PSVersion=5.1");
    by(ANN, 500, on("pc", 0, WINRM, 6, &[("connection", &connection)]))
}

#[test]
fn as_many_clients_as_shells() {
    let reconstruction = rebuilt(MANY, |_| vec![client("srv"), shell("srv", 0, ANN)]);
    assert!(reconstruction.sessions.len() >= MANY as usize);
}

#[test]
fn as_many_logons_as_processes_of_one_logon_id() {
    let reconstruction = rebuilt(MANY, |n| {
        let process = host_process("srv", 0, &format!("{:#x}", n + 4), "ann", "0x111");
        vec![process, logon("srv", 0, "ann", ANN, "0x111")]
    });
    assert_eq!(reconstruction.sessions.len(), MANY as usize);
}

#[test]
fn as_many_logons_as_shells_of_one_account() {
    let reconstruction = rebuilt(MANY, |n| {
        vec![shell("srv", 0, ANN), logon("srv", 0, "ann", ANN, &format!("{:#x}", n + 5))]
    });
    assert_eq!(reconstruction.sessions.len(), MANY as usize);
}

#[test]
fn starts_without_a_process_id() {
    let reconstruction = rebuilt(10 * MANY, |n| {
        let data = [("NewProcessName", r"C:\a.exe"), ("SubjectLogonId", "0x111")];
        // Too far apart to be one process.
        let mut records = vec![on("srv", 5 * n, "Security", 4688, &data)];
        records.extend((n == 0).then(|| shell("srv", 0, ANN)));
        records
    });
    assert_eq!(reconstruction.sessions.len(), 1);
}

#[test]
fn connections_that_all_agree() {
    let connection = |host: &str, initiated: &str| {
        let data = [
            ("Initiated", initiated),
            ("SourceIp", "10.0.0.1"),
            ("SourcePort", "50000"),
            ("DestinationIp", "10.0.0.2"),
            ("DestinationPort", "5985"),
        ];
        on(host, 0, "Microsoft-Windows-Sysmon/Operational", 3, &data)
    };
    let reconstruction = rebuilt(MANY, |n| {
        let mut records = vec![connection("pc", "true"), connection("srv", "false")];
        records.extend((n == 0).then(|| shell("srv", 0, ANN)));
        records
    });
    assert_eq!(reconstruction.sessions.len(), 1);
}
