//! Events to sessions: which records belong together, and by what.
//!
//! Keys come before time: a host process within its lifetime, a RunspaceId, a logon id, an
//! ActivityID tie records; time and names only join what no key does, and then the link says so.
//!
//! Files lie on floors, and import from their own floor and from those below only: the table is in
//! ARCHITECTURE.md.

mod accounts;
mod assess;
mod attempts;
mod case;
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
mod focus;
mod gaps;
mod gather;
mod hops;
mod host_events;
mod hosts;
mod index;
mod integrity;
mod join;
mod names;
mod pairs;
mod process;
mod reach;
mod rebuild;
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
mod world;

pub use case::Case;
pub use gather::{Gathered, Keys};
pub use integrity::{FileFacts, first_records};
pub use reach::Reach;
pub(crate) use reach::Runs;
pub use rebuild::reconstruct;
pub(crate) use scripts::{Elsewhere, assemble};
#[cfg(feature = "cli")]
pub(crate) use traffic::shown;
pub use traffic::{Logs, Overheard};
pub use windows::Window;
