//! The tables that the stages after the clocks look facts up in.

use std::collections::BTreeMap;

use super::clocks::HostClocks;
use super::directory::HostDirectory;
use super::hosts::LoggingHosts;
use super::index::Events;
use super::process::ProcessTable;
use crate::model::{AccountName, HostName};

/// All that is known of the hosts before sessions are finished.
#[derive(Clone, Copy)]
pub(super) struct LookupTables<'w> {
    pub events: &'w Events,
    pub hosts: &'w LoggingHosts,
    /// Names and addresses.
    pub directory: &'w HostDirectory,
    pub clocks: &'w HostClocks,
    /// The processes of each host.
    pub processes: &'w BTreeMap<HostName, ProcessTable>,
    /// Accounts by SID, from logons.
    pub accounts: &'w BTreeMap<String, AccountName>,
}
