//! The finished case: what reconstruction finds.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::scripts::UnassignedScripts;
use super::windows::TimeWindow;
use crate::model::{
    Attempt, AttemptIdx, Clearing, Command, CommandIdx, Coverage, Event, EventIdx, Evidence, Host,
    HostIdx, HostName, IdxVec, Link, LogGap, LogSign, RecordRef, ScriptBlock, ScriptIdx, Session,
    SessionIdx,
};

/// All that reconstruction knows, over all hosts.
#[derive(Debug, Default)]
pub struct Reconstruction {
    /// The events that may have to do with remoting, by time, host, channel, record id and place:
    /// what indexes point into.
    pub events: IdxVec<EventIdx, Event>,
    /// Sessions by start, target and process.
    pub sessions: IdxVec<SessionIdx, Session>,
    /// Commands by time, in the order of their events.
    pub commands: IdxVec<CommandIdx, Command>,
    /// The sessions' script blocks by first part.
    pub scripts: IdxVec<ScriptIdx, ScriptBlock>,
    /// The script blocks outside sessions.
    pub(crate) unassigned_scripts: UnassignedScripts,
    /// Failed attempts by time.
    pub attempts: IdxVec<AttemptIdx, Attempt>,
    /// The logging hosts, by name.
    pub hosts: IdxVec<HostIdx, Host>,
    /// How far the logs reach, by host, channel and input.
    pub coverage: Vec<Coverage>,
    /// Where logs were cleared, by time.
    pub cleared: Vec<Clearing>,
    /// Holes in logs that nothing harmless is known to explain, by host, channel and place.
    pub gaps: Vec<LogGap>,
    /// Signs that a log is not as it was written, the weightiest first.
    pub signs: Vec<LogSign>,
    /// The session of each event, if it has one.
    pub session_of: IdxVec<EventIdx, Option<SessionIdx>>,
    /// The part of the time that the run looks at.
    pub(crate) window: TimeWindow,
}

impl Reconstruction {
    /// Script blocks, in sessions and elsewhere.
    pub fn script_blocks(&self) -> usize {
        self.scripts.len()
            + self.unassigned_scripts.whole.len()
            + self.unassigned_scripts.in_parts.len()
    }

    /// A host's name as its records spell it, by the name that events have of it.
    pub fn name<'n>(&'n self, host: &'n HostName) -> &'n HostName {
        self.host(host).map_or(host, |host| &host.name)
    }

    /// The host that events have this name of.
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        let found = self.hosts.binary_search_by(|known| known.full_name.cmp(name)).ok()?;
        Some(&self.hosts[HostIdx::new(found)])
    }

    /// The sessions of a host that lie in a span of time, or in part.
    pub(crate) fn sessions_within<'c>(
        &'c self,
        host: &'c HostName,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> impl Iterator<Item = SessionIdx> {
        let sessions = self.sessions.iter_enumerated();
        let inside = move |session: &Session| {
            session.target_host == *host && session.start <= to && session.end >= from
        };
        sessions.filter(move |(_, session)| inside(session)).map(|(index, _)| index)
    }

    /// The records that belong to sessions: which session, and by what.
    pub(crate) fn by_record(&self) -> BTreeMap<RecordRef, (SessionIdx, Link)> {
        let mut by_record = BTreeMap::new();
        for (index, session) in self.sessions.iter_enumerated() {
            for &Evidence { event, link } in &session.evidence {
                if self.session_of[event] == Some(index) {
                    by_record.insert(self.events[event].source, (index, link));
                }
            }
        }
        by_record
    }

    /// The sessions that records belong to.
    pub(crate) fn sessions_of_records(&self) -> BTreeMap<RecordRef, SessionIdx> {
        let records = self.by_record().into_iter();
        records.map(|(record, (session, _))| (record, session)).collect()
    }
}
