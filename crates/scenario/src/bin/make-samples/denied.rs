//! The failed attempt: j.doe tries DC01 with PowerShell at 22:20:11, and may not.

use evtx_writer::EvtxGuid;
use scenario::events::NETWORK_SERVICE;

use crate::logs::{SampleLogs, at};
use crate::noise::j_doe_console;
use crate::world::{DC01, J_DOE, J_DOE_AT_WS01, WS01};
use scenario::events::powershell::{ClientRunspacePool, VERBOSE};
use scenario::events::security::{self, LogonSource};
use scenario::events::sysmon;
use scenario::events::winrm::{POWERSHELL_SHELL, WsmanEndpoint};

const ACCESS_DENIED: u32 = 5;
const POOL: EvtxGuid = EvtxGuid::from_u128(0xb81d4f60_2c97_4ea5_936b_f07ac51e8d24);
const RUNSPACE: EvtxGuid = EvtxGuid::from_u128(0x0c64e2f9_d715_4b8e_a083_3be96d1f57a0);
const CLIENT_ACTIVITY: EvtxGuid = EvtxGuid::from_u128(0x5d20a9c3_7e11_0007_c94e_6d9fbcd3dc01);
const SERVICE_ACTIVITY: EvtxGuid = EvtxGuid::from_u128(0x1b0e64d5_90a2_0000_6fe3_58a0bcd3dc01);
const TICKET: EvtxGuid = EvtxGuid::from_u128(0x27e95b10_c4d8_f36a_8e41_d590ba7c2e63);

pub fn add(logs: &mut SampleLogs) {
    let console = j_doe_console();
    let block = EvtxGuid::from_u128(0x9f20c7e4_53bd_4a16_88d9_04e61bfa7c35);
    let line = "Enter-PSSession -ComputerName DC01.corp.example";
    for event in console.script(at(22, 20, 10, 9_302_255), VERBOSE, block, &[line]) {
        logs.add(&WS01, event);
    }
    let pool = ClientRunspacePool {
        process_id: console.process.id,
        account: J_DOE,
        runspace: RUNSPACE,
        pool: POOL,
    };
    for event in pool.opening(at(22, 20, 11, 104_228)) {
        logs.add(&WS01, event);
    }
    let end = WsmanEndpoint::client(J_DOE, &console.process, CLIENT_ACTIVITY);
    let message = "The WinRM client cannot process the request. Access is denied.";
    for event in [
        end.session(at(22, 20, 11, 201_336), "DC01.corp.example/wsman?PSVersion=5.1.19041.1682"),
        end.option(at(22, 20, 11, 203_900), 25, "WSMAN_OPTION_LOCALE", "en-US"),
        end.session_created(at(22, 20, 11, 205_117)),
        end.shell(at(22, 20, 11, 209_554), POWERSHELL_SHELL, POOL),
        end.operation(at(22, 20, 11, 211_008), "CreateShell", POWERSHELL_SHELL),
        end.authentication_failed(at(22, 20, 11, 2_440_912), message),
        end.operation_failed(at(22, 20, 11, 2_442_377), "CreateShell", ACCESS_DENIED),
    ] {
        logs.add(&WS01, event);
    }
    for event in end.session_closed(at(22, 20, 11, 2_509_113), at(22, 20, 11, 2_511_846)) {
        logs.add(&WS01, event);
    }
    logs.add(&WS01, pool.state(at(22, 20, 11, 2_480_067), "Broken"));
    let error = "Error Message = Connecting to remote server DC01.corp.example failed with the \
                 following error message : Access is denied.\r\nFully Qualified Error ID = \
                 CreateRemoteRunspaceFailed,Microsoft.PowerShell.Commands.EnterPSSessionCommand\r\n";
    logs.add(&WS01, console.error(at(22, 20, 11, 2_600_451), 41, "Enter-PSSession", error));

    let (from, to) = ((&WS01, 50431), (&DC01, 5985));
    let process = &console.process;
    let time = at(22, 20, 11, 504_662);
    logs.add(&WS01, security::connection_out(time, process, from, to));
    let utc = "2026-03-14 22:20:11.046";
    let seen = at(22, 20, 12, 1_804_210);
    logs.add(&WS01, sysmon::connection(seen, utc, J_DOE_AT_WS01, process, from, to));
    logs.add(
        &WS01,
        security::explicit_credentials(
            &WS01,
            at(22, 20, 11, 480_370),
            (J_DOE_AT_WS01, J_DOE),
            "DC01.corp.example",
            process,
            TICKET,
        ),
    );

    // The ticket and the logon are fine: it is the service that says no.
    let asked = at(22, 20, 11, 440_091);
    logs.add(&DC01, security::service_ticket(&DC01, asked, J_DOE, &DC01, (&WS01, 50430), TICKET));
    logs.add(&DC01, security::connection_in(at(22, 20, 11, 511_905), from, to));
    let session = J_DOE.logon(0x1af40b6);
    let ticket = EvtxGuid::from_u128(0x64d1ba08_e95f_4c73_b2a6_8f03d7ce1b59);
    let time = at(22, 20, 11, 1_102_340);
    logs.add(&DC01, security::logon(&DC01, time, session, LogonSource::kerberos(), ticket));
    let service = WsmanEndpoint::service(&DC01, NETWORK_SERVICE, SERVICE_ACTIVITY);
    logs.add(&DC01, service.authorisation_failed(at(22, 20, 11, 1_905_518), ACCESS_DENIED));
    logs.add(&DC01, security::logoff(&DC01, at(22, 20, 11, 2_310_776), session, 3));
}
