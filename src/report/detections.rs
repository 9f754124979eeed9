//! `detections`: what the rules found.

use std::io;
use std::path::PathBuf;

use super::table_rows::TableRows;
use crate::analysis::Analysis;
use crate::model::{RuleMeta, SessionIdx, session_id};
use crate::rows::value::row;
use crate::rows::{DetectionRow, Pointers, detections};

/// A detection with its rule and its session.
pub(super) struct DetectionView<'r> {
    row: &'r DetectionRow<'r>,
    rule: &'r RuleMeta,
    session: Option<SessionIdx>,
    paths: &'r [PathBuf],
}

row! { DetectionView<'_> as row:
    "time": Time = row.row.time => "when what it fired on was logged or began: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "level": Text = row.rule.level.as_str() => "the rule's level: critical, high, medium, low, informational",
    "rule_id": Text = &*row.rule.id => "the rule's id",
    "rule_title": Text = &*row.rule.title => "the rule's title",
    "pack": Text = &*row.rule.pack => "the pack it came with",
    "tags": Texts = row.rule.tags.iter().map(String::as_str).collect::<Vec<_>>() => "the rule's tags, ATT&CK's among them",
    "host": Text = &*row.row.host => "the host it concerns",
    "user": Text = &*row.row.user => "the account it concerns, as logged",
    "session_id": Text = row.session.map(session_id) => "its session (sessions.csv)",
    "fired_on": Text = row.row.subject.as_str() => "record, session, command, script_block, child_process, attempt, decoded_layer, log_gap, log_integrity or correlation",
    "matched_fields": Texts = row.matched() => "the fields that matched and their values",
    "evidence": Texts = Pointers::new(row.paths, &*row.row.evidence) => "the records that prove it: FILE:EVENT_RECORD_ID@OFFSET; of a correlation the one that completed it first",
}

impl DetectionView<'_> {
    fn matched(&self) -> Vec<String> {
        self.row.matched.iter().map(|m| format!("{}={}", m.field, m.value)).collect()
    }
}

/// The table.
pub(super) struct Detections;

impl TableRows for Detections {
    type Row<'r> = DetectionView<'r>;

    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&DetectionView<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Analysis { reconstruction: case, copies, scope, rules, paths, .. } = analysis;
        let sessions = case.sessions_of_records();
        detections::each(&analysis.detections, copies, &sessions, |row, session| {
            let known = session.map(|session| &case.sessions[session]);
            if !scope.row(known, &row.host, &row.user) {
                return Ok(());
            }
            each(&DetectionView { row, rule: &rules.rules[row.rule].meta, session, paths })
        })
    }
}
