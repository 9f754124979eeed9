//! Filter rules: the rules they name no longer fire where the filter's condition does not hold.
//!
//! A filter is merged into the rules it names before rsigma sees them, so that they are
//! prefiltered, compiled and explained together with it. rsigma's engine adds filters to compiled
//! rules, but then a filter's `1 of selection_*` also selects the rule's own detections.

use rsigma_parser::{
    ConditionExpr, FilterRule, FilterRuleTarget, LogSource, SelectorPattern, SigmaRule,
};

use super::rule_names::RuleNames;
use crate::model::{IdxVec, index_types};

index_types! {
    /// Index of a rule among those that were parsed.
    ParsedIdx;
}

/// Prefix of a filter's detections inside a rule; `them` skips names that begin with `_`.
const PREFIX: &str = "__filter_";

/// Returns whether a detection of a rule came from a filter.
pub(super) fn is_of_filter(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Adds a filter, the nth of the run, to the rules it applies to. Returns how many these are.
pub(super) fn apply<'r>(
    filter: &FilterRule,
    names: &RuleNames,
    number: usize,
    rules: impl Iterator<Item = (&'r RuleNames, &'r mut SigmaRule)>,
) -> usize {
    let rules: Vec<_> = rules.collect();
    let all: IdxVec<ParsedIdx, &RuleNames> = rules.iter().map(|(names, _)| *names).collect();
    let named: Option<Vec<ParsedIdx>> = match &filter.rules {
        FilterRuleTarget::Specific(references) if !is_any(references) => Some(
            references.iter().flat_map(|reference| names.find_rules(reference, &all)).collect(),
        ),
        _ => None,
    };
    let prefix = format!("{PREFIX}{number}_");
    let condition = match &filter.detection.conditions[..] {
        [] => ConditionExpr::Selector {
            quantifier: rsigma_parser::Quantifier::All,
            pattern: SelectorPattern::Pattern(format!("{prefix}*")),
        },
        [one] => prefixed(one, &prefix),
        several => ConditionExpr::Or(several.iter().map(|c| prefixed(c, &prefix)).collect()),
    };
    let mut applied = 0;
    for (index, (_, rule)) in all.indices().zip(rules) {
        let is_named = named.as_ref().is_none_or(|named| named.contains(&index));
        if !is_named || !filter.logsource.as_ref().is_none_or(|ours| holds(ours, &rule.logsource)) {
            continue;
        }
        applied += 1;
        let detections = filter.detection.named.iter();
        let detections = detections.map(|(name, part)| (format!("{prefix}{name}"), part.clone()));
        rule.detection.named.extend(detections);
        for own in &mut rule.detection.conditions {
            let rule = std::mem::replace(own, ConditionExpr::And(Vec::new()));
            *own = ConditionExpr::And(vec![rule, condition.clone()]);
        }
    }
    applied
}

/// Returns whether a filter applies to all rules: `any` means that, and people also write `all`.
fn is_any(references: &[String]) -> bool {
    matches!(references, [one] if ["any", "all"].contains(&&*one.to_lowercase()))
}

/// Returns whether a filter's log source covers a rule's. Parts that the filter leaves out match
/// everything.
fn holds(filter: &LogSource, rule: &LogSource) -> bool {
    let same = |filter: &Option<String>, rule: &Option<String>| match (filter, rule) {
        (None, _) => true,
        (Some(filter), Some(rule)) => filter.eq_ignore_ascii_case(rule),
        (Some(_), None) => false,
    };
    same(&filter.category, &rule.category)
        && same(&filter.product, &rule.product)
        && same(&filter.service, &rule.service)
}

/// Returns a filter's condition with the names that its detections have inside a rule.
fn prefixed(condition: &ConditionExpr, prefix: &str) -> ConditionExpr {
    let each = |parts: &[ConditionExpr]| parts.iter().map(|part| prefixed(part, prefix)).collect();
    match condition {
        ConditionExpr::Identifier(name) => ConditionExpr::Identifier(format!("{prefix}{name}")),
        ConditionExpr::And(parts) => ConditionExpr::And(each(parts)),
        ConditionExpr::Or(parts) => ConditionExpr::Or(each(parts)),
        ConditionExpr::Not(part) => ConditionExpr::Not(Box::new(prefixed(part, prefix))),
        ConditionExpr::Selector { quantifier, pattern } => ConditionExpr::Selector {
            quantifier: quantifier.clone(),
            pattern: SelectorPattern::Pattern(match pattern {
                SelectorPattern::Them => format!("{prefix}*"),
                SelectorPattern::Pattern(pattern) => format!("{prefix}{pattern}"),
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::{Pack, RuleSet};
    use crate::normalise::testing::record;

    const RULES: &str = "\
        {title: Shell, id: 6f3e2987-db24-4c78-a860-b4f4095a7095, \
         logsource: {product: windows, category: process_creation}, \
         detection: {selection: {Image|endswith: cmd.exe}, condition: all of them}}\n---\n\
        {title: Tool, name: tool, logsource: {product: windows, service: security}, \
         detection: {selection_a: {NewProcessName|endswith: cmd.exe}, \
         selection_b: {EventID: 4688}, condition: 1 of selection_*}}\n";

    /// Returns the titles of the rules that still fire on a process of a user, and the reasons
    /// for rejected rules.
    fn fires(filter: &str, user: &str) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let packs = [("rules.yml", RULES), ("filter.yml", filter)].map(|(name, text)| {
            std::fs::write(folder.path().join(name), text).unwrap();
            Pack::read(&folder.path().join(name))
        });
        let rules = RuleSet::load(packs.into_iter().flatten().collect());
        let Ok(rules) = rules else { return (Vec::new(), vec!["the pack".to_owned()]) };
        let data = [("NewProcessName", "cmd.exe"), ("SubjectUserName", user)];
        let hits = rules.on_record(&record("Security", 4688, &data));
        let titles = hits.iter().map(|hit| rules.rules[hit.rule].meta.title.clone());
        (titles.collect(), rules.rejected().map(|rejected| rejected.reason.clone()).collect())
    }

    fn filter(lines: &str) -> String {
        format!(
            "title: Quiet\nlogsource: {{product: windows}}\nfilter:\n  {}\n",
            lines.replace('\n', "\n  ")
        )
    }

    #[test]
    fn a_filter_suppresses_only_the_rules_it_names() {
        let both = ["Shell", "Tool"];
        for (rules, expected) in [
            ("[6f3e2987-db24-4c78-a860-b4f4095a7095]", &["Tool"][..]),
            ("[tool]", &["Shell"]),
            ("[Tool, Shell]", &[]),
            ("any", &[]),
            ("all", &[]),
            ("rules.yml", &[]),
        ] {
            let text = filter(&format!(
                "rules: {rules}\nselection: {{SubjectUserName|startswith: adm_}}\ncondition: not selection"
            ));
            assert_eq!(
                fires(&text, "adm_x"),
                (expected.iter().map(|t| (*t).to_owned()).collect(), vec![])
            );
            assert_eq!(fires(&text, "eve").0, both, "{rules}");
        }
    }

    #[test]
    fn a_filter_selects_among_its_own_detections() {
        // In the rule's own detections, `selection_*` would always hold.
        let text = filter(
            "rules: [tool]\nselection_x: {SubjectUserName: a}\nselection_y: {SubjectUserName: b}\n\
             condition: not 1 of selection_*",
        );
        assert_eq!(fires(&text, "b").0, ["Shell"]);
        assert_eq!(fires(&text, "c").0, ["Shell", "Tool"]);
    }

    #[test]
    fn the_log_source_of_a_filter_bounds_it() {
        let text = filter("rules: any\nselection: {SubjectUserName: a}\ncondition: not selection");
        let text = text.replace("{product: windows}", "{product: windows, service: security}");
        assert_eq!(fires(&text, "a").0, ["Shell"]);
    }

    #[test]
    fn a_filter_for_no_rule_is_named() {
        let text =
            filter("rules: [none]\nselection: {SubjectUserName: a}\ncondition: not selection");
        // A pack that consists of nothing but a filter without effect is an error.
        assert_eq!(fires(&text, "a").1, ["the pack"]);
        let other = "---\n{title: O, logsource: {product: windows, service: system}, \
                     detection: {s: {EventID: 1}, condition: s}}\n";
        let rejected = fires(&(text + other), "a").1;
        assert_eq!(rejected, ["'Quiet': the filter applies to no loaded rule"]);
    }
}
