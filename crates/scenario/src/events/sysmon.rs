//! Events of Sysmon.

use evtx_writer::{EvtxEvent, EvtxGuid, EvtxValue, FileTime, Payload};

use super::{Account, SYSTEM, ScenarioHost, ScenarioLogon, ScenarioProcess, data};

fn event(time: FileTime, id: u16, payload: Payload) -> EvtxEvent {
    EvtxEvent {
        provider: "Microsoft-Windows-Sysmon".into(),
        provider_guid: Some(EvtxGuid::from_u128(0x5770385f_c22a_43e0_bf4c_06f5698ffbd9)),
        event_id: id,
        version: 5,
        level: 4,
        task: id,
        keywords: 0x8000000000000000,
        time,
        process_id: 3124,
        thread_id: 4420,
        channel: "Microsoft-Windows-Sysmon/Operational".into(),
        user_sid: Some(SYSTEM.sid),
        payload,
        ..EvtxEvent::default()
    }
}

fn process_guid(process: &ScenarioProcess) -> EvtxGuid {
    EvtxGuid::from_u128(0x1c5ae207_9a41_69b5_0000_000000001500 | u128::from(process.id) << 48)
}

fn logon_guid(logon: ScenarioLogon<'_>) -> EvtxGuid {
    EvtxGuid::from_u128(0x1c5ae207_8f02_69b5_0000_000000000000 | u128::from(logon.id))
}

/// 1: process created. `utc` is `time` as Sysmon spells it.
pub fn process_created(
    time: FileTime,
    utc: &str,
    logon: ScenarioLogon<'_>,
    new: &ScenarioProcess,
    parent: &ScenarioProcess,
    hashes: &str,
) -> EvtxEvent {
    let payload = data([
        ("RuleName", "-".into()),
        ("UtcTime", utc.into()),
        ("ProcessGuid", process_guid(new).into()),
        ("ProcessId", new.id.into()),
        ("Image", new.image.into()),
        ("FileVersion", "10.0.19041.546 (WinBuild.160101.0800)".into()),
        ("Description", "-".into()),
        ("Product", "Microsoft® Windows® Operating System".into()),
        ("Company", "Microsoft Corporation".into()),
        ("OriginalFileName", "-".into()),
        ("CommandLine", new.command.as_str().into()),
        ("CurrentDirectory", r"C:\Windows\system32\".into()),
        ("User", logon.account.full_name().into()),
        ("LogonGuid", logon_guid(logon).into()),
        ("LogonId", EvtxValue::HexInt64(logon.id)),
        ("TerminalSessionId", 1u32.into()),
        ("IntegrityLevel", if logon.account.administrator { "High" } else { "Medium" }.into()),
        ("Hashes", hashes.into()),
        ("ParentProcessGuid", process_guid(parent).into()),
        ("ParentProcessId", parent.id.into()),
        ("ParentImage", parent.image.into()),
        ("ParentCommandLine", parent.command.as_str().into()),
    ]);
    event(time, 1, payload)
}

/// 3: connection made by `process` of `logon`.
pub fn connection(
    time: FileTime,
    utc: &str,
    logon: ScenarioLogon<'_>,
    process: &ScenarioProcess,
    from: (&ScenarioHost<'_>, u16),
    to: (&ScenarioHost<'_>, u16),
) -> EvtxEvent {
    one_end(time, utc, (logon.account, process, true), from, to)
}

/// 3: connection taken by a service in the kernel, such as HTTP.sys.
pub fn connection_accepted(
    time: FileTime,
    utc: &str,
    from: (&ScenarioHost<'_>, u16),
    to: (&ScenarioHost<'_>, u16),
) -> EvtxEvent {
    one_end(time, utc, (SYSTEM, &ScenarioProcess::new(4, "System", ""), false), from, to)
}

fn one_end(
    time: FileTime,
    utc: &str,
    (account, process, initiated): (Account<'_>, &ScenarioProcess, bool),
    (from, port): (&ScenarioHost<'_>, u16),
    (to, to_port): (&ScenarioHost<'_>, u16),
) -> EvtxEvent {
    let payload = data([
        ("RuleName", "-".into()),
        ("UtcTime", utc.into()),
        ("ProcessGuid", process_guid(process).into()),
        ("ProcessId", process.id.into()),
        ("Image", process.image.into()),
        ("User", account.full_name().into()),
        ("Protocol", "tcp".into()),
        ("Initiated", initiated.into()),
        ("SourceIsIpv6", false.into()),
        ("SourceIp", from.ip.into()),
        ("SourceHostname", "-".into()),
        ("SourcePort", port.into()),
        ("SourcePortName", "-".into()),
        ("DestinationIsIpv6", false.into()),
        ("DestinationIp", to.ip.into()),
        ("DestinationHostname", "-".into()),
        ("DestinationPort", to_port.into()),
        ("DestinationPortName", "-".into()),
    ]);
    event(time, 3, payload)
}

/// 5: process ended.
pub fn process_ended(time: FileTime, utc: &str, process: &ScenarioProcess) -> EvtxEvent {
    let payload = data([
        ("RuleName", "-".into()),
        ("UtcTime", utc.into()),
        ("ProcessGuid", process_guid(process).into()),
        ("ProcessId", process.id.into()),
        ("Image", process.image.into()),
    ]);
    EvtxEvent { version: 3, ..event(time, 5, payload) }
}
