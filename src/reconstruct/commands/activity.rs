//! Commands that one engine ran: a row for each script block and each pipeline.
//!
//! 4104 gives the text of a block, but no runspace or pipeline. 4103 and 800 give the runspace, the
//! pipeline and the invocations, but no text. They are joined by these rules, best first:
//!
//! - 4105 and 4106 show in which runspace a block runs, from when to when.
//! - The text of a block names the invocation. The block is in the same process and comes before
//!   the invocation; the nearest such block wins.
//!
//! A pipeline gets several blocks if its statements are named in several. The first block was
//! typed, the others were called by it. A block is never given to two pipelines: the engine logs a
//! block once, so the second pipeline may be the same text sent again. An invocation that no block
//! names gets a row of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draft::{CommandDraft, CommandDraftIdx, CommandDrafts, RunPlace};
use super::engine;
use super::pipelines::{self, EnginePipeline, PipelineIdx, PipelineStatement};
use super::words::{TextWords, parameter_values};
use crate::model::{
    Command, Completeness, EventIdx, EventKind, IdxVec, Link, LoggedId, Role, ScriptBlock,
    ScriptIdx, file_name, index_types,
};
use crate::reconstruct::index::Events;
use crate::reconstruct::windows::STEP_WINDOW;
use ps_layers::{UnwrapLimits, Unwrapped, find_layers};

/// Most earlier blocks that an invocation or a block is compared with.
pub(super) const MOST_RIVALS: usize = 16;
/// Most blocks that are still running among which the block of a stop is looked for.
const MOST_RUNNING: usize = 64;

/// The events of one engine's process.
#[derive(Debug, Default)]
pub(super) struct EngineActivity {
    /// The script blocks by their first part, as indexes into all script blocks.
    pub blocks: Vec<ScriptIdx>,
    /// 4103, 800, 7937.
    pub records: Vec<EventIdx>,
    /// 4105, 4106.
    pub runs: Vec<EventIdx>,
}

index_types! {
    /// Index of a script block among those of an engine.
    BlockIdx;
}

/// The script blocks of an engine, in order.
type BlockDrafts<'a> = IdxVec<BlockIdx, BlockDraft<'a>>;

/// A script block, and the statements found for it so far.
struct BlockDraft<'a> {
    script: &'a ScriptBlock,
    first: EventIdx,
    words: TextWords,
    /// The pipeline that the block was given to.
    pipeline: Option<PipelineIdx>,
    link: Link,
    /// The block that it ran in.
    parent: Option<(BlockIdx, Link)>,
    statements: Vec<&'a PipelineStatement>,
    runs: Vec<EventIdx>,
    runspace: Option<LoggedId>,
}

/// The innermost running block after each event, by runspace.
type RunningBlocks<'a> = BTreeMap<Option<&'a LoggedId>, Vec<(EventIdx, Option<BlockIdx>)>>;

/// Returns the rows of an engine, in no order. Parents are indexes among them.
pub(super) fn command_drafts(
    events: &Events,
    scripts: &IdxVec<ScriptIdx, ScriptBlock>,
    place: &RunPlace<'_>,
    activity: &EngineActivity,
) -> CommandDrafts {
    let pipelines = pipelines::group_pipelines(events, &activity.records);
    let mut blocks: BlockDrafts<'_> =
        activity.blocks.iter().map(|&at| BlockDraft::new(&scripts[at])).collect();
    blocks.sort_by_key(|block| block.first);
    let running = track_runs(events, &mut blocks, &activity.runs);
    let mut tops: IdxVec<PipelineIdx, Option<BlockIdx>> = IdxVec::new();
    let mut left: Vec<Vec<&PipelineStatement>> = Vec::new();
    for (at, pipeline) in pipelines.iter_enumerated() {
        left.push(assign_statements(events, &mut blocks, &running, (at, pipeline)));
        tops.push(None);
    }
    for (at, block) in blocks.iter_enumerated() {
        if let Some(pipeline) = block.pipeline {
            tops[pipeline].get_or_insert(at);
        }
    }
    set_parents(events, &mut blocks, &pipelines, &tops);

    let mut rows = CommandDrafts::new();
    // The rows of the blocks come first, in the order of the blocks.
    let row_of = |block: BlockIdx| CommandDraftIdx::new(block.index());
    for block in &mut blocks {
        let id = block.pipeline.map(|pipeline| pipelines[pipeline].id.as_str()).unwrap_or_default();
        let command = block.make_command(events, place, id);
        let parent = block.parent.map(|(parent, link)| (row_of(parent), link));
        let words = std::mem::take(&mut block.words);
        rows.push(CommandDraft { command, parent, first: block.first, words });
    }
    for ((pipeline, statements), top) in pipelines.iter().zip(left).zip(tops) {
        let statement = |statements: &[&PipelineStatement],
                         parent: Option<(CommandDraftIdx, Link)>| {
            let command = invocation_command(events, place, pipeline, statements, parent.is_some());
            let first = statements.iter().map(|s| s.first).min().unwrap_or_default();
            let words = TextWords::from_text(&command.text);
            CommandDraft { command, parent, first, words }
        };
        let (by_engine, others): (Vec<&PipelineStatement>, Vec<&PipelineStatement>) =
            statements.into_iter().partition(|s| is_engine_statement(s));
        let mut others = others.as_slice();
        let parent = match top {
            Some(top) => (row_of(top), blocks[top].link),
            None => {
                // Without a text, what ran first and at once is assumed to have been typed.
                let start = others.first().or(by_engine.first()).map(|s| events[s.first].time);
                let Some(start) = start else { continue };
                let at_once = |s: &&&PipelineStatement| events[s.first].time - start <= STEP_WINDOW;
                let typed = others.iter().take_while(at_once).count();
                let (first, later) = others.split_at(typed);
                others = later;
                let row = statement(if first.is_empty() { &by_engine } else { first }, None);
                let row = rows.push(row);
                if first.is_empty() {
                    continue;
                }
                (row, Link::Runspace)
            }
        };
        // The end of a pipeline belongs to it.
        rows[parent.0].command.events.extend(by_engine.iter().flat_map(|s| &s.events));
        rows.extend(others.iter().map(|&one| statement(&[one], Some(parent))));
    }
    rows
}

impl<'a> BlockDraft<'a> {
    fn new(script: &'a ScriptBlock) -> BlockDraft<'a> {
        BlockDraft {
            script,
            first: script.events.iter().copied().min().unwrap_or_default(),
            words: TextWords::from_text(&script.text),
            pipeline: None,
            link: Link::Own,
            parent: None,
            statements: Vec::new(),
            runs: Vec::new(),
            runspace: None,
        }
    }

    /// Returns true if the text can have run a statement.
    fn may_have_run(&self, events: &Events, statement: &PipelineStatement) -> bool {
        let later = events[statement.first].time - events[self.first].time;
        self.words.may_have_run(&statement.names, parameter_values(&statement.text), later)
    }

    fn make_command(&mut self, events: &Events, place: &RunPlace<'_>, pipeline: &str) -> Command {
        let script = self.script;
        let by_engine = place.depth == 0 && engine::is_engine_script(&script.text);
        let mut all = script.events.clone();
        all.extend(self.statements.iter().flat_map(|statement| &statement.events));
        all.append(&mut self.runs);
        let called = self.parent.is_some() || !script.path.is_empty();
        let role = match (by_engine, called) {
            (true, _) => Role::Engine,
            (false, true) => Role::Called,
            (false, false) => Role::Typed,
        };
        let completeness = match script.missing.is_empty() {
            true => Completeness::Whole,
            false => {
                Completeness::PartsMissing { missing: script.missing.clone(), total: script.total }
            }
        };
        Command {
            time: events[self.first].time,
            session: place.session,
            events: all,
            link: self.link,
            role,
            parent: None,
            runspace_id: self.runspace.take(),
            pipeline_id: pipeline.to_owned(),
            text: script.text.clone(),
            hidden: Arc::clone(&script.hidden),
            heard: None,
            invocations: self.statements.iter().map(|statement| statement.text.clone()).collect(),
            completeness,
            depth: place.depth,
        }
    }
}

fn is_engine_statement(statement: &PipelineStatement) -> bool {
    let PipelineStatement { names, text, command_type, remote, .. } = statement;
    engine::is_engine_invocation(names, text, command_type, *remote)
}

/// Reads 4105 and 4106, in order. Sets which block runs in which other block, and returns which
/// block runs when.
fn track_runs<'e>(
    events: &'e Events,
    blocks: &mut BlockDrafts<'_>,
    runs: &[EventIdx],
) -> RunningBlocks<'e> {
    let ids = blocks.iter_enumerated();
    let by_id: BTreeMap<&LoggedId, BlockIdx> =
        ids.filter_map(|(at, block)| Some((block.script.id.as_ref()?, at))).collect();
    let mut stacks: BTreeMap<Option<&LoggedId>, Vec<BlockIdx>> = BTreeMap::new();
    let mut running = RunningBlocks::new();
    for &index in runs {
        let EventKind::ScriptBlockRun(run) = &events[index].kind else { continue };
        let Some(&at) = run.id.as_ref().and_then(|id| by_id.get(id)) else { continue };
        let stack = stacks.entry(run.runspace_id.as_ref()).or_default();
        blocks[at].runs.push(index);
        if run.started {
            let around = stack.last().copied().filter(|&around| around != at);
            if blocks[at].runspace.is_none() {
                blocks[at].runspace.clone_from(&run.runspace_id);
                blocks[at].parent = around.map(|around| (around, Link::Runspace));
            }
            stack.push(at);
        } else {
            let open = stack.iter().rev().take(MOST_RUNNING).position(|&open| open == at);
            if let Some(above) = open {
                stack.truncate(stack.len() - 1 - above);
            }
        }
        running.entry(run.runspace_id.as_ref()).or_default().push((index, stack.last().copied()));
    }
    running
}

/// Assigns the statements of a pipeline to the blocks that ran them. Returns the statements that no
/// block ran.
fn assign_statements<'a>(
    events: &Events,
    blocks: &mut BlockDrafts<'a>,
    running: &RunningBlocks<'_>,
    (at, pipeline): (PipelineIdx, &'a EnginePipeline),
) -> Vec<&'a PipelineStatement> {
    let mut left = Vec::new();
    for statement in &pipeline.statements {
        let innermost = running.get(&pipeline.runspace.as_ref()).and_then(|running| {
            let next = running.partition_point(|&(index, _)| index < statement.first);
            running.get(next.checked_sub(1)?)?.1
        });
        let found = match innermost {
            Some(block) => Some((block, Link::Runspace)),
            None if is_engine_statement(statement) => None,
            None => {
                let before = blocks.partition_index(|block| block.first < statement.first);
                let rivals = blocks.enumerated_before(before).rev().take(MOST_RIVALS);
                // Blocks before another pipeline's block of this runspace are too old.
                let mut rivals = rivals.take_while(|(_, block)| match block.pipeline {
                    Some(other) => other == at || block.runspace != pipeline.runspace,
                    None => true,
                });
                let free = |block: &BlockDraft<'_>| match block.pipeline {
                    Some(other) => other == at,
                    None => block.runspace.is_none() || block.runspace == pipeline.runspace,
                };
                let found =
                    rivals.find(|(_, block)| free(block) && block.may_have_run(events, statement));
                found.map(|(block, _)| (block, Link::Text))
            }
        };
        let Some((block, link)) = found else {
            left.push(statement);
            continue;
        };
        let block = &mut blocks[block];
        block.pipeline.get_or_insert(at);
        block.link = block.link.max(link);
        if block.runspace.is_none() {
            block.runspace.clone_from(&pipeline.runspace);
        }
        block.statements.push(statement);
    }
    left
}

/// Sets the parents of blocks that 4105 does not show.
fn set_parents(
    events: &Events,
    blocks: &mut BlockDrafts<'_>,
    pipelines: &IdxVec<PipelineIdx, EnginePipeline>,
    tops: &IdxVec<PipelineIdx, Option<BlockIdx>>,
) {
    let runspaces: BTreeSet<Option<&LoggedId>> =
        pipelines.iter().map(|one| one.runspace.as_ref()).collect();
    // A runspace runs one pipeline at a time. So a block that is logged while a pipeline runs is
    // run by it.
    let mut spans: Vec<(EventIdx, EventIdx, BlockIdx)> = Vec::new();
    for (pipeline, top) in pipelines.iter().zip(tops) {
        if let (Some(top), 1) = (*top, runspaces.len()) {
            // 4103 is in the same log as 4104, so their order is that of the log.
            let records = pipeline.statements.iter().map(|statement| statement.events[0]);
            let last = records.filter(|&at| matches!(events[at].kind, EventKind::Command(_))).max();
            spans.push((blocks[top].first, last.unwrap_or_default(), top));
        }
    }
    spans.sort_unstable();
    for at in blocks.indices() {
        let block = &blocks[at];
        if block.parent.is_some() {
            continue;
        }
        let of_pipeline = block.pipeline.and_then(|pipeline| tops[pipeline]);
        let around = || {
            let next = spans.partition_point(|&(first, ..)| first < block.first);
            let &(_, last, top) = spans.get(next.checked_sub(1)?)?;
            (last > block.first).then_some(top)
        };
        let text = block.script.text.trim();
        // A block inside another block is logged with its braces.
        let inside = || {
            let braced = text.len() > 8 && text.starts_with('{') && text.ends_with('}');
            let rivals = blocks.enumerated_before(at).rev().take(MOST_RIVALS / 2);
            braced
                .then(|| rivals.into_iter().find(|(_, other)| other.script.text.contains(text)))?
        };
        let file = || {
            let name = file_name(&block.script.path);
            let later =
                |other: &BlockDraft<'_>| events[block.first].time - events[other.first].time;
            let mut rivals = blocks.enumerated_before(at).rev().take(MOST_RIVALS);
            let names = |other: &BlockDraft<'_>| {
                let none = std::iter::empty();
                other.words.may_have_run(&[&name], none, later(other))
            };
            (!name.is_empty()).then(|| rivals.find(|(_, other)| names(other)))?
        };
        let parent = match of_pipeline {
            Some(top) => Some(top).filter(|&top| top != at),
            None => around().or_else(|| inside().or_else(file).map(|(parent, _)| parent)),
        };
        blocks[at].parent = parent.map(|parent| (parent, Link::Text));
    }
}

/// Returns a command made of invocations, for which no script text is known.
fn invocation_command(
    events: &Events,
    place: &RunPlace<'_>,
    pipeline: &EnginePipeline,
    statements: &[&PipelineStatement],
    called: bool,
) -> Command {
    let texts = || statements.iter().map(|s| s.text.as_str()).filter(|text| !text.is_empty());
    let line = statements.iter().map(|statement| statement.line.as_str());
    let line = line.into_iter().find(|line| !line.is_empty());
    // The line of a called statement is that of the script around it, which may be long and run
    // often.
    let line = line.filter(|_| !called || texts().next().is_none());
    let (text, invocations) = match line {
        Some(line) => (line.to_owned(), texts().map(str::to_owned).collect()),
        None => (texts().collect::<Vec<_>>().join("; "), Vec::new()),
    };
    let role = match called {
        _ if statements.iter().all(|statement| is_engine_statement(statement)) => Role::Engine,
        true => Role::Called,
        false => Role::Typed,
    };
    let mut hidden = find_layers(&text, &UnwrapLimits::default());
    for invoked in &invocations {
        if hidden == Unwrapped::default() {
            hidden = find_layers(invoked, &UnwrapLimits::default());
        }
    }
    let first = statements.iter().map(|statement| statement.first).min().unwrap_or_default();
    Command {
        time: events[first].time,
        session: place.session,
        events: statements.iter().flat_map(|statement| &statement.events).copied().collect(),
        link: Link::Runspace,
        role,
        parent: None,
        runspace_id: pipeline.runspace.clone(),
        pipeline_id: pipeline.id.clone(),
        hidden: Arc::new(hidden),
        completeness: if statements.iter().any(|statement| statement.name_only) {
            Completeness::NameOnly
        } else if statements.iter().any(|statement| statement.lacks_parts()) {
            Completeness::InvocationsInPart
        } else if line.is_some() {
            Completeness::Line
        } else {
            Completeness::Invocations
        },
        heard: None,
        text,
        invocations,
        depth: place.depth,
    }
}
