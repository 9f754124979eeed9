//! Hits in order of time, by the clocks of most hosts, through the correlations.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use chrono::TimeDelta;

use super::Copies;
use crate::detect::{Correlated, Correlator, RuleSet, Step};
use crate::model::{Detection, Host};
use crate::reconstruct::Case;
use crate::report::sorted::{Frame, Rows, Sorted, Sorter};

/// Steps that are sorted at a time.
const STEPS_AT_ONCE: usize = 1 << 16;

/// What correlations find in the hits on records, which are rows, and those on what was rebuilt.
/// Hits on copies count for nothing.
///
/// # Errors
/// When the scratch folder takes no more.
pub(super) fn correlate(
    on_records: &Sorted,
    copies: &Copies,
    rebuilt: &[Detection],
    case: &Case,
    rules: &RuleSet,
    scratch: &Path,
) -> io::Result<Correlated> {
    if !rules.correlates() {
        return Ok(Correlated::default());
    }
    let clocks = Clocks::of(&case.hosts);
    let sessions = case.sessions_of_records();
    let sorter = Sorter::new(scratch.to_owned());
    let mut rows = Rows::default();
    let mut waiting = 0;
    let mut put = |mut step: Step| {
        step.correct(clocks.offset(&step.logged_by));
        rows.push(|key| step.key(key), &step)?;
        waiting += 1;
        if waiting == STEPS_AT_ONCE {
            waiting = 0;
            sorter.add(&mut rows)?;
        }
        Ok::<(), io::Error>(())
    };
    for row in on_records.rows()? {
        let mut step: Step = read(&row?)?;
        let record = step.evidence.first().map(|proof| proof.source);
        if record.is_some_and(|record| copies.contains(record)) {
            continue;
        }
        step.session = record.and_then(|record| sessions.get(&record).copied());
        put(step)?;
    }
    rebuilt.iter().filter_map(Step::of).try_for_each(&mut put)?;
    sorter.add(&mut rows)?;
    let mut correlator = Correlator::new(rules);
    for row in sorter.finish().rows()? {
        correlator.take(&read(&row?)?);
    }
    Ok(correlator.finish())
}

fn read(row: &Frame<'_>) -> io::Result<Step> {
    postcard::from_bytes(row.content()).map_err(io::Error::other)
}

/// Offsets up to this are no error of a clock: they are learnt from a request and what it led to,
/// which comes so much later, and to correct by them would turn cause and effect around.
const NO_ERROR: TimeDelta = TimeDelta::seconds(3);

/// How far each host's clock is ahead, by what its records call it.
struct Clocks {
    full: BTreeMap<String, TimeDelta>,
    /// By the first label, where only one host has it.
    short: BTreeMap<String, Option<TimeDelta>>,
}

impl Clocks {
    fn of(hosts: &[Host]) -> Clocks {
        let mut clocks = Clocks { full: BTreeMap::new(), short: BTreeMap::new() };
        for host in hosts {
            let name = host.full_name.to_string();
            let offset = host.clock.map(|clock| clock.offset);
            let offset = offset.filter(|offset| offset.abs() > NO_ERROR).unwrap_or_default();
            let short = name.split('.').next().unwrap_or_default().to_owned();
            clocks.short.entry(short).and_modify(|one| *one = None).or_insert(Some(offset));
            clocks.full.insert(name, offset);
        }
        clocks
    }

    /// None is known of a host that could not be compared: its times stand.
    fn offset(&self, computer: &str) -> TimeDelta {
        let name = computer.to_lowercase();
        let short = || name.split('.').next().and_then(|short| *self.short.get(short)?);
        self.full.get(&name).copied().or_else(short).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::detect::Pack;
    use crate::model::{Clock, Kept, Proof, RecordRef, Subject};

    #[test]
    fn a_host_is_known_by_its_full_name_or_by_a_short_one_that_only_it_has() {
        let host = |name: &str, seconds: i64| Host {
            full_name: name.to_lowercase().into(),
            name: name.into(),
            addresses: Vec::new(),
            clock: (seconds != 0).then(|| Clock { offset: TimeDelta::seconds(seconds), pairs: 2 }),
        };
        let hosts = [host("WS01.a.example", 5), host("SRV.a.example", 7), host("SRV.b.example", 9)];
        let clocks = Clocks::of(&hosts);
        let offset = |name| clocks.offset(name).num_seconds();
        assert_eq!(offset("ws01.A.example"), 5);
        assert_eq!(offset("WS01"), 5);
        assert_eq!(offset("srv.b.example"), 9);
        assert_eq!(offset("srv"), 0);
        assert_eq!(offset("unknown"), 0);
    }

    /// A hit on a host at so many seconds by its clock.
    fn step(rule: usize, host: &str, seconds: i64) -> Step {
        let time = DateTime::UNIX_EPOCH + TimeDelta::seconds(1000 + seconds);
        let source = RecordRef { input: 0, offset: rule as u64, number: 0 };
        let detection = Detection {
            rule,
            subject: Subject::Record,
            time,
            host: host.into(),
            user: String::new(),
            session: None,
            matched: Vec::new(),
            evidence: vec![Proof { source, record_id: 0 }],
            kept: Some(Kept { logged_by: host.into(), values: Vec::new() }),
        };
        Step::of(&detection).unwrap()
    }

    #[test]
    fn hosts_are_compared_by_corrected_times_and_shown_by_logged_ones() {
        let folder = tempfile::tempdir().unwrap();
        let rules = "\
            {title: First, name: first, logsource: {product: windows, service: security}, \
             detection: {s: {EventID: 1}, condition: s}}\n---\n\
            {title: Second, name: second, logsource: {product: windows, service: security}, \
             detection: {s: {EventID: 2}, condition: s}}\n---\n\
            {title: Both, correlation: {type: temporal_ordered, rules: [first, second], \
             timespan: 10s}}\n";
        std::fs::write(folder.path().join("rules.yml"), rules).unwrap();
        let rules = RuleSet::load(vec![Pack::read(folder.path()).unwrap()]).unwrap();
        assert_eq!(rules.refused, []);
        let found = |offset: i64| {
            let clock = |seconds| Clock { offset: TimeDelta::seconds(seconds), pairs: 3 };
            let host = |name: &str, seconds| Host {
                full_name: name.into(),
                name: name.into(),
                addresses: Vec::new(),
                clock: Some(clock(seconds)),
            };
            let case = Case { hosts: vec![host("pc", 0), host("srv", offset)], ..Case::default() };
            let sorter = Sorter::new(folder.path().to_owned());
            let mut rows = Rows::default();
            // By its own clock the target's came a minute before.
            for step in [step(1, "srv", -55), step(0, "pc", 0)] {
                rows.push(|key| step.key(key), &step).unwrap();
            }
            sorter.add(&mut rows).unwrap();
            let (steps, copies) = (sorter.finish(), Copies::default());
            let found = correlate(&steps, &copies, &[], &case, &rules, folder.path()).unwrap();
            let times = found.detections.iter().map(|found| found.time.timestamp() - 1000);
            times.collect::<Vec<_>>()
        };
        assert_eq!(found(0), Vec::<i64>::new());
        // It is a minute behind: the hit was 5 s after the other.
        assert_eq!(found(-60), [-55]);
        // As far as messages take, it is not corrected.
        assert_eq!(found(3), Vec::<i64>::new());
        // More, and it was too late.
        assert_eq!(found(-66), Vec::<i64>::new());
    }
}
