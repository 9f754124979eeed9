//! `coverage.csv`: how far the logs at hand reach.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::cell::{cell, list, owned};
use super::{Rows, columns};
use crate::analysis::Analysis;
use crate::model::{Channel, Clearing, Gap, HostName, csv_time};

columns! { pub(super) COLUMNS:
    "host" => "the host that logged (System/Computer)",
    "channel" => "the channel",
    "from": Time => "its earliest record in this file: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "to": Time => "its latest record in this file, UTC",
    "first_record_id": Integer => "EventRecordID of the earliest record; what is older was overwritten, cleared or not exported",
    "last_record_id": Integer => "EventRecordID of the latest record",
    "event_ids" => "the event ids that are there",
    "cleared" => "when the channel was cleared on this host (1102, 104) and by whom, UTC; at most ten times",
    "missing_records" => "holes in EventRecordID, as FROM-TO; at most ten; many: over 32, as in a selection of records",
    "input_file" => "the file",
}

/// Clearings that a cell names; the timeline has them all.
const MOST_CLEARED: usize = 10;

/// Holes that a cell names.
const MOST_MISSING: usize = 10;

fn missing(coverage: &crate::model::Coverage) -> Cow<'static, str> {
    let Some(gaps) = &coverage.gaps else { return "many".into() };
    let hole = |gap: &Gap| format!("{}-{}", gap.before.record_id + 1, gap.after.record_id - 1);
    let mut holes: Vec<String> = gaps.iter().take(MOST_MISSING).map(hole).collect();
    if gaps.len() > MOST_MISSING {
        holes.push(format!("and {} more", gaps.len() - MOST_MISSING));
    }
    list(holes)
}

struct Coverage<'a> {
    analysis: &'a Analysis,
    /// Where logs were cleared, by host and channel.
    cleared: BTreeMap<(&'a HostName, Channel), Vec<&'a Clearing>>,
}

pub(super) fn rows(analysis: &Analysis) -> impl Rows + '_ {
    let mut cleared: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for clearing in &analysis.case.cleared {
        cleared.entry((&clearing.host, clearing.channel)).or_default().push(clearing);
    }
    Coverage { analysis, cleared }
}

impl Rows for Coverage<'_> {
    fn count(&self) -> usize {
        self.analysis.case.coverage.len()
    }

    fn row(&self, index: usize) -> Vec<Cow<'_, str>> {
        let Analysis { case, paths, .. } = self.analysis;
        let coverage = &case.coverage[index];
        let cleared = self.cleared.get(&(&coverage.host, coverage.channel));
        let cleared = cleared.into_iter().flatten().take(MOST_CLEARED);
        let cleared = cleared.map(|cleared| match &cleared.account {
            Some(account) => format!("{} by {account}", csv_time(cleared.time)),
            None => csv_time(cleared.time),
        });
        vec![
            cell(&coverage.host),
            coverage.channel.name().into(),
            csv_time(coverage.first.0).into(),
            csv_time(coverage.last.0).into(),
            coverage.first.1.to_string().into(),
            coverage.last.1.to_string().into(),
            list(coverage.ids.iter().map(u32::to_string)),
            list(cleared),
            missing(coverage),
            owned(paths[coverage.input.index()].display().to_string()),
        ]
    }
}
