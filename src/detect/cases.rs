//! The cases beside each rule of the default pack: what must fire, and the near miss that must not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rsigma_parser::parse_sigma_yaml;
use serde::Deserialize;
use walkdir::WalkDir;

use super::agreement::selects;
use super::logsource::{DERIVED, Scope, scope};
use super::view::FieldMap;
use super::{LoneScripts, Pack, RuleSet, on_case};
use crate::model::{Channel, Fields, Level, Record};
use crate::normalise::{self, testing};
use crate::reconstruct::{assemble, testing::rebuilt};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    fires: Vec<Case>,
    near_miss: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    event: Option<EventCase>,
    derived: Option<DerivedCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct EventCase {
    channel: String,
    provider: Option<String>,
    #[serde(rename = "EventID")]
    event_id: u32,
    level: Option<u8>,
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

fn text(value: &yaml_serde::Value) -> String {
    match value {
        yaml_serde::Value::String(text) => text.clone(),
        yaml_serde::Value::Number(number) => number.to_string(),
        yaml_serde::Value::Bool(truth) => truth.to_string(),
        other => panic!("a field's value is no scalar: {other:?}"),
    }
}

fn record(case: &EventCase) -> Record {
    let mut fields = Fields::default();
    match &case.data {
        yaml_serde::Value::Null => {}
        yaml_serde::Value::Sequence(strings) => {
            strings.iter().for_each(|string| fields.push("Data", &text(string)));
        }
        yaml_serde::Value::Mapping(map) => {
            map.iter().for_each(|(name, value)| fields.push(&text(name), &text(value)));
        }
        other => panic!("Data is neither a map nor a list: {other:?}"),
    }
    let provider = case.provider.as_deref().unwrap_or_default();
    Record {
        provider: provider.into(),
        known_channel: Channel::of(&case.channel, provider),
        level: case.level.unwrap_or(4),
        user_sid: case.user_sid.as_deref().map(Into::into),
        data: fields,
        ..testing::record(&case.channel, case.event_id, &[])
    }
}

fn derived(case: &DerivedCase) -> FieldMap {
    let mut map = FieldMap::default();
    for (name, value) in &case.fields {
        // The map borrows its names for good: rules and reconstruction know them at build time.
        let name: &'static str = name.clone().leak();
        map = match value {
            yaml_serde::Value::Number(number) if number.is_i64() || number.is_u64() => {
                map.number(name, number.as_i64().unwrap())
            }
            yaml_serde::Value::Sequence(values) => map.list(name, values.iter().map(text)),
            value => map.text(name, text(value)),
        };
    }
    map
}

/// Whether the rule set of one rule fires on a case of its log source.
fn fires(rules: &RuleSet, source: &Scope, case: &Case) -> bool {
    match (&case.event, &case.derived) {
        (Some(event), None) => {
            // As in a run: the record's own rules, then those on what is rebuilt from it.
            let record = record(event);
            let (channel, id) = (record.known_channel, record.event_id);
            let seen = selects(source, &record) || normalise::relevant(channel, id);
            assert!(seen, "'{}' is an event the rule never sees", case.name);
            let events = [testing::event(&record)];
            let blocks = assemble(&events, &[None]);
            let mut lone = LoneScripts::default();
            let on_scripts = blocks.iter().flat_map(|block| lone.detect(rules, &events, block));
            let on_scripts = on_scripts.count();
            let rebuilt = rebuilt(events.to_vec());
            !rules.on_record(&record).is_empty()
                || on_scripts > 0
                || !on_case(rules, &rebuilt).is_empty()
        }
        (None, Some(derived_case)) => {
            let subject = DERIVED.iter().find(|(name, _)| *name == derived_case.category);
            let (_, subject) = subject.expect("a documented category");
            !rules.on_derived(*subject, &derived(derived_case)).is_empty()
        }
        _ => panic!("'{}' has neither or both of event and derived", case.name),
    }
}

#[test]
fn each_rule_fires_on_its_case_and_not_on_its_near_miss() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("detections");
    let mut wrong = Vec::new();
    let mut rules = 0;
    for entry in WalkDir::new(&folder).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".yml") || name.ends_with(".cases.yml") || name == "pack.yml" {
            continue;
        }
        rules += 1;
        let pack = Pack::read(&path).unwrap();
        let source = scope(&parse_sigma_yaml(&pack.files[0].1).unwrap().rules[0].logsource);
        let source = source.unwrap_or_else(|error| panic!("{name}: {error}"));
        let rule = RuleSet::load(vec![pack]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((rule.rules.len(), &rule.refused[..]), (1, &[][..]), "{name}");
        let cases = path.with_file_name(name.replace(".yml", ".cases.yml"));
        let text =
            std::fs::read_to_string(&cases).unwrap_or_else(|_| panic!("{name} has no cases"));
        let cases: Cases = yaml_serde::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(!cases.fires.is_empty() && !cases.near_miss.is_empty(), "{name}");
        for (cases, expected) in [(&cases.fires, true), (&cases.near_miss, false)] {
            for case in cases.iter().filter(|case| fires(&rule, &source, case) != expected) {
                wrong.push(format!(
                    "{name}: '{}' should{} fire",
                    case.name,
                    if expected { "" } else { " not" }
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rules >= 25, "{rules} rules");
}

#[test]
fn the_default_pack_is_whole() {
    let set = RuleSet::load(vec![Pack::default_pack()]).unwrap();
    assert_eq!(set.refused, []);
    let ids: BTreeSet<_> = set.rules.iter().map(|rule| &rule.id).collect();
    assert_eq!(ids.len(), set.rules.len(), "ids repeat");
    let titles: BTreeSet<_> = set.rules.iter().map(|rule| &rule.title).collect();
    assert_eq!(titles.len(), set.rules.len(), "titles repeat");
    const KEYS: [&str; 8] =
        ["id", "status", "description", "references", "tags", "falsepositives", "level", "next"];
    for (file, text) in &set.packs[0].files {
        let rule: BTreeMap<String, yaml_serde::Value> = yaml_serde::from_str(text).unwrap();
        for key in KEYS {
            assert!(rule.contains_key(key), "{file} has no {key}");
        }
    }
    for rule in &set.rules {
        assert!(rule.tags.iter().any(|tag| tag.starts_with("attack.t")), "{}", rule.title);
    }
    assert!(set.rules.iter().any(|rule| rule.level >= Level::High));
}

#[test]
fn bad_rules_are_named_and_a_pack_of_none_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("broken.yml", "title: [");
    let error = RuleSet::load(vec![Pack::read(folder.path()).unwrap()]).err().unwrap().to_string();
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
    let refused: Vec<_> = set.refused.iter().map(|refused| refused.file.as_str()).collect();
    assert_eq!(refused, ["broken.yml", "other.yml"]);
}
