//! `timeline.csv`: every relevant event in order.
//!
//! An event's line is made when its record is read, all but what is known only later: its session
//! and what was found in what was rebuilt from it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::cell::{list, push};
use super::sorted::Rows;
use super::{columns, describe};
use crate::analysis::Analysis;
use crate::detect::session_id;
use crate::model::{Event, Link, RecordRef, Str, csv_time};

columns! { pub(super) COLUMNS:
    "time" => "when it was logged: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "host" => "the host that logged it (System/Computer)",
    "channel" => "System/Channel; empty when the record has none",
    "provider" => "System/Provider Name",
    "event_id" => "System/EventID",
    "record_id" => "System/EventRecordID, as Event Viewer shows it",
    "kind" => "what it is, in this program's words",
    "user" => "the account it concerns, as logged, or the record's SID",
    "session_id" => "the session it belongs to (sessions.csv)",
    "link" => "why it belongs: `key` and which (own record, process, host id, runspace, logon id, activity id), or `time` and what agrees besides (target, connection, account, command line, source)",
    "summary" => "what it says, on one line",
    "detections" => "titles of the rules that fired on it or on what was rebuilt from it; those on a session or attempt stand at its first record",
    "level" => "the highest level of those rules",
    "input_file" => "the file it was read from",
    "offset" => "the record's offset in that file, bytes",
    "record_number" => "the number in the record's own header, which exported logs renumber",
}

/// An event's line, as far as it is known when the record is read.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    source: RecordRef,
    time: &'a str,
    /// Index of the cells of host, channel and provider; without one they are in `before`.
    origin: Option<usize>,
    /// The other cells before those of its session.
    before: &'a str,
    summary: &'a str,
    /// The rules that fired on the record.
    rules: Vec<usize>,
}

/// Host, channel and provider, which lines repeat.
type Origin = [Str; 3];

/// Origins that lines name by index; a log may be written to have ever new ones.
const MOST_ORIGINS: usize = 1 << 16;

/// The origins of all lines, as cells.
#[derive(Default)]
pub struct Origins(Mutex<KnownOrigins>);

#[derive(Default)]
struct KnownOrigins {
    indexes: HashMap<Origin, usize>,
    cells: Vec<String>,
}

impl Origins {
    fn index(&self, origin: &Origin) -> Option<usize> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.cells.len();
        if let Some(&index) = known.indexes.get(origin) {
            return Some(index);
        }
        if next == MOST_ORIGINS {
            return None;
        }
        let mut cells = String::new();
        push_origin(&mut cells, origin);
        known.cells.push(cells);
        known.indexes.insert(origin.clone(), next);
        Some(next)
    }

    /// The cells, by index.
    pub(crate) fn into_cells(self) -> Vec<String> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).cells
    }
}

fn push_origin(line: &mut String, origin: &Origin) {
    for name in origin {
        push(line, name);
        line.push(',');
    }
}

/// Makes the lines of a task, with room that it uses again.
#[derive(Default)]
pub struct Lines {
    /// The lines, until a sorter takes them.
    pub rows: Rows,
    before: String,
    summary: String,
    text: String,
    latest: Option<(Origin, usize)>,
}

impl Lines {
    /// Adds the line of an event that these rules fired on.
    ///
    /// # Errors
    /// When the line has no serial form.
    pub fn add(&mut self, event: &Event, rules: Vec<usize>, origins: &Origins) -> io::Result<()> {
        let Lines { before, summary, text, latest, .. } = self;
        before.clear();
        summary.clear();
        text.clear();
        let names = [&event.computer, &event.channel, &event.provider];
        let origin = match latest {
            Some((known, index)) if known.each_ref() == names => Some(*index),
            _ => {
                let origin = names.map(Str::clone);
                let index = origins.index(&origin);
                if index.is_none() {
                    push_origin(before, &origin);
                }
                *latest = index.map(|index| (origin, index));
                index
            }
        };
        let mut number = itoa::Buffer::new();
        for id in [event.event_id.into(), event.record_id] {
            before.push_str(number.format(id));
            before.push(',');
        }
        before.push_str(describe::kind(event));
        before.push(',');
        push(before, &event.user());
        describe::summary(event, text);
        push(summary, text);
        let time = &csv_time(event.time);
        let row = Row { source: event.source, time, origin, before, summary, rules };
        self.rows.push(|key| order(key, event), &row)
    }
}

/// The order of lines: time, place. It is total.
fn order(key: &mut Vec<u8>, event: &Event) {
    super::sorted::time(key, event.time);
    super::sorted::place(key, event.source);
}

pub(super) fn write(analysis: &Analysis, to: &mut dyn io::Write) -> io::Result<()> {
    let Analysis { inputs, rules, shown, case, origins, .. } = analysis;
    let sessions: BTreeMap<RecordRef, (usize, Link)> = case.by_record();
    let paths = inputs.iter().map(|report| {
        let mut cell = String::new();
        push(&mut cell, &report.input.path.display().to_string());
        cell
    });
    let paths: Vec<String> = paths.collect();
    let (mut line, mut number) = (String::new(), itoa::Buffer::new());
    analysis.timeline.for_each(|row| {
        let row: Row<'_> = postcard::from_bytes(row).map_err(io::Error::other)?;
        line.clear();
        line.push_str(row.time);
        line.push(',');
        if let Some(origin) = row.origin {
            line.push_str(&origins[origin]);
        }
        line.push_str(row.before);
        line.push(',');
        if let Some((session, link)) = sessions.get(&row.source) {
            line.push_str(&session_id(*session));
            line.push(',');
            line.push_str(link.as_str());
        } else {
            line.push(',');
        }
        line.push(',');
        line.push_str(row.summary);
        line.push(',');
        let mut fired = row.rules;
        fired.extend(shown.get(&row.source).into_iter().flatten());
        if fired.is_empty() {
            line.push(',');
        } else {
            fired.sort_unstable();
            fired.dedup();
            let fired = fired.iter().map(|&rule| &rules.rules[rule]);
            let level = fired.clone().map(|rule| rule.level).max();
            push(&mut line, &list(fired.map(|rule| &rule.title)));
            line.push(',');
            line.push_str(level.map(|level| level.as_str()).unwrap_or_default());
        }
        let RecordRef { input, offset, number: recorded } = row.source;
        line.push(',');
        line.push_str(&paths[input as usize]);
        for place in [offset, recorded] {
            line.push(',');
            line.push_str(number.format(place));
        }
        line.push('\n');
        to.write_all(line.as_bytes())
    })
}
