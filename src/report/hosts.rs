//! `hosts`: the hosts whose records were read, and their clocks.

use std::io;

use super::table_rows::TableRows;
use crate::analysis::Analysis;
use crate::model::Host;
use crate::rows::value::row;

/// A host.
pub(super) struct HostRow<'r>(&'r Host);

row! { HostRow<'_> as row:
    "host": Text = &*row.0.name => "the host's name, as its earliest record spells it",
    "addresses": Texts = row.0.addresses.iter().map(String::as_str).collect::<Vec<_>>() => "its addresses, as far as its connections (5156, Sysmon 3) tell",
    "clock_offset_seconds": Number = row.0.clock.map(|clock| clock.seconds()) => "how far its clock is ahead of the middle one of the hosts it could be compared with; empty when it could not",
    "clock_pairs": Integer = row.0.clock.map(|clock| clock.pairs) => "pairs of records, its own and another host's of one thing (6 and a session's start, 4769 and 4624), that agree on it",
}

/// The table.
pub(super) struct Hosts;

impl TableRows for Hosts {
    type Row<'r> = HostRow<'r>;

    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&HostRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        analysis.reconstruction.hosts.iter().try_for_each(|host| each(&HostRow(host)))
    }
}
