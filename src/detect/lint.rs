//! Checks the rules of packs and reports problems by file and line.

use std::collections::BTreeMap;

use rayon::prelude::*;
use rsigma_eval::fields::{FieldSource, RuleFieldSet};
use rsigma_parser::{
    LintRule, LintWarning, Severity, SigmaCollection, lint_yaml_str, parse_sigma_yaml,
};

use super::RuleSet;
use super::derived::derived_field_names;
use super::loaded::{LoadedPack, LoadedRule};
use super::logsource::{RuleScope, rule_scope};
use super::pack::Pack;
use crate::model::RuleIdx;

/// A problem with a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The file.
    pub file: String,
    /// The line, from 1, if it is known.
    pub line: Option<u32>,
    /// The problem.
    pub message: String,
}

/// Returns all problems with the rules of a set's packs: those that rsigma's linter finds in
/// their form, and those that this program finds when it loads them.
pub fn lint(rules: &RuleSet) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for LoadedPack { pack, rejected, .. } in &rules.packs {
        let files: Vec<Vec<Diagnostic>> =
            pack.files.par_iter().map(|(file, text)| lint_file(pack, file, text)).collect();
        let formal: Vec<Diagnostic> = files.into_iter().flatten().collect();
        let has =
            |file: &String| formal.iter().any(|diagnostic| diagnostic.file == pack.shown(file));
        let texts: BTreeMap<&str, &str> =
            pack.files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
        for rejected in rejected {
            let known = has(&rejected.file);
            let title = rejected.reason.strip_prefix('\'').and_then(|rest| rest.split_once("': "));
            // The linter has already reported what the parser reports.
            if known && title.is_none() {
                continue;
            }
            let text = texts.get(&*rejected.file).copied().unwrap_or_default();
            let key = match rejected.reason.contains("logsource") {
                true => "logsource:",
                false => "title:",
            };
            diagnostics.push(Diagnostic {
                file: pack.shown(&rejected.file),
                line: title.and_then(|(title, _)| line_of(text, title, key)),
                message: format!("not loaded: {}", rejected.reason),
            });
        }
        diagnostics.extend(formal);
    }
    diagnostics.extend(shared_names(rules));
    diagnostics.sort();
    diagnostics
}

fn lint_file(pack: &Pack, file: &str, text: &str) -> Vec<Diagnostic> {
    let diagnostic = |line, message| Diagnostic { file: pack.shown(file), line, message };
    let mut diagnostics = Vec::new();
    // One document at a time: rsigma finds line numbers only in the first document of a text.
    for (before, document) in documents(text) {
        let content = |line: &str| !line.trim().is_empty() && !line.starts_with(['#', '-', '%']);
        let first = document.lines().position(content).unwrap_or_default() as u32;
        for warning in lint_yaml_str(document).into_iter().filter(is_relevant) {
            let LintWarning { rule, message, span, .. } = warning;
            let line = span.map_or(first, |span| span.start_line);
            diagnostics.push(diagnostic(Some(before + line + 1), format!("{message} ({rule})")));
        }
    }
    for rule in parse_sigma_yaml(text).map(|all| all.rules).unwrap_or_default() {
        let Ok(RuleScope::Derived(subject)) = rule_scope(&rule.logsource) else { continue };
        let title = rule.title.clone();
        let collection = SigmaCollection { rules: vec![rule], ..SigmaCollection::default() };
        let used = RuleFieldSet::collect(&collection, &[], false);
        let asked = used.iter().filter(|(_, from)| from.sources.contains(&FieldSource::Detection));
        for (field, _) in asked.filter(|(field, _)| !derived_field_names(subject).contains(field)) {
            let line = line_of(text, &title, &format!("{field}:"))
                .or_else(|| line_of(text, &title, &format!("{field}|")));
            let what = format!("an event of kind {} has no field '{field}'", subject.as_str());
            diagnostics.push(diagnostic(line, what));
        }
    }
    diagnostics
}

/// Returns whether a warning of rsigma's linter concerns users of this program: errors, warnings,
/// and a missing description.
fn is_relevant(warning: &LintWarning) -> bool {
    match warning.severity {
        // The linter knows the tactics of an older ATT&CK, and only the specification's
        // namespaces.
        Severity::Error | Severity::Warning => warning.rule != LintRule::UnknownTagNamespace,
        Severity::Info | Severity::Hint => warning.rule == LintRule::MissingDescription,
    }
}

/// Reports ids and titles that several rules share.
fn shared_names(rules: &RuleSet) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut seen: BTreeMap<(&str, String), RuleIdx> = BTreeMap::new();
    for (index, LoadedRule { meta: rule, pack, .. }) in rules.rules.iter_enumerated() {
        let pack = &rules.packs[*pack].pack;
        let text = pack.files.iter().find(|(file, _)| *file == rule.file).map(|(_, text)| text);
        let text = text.map_or("", String::as_str);
        // A rule without an id is identified by its file's name.
        let id = (rule.id != rule.file).then(|| ("id", rule.id.to_lowercase()));
        for (kind, name) in id.into_iter().chain([("title", rule.title.to_lowercase())]) {
            let first = *seen.entry((kind, name)).or_insert(index);
            if first != index {
                let first = &rules.rules[first].meta;
                diagnostics.push(Diagnostic {
                    file: pack.shown(&rule.file),
                    line: line_of(text, &rule.title, "title:"),
                    message: format!(
                        "it has the same {kind} as '{}' in {}",
                        first.title, first.file
                    ),
                });
            }
        }
    }
    diagnostics
}

/// Splits a file into its documents, each with the number of lines before it.
fn documents(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let mut before = 0;
    text.split("\n---").map(move |document| {
        let start = before;
        before += document.matches('\n').count() as u32 + 1;
        (start, document)
    })
}

/// Returns the line, from 1, of a key in the document with a title. Keys may stand in a list.
fn line_of(text: &str, title: &str, key: &str) -> Option<u32> {
    let is_key = |line: &str| line.trim_start_matches([' ', '-', '{']).starts_with(key);
    let mut documents = documents(text).filter(|(_, document)| document.contains(title));
    documents.find_map(|(before, document)| {
        let line = document.lines().position(is_key)?;
        Some(before + line as u32 + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostics(files: &[(&str, &str)]) -> Vec<(String, Option<u32>, String)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let rules = RuleSet::load(vec![Pack::read(folder.path()).unwrap()]).unwrap();
        let root = format!("{}/", folder.path().display());
        let below = |file: String| file.strip_prefix(&root).unwrap().to_owned();
        lint(&rules).into_iter().map(|r| (below(r.file), r.line, r.message)).collect()
    }

    const GOOD: &str = "\
title: A good rule
id: 5638f7c0-ac70-491d-8465-2a65075e0d86
status: test
description: It is good.
author: Somebody
date: 2026-01-01
tags:
    - attack.t1021.006
logsource:
    product: windows
    category: remoting_session
detection:
    selection:
        Kind: winrs
    condition: selection
level: low
";

    #[test]
    fn a_good_rule_has_nothing_wrong() {
        assert_eq!(diagnostics(&[("good.yml", GOOD)]), []);
    }

    #[test]
    fn each_thing_wrong_is_named_with_its_line() {
        for (old, new, line, word) in [
            ("status: test", "status: tested", 3, "invalid_status"),
            ("description: It is good.\n", "", 1, "missing_description"),
            ("level: low\n", "", 1, "missing_level"),
            ("level: low", "level: lower", 16, "invalid_level"),
            ("attack.t1021.006", "Attack T1021", 8, "invalid_tag"),
            ("condition: selection", "condition: selected", 15, "condition_references_unknown"),
            ("id: 5638f7c0", "id: x638f7c0", 2, "invalid_id"),
            ("Kind: winrs", "Kiind: winrs", 14, "an event of kind session has no field 'Kiind'"),
            ("Kind: winrs", "Kiind|contains: w", 14, "has no field 'Kiind'"),
        ] {
            let text = GOOD.replace(old, new);
            assert_ne!(text, GOOD);
            let second = GOOD.replace("A good rule", "Another").replace("5638f7c0", "6638f7c0");
            let found = diagnostics(&[("bad.yml", &text), ("good.yml", &second)]);
            let found = found.iter().find(|(_, _, what)| what.contains(word));
            let found = found.unwrap_or_else(|| {
                panic!("no {word}: {:?}", diagnostics(&[("bad.yml", &text), ("good.yml", &second)]))
            });
            assert_eq!((&*found.0, found.1), ("bad.yml", Some(line)), "{found:?}");
        }
    }

    #[test]
    fn lines_are_those_of_the_file_in_its_later_documents_too() {
        let second = GOOD.replace("A good rule", "Other").replace("5638f7c0", "6638f7c0");
        let text = format!("{GOOD}---\n{}", second.replace("level: low", "level: lower"));
        let found = diagnostics(&[("a.yml", &text)]);
        // 16 lines, the separator line, and line 16 of the second document.
        assert_eq!((found.len(), found[0].1), (1, Some(33)), "{found:?}");
    }

    #[test]
    fn what_does_not_load_and_what_repeats_is_named() {
        let other = GOOD.replace("5638f7c0", "6638f7c0").replace("A good rule", "Other");
        let linux = other.replace("windows", "linux");
        assert_eq!(
            diagnostics(&[("a.yml", GOOD), ("b.yml", &linux)]),
            [(
                "b.yml".to_owned(),
                Some(9),
                "not loaded: 'Other': logsource product 'linux' is not windows".to_owned()
            )]
        );
        assert_eq!(
            diagnostics(&[("a.yml", GOOD), ("b.yml", &GOOD.replace("A good rule", "a Good rule"))]),
            [
                ("b.yml".into(), Some(1), "it has the same id as 'A good rule' in a.yml".into()),
                ("b.yml".into(), Some(1), "it has the same title as 'A good rule' in a.yml".into()),
            ]
        );
        let broken = diagnostics(&[("a.yml", GOOD), ("b.yml", "title: x\nlogsource: [\n")]);
        assert_eq!((broken.len(), &*broken[0].0), (1, "b.yml"), "{broken:?}");
        assert!(broken[0].1.is_some_and(|line| line >= 2), "{broken:?}");
    }
}
