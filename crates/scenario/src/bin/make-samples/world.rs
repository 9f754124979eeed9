//! The people and machines of corp.example.

use evtx_writer::Sid;
use scenario::events::{Account, ScenarioHost, ScenarioLogon, ScenarioProcess};

/// The domain's SID, whose last part is the account's.
const fn domain_sid(account: u32) -> Sid {
    Sid::nt([21, 1713482045, 2620918753, 3380271914, account])
}

const fn account(name: &'static str, rid: u32) -> Account<'static> {
    let sid = domain_sid(rid);
    Account { name, domain: "CORP", realm: "CORP.EXAMPLE", sid, administrator: false }
}

const fn host(
    name: &'static str,
    ip: &'static str,
    account: Account<'static>,
) -> ScenarioHost<'static> {
    let suffix = "corp.example";
    ScenarioHost { name, suffix, ip, account, lsass: 0, winrm: 0, dcom: 0, old_build: false }
}

pub const WS01: ScenarioHost<'static> = ScenarioHost {
    lsass: 732,
    winrm: 2884,
    dcom: 908,
    ..host("WS01", "10.20.0.15", account("WS01$", 1121))
};
pub const SRV02: ScenarioHost<'static> = ScenarioHost {
    lsass: 700,
    winrm: 2516,
    dcom: 896,
    ..host("SRV02", "10.20.0.32", account("SRV02$", 1132))
};
pub const DC01: ScenarioHost<'static> = ScenarioHost {
    lsass: 684,
    winrm: 2308,
    dcom: 880,
    ..host("DC01", "10.20.0.5", account("DC01$", 1000))
};

pub const J_DOE: Account<'static> = account("j.doe", 1107);
pub const ADM_LEE: Account<'static> = Account { administrator: true, ..account("adm.lee", 1110) };
/// The account behind every ticket-granting ticket.
pub const KRBTGT: Account<'static> = account("krbtgt", 502);

/// j.doe at the keyboard of WS01, all evening.
pub const J_DOE_AT_WS01: ScenarioLogon<'static> = J_DOE.logon(0x1b07f3);
/// adm.lee at the keyboard of WS01.
pub const ADM_LEE_AT_WS01: ScenarioLogon<'static> = ADM_LEE.logon(0x2c4180);

pub fn explorer() -> ScenarioProcess {
    ScenarioProcess::new(4312, r"C:\Windows\explorer.exe", r"C:\Windows\Explorer.EXE")
}
