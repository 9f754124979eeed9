//! Events of Microsoft-Windows-WinRM/Operational, after the provider's manifest of Windows 10.

use evtx_writer::{Event, FileTime, Guid, Payload, Value};

use crate::world::{Account, Host, Process, data};

const PROVIDER: Guid = Guid::from_u128(0xa7975c8f_ac13_49f1_87da_5a984a4ab417);
/// The channel's own bit, and the provider's keywords.
const CHANNEL: u64 = 0x4000000000000000;
const CLIENT: u64 = CHANNEL | 0x2;
const SERVER: u64 = CHANNEL | 0x4;
const SECURITY: u64 = 0x8;
pub const POWERSHELL_SHELL: &str = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell";
pub const COMMAND_SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd";
/// The field of 91 did not match the manifest: ERROR_EVT_INVALID_EVENT_DATA.
const INVALID_EVENT_DATA: u32 = 15005;

/// One end of a WSMan session: who speaks, in which process, under which activity.
pub struct End {
    pub account: Account,
    pub process_id: u32,
    pub activity: Guid,
}

impl End {
    pub fn client(account: Account, process: &Process, activity: Guid) -> Self {
        Self { account, process_id: process.id, activity }
    }

    /// The WinRM service of `host`, at work for `account`.
    pub fn service(host: &Host, account: Account, activity: Guid) -> Self {
        Self { account, process_id: host.winrm, activity }
    }

    fn event(&self, time: FileTime, id: u16, (task, opcode): (u16, u8), keywords: u64) -> Event {
        Event {
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
            ..Event::default()
        }
    }

    /// 6: creating a session with `connection`.
    pub fn session(&self, time: FileTime, connection: &str) -> Event {
        let payload = data([("connection", connection.into())]);
        Event { payload, ..self.event(time, 6, (3, 1), CLIENT) }
    }

    /// 10: an option of the session.
    pub fn option(&self, time: FileTime, code: u32, name: &str, value: &str) -> Event {
        let payload = data([
            ("optionCode", code.into()),
            ("optionName", name.into()),
            ("optionValue", value.into()),
        ]);
        Event { payload, ..self.event(time, 10, (5, 0), CLIENT) }
    }

    /// 31: session created.
    pub fn session_created(&self, time: FileTime) -> Event {
        self.event(time, 31, (3, 2), CLIENT)
    }

    /// 11: creating a shell.
    pub fn shell(&self, time: FileTime, uri: &str, shell: Guid) -> Event {
        let payload = data([("resourceUri", uri.into()), ("shellId", upper(shell))]);
        Event { payload, ..self.event(time, 11, (5, 1), CLIENT) }
    }

    /// 13: running a command in the shell.
    pub fn command(&self, time: FileTime, command: Guid) -> Event {
        let payload = data([("commandId", upper(command))]);
        Event { payload, ..self.event(time, 13, (5, 1), CLIENT) }
    }

    /// 145: an operation has started.
    pub fn operation(&self, time: FileTime, name: &str, uri: &str) -> Event {
        let payload = data([("operationName", name.into()), ("resourceUri", uri.into())]);
        Event { payload, ..self.event(time, 145, (5, 1), CLIENT) }
    }

    /// 132: an operation is done.
    pub fn operation_done(&self, time: FileTime, name: &str) -> Event {
        let payload = data([("operationName", name.into())]);
        Event { payload, ..self.event(time, 132, (10, 2), CLIENT) }
    }

    /// 142: an operation has failed.
    pub fn operation_failed(&self, time: FileTime, name: &str, error: u32) -> Event {
        let payload = data([("operationName", name.into()), ("errorCode", error.into())]);
        Event { level: 2, payload, ..self.event(time, 142, (10, 2), CLIENT) }
    }

    /// 161: authentication failed, with the message the user sees.
    pub fn authentication_failed(&self, time: FileTime, message: &str) -> Event {
        let payload = data([("authFailureMessage", message.into())]);
        Event { level: 2, payload, ..self.event(time, 161, (7, 0), CLIENT | SECURITY) }
    }

    /// 15 closing a command, 16 closing a shell.
    pub fn closing(&self, time: FileTime, id: u16) -> Event {
        self.event(time, id, (5, 1), CLIENT)
    }

    /// 8 and 33: session closing and closed.
    pub fn session_closed(&self, closing: FileTime, closed: FileTime) -> [Event; 2] {
        [self.event(closing, 8, (4, 1), CLIENT), self.event(closed, 33, (4, 2), CLIENT)]
    }

    /// 91 at the target: shell created. Newer builds add the caller to the resource URI.
    pub fn shell_created(&self, time: FileTime, uri: &str, client: &Host) -> Event {
        let payload = data([("resourceUri", self.with_caller(uri, client).into())]);
        Event { payload, ..self.event(time, 91, (9, 0), SERVER) }
    }

    /// Likewise, as the service logs it when the event does not match its manifest.
    pub fn shell_created_unmatched(&self, time: FileTime, uri: &str, client: &Host) -> Event {
        let text = self.with_caller(uri, client) + "\0";
        let payload = Payload::ProcessingError {
            code: INVALID_EVENT_DATA,
            item: "shellId".into(),
            data: text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        };
        Event { payload, ..self.event(time, 91, (9, 0), SERVER) }
    }

    /// 192 at the target: authorisation failed.
    pub fn authorisation_failed(&self, time: FileTime, error: u32) -> Event {
        let payload = data([("errorCode", error.into())]);
        Event { payload, ..self.event(time, 192, (8, 0), SERVER | SECURITY) }
    }

    fn with_caller(&self, uri: &str, client: &Host) -> String {
        format!("{uri} ({} clientIP: {})", self.account.full_name(), client.ip)
    }
}

fn upper(guid: Guid) -> Value {
    guid.to_string().to_uppercase().into()
}
