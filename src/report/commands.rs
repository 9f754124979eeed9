//! `commands`: what was run in each session, in order.

use std::borrow::Cow;
use std::io;

use super::table_rows::TableRows;
use crate::analysis::Analysis;
use crate::model::{
    AccountName, Command, CommandIdx, Event, Heard, IdxVec, LoggedId, Proof, Stream, session_id,
};
use crate::rows::value::{Excerpt, row};
use crate::rows::{Pointers, command_ids};

/// A command.
pub(super) struct CommandRow<'r> {
    index: CommandIdx,
    command: &'r Command,
    analysis: &'r Analysis,
    /// Of each command of the case, its id.
    ids: &'r IdxVec<CommandIdx, String>,
}

row! { CommandRow<'_> as row:
    "time": Time = row.command.time => "when the first of its records was logged: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "session_id": Text = session_id(row.command.session) => "its session (sessions.csv)",
    "command_id": Text = row.id(row.index) => "its name: the session's and a number, in order",
    "host": Text = &*row.event().computer => "the host it ran on",
    "user": Text = row.user() => "the session's account",
    "role": Text = row.command.role.as_str() => "typed: typed or sent by the user; called: run by another row; engine: what PowerShell runs by itself; process",
    "parent": Text = row.command.parent.map(|(parent, _)| row.id(parent)) => "the row that ran it (command_id)",
    "parent_link": Text = row.command.parent.map(|(_, link)| link.as_str()) => "how that is known: by a key (4105, pipeline, process) or by time and text",
    "depth": Integer = row.command.depth => "how far below the session's host process it ran: 0 in it, 1 in or as its child",
    "source_event": Integer = row.event().event_id => "the event that its text is of: 4104, 4103, 800, 7937 or 32867 (PowerShell), 771, 772, 779 (WinRM), 4688 or 1 (process start)",
    "all_events": Texts = row.event_ids() => "the event ids of all its records, in the order of evidence",
    "link": Text = row.command.link.as_str() => "how its records were put together: by a key (ids), or by time and text (a script's text names what was invoked)",
    "runspace_id": Text = LoggedId::text(row.command.runspace_id.as_ref()) => "RunspaceId, where an event has it",
    "pipeline_id": Text = &*row.command.pipeline_id => "PipelineId, where an event has it; else the id of the pipeline in the traffic",
    "text": Text = row.text() => "what was run: the script, or the commands with parameters as bound; the decoded text where it was encoded",
    "original": Text = row.original() => "the text as logged, where `text` is decoded",
    "invocations": Texts = row.command.invocations.iter().map(String::as_str).collect::<Vec<_>>() => "the commands that the script invoked by itself, with parameters as bound, in order",
    "completeness": Text = row.command.completeness.to_string() => "whole; parts missing; its start is lost; no script text (only what was invoked); name only; no command line",
    "output": Text = row.heard(Stream::is_output) => "what came back, as the caller saw it, where the Analytic logs hold it: at most 4,000 characters",
    "errors": Text = row.heard(|stream| stream == Stream::Error) => "the errors that came back: at most 4,000 characters",
    "state": Text = row.command.heard.as_deref().map(|heard| &*heard.state) => "how it ended, as the target told it: Completed, Failed, Stopped, or the last state seen; of winrs the exit code",
    "missing": Texts = row.gaps() => "what of its traffic is not there",
    "evidence": Texts = row.evidence() => "its records, best first: FILE:EVENT_RECORD_ID@OFFSET",
}

/// Longest text of what came back that a cell shows, in characters.
const MAX_SHOWN: usize = 4000;
/// What follows where more came back.
const MORE: &str = "\n… (cut: a transcript holds the rest, see --transcripts)";

/// What came back, and the errors, as far as cells show them.
pub(super) fn shown(heard: &Heard) -> [String; 2] {
    [in_cell(heard, Stream::is_output), in_cell(heard, |stream| stream == Stream::Error)]
}

fn in_cell(heard: &Heard, wanted: fn(Stream) -> bool) -> String {
    let (text, is_cut) = heard.text(wanted, MAX_SHOWN);
    if is_cut { text + MORE } else { text }
}

impl<'r> CommandRow<'r> {
    fn event(&self) -> &'r Event {
        &self.analysis.reconstruction.events[self.command.event()]
    }

    fn id(&self, command: CommandIdx) -> &'r str {
        &self.ids[command]
    }

    fn user(&self) -> Option<String> {
        let session = &self.analysis.reconstruction.sessions[self.command.session];
        session.user.as_ref().map(AccountName::to_string)
    }

    fn event_ids(&self) -> Vec<String> {
        let mut ids: Vec<u32> = Vec::new();
        for &event in &self.command.events {
            let id = self.analysis.reconstruction.events[event].event_id;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids.iter().map(u32::to_string).collect()
    }

    /// The decoded text where it was encoded.
    fn text(&self) -> &'r str {
        self.command.bare().unwrap_or(&self.command.text)
    }

    fn original(&self) -> Option<&'r str> {
        self.command.bare().map(|_| self.command.text.as_str())
    }

    fn heard(&self, wanted: fn(Stream) -> bool) -> Option<Excerpt<'r>> {
        let heard = self.command.heard.as_deref()?;
        let (whole, _) = heard.text(wanted, usize::MAX);
        Some(Excerpt { whole: Cow::Owned(whole), shown: Cow::Owned(in_cell(heard, wanted)) })
    }

    fn gaps(&self) -> Vec<&'r str> {
        let gaps = self.command.heard.as_deref().into_iter().flat_map(|heard| &heard.gaps);
        gaps.map(String::as_str).collect()
    }

    fn evidence(&self) -> Pointers<'r> {
        let Analysis { reconstruction: case, paths, .. } = self.analysis;
        let proofs = self.command.events.iter().map(|&event| Proof::of(&case.events[event]));
        Pointers::new(paths, proofs.collect::<Vec<_>>())
    }
}

/// The table.
pub(super) struct Commands;

impl TableRows for Commands {
    type Row<'r> = CommandRow<'r>;

    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&CommandRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Analysis { reconstruction: case, scope, .. } = analysis;
        let ids = command_ids(case);
        let mut ordered: Vec<CommandIdx> = case.commands.indices().collect();
        // They are in the order of their events, which the sort keeps: numbers count up in the file.
        ordered.sort_by_key(|&index| case.commands[index].session);
        for index in ordered {
            let command = &case.commands[index];
            if scope.session(&case.sessions[command.session]) {
                each(&CommandRow { index, command, analysis, ids: &ids })?;
            }
        }
        Ok(())
    }
}
