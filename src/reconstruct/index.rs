//! Events in order, and the index types that only reconstruction needs.

use crate::model::{Event, EventIdx, IdxVec, SessionIdx, index_types};

/// All events, in order.
pub(super) type Events = IdxVec<EventIdx, Event>;
/// The session of each event.
pub(super) type SessionByEvent = IdxVec<EventIdx, Option<SessionIdx>>;

index_types! {
    /// Index of a draft, before all sessions are in order.
    pub(super) DraftIdx;
    /// Index of a process in its host's table.
    pub(super) ProcessIdx;
}
