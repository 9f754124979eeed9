//! Session B: j.doe runs one command on SRV02 with winrs, by address, 22:03:20 to 22:03:29.

use evtx_writer::{EvtxGuid, FileTime};
use scenario::events::{ScenarioLogon, ScenarioProcess, dcom};

use crate::logs::{SampleLogs, at, later};
use crate::world::{DC01, J_DOE, J_DOE_AT_WS01, SRV02, WS01, explorer};
use scenario::events::security::{self, LogonSource};
use scenario::events::sysmon;
use scenario::events::winrm::{COMMAND_SHELL, WsmanEndpoint, with_caller};

const CLIENT_ACTIVITY: EvtxGuid = EvtxGuid::from_u128(0x5d20a9c3_7e11_0004_b0c2_2d83bad3dc01);
const SERVICE_ACTIVITY: EvtxGuid = EvtxGuid::from_u128(0xa4177b62_31c5_0006_51d7_3c84bad3dc01);
const SHELL: EvtxGuid = EvtxGuid::from_u128(0x2b90d6e7_8f4c_4135_a9e8_71c05bd3f264);
const COMMAND: EvtxGuid = EvtxGuid::from_u128(0xe47c1305_b6d8_49fa_8213_c95ea06f7d81);

/// The session's own logon, and that of the connection which read the output.
const OWNER: ScenarioLogon<'static> = J_DOE.logon(0x6a0c11);
const SECOND: ScenarioLogon<'static> = J_DOE.logon(0x6a0d3e);

pub fn add(logs: &mut SampleLogs) {
    client(logs);
    target(logs);
    processes(logs);
}

fn winrs() -> ScenarioProcess {
    ScenarioProcess::new(
        3472,
        r"C:\Windows\System32\winrs.exe",
        "winrs  -r:10.20.0.32 ipconfig /all",
    )
}

fn client(logs: &mut SampleLogs) {
    let prompt = ScenarioProcess::new(
        2972,
        r"C:\Windows\System32\cmd.exe",
        "\"C:\\Windows\\system32\\cmd.exe\" ",
    );
    let time = at(22, 1, 55, 8_200_314);
    logs.add(&WS01, security::process_created(time, J_DOE_AT_WS01, None, &prompt, &explorer()));
    let time = at(22, 3, 19, 9_107_266);
    logs.add(&WS01, security::process_created(time, J_DOE_AT_WS01, None, &winrs(), &prompt));
    logs.add(
        &WS01,
        sysmon::process_created(
            later(time, 8_250),
            "2026-03-14 22:03:19.910",
            J_DOE_AT_WS01,
            &winrs(),
            &prompt,
            "MD5=7B52E0D4C81A96F3054D2BE9A7C6183F",
        ),
    );
    connection(logs, at(22, 3, 20, 520_776), 50388, "2026-03-14 22:03:20.048");
    connection(logs, at(22, 3, 20, 7_130_540), 50389, "2026-03-14 22:03:20.709");

    let end = WsmanEndpoint::client(J_DOE, &winrs(), CLIENT_ACTIVITY);
    let mut events = vec![
        end.session(at(22, 3, 20, 410_112), "10.20.0.32/wsman"),
        end.session_created(at(22, 3, 20, 413_908)),
        end.shell(at(22, 3, 20, 419_025), COMMAND_SHELL, SHELL),
        end.operation(at(22, 3, 20, 420_650), "CreateShell", COMMAND_SHELL),
        end.operation_done(at(22, 3, 20, 6_940_071), "CreateShell"),
        end.command(at(22, 3, 20, 7_002_338), COMMAND),
        end.operation_done(at(22, 3, 20, 9_415_123), "Command"),
        end.operation_done(at(22, 3, 21, 6_120_884), "ReceiveShellOutput"),
        end.closing(at(22, 3, 21, 6_204_417), 15),
        end.closing(at(22, 3, 28, 9_120_305), 16),
        end.operation_done(at(22, 3, 29, 190_442), "DeleteShell"),
    ];
    events.extend(end.session_closed(at(22, 3, 29, 210_067), at(22, 3, 29, 301_780)));
    for event in events {
        logs.add(&WS01, event);
    }
    let exit = at(22, 3, 29, 402_918);
    logs.add(&WS01, security::process_exited(exit, J_DOE_AT_WS01, &winrs()));
}

fn connection(logs: &mut SampleLogs, time: FileTime, port: u16, utc: &str) {
    let (from, to) = ((&WS01, port), (&SRV02, 5985));
    logs.add(&WS01, security::connection_out(time, &winrs(), from, to));
    logs.add(
        &WS01,
        sysmon::connection(later(time, 11_400_000), utc, J_DOE_AT_WS01, &winrs(), from, to),
    );
    logs.add(&SRV02, security::connection_in(later(time, 6_940), from, to));
}

fn target(logs: &mut SampleLogs) {
    for (time, session) in [(at(22, 3, 20, 3_077_129), OWNER), (at(22, 3, 20, 7_560_303), SECOND)] {
        let checked = FileTime(time.0 - 81_226);
        logs.add(&DC01, security::ntlm_validated(&DC01, checked, J_DOE, WS01.name));
        let source = LogonSource::ntlm(WS01.name);
        logs.add(&SRV02, security::plain_logon(&SRV02, time, session, source));
    }
    let service = WsmanEndpoint::service(&SRV02, J_DOE, SERVICE_ACTIVITY);
    let shell = service.shell_created_unmatched(
        at(22, 3, 20, 4_018_550),
        &with_caller(COMMAND_SHELL, J_DOE, WS01.ip),
    );
    logs.add(&SRV02, shell);
    logs.add(&SRV02, security::logoff(&SRV02, at(22, 3, 29, 1_240_085), SECOND, 3));
    logs.add(&SRV02, security::logoff(&SRV02, at(22, 3, 29, 1_241_330), OWNER, 3));
}

fn processes(logs: &mut SampleLogs) {
    let host = ScenarioProcess::new(
        6980,
        r"C:\Windows\System32\winrshost.exe",
        r"C:\Windows\system32\WinrsHost.exe -Embedding",
    );
    let cmd = ScenarioProcess::new(
        3000,
        r"C:\Windows\System32\cmd.exe",
        r"C:\Windows\system32\cmd.exe /C ipconfig /all",
    );
    let conhost = ScenarioProcess::new(
        5724,
        r"C:\Windows\System32\conhost.exe",
        r"\??\C:\Windows\system32\conhost.exe 0xffffffff -ForceV1",
    );
    let ipconfig =
        ScenarioProcess::new(7112, r"C:\Windows\System32\ipconfig.exe", "ipconfig  /all");

    let start = at(22, 3, 20, 4_602_871);
    logs.add(
        &SRV02,
        security::process_created(start, SRV02.system(), Some(OWNER), &host, &dcom(&SRV02)),
    );
    for (time, new, parent) in [
        (at(22, 3, 20, 4_910_217), &conhost, &host),
        (at(22, 3, 20, 8_044_719), &cmd, &host),
        (at(22, 3, 20, 8_700_043), &ipconfig, &cmd),
    ] {
        logs.add(&SRV02, security::process_created(time, OWNER, None, new, parent));
    }
    for (time, process) in [
        (at(22, 3, 21, 5_530_094), &ipconfig),
        (at(22, 3, 21, 5_604_410), &cmd),
        (at(22, 3, 29, 450_112), &host),
        (at(22, 3, 29, 460_736), &conhost),
    ] {
        logs.add(&SRV02, security::process_exited(time, OWNER, process));
    }
}
