//! Rules over events and over what reconstruction derives from them. Only this folder uses
//! rsigma.

mod ascii_rule;
mod compile;
mod correlation;
mod derived;
mod equivalent;
mod event_filter;
mod expansion_limit;
mod explain;
mod filter;
mod history;
mod index;
mod lint;
mod load;
mod loaded;
mod logsource;
mod lower;
mod pack;
mod prefilter;
mod rule;
mod rule_names;
mod rule_tests;
mod rules;
mod select;
mod simple;
mod view;

#[cfg(test)]
mod agreement;

pub use correlation::LimitedCorrelation;
pub(crate) use correlation::{CorrelationResults, CorrelationStep, Correlator};
pub use derived::{
    OutsideScriptMatcher, detections_on_layers, detections_on_rebuilt, detections_on_record,
};
pub(crate) use derived::{SessionCounts, session_counts};
pub use event_filter::EventFilter;
pub use lint::{Diagnostic, lint};
pub use loaded::{LoadedPack, LoadedRule};
pub use pack::{Pack, RejectedRule};
pub use rule_tests::{RuleTestReport, run_rule_tests};
pub use rules::{Hit, RuleSet};
pub use select::{ExclusionCounts, RuleSelection};
