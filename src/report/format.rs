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
        let known = known.ok_or_else(|| Error::UnknownFormat(name.to_owned()))?;
        if known == Format::Parquet && cfg!(not(feature = "parquet")) {
            return Err(Error::NotBuilt { format: "parquet", feature: "parquet" });
        }
        Ok(known)
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
    /// This program's tables, and the page.
    fn default() -> Self {
        Wanted { formats: [Format::Csv, Format::Html].into(), by_host: false, transcripts: false }
    }
}

impl Wanted {
    /// Whether a form needs records whole.
    pub fn needs_records(&self) -> bool {
        self.formats.iter().any(|format| format.needs_records())
    }
}
