//! What is found about a session besides the session: who else its source could be, which records
//! are missing, what made it, and how far the logs at hand reach.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{AccountName, Channel, EventIdx, HostName, InputIdx, RecordRef};

/// Kinds of evidence for a session's source, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceEvidence {
    /// The address that WinRM 91 has of the caller.
    Shell,
    /// The address in the answer to the request that made the shell.
    Answer,
    /// The address that sshd accepted (OpenSSH 4).
    Ssh,
    /// The client's own WinRM 6.
    Client,
    /// The credentials that the client used (4648).
    Credentials,
    /// The ticket that a domain controller granted (4769).
    Ticket,
    /// A connection to one of WinRM's ports.
    Connection,
    /// NTLM's check by a domain controller (4776).
    Ntlm,
    /// The address of the logon itself (4624).
    Logon,
}

impl SourceEvidence {
    /// The words that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceEvidence::Shell => "winrm 91 clientIP",
            SourceEvidence::Answer => "ClientIP in the traffic",
            SourceEvidence::Ssh => "openssh 4",
            SourceEvidence::Client => "client's winrm 6",
            SourceEvidence::Credentials => "client's 4648",
            SourceEvidence::Ticket => "domain controller's 4769",
            SourceEvidence::Connection => "connection to WinRM's port",
            SourceEvidence::Ntlm => "domain controller's 4776",
            SourceEvidence::Logon => "4624's own address",
        }
    }
}

/// What a session's source rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceBasis {
    /// Nothing names a source.
    #[default]
    Nothing,
    /// Two records of one kind name two sources, and nothing decides.
    Undecided,
    /// The best evidence there is.
    Evidence(SourceEvidence),
}

impl SourceBasis {
    /// The words that outputs use; empty for nothing.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceBasis::Nothing => "",
            SourceBasis::Undecided => "undecided",
            SourceBasis::Evidence(evidence) => evidence.as_str(),
        }
    }
}

/// What one kind of evidence names as a session's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceHint {
    /// The kind of evidence.
    pub basis: SourceEvidence,
    /// The host it names.
    pub host: Option<HostName>,
    /// The address it names.
    pub ip: Option<String>,
    /// Index of its event, the nearest to the session's start where there are several.
    pub event: EventIdx,
    /// How many records of this kind name this source.
    pub records: usize,
}

impl SourceHint {
    /// The host and the address it names, as far as it does.
    pub fn name(&self) -> String {
        match (&self.host, &self.ip) {
            (Some(host), Some(ip)) => format!("{host} ({ip})"),
            (Some(name), None) => name.to_string(),
            (None, Some(ip)) => ip.clone(),
            (None, None) => "no name".to_owned(),
        }
    }
}

/// Why a hint at the source was not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// A better kind of evidence names another source.
    WeakerKind,
    /// The same kind of evidence is nearer to the session's start, by this much more.
    Farther(TimeDelta),
    /// The same kind of evidence, and other kinds agree with the one that was followed only.
    Alone,
    /// The same kind of evidence, as near: nothing decides.
    Undecided,
    /// It is about another account.
    OtherAccount,
    /// It has a session of its own.
    OtherSession,
}

impl Rejected {
    /// The reason, as a phrase.
    pub fn reason(self) -> String {
        match self {
            Rejected::WeakerKind => "a weaker kind of evidence".to_owned(),
            Rejected::Farther(by) => {
                format!("{:.1} s farther from the start", by.num_milliseconds() as f64 / 1000.0)
            }
            Rejected::Alone => "no other kind of evidence agrees".to_owned(),
            Rejected::Undecided => "as near as the other: nothing decides".to_owned(),
            Rejected::OtherAccount => "another account".to_owned(),
            Rejected::OtherSession => "it has a session of its own".to_owned(),
        }
    }
}

/// A hint that was not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// What it names.
    pub hint: SourceHint,
    /// Why it was not followed.
    pub why: Rejected,
}

/// How a session's source was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weighed {
    /// The hint that decided; none where nothing names a source or nothing decides.
    pub winner: Option<SourceHint>,
    /// Hints of the same or other kinds that agree with it.
    pub agreeing: Vec<SourceHint>,
    /// Hints that name another source.
    pub rivals: Vec<Rival>,
}

/// Whose log it is, as a session sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The host that the session is on.
    Target,
    /// The host that it came from.
    Client,
    /// The host that vouched for the caller.
    DomainController,
}

impl Side {
    /// The words that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Target => "target",
            Side::Client => "client",
            Side::DomainController => "domain controller",
        }
    }
}

/// Why a record that one expects is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// No log of this channel and host is among the inputs.
    NotCollected,
    /// The log begins after this time: older records were overwritten, or were not exported.
    RolledOver(DateTime<Utc>),
    /// The log was cleared at this time.
    Cleared(DateTime<Utc>, RecordRef),
    /// Nothing in the log is later than this time.
    EndsBefore(DateTime<Utc>),
    /// The log has records of the time, but none of such an event at any time.
    NotAudited,
    /// The log has records of the time, and such events at other times.
    NotLogged,
    /// The ticket may be hours older than the session.
    Cached,
    /// The run leaves out a part of the time (`--from`, `--to`).
    OutsideWindow,
}

impl Absence {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Absence::NotCollected => "not_collected",
            Absence::RolledOver(_) => "rolled_over",
            Absence::Cleared(..) => "cleared",
            Absence::EndsBefore(_) => "ends_before",
            Absence::NotAudited => "not_audited",
            Absence::NotLogged => "not_logged",
            Absence::Cached => "may_be_cached",
            Absence::OutsideWindow => "outside_window",
        }
    }
}

/// A kind of record that one expects of a session and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Whose log it would be in.
    pub side: Side,
    /// The host, as far as known; else what is known of it.
    pub host: String,
    /// The channel.
    pub channel: Channel,
    /// The event ids, any of which would do.
    pub ids: &'static [u32],
    /// What it would say.
    pub tells: &'static str,
    /// Why it is not there.
    pub why: Absence,
    /// From when to when to look for it, where looking elsewhere can help; UTC, by that host's clock
    /// as far as it is known.
    pub collect: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// How much of a session's time a log of its target covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    /// The channel.
    pub channel: Channel,
    /// The part that is covered, in whole percent, rounded down; none where the log is not at hand.
    pub percent: Option<u8>,
}

/// What made a session, where the records leave no doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The tool's name, or the file name of the program that connected.
    pub name: String,
    /// What shows it.
    pub basis: &'static str,
    /// Index of the event that shows it.
    pub event: EventIdx,
}

/// How far a log at hand reaches: one host's records of one channel in one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The host, as its records spell it.
    pub host: HostName,
    /// The channel.
    pub channel: Channel,
    /// Index of the input.
    pub input: InputIdx,
    /// The earliest record's time and EventRecordID.
    pub first: (DateTime<Utc>, u64),
    /// The latest record's time and EventRecordID.
    pub last: (DateTime<Utc>, u64),
    /// The event ids that are there.
    pub ids: BTreeSet<u32>,
    /// The lowest and the highest EventRecordID.
    pub numbers: [u64; 2],
    /// The holes between them, in order; none where they are many.
    pub gaps: Option<Vec<Gap>>,
    /// The input holds nothing else.
    pub alone: bool,
    /// Records that say something of the logs.
    pub marks: Vec<Mark>,
    /// Where a record is older than the one before it by EventRecordID: that one, and it.
    pub backwards: Vec<[Edge; 2]>,
}

/// A hole in the EventRecordIDs of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The record before it.
    pub before: Edge,
    /// The record after it.
    pub after: Edge,
    /// Records without a hole on each side of it: the smaller number.
    pub around: u64,
}

impl Gap {
    /// How many records are missing.
    pub fn missing(&self) -> u64 {
        self.after.record_id - self.before.record_id - 1
    }

    /// Whether the file is an export: its records' headers have other numbers.
    pub fn renumbered(&self) -> bool {
        [self.before, self.after].iter().any(|edge| edge.source.number != edge.record_id)
    }
}

/// A record beside a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// Its EventRecordID.
    pub record_id: u64,
    /// When it was logged, UTC.
    pub time: DateTime<Utc>,
    /// Its place.
    pub source: RecordRef,
}

/// A record that says something of the log itself, whatever else it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// Its event id.
    pub event_id: u32,
    /// The record.
    pub edge: Edge,
}

/// A hole in a log that nothing harmless is known to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGap {
    /// The host, as its records spell it.
    pub host: HostName,
    /// The channel.
    pub channel: Channel,
    /// The hole.
    pub gap: Gap,
    /// Sessions of the host that lie in it, or in part.
    pub sessions: usize,
}

/// A log was cleared (1102, 104).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clearing {
    /// The host, as its records spell it.
    pub host: HostName,
    /// The channel that was cleared.
    pub channel: Channel,
    /// When, UTC.
    pub time: DateTime<Utc>,
    /// The record that says so.
    pub source: RecordRef,
    /// Its EventRecordID.
    pub record_id: u64,
    /// Who did it.
    pub account: Option<AccountName>,
}
