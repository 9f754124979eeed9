//! Events of the Security log; fields and types as Windows 10 logs them.

use evtx_writer::{EvtxEvent, EvtxGuid, EvtxValue, FileTime, Payload, Sid};

use super::{Account, NOBODY, ScenarioHost, ScenarioLogon, ScenarioProcess, data};

const PROVIDER: EvtxGuid = EvtxGuid::from_u128(0x54849625_5478_4994_a5ba_3e3b0328c30d);
const AUDIT_SUCCESS: u64 = 0x8020000000000000;
const AUDIT_FAILURE: u64 = 0x8010000000000000;
/// The kernel, which reports processes and connections.
const KERNEL: (u32, u32) = (4, 6244);
const NO_GUID: EvtxGuid = EvtxGuid::from_u128(0);
/// The provider that reports what is done to the logs themselves.
const EVENT_LOG: EvtxGuid = EvtxGuid::from_u128(0xfc65ddd8_d6ef_4962_83d5_6e5cfe9ce148);
/// "Yes" and "No" as message numbers.
const YES: &str = "%%1842";
const NO: &str = "%%1843";

fn event(
    (process_id, thread_id): (u32, u32),
    time: FileTime,
    id: u16,
    version: u8,
    task: u16,
    payload: Payload,
) -> EvtxEvent {
    EvtxEvent {
        provider: "Microsoft-Windows-Security-Auditing".into(),
        provider_guid: Some(PROVIDER),
        event_id: id,
        version,
        task,
        keywords: AUDIT_SUCCESS,
        time,
        process_id,
        thread_id,
        channel: "Security".into(),
        payload,
        ..EvtxEvent::default()
    }
}

fn lsass(host: &ScenarioHost<'_>) -> (u32, u32) {
    (host.lsass, host.lsass + 4104)
}

fn named(fields: Vec<(&str, EvtxValue)>) -> Payload {
    Payload::EventData(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn hex(pid: u32) -> EvtxValue {
    EvtxValue::HexInt64(pid.into())
}

/// How a logon came about.
#[derive(Debug, Clone)]
pub struct LogonSource<'a> {
    /// LogonType.
    pub kind: u32,
    package: &'static str,
    logon_process: &'static str,
    lm_package: &'static str,
    key_length: u32,
    workstation: &'a str,
    ip: &'a str,
    port: String,
    elevated: bool,
}

impl<'a> LogonSource<'a> {
    /// Over the network with Kerberos, by a service that does not tell the peer's address: so
    /// does HTTP.sys, and with it WinRM.
    pub fn kerberos() -> Self {
        Self {
            kind: 3,
            package: "Kerberos",
            logon_process: "Kerberos",
            lm_package: "-",
            key_length: 0,
            workstation: "-",
            ip: "-",
            port: "-".into(),
            elevated: true,
        }
    }

    /// Likewise with NTLM, which names the client.
    pub fn ntlm(workstation: &'a str) -> Self {
        Self {
            package: "NTLM",
            logon_process: "NtLmSsp ",
            lm_package: "NTLM V2",
            key_length: 128,
            workstation,
            elevated: false,
            ..Self::kerberos()
        }
    }

    /// With the password itself, by a service such as WinRM's (Basic) or sshd.
    pub fn cleartext(host: &ScenarioHost<'a>) -> Self {
        Self { workstation: host.name, ..Self::advapi(8) }
    }

    /// By a service on the machine, on behalf of somebody else.
    pub fn advapi(kind: u32) -> Self {
        Self { kind, package: "Negotiate", logon_process: "Advapi  ", ..Self::kerberos() }
    }

    /// Over the network by a service that does tell the address, such as SMB's.
    pub fn kerberos_from(ip: &'a str, port: u16) -> Self {
        Self { ip, port: port.to_string(), elevated: false, ..Self::kerberos() }
    }

    /// On the machine itself: 2 at the keyboard, 5 a service, 7 unlocked.
    pub fn local(host: &ScenarioHost<'a>, kind: u32) -> Self {
        Self {
            kind,
            package: "Negotiate",
            logon_process: if kind == 5 { "Advapi  " } else { "User32 " },
            workstation: if kind == 5 { "-" } else { host.name },
            ..Self::kerberos()
        }
    }

    /// By Remote Desktop.
    pub fn desktop(host: &ScenarioHost<'a>, ip: &'a str) -> Self {
        Self { ip, port: "0".into(), ..Self::local(host, 10) }
    }

    /// Process and path of what asked for the logon.
    fn process(&self) -> (u32, &'static str) {
        match self.kind {
            3 => (0, "-"),
            5 => (668, r"C:\Windows\System32\services.exe"),
            _ => (1204, r"C:\Windows\System32\svchost.exe"),
        }
    }
}

/// 4624. `guid` is the ticket's, which 4769 names too.
pub fn logon(
    host: &ScenarioHost<'_>,
    time: FileTime,
    logon: ScenarioLogon<'_>,
    source: LogonSource<'_>,
    guid: EvtxGuid,
) -> EvtxEvent {
    let subject = if source.kind == 3 { NOBODY.logon(0) } else { host.system() };
    // With Kerberos the domain is the realm.
    let domain =
        if source.package == "Kerberos" { logon.account.realm } else { logon.account.domain };
    let (process, image) = source.process();
    let mut fields = vec![
        ("SubjectUserSid", subject.account.sid.into()),
        ("SubjectUserName", subject.account.name.into()),
        ("SubjectDomainName", subject.account.domain.into()),
        ("SubjectLogonId", EvtxValue::HexInt64(subject.id)),
        ("TargetUserSid", logon.account.sid.into()),
        ("TargetUserName", logon.account.name.into()),
        ("TargetDomainName", domain.into()),
        ("TargetLogonId", EvtxValue::HexInt64(logon.id)),
        ("LogonType", source.kind.into()),
        ("LogonProcessName", source.logon_process.into()),
        ("AuthenticationPackageName", source.package.into()),
        ("WorkstationName", source.workstation.into()),
        ("LogonGuid", guid.into()),
        ("TransmittedServices", "-".into()),
        ("LmPackageName", source.lm_package.into()),
        ("KeyLength", source.key_length.into()),
        ("ProcessId", hex(process)),
        ("ProcessName", image.into()),
        ("IpAddress", source.ip.into()),
        ("IpPort", source.port.into()),
    ];
    if !host.old_build {
        fields.extend([
            ("ImpersonationLevel", "%%1833".into()),
            ("RestrictedAdminMode", "-".into()),
            ("TargetOutboundUserName", "-".into()),
            ("TargetOutboundDomainName", "-".into()),
            ("VirtualAccount", NO.into()),
            ("TargetLinkedLogonId", EvtxValue::HexInt64(0)),
            ("ElevatedToken", if source.elevated { YES } else { NO }.into()),
        ]);
    }
    let version = if host.old_build { 0 } else { 2 };
    event(lsass(host), time, 4624, version, 12544, named(fields))
}

/// 4624 that no ticket stands behind.
pub fn plain_logon(
    host: &ScenarioHost<'_>,
    time: FileTime,
    session: ScenarioLogon<'_>,
    source: LogonSource<'_>,
) -> EvtxEvent {
    logon(host, time, session, source, NO_GUID)
}

/// 4625: `account` did not get in, for the reason that NTSTATUS `status` names.
pub fn logon_failed(
    host: &ScenarioHost<'_>,
    time: FileTime,
    account: Account<'_>,
    source: LogonSource<'_>,
    status: u32,
) -> EvtxEvent {
    let (process, image) = source.process();
    let payload = data([
        ("SubjectUserSid", NOBODY.sid.into()),
        ("SubjectUserName", NOBODY.name.into()),
        ("SubjectDomainName", NOBODY.domain.into()),
        ("SubjectLogonId", EvtxValue::HexInt64(0)),
        ("TargetUserSid", NOBODY.sid.into()),
        ("TargetUserName", account.name.into()),
        ("TargetDomainName", account.domain.into()),
        ("Status", EvtxValue::HexInt32(0xc000006d)),
        ("FailureReason", "%%2313".into()),
        ("SubStatus", EvtxValue::HexInt32(status)),
        ("LogonType", source.kind.into()),
        ("LogonProcessName", source.logon_process.into()),
        ("AuthenticationPackageName", source.package.into()),
        ("WorkstationName", source.workstation.into()),
        ("TransmittedServices", "-".into()),
        ("LmPackageName", "-".into()),
        ("KeyLength", 0u32.into()),
        ("ProcessId", hex(process)),
        ("ProcessName", image.into()),
        ("IpAddress", source.ip.into()),
        ("IpPort", source.port.into()),
    ]);
    let failed = event(lsass(host), time, 4625, 0, 12544, payload);
    EvtxEvent { keywords: AUDIT_FAILURE, ..failed }
}

/// 4634.
pub fn logoff(
    host: &ScenarioHost<'_>,
    time: FileTime,
    logon: ScenarioLogon<'_>,
    kind: u32,
) -> EvtxEvent {
    let payload = data([
        ("TargetUserSid", logon.account.sid.into()),
        ("TargetUserName", logon.account.name.into()),
        ("TargetDomainName", logon.account.domain.into()),
        ("TargetLogonId", EvtxValue::HexInt64(logon.id)),
        ("LogonType", kind.into()),
    ]);
    event(lsass(host), time, 4634, 0, 12545, payload)
}

/// 4672.
pub fn privileges(host: &ScenarioHost<'_>, time: FileTime, logon: ScenarioLogon<'_>) -> EvtxEvent {
    let list = [
        "SeSecurityPrivilege",
        "SeBackupPrivilege",
        "SeRestorePrivilege",
        "SeTakeOwnershipPrivilege",
        "SeDebugPrivilege",
        "SeSystemEnvironmentPrivilege",
        "SeLoadDriverPrivilege",
        "SeImpersonatePrivilege",
        "SeDelegateSessionUserImpersonatePrivilege",
    ];
    let payload = data([
        ("SubjectUserSid", logon.account.sid.into()),
        ("SubjectUserName", logon.account.name.into()),
        ("SubjectDomainName", logon.account.domain.into()),
        ("SubjectLogonId", EvtxValue::HexInt64(logon.id)),
        ("PrivilegeList", list.join("\r\n\t\t\t").into()),
    ]);
    event(lsass(host), time, 4672, 0, 12548, payload)
}

/// 4648: `by` uses the credentials of `account`, its own or others, towards the web service of
/// `server`. `guid` is zero where no ticket was asked for.
pub fn explicit_credentials(
    host: &ScenarioHost<'_>,
    time: FileTime,
    (by, account): (ScenarioLogon<'_>, Account<'_>),
    server: &str,
    process: &ScenarioProcess,
    guid: EvtxGuid,
) -> EvtxEvent {
    let payload = data([
        ("SubjectUserSid", by.account.sid.into()),
        ("SubjectUserName", by.account.name.into()),
        ("SubjectDomainName", by.account.domain.into()),
        ("SubjectLogonId", EvtxValue::HexInt64(by.id)),
        ("LogonGuid", NO_GUID.into()),
        ("TargetUserName", account.name.into()),
        ("TargetDomainName", realm_or_domain(account).into()),
        ("TargetLogonGuid", guid.into()),
        ("TargetServerName", server.into()),
        ("TargetInfo", format!("HTTP/{server}").into()),
        ("ProcessId", hex(process.id)),
        ("ProcessName", process.image.into()),
        ("IpAddress", "-".into()),
        ("IpPort", "-".into()),
    ]);
    event(lsass(host), time, 4648, 0, 12544, payload)
}

fn realm_or_domain(account: Account<'_>) -> &str {
    if account.realm.is_empty() { account.domain } else { account.realm }
}

/// 4688 of Windows 7: whose process it becomes, and the command line, it does not say.
pub fn process_created_v0(
    time: FileTime,
    by: ScenarioLogon<'_>,
    new: &ScenarioProcess,
    parent: &ScenarioProcess,
) -> EvtxEvent {
    let payload = data([
        ("SubjectUserSid", by.account.sid.into()),
        ("SubjectUserName", by.account.name.into()),
        ("SubjectDomainName", by.account.domain.into()),
        ("SubjectLogonId", EvtxValue::HexInt64(by.id)),
        ("NewProcessId", hex(new.id)),
        ("NewProcessName", new.image.into()),
        ("TokenElevationType", "%%1936".into()),
        ("ProcessId", hex(parent.id)),
    ]);
    event(KERNEL, time, 4688, 0, 13312, payload)
}

/// 4688. `target` is the session the process is started for, if not that of `by`.
pub fn process_created(
    time: FileTime,
    by: ScenarioLogon<'_>,
    target: Option<ScenarioLogon<'_>>,
    new: &ScenarioProcess,
    parent: &ScenarioProcess,
) -> EvtxEvent {
    let high = target.unwrap_or(by).account.administrator;
    let system = target.is_none() && by.id == 0x3e7;
    let label = if system {
        16384
    } else if high {
        12288
    } else {
        8192
    };
    let target = target.unwrap_or(NOBODY.logon(0));
    let payload = data([
        ("SubjectUserSid", by.account.sid.into()),
        ("SubjectUserName", by.account.name.into()),
        ("SubjectDomainName", by.account.domain.into()),
        ("SubjectLogonId", EvtxValue::HexInt64(by.id)),
        ("NewProcessId", hex(new.id)),
        ("NewProcessName", new.image.into()),
        ("TokenElevationType", "%%1936".into()),
        ("ProcessId", hex(parent.id)),
        ("CommandLine", new.command.as_str().into()),
        // Windows leaves the SID out here even when it knows the name.
        ("TargetUserSid", NOBODY.sid.into()),
        ("TargetUserName", target.account.name.into()),
        ("TargetDomainName", target.account.domain.into()),
        ("TargetLogonId", EvtxValue::HexInt64(target.id)),
        ("ParentProcessName", parent.image.into()),
        ("MandatoryLabel", Sid::new(16, [label]).into()),
    ]);
    event(KERNEL, time, 4688, 2, 13312, payload)
}

/// 4689.
pub fn process_exited(
    time: FileTime,
    logon: ScenarioLogon<'_>,
    process: &ScenarioProcess,
) -> EvtxEvent {
    let payload = data([
        ("SubjectUserSid", logon.account.sid.into()),
        ("SubjectUserName", logon.account.name.into()),
        ("SubjectDomainName", logon.account.domain.into()),
        ("SubjectLogonId", EvtxValue::HexInt64(logon.id)),
        ("Status", EvtxValue::HexInt32(0)),
        ("ProcessId", hex(process.id)),
        ("ProcessName", process.image.into()),
    ]);
    event(KERNEL, time, 4689, 0, 13313, payload)
}

/// 4768, on a domain controller.
pub fn ticket_granting(
    dc: &ScenarioHost<'_>,
    time: FileTime,
    account: Account<'_>,
    krbtgt: Account<'_>,
    (from, port): (&ScenarioHost<'_>, u16),
) -> EvtxEvent {
    let payload = data([
        ("TargetUserName", account.name.into()),
        ("TargetDomainName", dc.suffix.into()),
        ("TargetSid", account.sid.into()),
        ("ServiceName", krbtgt.name.into()),
        ("ServiceSid", krbtgt.sid.into()),
        ("TicketOptions", EvtxValue::HexInt32(0x40810010)),
        ("Status", EvtxValue::HexInt32(0)),
        ("TicketEncryptionType", EvtxValue::HexInt32(0x12)),
        ("PreAuthType", "2".into()),
        ("IpAddress", mapped(from)),
        ("IpPort", port.to_string().into()),
        ("CertIssuerName", "".into()),
        ("CertSerialNumber", "".into()),
        ("CertThumbprint", "".into()),
    ]);
    event(lsass(dc), time, 4768, 0, 14339, payload)
}

/// 4769, on a domain controller: `account` at `from` asks for a ticket to `service`.
pub fn service_ticket(
    dc: &ScenarioHost<'_>,
    time: FileTime,
    account: Account<'_>,
    service: &ScenarioHost<'_>,
    (from, port): (&ScenarioHost<'_>, u16),
    guid: EvtxGuid,
) -> EvtxEvent {
    let payload = data([
        ("TargetUserName", format!("{}@{}", account.name, account.realm).into()),
        ("TargetDomainName", account.realm.into()),
        ("ServiceName", service.account.name.into()),
        ("ServiceSid", service.account.sid.into()),
        ("TicketOptions", EvtxValue::HexInt32(0x40810000)),
        ("TicketEncryptionType", EvtxValue::HexInt32(0x12)),
        ("IpAddress", mapped(from)),
        ("IpPort", port.to_string().into()),
        ("Status", EvtxValue::HexInt32(0)),
        ("LogonGuid", guid.into()),
        ("TransmittedServices", "-".into()),
    ]);
    event(lsass(dc), time, 4769, 0, 14337, payload)
}

fn mapped(host: &ScenarioHost<'_>) -> EvtxValue {
    format!("::ffff:{}", host.ip).into()
}

/// 4771, on a domain controller: `account` failed to prove itself, for the Kerberos error
/// `status`.
pub fn ticket_refused(
    dc: &ScenarioHost<'_>,
    time: FileTime,
    account: Account<'_>,
    (from, port): (&ScenarioHost<'_>, u16),
    status: u32,
) -> EvtxEvent {
    let payload = data([
        ("TargetUserName", account.name.into()),
        ("TargetSid", account.sid.into()),
        ("ServiceName", format!("krbtgt/{}", account.domain).into()),
        ("TicketOptions", EvtxValue::HexInt32(0x40810010)),
        ("Status", EvtxValue::HexInt32(status)),
        ("PreAuthType", "2".into()),
        ("IpAddress", mapped(from)),
        ("IpPort", port.to_string().into()),
        ("CertIssuerName", "".into()),
        ("CertSerialNumber", "".into()),
        ("CertThumbprint", "".into()),
    ]);
    EvtxEvent { keywords: AUDIT_FAILURE, ..event(lsass(dc), time, 4771, 0, 14339, payload) }
}

/// 4776, on whatever machine knows the account: NTLM credentials found right.
pub fn ntlm_validated(
    host: &ScenarioHost<'_>,
    time: FileTime,
    account: Account<'_>,
    workstation: &str,
) -> EvtxEvent {
    ntlm(host, time, account, workstation, 0)
}

/// 4776: NTLM credentials found wrong, for the reason that NTSTATUS `status` names.
pub fn ntlm_refused(
    host: &ScenarioHost<'_>,
    time: FileTime,
    account: Account<'_>,
    workstation: &str,
    status: u32,
) -> EvtxEvent {
    EvtxEvent { keywords: AUDIT_FAILURE, ..ntlm(host, time, account, workstation, status) }
}

fn ntlm(
    host: &ScenarioHost<'_>,
    time: FileTime,
    account: Account<'_>,
    workstation: &str,
    status: u32,
) -> EvtxEvent {
    let payload = data([
        ("PackageName", "MICROSOFT_AUTHENTICATION_PACKAGE_V1_0".into()),
        ("TargetUserName", account.name.into()),
        ("Workstation", workstation.into()),
        ("Status", EvtxValue::HexInt32(status)),
    ]);
    event(lsass(host), time, 4776, 0, 14336, payload)
}

/// 1102: `by` cleared this log.
pub fn cleared(time: FileTime, by: ScenarioLogon<'_>) -> EvtxEvent {
    let fields: [(&str, EvtxValue); 4] = [
        ("SubjectUserSid", by.account.sid.into()),
        ("SubjectUserName", by.account.name.into()),
        ("SubjectDomainName", by.account.domain.into()),
        ("SubjectLogonId", EvtxValue::HexInt64(by.id)),
    ];
    EvtxEvent {
        provider: "Microsoft-Windows-Eventlog".into(),
        provider_guid: Some(EVENT_LOG),
        event_id: 1102,
        level: 4,
        task: 104,
        keywords: 0x4020000000000000,
        time,
        process_id: 1016,
        thread_id: 1188,
        channel: "Security".into(),
        payload: Payload::UserData {
            element: "LogFileCleared".into(),
            namespace: "http://manifests.microsoft.com/win/2004/08/windows/eventlog".into(),
            fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
        },
        ..EvtxEvent::default()
    }
}

/// 5156 at the client's end, by `process`.
pub fn connection_out(
    time: FileTime,
    process: &ScenarioProcess,
    (from, port): (&ScenarioHost<'_>, u16),
    (to, to_port): (&ScenarioHost<'_>, u16),
) -> EvtxEvent {
    let path = process.image.to_lowercase().replacen("c:", r"\device\harddiskvolume2", 1);
    connection(time, (process.id, &path), "%%14593", (from, port), (to, to_port))
}

/// 5156 at the end of a service in the kernel, such as HTTP.sys.
pub fn connection_in(
    time: FileTime,
    (from, port): (&ScenarioHost<'_>, u16),
    (to, to_port): (&ScenarioHost<'_>, u16),
) -> EvtxEvent {
    connection(time, (4, "System"), "%%14592", (from, port), (to, to_port))
}

fn connection(
    time: FileTime,
    (process, application): (u32, &str),
    direction: &str,
    (from, port): (&ScenarioHost<'_>, u16),
    (to, to_port): (&ScenarioHost<'_>, u16),
) -> EvtxEvent {
    let (layer, layer_id) =
        if direction == "%%14593" { ("%%14611", 48u64) } else { ("%%14610", 44) };
    let payload = data([
        ("ProcessID", u64::from(process).into()),
        ("Application", application.into()),
        ("Direction", direction.into()),
        ("SourceAddress", from.ip.into()),
        ("SourcePort", port.to_string().into()),
        ("DestAddress", to.ip.into()),
        ("DestPort", to_port.to_string().into()),
        ("Protocol", 6u32.into()),
        ("FilterRTID", 69420u64.into()),
        ("LayerName", layer.into()),
        ("LayerRTID", layer_id.into()),
        ("RemoteUserID", NOBODY.sid.into()),
        ("RemoteMachineID", NOBODY.sid.into()),
    ]);
    event(KERNEL, time, 5156, 1, 12810, payload)
}
