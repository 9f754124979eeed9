//! Checks that the rule set gives the same results as its rules one by one: on every record of
//! the corpus, and on events that a prefilter could get wrong.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rsigma_eval::{CompiledRule, compile_to_compiled, evaluate_rule};
use rsigma_parser::parse_sigma_yaml;

use super::logsource::{ChannelName, RuleScope, rule_scope};
use super::lower::lower;
use super::view::{FieldMap, RecordView};
use super::{Pack, RuleSet};
use crate::decode::{Decoder, RecordFilter};
use crate::input::{InputReader, Piece, discover, piece_count};
use crate::model::{Channel, IdxVec, InputIdx, Record, RecordRef, RuleIdx, Subject};
use crate::normalise::testing::record;

/// A record filter that keeps every record.
struct EveryRecord;
impl RecordFilter for EveryRecord {
    fn wants(&self, _: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        true
    }
}

/// A compiled rule and its scope, without a prefilter.
struct PlainRule {
    rule: CompiledRule,
    scope: RuleScope,
}

/// The rules of a pack, and how many are rejected.
fn compile_plainly(pack: &Pack) -> (IdxVec<RuleIdx, PlainRule>, usize) {
    let mut rules = IdxVec::new();
    let mut rejected = 0;
    for (_, text) in &pack.files {
        let collection = parse_sigma_yaml(text).unwrap();
        rejected += collection.errors.len();
        for rule in collection.rules {
            let compiled = lower(&rule).ok().and_then(|rule| compile_to_compiled(&rule).ok());
            match (compiled, rule_scope(&rule.logsource)) {
                (Some(rule), Ok(scope)) => _ = rules.push(PlainRule { rule, scope }),
                _ => rejected += 1,
            }
        }
    }
    (rules, rejected)
}

/// A rule's index, and the fields and values that matched.
type FiredRule = (RuleIdx, Vec<(String, String)>);

/// Returns whether a record belongs to a log source.
pub(super) fn selects(scope: &RuleScope, record: &Record) -> bool {
    let RuleScope::Records { selectors, mapping } = scope else { return false };
    let mut selectors = selectors.iter();
    let selected = selectors.any(|selector| {
        selector.event_ids.is_none_or(|ids| ids.contains(&record.event_id))
            && match selector.channel {
                ChannelName::Known(channel) => channel == record.known_channel,
                ChannelName::Named(name) => name.eq_ignore_ascii_case(&record.channel),
                ChannelName::Every => true,
            }
    });
    selected && mapping.admits(record)
}

/// Evaluates each rule by itself and returns those that fire; matched fields are left out for
/// suppressed rules.
fn fired_one_by_one(
    set: &RuleSet,
    rules: &IdxVec<RuleIdx, PlainRule>,
    record: &Record,
) -> Vec<FiredRule> {
    let mut fired = Vec::new();
    for (index, PlainRule { rule, scope }) in rules.iter_enumerated() {
        let RuleScope::Records { mapping, .. } = scope else { continue };
        let view = RecordView::new(record, *mapping);
        if !selects(scope, record) {
            continue;
        }
        let result = evaluate_rule(rule, &view);
        // Suppressed rules take another path, because their matched fields are never shown.
        assert_eq!(
            set.rules[index].on_events().is_some_and(|(rule, _)| rule.fires(&view)),
            result.is_some(),
            "{index:?} on {record:?}"
        );
        let Some(result) = result else { continue };
        let fields = &result.as_detection().unwrap().matched_fields;
        let text = |value: &serde_json::Value| match value.as_str() {
            Some(text) => text.chars().take(500).collect(),
            None => value.to_string(),
        };
        let mut matched: Vec<_> =
            fields.iter().map(|field| (field.field.clone(), text(&field.value))).collect();
        matched.sort();
        matched.dedup();
        if set.is_suppressed(index) {
            matched.clear();
        }
        fired.push((index, matched));
    }
    fired
}

fn fired(rules: &RuleSet, record: &Record) -> Vec<FiredRule> {
    let hits = rules.on_record(record).into_iter();
    hits.map(|hit| (hit.rule, hit.matched.into_iter().map(|m| (m.field, m.value)).collect()))
        .collect()
}

/// Returns the path of a corpus beside the repository; prints a line if it is missing.
fn corpus(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    #[expect(clippy::print_stdout, reason = "a test that skips says so")]
    {
        println!("skipped: {} is not here", path.display());
    }
    None
}

/// Reads the records of the logs in a folder.
fn records(folder: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    let (mut decoder, mut piece) = (Decoder::default(), Piece::default());
    for input in discover(&[folder.to_owned()]).unwrap() {
        let mut reader = InputReader::new(&input);
        for _ in 0..piece_count(&input) {
            reader.next(&mut piece).unwrap();
            let take = |record: &Record| records.push(record.clone());
            decoder.decode_piece(&input, InputIdx::default(), &mut piece, &EveryRecord, take);
        }
    }
    records
}

/// Compares both on all records. Returns how many rules fire, and on how many records.
fn compare(pack: Pack, records: &[Record]) -> (usize, usize) {
    let (plain, rejected) = compile_plainly(&pack);
    let rules = RuleSet::load(vec![pack]).unwrap();
    // Correlations come after the rules on events.
    let on_events = rules.rules.iter().filter(|rule| rule.on_events().is_some()).count();
    assert_eq!((on_events, rules.rejected().count()), (plain.len(), rejected));
    let fired = records.par_iter().map(|record| {
        let expected = fired_one_by_one(&rules, &plain, record);
        assert_eq!(fired(&rules, record), expected, "{record:?}");
        let wanted =
            rules.wants(record.source, record.known_channel, &record.channel, record.event_id);
        assert!(wanted || expected.is_empty(), "{record:?}");
        expected.into_iter().map(|(rule, _)| rule).collect()
    });
    let fired: Vec<Vec<RuleIdx>> = fired.filter(|rules: &Vec<RuleIdx>| !rules.is_empty()).collect();
    let rules: BTreeSet<_> = fired.iter().flatten().collect();
    (rules.len(), fired.len())
}

#[test]
fn real_records_fire_the_same_rules_as_one_by_one() {
    let (Some(logs), Some(zip)) = (corpus("evtx"), corpus("sigma/sigma-windows-rules.zip")) else {
        return;
    };
    let records = records(&logs);
    assert!(records.len() > 14_000);
    let (rules, fired) = compare(Pack::default_pack(), &records);
    assert!(rules > 15 && fired > 100, "{rules} rules on {fired} records");

    let mut zip = zip::ZipArchive::new(File::open(zip).unwrap()).unwrap();
    let mut files = Vec::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        files.push((file.name().unwrap().into_owned(), text));
    }
    files.retain(|(name, _)| name.ends_with(".yml"));
    assert_eq!(files.len(), 2407);
    let pack = Pack {
        name: "sigma".into(),
        path: Some("".into()),
        sha256: "".into(),
        files,
        ..Pack::default()
    };
    let (rules, fired) = compare(pack, &records);
    assert!(rules > 300 && fired > 4000, "{rules} rules on {fired} records");
}

/// Makes a rule set with one rule for the Security log.
fn security(detection: &str) -> (RuleSet, IdxVec<RuleIdx, PlainRule>) {
    let text = format!(
        "title: t\nlogsource: {{product: windows, service: security}}\ndetection:\n{detection}"
    );
    let files = vec![("t.yml".to_owned(), text)];
    let pack = Pack {
        name: "t".into(),
        path: Some("".into()),
        sha256: "".into(),
        files,
        ..Pack::default()
    };
    let (plain, _) = compile_plainly(&pack);
    (RuleSet::load(vec![pack]).unwrap(), plain)
}

#[test]
fn prefilters_pass_what_rules_fire_on() {
    type Event<'d> = (u32, &'d [(&'d str, &'d str)]);
    let cases: &[(&str, &[Event], &[Event])] = &[
        // Event ids, however a rule gives them.
        ("  s: {EventID: 4688}\n  condition: s", &[(4688, &[])], &[(4689, &[])]),
        ("  s: {EventID: '4688'}\n  condition: s", &[(4688, &[])], &[(4689, &[])]),
        ("  s: {EventID: [1, '3']}\n  condition: s", &[(1, &[]), (3, &[])], &[(2, &[]), (13, &[])]),
        ("  s: {EventID|contains: '68'}\n  condition: s", &[(4688, &[])], &[(4699, &[])]),
        ("  s: {EventID|gte: 4688}\n  condition: s", &[(4688, &[])], &[(9, &[])]),
        ("  s: {EventID|re: '^46'}\n  condition: s", &[(4600, &[])], &[(14600, &[])]),
        (
            "  s: {EventID: 1}\n  t: {EventID: 1, A: x}\n  condition: s and t",
            &[(1, &[("A", "x")])],
            &[(1, &[])],
        ),
        (
            "  s: {EventID: 1}\n  t: {A: x}\n  condition: s or t",
            &[(1, &[]), (2, &[("A", "x")])],
            &[(2, &[])],
        ),
        // Selections.
        (
            "  selection_a: {EventID: 1}\n  selection_b: {EventID: 2, A: x}\n  condition: 1 of selection*",
            &[(1, &[]), (2, &[("A", "x")])],
            &[(2, &[("A", "y")]), (3, &[("A", "x")])],
        ),
        (
            "  selection_a: {A: x}\n  selection_b: {B: y}\n  condition: all of selection_*",
            &[(1, &[("A", "x"), ("B", "y")])],
            &[(1, &[("A", "x")]), (1, &[("B", "y")])],
        ),
        (
            "  s:\n    - {EventID: 1, A: xx}\n    - {B|contains: yy}\n  condition: s",
            &[(1, &[("A", "xx")]), (2, &[("B", "-yy-")])],
            &[(2, &[("A", "xx")]), (1, &[("B", "y")])],
        ),
        ("  s: {EventID: 1}\n  condition: not s", &[(2, &[])], &[(1, &[])]),
        (
            "  s: {EventID: 1}\n  f: {A: xx}\n  condition: s and not f",
            &[(1, &[]), (1, &[("A", "yy")])],
            &[(1, &[("A", "xx")]), (2, &[])],
        ),
        ("  s: {EventID|neq: 1}\n  condition: s", &[(2, &[])], &[(1, &[])]),
        // Values that are not texts.
        (
            "  s: {EventID: 1, A: null}\n  condition: s",
            &[(1, &[]), (1, &[("A", "")])],
            &[(1, &[("A", "x")]), (2, &[])],
        ),
        (
            "  s: {A: [null, xx], B: yy}\n  condition: s",
            &[
                (1, &[("A", "xx"), ("B", "yy")]),
                (1, &[("A", ""), ("B", "yy")]),
                (1, &[("B", "yy")]),
            ],
            &[(1, &[("B", "x")]), (1, &[("A", "yy"), ("B", "yy")])],
        ),
        (
            "  s: {EventID: 1}\n  f:\n    - A: null\n    - B: null\n  condition: s and not f",
            &[(1, &[("A", "x"), ("B", "y")])],
            &[(1, &[("A", "x"), ("B", "")]), (1, &[("B", "y")])],
        ),
        ("  s: {A: ''}\n  condition: s", &[(1, &[("A", "")])], &[(1, &[("A", "x")]), (1, &[])]),
        ("  s: {A|exists: false}\n  condition: s", &[(1, &[])], &[(1, &[("A", "x")])]),
        (
            "  s: {A: 7}\n  condition: s",
            &[(1, &[("A", "7")]), (1, &[("A", "7.0")])],
            &[(1, &[("A", "77")])],
        ),
        (
            "  s: {A|fieldref: B}\n  condition: s",
            &[(1, &[("A", "xx"), ("B", "XX")])],
            &[(1, &[("A", "xx")])],
        ),
        // Keywords, in any value.
        (
            "  k: [alpha, 'be?a*x']\n  condition: k",
            &[(1, &[("A", "..ALPHA..")]), (2, &[("A", "-"), ("B", "beta x")])],
            &[(1, &[("alpha", "-")]), (1, &[("A", "be"), ("B", "ta x")])],
        ),
        (
            "  k:\n    '|all': [alpha, beta]\n  condition: k",
            &[(1, &[("A", "alpha beta")]), (1, &[("A", "alpha"), ("B", "beta")])],
            &[(1, &[("A", "alpha")])],
        ),
        // Booleans, logged as texts.
        (
            "  s: {A: true}\n  condition: s",
            &[(1, &[("A", "true")])],
            &[(1, &[("A", "false")]), (1, &[])],
        ),
        // Letters outside ASCII with an ASCII lower case.
        (
            "  s: {A: kk}\n  f: {B|startswith: k}\n  condition: s and not f",
            &[(1, &[("A", "K\u{212a}")])],
            &[(1, &[("A", "K")]), (1, &[("A", "kk"), ("B", "\u{212a}x")])],
        ),
        // Many regexes in two fields; they are joined.
        (
            "  s:\n    - A|re|i: ['a{2}$', 'b(b|c)', '(?s)c.d']\n    - B|re|i: ['a{2}$', 'b(b|c)', '(?s)c.d']\n  condition: s",
            &[(1, &[("A", "xAA")]), (1, &[("A", "x"), ("B", "bC")]), (2, &[("B", "c\nd")])],
            &[(1, &[("A", "aax"), ("B", "b")]), (1, &[("C", "aa")])],
        ),
        (
            "  s: {A|re: [aa, bb, cc], B|re|i: [aa, bb, cc]}\n  condition: s",
            &[(1, &[("A", "bb"), ("B", "BB")])],
            &[(1, &[("A", "BB"), ("B", "bb")])],
        ),
        // Positions in a value.
        (
            "  s: {A|startswith: ab}\n  condition: s",
            &[(1, &[("A", "ABc")])],
            &[(1, &[("A", "cab")])],
        ),
        ("  s: {A|endswith: ab}\n  condition: s", &[(1, &[("A", "cAB")])], &[(1, &[("A", "abc")])]),
        (
            "  s: {A: ab}\n  condition: s",
            &[(1, &[("A", "AB")])],
            &[(1, &[("A", "abc")]), (1, &[("B", "ab")])],
        ),
        ("  s: {A|cased: aB}\n  condition: s", &[(1, &[("A", "aB")])], &[(1, &[("A", "ab")])]),
        ("  s: {A: 'a*bc?d'}\n  condition: s", &[(1, &[("A", "aBCxD")])], &[(1, &[("A", "abcd")])]),
        (
            "  s: {A|contains|all: [ab, cd]}\n  condition: s",
            &[(1, &[("A", "cdab")])],
            &[(1, &[("A", "ab")]), (1, &[("A", "cd")])],
        ),
        (
            "  s:\n    A|contains|all: [aa, bb, cc, dd, ee, ff, gg, hh, ii, jj]\n  condition: s",
            &[(1, &[("A", "aabbccddeeffgghhiijj")])],
            &[(1, &[("A", "aabbccddeeffgghhii")]), (1, &[("A", "bbccddeeffgghhiijj")])],
        ),
        // If a field occurs twice, its values are joined.
        (
            "  s: {A|contains: 'x'}\n  condition: s",
            &[(1, &[("A", "-"), ("A", "x")])],
            &[(1, &[("A", "-")])],
        ),
        // Beyond ASCII.
        (
            "  s: {A|contains: 'ÄRGER'}\n  condition: s",
            &[(1, &[("A", "der ärger")])],
            &[(1, &[("A", "arger")])],
        ),
        (
            "  s: {A|contains: 'ΟΣ'}\n  condition: s",
            &[(1, &[("A", "ΛΌΓΟΣ")]), (1, &[("A", "λόγος")])],
            &[(1, &[("A", "ΛΌΓΟ")])],
        ),
        (
            "  s: {A|cased|contains: 'ΟΣ'}\n  condition: s",
            &[(1, &[("A", "ΟΣΑ")])],
            &[(1, &[("A", "οσα")])],
        ),
        (
            "  s: {A|re: '(?i)task'}\n  condition: s",
            &[(1, &[("A", "TAſ\u{212a}")])],
            &[(1, &[("A", "TA")])],
        ),
        (
            "  s: {A: '*ask?y*'}\n  condition: s",
            &[(1, &[("A", "-a\u{17f}k-Y")])],
            &[(1, &[("A", "asky")])],
        ),
        // Regexes.
        (
            "  s: {A|re: '(?i)^(get|set)-(x{2}|yy+)z?$'}\n  condition: s",
            &[(1, &[("A", "Get-XX")]), (1, &[("A", "set-yyyz")])],
            &[(1, &[("A", "get-x")]), (1, &[("A", "put-xx")])],
        ),
        (
            "  s: {A|re|i: '(ab)?c[dD]e'}\n  condition: s",
            &[(1, &[("A", "CDE")])],
            &[(1, &[("A", "abce")])],
        ),
        (
            "  s: {A|re: '[[:upper:]]b|\\W{2}'}\n  condition: s",
            &[(1, &[("A", "Bb")]), (1, &[("A", "a--")])],
            &[(1, &[("A", "bb")])],
        ),
        // Encodings: base64("hello") is aGVsbG8=, and at the other offsets as Python gives them.
        (
            "  s: {A|windash|contains: ' -enc'}\n  condition: s",
            &[(1, &[("A", "x /ENC")]), (1, &[("A", "x \u{2013}enc")])],
            &[(1, &[("A", "x enc")])],
        ),
        (
            "  s: {A|base64|contains: hello}\n  condition: s",
            &[(1, &[("A", "aGVsbG8=")])],
            &[(1, &[("A", "hello")])],
        ),
        (
            "  s: {A|base64offset|contains: hello}\n  condition: s",
            &[(1, &[("A", "LWhlbGxv")]), (1, &[("A", "LS1oZWxsbw==")])],
            &[(1, &[("A", "hello")])],
        ),
    ];
    for (detection, fires, misses) in cases {
        let (rules, plain) = security(detection);
        assert_eq!(rules.rules.len(), 1, "{detection}: {:?}", rules.rejected().next());
        let events = fires.iter().map(|event| (event, true));
        for ((id, data), expected) in events.chain(misses.iter().map(|event| (event, false))) {
            let record = record("Security", *id, data);
            let found = fired(&rules, &record);
            assert_eq!(found.len(), usize::from(expected), "{detection} on {id} {data:?}");
            assert_eq!(
                found,
                fired_one_by_one(&rules, &plain, &record),
                "{detection} on {id} {data:?}"
            );
        }
    }
}

#[test]
fn rules_are_asked_about_the_logs_of_their_source() {
    let value = |operation: &'static str| {
        let key = r"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Control\Lsa";
        let data = [("ObjectName", key), ("ObjectValueName", "x"), ("OperationType", operation)];
        record("Security", 4657, &data)
    };
    let connection = [("Application", r"\device\harddiskvolume3\a.exe"), ("DestPort", "3389")];
    let connection = record("Security", 5156, &connection);
    let opened = [("FileName", r"\Device\HarddiskVolume3\logins.json")];
    let kernel_file = |id| record("Microsoft-Windows-Kernel-File/Analytic", id, &opened);
    let anywhere = |channel| record(channel, 7, &[("Data", "x lsadump:: x")]);
    let mitigation = record("Microsoft-Windows-Security-Mitigations/KernelMode", 12, &[]);

    let set = r"{TargetObject: 'HKLM\System\CurrentControlSet\Control\Lsa\x'}";
    let port = r"{Image: 'C:\a.exe', DestinationPort: 3389}";
    let cases = [
        (
            "category: registry_set",
            set,
            vec![value("%%1904"), value("%%1905")],
            vec![value("%%1906")],
        ),
        ("category: registry_delete", set, vec![value("%%1906")], vec![value("%%1905")]),
        ("category: network_connection", port, vec![connection.clone()], vec![]),
        ("service: security", port, vec![], vec![connection]),
        (
            "category: file_access",
            r"{FileName|endswith: '\logins.json'}",
            vec![kernel_file(12), kernel_file(30)],
            vec![kernel_file(14)],
        ),
        (
            "service: security-mitigations",
            "{EventID: 12}",
            vec![mitigation],
            vec![anywhere("System")],
        ),
        // A product alone.
        ("", "['lsadump::']", vec![anywhere("System"), anywhere("Any/Operational")], vec![]),
    ];
    for (source, detection, fires, misses) in cases {
        let text = format!(
            "title: t\nlogsource:\n  product: windows\n  {source}\n\
             detection:\n  s: {detection}\n  condition: s\n"
        );
        let files = vec![("t.yml".to_owned(), text)];
        let pack = Pack {
            name: "t".into(),
            path: Some("".into()),
            sha256: "".into(),
            files,
            tests: Vec::new(),
            unread: Vec::new(),
        };
        let (plain, _) = compile_plainly(&pack);
        let rules = RuleSet::load(vec![pack]).unwrap();
        let records = fires.iter().map(|record| (record, 1));
        for (record, expected) in records.chain(misses.iter().map(|record| (record, 0))) {
            let found = fired(&rules, record);
            assert_eq!(found.len(), expected, "{source}: {detection} on {record:?}");
            assert_eq!(found, fired_one_by_one(&rules, &plain, record), "{source}: {detection}");
            let (channel, id) = (record.known_channel, record.event_id);
            let wanted = rules.wants(record.source, channel, &record.channel, id);
            assert!(wanted || expected == 0, "{source}: {detection} on {record:?}");
        }
    }
}

#[test]
fn only_records_that_may_fire_are_wanted() {
    let wants = |detection, id| {
        security(detection).0.wants(RecordRef::default(), Channel::Security, "Security", id)
    };
    let by_id = "  s: {EventID: [1, 2]}\n  f: {EventID: 2}\n  condition: s and not f";
    assert_eq!([1, 2, 3].map(|id| wants(by_id, id)), [true, true, false]);
    assert!(wants("  s: {EventID|re: 4}\n  condition: s", 3));
    assert!(wants("  s: {EventID: 1}\n  condition: not s", 3));
    assert!(!wants("  s: {EventID: 1}\n  t: {EventID: 2}\n  condition: s and t", 1));
}

#[test]
fn what_does_not_compile_is_refused_before_any_event() {
    let rejected = |detection: &str| {
        let text = format!(
            "title: bad\nlogsource: {{product: windows, service: security}}\n\
             detection: {{s: {{{detection}}}, condition: s}}\n---\ntitle: good\n\
             logsource: {{product: windows, service: security}}\n\
             detection: {{s: {{EventID: 6}}, condition: s}}\n"
        );
        let files = vec![("t.yml".to_owned(), text)];
        let pack = Pack {
            name: "t".into(),
            path: Some("".into()),
            sha256: "".into(),
            files,
            ..Pack::default()
        };
        let set = RuleSet::load(vec![pack]).unwrap();
        assert_eq!((set.rules.len(), set.rejected().count()), (1, 1), "{detection}");
        set.rejected().next().unwrap().reason.clone()
    };
    let bad = [
        ("A|re: '('", "invalid regex pattern: "),
        ("A|re: '\\w{900}{90}'", "exceeds size limit"),
        ("A|re: [a, 'b)|(c', d]", "invalid regex pattern: "),
        ("A|cidr: 10.0.0.0/99", "invalid CIDR: "),
        ("A|windash|contains: '---------------------------------'", "windash"),
        ("A|re|contains: x", "conflicting modifiers"),
    ];
    for (detection, reason) in bad {
        let found = rejected(detection);
        assert!(found.starts_with("'bad': ") && found.contains(reason), "{found}");
    }
}

#[test]
fn a_derived_event_s_lists_are_matched_by_member() {
    let text = "title: t\nlogsource: {product: windows, category: remoting_session}\n\
        detection: {s: {EvidenceSides: client, Kind|endswith: shell}, condition: s}\n";
    let files = vec![("t.yml".to_owned(), text.to_owned())];
    let pack = Pack {
        name: "t".into(),
        path: Some("".into()),
        sha256: "".into(),
        files,
        ..Pack::default()
    };
    let rules = RuleSet::load(vec![pack]).unwrap();
    let session = |sides: &[&'static str]| {
        let fields = FieldMap::default().text("Kind", "powershell");
        fields.list("EvidenceSides", sides.to_vec())
    };
    let hits = |sides| rules.on_derived(Subject::Session, &session(sides)).len();
    assert_eq!((hits(&["server", "client"]), hits(&["server"])), (1, 0));
}
