//! Remoting traffic in Analytic logs. It is read a second time, host by host, and assigned to
//! sessions by ids.
//!
//! A conversation belongs to one runspace pool or one plain shell. Its session is the one whose
//! host process served it, whose WinRM 91 names its shell, or whose client's pool has its id (8193
//! to 8197 have it as ActivityID). A conversation that none of these ties to a session is left out;
//! its records are in the timeline.

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
