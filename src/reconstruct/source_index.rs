//! Index of the records that may show where a session came from. Each session looks only at records
//! that may concern it, and only at a few.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::directory::HostDirectory;
use super::lookup::LookupTables;
use crate::model::{
    AccountName, EventIdx, EventKind, HostName, host_key, host_of_service, short_name,
};

/// Most records of one list that a session is compared with, before its start and after. Keeps a
/// log full of forged records cheap.
const MOST_NEAR_RECORDS: usize = 64;

/// Records in order of their corrected times.
type TimedEvents = Vec<(DateTime<Utc>, EventIdx)>;

/// Finds the records that may concern a session.
#[derive(Default)]
pub(super) struct SourceIndex<'e> {
    /// By the host that they name. If it does not log, by the first label of its name or by its
    /// address.
    by_target: BTreeMap<String, TimedEvents>,
    /// NTLM checks by account: they name no target.
    by_account: BTreeMap<String, TimedEvents>,
    /// Connections by the process that opened them.
    by_process: BTreeMap<(&'e HostName, u32), TimedEvents>,
}

impl<'e> SourceIndex<'e> {
    /// Builds the index from all events.
    pub fn build(tables: LookupTables<'e>) -> SourceIndex<'e> {
        let LookupTables { events, directory, clocks, .. } = tables;
        let mut found = SourceIndex::default();
        for (index, event) in events.iter_enumerated() {
            let mut names: Vec<&str> = Vec::new();
            let at = (clocks.correct(&event.host, event.time), index);
            match &event.kind {
                EventKind::ExplicitCredentials(used) => names.push(&used.target_info),
                EventKind::KerberosTicket(ticket) => names.push(&ticket.service),
                EventKind::Connection(connection) if connection.outbound => {
                    names.extend([&*connection.destination_ip, &*connection.destination_host]);
                    let process = (&event.host, connection.process_id);
                    found.by_process.entry(process).or_default().push(at);
                }
                EventKind::Connection(_) | EventKind::SshAccepted(_) => names.push(&event.host),
                EventKind::NtlmValidation(check) => {
                    let name = account_key(check.account.as_ref());
                    found.by_account.entry(name).or_default().push(at);
                }
                _ => {}
            }
            let keys: BTreeSet<String> =
                names.into_iter().map(|name| target_key(directory, name, event.time)).collect();
            for key in keys.into_iter().filter(|key| !key.is_empty()) {
                found.by_target.entry(key).or_default().push(at);
            }
        }
        let by_target = found.by_target.values_mut();
        let by_account = found.by_account.values_mut();
        let all = by_target.chain(by_account).chain(found.by_process.values_mut());
        all.for_each(|list| list.sort_unstable());
        found
    }

    /// Returns the records that may concern a session on a target, within `window` of its corrected
    /// start, in order.
    pub fn near(
        &self,
        server: &str,
        account: Option<&AccountName>,
        process: Option<(&HostName, u32)>,
        start: DateTime<Utc>,
        window: TimeDelta,
    ) -> BTreeSet<EventIdx> {
        let named = [server, short_name(server)].map(|name| self.by_target.get(name));
        let checked = account.and_then(|_| self.by_account.get(&account_key(account)));
        let opened = process.and_then(|process| self.by_process.get(&process));
        let lists = named.into_iter().chain([checked, opened]).flatten();
        let near = lists.flat_map(|list| {
            let split = list.partition_point(|&(time, _)| time < start);
            let before = list[..split].iter().rev().take(MOST_NEAR_RECORDS);
            let after = list[split..].iter().take(MOST_NEAR_RECORDS);
            let near =
                move |(time, _): &&(DateTime<Utc>, EventIdx)| (*time - start).abs() <= window;
            before.take_while(near).chain(after.take_while(near))
        });
        near.map(|&(_, index)| index).collect()
    }
}

fn account_key(account: Option<&AccountName>) -> String {
    account.map(AccountName::name_key).unwrap_or_default()
}

/// Returns the look-up key of a name, address or service (`HTTP/host`, `HOST$`).
fn target_key(directory: &HostDirectory, name: &str, time: DateTime<Utc>) -> String {
    let name = host_of_service(name);
    match directory.resolve(name, time) {
        Some(host) => host.to_string(),
        None => host_key(name),
    }
}
