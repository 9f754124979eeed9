//! `integrity.csv`: signs that a log is not as it was written.

use std::borrow::Cow;

use super::cell::{cell, list};
use super::{Rows, columns, evidence};
use crate::analysis::Analysis;
use crate::detect::session_id;
use crate::model::csv_time;

columns! { pub(super) COLUMNS:
    "level" => "how much it weighs by itself: high, medium, low, informational; rules on it may weigh it otherwise, see findings.csv",
    "kind" => "missing_records, cleared, time_backwards, service_stopped, events_dropped, log_full, logging_error, policy_changed; of the file: file_header, header_disagrees, chunk_checksum, unreadable, chunk_order, chunk_repeated, chunk_missing, dirty, wrapped",
    "host" => "the host; empty where the file is of several, or of none that this program knows",
    "channel" => "the channel; empty likewise",
    "from" => "the earliest time it concerns: UTC, yyyy-MM-dd HH:mm:ss.fffffff; of a clearing the last record before it that is at hand, of a file its earliest record",
    "to" => "the latest time it concerns, UTC",
    "what" => "what was seen",
    "explained" => "whether something harmless is known to explain it: yes, no, or empty where nothing at hand can tell",
    "may_mean" => "what it may mean, if it is no accident",
    "harmless_if" => "what else makes it",
    "sessions" => "sessions on that host within that time, the first ten; empty for signs of a file as a whole",
    "input_file" => "the file; empty where several logs tell",
    "evidence" => "records that show it: FILE:EVENT_RECORD_ID@OFFSET; of a chunk its first that can be read, of a file its first",
}

/// Sessions that a cell names.
const MOST_SESSIONS: usize = 10;

struct Signs<'a>(&'a Analysis);

pub(super) fn rows(analysis: &Analysis) -> impl Rows + '_ {
    Signs(analysis)
}

impl Rows for Signs<'_> {
    fn count(&self) -> usize {
        self.0.case.signs.len()
    }

    fn row(&self, index: usize) -> Vec<Cow<'_, str>> {
        let Analysis { case, paths, .. } = self.0;
        let sign = &case.signs[index];
        let time = |time| csv_time(time).into();
        let (from, to) = sign.span.unzip();
        let within = sign.span.filter(|_| !sign.kind.is_of_file());
        let sessions = within.map(|(from, to)| {
            let inside = case.sessions_within(&sign.host, from, to).take(MOST_SESSIONS);
            list(inside.map(session_id))
        });
        let explained = match sign.explained {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        let file = sign.input.map(|input| paths[input.index()].display().to_string());
        vec![
            sign.level.as_str().into(),
            sign.kind.as_str().into(),
            cell(&sign.host),
            sign.channel.name().into(),
            from.map(time).unwrap_or_default(),
            to.map(time).unwrap_or_default(),
            cell(&sign.what),
            explained.into(),
            sign.kind.may_mean().into(),
            sign.kind.harmless_if().into(),
            sessions.unwrap_or_default(),
            super::cell::owned(file.unwrap_or_default()),
            evidence::cell(paths, &sign.evidence),
        ]
    }
}
