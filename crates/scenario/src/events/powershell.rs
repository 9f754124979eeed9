//! Events of the PowerShell logs: both of Windows PowerShell 5.1, and the one of PowerShell 7.

use evtx_writer::{EvtxEvent, EvtxGuid, FileTime, Payload};

use super::{Account, ScenarioProcess, data};

const PROVIDER: EvtxGuid = EvtxGuid::from_u128(0xa0c1853b_5c40_4b15_8766_3cf1c58f985a);
const CORE_PROVIDER: EvtxGuid = EvtxGuid::from_u128(0xf90714a8_5509_434a_bf6d_b1624c8a19a2);
/// Level of an ordinary script block.
pub const VERBOSE: u8 = 5;
/// Level of a script block that the engine finds suspicious.
pub const WARNING: u8 = 3;
const INFORMATION: u8 = 4;

/// An event of the operational log.
fn operational(
    time: FileTime,
    id: u16,
    (level, task, opcode): (u8, u16, u8),
    (process_id, account): (u32, Account<'_>),
    activity: EvtxGuid,
    payload: Payload,
) -> EvtxEvent {
    EvtxEvent {
        provider: "Microsoft-Windows-PowerShell".into(),
        provider_guid: Some(PROVIDER),
        event_id: id,
        version: 1,
        level,
        task,
        opcode,
        time,
        activity_id: Some(activity),
        process_id,
        thread_id: process_id + 388,
        channel: "Microsoft-Windows-PowerShell/Operational".into(),
        user_sid: Some(account.sid),
        payload,
        ..EvtxEvent::default()
    }
}

/// The same event as PowerShell 7 logs it.
fn core(event: EvtxEvent) -> EvtxEvent {
    EvtxEvent {
        provider: "PowerShellCore".into(),
        provider_guid: Some(CORE_PROVIDER),
        channel: "PowerShellCore/Operational".into(),
        ..event
    }
}

/// A PowerShell engine in some process.
#[derive(Debug, Clone)]
pub struct ScenarioEngine<'a> {
    /// HostName: what kind of program hosts it.
    pub host_name: &'static str,
    /// HostVersion.
    pub host_version: &'static str,
    /// EngineVersion.
    pub engine_version: &'static str,
    /// HostId.
    pub host_id: EvtxGuid,
    /// RunspaceId.
    pub runspace: EvtxGuid,
    /// ActivityID of its records.
    pub activity: EvtxGuid,
    /// Who it runs as.
    pub account: Account<'a>,
    /// Who is connected to it, in a remoting session: another, where the endpoint runs as a
    /// virtual account.
    pub connected: Account<'a>,
    /// Where it runs.
    pub process: ScenarioProcess,
}

/// The `HostName` of an engine inside a remoting session.
pub const REMOTE: &str = "ServerRemoteHost";

impl<'a> ScenarioEngine<'a> {
    /// An engine of powershell.exe.
    pub fn console(
        process: ScenarioProcess,
        account: Account<'a>,
        version: &'static str,
        [host_id, runspace, activity]: [EvtxGuid; 3],
    ) -> Self {
        Self {
            host_name: "ConsoleHost",
            host_version: version,
            engine_version: version,
            host_id,
            runspace,
            activity,
            account,
            connected: account,
            process,
        }
    }

    fn operational(
        &self,
        time: FileTime,
        id: u16,
        kind: (u8, u16, u8),
        payload: Payload,
    ) -> EvtxEvent {
        let event =
            operational(time, id, kind, (self.process.id, self.account), self.activity, payload);
        match self.engine_version.starts_with('7') {
            true => core(event),
            false => event,
        }
    }

    /// 40961 and 40962: console starting and ready.
    pub fn console_started(&self, starting: FileTime, ready: FileTime) -> [EvtxEvent; 2] {
        [
            self.operational(starting, 40961, (INFORMATION, 4, 1), Payload::default()),
            self.operational(ready, 40962, (INFORMATION, 4, 2), Payload::default()),
        ]
    }

    /// 53504: the engine listens on a pipe that bears its process's id.
    pub fn listening(&self, time: FileTime) -> EvtxEvent {
        let payload = data([
            ("param1", self.process.id.to_string().into()),
            ("param2", "DefaultAppDomain".into()),
        ]);
        self.operational(time, 53504, (INFORMATION, 111, 10), payload)
    }

    /// 4104 for each part of a script block.
    pub fn script(
        &self,
        time: FileTime,
        level: u8,
        block: EvtxGuid,
        parts: &[&str],
    ) -> Vec<EvtxEvent> {
        let part = |(i, text): (usize, &&str)| {
            let payload = data([
                ("MessageNumber", (i as i32 + 1).into()),
                ("MessageTotal", (parts.len() as i32).into()),
                ("ScriptBlockText", (*text).into()),
                ("ScriptBlockId", block.to_string().into()),
                ("Path", "".into()),
            ]);
            let time = FileTime(time.0 + 1_250 * i as u64);
            self.operational(time, 4104, (level, 2, 15), payload)
        };
        parts.iter().enumerate().map(part).collect()
    }

    /// 4103: a cmdlet ran with these parameters.
    pub fn command(
        &self,
        time: FileTime,
        (pipeline, sequence): (u32, u32),
        name: &str,
        parameters: &[(&str, &str)],
    ) -> EvtxEvent {
        let payload = data([
            ("ContextInfo", self.context("Informational", pipeline, sequence, name).into()),
            ("UserData", "".into()),
            ("Payload", invocation(name, parameters).into()),
        ]);
        self.operational(time, 4103, (INFORMATION, 106, 20), payload)
    }

    /// 4100: a command failed.
    pub fn error(&self, time: FileTime, sequence: u32, name: &str, message: &str) -> EvtxEvent {
        let payload = data([
            ("ContextInfo", self.context("Warning", 4, sequence, name).into()),
            ("UserData", "".into()),
            ("Payload", message.into()),
        ]);
        self.operational(time, 4100, (WARNING, 106, 19), payload)
    }

    fn context(&self, severity: &str, pipeline: u32, sequence: u32, name: &str) -> String {
        let account = self.account.full_name();
        // Only a remoting session has somebody connected.
        let connected =
            if self.host_name == REMOTE { self.connected.full_name() } else { String::new() };
        [
            ("Severity", severity),
            ("Host Name", self.host_name),
            ("Host Version", self.host_version),
            ("Host ID", &self.host_id.to_string()),
            ("Host Application", &self.process.command),
            ("Engine Version", self.engine_version),
            ("Runspace ID", &self.runspace.to_string()),
            ("Pipeline ID", &pipeline.to_string()),
            ("Command Name", name),
            ("Command Type", "Cmdlet"),
            ("Script Name", ""),
            ("Command Path", ""),
            ("Sequence Number", &sequence.to_string()),
            ("User", &account),
            ("Connected User", &connected),
            ("Shell ID", "Microsoft.PowerShell"),
        ]
        .map(|(key, value)| format!("        {key} = {value}\r\n"))
        .concat()
    }

    /// 600: a provider has started. The first ones do so before the engine knows its version.
    pub fn provider(&self, time: FileTime, name: &str, sequence: u32, early: bool) -> EvtxEvent {
        let (version, runspace) = if early {
            ("", String::new())
        } else {
            (self.engine_version, self.runspace.to_string())
        };
        let details = format!("\tProviderName={name}\r\n\tNewProviderState=Started\r\n")
            + &self.details(sequence, version, &runspace);
        classic(time, 600, 6, [name, "Started", &details])
    }

    /// 400: the engine is available.
    pub fn available(&self, time: FileTime, sequence: u32) -> EvtxEvent {
        self.state(time, 400, sequence, "Available", "None")
    }

    /// 403: the engine has stopped.
    pub fn stopped(&self, time: FileTime, sequence: u32) -> EvtxEvent {
        self.state(time, 403, sequence, "Stopped", "Available")
    }

    fn state(&self, time: FileTime, id: u16, sequence: u32, new: &str, old: &str) -> EvtxEvent {
        let details = format!("\tNewEngineState={new}\r\n\tPreviousEngineState={old}\r\n")
            + &self.details(sequence, self.engine_version, &self.runspace.to_string());
        classic(time, id, 4, [new, old, &details])
    }

    /// The part that 400, 403 and 600 share.
    fn details(&self, sequence: u32, version: &str, runspace: &str) -> String {
        format!("\r\n\tSequenceNumber={sequence}\r\n\r\n")
            + &self.host_lines(version, runspace)
            + "\tPipelineId=\r\n\tCommandName=\r\n\tCommandType=\r\n\tScriptName=\r\n\
               \tCommandPath=\r\n\tCommandLine="
    }

    /// 800: details of a pipeline.
    pub fn pipeline(
        &self,
        time: FileTime,
        (pipeline, sequence): (u32, u32),
        line: &str,
        name: &str,
        parameters: &[(&str, &str)],
    ) -> EvtxEvent {
        let context = format!(
            "\tDetailSequence=1\r\n\tDetailTotal=1\r\n\r\n\tSequenceNumber={sequence}\r\n\r\n\
             \tUserId={}\r\n{}\tPipelineId={pipeline}\r\n\tScriptName=\r\n\tCommandLine={line}",
            self.account.full_name(),
            self.host_lines(self.engine_version, &self.runspace.to_string()),
        );
        classic(time, 800, 8, [line, &context, &invocation(name, parameters)])
    }

    fn host_lines(&self, version: &str, runspace: &str) -> String {
        format!(
            "\tHostName={}\r\n\tHostVersion={}\r\n\tHostId={}\r\n\tHostApplication={}\r\n\
             \tEngineVersion={version}\r\n\tRunspaceId={runspace}\r\n",
            self.host_name, self.host_version, self.host_id, self.process.command
        )
    }
}

/// An event of the classic log.
fn classic(time: FileTime, id: u16, task: u16, strings: [&str; 3]) -> EvtxEvent {
    EvtxEvent {
        provider: "PowerShell".into(),
        event_id: id,
        qualifiers: Some(0),
        level: INFORMATION,
        task,
        keywords: 0x80000000000000,
        time,
        channel: "Windows PowerShell".into(),
        payload: Payload::Strings(strings.map(str::to_owned).into()),
        ..EvtxEvent::default()
    }
}

fn invocation(name: &str, parameters: &[(&str, &str)]) -> String {
    let binding = |(key, value): &(&str, &str)| {
        format!("ParameterBinding({name}): name=\"{key}\"; value=\"{value}\"\r\n")
    };
    format!("CommandInvocation({name}): \"{name}\"\r\n")
        + &parameters.iter().map(binding).collect::<String>()
}

/// The client's end of a runspace pool: 8193 to 8197.
#[derive(Debug, Clone, Copy)]
pub struct ClientRunspacePool<'a> {
    /// The client's process.
    pub process_id: u32,
    /// Who runs it.
    pub account: Account<'a>,
    /// The runspace's instance id.
    pub runspace: EvtxGuid,
    /// The pool's instance id.
    pub pool: EvtxGuid,
}

impl ClientRunspacePool<'_> {
    fn event(&self, time: FileTime, id: u16, kind: (u8, u16, u8), payload: Payload) -> EvtxEvent {
        operational(time, id, kind, (self.process_id, self.account), self.pool, payload)
    }

    /// 8193, 8194, 8195: runspace made, pool made, pool opening.
    pub fn opening(&self, time: FileTime) -> [EvtxEvent; 4] {
        let at = |ticks| FileTime(time.0 + ticks);
        let runspace = data([("param1", self.runspace.to_string().into())]);
        let pool = data([
            ("InstanceId", self.pool.to_string().into()),
            ("MaxRunspaces", "1".into()),
            ("MinRunspaces", "1".into()),
        ]);
        [
            EvtxEvent {
                // The one event under the runspace's own activity.
                activity_id: Some(self.runspace),
                ..self.event(time, 8193, (VERBOSE, 1, 16), runspace)
            },
            self.event(at(2_105), 8194, (VERBOSE, 1, 16), pool),
            self.event(at(3_310), 8195, (VERBOSE, 1, 10), Payload::default()),
            self.state(at(4_020), "Opening"),
        ]
    }

    /// 8196: the activity is correlated with the server's.
    pub fn correlated(&self, time: FileTime) -> EvtxEvent {
        self.event(time, 8196, (INFORMATION, 0, 20), Payload::default())
    }

    /// 8197: the pool's state is now `state`.
    pub fn state(&self, time: FileTime, state: &str) -> EvtxEvent {
        self.event(time, 8197, (VERBOSE, 1, 10), data([("param1", state.into())]))
    }
}
