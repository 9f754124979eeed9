//! `sessions.jsonl` against the records that its statements name, and `sessions.csv` against it:
//! both have each session, and an edit of one shows in the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::checked::Checked;
use super::evidence::Evidence;
use super::{Deviation, Ledger, found};
use crate::model::{RecordRef, csv_time};
use crate::report::story::{self, Statement, Story};
use crate::report::{cell, visible};

const SESSIONS: &str = "sessions.csv";

/// A session's line in sessions.csv, its cells by column.
type Row = (u64, BTreeMap<String, String>);

pub(super) fn check(
    folder: &Path,
    ledger: &Ledger,
    evidence: &Evidence<'_>,
    checked: &mut Checked,
) {
    let has_rows = ledger.has_output(SESSIONS);
    let mut rows = if has_rows { sessions(folder) } else { BTreeMap::new() };
    // That a file is missing, the sums tell.
    let Ok(file) = File::open(folder.join(story::FILE)) else { return };
    for (line, text) in (1..).zip(BufReader::new(file).lines()) {
        let told = text.map_err(|error| error.to_string());
        let told = told.and_then(|text| {
            serde_json::from_str::<Story>(&text).map_err(|error| error.to_string())
        });
        let told = match told {
            Ok(told) => told,
            Err(error) => {
                let what = format!("not a session of this version: {error}");
                checked.deviations.push(Deviation::line(story::FILE, line, what));
                continue;
            }
        };
        statements(line, &told, evidence, checked);
        match rows.remove(&told.session_id) {
            Some(row) => compare(&row, &told, checked),
            None if !has_rows => {}
            None => {
                let what = format!("session {} is not in {SESSIONS}", visible(&told.session_id));
                checked.deviations.push(Deviation::line(story::FILE, line, what));
            }
        }
    }
    for (id, (line, _)) in rows {
        let what = format!("session {} is not in {}", visible(&id), story::FILE);
        checked.deviations.push(Deviation::cell(SESSIONS, line, "session_id", what));
    }
}

fn sessions(folder: &Path) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let reader = csv::ReaderBuilder::new().flexible(true).from_path(folder.join(SESSIONS));
    let Ok(mut reader) = reader else { return rows };
    let names: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(str::to_owned).collect(),
        Err(_) => return rows,
    };
    for record in reader.records().flatten() {
        let line = record.position().map_or(0, csv::Position::line);
        let cells = names.iter().cloned().zip(record.iter().map(str::to_owned));
        let cells: BTreeMap<String, String> = cells.collect();
        let id = cells.get("session_id").cloned().unwrap_or_default();
        rows.insert(id, (line, cells));
    }
    rows
}

/// The cells that both files have.
fn compare((line, row): &Row, told: &Story, checked: &mut Checked) {
    let text = |text: &str| cell(text).into_owned();
    let known = |known: &Option<String>| text(known.as_deref().unwrap_or_default());
    let expected = [
        ("start_time", csv_time(told.start_time)),
        ("end_time", csv_time(told.end_time)),
        ("source_host", known(&told.source_host)),
        ("source_ip", known(&told.source_ip)),
        ("target_host", text(&told.target_host)),
        ("user", known(&told.user)),
        ("user_sid", known(&told.user_sid)),
        ("auth", text(&told.auth)),
        ("transport", text(&told.transport)),
        ("kind", text(&told.kind)),
        ("configuration", text(&told.configuration)),
        ("confidence", text(&told.confidence.level)),
    ];
    for (column, expected) in expected {
        let here = row.get(column).map(String::as_str).unwrap_or_default();
        if here != expected {
            let what = found(here, &expected, story::FILE);
            checked.deviations.push(Deviation::cell(SESSIONS, *line, column, what));
        }
    }
}

fn statements(line: u64, told: &Story, evidence: &Evidence<'_>, checked: &mut Checked) {
    let source = |statement: &Statement| {
        let at = &statement.evidence;
        let input = evidence.input(&visible(&at.file))?;
        Some(RecordRef { input, offset: at.offset, number: at.record_number })
    };
    let wanted: BTreeSet<RecordRef> = told.statements.iter().filter_map(source).collect();
    let records = evidence.read(wanted.into_iter().collect());
    for (index, statement) in told.statements.iter().enumerate() {
        checked.records += 1;
        let mut deviates = |name: &str, what: String| {
            let place = format!("/statements/{index}{name}");
            checked.deviations.push(Deviation::cell(story::FILE, line, &place, what));
        };
        let id = statement.evidence.record_id;
        let record = source(statement).and_then(|source| records.get(&source));
        let Some(reread) = record.filter(|reread| reread.told.record_id == id) else {
            deviates("/evidence", format!("no record {id} where it points to"));
            continue;
        };
        let told = &reread.told;
        for (name, column, here) in [
            ("/time", "time", csv_time(statement.time)),
            ("/event_id", "event_id", statement.event_id.to_string()),
            ("/kind", "kind", statement.kind.clone()),
        ] {
            if told.get(column) != here {
                deviates(name, found(&here, told.get(column), "the record"));
            }
        }
        // A long text is cut, here sooner than there.
        let (here, there) = (cell(&statement.text), told.get("summary"));
        let begins = here.split("… (cut").next().unwrap_or_default();
        if !there.starts_with(begins) || (begins.len() == here.len() && here != there) {
            deviates("/text", found(&here, there, "the record"));
        }
    }
    checked.rows += 1;
}
