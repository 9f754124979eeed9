//! The true events, and which of them the remaining logs still show: `truth.json`.

use serde::{Deserialize, Serialize};

/// Whether the remaining logs show a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FactEvidence {
    /// They show it. A program that reports nothing misses it.
    Yes,
    /// They do not show it. A program that reports something guesses.
    No,
    /// It is a matter of interpretation. Neither answer counts.
    Unclear,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// The true values. Each entry of the list counts as right.
    pub value: Vec<String>,
    /// Whether the logs show it.
    pub evidence: FactEvidence,
}

/// A point in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// In true time, UTC.
    pub actual: String,
    /// The time in the log that shows it best, by that machine's clock.
    pub logged: Option<String>,
    /// Whether the logs show it.
    pub evidence: FactEvidence,
}

/// Whether a program that reads the logs should show something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedResult {
    /// It should.
    Yes,
    /// The logs do not show it: nothing to find.
    No,
    /// The logs hint at it: found or not, neither counts.
    Optional,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostTruth {
    /// Its full name.
    pub name: String,
    /// Its address.
    pub ip: String,
    /// Its clock's time minus the true time, in seconds.
    pub clock_offset_seconds: f64,
    /// The name of its logging policy.
    pub policy: String,
    /// Whether its logs are there.
    pub collected: bool,
}

/// Something run in a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunTruth {
    /// The text, or the child process's command line.
    pub text: String,
    /// A word that stands in all records of it and of nothing else.
    pub token: String,
    /// When, in true time, UTC.
    pub time: String,
    /// The child process's program.
    pub image: Option<String>,
    /// Whether the logs show it.
    pub evidence: FactEvidence,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionTruth {
    /// Its name in this file.
    pub id: String,
    /// The variant that it is an example of.
    pub case: String,
    /// Whether it should be found.
    pub expected: ExpectedResult,
    /// Its start.
    pub start: Moment,
    /// Its end.
    pub end: Moment,
    /// How the end is known.
    pub end_kind: Fact,
    /// The client's short name.
    pub source_host: Fact,
    /// The client's address.
    pub source_ip: Fact,
    /// The target's short name; its address where no log tells the name.
    pub target_host: Fact,
    /// All names of the target.
    pub target_names: Vec<String>,
    /// `DOMAIN\name` of who it ran as.
    pub user: Fact,
    /// The SID.
    pub user_sid: Fact,
    /// The authentication method.
    pub auth: Fact,
    /// The transport.
    pub transport: Fact,
    /// `powershell` or `winrs`.
    pub kind: Fact,
    /// The session configuration.
    pub configuration: Fact,
    /// The id of its own logon on the target.
    pub logon_id: Fact,
    /// The host process on the target.
    pub process_id: Fact,
    /// Its runspaces on the target.
    pub runspace_ids: Fact,
    /// The session that it was started in.
    pub parent: Fact,
    /// The sides whose logs show it: `client`, `server`, `dc`.
    pub sides: Vec<String>,
    /// The commands.
    pub commands: Vec<RunTruth>,
    /// The child processes.
    pub children: Vec<RunTruth>,
}

/// An attempt that made no session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptTruth {
    /// Its name in this file.
    pub id: String,
    /// The variant that it is an example of.
    pub case: String,
    /// Whether it should be found.
    pub expected: ExpectedResult,
    /// When.
    pub time: Moment,
    /// The client's short name.
    pub source_host: Fact,
    /// The client's address.
    pub source_ip: Fact,
    /// The target's short name.
    pub target_host: Fact,
    /// All names of the target.
    pub target_names: Vec<String>,
    /// Who tried.
    pub user: Fact,
    /// Why it failed.
    pub reason: Fact,
    /// The session that the same caller got later.
    pub later_success: Option<String>,
}

/// The truth of a whole fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// The seed it was made from.
    pub seed: u64,
    /// The largest clock error, in seconds.
    pub max_clock_error_seconds: u64,
    /// The machines.
    pub hosts: Vec<HostTruth>,
    /// The sessions, by start.
    pub sessions: Vec<SessionTruth>,
    /// The failed attempts, by time.
    pub attempts: Vec<AttemptTruth>,
}
