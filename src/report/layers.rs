//! `layers`: what the texts of the logs hide, layer by layer.

use std::io;
use std::path::PathBuf;

use super::table_rows::TableRows;
use crate::analysis::Analysis;
use crate::model::{SessionIdx, session_id};
use crate::rows::value::row;
use crate::rows::{LayerRow, Pointers, layers};

/// A layer with its session.
pub(super) struct LayerView<'r> {
    row: &'r LayerRow<'r>,
    session: Option<SessionIdx>,
    paths: &'r [PathBuf],
}

row! { LayerView<'_> as row:
    "time": Time = row.row.time => "when the first record of the text was logged: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "host": Text = row.row.host => "the host that logged it",
    "user": Text = row.row.user => "the account that ran it, as logged",
    "session_id": Text = row.session.map(session_id) => "its session (sessions.csv)",
    "command_id": Text = row.row.command => "the command that it is the text of (commands.csv)",
    "source": Text = row.row.kind.as_str() => "what the text is: script_block, command, process, engine (HostApplication), service or task",
    "image": Text = row.row.image => "the process's image",
    "depth": Integer = row.row.depth => "how many layers deep this one lies; 1 in the text itself",
    "how": Text = row.row.how => "how it was hidden: encoded_command, base64, inflated (a compressed stream), command_line, invoked (put together and handed to an interpreter), evaluated (the text above with what could be worked out in its place); program for a program; limit where unwrapping ended",
    "parent": Text = row.row.parent => "how the layer it was in was hidden; text for the text itself",
    "text": Text = row.row.text() => "the layer; of a program what it is and its size, of a limit which",
    "evidence": Texts = Pointers::new(row.paths, &*row.row.evidence) => "the records of the text: FILE:EVENT_RECORD_ID@OFFSET",
}

/// The table.
pub(super) struct Layers;

impl TableRows for Layers {
    type Row<'r> = LayerView<'r>;

    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&LayerView<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Analysis { reconstruction: case, copies, scope, paths, .. } = analysis;
        layers::each(&analysis.layers, copies, case, |row, session| {
            let known = session.map(|session| &case.sessions[session]);
            if !scope.row(known, row.host, row.user) {
                return Ok(());
            }
            each(&LayerView { row, session, paths })
        })
    }
}
