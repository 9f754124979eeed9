//! The rows that all forms are made of: events, sessions, detections.

use std::collections::BTreeMap;
use std::io;

use chrono::{DateTime, Utc};

use crate::analysis::Analysis;
use crate::decode::chunk_number_at;
use crate::detect::session_counts;
use crate::input::InputKind;
use crate::model::{
    AccountName, Event, Level, Link, Proof, Record, RecordRef, RuleIdx, RuleMeta, Session,
    SessionIdx, session_id,
};
use crate::normalise::Normaliser;
use crate::rows::copies::CopiesOfRow;
use crate::rows::{MOST_NAMED, Pointers, describe, detections, pointer, records};
use crate::sorted::RowEntry;

/// An event with its record.
pub(super) struct EventRow<'a> {
    pub record: &'a Record,
    pub event: &'a Event,
    /// What it is, in this program's words.
    pub kind: &'static str,
    /// The account it concerns, as logged, or the record's SID.
    pub user: String,
    /// What it says.
    pub summary: String,
    /// Its session and why it belongs to it.
    pub session: Option<(String, Link)>,
    /// The rules that fired on it or on what was rebuilt from it.
    pub rules: Vec<&'a RuleMeta>,
    /// The file it was read from.
    pub file: &'a str,
    /// The chunk it lies in, of a binary log.
    pub chunk: Option<u64>,
    /// `FILE:EVENT_RECORD_ID@OFFSET`
    pub pointer: String,
    /// The same record in other inputs.
    pub copies: Pointers<'a>,
    /// No log lists it any more: it was found by `--recover`.
    pub recovered: bool,
}

impl EventRow<'_> {
    /// The highest level of the rules that fired.
    pub fn level(&self) -> Option<Level> {
        self.rules.iter().map(|rule| rule.level).max()
    }
}

/// A session.
pub(super) struct SessionRow<'a> {
    pub id: String,
    pub session: &'a Session,
    /// The session that it was started from.
    pub parent: Option<String>,
    /// The rules that fired in it, most severe first.
    pub rules: Vec<&'a RuleMeta>,
    pub commands: usize,
    pub child_processes: usize,
    /// Pointers to its records, the first of many.
    pub evidence: Vec<String>,
    /// What it is, on one line.
    pub summary: String,
}

/// A detection.
pub(super) struct DetectionRow<'a> {
    pub time: DateTime<Utc>,
    pub rule: &'a RuleMeta,
    pub host: &'a str,
    pub user: &'a str,
    pub session: Option<String>,
    /// What it fired on.
    pub fired_on: &'static str,
    /// The fields that matched and their values.
    pub matched: Vec<String>,
    /// Pointers to its records, the first of many.
    pub evidence: Vec<String>,
}

/// An event taken out of its frame.
pub(super) struct Told {
    record: Record,
    event: Event,
    rules: Vec<RuleIdx>,
}

/// The rows of a run.
pub(super) struct Rows<'a> {
    analysis: &'a Analysis,
    sessions: BTreeMap<RecordRef, (SessionIdx, Link)>,
    files: Vec<String>,
}

impl<'a> Rows<'a> {
    pub fn new(analysis: &'a Analysis) -> Self {
        let files = analysis.paths.iter().map(|path| path.display().to_string()).collect();
        Rows { analysis, sessions: analysis.reconstruction.by_record(), files }
    }

    /// Calls `each` with the frames of events in the order of the timeline, so many bytes at a
    /// time, and of each its copies. Events that are copies are left out.
    ///
    /// # Errors
    /// When rows cannot be read back, and what `each` returns.
    pub fn frames(
        &self,
        at_once: usize,
        mut each: impl FnMut(&[(RowEntry<'_>, CopiesOfRow)]) -> io::Result<()>,
    ) -> io::Result<()> {
        let Analysis { copies, records: Some(records), .. } = self.analysis else {
            return Err(io::Error::other("the run kept no records"));
        };
        let mut locations = copies.locations()?;
        let (mut frames, mut size) = (Vec::new(), 0);
        for frame in records.rows()? {
            let frame = frame?;
            if copies.contains(records::source(&frame)?) {
                continue;
            }
            let copies = locations.next_of(&frame)?;
            size += frame.content().len();
            frames.push((frame, copies));
            if size >= at_once {
                each(&frames)?;
                frames.clear();
                size = 0;
            }
        }
        each(&frames)
    }

    /// The event of a frame; none of one that the run does not tell of.
    ///
    /// # Errors
    /// When the frame holds none.
    pub fn event(&self, frame: &RowEntry<'_>) -> io::Result<Option<Told>> {
        let (record, mut rules) = records::read(frame)?;
        rules.extend(self.analysis.shown.get(&record.source).into_iter().flatten());
        rules.sort_unstable();
        rules.dedup();
        let event = Normaliser::default().event(&record);
        let Analysis { scope, reconstruction: case, .. } = self.analysis;
        let session = self.sessions.get(&record.source);
        let session = session.map(|&(session, _)| &case.sessions[session]);
        let is_told = scope.row(session, &event.computer, &event.user());
        Ok(is_told.then_some(Told { record, event, rules }))
    }

    /// Its row.
    pub fn row<'t>(&'t self, told: &'t Told, copies: &'t CopiesOfRow) -> EventRow<'t> {
        let Told { record, event, rules } = told;
        let session = self.sessions.get(&record.source);
        let mut summary = String::new();
        describe::summary(event, &mut summary);
        let input = record.source.input;
        EventRow {
            record,
            event,
            kind: describe::kind(event),
            user: event.user(),
            summary,
            session: session.map(|&(session, link)| (session_id(session), link)),
            rules: rules.iter().map(|&rule| &self.analysis.rules.rules[rule].meta).collect(),
            file: &self.files[input.index()],
            chunk: chunk_number_at(&self.analysis.inputs[input].input, record.source.offset),
            pointer: pointer(&self.analysis.paths, &Proof::of(event)),
            copies: copies.pointers(&self.analysis.paths),
            recovered: self.analysis.inputs[input].input.kind == InputKind::Recovered,
        }
    }

    /// The rows of sessions.
    pub fn sessions(&self) -> impl Iterator<Item = SessionRow<'_>> {
        let Analysis { reconstruction: case, paths, rules, scope, .. } = self.analysis;
        let counts = session_counts(case);
        let fired = super::super::sessions::fired(self.analysis);
        let told = case.sessions.iter_enumerated();
        told.filter(|(_, session)| scope.session(session)).map(move |(index, session)| {
            let records = session.evidence.iter().take(MOST_NAMED);
            let records = records.map(|of| Proof::of(&case.events[of.event]));
            SessionRow {
                id: session_id(index),
                session,
                parent: session.parent.map(|(parent, _)| session_id(parent)),
                rules: fired[index].iter().map(|&rule| &rules.rules[rule].meta).collect(),
                commands: counts[index].commands,
                child_processes: counts[index].children,
                evidence: records.map(|proof| pointer(paths, &proof)).collect(),
                summary: summary(index, session, counts[index].commands),
            }
        })
    }

    /// Calls `each` with the row of every detection.
    ///
    /// # Errors
    /// When rows cannot be read back, and what `each` returns.
    pub fn detections(
        &self,
        mut each: impl FnMut(&DetectionRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Analysis {
            detections: found, copies, reconstruction: case, rules, scope, paths, ..
        } = self.analysis;
        detections::each(found, copies, &case.sessions_of_records(), |row, session| {
            let of = session.map(|session| &case.sessions[session]);
            if !scope.row(of, &row.host, &row.user) {
                return Ok(());
            }
            each(&DetectionRow {
                time: row.time,
                rule: &rules.rules[row.rule].meta,
                host: &row.host,
                user: &row.user,
                session: session.map(session_id),
                fired_on: row.subject.as_str(),
                matched: row.matched.iter().map(|m| format!("{}={}", m.field, m.value)).collect(),
                evidence: Pointers::new(paths, &*row.evidence).in_cell().collect(),
            })
        })
    }
}

fn summary(index: SessionIdx, session: &Session, commands: usize) -> String {
    let user =
        session.user.as_ref().map_or_else(|| "unknown user".to_owned(), AccountName::to_string);
    let source = match (&session.source_host, &session.source_ip) {
        (Some(host), Some(ip)) => format!("{host} ({ip})"),
        (Some(host), None) => host.to_string(),
        (None, Some(ip)) => ip.clone(),
        (None, None) => "unknown source".to_owned(),
    };
    format!(
        "{} session {} of {user} from {source} on {}: {} over {}, {commands} commands, {} confidence",
        session.kind.as_str(),
        session_id(index),
        session.target_host,
        session.auth.as_str(),
        session.transport.as_str(),
        session.confidence.as_str(),
    )
}
