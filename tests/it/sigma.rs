//! SigmaHQ's rules: that they load, its own regression suite, and what another program found with
//! them. What differs stands in `docs/agreement.md` with its cause, and nothing else may differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use psr_forensics::{NoProgress, Options, Pack, RuleSet, discover};
use serde::Deserialize;
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::common::{analyze, root, rows, run_json, say, shared};

const RULES: &str = "data/sigma/sigma-windows-rules.zip";
const SUITE: &str = "data/sigma/sigma-regression.zip";
const PEER: &str = "expected/peer-sigma-hits.tsv.gz";

/// What a zip of the corpus holds, in a folder.
fn unpacked(name: &str) -> Option<TempDir> {
    let zip = File::open(shared(name)?).unwrap();
    let folder = tempfile::tempdir().unwrap();
    zip::ZipArchive::new(zip).unwrap().extract(folder.path()).unwrap();
    Some(folder)
}

/// The rule files in a folder.
fn rule_files(folder: &Path) -> Vec<PathBuf> {
    let files = WalkDir::new(folder).sort_by_file_name().into_iter().map(|file| file.unwrap());
    let files = files.map(|file| file.into_path());
    let is_rule = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == "yml") && !path.ends_with("info.yml")
    };
    files.filter(is_rule).collect()
}

/// What the tests need of a rule.
#[derive(Deserialize)]
struct Rule {
    id: String,
    title: String,
    #[serde(default)]
    related: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

fn read<T: for<'d> Deserialize<'d>>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap();
    yaml_serde::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of a table of `docs/agreement.md`, by the heading it stands under: each row's cells.
fn documented(heading: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/agreement.md")).unwrap();
    let (_, section) = text.split_once(&format!("## {heading}\n")).expect("the heading is there");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    rows.map(|row| row.trim_matches('|').split('|').map(cell).collect()).collect()
}

#[test]
fn all_rules_load() {
    let Some(rules) = unpacked(RULES) else { return };
    let set = RuleSet::load(vec![Pack::read(rules.path()).unwrap()]).unwrap();
    assert_eq!(set.rejected().next(), None);
    assert_eq!(set.rules.len(), 2407);
}

/// A case of the regression suite.
#[derive(Deserialize)]
struct Info {
    rule_metadata: Vec<Named>,
    #[serde(default)]
    regression_tests_info: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    r#type: String,
    path: PathBuf,
    match_count: Option<usize>,
}

/// How often the rules of a file fire on a log.
fn fired(rule: &Path, log: &Path) -> usize {
    let rules = RuleSet::load(vec![Pack::read(rule).unwrap()]).unwrap();
    let inputs = discover(&[log.to_owned()]).unwrap();
    let analysis = psr_forensics::analyze(inputs, &Options::default(), rules, &NoProgress);
    analysis.unwrap_or_else(|error| panic!("{}: {error}", log.display())).fired.len()
}

#[test]
fn the_regression_suite_holds() {
    let (Some(suite), Some(rules)) = (unpacked(SUITE), unpacked(RULES)) else { return };
    // The suite has its own rules; two it lacks may be among the others.
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in rule_files(rules.path()).into_iter().chain(rule_files(suite.path())) {
        files.insert(read::<Rule>(&path).id, path);
    }
    let why: BTreeMap<(String, String), String> = documented("Cases that fire more often")
        .into_iter()
        .map(|row| ((row[0].clone(), row[3].clone()), row[4].clone()))
        .collect();
    let (mut held, mut failed, mut unexplained) = (0, Vec::new(), Vec::new());
    let infos = WalkDir::new(suite.path()).sort_by_file_name().into_iter();
    for info in
        infos.map(|file| file.unwrap().into_path()).filter(|file| file.ends_with("info.yml"))
    {
        let Info { rule_metadata, regression_tests_info: cases } = read(&info);
        let rule = rule_metadata.first().expect("a case names its rule").id.clone();
        if cases.is_empty() {
            say(&format!("left out: {rule} has no case"));
        }
        for Case { r#type, path, match_count } in cases {
            let Some(file) = files.get(&rule) else {
                say(&format!("left out: {rule} is in neither zip"));
                continue;
            };
            assert_eq!(r#type, "evtx", "{rule}");
            let log = suite.path().join(path);
            let (wanted, found) = (match_count.unwrap_or(1), fired(file, &log));
            // Most logs come as JSON, too.
            let json = log.with_extension("json");
            if json.exists() {
                assert_eq!(fired(file, &json), found, "{rule} on {}", json.display());
            }
            match found {
                _ if found < wanted => failed.push((rule.clone(), wanted, found)),
                _ if found > wanted => match why.get(&(rule.clone(), found.to_string())) {
                    Some(why) => say(&format!("{rule}: {found} for {wanted}: {why}")),
                    None => unexplained.push((rule.clone(), wanted, found)),
                },
                _ => {}
            }
            held += usize::from(found >= wanted);
        }
    }
    say(&format!("{held} cases hold"));
    assert_eq!(failed, []);
    assert_eq!(unexplained, []);
    assert!(held > 0);
}

/// A file, a record's EventRecordID, and the id of a rule that fires on it.
type Hit = (String, String, String);

/// The hits in an evidence cell's words: `FILE:EVENT_RECORD_ID@OFFSET`, or with `#NUMBER`.
fn hit(evidence: &str, rule: &str) -> Hit {
    let (_, place) = evidence.split_once("shared/data/evtx/").expect("a log of the corpus");
    let (file, record) = place.rsplit_once(':').expect("a record");
    let record = record.split(['@', '#']).next().unwrap();
    (file.to_owned(), record.to_owned(), rule.to_owned())
}

/// How many hits of a rule, by its id and the title that goes with it.
type Counts = BTreeMap<(String, String), usize>;

fn difference(heading: &str) -> Counts {
    let rows = documented(heading).into_iter();
    rows.map(|row| ((row[0].clone(), row[1].clone()), row[2].parse().unwrap())).collect()
}

#[test]
fn what_another_program_found_is_found() {
    let (Some(logs), Some(rules), Some(peer)) =
        (shared("data/evtx"), unpacked(RULES), shared(PEER))
    else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let (logs, pack) = (logs.to_str().unwrap(), rules.path().to_str().unwrap());
    assert_eq!(analyze(logs, out.path(), &["--no-default-pack", "--pack", pack]), 0);
    assert_eq!(run_json(out.path())["counts"]["rules"], 2407);
    let detections = rows(out.path(), "detections.csv");
    let ours: BTreeSet<Hit> =
        detections.iter().map(|row| hit(&row["evidence"], &row["rule_id"])).collect();
    assert_eq!(ours.len(), detections.len(), "each is on a record");
    // The peer finds a record in each log that holds it.
    let timeline = rows(out.path(), "timeline.csv");
    let places = timeline.iter().filter(|row| !row["copies"].is_empty()).map(|row| {
        let (file, record, _) = hit(&format!("{}:{}", row["input_file"], row["record_id"]), "");
        ((file, record), &row["copies"])
    });
    let places: BTreeMap<(String, String), &String> = places.collect();
    let copies = ours.iter().flat_map(|(file, record, rule)| {
        let copies = places.get(&(file.clone(), record.clone())).map(|copies| copies.split("; "));
        copies.into_iter().flatten().map(move |copy| hit(copy, rule))
    });
    let ours: BTreeSet<Hit> = copies.collect::<BTreeSet<Hit>>().union(&ours).cloned().collect();

    let rules = rule_files(rules.path()).into_iter().map(|path| read::<Rule>(&path));
    let rules: BTreeMap<String, Rule> = rules.map(|rule| (rule.id.clone(), rule)).collect();
    let mut text = String::new();
    GzDecoder::new(File::open(peer).unwrap()).read_to_string(&mut text).unwrap();

    let (mut all, mut same, mut renamed, mut theirs) = (0, 0, 0, Counts::new());
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let [file, record, id, title] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        all += 1;
        let by = |id: &str| (file.to_owned(), record.to_owned(), id.to_owned());
        // The list names some rules by an id that they say they are related to; the title tells.
        let named = rules.values().filter(|rule| {
            rule.title == title && rule.related.iter().any(|related| related.id == id)
        });
        let named: Vec<Hit> = named.map(|rule| by(&rule.id)).collect();
        if ours.contains(&by(id)) {
            same += 1;
            found.insert(by(id));
        } else if let Some(hit) = named.iter().find(|hit| ours.contains(hit)) {
            renamed += 1;
            found.insert(hit.clone());
        } else {
            *theirs.entry((id.to_owned(), title.to_owned())).or_default() += 1;
        }
    }
    let mut only_ours = Counts::new();
    for (_, _, id) in ours.difference(&found) {
        *only_ours.entry((id.clone(), rules[id].title.clone())).or_default() += 1;
    }

    // A hit of a rule that the zip does not hold: no rule of it has that title.
    let titles: BTreeSet<&str> = rules.values().map(|rule| rule.title.as_str()).collect();
    let not_held = theirs.iter().filter(|((_, title), _)| !titles.contains(title.as_str()));
    let not_held: usize = not_held.map(|(_, count)| count).sum();
    let share = |of: usize| 100.0 * f64::from(same + renamed) / of as f64;
    say(&format!(
        "{all} hits of the peer: {same} ours, {renamed} ours under the rule's own id: {:.1} % of \
         all, {:.1} % of the {} of rules in the zip; {} only ours",
        share(all),
        share(all - not_held),
        all - not_held,
        only_ours.values().sum::<usize>(),
    ));
    for (side, counts) in [("only theirs", &theirs), ("only ours", &only_ours)] {
        for ((id, title), count) in counts {
            say(&format!("{side}: | `{id}` | {title} | {count} |"));
        }
    }
    assert!(share(all - not_held) >= 99.0);
    assert_eq!(theirs, difference("Only theirs"));
    assert_eq!(only_ours, difference("Only ours"));
}
