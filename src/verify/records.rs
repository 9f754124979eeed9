//! Rows against the records that they name, each read again from the evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use csv::{Position, StringRecord};

use super::checked::Checked;
use super::evidence::{Evidence, Reread};
use super::{Deviation, Ledger, files, found, stories};
use crate::analysis::EvidencePointer;
use crate::detect::RuleSet;
use crate::input::Input;
use crate::limits::Limits;
use crate::model::{IdxVec, InputIdx, RecordRef};
use crate::report::{TABLES, visible};

/// Records that are read again at a time: those of one batch of rows.
const AT_ONCE: usize = 4096;

/// Reads the records that the rows of a folder's tables name again, and compares what the rows say
/// of them. `inputs` are the evidence, by their paths in the ledger, unpacked within the run's `limits`;
/// `rules` are those of the run, where they are at hand. A run that was `narrowed` to some hosts or
/// accounts counts more than its tables tell.
pub fn rows(
    folder: &Path,
    ledger: &Ledger,
    inputs: &IdxVec<InputIdx, Input>,
    limits: &Limits,
    rules: Option<&RuleSet>,
    narrowed: bool,
) -> Checked {
    let evidence = Evidence::new(inputs, limits, rules);
    let mut checked = Checked::default();
    for table in TABLES.iter().filter(|table| ledger.has_output(table.file)) {
        let named = |name: &str| table.columns.iter().position(|column| column.name == name);
        let columns = table.columns.iter().map(|column| column.name).collect();
        let pointers = if table.file == TIMELINE { named("copies") } else { named("evidence") };
        let mut check = Check {
            file: table.file,
            columns,
            pointers,
            evidence: &evidence,
            latest: None,
            rows: 0,
            checked: &mut checked,
        };
        check.table(folder);
        let count = check.rows;
        let expected = match table.file {
            _ if narrowed => None,
            TIMELINE => Some(ledger.counts.events),
            "sessions.csv" => Some(ledger.counts.sessions),
            "attempts.csv" => Some(ledger.counts.attempts),
            "commands.csv" => Some(ledger.counts.commands),
            "detections.csv" => Some(ledger.counts.detections),
            _ => None,
        };
        let wrong = expected.and_then(|expected| files::count(table.file, count, expected));
        checked.deviations.extend(wrong);
    }
    stories::check(folder, ledger, &evidence, &mut checked);
    checked
}

const TIMELINE: &str = "timeline.csv";

/// A row, and where the records are that it names.
struct Row {
    line: u64,
    cells: StringRecord,
    /// Its own record, of a line of the timeline.
    own: Option<RecordRef>,
    /// Those that its pointers name, with their EventRecordIDs.
    named: Vec<(RecordRef, u64)>,
    /// There are more than are named.
    cut: bool,
}

/// The check of one table.
struct Check<'c, 'e> {
    file: &'static str,
    columns: Vec<&'static str>,
    /// The column that has pointers.
    pointers: Option<usize>,
    evidence: &'c Evidence<'e>,
    /// Time and place of the line before, where lines have an order of their own.
    latest: Option<(String, RecordRef)>,
    rows: u64,
    checked: &'c mut Checked,
}

impl Check<'_, '_> {
    fn table(&mut self, folder: &Path) {
        let reader = csv::ReaderBuilder::new().flexible(true).from_path(folder.join(self.file));
        // That a file is missing, the sums tell.
        let Ok(mut reader) = reader else { return };
        match reader.headers() {
            Ok(header) if header.iter().eq(self.columns.iter().copied()) => {}
            _ => {
                let what = "the header is not that of this version's table";
                self.checked.deviations.push(Deviation::line(self.file, 1, what));
                return;
            }
        }
        let (mut batch, mut records) = (Vec::new(), 0);
        let mut cells = StringRecord::new();
        loop {
            let line = reader.position().line();
            match reader.read_record(&mut cells) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let line = error.position().map_or(line, Position::line);
                    let what = format!("not a row of a table: {error}");
                    self.checked.deviations.push(Deviation::line(self.file, line, what));
                    continue;
                }
            }
            self.rows += 1;
            let Some(row) = self.row(line, cells.clone()) else { continue };
            records += row.named.len() + usize::from(row.own.is_some());
            batch.push(row);
            if records >= AT_ONCE {
                self.batch(std::mem::take(&mut batch));
                records = 0;
            }
        }
        self.batch(batch);
    }

    fn cell<'r>(&self, cells: &'r StringRecord, column: &str) -> &'r str {
        let index = self.columns.iter().position(|name| *name == column);
        index.and_then(|index| cells.get(index)).unwrap_or_default()
    }

    fn deviates(&mut self, line: u64, column: &str, what: String) {
        self.checked.deviations.push(Deviation::cell(self.file, line, column, what));
    }

    /// A row with the places of its records; one that has not the columns is a deviation.
    fn row(&mut self, line: u64, cells: StringRecord) -> Option<Row> {
        if cells.len() != self.columns.len() {
            let what = format!("{} cells, {} columns", cells.len(), self.columns.len());
            self.checked.deviations.push(Deviation::line(self.file, line, what));
            return None;
        }
        let mut row = Row { line, cells, own: None, named: Vec::new(), cut: false };
        if self.file == TIMELINE {
            row.own = self.own(&row);
            self.order(&row);
        }
        if let Some(column) = self.pointers {
            let text = row.cells.get(column).unwrap_or_default().to_owned();
            let name = self.columns[column];
            for pointer in pointers(&text) {
                match pointer {
                    Some(pointer) => match self.evidence.input(pointer.file) {
                        Some(input) => {
                            let number = pointer.number.unwrap_or(pointer.record_id);
                            let source = RecordRef { input, offset: pointer.offset, number };
                            row.named.push((source, pointer.record_id));
                        }
                        None => self.no_file(line, name, pointer.file),
                    },
                    None => row.cut = true,
                }
            }
        }
        self.checked.records += row.named.len() as u64 + u64::from(row.own.is_some());
        self.checked.rows += u64::from(row.own.is_some() || !row.named.is_empty());
        Some(row)
    }

    fn no_file(&mut self, line: u64, column: &str, file: &str) {
        let what = format!("no input at hand is {}", super::quoted(file));
        self.deviates(line, column, what);
    }

    /// The record that a line of the timeline is of.
    fn own(&mut self, row: &Row) -> Option<RecordRef> {
        let number = |column| self.cell(&row.cells, column).parse().ok();
        let (offset, recorded) = (number("offset"), number("record_number"));
        let file = self.cell(&row.cells, "input_file");
        match (self.evidence.input(file), offset, recorded) {
            (Some(input), Some(offset), Some(number)) => Some(RecordRef { input, offset, number }),
            (None, ..) => {
                let file = file.to_owned();
                self.no_file(row.line, "input_file", &file);
                None
            }
            _ => {
                let column = if offset.is_none() { "offset" } else { "record_number" };
                self.deviates(row.line, column, "not a number".to_owned());
                None
            }
        }
    }

    /// That a line of the timeline comes after the one before.
    fn order(&mut self, row: &Row) {
        let Some(own) = row.own else { return };
        let place = (self.cell(&row.cells, "time").to_owned(), own);
        if self.latest.as_ref().is_some_and(|latest| *latest >= place) {
            let what = "out of order: it belongs before the line before it".to_owned();
            self.checked.deviations.push(Deviation::line(self.file, row.line, what));
        }
        self.latest = Some(place);
    }

    /// Reads the records of some rows, and compares.
    fn batch(&mut self, rows: Vec<Row>) {
        let wanted: BTreeSet<RecordRef> = rows
            .iter()
            .flat_map(|row| row.own.into_iter().chain(row.named.iter().map(|(source, _)| *source)))
            .collect();
        let records = self.evidence.read(wanted.into_iter().collect());
        for row in rows {
            self.compare(&row, &records);
        }
    }

    fn compare(&mut self, row: &Row, records: &BTreeMap<RecordRef, Reread>) {
        let pointers = self.pointers.map_or("evidence", |column| self.columns[column]);
        let mut named: Vec<&Reread> = Vec::new();
        for (source, record_id) in &row.named {
            match records.get(source) {
                Some(reread) if reread.told.record_id == *record_id => named.push(reread),
                Some(reread) => {
                    let (here, there) = (record_id.to_string(), reread.told.record_id.to_string());
                    self.deviates(row.line, pointers, found(&here, &there, "the record"));
                }
                None => {
                    let what = format!("no record {record_id} at byte {}", source.offset);
                    self.deviates(row.line, pointers, what);
                }
            }
        }
        if let Some(own) = row.own {
            match records.get(&own) {
                Some(reread) => self.line_of_timeline(row, reread),
                None => {
                    let what = format!("no record of number {} begins there", own.number);
                    self.deviates(row.line, "offset", what);
                }
            }
        }
        // Where records are left out or not there, the rest tells too little.
        if named.is_empty() || row.cut || named.len() != row.named.len() {
            return;
        }
        match self.file {
            "commands.csv" => self.command(row, &named),
            "detections.csv" => self.detection(row, &named),
            "sessions.csv" => self.one_of(row, "start_time", &named),
            "attempts.csv" => self.one_of(row, "time", &named),
            _ => {}
        }
    }

    fn equal(&mut self, row: &Row, column: &str, expected: &str) {
        let here = self.cell(&row.cells, column);
        if here != expected {
            let what = found(here, expected, "the record");
            self.deviates(row.line, column, what);
        }
    }

    /// That a time is that of one of the records.
    fn one_of(&mut self, row: &Row, column: &str, named: &[&Reread]) {
        let here = self.cell(&row.cells, column);
        if !named.iter().any(|reread| reread.told.get("time") == here) {
            let what = format!("{} is the time of none of its records", super::quoted(here));
            self.deviates(row.line, column, what);
        }
    }

    fn line_of_timeline(&mut self, row: &Row, reread: &Reread) {
        for (column, expected) in &reread.told.cells {
            self.equal(row, column, expected);
        }
        let Some(rules) = self.evidence.rules else { return };
        for &rule in reread.fired.iter().filter(|&&rule| !rules.is_suppressed(rule)) {
            let title = &rules.rules[rule].meta.title;
            if !self.cell(&row.cells, "detections").contains(&*visible(title)) {
                let what = format!(
                    "the rule {} fires on the record and is not here",
                    super::quoted(title)
                );
                self.deviates(row.line, "detections", what);
            }
        }
    }

    fn command(&mut self, row: &Row, named: &[&Reread]) {
        self.one_of(row, "time", named);
        self.equal(row, "host", named[0].told.get("host"));
        self.equal(row, "source_event", named[0].told.get("event_id"));
        let mut ids: Vec<&str> = Vec::new();
        for id in named.iter().map(|reread| reread.told.get("event_id")) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        self.equal(row, "all_events", &ids.join("; "));
    }

    fn detection(&mut self, row: &Row, named: &[&Reread]) {
        match self.cell(&row.cells, "fired_on") {
            "record" => {
                for column in ["time", "host", "user"] {
                    self.equal(row, column, named[0].told.get(column));
                }
                let id = self.cell(&row.cells, "rule_id").to_owned();
                let Some(rules) = self.evidence.rules else { return };
                if !named[0].fired.iter().any(|&rule| *visible(&rules.rules[rule].meta.id) == id) {
                    let what =
                        format!("the rule {} does not fire on the record", super::quoted(&id));
                    self.deviates(row.line, "rule_id", what);
                }
            }
            "correlation" => {}
            _ => self.one_of(row, "time", named),
        }
    }
}

/// The pointers in a cell; none for what says that there are more. A path may hold what separates
/// pointers.
fn pointers(cell: &str) -> impl Iterator<Item = Option<EvidencePointer<'_>>> {
    let mut rest = cell;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut ends = memchr::memmem::find_iter(rest.as_bytes(), "; ").chain([rest.len()]);
        let found = ends.find_map(|end| Some((EvidencePointer::parse(&rest[..end])?, end)));
        rest = found.and_then(|(_, end)| rest.get(end + 2..)).unwrap_or_default();
        Some(found.map(|(pointer, _)| pointer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_taken_apart_whatever_paths_hold() {
        let all = |cell| {
            pointers(cell)
                .map(|pointer| pointer.map(|p| (p.file, p.record_id, p.number, p.offset)))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            all("a; b/x.evtx:7@4608; c.evtx:8#1@5000; and 3 more in timeline.csv"),
            [Some(("a; b/x.evtx", 7, None, 4608)), Some(("c.evtx", 8, Some(1), 5000)), None,]
        );
        assert_eq!(all(""), []);
    }
}
