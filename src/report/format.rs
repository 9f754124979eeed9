//! The forms that results can be written in.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::error::Error;

/// A form of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// This program's own tables.
    Csv,
    /// One page for a browser.
    Html,
    /// The columns of EvtxECmd's CSV, which Timeline Explorer knows.
    EvtxECmd,
    /// What Timesketch imports: JSON lines and CSV.
    Timesketch,
    /// JSON lines in the Elastic Common Schema, as Winlogbeat names things.
    Ecs,
    /// Lines for Splunk's HTTP Event Collector.
    Splunk,
    /// The tables as Parquet files, which `psr-forensics query` reads.
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 7] = [
        Format::Csv,
        Format::Html,
        Format::EvtxECmd,
        Format::Timesketch,
        Format::Ecs,
        Format::Splunk,
        Format::Parquet,
    ];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Html => "html",
            Format::EvtxECmd => "evtxecmd",
            Format::Timesketch => "timesketch",
            Format::Ecs => "ecs",
            Format::Splunk => "splunk",
            Format::Parquet => "parquet",
        }
    }

    /// What it is, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Format::Csv => "this program's tables as CSV",
            Format::Html => "the whole run as one page for a browser without a network",
            Format::EvtxECmd => "every event in the columns of EvtxECmd, for Timeline Explorer",
            Format::Timesketch => "events, sessions and detections for Timesketch: JSONL and CSV",
            Format::Ecs => "events, sessions and detections in the Elastic Common Schema: JSONL",
            Format::Splunk => "events, sessions and detections for Splunk's HTTP Event Collector",
            Format::Parquet => "this program's tables as typed Parquet, for notebooks and `query`",
        }
    }

    /// The Cargo feature of this crate that it needs, and whether this build has it.
    fn feature(self) -> Option<(&'static str, bool)> {
        match self {
            Format::Html => Some(("html", cfg!(feature = "html"))),
            Format::Parquet => Some(("parquet", cfg!(feature = "parquet"))),
            _ => None,
        }
    }

    /// Whether this build can write it.
    ///
    /// # Errors
    /// [`Error::NotBuilt`] when it lacks the feature.
    pub fn check(self) -> Result<(), Error> {
        match self.feature() {
            Some((feature, false)) => Err(Error::NotBuilt { format: self.as_str(), feature }),
            _ => Ok(()),
        }
    }

    /// Those that are written when nothing is said: this program's tables, and the page in a build
    /// that has it.
    pub fn defaults() -> impl Iterator<Item = Format> {
        [Format::Csv, Format::Html].into_iter().filter(|format| format.check().is_ok())
    }

    /// Whether it shows records whole, so that they must be kept: see
    /// [`Options`](crate::Options::keep_records).
    pub fn needs_records(self) -> bool {
        !matches!(self, Format::Csv | Format::Html | Format::Parquet)
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Format, Error> {
        let known = Format::ALL.into_iter().find(|format| format.as_str() == name);
        known.ok_or_else(|| Error::UnknownFormat(name.to_owned()))
    }
}

/// What is to be written besides `sessions.jsonl` and `run.json`.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// In which forms.
    pub formats: BTreeSet<Format>,
    /// Whether Parquet tables are a file per host.
    pub by_host: bool,
    /// Whether transcripts of sessions are written.
    pub transcripts: bool,
}

impl Default for Wanted {
    /// The formats of [`Format::defaults`].
    fn default() -> Self {
        Wanted { formats: Format::defaults().collect(), by_host: false, transcripts: false }
    }
}

impl Wanted {
    /// Whether this build can write all forms.
    ///
    /// # Errors
    /// [`Error::NotBuilt`] when it lacks the feature that one of them needs.
    pub fn check(&self) -> Result<(), Error> {
        self.formats.iter().try_for_each(|format| format.check())
    }

    /// Whether a form needs records whole.
    pub fn needs_records(&self) -> bool {
        self.formats.iter().any(|format| format.needs_records())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_writes_by_default_what_it_can_and_names_the_feature_of_the_rest() {
        let defaults: Vec<Format> = Format::defaults().collect();
        assert!(Wanted::default().check().is_ok());
        for (format, built) in
            [(Format::Html, cfg!(feature = "html")), (Format::Parquet, cfg!(feature = "parquet"))]
        {
            let name = format.as_str();
            match format.check() {
                Ok(()) => assert!(built, "{name}"),
                Err(error) => {
                    assert!(!built && error.to_string().contains(&format!("feature '{name}'")));
                    assert!(!defaults.contains(&format), "{name}");
                }
            }
        }
        assert_eq!(defaults.contains(&Format::Html), cfg!(feature = "html"));
    }
}
