//! Invocations that engines log: the statements of each pipeline, each with all its records.
//!
//! What a user types or sends is one pipeline to the engine and has one PipelineId. It may run many
//! statements, also in functions and loops. For each statement the engine logs an 800 and at once a
//! 4103, with consecutive numbers: the 4103 has the next number of the engine's counter after the
//! 800, as real logs show. [`LogPipelineExecutionDetailEvent`][source] is called once for each
//! statement, for all providers. ActivityIDs are not keys: real engines have one for each record.
//!
//! [source]: https://github.com/PowerShell/PowerShell/blob/master/src/System.Management.Automation/engine/pipeline.cs

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::{EventIdx, EventKind, IdxVec, LoggedId, index_types};
use crate::normalise::MOST_NAMES;
use crate::reconstruct::index::Events;

index_types! {
    /// Index of a pipeline among those of an engine.
    pub(super) PipelineIdx;
    /// Index of a statement among those of a pipeline.
    StatementIdx;
}

/// A statement of a pipeline, and all its records.
#[derive(Debug, Default)]
pub(super) struct PipelineStatement {
    /// The events, best first: 4103, 800, 7937.
    pub events: Vec<EventIdx>,
    /// The first of the events.
    pub first: EventIdx,
    /// The sequence number of the 4103, or the number that it would have.
    sequence: Option<u64>,
    /// The commands with their bound parameters. Only the names if only 7937 logs them.
    pub text: String,
    pub names: Vec<String>,
    pub command_type: String,
    /// The line of script that contains the statement, from 800.
    pub line: String,
    /// The engine belongs to a remoting session.
    pub remote: bool,
    /// Only the name is known.
    pub name_only: bool,
    /// For an 800 without 4103: the parts that were seen, and how many there are.
    parts: BTreeSet<u32>,
    parts_total: u32,
}

impl PipelineStatement {
    fn new(event: EventIdx, events: &Events) -> PipelineStatement {
        let context = events[event].engine();
        PipelineStatement {
            first: event,
            sequence: context.and_then(|context| context.sequence),
            command_type: context.map(|c| c.command_type.clone()).unwrap_or_default(),
            remote: context.is_some_and(|context| context.is_remote()),
            ..PipelineStatement::default()
        }
    }

    fn add(&mut self, event: EventIdx) {
        self.events.push(event);
        self.first = self.first.min(event);
    }

    /// Returns true if no record holds some part of the details.
    pub fn lacks_parts(&self) -> bool {
        (self.parts.len() as u32) < self.parts_total
    }
}

/// A pipeline, or a record that does not name its pipeline.
#[derive(Debug)]
pub(super) struct EnginePipeline {
    /// The runspace, if known.
    pub runspace: Option<LoggedId>,
    /// Empty if not known.
    pub id: String,
    /// The statements, in the order of the engine.
    pub statements: Vec<PipelineStatement>,
}

impl EnginePipeline {
    pub fn first_event(&self) -> EventIdx {
        self.statements.iter().map(|statement| statement.first).min().unwrap_or_default()
    }
}

/// Groups events (4103, 800, 7937, in order) into pipelines, by first event.
pub(super) fn group_pipelines(
    events: &Events,
    indexes: &[EventIdx],
) -> IdxVec<PipelineIdx, EnginePipeline> {
    let mut groups: BTreeMap<(Option<&LoggedId>, &str, _), Vec<EventIdx>> = BTreeMap::new();
    for &index in indexes {
        let Some(context) = events[index].engine() else { continue };
        let (runspace, id) = (context.runspace_id.as_ref(), context.pipeline_id.as_str());
        let alone = (runspace.is_none() || id.is_empty()).then_some(index);
        groups.entry((runspace, id, alone)).or_default().push(index);
    }
    let pipeline = |((runspace, id, _), indexes): ((Option<&LoggedId>, &str, _), Vec<EventIdx>)| {
        EnginePipeline {
            runspace: runspace.cloned(),
            id: id.to_owned(),
            statements: group_statements(events, &indexes),
        }
    };
    let mut pipelines: IdxVec<PipelineIdx, EnginePipeline> =
        groups.into_iter().map(pipeline).collect();
    pipelines.retain(|pipeline| !pipeline.statements.is_empty());
    pipelines.sort_by_key(EnginePipeline::first_event);
    pipelines
}

fn group_statements(events: &Events, indexes: &[EventIdx]) -> Vec<PipelineStatement> {
    let mut all: IdxVec<StatementIdx, PipelineStatement> = IdxVec::new();
    let mut numbered: BTreeMap<u64, StatementIdx> = BTreeMap::new();
    // Statements without a number, by their names. An 800 goes to the first one that has no 800.
    let mut unnumbered: BTreeMap<&[String], VecDeque<StatementIdx>> = BTreeMap::new();
    for &index in indexes {
        let EventKind::Command(command) = &events[index].kind else { continue };
        let known = command.context.sequence.and_then(|number| numbered.get(&number).copied());
        match known {
            // The same record from a copied log.
            Some(at) if all[at].text == command.text => all[at].add(index),
            _ => {
                let mut statement = PipelineStatement::new(index, events);
                statement.add(index);
                statement.text.clone_from(&command.text);
                statement.names.clone_from(&command.names);
                let at = all.push(statement);
                match command.context.sequence {
                    Some(number) => {
                        numbered.entry(number).or_insert(at);
                    }
                    None => unnumbered.entry(&command.names).or_default().push_back(at),
                }
            }
        }
    }
    for &index in indexes {
        let EventKind::Pipeline(details) = &events[index].kind else { continue };
        let number = details.context.sequence.map(|number| number.saturating_add(1));
        let known = match number {
            Some(number) => numbered.get(&number).copied(),
            None => unnumbered.get_mut(&*details.names).and_then(VecDeque::pop_front),
        };
        // A part of long details may name fewer commands than the whole.
        let fits = |at: &StatementIdx| {
            let statement: &PipelineStatement = &all[*at];
            !statement.parts.is_empty()
                || details.names.iter().all(|name| statement.names.contains(name))
        };
        let at = known.filter(fits).unwrap_or_else(|| {
            let at = all.push(PipelineStatement {
                sequence: number,
                ..PipelineStatement::new(index, events)
            });
            if let Some(number) = number {
                numbered.entry(number).or_insert(at);
            }
            at
        });
        let statement = &mut all[at];
        statement.add(index);
        if statement.line.is_empty() {
            details.context.command_line.trim().clone_into(&mut statement.line);
        }
        let (part, total) = details.part;
        let has_4103 = matches!(events[statement.events[0]].kind, EventKind::Command(_));
        if !has_4103 && statement.parts.insert(part) {
            statement.parts_total = statement.parts_total.max(total);
            if !statement.text.is_empty() {
                statement.text.push(' ');
            }
            statement.text.push_str(&details.details);
            for name in &details.names {
                if statement.names.len() < MOST_NAMES && !statement.names.contains(name) {
                    statement.names.push(name.clone());
                }
            }
        }
    }
    add_lifecycles(events, indexes, &mut all);
    all.retain(|statement| !statement.text.is_empty() || !statement.line.is_empty());
    match all.iter().all(|statement| statement.sequence.is_some()) {
        true => all.sort_by_key(|statement| (statement.sequence, statement.first)),
        false => all.sort_by_key(|statement| statement.first),
    }
    all.into_vec()
}

/// Adds 7937, which logs the begin and end of a command by name: to the first statement with this
/// name, or as a new statement.
fn add_lifecycles(
    events: &Events,
    indexes: &[EventIdx],
    all: &mut IdxVec<StatementIdx, PipelineStatement>,
) {
    let mut by_name: BTreeMap<String, StatementIdx> = BTreeMap::new();
    for (at, statement) in all.iter_enumerated() {
        for name in &statement.names {
            by_name.entry(name.to_lowercase()).or_insert(at);
        }
    }
    for &index in indexes {
        let EventKind::CommandLifecycle(command) = &events[index].kind else { continue };
        let Some(name) = command.names.first() else { continue };
        match by_name.get(&name.to_lowercase()) {
            Some(&at) => all[at].add(index),
            None => {
                let mut statement = PipelineStatement::new(index, events);
                statement.add(index);
                statement.text.clone_from(name);
                statement.names.clone_from(&command.names);
                statement.name_only = true;
                by_name.insert(name.to_lowercase(), all.push(statement));
            }
        }
    }
}
