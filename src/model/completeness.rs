//! How much of a command its records hold.

use std::fmt;

/// How much of a command its records hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Completeness {
    /// Its whole text.
    Whole,
    /// Parts of its script block are missing.
    PartsMissing {
        /// The first and the last part of each hole, in order.
        missing: Vec<(u32, u32)>,
        /// How many parts there are.
        total: u32,
    },
    /// Its start is lost in the traffic, and its text with it.
    StartLost,
    /// Its start is lost in the traffic; its text is that of the request's history.
    StartLostLineKnown,
    /// No script's text: its text is made of what was invoked.
    Invocations,
    /// The same, and parts of what was invoked are missing.
    InvocationsInPart,
    /// No script's text, but the line that the invocations stand in.
    Line,
    /// The name of what was invoked, without its parameters.
    NameOnly,
    /// A process without its command line: its text is the image's path.
    NoCommandLine,
}

impl Completeness {
    /// Whether nothing of it is missing.
    pub fn is_whole(&self) -> bool {
        *self == Completeness::Whole
    }

    /// Whether its text is not a script's own, but what the engine logged of its invocations.
    pub fn lacks_script_text(&self) -> bool {
        matches!(
            self,
            Completeness::Invocations | Completeness::InvocationsInPart | Completeness::Line
        )
    }
}

/// The words that outputs use.
impl fmt::Display for Completeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Completeness::Whole => "whole",
            Completeness::PartsMissing { missing, total } => {
                f.write_str("parts missing: ")?;
                for (place, &(from, to)) in missing.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    match from == to {
                        true => write!(f, "{comma}{from}")?,
                        false => write!(f, "{comma}{from} to {to}")?,
                    }
                }
                return write!(f, " of {total}");
            }
            Completeness::StartLost => "its start is lost",
            Completeness::StartLostLineKnown => "its start is lost; text of the request's history",
            Completeness::Invocations => "no script text",
            Completeness::InvocationsInPart => "no script text; parts of the details missing",
            Completeness::Line => "no script text; its line",
            Completeness::NameOnly => "name only",
            Completeness::NoCommandLine => "no command line",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_are_listed() {
        let parts = Completeness::PartsMissing { missing: vec![(2, 2), (4, 5)], total: 5 };
        assert_eq!(parts.to_string(), "parts missing: 2, 4 to 5 of 5");
        assert!(!parts.is_whole() && !parts.lacks_script_text());
    }

    #[test]
    fn a_line_is_no_script_text() {
        assert!(Completeness::Line.lacks_script_text());
        assert_eq!(Completeness::Line.to_string(), "no script text; its line");
        assert!(!Completeness::NameOnly.lacks_script_text());
    }
}
