//! Microsoft-Windows-PowerShell, PowerShellCore and the classic log.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::fields::{Reader, id_of, known, number_of, text};
use super::{context, wire};
use crate::model::{
    Channel, CommandInvocation, Engine, EngineState, EventKind, PipelineDetails, Record,
    ScriptBlockPart, ScriptBlockRun,
};

/// System/Level of a script block that the engine itself found suspicious.
const WARNING: u8 = 3;

pub(super) fn reader(event_id: u32) -> Option<Reader> {
    Some(match event_id {
        4100 => |record| EventKind::CommandError(Box::new(command(record))),
        4103 => |record| EventKind::Command(Box::new(command(record))),
        4104 => script_block,
        4105 | 4106 => script_block_run,
        8193..=8198 | 12039 => client_runspace,
        53504 => |record| EventKind::EngineListening(number_of(record, "param1")),
        7937 => |record| EventKind::CommandLifecycle(Box::new(lifecycle(record))),
        32784 | 40961 | 40962 => other,
        32850 => |record| EventKind::ServerSession(Box::new(wire::server_session(record))),
        32867 | 32868 => |record| EventKind::Traffic(wire::fragment_in_short(record)),
        _ => return None,
    })
}

pub(super) fn classic_reader(event_id: u32) -> Option<Reader> {
    Some(match event_id {
        400 | 403 | 600 => engine,
        800 => pipeline,
        _ => return None,
    })
}

fn command(record: &Record) -> CommandInvocation {
    let context = context::context_info(record.data.get("ContextInfo").unwrap_or_default());
    let payload = record.data.get("Payload").unwrap_or_default();
    let (text, names) = told(payload);
    CommandInvocation { context, text, names }
}

/// 7937 has 4103's fields ([its manifest][manifest]: T_LOG_CONTEXT for both), but its payload is a
/// sentence about the command that ContextInfo names.
///
/// [manifest]: https://github.com/PowerShell/PowerShell/blob/master/src/PowerShell.Core.Instrumentation/PowerShell.Core.Instrumentation.man
fn lifecycle(record: &Record) -> CommandInvocation {
    let context = context::context_info(record.data.get("ContextInfo").unwrap_or_default());
    let text = record.data.get("Payload").unwrap_or_default().trim().to_owned();
    let name = Some(context.command_name.clone()).filter(|name| !name.is_empty());
    CommandInvocation { context, text, names: name.into_iter().collect() }
}

/// Commands of a pipeline that are kept by name.
pub const MOST_NAMES: usize = 64;

/// What a payload tells, and the commands it names.
fn told(payload: &str) -> (String, Vec<String>) {
    match as_typed(payload) {
        Some(commands) => {
            let (mut names, texts): (Vec<String>, Vec<String>) = commands.into_iter().unzip();
            names.truncate(MOST_NAMES);
            (texts.join(" | "), names)
        }
        None => (payload.trim().to_owned(), Vec::new()),
    }
}

/// `CommandInvocation(X): "X"` and `ParameterBinding(X): name="n"; value="v"`; the words before
/// the parentheses are localised.
static INVOCATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?m)^[^()\n]*\(([^()\n]+)\): "(.*)"\s*$"#).expect("fixed"));
static BINDING: LazyLock<Regex> = LazyLock::new(|| {
    // The names `name` and `value` are localised too; a value may span lines.
    Regex::new(r#"(?ms)^[^()\n]*\(([^()\n]+)\): [^"=\n]+="([^"\n]*)"; [^"=\n]+="(.*?)"\s*$"#)
        .expect("fixed")
});

/// The commands of a payload, each with its name and as one could have typed it:
/// `Get-Item -Path "C:\"`.
fn as_typed(payload: &str) -> Option<Vec<(String, String)>> {
    type Binding = (String, String);
    let mut lines: Vec<(usize, String, Option<Binding>)> = Vec::new();
    for found in BINDING.captures_iter(payload) {
        let binding = Some((found[2].to_owned(), found[3].to_owned()));
        lines.push((found.get(0)?.start(), found[1].to_owned(), binding));
    }
    let mut bound = BINDING.find_iter(payload).map(|found| found.range()).peekable();
    for found in INVOCATION.captures_iter(payload) {
        let start = found.get(0)?.start();
        // Both come in order: bindings that end before this line are done with.
        while bound.next_if(|range| range.end <= start).is_some() {}
        if !bound.peek().is_some_and(|range| range.contains(&start)) {
            lines.push((start, found[1].to_owned(), None));
        }
    }
    lines.sort_by_key(|line| line.0);
    let mut commands: Vec<(String, String)> = Vec::new();
    // The latest command of each name: a payload may have any number of them.
    let mut latest: HashMap<String, usize> = HashMap::new();
    for (_, name, binding) in lines {
        // Bindings of a command stand after its invocation, not always at once.
        let known = latest.get(&name).copied().filter(|_| binding.is_some());
        let index = known.unwrap_or_else(|| {
            commands.push((name.clone(), name.clone()));
            latest.insert(name, commands.len() - 1);
            commands.len() - 1
        });
        if let Some((parameter, value)) = binding {
            commands[index].1.push_str(&format!(" -{parameter} \"{value}\""));
        }
    }
    (!commands.is_empty()).then_some(commands)
}

fn script_block(record: &Record) -> EventKind {
    EventKind::ScriptBlockPart(Box::new(ScriptBlockPart {
        id: id_of(record, "ScriptBlockId"),
        number: number_of(record, "MessageNumber").unwrap_or(1),
        total: number_of(record, "MessageTotal").unwrap_or(1),
        text: text(record, "ScriptBlockText"),
        path: text(record, "Path"),
        warning: record.level == WARNING,
    }))
}

fn script_block_run(record: &Record) -> EventKind {
    EventKind::ScriptBlockRun(ScriptBlockRun {
        id: id_of(record, "ScriptBlockId"),
        runspace_id: id_of(record, "RunspaceId"),
        started: record.event_id == 4105,
    })
}

fn client_runspace(record: &Record) -> EventKind {
    let what = match record.event_id {
        8193 => "runspace created",
        8194 => "runspace pool created",
        8195 => "runspace pool opening",
        8196 => "activity correlated",
        8197 => "runspace state changed",
        8198 => "connection retried",
        _ => "activity transferred",
    };
    let data: Vec<&str> = record.data.iter().map(|(_, value)| value).collect();
    EventKind::ClientRunspace(match data.join(", ") {
        data if data.is_empty() => what.to_owned(),
        data => format!("{what}: {data}"),
    })
}

fn other(record: &Record) -> EventKind {
    let what = match record.event_id {
        32784 => "transport error",
        40961 => "console starting",
        _ => "console ready",
    };
    let data: Vec<String> =
        record.data.iter().map(|(name, value)| format!("{name}={value}")).collect();
    EventKind::PowerShell(match data.join(", ") {
        data if data.is_empty() => what.to_owned(),
        data => format!("{what}: {data}"),
    })
}

/// The strings of a classic record: the command line, the context, the details. The context of
/// all but 800 is the last string: the ones before may be attackers' text.
fn classic_strings(record: &Record) -> (&str, &str, &str) {
    let strings: Vec<&str> = record.data.all("Data").collect();
    match (record.event_id, &strings[..]) {
        (800, [line, context, details, ..]) => (line, context, details),
        // Older engines leave the command line away.
        (800, [context, details]) => ("", context, details),
        (_, [.., context]) => ("", context, ""),
        (_, []) => ("", "", ""),
    }
}

/// The text of a record that holds its engine's context as keys and values; empty where it has none.
pub fn context_text(record: &Record) -> &str {
    match record.known_channel {
        Channel::PowerShellClassic => classic_strings(record).1,
        _ => record.data.get("ContextInfo").unwrap_or_default(),
    }
}

fn engine(record: &Record) -> EventKind {
    let (_, details, _) = classic_strings(record);
    let state = match record.event_id {
        400 => EngineState::Available,
        403 => EngineState::Stopped,
        _ => EngineState::ProviderStarted,
    };
    let provider = context::pairs(details).into_iter().find(|(key, _)| *key == "ProviderName");
    EventKind::Engine(Box::new(Engine {
        state,
        provider_name: provider.map(|(_, value)| value).unwrap_or_default(),
        context: context::classic(details),
    }))
}

fn pipeline(record: &Record) -> EventKind {
    let (line, strings_context, details) = classic_strings(record);
    let mut context = context::classic(strings_context);
    if context.command_line.is_empty() {
        context.command_line =
            known(record, "CommandLine").unwrap_or_else(|| line.trim().to_owned());
    }
    let pairs = context::pairs(strings_context);
    let number = |name: &str| {
        let (_, value) = pairs.iter().find(|(key, _)| *key == name)?;
        value.parse().ok()
    };
    let part = (number("DetailSequence").unwrap_or(1), number("DetailTotal").unwrap_or(1));
    let (details, names) = told(details);
    EventKind::Pipeline(Box::new(PipelineDetails { context, details, names, part }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::*;

    #[test]
    fn payloads_read_as_typed() {
        let payload = "CommandInvocation(Get-ChildItem): \"Get-ChildItem\"\r\n\
            CommandInvocation(Out-Default): \"Out-Default\"\r\n\
            ParameterBinding(Get-ChildItem): name=\"Path\"; value=\"C:\\Users\"\r\n\
            ParameterBinding(Out-Default): name=\"InputObject\"; value=\"a\nb\"\r\n";
        let (text, names) = told(payload);
        let typed = "Get-ChildItem -Path \"C:\\Users\" | Out-Default -InputObject \"a\nb\"";
        assert_eq!(
            (text.as_str(), names),
            (typed, vec!["Get-ChildItem".into(), "Out-Default".into()])
        );
        assert_eq!(told("nothing of the kind"), ("nothing of the kind".into(), Vec::new()));
    }

    /// Each line was once compared with all others, and a long payload took minutes.
    #[test]
    fn a_long_payload_costs_no_more_than_its_length() {
        let lines: String = (0..40_000)
            .map(|at| format!("C(a{at}): \"a{at}\"\nP(b{at}): n=\"x\"; v=\"C(z): \"z\"\n"))
            .collect();
        let start = std::time::Instant::now();
        let (text, names) = told(&lines);
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
        assert_eq!(names.len(), MOST_NAMES);
        assert!(text.starts_with("a0 | b0 -x \"C(z): \"z\" | a1 | b1 "), "{text:.80}");
    }

    #[test]
    fn classic_details_are_the_last_string() {
        let data = [
            ("Data", "HostName=Forged"),
            ("Data", "None"),
            ("Data", "\tNewEngineState=Available\n\tHostName=ServerRemoteHost\n\tHostId=A\n"),
        ];
        match engine(&record("Windows PowerShell", 400, &data)) {
            EventKind::Engine(engine) => assert!(engine.context.is_remote()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pipeline_details_with_and_without_their_line() {
        let context = "\tHostName=ConsoleHost\n\tRunspaceId=AB\n\tCommandLine=\n";
        let full = [
            ("Data", "Get-Date"),
            ("Data", context),
            ("Data", "CommandInvocation(Get-Date): \"Get-Date\""),
        ];
        for (data, line) in [(&full[..], "Get-Date"), (&full[1..], "")] {
            match pipeline(&record("Windows PowerShell", 800, data)) {
                EventKind::Pipeline(found) => {
                    assert_eq!(found.context.command_line, line);
                    assert_eq!(found.context.runspace_id, crate::model::LoggedId::parse("ab"));
                    assert_eq!(found.details, "Get-Date");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
