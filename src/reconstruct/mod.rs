//! Rebuilds sessions from events: which records belong together, and by which link.
//!
//! Keys come before time. A host process within its lifetime, a RunspaceId, a logon id or an
//! ActivityID ties records. Time and names only join records without a key, and then the link says
//! so.
//!
//! Files lie on floors. A file imports only from its own floor and those below; the table is in
//! ARCHITECTURE.md.

mod accounts;
mod assess;
mod attempts;
mod client;
mod clocks;
mod commands;
mod confidence;
#[cfg(test)]
mod cost_tests;
mod coverage;
mod directory;
mod draft;
mod engine_process;
mod engines;
#[cfg(test)]
mod finding_tests;
mod finish;
mod gaps;
mod hops;
mod host_events;
mod hosts;
mod index;
mod integrity;
mod join;
mod log_extent;
mod lookup;
mod marks;
mod names;
mod pairs;
mod process;
mod rebuild;
mod reconstruction;
mod record_selector;
mod scripts;
mod server;
mod session_starts;
mod shells;
mod sightings;
mod source;
mod source_index;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tools;
mod traffic;
mod windows;

pub use integrity::{FileFacts, first_records};
pub use log_extent::LogExtent;
pub(crate) use log_extent::RecordRuns;
pub use marks::{KeyHasher, TaskMarks};
pub use rebuild::reconstruct;
pub use reconstruction::Reconstruction;
pub(crate) use scripts::{UnassignedScripts, assemble_script_blocks};
#[cfg(feature = "cli")]
pub(crate) use traffic::pipeline_output;
pub use traffic::{RecordReader, TrafficRecord};
pub use windows::TimeWindow;
