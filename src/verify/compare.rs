//! A folder of results against another that the same run gave again: which lines were changed,
//! taken out, put in or moved.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde_json::Value;
use walkdir::WalkDir;

use super::{Deviation, found, quoted};
use crate::error::Fault;
use crate::input::sha256;
use crate::report::{RUN, SEAL};

/// Deviations of one file that are told, line by line; how many more there are is one of its own.
const MOST_TOLD: usize = 1000;

/// What the run gives again, in words.
const AGAIN: &str = "the run made again";

/// Compares all files of a folder of results, but for the seal, with those that the same run gave
/// again. Of `run.json` what a run's own circumstances make is passed over.
///
/// # Errors
/// When a file of the run made again cannot be read.
pub fn folders(folder: &Path, again: &Path) -> io::Result<Vec<Deviation>> {
    let mut names = BTreeSet::new();
    for entry in WalkDir::new(again).into_iter().flatten() {
        if entry.file_type().is_file()
            && let Ok(name) = entry.path().strip_prefix(again)
        {
            names.insert(name.to_string_lossy().replace('\\', "/"));
        }
    }
    names.remove(&format!("{RUN}{SEAL}"));
    let mut deviations = Vec::new();
    for name in names {
        let (here, there) = (folder.join(&name), again.join(&name));
        if !here.is_file() {
            deviations.push(Deviation::file(&name, format!("missing, and in {AGAIN}")));
        } else if name == RUN {
            deviations.extend(ledgers(&here, &there)?);
        } else if sha256(&here)? != sha256(&there)? {
            deviations.extend(files(&name, &here, &there)?);
        }
    }
    Ok(deviations)
}

/// Compares two files that differ.
fn files(name: &str, here: &Path, there: &Path) -> io::Result<Vec<Deviation>> {
    let keys = [RandomState::new(), RandomState::new()];
    let (Some(found), Some(expected)) = (hashes(here, &keys)?, hashes(there, &keys)?) else {
        let what = format!("differs from {AGAIN} from byte {} on", first_difference(here, there)?);
        return Ok(vec![Deviation::file(name, what)]);
    };
    let edits = edits(&expected, &found);
    let wanted = |line: fn(&Edit) -> Option<usize>| {
        edits.iter().take(MOST_TOLD).filter_map(line).collect::<BTreeSet<usize>>()
    };
    let texts_here = lines(here, &wanted(Edit::found))?;
    let texts_there = lines(there, &wanted(Edit::expected))?;
    let header = lines(there, &BTreeSet::from([0]))?;
    let columns = columns(name, header.get(&0).map_or(b"", Vec::as_slice));
    let text = |texts: &HashMap<usize, Vec<u8>>, line| {
        texts.get(&line).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
    };
    let mut deviations = Vec::new();
    for edit in edits.iter().take(MOST_TOLD) {
        let line = |line: usize| line as u64 + 1;
        match *edit {
            Edit::Changed { found: here, expected: there } => {
                let (new, old) = (text(&texts_here, here), text(&texts_there, there));
                deviations.extend(changed(name, line(here), &columns, &new, &old));
            }
            Edit::Added(here) => {
                let what = format!("put in: {}", quoted(&text(&texts_here, here)));
                deviations.push(Deviation::line(name, line(here), what));
            }
            Edit::Removed { expected: there, before } => {
                let text = text(&texts_there, there);
                let what = format!("taken out before this line: {}", quoted(&text));
                deviations.push(Deviation::line(name, line(before), what));
            }
            Edit::Moved { found: here, expected: there } => {
                let text = quoted(&text(&texts_here, here));
                let what = format!("moved: line {} of {AGAIN}: {text}", line(there));
                deviations.push(Deviation::line(name, line(here), what));
            }
        }
    }
    if edits.len() > MOST_TOLD {
        let what = format!("{} more lines differ", edits.len() - MOST_TOLD);
        deviations.push(Deviation::file(name, what));
    }
    if deviations.is_empty() {
        let what = format!("differs from {AGAIN} in how its lines end");
        deviations.push(Deviation::file(name, what));
    }
    Ok(deviations)
}

/// What was done to a line; lines count from 0.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Edit {
    Changed { found: usize, expected: usize },
    Added(usize),
    Removed { expected: usize, before: usize },
    Moved { found: usize, expected: usize },
}

impl Edit {
    fn found(&self) -> Option<usize> {
        match *self {
            Edit::Changed { found, .. } | Edit::Added(found) | Edit::Moved { found, .. } => {
                Some(found)
            }
            Edit::Removed { .. } => None,
        }
    }

    /// The same, so many lines further on.
    fn moved_by(self, lines: usize) -> Edit {
        match self {
            Edit::Changed { found, expected } => {
                Edit::Changed { found: found + lines, expected: expected + lines }
            }
            Edit::Added(found) => Edit::Added(found + lines),
            Edit::Removed { expected, before } => {
                Edit::Removed { expected: expected + lines, before: before + lines }
            }
            Edit::Moved { found, expected } => {
                Edit::Moved { found: found + lines, expected: expected + lines }
            }
        }
    }

    fn expected(&self) -> Option<usize> {
        match *self {
            Edit::Changed { expected, .. } | Edit::Removed { expected, .. } => Some(expected),
            Edit::Added(_) | Edit::Moved { .. } => None,
        }
    }
}

/// The hash of a line, which is all that lines are compared by.
type LineHash = [u64; 2];

/// What was done to lines, by their hashes. Most files are the same but for a few lines.
fn edits(expected: &[LineHash], found: &[LineHash]) -> Vec<Edit> {
    let same = |(a, b): &(&LineHash, &LineHash)| a == b;
    let head = expected.iter().zip(found).take_while(same).count();
    let (expected, found) = (&expected[head..], &found[head..]);
    let tail = expected.iter().rev().zip(found.iter().rev()).take_while(same).count();
    let until = |lines: &[LineHash]| lines.len() - tail;
    let edits = between(&expected[..until(expected)], &found[..until(found)]);
    edits.into_iter().map(|edit| edit.moved_by(head)).collect()
}

/// What was done to lines, by their hashes. Lines that both have and that stand in one order are
/// the frame; others that both have were moved; between two of the frame, what is here alone
/// replaces in order what is there alone.
fn between(expected: &[LineHash], found: &[LineHash]) -> Vec<Edit> {
    let mut places: HashMap<LineHash, VecDeque<usize>> = HashMap::new();
    for (place, &hash) in expected.iter().enumerate() {
        places.entry(hash).or_default().push_back(place);
    }
    let origins: Vec<Option<usize>> =
        found.iter().map(|hash| places.get_mut(hash).and_then(VecDeque::pop_front)).collect();
    let mut is_there = vec![false; expected.len()];
    origins.iter().flatten().for_each(|&place| is_there[place] = true);
    let frame = longest_rising(&origins);
    let mut edits = Vec::new();
    let (mut next_found, mut next_expected) = (0, 0);
    for (until_found, until_expected) in frame.into_iter().chain([(found.len(), expected.len())]) {
        let mut gone = (next_expected..until_expected).filter(|&place| !is_there[place]);
        for (line, origin) in (next_found..).zip(&origins[next_found..until_found]) {
            edits.push(match origin {
                Some(expected) => Edit::Moved { found: line, expected: *expected },
                None => match gone.next() {
                    Some(expected) => Edit::Changed { found: line, expected },
                    None => Edit::Added(line),
                },
            });
        }
        let before = until_found;
        edits.extend(gone.map(|expected| Edit::Removed { expected, before }));
        (next_found, next_expected) = (until_found + 1, until_expected + 1);
    }
    edits
}

/// The longest run of lines, not necessarily side by side, whose origins rise: line and origin.
fn longest_rising(origins: &[Option<usize>]) -> Vec<(usize, usize)> {
    // Of each length the line that ends such a run with the lowest origin, and of each line the one
    // before it in its run (Fredman's form of patience sorting).
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; origins.len()];
    for (line, origin) in origins.iter().enumerate() {
        let Some(origin) = origin else { continue };
        let at = ends.partition_point(|&end| origins[end].is_some_and(|known| known < *origin));
        before[line] = at.checked_sub(1).map(|at| ends[at]);
        match ends.get_mut(at) {
            Some(end) => *end = line,
            None => ends.push(line),
        }
    }
    let mut run = Vec::with_capacity(ends.len());
    let mut next = ends.last().copied();
    while let Some(line) = next {
        run.extend(origins[line].map(|origin| (line, origin)));
        next = before[line];
    }
    run.reverse();
    run
}

/// The hashes of a file's lines; none of what is no text.
fn hashes(path: &Path, keys: &[RandomState; 2]) -> io::Result<Option<Vec<LineHash>>> {
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path)?);
    if reader.fill_buf()?.contains(&0) {
        return Ok(None);
    }
    let mut hashes = Vec::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        hashes.push(keys.each_ref().map(|keys| keys.hash_one(text)));
        line.clear();
    }
    Ok(Some(hashes))
}

/// Some lines of a file.
fn lines(path: &Path, wanted: &BTreeSet<usize>) -> io::Result<HashMap<usize, Vec<u8>>> {
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path)?);
    let mut lines = HashMap::new();
    let (mut number, mut line) = (0, Vec::new());
    let last = wanted.last().copied();
    while last.is_some_and(|last| number <= last) && reader.read_until(b'\n', &mut line)? > 0 {
        if wanted.contains(&number) {
            lines.insert(number, line.strip_suffix(b"\n").unwrap_or(&line).to_vec());
        }
        number += 1;
        line.clear();
    }
    Ok(lines)
}

fn first_difference(here: &Path, there: &Path) -> io::Result<usize> {
    let (here, there) = (fs::read(here)?, fs::read(there)?);
    let same = here.iter().zip(&there).take_while(|(a, b)| a == b);
    Ok(same.count())
}

/// The columns of a table; none of other files.
fn columns(name: &str, header: &[u8]) -> Vec<String> {
    if name.ends_with(".csv") { cells(&String::from_utf8_lossy(header)) } else { Vec::new() }
}

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<String> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line.as_bytes());
    let record = reader.records().next().and_then(Result::ok).unwrap_or_default();
    record.iter().map(str::to_owned).collect()
}

/// What differs between two forms of a line: the cells of a table, the values of JSON, or all.
fn changed(name: &str, line: u64, columns: &[String], here: &str, there: &str) -> Vec<Deviation> {
    let (new, old) = (cells(here), cells(there));
    if !columns.is_empty() && new.len() == columns.len() && old.len() == columns.len() {
        let differing =
            columns.iter().zip(new.iter().zip(&old)).filter(|(_, (new, old))| new != old);
        return differing
            .map(|(column, (new, old))| Deviation::cell(name, line, column, found(new, old, AGAIN)))
            .collect();
    }
    if name.ends_with(".jsonl")
        && let (Ok(new), Ok(old)) = (serde_json::from_str(here), serde_json::from_str(there))
    {
        let mut deviations = Vec::new();
        values(&new, &old, "", &mut |place, what| {
            deviations.push(Deviation::cell(name, line, place, what));
        });
        return deviations;
    }
    vec![Deviation::line(name, line, found(here, there, AGAIN))]
}

/// Names each place where two JSON values differ.
fn values(here: &Value, there: &Value, place: &str, tell: &mut dyn FnMut(&str, String)) {
    match (here, there) {
        (Value::Object(new), Value::Object(old)) => {
            let names: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
            for name in names {
                let value = |of: &serde_json::Map<String, Value>| of.get(name).cloned();
                let place = format!("{place}/{name}");
                either(value(new), value(old), &place, tell);
            }
        }
        (Value::Array(new), Value::Array(old)) => {
            for index in 0..new.len().max(old.len()) {
                let place = format!("{place}/{index}");
                either(new.get(index).cloned(), old.get(index).cloned(), &place, tell);
            }
        }
        (new, old) if new == old => {}
        (new, old) => tell(place, found(&shown(new), &shown(old), AGAIN)),
    }
}

fn either(
    here: Option<Value>,
    there: Option<Value>,
    place: &str,
    tell: &mut dyn FnMut(&str, String),
) {
    match (here, there) {
        (Some(here), Some(there)) => values(&here, &there, place, tell),
        (Some(here), None) => tell(place, format!("put in: {}", quoted(&shown(&here)))),
        (None, Some(there)) => tell(place, format!("taken out: {}", quoted(&shown(&there)))),
        (None, None) => {}
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What of `run.json` a run's own circumstances make: its outputs and inputs are compared as files.
const OWN: [&str; 9] = [
    "arguments",
    "build",
    "finished",
    "machine",
    "outputs",
    "started",
    "threads",
    "working_directory",
    "version",
];

/// Compares two ledgers of one run.
fn ledgers(here: &Path, there: &Path) -> io::Result<Vec<Deviation>> {
    let read = |path: &Path| -> io::Result<Value> {
        let mut value: Value = serde_json::from_slice(&fs::read(path)?)?;
        let Some(run) = value.as_object_mut() else { return Ok(value) };
        OWN.iter().for_each(|own| drop(run.remove(*own)));
        let inputs = run.get_mut("inputs").and_then(Value::as_array_mut);
        for input in inputs.into_iter().flatten().filter_map(Value::as_object_mut) {
            input.remove("modified");
            input.remove("sha256_after");
            // What was extracted is read of the logs again.
            input.remove("extracted");
            if let Some(faults) = input.get_mut("faults").and_then(Value::as_array_mut) {
                let of_the_run = |fault: &Value| {
                    let reason = fault.get("reason").and_then(Value::as_str);
                    reason.is_some_and(|reason| reason.starts_with(Fault::CHANGED))
                };
                faults.retain(|fault| !of_the_run(fault));
            }
        }
        for pack in run.get_mut("packs").and_then(Value::as_array_mut).into_iter().flatten() {
            // It may have been found from another folder; its hash is what counts.
            pack.as_object_mut().and_then(|pack| pack.remove("path"));
        }
        Ok(value)
    };
    let (here, there) = (read(here)?, read(there)?);
    let mut deviations = Vec::new();
    values(&here, &there, "", &mut |place, what| {
        deviations.push(Deviation { column: Some(place.to_owned()), ..Deviation::file(RUN, what) });
    });
    Ok(deviations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(expected: &[u64], found: &[u64]) -> Vec<Edit> {
        let hashes = |lines: &[u64]| lines.iter().map(|&line| [line, line]).collect::<Vec<_>>();
        let (expected, found) = (&hashes(expected), &hashes(found));
        edits(expected, found)
    }

    #[test]
    fn each_edit_is_told_for_what_it_is() {
        let lines: Vec<u64> = (0..10).collect();
        assert_eq!(told(&lines, &lines), []);
        let mut changed = lines.clone();
        changed[4] = 99;
        assert_eq!(told(&lines, &changed), [Edit::Changed { found: 4, expected: 4 }]);
        let removed: Vec<u64> = lines.iter().copied().filter(|&line| line != 4).collect();
        assert_eq!(told(&lines, &removed), [Edit::Removed { expected: 4, before: 4 }]);
        let mut added = lines.clone();
        added.insert(4, 99);
        assert_eq!(told(&lines, &added), [Edit::Added(4)]);
        let mut moved = lines.clone();
        let line = moved.remove(2);
        moved.insert(7, line);
        assert_eq!(told(&lines, &moved), [Edit::Moved { found: 7, expected: 2 }]);
        assert_eq!(told(&lines, &lines[..8]).len(), 2);
    }

    #[test]
    fn equal_lines_are_told_apart_by_their_number() {
        assert_eq!(told(&[1, 7, 7, 2], &[1, 7, 2]), [Edit::Removed { expected: 2, before: 2 }]);
        assert_eq!(told(&[1, 7, 2], &[1, 7, 7, 2]), [Edit::Added(2)]);
        assert_eq!(told(&[7, 7], &[7]), [Edit::Removed { expected: 1, before: 1 }]);
    }

    #[test]
    fn a_changed_line_names_its_cells_or_values() {
        let columns = ["a".to_owned(), "b".to_owned()];
        let told = |name, here, there| {
            let told = changed(name, 3, if name == "t.csv" { &columns } else { &[] }, here, there);
            told.iter().map(Deviation::to_string).collect::<Vec<_>>()
        };
        let by = "by the run made again";
        assert_eq!(
            told("t.csv", "1,\"x,y\"", "1,z"),
            [format!("t.csv, line 3, b: found 'x,y', expected 'z' {by}")]
        );
        assert_eq!(
            told("t.jsonl", r#"{"a":[1,2],"b":"x"}"#, r#"{"a":[1],"b":"y"}"#),
            [
                "t.jsonl, line 3, /a/1: put in: '2'".to_owned(),
                format!("t.jsonl, line 3, /b: found 'x', expected 'y' {by}")
            ]
        );
        assert_eq!(
            told("t.txt", "x", "y"),
            [format!("t.txt, line 3: found 'x', expected 'y' {by}")]
        );
    }
}
