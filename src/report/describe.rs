//! One event as one line of a timeline: its kind and its summary, the same in every output.

use crate::model::{EngineContext, EngineState, Event, EventKind, Logon};

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
pub(super) fn summary(event: &Event) -> String {
    match &event.kind {
        EventKind::ClientSession(session) => format!("connects to {}", session.connection),
        EventKind::ClientStep(step)
        | EventKind::WinRmService(step)
        | EventKind::ClientRunspace(step)
        | EventKind::PowerShell(step) => step.clone(),
        EventKind::ClientFailure(failure) => {
            let operation = failure.operation.as_deref().unwrap_or("authentication");
            let code = failure.error_code.map_or(String::new(), |code| format!(", error {code}"));
            format!("{operation} failed{code}: {}", failure.text)
        }
        EventKind::ShellCreated(shell) => {
            let caller =
                shell.account.as_ref().map_or(String::new(), |user| format!(" for {user}"));
            let from = shell.client_ip.as_ref().map_or(String::new(), |ip| format!(" from {ip}"));
            format!("shell of {}{caller}{from}", shell.resource_uri)
        }
        EventKind::ServerOperation(operation) => {
            let uri = operation.resource_uri.as_deref().unwrap_or_default();
            format!("{} {uri}", operation.operation)
        }
        EventKind::Authenticated(caller) => {
            format!("{} by {}", or_unknown(caller.account.as_ref()), caller.mechanism)
        }
        EventKind::AuthorizationFailed(code) => match code {
            Some(code) => format!("not authorised, error {code}"),
            None => "not authorised".to_owned(),
        },
        EventKind::Engine(engine) => {
            let state = match engine.state {
                EngineState::Available => "engine available".to_owned(),
                EngineState::Stopped => "engine stopped".to_owned(),
                EngineState::ProviderStarted => {
                    format!("provider {} started", engine.provider_name)
                }
            };
            format!("{state}{}", in_host(&engine.context))
        }
        EventKind::Pipeline(pipeline) => {
            let line = pipeline.context.command_line.as_str();
            let text = if line.is_empty() { &pipeline.details } else { line };
            format!("{text}{}", in_host(&pipeline.context))
        }
        EventKind::Command(command) => format!("{}{}", command.text, in_host(&command.context)),
        EventKind::CommandError(command) => {
            format!("error: {}{}", command.text, in_host(&command.context))
        }
        EventKind::ScriptBlockPart(part) => {
            let of = if part.total > 1 {
                format!("[{}/{}] ", part.number, part.total)
            } else {
                String::new()
            };
            let path =
                if part.path.is_empty() { String::new() } else { format!("{}: ", part.path) };
            format!("{of}{path}{}", part.text)
        }
        EventKind::ScriptBlockRun(run) => {
            let what = if run.started { "starts" } else { "stops" };
            format!("script block {} {what} in runspace {}", run.id, run.runspace_id)
        }
        EventKind::EngineListening(id) => {
            format!("engine of process {} listens", id.or(event.process_id).unwrap_or(0))
        }
        EventKind::Logon(logon) => format!("{}, logon id {:#x}", logged_on(logon), logon.logon_id),
        EventKind::LogonFailed(logon) => format!("{}, status {}", logged_on(logon), logon.status),
        EventKind::Logoff(logoff) => {
            format!("{}, logon id {:#x}", or_unknown(logoff.account.as_ref()), logoff.logon_id)
        }
        EventKind::SpecialPrivileges(held) => {
            format!("{}, logon id {:#x}", or_unknown(held.account.as_ref()), held.logon_id)
        }
        EventKind::ExplicitCredentials(used) => format!(
            "{} used the credentials of {} for {} ({}), process {} {}",
            or_unknown(used.subject.as_ref()),
            or_unknown(used.account.as_ref()),
            used.target,
            used.target_info,
            used.process_id,
            used.process_name,
        ),
        EventKind::ProcessStart(start) => {
            let line =
                if start.command_line.is_empty() { &start.image } else { &start.command_line };
            format!(
                "[{}] {line} <- [{}] {}",
                start.process_id, start.parent_process_id, start.parent_image
            )
        }
        EventKind::ProcessExit(exit) => format!("[{}] {}", exit.process_id, exit.image),
        EventKind::KerberosTicket(ticket) => format!(
            "{} for {} from {}, status {}",
            or_unknown(ticket.account.as_ref()),
            ticket.service,
            ticket.ip.as_deref().unwrap_or("-"),
            ticket.status,
        ),
        EventKind::NtlmValidation(check) => format!(
            "{} from {}, status {}",
            or_unknown(check.account.as_ref()),
            check.workstation.as_deref().unwrap_or("-"),
            check.status,
        ),
        EventKind::Connection(connection) => format!(
            "[{}] {} {} {} -> {}:{}",
            connection.process_id,
            connection.image,
            if connection.outbound { "outbound" } else { "inbound" },
            connection.source_ip,
            connection.destination_ip,
            connection.destination_port,
        ),
        EventKind::LogCleared(cleared) => {
            format!("{} cleared by {}", cleared.log, or_unknown(cleared.account.as_ref()))
        }
        EventKind::Other(other) => other.summary.clone(),
    }
}

fn or_unknown(account: Option<&crate::model::Account>) -> String {
    account.map_or("an unknown account".to_owned(), ToString::to_string)
}

fn logged_on(logon: &Logon) -> String {
    let from = match (&logon.workstation, &logon.ip) {
        (None, None) => String::new(),
        (Some(name), None) => format!(" from {name}"),
        (None, Some(ip)) => format!(" from {ip}"),
        (Some(name), Some(ip)) => format!(" from {name} ({ip})"),
    };
    let account = or_unknown(logon.account.as_ref());
    format!("{account} type {} by {}{from}", logon.logon_type, logon.package)
}

fn in_host(context: &EngineContext) -> String {
    match (context.host_name.as_str(), context.host_application.as_str()) {
        ("", "") => String::new(),
        (name, "") => format!(" [{name}]"),
        (name, application) => format!(" [{name}: {application}]"),
    }
}
