//! Events in order, and the indexes that only reconstruction has.

use crate::model::{Event, EventIdx, IdxVec, SessionIdx, index_types};

/// The events of a case.
pub(super) type Events = IdxVec<EventIdx, Event>;
/// Of each event, its session.
pub(super) type SessionByEvent = IdxVec<EventIdx, Option<SessionIdx>>;

index_types! {
    /// Index of a session in the making, before all of them are in order.
    pub(super) DraftIdx;
    /// Index of a process in its host's table.
    pub(super) ProcessIdx;
}
