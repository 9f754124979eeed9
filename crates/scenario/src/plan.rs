//! The plan of a fleet's day: its sessions, failed attempts and lost logs.

use crate::clock::Ticks;

/// How a caller proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    Kerberos,
    Ntlm,
    Basic,
    CredSsp,
    Certificate,
    /// A key or password given to sshd.
    Ssh,
}

impl AuthMethod {
    /// The word of the program's outputs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            AuthMethod::Kerberos => "kerberos",
            AuthMethod::Ntlm => "ntlm",
            AuthMethod::Basic => "basic",
            AuthMethod::CredSsp => "credssp",
            AuthMethod::Certificate => "certificate",
            AuthMethod::Ssh => "ssh",
        }
    }

    /// The word of WinRM's 169 and 1295.
    pub(crate) fn mechanism(self) -> &'static str {
        match self {
            AuthMethod::Kerberos => "Kerberos",
            AuthMethod::Ntlm => "NTLM",
            AuthMethod::Basic => "Basic",
            AuthMethod::CredSsp => "CredSSP",
            AuthMethod::Certificate => "ClientCertificate",
            AuthMethod::Ssh => "",
        }
    }
}

/// The transport of a session, and whether the client's connection string names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionTransport {
    Http,
    /// `http://HOST:5985/...`.
    HttpNamed,
    Https,
    /// `https://HOST:5986/...`.
    HttpsNamed,
    Ssh,
}

impl SessionTransport {
    pub(crate) fn port(self) -> u16 {
        match self {
            SessionTransport::Http | SessionTransport::HttpNamed => 5985,
            SessionTransport::Https | SessionTransport::HttpsNamed => 5986,
            SessionTransport::Ssh => 22,
        }
    }

    /// The word of the program's outputs.
    pub(crate) fn word(self) -> &'static str {
        match self.port() {
            5985 => "http",
            5986 => "https",
            _ => "ssh",
        }
    }
}

/// How the client names the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetNaming {
    Full,
    Short,
    Address,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionKind {
    PowerShell,
    /// PowerShell 7, over WinRM.
    Core,
    Winrs,
    /// PowerShell 7, over SSH.
    Ssh,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionEnding {
    /// It is closed normally.
    Closed,
    /// The host process is ended from outside.
    Killed,
    /// It stays open longer than the logs reach.
    Open,
}

/// The session that another is started in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParentSession {
    pub session: usize,
    /// By a child of its host process, not by the host process itself.
    pub by_child: bool,
}

/// The plan of a session.
#[derive(Debug, Clone)]
pub(crate) struct SessionPlan {
    pub case: &'static str,
    pub start: Ticks,
    pub end: Ticks,
    pub source: usize,
    pub target: usize,
    /// Who sits at the client.
    pub runner: usize,
    /// Who the session runs as.
    pub user: usize,
    pub auth: AuthMethod,
    pub wire: SessionTransport,
    pub called: TargetNaming,
    pub kind: SessionKind,
    pub configuration: &'static str,
    /// The endpoint runs its sessions as an account made for each.
    pub virtual_account: bool,
    /// The ticket was asked for hours ago.
    pub ticket_cached: bool,
    pub ending: SessionEnding,
    /// HTTP connections after the first, each a logon of its own.
    pub connections: u64,
    pub commands: u64,
    pub children: u64,
    pub parent: Option<ParentSession>,
    /// The session in whose logon it runs.
    pub logon_of: Option<usize>,
    /// The session whose process id its host process has again.
    pub process_id_of: Option<usize>,
    /// Others ask for tickets to the target shortly before.
    pub others_tickets: bool,
    /// So does the same account, from another machine. The client's own records say better.
    pub own_ticket_elsewhere: bool,
    /// The same account has files open on the target meanwhile, from elsewhere.
    pub file_shares: bool,
}

/// Why an attempt fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptFailure {
    /// A wrong password, found out by NTLM.
    NtlmPassword,
    /// A wrong password, found out by the domain controller.
    KerberosPassword,
    /// WinRM refuses a caller who is known.
    NotAuthorised,
    /// The client logs the refusal as event 164.
    AccessDenied,
    /// The target does not answer.
    Unreachable,
}

/// The plan of a failed attempt.
#[derive(Debug, Clone)]
pub(crate) struct AttemptPlan {
    pub case: &'static str,
    pub time: Ticks,
    pub source: usize,
    pub target: usize,
    pub user: usize,
    pub called: TargetNaming,
    pub failure: AttemptFailure,
    /// The session that the caller gets later.
    pub success: Option<usize>,
}

/// How a log lost records before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLoss {
    /// Somebody cleared it. Event 1102 or 104 records that.
    Cleared,
    /// It was full and lost its oldest records.
    RolledOver,
}

/// A log of a machine that lost all records before a time.
#[derive(Debug, Clone)]
pub(crate) struct LostLog {
    pub machine: usize,
    pub channel: &'static str,
    pub until: Ticks,
    pub fate: LogLoss,
}

/// The day's plan.
#[derive(Debug, Default)]
pub(crate) struct FleetPlan {
    pub sessions: Vec<SessionPlan>,
    pub failures: Vec<AttemptPlan>,
    pub lost_logs: Vec<LostLog>,
}
