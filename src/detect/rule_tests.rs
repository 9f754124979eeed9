//! Runs the tests that stand beside the rules: examples on which a rule must fire, and near
//! misses on which it must not.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use ps_layers::Unwrapper;
use rsigma_eval::JsonEvent;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::derived::{OutsideScriptMatcher, detections_on_rebuilt, detections_on_record};
use super::logsource::DERIVED;
use super::pack::test_file_name;
use super::{CorrelationStep, Correlator, RuleSet};
use crate::model::{
    Channel, Detection, Event, EventIdx, Fields, IdxVec, InputIdx, Kept, PackIdx, Proof, Record,
    RecordRef, RuleIdx,
};
use crate::normalise::{self, Normaliser};
use crate::reconstruct::{KeyHasher, TaskMarks, assemble_script_blocks, reconstruct};

/// The results of running a pack's rule tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RuleTestReport {
    /// Number of rule files that have tests.
    pub files: usize,
    /// Number of tests that were run.
    pub tests: usize,
    /// Failed tests: the rule file, and what went wrong.
    pub failures: Vec<(String, String)>,
    /// Rule files without tests.
    pub without_tests: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTestFile {
    #[serde(default)]
    fires: Vec<RuleTest>,
    #[serde(default)]
    near_miss: Vec<RuleTest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTest {
    name: String,
    event: Option<TestEvent>,
    derived: Option<TestDerivedEvent>,
    /// Several events, for tests of correlations.
    #[serde(default)]
    events: Vec<TimedTestEvent>,
}

/// An event of a rule test, with its time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimedTestEvent {
    /// Seconds after the start of the test.
    #[serde(default)]
    at: f64,
    /// How many times the event occurs, one second apart.
    #[serde(default = "once")]
    times: u32,
    event: Option<TestEvent>,
    derived: Option<TestDerivedEvent>,
}

fn once() -> u32 {
    1
}

/// Largest number of events in a rule test.
const MAX_TEST_EVENTS: u32 = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct TestEvent {
    channel: String,
    provider: Option<String>,
    #[serde(rename = "EventID")]
    event_id: u32,
    level: Option<u8>,
    computer: Option<String>,
    user_sid: Option<String>,
    #[serde(default)]
    data: yaml_serde::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestDerivedEvent {
    category: String,
    fields: BTreeMap<String, yaml_serde::Value>,
}

/// Runs the rule tests of the pack with this index. Each test runs against all rules of the set.
pub fn run_rule_tests(rules: &RuleSet, index: PackIdx) -> RuleTestReport {
    let pack = &rules.packs[index].pack;
    let mut report = RuleTestReport::default();
    let files: BTreeSet<&str> = pack.files.iter().map(|(file, _)| file.as_str()).collect();
    let tests: BTreeMap<&str, &str> =
        pack.tests.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    let expected: BTreeSet<String> = files.iter().map(|file| test_file_name(file)).collect();
    for file in tests.keys().filter(|file| !expected.contains(**file)) {
        report.failures.push(((*file).to_owned(), "there is no rule file beside it".to_owned()));
    }
    for file in files {
        let Some(text) = tests.get(&*test_file_name(file)) else {
            report.without_tests.push(file.to_owned());
            continue;
        };
        report.files += 1;
        let mut wrong = |what: String| report.failures.push((file.to_owned(), what));
        let RuleTestFile { fires, near_miss } = match yaml_serde::from_str(text) {
            Ok(tests) => tests,
            Err(error) => {
                wrong(format!("its tests: {error}"));
                continue;
            }
        };
        let own: Vec<RuleIdx> = rules.rules_of_file(index, file).collect();
        if own.is_empty() {
            wrong("none of its rules is loaded".to_owned());
            continue;
        }
        for (tests, should) in [(fires, true), (near_miss, false)] {
            for test in tests {
                report.tests += 1;
                match rule_fires(rules, &own, &test) {
                    Err(reason) => wrong(format!("'{}': {reason}", test.name)),
                    Ok(does) if does == should => {}
                    Ok(false) => wrong(format!("'{}' should fire", test.name)),
                    Ok(true) => wrong(format!("'{}' should not fire", test.name)),
                }
            }
        }
    }
    report
}

/// Returns whether one of the rules in `own` fires on a test.
///
/// # Errors
///
/// A description of what is wrong with the test itself.
fn rule_fires(rules: &RuleSet, own: &[RuleIdx], test: &RuleTest) -> Result<bool, String> {
    // In a file with a correlation, hits of the rules it refers to are not findings.
    let reported: Vec<RuleIdx> =
        own.iter().copied().filter(|&rule| !rules.is_suppressed(rule)).collect();
    let own = if reported.is_empty() { own } else { &reported };
    let one;
    let events: Vec<(f64, u32, &Option<TestEvent>, &Option<TestDerivedEvent>)> =
        match (&test.event, &test.derived, &test.events[..]) {
            (event, derived, []) => {
                one = (0.0, 1, event, derived);
                vec![one]
            }
            (None, None, several) => {
                several.iter().map(|e| (e.at, e.times, &e.event, &e.derived)).collect()
            }
            _ => return Err("it has both a single event and a list of events".to_owned()),
        };
    let mut run = TestRun::default();
    for (at, times, event, derived) in events {
        if run.count.saturating_add(times) > MAX_TEST_EVENTS || !(0.0..1e9).contains(&at) {
            return Err(format!(
                "it has more than {MAX_TEST_EVENTS} events, or a time out of range"
            ));
        }
        for nth in 0..times {
            let time = DateTime::UNIX_EPOCH + TimeDelta::microseconds((at * 1e6) as i64);
            let time = time + TimeDelta::seconds(nth.into());
            match (event, derived) {
                (Some(event), None) => run.add_record(rules, own, test_record(event, time)?)?,
                (None, Some(derived)) => run.add_derived(rules, derived, time)?,
                _ => return Err("it must have either event or derived".to_owned()),
            }
        }
    }
    let found = run.detections(rules);
    Ok(found.iter().any(|detection| own.contains(&detection.rule)))
}

/// The events and hits of a rule test so far.
#[derive(Default)]
struct TestRun {
    count: u32,
    events: IdxVec<EventIdx, Event>,
    hits: Vec<Detection>,
}

impl TestRun {
    fn next_place(&mut self) -> RecordRef {
        self.count += 1;
        RecordRef {
            input: InputIdx::default(),
            offset: self.count.into(),
            number: self.count.into(),
        }
    }

    fn add_record(
        &mut self,
        rules: &RuleSet,
        own: &[RuleIdx],
        record: Record,
    ) -> Result<(), String> {
        let record = Record { source: self.next_place(), record_id: self.count.into(), ..record };
        let relevant = normalise::relevant(record.known_channel, record.event_id);
        if !relevant && !own.iter().any(|&rule| rules.applies_to_record(rule, &record)) {
            return Err("the rule does not apply to this event".to_owned());
        }
        let event = Normaliser::default().event(&record);
        self.hits.extend(detections_on_record(&event, rules.on_record(&record)));
        self.events.push(event);
        Ok(())
    }

    fn add_derived(
        &mut self,
        rules: &RuleSet,
        derived: &TestDerivedEvent,
        time: DateTime<Utc>,
    ) -> Result<(), String> {
        let subject = DERIVED.iter().find(|(name, _)| *name == derived.category);
        let (_, subject) =
            subject.ok_or_else(|| format!("there is no category '{}'", derived.category))?;
        let fields =
            derived.fields.iter().map(|(name, value)| Ok((name.clone(), derived_value(value)?)));
        let fields = Json::Object(fields.collect::<Result<Map<_, _>, String>>()?);
        let proof = Proof { source: self.next_place(), record_id: self.count.into() };
        let hits = rules.on_derived(*subject, &JsonEvent::borrow(&fields)).into_iter();
        self.hits.extend(hits.map(|hit| Detection {
            rule: hit.rule,
            subject: *subject,
            time,
            host: "HOST".into(),
            user: String::new(),
            session: None,
            matched: hit.matched,
            evidence: vec![proof],
            kept: hit.values.map(|values| Kept { logged_by: "HOST".into(), values }),
        }));
        Ok(())
    }

    /// Returns all detections in the order of a real run: hits on records, hits on what is
    /// rebuilt from them, correlations.
    fn detections(self, rules: &RuleSet) -> Vec<Detection> {
        let TestRun { events, mut hits, .. } = self;
        let mut lone = OutsideScriptMatcher::default();
        let outside = events.iter().map(|_| None).collect();
        for block in assemble_script_blocks(&events, &outside, &mut Unwrapper::default()) {
            hits.extend(lone.detect(rules, &events, &block));
        }
        let (keys, mut gathered) = (KeyHasher::default(), TaskMarks::default());
        events.iter().for_each(|event| gathered.add_event(event.clone(), &keys));
        let case = reconstruct(vec![gathered], &keys, &events.as_slice());
        hits.extend(detections_on_rebuilt(rules, &case));
        let mut steps: Vec<(Vec<u8>, CorrelationStep<'_>)> = Vec::new();
        for step in hits.iter().filter_map(CorrelationStep::from_detection) {
            let mut key = Vec::new();
            step.sort_key_of_rebuilt(0, &mut key);
            steps.push((key, step));
        }
        steps.sort_by(|a, b| a.0.cmp(&b.0));
        let mut correlator = Correlator::new(rules);
        steps.iter().for_each(|(_, step)| correlator.take(step.logged, step));
        hits.extend(correlator.finish().detections);
        hits
    }
}

fn scalar_text(value: &yaml_serde::Value) -> Result<String, String> {
    Ok(match value {
        yaml_serde::Value::String(text) => text.clone(),
        yaml_serde::Value::Number(number) => number.to_string(),
        yaml_serde::Value::Bool(truth) => truth.to_string(),
        _ => return Err("a field's value is neither text nor number".to_owned()),
    })
}

/// Converts a value of a derived event: a text, a whole number, or a list of texts.
fn derived_value(value: &yaml_serde::Value) -> Result<Json, String> {
    Ok(match value {
        yaml_serde::Value::Number(number) if number.is_i64() => number.as_i64().into(),
        yaml_serde::Value::Sequence(values) => {
            values.iter().map(scalar_text).collect::<Result<Vec<String>, String>>()?.into()
        }
        value => scalar_text(value)?.into(),
    })
}

fn test_record(event: &TestEvent, time: DateTime<Utc>) -> Result<Record, String> {
    let mut data = Fields::default();
    match &event.data {
        yaml_serde::Value::Null => {}
        yaml_serde::Value::Sequence(strings) => {
            for string in strings {
                data.push("Data", &scalar_text(string)?);
            }
        }
        yaml_serde::Value::Mapping(map) => {
            for (name, value) in map {
                data.push(&scalar_text(name)?, &scalar_text(value)?);
            }
        }
        _ => return Err("its Data is neither a map nor a list".to_owned()),
    }
    let provider = event.provider.as_deref().unwrap_or_default();
    Ok(Record {
        time,
        logged: time,
        provider: provider.into(),
        channel: event.channel.as_str().into(),
        known_channel: Channel::of(&event.channel, provider),
        computer: event.computer.as_deref().unwrap_or("HOST").into(),
        event_id: event.event_id,
        level: event.level.unwrap_or(4),
        user_sid: event.user_sid.as_deref().map(Into::into),
        data,
        ..Record::default()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::detect::Pack;
    use crate::model::Level;

    /// Loads the pack from the folder: then each rule is compiled while it is loaded.
    #[test]
    fn each_rule_fires_on_its_tests_and_not_on_its_near_miss() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("detections");
        let rules = RuleSet::load(vec![Pack::read(&folder).unwrap()]).unwrap();
        assert_eq!(rules.rejected().next(), None);
        let report = run_rule_tests(&rules, PackIdx::new(0));
        assert_eq!((&report.failures[..], &report.without_tests[..]), (&[][..], &[][..]));
        assert!(report.files >= 25, "{report:?}");
        for (file, text) in &rules.packs[PackIdx::new(0)].pack.tests {
            let RuleTestFile { fires, near_miss } = yaml_serde::from_str(text).unwrap();
            assert!(!fires.is_empty() && !near_miss.is_empty(), "{file}");
        }
    }

    #[test]
    fn the_default_pack_is_whole() {
        let set = RuleSet::load(vec![Pack::default_pack()]).unwrap();
        assert_eq!(set.rejected().next(), None);
        let ids: BTreeSet<_> = set.rules.iter().map(|rule| &rule.meta.id).collect();
        assert_eq!(ids.len(), set.rules.len(), "ids repeat");
        let titles: BTreeSet<_> = set.rules.iter().map(|rule| &rule.meta.title).collect();
        assert_eq!(titles.len(), set.rules.len(), "titles repeat");
        const KEYS: [&str; 8] = [
            "id",
            "status",
            "description",
            "references",
            "tags",
            "falsepositives",
            "level",
            "next",
        ];
        for (file, text) in &set.packs[PackIdx::new(0)].pack.files {
            // The last document is the finding: the rules that a correlation refers to stand
            // before it.
            let last = text.rsplit("\n---\n").next().unwrap();
            let rule: BTreeMap<String, yaml_serde::Value> = yaml_serde::from_str(last).unwrap();
            for key in KEYS {
                assert!(rule.contains_key(key), "{file} has no {key}");
            }
        }
        for (index, rule) in set.rules.iter().enumerate() {
            let tagged = rule.meta.tags.iter().any(|tag| tag.starts_with("attack.t"));
            assert!(tagged || set.is_suppressed(RuleIdx::new(index)), "{}", rule.meta.title);
        }
        assert!(set.rules.iter().any(|rule| rule.meta.level >= Level::High));
    }

    #[test]
    fn bad_rules_are_named_and_a_pack_of_none_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("broken.yml", "title: [");
        let error =
            RuleSet::load(vec![Pack::read(folder.path()).unwrap()]).err().unwrap().to_string();
        assert!(error.contains("none of its rules loads; broken.yml"), "{error}");
        write(
            "good.yml",
            "title: t\nlogsource: {product: windows, service: winrm}\n\
             detection: {s: {EventID: 6}, condition: s}\n",
        );
        write(
            "other.yml",
            "title: l\nlogsource: {product: linux, service: x}\n\
             detection: {s: {a: 6}, condition: s}\n",
        );
        let set = RuleSet::load(vec![Pack::read(folder.path()).unwrap()]).unwrap();
        assert_eq!(set.rules.len(), 1);
        let rejected: Vec<_> = set.rejected().map(|rejected| rejected.file.as_str()).collect();
        assert_eq!(rejected, ["broken.yml", "other.yml"]);
    }

    /// Returns the failures that these rule tests report.
    fn wrong(rules: &str, cases: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("r.yml"), rules).unwrap();
        std::fs::write(folder.path().join("r.cases.yml"), cases).unwrap();
        let set = RuleSet::load(vec![Pack::read(folder.path()).unwrap()]).unwrap();
        assert_eq!(set.rejected().next(), None);
        let report = run_rule_tests(&set, PackIdx::new(0));
        assert!(report.failures.iter().all(|(file, _)| file == "r.yml"));
        report.failures.into_iter().map(|(_, what)| what).collect()
    }

    const RULE: &str = "{title: t, logsource: {product: windows, service: winrm}, \
                        detection: {s: {EventID: 6, connection: x}, condition: s}}";

    #[test]
    fn tests_that_do_not_hold_are_named() {
        let event = |id: u32, connection: &str| {
            format!(
                "event: {{Channel: Microsoft-Windows-WinRM/Operational, EventID: {id}, \
                 Data: {{connection: {connection}}}}}"
            )
        };
        let fires = format!("fires:\n- name: a\n  {}\n", event(6, "x"));
        let miss = format!("near_miss:\n- name: b\n  {}\n", event(6, "y"));
        assert_eq!(wrong(RULE, &(fires + &miss)), [""; 0]);
        let fires = format!("fires:\n- name: a\n  {}\n", event(6, "y"));
        let miss = format!("near_miss:\n- name: b\n  {}\n", event(6, "x"));
        assert_eq!(wrong(RULE, &(fires + &miss)), ["'a' should fire", "'b' should not fire"]);
        let other = "near_miss:\n- name: c\n  event: {Channel: Setup, EventID: 6}\n\
                     - name: d\n- name: e\n  derived: {category: no, fields: {}}\n";
        assert_eq!(
            wrong(RULE, other),
            [
                "'c': the rule does not apply to this event",
                "'d': it must have either event or derived",
                "'e': there is no category 'no'"
            ]
        );
        let unknown = wrong(RULE, "fires:\n- nome: a\n");
        assert!(unknown[0].starts_with("its tests: "), "{unknown:?}");
    }

    #[test]
    fn tests_of_a_correlation_are_events_in_time() {
        let rules = "\
            {title: a, name: a, logsource: {category: remoting_attempt}, \
             detection: {s: {Reason: bad_credentials}, condition: s}}\n---\n\
            {title: b, correlation: {type: event_count, rules: [a], group-by: [TargetHost], \
             timespan: 10s, condition: {gte: 3}}}\n";
        let derived = "derived: {category: remoting_attempt, \
                       fields: {Reason: bad_credentials, TargetHost: X}}";
        let cases = |times: u32, at: u32| {
            format!(
                "[{{name: n, events: [{{times: {times}, {derived}}}, {{at: {at}, {derived}}}]}}]"
            )
        };
        assert_eq!(wrong(rules, &format!("fires: {}\n", cases(2, 9))), [""; 0]);
        assert_eq!(wrong(rules, &format!("near_miss: {}\n", cases(2, 11))), [""; 0]);
        assert_eq!(wrong(rules, &format!("fires: {}\n", cases(1, 9))), ["'n' should fire"]);
        // The rule that the correlation refers to fires, but its hit is not a finding.
        let one = format!("near_miss:\n- name: n\n  {derived}\n");
        assert_eq!(wrong(rules, &one), [""; 0]);
    }
}
