//! Events of Microsoft-Windows-WinRM/Operational, after the provider's manifest of Windows 10.

use evtx_writer::{EvtxEvent, EvtxGuid, EvtxValue, FileTime, Payload};

use super::{Account, NETWORK_SERVICE, ScenarioHost, ScenarioProcess, data};

const PROVIDER: EvtxGuid = EvtxGuid::from_u128(0xa7975c8f_ac13_49f1_87da_5a984a4ab417);
/// The channel's own bit, and the provider's keywords.
const CHANNEL: u64 = 0x4000000000000000;
const CLIENT: u64 = CHANNEL | 0x2;
const SERVER: u64 = CHANNEL | 0x4;
const SECURITY: u64 = 0x8;
/// The shell of PowerShell's own endpoint.
pub const POWERSHELL_SHELL: &str = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell";
/// The shell of winrs.
pub const COMMAND_SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd";
/// The field of 91 did not match the manifest: ERROR_EVT_INVALID_EVENT_DATA.
const INVALID_EVENT_DATA: u32 = 15005;

/// One end of a WSMan session: who speaks, in which process, under which activity.
#[derive(Debug, Clone, Copy)]
pub struct WsmanEndpoint<'a> {
    /// Who its records name.
    pub account: Account<'a>,
    /// The process that logs them.
    pub process_id: u32,
    /// Their ActivityID.
    pub activity: EvtxGuid,
    /// Whether they are of Windows 7 or 2008 R2.
    pub old_build: bool,
}

impl<'a> WsmanEndpoint<'a> {
    /// The client's end, in `process`.
    pub fn client(account: Account<'a>, process: &ScenarioProcess, activity: EvtxGuid) -> Self {
        Self { account, process_id: process.id, activity, old_build: false }
    }

    /// The WinRM service of `host`, at work for `account`.
    pub fn service(host: &ScenarioHost<'_>, account: Account<'a>, activity: EvtxGuid) -> Self {
        Self { account, process_id: host.winrm, activity, old_build: host.old_build }
    }

    /// The same end on the build that `host` runs.
    pub fn on(self, host: &ScenarioHost<'_>) -> Self {
        Self { old_build: host.old_build, ..self }
    }

    fn event(
        &self,
        time: FileTime,
        id: u16,
        (task, opcode): (u16, u8),
        keywords: u64,
    ) -> EvtxEvent {
        EvtxEvent {
            provider: "Microsoft-Windows-WinRM".into(),
            provider_guid: Some(PROVIDER),
            event_id: id,
            level: 4,
            task,
            opcode,
            keywords,
            time,
            activity_id: Some(self.activity),
            process_id: self.process_id,
            thread_id: self.process_id + 1220,
            channel: "Microsoft-Windows-WinRM/Operational".into(),
            user_sid: Some(self.account.sid),
            ..EvtxEvent::default()
        }
    }

    /// 6: creating a session with `connection`.
    pub fn session(&self, time: FileTime, connection: &str) -> EvtxEvent {
        let payload = data([("connection", connection.into())]);
        EvtxEvent { payload, ..self.event(time, 6, (3, 1), CLIENT) }
    }

    /// 10: an option of the session.
    pub fn option(&self, time: FileTime, code: u32, name: &str, value: &str) -> EvtxEvent {
        let payload = data([
            ("optionCode", code.into()),
            ("optionName", name.into()),
            ("optionValue", value.into()),
        ]);
        EvtxEvent { payload, ..self.event(time, 10, (5, 0), CLIENT) }
    }

    /// 31: session created.
    pub fn session_created(&self, time: FileTime) -> EvtxEvent {
        self.event(time, 31, (3, 2), CLIENT)
    }

    /// 11: creating a shell.
    pub fn shell(&self, time: FileTime, uri: &str, shell: EvtxGuid) -> EvtxEvent {
        let payload = if self.old_build {
            data([("resourceUri", uri.into())])
        } else {
            data([("resourceUri", uri.into()), ("shellId", upper(shell))])
        };
        EvtxEvent { payload, ..self.event(time, 11, (5, 1), CLIENT) }
    }

    /// 13: running a command in the shell.
    pub fn command(&self, time: FileTime, command: EvtxGuid) -> EvtxEvent {
        let payload =
            if self.old_build { Payload::default() } else { data([("commandId", upper(command))]) };
        EvtxEvent { payload, ..self.event(time, 13, (5, 1), CLIENT) }
    }

    /// 145: an operation has started.
    pub fn operation(&self, time: FileTime, name: &str, uri: &str) -> EvtxEvent {
        let payload = data([("operationName", name.into()), ("resourceUri", uri.into())]);
        EvtxEvent { payload, ..self.event(time, 145, (5, 1), CLIENT) }
    }

    /// 132: an operation is done.
    pub fn operation_done(&self, time: FileTime, name: &str) -> EvtxEvent {
        let payload = data([("operationName", name.into())]);
        EvtxEvent { payload, ..self.event(time, 132, (10, 2), CLIENT) }
    }

    /// 142: an operation has failed.
    pub fn operation_failed(&self, time: FileTime, name: &str, error: u32) -> EvtxEvent {
        let payload = data([("operationName", name.into()), ("errorCode", error.into())]);
        EvtxEvent { level: 2, payload, ..self.event(time, 142, (10, 2), CLIENT) }
    }

    /// 161: authentication failed, with the message the user sees.
    pub fn authentication_failed(&self, time: FileTime, message: &str) -> EvtxEvent {
        let payload = data([("authFailureMessage", message.into())]);
        EvtxEvent { level: 2, payload, ..self.event(time, 161, (7, 0), CLIENT | SECURITY) }
    }

    /// 15 closing a command, 16 closing a shell.
    pub fn closing(&self, time: FileTime, id: u16) -> EvtxEvent {
        self.event(time, id, (5, 1), CLIENT)
    }

    /// 8 and 33: session closing and closed.
    pub fn session_closed(&self, closing: FileTime, closed: FileTime) -> [EvtxEvent; 2] {
        [self.event(closing, 8, (4, 1), CLIENT), self.event(closed, 33, (4, 2), CLIENT)]
    }

    /// 162: the credentials were wrong.
    pub fn bad_credentials(&self, time: FileTime) -> EvtxEvent {
        EvtxEvent { level: 2, ..self.event(time, 162, (7, 0), CLIENT | SECURITY) }
    }

    /// 164: the machine called `destination` denied access.
    pub fn access_denied(&self, time: FileTime, destination: &str) -> EvtxEvent {
        let payload = data([("destinationMachine", destination.into())]);
        EvtxEvent { level: 2, payload, ..self.event(time, 164, (7, 0), CLIENT | SECURITY) }
    }

    /// 91 at the target: shell created. `uri` is what the event says of the resource, which on
    /// newer builds holds the caller: see [`with_caller`].
    pub fn shell_created(&self, time: FileTime, uri: &str) -> EvtxEvent {
        let payload = data([("resourceUri", uri.into())]);
        EvtxEvent { payload, ..self.event(time, 91, (9, 0), SERVER) }
    }

    /// Likewise, as the service logs it when the event does not match its manifest.
    pub fn shell_created_unmatched(&self, time: FileTime, uri: &str) -> EvtxEvent {
        let payload = Payload::ProcessingError {
            code: INVALID_EVENT_DATA,
            item: "shellId".into(),
            data: uri.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect(),
        };
        EvtxEvent { payload, ..self.event(time, 91, (9, 0), SERVER) }
    }

    /// 192 at the target: authorisation failed.
    pub fn authorisation_failed(&self, time: FileTime, error: u32) -> EvtxEvent {
        let payload = match self.old_build {
            true => Payload::default(),
            false => data([("errorCode", error.into())]),
        };
        EvtxEvent { payload, ..self.event(time, 192, (8, 0), SERVER | SECURITY) }
    }

    /// An event of the server's trace: in Operational on Windows 7, under another id in Analytic
    /// since. The service logs it as itself.
    fn trace(
        &self,
        time: FileTime,
        (old, new): (u16, u16),
        task: u16,
        payload: Payload,
    ) -> EvtxEvent {
        let security = if task == 7 || task == 8 { SECURITY } else { 0 };
        let service = Self { account: NETWORK_SERVICE, ..*self };
        let id = if self.old_build { old } else { new };
        let event = service.event(time, id, (task, 0), SERVER | security);
        let channel = if self.old_build { "Operational" } else { "Analytic" };
        EvtxEvent { channel: format!("Microsoft-Windows-WinRM/{channel}"), payload, ..event }
    }

    /// 169 or 1295 at the target: `user` was authenticated by `mechanism`.
    pub fn authenticated(&self, time: FileTime, user: &str, mechanism: &str) -> EvtxEvent {
        let payload =
            data([("username", user.into()), ("authenticationMechanism", mechanism.into())]);
        self.trace(time, (169, 1295), 7, payload)
    }

    /// 81 or 788 at the target: a request for `operation` is processed.
    pub fn request(&self, time: FileTime, operation: &str) -> EvtxEvent {
        self.trace(time, (81, 788), 9, data([("operationName", operation.into())]))
    }

    /// 82 or 789 at the target: the plug-in of `uri` takes it.
    pub fn plugin(&self, time: FileTime, operation: &str, uri: &str) -> EvtxEvent {
        let payload = data([("operation", operation.into()), ("resourceURI", uri.into())]);
        self.trace(time, (82, 789), 9, payload)
    }

    /// 134 or 1050 at the target: the response is sent.
    pub fn response(&self, time: FileTime, operation: &str) -> EvtxEvent {
        self.trace(time, (134, 1050), 10, data([("operationName", operation.into())]))
    }
}

/// Returns the text of event 91 on newer builds: the resource, the caller and the caller's address.
pub fn with_caller(uri: &str, account: Account<'_>, ip: &str) -> String {
    format!("{uri} ({} clientIP: {ip})", account.full_name())
}

fn upper(guid: EvtxGuid) -> EvtxValue {
    guid.to_string().to_uppercase().into()
}
