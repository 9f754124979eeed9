//! What is known of each session, put together for `sessions.jsonl` and the page.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};

use super::story::{
    Answer, Command, Confidence, Consequences, Covered, Detection, FORMAT, Hint, Parent, Pointer,
    Process, Rival, Source, Statement, Story, Tool,
};
use super::{commands, missing};
use crate::analysis::Analysis;
use crate::model::{
    AccountName, Channel, Command as Ran, CommandIdx, EndpointKind, Event, EventIdx, EventKind,
    Evidence, HostName, IdxVec, Level, Link, LoggedId, RecordRef, RuleIdx, Session, SessionIdx,
    SourceHint, session_id,
};
use crate::reconstruct::Reconstruction;
use crate::rows::{command_ids, describe};

/// Longest text of a statement, in characters: commands have theirs in full.
const MAX_TEXT: usize = 1000;

/// Sessions whose stories are made together, and are a block of the page. Its `story.js` has the same
/// number.
pub(super) const BLOCK_SESSIONS: usize = 32;

/// The sessions that the run's scope takes in, by start.
pub(super) fn sessions_in_scope(analysis: &Analysis) -> Vec<SessionIdx> {
    let sessions = analysis.reconstruction.sessions.iter_enumerated();
    let sessions = sessions.filter(|(_, session)| analysis.scope.session(session));
    sessions.map(|(index, _)| index).collect()
}

/// Tells the sessions of a run.
pub(super) struct Stories<'a> {
    analysis: &'a Analysis,
    /// Of each session, the ones that were started from it.
    children: BTreeMap<SessionIdx, Vec<String>>,
    /// The commands' ids.
    ids: IdxVec<CommandIdx, String>,
    /// Of each session, its commands.
    commands: BTreeMap<SessionIdx, Vec<CommandIdx>>,
    /// Of each session, how often which rule fired.
    fired: BTreeMap<SessionIdx, BTreeMap<RuleIdx, usize>>,
}

impl<'a> Stories<'a> {
    pub(super) fn of(analysis: &'a Analysis) -> Stories<'a> {
        let case = &analysis.reconstruction;
        let mut children: BTreeMap<SessionIdx, Vec<String>> = BTreeMap::new();
        for (index, session) in case.sessions.iter_enumerated() {
            if let Some((parent, _)) = session.parent {
                children.entry(parent).or_default().push(session_id(index));
            }
        }
        let mut commands: BTreeMap<SessionIdx, Vec<CommandIdx>> = BTreeMap::new();
        for (index, command) in case.commands.iter_enumerated() {
            commands.entry(command.session).or_default().push(index);
        }
        let mut fired: BTreeMap<SessionIdx, BTreeMap<RuleIdx, usize>> = BTreeMap::new();
        for detection in &analysis.fired {
            if let Some(session) = detection.session {
                *fired.entry(session).or_default().entry(detection.rule).or_default() += 1;
            }
        }
        Stories { analysis, children, ids: command_ids(case), commands, fired }
    }

    /// A session's story, and its commands in the same order.
    pub(super) fn tell(&self, index: SessionIdx) -> (Story, Vec<&'a Ran>) {
        let Stories { analysis, children, ids, .. } = self;
        let commands = self.commands.get(&index).map_or(&[][..], Vec::as_slice);
        let (case, paths) = (&analysis.reconstruction, &analysis.paths);
        let story = Story {
            children: children.get(&index).cloned().unwrap_or_default(),
            commands: commands.iter().map(|&index| command(analysis, ids, index)).collect(),
            detections: self.fired.get(&index).map_or(Vec::new(), |of| detections(analysis, of)),
            ..Teller { case, paths, session: &case.sessions[index] }.story(index)
        };
        (story, commands.iter().map(|&index| &case.commands[index]).collect())
    }
}

fn detections(analysis: &Analysis, fired: &BTreeMap<RuleIdx, usize>) -> Vec<Detection> {
    let rules = &analysis.rules.rules;
    let mut by_level: Vec<(&RuleIdx, &usize)> = fired.iter().collect();
    by_level.sort_by_key(|(rule, _)| (std::cmp::Reverse(rules[**rule].meta.level), **rule));
    let told = by_level.into_iter().map(|(&rule, &count)| Detection {
        level: Level::as_str(rules[rule].meta.level).to_owned(),
        title: rules[rule].meta.title.clone(),
        rule_id: rules[rule].meta.id.clone(),
        count,
    });
    told.collect()
}

fn command(analysis: &Analysis, ids: &IdxVec<CommandIdx, String>, index: CommandIdx) -> Command {
    let case = &analysis.reconstruction;
    let command = &case.commands[index];
    let event = &case.events[command.event()];
    let records = command.events.iter().map(|&event| &case.events[event]);
    let (text, original) = match command.bare() {
        Some(bare) => (bare.to_owned(), Some(command.text.clone())),
        None => (command.text.clone(), None),
    };
    Command {
        time: command.time,
        command_id: ids[index].clone(),
        role: command.role.as_str().to_owned(),
        parent: command.parent.map(|(parent, _)| ids[parent].clone()),
        depth: command.depth,
        source_event: event.event_id,
        text,
        original,
        invocations: command.invocations.clone(),
        completeness: command.completeness.to_string(),
        answer: command.heard.as_deref().map(|heard| {
            let [output, errors] = commands::shown(heard);
            let (state, missing) = (heard.state.clone(), heard.gaps.clone());
            Answer { output, errors, state, ended: heard.ended, missing }
        }),
        evidence: records.map(|event| pointer(&analysis.paths, event)).collect(),
    }
}

fn pointer(paths: &[PathBuf], event: &Event) -> Pointer {
    let RecordRef { input, offset, number } = event.source;
    let file = paths[input.index()].display().to_string();
    Pointer { file, record_id: event.record_id, offset, record_number: number }
}

fn covered(covered: &crate::model::Covered) -> Covered {
    Covered { channel: covered.channel.name().to_owned(), percent: covered.percent }
}

/// Tells of a session.
struct Teller<'a> {
    case: &'a Reconstruction,
    paths: &'a [PathBuf],
    session: &'a Session,
}

impl Teller<'_> {
    fn story(&self, index: SessionIdx) -> Story {
        let Teller { session, .. } = *self;
        let text = |text: &Option<HostName>| text.as_ref().map(|text| text.to_string());
        let corrected = |time| session.clock.map(|clock| clock.correct(time));
        let of = session.consequences();
        let (start, end) = session.process_life;
        Story {
            format: FORMAT,
            session_id: session_id(index),
            start_time: session.start,
            end_time: session.end,
            end_kind: session.end_kind.as_str().to_owned(),
            start_corrected: corrected(session.start),
            end_corrected: corrected(session.end),
            source_host: text(&session.source_host),
            source_ip: session.source_ip.clone(),
            target_host: session.target_host.to_string(),
            user: session.user.as_ref().map(AccountName::to_string),
            user_sid: session.user_sid.clone(),
            auth: session.auth.as_str().to_owned(),
            transport: session.transport.as_str().to_owned(),
            kind: session.kind.as_str().to_owned(),
            configuration: session.configuration.clone(),
            endpoint_kind: session.endpoint_kind.map_or("", EndpointKind::as_str).to_owned(),
            engine_version: session.engine_version.clone(),
            tool: session.tool.as_ref().map(|tool| Tool {
                name: tool.name.clone(),
                basis: tool.basis.to_owned(),
                evidence: self.pointer(tool.event),
            }),
            logon_ids: session.logon_ids.iter().map(|id| format!("{id:#x}")).collect(),
            process: session.process_id.map(|id| Process { id, start, end }),
            runspace_ids: session.runspace_ids.iter().map(LoggedId::to_string).collect(),
            consequences: Consequences {
                message_encryption: of.encryption.as_str().to_owned(),
                server_identity_proven: of.server_identity_proven.as_str().to_owned(),
                credential_exposed: of.credential_exposed.as_str().to_owned(),
                second_hop: of.second_hop.as_str().to_owned(),
            },
            parent: session.parent.map(|(parent, link)| Parent {
                session_id: session_id(parent),
                link: link.as_str().to_owned(),
            }),
            children: Vec::new(),
            evidence_sides: session.sides.names().into_iter().map(str::to_owned).collect(),
            confidence: Confidence {
                level: session.confidence.as_str().to_owned(),
                reasons: self.reasons(false),
                against: self.reasons(true),
            },
            source: self.source(),
            missing: session.missing.iter().map(missing::told).collect(),
            log_coverage: session.covered.iter().map(covered).collect(),
            collect: missing::collect(&session.missing),
            statements: self.statements(),
            commands: Vec::new(),
            detections: Vec::new(),
        }
    }

    fn reasons(&self, against: bool) -> Vec<String> {
        let reasons = self.session.confidence_reasons.iter();
        let reasons = reasons.filter(|reason| reason.is_against() == against);
        reasons.map(|reason| reason.text().into_owned()).collect()
    }

    fn pointer(&self, event: EventIdx) -> Pointer {
        pointer(self.paths, &self.case.events[event])
    }

    fn source(&self) -> Source {
        let weighed = &self.session.weighed;
        let hint = |hint: &SourceHint| Hint {
            basis: hint.basis.as_str().to_owned(),
            host: hint.host.as_ref().map(|host| self.case.name(host).to_string()),
            ip: hint.ip.clone(),
            records: hint.records,
            evidence: self.pointer(hint.event),
        };
        let rivals = weighed.rivals.iter();
        let rivals = rivals.map(|rival| Rival { hint: hint(&rival.hint), why: rival.why.reason() });
        Source {
            basis: self.session.source_basis.as_str().to_owned(),
            winner: weighed.winner.as_ref().map(hint),
            agreeing: weighed.agreeing.iter().map(hint).collect(),
            rivals: rivals.collect(),
        }
    }

    /// What the records say, by corrected times.
    fn statements(&self) -> Vec<Statement> {
        let evidence = self.session.evidence.iter();
        let mut statements: Vec<Statement> = evidence.map(|at| self.statement(at)).collect();
        statements.sort_by_key(|statement| statement.corrected.unwrap_or(statement.time));
        statements
    }

    fn statement(&self, evidence: &Evidence) -> Statement {
        let event = &self.case.events[evidence.event];
        let name = self.case.name(&event.host);
        let side = match (
            *name == self.session.target_host,
            Some(name) == self.session.source_host.as_ref(),
        ) {
            (true, _) => "target",
            (false, true) => "client",
            (false, false) => "other",
        };
        let mut text = String::new();
        describe::summary(event, &mut text);
        if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
            text.truncate(end);
            text.push_str("… (cut: the record holds the rest)");
        }
        let known = Channel::of(&event.channel, &event.provider);
        let channel = if event.channel.is_empty() { known.name() } else { &event.channel };
        Statement {
            time: event.time,
            corrected: self.corrected(event),
            host: name.to_string(),
            side: side.to_owned(),
            channel: channel.to_owned(),
            event_id: event.event_id,
            kind: describe::kind(event).to_owned(),
            text,
            link: evidence.link.as_str().to_owned(),
            why: self.why(event, evidence.link),
            evidence: self.pointer(evidence.event),
        }
    }

    fn corrected(&self, event: &Event) -> Option<DateTime<Utc>> {
        let clock = self.case.host(&event.host).and_then(|host| host.clock);
        clock.map(|clock| clock.correct(event.time))
    }

    /// What ties a record to the session, with the ids or times that agree.
    fn why(&self, event: &Event, link: Link) -> String {
        let apart = || self.apart(event);
        match link {
            Link::Own => "the session is known by it".to_owned(),
            Link::Process => self.process(event),
            Link::HostId | Link::Runspace => {
                let context = event.engine();
                let (id, of) = match link {
                    Link::HostId => {
                        ("HostId", context.and_then(|context| context.host_id.as_ref()))
                    }
                    _ => ("RunspaceId", context.and_then(|context| context.runspace_id.as_ref())),
                };
                format!("{id} {} is the session's", LoggedId::text(of))
            }
            Link::Pool => "of the traffic of its runspace pool or shell".to_owned(),
            Link::Logon => match self.session.logon_ids.first() {
                Some(id) => format!("logon id {id:#x}, the host process's own"),
                None => "logon id, the host process's own".to_owned(),
            },
            Link::Activity => {
                format!("ActivityID {}", LoggedId::text(event.activity_id.as_ref()))
            }
            Link::Target => format!("names this target, {}", apart()),
            Link::Connection => "of the client's connection, which names this target".to_owned(),
            Link::Account => format!("same account, {}", apart()),
            Link::CommandLine => {
                format!("command line of a process of the session, {}", apart())
            }
            Link::Text => format!("its text agrees, {}", apart()),
            Link::Source => format!("names the source, {}", apart()),
        }
    }

    /// How a process of an event is the session's.
    fn process(&self, event: &Event) -> String {
        let id = match &event.kind {
            EventKind::ProcessStart(start) => start.process_id,
            EventKind::ProcessExit(exit) => exit.process_id,
            EventKind::Connection(connection) => connection.process_id,
            EventKind::ExplicitCredentials(used) => used.process_id,
            _ => event.process_id.unwrap_or_default(),
        };
        let clock = |time: DateTime<Utc>| time.format("%H:%M:%S").to_string();
        match (self.session.process_id, self.session.process_life) {
            (Some(own), _) if id == 0 => {
                format!("host process {own} or one below it, by image and parent")
            }
            (Some(own), life) if own == id => match life {
                (Some(start), Some(end)) => {
                    format!("host process {id}, alive {} to {}", clock(start), clock(end))
                }
                (Some(start), None) => format!("host process {id}, started {}", clock(start)),
                (None, _) => format!("host process {id}"),
            },
            (Some(own), _) => format!("process {id}, below the host process {own}"),
            (None, _) => format!("process {id}"),
        }
    }

    /// How long before or after the session's start an event was logged.
    fn apart(&self, event: &Event) -> String {
        let session = self.session;
        let start = session.clock.map_or(session.start, |clock| clock.correct(session.start));
        let apart = self.corrected(event).unwrap_or(event.time) - start;
        let side = if apart < TimeDelta::zero() { "before" } else { "after" };
        format!("{:.1} s {side} the start", apart.abs().num_milliseconds() as f64 / 1000.0)
    }
}
