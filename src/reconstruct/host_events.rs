//! The events of one host, with the tables that are needed to read them.

use std::collections::BTreeMap;

use super::index::Events;
use super::process::ProcessTable;
use crate::model::{AccountName, Event, EventIdx, HostName};

/// The events of one host, with its processes and accounts.
pub(super) struct HostEvents<'a> {
    pub events: &'a Events,
    pub indexes: &'a [EventIdx],
    pub host: &'a HostName,
    pub processes: &'a ProcessTable,
    /// Accounts by SID, from all logons.
    pub accounts: &'a BTreeMap<String, AccountName>,
}

impl HostEvents<'_> {
    pub fn iter(&self) -> impl Iterator<Item = (EventIdx, &Event)> {
        self.indexes.iter().map(|&index| (index, &self.events[index]))
    }

    /// Returns the account of a SID, from the logons of any host.
    pub fn account_of(&self, sid: Option<&str>) -> Option<&AccountName> {
        self.accounts.get(sid?)
    }
}
