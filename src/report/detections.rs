//! `detections.csv`: what the rules found.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::cell::{cell, list};
use super::{Rows, columns, evidence};
use crate::analysis::Analysis;
use crate::detect::session_id;
use crate::model::{Event, RecordRef, csv_time};

columns! { pub(super) COLUMNS:
    "time" => "when what it fired on was logged or began: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "level" => "the rule's level: critical, high, medium, low, informational",
    "rule_id" => "the rule's id",
    "rule_title" => "the rule's title",
    "pack" => "the pack it came with",
    "tags" => "the rule's tags, ATT&CK's among them",
    "host" => "the host it concerns",
    "user" => "the account it concerns, as logged",
    "session_id" => "its session (sessions.csv)",
    "fired_on" => "record, session, command, script_block, child_process or attempt",
    "matched_fields" => "the fields that matched and their values",
    "evidence" => "the records that prove it: FILE:EVENT_RECORD_ID@OFFSET",
}

struct Detections<'a> {
    analysis: &'a Analysis,
    events: BTreeMap<RecordRef, &'a Event>,
}

pub(super) fn rows(analysis: &Analysis) -> Box<dyn Rows + '_> {
    let events = analysis.case.events.iter().map(|event| (event.source, event)).collect();
    Box::new(Detections { analysis, events })
}

impl Rows for Detections<'_> {
    fn count(&self) -> usize {
        self.analysis.detections.len()
    }

    fn row(&self, index: usize) -> Vec<Cow<'_, str>> {
        let Detections { analysis, events } = self;
        let detection = &analysis.detections[index];
        let rule = &analysis.rules.rules[detection.rule];
        let matched = detection.matched.iter().map(|m| format!("{}={}", m.field, m.value));
        let proof: Vec<&Event> = detection.evidence.iter().map(|source| events[source]).collect();
        vec![
            csv_time(detection.time).into(),
            rule.level.to_string().into(),
            cell(&rule.id),
            cell(&rule.title),
            cell(&rule.pack),
            list(&rule.tags),
            cell(&detection.host),
            cell(&detection.user),
            detection.session.map(session_id).unwrap_or_default().into(),
            detection.subject.as_str().into(),
            list(matched),
            evidence::cell(analysis, proof.into_iter()),
        ]
    }
}
