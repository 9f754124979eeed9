//! Remoting's own traffic, where Analytic logs hold it: read a second time, host by host, and tied to
//! sessions by ids.
//!
//! A conversation is one runspace pool's, or one plain shell's. It belongs to the session whose
//! host process served it, whose WinRM 91 names its shell, or whose client's pool has its id
//! (8193 to 8197 have it as ActivityID). One that none of these ties belongs to none: its records
//! are in the timeline.

mod listener;
pub(super) mod logs;
mod shown;
pub(super) mod talk;
mod tie;

pub(super) use listener::listen;
pub use logs::{Logs, Overheard};
#[cfg(feature = "cli")]
pub(crate) use shown::shown;
pub(super) use tie::{introduce, tie};
