//! `timeline.csv`: every relevant event in order.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::cell::{cell, list, owned};
use super::describe::{kind, summary};
use super::{Rows, columns};
use crate::analysis::Analysis;
use crate::detect::session_id;
use crate::model::{Link, RecordRef, RuleMeta, Subject, csv_time};

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
    "link" => "why it belongs: by a key (process, runspace, logon, activity) or by time and names",
    "summary" => "what it says, on one line",
    "detections" => "titles of the rules that fired on it or on what was rebuilt from it; those on a session or attempt stand at its first record",
    "level" => "the highest level of those rules",
    "input_file" => "the file it was read from",
    "offset" => "the record's offset in that file, bytes",
    "record_number" => "the number in the record's own header, which exported logs renumber",
}

struct Timeline<'a> {
    analysis: &'a Analysis,
    /// The rules that fired on a record or on what was rebuilt from it.
    fired: BTreeMap<RecordRef, Vec<&'a RuleMeta>>,
    /// How an event is tied to its session.
    links: BTreeMap<usize, Link>,
}

pub(super) fn rows(analysis: &Analysis) -> Box<dyn Rows + '_> {
    let mut fired: BTreeMap<RecordRef, Vec<&RuleMeta>> = BTreeMap::new();
    for detection in &analysis.detections {
        // What fired on a whole session or attempt shows at its first record.
        let shown = match detection.subject {
            Subject::Session | Subject::Attempt => detection.evidence.get(..1).unwrap_or_default(),
            _ => &detection.evidence[..],
        };
        for &source in shown {
            let rules = fired.entry(source).or_default();
            let rule = &analysis.rules.rules[detection.rule];
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    let case = &analysis.case;
    let mut links = BTreeMap::new();
    for (index, session) in case.sessions.iter().enumerate() {
        let own = session.evidence.iter().filter(|e| case.session_of[e.event] == Some(index));
        links.extend(own.map(|evidence| (evidence.event, evidence.link)));
    }
    Box::new(Timeline { analysis, fired, links })
}

impl Rows for Timeline<'_> {
    fn count(&self) -> usize {
        self.analysis.case.events.len()
    }

    fn row(&self, index: usize) -> Vec<Cow<'_, str>> {
        let case = &self.analysis.case;
        let event = &case.events[index];
        let rules = self.fired.get(&event.source).into_iter().flatten();
        let link = self.links.get(&index).map(|link| match link {
            Link::Key => "key",
            Link::Time => "time",
        });
        let level = rules.clone().map(|rule| rule.level).max();
        vec![
            csv_time(event.time).into(),
            cell(&event.computer),
            cell(&event.channel),
            cell(&event.provider),
            event.event_id.to_string().into(),
            event.record_id.to_string().into(),
            kind(event).into(),
            owned(event.user()),
            case.session_of[index].map(session_id).unwrap_or_default().into(),
            link.unwrap_or_default().into(),
            owned(summary(event)),
            list(rules.map(|rule| &rule.title)),
            level.map(|level| level.to_string()).unwrap_or_default().into(),
            owned(super::evidence::file(self.analysis, event.source)),
            event.source.offset.to_string().into(),
            event.source.number.to_string().into(),
        ]
    }
}
