//! Small inputs for findings about sessions: rivals for the source, missing records and their
//! reasons, tools, confidence.

use super::reconstruction::Reconstruction;
use super::tests::{
    ANN, BOB, POWERSHELL, WINRM, at, by, child, command, host_process, logon, on, rebuilt_from,
    shell,
};
use super::windows::TimeWindow;
use crate::model::{
    Absence, Auth, Channel, Confidence, EndpointKind, Link, Missing, Record, Rejected, Session,
    SessionIdx, Side, SourceBasis, SourceEvidence,
};

/// A session of ann on SRV that starts at second 100. Its own logon and process are logged.
fn session() -> Vec<Record> {
    vec![logon("SRV", 100, "ann", ANN, "0x111"), host_process("SRV", 100, "0x10", "ann", "0x111")]
}

fn ticket(seconds: i64, user: &str, ip: &str) -> Record {
    let data = [
        ("TargetUserName", user),
        ("TargetDomainName", "CORP"),
        ("ServiceName", "SRV$"),
        ("IpAddress", ip),
        ("Status", "0x0"),
    ];
    on("DC", seconds, "Security", 4769, &data)
}

fn inbound(seconds: i64, ip: &str) -> Record {
    let data = [
        ("Direction", "%%14592"),
        ("SourceAddress", ip),
        ("DestAddress", "10.0.0.9"),
        ("DestPort", "5985"),
    ];
    on("SRV", seconds, "Security", 5156, &data)
}

fn with(more: impl IntoIterator<Item = Record>) -> Reconstruction {
    rebuilt_from(session().into_iter().chain(more).collect())
}

/// Returns the rivals of a session: the source that each names, and why it was rejected.
fn rivals(session: &Session) -> Vec<(String, Rejected)> {
    let rivals = session.weighed.rivals.iter();
    rivals.map(|rival| (rival.hint.name(), rival.why)).collect()
}

fn says(session: &Session, text: &str) -> bool {
    session.confidence_reasons.iter().any(|reason| reason.text().contains(text))
}

#[test]
fn two_tickets_as_near_decide_nothing() {
    let reconstruction = with([ticket(100, "ann", "10.0.0.1"), ticket(99, "ann", "10.0.0.2")]);
    let session = &reconstruction.sessions[SessionIdx::new(0)];
    assert_eq!((&session.source_host, &session.source_ip), (&None, &None));
    assert_eq!(session.source_basis, SourceBasis::Undecided);
    assert_eq!(session.weighed.winner, None);
    let undecided = |ip: &str| (ip.to_owned(), Rejected::Undecided);
    assert_eq!(rivals(session), [undecided("10.0.0.1"), undecided("10.0.0.2")]);
    assert!(says(session, "two sources are named alike"));
    // Both tickets agree on this: it was Kerberos.
    assert_eq!(session.auth, Auth::Kerberos);
    assert_eq!(session.confidence, Confidence::Medium);
}

#[test]
fn a_ticket_that_is_nearer_by_a_step_decides_and_says_so() {
    let reconstruction = with([ticket(100, "ann", "10.0.0.1"), ticket(95, "ann", "10.0.0.2")]);
    let session = &reconstruction.sessions[SessionIdx::new(0)];
    assert_eq!(session.source_ip.as_deref(), Some("10.0.0.1"));
    let [(name, Rejected::Farther(by))] = &rivals(session)[..] else { panic!("{session:?}") };
    assert_eq!((name.as_str(), by.num_seconds()), ("10.0.0.2", 5));
    assert!(says(session, "the nearer in time"));
}

#[test]
fn what_another_kind_agrees_with_wins() {
    let tickets = [ticket(100, "ann", "10.0.0.1"), ticket(99, "ann", "10.0.0.2")];
    let reconstruction = with(tickets.into_iter().chain([inbound(101, "10.0.0.2")]));
    let session = &reconstruction.sessions[SessionIdx::new(0)];
    assert_eq!(session.source_ip.as_deref(), Some("10.0.0.2"));
    let winner = session.weighed.winner.as_ref().unwrap();
    assert_eq!(winner.basis, SourceEvidence::Ticket);
    assert_eq!(session.weighed.agreeing.len(), 1);
    assert_eq!(rivals(session), [("10.0.0.1".to_owned(), Rejected::Alone)]);
}

#[test]
fn weaker_kinds_and_other_accounts_are_rivals() {
    let reconstruction = with([
        ticket(100, "ann", "10.0.0.1"),
        ticket(100, "bob", "10.0.0.2"),
        inbound(101, "10.0.0.3"),
        // A machine's tickets belong to no session.
        ticket(100, "PC7$", "10.0.0.7"),
    ]);
    let session = &reconstruction.sessions[SessionIdx::new(0)];
    assert_eq!(session.source_ip.as_deref(), Some("10.0.0.1"));
    let expected = [
        ("10.0.0.3".to_owned(), Rejected::WeakerKind),
        ("10.0.0.2".to_owned(), Rejected::OtherAccount),
    ];
    assert_eq!(rivals(session), expected);
}

#[test]
fn rivals_are_bounded() {
    let many = (0..100).map(|n| inbound(101, &format!("10.0.1.{n}")));
    let reconstruction = with(many.chain([ticket(100, "ann", "10.0.0.1")]));
    assert_eq!(reconstruction.sessions[SessionIdx::new(0)].source_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(reconstruction.sessions[SessionIdx::new(0)].weighed.rivals.len(), 8);
}

fn connects(host: &str, seconds: i64) -> Record {
    let data = [("connection", "SRV/wsman?PSVersion=5.1.1")];
    by(ANN, 500, on(host, seconds, WINRM, 6, &data))
}

/// A shell on SRV that names PC1's address as its caller's, and a record that shows whose address
/// it is.
fn called() -> [Record; 2] {
    let uri = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell \
               (CORP\\ann clientIP: 10.0.0.5)";
    let own = [
        ("Initiated", "true"),
        ("SourceIp", "10.0.0.5"),
        ("DestinationIp", "10.0.9.9"),
        ("DestinationPort", "443"),
    ];
    [
        by(ANN, 900, on("SRV", 103, WINRM, 91, &[("resourceUri", uri)])),
        on("PC1", 90, "Microsoft-Windows-Sysmon/Operational", 3, &own),
    ]
}

fn connects_to(target: &str, seconds: i64) -> Record {
    let connection = format!("{target}/wsman?PSVersion=5.1.1");
    by(ANN, 500, on("PC1", seconds, WINRM, 6, &[("connection", &connection)]))
}

/// Returns when the client of SRV's session connected.
fn connected(reconstruction: &Reconstruction) -> Option<i64> {
    let session = reconstruction.sessions.iter().find(|session| session.sides.server)?;
    let mut evidence = session.evidence.iter().map(|one| &reconstruction.events[one.event]);
    evidence.find(|event| event.event_id == 6).map(|event| event.time.timestamp())
}

#[test]
fn a_caller_that_fans_out_has_the_session_that_it_names() {
    let others = [connects_to("A", 100), connects_to("C", 102)];
    let both = called().into_iter().chain(others.clone()).chain([connects_to("SRV", 101)]);
    let joined = rebuilt_from(both.collect());
    assert_eq!(connected(&joined), Some(101));
    assert_eq!(joined.sessions.len(), 3);
    // The record of that connection is lost. Connections to other hosts are not it.
    assert_eq!(connected(&rebuilt_from(called().into_iter().chain(others).collect())), None);
}

#[test]
fn an_unknown_address_is_the_targets_where_there_is_one() {
    let one = called().into_iter().chain([connects_to("10.0.0.7", 101)]);
    assert_eq!(connected(&rebuilt_from(one.collect())), Some(101));
    let two = [connects_to("10.0.0.7", 101), connects_to("10.0.0.8", 102)];
    assert_eq!(connected(&rebuilt_from(called().into_iter().chain(two).collect())), None);
}

#[test]
fn a_second_client_as_near_lowers_the_confidence() {
    let alone = with([connects("PC1", 100)]);
    assert_eq!(alone.sessions[SessionIdx::new(0)].confidence, Confidence::High);
    let two = with([connects("PC1", 100), connects("PC2", 101)]);
    let session = two.sessions.iter().find(|session| session.process_id.is_some()).unwrap();
    assert_eq!(session.source_host.as_deref(), Some("PC1"));
    assert_eq!(session.confidence, Confidence::Medium);
    assert!(says(session, "another client could fit"));
    assert_eq!(session.weighed.rivals.len(), 1);
}

#[test]
fn an_address_that_is_no_known_hosts_decides_between_no_clients() {
    let [shell, own] = called();
    let two = [connects("PC1", 103), connects("PC2", 103), shell];
    let unsure = with(two.clone());
    let session = unsure.sessions.iter().find(|session| session.sides.server).unwrap();
    assert_eq!(session.source_ip.as_deref(), Some("10.0.0.5"));
    assert_eq!(session.confidence, Confidence::Medium);
    assert!(says(session, "another client could fit"));
    // The address is PC1's.
    let known = with(two.into_iter().chain([own]));
    let session = known.sessions.iter().find(|session| session.sides.server).unwrap();
    assert_eq!(session.source_host.as_deref(), Some("PC1"));
    assert_eq!(session.confidence, Confidence::High);
}

#[test]
fn a_label_that_two_hosts_share_names_neither() {
    let client = || connects_to("SRV", 100);
    let shells = |other| [shell("SRV.a.com", 100, ANN), shell("SRV.b.com", other, ANN)];
    let servers = |reconstruction: &Reconstruction| -> Vec<String> {
        let joined = reconstruction.sessions.iter().filter(|session| session.sides.client);
        joined.map(|session| session.target_host.to_string()).collect()
    };
    let unsure = rebuilt_from(shells(101).into_iter().chain([client()]).collect());
    assert_eq!(servers(&unsure), ["srv"]);
    let nearer = rebuilt_from(shells(140).into_iter().chain([client()]).collect());
    assert_eq!(servers(&nearer), ["SRV.a.com"]);
}

#[test]
fn links_say_which_key_or_what_agrees() {
    let reconstruction = with([
        child("SRV", 101, "0x20", "0x10", "cmd"),
        ticket(100, "ann", "10.0.0.1"),
        logon("SRV", 102, "ann", ANN, "0x333"),
        connects("PC1", 100),
    ]);
    let links = reconstruction.sessions[SessionIdx::new(0)]
        .evidence
        .iter()
        .map(|evidence| (reconstruction.events[evidence.event].event_id, evidence.link));
    let mut links: Vec<_> = links.collect();
    links.sort_unstable();
    let expected = [
        (6, Link::Target),
        (4624, Link::Logon),
        (4624, Link::Account),
        (4688, Link::Process),
        (4688, Link::Process),
    ];
    assert_eq!(links[..5], expected);
}

/// Returns the missing records of the only session.
fn missing(mut reconstruction: Reconstruction, window: TimeWindow) -> Vec<Missing> {
    reconstruction.look_for_missing(window);
    assert_eq!(reconstruction.sessions.len(), 1);
    reconstruction.sessions[SessionIdx::new(0)].missing.clone()
}

fn why(missing: &[Missing], side: Side, id: u32) -> Option<Absence> {
    let found = missing.iter().find(|missing| missing.side == side && missing.ids.contains(&id));
    found.map(|missing| missing.why)
}

/// A record that is unrelated to the session.
fn other(host: &str, seconds: i64, channel: &str, id: u32) -> Record {
    on(host, seconds, channel, id, &[])
}

#[test]
fn what_is_missing_has_a_reason_from_the_logs_at_hand() {
    let reconstruction = with([
        // PowerShell's log covers the session. 4104 is there at another time, 4103 never.
        other("SRV", 10, POWERSHELL, 4104),
        other("SRV", 200, POWERSHELL, 40961),
        // WinRM's log begins after the session.
        other("SRV", 500, WINRM, 208),
        // The classic log ends before it.
        other("SRV", 20, "Windows PowerShell", 400),
    ]);
    let missing = missing(reconstruction, TimeWindow::default());
    assert_eq!(why(&missing, Side::Target, 4624), None);
    assert_eq!(why(&missing, Side::Target, 4688), None);
    assert_eq!(why(&missing, Side::Target, 4104), Some(Absence::NotLogged));
    assert_eq!(why(&missing, Side::Target, 91), Some(Absence::RolledOver(at(500))));
    assert_eq!(why(&missing, Side::Target, 403), Some(Absence::EndsBefore(at(20))));
    assert_eq!(why(&missing, Side::Client, 6), Some(Absence::NotCollected));
    // 4103 was never logged, but the classic log that would have 800 covers only a part.
    let commands = missing.iter().find(|missing| missing.tells == "the commands").unwrap();
    assert_eq!(commands.channel, Channel::PowerShellClassic);
    assert_eq!(commands.why, Absence::EndsBefore(at(20)));
    // Records that another copy of the log may have are to be collected, from a minute before to a
    // minute after. Records that were never logged are not.
    let collect = |id| missing.iter().find(|m| m.ids.contains(&id)).unwrap().collect;
    assert_eq!(collect(91), Some((at(40), at(160))));
    assert_eq!(collect(4104), None);
}

#[test]
fn the_logs_of_a_target_that_its_client_names_in_short_are_looked_at() {
    let data = [("connection", "srv/wsman?PSVersion=5.1.1")];
    let reconstruction = rebuilt_from(vec![
        by(ANN, 500, on("PC1", 100, WINRM, 6, &data)),
        logon("srv.corp", 10, "bob", BOB, "0x9"),
        logon("srv.corp", 900, "bob", BOB, "0x99"),
    ]);
    assert_eq!(&*reconstruction.sessions[SessionIdx::new(0)].target_host, "srv.corp");
    let missing = missing(reconstruction, TimeWindow::default());
    assert_eq!(why(&missing, Side::Target, 4624), Some(Absence::NotLogged));
    assert_eq!(why(&missing, Side::Target, 4688), Some(Absence::NotAudited));
    assert_eq!(why(&missing, Side::Target, 91), Some(Absence::NotCollected));
}

#[test]
fn an_event_that_a_log_never_has_was_not_audited() {
    let records = [other("SRV", 10, POWERSHELL, 40961), other("SRV", 200, POWERSHELL, 40961)];
    let missing = missing(with(records), TimeWindow::default());
    assert_eq!(why(&missing, Side::Target, 4103), Some(Absence::NotAudited));
    assert_eq!(why(&missing, Side::Target, 4104), Some(Absence::NotAudited));
}

#[test]
fn a_log_cleared_in_the_session_says_so() {
    let cleared = on("SRV", 150, "System", 104, &[("Channel", WINRM)]);
    let missing = missing(with([cleared, other("SRV", 151, WINRM, 208)]), TimeWindow::default());
    let Some(Absence::Cleared(time, _)) = why(&missing, Side::Target, 91) else {
        panic!("{missing:?}")
    };
    assert_eq!(time, at(150));
}

#[test]
fn a_controller_that_saw_no_ticket_may_have_given_it_hours_before() {
    // A ticket of another account, and one for another service, show that it is a domain
    // controller.
    let reconstruction = with([ticket(10, "bob", "10.0.0.2"), ticket(900, "bob", "10.0.0.2")]);
    let missing = missing(reconstruction, TimeWindow::default());
    let ticket = missing.iter().find(|m| m.side == Side::DomainController).unwrap();
    assert_eq!((ticket.host.as_str(), ticket.why), ("DC", Absence::Cached));
    assert_eq!(ticket.collect.unwrap().0, at(100 - 36_000));
}

#[test]
fn what_the_run_leaves_out_is_not_called_lost() {
    let records = [other("SRV", 10, WINRM, 208), other("SRV", 200, WINRM, 208)];
    let window = TimeWindow { from: Some(at(150)), to: None };
    let missing = missing(with(records), window);
    assert_eq!(why(&missing, Side::Target, 91), Some(Absence::OutsideWindow));
}

/// 4103 of a pipeline in the session's own engine.
fn pipeline(seconds: i64, payload: &str) -> Record {
    let context = "\tHost Name = ServerRemoteHost\n\tHost ID = h\n\tRunspace ID = r\n\
         \tHost Application = C:\\Windows\\system32\\wsmprovhost.exe -Embedding\n";
    let data = [("ContextInfo", context), ("Payload", payload)];
    by(ANN, 16, on("SRV", seconds, POWERSHELL, 4103, &data))
}

fn script(seconds: i64, process: u32, text: &str) -> Record {
    let data = [("ScriptBlockText", text), ("ScriptBlockId", text)];
    by(ANN, process, on("SRV", seconds, POWERSHELL, 4104, &data))
}

fn tool(more: impl IntoIterator<Item = Record>) -> Option<String> {
    with(more).sessions[SessionIdx::new(0)].tool.as_ref().map(|tool| tool.name.clone())
}

#[test]
fn tools_are_told_where_records_leave_no_doubt() {
    let gem = |text: &str| {
        format!(
            "CommandInvocation(Invoke-Expression): \"Invoke-Expression\"\n\
             ParameterBinding(Invoke-Expression): name=\"Command\"; value=\"{text}\"\n\
             CommandInvocation(Out-String): \"Out-String\"\n"
        )
    };
    let prompts = [pipeline(101, &gem("(get-location).path")), pipeline(102, &gem("whoami"))];
    assert_eq!(tool(prompts).as_deref(), Some("evil-winrm"));
    let runs = [pipeline(101, &gem("hostname")), pipeline(102, &gem("whoami"))];
    assert_eq!(tool(runs).as_deref(), Some("winrm gem (Ruby)"));
    let typed = [script(101, 16, "prompt"), pipeline(102, &gem("whoami"))];
    assert_eq!(tool(typed).as_deref(), Some("Enter-PSSession"));
    let ansible = [script(101, 16, "begin\n$exec_wrapper_str = $input | Out-String\n")];
    assert_eq!(tool(ansible).as_deref(), Some("Ansible"));
}

#[test]
fn tools_are_not_guessed() {
    // A user asks for the current folder once. A process that the session started shows its own
    // prompt.
    assert_eq!(tool([script(101, 16, "(Get-Location).Path")]), None);
    let local = [child("SRV", 101, "0x20", "0x10", "cmd"), script(102, 0x20, "prompt")];
    assert_eq!(tool(local), None);
    // A missing prompt proves nothing.
    assert_eq!(tool([connects("PC1", 100), script(101, 16, "Get-Service")]), None);
}

#[test]
fn the_program_that_connected_is_named() {
    let used = |process: &str| {
        let data = [
            ("SubjectUserName", "ann"),
            ("TargetUserName", "ann"),
            ("TargetDomainName", "CORP"),
            ("TargetServerName", "SRV"),
            ("TargetInfo", "HTTP/SRV"),
            ("ProcessId", "0x50"),
            ("ProcessName", process),
        ];
        on("PC1", 100, "Security", 4648, &data)
    };
    assert_eq!(tool([used(r"C:\Temp\Agent7.exe")]).as_deref(), Some("Agent7"));
    assert_eq!(tool([used(r"C:\Windows\System32\lsass.exe")]), None);
}

#[test]
fn endpoints_are_told_by_their_names() {
    let endpoint = |name: &str| {
        let uri = format!("http://schemas.microsoft.com/powershell/{name}");
        let shell = by(ANN, 900, on("SRV", 100, WINRM, 91, &[("resourceUri", &uri)]));
        with([shell]).sessions[SessionIdx::new(0)].endpoint_kind.map_or("", EndpointKind::as_str)
    };
    assert_eq!(endpoint("Microsoft.PowerShell"), "default");
    assert_eq!(endpoint("microsoft.powershell32"), "32bit");
    assert_eq!(endpoint("PowerShell.7.4.1"), "powershell7");
    assert_eq!(endpoint("Microsoft.Exchange"), "exchange");
    assert_eq!(endpoint("helpdesk"), "custom");
}

#[test]
fn confidence_says_why() {
    let with_shell = with([shell("SRV", 100, ANN)]);
    let session = &with_shell.sessions[SessionIdx::new(0)];
    assert_eq!(session.confidence, Confidence::Medium);
    assert!(says(session, "its host process"));
    assert!(says(session, "tied by its logon id"));
    assert!(says(session, "no log of the client"));
    assert!(says(session, "no record tells its end"));
    let unaudited = rebuilt_from(vec![command("SRV", 0, 77, "a")]);
    assert!(says(&unaudited.sessions[SessionIdx::new(0)], "whose start is not logged"));
    let lone = rebuilt_from(vec![shell("SRV", 0, BOB)]);
    assert_eq!(lone.sessions[SessionIdx::new(0)].confidence, Confidence::Low);
    assert!(says(&lone.sessions[SessionIdx::new(0)], "neither its process nor its engine"));
}
