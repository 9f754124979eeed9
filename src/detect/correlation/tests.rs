//! Tests of correlations over given hits. The expected results follow from the specification
//! (sigma-correlation-rules-specification) and are counted by hand.

use chrono::{DateTime, TimeDelta, Utc};

use super::step::{self, CorrelationStep};
use super::{CorrelationResults, Correlator};
use crate::detect::{Pack, RuleSet};
use crate::model::{InputIdx, Proof, RecordRef, RuleIdx, Value};

/// Loads rules named `failure`, `success` and `other`, and these correlations.
fn rules(correlations: &str) -> RuleSet {
    let base = |name: &str, id: u32| {
        format!(
            "title: Base {name}\nname: {name}\nlogsource: {{product: windows, service: security}}\n\
             detection: {{s: {{EventID: {id}}}, condition: s}}\n---\n"
        )
    };
    let text = [&base("failure", 4625), &base("success", 4624), &base("other", 4648), correlations];
    load(&[("rules.yml", &text.concat())])
}

fn load(files: &[(&str, &str)]) -> RuleSet {
    RuleSet::load(vec![pack(files)]).unwrap_or_else(|error| panic!("{error}"))
}

fn pack(files: &[(&str, &str)]) -> Pack {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    Pack::read(folder.path()).unwrap()
}

/// Writes a correlation rule with these lines.
fn correlation(lines: &str) -> String {
    let lines = lines.trim().replace('\n', "\n  ");
    format!("title: Found\nlevel: high\ncorrelation:\n  {lines}\n")
}

/// A hit: the rule's name, the time in seconds, and the fields.
type TestHit<'a> = (&'a str, f64, &'a [(&'a str, &'a str)]);

fn start() -> DateTime<Utc> {
    "2026-03-14T21:00:00Z".parse().unwrap()
}

/// Runs hits, in order, through the correlations.
fn run(rules: &RuleSet, hits: &[TestHit<'_>]) -> CorrelationResults {
    let mut correlator = Correlator::new(rules);
    for (place, (name, seconds, fields)) in hits.iter().enumerate() {
        let title = format!("Base {name}");
        let rule = rules.rules.find_index(|rule| rule.meta.title == title).unwrap();
        let time = start() + TimeDelta::microseconds((seconds * 1e6) as i64);
        let time = step::to_ticks(time);
        let source =
            RecordRef { input: InputIdx::default(), offset: place as u64, number: place as u64 };
        let value = |field: &String| fields.iter().find(|(name, _)| name == field);
        let values = rules.fields(rule).iter();
        let step = CorrelationStep {
            rule,
            logged: time,
            logged_by: "HOST".into(),
            host: None,
            user: "user".into(),
            session: None,
            values: values.map(|field| Some(Value::Text(value(field)?.1.into()))).collect(),
            evidence: vec![Proof { source, record_id: place as u64 }].into(),
            records: 1,
        };
        correlator.take(time, &step);
    }
    correlator.finish()
}

/// Returns the findings by time: seconds from the start, matched fields, positions of the records.
fn found(rules: &RuleSet, hits: &[TestHit<'_>]) -> Vec<(f64, String, Vec<u64>)> {
    let CorrelationResults { mut detections, limited } = run(rules, hits);
    assert_eq!(limited, []);
    detections.retain(|detection| !rules.is_suppressed(detection.rule));
    detections.sort_by_key(|detection| (detection.time, detection.matched.clone()));
    let shown = detections.iter().map(|detection| {
        let matched = detection.matched.iter().map(|m| format!("{}={}", m.field, m.value));
        let matched: Vec<String> =
            matched.filter(|m| !m.starts_with("until=") && !m.starts_with("hits=")).collect();
        let seconds = (detection.time - start()).num_milliseconds() as f64 / 1000.0;
        let places = detection.evidence.iter().map(|proof| proof.source.offset);
        (seconds, matched.join(" "), places.collect())
    });
    shown.collect()
}

const A: &[(&str, &str)] = &[("User", "a"), ("Ip", "1")];
const B: &[(&str, &str)] = &[("User", "b"), ("Ip", "1")];
const C: &[(&str, &str)] = &[("User", "c"), ("Ip", "1")];

#[test]
fn events_are_counted_by_group_within_the_time() {
    let rules = rules(&correlation(
        "type: event_count\nrules: [failure]\ngroup-by: [User]\ntimespan: 10s\ncondition: {gte: 3}",
    ));
    // The third of a is 10 s after its first, which is within; the third of b is later.
    let hits: [TestHit<'_>; 6] = [
        ("failure", 0.0, A),
        ("failure", 1.0, B),
        ("failure", 2.0, A),
        ("failure", 3.0, B),
        ("failure", 10.0, A),
        ("failure", 11.5, B),
    ];
    assert_eq!(found(&rules, &hits), [(10.0, "User=a count=3".into(), vec![4, 0, 2])]);
    // Without a group all count together.
    let rules = self::rules(&correlation(
        "type: event_count\nrules: [failure]\ntimespan: 2s\ncondition: {eq: 3}",
    ));
    assert_eq!(found(&rules, &hits[..3]), [(2.0, "count=3".into(), vec![2, 0, 1])]);
}

#[test]
fn a_burst_is_one_finding_with_all_its_hits() {
    let rules = rules(&correlation(
        "type: event_count\nrules: [failure]\ngroup-by: [User]\ntimespan: 1m\ncondition: {gte: 3}",
    ));
    let mut hits: Vec<TestHit<'_>> = (0..3000).map(|n| ("failure", f64::from(n), A)).collect();
    // After a pause a new finding begins.
    hits.extend((0..3).map(|n| ("failure", 4000.0 + f64::from(n), A)));
    let CorrelationResults { detections, .. } = run(&rules, &hits);
    let shown: Vec<_> = detections
        .iter()
        .map(|d| {
            let fields = d.matched.iter().map(|m| (&*m.field, &*m.value));
            ((d.time - start()).num_seconds(), fields.collect::<Vec<_>>(), d.evidence.len())
        })
        .collect();
    let first = vec![
        ("User", "a"),
        // 61 whole seconds fit into a timespan of a minute.
        ("count", "61"),
        ("hits", "3000"),
        ("until", "2026-03-14 21:49:59.0000000"),
        ("records", "3000"),
    ];
    let second = vec![("User", "a"), ("count", "3"), ("hits", "3")];
    assert_eq!(shown, [(2, first, 100), (4002, second, 3)]);
}

#[test]
fn distinct_values_are_counted_once() {
    let rules = rules(&correlation(
        "type: value_count\nrules: [failure]\ngroup-by: [Ip]\ntimespan: 10s\n\
         condition: {field: User, gte: 3}",
    ));
    let hits: [TestHit<'_>; 5] = [
        ("failure", 0.0, A),
        ("failure", 1.0, A),
        ("failure", 2.0, B),
        ("failure", 3.0, &[("Ip", "1")]),
        ("failure", 4.0, C),
    ];
    // The one without a user does not count.
    assert_eq!(found(&rules, &hits), [(4.0, "Ip=1 count=3".into(), vec![4, 0, 1, 2])]);
    // When the third arrives, the first two are too old.
    let late: [TestHit<'_>; 3] = [("failure", 0.0, A), ("failure", 5.0, B), ("failure", 15.5, C)];
    assert_eq!(found(&rules, &late), []);
    // A repeated value is not too old.
    let again: [TestHit<'_>; 4] =
        [("failure", 0.0, A), ("failure", 5.0, B), ("failure", 6.0, A), ("failure", 15.0, C)];
    assert_eq!(found(&rules, &again).len(), 1);
}

#[test]
fn temporal_requires_all_rules_in_any_order() {
    let rules = rules(&correlation(
        "type: temporal\nrules: [failure, success]\ngroup-by: [User]\ntimespan: 5m",
    ));
    let one: [TestHit<'_>; 3] = [("failure", 0.0, A), ("failure", 1.0, A), ("success", 2.0, B)];
    assert_eq!(found(&rules, &one), []);
    let both: [TestHit<'_>; 2] = [("success", 0.0, A), ("failure", 299.0, A)];
    assert_eq!(found(&rules, &both), [(299.0, "User=a count=2".into(), vec![1, 0])]);
    let far: [TestHit<'_>; 2] = [("success", 0.0, A), ("failure", 301.0, A)];
    assert_eq!(found(&rules, &far), []);
    // Two of three, as the condition says.
    let two = self::rules(&correlation(
        "type: temporal\nrules: [failure, success, other]\ntimespan: 5m\ncondition: {gte: 2}",
    ));
    assert_eq!(found(&two, &both).len(), 1);
    assert_eq!(found(&two, &one[..2]), []);
}

#[test]
fn order_is_that_of_the_rules_even_within_a_second() {
    let rules = rules(&correlation(
        "type: temporal_ordered\nrules: [failure, success]\ngroup-by: [User]\ntimespan: 5m",
    ));
    let right: [TestHit<'_>; 2] = [("failure", 0.1, A), ("success", 0.2, A)];
    assert_eq!(found(&rules, &right), [(0.2, "User=a count=2".into(), vec![1, 0])]);
    let wrong: [TestHit<'_>; 2] = [("success", 0.1, A), ("failure", 0.2, A)];
    assert_eq!(found(&rules, &wrong), []);
    let mended: [TestHit<'_>; 3] = [("success", 0.1, A), ("failure", 0.2, A), ("success", 0.3, A)];
    assert_eq!(found(&rules, &mended).len(), 1);
}

#[test]
fn a_condition_of_names_is_evaluated() {
    let rules = rules(&correlation(
        "type: temporal\nrules: [failure, success, other]\ngroup-by: [User]\ntimespan: 1m\n\
         condition: failure and (success or other)",
    ));
    assert_eq!(found(&rules, &[("failure", 0.0, A), ("other", 1.0, A)]).len(), 1);
    assert_eq!(found(&rules, &[("success", 0.0, A), ("other", 1.0, A)]), []);
}

#[test]
fn sums_averages_medians_and_percentiles_are_compared_with_the_condition() {
    let values = |values: &[&'static str]| -> Vec<(f64, String)> {
        values.iter().enumerate().map(|(at, value)| (at as f64, (*value).to_owned())).collect()
    };
    let fires = |kind: &str, condition: &str, hits: &[&'static str]| {
        let rules = rules(&correlation(&format!(
            "type: {kind}\nrules: [failure]\ntimespan: 1h\ncondition: {{field: Bytes, {condition}}}"
        )));
        let values = values(hits);
        let fields: Vec<[(&str, &str); 1]> =
            values.iter().map(|(_, value)| [("Bytes", value.as_str())]).collect();
        let hits: Vec<TestHit<'_>> = values
            .iter()
            .zip(&fields)
            .map(|((at, _), fields)| ("failure", *at, &fields[..]))
            .collect();
        found(&rules, &hits).into_iter().map(|(at, matched, _)| (at, matched)).collect::<Vec<_>>()
    };
    let one = |at: f64, matched: &str| vec![(at, matched.to_owned())];
    assert_eq!(fires("value_sum", "gt: 10", &["4", "6", "1"]), one(2.0, "value=11"));
    assert_eq!(fires("value_sum", "gt: 10", &["4", "6", "no number"]), []);
    // Averages 1, 2, 4.
    assert_eq!(fires("value_avg", "gte: 4", &["1", "3", "8"]), one(2.0, "value=4"));
    // Medians 1, 4.5, 8.
    assert_eq!(fires("value_median", "gte: 8", &["1", "8", "9"]), one(2.0, "value=8"));
    // The 90th percentiles are 0, 9, 18 by linear interpolation.
    let percentile = "percentile: 90, gte: 18";
    assert_eq!(fires("value_percentile", percentile, &["0", "10", "20"]), one(2.0, "value=18"));
    assert_eq!(fires("value_percentile", "percentile: 90, gte: 19", &["0", "10", "20"]), []);
}

#[test]
fn aliases_name_other_fields_of_each_rule() {
    let rules = rules(&correlation(
        "type: temporal\nrules: [failure, success]\ngroup-by: [address]\ntimespan: 1m\n\
         aliases: {address: {failure: From, success: To}}",
    ));
    let place = |name: &str| rules.rules.find_index(|rule| rule.meta.title.ends_with(name));
    assert_eq!(rules.fields(place("failure").unwrap()), ["From"]);
    assert_eq!(rules.fields(place("success").unwrap()), ["To"]);
    let hits: [TestHit<'_>; 3] = [
        ("failure", 0.0, &[("From", "10.0.0.1"), ("To", "10.0.0.2")]),
        ("success", 1.0, &[("From", "10.0.0.1"), ("To", "10.0.0.3")]),
        ("success", 2.0, &[("From", "10.0.0.9"), ("To", "10.0.0.1")]),
    ];
    assert_eq!(found(&rules, &hits), [(2.0, "address=10.0.0.1 count=2".into(), vec![2, 0])]);
}

/// The specification's own example: many failures, then a success of the same user.
#[test]
fn correlations_correlate() {
    let text = "title: Many failures\nname: many\nlevel: medium\ncorrelation:\n  type: event_count\n  \
                rules: [failure]\n  group-by: [User, Ip]\n  timespan: 1m\n  condition: {gte: 3}\n---\n";
    let then = correlation(
        "type: temporal_ordered\nrules: [many, success]\ngroup-by: [User]\ntimespan: 1h",
    );
    let rules = rules(&(text.to_owned() + &then));
    let mut hits: Vec<TestHit<'_>> = (0..5).map(|n| ("failure", f64::from(n), A)).collect();
    hits.push(("success", 10.0, B));
    assert_eq!(found(&rules, &hits), []);
    hits.push(("success", 11.0, A));
    // The failures that completed the first correlation, and the success.
    assert_eq!(found(&rules, &hits), [(11.0, "User=a count=2".into(), vec![6, 2, 0, 1])]);
}

#[test]
fn rules_that_are_referred_to_are_reported_only_where_generate_says_so() {
    let lines = "type: event_count\nrules: [failure]\ntimespan: 1m\ncondition: {gte: 2}";
    let heard = |rules: &RuleSet| {
        let all = rules.rules.indices().filter(|&rule| !rules.is_suppressed(rule));
        all.map(|rule| rules.rules[rule].meta.title.clone()).collect::<Vec<_>>()
    };
    let silent = rules(&correlation(lines));
    assert_eq!(heard(&silent), ["Base success", "Base other", "Found"]);
    let all = rules(&(correlation(lines) + "generate: true\n"));
    assert_eq!(heard(&all), ["Base failure", "Base success", "Base other", "Found"]);
}

#[test]
fn rules_are_referred_to_by_id_name_title_and_file_also_in_other_files() {
    let base = "title: The base\nname: base_name\nid: 5638f7c0-ac70-491d-8465-2a65075e0d86\n\
                logsource: {product: windows, service: security}\n\
                detection: {s: {EventID: 4625}, condition: s}\n";
    for reference in [
        "5638f7c0-ac70-491d-8465-2a65075e0d86",
        "5638F7C0-AC70-491D-8465-2A65075E0D86",
        "base_name",
        "The base",
        "base.yml",
        "base",
    ] {
        let text = correlation(&format!(
            "type: event_count\nrules: ['{reference}']\ntimespan: 1m\ncondition: {{gte: 2}}"
        ));
        let rules = load(&[("base.yml", base), ("a_first.yml", &text)]);
        assert_eq!((rules.rules.len(), rules.rejected().next()), (2, None), "{reference}");
    }
}

#[test]
fn what_does_not_load_is_named_with_its_reason() {
    let reason = |lines: &str| {
        let rules = rules(&correlation(lines));
        assert_eq!((rules.rules.len(), rules.rejected().count()), (3, 1), "{lines}");
        rules.rejected().next().unwrap().reason.clone()
    };
    assert_eq!(
        reason("type: event_count\nrules: [none]\ntimespan: 1m\ncondition: {gte: 2}"),
        "'Found': it refers to 'none', and no such rule is loaded"
    );
    // A circle.
    assert_eq!(
        reason("type: event_count\nrules: [Found]\ntimespan: 1m\ncondition: {gte: 2}"),
        "'Found': it refers to 'Found', and no such rule is loaded"
    );
    assert_eq!(
        reason("type: value_count\nrules: [failure]\ntimespan: 1m\ncondition: {gte: 2}"),
        "'Found': its condition names no field to take values from"
    );
    assert_eq!(
        reason("type: temporal\nrules: [failure]\ntimespan: 1m\ncondition: failure and success"),
        "'Found': its condition names 'success', which is not one of the rules it refers to"
    );
    let kind = reason("type: near\nrules: [failure]\ntimespan: 1m");
    assert!(kind.contains("near"), "{kind}");
}

#[test]
fn a_window_that_is_full_says_so() {
    let rules = rules(&correlation(
        "type: value_count\nrules: [failure]\ntimespan: 1d\ncondition: {field: User, gte: 3}",
    ));
    let users: Vec<String> = (0..=super::window::MOST_VALUES).map(|n| n.to_string()).collect();
    let fields: Vec<[(&str, &str); 1]> = users.iter().map(|user| [("User", &**user)]).collect();
    let hits = fields.iter().map(|fields| ("failure", 0.0, &fields[..]));
    let hits: Vec<TestHit<'_>> = hits.collect();
    assert_eq!(run(&rules, &hits[1..]).limited, []);
    let limited = run(&rules, &hits).limited;
    assert_eq!(limited.len(), 1);
    assert_eq!(limited[0].rule, "rules.yml");
    assert!(limited[0].reason.contains("the oldest were not counted"), "{limited:?}");
}

#[test]
fn groups_that_are_over_make_room_and_more_are_a_limit() {
    let rules = rules(&correlation(
        "type: event_count\nrules: [failure]\ngroup-by: [User]\ntimespan: 1h\ncondition: {gte: 2}",
    ));
    let users: Vec<String> = (0..=super::run::MOST_GROUPS).map(|n| n.to_string()).collect();
    let fields: Vec<[(&str, &str); 1]> = users.iter().map(|user| [("User", &**user)]).collect();
    let hits = |apart: f64| -> Vec<TestHit<'_>> {
        let hits = fields.iter().enumerate();
        hits.map(|(n, fields)| ("failure", n as f64 * apart, &fields[..])).collect()
    };
    // One second apart: groups of hours ago are over. The last of them occurs again in time.
    let mut slow = hits(1.0);
    let last = slow[slow.len() - 1];
    slow.push((last.0, last.1 + 1.0, last.2));
    let CorrelationResults { detections, limited } = run(&rules, &slow);
    assert_eq!((detections.len(), limited), (1, vec![]));
    let limited = run(&rules, &hits(0.0)).limited;
    assert_eq!(limited.len(), 1);
    assert!(limited[0].reason.contains("groups were open at a time"), "{limited:?}");
}

#[test]
fn windows_may_be_buckets_or_sessions() {
    // Buckets of one minute, aligned to the hour: the second hit falls into the next one.
    let tumbling = rules(&correlation(
        "type: event_count\nrules: [failure]\ntimespan: 1m\nwindow: tumbling\ncondition: {gte: 2}",
    ));
    assert_eq!(found(&tumbling, &[("failure", 59.0, A), ("failure", 61.0, A)]), []);
    assert_eq!(found(&tumbling, &[("failure", 61.0, A), ("failure", 119.0, A)]).len(), 1);
    let session = rules(&correlation(
        "type: event_count\nrules: [failure]\ntimespan: 1h\nwindow: session\ngap: 10s\n\
         condition: {gte: 3}",
    ));
    let hits = |gap: f64| -> Vec<TestHit<'_>> {
        (0..3).map(|n| ("failure", f64::from(n) * gap, A)).collect()
    };
    assert_eq!(found(&session, &hits(10.0)).len(), 1);
    assert_eq!(found(&session, &hits(11.0)), []);
}

#[test]
fn hits_are_kept_as_long_as_they_can_contribute() {
    let of = |kind: &str, rules: &str| {
        format!("type: {kind}\nrules: [{rules}]\ngroup-by: [User]\ntimespan: 1h")
    };
    let burst = of("event_count", "failure") + "\ncondition: {gte: 3}";
    let burst = correlation(&burst).replace("title: Found", "title: Burst\nname: burst");
    let then = correlation(&of("temporal_ordered", "burst, success"));
    let rules = rules(&format!("{burst}---\n{then}"));
    let rule = |title: &str| rules.rules.find_index(|rule| rule.meta.title == title).unwrap();
    let titles = ["Base failure", "Base success", "Base other", "Burst", "Found"].map(rule);
    let [failure, success, other, ..] = titles;
    let awaited = |fired: &[RuleIdx]| {
        let awaited = rules.contributing(&fired.iter().copied().collect());
        titles.map(|title| awaited[title])
    };
    assert_eq!(awaited(&[failure, success]), [true, true, false, true, true]);
    // The burst is not reported, and the correlation that waits for it cannot be completed.
    assert_eq!(awaited(&[failure, other]), [false; 5]);
    assert_eq!(awaited(&[success]), [false; 5]);
    let by_records = rules.contributing_with_records_only();
    assert_eq!(titles.map(|title| by_records[title]), [true, true, false, true, true]);
}

#[test]
fn hits_on_records_may_wait_for_what_is_rebuilt() {
    let session = "title: Session\nname: session\n\
                   logsource: {product: windows, category: remoting_session}\n\
                   detection: {s: {SourceIp: 10.1.2.3}, condition: s}\n";
    let then = correlation(
        "type: temporal_ordered\nrules: [failure, session]\ngroup-by: [User]\ntimespan: 1h",
    );
    let rules = rules(&format!("{session}---\n{then}"));
    let rule = |title: &str| rules.rules.find_index(|rule| rule.meta.title == title).unwrap();
    let (failure, session) = (rule("Base failure"), rule("Session"));
    assert!(!rules.contributing_with_records_only()[failure]);
    assert!(!rules.contributing(&[failure].into())[failure]);
    assert!(rules.contributing(&[failure, session].into())[failure]);
}
