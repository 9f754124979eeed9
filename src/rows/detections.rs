//! The rows of detections as they are kept: made when a rule fires, and a record's session is known
//! later.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::copies::Copies;
use crate::model::{Detection, MatchedField, Proof, RecordRef, RuleIdx, SessionIdx, Subject};
use crate::sorted::{SortBuffer, SortedRows, push_place, push_time};

/// A detection, all but the session of its record.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct DetectionRow<'a> {
    /// When what it fired on was logged or began, UTC.
    pub time: DateTime<Utc>,
    /// Index of the rule.
    pub rule: RuleIdx,
    /// The host it concerns.
    #[serde(borrow)]
    pub host: Cow<'a, str>,
    /// The account it concerns, as logged.
    #[serde(borrow)]
    pub user: Cow<'a, str>,
    session: SessionRef,
    /// What it fired on.
    pub subject: Subject,
    /// The fields that matched and their values.
    pub matched: Cow<'a, [MatchedField]>,
    /// The records that prove it.
    pub evidence: Cow<'a, [Proof]>,
}

/// Which session a row is in.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum SessionRef {
    /// The record's, if it has one.
    Record(RecordRef),
    /// This one, or none.
    Session(Option<SessionIdx>),
}

/// Adds the row of a detection.
///
/// # Errors
/// When the row has no serial form.
pub(crate) fn add(rows: &mut SortBuffer, detection: &Detection) -> io::Result<()> {
    let session = match (detection.subject, &detection.evidence[..]) {
        (Subject::Record, [proof]) => SessionRef::Record(proof.source),
        _ => SessionRef::Session(detection.session),
    };
    let row = DetectionRow {
        time: detection.time,
        rule: detection.rule,
        host: Cow::Borrowed(&detection.host),
        user: Cow::Borrowed(&detection.user),
        session,
        subject: detection.subject,
        matched: Cow::Borrowed(&detection.matched),
        evidence: Cow::Borrowed(&detection.evidence),
    };
    rows.push(|key| order(key, detection), &row)
}

/// Calls `each` with every detection and the session it is in, in the order of rows. Detections on
/// copies of records are left out.
///
/// # Errors
/// When the rows cannot be read back, and what `each` returns.
pub(crate) fn each(
    detections: &SortedRows,
    copies: &Copies,
    sessions: &BTreeMap<RecordRef, SessionIdx>,
    mut each: impl FnMut(&DetectionRow<'_>, Option<SessionIdx>) -> io::Result<()>,
) -> io::Result<()> {
    for frame in detections.rows()? {
        let frame = frame?;
        let row: DetectionRow<'_> =
            postcard::from_bytes(frame.content()).map_err(io::Error::other)?;
        let session = match row.session {
            SessionRef::Record(source) if copies.contains(source) => continue,
            SessionRef::Record(source) => sessions.get(&source).copied(),
            SessionRef::Session(session) => session,
        };
        each(&row, session)?;
    }
    Ok(())
}

/// The order of rows: time, host, rule, what it fired on, its records. It is total.
fn order(key: &mut Vec<u8>, detection: &Detection) {
    push_time(key, detection.time);
    key.extend(detection.host.bytes());
    key.push(0);
    key.extend((detection.rule.index() as u64).to_be_bytes());
    key.push(detection.subject as u8);
    detection.evidence.iter().for_each(|proof| push_place(key, proof.source));
}
