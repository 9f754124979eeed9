//! Rules over events and over what reconstruction derives from them. Only this stage knows rsigma.

mod ascii;
mod asks;
mod cases;
mod compile;
mod correlation;
mod derived;
mod equivalent;
mod explain;
mod filter;
mod forms;
mod gate;
mod history;
mod index;
mod lint;
mod load;
mod loaded;
mod logsource;
mod lower;
mod names;
mod pack;
mod rule;
mod rules;
mod select;
mod simple;
mod view;

#[cfg(test)]
mod agreement;

pub use asks::Asks;
pub use cases::{Tested, test};
pub use correlation::Limited;
pub(crate) use correlation::{Correlated, Correlator, Step};
pub use derived::{LoneScripts, on_case, on_layers, on_record};
pub(crate) use derived::{SessionCounts, session_counts};
pub use lint::{Remark, lint};
pub use loaded::{LoadedPack, LoadedRule};
pub use pack::{Pack, Refused};
pub use rules::{Hit, RuleSet};
pub use select::{Excluded, Selection};
