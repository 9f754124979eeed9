//! The program and the library from outside.

mod bounds;
mod browser;
mod cases;
mod cli;
mod comfort;
mod common;
mod copies;
mod corpus;
mod correlations;
mod custody;
mod decode;
mod determinism;
mod documents;
mod explain;
mod faults;
mod findings;
mod formats;
mod fuzzed;
mod gaps;
mod hidden;
#[cfg(target_os = "linux")]
mod hostile_names;
mod imports;
mod info;
mod inputs;
mod integrity;
mod layers;
mod mutation;
mod packs;
mod psrp;
mod python;
#[cfg(feature = "sql")]
mod query;
mod recover;
mod report;
mod samples;
mod scripts;
mod sigma;
mod values;
mod verify;
mod walk;
