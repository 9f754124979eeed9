//! What one host's events are read with.

use std::collections::BTreeMap;

use super::index::Events;
use super::process::ProcessTable;
use crate::model::{AccountName, Event, EventIdx, HostName};

/// One host's events, and what they point to.
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

    /// The account that logons on any host give a SID.
    pub fn account_of(&self, sid: Option<&str>) -> Option<&AccountName> {
        self.accounts.get(sid?)
    }
}
