//! `integrity`: signs that a log is not as it was written.

use std::io;

use super::table_rows::TableRows;
use crate::analysis::Analysis;
use crate::model::{LogSign, session_id};
use crate::rows::Pointers;
use crate::rows::value::row;

/// A sign.
pub(super) struct SignRow<'r> {
    sign: &'r LogSign,
    analysis: &'r Analysis,
}

row! { SignRow<'_> as row:
    "level": Text = row.sign.level.as_str() => "how much it weighs by itself: high, medium, low, informational; rules on it may weigh it otherwise, see findings.csv",
    "kind": Text = row.sign.kind.as_str() => "missing_records, cleared, time_backwards, service_stopped, events_dropped, log_full, logging_error, policy_changed; of the file: file_header, header_disagrees, chunk_checksum, unreadable, chunk_order, chunk_repeated, chunk_missing, dirty, wrapped",
    "host": Text = &*row.sign.host => "the host; empty where the file is of several, or of none that this program knows",
    "channel": Text = row.sign.channel.name() => "the channel; empty likewise",
    "from": Time = row.sign.span.map(|(from, _)| from) => "the earliest time it concerns: UTC, yyyy-MM-dd HH:mm:ss.fffffff; of a clearing the last record before it that is at hand, of a file its earliest record",
    "to": Time = row.sign.span.map(|(_, to)| to) => "the latest time it concerns, UTC",
    "what": Text = &*row.sign.what => "what was seen",
    "explained": Boolean = row.sign.explained => "whether something harmless is known to explain it: yes, no, or empty where nothing at hand can tell",
    "may_mean": Text = row.sign.kind.may_mean() => "what it may mean, if it is no accident",
    "harmless_if": Text = row.sign.kind.harmless_if() => "what else makes it",
    "sessions": Texts = row.sessions() => "sessions on that host within that time, the first ten; empty for signs of a file as a whole",
    "input_file": Text = row.file() => "the file; empty where several logs tell",
    "evidence": Texts = Pointers::new(&row.analysis.paths, &row.sign.evidence[..]) => "records that show it: FILE:EVENT_RECORD_ID@OFFSET; of a chunk its first that can be read, of a file its first",
}

/// Sessions that a row names.
const MOST_SESSIONS: usize = 10;

impl SignRow<'_> {
    fn sessions(&self) -> Vec<String> {
        let SignRow { sign, analysis } = self;
        let within = sign.span.filter(|_| !sign.kind.is_of_file());
        let Some((from, to)) = within else { return Vec::new() };
        let inside =
            analysis.reconstruction.sessions_within(&sign.host, from, to).take(MOST_SESSIONS);
        inside.map(session_id).collect()
    }

    fn file(&self) -> Option<String> {
        let input = self.sign.input?;
        Some(self.analysis.paths[input.index()].display().to_string())
    }
}

/// The table.
pub(super) struct Signs;

impl TableRows for Signs {
    type Row<'r> = SignRow<'r>;

    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&SignRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        analysis.reconstruction.signs.iter().try_for_each(|sign| each(&SignRow { sign, analysis }))
    }
}
