//! `coverage`: how far the logs at hand reach.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::table_rows::TableRows;
use crate::analysis::Analysis;
use crate::model::{self, Channel, Clearing, Gap, HostName, csv_time};
use crate::rows::value::row;

/// How far one log of a host reaches.
pub(super) struct CoverageRow<'r> {
    pub coverage: &'r model::Coverage,
    /// Where the log was cleared, the first times.
    pub cleared: Vec<&'r Clearing>,
    paths: &'r [PathBuf],
}

row! { CoverageRow<'_> as row:
    "host": Text = &*row.coverage.host => "the host that logged (System/Computer)",
    "channel": Text = row.coverage.channel.name() => "the channel",
    "from": Time = row.coverage.first.0 => "its earliest record in this file: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "to": Time = row.coverage.last.0 => "its latest record in this file, UTC",
    "first_record_id": Integer = row.coverage.first.1 => "EventRecordID of the earliest record; what is older was overwritten, cleared or not exported",
    "last_record_id": Integer = row.coverage.last.1 => "EventRecordID of the latest record",
    "event_ids": Texts = row.event_ids() => "the event ids that are there",
    "cleared": Texts = row.clearings() => "when the channel was cleared on this host (1102, 104) and by whom, UTC; at most ten times",
    "missing_records": Texts = row.missing() => "holes in EventRecordID, as FROM-TO; at most ten; many: over 32, as in a selection of records",
    "input_file": Text = row.file() => "the file",
}

/// Clearings that a row names; the timeline has them all.
const MOST_CLEARED: usize = 10;

/// Holes that a row names.
const MOST_MISSING: usize = 10;

impl CoverageRow<'_> {
    /// When the log was cleared and by whom.
    pub fn clearings(&self) -> Vec<String> {
        let text = |cleared: &&Clearing| match &cleared.account {
            Some(account) => format!("{} by {account}", csv_time(cleared.time)),
            None => csv_time(cleared.time),
        };
        self.cleared.iter().map(text).collect()
    }

    /// The event ids that are there.
    pub fn event_ids(&self) -> Vec<String> {
        self.coverage.ids.iter().map(u32::to_string).collect()
    }

    /// The path of its file.
    pub fn file(&self) -> String {
        self.paths[self.coverage.input.index()].display().to_string()
    }

    /// Holes in its record ids.
    pub fn missing(&self) -> Vec<String> {
        let Some(gaps) = &self.coverage.gaps else { return vec!["many".to_owned()] };
        let hole = |gap: &Gap| format!("{}-{}", gap.before.record_id + 1, gap.after.record_id - 1);
        let mut holes: Vec<String> = gaps.iter().take(MOST_MISSING).map(hole).collect();
        if gaps.len() > MOST_MISSING {
            holes.push(format!("and {} more", gaps.len() - MOST_MISSING));
        }
        holes
    }
}

/// The rows of the table.
pub(super) fn rows(analysis: &Analysis) -> impl Iterator<Item = CoverageRow<'_>> {
    let Analysis { reconstruction: case, paths, .. } = analysis;
    let mut cleared: BTreeMap<(&HostName, Channel), Vec<&Clearing>> = BTreeMap::new();
    for clearing in &case.cleared {
        let known = cleared.entry((&clearing.host, clearing.channel)).or_default();
        if known.len() < MOST_CLEARED {
            known.push(clearing);
        }
    }
    case.coverage.iter().map(move |coverage| {
        let cleared = cleared.get(&(&coverage.host, coverage.channel));
        CoverageRow { coverage, cleared: cleared.cloned().unwrap_or_default(), paths }
    })
}

/// The table.
pub(super) struct Coverage;

impl TableRows for Coverage {
    type Row<'r> = CoverageRow<'r>;

    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&CoverageRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        rows(analysis).try_for_each(|row| each(&row))
    }
}
