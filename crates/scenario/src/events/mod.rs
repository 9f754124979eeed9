//! Events as Windows' own providers log them: fields, types and order of each event id.

pub mod openssh;
pub mod powershell;
pub mod security;
pub mod sysmon;
pub mod system;
pub mod winrm;

use evtx_writer::{EvtxValue, Payload, Sid};

/// An account as logs name it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Account<'a> {
    /// Its name.
    pub name: &'a str,
    /// The domain's short name, or the machine's.
    pub domain: &'a str,
    /// The Kerberos realm; empty for accounts that have none.
    pub realm: &'a str,
    /// Its SID.
    pub sid: Sid,
    /// Whether it gets a full token on the machines of the story.
    pub administrator: bool,
}

impl<'a> Account<'a> {
    /// `DOMAIN\name`.
    pub fn full_name(&self) -> String {
        format!("{}\\{}", self.domain, self.name)
    }

    /// The logon session `id` of this account.
    pub const fn logon(self, id: u64) -> ScenarioLogon<'a> {
        ScenarioLogon { account: self, id }
    }

    /// The same name under another SID, as services of a machine appear.
    const fn with_sid(self, sid: Sid) -> Self {
        Self { sid, ..self }
    }
}

/// A logon session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScenarioLogon<'a> {
    /// The account.
    pub account: Account<'a>,
    /// Its id on its machine.
    pub id: u64,
}

/// A machine.
#[derive(Debug, Clone, Copy)]
pub struct ScenarioHost<'a> {
    /// Its short name.
    pub name: &'a str,
    /// Its DNS domain; empty in a workgroup.
    pub suffix: &'a str,
    /// Its address.
    pub ip: &'a str,
    /// The account of the machine in the domain.
    pub account: Account<'a>,
    /// ProcessID of lsass.exe.
    pub lsass: u32,
    /// ProcessID of the svchost.exe that runs WinRM.
    pub winrm: u32,
    /// ProcessID of the svchost.exe that starts out-of-process servers.
    pub dcom: u32,
    /// Whether it runs Windows 7 or 2008 R2, whose events have fewer fields.
    pub old_build: bool,
}

impl<'a> ScenarioHost<'a> {
    /// Its full name, as far as it has one.
    pub fn fqdn(&self) -> String {
        match self.suffix {
            "" => self.name.to_owned(),
            suffix => format!("{}.{suffix}", self.name),
        }
    }

    /// The machine itself at work, as Security names it.
    pub const fn system(&self) -> ScenarioLogon<'a> {
        self.account.with_sid(SYSTEM.sid).logon(0x3e7)
    }

    /// Likewise, as NETWORK SERVICE.
    pub const fn network_service(&self) -> ScenarioLogon<'a> {
        self.account.with_sid(NETWORK_SERVICE.sid).logon(0x3e4)
    }
}

const fn well_known(name: &str, part: u32) -> Account<'_> {
    let sid = Sid::nt([part]);
    Account { name, domain: "NT AUTHORITY", realm: "", sid, administrator: false }
}

/// The system itself.
pub const SYSTEM: Account<'_> = well_known("SYSTEM", 18);
/// The account of WinRM's service and of event forwarding.
pub const NETWORK_SERVICE: Account<'_> = well_known("NETWORK SERVICE", 20);
/// The placeholder that Security writes if there is no account.
pub const NOBODY: Account<'_> =
    Account { name: "-", domain: "-", realm: "", sid: Sid::new(0, [0]), administrator: false };

/// A process: its id, program and command line.
#[derive(Debug, Clone)]
pub struct ScenarioProcess {
    /// ProcessID.
    pub id: u32,
    /// Path of the program.
    pub image: &'static str,
    /// Command line.
    pub command: String,
}

impl ScenarioProcess {
    /// A process of that id, program and command line.
    pub fn new(id: u32, image: &'static str, command: impl Into<String>) -> Self {
        Self { id, image, command: command.into() }
    }
}

/// Where Windows PowerShell lies.
pub const POWERSHELL: &str = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";

/// The svchost.exe that starts out-of-process servers, WinRM's among them.
pub fn dcom(host: &ScenarioHost<'_>) -> ScenarioProcess {
    ScenarioProcess::new(
        host.dcom,
        r"C:\Windows\System32\svchost.exe",
        r"C:\Windows\system32\svchost.exe -k DcomLaunch -p",
    )
}

/// Named event data.
pub fn data<const N: usize>(fields: [(&str, EvtxValue); N]) -> Payload {
    Payload::EventData(fields.map(|(name, value)| (name.to_owned(), value)).into())
}
