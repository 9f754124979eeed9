//! Rules over records, and over what reconstruction derives from them: sessions, commands, script
//! blocks, child processes and failed attempts. These are presented as derived events with the
//! fields that `detections/README.md` documents.

use std::cell::OnceCell;
use std::collections::HashMap;

use chrono::{DateTime, Datelike, Timelike, Utc};
use ps_layers::Unwrapped;
use rayon::prelude::*;

use super::history::{SessionHistory, session_histories};
use super::rule::cut_value;
use super::rules::{Hit, RuleSet};
use super::view::FieldMap;
use crate::keyed::KeyedHasher;
use crate::model::{
    AccountName, Attempt, Clearing, Command, Detection, Edge, EndpointKind, Event, EventIdx,
    EventKind, Heard, HostName, IdxVec, Kept, LogGap, LogSign, LoggedId, MatchedField, Proof, Role,
    ScriptBlock, Session, SessionIdx, SignKind, Stream, Subject, Wrapped, csv_time, session_id,
};
use crate::reconstruct::Reconstruction;

/// The fields that derived events of a kind may have, as `detections/README.md` documents them.
pub(super) fn derived_field_names(subject: Subject) -> &'static [&'static str] {
    match subject {
        Subject::Session => &[
            "SessionId",
            "Kind",
            "SourceHost",
            "SourceIp",
            "TargetHost",
            "User",
            "UserSid",
            "Auth",
            "Transport",
            "Configuration",
            "EvidenceSides",
            "Confidence",
            "CommandCount",
            "ScriptBlockCount",
            "ChildProcessCount",
            "DurationSeconds",
            "EndKind",
            "StartHour",
            "StartWeekday",
            "LocalAccount",
            "EngineVersion",
            "MessageEncryption",
            "CredentialExposed",
            "Tool",
            "EndpointKind",
            "ParentSessionId",
            "SecondHop",
            "RefusedBefore",
            "PairFirstSeen",
            "HistoryHours",
        ],
        Subject::Command => &[
            "SessionId",
            "Kind",
            "SourceHost",
            "SourceIp",
            "TargetHost",
            "User",
            "Text",
            "Invocations",
            "Output",
            "DecodedText",
            "Role",
            "SourceEvent",
            "HostApplication",
        ],
        Subject::ScriptBlock => &[
            "ScriptBlockText",
            "DecodedText",
            "ScriptBlockId",
            "Path",
            "Parts",
            "PartsTotal",
            "Complete",
            "Computer",
            "User",
            "SessionId",
            "Remote",
        ],
        Subject::ChildProcess => &[
            "SessionId",
            "Kind",
            "SourceHost",
            "TargetHost",
            "User",
            "Image",
            "CommandLine",
            "DecodedText",
            "ParentImage",
            "Depth",
        ],
        Subject::Attempt => {
            &["SourceHost", "TargetHost", "User", "Reason", "ErrorCode", "EvidenceSides"]
        }
        Subject::DecodedLayer => {
            &["Text", "How", "Depth", "Parent", "Source", "Computer", "User", "SessionId", "Image"]
        }
        Subject::LogGap => &[
            "Computer",
            "Channel",
            "Kind",
            "FromRecordId",
            "ToRecordId",
            "Missing",
            "From",
            "To",
            "Renumbered",
            "SessionsInside",
        ],
        Subject::LogIntegrity => &[
            "Computer",
            "Channel",
            "Kind",
            "Count",
            "Explained",
            "Weight",
            "What",
            "From",
            "To",
            "SessionsInside",
        ],
        Subject::Record | Subject::Correlation => &[],
    }
}

/// Makes detections from a record's hits. Their session is not known yet.
pub fn detections_on_record(
    event: &Event,
    hits: impl IntoIterator<Item = Hit>,
) -> impl Iterator<Item = Detection> {
    let detection = |hit: Hit| Detection {
        rule: hit.rule,
        subject: Subject::Record,
        time: event.time,
        host: event.computer.clone(),
        user: event.user(),
        session: None,
        matched: hit.matched,
        evidence: vec![Proof::of(event)],
        kept: hit.values.map(|values| Kept { logged_by: event.computer.clone(), values }),
    };
    hits.into_iter().map(detection)
}

/// Matches rules on script blocks outside sessions. The same block is often logged more than
/// once, for example in copies of a log, so earlier results are remembered.
#[derive(Default)]
pub struct OutsideScriptMatcher {
    keys: KeyedHasher,
    /// Hits by the hash of the block's fields.
    seen: HashMap<[u64; 2], Vec<Hit>>,
}

/// Largest number of blocks whose hits are remembered.
const MAX_REMEMBERED: usize = 1 << 16;

impl OutsideScriptMatcher {
    /// Returns the detections on a script block. `events` holds its parts.
    pub fn detect(
        &mut self,
        rules: &RuleSet,
        events: &IdxVec<EventIdx, Event>,
        block: &ScriptBlock,
    ) -> impl Iterator<Item = Detection> + use<> {
        let known = rules.has_rules_for(Subject::ScriptBlock).then(|| {
            let derived = script_event(events, &IdxVec::new(), block);
            let key = self.keys.hash_128(&derived.fields);
            let hits = match self.seen.get(&key) {
                Some(hits) => hits.clone(),
                None => {
                    let hits = derived.hits(rules);
                    if self.seen.len() < MAX_REMEMBERED {
                        self.seen.insert(key, hits.clone());
                    }
                    hits
                }
            };
            derived.detections(hits)
        });
        known.into_iter().flatten()
    }
}

/// Returns the detections on the decoded layers of a text. Each rule is reported once: on the
/// outermost layer on which it fires. `matched` names that layer.
pub fn detections_on_layers(rules: &RuleSet, wrapped: &Wrapped) -> Vec<Detection> {
    let mut found: Vec<Detection> = Vec::new();
    if !rules.has_rules_for(Subject::DecodedLayer) {
        return found;
    }
    for layer in wrapped.found() {
        let fields = FieldMap::default()
            .text("Text", layer.text)
            .text("How", layer.how)
            .number("Depth", layer.depth as i64)
            .text("Parent", layer.parent)
            .text("Source", wrapped.kind.as_str())
            .text("Computer", &*wrapped.host)
            .text("User", &*wrapped.user)
            .optional_text("SessionId", wrapped.session.map(session_id))
            .optional_text("Image", Some(&*wrapped.image).filter(|image| !image.is_empty()));
        let mut hits = rules.on_derived(Subject::DecodedLayer, &fields);
        hits.retain(|hit| found.iter().all(|known| known.rule != hit.rule));
        for hit in &mut hits {
            for (field, value) in [("How", layer.how), ("Depth", &layer.depth.to_string())] {
                let (field, value) = (field.to_owned(), value.to_owned());
                hit.matched.push(MatchedField { field, value });
            }
            hit.matched.sort();
            hit.matched.dedup();
        }
        let derived = DerivedEvent {
            subject: Subject::DecodedLayer,
            fields,
            time: wrapped.time,
            logged_by: wrapped.host.clone(),
            host: wrapped.host.clone(),
            user: wrapped.user.clone(),
            session: wrapped.session,
            evidence: wrapped.evidence.clone(),
        };
        found.extend(derived.detections(hits));
    }
    found
}

/// Returns the detections on everything that was rebuilt: sessions, commands, scripts, attempts,
/// gaps, clearings and signs of tampering.
pub fn detections_on_rebuilt(rules: &RuleSet, case: &Reconstruction) -> Vec<Detection> {
    let (counts, histories) = (session_counts(case), session_histories(case));
    let sessions = case.sessions.par_iter().enumerate();
    let sessions = sessions.map(|(at, _)| {
        let index = SessionIdx::new(at);
        session_event(case, &counts[index], &histories[index], index)
    });
    let commands = case.commands.par_iter().filter(|command| command.role != Role::Engine);
    let commands = commands.map(|command| command_event(case, command));
    let scripts =
        case.scripts.par_iter().map(|block| script_event(&case.events, &case.sessions, block));
    let attempts = case.attempts.par_iter().map(|tried| attempt_event(case, tried));
    let gaps = case.gaps.par_iter().map(gap_event);
    let cleared = case.cleared.par_iter().map(|clearing| clearing_event(case, clearing));
    let derived = sessions.chain(commands).chain(scripts).chain(attempts);
    let signs = case.signs.par_iter().filter_map(|found| sign_event(case, found));
    let derived = derived.chain(gaps).chain(cleared).chain(signs);
    let fired = derived.flat_map_iter(|derived| {
        let hits = derived.hits(rules);
        derived.detections(hits)
    });
    fired.collect()
}

/// A derived event, and what a detection on it reports.
struct DerivedEvent {
    subject: Subject,
    fields: FieldMap,
    time: DateTime<Utc>,
    /// The host whose clock gave the time.
    logged_by: HostName,
    host: HostName,
    user: String,
    session: Option<SessionIdx>,
    evidence: Vec<Proof>,
}

/// The field that lists the decoded layers of a text.
const DECODED: &str = "DecodedText";
/// Longest other value, in bytes, that is kept when a single layer is evaluated. Without this
/// limit each of many layers would cost as much as all of them together.
const MAX_OTHER_VALUE: usize = 1024;

impl DerivedEvent {
    /// Returns the rules that fire on the event. If a rule matched a decoded layer, the hit names
    /// that layer.
    fn hits(&self, rules: &RuleSet) -> Vec<Hit> {
        let mut hits = rules.on_derived(self.subject, &self.fields);
        let layers = self.fields.texts(DECODED);
        if layers.is_empty() {
            return hits;
        }
        let beside = OnceCell::new();
        for hit in &mut hits {
            let rule = hit.rule;
            let Some(whole) = hit.matched.iter_mut().find(|one| one.field == DECODED) else {
                continue;
            };
            let beside =
                beside.get_or_init(|| self.fields.short_fields_except(DECODED, MAX_OTHER_VALUE));
            let alone = layers.iter().find_map(|layer| {
                let fields = beside.clone().list(DECODED, [layer.clone()]);
                let mut matched = rules.matched(rule, &fields)?.into_iter();
                matched.find(|one| one.field == DECODED).map(|_| layer)
            });
            if let Some(layer) = alone {
                whole.value = cut_value(layer.as_ref().to_owned());
            }
        }
        hits
    }

    fn detections(self, hits: Vec<Hit>) -> impl Iterator<Item = Detection> {
        hits.into_iter().map(move |hit| Detection {
            rule: hit.rule,
            subject: self.subject,
            time: self.time,
            host: self.host.clone(),
            user: self.user.clone(),
            session: self.session,
            matched: hit.matched,
            evidence: self.evidence.clone(),
            kept: hit.values.map(|values| Kept { logged_by: self.logged_by.clone(), values }),
        })
    }
}

/// Counts of what a session ran.
#[derive(Default)]
pub(crate) struct SessionCounts {
    /// Commands, without child processes and what the engine runs by itself.
    pub commands: usize,
    /// Script blocks.
    pub scripts: usize,
    /// Child processes, at any depth.
    pub children: usize,
}

/// Counts what each session ran.
pub(crate) fn session_counts(case: &Reconstruction) -> IdxVec<SessionIdx, SessionCounts> {
    let none = case.sessions.iter().map(|_| SessionCounts::default());
    let mut counts: IdxVec<SessionIdx, SessionCounts> = none.collect();
    for command in &case.commands {
        match command.role {
            Role::Typed | Role::Called => counts[command.session].commands += 1,
            Role::Process => counts[command.session].children += 1,
            Role::Engine => {}
        }
    }
    for session in case.scripts.iter().filter_map(|script| script.session) {
        counts[session].scripts += 1;
    }
    counts
}

fn account_name(account: Option<&AccountName>) -> String {
    account.map(AccountName::to_string).unwrap_or_default()
}

/// Adds the fields that identify a session: its id, kind, hosts and user.
fn session_end_fields(fields: FieldMap, index: SessionIdx, session: &Session) -> FieldMap {
    fields
        .text("SessionId", session_id(index))
        .text("Kind", session.kind.as_str())
        .optional_text("SourceHost", session.source_host.as_deref())
        .optional_text("SourceIp", session.source_ip.as_deref())
        .text("TargetHost", &*session.target_host)
        .text("User", account_name(session.user.as_ref()))
}

fn session_event(
    case: &Reconstruction,
    counts: &SessionCounts,
    history: &SessionHistory,
    index: SessionIdx,
) -> DerivedEvent {
    let session = &case.sessions[index];
    let consequences = session.consequences();
    let weekday = match session.start.weekday() {
        chrono::Weekday::Mon => "monday",
        chrono::Weekday::Tue => "tuesday",
        chrono::Weekday::Wed => "wednesday",
        chrono::Weekday::Thu => "thursday",
        chrono::Weekday::Fri => "friday",
        chrono::Weekday::Sat => "saturday",
        chrono::Weekday::Sun => "sunday",
    };
    let fields = session_end_fields(FieldMap::default(), index, session)
        .optional_text("UserSid", session.user_sid.as_deref())
        .text("Auth", session.auth.as_str())
        .text("Transport", session.transport.as_str())
        .text("Configuration", &*session.configuration)
        .list("EvidenceSides", session.sides.names())
        .text("Confidence", session.confidence.as_str())
        .number("CommandCount", counts.commands as i64)
        .number("ScriptBlockCount", counts.scripts as i64)
        .number("ChildProcessCount", counts.children as i64)
        .number("DurationSeconds", (session.end - session.start).num_seconds())
        .text("EndKind", session.end_kind.as_str())
        .number("StartHour", session.start.hour().into())
        .text("StartWeekday", weekday)
        .boolean("LocalAccount", session.local_account())
        .text("EngineVersion", &*session.engine_version)
        .text("MessageEncryption", consequences.encryption.as_str())
        .text("CredentialExposed", consequences.credential_exposed.as_str())
        .optional_text("Tool", session.tool.as_ref().map(|tool| tool.name.as_str()))
        .optional_text("EndpointKind", session.endpoint_kind.map(EndpointKind::as_str))
        .optional_text("ParentSessionId", session.parent.map(|(parent, _)| session_id(parent)))
        .boolean("SecondHop", session.parent.is_some())
        .number("RefusedBefore", history.refused);
    let fields = match history.first_seen {
        Some(first) => fields.boolean("PairFirstSeen", first),
        None => fields,
    };
    let fields = match history.hours {
        Some(hours) => fields.number("HistoryHours", hours),
        None => fields,
    };
    DerivedEvent {
        subject: Subject::Session,
        fields,
        time: session.start,
        logged_by: host_that_logged(case, session.start, session.evidence.iter().map(|e| e.event)),
        host: session.target_host.clone(),
        user: account_name(session.user.as_ref()),
        session: Some(index),
        evidence: session.evidence.iter().map(|e| Proof::of(&case.events[e.event])).collect(),
    }
}

/// Returns the host that logged a time: the first of these events with that time names it.
fn host_that_logged(
    case: &Reconstruction,
    time: DateTime<Utc>,
    events: impl Iterator<Item = EventIdx>,
) -> HostName {
    let mut events = events.map(|event| &case.events[event]);
    events.find(|event| event.time == time).map(|event| event.computer.clone()).unwrap_or_default()
}

/// Adds all decoded layers of a text, so that a rule can match any of them.
fn with_decoded_text(fields: FieldMap, hidden: &Unwrapped) -> FieldMap {
    match &hidden.layers[..] {
        [] => fields,
        layers => fields.list(DECODED, layers.iter().map(|layer| layer.text.clone())),
    }
}

fn command_event(case: &Reconstruction, command: &Command) -> DerivedEvent {
    let session = &case.sessions[command.session];
    let event = &case.events[command.event()];
    let fields = session_end_fields(FieldMap::default(), command.session, session);
    let fields = with_decoded_text(fields, &command.hidden);
    let (subject, fields) = match &event.kind {
        EventKind::ProcessStart(start) => {
            let fields = fields
                .text("Image", &*start.image)
                .text("CommandLine", &*command.text)
                .text("ParentImage", &*start.parent_image)
                .number("Depth", command.depth.into());
            (Subject::ChildProcess, fields)
        }
        _ => {
            let application =
                command.events.iter().find_map(|&event| match &case.events[event].kind {
                    EventKind::Command(invocation) => Some(&invocation.context.host_application),
                    EventKind::Pipeline(pipeline) => Some(&pipeline.context.host_application),
                    _ => None,
                });
            let invocations = command.invocations.join("\n");
            let fields = fields
                .text("Text", &*command.text)
                .optional_text("Output", command.heard.as_deref().and_then(output_text))
                .optional_text("Invocations", Some(invocations).filter(|text| !text.is_empty()))
                .text("Role", command.role.as_str())
                .number("SourceEvent", event.event_id.into())
                .optional_text("HostApplication", application.map(String::as_str));
            (Subject::Command, fields)
        }
    };
    DerivedEvent {
        subject,
        fields,
        time: command.time,
        logged_by: event.computer.clone(),
        host: event.computer.clone(),
        user: account_name(session.user.as_ref()),
        session: Some(command.session),
        evidence: command.events.iter().map(|&event| Proof::of(&case.events[event])).collect(),
    }
}

/// Longest command output that rules see, in characters.
const MAX_OUTPUT: usize = 1 << 16;

/// Returns the output of a command, errors included.
fn output_text(heard: &Heard) -> Option<String> {
    let (text, _) = heard.text(|stream| stream.is_output() || stream == Stream::Error, MAX_OUTPUT);
    Some(text).filter(|text| !text.is_empty())
}

/// Returns the fields of a script block.
pub(super) fn script_fields(
    events: &IdxVec<EventIdx, Event>,
    sessions: &IdxVec<SessionIdx, Session>,
    script: &ScriptBlock,
) -> FieldMap {
    let first: &Event = &events[script.events[0]];
    with_decoded_text(FieldMap::default(), &script.hidden)
        .text("ScriptBlockText", &*script.text)
        .text("ScriptBlockId", LoggedId::text(script.id.as_ref()))
        .text("Path", &*script.path)
        .number("Parts", script.parts.into())
        .number("PartsTotal", script.total.into())
        .boolean("Complete", script.complete())
        .text("Computer", &*first.computer)
        .text("User", script_user(first, sessions, script))
        .optional_text("SessionId", script.session.map(session_id))
        .boolean("Remote", script.session.is_some())
}

fn script_user(
    first: &Event,
    sessions: &IdxVec<SessionIdx, Session>,
    script: &ScriptBlock,
) -> String {
    match script.session {
        Some(session) => account_name(sessions[session].user.as_ref()),
        None => first.user(),
    }
}

fn script_event(
    events: &IdxVec<EventIdx, Event>,
    sessions: &IdxVec<SessionIdx, Session>,
    script: &ScriptBlock,
) -> DerivedEvent {
    let first: &Event = &events[script.events[0]];
    DerivedEvent {
        subject: Subject::ScriptBlock,
        fields: script_fields(events, sessions, script),
        time: first.time,
        logged_by: first.computer.clone(),
        host: first.computer.clone(),
        user: script_user(first, sessions, script),
        session: script.session,
        evidence: script.events.iter().map(|&event| Proof::of(&events[event])).collect(),
    }
}

fn attempt_event(case: &Reconstruction, attempt: &Attempt) -> DerivedEvent {
    let sid = || attempt.user_sid.clone().unwrap_or_default();
    let user = attempt.user.as_ref().map_or_else(sid, AccountName::to_string);
    let fields = FieldMap::default()
        .optional_text("SourceHost", Some(&*attempt.source_host).filter(|host| !host.is_empty()))
        .text("TargetHost", &*attempt.target_host)
        .text("User", &*user)
        .text("Reason", attempt.reason.as_str())
        .optional_text("ErrorCode", attempt.error_code.map(|code| code.to_string()))
        .list("EvidenceSides", attempt.sides.names());
    DerivedEvent {
        subject: Subject::Attempt,
        fields,
        time: attempt.time,
        logged_by: host_that_logged(case, attempt.time, attempt.events.iter().copied()),
        host: match &*attempt.source_host {
            "" => attempt.target_host.clone(),
            _ => attempt.source_host.clone(),
        },
        user,
        session: None,
        evidence: attempt.events.iter().map(|&event| Proof::of(&case.events[event])).collect(),
    }
}

fn gap_event(found: &LogGap) -> DerivedEvent {
    let LogGap { host, channel, gap, sessions } = found;
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let fields = FieldMap::default()
        .text("Computer", &**host)
        .text("Channel", channel.name())
        .text("Kind", "missing_records")
        .number("FromRecordId", whole(gap.before.record_id))
        .number("ToRecordId", whole(gap.after.record_id))
        .number("Missing", whole(gap.missing()))
        .text("From", csv_time(gap.before.time))
        .text("To", csv_time(gap.after.time))
        .boolean("Renumbered", gap.renumbered())
        .number("SessionsInside", *sessions as i64);
    let proof = |edge: Edge| Proof { source: edge.source, record_id: edge.record_id };
    DerivedEvent {
        subject: Subject::LogGap,
        fields,
        time: gap.before.time,
        logged_by: host.clone(),
        host: host.clone(),
        user: String::new(),
        session: None,
        evidence: vec![proof(gap.before), proof(gap.after)],
    }
}

fn clearing_event(case: &Reconstruction, clearing: &Clearing) -> DerivedEvent {
    let inside = case.sessions.iter().filter(|session| {
        session.target_host == clearing.host
            && (session.start..=session.end).contains(&clearing.time)
    });
    let fields = FieldMap::default()
        .text("Computer", &*clearing.host)
        .text("Channel", clearing.channel.name())
        .text("Kind", "cleared")
        .text("To", csv_time(clearing.time))
        .number("SessionsInside", inside.count() as i64);
    DerivedEvent {
        subject: Subject::LogGap,
        fields,
        time: clearing.time,
        logged_by: clearing.host.clone(),
        host: clearing.host.clone(),
        user: account_name(clearing.account.as_ref()),
        session: None,
        evidence: vec![Proof { source: clearing.source, record_id: clearing.record_id }],
    }
}

/// Makes an event of a sign of tampering. Holes and clearings have events of their own. A sign
/// that no record shows is only in the table of signs.
fn sign_event(case: &Reconstruction, found: &LogSign) -> Option<DerivedEvent> {
    let LogSign { kind, level, host, channel, span, count, explained, what, evidence, .. } = found;
    if matches!(kind, SignKind::MissingRecords | SignKind::Cleared) || evidence.is_empty() {
        return None;
    }
    let (from, to) = (*span)?;
    let inside = case.sessions_within(host, from, to).count();
    let explained = match explained {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    let fields = FieldMap::default()
        .text("Computer", &**host)
        .text("Channel", channel.name())
        .text("Kind", kind.as_str())
        .number("Count", i64::try_from(*count).unwrap_or(i64::MAX))
        .text("Explained", explained)
        .text("Weight", level.as_str())
        .text("What", &**what)
        .text("From", csv_time(from))
        .text("To", csv_time(to))
        .number("SessionsInside", inside as i64);
    Some(DerivedEvent {
        subject: Subject::LogIntegrity,
        fields,
        time: from,
        logged_by: host.clone(),
        host: host.clone(),
        user: String::new(),
        session: None,
        evidence: evidence.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::logsource::DERIVED;

    #[test]
    fn the_fields_of_derived_events_are_those_of_the_readme() {
        let readme = include_str!("../../detections/README.md");
        for (name, subject) in DERIVED {
            let row = readme.lines().find(|line| line.starts_with(&format!("| `{name}` | ")));
            let cell = row.unwrap().split('|').nth(3).unwrap();
            let documented: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
            assert_eq!(documented, derived_field_names(subject), "{name}");
        }
    }
}
