//! A session's story in sentences, as `psr-forensics explain` prints it and the HTML report shows it.
//! What is from logs is given as it is: who shows it makes it safe.

use std::collections::{BTreeMap, BTreeSet};

use super::story::{Collect, Command, Covered, Hint, Missing, Pointer, Statement, Story};
use chrono::{DateTime, Utc};

use crate::model::Link;

/// Statements of one kind in a row, from which on only the first is shown.
pub(crate) const FEW: usize = 3;
/// What is said where nothing speaks against a session.
pub(crate) const NOTHING_AGAINST: &str = "nothing that the logs show";
/// What is said where nothing is missing.
pub(crate) const NOTHING_MISSING: &str = "nothing that one expects of such a session";

/// How times are shown: in which zone.
pub(crate) trait Clock {
    /// A time with its day and all that is known of it.
    fn exact(&self, time: DateTime<Utc>) -> String;
    /// The same to the second.
    fn seconds(&self, time: DateTime<Utc>) -> String;
    /// What stands behind such a time.
    fn mark(&self, time: DateTime<Utc>) -> String;
}

/// Who, where, from where.
pub(crate) fn title(story: &Story) -> String {
    let source = match (&story.source_host, &story.source_ip) {
        (Some(host), Some(ip)) => format!("{host} ({ip})"),
        (Some(only), None) | (None, Some(only)) => only.clone(),
        (None, None) => "an unknown source".to_owned(),
    };
    let user = story.user.as_deref().unwrap_or("an unknown account");
    format!("{user} on {}, from {source}", story.target_host)
}

/// When, how, by what, with what consequences: names and texts. A text without a name goes on with
/// the one before.
pub(crate) fn facts(
    story: &Story,
    files: &Files<'_>,
    clock: &impl Clock,
) -> Vec<(&'static str, String)> {
    let seconds = (story.end_time - story.start_time).num_milliseconds() as f64 / 1000.0;
    let (start, end) = (clock.exact(story.start_time), clock.exact(story.end_time));
    let mark = clock.mark(story.end_time);
    let end_kind = story.end_kind.replace('_', " ");
    let mut facts =
        vec![("When", format!("{start} to {end} {mark}, {seconds:.1} s; end known by {end_kind}"))];
    if let (Some(start), Some(end)) = (story.start_corrected, story.end_corrected)
        && start != story.start_time
    {
        let (start, end) = (clock.exact(start), clock.exact(end));
        facts.push(("", format!("{start} to {end} by the other hosts' clocks")));
    }
    let endpoint = match (story.configuration.as_str(), story.endpoint_kind.as_str()) {
        ("", _) => String::new(),
        (name, "") => format!(", endpoint {name}"),
        (name, kind) => format!(", endpoint {name} ({})", kind.replace('_', " ")),
    };
    let how = format!("{} by {} over {}{endpoint}", story.kind, story.auth, story.transport);
    facts.push(("How", how));
    if let Some(process) = &story.process {
        let logon = story.logon_ids.first().map(|id| format!(", logon id {id}"));
        let logon = logon.unwrap_or_default();
        facts.push(("Process", format!("{} on the target{logon}", process.id)));
    }
    if let Some(tool) = &story.tool {
        let record = files.record(&tool.evidence);
        facts.push(("Tool", format!("{}: {} ({record})", tool.name, tool.basis)));
    }
    if let Some(parent) = &story.parent {
        facts.push(("Started", format!("from {} ({})", parent.session_id, parent.link)));
    }
    if !story.children.is_empty() {
        facts.push(("Led to", story.children.join(", ")));
    }
    let of = &story.consequences;
    let follows = format!(
        "messages encrypted by {}, target proven: {}, credentials exposed: {}, second hop: {}",
        of.message_encryption,
        of.server_identity_proven,
        of.credential_exposed,
        of.second_hop.replace('_', " "),
    );
    facts.push(("It follows", follows));
    facts.push(("Seen in", format!("the logs of {}", story.evidence_sides.join(", "))));
    facts.push(("Confidence", story.confidence.level.clone()));
    for (index, detection) in story.detections.iter().enumerate() {
        let times =
            if detection.count > 1 { format!(" ({})", detection.count) } else { String::new() };
        let name = if index == 0 { "Rules" } else { "" };
        facts.push((name, format!("{}: {}{times}", detection.level, detection.title)));
    }
    facts
}

/// The files that a story names, by number.
pub(crate) struct Files<'s>(BTreeMap<&'s str, usize>);

impl<'s> Files<'s> {
    /// Those of a story.
    pub(crate) fn of(story: &'s Story) -> Files<'s> {
        let statements = story.statements.iter().map(|statement| &statement.evidence);
        let commands = story.commands.iter().flat_map(|command| &command.evidence);
        let Story { source, tool, .. } = story;
        let rivals = source.rivals.iter().map(|rival| &rival.hint);
        let hints = source.winner.iter().chain(&source.agreeing).chain(rivals);
        let hints = hints.map(|hint| &hint.evidence);
        let tool = tool.iter().map(|tool| &tool.evidence);
        let all = statements.chain(commands).chain(hints).chain(tool);
        let names: BTreeSet<&str> = all.map(|pointer| pointer.file.as_str()).collect();
        Files(names.into_iter().zip(1..).collect())
    }

    /// A record's place: its EventRecordID, the number in its header where that is another one,
    /// its offset, its file.
    pub(crate) fn record(&self, pointer: &Pointer) -> String {
        let Pointer { file, record_id, offset, record_number } = pointer;
        let number = self.0.get(file.as_str()).copied().unwrap_or_default();
        match record_number == record_id {
            true => format!("record {record_id} at byte {offset} of [{number}]"),
            false => format!("record {record_id}#{record_number} at byte {offset} of [{number}]"),
        }
    }

    /// The names and their numbers.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&'s str, usize)> {
        self.0.iter().map(|(&name, &number)| (name, number))
    }
}

/// One step of the story.
pub(crate) enum Step<'s> {
    /// A record, and those like it that follow.
    Statement(&'s Statement, Vec<&'s Statement>),
    /// A command and its first record.
    Command(&'s Command, Option<&'s Statement>),
}

/// The story in order: each record once, commands in the place of their first record.
pub(crate) fn steps(story: &Story) -> Vec<Step<'_>> {
    let mut by_record: BTreeMap<&Pointer, &Command> = BTreeMap::new();
    for command in &story.commands {
        for pointer in &command.evidence {
            by_record.entry(pointer).or_insert(command);
        }
    }
    let mut told: BTreeSet<&Pointer> = BTreeSet::new();
    let mut steps: Vec<Step<'_>> = Vec::new();
    for statement in &story.statements {
        if let Some(command) = by_record.get(&statement.evidence) {
            if command.evidence.first().is_some_and(|first| told.insert(first)) {
                steps.push(Step::Command(command, Some(statement)));
            }
            continue;
        }
        let alike = |known: &Statement| {
            (&known.host, &known.channel, known.event_id, &known.link)
                == (&statement.host, &statement.channel, statement.event_id, &statement.link)
        };
        match steps.last_mut() {
            Some(Step::Statement(first, more)) if alike(first) => more.push(statement),
            _ => steps.push(Step::Statement(statement, Vec::new())),
        }
    }
    // Commands whose records are no evidence of this session's own.
    let others = story
        .commands
        .iter()
        .filter(|command| command.evidence.first().is_none_or(|first| !told.contains(first)));
    steps.extend(others.map(|command| Step::Command(command, None)));
    steps
}

/// Why a record is the session's.
pub(crate) fn tie(statement: &Statement) -> String {
    let strength = statement.link.split(':').next().unwrap_or_default();
    format!("{strength}: {}", statement.why)
}

/// Where a record is.
pub(crate) fn place(statement: &Statement, files: &Files<'_>) -> String {
    let Statement { channel, event_id, evidence, .. } = statement;
    let channel = channel.trim_start_matches("Microsoft-Windows-");
    format!("{channel} {event_id}, {}", files.record(evidence))
}

/// What a hint names as the source, and by which record.
pub(crate) fn hint(hint: &Hint, files: &Files<'_>) -> String {
    let name = match (&hint.host, &hint.ip) {
        (Some(host), Some(ip)) => format!("{host} ({ip})"),
        (Some(only), None) | (None, Some(only)) => only.clone(),
        (None, None) => "no name".to_owned(),
    };
    let more = match hint.records {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    format!("{name} by {}, {}{more}", hint.basis, files.record(&hint.evidence))
}

/// What speaks against a session.
pub(crate) fn against(story: &Story, files: &Files<'_>) -> Vec<String> {
    let rivals = story.source.rivals.iter();
    let rivals =
        rivals.map(|rival| format!("another source: {}; {}", hint(&rival.hint, files), rival.why));
    let mut against: Vec<String> = rivals.chain(story.confidence.against.iter().cloned()).collect();
    let is_by_time =
        |statement: &&Statement| Link::parse(&statement.link).is_some_and(|link| !link.is_key());
    let by_time = story.statements.iter().filter(is_by_time).count();
    if by_time > 0 {
        let all = story.statements.len();
        against.push(format!("{by_time} of its {all} records are tied by time and names only"));
    }
    against
}

/// How much of a session's time a log covers.
pub(crate) fn covered(covered: &Covered) -> String {
    match covered.percent {
        Some(percent) => format!("{} covers {percent}% of it", covered.channel),
        None => format!("{} is not among the inputs", covered.channel),
    }
}

/// What is missing, and why.
pub(crate) fn missing(missing: &Missing) -> String {
    let ids = missing.event_ids.iter().map(u32::to_string).collect::<Vec<_>>().join("/");
    format!("{ids}, {}: {}", missing.tells, missing.reason)
}

/// A log to look for.
pub(crate) fn collect(collect: &Collect, clock: &impl Clock) -> String {
    let (from, to) = (clock.seconds(collect.from), clock.seconds(collect.to));
    format!("{} of {}, {from} to {to} {}", collect.channel, collect.host, clock.mark(collect.to))
}
