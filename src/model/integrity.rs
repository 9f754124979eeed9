//! Signs that a log is not as the event log service wrote it, or that the service was hindered.

use chrono::{DateTime, Utc};

use super::{Channel, HostName, InputIdx, Level, Proof};

/// What a sign is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignKind {
    /// A hole in EventRecordID that nothing harmless is known to explain.
    MissingRecords,
    /// The log was cleared (1102, 104).
    Cleared,
    /// A record is older than the one before it.
    TimeBackwards,
    /// The event log service stopped (Security 1100, System 6006).
    ServiceStopped,
    /// Audit events were dropped (Security 1101).
    EventsDropped,
    /// The Security log was full (Security 1104).
    LogFull,
    /// An event could not be written (Security 1108).
    LoggingError,
    /// What is audited was changed (Security 4715, 4719, 4906, 4912).
    PolicyChanged,
    /// The file's header is damaged.
    FileHeader,
    /// The file's header does not agree with its chunks.
    HeaderDisagrees,
    /// A chunk's checksum is wrong.
    ChunkChecksum,
    /// Chunks or records could not be read.
    Unreadable,
    /// Chunks do not follow each other.
    ChunkOrder,
    /// Two chunks have records of the same numbers.
    ChunkRepeated,
    /// Records between two chunks are missing, by the numbers in their headers.
    ChunkMissing,
    /// The file was not closed.
    Dirty,
    /// The log went round: its oldest records were overwritten.
    Wrapped,
}

impl SignKind {
    /// All kinds.
    pub const ALL: [SignKind; 17] = [
        SignKind::MissingRecords,
        SignKind::Cleared,
        SignKind::TimeBackwards,
        SignKind::ServiceStopped,
        SignKind::EventsDropped,
        SignKind::LogFull,
        SignKind::LoggingError,
        SignKind::PolicyChanged,
        SignKind::FileHeader,
        SignKind::HeaderDisagrees,
        SignKind::ChunkChecksum,
        SignKind::Unreadable,
        SignKind::ChunkOrder,
        SignKind::ChunkRepeated,
        SignKind::ChunkMissing,
        SignKind::Dirty,
        SignKind::Wrapped,
    ];

    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            SignKind::MissingRecords => "missing_records",
            SignKind::Cleared => "cleared",
            SignKind::TimeBackwards => "time_backwards",
            SignKind::ServiceStopped => "service_stopped",
            SignKind::EventsDropped => "events_dropped",
            SignKind::LogFull => "log_full",
            SignKind::LoggingError => "logging_error",
            SignKind::PolicyChanged => "policy_changed",
            SignKind::FileHeader => "file_header",
            SignKind::HeaderDisagrees => "header_disagrees",
            SignKind::ChunkChecksum => "chunk_checksum",
            SignKind::Unreadable => "unreadable",
            SignKind::ChunkOrder => "chunk_order",
            SignKind::ChunkRepeated => "chunk_repeated",
            SignKind::ChunkMissing => "chunk_missing",
            SignKind::Dirty => "dirty",
            SignKind::Wrapped => "wrapped",
        }
    }

    /// Whether it is of a file, whatever its records say.
    pub fn is_of_file(self) -> bool {
        self >= SignKind::FileHeader
    }

    /// What it may mean, if it is no accident.
    pub fn may_mean(self) -> &'static str {
        match self {
            SignKind::MissingRecords => "records were taken out of the log",
            SignKind::Cleared => "somebody wanted what was in it gone",
            SignKind::TimeBackwards => {
                "the clock was set back to give what follows another time, or records were put in"
            }
            SignKind::ServiceStopped => {
                "logging was stopped to do something unseen: what happened until the next record is \
                 in no log of the host"
            }
            SignKind::EventsDropped => "the host was flooded to lose records, or cut off",
            SignKind::LogFull => "nothing more was logged until it was emptied",
            SignKind::LoggingError => "the audit subsystem was tampered with",
            SignKind::PolicyChanged => "what an intruder would do next is no longer logged",
            SignKind::FileHeader | SignKind::HeaderDisagrees => {
                "the file was edited, or put together from parts"
            }
            SignKind::ChunkChecksum => "records were changed in the file",
            SignKind::Unreadable => "the file was damaged to hide what it held",
            SignKind::ChunkOrder | SignKind::ChunkRepeated => {
                "chunks of another log or time were put in"
            }
            SignKind::ChunkMissing => "whole chunks were taken out of the file",
            SignKind::Dirty => "nothing by itself; the last records may not be in it",
            SignKind::Wrapped => "the log was flooded to have older records overwritten",
        }
    }

    /// What else makes it.
    pub fn harmless_if(self) -> &'static str {
        match self {
            SignKind::MissingRecords => {
                "the log was copied while it was overwritten, or an export left out what is rare"
            }
            SignKind::Cleared => {
                "an administrator, an installer or the making of an image cleared it"
            }
            SignKind::TimeBackwards => {
                "the clock was corrected (System 1, Security 4616), the machine was resumed or put \
                 back to a snapshot"
            }
            SignKind::ServiceStopped => "the machine was shut down or started anew, as each one is",
            SignKind::EventsDropped => "power was lost, or the host was very busy",
            SignKind::LogFull => "the log is small and kept by policy",
            SignKind::LoggingError => "a driver or program sent an event that cannot be rendered",
            SignKind::PolicyChanged => "Group Policy or an administrator set it",
            SignKind::FileHeader | SignKind::HeaderDisagrees => {
                "a live file was copied, a tool carved it, or the disk is damaged"
            }
            SignKind::ChunkChecksum => {
                "a live file was copied while a chunk was written, or the disk or the copy is damaged"
            }
            SignKind::Unreadable => "the copy was cut short, or the disk is damaged",
            SignKind::ChunkOrder | SignKind::ChunkRepeated | SignKind::ChunkMissing => {
                "a live file was copied while it was written, or a tool carved it"
            }
            SignKind::Dirty => "the log was copied from a running machine, as most are",
            SignKind::Wrapped => "the log is smaller than what the host logs, as most are",
        }
    }
}

/// A sign, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSign {
    /// What it is.
    pub kind: SignKind,
    /// How much it weighs by itself.
    pub level: Level,
    /// The host, as its records spell it; empty where the file is of none or of several.
    pub host: HostName,
    /// The channel; `Other` where the file is of several.
    pub channel: Channel,
    /// From when to when it concerns the log, UTC; none where no record tells.
    pub span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// How many there are: records missing, records of the kind, chunks.
    pub count: u64,
    /// Whether something harmless is known to explain it; none where what would tell is not there.
    pub explained: Option<bool>,
    /// What was seen, in words.
    pub what: String,
    /// Index of the input; none where it is of a log in several.
    pub input: Option<InputIdx>,
    /// Records that show it, the first of many.
    pub evidence: Vec<Proof>,
}
