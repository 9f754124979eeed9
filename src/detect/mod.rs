//! Rules over events and over what reconstruction derives from them. Only this stage knows rsigma.

mod derived;
mod equivalent;
mod gate;
mod index;
mod logsource;
mod lower;
mod pack;
mod rule;
mod rules;
mod view;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod cases;

pub(crate) use derived::{Counts, session_id};
pub use derived::{LoneScripts, on_case, on_record};
pub use pack::{Pack, Refused};
pub use rules::{Hit, RuleSet};
