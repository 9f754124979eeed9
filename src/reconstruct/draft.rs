//! Sessions in the making, and how they are found by time.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::index::{DraftIdx, ProcessIdx};
use crate::model::{
    AccountName, Auth, EndKind, EventIdx, HostName, Identity, IdxVec, Link, LoggedId, Rejected,
    ShellKind, SourceBasis, Weighed,
};

/// Sessions in the making: of one host, or of all.
pub(super) type SessionDrafts = IdxVec<DraftIdx, SessionDraft>;

/// A session in the making: what is known of it on each side.
#[derive(Debug, Default)]
pub(super) struct SessionDraft {
    /// The target's events that tie it together, and how.
    pub evidence: BTreeMap<EventIdx, Link>,
    /// The logging target; none for a session seen from the client only.
    pub server: Option<HostName>,
    /// Index of the host process in its host's table.
    pub process: Option<ProcessIdx>,
    /// When its host process said that its engine listens (53504).
    pub listens: Option<DateTime<Utc>>,
    pub host_ids: Vec<LoggedId>,
    pub runspace_ids: Vec<LoggedId>,
    /// WinRM 91.
    pub shell: Option<EventIdx>,
    /// WinRM 6 and its host.
    pub client: Option<EventIdx>,
    /// How far apart client and target log the start, by corrected clocks, where time joined them.
    pub client_distance: Option<TimeDelta>,
    /// WinRM 6 of other clients that could be its own but for this.
    pub client_rivals: Vec<(EventIdx, Rejected)>,
    /// One of them, on another host, is as near.
    pub client_unsure: bool,
    /// The name the client used for the target.
    pub client_target: Option<String>,
    pub https: Option<bool>,
    /// It came over SSH.
    pub ssh: bool,
    pub kind: Option<ShellKind>,
    pub configuration: String,
    pub engine_version: String,
    pub user: Option<AccountName>,
    pub user_sid: Option<String>,
    pub auth: Option<Auth>,
    pub logon_ids: Vec<u64>,
    /// The best source found, and what it rests on.
    pub source_host: Option<HostName>,
    pub source_ip: Option<String>,
    pub source_basis: SourceBasis,
    pub source_assessment: Weighed,
    /// Who its shell was made for, as the traffic tells.
    pub callers: Vec<ShellCaller>,
    /// The source's own logs show it.
    pub client_seen: bool,
    /// A domain controller's log shows it.
    pub dc: bool,
    pub start: Option<DateTime<Utc>>,
    pub end: Option<(DateTime<Utc>, EndKind)>,
}

impl SessionDraft {
    /// Takes an event as evidence; a key is not weakened by time.
    pub fn add_evidence(&mut self, event: EventIdx, link: Link) {
        let known = self.evidence.entry(event).or_insert(link);
        *known = (*known).min(link);
    }

    /// Takes an earlier start.
    pub fn set_earlier_start(&mut self, time: DateTime<Utc>) {
        self.start = Some(self.start.map_or(time, |start| start.min(time)));
    }

    /// Takes an end that is known better, or as well and later.
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

    /// The session's account, as far as known.
    pub fn identity(&self) -> Identity<'_> {
        Identity { name: self.user.as_ref(), sid: self.user_sid.as_deref() }
    }

    /// Whether an account can be this session's.
    pub fn may_belong_to(&self, account: Option<&AccountName>, sid: Option<&str>) -> bool {
        self.identity().same_as(Identity { name: account, sid }).unwrap_or(true)
    }
}

/// Who a session's shell was made for, as the answer to the request says.
#[derive(Debug)]
pub(super) struct ShellCaller {
    /// The event of the answer.
    pub event: EventIdx,
    /// ClientIP.
    pub ip: Option<String>,
    /// Owner.
    pub account: Option<AccountName>,
}

/// Sessions that one record may be weighed against, before it and after: a log full of forged ones
/// costs no more.
const MOST_RIVALS: usize = 64;

/// Drafts in order of a time of theirs.
#[derive(Default)]
pub(super) struct DraftsByTime(Vec<(DateTime<Utc>, DraftIdx)>);

impl DraftsByTime {
    pub fn by_start(drafts: &SessionDrafts) -> DraftsByTime {
        DraftsByTime::sorted_by(drafts, |draft| draft.start)
    }

    pub fn by_end(drafts: &SessionDrafts) -> DraftsByTime {
        DraftsByTime::sorted_by(drafts, |draft| draft.end.map(|(end, _)| end))
    }

    /// Drafts by what they have, each in order of start.
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

    /// The latest drafts whose time is at most this, the latest first.
    pub fn begun_by(&self, time: DateTime<Utc>) -> impl Iterator<Item = DraftIdx> {
        let begun = self.0.partition_point(|&(known, _)| known <= time);
        self.0[..begun].iter().rev().take(MOST_RIVALS).map(|&(_, slot)| slot)
    }

    /// The drafts whose time is at most so long before or after another, nearest first on each
    /// side.
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

/// The draft whose start is nearest to a time.
pub(super) fn nearest_draft(
    drafts: &SessionDrafts,
    slots: impl Iterator<Item = DraftIdx>,
    time: DateTime<Utc>,
) -> Option<DraftIdx> {
    slots.min_by_key(|&slot| ((drafts[slot].start() - time).abs(), slot))
}

/// Takes an id that is not known yet.
pub(super) fn push_new_id(ids: &mut Vec<LoggedId>, id: Option<&LoggedId>) {
    if let Some(id) = id.filter(|&id| !ids.contains(id)) {
        ids.push(id.clone());
    }
}
