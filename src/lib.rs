//! Rebuilds PowerShell Remoting sessions from Windows event logs, and lists the records that prove
//! them.
//!
//! The modules are the stages, in this order: [`input`] finds logs, [`decode`] turns their bytes
//! into [`Record`]s, [`normalise`] turns records into typed [`Event`](model::Event)s,
//! [`reconstruct`] turns events into [`Session`]s, [`detect`] matches rules on records and
//! sessions, and [`report`] writes the results.
//! [`analyze`] runs all of them.
//! ```no_run
//! use psr_forensics::{NoProgress, Options, Pack, RuleSet, analyze, discover};
//!
//! # fn main() -> Result<(), psr_forensics::Error> {
//! let rules = RuleSet::load(vec![Pack::default_pack()])?;
//! let inputs = discover(&["logs".into()])?;
//! let analysis = analyze(inputs, &Options::default(), rules, &NoProgress)?;
//! for session in &analysis.reconstruction.sessions {
//!     let user = session.user.as_ref().map(ToString::to_string);
//!     assert!(session.start <= session.end, "{user:?} on {}", session.target_host);
//! }
//! # Ok(())
//! # }
//! ```

pub mod analysis;
#[cfg(feature = "cli")]
pub mod cli;
pub mod decode;
mod dedup;
pub mod detect;
pub mod error;
mod hex;
pub mod input;
mod keyed;
pub mod limits;
pub mod model;
pub mod normalise;
#[cfg(feature = "parquet")]
pub mod observe;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "sql")]
pub mod query;
pub mod reconstruct;
mod record_row;
pub mod report;
pub mod rows;
mod sorted;
mod table;
pub mod verify;

#[cfg(feature = "parquet")]
pub use analysis::extract;
pub use analysis::{
    Analysis, CancelToken, NoProgress, Options, Progress, RunInputs, analyze, rebuild,
};
pub use detect::{Pack, RuleSet};
pub use error::{Error, Fault};
pub use input::{Input, discover};
pub use model::{Detection, Record, Session};
pub use ps_layers as layers;
pub use psrp;
pub use report::{Format, Output, RunInfo, Wanted, write};
