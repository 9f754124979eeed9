//! Requests for shells in the target's WinRM log: WinRM 91, and on builds that log them the steps
//! of the request (81, 82, 134) and its authentication (169).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::draft::{DraftsByTime, SessionDraft, SessionDrafts, nearest_draft};
use super::host_events::HostEvents;
use super::index::DraftIdx;
use super::names::SERVICE_SIDS;
use super::windows::{FIRST_COMMAND_WINDOW, STEP_WINDOW, is_within};
use crate::model::{
    AccountName, Auth, Event, EventIdx, EventKind, IdxVec, Link, LoggedId, ServerOperation,
    ShellKind, creates_shell,
};

/// Returns true if an operation creates a shell.
pub(super) fn is_shell_request(operation: &ServerOperation) -> bool {
    let uri = operation.resource_uri.as_deref().unwrap_or_default();
    creates_shell(&operation.operation) && ShellKind::of(uri).0 != ShellKind::Other
}

/// One request, as far as its records show it.
#[derive(Default)]
struct ShellRequest<'e> {
    /// Indexes of its records, in order.
    events: Vec<EventIdx>,
    /// When it made its shell: the time of its 91, or of the first step.
    time: DateTime<Utc>,
    /// WinRM 91.
    shell: Option<EventIdx>,
    /// The request asks for a shell.
    creates: bool,
    kind: Option<ShellKind>,
    configuration: &'e str,
    /// The caller, from 91.
    account: Option<&'e AccountName>,
    /// The caller, from the authentication.
    authenticated: Option<&'e AccountName>,
    sid: Option<&'e str>,
    auth: Option<Auth>,
}

impl<'e> ShellRequest<'e> {
    /// Adds a record of the request.
    fn add_record(&mut self, index: EventIdx, event: &'e Event) {
        if self.events.is_empty() {
            self.time = event.time;
        }
        self.events.push(index);
        match &event.kind {
            EventKind::ShellCreated(shell) => {
                self.time = event.time;
                self.shell = Some(index);
                self.creates = true;
                self.kind = Some(shell.kind);
                self.configuration = &shell.configuration;
                self.account = shell.account.as_ref();
                // Some builds log it as the service, not as the caller.
                let sid = event.user_sid.as_deref();
                self.sid = sid.filter(|sid| !SERVICE_SIDS.contains(sid));
            }
            EventKind::ServerOperation(operation) => {
                if let Some(uri) = &operation.resource_uri
                    && self.shell.is_none()
                {
                    let (kind, configuration) = ShellKind::of(uri);
                    (self.kind, self.configuration) = (Some(kind), configuration);
                    self.creates |= is_shell_request(operation);
                }
            }
            EventKind::Authenticated(caller) => {
                self.authenticated = caller.account.as_ref();
                self.auth = Some(Auth::parse(&caller.mechanism)).filter(|a| *a != Auth::Unknown);
            }
            _ => {}
        }
    }
}

impl HostEvents<'_> {
    /// Joins requests to the host processes that they started, by account and time, nearest pairs
    /// first.
    pub fn add_shells(&self, drafts: &mut SessionDrafts) {
        let requests = self.requests();
        let by_start = DraftsByTime::by_start(drafts);
        let mut pairs = Vec::new();
        for (number, request) in requests.iter().enumerate().filter(|(_, one)| one.creates) {
            for slot in by_start.near(request.time, STEP_WINDOW, FIRST_COMMAND_WINDOW) {
                let draft = &drafts[slot];
                if self.may_have_made(request, draft) {
                    pairs.push(((draft.start() - request.time).abs(), number, slot));
                }
            }
        }
        pairs.sort_unstable();
        let mut taken: Vec<Option<DraftIdx>> = vec![None; requests.len()];
        let mut has_request: IdxVec<DraftIdx, bool> = drafts.iter().map(|_| false).collect();
        for (_, number, slot) in pairs {
            if taken[number].is_none() && !has_request[slot] {
                taken[number] = Some(slot);
                has_request[slot] = true;
            }
        }
        let mut others = Vec::new();
        for (request, slot) in requests.into_iter().zip(taken) {
            if !request.creates {
                others.push(request);
                continue;
            }
            let link = if slot.is_some() { Link::Account } else { Link::Own };
            let slot = slot.unwrap_or_else(|| {
                drafts.push(SessionDraft {
                    server: Some(self.host.clone()),
                    kind: request.kind,
                    ..SessionDraft::default()
                })
            });
            self.add_request(&mut drafts[slot], &request, link);
        }
        self.add_authentications(drafts, others);
    }

    /// Returns the requests, in order of their first records. One ActivityID is one request; a
    /// second shell or a pause begins another.
    fn requests(&self) -> Vec<ShellRequest<'_>> {
        let mut requests: Vec<ShellRequest<'_>> = Vec::new();
        let mut by_activity: BTreeMap<&LoggedId, (usize, DateTime<Utc>)> = BTreeMap::new();
        for (index, event) in self.iter() {
            let shell = match &event.kind {
                // Event forwarding subscribes with a shell of its own.
                EventKind::ShellCreated(shell)
                    if shell.resource_uri.to_ascii_lowercase().contains("/subscription") =>
                {
                    continue;
                }
                EventKind::ShellCreated(_) => true,
                EventKind::ServerOperation(_) | EventKind::Authenticated(_) => false,
                _ => continue,
            };
            let activity = event.activity_id.as_ref();
            let known = activity.and_then(|activity| by_activity.get(activity).copied());
            let known = known.filter(|&(number, last)| {
                is_within(last, event.time, STEP_WINDOW)
                    && !(shell && requests[number].shell.is_some())
            });
            let number = known.map_or(requests.len(), |(number, _)| number);
            if number == requests.len() {
                requests.push(ShellRequest::default());
            }
            requests[number].add_record(index, event);
            if let Some(activity) = activity {
                by_activity.insert(activity, (number, event.time));
            }
        }
        requests
    }

    /// Returns true if a request may have made a session.
    fn may_have_made(&self, request: &ShellRequest<'_>, draft: &SessionDraft) -> bool {
        let account = request.account.or(request.authenticated);
        let account = account.or_else(|| self.account_of(request.sid));
        // Without process audit, the start of a session is that of its first command.
        let unaudited =
            draft.process.is_some_and(|process| self.processes.get(process).start.is_none());
        let same = request.sid.is_some() && request.sid == draft.user_sid.as_deref();
        let same_kind =
            request.kind.is_none_or(|kind| kind == ShellKind::Other) || draft.kind == request.kind;
        (is_within(draft.start(), request.time, STEP_WINDOW)
            || (unaudited && same && draft.start() >= request.time))
            && !draft.ssh
            && same_kind
            && draft.may_belong_to(account, request.sid)
    }

    fn add_request(&self, draft: &mut SessionDraft, request: &ShellRequest<'_>, link: Link) {
        for &index in &request.events {
            draft.add_evidence(index, link);
        }
        draft.shell = draft.shell.or(request.shell);
        draft.set_earlier_start(request.time);
        if !request.configuration.is_empty() {
            request.configuration.clone_into(&mut draft.configuration);
        }
        if let Some(account) = request.account {
            draft.user = Some(account.clone());
        } else if draft.user.is_none() {
            draft.user = request.authenticated.or_else(|| self.account_of(request.sid)).cloned();
        }
        if let Some(sid) = request.sid {
            draft.user_sid = Some(sid.to_owned());
        }
        draft.auth = request.auth.or(draft.auth);
    }

    /// Adds authentications that no ActivityID ties to a shell, by account and time.
    fn add_authentications(&self, drafts: &mut SessionDrafts, requests: Vec<ShellRequest<'_>>) {
        let by_start = DraftsByTime::by_start(drafts);
        for request in requests {
            let Some(account) = request.authenticated else { continue };
            let near = by_start.near(request.time, STEP_WINDOW, STEP_WINDOW);
            let near = near.filter(|&slot| {
                drafts[slot].user.is_some() && drafts[slot].may_belong_to(Some(account), None)
            });
            if let Some(slot) = nearest_draft(drafts, near, request.time) {
                let draft = &mut drafts[slot];
                for &index in &request.events {
                    draft.add_evidence(index, Link::Account);
                }
                draft.auth = request.auth.or(draft.auth);
            }
        }
    }
}
