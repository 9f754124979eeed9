//! `commands.csv`: what was run in each session, in order.

use super::cell::{cell, owned};
use super::{Rows, columns, evidence};
use crate::analysis::Analysis;
use crate::detect::session_id;
use crate::model::{Account, Command, Proof, csv_time};
use std::borrow::Cow;

columns! { pub(super) COLUMNS:
    "time" => "when it was logged: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "session_id" => "its session (sessions.csv)",
    "host" => "the host it ran on",
    "user" => "the session's account",
    "source_event" => "the event it was read from: 4103, 4104, 800 (PowerShell), 4688 or 1 (process start)",
    "depth" => "how far below the session's host process it ran: 0 in it, 1 in or as its child",
    "runspace_id" => "RunspaceId, where the event has it",
    "pipeline_id" => "PipelineId, where the event has it",
    "text" => "what was run; the decoded text where it was encoded",
    "original" => "the text as logged, where `text` is decoded",
    "evidence" => "its record: FILE:EVENT_RECORD_ID@OFFSET",
}

struct Commands<'a> {
    analysis: &'a Analysis,
    /// By session, then time.
    ordered: Vec<&'a Command>,
}

pub(super) fn rows(analysis: &Analysis) -> impl Rows + '_ {
    let mut ordered: Vec<&Command> = analysis.case.commands.iter().collect();
    ordered.sort_by_key(|command| (command.session, command.event));
    Commands { analysis, ordered }
}

impl Rows for Commands<'_> {
    fn count(&self) -> usize {
        self.ordered.len()
    }

    fn row(&self, index: usize) -> Vec<Cow<'_, str>> {
        let case = &self.analysis.case;
        let command = self.ordered[index];
        let event = &case.events[command.event];
        let user = case.sessions[command.session].user.as_ref();
        let (text, original) = match &command.decoded {
            Some(decoded) => (decoded.as_str(), command.text.as_str()),
            None => (command.text.as_str(), ""),
        };
        vec![
            csv_time(command.time).into(),
            session_id(command.session).into(),
            cell(&event.computer),
            owned(user.map(Account::to_string).unwrap_or_default()),
            event.event_id.to_string().into(),
            command.depth.to_string().into(),
            cell(&command.runspace_id),
            cell(&command.pipeline_id),
            cell(text),
            cell(original),
            evidence::cell(&self.analysis.paths, &[Proof::of(event)]),
        ]
    }
}
