//! The result of reconstruction.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::scripts::UnassignedScripts;
use super::windows::TimeWindow;
use crate::model::{
    Attempt, AttemptIdx, Clearing, Command, CommandIdx, Coverage, Event, EventIdx, Evidence, Host,
    HostIdx, HostName, IdxVec, Link, LogGap, LogSign, RecordRef, ScriptBlock, ScriptIdx, Session,
    SessionIdx,
};

/// All that reconstruction found, over all hosts.
#[derive(Debug, Default)]
pub struct Reconstruction {
    /// The events that may belong to remoting, by time, host, channel, record id and place. Event
    /// indexes point into this list.
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
    /// Which time and records the logs cover, by host, channel and input.
    pub coverage: Vec<Coverage>,
    /// Where logs were cleared, by time.
    pub cleared: Vec<Clearing>,
    /// Suspicious holes in logs, by host, channel and place.
    pub gaps: Vec<LogGap>,
    /// Signs that a log is not as it was written, the most important first.
    pub signs: Vec<LogSign>,
    /// The session of each event, if it has one.
    pub session_of: IdxVec<EventIdx, Option<SessionIdx>>,
    /// The time that the run looks at.
    pub(crate) window: TimeWindow,
}

impl Reconstruction {
    /// Returns the number of script blocks, in sessions and outside.
    pub fn script_blocks(&self) -> usize {
        self.scripts.len()
            + self.unassigned_scripts.whole.len()
            + self.unassigned_scripts.in_parts.len()
    }

    /// Returns a host's name as its records spell it. `host` is the name that events have.
    pub fn name<'n>(&'n self, host: &'n HostName) -> &'n HostName {
        self.host(host).map_or(host, |host| &host.name)
    }

    /// Returns the host that events have under this name.
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        let found = self.hosts.binary_search_by(|known| known.full_name.cmp(name)).ok()?;
        Some(&self.hosts[HostIdx::new(found)])
    }

    /// Returns the sessions of a host that overlap a span of time.
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

    /// Returns the session of each record, and the link between them.
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

    /// Returns the session of each record.
    pub(crate) fn sessions_of_records(&self) -> BTreeMap<RecordRef, SessionIdx> {
        let records = self.by_record().into_iter();
        records.map(|(record, (session, _))| (record, session)).collect()
    }
}
