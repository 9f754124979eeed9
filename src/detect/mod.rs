//! Rules over events and over what reconstruction derives from them. Only this stage knows rsigma.

mod correlation;
mod derived;
mod filter;
mod gate;
mod index;
mod load;
mod logsource;
mod pack;
mod rule;
mod rules;
mod select;
mod view;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod cases;

pub use correlation::Limited;
pub(crate) use correlation::{Correlated, Correlator, Step};
pub(crate) use derived::{Counts, session_id};
pub use derived::{LoneScripts, on_case, on_record};
pub use pack::{Pack, Refused};
pub use rules::{Hit, RuleSet};
pub use select::{Excluded, Selection};
