//! `hosts.csv`: the hosts whose records were read, and their clocks.

use std::borrow::Cow;

use super::cell::{cell, list};
use super::{Rows, columns};
use crate::analysis::Analysis;
use crate::model::Host;

columns! { pub(super) COLUMNS:
    "host" => "the host's name, as its earliest record spells it",
    "addresses" => "its addresses, as far as its connections (5156, Sysmon 3) tell",
    "clock_offset_seconds": Number => "how far its clock is ahead of the middle one of the hosts it could be compared with; empty when it could not",
    "clock_pairs": Integer => "pairs of records, its own and another host's of one thing (6 and a session's start, 4769 and 4624), that agree on it",
}

struct Hosts<'a>(&'a [Host]);

pub(super) fn rows(analysis: &Analysis) -> impl Rows + '_ {
    Hosts(&analysis.case.hosts)
}

impl Rows for Hosts<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn row(&self, index: usize) -> Vec<Cow<'_, str>> {
        let Host { name, addresses, clock, .. } = &self.0[index];
        vec![
            cell(name),
            list(addresses),
            // A number, which no cell takes for a formula.
            clock.map(|clock| format!("{:.3}", clock.seconds())).unwrap_or_default().into(),
            clock.map(|clock| clock.pairs.to_string()).unwrap_or_default().into(),
        ]
    }
}
