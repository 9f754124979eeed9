//! The cases beside rules: what must fire, and the near miss that must not.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use ps_layers::Unwrapper;
use rsigma_eval::JsonEvent;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::derived::{LoneScripts, on_case, on_record};
use super::logsource::DERIVED;
use super::pack::cases_of;
use super::{Correlator, RuleSet, Step};
use crate::model::{
    Channel, Detection, Event, EventIdx, Fields, IdxVec, InputIdx, Kept, PackIdx, Proof, Record,
    RecordRef, RuleIdx,
};
use crate::normalise::{self, Normaliser};
use crate::reconstruct::{KeyHasher, TaskMarks, assemble_script_blocks, reconstruct};

/// How the cases of a pack came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tested {
    /// Files of rules that have cases.
    pub files: usize,
    /// Cases that were run.
    pub cases: usize,
    /// What is not as the cases have it: file, and what is wrong.
    pub wrong: Vec<(String, String)>,
    /// Files of rules without cases.
    pub without: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(default)]
    fires: Vec<Case>,
    #[serde(default)]
    near_miss: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    event: Option<EventCase>,
    derived: Option<DerivedCase>,
    /// Several, for correlations.
    #[serde(default)]
    events: Vec<TimedCase>,
}

/// Something that happens at a time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimedCase {
    /// Seconds after the case's beginning.
    #[serde(default)]
    at: f64,
    /// How often, a second apart.
    #[serde(default = "once")]
    times: u32,
    event: Option<EventCase>,
    derived: Option<DerivedCase>,
}

fn once() -> u32 {
    1
}

/// Most events of a case.
const MOST_EVENTS: u32 = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct EventCase {
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
struct DerivedCase {
    category: String,
    fields: BTreeMap<String, yaml_serde::Value>,
}

/// Runs the cases of a pack, which is given by its index, each with all rules of the set.
pub fn test(rules: &RuleSet, index: PackIdx) -> Tested {
    let pack = &rules.packs[index].pack;
    let mut tested = Tested::default();
    let files: BTreeSet<&str> = pack.files.iter().map(|(file, _)| file.as_str()).collect();
    let cases: BTreeMap<&str, &str> =
        pack.cases.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    let expected: BTreeSet<String> = files.iter().map(|file| cases_of(file)).collect();
    for file in cases.keys().filter(|file| !expected.contains(**file)) {
        tested.wrong.push(((*file).to_owned(), "there is no rule file beside it".to_owned()));
    }
    for file in files {
        let Some(text) = cases.get(&*cases_of(file)) else {
            tested.without.push(file.to_owned());
            continue;
        };
        tested.files += 1;
        let mut wrong = |what: String| tested.wrong.push((file.to_owned(), what));
        let Cases { fires, near_miss } = match yaml_serde::from_str(text) {
            Ok(cases) => cases,
            Err(error) => {
                wrong(format!("its cases: {error}"));
                continue;
            }
        };
        let own: Vec<RuleIdx> = rules.of_file(index, file).collect();
        if own.is_empty() {
            wrong("no rule of it is loaded".to_owned());
            continue;
        }
        for (cases, should) in [(fires, true), (near_miss, false)] {
            for case in cases {
                tested.cases += 1;
                match fired(rules, &own, &case) {
                    Err(reason) => wrong(format!("'{}': {reason}", case.name)),
                    Ok(does) if does == should => {}
                    Ok(false) => wrong(format!("'{}' should fire", case.name)),
                    Ok(true) => wrong(format!("'{}' should not fire", case.name)),
                }
            }
        }
    }
    tested
}

/// Whether one of a file's own rules fires on a case.
///
/// # Errors
/// What is wrong with the case.
fn fired(rules: &RuleSet, own: &[RuleIdx], case: &Case) -> Result<bool, String> {
    // Beside a correlation, the rules it refers to are no finding.
    let heard: Vec<RuleIdx> = own.iter().copied().filter(|&rule| !rules.is_silent(rule)).collect();
    let own = if heard.is_empty() { own } else { &heard };
    let one;
    let events: Vec<(f64, u32, &Option<EventCase>, &Option<DerivedCase>)> =
        match (&case.event, &case.derived, &case.events[..]) {
            (event, derived, []) => {
                one = (0.0, 1, event, derived);
                vec![one]
            }
            (None, None, several) => {
                several.iter().map(|e| (e.at, e.times, &e.event, &e.derived)).collect()
            }
            _ => return Err("it has one event and several".to_owned()),
        };
    let mut happened = Happened::default();
    for (at, times, event, derived) in events {
        if happened.count.saturating_add(times) > MOST_EVENTS || !(0.0..1e9).contains(&at) {
            return Err(format!("it has more than {MOST_EVENTS} events, or an odd time"));
        }
        for nth in 0..times {
            let time = DateTime::UNIX_EPOCH + TimeDelta::microseconds((at * 1e6) as i64);
            let time = time + TimeDelta::seconds(nth.into());
            match (event, derived) {
                (Some(event), None) => happened.record(rules, own, record(event, time)?)?,
                (None, Some(derived)) => happened.derived(rules, derived, time)?,
                _ => return Err("it has neither or both of event and derived".to_owned()),
            }
        }
    }
    let found = happened.found(rules);
    Ok(found.iter().any(|detection| own.contains(&detection.rule)))
}

/// What happens in a case.
#[derive(Default)]
struct Happened {
    count: u32,
    events: IdxVec<EventIdx, Event>,
    hits: Vec<Detection>,
}

impl Happened {
    fn place(&mut self) -> RecordRef {
        self.count += 1;
        RecordRef {
            input: InputIdx::default(),
            offset: self.count.into(),
            number: self.count.into(),
        }
    }

    fn record(&mut self, rules: &RuleSet, own: &[RuleIdx], record: Record) -> Result<(), String> {
        let record = Record { source: self.place(), record_id: self.count.into(), ..record };
        let relevant = normalise::relevant(record.known_channel, record.event_id);
        if !relevant && !own.iter().any(|&rule| rules.sees(rule, &record)) {
            return Err("it is an event the rule never sees".to_owned());
        }
        let event = Normaliser::default().event(&record);
        self.hits.extend(on_record(&event, rules.on_record(&record)));
        self.events.push(event);
        Ok(())
    }

    fn derived(
        &mut self,
        rules: &RuleSet,
        case: &DerivedCase,
        time: DateTime<Utc>,
    ) -> Result<(), String> {
        let subject = DERIVED.iter().find(|(name, _)| *name == case.category);
        let (_, subject) =
            subject.ok_or_else(|| format!("there is no category '{}'", case.category))?;
        let fields = case.fields.iter().map(|(name, value)| Ok((name.clone(), json(value)?)));
        let fields = Json::Object(fields.collect::<Result<Map<_, _>, String>>()?);
        let proof = Proof { source: self.place(), record_id: self.count.into() };
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

    /// As in a run: hits on the records, on what is rebuilt from them, then correlations.
    fn found(self, rules: &RuleSet) -> Vec<Detection> {
        let Happened { events, mut hits, .. } = self;
        let mut lone = LoneScripts::default();
        let outside = events.iter().map(|_| None).collect();
        for block in assemble_script_blocks(&events, &outside, &mut Unwrapper::default()) {
            hits.extend(lone.detect(rules, &events, &block));
        }
        let (keys, mut gathered) = (KeyHasher::default(), TaskMarks::default());
        events.iter().for_each(|event| gathered.add_event(event.clone(), &keys));
        let case = reconstruct(vec![gathered], &keys, &events.as_slice());
        hits.extend(on_case(rules, &case));
        let mut steps: Vec<(Vec<u8>, Step<'_>)> = Vec::new();
        for step in hits.iter().filter_map(Step::of) {
            let mut key = Vec::new();
            step.key_of_rebuilt(0, &mut key);
            steps.push((key, step));
        }
        steps.sort_by(|a, b| a.0.cmp(&b.0));
        let mut correlator = Correlator::new(rules);
        steps.iter().for_each(|(_, step)| correlator.take(step.logged, step));
        hits.extend(correlator.finish().detections);
        hits
    }
}

fn text(value: &yaml_serde::Value) -> Result<String, String> {
    Ok(match value {
        yaml_serde::Value::String(text) => text.clone(),
        yaml_serde::Value::Number(number) => number.to_string(),
        yaml_serde::Value::Bool(truth) => truth.to_string(),
        _ => return Err("a field's value is neither text nor number".to_owned()),
    })
}

/// A value of a derived event: a text, a whole number, a list of texts.
fn json(value: &yaml_serde::Value) -> Result<Json, String> {
    Ok(match value {
        yaml_serde::Value::Number(number) if number.is_i64() => number.as_i64().into(),
        yaml_serde::Value::Sequence(values) => {
            values.iter().map(text).collect::<Result<Vec<String>, String>>()?.into()
        }
        value => text(value)?.into(),
    })
}

fn record(case: &EventCase, time: DateTime<Utc>) -> Result<Record, String> {
    let mut data = Fields::default();
    match &case.data {
        yaml_serde::Value::Null => {}
        yaml_serde::Value::Sequence(strings) => {
            for string in strings {
                data.push("Data", &text(string)?);
            }
        }
        yaml_serde::Value::Mapping(map) => {
            for (name, value) in map {
                data.push(&text(name)?, &text(value)?);
            }
        }
        _ => return Err("its Data is neither a map nor a list".to_owned()),
    }
    let provider = case.provider.as_deref().unwrap_or_default();
    Ok(Record {
        time,
        logged: time,
        provider: provider.into(),
        channel: case.channel.as_str().into(),
        known_channel: Channel::of(&case.channel, provider),
        computer: case.computer.as_deref().unwrap_or("HOST").into(),
        event_id: case.event_id,
        level: case.level.unwrap_or(4),
        user_sid: case.user_sid.as_deref().map(Into::into),
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

    /// From the folder, so that each rule is compiled when it is loaded.
    #[test]
    fn each_rule_fires_on_its_case_and_not_on_its_near_miss() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("detections");
        let rules = RuleSet::load(vec![Pack::read(&folder).unwrap()]).unwrap();
        assert_eq!(rules.refused().next(), None);
        let tested = test(&rules, PackIdx::new(0));
        assert_eq!((&tested.wrong[..], &tested.without[..]), (&[][..], &[][..]));
        assert!(tested.files >= 25, "{tested:?}");
        for (file, text) in &rules.packs[PackIdx::new(0)].pack.cases {
            let Cases { fires, near_miss } = yaml_serde::from_str(text).unwrap();
            assert!(!fires.is_empty() && !near_miss.is_empty(), "{file}");
        }
    }

    #[test]
    fn the_default_pack_is_whole() {
        let set = RuleSet::load(vec![Pack::default_pack()]).unwrap();
        assert_eq!(set.refused().next(), None);
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
            // The last document is the finding: before a correlation stand the rules it refers to.
            let last = text.rsplit("\n---\n").next().unwrap();
            let rule: BTreeMap<String, yaml_serde::Value> = yaml_serde::from_str(last).unwrap();
            for key in KEYS {
                assert!(rule.contains_key(key), "{file} has no {key}");
            }
        }
        for (index, rule) in set.rules.iter().enumerate() {
            let tagged = rule.meta.tags.iter().any(|tag| tag.starts_with("attack.t"));
            assert!(tagged || set.is_silent(RuleIdx::new(index)), "{}", rule.meta.title);
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
        assert!(error.contains("no rule of it loads; broken.yml"), "{error}");
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
        let refused: Vec<_> = set.refused().map(|refused| refused.file.as_str()).collect();
        assert_eq!(refused, ["broken.yml", "other.yml"]);
    }

    /// What is wrong with these rules' cases.
    fn wrong(rules: &str, cases: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("r.yml"), rules).unwrap();
        std::fs::write(folder.path().join("r.cases.yml"), cases).unwrap();
        let set = RuleSet::load(vec![Pack::read(folder.path()).unwrap()]).unwrap();
        assert_eq!(set.refused().next(), None);
        let tested = test(&set, PackIdx::new(0));
        assert!(tested.wrong.iter().all(|(file, _)| file == "r.yml"));
        tested.wrong.into_iter().map(|(_, what)| what).collect()
    }

    const RULE: &str = "{title: t, logsource: {product: windows, service: winrm}, \
                        detection: {s: {EventID: 6, connection: x}, condition: s}}";

    #[test]
    fn cases_that_do_not_hold_are_named() {
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
                "'c': it is an event the rule never sees",
                "'d': it has neither or both of event and derived",
                "'e': there is no category 'no'"
            ]
        );
        let unknown = wrong(RULE, "fires:\n- nome: a\n");
        assert!(unknown[0].starts_with("its cases: "), "{unknown:?}");
    }

    #[test]
    fn a_correlation_s_cases_are_events_in_time() {
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
        // The rule it refers to fires, but that is no finding.
        let one = format!("near_miss:\n- name: n\n  {derived}\n");
        assert_eq!(wrong(rules, &one), [""; 0]);
    }
}
