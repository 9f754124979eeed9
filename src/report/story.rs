//! `sessions.jsonl`: all that is known of each session, one to a line, as `psr-forensics explain`
//! reads it again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The file's name.
pub const FILE: &str = "sessions.jsonl";

/// The version of this form of the file.
pub const FORMAT: u32 = 1;

/// Where a record lies: enough to find its bytes again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pointer {
    /// The file it was read from.
    pub file: String,
    /// System/EventRecordID.
    pub record_id: u64,
    /// Where the record begins in the file, in bytes.
    pub offset: u64,
    /// The number in the record's own header.
    pub record_number: u64,
}

/// A session with all that is known of it. Times are UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// The form of this line.
    pub format: u32,
    /// Its name in all files of the run.
    pub session_id: String,
    /// Its start, by the clock of the host that logged it.
    pub start_time: DateTime<Utc>,
    /// Its end, as far as known.
    pub end_time: DateTime<Utc>,
    /// How the end is known.
    pub end_kind: String,
    /// Its start by the clocks of most hosts, where that clock could be compared.
    pub start_corrected: Option<DateTime<Utc>>,
    /// Its end by the same.
    pub end_corrected: Option<DateTime<Utc>>,
    /// Who it was from.
    pub source_host: Option<String>,
    /// Its address.
    pub source_ip: Option<String>,
    /// The target.
    pub target_host: String,
    /// The account on the target, as logged.
    pub user: Option<String>,
    /// Its SID.
    pub user_sid: Option<String>,
    /// How it was authenticated.
    pub auth: String,
    /// What it travelled over.
    pub transport: String,
    /// What it was for.
    pub kind: String,
    /// The session configuration.
    pub configuration: String,
    /// What that is for.
    pub endpoint_kind: String,
    /// EngineVersion of its PowerShell engine.
    pub engine_version: String,
    /// What made it, where that is sure.
    pub tool: Option<Tool>,
    /// Logon ids on the target, the host process's own first.
    pub logon_ids: Vec<String>,
    /// The host process on the target.
    pub process: Option<Process>,
    /// RunspaceIds on the target.
    pub runspace_ids: Vec<String>,
    /// What follows from how it was authenticated and carried.
    pub consequences: Consequences,
    /// The session that it was started from.
    pub parent: Option<Parent>,
    /// The sessions that were started from it.
    pub children: Vec<String>,
    /// Whose logs show it.
    pub evidence_sides: Vec<String>,
    /// How far it can be trusted.
    pub confidence: Confidence,
    /// How its source was found.
    pub source: Source,
    /// The records that one expects and that are not there.
    pub missing: Vec<Missing>,
    /// How much of its time each of the target's logs covers.
    #[serde(default)]
    pub log_coverage: Vec<Covered>,
    /// The logs to collect next.
    pub collect: Vec<Collect>,
    /// What the records say, in order.
    pub statements: Vec<Statement>,
    /// What was run, in order.
    pub commands: Vec<Command>,
    /// The rules that fired in it, most severe first.
    pub detections: Vec<Detection>,
}

/// What made a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What shows it.
    pub basis: String,
    /// The record that shows it.
    pub evidence: Pointer,
}

/// The host process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub id: u32,
    /// When it started, if that was logged.
    pub start: Option<DateTime<Utc>>,
    /// When it exited, if that was logged.
    pub end: Option<DateTime<Utc>>,
}

/// What follows from authentication and transport.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Consequences {
    /// What encrypted its messages.
    pub message_encryption: String,
    /// Whether the client could be sure of the target.
    pub server_identity_proven: String,
    /// Whether the target could take the caller's credentials.
    pub credential_exposed: String,
    /// Whether the caller's identity could go on to a next host.
    pub second_hop: String,
}

/// The session that one was started from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parent {
    /// Its name.
    pub session_id: String,
    /// How that is known.
    pub link: String,
}

/// How far a session can be trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// `high`, `medium` or `low`.
    pub level: String,
    /// What speaks for it.
    pub reasons: Vec<String>,
    /// What speaks against it.
    pub against: Vec<String>,
}

/// How a source was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The best evidence for it, or that nothing decides.
    pub basis: String,
    /// The hint that decided.
    pub winner: Option<Hint>,
    /// Hints that agree with it.
    pub agreeing: Vec<Hint>,
    /// Hints that name another.
    pub rivals: Vec<Rival>,
}

/// What one kind of evidence names as the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hint {
    /// The kind of evidence.
    pub basis: String,
    /// The host it names.
    pub host: Option<String>,
    /// The address it names.
    pub ip: Option<String>,
    /// How many records say so.
    pub records: usize,
    /// The one nearest to the session's start.
    pub evidence: Pointer,
}

/// A hint that was not followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rival {
    /// What it names.
    #[serde(flatten)]
    pub hint: Hint,
    /// Why it was not followed.
    pub why: String,
}

/// A kind of record that one expects and that is not there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    /// Whose log it would be in.
    pub side: String,
    /// The host, as far as known.
    pub host: String,
    /// The channel.
    pub channel: String,
    /// The event ids, any of which would do.
    pub event_ids: Vec<u32>,
    /// What it would say.
    pub tells: String,
    /// Why it is not there, in a word.
    pub why: String,
    /// The same in a sentence.
    pub reason: String,
}

/// How much of a session's time a log covers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Covered {
    /// The channel.
    pub channel: String,
    /// Whole percent; none where the log is not at hand.
    pub percent: Option<u8>,
}

/// A log to collect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Collect {
    /// The host, as far as known.
    pub host: String,
    /// The channel.
    pub channel: String,
    /// From when on.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: DateTime<Utc>,
}

/// What a record of the session says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// When it was logged, by its host's clock.
    pub time: DateTime<Utc>,
    /// The same by the clocks of most hosts, where that clock could be compared.
    pub corrected: Option<DateTime<Utc>>,
    /// The host that logged it.
    pub host: String,
    /// `target`, `client` or `other`.
    pub side: String,
    /// The channel.
    pub channel: String,
    /// The event id.
    pub event_id: u32,
    /// What it is, in this program's words.
    pub kind: String,
    /// What it says.
    pub text: String,
    /// What ties it to the session.
    pub link: String,
    /// The same with the ids or times that agree.
    pub why: String,
    /// The record.
    pub evidence: Pointer,
}

/// What was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// When it was logged.
    pub time: DateTime<Utc>,
    /// Its id in commands.csv.
    pub command_id: String,
    /// typed, called, engine or process.
    pub role: String,
    /// The id of the command that ran it.
    pub parent: Option<String>,
    /// How far below the host process it ran.
    pub depth: u32,
    /// The event that its text is of.
    pub source_event: u32,
    /// What was run, decoded where it was encoded.
    pub text: String,
    /// The text as logged, where `text` is decoded.
    pub original: Option<String>,
    /// The commands that it invoked with the parameters as bound, where the text is not made of
    /// them.
    pub invocations: Vec<String>,
    /// What of it the records hold.
    pub completeness: String,
    /// What came back, where the Analytic logs hold it.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// Its records, best first.
    pub evidence: Vec<Pointer>,
}

/// What came back of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What the caller saw, at most 4,000 characters.
    pub output: String,
    /// The errors, at most 4,000 characters.
    pub errors: String,
    /// How it ended; empty where that was not seen.
    pub state: String,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// What of its traffic is not there.
    pub missing: Vec<String>,
}

/// A rule that fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The rule's level.
    pub level: String,
    /// Its title.
    pub title: String,
    /// Its id.
    pub rule_id: String,
    /// How often it fired.
    pub count: usize,
}
