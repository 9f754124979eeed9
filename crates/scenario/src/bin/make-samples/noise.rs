//! Everything else that goes on in corp.example that night. None of it is a remoting session.

use evtx_writer::{EvtxGuid, FileTime};
use scenario::events::{NETWORK_SERVICE, POWERSHELL, SYSTEM, ScenarioHost, ScenarioProcess, dcom};

use crate::logs::{SampleLogs, at, later};
use crate::world::{DC01, J_DOE, J_DOE_AT_WS01, KRBTGT, SRV02, WS01, explorer};
use scenario::events::powershell::{ScenarioEngine, VERBOSE};
use scenario::events::security::{self, LogonSource};
use scenario::events::system::service_state;
use scenario::events::winrm::WsmanEndpoint;

/// Programs and command lines of ordinary processes.
const PROGRAMS: [(&str, &str); 8] = [
    (r"C:\Windows\System32\taskhostw.exe", "taskhostw.exe Install $(Arg0)"),
    (r"C:\Windows\System32\svchost.exe", r"C:\Windows\system32\svchost.exe -k netsvcs -p -s BITS"),
    (r"C:\Windows\System32\backgroundTaskHost.exe", "backgroundTaskHost.exe -ServerName:App"),
    (r"C:\Windows\System32\SearchProtocolHost.exe", "SearchProtocolHost.exe Global\\UsGthrFltPipe"),
    (r"C:\Windows\System32\RuntimeBroker.exe", r"C:\Windows\System32\RuntimeBroker.exe -Embedding"),
    (r"C:\Windows\System32\sppsvc.exe", r"C:\Windows\system32\sppsvc.exe"),
    (r"C:\Windows\System32\dllhost.exe", r"C:\Windows\system32\DllHost.exe /Processid:{AB8902B4}"),
    (r"C:\Windows\System32\gpupdate.exe", r"C:\Windows\system32\gpupdate.exe /target:computer"),
];

pub fn add(logs: &mut SampleLogs) {
    for host in [&WS01, &SRV02] {
        forwarding(logs, host);
        services(logs, host);
    }
    processes(logs, &WS01, 60);
    processes(logs, &SRV02, 240);
    machine_logons(logs);
    people(logs);
    local_powershell(logs);
    scheduled_powershell(logs);
    reused_process_id(logs);
    cim_query(logs);
}

/// `count` times spread evenly over the two hours.
fn spread(count: u64) -> impl Iterator<Item = (u64, FileTime)> {
    (0..count).map(move |i| {
        // An odd part of a second, so that they do not look like clockwork.
        let ticks = i * 72_000_000_000 / count + i * 7_919_113 % 10_000_000;
        (i, later(at(21, 0, 0, 0), ticks))
    })
}

/// Event forwarding: svchost.exe as NETWORK SERVICE talks to the collector.
fn forwarding(logs: &mut SampleLogs, host: &ScenarioHost<'static>) {
    let uri = "http://schemas.microsoft.com/wbem/wsman/1/SubscriptionManager/Subscription";
    for (i, time) in spread(8) {
        let time = later(time, u64::from(host.winrm) * 10_000);
        let activity = 0x90d3a7f1_48c6_0000_0000_5b17b0d3dc01 | u128::from(i) << 64;
        let end = WsmanEndpoint::service(host, NETWORK_SERVICE, EvtxGuid::from_u128(activity));
        logs.add(host, end.session(time, "DC01.corp.example/wsman/SubscriptionManager/WEC"));
        logs.add(host, end.session_created(later(time, 2_900)));
        logs.add(host, end.operation(later(time, 4_111), "Enumeration", uri));
        logs.add(host, end.operation_done(later(time, 310_420), "Enumeration"));
        for event in end.session_closed(later(time, 311_000), later(time, 312_750)) {
            logs.add(host, event);
        }
        // The collector's end: a machine's logon, once without an address as HTTP.sys has it.
        let session = host.account.logon(0x1a20000 + u64::from(host.winrm) * 256 + i);
        let source = if i % 2 == 0 {
            LogonSource::kerberos()
        } else {
            LogonSource::kerberos_from(host.ip, 49700 + i as u16)
        };
        logs.add(&DC01, security::plain_logon(&DC01, later(time, 120_330), session, source));
        logs.add(&DC01, security::logoff(&DC01, later(time, 10_450_118), session, 3));
    }
}

/// Services come and go.
fn services(logs: &mut SampleLogs, host: &ScenarioHost<'static>) {
    let names =
        ["Background Intelligent Transfer Service", "Windows Update", "Software Protection"];
    for (i, time) in spread(24) {
        let state = if i % 2 == 0 { "running" } else { "stopped" };
        logs.add(host, service_state(time, names[i as usize / 2 % names.len()], state));
    }
    let time = at(21, 0, 12, 3_380_912);
    logs.add(host, service_state(time, "Windows Remote Management (WS-Management)", "running"));
}

/// Ordinary programs of the system, each of which ends after a while.
fn processes(logs: &mut SampleLogs, host: &ScenarioHost<'static>, count: u64) {
    let services = ScenarioProcess::new(
        668,
        r"C:\Windows\System32\services.exe",
        r"C:\Windows\system32\services.exe",
    );
    for (i, time) in spread(count) {
        let (image, command) = PROGRAMS[i as usize % PROGRAMS.len()];
        // Ids that no process of the story has.
        let process = ScenarioProcess::new(10_000 + 4 * i as u32, image, command);
        let by = if i % 3 == 0 { host.network_service() } else { host.system() };
        logs.add(host, security::process_created(time, by, None, &process, &services));
        let exit = later(time, 50_000_000 + i % 11 * 31_000_000);
        logs.add(host, security::process_exited(exit, by, &process));
    }
}

/// Machines log on to each other, services on their own machine.
fn machine_logons(logs: &mut SampleLogs) {
    for (i, time) in spread(40) {
        let (account, from) =
            if i % 2 == 0 { (WS01.account, &WS01) } else { (SRV02.account, &SRV02) };
        let session = account.logon(0x1b30000 + i * 0x97);
        let source = LogonSource::kerberos_from(from.ip, 51000 + i as u16);
        logs.add(&DC01, security::plain_logon(&DC01, time, session, source));
        logs.add(&DC01, security::logoff(&DC01, later(time, 100_220_000), session, 3));
    }
    for (i, time) in spread(30) {
        for host in [&WS01, &SRV02] {
            let session = SYSTEM.logon(0x3e7);
            let time = later(time, 3_003 + i);
            let source = LogonSource::local(host, 5);
            logs.add(host, security::plain_logon(host, time, session, source));
            logs.add(host, security::privileges(host, later(time, 90), session));
        }
    }
}

/// j.doe at the keyboard of WS01, and files of j.doe on SRV02.
fn people(logs: &mut SampleLogs) {
    let seated = LogonSource::local(&WS01, 2);
    let time = at(21, 0, 30, 1_204_416);
    logs.add(&WS01, security::plain_logon(&WS01, time, J_DOE_AT_WS01, seated));
    logs.add(
        &DC01,
        security::ticket_granting(&DC01, at(21, 0, 30, 600_273), J_DOE, KRBTGT, (&WS01, 50019)),
    );
    for (hour, minute, id) in [(21, 52, 0x1f6021), (22, 41, 0x2a17c8)] {
        let unlocked = J_DOE.logon(id);
        let time = at(hour, minute, 8, 4_010_550);
        let source = LogonSource::local(&WS01, 7);
        logs.add(&WS01, security::plain_logon(&WS01, time, unlocked, source));
        logs.add(&WS01, security::logoff(&WS01, later(time, 20_114), unlocked, 7));
    }
    for (i, time) in spread(12) {
        let session = J_DOE.logon(0x5e0000 + i * 0x1b9d);
        let time = later(time, 77_000_000);
        let source = LogonSource::kerberos_from(WS01.ip, 50600 + i as u16);
        logs.add(&SRV02, security::plain_logon(&SRV02, time, session, source));
        logs.add(&SRV02, security::logoff(&SRV02, later(time, 120_000_000), session, 3));
    }
}

/// The console that j.doe keeps open on WS01; the failed attempt comes from it, too.
pub fn j_doe_console() -> ScenarioEngine<'static> {
    ScenarioEngine::console(
        ScenarioProcess::new(5600, POWERSHELL, format!("\"{POWERSHELL}\" ")),
        J_DOE,
        "5.1.19041.1682",
        [
            EvtxGuid::from_u128(0x16b7d0e3_8af5_49c2_b41e_7205cd9f836a),
            EvtxGuid::from_u128(0xca52f981_70de_4136_9f4b_a83e160d7bc5),
            EvtxGuid::from_u128(0x5d20a9c3_7e11_0002_1a96_4410b6d3dc01),
        ],
    )
}

/// j.doe uses PowerShell on WS01 itself.
fn local_powershell(logs: &mut SampleLogs) {
    let console = j_doe_console();
    let time = at(21, 30, 2, 4_107_335);
    logs.add(
        &WS01,
        security::process_created(time, J_DOE_AT_WS01, None, &console.process, &explorer()),
    );
    for event in console.console_started(at(21, 30, 2, 6_204_118), at(21, 30, 3, 1_390_274)) {
        logs.add(&WS01, event);
    }
    logs.add(&WS01, console.listening(at(21, 30, 2, 7_011_830)));
    logs.add(&WS01, console.available(at(21, 30, 2, 8_560_091), 13));
    let block = EvtxGuid::from_u128(0xd3a86f07_1c59_4be4_8d20_96fb04e7c1a3);
    for event in console.script(at(21, 30, 15, 3_306_720), VERBOSE, block, &["Get-ChildItem"]) {
        logs.add(&WS01, event);
    }
    let time = at(21, 30, 15, 3_610_944);
    logs.add(&WS01, console.command(time, (2, 17), "Get-ChildItem", &[]));
    let pipeline =
        console.pipeline(later(time, 21_000), (2, 16), "Get-ChildItem", "Get-ChildItem", &[]);
    logs.add(&WS01, pipeline);
    logs.add(&WS01, console.stopped(at(22, 48, 30, 5_500_386), 47));
}

/// A scheduled task runs PowerShell on SRV02 in the middle of session A.
fn scheduled_powershell(logs: &mut SampleLogs) {
    let task = ScenarioProcess::new(
        4920,
        POWERSHELL,
        format!("{POWERSHELL} -NoProfile -File C:\\Ops\\Rotate-Logs.ps1"),
    );
    let scheduler = ScenarioProcess::new(
        1312,
        r"C:\Windows\System32\svchost.exe",
        r"C:\Windows\system32\svchost.exe -k netsvcs -p -s Schedule",
    );
    let by = SRV02.system();
    let start = at(21, 15, 10, 205_417);
    logs.add(&SRV02, security::process_created(start, by, None, &task, &scheduler));
    let engine = ScenarioEngine::console(
        task,
        SYSTEM,
        "5.1.20348.2227",
        [
            EvtxGuid::from_u128(0xf80b39d4_27c6_4ea1_b95f_43d1607cae82),
            EvtxGuid::from_u128(0x4ed7c512_9b03_4f68_a7d6_0c85be23f914),
            EvtxGuid::from_u128(0xa4177b62_31c5_0003_d04b_7ef1b3d3dc01),
        ],
    );
    for event in engine.console_started(at(21, 15, 10, 2_480_336), at(21, 15, 10, 6_007_152)) {
        logs.add(&SRV02, event);
    }
    logs.add(&SRV02, engine.listening(at(21, 15, 10, 3_310_029)));
    logs.add(&SRV02, engine.available(at(21, 15, 10, 4_006_713), 13));
    let block = EvtxGuid::from_u128(0x5c97e1b0_d462_4803_9afe_e1720bd8c536);
    let line = r"Get-ChildItem C:\Ops\Logs -Filter *.log | Compress-Archive -DestinationPath C:\Ops\logs.zip";
    for event in engine.script(at(21, 15, 10, 7_214_480), VERBOSE, block, &[line]) {
        logs.add(&SRV02, event);
    }
    logs.add(&SRV02, engine.stopped(at(21, 15, 18, 9_041_227), 19));
    logs.add(&SRV02, security::process_exited(at(21, 15, 19, 30_566), by, &engine.process));
}

/// The process id of session A's host, used before it and after.
fn reused_process_id(logs: &mut SampleLogs) {
    let by = SRV02.system();
    for (start, end, (image, command)) in [
        (at(21, 1, 10, 3_021_754), at(21, 3, 44, 7_150_230), PROGRAMS[0]),
        (at(22, 30, 5, 1_180_093), at(22, 31, 0, 4_401_862), PROGRAMS[3]),
    ] {
        let process = ScenarioProcess::new(5336, image, command);
        logs.add(&SRV02, security::process_created(start, by, None, &process, &dcom(&SRV02)));
        logs.add(&SRV02, security::process_exited(end, by, &process));
    }
}

/// j.doe asks SRV02 for its operating system: WinRM without a shell.
fn cim_query(logs: &mut SampleLogs) {
    let console = j_doe_console();
    let activity = EvtxGuid::from_u128(0x5d20a9c3_7e11_0003_93f5_a95bb7d3dc01);
    let end = WsmanEndpoint::client(J_DOE, &console.process, activity);
    let uri = "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/Win32_OperatingSystem";
    for event in [
        end.session(at(21, 40, 5, 1_203_344), "SRV02.corp.example/wsman"),
        end.session_created(at(21, 40, 5, 1_206_018)),
        end.operation(at(21, 40, 5, 1_209_775), "Enumeration", uri),
        end.operation_done(at(21, 40, 5, 4_880_137), "Enumeration"),
    ] {
        logs.add(&WS01, event);
    }
    for event in end.session_closed(at(21, 40, 5, 4_902_460), at(21, 40, 5, 4_910_083)) {
        logs.add(&WS01, event);
    }
    let (from, to) = ((&WS01, 50290), (&SRV02, 5985));
    let time = at(21, 40, 5, 1_604_922);
    logs.add(&WS01, security::connection_out(time, &console.process, from, to));
    logs.add(&SRV02, security::connection_in(later(time, 7_230), from, to));
    let ticket = EvtxGuid::from_u128(0x0f83cd56_41ba_e79d_25b8_6e0fa19c74d2);
    logs.add(
        &DC01,
        security::service_ticket(
            &DC01,
            at(21, 40, 5, 1_540_116),
            J_DOE,
            &SRV02,
            (&WS01, 50289),
            ticket,
        ),
    );
    let session = J_DOE.logon(0x64a2f9);
    let time = at(21, 40, 5, 2_033_871);
    logs.add(&SRV02, security::plain_logon(&SRV02, time, session, LogonSource::kerberos()));
    logs.add(&SRV02, security::logoff(&SRV02, at(21, 41, 5, 6_107_204), session, 3));
    let wmi = ScenarioProcess::new(
        6412,
        r"C:\Windows\System32\wbem\WmiPrvSE.exe",
        r"C:\Windows\system32\wbem\wmiprvse.exe -secured -Embedding",
    );
    logs.add(
        &SRV02,
        security::process_created(
            at(21, 40, 5, 2_910_446),
            SRV02.system(),
            Some(SRV02.network_service()),
            &wmi,
            &dcom(&SRV02),
        ),
    );
}
