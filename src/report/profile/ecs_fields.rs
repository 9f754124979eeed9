//! What ECS has its own names for: who, from where, to where, which process, which script.

use std::net::IpAddr;

use serde_json::Value;

use super::doc::Doc;
use crate::model::{AccountName, EngineState, Event, EventKind, LoggedId, Record};
use crate::normalise::{context_text, pairs};

/// An account.
#[derive(Default)]
pub(super) struct User {
    pub name: String,
    pub domain: String,
    pub id: String,
}

impl User {
    /// Reads an account or a SID, as logged.
    pub fn parse(text: &str) -> User {
        let is_sid = text.starts_with("S-1-");
        match AccountName::parse(text) {
            Some(_) if is_sid => User { id: text.to_owned(), ..User::default() },
            Some(AccountName { domain, name }) => User { name, domain, id: String::new() },
            None => User::default(),
        }
    }

    pub fn set(self, doc: &mut Doc) {
        doc.set("user.name", self.name);
        doc.set("user.domain", self.domain);
        doc.set("user.id", self.id);
    }
}

/// Sets an end of a connection: a field of type `ip` takes nothing but addresses.
pub(super) fn address(end: &str, text: Option<&str>, doc: &mut Doc) {
    let Some(text) = text else { return };
    doc.set(&format!("{end}.address"), text);
    if let Ok(ip) = text.parse::<IpAddr>() {
        doc.set(&format!("{end}.ip"), ip.to_canonical().to_string());
    }
}

/// Sets what the kind of an event tells, and the account's SID where it names one.
pub(super) fn of_kind(kind: &EventKind, user: &mut User, doc: &mut Doc) {
    let (category, types, outcome) = category(kind);
    doc.set("event.category", category.to_vec());
    doc.set("event.type", types.to_vec());
    doc.set("event.outcome", outcome);
    match kind {
        EventKind::Logon(logon) | EventKind::LogonFailed(logon) => {
            user.id = logon.sid.clone();
            address("source", logon.ip.as_deref(), doc);
            doc.set("source.domain", logon.workstation.as_deref());
        }
        EventKind::ShellCreated(shell) => address("source", shell.client_ip.as_deref(), doc),
        EventKind::KerberosTicket(ticket) => address("source", ticket.ip.as_deref(), doc),
        EventKind::NtlmValidation(check) => {
            doc.set("source.domain", check.workstation.as_deref());
        }
        EventKind::SshAccepted(caller) => address("source", Some(&caller.ip), doc),
        EventKind::ClientSession(session) => {
            address("destination", Some(&session.target), doc);
            if session.target.parse::<IpAddr>().is_err() {
                doc.set("destination.domain", session.target.as_str());
            }
        }
        EventKind::ExplicitCredentials(used) => {
            process(used.process_id, &used.process_name, doc);
            doc.set("destination.domain", used.target.as_str());
        }
        EventKind::ProcessStart(start) => {
            process(start.process_id, &start.image, doc);
            doc.set("process.command_line", start.command_line.as_str());
            doc.set("process.parent.pid", start.parent_process_id);
            doc.set("process.parent.name", name(&start.parent_image));
            doc.set("process.parent.executable", start.parent_image.as_str());
            user.id = start.sid.clone().unwrap_or_default();
        }
        EventKind::ProcessExit(exit) => {
            process(exit.process_id, &exit.image, doc);
            user.id = exit.sid.clone().unwrap_or_default();
        }
        EventKind::Connection(connection) => {
            process(connection.process_id, &connection.image, doc);
            address("source", Some(&connection.source_ip), doc);
            doc.set("source.domain", connection.source_host.as_str());
            doc.set("source.port", connection.source_port);
            address("destination", Some(&connection.destination_ip), doc);
            doc.set("destination.domain", connection.destination_host.as_str());
            doc.set("destination.port", connection.destination_port);
        }
        _ => {}
    }
}

fn process(id: u32, image: &str, doc: &mut Doc) {
    doc.set("process.pid", id);
    doc.set("process.name", name(image));
    doc.set("process.executable", image);
}

/// The name of an image, as logged.
fn name(image: &str) -> &str {
    image.rsplit(['\\', '/']).next().unwrap_or_default()
}

/// ECS's words for a kind of event: category, types, outcome.
fn category(
    kind: &EventKind,
) -> (&'static [&'static str], &'static [&'static str], Option<&'static str>) {
    let outcome = |status: &str| Some(if status == "0x0" { "success" } else { "failure" });
    match kind {
        EventKind::Logon(_) | EventKind::Authenticated(_) | EventKind::SshAccepted(_) => {
            (&["authentication"], &["start"], Some("success"))
        }
        EventKind::LogonFailed(_) => (&["authentication"], &["start"], Some("failure")),
        EventKind::AuthorizationFailed(_) => (&["authentication"], &["info"], Some("failure")),
        EventKind::KerberosTicket(ticket) => {
            (&["authentication"], &["start"], outcome(&ticket.status))
        }
        EventKind::NtlmValidation(check) => {
            (&["authentication"], &["start"], outcome(&check.status))
        }
        EventKind::Logoff(_) => (&["authentication"], &["end"], Some("success")),
        EventKind::ExplicitCredentials(_) => (&["authentication"], &["start"], None),
        EventKind::SpecialPrivileges(_) => (&["iam"], &["admin"], None),
        EventKind::LogCleared(_) => (&["iam"], &["admin", "change"], None),
        EventKind::ClientSession(_) | EventKind::ShellCreated(_) | EventKind::ServerSession(_) => {
            (&["session"], &["start"], None)
        }
        EventKind::ClientFailure(_) => (&["session"], &["info"], Some("failure")),
        EventKind::ClientStep(_) | EventKind::ServerOperation(_) | EventKind::Traffic(_) => {
            (&["session"], &["info"], None)
        }
        EventKind::ProcessStart(_) => (&["process"], &["start"], None),
        EventKind::ProcessExit(_) => (&["process"], &["end"], None),
        EventKind::Connection(_) => (&["network"], &["connection", "start"], None),
        EventKind::Engine(engine) => match engine.state {
            EngineState::Available => (&["process"], &["start"], None),
            EngineState::Stopped => (&["process"], &["end"], None),
            EngineState::ProviderStarted => (&["process"], &["info"], None),
        },
        EventKind::CommandError(_) => (&["process"], &["info"], Some("failure")),
        EventKind::Pipeline(_)
        | EventKind::Command(_)
        | EventKind::CommandLifecycle(_)
        | EventKind::ScriptBlockPart(_)
        | EventKind::ScriptBlockRun(_)
        | EventKind::EngineListening(_) => (&["process"], &["info"], None),
        EventKind::ClientRunspace(_)
        | EventKind::PowerShell(_)
        | EventKind::WinRmService(_)
        | EventKind::Other(_) => (&[], &["info"], None),
    }
}

/// Sets what Winlogbeat's PowerShell module has names for.
pub(super) fn powershell(record: &Record, event: &Event, doc: &mut Doc) {
    if let Some(engine) = event.engine() {
        doc.set("powershell.pipeline_id", engine.pipeline_id.as_str());
        doc.set("powershell.runspace_id", LoggedId::text(engine.runspace_id.as_ref()));
        doc.set("powershell.command.name", engine.command_name.as_str());
        doc.set("powershell.command.type", engine.command_type.as_str());
        doc.set("powershell.command.value", engine.command_line.as_str());
        doc.set("powershell.engine.version", engine.engine_version.as_str());
        if let Some(AccountName { domain, name }) = AccountName::parse(&engine.connected_user) {
            doc.set("powershell.connected_user.name", name);
            doc.set("powershell.connected_user.domain", domain);
        }
        doc.set("process.command_line", engine.host_application.as_str());
        doc.set("process.title", engine.host_name.as_str());
        doc.set("process.entity_id", LoggedId::text(engine.host_id.as_ref()));
        // What reconstruction has no use for.
        for (key, value) in pairs(context_text(record)) {
            let field = match key {
                "Shell ID" => "powershell.id",
                "Command Path" | "CommandPath" => "powershell.command.path",
                "Host Version" | "HostVersion" => "powershell.process.executable_version",
                _ => continue,
            };
            doc.set(field, value);
        }
    }
    match &event.kind {
        EventKind::Command(command) => doc.set("powershell.command.value", command.text.as_str()),
        EventKind::Pipeline(pipeline) => {
            doc.set("powershell.sequence", pipeline.part.0);
            doc.set("powershell.total", pipeline.part.1);
        }
        EventKind::Engine(engine) => match engine.state {
            EngineState::Available => doc.set("powershell.engine.new_state", "Available"),
            EngineState::Stopped => doc.set("powershell.engine.new_state", "Stopped"),
            EngineState::ProviderStarted => {
                doc.set("powershell.provider.name", engine.provider_name.as_str());
                doc.set("powershell.provider.new_state", "Started");
            }
        },
        EventKind::ScriptBlockPart(part) => {
            doc.set("powershell.sequence", part.number);
            doc.set("powershell.total", part.total);
            doc.set("powershell.file.script_block_id", LoggedId::text(part.id.as_ref()));
            doc.set("powershell.file.script_block_text", part.text.as_str());
            doc.set("file.path", part.path.as_str());
        }
        EventKind::ScriptBlockRun(run) => {
            doc.set("powershell.file.script_block_id", LoggedId::text(run.id.as_ref()));
            doc.set("powershell.runspace_id", LoggedId::text(run.runspace_id.as_ref()));
        }
        _ => {}
    }
}

/// Sets the lists of what a line names, each once.
pub(super) fn related(doc: &mut Doc) {
    let lists: [(&str, &[&str]); 3] = [
        ("related.user", &["user.name", "powershell.connected_user.name"]),
        ("related.ip", &["source.ip", "destination.ip"]),
        ("related.hosts", &["host.name", "source.domain", "destination.domain"]),
    ];
    for (list, fields) in lists {
        let mut values: Vec<Value> = Vec::new();
        for value in fields.iter().filter_map(|field| doc.get(field)) {
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
        doc.set(list, values);
    }
}
