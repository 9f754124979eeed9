//! Limits how large a rule's values may become when modifiers multiply them.

use rsigma_parser::{Detection, Modifier, SigmaRule, SigmaValue};

/// Largest total size of a rule's values, in bytes: hundreds of times what published rules need,
/// and small enough for any machine's memory.
const MAX_SIZE: usize = 4 << 20;

/// The number of variants that `windash` makes of each dash, itself included (Sigma's
/// specification, appendix on modifiers).
const DASH_VARIANTS: usize = 5;

/// Rejects a rule whose values `windash` would expand beyond [`MAX_SIZE`]. Each dash of a value
/// makes five variants, so that a hundred bytes could become gigabytes.
///
/// # Errors
///
/// Names the value, and how to change it.
pub(super) fn check_expansion(rule: &SigmaRule) -> Result<(), String> {
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
                    size = size.saturating_add(
                        value.len().saturating_mul(DASH_VARIANTS.saturating_pow(dashes)),
                    );
                    if size > MAX_SIZE {
                        let shown: String = value.chars().take(60).collect();
                        return Err(format!(
                            "windash makes more than {MAX_SIZE} bytes of values, the last being \
                             '{shown}': use values with fewer dashes"
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
    use super::check_expansion;

    fn rule(value: &str) -> rsigma_parser::SigmaRule {
        let text = format!(
            "title: T\nlogsource: {{product: windows}}\ndetection:\n  a:\n    - Other: x\n    - \
             CommandLine|contains|windash: '{value}'\n  condition: a"
        );
        rsigma_parser::parse_sigma_yaml(&text).unwrap().rules.remove(0)
    }

    #[test]
    fn a_value_that_windash_makes_gigabytes_of_is_refused() {
        assert_eq!(check_expansion(&rule(" -EncodedCommand -NoProfile -W -ep")), Ok(()));
        let eight = format!("{}{}", "-a".repeat(8), "b".repeat(100));
        let reason = check_expansion(&rule(&eight)).unwrap_err();
        assert!(reason.contains("windash") && reason.contains("-a-a"), "{reason}");
        assert_eq!(check_expansion(&rule(&"ab".repeat(1000))), Ok(()));
    }
}
