//! Which records a session should have, which of them are missing, why, and where to look for them.
//! Also how much of the session's time the target's logs cover.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::reconstruction::Reconstruction;
use super::windows::{STEP_WINDOW, TimeWindow};
use crate::model::{
    Absence, Auth, Channel, Clearing, Coverage, Covered, LogGap, Missing, Session, ShellKind, Side,
};

/// How long before its start and after its end the records of a session are looked for.
const AROUND: TimeDelta = TimeDelta::minutes(1);

/// How old the service ticket of a session may be. Windows' default is ten hours (Maximum lifetime
/// for service ticket, 600 minutes).
const TICKET_LIFE: TimeDelta = TimeDelta::hours(10);

/// A record that a session should have.
#[derive(Clone, Copy)]
struct ExpectedRecord {
    side: Side,
    /// The channels and event ids that may have it, best first. The first one stands for all.
    places: &'static [(Channel, &'static [u32])],
    tells: &'static str,
    /// The record comes some time after the start: a log that begins within a step covers it.
    later: bool,
}

const fn on_target(
    places: &'static [(Channel, &'static [u32])],
    tells: &'static str,
) -> ExpectedRecord {
    ExpectedRecord { side: Side::Target, places, tells, later: false }
}

const fn in_session(
    places: &'static [(Channel, &'static [u32])],
    tells: &'static str,
) -> ExpectedRecord {
    ExpectedRecord { side: Side::Target, places, tells, later: true }
}

/// Windows 7 and 2008 R2 log the request, not the shell.
const SHELL: ExpectedRecord = on_target(
    &[(Channel::WinRm, &[91]), (Channel::WinRm, &[81, 82, 134, 169])],
    "the shell: endpoint, account, maybe the address",
);
const LOGON: ExpectedRecord =
    on_target(&[(Channel::Security, &[4624])], "the logon: account, logon id, authentication");
const PROCESS: ExpectedRecord = on_target(
    &[(Channel::Security, &[4688]), (Channel::Sysmon, &[1])],
    "the host process and what it started",
);
const ENGINE: ExpectedRecord =
    in_session(&[(Channel::PowerShellClassic, &[400, 403])], "the engine's start and end");
const COMMANDS: ExpectedRecord = in_session(
    &[(Channel::PowerShell, &[4103]), (Channel::PowerShellClassic, &[800])],
    "the commands",
);
const SCRIPTS: ExpectedRecord = in_session(&[(Channel::PowerShell, &[4104])], "the script text");
const CORE_COMMANDS: ExpectedRecord =
    in_session(&[(Channel::PowerShellCore, &[4103])], "the commands");
const CORE_SCRIPTS: ExpectedRecord =
    in_session(&[(Channel::PowerShellCore, &[4104])], "the script text");
const SSH: ExpectedRecord =
    on_target(&[(Channel::OpenSsh, &[4])], "the caller's account and address");
const CONNECTION: ExpectedRecord = ExpectedRecord {
    side: Side::Client,
    places: &[(Channel::WinRm, &[6])],
    tells: "the client's connection: target as named, process",
    later: false,
};
const TICKET: ExpectedRecord = ExpectedRecord {
    side: Side::DomainController,
    places: &[(Channel::Security, &[4769])],
    tells: "the ticket: account and address",
    later: false,
};
const NTLM: ExpectedRecord = ExpectedRecord {
    side: Side::DomainController,
    places: &[(Channel::Security, &[4776])],
    tells: "the password check: account and workstation",
    later: false,
};

/// Returns the records that a session should have, by its kind, its engine and its authentication.
fn expected_records(session: &Session, core: bool) -> Vec<ExpectedRecord> {
    let ssh = session.auth == Auth::Ssh;
    let mut expected_records = vec![if ssh { SSH } else { SHELL }];
    if !ssh {
        expected_records.push(LOGON);
    }
    expected_records.push(PROCESS);
    match session.kind {
        ShellKind::PowerShell if core || ssh => {
            expected_records.extend([CORE_COMMANDS, CORE_SCRIPTS])
        }
        // PowerShell 2.0 logs neither commands nor script text to Operational.
        ShellKind::PowerShell if session.engine_version.starts_with("2.") => {
            expected_records.push(ENGINE)
        }
        ShellKind::PowerShell => expected_records.extend([ENGINE, COMMANDS, SCRIPTS]),
        ShellKind::Winrs | ShellKind::Other => {}
    }
    if !ssh {
        expected_records.push(CONNECTION);
    }
    match session.auth {
        Auth::Kerberos => expected_records.push(TICKET),
        Auth::Ntlm if !session.local_account() => expected_records.push(NTLM),
        _ => {}
    }
    expected_records
}

/// The logs of the input, by host and channel.
struct LogLookup<'c> {
    reconstruction: &'c Reconstruction,
    window: TimeWindow,
    by_place: BTreeMap<(&'c str, Channel), Vec<&'c Coverage>>,
    /// The clearings of logs, by host and channel, in order of time.
    cleared: BTreeMap<(&'c str, Channel), Vec<&'c Clearing>>,
    /// The hosts whose logs show that they are domain controllers.
    controllers: BTreeSet<&'c str>,
    /// How far each host's clock is ahead of the median clock, if known.
    offsets: BTreeMap<&'c str, TimeDelta>,
    /// The time of each host's latest record in any log.
    latest: BTreeMap<&'c str, DateTime<Utc>>,
    /// The suspicious holes, by host and channel.
    gaps: BTreeMap<(&'c str, Channel), Vec<&'c LogGap>>,
}

/// Returns for each session the missing records, and how much of it the logs cover.
pub(super) fn assess_records(
    reconstruction: &Reconstruction,
    window: TimeWindow,
) -> Vec<(Vec<Missing>, Vec<Covered>)> {
    let mut by_place: BTreeMap<(&str, Channel), Vec<&Coverage>> = BTreeMap::new();
    let mut controllers = BTreeSet::new();
    for coverage in &reconstruction.coverage {
        by_place.entry((&coverage.host, coverage.channel)).or_default().push(coverage);
        let grants = [4768, 4769, 4771].iter().any(|id| coverage.ids.contains(id));
        if coverage.channel == Channel::Security && grants {
            controllers.insert(&*coverage.host);
        }
    }
    let mut cleared: BTreeMap<(&str, Channel), Vec<&Clearing>> = BTreeMap::new();
    for clearing in &reconstruction.cleared {
        cleared.entry((&clearing.host, clearing.channel)).or_default().push(clearing);
    }
    let known =
        reconstruction.hosts.iter().filter_map(|host| Some((&*host.name, host.clock?.offset)));
    let offsets = known.collect();
    let mut latest: BTreeMap<&str, DateTime<Utc>> = BTreeMap::new();
    for coverage in &reconstruction.coverage {
        let known = latest.entry(&coverage.host).or_insert(coverage.last.0);
        *known = coverage.last.0.max(*known);
    }
    let mut gaps: BTreeMap<(&str, Channel), Vec<&LogGap>> = BTreeMap::new();
    for gap in &reconstruction.gaps {
        gaps.entry((&gap.host, gap.channel)).or_default().push(gap);
    }
    let logs =
        LogLookup { reconstruction, window, by_place, cleared, controllers, offsets, latest, gaps };
    reconstruction.sessions.iter().map(|session| logs.assess_session(session)).collect()
}

impl LogLookup<'_> {
    fn assess_session(&self, session: &Session) -> (Vec<Missing>, Vec<Covered>) {
        let mut seen: BTreeSet<(bool, Channel, u32)> = BTreeSet::new();
        let mut core = session.configuration.to_lowercase().starts_with("powershell.");
        for evidence in &session.evidence {
            let event = &self.reconstruction.events[evidence.event];
            let channel = Channel::of(&event.channel, &event.provider);
            let on_target = *self.reconstruction.name(&event.host) == session.target_host;
            seen.insert((on_target, channel, event.event_id));
            core |= channel == Channel::PowerShellCore && on_target;
        }
        let found = |expected: &ExpectedRecord| {
            let target = expected.side == Side::Target;
            let ids = expected
                .places
                .iter()
                .flat_map(|(channel, ids)| ids.iter().map(move |&id| (target, *channel, id)));
            ids.into_iter().any(|place| seen.contains(&place))
        };
        let expected_records = expected_records(session, core);
        let on_target = expected_records.iter().filter(|expected| expected.side == Side::Target);
        let mut channels: Vec<Channel> = Vec::new();
        for (channel, _) in on_target.flat_map(|expected| expected.places) {
            // Few hosts have Sysmon, so a missing Sysmon log is not reported.
            let is_there = self.by_place.contains_key(&(&*session.target_host, *channel));
            if !channels.contains(channel) && (*channel != Channel::Sysmon || is_there) {
                channels.push(*channel);
            }
        }
        let covered = channels
            .into_iter()
            .map(|channel| self.coverage_of_channel(session, channel))
            .collect();
        let missing = expected_records.into_iter().filter(|expected| !found(expected));
        (missing.map(|expected| self.explain_missing(session, expected)).collect(), covered)
    }

    /// Returns how much of a session a log of the target covers. The newest log is assumed to reach
    /// to the host's latest record in any log: a log without events still covers the time.
    fn coverage_of_channel(&self, session: &Session, channel: Channel) -> Covered {
        let host = &*session.target_host;
        let Some(logs) = self.by_place.get(&(host, channel)) else {
            return Covered { channel, percent: None };
        };
        let (start, end) = self.to_local_clock(session, host, session.start, session.end);
        let newest = logs.iter().map(|log| log.last).max();
        let span = |log: &&Coverage| {
            // Some formats of a log keep whole seconds only. The coverage must not depend on the
            // format.
            let (first, last) = (log.first.0.trunc_subsecs(0), log.last.0);
            let is_newest = Some(log.last) == newest && last >= start - STEP_WINDOW;
            let reaches = if is_newest { self.latest[host].max(last) } else { last };
            (first, reaches)
        };
        let mut spans: Vec<(DateTime<Utc>, DateTime<Utc>)> = logs.iter().map(span).collect();
        spans.sort_unstable();
        let gaps = self.gaps.get(&(host, channel)).map(Vec::as_slice).unwrap_or_default();
        let mut holes: Vec<_> =
            gaps.iter().map(|gap| (gap.gap.before.time, gap.gap.after.time)).collect();
        holes.sort_unstable();
        let whole = (end - start).max(TimeDelta::milliseconds(1));
        // A session of zero length counts as one millisecond.
        let end = start + whole;
        let part = covered_time(&spans, start, end) - covered_time(&holes, start, end);
        let percent = part.num_milliseconds().max(0) * 100 / whole.num_milliseconds().max(1);
        Covered { channel, percent: Some(percent.min(100) as u8) }
    }

    /// Returns why an expected record is missing.
    fn explain_missing(&self, session: &Session, expected: ExpectedRecord) -> Missing {
        let (host, known) = match expected.side {
            Side::Target => (session.target_host.to_string(), true),
            Side::Client => match (&session.source_host, &session.source_ip) {
                (Some(host), _) => (host.to_string(), true),
                (None, Some(ip)) => (ip.clone(), true),
                (None, None) => ("the unknown source".to_owned(), false),
            },
            Side::DomainController => {
                return self.explain_missing_on_controllers(session, expected);
            }
        };
        let around =
            self.to_local_clock(session, &host, session.start - AROUND, session.end + AROUND);
        let judged = expected.places.iter().map(|&(channel, ids)| {
            (channel, ids, self.absence_reason(session, &host, channel, ids, expected.later))
        });
        let judged: Vec<_> = judged.collect();
        // A log with a hole explains more than a log that never had such events.
        let hole =
            judged.iter().find(|(.., why)| may_be_in_other_copy(*why) && !is_uncollected(*why));
        let &(channel, ids, why) = hole.unwrap_or(&judged[0]);
        Missing {
            side: expected.side,
            host,
            channel,
            ids,
            tells: expected.tells,
            why,
            collect: (known && may_be_in_other_copy(why)).then_some(around),
        }
    }

    fn explain_missing_on_controllers(
        &self,
        session: &Session,
        expected: ExpectedRecord,
    ) -> Missing {
        let (channel, ids) = expected.places[0];
        let domain = session.user.as_ref().map(|user| user.domain.as_str()).unwrap_or_default();
        let any = match domain {
            "" => "a domain controller".to_owned(),
            domain => format!("a domain controller of {domain}"),
        };
        let ticket = ids == [4769];
        let judged = self.controllers.iter().map(|host| {
            (host.to_string(), self.absence_reason(session, host, channel, ids, false))
        });
        let (host, why) = judged
            .min_by_key(|(_, why)| may_be_in_other_copy(*why))
            .unwrap_or((any, Absence::NotCollected));
        let why = match why {
            Absence::NotLogged if ticket => Absence::Cached,
            why => why,
        };
        // The ticket may have been requested hours before.
        let before = if ticket { TICKET_LIFE } else { AROUND };
        let (from, to) = (session.start - before, session.start + AROUND);
        let collect = self.to_local_clock(session, &host, from, to);
        Missing {
            side: expected.side,
            host,
            channel,
            ids,
            tells: expected.tells,
            why,
            collect: may_be_in_other_copy(why).then_some(collect),
        }
    }

    /// Converts times of a session to another host's clock.
    fn to_local_clock(
        &self,
        session: &Session,
        host: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> (DateTime<Utc>, DateTime<Utc>) {
        let offset = self.offsets.get(host).copied().unwrap_or_default();
        let local = |time| session.clock.map_or(time, |clock| clock.correct(time)) + offset;
        (local(from), local(to))
    }

    /// Returns why a host's channel has no such event at a session's start.
    fn absence_reason(
        &self,
        session: &Session,
        host: &str,
        channel: Channel,
        ids: &[u32],
        later: bool,
    ) -> Absence {
        let Some(spans) = self.by_place.get(&(host, channel)) else { return Absence::NotCollected };
        let (start, _) = self.to_local_clock(session, host, session.start, session.end);
        if !self.window.contains(start) {
            return Absence::OutsideWindow;
        }
        // The first clearing after the start, if the log begins with it.
        let all = self.cleared.get(&(host, channel)).map(Vec::as_slice).unwrap_or_default();
        let next = all.partition_point(|cleared| cleared.time < start);
        let cleared = |before| all.get(next).filter(|c| c.time <= before + STEP_WINDOW);
        let latest = if later { start + STEP_WINDOW } else { start };
        let covers = |span: &&Coverage| {
            let (first, last) = (span.first.0, span.last.0);
            let begins = first <= start || (first <= latest && cleared(first).is_none());
            begins && last >= start - STEP_WINDOW
        };
        if spans.iter().any(covers) {
            let logged = spans.iter().any(|span| ids.iter().any(|id| span.ids.contains(id)));
            return if logged { Absence::NotLogged } else { Absence::NotAudited };
        }
        let after = spans.iter().map(|span| span.first.0).filter(|&first| first > start).min();
        let Some(after) = after else {
            let last = spans.iter().map(|span| span.last.0).max().unwrap_or(start);
            return Absence::EndsBefore(last);
        };
        match cleared(after) {
            Some(cleared) => Absence::Cleared(cleared.time, cleared.source),
            None => Absence::RolledOver(after),
        }
    }
}

/// Returns how much of a time is covered by spans, which are in order.
fn covered_time(
    spans: &[(DateTime<Utc>, DateTime<Utc>)],
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> TimeDelta {
    let mut covered = TimeDelta::zero();
    let mut from = start;
    for &(first, last) in spans {
        let (first, last) = (first.max(from), last.min(end));
        if last > first {
            covered += last - first;
            from = last;
        }
    }
    covered
}

/// Returns true if another copy of the log may have the record.
fn may_be_in_other_copy(why: Absence) -> bool {
    !matches!(why, Absence::NotAudited | Absence::NotLogged | Absence::OutsideWindow)
}

fn is_uncollected(why: Absence) -> bool {
    why == Absence::NotCollected
}
