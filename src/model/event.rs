//! Events: what a record means, in the field's own words.

use chrono::{DateTime, Utc};

use super::{AccountName, Auth, HostName, LoggedId, Record, RecordRef, Str};

/// A record that some stage has a use for, typed.
#[derive(Debug, Clone)]
pub struct Event {
    /// Where its record lies.
    pub source: RecordRef,
    /// When it was logged, UTC.
    pub time: DateTime<Utc>,
    /// The logging host (System/Computer), lower case: hosts are compared by it.
    pub host: HostName,
    /// System/Computer as logged.
    pub computer: HostName,
    /// System/Channel as logged.
    pub channel: Str,
    /// System/Provider Name.
    pub provider: Str,
    /// System/EventID.
    pub event_id: u32,
    /// System/EventRecordID.
    pub record_id: u64,
    /// System/Security UserID.
    pub user_sid: Option<Str>,
    /// System/Correlation ActivityID.
    pub activity_id: Option<LoggedId>,
    /// System/Execution ProcessID.
    pub process_id: Option<u32>,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// The event of a record, its kind and its host's lower-case name already told.
    pub fn new(record: &Record, host: HostName, kind: EventKind) -> Event {
        Event {
            source: record.source,
            time: record.time,
            host,
            computer: record.computer.clone().into(),
            channel: record.channel.clone(),
            provider: record.provider.clone(),
            event_id: record.event_id,
            record_id: record.record_id,
            user_sid: record.user_sid.clone(),
            activity_id: record.activity_id.clone(),
            process_id: record.process_id,
            kind,
        }
    }
}

impl Event {
    /// The context it gives of a PowerShell engine.
    pub fn engine(&self) -> Option<&EngineContext> {
        match &self.kind {
            EventKind::Engine(engine) => Some(&engine.context),
            EventKind::Pipeline(pipeline) => Some(&pipeline.context),
            EventKind::Command(command)
            | EventKind::CommandError(command)
            | EventKind::CommandLifecycle(command) => Some(&command.context),
            _ => None,
        }
    }

    /// The account it concerns, as logged; the record's SID where no account is named.
    pub fn user(&self) -> String {
        let account = match &self.kind {
            EventKind::ShellCreated(shell) => shell.account.as_ref(),
            EventKind::Authenticated(caller) => caller.account.as_ref(),
            EventKind::Logon(logon) | EventKind::LogonFailed(logon) => logon.account.as_ref(),
            EventKind::Logoff(logoff) | EventKind::SpecialPrivileges(logoff) => {
                logoff.account.as_ref()
            }
            EventKind::ExplicitCredentials(used) => used.account.as_ref(),
            EventKind::ProcessStart(start) => start.account.as_ref(),
            EventKind::KerberosTicket(ticket) => ticket.account.as_ref(),
            EventKind::NtlmValidation(check) => check.account.as_ref(),
            EventKind::LogCleared(cleared) => cleared.account.as_ref(),
            EventKind::SshAccepted(caller) => caller.account.as_ref(),
            EventKind::ServerSession(session) => session.account.as_ref(),
            _ => None,
        };
        let engine = match &self.kind {
            EventKind::Command(command)
            | EventKind::CommandError(command)
            | EventKind::CommandLifecycle(command) => Some(&command.context.user),
            EventKind::Engine(engine) => Some(&engine.context.user),
            EventKind::Pipeline(pipeline) => Some(&pipeline.context.user),
            _ => None,
        };
        let engine = engine.filter(|user| !user.is_empty()).cloned();
        let sid = || self.user_sid.as_deref().unwrap_or_default().to_owned();
        account.map(AccountName::text).or(engine).unwrap_or_else(sid)
    }
}

/// What an event says.
#[derive(Debug, Clone, Hash)]
pub enum EventKind {
    /// WinRM 6: a client creates a session.
    ClientSession(ClientSession),
    /// WinRM 8, 10, 11, 13, 15, 16, 31, 33, 132, 145: a client's step.
    ClientStep(ClientStep),
    /// WinRM 142, 161, 162, 164: a client's operation or authentication failed.
    ClientFailure(ClientFailure),
    /// WinRM 91: a shell was created on this host.
    ShellCreated(Box<ShellCreated>),
    /// WinRM 81, 82, 134 and 788, 789, 1050: the service handles a request.
    ServerOperation(ServerOperation),
    /// WinRM 169 and 1295: a caller was authenticated.
    Authenticated(Box<Authenticated>),
    /// WinRM 192: a caller was not authorised (error code).
    AuthorizationFailed(Option<u32>),
    /// WinRM 193, 208 to 212, 224, 785, 786, 787, 1293, 1843: the service's own life.
    WinRmService(String),
    /// Classic 400, 403, 600: an engine or provider changes state.
    Engine(Box<Engine>),
    /// Classic 800: pipeline details.
    Pipeline(Box<PipelineDetails>),
    /// PowerShell 4103: a command was invoked.
    Command(Box<CommandInvocation>),
    /// PowerShell 4100: a command failed.
    CommandError(Box<CommandInvocation>),
    /// PowerShell 4104: a part of a script block's text.
    ScriptBlockPart(Box<ScriptBlockPart>),
    /// PowerShell 4105, 4106: a script block starts or stops in a runspace.
    ScriptBlockRun(ScriptBlockRun),
    /// PowerShell 8193 to 8198, 12039: the client's runspace pool.
    ClientRunspace(String),
    /// PowerShell 53504: an engine in this process listens on its named pipe.
    EngineListening(Option<u32>),
    /// PowerShell 7937: a command starts or stops; its name, no parameters.
    CommandLifecycle(Box<CommandInvocation>),
    /// PowerShell 32784, 40961, 40962: other engine events.
    PowerShell(String),
    /// PowerShell 32850: a host process starts to serve a session that came over WinRM.
    ServerSession(Box<ServerSession>),
    /// PowerShell 32867, 32868, WinRM 771, 772, 779, 1026, 1027, 1044: a piece of remoting's
    /// traffic, in short.
    Traffic(String),
    /// Security 4624.
    Logon(Box<Logon>),
    /// Security 4625.
    LogonFailed(Box<Logon>),
    /// Security 4634, 4647: a logon id ends.
    Logoff(Logoff),
    /// Security 4648.
    ExplicitCredentials(Box<ExplicitCredentials>),
    /// Security 4672: the logon id holds special privileges.
    SpecialPrivileges(Logoff),
    /// Security 4688, Sysmon 1.
    ProcessStart(Box<ProcessStart>),
    /// Security 4689, Sysmon 5.
    ProcessExit(Box<ProcessExit>),
    /// Security 4768, 4769, 4771 on a domain controller.
    KerberosTicket(Box<KerberosTicket>),
    /// Security 4776 on the host that checked the password.
    NtlmValidation(Box<NtlmValidation>),
    /// Security 5156, Sysmon 3.
    Connection(Box<Connection>),
    /// OpenSSH 4: the server accepted a caller.
    SshAccepted(Box<SshAccepted>),
    /// Security 1102, System 104.
    LogCleared(Box<LogCleared>),
    /// Anything else that the timeline shows: what it is and what it says.
    Other(OtherEvent),
}

/// WinRM 6.
#[derive(Debug, Clone, Hash)]
pub struct ClientSession {
    /// The connection string: `HOST/wsman?PSVersion=5.1.x`.
    pub connection: String,
    /// The target's name or address in it, without scheme and port.
    pub target: String,
    /// Whether the connection string says HTTPS or HTTP; none when it names neither scheme nor
    /// port.
    pub https: Option<bool>,
}

/// WinRM 8 to 33, 132, 145.
#[derive(Debug, Clone, Hash)]
pub struct ClientStep {
    /// What the client did, with what it says of it.
    pub text: String,
    /// The resource URI, when given: what it asked the target for.
    pub resource_uri: Option<String>,
    /// Whether it asks for a shell: 11, or 145 of CreateShell.
    pub asks_shell: bool,
}

/// WinRM 142, 161, 162, 164.
#[derive(Debug, Clone, Hash)]
pub struct ClientFailure {
    /// operationName, when given.
    pub operation: Option<String>,
    /// errorCode, when given.
    pub error_code: Option<u32>,
    /// The message or target it carries.
    pub text: String,
}

/// What a shell is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShellKind {
    /// PowerShell Remoting.
    PowerShell,
    /// `winrs`, a command shell.
    Winrs,
    /// A resource this program has no name for.
    Other,
}

impl ShellKind {
    /// What a resource URI asks for, and the session configuration in it.
    pub fn of(resource_uri: &str) -> (ShellKind, &str) {
        const POWERSHELL: &str = "/powershell/";
        let lower = resource_uri.to_ascii_lowercase();
        match lower.find(POWERSHELL) {
            Some(at) => {
                let configuration = resource_uri.get(at + POWERSHELL.len()..).unwrap_or("");
                (ShellKind::PowerShell, configuration)
            }
            None if lower.contains("/windows/shell/cmd") => (ShellKind::Winrs, ""),
            None => (ShellKind::Other, ""),
        }
    }

    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            ShellKind::PowerShell => "powershell",
            ShellKind::Winrs => "winrs",
            ShellKind::Other => "other",
        }
    }
}

/// WinRM 91.
#[derive(Debug, Clone, Hash)]
pub struct ShellCreated {
    /// The resource URI without the caller that newer builds append.
    pub resource_uri: String,
    /// What the URI asks for.
    pub kind: ShellKind,
    /// The session configuration, `Microsoft.PowerShell` as a rule; empty for `winrs`.
    pub configuration: String,
    /// The caller, where the build appends it.
    pub account: Option<AccountName>,
    /// The caller's address, where the build appends it.
    pub client_ip: Option<String>,
    /// The shell's id, where the build logs it.
    pub shell_id: Option<LoggedId>,
}

/// WinRM 81, 82, 134 and their Analytic twins.
#[derive(Debug, Clone, Hash)]
pub struct ServerOperation {
    /// The operation: CreateShell ... DeleteShell.
    pub operation: String,
    /// The resource URI, when given.
    pub resource_uri: Option<String>,
}

/// WinRM 169 and 1295.
#[derive(Debug, Clone, Hash)]
pub struct Authenticated {
    /// The caller.
    pub account: Option<AccountName>,
    /// How: `Kerberos`, `NTLM`, `Basic` ...
    pub mechanism: String,
}

/// The context that the classic log and 4103's ContextInfo give of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct EngineContext {
    /// HostName: `ServerRemoteHost` means inside a remoting session.
    pub host_name: String,
    /// HostId, the engine's id.
    pub host_id: Option<LoggedId>,
    /// HostApplication, the engine's command line.
    pub host_application: String,
    /// EngineVersion.
    pub engine_version: String,
    /// RunspaceId.
    pub runspace_id: Option<LoggedId>,
    /// PipelineId, a number.
    pub pipeline_id: String,
    /// CommandLine of the pipeline (classic log).
    pub command_line: String,
    /// CommandName.
    pub command_name: String,
    /// CommandType: `Cmdlet`, `Function`, `Application` ... ; localised with the rest of 4103.
    pub command_type: String,
    /// SequenceNumber: counts what an engine logs. A pipeline's 800 has the number before that of
    /// its 4103.
    pub sequence: Option<u64>,
    /// User.
    pub user: String,
    /// Connected User: who connected, where User is a virtual account.
    pub connected_user: String,
}

/// The HostName of an engine that serves a remoting session or a job.
pub(crate) const REMOTE_HOST: &str = "ServerRemoteHost";

impl EngineContext {
    /// Whether the engine serves a remoting session.
    ///
    /// Background jobs are served by a `ServerRemoteHost`, too, but in a `powershell.exe -s` of
    /// the same host; over SSH the same process is started with `-sshs`.
    pub fn is_remote(&self) -> bool {
        let line = self.host_application.to_lowercase();
        let program = line.trim_start().trim_start_matches('"').split(['"', ' ']).next();
        let program = file_name(program.unwrap_or_default());
        let console = matches!(program.trim_end_matches(".exe"), "powershell" | "pwsh");
        self.host_name == REMOTE_HOST && (!console || line.contains(" -sshs"))
    }
}

/// What happened to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineState {
    /// 400
    Available,
    /// 403
    Stopped,
    /// 600
    ProviderStarted,
}

/// Classic 400, 403, 600.
#[derive(Debug, Clone, Hash)]
pub struct Engine {
    /// What happened.
    pub state: EngineState,
    /// The provider, for 600.
    pub provider_name: String,
    /// The engine.
    pub context: EngineContext,
}

/// Classic 800.
#[derive(Debug, Clone, Hash)]
pub struct PipelineDetails {
    /// The engine.
    pub context: EngineContext,
    /// The CommandInvocation and ParameterBinding lines.
    pub details: String,
    /// The commands that they name.
    pub names: Vec<String>,
    /// DetailSequence and DetailTotal: which part of the details this record holds, of how many.
    pub part: (u32, u32),
}

/// PowerShell 4103, 4100 and 7937.
#[derive(Debug, Clone, Hash)]
pub struct CommandInvocation {
    /// The engine.
    pub context: EngineContext,
    /// The invoked command with its parameters, as one could have typed it; 4100's and 7937's
    /// message.
    pub text: String,
    /// The commands that 4103's payload names, in its order; the one that 7937 is about.
    pub names: Vec<String>,
}

/// PowerShell 4104.
#[derive(Debug, Clone, Hash)]
pub struct ScriptBlockPart {
    /// ScriptBlockId, which all parts share.
    pub id: Option<LoggedId>,
    /// MessageNumber, from 1.
    pub number: u32,
    /// MessageTotal.
    pub total: u32,
    /// This part's text.
    pub text: String,
    /// The script's path, when it has one.
    pub path: String,
    /// Level Warning: the engine itself found the text suspicious.
    pub warning: bool,
}

impl ScriptBlockPart {
    /// Whether it says that it is the first part and the only one.
    pub fn is_whole(&self) -> bool {
        self.number <= 1 && self.total <= 1
    }
}

/// PowerShell 4105, 4106.
#[derive(Debug, Clone, Hash)]
pub struct ScriptBlockRun {
    /// ScriptBlockId.
    pub id: Option<LoggedId>,
    /// RunspaceId.
    pub runspace_id: Option<LoggedId>,
    /// 4105 starts, 4106 stops.
    pub started: bool,
}

/// PowerShell 32850.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerSession {
    /// Who connected.
    pub account: Option<AccountName>,
    /// The shell's id or resource URI.
    pub shell: Option<String>,
}

/// Security 4624, 4625.
#[derive(Debug, Clone, Hash)]
pub struct Logon {
    /// The account that logged on.
    pub account: Option<AccountName>,
    /// Its SID.
    pub sid: String,
    /// TargetLogonId; 0 for a failed logon.
    pub logon_id: u64,
    /// LogonType: 2 interactive, 3 network, 10 remote interactive ...
    pub logon_type: u32,
    /// AuthenticationPackageName.
    pub package: String,
    /// LogonProcessName.
    pub process: String,
    /// WorkstationName.
    pub workstation: Option<String>,
    /// IpAddress.
    pub ip: Option<String>,
    /// The failure's sub status or status, for 4625.
    pub status: String,
}

impl Logon {
    /// How it was authenticated, as far as its package says.
    pub fn auth(&self) -> Auth {
        Auth::parse(&self.package)
    }
}

/// Security 4634, 4647, 4672.
#[derive(Debug, Clone, Hash)]
pub struct Logoff {
    /// The logon id.
    pub logon_id: u64,
    /// Its account.
    pub account: Option<AccountName>,
}

/// Security 4648.
#[derive(Debug, Clone, Hash)]
pub struct ExplicitCredentials {
    /// Who used credentials.
    pub subject: Option<AccountName>,
    /// Whose credentials.
    pub account: Option<AccountName>,
    /// TargetServerName.
    pub target: String,
    /// TargetInfo: `HTTP/host` for WinRM.
    pub target_info: String,
    /// The using process.
    pub process_id: u32,
    /// Its image.
    pub process_name: String,
}

/// Security 4688, Sysmon 1.
#[derive(Debug, Clone, Hash)]
pub struct ProcessStart {
    /// The new process.
    pub process_id: u32,
    /// Its image.
    pub image: String,
    /// Its command line, where auditing logs it.
    pub command_line: String,
    /// The parent process.
    pub parent_process_id: u32,
    /// The parent's image.
    pub parent_image: String,
    /// The logon the process runs in: Target* where set, else Subject*.
    pub logon_id: u64,
    /// The account it runs as.
    pub account: Option<AccountName>,
    /// The account's SID, where logged.
    pub sid: Option<String>,
}

impl ProcessStart {
    /// The image's file name, lower case.
    pub fn image_name(&self) -> String {
        file_name(&self.image)
    }
}

/// A Windows path's last part, lower case.
pub fn file_name(path: &str) -> String {
    path.rsplit(['\\', '/']).next().unwrap_or("").to_lowercase()
}

/// Security 4689, Sysmon 5.
#[derive(Debug, Clone, Hash)]
pub struct ProcessExit {
    /// The process.
    pub process_id: u32,
    /// Its image.
    pub image: String,
    /// The logon it ran in; 0 when not logged.
    pub logon_id: u64,
    /// The account it ran as, where logged.
    pub account: Option<AccountName>,
    /// The account's SID, where logged.
    pub sid: Option<String>,
}

/// Security 4768, 4769, 4771.
#[derive(Debug, Clone, Hash)]
pub struct KerberosTicket {
    /// Who asked.
    pub account: Option<AccountName>,
    /// For what service; `krbtgt` for a TGT.
    pub service: String,
    /// From where, without the `::ffff:` of a mapped address.
    pub ip: Option<String>,
    /// Status, `0x0` for success.
    pub status: String,
}

/// Security 4776.
#[derive(Debug, Clone, Hash)]
pub struct NtlmValidation {
    /// Who.
    pub account: Option<AccountName>,
    /// The workstation the client named.
    pub workstation: Option<String>,
    /// Status, `0x0` for success.
    pub status: String,
}

/// Security 5156, Sysmon 3.
#[derive(Debug, Clone, Hash)]
pub struct Connection {
    /// The process.
    pub process_id: u32,
    /// Its image.
    pub image: String,
    /// Whether this host opened the connection.
    pub outbound: bool,
    /// The opener's address.
    pub source_ip: String,
    /// The opener's name, where logged.
    pub source_host: String,
    /// The opener's port.
    pub source_port: u32,
    /// The listener's address.
    pub destination_ip: String,
    /// The listener's name, where logged.
    pub destination_host: String,
    /// The listener's port.
    pub destination_port: u32,
}

/// OpenSSH 4, "Accepted METHOD for USER from ADDRESS port PORT ssh2".
#[derive(Debug, Clone, Hash)]
pub struct SshAccepted {
    /// Who.
    pub account: Option<AccountName>,
    /// From where.
    pub ip: String,
    /// The message.
    pub text: String,
}

/// Security 1102, System 104.
#[derive(Debug, Clone, Hash)]
pub struct LogCleared {
    /// The cleared log.
    pub log: String,
    /// Who cleared it.
    pub account: Option<AccountName>,
}

/// Whether a WinRM operation is the one that makes a shell.
pub(crate) fn creates_shell(operation: &str) -> bool {
    operation.eq_ignore_ascii_case("CreateShell")
}

/// An event with no part in reconstruction.
#[derive(Debug, Clone, Hash)]
pub struct OtherEvent {
    /// What it is, in a word or two.
    pub name: &'static str,
    /// What it says.
    pub summary: String,
}
