//! How much a rule's values come to when modifiers multiply them.

use rsigma_parser::{Detection, Modifier, SigmaRule, SigmaValue};

/// The most that a rule's values may come to, in bytes: hundreds of times what published rules need,
/// and what a machine has room for.
const MOST: usize = 4 << 20;

/// Dashes that `windash` puts in the place of each dash, itself included (Sigma's specification,
/// appendix on modifiers).
const DASHES: usize = 5;

/// Refuses a rule whose values `windash` would multiply beyond [`MOST`]: each dash of a value makes it
/// five, and some hundred bytes would be gigabytes.
///
/// # Errors
/// Which value, and what to do.
pub(super) fn bounded(rule: &SigmaRule) -> Result<(), String> {
    let mut size = 0_usize;
    let mut open: Vec<&Detection> = rule.detection.named.values().collect();
    while let Some(detection) = open.pop() {
        match detection {
            Detection::AllOf(items) => {
                let items = items.iter().filter(|item| item.field.has_modifier(Modifier::WindAsh));
                for value in items.flat_map(|item| &item.values) {
                    let SigmaValue::String(value) = value else { continue };
                    let value = &value.original;
                    let dashes = value.bytes().filter(|&byte| byte == b'-').count() as u32;
                    size = size
                        .saturating_add(value.len().saturating_mul(DASHES.saturating_pow(dashes)));
                    if size > MOST {
                        let shown: String = value.chars().take(60).collect();
                        return Err(format!(
                            "windash makes more than {MOST} bytes of its values, the last being \
                             '{shown}': give values with fewer dashes"
                        ));
                    }
                }
            }
            Detection::AnyOf(parts) | Detection::And(parts) => open.extend(parts),
            Detection::ArrayMatch { body, .. } => open.push(body),
            Detection::Conditional { named, .. } => open.extend(named.values()),
            Detection::Keywords(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::bounded;

    fn rule(value: &str) -> rsigma_parser::SigmaRule {
        let text = format!(
            "title: T\nlogsource: {{product: windows}}\ndetection:\n  a:\n    - Other: x\n    - \
             CommandLine|contains|windash: '{value}'\n  condition: a"
        );
        rsigma_parser::parse_sigma_yaml(&text).unwrap().rules.remove(0)
    }

    #[test]
    fn a_value_that_windash_makes_gigabytes_of_is_refused() {
        assert_eq!(bounded(&rule(" -EncodedCommand -NoProfile -W -ep")), Ok(()));
        let eight = format!("{}{}", "-a".repeat(8), "b".repeat(100));
        let reason = bounded(&rule(&eight)).unwrap_err();
        assert!(reason.contains("windash") && reason.contains("-a-a"), "{reason}");
        assert_eq!(bounded(&rule(&"ab".repeat(1000))), Ok(()));
    }
}
