//! Which records are copies of a record in another input: of a log and its shadow copy, a log and
//! its export, a host's own log and a collector's. The rest of the program asks, and leaves copies
//! out.
//!
//! Windows names a record by its host, channel and EventRecordID. Record ids begin anew in a new
//! log, so that a copy must have the event id and the time as well, as exact as its form has them.
//! And it must say the same: of two records that Windows wrote down for one, neither may hide the
//! other. What a collector made of a record is other text; there the name and the time decide.
//!
//! Of records that are one, that of the richest form counts, then that of the first input. Those of
//! one input are never taken for one.

mod overlap;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Timelike, Utc};

pub(crate) use self::overlap::Spans;
use self::overlap::overlapping;
use crate::model::{Form, IdxVec, InputIdx, Proof, RecordRef};
use crate::rows::timeline::{self, FingerprintedRow};
use crate::rows::{Copies, class};
use crate::sorted::{self, SortBuffer, SortedRows, Sorter};

/// How long after its `logged` a record may have been logged: its form keeps no more of the time.
fn open(form: Form, logged: DateTime<Utc>) -> TimeDelta {
    const TICK: u32 = 100;
    const MILLISECOND: u32 = 1_000_000;
    const SECOND: u32 = 1_000_000_000;
    let unit = match form {
        Form::Binary | Form::Rendered => TICK,
        Form::Winlogbeat | Form::Hayabusa => MILLISECOND,
        Form::NxLog => SECOND,
    };
    // Some are set up to keep more than is usual.
    let kept = |unit: &u32| logged.nanosecond().is_multiple_of(*unit);
    let unit = [unit, MILLISECOND.min(unit)].into_iter().find(kept).unwrap_or(TICK);
    TimeDelta::nanoseconds(unit.into())
}

/// Bytes of rows that are sorted at a time.
const BLOCK: usize = 1 << 20;
/// Bytes of rows that stay in memory: most of what a run may take is marks by now.
const IN_MEMORY: usize = 16 << 20;

/// Finds the copies among the events of a timeline, of which `spans` tells by input what they
/// are of. Inputs from `recovered` on hold what was carved: any other record is preferred to
/// theirs, and in them a record may lie more than once.
///
/// # Errors
/// When the scratch folder takes no more or the timeline cannot be read back.
pub(crate) fn find(
    timeline: &SortedRows,
    spans: &IdxVec<InputIdx, Spans>,
    recovered: Option<InputIdx>,
    scratch: &Path,
) -> io::Result<Copies> {
    let mut overlapping = overlapping(spans);
    for (input, overlapping) in overlapping.iter_mut_enumerated() {
        *overlapping |= is_recovered(recovered, input);
    }
    if !overlapping.contains(&true) {
        return Ok(Copies::default());
    }
    let sorter = Sorter::with_memory_limit(scratch.to_owned(), IN_MEMORY);
    let mut rows = SortBuffer::default();
    for row in timeline::fingerprints(timeline)? {
        let row = row?;
        let FingerprintedRow { source, record_id, fingerprint, .. } = row;
        if overlapping[source.input] {
            let key = |key: &mut Vec<u8>| {
                key.extend(fingerprint.identity.to_be_bytes());
                key.extend(record_id.to_be_bytes());
                let is_live = !is_recovered(recovered, source.input);
                key.push(if is_live { fingerprint.form as u8 } else { u8::MAX });
                sorted::push_place(key, source);
            };
            rows.push(key, &row)?;
        }
        if rows.size() > BLOCK {
            sorter.add(&mut rows)?;
        }
    }
    sorter.add(&mut rows)?;

    let mut found = Found::new(spans.indices(), scratch);
    let mut same_identity = SameIdentity { recovered, ..SameIdentity::default() };
    let mut latest = None;
    for row in sorter.finish().rows()? {
        let row: FingerprintedRow =
            postcard::from_bytes(row?.content()).map_err(io::Error::other)?;
        let name = (row.fingerprint.identity, row.record_id);
        if latest.replace(name) != Some(name) {
            same_identity.clear();
        }
        found.add(&row, same_identity.judge(&row))?;
    }
    found.finish()
}

/// Whether an input is one of those from `recovered` on, which hold what was carved.
fn is_recovered(recovered: Option<InputIdx>, input: InputIdx) -> bool {
    recovered.is_some_and(|first| input >= first)
}

/// What a record is to those that were judged before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// A record of its own.
    Own,
    /// A copy of this one.
    CopyOf(Place),
    /// One with this one's name and time that says something else.
    DiffersFrom(Place),
}

/// A record's place in the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    time: DateTime<Utc>,
    source: RecordRef,
}

/// Records of one name that are told apart; hostile logs may hold ever more.
const MOST_SAME: usize = 1 << 16;

/// The records of one name that are not copies, of which the best comes first.
#[derive(Default)]
struct SameIdentity {
    /// By all that copies have in common: class, time and content.
    same: BTreeMap<(Form, DateTime<Utc>, u64), Place>,
    /// The first of each time, and its class.
    at: BTreeMap<DateTime<Utc>, (Form, Place)>,
    /// The first input in which a record may lie more than once.
    recovered: Option<InputIdx>,
}

impl SameIdentity {
    fn clear(&mut self) {
        self.same.clear();
        self.at.clear();
    }

    /// Judges the next record in the order of form, input and offset.
    fn judge(&mut self, row: &FingerprintedRow) -> Verdict {
        let FingerprintedRow { time, source, fingerprint, .. } = *row;
        let logged = time + TimeDelta::nanoseconds(fingerprint.late);
        let class = class(fingerprint.form);
        let place = Place { time, source };
        let once = !is_recovered(self.recovered, source.input);
        let copy_of = |known: Place| match once && known.source.input == source.input {
            true => Verdict::Own,
            false => Verdict::CopyOf(known),
        };
        let same = (class, logged, fingerprint.content);
        if let Some(&known) = self.same.get(&same) {
            return copy_of(known);
        }
        let mut near = self.at.range(logged..logged + open(fingerprint.form, logged));
        let verdict = match (near.next(), near.next()) {
            (Some((_, &(other, known))), None) if other != class => return copy_of(known),
            (Some((_, &(_, known))), None) if known.source.input != source.input => {
                Verdict::DiffersFrom(known)
            }
            // None, or more than one: then it is not certain which.
            _ => Verdict::Own,
        };
        if self.same.len() < MOST_SAME {
            self.same.insert(same, place);
            self.at.entry(logged).or_insert((class, place));
        }
        verdict
    }
}

/// Writes down what is found.
struct Found {
    copies: Copies,
    places: Sorter,
    rows: SortBuffer,
}

impl Found {
    fn new(inputs: impl Iterator<Item = InputIdx>, scratch: &Path) -> Found {
        let offsets = inputs.map(|_| Vec::new()).collect();
        let copies = Copies { offsets, ..Copies::default() };
        let places = Sorter::with_memory_limit(scratch.to_owned(), IN_MEMORY);
        Found { copies, places, rows: SortBuffer::default() }
    }

    fn add(&mut self, row: &FingerprintedRow, verdict: Verdict) -> io::Result<()> {
        let FingerprintedRow { source, record_id, .. } = *row;
        let (known, is_copy) = match verdict {
            Verdict::Own => return Ok(()),
            Verdict::CopyOf(known) => (known, true),
            Verdict::DiffersFrom(known) => (known, false),
        };
        let inputs = (source.input, known.source.input);
        let overlap = self.copies.overlaps.entry(inputs).or_default();
        if !is_copy {
            overlap.differing += 1;
            return Ok(());
        }
        overlap.copies += 1;
        self.copies.offsets[source.input].push(source.offset);
        let key = |key: &mut Vec<u8>| {
            timeline::order(key, known.time, known.source);
            sorted::push_place(key, source);
        };
        self.rows.push(key, &Proof { source, record_id })?;
        if self.rows.size() > BLOCK {
            self.places.add(&mut self.rows)?;
        }
        Ok(())
    }

    fn finish(self) -> io::Result<Copies> {
        let Found { mut copies, places, mut rows } = self;
        places.add(&mut rows)?;
        copies.places = places.finish();
        for offsets in &mut copies.offsets {
            offsets.sort_unstable();
            offsets.shrink_to_fit();
        }
        Ok(copies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Record, parse_utc};
    use crate::normalise::testing::{event, record};
    use crate::rows::{Fingerprints, TextPool};

    /// A record of input 0, one of input 1 that is the same, and so on.
    fn logon(input: usize, offset: u64) -> Record {
        let data = [("TargetUserName", "a"), ("TargetLogonId", "0x1")];
        let time = parse_utc("2026-03-14T21:14:07.1234567Z").unwrap();
        Record {
            source: RecordRef { input: InputIdx::new(input), offset, number: offset },
            time,
            logged: time,
            record_id: 70,
            ..record("Security", 4624, &data)
        }
    }

    fn with(record: Record, data: &[(&str, &str)]) -> Record {
        let mut with = record;
        data.iter().for_each(|(name, value)| with.data.push(name, value));
        with
    }

    fn collected(form: Form, time: &str, record: Record) -> Record {
        let time = parse_utc(time).unwrap();
        Record { form, time, logged: time, ..record }
    }

    /// What the records are found to be, in the order they are given: `find` on a timeline of them.
    fn judged(records: &[Record]) -> Vec<&'static str> {
        let fingerprints = Fingerprints::default();
        let folder = std::env::temp_dir();
        let last = records.iter().map(|record| record.source.input).max().unwrap();
        let mut spans: IdxVec<InputIdx, Spans> =
            (0..=last.index()).map(|_| Spans::default()).collect();
        let sorter = Sorter::new(folder.clone());
        let mut lines = timeline::TimelineRows::default();
        for record in records {
            let event = event(record);
            let (log, fingerprint) = fingerprints.of(record, &event, &[]);
            spans[record.source.input].take(log, record.record_id);
            lines
                .add(&event, &event.user(), fingerprint, Vec::new(), &TextPool::default())
                .unwrap();
        }
        sorter.add(&mut lines.rows).unwrap();
        let copies = find(&sorter.finish(), &spans, None, &folder).unwrap();
        let is_copy = |record: &Record| copies.contains(record.source);
        let found = records.iter().filter(|record| is_copy(record)).count() as u64;
        assert_eq!(copies.count(), found);
        assert_eq!(copies.overlaps.values().map(|overlap| overlap.copies).sum::<u64>(), found);
        assert_eq!(copies.places.rows().unwrap().count() as u64, found);
        let differing: u64 = copies.overlaps.values().map(|overlap| overlap.differing).sum();
        let word = |record| match (is_copy(record), differing) {
            (true, _) => "copy",
            (false, 0) => "own",
            (false, _) => "disputed",
        };
        records.iter().map(word).collect()
    }

    #[test]
    fn of_a_record_in_three_inputs_the_first_counts() {
        let records = [(2, 512), (0, 9000), (1, 512)].map(|(input, at)| logon(input, at));
        assert_eq!(judged(&records), ["copy", "own", "copy"]);
    }

    #[test]
    fn records_of_one_input_are_never_one() {
        assert_eq!(judged(&[logon(0, 512), logon(0, 900)]), ["own", "own"]);
        let records = [(0, 512), (0, 900), (1, 512), (1, 900), (1, 1300)];
        let records = records.map(|(input, at)| logon(input, at));
        assert_eq!(judged(&records), ["own", "own", "copy", "copy", "copy"]);
    }

    #[test]
    fn other_names_and_other_times_are_other_records() {
        let own = |other: Record| assert_eq!(judged(&[logon(0, 512), other]), ["own", "own"]);
        own(Record { record_id: 71, ..logon(1, 512) });
        own(Record { computer: "OTHER".into(), ..logon(1, 512) });
        own(Record { channel: "System".into(), ..logon(1, 512) });
        own(Record { event_id: 4634, ..logon(1, 512) });
        // A log that was cleared begins anew.
        own(collected(Form::Binary, "2026-03-14T21:14:07.1234568Z", logon(1, 512)));
        let cased = Record { computer: "host".into(), ..logon(1, 512) };
        assert_eq!(judged(&[logon(0, 512), cased]), ["own", "copy"]);
    }

    #[test]
    fn neither_of_two_that_say_otherwise_hides_the_other() {
        let forged = with(logon(0, 512), &[("IpAddress", "10.0.0.1")]);
        assert_eq!(judged(&[forged.clone(), logon(1, 512)]), ["disputed", "disputed"]);
        // A third one, and what a collector has of it, are still known.
        let third = Record { form: Form::Rendered, ..logon(2, 80) };
        let fourth = collected(Form::NxLog, "2026-03-14T21:14:07Z", logon(3, 80));
        let all = [forged, logon(1, 512), third, fourth];
        assert_eq!(judged(&all), ["disputed", "disputed", "copy", "copy"]);
    }

    /// As EVTX has it, and as Windows writes the same in XML and in what it forwards.
    #[test]
    fn a_guid_is_one_however_it_is_spelled() {
        let created = |input, guid: &str| {
            let data = [("ProcessGuid", guid), ("TargetFilename", "a"), ("Binary", "00")];
            let channel = "Microsoft-Windows-Sysmon/Operational";
            Record {
                known_channel: record(channel, 11, &[]).known_channel,
                channel: channel.into(),
                event_id: 11,
                data: record(channel, 11, &data).data,
                ..logon(input, 512)
            }
        };
        let evtx = created(0, "365ABB72-0F3D-5CDC-0000-0010A4C2E200");
        let xml = created(1, "{365abb72-0f3d-5cdc-0000-0010a4c2e200}");
        assert_eq!(judged(&[evtx.clone(), xml]), ["own", "copy"]);
        let other = created(1, "{365abb72-0f3d-5cdc-0000-0010a4c2e201}");
        assert_eq!(judged(&[evtx, other]), ["disputed", "disputed"]);
    }

    #[test]
    fn the_richest_form_counts_as_far_as_its_time_goes() {
        let time = "2026-03-14T21:14:07";
        let line = |form, fraction: &str| {
            let record = collected(form, &format!("{time}{fraction}Z"), logon(0, 0));
            // A collector's names are not Windows'.
            with(record, &[("IpPort", "1")])
        };
        for (form, fraction, word) in [
            (Form::NxLog, "", "copy"),
            (Form::NxLog, ".123", "copy"),
            (Form::NxLog, ".1234567", "copy"),
            (Form::NxLog, ".124", "own"),
            (Form::Winlogbeat, ".123", "copy"),
            (Form::Winlogbeat, ".1234567", "copy"),
            (Form::Winlogbeat, "", "own"),
            (Form::Hayabusa, ".124", "own"),
        ] {
            let found = judged(&[line(form, fraction), logon(1, 512)]);
            assert_eq!(found, [word, "own"], "{form:?} {fraction}");
        }
        // Two collectors and no log: the finer time counts.
        let beats = Record {
            source: RecordRef { input: InputIdx::new(1), ..logon(1, 9).source },
            ..line(Form::Winlogbeat, ".123")
        };
        assert_eq!(judged(&[line(Form::NxLog, ""), beats]), ["copy", "own"]);
        // Of two records in its second it is not certain which one it is.
        let later = collected(Form::Binary, &format!("{time}.9Z"), logon(2, 512));
        let all = [line(Form::NxLog, ""), logon(1, 512), later];
        assert_eq!(judged(&all), ["own", "own", "own"]);
    }

    #[test]
    fn records_without_an_id_are_one_only_if_all_of_them_is_the_same() {
        let line = |input, offset| Record {
            record_id: 0,
            ..collected(Form::NxLog, "2026-03-14T21:14:07Z", logon(input, offset))
        };
        assert_eq!(judged(&[line(0, 0), line(0, 50), line(1, 0)]), ["own", "own", "copy"]);
        // What the program takes from a logon does not hold this field.
        let other = with(line(1, 0), &[("TransmittedServices", "x")]);
        assert_eq!(judged(&[line(0, 0), other]), ["own", "own"]);
        let log = Record { record_id: 0, ..logon(1, 512) };
        assert_eq!(judged(&[line(0, 0), log]), ["own", "own"]);
    }
}
