//! What was found, how sure it is and what is missing, in sentences. It weighs nothing anew: the
//! levels are those of the rules that fired, the confidence is the sessions' own.

use std::collections::{BTreeMap, BTreeSet};

use super::tables::{self, Findings, Tactic, Told, attempts_of, source, titles, user, word};
use super::text::{count, line, number, short};
use crate::analysis::Analysis;
use crate::detect::session_counts;
use crate::error::FaultKind;
use crate::model::{
    Confidence, FailureReason, Level, RuleIdx, Session, YesNo, csv_time, session_id,
};

/// Sessions, and findings outside sessions, that are named.
const MOST_NAMED: usize = 10;
/// Hosts that a sentence names.
const MOST_HOSTS: usize = 5;

/// The page's first lines.
pub(super) struct Verdict {
    /// The highest level of all that fired.
    pub level: &'static str,
    pub headline: String,
    pub found: Vec<String>,
    pub sure: Vec<String>,
    pub lacking: Vec<String>,
    /// How many sessions have which level as their highest.
    pub sessions: Vec<Tally>,
    /// How many findings have which level.
    pub findings: Vec<Tally>,
    /// The sessions to look at first.
    pub first: Vec<First>,
    /// Rules that fired outside sessions, the most severe.
    pub outside: Vec<First>,
    pub tactics: Vec<Tactic>,
}

/// A level and how many have it.
pub(super) struct Tally {
    pub level: &'static str,
    pub count: String,
}

/// Something to look at.
pub(super) struct First {
    /// A session's name, or none.
    pub session: String,
    pub level: &'static str,
    pub what: String,
    pub why: String,
}

impl Verdict {
    pub(super) fn of(analysis: &Analysis, told: &Told, findings: &Findings) -> Verdict {
        let of = |level: Option<Level>| told.levels().filter(|&known| known == level).count();
        let tally = |level, count: usize| Tally { level, count: number(count) };
        let levels = Level::DESCENDING.into_iter().map(Some).chain([None]);
        let rule = |rule: RuleIdx| &analysis.rules.rules[rule].meta;
        let by_level = |level: Level| -> usize {
            let of_level = findings.by_rule.iter().filter(|(r, _)| rule(**r).level == level);
            of_level.map(|(_, of)| of.findings).sum()
        };
        Verdict {
            level: word(findings.by_rule.keys().map(|&r| rule(r).level).max()),
            headline: headline(analysis, told, severe_outside(analysis, findings)),
            found: found(analysis, told, findings),
            sure: sure(analysis, told),
            lacking: lacking(analysis, told),
            sessions: levels.map(|level| tally(word(level), of(level))).collect(),
            findings: Level::DESCENDING.map(|level| tally(level.as_str(), by_level(level))).into(),
            first: first(analysis, told),
            outside: outside(analysis, findings),
            tactics: tables::tactics(analysis, findings),
        }
    }
}

/// Findings of level medium or above outside sessions.
fn severe_outside(analysis: &Analysis, findings: &Findings) -> usize {
    let of = findings.by_rule.iter();
    let of = of.filter(|(rule, _)| analysis.rules.rules[**rule].meta.level >= Level::Medium);
    of.map(|(_, of)| of.outside).sum()
}

/// `outside` is how many findings of level medium or above are in no session.
fn headline(analysis: &Analysis, told: &Told, outside: usize) -> String {
    let sessions = match (told.all.is_empty(), analysis.scope.is_whole()) {
        (true, true) => "No session of PowerShell Remoting or winrs was found.".to_owned(),
        (true, false) => "No session of these hosts and accounts was found.".to_owned(),
        _ => of_sessions(told),
    };
    match outside {
        0 => sessions,
        n => format!(
            "{sessions} Outside sessions: {} of level medium or above.",
            count(n, "finding")
        ),
    }
}

fn of_sessions(told: &Told) -> String {
    let all = told.all.len();
    let at_least = |level: Level| told.levels().filter(|&known| known >= Some(level)).count();
    let are = |n: usize| if n == 1 { "is" } else { "are" };
    let needs = |n: usize| if n == 1 { "needs" } else { "need" };
    match (at_least(Level::High), at_least(Level::Medium)) {
        (0, 0) => format!(
            "{} {} rebuilt. No rule of level medium or above fired in any.",
            count(all, "session"),
            if all == 1 { "was" } else { "were" }
        ),
        (0, medium) => {
            format!(
                "{} of {} {} to be looked at.",
                number(medium),
                count(all, "session"),
                are(medium)
            )
        }
        (high, _) => {
            let (high, of) =
                (format!("{} of {}", number(high), count(all, "session")), needs(high));
            format!("{high} {of} to be looked at now.")
        }
    }
}

fn found(analysis: &Analysis, told: &Told, findings: &Findings) -> Vec<String> {
    let sessions: Vec<&Session> = told.of_run(analysis).collect();
    let mut found = Vec::new();
    let attempts = count(attempts_of(analysis).count(), "failed attempt");
    if let (Some(first), Some(last)) =
        (sessions.iter().map(|s| s.start).min(), sessions.iter().map(|s| s.end).max())
    {
        let is_known = |s: &&&Session| s.source_host.is_some() || s.source_ip.is_some();
        let sources: BTreeSet<&str> =
            sessions.iter().filter(is_known).map(|session| source(session)).collect();
        let sources = match sources.len() {
            0 => "unknown sources".to_owned(),
            known => count(known, "source"),
        };
        let targets: BTreeSet<&str> = sessions.iter().map(|s| &*s.target_host).collect();
        let users: BTreeSet<String> =
            sessions.iter().filter_map(|s| Some(s.user.as_ref()?.to_string())).collect();
        found.push(format!(
            "{} from {} to {} by {}, {} to {} UTC; {attempts}.",
            count(sessions.len(), "session"),
            sources,
            count(targets.len(), "target"),
            count(users.len(), "account"),
            &csv_time(first)[..19],
            &csv_time(last)[..19],
        ));
    } else {
        found.push(format!("No session; {attempts}."));
    }
    let outside: usize = findings.by_rule.values().map(|of| of.outside).sum();
    let detections: u64 = findings.by_rule.values().map(|of| of.detections).sum();
    found.push(format!(
        "{} by {}, folded to {}, {} of them outside sessions.",
        count(detections as usize, "detection"),
        count(findings.by_rule.len(), "rule"),
        count(findings.total, "finding"),
        number(outside),
    ));
    let counts = session_counts(&analysis.reconstruction);
    let counts = || told.all.iter().map(|&index| &counts[index]);
    let commands = counts().map(|counts| counts.commands).sum();
    let children = counts().map(|counts| counts.children).sum();
    if !sessions.is_empty() {
        found.push(format!(
            "{} and {} of the sessions are in the logs.",
            count(commands, "command"),
            match children {
                1 => "1 child process".to_owned(),
                n => format!("{} child processes", number(n)),
            },
        ));
    }
    let of = |n: usize, one: &str, many: &str| match n {
        1 => format!("1 session {one}"),
        n => format!("{} sessions {many}", number(n)),
    };
    let hops = sessions.iter().filter(|session| session.parent.is_some()).count();
    if hops > 0 {
        let says = "started from within another one: a second hop.";
        found.push(of(hops, &format!("was {says}"), &format!("were {says}")));
    }
    let exposes = |session: &&&Session| session.consequences().credential_exposed == YesNo::Yes;
    let exposed = sessions.iter().filter(exposes).count();
    if exposed > 0 {
        let says = "the target able to take the caller's credentials.";
        found.push(of(exposed, &format!("left {says}"), &format!("left {says}")));
    }
    if analysis.notes.programs > 0 {
        let programs = count(analysis.notes.programs as usize, "program");
        let file = if analysis.scope.is_whole() { "layers.csv" } else { "run.json" };
        found.push(format!("{programs} hidden in texts of the logs: see {file}."));
    }
    let left = told.all.len() - told.sessions.len();
    if left > 0 {
        found.push(format!(
            "This page has {} sessions, those of the highest levels; the other {} are in \
             sessions.csv.",
            number(told.sessions.len()),
            number(left)
        ));
    }
    found
}

fn sure(analysis: &Analysis, told: &Told) -> Vec<String> {
    let case = &analysis.reconstruction;
    let sessions: Vec<&Session> = told.of_run(analysis).collect();
    let mut sure = Vec::new();
    if !sessions.is_empty() {
        let of = |confidence| {
            number(sessions.iter().filter(|session| session.confidence == confidence).count())
        };
        let [high, medium, low] = [Confidence::High, Confidence::Medium, Confidence::Low].map(of);
        sure.push(format!(
            "Confidence in how sessions are tied together: high for {high}, medium for {medium}, low \
             for {low}."
        ));
        let seen = |client: bool, server: bool| {
            let seen = |s: &&&Session| (s.sides.client, s.sides.server) == (client, server);
            number(sessions.iter().filter(seen).count())
        };
        sure.push(format!(
            "Both ends are seen of {}, the target's logs alone show {}, the client's alone {}.",
            seen(true, true),
            seen(false, true),
            seen(true, false),
        ));
        let unknown = sessions.iter().filter(|s| s.source_host.is_none() && s.source_ip.is_none());
        let unknown = unknown.count();
        if unknown > 0 {
            sure.push(format!("The source of {} is not known.", count(unknown, "session")));
        }
    }
    let clocks: Vec<_> = case.hosts.iter().filter_map(|host| Some((host, host.clock?))).collect();
    let worst = clocks.iter().max_by_key(|(_, clock)| clock.offset.abs());
    let compared = format!("{} of {}", number(clocks.len()), count(case.hosts.len(), "host"));
    sure.push(match worst {
        Some((_, clock)) if clock.seconds().abs() < 0.1 => {
            format!("Clocks could be compared for {compared}; they agree within 0.1 s.")
        }
        Some((host, clock)) => format!(
            "Clocks could be compared for {compared}; the one farthest off is that of {}, by {:+.1} s.",
            short(&host.name),
            clock.seconds(),
        ),
        None => "Clocks could not be compared: times are each host's own.".to_owned(),
    });
    sure.push(
        "A level is what a rule gives to what it looks for. It does not say what somebody meant by \
         it: whether a session was an attack is for people to decide."
            .to_owned(),
    );
    sure
}

fn lacking(analysis: &Analysis, told: &Told) -> Vec<String> {
    let case = &analysis.reconstruction;
    let mut lacking = Vec::new();
    let counts = session_counts(case);
    let silent =
        told.all.iter().filter(|&&index| counts[index].commands + counts[index].children == 0);
    let silent = silent.count();
    if silent > 0 {
        lacking.push(format!(
            "No command of {} is in the logs. That does not mean that none was run.",
            count(silent, "session")
        ));
    }
    let mut why: BTreeMap<&str, usize> = BTreeMap::new();
    for session in told.of_run(analysis) {
        let of: BTreeSet<&str> = session.missing.iter().map(|m| m.why.as_str()).collect();
        of.into_iter().for_each(|why_| *why.entry(why_).or_default() += 1);
    }
    let words = [
        ("not_collected", "the log was not among the inputs"),
        ("rolled_over", "the log begins later: overwritten, or not exported"),
        ("cleared", "the log was cleared"),
        ("ends_before", "the log ends earlier"),
        ("not_audited", "such events are not logged there at all"),
        ("not_logged", "such events are in the log at other times only"),
        ("outside_window", "the run leaves that time out"),
    ];
    for (reason, says) in words {
        if let Some(&sessions) = why.get(reason) {
            let lack = if sessions == 1 { "lacks" } else { "lack" };
            lacking.push(format!("{} {lack} records because {says}.", count(sessions, "session")));
        }
    }
    if !case.cleared.is_empty() {
        let hosts: BTreeSet<&str> = case.cleared.iter().map(|c| &*c.host).collect();
        lacking.push(format!(
            "Logs were cleared: {}, on {}.",
            count(case.cleared.len(), "time"),
            named(&hosts)
        ));
    }
    if !case.gaps.is_empty() {
        let hosts: BTreeSet<&str> = case.gaps.iter().map(|gap| &*gap.host).collect();
        lacking.push(format!(
            "{} in logs that nothing harmless is known to explain, on {}.",
            count(case.gaps.len(), "hole"),
            named(&hosts)
        ));
    }
    let faults = |kind| {
        let all = analysis.inputs.iter().flat_map(|report| &report.faults);
        all.filter(|fault| fault.kind == kind).count()
    };
    let (lost, suspect) = (faults(FaultKind::Lost), faults(FaultKind::Suspect));
    if lost > 0 {
        lacking.push(format!("{} of the inputs could not be read.", count(lost, "place")));
    }
    if suspect > 0 {
        lacking.push(format!(
            "{} of the inputs were read, but a checksum or header is wrong.",
            count(suspect, "place")
        ));
    }
    let refused = analysis.rules.rejected().count();
    if refused > 0 {
        let refused = count(refused, "rule");
        lacking.push(format!("{refused} not loaded: what they look for was not looked for."));
    }
    if !analysis.limited.is_empty() {
        let limited = count(analysis.limited.len(), "correlation");
        lacking.push(format!("{limited} met a limit and may have missed something."));
    }
    if analysis.notes.left_wrapped > 0 {
        let left = count(analysis.notes.left_wrapped as usize, "text");
        lacking.push(format!("A limit left something wrapped in {left}: see run.json."));
    }
    if lacking.is_empty() {
        let what = match told.all.is_empty() {
            true => "What other logs would show: those at hand, and their times, stand below.",
            false => "Nothing that one expects of these sessions.",
        };
        lacking.push(what.to_owned());
    }
    lacking
}

/// The first of these hosts.
fn named(hosts: &BTreeSet<&str>) -> String {
    let mut names: Vec<String> = hosts.iter().take(MOST_HOSTS).map(|host| short(host)).collect();
    if hosts.len() > MOST_HOSTS {
        names.push(format!("{} more", number(hosts.len() - MOST_HOSTS)));
    }
    names.join(", ")
}

/// The sessions to look at first: those in which a rule of level medium or above fired.
fn first(analysis: &Analysis, told: &Told) -> Vec<First> {
    let mut sessions = tables::by_severity(told);
    sessions.retain(|&session| told.levels[session] >= Some(Level::Medium));
    let first = sessions.into_iter().take(MOST_NAMED).map(|index| {
        let session = &analysis.reconstruction.sessions[index];
        First {
            session: session_id(index),
            level: word(told.levels[index]),
            what: format!(
                "{} from {} to {}, {} UTC",
                user(session.user.as_ref()),
                short(source(session)),
                short(&session.target_host),
                &csv_time(session.start)[..19],
            ),
            why: titles(analysis, &told.fired[index]),
        }
    });
    first.collect()
}

/// The rules that fired outside sessions, of level medium or above.
fn outside(analysis: &Analysis, findings: &Findings) -> Vec<First> {
    let rule = |rule: RuleIdx| &analysis.rules.rules[rule].meta;
    let mut rules: Vec<(RuleIdx, usize)> = findings
        .by_rule
        .iter()
        .filter(|(r, of)| of.outside > 0 && rule(**r).level >= Level::Medium)
        .map(|(&r, of)| (r, of.outside))
        .collect();
    rules.sort_by_key(|&(r, outside)| {
        (std::cmp::Reverse(rule(r).level), std::cmp::Reverse(outside), r)
    });
    let first = rules.into_iter().take(MOST_NAMED).map(|(index, outside)| First {
        session: String::new(),
        level: rule(index).level.as_str(),
        what: line(&rule(index).title),
        why: count(outside, "finding"),
    });
    let mut first: Vec<First> = first.collect();
    let refused = attempts_of(analysis).filter(|a| a.reason == FailureReason::BadCredentials);
    let refused = refused.count();
    if refused > 0 {
        first.push(First {
            session: String::new(),
            level: "none",
            what: "Attempts that failed for a wrong name or password".to_owned(),
            why: count(refused, "attempt"),
        });
    }
    first
}
