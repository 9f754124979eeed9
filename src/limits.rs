//! Limits on what hostile input may cost: every limit that can be set, by name, in one place.
//!
//! A limit that is reached leaves something out, but never silently: the input's report has a row
//! for it, and `run.json` counts how often each limit was reached. Limits count bytes and pieces of
//! work, not time, so the same input reaches the same limits on any machine.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $default:expr;)+) => {
        /// A limit that can be set.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Limit {
            $($(#[doc = $doc])+ $variant),+
        }

        impl Limit {
            /// All limits.
            pub const ALL: &[Limit] = &[$(Limit::$variant),+];

            /// Returns its name on the command line and in `run.json`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Limit::$variant => $name),+
                }
            }

            /// Returns the default value.
            pub fn default_value(self) -> u64 {
                match self {
                    $(Limit::$variant => $default),+
                }
            }

            /// Describes what it bounds, with its unit.
            pub fn description(self) -> &'static str {
                match self {
                    $(Limit::$variant => concat!($($doc),+).trim_ascii()),+
                }
            }
        }

        const COUNT: usize = [$($name),+].len();
    };
}

limits! {
    /// Bytes of UTF-8 of one record's text in a JSON or XML log; a longer one is left out. A log's
    /// record is at most 64 KiB of binary XML, and its text with all escapes a few times as long
    RecordBytes = "record-bytes", 8 << 20;
    /// Members that an archive may have, else it is not opened
    ArchiveMembers = "archive-members", 1 << 18;
    /// Times its own size that an archive and those in it may be unpacked to, else it is not
    /// opened
    ArchiveRatio = "archive-ratio", 100;
    /// Bytes that an archive may always be unpacked to, whatever its size
    ArchiveBytes = "archive-bytes", 1 << 30;
}

/// A limit that cannot be set.
#[derive(Debug)]
pub struct FixedLimit {
    /// Its name in lists.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// The source file that defines it, as a path in the source tree, and the name of the constant.
    pub constant: (&'static str, &'static str),
    /// Describes what it bounds, with its unit.
    pub description: &'static str,
}

/// Limits that cannot be set. A longer, deeper or larger value would be of no use to anyone, or
/// would cost more memory than a run may take. The source defines each one beside the code that
/// keeps to it.
pub const FIXED_LIMITS: &[FixedLimit] = &[
    FixedLimit {
        name: "record-text-faults",
        value: 100,
        constant: ("src/decode/text.rs", "MAX_FAULTS"),
        description: "faults of 2 MiB of a text log that are listed one by one; the others are counted",
    },
    FixedLimit {
        name: "xml-depth",
        value: 64,
        constant: ("src/decode/xml.rs", "MAX_DEPTH"),
        description: "nested elements in a record's XML",
    },
    FixedLimit {
        name: "template-depth",
        value: 16,
        constant: ("src/decode/definition.rs", "MAX_DEPTH"),
        description: "nested elements in a template of binary XML; deeper ones are left to the evtx crate",
    },
    FixedLimit {
        name: "template-nodes",
        value: 2048,
        constant: ("src/decode/definition.rs", "MAX_NODES"),
        description: "elements, attributes and texts of a template; larger ones are left to the evtx crate",
    },
    FixedLimit {
        name: "carved-chunks",
        value: 256,
        constant: ("src/decode/carve.rs", "MOST_CHUNKS"),
        description: "chunks that --recover decodes in 2 MiB",
    },
    FixedLimit {
        name: "script-nesting",
        value: 80,
        constant: ("crates/ps-layers/src/parse/mod.rs", "NESTING"),
        description: "nested brackets in a script when its layers are decoded",
    },
    FixedLimit {
        name: "clixml-depth",
        value: 256,
        constant: ("crates/psrp/src/clixml/document.rs", "MAX_DEPTH"),
        description: "nested elements in CLIXML",
    },
    FixedLimit {
        name: "clixml-values",
        value: 1 << 20,
        constant: ("crates/psrp/src/clixml/document.rs", "MOST_VALUES"),
        description: "values of one CLIXML document",
    },
    FixedLimit {
        name: "soap-depth",
        value: 64,
        constant: ("crates/psrp/src/soap.rs", "MAX_DEPTH"),
        description: "nested elements in a SOAP document",
    },
    FixedLimit {
        name: "soap-bytes",
        value: 64 << 20,
        constant: ("crates/psrp/src/chunks.rs", "LONGEST_DOCUMENT"),
        description: "bytes of a SOAP document that is assembled from records",
    },
    FixedLimit {
        name: "message-bytes",
        value: 64 << 20,
        constant: ("crates/psrp/src/reassembler.rs", "LONGEST_MESSAGE"),
        description: "bytes of a message that is assembled from fragments",
    },
    FixedLimit {
        name: "messages-held",
        value: 128 << 20,
        constant: ("crates/psrp/src/reassembler.rs", "MOST_HELD"),
        description: "bytes held for incomplete messages",
    },
    FixedLimit {
        name: "traffic-held",
        value: 128 << 20,
        constant: ("src/reconstruct/traffic/collector.rs", "MOST_HELD"),
        description: "bytes of a host's traffic that are held at once",
    },
    FixedLimit {
        name: "output-of-command",
        value: 1 << 20,
        constant: ("src/reconstruct/traffic/collector.rs", "LONGEST_SHOWN"),
        description: "bytes kept of the output of one command",
    },
    FixedLimit {
        name: "output-of-all",
        value: 256 << 20,
        constant: ("src/reconstruct/traffic/collector.rs", "MOST_SHOWN"),
        description: "bytes kept of the output of all commands",
    },
    FixedLimit {
        name: "correlation-groups",
        value: 1 << 16,
        constant: ("src/detect/correlation/run.rs", "MOST_GROUPS"),
        description: "groups that all correlations hold at a time",
    },
    FixedLimit {
        name: "correlation-hits",
        value: 1 << 20,
        constant: ("src/detect/correlation/window.rs", "MOST_HITS"),
        description: "hits that one window of a correlation holds",
    },
    FixedLimit {
        name: "correlation-values",
        value: 10_000,
        constant: ("src/detect/correlation/window.rs", "MOST_VALUES"),
        description: "values that one window of a correlation distinguishes",
    },
    FixedLimit {
        name: "record-gaps",
        value: 32,
        constant: ("src/reconstruct/log_extent.rs", "MOST_GAPS"),
        description: "gaps in the record ids of a log; one with more is a selection of records",
    },
    FixedLimit {
        name: "namesakes",
        value: 1 << 16,
        constant: ("src/dedup/mod.rs", "MOST_SAME"),
        description: "records of one name and id that are distinguished when copies are searched for",
    },
    FixedLimit {
        name: "findings",
        value: 1 << 16,
        constant: ("src/rows/findings.rs", "MOST_FINDINGS"),
        description: "findings that are folded in memory; with more, some are shown in parts",
    },
    FixedLimit {
        name: "cell-bytes",
        value: 32_000,
        constant: ("src/table.rs", "MOST_IN_CELL"),
        description: "characters of a cell of a CSV file; longer text is cut and marked",
    },
];

/// The limits of a run, and how often each was reached. Clones share the counts.
#[derive(Debug, Clone)]
pub struct Limits {
    values: [u64; COUNT],
    met: Arc<[AtomicU64; COUNT]>,
}

impl Default for Limits {
    fn default() -> Limits {
        let mut limits = Limits { values: [0; COUNT], met: Arc::default() };
        for &limit in Limit::ALL {
            limits.set(limit, limit.default_value());
        }
        limits
    }
}

impl Limits {
    /// Returns the value of a limit.
    pub fn get(&self, limit: Limit) -> u64 {
        self.values[limit as usize]
    }

    /// Changes the value of a limit.
    pub fn set(&mut self, limit: Limit, value: u64) {
        self.values[limit as usize] = value;
    }

    /// Returns all values by name.
    #[cfg(feature = "parquet")]
    pub(crate) fn values(&self) -> std::collections::BTreeMap<String, u64> {
        Limit::ALL.iter().map(|&limit| (limit.name().to_owned(), self.get(limit))).collect()
    }

    /// Counts that a limit was reached `times` times.
    pub(crate) fn count_reached(&self, limit: Limit, times: u64) {
        self.met[limit as usize].fetch_add(times, Ordering::Relaxed);
    }

    /// Returns each limit's value and count for the run manifest, in the order of [`Limit::ALL`].
    pub fn usage(&self) -> Vec<LimitUsage> {
        let usage_of = |&limit: &Limit| LimitUsage {
            name: limit.name(),
            value: self.get(limit),
            met: self.met[limit as usize].load(Ordering::Relaxed),
        };
        Limit::ALL.iter().map(usage_of).collect()
    }
}

/// A limit in the run manifest.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct LimitUsage {
    /// Its name.
    pub name: &'static str,
    /// Its value in this run.
    pub value: u64,
    /// How often it left something out.
    pub met: u64,
}

/// A setting of a limit: `record-bytes=16777216`, or `record-bytes=16MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSetting {
    /// The limit.
    pub limit: Limit,
    /// The value that replaces the default.
    pub value: u64,
}

impl FromStr for LimitSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<LimitSetting, String> {
        let (name, value) = text.split_once('=').ok_or("a limit reads NAME=VALUE")?;
        let named = |limit: &&Limit| limit.name() == name.trim();
        let limit = Limit::ALL.iter().find(named).ok_or_else(|| {
            let names: Vec<&str> = Limit::ALL.iter().map(|limit| limit.name()).collect();
            format!("no limit '{}': there are {}", name.trim(), names.join(", "))
        })?;
        let value = value.trim();
        let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit: u64 = match value[digits.len()..].trim() {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => 0,
        };
        let value = digits.parse().ok().and_then(|number: u64| number.checked_mul(unit));
        let value = value.filter(|&value| value > 0);
        let form = "a limit's value is a number above 0, maybe with KiB, MiB or GiB";
        Ok(LimitSetting { limit: *limit, value: value.ok_or(form)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_refused_by_name() {
        let set = |text: &str| text.parse::<LimitSetting>().map(|set| (set.limit, set.value));
        assert_eq!(set("record-bytes=16"), Ok((Limit::RecordBytes, 16)));
        assert_eq!(set("archive-bytes = 4 GiB"), Ok((Limit::ArchiveBytes, 4_294_967_296)));
        assert!(set("record-byte=1").unwrap_err().contains("archive-ratio"));
        for text in ["record-bytes", "record-bytes=", "record-bytes=0", "record-bytes=1x"] {
            assert!(set(text).is_err(), "{text}");
        }
        assert!(set("record-bytes=99999999999999 GiB").is_err());
    }

    /// A constant's value, of the forms that the source has.
    fn value_of(expression: &str) -> u64 {
        let number = |text: &str| text.trim().replace('_', "").parse::<u64>().unwrap();
        match expression.split_once("<<") {
            Some((number_of, bits)) => number(number_of) << number(bits),
            None => number(expression),
        }
    }

    #[test]
    fn what_is_fixed_is_what_the_source_says() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for FixedLimit { name, value, constant: (file, constant), .. } in FIXED_LIMITS {
            let text = std::fs::read_to_string(source.join(file)).unwrap();
            let line = text.lines().find(|line| line.contains(&format!("const {constant}: ")));
            let (_, expression) = line.expect(name).split_once(" = ").unwrap();
            assert_eq!(value_of(expression.trim_end_matches(';')), *value, "{name}");
        }
    }

    #[test]
    fn clones_count_together_and_each_limit_has_its_default() {
        let mut limits = Limits::default();
        for &limit in Limit::ALL {
            assert_eq!(limits.get(limit), limit.default_value(), "{}", limit.name());
        }
        limits.set(Limit::ArchiveRatio, 7);
        limits.clone().count_reached(Limit::ArchiveRatio, 1);
        limits.count_reached(Limit::ArchiveRatio, 1);
        let met: Vec<(u64, u64)> =
            limits.usage().iter().map(|usage_of| (usage_of.value, usage_of.met)).collect();
        assert_eq!(met[Limit::ArchiveRatio as usize], (7, 2));
        assert_eq!(met[Limit::RecordBytes as usize], (8 << 20, 0));
    }
}
