//! One event as one line of a timeline: its kind and its summary, the same in every output.

use std::fmt;

use crate::model::{Account, EngineContext, EngineState, Event, EventKind, Logon};

/// The word for what an event is.
pub(super) fn kind(event: &Event) -> &'static str {
    match &event.kind {
        EventKind::ClientSession(_) => "client_session",
        EventKind::ClientStep(_) => "client_step",
        EventKind::ClientFailure(_) => "client_failure",
        EventKind::ShellCreated(_) => "shell_created",
        EventKind::ServerOperation(_) => "server_operation",
        EventKind::Authenticated(_) => "authenticated",
        EventKind::AuthorizationFailed(_) => "authorization_failed",
        EventKind::WinRmService(_) => "winrm_service",
        EventKind::Engine(_) => "engine",
        EventKind::Pipeline(_) => "pipeline",
        EventKind::Command(_) => "command",
        EventKind::CommandError(_) => "command_error",
        EventKind::ScriptBlockPart(_) => "script_block",
        EventKind::ScriptBlockRun(_) => "script_block_run",
        EventKind::ClientRunspace(_) => "client_runspace",
        EventKind::EngineListening(_) => "engine_listening",
        EventKind::PowerShell(_) => "powershell",
        EventKind::Logon(_) => "logon",
        EventKind::LogonFailed(_) => "logon_failed",
        EventKind::Logoff(_) => "logoff",
        EventKind::ExplicitCredentials(_) => "explicit_credentials",
        EventKind::SpecialPrivileges(_) => "special_privileges",
        EventKind::ProcessStart(_) => "process_start",
        EventKind::ProcessExit(_) => "process_exit",
        EventKind::KerberosTicket(_) => "kerberos_ticket",
        EventKind::NtlmValidation(_) => "ntlm_validation",
        EventKind::Connection(_) => "connection",
        EventKind::LogCleared(_) => "log_cleared",
        EventKind::Other(other) => other.name,
    }
}

/// What an event says, on one line of its own words.
pub(super) struct Summary<'e>(pub &'e Event);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = self.0;
        match &event.kind {
            EventKind::ClientSession(session) => write!(f, "connects to {}", session.connection),
            EventKind::ClientStep(step)
            | EventKind::WinRmService(step)
            | EventKind::ClientRunspace(step)
            | EventKind::PowerShell(step) => f.write_str(step),
            EventKind::ClientFailure(failure) => {
                let operation = failure.operation.as_deref().unwrap_or("authentication");
                write!(f, "{operation} failed")?;
                if let Some(code) = failure.error_code {
                    write!(f, ", error {code}")?;
                }
                write!(f, ": {}", failure.text)
            }
            EventKind::ShellCreated(shell) => {
                write!(f, "shell of {}", shell.resource_uri)?;
                if let Some(user) = &shell.account {
                    write!(f, " for {user}")?;
                }
                match &shell.client_ip {
                    Some(ip) => write!(f, " from {ip}"),
                    None => Ok(()),
                }
            }
            EventKind::ServerOperation(operation) => {
                let uri = operation.resource_uri.as_deref().unwrap_or_default();
                write!(f, "{} {uri}", operation.operation)
            }
            EventKind::Authenticated(caller) => {
                write!(f, "{} by {}", OrUnknown(&caller.account), caller.mechanism)
            }
            EventKind::AuthorizationFailed(Some(code)) => write!(f, "not authorised, error {code}"),
            EventKind::AuthorizationFailed(None) => f.write_str("not authorised"),
            EventKind::Engine(engine) => {
                match engine.state {
                    EngineState::Available => f.write_str("engine available")?,
                    EngineState::Stopped => f.write_str("engine stopped")?,
                    EngineState::ProviderStarted => {
                        write!(f, "provider {} started", engine.provider_name)?;
                    }
                }
                in_host(f, &engine.context)
            }
            EventKind::Pipeline(pipeline) => {
                let line = pipeline.context.command_line.as_str();
                f.write_str(if line.is_empty() { &pipeline.details } else { line })?;
                in_host(f, &pipeline.context)
            }
            EventKind::Command(command) => {
                f.write_str(&command.text)?;
                in_host(f, &command.context)
            }
            EventKind::CommandError(command) => {
                write!(f, "error: {}", command.text)?;
                in_host(f, &command.context)
            }
            EventKind::ScriptBlockPart(part) => {
                if part.total > 1 {
                    write!(f, "[{}/{}] ", part.number, part.total)?;
                }
                if !part.path.is_empty() {
                    write!(f, "{}: ", part.path)?;
                }
                f.write_str(&part.text)
            }
            EventKind::ScriptBlockRun(run) => {
                let what = if run.started { "starts" } else { "stops" };
                write!(f, "script block {} {what} in runspace {}", run.id, run.runspace_id)
            }
            EventKind::EngineListening(id) => {
                write!(f, "engine of process {} listens", id.or(event.process_id).unwrap_or(0))
            }
            EventKind::Logon(logon) => {
                logged_on(f, logon)?;
                write!(f, ", logon id {:#x}", logon.logon_id)
            }
            EventKind::LogonFailed(logon) => {
                logged_on(f, logon)?;
                write!(f, ", status {}", logon.status)
            }
            EventKind::Logoff(of) | EventKind::SpecialPrivileges(of) => {
                write!(f, "{}, logon id {:#x}", OrUnknown(&of.account), of.logon_id)
            }
            EventKind::ExplicitCredentials(used) => write!(
                f,
                "{} used the credentials of {} for {} ({}), process {} {}",
                OrUnknown(&used.subject),
                OrUnknown(&used.account),
                used.target,
                used.target_info,
                used.process_id,
                used.process_name,
            ),
            EventKind::ProcessStart(start) => {
                let line =
                    if start.command_line.is_empty() { &start.image } else { &start.command_line };
                let (id, parent) = (start.process_id, start.parent_process_id);
                write!(f, "[{id}] {line} <- [{parent}] {}", start.parent_image)
            }
            EventKind::ProcessExit(exit) => write!(f, "[{}] {}", exit.process_id, exit.image),
            EventKind::KerberosTicket(ticket) => write!(
                f,
                "{} for {} from {}, status {}",
                OrUnknown(&ticket.account),
                ticket.service,
                ticket.ip.as_deref().unwrap_or("-"),
                ticket.status,
            ),
            EventKind::NtlmValidation(check) => write!(
                f,
                "{} from {}, status {}",
                OrUnknown(&check.account),
                check.workstation.as_deref().unwrap_or("-"),
                check.status,
            ),
            EventKind::Connection(connection) => write!(
                f,
                "[{}] {} {} {} -> {}:{}",
                connection.process_id,
                connection.image,
                if connection.outbound { "outbound" } else { "inbound" },
                connection.source_ip,
                connection.destination_ip,
                connection.destination_port,
            ),
            EventKind::LogCleared(cleared) => {
                write!(f, "{} cleared by {}", cleared.log, OrUnknown(&cleared.account))
            }
            EventKind::Other(other) => f.write_str(&other.summary),
        }
    }
}

struct OrUnknown<'a>(&'a Option<Account>);

impl fmt::Display for OrUnknown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(account) => account.fmt(f),
            None => f.write_str("an unknown account"),
        }
    }
}

fn logged_on(f: &mut fmt::Formatter<'_>, logon: &Logon) -> fmt::Result {
    write!(f, "{} type {} by {}", OrUnknown(&logon.account), logon.logon_type, logon.package)?;
    match (&logon.workstation, &logon.ip) {
        (None, None) => Ok(()),
        (Some(name), None) => write!(f, " from {name}"),
        (None, Some(ip)) => write!(f, " from {ip}"),
        (Some(name), Some(ip)) => write!(f, " from {name} ({ip})"),
    }
}

fn in_host(f: &mut fmt::Formatter<'_>, context: &EngineContext) -> fmt::Result {
    match (context.host_name.as_str(), context.host_application.as_str()) {
        ("", "") => Ok(()),
        (name, "") => write!(f, " [{name}]"),
        (name, application) => write!(f, " [{name}: {application}]"),
    }
}
