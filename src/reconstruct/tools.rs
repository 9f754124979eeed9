//! The tool that made a session, and the purpose of its endpoint, if the records leave no doubt.
//!
//! Sources: for the winrm gem, its template of a pipeline (WinRb/WinRM,
//! `lib/winrm/psrp/create_pipeline.xml.erb`: `Invoke-expression -Command …`, then `Out-string`);
//! for evil-winrm, the command that it runs for each prompt (Hackplayers/evil-winrm, and SigmaHQ's
//! rule 9fe55ea2-4cd6-4491-8a54-dd6871651b51); for Ansible, `bootstrap_wrapper.ps1` of
//! ansible-core; for Enter-PSSession, `EvaluatePrompt` of PowerShell's `ConsoleHost.cs`, which runs
//! `prompt` in the remote runspace.

use std::collections::BTreeMap;

use super::reconstruction::Reconstruction;
use crate::model::{
    Command, EndpointKind, Event, EventIdx, EventKind, Session, SessionIdx, ShellKind, Tool,
    file_name, is_virtual_account, is_virtual_sid,
};

/// The command by which evil-winrm asks for its prompt.
const EVIL_PROMPT: &str = "(get-location).path";
/// The command by which the winrm gem runs every text. It sends the result through `Out-String`.
const GEM_COMMAND: &str = "invoke-expression -command \"";
/// Ansible's bootstrap, of any version since 2.5.
const ANSIBLE: [&str; 2] =
    ["$exec_wrapper_str = $input | out-string", "ansible requires powershell v3.0 or newer"];

/// Programs that connect for others, or whose name adds nothing.
const GENERIC_PROGRAMS: [&str; 6] = [
    "powershell.exe",
    "pwsh.exe",
    "powershell_ise.exe",
    "wsmprovhost.exe",
    "svchost.exe",
    "lsass.exe",
];

/// Sets the tool and the kind of endpoint of each session.
pub(super) fn identify_tools(reconstruction: &mut Reconstruction) {
    let tools = tools(reconstruction);
    let endpoints =
        reconstruction.sessions.iter().map(|session| endpoint_kind(reconstruction, session));
    let endpoints: Vec<Option<EndpointKind>> = endpoints.collect();
    for ((session, tool), endpoint) in reconstruction.sessions.iter_mut().zip(tools).zip(endpoints)
    {
        session.tool = tool;
        session.endpoint_kind = endpoint;
    }
}

/// Returns the tool that made each session.
fn tools(reconstruction: &Reconstruction) -> Vec<Option<Tool>> {
    let mut commands: BTreeMap<SessionIdx, Vec<&Command>> = BTreeMap::new();
    for command in &reconstruction.commands {
        commands.entry(command.session).or_default().push(command);
    }
    let sessions = reconstruction.sessions.iter_enumerated();
    let tool = |(index, session): (SessionIdx, &Session)| {
        let commands = commands.get(&index).map(Vec::as_slice).unwrap_or_default();
        SessionActivity { reconstruction, session, commands }.tool()
    };
    sessions.map(tool).collect()
}

/// A session and its commands.
struct SessionActivity<'c> {
    reconstruction: &'c Reconstruction,
    session: &'c Session,
    commands: &'c [&'c Command],
}

impl SessionActivity<'_> {
    fn tool(&self) -> Option<Tool> {
        let by_what_ran = self.ansible().or_else(|| match self.session.kind {
            ShellKind::PowerShell => {
                self.evil_winrm().or_else(|| self.enter_pssession()).or_else(|| self.winrm_gem())
            }
            ShellKind::Winrs | ShellKind::Other => None,
        });
        by_what_ran.or_else(|| self.program()).or_else(|| match self.session.kind {
            ShellKind::Winrs => self.winrs(),
            ShellKind::PowerShell | ShellKind::Other => None,
        })
    }

    fn events(&self) -> impl Iterator<Item = (EventIdx, &Event)> {
        let evidence = self.session.evidence.iter();
        evidence.map(|evidence| (evidence.event, &self.reconstruction.events[evidence.event]))
    }

    /// Returns the events of the session's own engine, not of engines that it started.
    fn own_events(&self) -> impl Iterator<Item = (EventIdx, &Event)> {
        let process = self.session.process_id;
        self.events().filter(move |(_, event)| {
            *self.reconstruction.name(&event.host) == self.session.target_host
                && (process.is_none() || event.process_id == process)
        })
    }

    /// Returns the texts of its script blocks (4104).
    fn script_texts(&self) -> impl Iterator<Item = (EventIdx, &str)> {
        self.own_events().filter_map(|(index, event)| match &event.kind {
            EventKind::ScriptBlockPart(part) => Some((index, part.text.trim())),
            _ => None,
        })
    }

    /// Returns the pipelines in 4103.
    fn pipelines(&self) -> impl Iterator<Item = (EventIdx, &str)> {
        self.own_events().filter_map(|(index, event)| match &event.kind {
            EventKind::Command(command) => Some((index, command.text.as_str())),
            _ => None,
        })
    }

    fn ansible(&self) -> Option<Tool> {
        let found = self.commands.iter().find(|command| {
            let text = command.bare().unwrap_or(&command.text).to_lowercase();
            ANSIBLE.iter().any(|known| text.contains(known))
        });
        let basis = "runs Ansible's bootstrap script";
        found.map(|command| Tool { name: "Ansible".to_owned(), basis, event: command.event() })
    }

    fn evil_winrm(&self) -> Option<Tool> {
        let by_gem = self.pipelines().find(|(_, text)| {
            let text = text.to_lowercase();
            text.starts_with(GEM_COMMAND) && text[GEM_COMMAND.len()..].starts_with(EVIL_PROMPT)
        });
        // A person may type it once. Only a program asks for it after each command.
        let typed = || {
            let mut asked =
                self.script_texts().filter(|(_, text)| text.eq_ignore_ascii_case(EVIL_PROMPT));
            let first = asked.next();
            asked.next().and(first).filter(|_| self.prompt().is_none())
        };
        let found = by_gem.map(|(event, _)| event).or_else(|| typed().map(|(event, _)| event));
        let basis = "asks for its prompt by (get-location).path";
        found.map(|event| Tool { name: "evil-winrm".to_owned(), basis, event })
    }

    /// Returns the record of a prompt that PowerShell's own console asked for.
    fn prompt(&self) -> Option<EventIdx> {
        let prompt = |text: &str| text.trim().eq_ignore_ascii_case("prompt");
        let found = self.own_events().find(|(_, event)| match &event.kind {
            EventKind::ScriptBlockPart(part) => prompt(&part.text),
            EventKind::Pipeline(pipeline) => prompt(&pipeline.context.command_line),
            _ => false,
        });
        found.map(|(index, _)| index)
    }

    fn enter_pssession(&self) -> Option<Tool> {
        let basis = "the client's console runs prompt in the session";
        self.prompt().map(|event| Tool { name: "Enter-PSSession".to_owned(), basis, event })
    }

    /// The gem runs all commands in one way. A person does not.
    fn winrm_gem(&self) -> Option<Tool> {
        let by_gem = |text: &str| {
            let text = text.to_lowercase();
            text.starts_with(GEM_COMMAND) && text.contains("\" | out-string")
        };
        let (first, _) = self.pipelines().next()?;
        let all = self.pipelines().all(|(_, text)| by_gem(text));
        let basis = "every pipeline is Invoke-Expression into Out-String";
        all.then_some(Tool { name: "winrm gem (Ruby)".to_owned(), basis, event: first })
    }

    /// WinRM 6, which only Windows' own client logs.
    fn winrs(&self) -> Option<Tool> {
        let connects = |event: &Event| matches!(event.kind, EventKind::ClientSession(_));
        let (event, _) = self.events().find(|(_, event)| connects(event))?;
        let basis = "Windows' own client (WinRM 6) asked for a command shell";
        Some(Tool { name: "winrs".to_owned(), basis, event })
    }

    /// The program that connected, if the client's logs name one that is neither PowerShell nor a
    /// service.
    fn program(&self) -> Option<Tool> {
        self.events().find_map(|(event, logged)| {
            let image = match &logged.kind {
                EventKind::Connection(connection) if connection.outbound => &connection.image,
                EventKind::ExplicitCredentials(used) => &used.process_name,
                _ => return None,
            };
            let known = file_name(image);
            let telling = known.ends_with(".exe") && !GENERIC_PROGRAMS.contains(&&*known);
            let name = image.rsplit(['\\', '/']).next().unwrap_or_default();
            let basis = "the program on the client that connected";
            telling.then(|| Tool { name: name[..name.len() - 4].to_owned(), basis, event })
        })
    }
}

/// Returns the kind of a session's endpoint, by the name of its configuration.
fn endpoint_kind(reconstruction: &Reconstruction, session: &Session) -> Option<EndpointKind> {
    let virtual_account = |event: &Event| {
        let context = event.engine();
        event.user_sid.as_deref().is_some_and(is_virtual_sid)
            || context.is_some_and(|context| is_virtual_account(&context.user))
    };
    let name = session.configuration.to_lowercase();
    let kind = match name.as_str() {
        "" => return None,
        "microsoft.powershell" => EndpointKind::Default,
        "microsoft.powershell32" => EndpointKind::ThirtyTwoBit,
        "microsoft.powershell.workflow" => EndpointKind::Workflow,
        "microsoft.windows.servermanagerworkflows" => EndpointKind::ServerManager,
        "microsoft.exchange" => EndpointKind::Exchange,
        "microsoft.sme.powershell" => EndpointKind::AdminCenter,
        name if name.starts_with("powershell.") => EndpointKind::PowerShell7,
        _ if session.evidence.iter().any(|e| virtual_account(&reconstruction.events[e.event])) => {
            EndpointKind::CustomVirtualAccount
        }
        _ => EndpointKind::Custom,
    };
    Some(kind)
}
