//! Sessions that are not finished, and how to find them by time.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::index::{DraftIdx, ProcessIdx};
use crate::model::{
    AccountName, Auth, EndKind, EventIdx, HostName, Identity, IdxVec, Link, LoggedId, Rejected,
    ShellKind, SourceBasis, Weighed,
};

/// Sessions that are not finished, of one host or of all.
pub(super) type SessionDrafts = IdxVec<DraftIdx, SessionDraft>;

/// A session that is not finished: what is known from each side.
#[derive(Debug, Default)]
pub(super) struct SessionDraft {
    /// The events that belong to the session, and the link of each.
    pub evidence: BTreeMap<EventIdx, Link>,
    /// The target, if its logs show the session. `None` if only the client's logs do.
    pub server: Option<HostName>,
    /// Index of the host process in its host's table.
    pub process: Option<ProcessIdx>,
    /// When the engine of the host process began to listen (53504).
    pub listens: Option<DateTime<Utc>>,
    pub host_ids: Vec<LoggedId>,
    pub runspace_ids: Vec<LoggedId>,
    /// WinRM 91.
    pub shell: Option<EventIdx>,
    /// The client's WinRM 6.
    pub client: Option<EventIdx>,
    /// How far apart client and target log the start, by corrected clocks. Set if the two were
    /// joined by time.
    pub client_distance: Option<TimeDelta>,
    /// WinRM 6 of other clients that also fit, and why each was rejected.
    pub client_rivals: Vec<(EventIdx, Rejected)>,
    /// One of the rivals, on another host, is equally near.
    pub client_unsure: bool,
    /// The name that the client used for the target.
    pub client_target: Option<String>,
    pub https: Option<bool>,
    /// The session came over SSH.
    pub ssh: bool,
    pub kind: Option<ShellKind>,
    pub configuration: String,
    pub engine_version: String,
    pub user: Option<AccountName>,
    pub user_sid: Option<String>,
    pub auth: Option<Auth>,
    pub logon_ids: Vec<u64>,
    /// The best source found. `source_basis` is what it rests on.
    pub source_host: Option<HostName>,
    pub source_ip: Option<String>,
    pub source_basis: SourceBasis,
    pub source_assessment: Weighed,
    /// Who asked for the shell, from the traffic.
    pub callers: Vec<ShellCaller>,
    /// The source's own logs show the session.
    pub client_seen: bool,
    /// A domain controller's log shows the session.
    pub dc: bool,
    pub start: Option<DateTime<Utc>>,
    pub end: Option<(DateTime<Utc>, EndKind)>,
}

impl SessionDraft {
    /// Adds an event as evidence. Keeps the stronger of two links.
    pub fn add_evidence(&mut self, event: EventIdx, link: Link) {
        let known = self.evidence.entry(event).or_insert(link);
        *known = (*known).min(link);
    }

    /// Sets the start, if `time` is earlier.
    pub fn set_earlier_start(&mut self, time: DateTime<Utc>) {
        self.start = Some(self.start.map_or(time, |start| start.min(time)));
    }

    /// Sets the end, if it is better known, or equally well known and later.
    pub fn set_better_end(&mut self, time: DateTime<Utc>, kind: EndKind) {
        self.end = match self.end {
            Some((end, known)) if known < kind || (known == kind && end >= time) => {
                Some((end, known))
            }
            _ => Some((time, kind)),
        };
    }

    pub fn start(&self) -> DateTime<Utc> {
        self.start.unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// Returns the session's account, as far as known.
    pub fn identity(&self) -> Identity<'_> {
        Identity { name: self.user.as_ref(), sid: self.user_sid.as_deref() }
    }

    /// Returns true unless the account is known to differ from the session's.
    pub fn may_belong_to(&self, account: Option<&AccountName>, sid: Option<&str>) -> bool {
        self.identity().same_as(Identity { name: account, sid }).unwrap_or(true)
    }
}

/// The client that a session's shell was made for, from the answer to the request.
#[derive(Debug)]
pub(super) struct ShellCaller {
    /// The event of the answer.
    pub event: EventIdx,
    /// ClientIP.
    pub ip: Option<String>,
    /// Owner.
    pub account: Option<AccountName>,
}

/// Most sessions that one record is compared with, before it and after. Keeps a log full of forged
/// records cheap.
const MOST_RIVALS: usize = 64;

/// Drafts in order of one of their times.
#[derive(Default)]
pub(super) struct DraftsByTime(Vec<(DateTime<Utc>, DraftIdx)>);

impl DraftsByTime {
    pub fn by_start(drafts: &SessionDrafts) -> DraftsByTime {
        DraftsByTime::sorted_by(drafts, |draft| draft.start)
    }

    pub fn by_end(drafts: &SessionDrafts) -> DraftsByTime {
        DraftsByTime::sorted_by(drafts, |draft| draft.end.map(|(end, _)| end))
    }

    /// Groups drafts by key, each group in order of start.
    pub fn grouped_by_key<K: Ord, I: IntoIterator<Item = K>>(
        drafts: &SessionDrafts,
        keys: impl Fn(&SessionDraft) -> I,
    ) -> BTreeMap<K, DraftsByTime> {
        let mut by_key: BTreeMap<K, DraftsByTime> = BTreeMap::new();
        for (slot, draft) in drafts.iter_enumerated() {
            for key in keys(draft) {
                by_key.entry(key).or_default().0.push((draft.start(), slot));
            }
        }
        by_key.values_mut().for_each(|drafts| drafts.0.sort_unstable());
        by_key
    }

    fn sorted_by(
        drafts: &SessionDrafts,
        time: fn(&SessionDraft) -> Option<DateTime<Utc>>,
    ) -> DraftsByTime {
        let timed = drafts.iter_enumerated();
        let timed = timed.filter_map(|(slot, draft)| Some((time(draft)?, slot)));
        let mut timed: Vec<_> = timed.collect();
        timed.sort_unstable();
        DraftsByTime(timed)
    }

    /// Returns the drafts whose time is at most `time`, the latest first.
    pub fn begun_by(&self, time: DateTime<Utc>) -> impl Iterator<Item = DraftIdx> {
        let begun = self.0.partition_point(|&(known, _)| known <= time);
        self.0[..begun].iter().rev().take(MOST_RIVALS).map(|&(_, slot)| slot)
    }

    /// Returns the drafts whose time is at most `before` earlier or `after` later than `time`,
    /// nearest first on each side.
    pub fn near(
        &self,
        time: DateTime<Utc>,
        before: TimeDelta,
        after: TimeDelta,
    ) -> impl Iterator<Item = DraftIdx> {
        let split = self.0.partition_point(|&(known, _)| known < time);
        let earlier = self.0[..split].iter().rev().take(MOST_RIVALS);
        let earlier = earlier.take_while(move |(known, _)| *known >= time - before);
        let later = self.0[split..].iter().take(MOST_RIVALS);
        let later = later.take_while(move |(known, _)| *known <= time + after);
        earlier.chain(later).map(|&(_, slot)| slot)
    }
}

/// Returns the draft whose start is nearest to a time.
pub(super) fn nearest_draft(
    drafts: &SessionDrafts,
    slots: impl Iterator<Item = DraftIdx>,
    time: DateTime<Utc>,
) -> Option<DraftIdx> {
    slots.min_by_key(|&slot| ((drafts[slot].start() - time).abs(), slot))
}

/// Adds an id unless it is already there.
pub(super) fn push_new_id(ids: &mut Vec<LoggedId>, id: Option<&LoggedId>) {
    if let Some(id) = id.filter(|&id| !ids.contains(id)) {
        ids.push(id.clone());
    }
}
