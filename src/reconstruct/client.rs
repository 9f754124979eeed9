//! The client's side: connections that its WinRM log shows.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rayon::prelude::*;

use super::draft::SessionDraft;
use super::index::Events;
use super::windows::STEP_WINDOW;
use crate::model::{
    AccountName, Event, EventIdx, EventKind, HostName, Identity, IdxVec, Link, LoggedId, ShellKind,
    creates_shell, index_types, is_address, same_host,
};

/// Most clients that one record of credentials is compared with. Keeps a log full of forged records
/// cheap.
const MOST_RIVALS: usize = 64;

/// How long a client may be silent before its process id may belong to another process.
const LONGEST_IDLE: TimeDelta = TimeDelta::minutes(30);

index_types! {
    /// Index of a client connection, of one host or of all hosts.
    pub(super) ClientIdx;
}

/// Client connections in order.
pub(super) type ClientConnections = IdxVec<ClientIdx, ClientConnection>;

/// A connection that a client made: WinRM 6 and the later records of its process.
pub(super) struct ClientConnection {
    pub host: HostName,
    /// WinRM 6.
    pub event: EventIdx,
    pub time: DateTime<Utc>,
    pub target: String,
    pub https: Option<bool>,
    /// The session configuration that the client asked for. Empty if not logged.
    pub configuration: String,
    /// PowerShell names its version in the connection string. winrs and CIM do not.
    pub powershell: bool,
    pub user_sid: Option<String>,
    /// The account of the explicit credentials (4648).
    pub account: Option<AccountName>,
    pub evidence: BTreeMap<EventIdx, Link>,
    /// The client asked for a shell (WinRM 11).
    pub asked_for_shell: bool,
    /// The client ran a command in the shell (WinRM 13).
    pub ran_command: bool,
    pub failures: Vec<EventIdx>,
    pub closed_at: Option<DateTime<Utc>>,
    /// The time of the latest record.
    pub last: DateTime<Utc>,
}

/// Returns all client connections: first those that may have a session, then those that failed.
pub(super) fn client_connections(
    events: &Events,
    by_host: &BTreeMap<HostName, Vec<EventIdx>>,
) -> (ClientConnections, ClientConnections) {
    let all = by_host
        .par_iter()
        .flat_map_iter(|(host, indexes)| connections_of_host(events, host, indexes));
    let all: Vec<ClientConnection> = all.collect();
    all.into_iter().partition(|client| client.ran_command || client.failures.is_empty())
}

fn connections_of_host(
    events: &Events,
    host: &HostName,
    indexes: &[EventIdx],
) -> ClientConnections {
    let mut clients = ClientConnections::new();
    let mut owners = ConnectionLookup::default();
    let mut credentials = Vec::new();
    for &index in indexes {
        let event = &events[index];
        match &event.kind {
            EventKind::ClientSession(session) => {
                let sid = event.user_sid.as_deref();
                let connection = session.connection.to_lowercase();
                if connection.contains("/subscriptionmanager/") {
                    continue;
                }
                let client = clients.push(ClientConnection {
                    host: host.clone(),
                    event: index,
                    time: event.time,
                    target: session.target.clone(),
                    https: session.https,
                    configuration: String::new(),
                    powershell: connection.contains("psversion="),
                    user_sid: sid.map(str::to_owned),
                    account: None,
                    evidence: BTreeMap::from([(index, Link::Own)]),
                    asked_for_shell: false,
                    ran_command: false,
                    failures: Vec::new(),
                    closed_at: None,
                    last: event.time,
                });
                owners.add(event, client);
            }
            EventKind::ClientStep(_)
            | EventKind::ClientFailure(_)
            | EventKind::ClientRunspace(_) => {
                let Some((client, link)) = owners.find(&mut clients, event) else { continue };
                client.evidence.insert(index, link);
                if let EventKind::ClientStep(step) = &event.kind
                    && client.configuration.is_empty()
                    && let Some(uri) = &step.resource_uri
                {
                    ShellKind::of(uri).1.clone_into(&mut client.configuration);
                }
                match (&event.kind, event.event_id) {
                    // Counts only failures to open the session. A later operation may fail inside
                    // it.
                    (EventKind::ClientFailure(failure), _)
                        if failure.operation.as_deref().is_none_or(creates_shell) =>
                    {
                        client.failures.push(index);
                    }
                    // A new request after a failure is another try to open the session.
                    (EventKind::ClientStep(step), _) if step.asks_shell => {
                        client.asked_for_shell = true;
                        client.failures.clear();
                    }
                    (EventKind::ClientStep(_), 13) => client.ran_command = true,
                    // The session or its shell closes or is closed.
                    (EventKind::ClientStep(_), 8 | 16 | 33) => client.closed_at = Some(event.time),
                    _ => {}
                }
            }
            EventKind::ExplicitCredentials(_) => credentials.push(index),
            _ => {}
        }
    }
    for index in credentials {
        let event = &events[index];
        let EventKind::ExplicitCredentials(used) = &event.kind else { continue };
        let (class, service) = used.target_info.split_once('/').unwrap_or(("", &used.target));
        let http = class.eq_ignore_ascii_case("http");
        // Clients are in order of time.
        let from = clients.partition_point(|client| client.time < event.time - STEP_WINDOW);
        let to = clients.partition_point(|client| client.time <= event.time + STEP_WINDOW);
        let candidates =
            clients.as_mut_slice()[from..to].iter_mut().take(MOST_RIVALS).filter(|client| {
                let own = events[client.event].process_id == Some(used.process_id);
                // An address cannot be compared with the name that the credentials were used for.
                let by_address = own && http && is_address(&client.target);
                let named =
                    same_host(&client.target, service) || same_host(&client.target, &used.target);
                (http || own) && (named || by_address)
            });
        if let Some(client) = candidates.min_by_key(|client| (client.time - event.time).abs()) {
            let own = events[client.event].process_id == Some(used.process_id);
            client.evidence.insert(index, if own { Link::Process } else { Link::Target });
            if client.account.is_none() {
                client.account.clone_from(&used.account);
            }
        }
    }
    clients
}

/// Finds the client of a later record: by ActivityID, else the latest client of the same process.
#[derive(Default)]
struct ConnectionLookup<'e> {
    by_activity: BTreeMap<&'e LoggedId, ClientIdx>,
    by_process: BTreeMap<(u32, Option<&'e str>), ClientIdx>,
}

impl<'e> ConnectionLookup<'e> {
    /// Adds a client's first record.
    fn add(&mut self, event: &'e Event, client: ClientIdx) {
        if let Some(activity) = &event.activity_id {
            self.by_activity.insert(activity, client);
        }
        if let Some(process) = logging_process(event) {
            self.by_process.insert(process, client);
        }
    }

    /// Returns the client that an event belongs to, and the link between them.
    fn find<'c>(
        &self,
        clients: &'c mut ClientConnections,
        event: &Event,
    ) -> Option<(&'c mut ClientConnection, Link)> {
        let activity = event.activity_id.as_ref();
        let by_activity = activity.and_then(|activity| self.by_activity.get(activity)).copied();
        let by_process = || {
            let latest = *self.by_process.get(&logging_process(event)?)?;
            (event.time - clients[latest].last <= LONGEST_IDLE).then_some(latest)
        };
        let (slot, link) = match by_activity {
            Some(slot) => (slot, Link::Activity),
            None => (by_process()?, Link::Process),
        };
        let client = &mut clients[slot];
        client.last = event.time;
        Some((client, link))
    }
}

/// Returns the id of the process that logged an event, and the SID that runs it.
pub(super) fn logging_process(event: &Event) -> Option<(u32, Option<&str>)> {
    let id = event.process_id.filter(|&id| id != 0)?;
    Some((id, event.user_sid.as_deref()))
}

impl ClientConnection {
    /// Returns true if this client may have made the session, by kind and by account.
    pub fn may_have_made(&self, draft: &SessionDraft) -> bool {
        self.fits_kind(draft) && !self.is_other_account(draft)
    }

    /// Returns true if the session's SID differs from the SID that ran this client.
    pub fn is_other_account(&self, draft: &SessionDraft) -> bool {
        self.session_sid().zip(draft.user_sid.as_deref()).is_some_and(|(own, theirs)| own != theirs)
    }

    /// Returns true if this client can make sessions of this kind.
    pub fn fits_kind(&self, draft: &SessionDraft) -> bool {
        let kind = match draft.kind {
            Some(ShellKind::PowerShell) => self.powershell,
            Some(ShellKind::Winrs) => !self.powershell,
            Some(ShellKind::Other) | None => true,
        };
        kind && !draft.ssh
    }

    /// Returns true if the session is known to belong to the account that this client used.
    pub fn is_same_account(&self, draft: &SessionDraft) -> bool {
        let own = Identity { name: self.account.as_ref(), sid: self.session_sid() };
        own.same_as(draft.identity()) == Some(true)
    }

    /// Returns the SID that the session runs as, if the client's log shows it. With explicit
    /// credentials it is the SID of another account.
    pub fn session_sid(&self) -> Option<&str> {
        self.user_sid.as_deref().filter(|_| self.account.is_none())
    }
}
