//! `findings`: detections folded for people.

use std::io;
use std::path::PathBuf;

use super::table_rows::TableRows;
use crate::analysis::Analysis;
use crate::model::{RuleMeta, session_id};
use crate::rows::value::row;
use crate::rows::{Finding, Pointers, findings};

/// A finding with its rule.
pub(super) struct FindingRow<'r> {
    finding: &'r Finding,
    rule: &'r RuleMeta,
    paths: &'r [PathBuf],
}

row! { FindingRow<'_> as row:
    "level": Text = row.rule.level.as_str() => "the rule's level: critical, high, medium, low, informational",
    "rule_id": Text = &*row.rule.id => "the rule's id",
    "rule_title": Text = &*row.rule.title => "the rule's title",
    "host": Text = &*row.finding.host => "the host it concerns; empty where several hosts are",
    "session_id": Text = row.finding.session.map(session_id) => "the session (sessions.csv); empty for what is in none",
    "users": Texts = row.finding.users.iter().map(String::as_str).collect::<Vec<_>>() => "the accounts it concerns, as logged; the first ten",
    "count": Integer = row.finding.count => "how many rows of detections.csv this is",
    "first_time": Time = row.finding.first => "the earliest of them: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "last_time": Time = row.finding.last => "the latest of them",
    "evidence": Texts = Pointers::new(row.paths, &row.finding.evidence[..]) => "the first record of each of the first three: FILE:EVENT_RECORD_ID@OFFSET",
}

/// The table.
pub(super) struct Findings;

impl TableRows for Findings {
    type Row<'r> = FindingRow<'r>;

    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&FindingRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Analysis { rules, paths, .. } = analysis;
        findings::each(&analysis.findings, |finding| {
            each(&FindingRow { rule: &rules.rules[finding.rule].meta, finding: &finding, paths })
        })
    }
}
