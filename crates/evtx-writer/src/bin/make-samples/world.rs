//! The people and machines of corp.example.

use evtx_writer::{Payload, Sid, Value};

/// The domain's SID, whose last part is the account's.
const fn domain_sid(account: u32) -> Sid {
    Sid::nt([21, 1713482045, 2620918753, 3380271914, account])
}

/// An account as logs name it.
#[derive(Clone, Copy)]
pub struct Account {
    pub name: &'static str,
    pub domain: &'static str,
    pub sid: Sid,
}

impl Account {
    /// `DOMAIN\name`.
    pub fn full_name(&self) -> String {
        format!("{}\\{}", self.domain, self.name)
    }

    /// The logon session `id` of this account.
    pub const fn logon(self, id: u64) -> Logon {
        Logon { account: self, id }
    }
}

/// A logon session.
#[derive(Clone, Copy)]
pub struct Logon {
    pub account: Account,
    pub id: u64,
}

pub struct Host {
    pub name: &'static str,
    pub ip: &'static str,
    /// The account of the machine in the domain.
    pub account: Account,
    /// ProcessID of lsass.exe, of the svchost.exe that runs WinRM, and of the one for DCOM.
    pub lsass: u32,
    pub winrm: u32,
    pub dcom: u32,
}

impl Host {
    pub fn fqdn(&self) -> String {
        format!("{}.corp.example", self.name)
    }

    /// The machine itself at work, as Security names it.
    pub const fn system(&self) -> Logon {
        Account { sid: SYSTEM.sid, ..self.account }.logon(0x3e7)
    }

    /// Likewise, as NETWORK SERVICE.
    pub const fn network_service(&self) -> Logon {
        Account { sid: NETWORK_SERVICE.sid, ..self.account }.logon(0x3e4)
    }
}

const fn machine(name: &'static str, rid: u32) -> Account {
    Account { name, domain: "CORP", sid: domain_sid(rid) }
}

pub const WS01: Host = Host {
    name: "WS01",
    ip: "10.20.0.15",
    account: machine("WS01$", 1121),
    lsass: 732,
    winrm: 2884,
    dcom: 908,
};
pub const SRV02: Host = Host {
    name: "SRV02",
    ip: "10.20.0.32",
    account: machine("SRV02$", 1132),
    lsass: 700,
    winrm: 2516,
    dcom: 896,
};
pub const DC01: Host = Host {
    name: "DC01",
    ip: "10.20.0.5",
    account: machine("DC01$", 1000),
    lsass: 684,
    winrm: 2308,
    dcom: 880,
};

pub const J_DOE: Account = Account { name: "j.doe", domain: "CORP", sid: domain_sid(1107) };
pub const ADM_LEE: Account = Account { name: "adm.lee", domain: "CORP", sid: domain_sid(1110) };
pub const SYSTEM: Account = Account { name: "SYSTEM", domain: "NT AUTHORITY", sid: Sid::nt([18]) };
pub const NETWORK_SERVICE: Account =
    Account { name: "NETWORK SERVICE", domain: "NT AUTHORITY", sid: Sid::nt([20]) };
/// What Security writes where there is no account.
pub const NOBODY: Account = Account { name: "-", domain: "-", sid: Sid::new(0, [0]) };
/// The account behind every ticket-granting ticket.
pub const KRBTGT: Account = Account { name: "krbtgt", domain: "CORP", sid: domain_sid(502) };

/// j.doe at the keyboard of WS01, all evening.
pub const J_DOE_AT_WS01: Logon = J_DOE.logon(0x1b07f3);
/// adm.lee at the keyboard of WS01.
pub const ADM_LEE_AT_WS01: Logon = ADM_LEE.logon(0x2c4180);

/// A process: its id, program and command line.
#[derive(Clone)]
pub struct Process {
    pub id: u32,
    pub image: &'static str,
    pub command: String,
}

impl Process {
    pub fn new(id: u32, image: &'static str, command: impl Into<String>) -> Self {
        Self { id, image, command: command.into() }
    }
}

pub const POWERSHELL: &str = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";

pub fn explorer() -> Process {
    Process::new(4312, r"C:\Windows\explorer.exe", r"C:\Windows\Explorer.EXE")
}

/// The svchost.exe that starts out-of-process servers, WinRM's among them.
pub fn dcom(host: &Host) -> Process {
    Process::new(
        host.dcom,
        r"C:\Windows\System32\svchost.exe",
        r"C:\Windows\system32\svchost.exe -k DcomLaunch -p",
    )
}

/// Named event data.
pub fn data<const N: usize>(fields: [(&str, Value); N]) -> Payload {
    Payload::EventData(fields.map(|(name, value)| (name.to_owned(), value)).into())
}
