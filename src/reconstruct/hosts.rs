//! The logging hosts, each under one name.

use std::collections::{BTreeMap, BTreeSet};

use super::index::Events;
use super::marks::{HasMark, HostSpelling, TaskMarks};
use super::names::exactly_one;
use crate::model::{EventIdx, HostIdx, HostName, IdxVec};

/// The logging hosts.
pub(super) struct LoggingHosts {
    /// Each host's full name as far as known, lower case, in order, and the name as its records
    /// spell it.
    names: IdxVec<HostIdx, (HostName, HostName)>,
    /// Indexes by the names that logs use.
    by_name: BTreeMap<HostName, HostIdx>,
    /// The indexes of the hosts of each task.
    pub hosts_of_tasks: Vec<Vec<HostIdx>>,
}

impl LoggingHosts {
    pub fn from_marks(task_marks: &[TaskMarks]) -> LoggingHosts {
        let all = || task_marks.iter().flat_map(|task_marks| &task_marks.hosts);
        let logged: BTreeSet<&HostName> = all().map(|(host, _)| host).collect();
        let full = full_names(logged.into_iter());
        let name = |host: &HostName| full.get(&**host).copied().unwrap_or(host).clone();
        let mut spelled: BTreeMap<HostName, &HostSpelling> = BTreeMap::new();
        for (host, spelling) in all() {
            let known = spelled.entry(name(host)).or_insert(spelling);
            *known = (*known).min(spelling);
        }
        let names: IdxVec<HostIdx, (HostName, HostName)> =
            spelled.into_iter().map(|(name, known)| (name, known.computer.clone())).collect();
        let index =
            |host: &HostName| HostIdx::new(names.partition_point(|(known, _)| *known < name(host)));
        let by_name = all().map(|(host, _)| (host.clone(), index(host))).collect();
        let of_task = |task: &TaskMarks| task.hosts.iter().map(|(host, _)| index(host)).collect();
        let hosts_of_tasks = task_marks.iter().map(of_task).collect();
        LoggingHosts { names, by_name, hosts_of_tasks }
    }

    /// Returns the host that logs under this name.
    pub fn index_of(&self, name: &str) -> Option<HostIdx> {
        self.by_name.get(name).copied()
    }

    pub fn names(&self) -> impl Iterator<Item = &HostName> {
        self.names.iter().map(|(name, _)| name)
    }

    /// Returns the full name of a host by its index.
    pub fn name_at(&self, index: HostIdx) -> &HostName {
        &self.names[index].0
    }

    /// Returns the full name of a host, as far as known.
    pub fn full_name<'h>(&'h self, host: &'h HostName) -> &'h HostName {
        self.index_of(host).map_or(host, |index| &self.names[index].0)
    }

    /// Returns a host's name as its records spell it.
    pub fn as_logged(&self, host: &HostName) -> HostName {
        self.index_of(host).map_or(host, |index| &self.names[index].1).clone()
    }

    /// Returns the marks of one kind of all tasks, each with the index of its host.
    pub fn marks_with_host<'g, T: HasMark>(
        &'g self,
        task_marks: &'g [TaskMarks],
        kind: fn(&TaskMarks) -> &Vec<T>,
    ) -> impl Iterator<Item = (HostIdx, &'g T)> {
        task_marks.iter().zip(&self.hosts_of_tasks).flat_map(move |(task, hosts)| {
            kind(task).iter().map(|found| (hosts[found.mark().host as usize], found))
        })
    }
}

/// Returns the full name for each first label, for hosts that log under both. Leaves out a label
/// that two hosts share.
fn full_names<'h>(hosts: impl Iterator<Item = &'h HostName>) -> BTreeMap<&'h str, &'h HostName> {
    let mut full: BTreeMap<&str, BTreeSet<&HostName>> = BTreeMap::new();
    for host in hosts {
        if host.short_name() != host.as_str() {
            full.entry(host.short_name()).or_default().insert(host);
        }
    }
    full.into_iter()
        .filter_map(|(label, hosts)| Some((label, *exactly_one(hosts.iter())?)))
        .collect()
}

/// Returns the indexes of each host's events.
pub(super) fn events_by_host(
    events: &Events,
    hosts: &LoggingHosts,
) -> IdxVec<HostIdx, Vec<EventIdx>> {
    let mut by_host: IdxVec<HostIdx, Vec<EventIdx>> = hosts.names().map(|_| Vec::new()).collect();
    for (index, event) in events.iter_enumerated() {
        if let Some(host) = hosts.index_of(&event.host) {
            by_host[host].push(index);
        }
    }
    by_host
}
