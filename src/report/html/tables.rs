//! The page's tables of what was found.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use chrono::{DateTime, Utc};

use super::grid::{Grid, Kind, rank};
use super::text::{line, number, short};
use crate::analysis::Analysis;
use crate::detect::session_counts;
use crate::model::{
    AccountName, Attempt, IdxVec, Level, RuleIdx, RuleMeta, Session, SessionIdx, csv_time,
    session_id,
};
use crate::report::sessions;
use crate::report::teller::sessions_in_scope;
use crate::report::{coverage, missing};
use crate::rows::{Finding, findings, pointer};

/// Sessions that the page has: of more, those of the highest levels.
const MOST_SESSIONS: usize = 20_000;
/// Rows of any other table.
const MOST_ROWS: usize = 20_000;
/// Rules and hosts that a cell names.
const MOST_NAMED: usize = 3;

/// The sessions, as far as the run tells of them and the page shows them.
pub(super) struct Told {
    /// Those that the run's scope takes in, by start.
    pub all: Vec<SessionIdx>,
    /// Those of them that the page shows, by start.
    pub sessions: Vec<SessionIdx>,
    /// The rules that fired in each of all sessions, most severe first.
    pub fired: IdxVec<SessionIdx, Vec<RuleIdx>>,
    /// The highest level in each of all sessions.
    pub levels: IdxVec<SessionIdx, Option<Level>>,
}

impl Told {
    pub(super) fn of(analysis: &Analysis) -> Told {
        let fired = sessions::fired(analysis);
        let rules = &analysis.rules.rules;
        let level = |fired: &Vec<RuleIdx>| fired.first().map(|&rule| rules[rule].meta.level);
        let levels: IdxVec<SessionIdx, Option<Level>> = fired.iter().map(level).collect();
        let all = sessions_in_scope(analysis);
        let mut sessions = all.clone();
        if sessions.len() > MOST_SESSIONS {
            sessions.sort_by_key(|&session| Reverse(levels[session]));
            sessions.truncate(MOST_SESSIONS);
            sessions.sort_unstable();
        }
        Told { all, sessions, fired, levels }
    }

    /// The sessions that the run tells of.
    pub(super) fn of_run<'a>(
        &'a self,
        analysis: &'a Analysis,
    ) -> impl Iterator<Item = &'a Session> {
        self.all.iter().map(|&index| &analysis.reconstruction.sessions[index])
    }

    /// The highest level in each of them.
    pub(super) fn levels(&self) -> impl Iterator<Item = Option<Level>> {
        self.all.iter().map(|&index| self.levels[index])
    }
}

/// The failed attempts that the run tells of.
pub(super) fn attempts_of(analysis: &Analysis) -> impl Iterator<Item = &Attempt> {
    analysis.reconstruction.attempts.iter().filter(|attempt| analysis.scope.attempt(attempt))
}

/// Who a session is from, as far as known.
pub(super) fn source(session: &Session) -> &str {
    session.source_host.as_deref().or(session.source_ip.as_deref()).unwrap_or("unknown")
}

pub(super) fn user(account: Option<&AccountName>) -> String {
    account.map_or("unknown".to_owned(), |account| short(&account.to_string()))
}

/// A level's word, or that there is none.
pub(super) fn word(level: Option<Level>) -> &'static str {
    level.map_or("none", Level::as_str)
}

/// The sessions. Row by row they are [`Told::sessions`]: a story is found by its row.
pub(super) fn sessions(analysis: &Analysis, told: &Told) -> Grid {
    let columns = [
        ("Session", Kind::Session, true),
        ("Level", Kind::Level, true),
        ("Start (UTC)", Kind::Time, false),
        ("Seconds", Kind::Number, false),
        ("Source", Kind::Host, true),
        ("Target", Kind::Host, true),
        ("Account", Kind::Text, false),
        ("How", Kind::Text, false),
        ("Commands", Kind::Number, false),
        ("Confidence", Kind::Confidence, false),
        ("Rules that fired", Kind::Long, false),
    ];
    let none = match analysis.scope.is_whole() {
        true => "No session of PowerShell Remoting or winrs was found in these logs.",
        false => "No session of these hosts and accounts was found in these logs.",
    };
    let mut grid = Grid::new("sessions", "All sessions", &columns, "sessions.csv", none);
    let counts = session_counts(&analysis.reconstruction);
    for &index in &told.sessions {
        let session = &analysis.reconstruction.sessions[index];
        let titles = told.fired[index].iter().map(|&rule| &*analysis.rules.rules[rule].meta.title);
        grid.push([
            session_id(index),
            word(told.levels[index]).to_owned(),
            csv_time(session.start),
            format!("{:.1}", (session.end - session.start).num_milliseconds() as f64 / 1000.0),
            short(source(session)),
            short(&session.target_host),
            user(session.user.as_ref()),
            format!("{} by {}", session.kind.as_str(), session.auth.as_str()),
            counts[index].commands.to_string(),
            session.confidence.as_str().to_owned(),
            line(&titles.collect::<Vec<_>>().join("; ")),
        ]);
    }
    (told.sessions.len()..told.all.len()).for_each(|_| grid.leave_out());
    grid
}

/// The failed attempts.
pub(super) fn attempts(analysis: &Analysis) -> Grid {
    let columns = [
        ("Time (UTC)", Kind::Time, true),
        ("Source", Kind::Host, true),
        ("Target", Kind::Host, true),
        ("Account", Kind::Text, false),
        ("Reason", Kind::Text, true),
        ("Error", Kind::Number, false),
        ("Later", Kind::Session, false),
    ];
    let none = "No failed attempt to connect was found.";
    let mut grid = Grid::new("attempts", "Failed attempts", &columns, "attempts.csv", none);
    for attempt in attempts_of(analysis) {
        if grid.len() == MOST_ROWS {
            grid.leave_out();
            continue;
        }
        grid.push([
            csv_time(attempt.time),
            short(&attempt.source_host),
            short(&attempt.target_host),
            user(attempt.user.as_ref()),
            attempt.reason.as_str().replace('_', " "),
            attempt.error_code.map(|code| code.to_string()).unwrap_or_default(),
            attempt.later.map(session_id).unwrap_or_default(),
        ]);
    }
    grid
}

/// The findings, and what the rules have of them.
#[derive(Default)]
pub(super) struct Findings {
    /// The first of them, most severe first.
    first: Vec<Finding>,
    /// How many there are.
    pub total: usize,
    /// By rule.
    pub by_rule: BTreeMap<RuleIdx, OfRule>,
}

/// What a rule found.
#[derive(Default)]
pub(super) struct OfRule {
    pub detections: u64,
    pub findings: usize,
    /// Findings in no session.
    pub outside: usize,
    pub hosts: usize,
    sessions: usize,
    host: Option<String>,
}

/// Reads the findings.
pub(super) fn findings(analysis: &Analysis) -> io::Result<Findings> {
    let mut found = Findings::default();
    findings::each(&analysis.findings, |finding| {
        found.total += 1;
        let of = found.by_rule.entry(finding.rule).or_default();
        of.detections += finding.count;
        of.findings += 1;
        // They come by rule, then by host.
        if of.host.as_ref() != Some(&finding.host) {
            of.hosts += 1;
            of.host = Some(finding.host.clone());
        }
        match finding.session {
            Some(_) => of.sessions += 1,
            None => of.outside += 1,
        }
        if found.first.len() < MOST_ROWS {
            found.first.push(finding);
        }
        Ok(())
    })?;
    Ok(found)
}

/// ATT&CK's tactics in its order, as rules tag them.
const TACTICS: [&str; 16] = [
    "reconnaissance",
    "resource-development",
    "initial-access",
    "execution",
    "persistence",
    "privilege-escalation",
    "stealth",
    "defense-evasion",
    "defense-impairment",
    "credential-access",
    "discovery",
    "lateral-movement",
    "collection",
    "command-and-control",
    "exfiltration",
    "impact",
];

/// A rule's tactics by their place, and its techniques.
fn attack(rule: &RuleMeta) -> (BTreeSet<usize>, Vec<String>) {
    let mut tactics = BTreeSet::new();
    let mut techniques = Vec::new();
    for tag in rule.tags.iter().filter_map(|tag| tag.strip_prefix("attack.")) {
        let name = tag.replace('_', "-");
        match TACTICS.iter().position(|&tactic| tactic == name) {
            Some(tactic) => {
                tactics.insert(tactic);
            }
            None if tag.starts_with('t') => techniques.push(tag.to_ascii_uppercase()),
            None => {}
        }
    }
    (tactics, techniques)
}

/// A tactic's name for people.
fn tactic_name(tactic: usize) -> String {
    let mut name = TACTICS[tactic].replace('-', " ");
    name[..1].make_ascii_uppercase();
    name
}

/// What was found of a tactic.
pub(super) struct Tactic {
    pub name: String,
    pub level: &'static str,
    /// Rules and findings, in words.
    pub says: String,
}

/// The tactics that rules which fired name, in ATT&CK's order.
pub(super) fn tactics(analysis: &Analysis, findings: &Findings) -> Vec<Tactic> {
    let mut found: BTreeMap<usize, (Level, usize, usize)> = BTreeMap::new();
    for (&rule, of) in &findings.by_rule {
        let meta = &analysis.rules.rules[rule].meta;
        for tactic in attack(meta).0 {
            let known = found.entry(tactic).or_insert((meta.level, 0, 0));
            *known = (known.0.max(meta.level), known.1 + 1, known.2 + of.findings);
        }
    }
    let tactic = |(tactic, (level, rules, findings))| Tactic {
        name: tactic_name(tactic),
        level: Level::as_str(level),
        says: format!(
            "{}, {}",
            super::text::count(rules, "rule"),
            super::text::count(findings, "finding")
        ),
    };
    found.into_iter().map(tactic).collect()
}

/// The rules that fired, most severe first.
pub(super) fn rules(analysis: &Analysis, findings: &Findings) -> Grid {
    let columns = [
        ("Level", Kind::Level, true),
        ("Rule", Kind::Long, true),
        ("Tactics", Kind::Text, false),
        ("Techniques", Kind::Text, false),
        ("Detections", Kind::Number, true),
        ("Sessions", Kind::Number, false),
        ("Outside", Kind::Number, false),
        ("Hosts", Kind::Number, false),
        ("Rule id", Kind::Text, false),
        ("Pack", Kind::Text, false),
    ];
    let none = "No rule fired.";
    let mut grid = Grid::new("rules", "Rules that fired", &columns, "findings.csv", none);
    let mut fired: Vec<(&RuleIdx, &OfRule)> = findings.by_rule.iter().collect();
    let meta = |rule: RuleIdx| &analysis.rules.rules[rule].meta;
    fired.sort_by_key(|&(&rule, of)| (Reverse(meta(rule).level), Reverse(of.detections), rule));
    for (&rule, of) in fired {
        let RuleMeta { id, title, level, pack, .. } = meta(rule);
        let (tactics, techniques) = attack(meta(rule));
        grid.push([
            level.as_str().to_owned(),
            short(title),
            tactics.into_iter().map(tactic_name).collect::<Vec<_>>().join(", "),
            short(&techniques.join(", ")),
            of.detections.to_string(),
            of.sessions.to_string(),
            of.outside.to_string(),
            of.hosts.to_string(),
            short(id),
            short(pack),
        ]);
    }
    grid
}

/// The findings themselves.
pub(super) fn rows(analysis: &Analysis, findings: Findings) -> Grid {
    let columns = [
        ("Level", Kind::Level, true),
        ("First (UTC)", Kind::Time, false),
        ("Rule", Kind::Long, true),
        ("Host", Kind::Host, true),
        ("Session", Kind::Session, true),
        ("Accounts", Kind::Text, false),
        ("Count", Kind::Number, false),
        ("Last (UTC)", Kind::Time, false),
        ("Evidence", Kind::Text, false),
    ];
    let none = "No rule fired.";
    let mut grid = Grid::new("findings", "All findings", &columns, "findings.csv", none);
    let Findings { first, total, .. } = findings;
    (first.len()..total).for_each(|_| grid.leave_out());
    for finding in first {
        let rule = &analysis.rules.rules[finding.rule].meta;
        let pointers = finding.evidence.iter().map(|proof| pointer(&analysis.paths, proof));
        let pointers: Vec<String> = pointers.collect();
        let users: Vec<&str> = finding.users.iter().map(String::as_str).collect();
        grid.push([
            rule.level.as_str().to_owned(),
            csv_time(finding.first),
            short(&rule.title),
            short(&finding.host),
            finding.session.map(session_id).unwrap_or_default(),
            short(&users.join("; ")),
            finding.count.to_string(),
            csv_time(finding.last),
            line(&pointers.join("; ")),
        ]);
    }
    grid
}

/// A log that is wanted.
struct Wanted {
    /// Of how many sessions it would tell more.
    sessions: usize,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    why: BTreeSet<&'static str>,
}

/// The logs to collect next: of how many sessions they would tell more.
pub(super) fn collect(analysis: &Analysis, told: &Told) -> Grid {
    let columns = [
        ("Sessions", Kind::Number, true),
        ("Host", Kind::Host, true),
        ("Channel", Kind::Channel, true),
        ("From (UTC)", Kind::Time, false),
        ("To (UTC)", Kind::Time, false),
        ("Why", Kind::Text, false),
    ];
    let none = "Nothing: no session lacks a record that one expects and could still collect.";
    let mut grid = Grid::new("collect", "What to collect next", &columns, "sessions.csv", none);
    let mut logs: BTreeMap<(String, String), Wanted> = BTreeMap::new();
    for session in told.of_run(analysis) {
        for log in missing::collect(&session.missing) {
            let why = session.missing.iter().filter(|missing| {
                missing.collect.is_some()
                    && missing.host == log.host
                    && missing.channel.name() == log.channel
            });
            let why: Vec<&'static str> = why.map(|missing| missing.why.as_str()).collect();
            let (from, to) = (log.from, log.to);
            let new = || Wanted { sessions: 0, from, to, why: BTreeSet::new() };
            let known = logs.entry((log.host, log.channel)).or_insert_with(new);
            known.sessions += 1;
            known.from = known.from.min(from);
            known.to = known.to.max(to);
            known.why.extend(why);
        }
    }
    let mut logs: Vec<_> = logs.into_iter().collect();
    logs.sort_by(|(a, of_a), (b, of_b)| of_b.sessions.cmp(&of_a.sessions).then_with(|| a.cmp(b)));
    for ((host, channel), Wanted { sessions, from, to, why }) in logs {
        if grid.len() == MOST_ROWS {
            grid.leave_out();
            continue;
        }
        let why = why.into_iter().collect::<Vec<_>>().join(", ").replace('_', " ");
        let (from, to) = (csv_time(from), csv_time(to));
        grid.push([sessions.to_string(), short(&host), short(&channel), from, to, why]);
    }
    grid
}

/// The hosts: how far their logs reach, and their clocks.
pub(super) fn hosts(analysis: &Analysis, told: &Told) -> Grid {
    let columns = [
        ("Host", Kind::Host, true),
        ("Level", Kind::Level, true),
        ("To it", Kind::Number, true),
        ("From it", Kind::Number, true),
        ("Channels", Kind::Number, false),
        ("Logs from (UTC)", Kind::Time, false),
        ("Logs to (UTC)", Kind::Time, false),
        ("Cleared", Kind::Number, false),
        ("Clock (s)", Kind::Number, false),
        ("Pairs", Kind::Number, false),
        ("Addresses", Kind::Text, false),
    ];
    let none = "No host.";
    let mut grid = Grid::new("hosts", "Hosts and clocks", &columns, "hosts.csv", none);
    let case = &analysis.reconstruction;
    let mut ends: BTreeMap<&str, (usize, usize, Option<Level>)> = BTreeMap::new();
    for (session, level) in told.of_run(analysis).zip(told.levels()) {
        let target = ends.entry(&session.target_host).or_default();
        target.0 += 1;
        target.2 = target.2.max(level);
        if let Some(source) = session.source_host.as_deref() {
            ends.entry(source).or_default().1 += 1;
        }
    }
    let mut reach: BTreeMap<&str, (BTreeSet<&str>, String, String)> = BTreeMap::new();
    for log in &case.coverage {
        let (first, last) = (csv_time(log.first.0), csv_time(log.last.0));
        let new = || (BTreeSet::new(), first.clone(), last.clone());
        let known = reach.entry(&log.host).or_insert_with(new);
        known.0.insert(log.channel.name());
        known.1 = std::mem::take(&mut known.1).min(first);
        known.2 = std::mem::take(&mut known.2).max(last);
    }
    let mut cleared: BTreeMap<&str, usize> = BTreeMap::new();
    for clearing in &case.cleared {
        *cleared.entry(&clearing.host).or_default() += 1;
    }
    for host in &case.hosts {
        if grid.len() == MOST_ROWS {
            grid.leave_out();
            continue;
        }
        let (to, from, level) = ends.get(&*host.name).copied().unwrap_or_default();
        let (channels, first, last) = match reach.get(&*host.name) {
            Some((channels, first, last)) => (channels.len(), first.clone(), last.clone()),
            None => Default::default(),
        };
        let clock = host.clock;
        grid.push([
            short(&host.name),
            word(level).to_owned(),
            to.to_string(),
            from.to_string(),
            channels.to_string(),
            first,
            last,
            cleared.get(&*host.name).copied().unwrap_or_default().to_string(),
            clock.map(|clock| format!("{:.3}", clock.seconds())).unwrap_or_default(),
            clock.map(|clock| clock.pairs.to_string()).unwrap_or_default(),
            short(&host.addresses.join("; ")),
        ]);
    }
    grid
}

/// How far each log reaches.
pub(super) fn coverage(analysis: &Analysis) -> Grid {
    let columns = [
        ("Host", Kind::Host, true),
        ("Channel", Kind::Channel, true),
        ("From (UTC)", Kind::Time, true),
        ("To (UTC)", Kind::Time, true),
        ("Reach", Kind::Span, false),
        ("Cleared", Kind::Text, false),
        ("Missing records", Kind::Text, false),
        ("Event ids", Kind::Text, false),
        ("File", Kind::Text, false),
    ];
    let none = "No log.";
    let mut grid = Grid::new("coverage", "Log coverage", &columns, "coverage.csv", none);
    for row in coverage::rows(analysis) {
        if grid.len() == MOST_ROWS {
            grid.leave_out();
            continue;
        }
        let (from, to) = (csv_time(row.coverage.first.0), csv_time(row.coverage.last.0));
        let times = row.cleared.iter().map(|clearing| csv_time(clearing.time));
        let span = [from.clone(), to.clone()].into_iter().chain(times).collect::<Vec<_>>();
        grid.push([
            short(&row.coverage.host),
            short(row.coverage.channel.name()),
            from,
            to,
            span.join("|"),
            short(&row.clearings().join("; ")),
            short(&row.missing().join("; ")),
            short(&row.event_ids().join("; ")),
            short(&row.file()),
        ]);
    }
    grid
}

/// Holes that nothing harmless explains.
pub(super) fn holes(analysis: &Analysis) -> Grid {
    let columns = [
        ("Host", Kind::Host, true),
        ("Channel", Kind::Channel, true),
        ("Records", Kind::Number, true),
        ("After (UTC)", Kind::Time, false),
        ("Before (UTC)", Kind::Time, false),
        ("Record ids", Kind::Text, false),
        ("Sessions in it", Kind::Number, false),
    ];
    let none = "None: no hole in the record ids that nothing harmless explains.";
    let mut grid = Grid::new("holes", "Unexplained holes in logs", &columns, "timeline.csv", none);
    for hole in &analysis.reconstruction.gaps {
        if grid.len() == MOST_ROWS {
            grid.leave_out();
            continue;
        }
        let gap = &hole.gap;
        grid.push([
            short(&hole.host),
            hole.channel.name().to_owned(),
            gap.missing().to_string(),
            csv_time(gap.before.time),
            csv_time(gap.after.time),
            format!("{} to {}", gap.before.record_id + 1, gap.after.record_id - 1),
            hole.sessions.to_string(),
        ]);
    }
    grid
}

/// The first titles of these rules.
pub(super) fn titles(analysis: &Analysis, rules: &[RuleIdx]) -> String {
    let named = rules.iter().take(MOST_NAMED).map(|&rule| &*analysis.rules.rules[rule].meta.title);
    let mut text = short(&named.collect::<Vec<_>>().join("; "));
    if rules.len() > MOST_NAMED {
        text.push_str(&format!("; and {} more", number(rules.len() - MOST_NAMED)));
    }
    text
}

/// Sessions by level, most severe first, for the page's first lines.
pub(super) fn by_severity(told: &Told) -> Vec<SessionIdx> {
    let mut sessions = told.sessions.clone();
    sessions.sort_by_key(|&session| (rank(word(told.levels[session])), session));
    sessions
}
