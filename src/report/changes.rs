//! What two runs' results say otherwise: sessions that are new, gone, or told in another way, and
//! detections that one of them has alone.
//!
//! Sessions are named anew in each run, so that they are told by the records that they share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::story::{self, Pointer, Story};
use crate::error::Error;

/// The table of detections.
const DETECTIONS: &str = "detections.csv";
/// The column of it whose names differ from run to run.
const SESSION: &str = "session_id";

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    /// Sessions that are told alike.
    pub same: usize,
    /// Sessions that are told otherwise.
    pub changed: Vec<Changed>,
    /// Sessions that only the later results have, or that another one had a part in.
    pub new: Vec<Alone>,
    /// Sessions that only the earlier results have, or that are a part of another one now.
    pub gone: Vec<Alone>,
    /// Detections that only the later results have.
    pub new_detections: Vec<BTreeMap<String, String>>,
    /// Detections that only the earlier results have.
    pub gone_detections: Vec<BTreeMap<String, String>>,
}

/// A session that both have.
#[derive(Debug, Serialize)]
pub struct Changed {
    /// Its name in the later results.
    pub session_id: String,
    /// Its name in the earlier ones.
    pub was: String,
    /// What it is, on one line.
    pub what: String,
    /// What is told otherwise.
    pub fields: Vec<Field>,
}

/// A part of a session that is told otherwise.
#[derive(Debug, Serialize)]
pub struct Field {
    /// Its name in sessions.jsonl.
    pub name: String,
    /// What the earlier results say; of a list, what only they have.
    pub before: Value,
    /// What the later ones say; of a list, what only they have.
    pub after: Value,
}

/// A session without a counterpart.
#[derive(Debug, Serialize)]
pub struct Alone {
    /// Its name.
    pub session_id: String,
    /// What it is, on one line.
    pub what: String,
    /// The session of the other results that has the most of its records.
    pub shares_with: Option<String>,
}

impl Changes {
    /// Compares the results in two folders.
    ///
    /// # Errors
    /// [`Error::NoResults`] when one holds none of this version.
    pub fn between(before: &Path, after: &Path) -> Result<Changes, Error> {
        let (before_told, after_told) = (stories(before)?, stories(after)?);
        let mut changes = Changes::default();
        let shared = shared(&before_told, &after_told);
        let pairs = pairs(&shared);
        let most = |of: &dyn Fn(usize, usize) -> bool| {
            let common = shared.iter().filter(|((old, new), _)| of(*old, *new));
            common.max_by_key(|(_, count)| **count).map(|(pair, _)| *pair)
        };
        let names: BTreeMap<&str, &str> = pairs
            .iter()
            .map(|(&new, &old)| (&*before_told[old].session_id, &*after_told[new].session_id))
            .collect();
        for (new, told) in after_told.iter().enumerate() {
            match pairs.get(&new) {
                Some(&old) => match differing(&before_told[old], told, &names) {
                    fields if fields.is_empty() => changes.same += 1,
                    fields => changes.changed.push(Changed {
                        session_id: told.session_id.clone(),
                        was: before_told[old].session_id.clone(),
                        what: what(told),
                        fields,
                    }),
                },
                None => changes.new.push(Alone {
                    session_id: told.session_id.clone(),
                    what: what(told),
                    shares_with: most(&|_, other| other == new)
                        .map(|(old, _)| before_told[old].session_id.clone()),
                }),
            }
        }
        let kept: BTreeSet<usize> = pairs.values().copied().collect();
        for (old, told) in before_told.iter().enumerate().filter(|(old, _)| !kept.contains(old)) {
            changes.gone.push(Alone {
                session_id: told.session_id.clone(),
                what: what(told),
                shares_with: most(&|other, _| other == old)
                    .map(|(_, new)| after_told[new].session_id.clone()),
            });
        }
        let (mut gone, mut new) = (detections(before)?, detections(after)?);
        for (row, count) in &mut gone {
            if let Some(others) = new.get_mut(row) {
                let both = (*count).min(*others);
                *count -= both;
                *others -= both;
            }
        }
        changes.gone_detections = rows(gone);
        changes.new_detections = rows(new);
        Ok(changes)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        let Changes { changed, new, gone, new_detections, gone_detections, .. } = self;
        changed.is_empty()
            && [new, gone].iter().all(|sessions| sessions.is_empty())
            && [new_detections, gone_detections].iter().all(|rows| rows.is_empty())
    }
}

/// A session on one line.
fn what(told: &Story) -> String {
    let source = told.source_host.as_ref().or(told.source_ip.as_ref());
    format!(
        "{} {} -> {}, {}",
        crate::model::csv_time(told.start_time),
        source.map_or("unknown", String::as_str),
        told.target_host,
        told.user.as_deref().unwrap_or("unknown account"),
    )
}

fn stories(folder: &Path) -> Result<Vec<Story>, Error> {
    let path = folder.join(story::FILE);
    let fail = |reason: String| Error::NoResults { path: path.clone(), reason };
    let file = File::open(&path)
        .map_err(|error| fail(format!("{error}: name the folders of two runs' results")))?;
    let read = |line: io::Result<String>| {
        let line = line.map_err(|error| fail(error.to_string()))?;
        serde_json::from_str(&line)
            .map_err(|error| fail(format!("results of another version ({error}): analyze again")))
    };
    BufReader::new(file).lines().map(read).collect()
}

/// How many records each two sessions share.
fn shared(before: &[Story], after: &[Story]) -> BTreeMap<(usize, usize), usize> {
    fn records(told: &Story) -> BTreeSet<&Pointer> {
        told.statements.iter().map(|statement| &statement.evidence).collect()
    }
    let mut by_record: HashMap<(&str, u64, u64), usize> = HashMap::new();
    let key = |pointer: &'_ Pointer| (pointer.record_id, pointer.offset);
    for (index, told) in before.iter().enumerate() {
        for pointer in records(told) {
            let (id, offset) = key(pointer);
            by_record.insert((&pointer.file, id, offset), index);
        }
    }
    let mut shared = BTreeMap::new();
    for (new, told) in after.iter().enumerate() {
        for pointer in records(told) {
            let (id, offset) = key(pointer);
            if let Some(&old) = by_record.get(&(&*pointer.file, id, offset)) {
                *shared.entry((old, new)).or_default() += 1;
            }
        }
    }
    shared
}

/// Which earlier session each later one is: those that share the most records first.
fn pairs(shared: &BTreeMap<(usize, usize), usize>) -> BTreeMap<usize, usize> {
    let mut order: Vec<(usize, usize, usize)> =
        shared.iter().map(|(&(old, new), &count)| (usize::MAX - count, old, new)).collect();
    order.sort_unstable();
    let mut pairs = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (_, old, new) in order {
        if !pairs.contains_key(&new) && taken.insert(old) {
            pairs.insert(new, old);
        }
    }
    pairs
}

/// What two stories of a session tell otherwise. `names` has what the earlier names of sessions are
/// now.
fn differing(before: &Story, after: &Story, names: &BTreeMap<&str, &str>) -> Vec<Field> {
    let object = |told: &Story| match serde_json::to_value(told) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (mut before, mut after) = (object(before), object(after));
    for fields in [&mut before, &mut after] {
        fields.remove(SESSION);
        // Ids of commands are of a session's name.
        for command in
            fields.get_mut("commands").and_then(Value::as_array_mut).into_iter().flatten()
        {
            if let Value::Object(command) = command {
                command.remove("command_id");
                command.remove("parent");
            }
        }
    }
    rename(before.get_mut("parent").and_then(|parent| parent.get_mut(SESSION)), names);
    for child in before.get_mut("children").and_then(Value::as_array_mut).into_iter().flatten() {
        rename(Some(child), names);
    }
    let mut fields = Vec::new();
    for (name, now) in after {
        let then = before.remove(&name).unwrap_or(Value::Null);
        if then == now {
            continue;
        }
        let (before, after) = match (then, now) {
            (Value::Array(then), Value::Array(now)) => (only(&then, &now), only(&now, &then)),
            other => other,
        };
        fields.push(Field { name, before, after });
    }
    fields
}

fn rename(name: Option<&mut Value>, names: &BTreeMap<&str, &str>) {
    let Some(Value::String(name)) = name else { return };
    if let Some(now) = names.get(name.as_str()) {
        *name = (*now).to_owned();
    }
}

/// What one list has and another has not.
fn only(list: &[Value], other: &[Value]) -> Value {
    let texts: BTreeSet<String> = other.iter().map(Value::to_string).collect();
    list.iter().filter(|value| !texts.contains(&value.to_string())).cloned().collect()
}

/// The rows of detections without their sessions' names, and how often each is there. Results that
/// were not written as CSV have none to compare.
fn detections(folder: &Path) -> Result<BTreeMap<Vec<(String, String)>, usize>, Error> {
    let path = folder.join(DETECTIONS);
    let mut found = BTreeMap::new();
    if !path.is_file() {
        return Ok(found);
    }
    let fail =
        |error: csv::Error| Error::NoResults { path: path.clone(), reason: error.to_string() };
    let mut csv = csv::Reader::from_path(&path).map_err(fail)?;
    let header = csv.headers().map_err(fail)?.clone();
    for row in csv.records() {
        let row = row.map_err(fail)?;
        let cells = header.iter().zip(&row).filter(|(name, _)| *name != SESSION);
        let cells = cells.map(|(name, cell)| (name.to_owned(), cell.to_owned()));
        *found.entry(cells.collect()).or_default() += 1;
    }
    Ok(found)
}

fn rows(rows: BTreeMap<Vec<(String, String)>, usize>) -> Vec<BTreeMap<String, String>> {
    let repeated = rows.into_iter().flat_map(|(row, count)| std::iter::repeat_n(row, count));
    repeated.map(|row| row.into_iter().collect()).collect()
}
