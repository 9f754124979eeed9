//! Detections: which rule fired, on what, and which records prove it.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Event, HostName, RecordRef, RuleIdx, SessionIdx};

/// A rule's level, as Sigma names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth knowing, no suspicion.
    Informational,
    /// Notable in numbers or context.
    Low,
    /// To be looked at.
    Medium,
    /// To be looked at now.
    High,
    /// An attack as a rule.
    Critical,
}

impl Level {
    /// All levels, most severe first.
    pub const DESCENDING: [Level; 5] =
        [Level::Critical, Level::High, Level::Medium, Level::Low, Level::Informational];

    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Informational => "informational",
            Level::Low => "low",
            Level::Medium => "medium",
            Level::High => "high",
            Level::Critical => "critical",
        }
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(word: &str) -> Result<Level, String> {
        let known = Level::DESCENDING.into_iter().find(|level| level.as_str() == word);
        known.ok_or_else(|| "a level is informational, low, medium, high or critical".to_owned())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What outputs say of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMeta {
    /// The rule's id, or its file's name where it has none.
    pub id: String,
    /// The rule's title.
    pub title: String,
    /// The rule's level; `informational` where it gives none.
    pub level: Level,
    /// The rule's tags, ATT&CK's among them.
    pub tags: Vec<String>,
    /// The pack it came with.
    pub pack: String,
    /// Its file, as the pack names it.
    pub file: String,
    /// The category of its log source, or else its service or product; `correlation` for a
    /// correlation.
    pub source: String,
}

/// A field that a rule matched, and its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MatchedField {
    /// The field, as the rule names it.
    pub field: String,
    /// The event's value.
    pub value: String,
}

/// What a rule fired on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A log record.
    Record,
    /// A rebuilt session.
    Session,
    /// A command of a session.
    Command,
    /// A script block, put together from its parts.
    ScriptBlock,
    /// A process that a session started.
    ChildProcess,
    /// A failed attempt.
    Attempt,
    /// A text that another hid.
    DecodedLayer,
    /// A place in a log where records are missing.
    LogGap,
    /// A sign that a log is not as it was written.
    LogIntegrity,
    /// Several of these, within a time.
    Correlation,
}

impl Subject {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Subject::Record => "record",
            Subject::Session => "session",
            Subject::Command => "command",
            Subject::ScriptBlock => "script_block",
            Subject::ChildProcess => "child_process",
            Subject::Attempt => "attempt",
            Subject::DecodedLayer => "decoded_layer",
            Subject::LogGap => "log_gap",
            Subject::LogIntegrity => "log_integrity",
            Subject::Correlation => "correlation",
        }
    }
}

/// A rule fired.
#[derive(Debug, Clone)]
pub struct Detection {
    /// Index of the rule in the run's rules.
    pub rule: RuleIdx,
    /// What it fired on.
    pub subject: Subject,
    /// When that was, UTC.
    pub time: DateTime<Utc>,
    /// The host it concerns.
    pub host: HostName,
    /// The account it concerns, as logged.
    pub user: String,
    /// Index of the session it belongs to.
    pub session: Option<SessionIdx>,
    /// What matched.
    pub matched: Vec<MatchedField>,
    /// The records that prove it; of a correlation the one that completed it first, then the others
    /// in order of time.
    pub evidence: Vec<Proof>,
    /// What correlations need to know of it, where one refers to the rule.
    pub(crate) kept: Option<Kept>,
}

/// What correlations need to know of a hit, besides what its detection says.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// The host whose clock its time is by.
    pub logged_by: HostName,
    /// The values that they group or count by.
    pub values: Values<'static>,
}

/// The values that correlations group or count a rule's hits by: one for each of the fields that
/// the rule set keeps of them, in that order.
pub(crate) type Values<'v> = Vec<Option<Value<'v>>>;

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value<'v> {
    #[serde(borrow)]
    Text(Cow<'v, str>),
    Whole(i64),
    Real(f64),
    Truth(bool),
}

/// A record that proves something, as people find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Proof {
    /// Where it lies.
    pub source: RecordRef,
    /// Its System/EventRecordID.
    pub record_id: u64,
}

impl Proof {
    /// The record of an event.
    pub fn of(event: &Event) -> Proof {
        Proof { source: event.source, record_id: event.record_id }
    }
}
