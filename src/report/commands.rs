//! `commands.csv`: what was run in each session, in order.

use super::cell::{cell, list, owned};
use super::{Rows, columns, evidence};
use crate::analysis::Analysis;
use crate::detect::session_id;
use crate::model::{
    Account, Command, CommandIdx, Heard, IdxVec, LoggedId, Proof, SessionIdx, Stream, csv_time,
};
use crate::reconstruct::Case;
use std::borrow::Cow;

columns! { pub(super) COLUMNS:
    "time": Time => "when the first of its records was logged: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "session_id" => "its session (sessions.csv)",
    "command_id" => "its name: the session's and a number, in order",
    "host" => "the host it ran on",
    "user" => "the session's account",
    "role" => "typed: typed or sent by the user; called: run by another row; engine: what PowerShell runs by itself; process",
    "parent" => "the row that ran it (command_id)",
    "parent_link" => "how that is known: by a key (4105, pipeline, process) or by time and text",
    "depth": Integer => "how far below the session's host process it ran: 0 in it, 1 in or as its child",
    "source_event" => "the event that its text is of: 4104, 4103, 800, 7937 or 32867 (PowerShell), 771, 772, 779 (WinRM), 4688 or 1 (process start)",
    "all_events" => "the event ids of all its records, in the order of evidence",
    "link" => "how its records were put together: by a key (ids), or by time and text (a script's text names what was invoked)",
    "runspace_id" => "RunspaceId, where an event has it",
    "pipeline_id" => "PipelineId, where an event has it; else the id of the pipeline in the traffic",
    "text" => "what was run: the script, or the commands with parameters as bound; the decoded text where it was encoded",
    "original" => "the text as logged, where `text` is decoded",
    "invocations" => "the commands that the script invoked by itself, with parameters as bound, in order",
    "completeness" => "whole; parts missing; its start is lost; no script text (only what was invoked); name only; no command line",
    "output" => "what came back, as the caller saw it, where the Analytic logs hold it: at most 4,000 characters",
    "errors" => "the errors that came back: at most 4,000 characters",
    "state" => "how it ended, as the target told it: Completed, Failed, Stopped, or the last state seen; of winrs the exit code",
    "missing" => "what of its traffic is not there",
    "evidence" => "its records, best first: FILE:EVENT_RECORD_ID@OFFSET",
}

/// Longest text of what came back, in characters.
const MAX_SHOWN: usize = 4000;
/// What follows where more came back.
const MORE: &str = "\n… (cut: a transcript holds the rest, see --transcripts)";

/// What came back, and the errors, cut.
pub(super) fn shown(heard: &Heard) -> [String; 2] {
    let text = |wanted: fn(Stream) -> bool| {
        let (text, is_cut) = heard.text(wanted, MAX_SHOWN);
        if is_cut { text + MORE } else { text }
    };
    [text(Stream::is_output), text(|stream| stream == Stream::Error)]
}

struct Commands<'a> {
    analysis: &'a Analysis,
    /// Of each command of the case, its id.
    ids: IdxVec<CommandIdx, String>,
    /// By session, then first event.
    ordered: Vec<CommandIdx>,
}

pub(super) fn rows(analysis: &Analysis) -> impl Rows + '_ {
    let commands = &analysis.case.commands;
    let mut ordered: Vec<CommandIdx> = commands.indices().collect();
    // They are in the order of their events, which the sort keeps: numbers count up in the file.
    ordered.sort_by_key(|&index| commands[index].session);
    Commands { analysis, ids: ids(&analysis.case), ordered }
}

/// The commands' ids: their session's and their number in it.
pub(crate) fn ids(case: &Case) -> IdxVec<CommandIdx, String> {
    let mut counts: IdxVec<SessionIdx, usize> = case.sessions.iter().map(|_| 0).collect();
    let id = |command: &Command| {
        let count = &mut counts[command.session];
        *count += 1;
        format!("{}-{count}", session_id(command.session))
    };
    case.commands.iter().map(id).collect()
}

impl Rows for Commands<'_> {
    fn count(&self) -> usize {
        self.ordered.len()
    }

    fn is_told(&self, index: usize) -> bool {
        let case = &self.analysis.case;
        let session = case.commands[self.ordered[index]].session;
        self.analysis.scope.session(&case.sessions[session])
    }

    fn row(&self, index: usize) -> Vec<Cow<'_, str>> {
        let case = &self.analysis.case;
        let index = self.ordered[index];
        let command = &case.commands[index];
        let event = &case.events[command.event()];
        let user = case.sessions[command.session].user.as_ref();
        let (text, original) = match command.bare() {
            Some(bare) => (bare, command.text.as_str()),
            None => (command.text.as_str(), ""),
        };
        let parent = command.parent.map(|(parent, _)| self.ids[parent].as_str());
        let mut ids: Vec<u32> = Vec::new();
        for &event in &command.events {
            let id = case.events[event].event_id;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let heard = command.heard.as_deref();
        let [output, errors] = heard.map(shown).unwrap_or_default();
        let proofs: Vec<Proof> =
            command.events.iter().map(|&event| Proof::of(&case.events[event])).collect();
        vec![
            csv_time(command.time).into(),
            session_id(command.session).into(),
            self.ids[index].as_str().into(),
            cell(&event.computer),
            owned(user.map(Account::to_string).unwrap_or_default()),
            command.role.as_str().into(),
            parent.unwrap_or_default().into(),
            command.parent.map(|(_, link)| link.as_str()).unwrap_or_default().into(),
            command.depth.to_string().into(),
            event.event_id.to_string().into(),
            list(ids.iter().map(u32::to_string)),
            command.link.as_str().into(),
            owned(LoggedId::text(command.runspace_id.as_ref())),
            cell(&command.pipeline_id),
            cell(text),
            cell(original),
            list(&command.invocations),
            owned(command.completeness.to_string()),
            owned(output),
            owned(errors),
            cell(heard.map_or("", |heard| &heard.state)),
            list(heard.into_iter().flat_map(|heard| &heard.gaps)),
            evidence::cell(&self.analysis.paths, &proofs),
        ]
    }
}
