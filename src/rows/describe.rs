//! One event as one line of a timeline: its kind and its summary, the same in every output.

use crate::model::{AccountName, EngineContext, EngineState, Event, EventKind, LoggedId, Logon};

/// Appends parts to a text.
macro_rules! say {
    ($to:expr, $($part:expr),+) => {{
        $($part.say($to);)+
    }};
}

/// The word for what an event is.
pub(crate) fn kind(event: &Event) -> &'static str {
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
        EventKind::CommandLifecycle(_) => "command_lifecycle",
        EventKind::ScriptBlockPart(_) => "script_block",
        EventKind::ScriptBlockRun(_) => "script_block_run",
        EventKind::ClientRunspace(_) => "client_runspace",
        EventKind::EngineListening(_) => "engine_listening",
        EventKind::PowerShell(_) => "powershell",
        EventKind::ServerSession(_) => "server_session",
        EventKind::Traffic(_) => "traffic",
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
        EventKind::SshAccepted(_) => "ssh_accepted",
        EventKind::Other(other) => other.name,
    }
}

/// What an event says, on one line of its own words, appended to `to`.
pub(crate) fn summary(event: &Event, to: &mut String) {
    match &event.kind {
        EventKind::ClientSession(session) => say!(to, "connects to ", session.connection),
        EventKind::ClientStep(step) => to.push_str(&step.text),
        EventKind::WinRmService(step)
        | EventKind::ClientRunspace(step)
        | EventKind::PowerShell(step)
        | EventKind::Traffic(step) => to.push_str(step),
        EventKind::ServerSession(session) => {
            let shell = session.shell.as_deref().unwrap_or("-");
            say!(to, "session of ", session.account, " begins, shell ", shell);
        }
        EventKind::ClientFailure(failure) => {
            let operation = failure.operation.as_deref().unwrap_or("authentication");
            say!(to, operation, " failed");
            if let Some(code) = failure.error_code {
                say!(to, ", error ", code);
            }
            say!(to, ": ", failure.text);
        }
        EventKind::ShellCreated(shell) => {
            say!(to, "shell of ", shell.resource_uri);
            if let Some(user) = &shell.account {
                say!(to, " for ", user);
            }
            if let Some(ip) = &shell.client_ip {
                say!(to, " from ", ip);
            }
        }
        EventKind::ServerOperation(operation) => {
            let uri = operation.resource_uri.as_deref().unwrap_or_default();
            say!(to, operation.operation, " ", uri);
        }
        EventKind::Authenticated(caller) => say!(to, caller.account, " by ", caller.mechanism),
        EventKind::AuthorizationFailed(Some(code)) => say!(to, "not authorised, error ", code),
        EventKind::AuthorizationFailed(None) => to.push_str("not authorised"),
        EventKind::Engine(engine) => {
            match engine.state {
                EngineState::Available => to.push_str("engine available"),
                EngineState::Stopped => to.push_str("engine stopped"),
                EngineState::ProviderStarted => {
                    say!(to, "provider ", engine.provider_name, " started");
                }
            }
            in_host(&engine.context, to);
        }
        EventKind::Pipeline(pipeline) => {
            let line = pipeline.context.command_line.as_str();
            to.push_str(if line.is_empty() { &pipeline.details } else { line });
            in_host(&pipeline.context, to);
        }
        EventKind::Command(command) | EventKind::CommandLifecycle(command) => {
            to.push_str(&command.text);
            in_host(&command.context, to);
        }
        EventKind::CommandError(command) => {
            say!(to, "error: ", command.text);
            in_host(&command.context, to);
        }
        EventKind::ScriptBlockPart(part) => {
            if part.total > 1 {
                say!(to, "[", part.number, "/", part.total, "] ");
            }
            if !part.path.is_empty() {
                say!(to, part.path, ": ");
            }
            to.push_str(&part.text);
        }
        EventKind::ScriptBlockRun(run) => {
            let what = if run.started { "starts" } else { "stops" };
            say!(to, "script block ", run.id, " ", what, " in runspace ", run.runspace_id);
        }
        EventKind::EngineListening(id) => {
            let id = id.or(event.process_id).unwrap_or(0);
            say!(to, "engine of process ", id, " listens");
        }
        EventKind::Logon(logon) => {
            logged_on(logon, to);
            say!(to, ", logon id ", Hex(logon.logon_id));
        }
        EventKind::LogonFailed(logon) => {
            logged_on(logon, to);
            say!(to, ", status ", logon.status);
        }
        EventKind::Logoff(of) | EventKind::SpecialPrivileges(of) => {
            say!(to, of.account, ", logon id ", Hex(of.logon_id));
        }
        EventKind::ExplicitCredentials(used) => {
            say!(to, used.subject, " used the credentials of ", used.account);
            say!(to, " for ", used.target, " (", used.target_info, "), process ");
            say!(to, used.process_id, " ", used.process_name);
        }
        EventKind::ProcessStart(start) => {
            let line =
                if start.command_line.is_empty() { &start.image } else { &start.command_line };
            say!(to, "[", start.process_id, "] ", line);
            say!(to, " <- [", start.parent_process_id, "] ", start.parent_image);
        }
        EventKind::ProcessExit(exit) => say!(to, "[", exit.process_id, "] ", exit.image),
        EventKind::KerberosTicket(ticket) => {
            let ip = ticket.ip.as_deref().unwrap_or("-");
            say!(to, ticket.account, " for ", ticket.service, " from ", ip);
            say!(to, ", status ", ticket.status);
        }
        EventKind::NtlmValidation(check) => {
            let workstation = check.workstation.as_deref().unwrap_or("-");
            say!(to, check.account, " from ", workstation, ", status ", check.status);
        }
        EventKind::Connection(connection) => {
            let direction = if connection.outbound { " outbound " } else { " inbound " };
            say!(to, "[", connection.process_id, "] ", connection.image, direction);
            say!(to, connection.source_ip, " -> ", connection.destination_ip);
            say!(to, ":", connection.destination_port);
        }
        EventKind::LogCleared(cleared) => say!(to, cleared.log, " cleared by ", cleared.account),
        EventKind::SshAccepted(caller) => to.push_str(&caller.text),
        EventKind::Other(other) => to.push_str(&other.summary),
    }
}

fn logged_on(logon: &Logon, to: &mut String) {
    say!(to, logon.account, " type ", logon.logon_type, " by ", logon.package);
    match (&logon.workstation, &logon.ip) {
        (None, None) => {}
        (Some(name), None) => say!(to, " from ", name),
        (None, Some(ip)) => say!(to, " from ", ip),
        (Some(name), Some(ip)) => say!(to, " from ", name, " (", ip, ")"),
    }
}

fn in_host(context: &EngineContext, to: &mut String) {
    match (context.host_name.as_str(), context.host_application.as_str()) {
        ("", "") => {}
        (name, "") => say!(to, " [", name, "]"),
        (name, application) => say!(to, " [", name, ": ", application, "]"),
    }
}

/// Part of a summary. Every line of a timeline has some, and the standard formatting takes several
/// times as long.
trait Say {
    fn say(&self, to: &mut String);
}

impl Say for str {
    fn say(&self, to: &mut String) {
        to.push_str(self);
    }
}

impl Say for String {
    fn say(&self, to: &mut String) {
        to.push_str(self);
    }
}

impl Say for u32 {
    fn say(&self, to: &mut String) {
        to.push_str(itoa::Buffer::new().format(*self));
    }
}

/// A number as `0x` and hex digits.
struct Hex(u64);

impl Say for Hex {
    fn say(&self, to: &mut String) {
        let digits = (64 - self.0.leading_zeros()).div_ceil(4).max(1);
        to.push_str("0x");
        let digit = |place| char::from_digit((self.0 >> (4 * place)) as u32 & 15, 16);
        to.extend((0..digits).rev().filter_map(digit));
    }
}

impl Say for AccountName {
    fn say(&self, to: &mut String) {
        if !self.domain.is_empty() {
            say!(to, self.domain, "\\");
        }
        to.push_str(&self.name);
    }
}

impl Say for Option<AccountName> {
    fn say(&self, to: &mut String) {
        match self {
            Some(account) => account.say(to),
            None => to.push_str("an unknown account"),
        }
    }
}

/// An id that may not be known.
impl Say for Option<LoggedId> {
    fn say(&self, to: &mut String) {
        if let Some(id) = self {
            to.push_str(&id.to_string());
        }
    }
}

impl<T: Say + ?Sized> Say for &T {
    fn say(&self, to: &mut String) {
        (**self).say(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::testing::{event, record};

    fn told(channel: &str, event_id: u32, data: &[(&str, &str)]) -> String {
        let mut text = String::new();
        summary(&event(&record(channel, event_id, data)), &mut text);
        text
    }

    #[test]
    fn events_are_told_on_a_line() {
        let logon = [
            ("TargetUserName", "ann"),
            ("TargetDomainName", "CORP"),
            ("TargetLogonId", "0x51abc"),
            ("LogonType", "3"),
            ("AuthenticationPackageName", "Kerberos"),
            ("WorkstationName", "PC"),
            ("IpAddress", "10.0.0.1"),
        ];
        assert_eq!(
            told("Security", 4624, &logon),
            r"CORP\ann type 3 by Kerberos from PC (10.0.0.1), logon id 0x51abc"
        );
        assert_eq!(told("Security", 4634, &[]), "an unknown account, logon id 0x0");
        let start = [
            ("NewProcessId", "0x10"),
            ("NewProcessName", r"C:\a.exe"),
            ("ProcessId", "0x20"),
            ("ParentProcessName", r"C:\b.exe"),
        ];
        assert_eq!(told("Security", 4688, &start), r"[16] C:\a.exe <- [32] C:\b.exe");
    }
}
