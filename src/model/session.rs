//! Remoting sessions and what belongs to them, each with the records it rests on.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ps_layers::Unwrapped;

use super::{
    AccountName, Auth, CommandIdx, Completeness, ConfidenceReason, Consequences, Covered, EventIdx,
    HostName, LoggedId, Missing, SessionIdx, ShellKind, SourceBasis, Tool, Transport, Weighed,
};

/// How a session's end is known, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndKind {
    /// 403 with `ServerRemoteHost`.
    EngineStopped,
    /// The host process exited (4689, Sysmon 5).
    ProcessExited,
    /// The session's logon ended (4634).
    Logoff,
    /// The client closed it (WinRM 8, 33, 16).
    ClientClosed,
    /// Nothing says so: the last event seen.
    LastEvent,
}

impl EndKind {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            EndKind::EngineStopped => "engine_stopped",
            EndKind::ProcessExited => "process_exited",
            EndKind::Logoff => "logoff",
            EndKind::ClientClosed => "client_closed",
            EndKind::LastEvent => "last_event",
        }
    }
}

/// How far a session's links can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// One end only, with no key to tie its records.
    Low,
    /// The target alone, its records tied by keys; or both ends with no such key.
    Medium,
    /// Both ends, the target's records tied by keys.
    High,
}

impl Confidence {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        }
    }
}

/// What a session's endpoint is for, by the name of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKind {
    /// Windows PowerShell's own.
    Default,
    /// The same for 32-bit processes.
    ThirtyTwoBit,
    /// PowerShell Workflow's.
    Workflow,
    /// Server Manager's.
    ServerManager,
    /// Exchange's.
    Exchange,
    /// Windows Admin Center's.
    AdminCenter,
    /// PowerShell 7's.
    PowerShell7,
    /// A custom one that runs as a virtual account: JEA as a rule.
    CustomVirtualAccount,
    /// Another custom one.
    Custom,
}

impl EndpointKind {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            EndpointKind::Default => "default",
            EndpointKind::ThirtyTwoBit => "32bit",
            EndpointKind::Workflow => "workflow",
            EndpointKind::ServerManager => "server_manager",
            EndpointKind::Exchange => "exchange",
            EndpointKind::AdminCenter => "admin_center",
            EndpointKind::PowerShell7 => "powershell7",
            EndpointKind::CustomVirtualAccount => "custom_virtual_account",
            EndpointKind::Custom => "custom",
        }
    }
}

/// Which logs a session was seen in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sides {
    /// The client's.
    pub client: bool,
    /// The target's.
    pub server: bool,
    /// A domain controller's.
    pub dc: bool,
}

impl Sides {
    /// The words that outputs use, in a fixed order.
    pub fn names(self) -> Vec<&'static str> {
        [(self.client, "client"), (self.server, "server"), (self.dc, "dc")]
            .into_iter()
            .filter_map(|(seen, name)| seen.then_some(name))
            .collect()
    }
}

/// Why a record belongs to a session, the strongest first: by a key, then by time and what agrees
/// besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// Key: the session begins with it, there is nothing to tie it to.
    Own,
    /// Key: it is of a process of the session, by process id within its lifetime.
    Process,
    /// Key: it names the HostId of the session's engine.
    HostId,
    /// Key: it names a RunspaceId of the session.
    Runspace,
    /// Key: it is of the traffic of the session's runspace pool or shell, by its id.
    Pool,
    /// Key: it names the logon id that the session's host process runs in.
    Logon,
    /// Key: it has the ActivityID of the session's shell or of the client's connection.
    Activity,
    /// Time: the target that the client named is this host.
    Target,
    /// Time: it is of the client's connection (ActivityID or process), whose target is this host.
    Connection,
    /// Time: kind and account agree.
    Account,
    /// Time: it has the command line of a process of the session.
    CommandLine,
    /// Time: a text names what it tells of.
    Text,
    /// Time: it names the source that the session has by better evidence.
    Source,
}

impl Link {
    /// All of them.
    const ALL: [Link; 13] = [
        Link::Own,
        Link::Process,
        Link::HostId,
        Link::Runspace,
        Link::Pool,
        Link::Logon,
        Link::Activity,
        Link::Target,
        Link::Connection,
        Link::Account,
        Link::CommandLine,
        Link::Text,
        Link::Source,
    ];

    /// Reads the words that outputs use.
    pub fn parse(words: &str) -> Option<Link> {
        Link::ALL.into_iter().find(|link| link.as_str() == words)
    }

    /// Whether it is a key, not time and names only.
    pub fn is_key(self) -> bool {
        self <= Link::Activity
    }

    /// The word for what it is: `key` or `time`.
    pub fn strength(self) -> &'static str {
        if self.is_key() { "key" } else { "time" }
    }

    /// The words that outputs use: its strength and what agrees.
    pub fn as_str(self) -> &'static str {
        match self {
            Link::Own => "key: own record",
            Link::Process => "key: process",
            Link::HostId => "key: host id",
            Link::Runspace => "key: runspace",
            Link::Pool => "key: runspace pool",
            Link::Logon => "key: logon id",
            Link::Activity => "key: activity id",
            Link::Target => "time: target",
            Link::Connection => "time: connection",
            Link::Account => "time: account",
            Link::CommandLine => "time: command line",
            Link::Text => "time: text",
            Link::Source => "time: source",
        }
    }
}

/// A record a session rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Index of its event in the case's events.
    pub event: EventIdx,
    /// Why it belongs.
    pub link: Link,
}

/// A host's clock, learnt from what it and others log of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// How far it is ahead of the middle one of the hosts it was compared with.
    pub offset: TimeDelta,
    /// The pairs of records that say so, at most with one other host.
    pub pairs: usize,
}

impl Clock {
    /// A time of this clock by the others'.
    pub fn correct(self, time: DateTime<Utc>) -> DateTime<Utc> {
        time - self.offset
    }

    /// The offset in seconds, to the millisecond.
    pub fn seconds(self) -> f64 {
        self.offset.num_milliseconds() as f64 / 1000.0
    }
}

/// A host whose records were read.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its full name as far as known, lower case: what events name it by.
    pub full_name: HostName,
    /// Its name, as its records spell it.
    pub name: HostName,
    /// Its addresses, as far as its connections tell.
    pub addresses: Vec<String>,
    /// Its clock, where others can be compared with it.
    pub clock: Option<Clock>,
}

/// A PowerShell Remoting or winrs session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its shell, host process or engine on the target, whichever is logged first, or the
    /// client's first record where only that was seen; UTC.
    pub start: DateTime<Utc>,
    /// End, UTC, as `end_kind` knows it.
    pub end: DateTime<Utc>,
    /// How the end is known.
    pub end_kind: EndKind,
    /// The client's name, when some record gives it.
    pub source_host: Option<HostName>,
    /// The client's address, when some record gives it.
    pub source_ip: Option<String>,
    /// What the source rests on.
    pub source_basis: SourceBasis,
    /// How the source was found, and who else was named.
    pub weighed: Weighed,
    /// The target: the logging host's name, or the name the client used.
    pub target_host: HostName,
    /// The account, as logged.
    pub user: Option<AccountName>,
    /// Its SID.
    pub user_sid: Option<String>,
    /// How it was authenticated.
    pub auth: Auth,
    /// What it travelled over.
    pub transport: Transport,
    /// What it was for.
    pub kind: ShellKind,
    /// The session configuration; empty when not known.
    pub configuration: String,
    /// EngineVersion of its PowerShell engine; empty when not known.
    pub engine_version: String,
    /// Logon ids on the target, the host process's own first.
    pub logon_ids: Vec<u64>,
    /// The host process (wsmprovhost, winrshost) on the target.
    pub process_id: Option<u32>,
    /// When that process started and exited, as far as logged; UTC.
    pub process_life: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    /// RunspaceIds on the target.
    pub runspace_ids: Vec<LoggedId>,
    /// The session that it was started from, and how that is known: a second hop.
    pub parent: Option<(SessionIdx, Link)>,
    /// What is known of the clock that its times are by.
    pub clock: Option<Clock>,
    /// Which sides were seen.
    pub sides: Sides,
    /// How far the links can be trusted.
    pub confidence: Confidence,
    /// Why no more and no less.
    pub confidence_reasons: Vec<ConfidenceReason>,
    /// What made it, where that is sure.
    pub tool: Option<Tool>,
    /// What its endpoint is for, where that is known.
    pub endpoint_kind: Option<EndpointKind>,
    /// The records that one expects of it and that are not there.
    pub missing: Vec<Missing>,
    /// How much of its time each of the target's logs covers.
    pub covered: Vec<Covered>,
    /// The records it rests on, in the case's order.
    pub evidence: Vec<Evidence>,
    /// Which records of commands there are in it, and what is not known for want of others.
    pub command_completeness: String,
}

/// What a row of the ledger is to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Typed by the session's user, or sent by their script: the session's own words.
    Typed,
    /// Run by something else of the ledger: a function, a script, a child's own commands.
    Called,
    /// What PowerShell runs by itself.
    Engine,
    /// A process.
    Process,
}

impl Role {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Typed => "typed",
            Role::Called => "called",
            Role::Engine => "engine",
            Role::Process => "process",
        }
    }
}

/// One thing that was run in a session, with all records that tell of it.
#[derive(Debug, Clone)]
pub struct Command {
    /// When its first record was logged, UTC.
    pub time: DateTime<Utc>,
    /// Index of its session.
    pub session: SessionIdx,
    /// Indexes of its events in the case's events, best first; the text is the first one's.
    pub events: Vec<EventIdx>,
    /// How the events were put together.
    pub link: Link,
    /// What it is to its session.
    pub role: Role,
    /// Index of the command that ran it, and how that is known.
    pub parent: Option<(CommandIdx, Link)>,
    /// RunspaceId, where it is known.
    pub runspace_id: Option<LoggedId>,
    /// PipelineId, a number; in the traffic a GUID. Empty when not known.
    pub pipeline_id: String,
    /// The text as logged: of a script block where there is one.
    pub text: String,
    /// What the text hides, layer by layer; where it hides nothing, what it invoked does.
    pub hidden: Arc<Unwrapped>,
    /// The commands that it invoked with the parameters as bound, in order, where the text is
    /// not made of them.
    pub invocations: Vec<String>,
    /// What of it the records hold.
    pub completeness: Completeness,
    /// What remoting's own traffic shows of it, where that was logged.
    pub heard: Option<Box<Heard>>,
    /// How far below the session's host process it ran or, for a process, lies: 0 in it, 1 in
    /// its child.
    pub depth: u32,
}

impl Command {
    /// The event that tells most of it.
    pub fn event(&self) -> EventIdx {
        self.events[0]
    }

    /// The text with all layers off, where it hides something.
    pub fn bare(&self) -> Option<&str> {
        self.hidden.layers.last().map(|layer| layer.text.as_str())
    }
}

/// What remoting's traffic shows of a command: what came back, and what it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// The pipeline's id, in SOAP the CommandId.
    pub id: String,
    /// What was shown, asked and answered, in the order in which it was sent.
    pub lines: Vec<Line>,
    /// The state told last: `Completed`, `Failed`, `Stopped` ...; empty where none was seen.
    pub state: String,
    /// When that was logged, UTC.
    pub ended: Option<DateTime<Utc>>,
    /// What of it is missing, a sentence each.
    pub gaps: Vec<String>,
}

impl Heard {
    /// The texts of some kinds, a line each, until they are longer than `most` characters; and
    /// whether that left some out.
    pub fn text(&self, wanted: impl Fn(Stream) -> bool, most: usize) -> (String, bool) {
        let mut text = String::new();
        let mut room = most;
        for line in self.lines.iter().filter(|line| wanted(line.stream)) {
            if !text.is_empty() {
                text.push('\n');
            }
            match line.text.char_indices().nth(room) {
                Some((end, _)) => {
                    text.push_str(&line.text[..end]);
                    return (text, true);
                }
                None => text.push_str(&line.text),
            }
            room -= line.text.chars().count();
        }
        (text, false)
    }
}

/// One text of a command's traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was logged, UTC.
    pub time: DateTime<Utc>,
    /// What it is.
    pub stream: Stream,
    /// The text, of one line or several.
    pub text: String,
}

/// What a text of a command's traffic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// What went in.
    Input,
    /// An object that came out.
    Output,
    /// What was written to the caller's screen, and what the caller was asked and answered.
    Host,
    /// An error.
    Error,
    /// A warning.
    Warning,
    /// A verbose message.
    Verbose,
    /// A debug message.
    Debug,
    /// An information record.
    Information,
    /// The last word of an activity's progress.
    Progress,
}

impl Stream {
    /// Whether the caller's screen shows it by default, errors aside.
    pub fn is_output(self) -> bool {
        matches!(self, Stream::Output | Stream::Host | Stream::Warning)
    }

    /// What stands before it in a transcript; nothing for what came out.
    pub fn label(self) -> &'static str {
        match self {
            Stream::Output | Stream::Host => "",
            Stream::Input => "INPUT: ",
            Stream::Error => "ERROR: ",
            Stream::Warning => "WARNING: ",
            Stream::Verbose => "VERBOSE: ",
            Stream::Debug => "DEBUG: ",
            Stream::Information => "INFORMATION: ",
            Stream::Progress => "PROGRESS: ",
        }
    }
}

/// A script block, put together from its 4104 records.
#[derive(Debug, Clone)]
pub struct ScriptBlock {
    /// ScriptBlockId; none where a record has none.
    pub id: Option<LoggedId>,
    /// The logging host.
    pub host: HostName,
    /// The text; a missing part is marked in its place.
    pub text: String,
    /// What the text hides, layer by layer.
    pub hidden: Arc<Unwrapped>,
    /// The script's path; empty for a block typed or sent.
    pub path: String,
    /// The parts seen.
    pub parts: u32,
    /// The parts there are.
    pub total: u32,
    /// The parts not seen, each from and to; in order.
    pub missing: Vec<(u32, u32)>,
    /// Index of the session it ran in.
    pub session: Option<SessionIdx>,
    /// Indexes of its events, by part.
    pub events: Vec<EventIdx>,
}

impl ScriptBlock {
    /// Whether no part is missing.
    pub fn complete(&self) -> bool {
        self.parts == self.total
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureReason {
    /// The caller was known and refused (error 5).
    AccessDenied,
    /// The credentials were wrong.
    BadCredentials,
    /// No answer from the target.
    Unreachable,
    /// The target's service refused (WinRM 192).
    NotAuthorised,
    /// Another reason.
    Other,
}

impl FailureReason {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureReason::AccessDenied => "access_denied",
            FailureReason::BadCredentials => "bad_credentials",
            FailureReason::Unreachable => "unreachable",
            FailureReason::NotAuthorised => "not_authorised",
            FailureReason::Other => "other",
        }
    }
}

/// An attempt that made no session.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// When, UTC.
    pub time: DateTime<Utc>,
    /// The client; empty where only the target tells.
    pub source_host: HostName,
    /// The client's address, where the logs tell it.
    pub source_ip: Option<String>,
    /// The target as the client named it, or as it named itself in its own log.
    pub target_host: HostName,
    /// Who tried.
    pub user: Option<AccountName>,
    /// The SID of who tried.
    pub user_sid: Option<String>,
    /// Why it failed.
    pub reason: FailureReason,
    /// The error code, when one was logged.
    pub error_code: Option<u32>,
    /// Index of the session that the same source or account had on the target soon after.
    pub later: Option<SessionIdx>,
    /// Which sides were seen.
    pub sides: Sides,
    /// Indexes of its events.
    pub events: Vec<EventIdx>,
}

impl Session {
    /// The consequences of its authentication and transport.
    pub fn consequences(&self) -> Consequences {
        Consequences::new(self.auth, self.transport)
    }

    /// Whether the account is one of the target's own, not a domain's.
    pub fn local_account(&self) -> bool {
        let target = self.target_host.short_name();
        self.user.as_ref().is_some_and(|user| user.domain.eq_ignore_ascii_case(target))
    }
}

/// A session's id as outputs write it: `S0001`, by start.
pub(crate) fn session_id(session: SessionIdx) -> String {
    format!("S{:04}", session.index() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(auth: Auth, transport: Transport) -> Session {
        Session {
            start: DateTime::UNIX_EPOCH,
            end: DateTime::UNIX_EPOCH,
            end_kind: EndKind::LastEvent,
            source_host: None,
            source_ip: None,
            source_basis: SourceBasis::Nothing,
            weighed: Weighed::default(),
            target_host: "srv.corp".into(),
            user: AccountName::parse(r"SRV\bob"),
            user_sid: None,
            auth,
            transport,
            kind: ShellKind::PowerShell,
            configuration: String::new(),
            engine_version: String::new(),
            logon_ids: Vec::new(),
            process_id: None,
            process_life: (None, None),
            runspace_ids: Vec::new(),
            parent: None,
            clock: None,
            sides: Sides::default(),
            confidence: Confidence::Low,
            confidence_reasons: Vec::new(),
            tool: None,
            endpoint_kind: None,
            missing: Vec::new(),
            covered: Vec::new(),
            evidence: Vec::new(),
            command_completeness: String::new(),
        }
    }

    #[test]
    fn an_account_of_the_target_is_local() {
        assert!(session(Auth::Ntlm, Transport::Http).local_account());
    }
}
