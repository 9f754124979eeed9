//! `timeline`: every relevant event in order.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use rayon::prelude::*;

use super::csv::{self, CsvLines};
use super::table_rows::TableRows;
use crate::analysis::Analysis;
use crate::model::{IdxVec, InputIdx, Level, Link, RecordRef, RuleMeta, SessionIdx, session_id};
use crate::rows::copies::CopiesOfRow;
use crate::rows::timeline::EventRow;
use crate::rows::value::{Flag, row};
use crate::sorted::RowEntry;

/// An event with all that is known of it.
pub(super) struct TimelineRow<'r> {
    event: EventRow<'r>,
    session: Option<(SessionIdx, Link)>,
    /// The rules that fired on it or on what was rebuilt from it.
    rules: Vec<&'r RuleMeta>,
    /// The path of its input.
    path: &'r str,
    copies: &'r CopiesOfRow,
    paths: &'r [PathBuf],
    is_recovered: bool,
}

row! { TimelineRow<'_> as row:
    "time": Time = row.event.time => "when it was logged: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "host": Text = row.event.host => "the host that logged it (System/Computer)",
    "channel": Text = row.event.channel => "System/Channel; empty when the record has none",
    "provider": Text = row.event.provider => "System/Provider Name",
    "event_id": Integer = row.event.event_id => "System/EventID",
    "record_id": Integer = row.event.record_id => "System/EventRecordID, as Event Viewer shows it",
    "kind": Text = row.event.kind => "what it is, in this program's words",
    "user": Text = row.event.user => "the account it concerns, as logged, or the record's SID",
    "session_id": Text = row.session.map(|(session, _)| session_id(session)) => "the session it belongs to (sessions.csv)",
    "link": Text = row.session.map(|(_, link)| link.as_str()) => "why it belongs: `key` and which (own record, process, host id, runspace, runspace pool, logon id, activity id), or `time` and what agrees besides (target, connection, account, command line, source)",
    "summary": Text = row.event.summary => "what it says, on one line",
    "detections": Texts = row.rules.iter().map(|rule| &*rule.title).collect::<Vec<_>>() => "titles of the rules that fired on it or on what was rebuilt from it; those on a session or attempt stand at its first record, a correlation at the one that completed it",
    "level": Text = row.rules.iter().map(|rule| rule.level).max().map(Level::as_str) => "the highest level of those rules",
    "input_file": Text = row.path => "the file it was read from",
    "offset": Integer = row.event.source.offset => "the record's offset in that file, bytes",
    "record_number": Integer = row.event.source.number => "the number in the record's own header, which exported logs renumber",
    "copies": Texts = row.copies.pointers(row.paths) => "the same record in other inputs: FILE:EVENT_RECORD_ID@OFFSET",
    "recovered": Boolean = Flag(row.is_recovered) => "yes where no log holds it any more, and --recover found it in a file",
}

/// Makes rows of what was kept of events.
struct TimelineMaker<'a> {
    analysis: &'a Analysis,
    sessions: BTreeMap<RecordRef, (SessionIdx, Link)>,
    /// The inputs' paths as texts.
    paths: IdxVec<InputIdx, String>,
}

impl<'a> TimelineMaker<'a> {
    fn new(analysis: &'a Analysis) -> Self {
        let paths = analysis.paths.iter().map(|path| path.display().to_string());
        TimelineMaker {
            analysis,
            sessions: analysis.reconstruction.by_record(),
            paths: paths.collect(),
        }
    }

    /// The row of an event; none of a copy, and of an event that the run's scope leaves out.
    fn row<'r>(
        &'r self,
        frame: &'r RowEntry<'_>,
        copies: &'r CopiesOfRow,
    ) -> io::Result<Option<TimelineRow<'r>>> {
        let Analysis { scope, rules, shown, reconstruction: case, texts, paths, .. } =
            self.analysis;
        let mut event = EventRow::read(frame, texts)?;
        let RecordRef { input, .. } = event.source;
        if self.analysis.copies.contains(event.source) {
            return Ok(None);
        }
        let session = self.sessions.get(&event.source).copied();
        let known = session.map(|(session, _)| &case.sessions[session]);
        if !scope.row(known, event.host.as_str(), event.user.as_str()) {
            return Ok(None);
        }
        let mut fired = std::mem::take(&mut event.rules);
        fired.extend(shown.get(&event.source).into_iter().flatten());
        fired.sort_unstable();
        fired.dedup();
        Ok(Some(TimelineRow {
            event,
            session,
            rules: fired.into_iter().map(|rule| &rules.rules[rule].meta).collect(),
            path: &self.paths[input],
            copies,
            paths,
            is_recovered: self.analysis.is_recovered(input),
        }))
    }
}

/// The table.
pub(super) struct Timeline;

impl TableRows for Timeline {
    type Row<'r> = TimelineRow<'r>;

    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&TimelineRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let maker = TimelineMaker::new(analysis);
        let mut copies = analysis.copies.locations()?;
        for frame in analysis.timeline.rows()? {
            let frame = frame?;
            let copies = copies.next_of(&frame)?;
            if let Some(row) = maker.row(&frame, &copies)? {
                each(&row)?;
            }
        }
        Ok(())
    }
}

/// Bytes of rows of which a thread makes lines at a time: some hundred rows, whose lines are ten times
/// as long.
const PART: usize = 1 << 15;
/// Parts of which lines are made side by side.
const PARTS: usize = 4;

/// Rows of which a thread makes lines.
type Part<'f> = Vec<(RowEntry<'f>, CopiesOfRow)>;

/// Writes the table as CSV. Lines are made side by side, while those before them are hashed and
/// written: no other table has so many.
pub(super) fn write_csv(analysis: &Analysis, to: &mut (dyn io::Write + Send)) -> io::Result<()> {
    let maker = TimelineMaker::new(analysis);
    let cells = csv::cells(&analysis.texts);
    let mut copies = analysis.copies.locations()?;
    let mut frames = analysis.timeline.rows()?;
    let mut read = || -> io::Result<Vec<Part<'_>>> {
        let (mut parts, mut part, mut size) = (Vec::new(), Vec::new(), 0);
        for frame in frames.by_ref() {
            let frame = frame?;
            let copies = copies.next_of(&frame)?;
            size += frame.content().len();
            part.push((frame, copies));
            if size >= PART {
                parts.push(std::mem::take(&mut part));
                size = 0;
                if parts.len() == PARTS {
                    break;
                }
            }
        }
        if !part.is_empty() {
            parts.push(part);
        }
        Ok(parts)
    };
    let lines = |parts: Vec<Part<'_>>| -> io::Result<Vec<Vec<u8>>> {
        parts.into_par_iter().map(|part| lines(&maker, &part, &cells)).collect()
    };
    let mut made = Vec::new();
    loop {
        let parts = read()?;
        let is_last = parts.is_empty();
        let write = || made.iter().try_for_each(|lines: &Vec<u8>| to.write_all(lines));
        let (next, written) = rayon::join(|| lines(parts), write);
        written?;
        if is_last {
            return Ok(());
        }
        made = next?;
    }
}

/// The lines of some rows.
fn lines(
    maker: &TimelineMaker<'_>,
    part: &[(RowEntry<'_>, CopiesOfRow)],
    cells: &[Cow<'_, str>],
) -> io::Result<Vec<u8>> {
    let mut lines = CsvLines::with_shared(cells);
    for (frame, copies) in part {
        if let Some(row) = maker.row(frame, copies)? {
            lines.row(&row);
        }
    }
    Ok(lines.into_bytes())
}
