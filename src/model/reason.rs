//! Reasons for the confidence in a session.

use std::borrow::Cow;

use chrono::TimeDelta;

use super::AccountName;

/// A reason why a session can be trusted so far and no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfidenceReason {
    /// The target's logs show its host process from the start.
    HostProcess,
    /// Its records are tied by a host process whose start is not logged.
    HostProcessWithoutStart,
    /// Its engine's records are tied by its ids; no record shows its process.
    EngineOnly,
    /// The target's logs show neither process nor engine.
    NeitherProcessNorEngine,
    /// No log of the target shows it.
    NoTargetLog,
    /// The host process's logon is tied by its logon id.
    LogonId,
    /// Only the client's logs show it.
    ClientOnly,
    /// No log of the client shows it.
    NoClientLog,
    /// The client's log is joined by target and time.
    ClientByTime {
        /// How far apart the two hosts log the start, by corrected clocks.
        apart: TimeDelta,
        /// Whether the two clocks could be compared.
        compared: bool,
    },
    /// The client's log is joined by target and account, and no other fits.
    ClientByAccount,
    /// The client's log shows that it connected to the target then.
    ClientConnected,
    /// A domain controller's log agrees.
    DomainController,
    /// Another client could fit as well.
    AnotherClient,
    /// The traffic names another owner of its shell.
    OtherOwner(AccountName),
    /// Two sources are named alike, so none is given.
    TwoSources,
    /// Its source is the nearer in time of those that are named alike.
    NearerSource,
    /// No record shows its end.
    NoEnd,
}

impl ConfidenceReason {
    /// The reason as a short sentence, as outputs have it.
    pub fn text(&self) -> Cow<'static, str> {
        let text = match self {
            ConfidenceReason::HostProcess => {
                "the target's logs show its host process, and what that did is tied by process id"
            }
            ConfidenceReason::HostProcessWithoutStart => {
                "its records are tied by the id of its host process, whose start is not logged"
            }
            ConfidenceReason::EngineOnly => {
                "its engine's records are tied by HostId and RunspaceId; its process is not logged"
            }
            ConfidenceReason::NeitherProcessNorEngine => {
                "the target's logs show neither its process nor its engine"
            }
            ConfidenceReason::NoTargetLog => "no log of the target shows it",
            ConfidenceReason::LogonId => "the host process's logon is tied by its logon id",
            ConfidenceReason::ClientOnly => "the client's logs show it",
            ConfidenceReason::NoClientLog => "no log of the client shows it",
            ConfidenceReason::ClientByTime { apart, compared } => {
                let seconds = apart.num_milliseconds() as f64 / 1000.0;
                let clocks = if *compared { "clocks compared" } else { "clocks not compared" };
                return Cow::Owned(format!(
                    "the client's log is joined by target and time, {seconds:.1} s apart, {clocks}"
                ));
            }
            ConfidenceReason::ClientByAccount => {
                "the client's log is joined by target and account, which leave no other"
            }
            ConfidenceReason::ClientConnected => {
                "the client's log shows it connect to the target at the time"
            }
            ConfidenceReason::DomainController => "a domain controller's log agrees",
            ConfidenceReason::AnotherClient => {
                "another client could fit as well: only time speaks for this one"
            }
            ConfidenceReason::OtherOwner(account) => {
                return Cow::Owned(format!(
                    "the traffic names another owner of its shell, {account}"
                ));
            }
            ConfidenceReason::TwoSources => "two sources are named alike, so none is given",
            ConfidenceReason::NearerSource => {
                "its source is the nearer in time of those that are named alike"
            }
            ConfidenceReason::NoEnd => "no record tells its end",
        };
        Cow::Borrowed(text)
    }

    /// Whether it is evidence against the session, not for it.
    pub fn is_against(&self) -> bool {
        match self {
            ConfidenceReason::HostProcess
            | ConfidenceReason::HostProcessWithoutStart
            | ConfidenceReason::EngineOnly
            | ConfidenceReason::LogonId
            | ConfidenceReason::ClientOnly
            | ConfidenceReason::ClientByTime { .. }
            | ConfidenceReason::ClientByAccount
            | ConfidenceReason::ClientConnected
            | ConfidenceReason::DomainController => false,
            ConfidenceReason::NeitherProcessNorEngine
            | ConfidenceReason::NoTargetLog
            | ConfidenceReason::NoClientLog
            | ConfidenceReason::AnotherClient
            | ConfidenceReason::OtherOwner(_)
            | ConfidenceReason::TwoSources
            | ConfidenceReason::NearerSource
            | ConfidenceReason::NoEnd => true,
        }
    }
}
