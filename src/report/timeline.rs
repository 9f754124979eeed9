//! `timeline.csv`: every relevant event in order.
//!
//! An event's line is made when its record is read, all but what is known only later: its copies,
//! its session, and what was found in what was rebuilt from it.

use std::collections::BTreeMap;
use std::io;
use std::iter::Peekable;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use super::cell::{list, push};
use super::output::AT_ONCE;
use super::{columns, describe, evidence};
use crate::analysis::{Analysis, Copies, Print};
use crate::detect::session_id;
use crate::keyed::Keyed;
use crate::model::{
    CsvTimes, Event, IdxVec, InputIdx, Link, Proof, RecordRef, RuleIdx, SessionIdx, Str, is_same,
};
use crate::sorted::{Bytes, Frame, Rows, Sorted, place, time, time_of};

columns! { pub(super) COLUMNS:
    "time": Time => "when it was logged: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "host" => "the host that logged it (System/Computer)",
    "channel" => "System/Channel; empty when the record has none",
    "provider" => "System/Provider Name",
    "event_id": Integer => "System/EventID",
    "record_id": Integer => "System/EventRecordID, as Event Viewer shows it",
    "kind" => "what it is, in this program's words",
    "user" => "the account it concerns, as logged, or the record's SID",
    "session_id" => "the session it belongs to (sessions.csv)",
    "link" => "why it belongs: `key` and which (own record, process, host id, runspace, runspace pool, logon id, activity id), or `time` and what agrees besides (target, connection, account, command line, source)",
    "summary" => "what it says, on one line",
    "detections" => "titles of the rules that fired on it or on what was rebuilt from it; those on a session or attempt stand at its first record, a correlation at the one that completed it",
    "level" => "the highest level of those rules",
    "input_file" => "the file it was read from",
    "offset": Integer => "the record's offset in that file, bytes",
    "record_number": Integer => "the number in the record's own header, which exported logs renumber",
    "copies" => "the same record in other inputs: FILE:EVENT_RECORD_ID@OFFSET",
    "recovered" => "yes where no log holds it any more, and --recover found it in a file",
}

/// An event's line, as far as it is known when the record is read.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    source: RecordRef,
    print: Print,
    /// The cells of host, channel and provider.
    #[serde(borrow)]
    origin: Cells<'a>,
    event_id: u32,
    record_id: u64,
    /// The cells between that and those of its session.
    #[serde(borrow)]
    what: Cells<'a>,
    #[serde(borrow)]
    summary: Cells<'a>,
    /// The rules that fired on the record.
    rules: Vec<RuleIdx>,
}

/// Cells of a line.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Cells<'a> {
    /// Those of many lines, by index: see [`Shared`].
    Shared(usize),
    /// Of this line alone, as far as is known.
    #[serde(borrow)]
    Own(Bytes<'a>),
}

/// Cells that lines share: a host's lines have few origins, and most scripts are run again and again.
#[derive(Default)]
pub struct Shared(Mutex<SharedCells>);

#[derive(Default)]
struct SharedCells {
    cells: Vec<String>,
    size: usize,
}

/// Bytes of cells that lines share; a log may be written to have ever new ones.
const MOST_SHARED: usize = 16 << 20;
/// What a cell takes besides its text.
const CELL: usize = 64;

impl Shared {
    /// Takes cells that are to be shared; yields their index if there is room.
    fn take(&self, cells: String) -> Option<usize> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.size += cells.len() + CELL;
        if shared.size > MOST_SHARED {
            return None;
        }
        shared.cells.push(cells);
        Some(shared.cells.len() - 1)
    }

    /// The cells, by index.
    pub(crate) fn into_cells(self) -> Vec<String> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).cells
    }
}

/// What a task knows of the cells that lines share.
#[derive(Default)]
struct Repeated {
    keys: Keyed,
    /// By their hash, texts and the index of their cells.
    known: HashMap<u64, (Box<str>, usize)>,
    /// Hashes of texts seen before, each in the place that its last bits name.
    seen: Vec<u64>,
    full: bool,
}

/// Texts that are remembered to have been seen.
const SEEN: usize = 1 << 14;

impl Repeated {
    /// The index of what `make` makes of a text, which must be the same each time; none before the
    /// text is seen a second time.
    fn index(
        &mut self,
        text: &str,
        shared: &Shared,
        make: impl FnOnce(&mut String),
    ) -> Option<usize> {
        let Repeated { keys, known, seen, full } = self;
        let key = keys.of(text);
        if let Some((same, index)) = known.get(&key) {
            return (**same == *text).then_some(*index);
        }
        seen.resize(SEEN, 0);
        let before = std::mem::replace(&mut seen[key as usize % SEEN], key);
        if *full || before != key {
            return None;
        }
        let mut cells = String::new();
        make(&mut cells);
        let index = shared.take(cells);
        *full = index.is_none();
        known.insert(key, (text.into(), index?));
        index
    }

    /// What `make` makes of a text: shared, or put into `room`.
    fn cells<'c>(
        &mut self,
        text: &str,
        shared: &Shared,
        room: &'c mut String,
        make: impl Fn(&mut String),
    ) -> Cells<'c> {
        match self.index(text, shared, &make) {
            Some(index) => Cells::Shared(index),
            None => {
                make(room);
                Cells::Own(Bytes(room.as_bytes()))
            }
        }
    }
}

fn push_origin(line: &mut String, origin: &[&Str; 3]) {
    for name in origin {
        push(line, name);
        line.push(',');
    }
}

/// Makes the lines of a task, with room that it uses again.
#[derive(Default)]
pub struct Lines {
    /// The lines, until a sorter takes them.
    pub rows: Rows,
    origin: String,
    what: String,
    summary: String,
    text: String,
    origins: Repeated,
    whats: Repeated,
    summaries: Repeated,
    /// Host, channel and provider of the line before, if its cells are shared.
    latest: Option<([Str; 3], usize)>,
}

impl Lines {
    /// Adds the line of an event of a user that these rules fired on.
    ///
    /// # Errors
    /// When the line has no serial form.
    pub fn add(
        &mut self,
        event: &Event,
        user: &str,
        print: Print,
        rules: Vec<RuleIdx>,
        shared: &Shared,
    ) -> io::Result<()> {
        let Lines { origin, what, summary, text, origins, whats, summaries, latest, .. } = self;
        for cells in [&mut *origin, &mut *what, &mut *summary, &mut *text] {
            cells.clear();
        }
        let names = [event.computer.shared(), &event.channel, &event.provider];
        let known = match latest {
            Some((known, index)) if known.iter().zip(names).all(|(a, b)| is_same(a, b)) => {
                Some(*index)
            }
            _ => {
                push_origin(origin, &names);
                let index = origins.index(origin, shared, |cells| cells.push_str(origin));
                *latest = index.map(|index| (names.map(Str::clone), index));
                index
            }
        };
        let origin = known.map_or(Cells::Own(Bytes(origin.as_bytes())), Cells::Shared);
        let kind = describe::kind(event);
        let push_what = |cells: &mut String| {
            cells.push_str(kind);
            cells.push(',');
            push(cells, user);
        };
        text.push_str(kind);
        text.push(',');
        text.push_str(user);
        let what = whats.cells(text, shared, what, push_what);
        text.clear();
        describe::summary(event, text);
        let summary = summaries.cells(text, shared, summary, |cells| push(cells, text));
        let Event { source, event_id, record_id, .. } = *event;
        let row = Row { source, print, origin, event_id, record_id, what, summary, rules };
        self.rows.push(|key| order(key, event.time, source), &row)
    }
}

/// The order of lines: time, place. It is total.
pub(crate) fn order(key: &mut Vec<u8>, at: DateTime<Utc>, source: RecordRef) {
    time(key, at);
    place(key, source);
}

/// Of a line what tells its record from others.
#[derive(Serialize, Deserialize)]
pub(crate) struct Printed {
    pub time: DateTime<Utc>,
    pub source: RecordRef,
    pub record_id: u64,
    pub print: Print,
}

/// What tells the records of all lines from each other, in the order of lines.
///
/// # Errors
/// When the lines cannot be read back.
pub(crate) fn prints(timeline: &Sorted) -> io::Result<impl Iterator<Item = io::Result<Printed>>> {
    Ok(timeline.rows()?.map(|line| {
        let line = line?;
        let Row { source, record_id, print, .. } = row(&line)?;
        Ok(Printed { time: time_in(&line)?, source, record_id, print })
    }))
}

fn row<'l>(line: &'l Frame<'_>) -> io::Result<Row<'l>> {
    postcard::from_bytes(line.content()).map_err(io::Error::other)
}

fn time_in(line: &Frame<'_>) -> io::Result<DateTime<Utc>> {
    time_of(line.key()).ok_or_else(|| io::Error::other("a line of no time"))
}

/// The places of copies, taken line by line in the order of lines.
pub(super) struct Places<I: Iterator>(Peekable<I>);

/// The places of a run's copies, one reading at a time.
///
/// # Errors
/// When they cannot be read back.
pub(super) fn places(
    copies: &Copies,
) -> io::Result<Places<impl Iterator<Item = io::Result<Frame<'_>>>>> {
    Ok(Places(copies.places.rows()?.peekable()))
}

impl<'p, I: Iterator<Item = io::Result<Frame<'p>>>> Places<I> {
    /// The copies of the next line's record, as many as are named, and how many there are.
    pub fn of(&mut self, line: &Frame<'_>) -> io::Result<(Vec<Proof>, usize)> {
        let (mut named, mut count) = (Vec::new(), 0);
        let is_of = |place: &io::Result<Frame<'_>>| match place {
            Ok(place) => place.key().starts_with(line.key()),
            Err(_) => true,
        };
        while let Some(place) = self.0.next_if(is_of) {
            let place = place?;
            count += 1;
            if count <= evidence::MAX_NAMED {
                named.push(postcard::from_bytes(place.content()).map_err(io::Error::other)?);
            }
        }
        Ok((named, count))
    }
}

pub(super) fn write(analysis: &Analysis, to: &mut (dyn io::Write + Send)) -> io::Result<()> {
    let mut lines = LineMaker::new(analysis, places(&analysis.copies)?);
    let mut rows = analysis.timeline.rows()?;
    let mut fill = |block: &mut Vec<u8>| {
        for read in rows.by_ref() {
            lines.line(&read?, block)?;
            if block.len() >= AT_ONCE {
                break;
            }
        }
        Ok(())
    };
    let (mut block, mut next) = (Vec::new(), Vec::with_capacity(2 * AT_ONCE));
    // Lines are made while those before them are hashed and written.
    loop {
        let (filled, written) = rayon::join(|| fill(&mut next), || to.write_all(&block));
        filled.and(written)?;
        if next.is_empty() {
            return Ok(());
        }
        std::mem::swap(&mut block, &mut next);
        next.clear();
    }
}

/// Makes whole lines of rows, in their order.
struct LineMaker<'a, I: Iterator> {
    analysis: &'a Analysis,
    sessions: BTreeMap<RecordRef, (SessionIdx, Link)>,
    /// The inputs' paths as cells.
    paths: IdxVec<InputIdx, String>,
    places: Places<I>,
    times: CsvTimes,
    cell: String,
}

impl<'a, I: Iterator<Item = io::Result<Frame<'a>>>> LineMaker<'a, I> {
    fn new(analysis: &'a Analysis, places: Places<I>) -> Self {
        let paths = analysis.inputs.iter().map(|report| {
            let mut cell = String::new();
            push(&mut cell, &report.input.path.display().to_string());
            cell
        });
        LineMaker {
            analysis,
            sessions: analysis.case.by_record(),
            paths: paths.collect(),
            places,
            times: CsvTimes::default(),
            cell: String::new(),
        }
    }

    /// Appends the line of a row, if it is one that is told.
    fn line(&mut self, read: &Frame<'_>, lines: &mut Vec<u8>) -> io::Result<()> {
        let LineMaker { analysis, sessions, paths, places, times, cell } = self;
        let Analysis { scope, rules, shown, case, shared, copies, .. } = analysis;
        let [mut number, mut at] = [itoa::Buffer::new(), itoa::Buffer::new()];
        let cells = |cells| match cells {
            Cells::Shared(index) => shared[index].as_bytes(),
            Cells::Own(Bytes(own)) => own,
        };
        let row = row(read)?;
        let RecordRef { input, offset, number: recorded } = row.source;
        if copies.contains(row.source) {
            return Ok(());
        }
        let start = lines.len();
        add(lines, [times.show(time_in(read)?)]);
        lines.extend_from_slice(cells(row.origin));
        let [event_id, record_id] =
            [number.format(row.event_id), at.format(row.record_id)].map(str::as_bytes);
        add(lines, [event_id, record_id, cells(row.what)]);
        let session = sessions.get(&row.source);
        let of = session.map(|(session, _)| &case.sessions[*session]);
        let is_told = || scope.line(of, &String::from_utf8_lossy(&lines[start..]), [1, 7]);
        if !scope.is_whole() && !is_told() {
            lines.truncate(start);
            // A copy's place is passed over with its line.
            places.of(read)?;
            return Ok(());
        }
        if let Some((session, link)) = session {
            add(lines, [session_id(*session).as_bytes(), link.as_str().as_bytes()]);
        } else {
            lines.extend_from_slice(b",,");
        }
        add(lines, [cells(row.summary)]);
        let mut fired = row.rules;
        fired.extend(shown.get(&row.source).into_iter().flatten());
        if fired.is_empty() {
            lines.extend_from_slice(b",,");
        } else {
            fired.sort_unstable();
            fired.dedup();
            let fired = fired.iter().map(|&rule| &rules.rules[rule]);
            let level = fired.clone().map(|rule| rule.level).max();
            let level = level.map_or("", |level| level.as_str());
            cell.clear();
            push(cell, &list(fired.map(|rule| &rule.title)));
            add(lines, [cell.as_bytes(), level.as_bytes()]);
        }
        let path = paths[input].as_bytes();
        let [offset, recorded] = [at.format(offset), number.format(recorded)].map(str::as_bytes);
        add(lines, [path, offset, recorded]);
        let (named, count) = places.of(read)?;
        if count > 0 {
            cell.clear();
            push(cell, &evidence::copies(&analysis.paths, &named, count));
            lines.extend_from_slice(cell.as_bytes());
        }
        let recovered: &[u8] = if analysis.is_recovered(input) { b"yes" } else { b"" };
        lines.push(b',');
        lines.extend_from_slice(recovered);
        lines.push(b'\n');
        Ok(())
    }
}

/// Appends cells that others follow.
fn add<const N: usize>(line: &mut Vec<u8>, cells: [&[u8]; N]) {
    for cell in cells {
        line.extend_from_slice(cell);
        line.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_lines_repeat_is_kept_once() {
        let (shared, mut repeated) = (Shared::default(), Repeated::default());
        // Texts with places of their own among those that were seen.
        let keys = repeated.keys.clone();
        let mut places = BTreeSet::new();
        let mut names = ('a'..='z').map(String::from);
        let mut next =
            || names.find(|name| places.insert(keys.of(&**name) as usize % SEEN)).unwrap();
        let [a, b, c] = [next(), next(), next()];
        let mut index =
            |text: &str| repeated.index(text, &shared, |cells| *cells = text.to_uppercase());
        let texts = [&a, &b, &a, &a, &c, &b].map(|text| index(text));
        assert_eq!(texts, [None, None, Some(0), Some(0), None, Some(1)]);
        // So many others that each place holds another one, and what is known stays so.
        (0..20 * SEEN).for_each(|other| assert_eq!(index(&other.to_string()), None));
        assert_eq!([&c, &a, &c].map(|text| index(text)), [None, Some(0), Some(2)]);
        assert_eq!(shared.into_cells(), [a, b, c].map(|text| text.to_uppercase()));
    }

    #[test]
    fn so_much_is_shared_and_no_more() {
        let (shared, mut repeated) = (Shared::default(), Repeated::default());
        let mut index = |text: &str| repeated.index(text, &shared, |cells| cells.push_str(text));
        let long = |letter: &str| letter.repeat(MOST_SHARED / 2);
        assert_eq!(
            ["a", "a", "b", "b"].map(|letter| index(&long(letter))),
            [None, Some(0), None, None]
        );
        assert_eq!(["c", "c", &long("a")].map(index), [None, None, Some(0)]);
        assert_eq!(shared.into_cells(), [long("a")]);
    }
}
