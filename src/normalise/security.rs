//! Security, and Sysmon where it says the same.
//!
//! Field names: Microsoft's audit event reference and Sysmon's schema.

use super::fields::{Reader, known, number, number_of, text};
use super::system;
use crate::model::{
    AccountName, Connection, EventKind, ExplicitCredentials, KerberosTicket, Logoff, Logon,
    NtlmValidation, ProcessExit, ProcessStart, Record,
};

pub(super) fn reader(event_id: u32) -> Option<Reader> {
    Some(match event_id {
        1102 => |record| system::log_cleared(record, "Security"),
        4624 => |record| EventKind::Logon(Box::new(logon(record))),
        4625 => |record| EventKind::LogonFailed(Box::new(logon(record))),
        4634 | 4647 => |record| EventKind::Logoff(logon_id(record, &TARGET)),
        4648 => explicit_credentials,
        4672 => |record| EventKind::SpecialPrivileges(logon_id(record, &SUBJECT)),
        4688 => process_start,
        4689 => process_exit,
        4697 | 4698 => system::installed,
        4768 | 4769 | 4771 => kerberos,
        4776 => ntlm,
        5156 => connection,
        _ => return None,
    })
}

pub(super) fn sysmon_reader(event_id: u32) -> Option<Reader> {
    Some(match event_id {
        1 => sysmon_process_start,
        3 => sysmon_connection,
        5 => sysmon_process_exit,
        11 | 13 => system::sysmon_change,
        _ => return None,
    })
}

/// Whom the fields of an event speak of: their names.
struct Side {
    domain: &'static str,
    name: &'static str,
    sid: &'static str,
    logon_id: &'static str,
}

const SUBJECT: Side = Side {
    domain: "SubjectDomainName",
    name: "SubjectUserName",
    sid: "SubjectUserSid",
    logon_id: "SubjectLogonId",
};

const TARGET: Side = Side {
    domain: "TargetDomainName",
    name: "TargetUserName",
    sid: "TargetUserSid",
    logon_id: "TargetLogonId",
};

/// The account of a side.
fn account(record: &Record, side: &Side) -> Option<AccountName> {
    let domain = record.data.get(side.domain).unwrap_or_default();
    match record.data.get(side.name) {
        // Kerberos events log `user@REALM` in the name.
        Some(name) if domain.is_empty() || name.contains('@') => AccountName::parse(name),
        Some(name) => AccountName::new(domain, name),
        None => None,
    }
}

fn long(record: &Record, name: &str) -> u64 {
    record.data.get(name).and_then(number).unwrap_or(0)
}

/// An address without the prefix of an IPv4 address mapped to IPv6; loopback stays.
fn address(record: &Record, name: &str) -> Option<String> {
    let ip = record.data.known(name)?;
    Some(ip.strip_prefix("::ffff:").unwrap_or(ip).to_owned())
}

fn logon(record: &Record) -> Logon {
    let status = known(record, "SubStatus").filter(|status| status != "0x0");
    Logon {
        account: account(record, &TARGET),
        sid: text(record, "TargetUserSid"),
        logon_id: long(record, "TargetLogonId"),
        logon_type: number_of(record, "LogonType").unwrap_or(0),
        package: text(record, "AuthenticationPackageName"),
        process: record.data.get("LogonProcessName").unwrap_or_default().trim().to_owned(),
        workstation: known(record, "WorkstationName"),
        ip: address(record, "IpAddress"),
        status: status.or_else(|| known(record, "Status")).unwrap_or_default(),
    }
}

fn logon_id(record: &Record, side: &Side) -> Logoff {
    let logon_id = long(record, side.logon_id);
    Logoff { logon_id, account: account(record, side) }
}

fn explicit_credentials(record: &Record) -> EventKind {
    EventKind::ExplicitCredentials(Box::new(ExplicitCredentials {
        subject: account(record, &SUBJECT),
        account: account(record, &TARGET),
        target: text(record, "TargetServerName"),
        target_info: text(record, "TargetInfo"),
        process_id: number_of(record, "ProcessId").unwrap_or(0),
        process_name: text(record, "ProcessName"),
    }))
}

/// 4688: since version 2 the process may run as another account than its creator's, and then the
/// Target fields say which; wsmprovhost's creator is the system itself.
fn process_start(record: &Record) -> EventKind {
    let target = long(record, "TargetLogonId");
    let side = if target != 0 { &TARGET } else { &SUBJECT };
    let sid = known(record, side.sid).filter(|sid| sid != "S-1-0-0");
    EventKind::ProcessStart(Box::new(ProcessStart {
        process_id: number_of(record, "NewProcessId").unwrap_or(0),
        image: text(record, "NewProcessName"),
        command_line: text(record, "CommandLine"),
        parent_process_id: number_of(record, "ProcessId").unwrap_or(0),
        parent_image: text(record, "ParentProcessName"),
        logon_id: long(record, side.logon_id),
        account: account(record, side),
        sid,
    }))
}

fn sysmon_process_start(record: &Record) -> EventKind {
    EventKind::ProcessStart(Box::new(ProcessStart {
        process_id: number_of(record, "ProcessId").unwrap_or(0),
        image: text(record, "Image"),
        command_line: text(record, "CommandLine"),
        parent_process_id: number_of(record, "ParentProcessId").unwrap_or(0),
        parent_image: text(record, "ParentImage"),
        logon_id: long(record, "LogonId"),
        account: record.data.known("User").and_then(AccountName::parse),
        sid: None,
    }))
}

fn process_exit(record: &Record) -> EventKind {
    let process_id = number_of(record, "ProcessId").unwrap_or(0);
    // The subject is the token of the process that ends (SeAuditProcessExit).
    EventKind::ProcessExit(Box::new(ProcessExit {
        process_id,
        image: text(record, "ProcessName"),
        logon_id: long(record, SUBJECT.logon_id),
        account: account(record, &SUBJECT),
        sid: known(record, SUBJECT.sid),
    }))
}

fn sysmon_process_exit(record: &Record) -> EventKind {
    let process_id = number_of(record, "ProcessId").unwrap_or(0);
    EventKind::ProcessExit(Box::new(ProcessExit {
        process_id,
        image: text(record, "Image"),
        logon_id: 0,
        account: record.data.known("User").and_then(AccountName::parse),
        sid: None,
    }))
}

fn kerberos(record: &Record) -> EventKind {
    let service = known(record, "ServiceName").unwrap_or_else(|| "krbtgt".to_owned());
    EventKind::KerberosTicket(Box::new(KerberosTicket {
        account: account(record, &TARGET),
        service,
        ip: address(record, "IpAddress"),
        status: text(record, "Status"),
    }))
}

fn ntlm(record: &Record) -> EventKind {
    let workstation = known(record, "Workstation");
    EventKind::NtlmValidation(Box::new(NtlmValidation {
        account: record.data.known("TargetUserName").and_then(AccountName::parse),
        workstation: workstation.map(|name| name.trim_start_matches('\\').to_owned()),
        status: text(record, "Status"),
    }))
}

/// The message number of "outbound" in 5156's Direction.
const OUTBOUND: &str = "%%14593";

/// WinRM's ports, HTTP and HTTPS, as 5156 writes them.
const WINRM_PORTS: [u32; 2] = [5985, 5986];

/// A 5156. Source is the opener's end in either direction (seen on real inbound records), but for
/// those that put the listening host first: then WinRM's port is the source's.
fn connection(record: &Record) -> EventKind {
    let port = |name| number_of(record, name).unwrap_or(0);
    let outbound = record.data.get("Direction") == Some(OUTBOUND);
    let turned = !outbound
        && WINRM_PORTS.contains(&port("SourcePort"))
        && !WINRM_PORTS.contains(&port("DestPort"));
    let (opener, opens, listener, listens) = match turned {
        false => ("SourceAddress", "SourcePort", "DestAddress", "DestPort"),
        true => ("DestAddress", "DestPort", "SourceAddress", "SourcePort"),
    };
    EventKind::Connection(Box::new(Connection {
        process_id: number_of(record, "ProcessID").unwrap_or(0),
        image: text(record, "Application"),
        outbound,
        source_ip: address(record, opener).unwrap_or_default(),
        source_host: String::new(),
        source_port: port(opens),
        destination_ip: address(record, listener).unwrap_or_default(),
        destination_host: String::new(),
        destination_port: port(listens),
    }))
}

fn sysmon_connection(record: &Record) -> EventKind {
    EventKind::Connection(Box::new(Connection {
        process_id: number_of(record, "ProcessId").unwrap_or(0),
        image: text(record, "Image"),
        outbound: record.data.get("Initiated") == Some("true"),
        source_ip: address(record, "SourceIp").unwrap_or_default(),
        source_host: known(record, "SourceHostname").unwrap_or_default(),
        source_port: number_of(record, "SourcePort").unwrap_or(0),
        destination_ip: address(record, "DestinationIp").unwrap_or_default(),
        destination_host: known(record, "DestinationHostname").unwrap_or_default(),
        destination_port: number_of(record, "DestinationPort").unwrap_or(0),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::*;

    #[test]
    fn a_process_runs_in_its_target_logon() {
        let data = [
            ("SubjectUserName", "SRV02$"),
            ("SubjectDomainName", "CORP"),
            ("SubjectLogonId", "0x3e7"),
            ("NewProcessId", "0x1a4"),
            ("NewProcessName", r"C:\Windows\System32\wsmprovhost.exe"),
            ("TargetUserName", "adm.lee"),
            ("TargetDomainName", "CORP"),
            ("TargetLogonId", "0x51abc"),
            ("TargetUserSid", "S-1-0-0"),
        ];
        match process_start(&record("Security", 4688, &data)) {
            EventKind::ProcessStart(process) => {
                assert_eq!((process.process_id, process.logon_id), (0x1a4, 0x51abc));
                assert_eq!(process.account.as_ref().unwrap().to_string(), r"CORP\adm.lee");
                assert_eq!((process.image_name().as_str(), process.sid), ("wsmprovhost.exe", None));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_kerberos_ticket_names_the_client() {
        let data = [
            ("TargetUserName", "lgrove@THREEBEESCO.COM"),
            ("TargetDomainName", "THREEBEESCO.COM"),
            ("ServiceName", "SRV02$"),
            ("IpAddress", "::ffff:172.16.66.19"),
        ];
        match kerberos(&record("Security", 4769, &data)) {
            EventKind::KerberosTicket(ticket) => {
                assert_eq!(ticket.account.unwrap().name, "lgrove");
                assert_eq!(ticket.ip.as_deref(), Some("172.16.66.19"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_inbound_5156_names_its_opener_whichever_end_comes_first() {
        let data = [
            ("Direction", "%%14592"),
            ("SourceAddress", "172.18.39.5"),
            ("SourcePort", "50123"),
            ("DestAddress", "172.18.39.6"),
            ("DestPort", "5985"),
        ];
        let turned = [
            ("Direction", "%%14592"),
            ("SourceAddress", "172.18.39.6"),
            ("SourcePort", "5985"),
            ("DestAddress", "172.18.39.5"),
            ("DestPort", "50123"),
        ];
        for data in [data, turned] {
            let EventKind::Connection(found) = connection(&record("Security", 5156, &data)) else {
                panic!("no connection");
            };
            assert!(!found.outbound);
            assert_eq!(found.source_ip, "172.18.39.5");
            assert_eq!(
                (found.destination_ip.as_str(), found.destination_port),
                ("172.18.39.6", 5985)
            );
        }
    }
}
