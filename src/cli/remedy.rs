//! Errors of the library in the words of the command line: its options, and what helps.

use crate::error::Error;

/// An error and its causes on one line.
pub(super) fn line(error: &anyhow::Error) -> String {
    let texts = error.chain().map(|cause| match cause.downcast_ref() {
        Some(own) => text(own),
        None => cause.to_string(),
    });
    texts.collect::<Vec<String>>().join(": ")
}

/// An error of the library.
pub(super) fn text(error: &Error) -> String {
    match error {
        Error::OutputExists(_) => {
            format!("{error}: name another folder, or replace its files with --force")
        }
        Error::NotBuilt { feature, .. } => format!("{error}: {}", build(feature)),
        Error::NoTables(_) => format!("{error}: analyze again with --format parquet"),
        Error::UnknownExclusion(rule) => format!(
            "the selection of rules: --exclude-rule '{rule}': no loaded rule has this id, title or \
             file name"
        ),
        Error::NothingSelected { rules, excluded, below_level, without_tag, without_status } => {
            let parts = [
                (excluded, "--exclude-rule"),
                (below_level, "--min-level"),
                (without_tag, "--tag"),
                (without_status, "--status"),
            ];
            let parts = parts.iter().filter(|(count, _)| **count > 0);
            let parts: Vec<String> = parts.map(|(n, option)| format!("{option} {n}")).collect();
            format!(
                "the selection of rules: it leaves none of {rules} rules ({})",
                parts.join(", ")
            )
        }
        _ => error.to_string(),
    }
}

/// How to get a program that has a feature.
pub(super) fn build(feature: &str) -> String {
    format!("use a released binary, or build with 'cargo build --release --features {feature}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_feature_is_one_line_that_says_how_to_get_it() {
        let error = Error::NotBuilt { format: "html", feature: "html" };
        assert_eq!(
            line(&error.into()),
            "the format 'html' needs the feature 'html', which this build lacks: use a released \
             binary, or build with 'cargo build --release --features html'"
        );
    }
}
