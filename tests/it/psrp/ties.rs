//! What ties traffic to sessions in whole logs: the shell's id in WinRM 91, the client's ActivityID;
//! and what the documents of a shell say of its caller.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::fixtures::{Fixture, all, fixtures, lines, soap_lines, text};
use super::transcripts::{reads, transcripts};
use crate::common::{Row, analyze, rows};

const WINRM: &str = "Microsoft-Windows-WinRM/Operational";
const TRACE: &str = "Microsoft-Windows-WinRM/Analytic";
const POWERSHELL: &str = "Microsoft-Windows-PowerShell/Operational";

/// One line of a log: a record of a host, at so many milliseconds after a time.
struct Log {
    host: String,
    start: chrono::DateTime<chrono::Utc>,
    lines: Vec<String>,
}

impl Log {
    fn new(host: &str, start: &str) -> Log {
        Log { host: host.to_owned(), start: start.parse().unwrap(), lines: Vec::new() }
    }

    fn add(&mut self, channel: &str, id: u32, after: i64, activity: Option<&str>, data: Value) {
        let time = self.start + chrono::TimeDelta::milliseconds(after);
        let provider = channel.split('/').next().unwrap();
        let record = 100_000 + self.lines.len();
        let row = json!({"Event": {
            "System": {
                "Provider": {"#attributes": {"Name": provider}},
                "EventID": id,
                "Level": 4,
                "TimeCreated": {"#attributes": {"SystemTime": time.to_rfc3339()}},
                "EventRecordID": record,
                "Correlation": {"#attributes": {"ActivityID": activity}},
                "Execution": {"#attributes": {"ProcessID": 4242, "ThreadID": 1}},
                "Channel": channel,
                "Computer": self.host,
            },
            "EventData": data,
        }});
        self.lines.push(row.to_string());
    }
}

/// Sessions, commands and transcript of a log of JSON lines.
fn run(lines: &[String]) -> (Vec<Row>, Vec<Row>, String, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("log.jsonl"), folder.path().join("out"));
    std::fs::write(&path, lines.join("\n")).unwrap();
    let code = analyze(path.to_str().unwrap(), &out, &["--no-default-pack", "--transcripts"]);
    assert_eq!(code, 0);
    (rows(&out, "sessions.csv"), rows(&out, "commands.csv"), transcripts(&out), stories(&out))
}

fn stories(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("sessions.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn fixture(wanted: &str) -> Option<Fixture> {
    fixtures().into_iter().find(|(name, _)| name == wanted)
}

/// WinRM 91 of a fixture's shell, a moment after its Create.
fn shell_created(fixture: &Value, caller: &str) -> Vec<String> {
    let start = text(&fixture["soap"][0], "TimeCreated");
    let mut log = Log::new(text(&fixture["soap_common"], "Computer"), start);
    let uri = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell";
    let shell = fixture["expected"]["shell_id"].as_str().unwrap().to_uppercase();
    let data = json!({"resourceUri": format!("{uri}{caller}"), "shellId": shell});
    log.add(WINRM, 91, 20, None, data);
    log.lines
}

#[test]
fn a_shells_id_ties_its_documents_which_name_the_caller() {
    let Some((name, fixture)) = fixture("simple_script") else { return };
    let soap = &fixture["expected"]["soap"];
    let mut log = shell_created(&fixture, "");
    log.push(soap_lines(&fixture));
    let (sessions, commands, transcript, _) = run(&log);
    assert_eq!(sessions.len(), 1);
    let session = &sessions[0];
    assert_eq!(session["user"], text(soap, "owner"));
    assert_eq!(session["source_ip"], text(soap, "client_ip"));
    assert_eq!(session["source_basis"], "ClientIP in the traffic");
    assert_eq!(session["transport"], "http");
    let pipelines = all(&fixture["expected"], "pipelines");
    assert_eq!(commands.len(), pipelines.len());
    pipelines.iter().for_each(|pipeline| reads(&name, &transcript, pipeline));
}

#[test]
fn a_better_record_takes_precedence_and_the_documents_value_is_kept() {
    let Some((_, fixture)) = fixture("simple_script") else { return };
    let soap = &fixture["expected"]["soap"];
    let mut log = shell_created(&fixture, r" (CONTOSO\someone clientIP: 10.99.0.1)");
    log.push(soap_lines(&fixture));
    let (sessions, _, _, stories) = run(&log);
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0]["user"], r"CONTOSO\someone");
    assert_eq!(
        (&*sessions[0]["source_ip"], &*sessions[0]["source_basis"]),
        ("10.99.0.1", "winrm 91 clientIP")
    );
    let story = stories[0].to_string();
    assert!(story.contains("ClientIP in the traffic"), "{story}");
    assert!(story.contains(text(soap, "client_ip")), "{story}");
    assert!(story.contains("the traffic names another owner of its shell"), "{story}");
}

#[test]
fn the_clients_pool_id_ties_what_its_own_log_has() {
    let Some((name, fixture)) = fixture("client_side_log") else { return };
    let pool = text(&fixture["expected"], "runspace_pool_id");
    let first = &fixture["events"][0];
    let mut log = Log::new(text(&fixture["events_common"], "Computer"), text(first, "TimeCreated"));
    let connection = json!({"connection": "srv-app01.contoso.example/wsman?PSVersion=5.1.1"});
    log.add(WINRM, 6, -50, Some(pool), connection);
    log.add(POWERSHELL, 8194, -40, Some(pool), json!({"InstanceId": pool}));
    log.add(WINRM, 11, -30, Some(pool), json!({"shellId": pool}));
    log.add(WINRM, 13, -20, Some(pool), json!({}));
    let (without, _, _, _) = run(&log.lines);
    log.lines.push(lines(&fixture));
    let (sessions, commands, transcript, _) = run(&log.lines);
    assert_eq!((without.len(), sessions.len()), (1, 1));
    let pipelines = all(&fixture["expected"], "pipelines");
    assert_eq!(commands.len(), pipelines.len());
    pipelines.iter().for_each(|pipeline| reads(&name, &transcript, pipeline));
}

/// A document of a `winrs` shell: action, what is in its header besides, its body.
fn document(action: &str, header: &str, body: &str) -> String {
    const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
    let action = match action.strip_prefix('+') {
        Some(transfer) => format!("http://schemas.xmlsoap.org/ws/2004/09/transfer/{transfer}"),
        None => format!("{SHELL}/{action}"),
    };
    format!(
        "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:w=\"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd\" xmlns:rsp=\"{SHELL}\">\
         <s:Header><a:Action>{action}</a:Action>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
}

#[test]
fn a_shell_of_winrs_has_its_command_lines_and_streams() {
    const ID: &str = "11111111-2222-3333-4444-555555555555";
    const COMMAND: &str = "AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE";
    const URI: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd";
    let mut log = Log::new("srv01.corp.example", "2024-05-01T10:00:00Z");
    log.add(WINRM, 91, 30, None, json!({"resourceUri": URI, "shellId": ID}));
    let asked = |number: u32| format!("<a:MessageID>uuid:{number:08}-0-0-0-0</a:MessageID>");
    let answers = |number: u32| format!("<a:RelatesTo>uuid:{number:08}-0-0-0-0</a:RelatesTo>");
    let uri = format!("<w:ResourceURI>{URI}</w:ResourceURI>");
    let named = format!(
        "{uri}<w:SelectorSet><w:Selector Name=\"ShellId\">{ID}</w:Selector></w:SelectorSet>"
    );
    let stream = |name: &str, text: &str| {
        let text = BASE64.encode(text);
        format!("<rsp:Stream Name=\"{name}\" CommandId=\"{COMMAND}\">{text}</rsp:Stream>")
    };
    let done = format!(
        "<rsp:CommandState CommandId=\"{COMMAND}\" State=\"http://x/CommandState/Done\">\
         <rsp:ExitCode>3</rsp:ExitCode></rsp:CommandState>"
    );
    let documents = [
        (
            772,
            document(
                "+Create",
                &format!("<a:To>https://srv01:5986/wsman</a:To>{uri}{}", asked(1)),
                "<rsp:Shell><rsp:InputStreams>stdin</rsp:InputStreams></rsp:Shell>",
            ),
        ),
        (
            1027,
            document(
                "+CreateResponse",
                &answers(1),
                &format!(
                    "<rsp:Shell><rsp:ShellId>{ID}</rsp:ShellId><rsp:ResourceUri>{URI}</rsp:ResourceUri>\
             <rsp:Owner>CORP\\alice</rsp:Owner><rsp:ClientIP>10.0.0.5</rsp:ClientIP></rsp:Shell>"
                ),
            ),
        ),
        (
            772,
            document(
                "Command",
                &format!("{named}{}", asked(2)),
                "<rsp:CommandLine><rsp:Command>net</rsp:Command><rsp:Arguments>user</rsp:Arguments>\
             <rsp:Arguments>bob</rsp:Arguments></rsp:CommandLine>",
            ),
        ),
        (
            1027,
            document(
                "CommandResponse",
                &answers(2),
                &format!(
                    "<rsp:CommandResponse><rsp:CommandId>{COMMAND}</rsp:CommandId></rsp:CommandResponse>"
                ),
            ),
        ),
        (
            772,
            document(
                "Send",
                &format!("{named}{}", asked(3)),
                &format!("<rsp:Send>{}</rsp:Send>", stream("stdin", "yes\r\n")),
            ),
        ),
        (
            1027,
            document(
                "ReceiveResponse",
                &answers(4),
                &format!(
                    "<rsp:ReceiveResponse>{}{}{done}</rsp:ReceiveResponse>",
                    stream("stdout", "The user name\r\n"),
                    stream("stderr", "could not be found.\r\n")
                ),
            ),
        ),
    ];
    for (at, (id, text)) in (0..).zip(documents) {
        // Two chunks each, of one thread: the second log has them in the order of their numbers.
        let (first, second) = text.split_at(text.len() / 2);
        let activity = format!("{{0000000{at}-0000-0000-0000-000000000000}}");
        for (index, part) in [(1, first), (2, second)] {
            let data = json!({"index": index, "totalChunks": 2, "SoapDocument": part});
            log.add(TRACE, id, i64::from(at) * 40 + index, Some(&activity), data);
        }
    }
    let (sessions, commands, transcript, _) = run(&log.lines);
    assert_eq!(sessions.len(), 1);
    let session = &sessions[0];
    assert_eq!((&*session["kind"], &*session["user"]), ("winrs", r"CORP\alice"));
    assert_eq!((&*session["source_ip"], &*session["transport"]), ("10.0.0.5", "https"));
    assert_eq!(commands.len(), 1);
    let row = &commands[0];
    assert_eq!((&*row["text"], &*row["state"]), ("net user bob", "exit code 3"));
    assert_eq!(row["pipeline_id"], COMMAND.to_lowercase());
    assert!(row["output"].starts_with("The user name"), "{}", row["output"]);
    assert!(row["errors"].starts_with("could not be found."), "{}", row["errors"]);
    let places = ["net user bob", "The user name", "could not be found.", "exit code 3"]
        .map(|part| transcript.find(part));
    assert!(places.iter().all(Option::is_some), "{transcript}");
    assert!(transcript.contains("yes"), "{transcript}");
}
