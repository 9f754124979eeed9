//! Remoting's own traffic, where Analytic logs hold it: read a second time, host by host, and tied to
//! sessions by ids.
//!
//! A conversation is one runspace pool's, or one plain shell's. It belongs to the session whose
//! host process served it, whose WinRM 91 names its shell, or whose client's pool has its id
//! (8193 to 8197 have it as ActivityID). One that none of these ties belongs to none: its records
//! are in the timeline.

mod assign;
mod collector;
pub(super) mod conversation;
mod output;
pub(super) mod reader;

pub(super) use assign::{add_callers, assign_commands};
pub(super) use collector::collect_traffic;
#[cfg(feature = "cli")]
pub(crate) use output::pipeline_output;
pub use reader::{RecordReader, TrafficRecord};
