//! What the stages after the clocks look things up in.

use std::collections::BTreeMap;

use super::clocks::Clocks;
use super::directory::HostDirectory;
use super::hosts::Hosts;
use super::index::Events;
use super::process::Processes;
use crate::model::{AccountName, HostName};

/// All that is known of the hosts before sessions are finished.
#[derive(Clone, Copy)]
pub(super) struct World<'w> {
    pub events: &'w Events,
    pub hosts: &'w Hosts,
    /// Names and addresses.
    pub directory: &'w HostDirectory,
    pub clocks: &'w Clocks,
    /// Each host's processes.
    pub processes: &'w BTreeMap<HostName, Processes>,
    /// Accounts by SID, as logons have them.
    pub accounts: &'w BTreeMap<String, AccountName>,
}
