//! Runs the correlations over all hits, in order of time, by the clock that most hosts agree on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use chrono::TimeDelta;
use itertools::Itertools;

use crate::detect::{CorrelationResults, CorrelationStep, Correlator, RuleSet};
use crate::model::{Detection, Host, RuleIdx, short_name};
use crate::reconstruct::Reconstruction;
use crate::rows::Copies;
use crate::sorted::{RowEntry, SortBuffer, SortedRows, Sorter};

/// Hits that are sorted at a time.
const STEPS_AT_ONCE: usize = 1 << 16;

/// Runs the correlations over the hits on records and the hits on rebuilt sessions. The hits on
/// records are stored rows of the rules in `fired`; hits on copies are ignored. The first rows are
/// of rules that [`RuleSet::contributing_with_records_only`] names.
///
/// # Errors
/// When the scratch folder cannot be written.
pub(super) fn run_correlations(
    ([by_records, waiting], fired): ([SortedRows; 2], BTreeSet<RuleIdx>),
    copies: &Copies,
    rebuilt: &[Detection],
    case: &Reconstruction,
    rules: &RuleSet,
    scratch: &Path,
) -> io::Result<CorrelationResults> {
    if !rules.has_correlations() {
        return Ok(CorrelationResults::default());
    }
    let clocks = HostClocks::new(&case.hosts);
    let sessions = case.sessions_of_records();
    // Most hits are of rules that wait for a session, and most runs have no session for them.
    let all = fired.iter().copied().chain(rebuilt.iter().map(|detection| detection.rule));
    let awaited = rules.contributing(&all.collect());
    let on_records = match rules.contributing_with_records_only() {
        alone if fired.iter().all(|&rule| alone[rule] || !awaited[rule]) => by_records,
        _ => by_records.merged_with(waiting),
    };
    let counts = |row: &RowEntry<'_>| {
        CorrelationStep::rule_of(row.content()).is_none_or(|rule| awaited[rule])
    };
    let on_records = match clocks.all_agree() {
        true => on_records,
        false => sort_by_corrected_time(on_records.rows_where(counts)?, &clocks, scratch)?,
    };
    let mut rows = SortBuffer::default();
    for step in rebuilt.iter().filter_map(CorrelationStep::from_detection) {
        let ahead = clocks.ticks_ahead(&step.logged_by);
        rows.push(|key| step.sort_key_of_rebuilt(ahead, key), &step)?;
    }
    let rebuilt = Sorter::new(scratch.to_owned());
    rebuilt.add(&mut rows)?;
    let rebuilt = rebuilt.finish();
    let mut correlator = Correlator::new(rules);
    let steps = on_records.rows_where(counts)?.merge_by(rebuilt.rows()?, |a, b| match (a, b) {
        (Ok(a), Ok(b)) => a.key() < b.key(),
        (a, _) => a.is_err(),
    });
    for row in steps {
        let row = row?;
        let mut step = read_step(&row)?;
        let record = step.evidence.first().map(|proof| proof.source);
        if record.is_some_and(|record| copies.contains(record)) {
            continue;
        }
        step.session = step.session.or_else(|| sessions.get(&record?).copied());
        correlator.take(CorrelationStep::time_of_key(row.key()).unwrap_or(step.logged), &step);
    }
    Ok(correlator.finish())
}

/// Sorts hits by their times on the clock that most hosts agree on.
fn sort_by_corrected_time<'s>(
    steps: impl Iterator<Item = io::Result<RowEntry<'s>>>,
    clocks: &HostClocks,
    scratch: &Path,
) -> io::Result<SortedRows> {
    let sorter = Sorter::new(scratch.to_owned());
    let mut rows = SortBuffer::default();
    for (count, row) in steps.enumerate() {
        let row = row?;
        let step = read_step(&row)?;
        rows.push(|key| step.sort_key(clocks.ticks_ahead(&step.logged_by), key), &step)?;
        if count % STEPS_AT_ONCE == 0 {
            sorter.add(&mut rows)?;
        }
    }
    sorter.add(&mut rows)?;
    Ok(sorter.finish())
}

fn read_step<'r>(row: &'r RowEntry<'_>) -> io::Result<CorrelationStep<'r>> {
    postcard::from_bytes(row.content()).map_err(io::Error::other)
}

/// Offsets up to this are not clock errors. They are measured from a request and its effect, which
/// comes that much later. Correcting by them would swap cause and effect.
const LARGEST_DELAY: TimeDelta = TimeDelta::seconds(3);

/// How far each host's clock is ahead, by the computer name in its records.
struct HostClocks {
    full: BTreeMap<String, TimeDelta>,
    /// By the first label, if only one host has it.
    short: BTreeMap<String, Option<TimeDelta>>,
}

impl HostClocks {
    fn new(hosts: &[Host]) -> HostClocks {
        let mut clocks = HostClocks { full: BTreeMap::new(), short: BTreeMap::new() };
        for host in hosts {
            let name = host.full_name.to_string();
            let offset = host.clock.map(|clock| clock.offset);
            let offset = offset.filter(|offset| offset.abs() > LARGEST_DELAY).unwrap_or_default();
            let short = host.full_name.short_name().to_owned();
            clocks.short.entry(short).and_modify(|one| *one = None).or_insert(Some(offset));
            clocks.full.insert(name, offset);
        }
        clocks
    }

    /// Returns whether all clocks agree.
    fn all_agree(&self) -> bool {
        self.full.values().all(TimeDelta::is_zero)
    }

    /// Returns how far a host's clock is ahead, in ticks.
    fn ticks_ahead(&self, computer: &str) -> i64 {
        self.offset(computer).num_nanoseconds().unwrap_or_default() / 100
    }

    /// Returns the offset of a host's clock. It is zero for a host that could not be compared.
    fn offset(&self, computer: &str) -> TimeDelta {
        let name = computer.to_lowercase();
        let short = || *self.short.get(short_name(&name))?;
        self.full.get(&name).copied().or_else(short).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::detect::Pack;
    use crate::model::{Clock, InputIdx, Kept, Proof, RecordRef, Subject};

    #[test]
    fn a_host_is_known_by_its_full_name_or_by_a_short_one_that_only_it_has() {
        let host = |name: &str, seconds: i64| Host {
            full_name: name.to_lowercase().into(),
            name: name.into(),
            addresses: Vec::new(),
            clock: (seconds != 0).then(|| Clock { offset: TimeDelta::seconds(seconds), pairs: 2 }),
        };
        let hosts = [host("WS01.a.example", 5), host("SRV.a.example", 7), host("SRV.b.example", 9)];
        let clocks = HostClocks::new(&hosts);
        let offset = |name| clocks.offset(name).num_seconds();
        assert_eq!(offset("ws01.A.example"), 5);
        assert_eq!(offset("WS01"), 5);
        assert_eq!(offset("srv.b.example"), 9);
        assert_eq!(offset("srv"), 0);
        assert_eq!(offset("unknown"), 0);
    }

    /// A hit on a host at so many seconds by its clock.
    fn detection(rule: RuleIdx, host: &str, seconds: i64) -> Detection {
        let time = DateTime::UNIX_EPOCH + TimeDelta::seconds(1000 + seconds);
        let source =
            RecordRef { input: InputIdx::default(), offset: rule.index() as u64, number: 0 };
        Detection {
            rule,
            subject: Subject::Record,
            time,
            host: host.into(),
            user: String::new(),
            session: None,
            matched: Vec::new(),
            evidence: vec![Proof { source, record_id: 0 }],
            kept: Some(Kept { logged_by: host.into(), values: Vec::new() }),
        }
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
        assert_eq!(rules.rejected().next(), None);
        let found = |offset: i64| {
            let clock = |seconds| Clock { offset: TimeDelta::seconds(seconds), pairs: 3 };
            let host = |name: &str, seconds| Host {
                full_name: name.into(),
                name: name.into(),
                addresses: Vec::new(),
                clock: Some(clock(seconds)),
            };
            let case = Reconstruction {
                hosts: vec![host("pc", 0), host("srv", offset)].into(),
                ..Reconstruction::default()
            };
            let sorter = Sorter::new(folder.path().to_owned());
            let mut rows = SortBuffer::default();
            // By its own clock the target's came a minute before.
            for hit in [detection(RuleIdx::new(1), "srv", -55), detection(RuleIdx::new(0), "pc", 0)]
            {
                let step = CorrelationStep::from_detection(&hit).unwrap();
                rows.push(|key| step.sort_key(0, key), &step).unwrap();
            }
            sorter.add(&mut rows).unwrap();
            let (steps, copies) = (sorter.finish(), Copies::default());
            let steps = ([steps, SortedRows::default()], BTreeSet::from([0, 1].map(RuleIdx::new)));
            let found =
                run_correlations(steps, &copies, &[], &case, &rules, folder.path()).unwrap();
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
