//! Small inputs of what real logs do, each a handful of records.

use chrono::{DateTime, TimeDelta, Utc};

use super::reconstruction::Reconstruction;
use super::testing::rebuilt;
use crate::model::{
    AttemptIdx, CommandIdx, Confidence, EndKind, Event, FailureReason, Link, LoggedId, Record,
    Session, SessionIdx, ShellKind, Transport,
};
use crate::normalise::testing::{self, event};

pub(super) const WINRM: &str = "Microsoft-Windows-WinRM/Operational";
pub(super) const POWERSHELL: &str = "Microsoft-Windows-PowerShell/Operational";
const CLASSIC: &str = "Windows PowerShell";
const URI: &str = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell";

pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

/// Returns a record of a host at a second.
pub(super) fn on(
    host: &str,
    seconds: i64,
    channel: &str,
    id: u32,
    data: &[(&str, &str)],
) -> Record {
    let mut record = testing::record(channel, id, data);
    record.computer = host.into();
    record.time = at(seconds);
    record
}

pub(super) fn by(sid: &str, process: u32, record: Record) -> Record {
    Record { user_sid: Some(sid.into()), process_id: Some(process), ..record }
}

pub(super) fn rebuilt_from(records: Vec<Record>) -> Reconstruction {
    let events = records.into_iter().enumerate().map(|(number, mut record)| {
        record.source.offset = number as u64;
        event(&record)
    });
    rebuilt(events.collect::<Vec<Event>>())
}

pub(super) fn logon(host: &str, seconds: i64, user: &str, sid: &str, id: &str) -> Record {
    let data = [
        ("TargetUserName", user),
        ("TargetDomainName", "CORP"),
        ("TargetUserSid", sid),
        ("TargetLogonId", id),
        ("LogonType", "3"),
        ("AuthenticationPackageName", "Kerberos"),
        ("IpAddress", "-"),
    ];
    on(host, seconds, "Security", 4624, &data)
}

pub(super) fn host_process(host: &str, seconds: i64, id: &str, user: &str, logon: &str) -> Record {
    let data = [
        ("SubjectLogonId", "0x3e7"),
        ("NewProcessId", id),
        ("NewProcessName", r"C:\Windows\System32\wsmprovhost.exe"),
        ("ProcessId", "0x300"),
        ("TargetUserName", user),
        ("TargetDomainName", "CORP"),
        ("TargetLogonId", logon),
    ];
    on(host, seconds, "Security", 4688, &data)
}

pub(super) fn child(host: &str, seconds: i64, id: &str, parent: &str, line: &str) -> Record {
    let data = [
        ("NewProcessId", id),
        ("NewProcessName", r"C:\Windows\System32\cmd.exe"),
        ("ProcessId", parent),
        ("CommandLine", line),
        ("SubjectLogonId", "0x111"),
    ];
    on(host, seconds, "Security", 4688, &data)
}

fn context(application: &str, host_id: &str) -> String {
    format!(
        "\tHost Name = ServerRemoteHost\n\tHost ID = {host_id}\n\tHost Application = {application}\n\
         \tRunspace ID = r-{host_id}\n\tPipeline ID = 1\n\tUser = CORP\\ann\n"
    )
}

pub(super) fn command(host: &str, seconds: i64, process: u32, host_id: &str) -> Record {
    let context = context("C:\\Windows\\system32\\wsmprovhost.exe -Embedding", host_id);
    let payload = "CommandInvocation(Get-Date): \"Get-Date\"";
    let data = [("ContextInfo", context.as_str()), ("Payload", payload)];
    by("S-1-5-21-1-1-1-1101", process, on(host, seconds, POWERSHELL, 4103, &data))
}

fn texts(reconstruction: &Reconstruction, session: usize) -> Vec<&str> {
    let own = reconstruction
        .commands
        .iter()
        .filter(|command| command.session == SessionIdx::new(session));
    own.map(|command| command.text.as_str()).collect()
}

pub(super) const ANN: &str = "S-1-5-21-1-1-1-1101";
pub(super) const BOB: &str = "S-1-5-21-1-1-1-1102";

pub(super) fn shell(host: &str, seconds: i64, sid: &str) -> Record {
    by(sid, 900, on(host, seconds, WINRM, 91, &[("resourceUri", URI)]))
}

/// A classic record of a remote engine. 800 names the user.
pub(super) fn engine(host: &str, seconds: i64, id: u32, host_id: &str, user: &str) -> Record {
    let details = format!(
        "\tHostName=ServerRemoteHost\n\tHostId={host_id}\n\tUserId={user}\n\
         \tHostApplication=C:\\Windows\\system32\\wsmprovhost.exe -Embedding\n\tRunspaceId=r-{host_id}\n\
         \tCommandLine=Get-Date {user}"
    );
    let details = details.as_str();
    let strings = [("Data", "a"), ("Data", details), ("Data", "")];
    let data = if id == 800 { &strings[..] } else { &strings[1..2] };
    on(host, seconds, CLASSIC, id, data)
}

#[test]
fn two_users_at_once_have_a_session_each_in_any_order() {
    two_users(10, 10);
    two_users(11, 10);
    two_users(13, 9);
}

fn two_users(ann_shell: i64, bob_shell: i64) {
    let (ann, bob) = (ANN, BOB);
    let reconstruction = rebuilt_from(vec![
        logon("SRV", 10, "ann", ann, "0x111"),
        logon("SRV", 10, "bob", bob, "0x222"),
        shell("SRV", bob_shell, bob),
        shell("SRV", ann_shell, ann),
        host_process("SRV", 11, "0x10", "ann", "0x111"),
        host_process("SRV", 11, "0x20", "bob", "0x222"),
        child("SRV", 12, "0x30", "0x20", "cmd /c bob"),
        child("SRV", 12, "0x40", "0x10", "cmd /c ann"),
    ]);
    assert_eq!(reconstruction.sessions.len(), 2);
    for (name, sid, logon) in [("ann", ann, 0x111), ("bob", bob, 0x222)] {
        let named = |session: &Session| session.user.as_ref().unwrap().name == name;
        let index = reconstruction.sessions.iter().position(named).unwrap();
        let session = &reconstruction.sessions[SessionIdx::new(index)];
        assert_eq!(session.user_sid.as_deref(), Some(sid));
        assert_eq!(session.logon_ids, [logon]);
        assert_eq!(texts(&reconstruction, index), [format!("cmd /c {name}")]);
        assert_eq!((session.kind, session.confidence), (ShellKind::PowerShell, Confidence::Medium));
    }
}

#[test]
fn process_ids_recur_and_do_not_join_sessions() {
    const DAY: i64 = 86_400;
    let local =
        by("S-1-5-18", 77, on("SRV", DAY, POWERSHELL, 4104, &[("ScriptBlockText", "local")]));
    let reconstruction =
        rebuilt_from(vec![command("SRV", 0, 77, "a"), local, command("SRV", 7 * DAY, 77, "b")]);
    assert_eq!(reconstruction.sessions.len(), 2);
    assert_eq!(reconstruction.sessions[SessionIdx::new(0)].end, at(0));
    assert_eq!(
        [texts(&reconstruction, 0), texts(&reconstruction, 1)],
        [["Get-Date"], ["Get-Date"]]
    );
}

#[test]
fn two_engines_of_one_process_id_in_a_row_are_two_sessions() {
    let reconstruction =
        rebuilt_from(vec![command("SRV", 0, 77, "a"), command("SRV", 10, 77, "b")]);
    assert_eq!(reconstruction.sessions.len(), 2);
    for (session, start) in reconstruction.sessions.iter().zip([0, 10]) {
        assert_eq!((session.start, session.evidence.len()), (at(start), 1));
    }
}

#[test]
fn without_a_host_id_time_bounds_a_process_id() {
    let reconstruction =
        rebuilt_from(vec![command("SRV", 0, 77, ""), command("SRV", 2_592_000, 77, "")]);
    assert_eq!(reconstruction.sessions.len(), 2);
}

#[test]
fn engines_go_to_their_users_processes() {
    let reconstruction = rebuilt_from(vec![
        logon("SRV", 10, "ann", ANN, "0x111"),
        logon("SRV", 10, "bob", BOB, "0x222"),
        host_process("SRV", 10, "0x10", "ann", "0x111"),
        host_process("SRV", 11, "0x20", "bob", "0x222"),
        engine("SRV", 11, 400, "b", ""),
        engine("SRV", 12, 400, "a", ""),
        engine("SRV", 13, 800, "b", r"CORP\bob"),
        engine("SRV", 13, 800, "a", r"CORP\ann"),
    ]);
    assert_eq!(reconstruction.sessions.len(), 2);
    for (index, session) in reconstruction.sessions.iter().enumerate() {
        let user = session.user.as_ref().unwrap();
        assert_eq!(texts(&reconstruction, index), [format!("Get-Date {user}")]);
    }
    // Only user and time tie an engine to a process here, and the link says so.
    let command = &reconstruction.commands[CommandIdx::new(0)];
    let evidence = &reconstruction.sessions[command.session].evidence;
    assert!(evidence.iter().any(|e| e.event == command.event() && !e.link.is_key()));
}

#[test]
fn authentication_is_that_of_the_sessions_own_logon() {
    let ntlm = |mut record: Record| {
        let mut data = crate::model::Fields::default();
        for (name, value) in record.data.iter() {
            let value = if value == "Kerberos" { "NTLM" } else { value };
            data.push(name, value);
        }
        record.data = data;
        record
    };
    let reconstruction = rebuilt_from(vec![
        logon("SRV", 10, "ann", ANN, "0x111"),
        host_process("SRV", 10, "0x10", "ann", "0x111"),
        ntlm(logon("SRV", 15, "ann", ANN, "0x222")),
        host_process("SRV", 15, "0x20", "ann", "0x222"),
    ]);
    let auth: Vec<_> =
        reconstruction.sessions.iter().map(|session| session.auth.as_str()).collect();
    assert_eq!(auth, ["kerberos", "ntlm"]);
    let logons: Vec<_> =
        reconstruction.sessions.iter().map(|session| session.logon_ids.clone()).collect();
    assert_eq!(logons, [[0x111], [0x222]]);
}

#[test]
fn a_connection_that_ends_does_not_end_the_session() {
    let ended = [("TargetLogonId", "0x111"), ("TargetUserName", "ann")];
    let reconstruction = rebuilt_from(vec![
        shell("SRV", 1, ANN),
        logon("SRV", 1, "ann", ANN, "0x111"),
        engine("SRV", 1, 400, "a", ""),
        on("SRV", 2, "Security", 4634, &ended),
        engine("SRV", 300, 800, "a", r"CORP\ann"),
    ]);
    assert_eq!(reconstruction.sessions.len(), 1);
    let session = &reconstruction.sessions[SessionIdx::new(0)];
    assert_eq!((session.end, session.end_kind), (at(300), EndKind::LastEvent));
}

#[test]
fn a_creators_logon_is_not_the_sessions() {
    let data = [
        ("SubjectUserName", "SRV$"),
        ("SubjectLogonId", "0x3e7"),
        ("NewProcessId", "0x10"),
        ("NewProcessName", r"C:\Windows\System32\wsmprovhost.exe"),
    ];
    let system = [("SubjectLogonId", "0x3e7"), ("SubjectUserName", "SYSTEM")];
    let reconstruction = rebuilt_from(vec![
        on("SRV", 10, "Security", 4688, &data),
        shell("SRV", 10, ANN),
        on("SRV", 11, "Security", 4672, &system),
    ]);
    assert_eq!(reconstruction.sessions.len(), 1);
    let session = &reconstruction.sessions[SessionIdx::new(0)];
    assert_eq!((session.user_sid.as_deref(), session.logon_ids.len()), (Some(ANN), 0));
    assert_eq!(session.evidence.len(), 2);
}

#[test]
fn another_users_client_and_another_domains_target_do_not_join() {
    let target = [("connection", "srv.corp/wsman?PSVersion=5.1")];
    let other = [("connection", "srv.other/wsman?PSVersion=5.1")];
    let reconstruction = rebuilt_from(vec![
        client("pc.corp", 10, 6, BOB, &target),
        client("pc.corp", 11, 6, ANN, &other),
        logon("srv.corp", 12, "ann", ANN, "0x111"),
        shell("srv.corp", 12, ANN),
        host_process("srv.corp", 12, "0x10", "ann", "0x111"),
    ]);
    let served = reconstruction.sessions.iter().find(|session| session.sides.server).unwrap();
    assert_eq!((served.sides.names(), &served.source_host), (vec!["server"], &None));
    assert_eq!(reconstruction.sessions.len(), 3);
}

#[test]
fn a_background_job_is_no_session() {
    let details = "\tHostName=ServerRemoteHost\n\tHostId=j\n\
                   \tHostApplication=C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe -Version 5.1 -s -NoLogo\n";
    let available =
        on("PC", 0, CLASSIC, 400, &[("Data", "Available"), ("Data", "None"), ("Data", details)]);
    assert!(rebuilt_from(vec![available]).sessions.is_empty());
}

#[test]
fn the_engine_ends_the_session() {
    let details = "\tHostName=ServerRemoteHost\n\tHostId=a\n\
                   \tHostApplication=C:\\Windows\\system32\\wsmprovhost.exe -Embedding\n\tRunspaceId=r-a\n";
    let engine = |seconds, id| on("SRV", seconds, CLASSIC, id, &[("Data", details)]);
    let reconstruction =
        rebuilt_from(vec![engine(1, 400), command("SRV", 5, 77, "a"), engine(9, 403)]);
    assert_eq!(reconstruction.sessions.len(), 1);
    let session = &reconstruction.sessions[SessionIdx::new(0)];
    assert_eq!(
        (session.start, session.end, session.end_kind),
        (at(1), at(9), EndKind::EngineStopped)
    );
    assert!(session.evidence.iter().all(|evidence| evidence.link.is_key()));
    assert_eq!(session.process_id, Some(77));
}

fn client(host: &str, seconds: i64, id: u32, sid: &str, data: &[(&str, &str)]) -> Record {
    by(sid, 500, on(host, seconds, WINRM, id, data))
}

#[test]
fn forwarding_is_no_session_and_a_client_alone_is_one() {
    let user = "S-1-5-21-1-1-1-1101";
    let forwarding = [("connection", "dc.corp/wsman/SubscriptionManager/WEC")];
    let session = [("connection", "https://srv.corp:5986/wsman?PSVersion=5.1")];
    let reconstruction = rebuilt_from(vec![
        client("PC", 0, 6, "S-1-5-20", &forwarding),
        client("PC", 1, 6, user, &session),
        client("PC", 9, 33, user, &[]),
        // The engine logs its own closing a moment later, which does not extend the session.
        by(user, 500, on("PC", 10, POWERSHELL, 8197, &[("param1", "Closed")])),
    ]);
    assert_eq!(reconstruction.sessions.len(), 1);
    let session = &reconstruction.sessions[SessionIdx::new(0)];
    assert_eq!((&*session.target_host, session.transport), ("srv.corp", Transport::Https));
    assert_eq!(session.source_host.as_deref(), Some("PC"));
    assert_eq!(session.user_sid.as_deref(), Some(user));
    assert_eq!((session.sides.names(), session.confidence), (vec!["client"], Confidence::Low));
    assert_eq!((session.end, session.end_kind), (at(9), EndKind::ClientClosed));
}

#[test]
fn both_ends_join_by_name_and_time() {
    let user = "S-1-5-21-1-1-1-1101";
    let shell = by(user, 900, on("srv.corp", 12, WINRM, 91, &[("resourceUri", URI)]));
    let reconstruction = rebuilt_from(vec![
        client("pc.corp", 10, 6, user, &[("connection", "srv/wsman?PSVersion=5.1")]),
        logon("srv.corp", 11, "ann", user, "0x111"),
        shell,
        host_process("srv.corp", 12, "0x10", "ann", "0x111"),
        // The same user's client to another host, nearer in time, is another session.
        client("pc.corp", 12, 6, user, &[("connection", "other/wsman?PSVersion=5.1")]),
    ]);
    assert_eq!(reconstruction.sessions.len(), 2);
    let to = |target: &str| {
        reconstruction.sessions.iter().find(|session| *session.target_host == *target)
    };
    let joined = to("srv.corp").unwrap();
    assert_eq!(joined.source_host.as_deref(), Some("pc.corp"));
    assert_eq!((joined.confidence, joined.start), (Confidence::High, at(12)));
    assert_eq!(to("other").unwrap().sides.names(), ["client"]);
}

#[test]
fn a_refused_client_is_an_attempt() {
    let user = "S-1-5-21-1-1-1-1101";
    let failure = [("operationName", "CreateShell"), ("errorCode", "5")];
    let reconstruction = rebuilt_from(vec![
        client("PC", 0, 6, user, &[("connection", "srv/wsman?PSVersion=5.1")]),
        client("PC", 1, 142, user, &failure),
    ]);
    assert!(reconstruction.sessions.is_empty());
    assert_eq!(reconstruction.attempts.len(), 1);
    let attempt = &reconstruction.attempts[AttemptIdx::new(0)];
    assert_eq!((attempt.reason, attempt.error_code), (FailureReason::AccessDenied, Some(5)));
    assert_eq!((&*attempt.source_host, &*attempt.target_host), ("PC", "srv"));
}

#[test]
fn a_failure_inside_a_session_is_no_attempt() {
    let user = "S-1-5-21-1-1-1-1101";
    let failure = [("operationName", "Receive"), ("errorCode", "5")];
    let reconstruction = rebuilt_from(vec![
        client("PC", 0, 6, user, &[("connection", "srv/wsman?PSVersion=5.1")]),
        client("PC", 1, 142, user, &failure),
    ]);
    assert_eq!((reconstruction.sessions.len(), reconstruction.attempts.len()), (1, 0));
}

#[test]
fn one_host_may_log_under_two_names() {
    let details = "\tHostName=ServerRemoteHost\n\tHostId=a\n\tRunspaceId=r-a\n";
    let reconstruction = rebuilt_from(vec![
        on("SRV", 1, CLASSIC, 400, &[("Data", details)]),
        command("srv.corp.example", 5, 77, "a"),
    ]);
    assert_eq!(reconstruction.sessions.len(), 1);
    assert_eq!(
        reconstruction.sessions[SessionIdx::new(0)].runspace_ids,
        [LoggedId::parse("r-a").unwrap()]
    );
}

#[test]
fn the_order_of_records_changes_nothing() {
    let user = "S-1-5-21-1-1-1-1101";
    let records = || {
        vec![
            client("pc", 10, 6, user, &[("connection", "srv/wsman?PSVersion=5.1")]),
            logon("srv", 11, "ann", user, "0x111"),
            host_process("srv", 12, "0x10", "ann", "0x111"),
            child("srv", 13, "0x30", "0x10", "cmd /c x"),
            command("srv", 14, 16, "a"),
        ]
    };
    let events = |records: Vec<Record>| {
        let numbered = records.into_iter().map(|mut record| {
            record.source.offset = u64::from(record.event_id);
            event(&record)
        });
        numbered.collect::<Vec<_>>()
    };
    let forward = rebuilt(events(records()));
    let backward = rebuilt(events(records().into_iter().rev().collect()));
    assert_eq!(forward.sessions.len(), 1);
    assert_eq!(format!("{forward:?}"), format!("{backward:?}"));
}

#[test]
fn a_session_from_inside_another_names_its_parent() {
    let user = "S-1-5-21-1-1-1-1101";
    // pc -> srv (process 0x10), whose child 0x30 connects to db.
    let hop = by(user, 0x30, on("srv", 60, WINRM, 6, &[("connection", "db/wsman?PSVersion=5.1")]));
    let reconstruction = rebuilt_from(vec![
        client("pc", 10, 6, user, &[("connection", "srv/wsman?PSVersion=5.1")]),
        logon("srv", 11, "ann", user, "0x111"),
        host_process("srv", 12, "0x10", "ann", "0x111"),
        child("srv", 50, "0x30", "0x10", "powershell"),
        hop,
        logon("db", 61, "ann", user, "0x222"),
        host_process("db", 62, "0x10", "ann", "0x222"),
    ]);
    let parents: Vec<_> = reconstruction
        .sessions
        .iter()
        .map(|session| (&*session.target_host, session.parent))
        .collect();
    assert_eq!(parents, [("srv", None), ("db", Some((SessionIdx::new(0), Link::Process)))]);
}

fn exit(host: &str, seconds: i64, id: &str, image: &str) -> Record {
    on(host, seconds, "Security", 4689, &[("ProcessId", id), ("ProcessName", image)])
}

fn listening(host: &str, seconds: i64, process: u32) -> Record {
    by("S-1-5-21-1-1-1-1101", process, on(host, seconds, POWERSHELL, 53504, &[]))
}

#[test]
fn logons_in_a_session_count_however_its_life_is_known() {
    let user = "S-1-5-21-1-1-1-1101";
    let logon_at = |seconds| logon("srv", seconds, "ann", user, "0x51");
    // Its engine listens before its first command.
    let cases = [
        vec![listening("srv", 1000, 77), command("srv", 1100, 77, "h"), logon_at(999)],
        // Only its exit was audited.
        vec![
            command("srv", 1000, 77, "h"),
            exit("srv", 8200, "77", r"C:\Windows\System32\wsmprovhost.exe"),
            logon_at(4600),
        ],
        // Its first command came late.
        vec![
            host_process("srv", 1000, "77", "ann", "0x50"),
            command("srv", 4600, 77, "h"),
            logon_at(2800),
            exit("srv", 8200, "77", r"C:\Windows\System32\wsmprovhost.exe"),
        ],
    ];
    for records in cases {
        let reconstruction = rebuilt_from(records);
        assert_eq!(reconstruction.sessions.len(), 1);
        assert!(
            reconstruction.sessions[SessionIdx::new(0)].logon_ids.contains(&0x51),
            "{:?}",
            reconstruction.sessions[SessionIdx::new(0)]
        );
    }
}

#[test]
fn another_programs_exit_says_nothing_of_a_session() {
    let reconstruction = rebuilt_from(vec![
        exit("srv", 1000, "77", r"C:\notepad.exe"),
        command("srv", 1050, 77, "h"),
    ]);
    assert_eq!(reconstruction.sessions[SessionIdx::new(0)].start, at(1050));
}

#[test]
fn a_block_logged_twice_is_one() {
    let part = |id| {
        let data = [
            ("ScriptBlockId", "b"),
            ("MessageNumber", "1"),
            ("MessageTotal", "1"),
            ("ScriptBlockText", "x"),
        ];
        let record = by("S-1-5-21-1-1-1-1101", 77, on("srv", 1001, POWERSHELL, 4104, &data));
        Record { record_id: id, ..record }
    };
    let reconstruction = rebuilt_from(vec![command("srv", 1000, 77, "h"), part(5), part(4)]);
    assert_eq!(reconstruction.script_blocks(), 1);
}

#[test]
fn a_failed_attempt_names_the_session_that_came_of_it() {
    let user = "S-1-5-21-1-1-1-1101";
    let failure = [("operationName", "CreateShell"), ("errorCode", "5")];
    let tries =
        |seconds| client("pc", seconds, 6, user, &[("connection", "srv/wsman?PSVersion=5.1")]);
    let reconstruction = rebuilt_from(vec![
        tries(0),
        client("pc", 1, 142, user, &failure),
        tries(600),
        client("pc", 601, 11, user, &[]),
        logon("srv", 601, "ann", user, "0x111"),
        host_process("srv", 602, "0x10", "ann", "0x111"),
    ]);
    assert_eq!((reconstruction.sessions.len(), reconstruction.attempts.len()), (1, 1));
    assert_eq!(reconstruction.attempts[AttemptIdx::new(0)].later, Some(SessionIdx::new(0)));
}

#[test]
fn a_connection_logged_the_wrong_way_round_takes_no_address_away() {
    let opened = |host: &str, seconds, from: &str| {
        let data = [
            ("ProcessID", "4"),
            ("Direction", "%%14593"),
            ("SourceAddress", from),
            ("DestAddress", "10.0.0.9"),
            ("DestPort", "443"),
        ];
        on(host, seconds, "Security", 5156, &data)
    };
    let mut records: Vec<Record> = (0..5).map(|n| opened("pc", n, "10.0.0.5")).collect();
    records.extend((0..5).map(|n| opened("dc", n, "10.0.0.1")));
    records.push(opened("dc", 9, "10.0.0.5"));
    let reconstruction = rebuilt_from(records);
    let hosts = reconstruction.hosts.iter().map(|host| (&*host.name, host.addresses.join(" ")));
    let expected = [("dc", "10.0.0.1".to_owned()), ("pc", "10.0.0.5".to_owned())];
    assert_eq!(hosts.collect::<Vec<_>>(), expected);
}

#[test]
fn a_virtual_accounts_logons_are_its_callers() {
    let mut host = host_process("srv", 1000, "0x10", "WinRM VA_1_CORP_ann", "0x111");
    let mut data = crate::model::Fields::default();
    for (name, value) in host.data.iter() {
        let virtual_domain = name == "TargetDomainName";
        data.push(name, if virtual_domain { "WinRM Virtual Users" } else { value });
    }
    host.data = data;
    let user = "S-1-5-21-1-1-1-1101";
    let reconstruction = rebuilt_from(vec![
        host,
        exit("srv", 8000, "0x10", r"C:\Windows\System32\wsmprovhost.exe"),
        logon("srv", 4000, "ann", user, "0x51"),
    ]);
    let session = &reconstruction.sessions[SessionIdx::new(0)];
    assert_eq!(session.user.as_ref().unwrap().to_string(), r"CORP\ann");
    assert!(session.logon_ids.contains(&0x51), "{session:?}");
}

#[test]
fn many_sessions_tell_how_far_clocks_are_apart() {
    let user = "S-1-5-21-1-1-1-1101";
    // The target is 70 s ahead and needs up to a second. Sessions come at irregular times.
    let (mut records, mut at, mut random) = (Vec::new(), 1000, 1_u64);
    for n in 0..300 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        at += 1 + (random >> 33) as i64 % 60;
        records.push(client("pc", at, 6, user, &[("connection", "srv/wsman?PSVersion=5.1")]));
        let shell = on("srv", at + 70 + n % 2, WINRM, 91, &[("resourceUri", URI)]);
        records.push(Record { user_sid: Some(user.into()), ..shell });
    }
    let reconstruction = rebuilt_from(records);
    let offset = |name: &str| {
        let host = reconstruction.hosts.iter().find(|host| *host.name == *name);
        host.and_then(|host| host.clock).map(|clock| clock.offset.num_seconds())
    };
    let apart = offset("srv").zip(offset("pc")).map(|(srv, pc)| srv - pc);
    assert!(apart.is_some_and(|apart| (70..=71).contains(&apart)), "{apart:?}");
}
