//! Compares the results of the program with the truth.

use std::collections::BTreeMap;

use scenario::{AttemptTruth, ExpectedResult, Fact, FactEvidence, RunTruth, SessionTruth, Truth};

use crate::found::{Found, Row, apart, time};

/// The tolerance, in seconds, for a time that the same log holds.
const SAME_CLOCK: f64 = 2.0;

/// The result for a field of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Right,
    Wrong,
    /// The logs show it, the program does not.
    Missing,
    /// The program reports a value that the logs do not show, and it is wrong.
    Guessed,
    /// The program reports a value that the logs do not show, and it happens to be right.
    Lucky,
    /// Neither the logs nor the program show a value.
    Empty,
}

/// The outcomes of one field.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub right: usize,
    pub wrong: usize,
    pub missing: usize,
    pub guessed: usize,
    pub lucky: usize,
    pub empty: usize,
}

impl Tally {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Right => self.right += 1,
            Outcome::Wrong => self.wrong += 1,
            Outcome::Missing => self.missing += 1,
            Outcome::Guessed => self.guessed += 1,
            Outcome::Lucky => self.lucky += 1,
            Outcome::Empty => self.empty += 1,
        }
    }

    /// The share of right values among those that the logs show.
    pub fn rate(&self) -> f64 {
        part(self.right, self.right + self.wrong + self.missing)
    }

    /// The share of empty values among those that the logs do not show.
    pub fn silence(&self) -> f64 {
        part(self.empty, self.empty + self.guessed + self.lucky)
    }
}

/// Returns the share of a part in the whole; 1 if the whole is zero.
pub fn part(of: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { of as f64 / all as f64 }
}

/// The numbers of true things, of found things, and of matches between them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    pub truth: usize,
    pub found: usize,
    pub matched: usize,
    /// Of what was found, what is not right.
    pub strangers: usize,
}

impl Count {
    pub fn recall(&self) -> f64 {
        part(self.matched, self.truth)
    }

    pub fn precision(&self) -> f64 {
        part(self.found - self.strangers, self.found)
    }
}

/// Outcomes by column.
pub type Fields = BTreeMap<&'static str, Tally>;

/// The complete score of a run.
#[derive(Debug, Default)]
pub struct Score {
    pub sessions: Count,
    pub commands: Count,
    pub children: Count,
    pub attempts: Count,
    /// By column.
    pub fields: Fields,
    pub attempt_fields: Fields,
    /// By variant: the number of sessions, and of those that are not right.
    pub cases: BTreeMap<String, (usize, usize)>,
    /// Descriptions of the errors, by variant.
    pub faults: Vec<String>,
}

/// Whether a found value is the true one.
type Same = fn(&str, &Fact) -> bool;

impl Score {
    /// Scores a run.
    pub fn of(truth: &Truth, found: &Found) -> Score {
        let window = truth.max_clock_error_seconds as f64 + 5.0;
        let mut score = Score::default();
        let matches = score.sessions(truth, found, window);
        score.runs(truth, found, &matches);
        score.attempts(truth, found, window);
        score.hosts(truth, found);
        score
    }

    /// Returns the counts, by name.
    pub fn counts(&self) -> [(&'static str, Count); 4] {
        [
            ("sessions", self.sessions),
            ("commands", self.commands),
            ("child processes", self.children),
            ("attempts", self.attempts),
        ]
    }

    /// Returns every measure that has a goal, and its value.
    pub fn measures(&self) -> Vec<(String, f64)> {
        let mut measures = Vec::new();
        for (name, count) in self.counts() {
            measures.push((format!("{name}: precision"), count.precision()));
            measures.push((format!("{name}: recall"), count.recall()));
        }
        for (of, fields) in [("", &self.fields), ("attempt ", &self.attempt_fields)] {
            for (name, tally) in fields {
                measures.push((format!("{of}{name}: right"), tally.rate()));
                if tally.empty + tally.guessed + tally.lucky > 0 {
                    measures.push((format!("{of}{name}: no guess"), tally.silence()));
                }
            }
        }
        measures
    }

    fn fault(&mut self, case: &str, what: String) {
        self.faults.push(format!("{case}: {what}"));
        self.cases.entry(case.to_owned()).or_default().1 += 1;
    }

    /// Matches sessions one to one and compares their fields. Returns the found row of each true
    /// session.
    fn sessions<'f>(
        &mut self,
        truth: &Truth,
        found: &'f Found,
        window: f64,
    ) -> Vec<Option<&'f Row>> {
        let rows = &found.sessions;
        let pairs = pairs(&truth.sessions, rows, |session, row| {
            let distance = apart(session.start.logged.as_deref(), get(row, "start_time"));
            let named = names_target(&session.target_names, &row["target_host"]);
            let possible = named && distance <= window && session.expected != ExpectedResult::No;
            possible.then(|| (agreement(session, row), distance))
        });
        let matches: Vec<Option<&Row>> = pairs.iter().map(|at| at.map(|at| &rows[at])).collect();
        let ids: BTreeMap<&str, &str> = matches
            .iter()
            .zip(&truth.sessions)
            .filter_map(|(row, session)| Some((row.as_ref()?["session_id"].as_str(), &*session.id)))
            .collect();
        let shift =
            common_shift(truth.sessions.iter().zip(&matches).filter_map(|(session, row)| {
                let corrected = time(row.as_ref()?.get("start_corrected")?)?;
                Some((corrected - time(&session.start.actual)?).as_seconds_f64())
            }));
        let optional = |session: &SessionTruth| session.expected == ExpectedResult::Optional;
        for (session, row) in truth.sessions.iter().zip(&matches) {
            if session.expected == ExpectedResult::Yes {
                self.sessions.truth += 1;
                self.cases.entry(session.case.clone()).or_default().0 += 1;
                match row {
                    Some(row) => {
                        self.sessions.matched += 1;
                        self.fields(session, row, &ids, shift);
                    }
                    None => {
                        let sides = session.sides.join(", ");
                        let logged = session.start.logged.as_deref().unwrap_or("-");
                        let at = &session.target_host.value;
                        self.fault(
                            &session.case,
                            format!("{} not found: {sides} at {at:?} {logged}", session.id),
                        );
                    }
                }
            }
        }
        let taken: Vec<usize> = pairs.iter().flatten().copied().collect();
        let of_optional = matches
            .iter()
            .zip(&truth.sessions)
            .filter(|(row, session)| row.is_some() && optional(session));
        self.sessions.found = rows.len() - of_optional.count();
        for (_, row) in rows.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
            self.sessions.strangers += 1;
            let near = truth.sessions.iter().min_by(|a, b| {
                let far = |s: &SessionTruth| {
                    let other = !names_target(&s.target_names, &row["target_host"]);
                    let distance = apart(s.start.logged.as_deref(), get(row, "start_time"))
                        .min(apart(Some(&s.start.actual), get(row, "start_time")));
                    distance + if other { 1e6 } else { 0.0 }
                };
                far(a).total_cmp(&far(b))
            });
            let near = near.map_or(String::new(), |s| format!("{} \"{}\"", s.id, s.case));
            let facts: Vec<&str> = [
                "session_id",
                "start_time",
                "source_host",
                "target_host",
                "user",
                "kind",
                "process_id",
                "evidence_sides",
            ]
            .iter()
            .filter_map(|column| get(row, column))
            .collect();
            self.fault("no such session", format!("{}; nearest is {near}", facts.join(" | ")));
        }
        matches
    }

    fn fields(
        &mut self,
        session: &SessionTruth,
        row: &Row,
        ids: &BTreeMap<&str, &str>,
        shift: f64,
    ) {
        let moments = [("start_time", &session.start), ("end_time", &session.end)];
        for (column, moment) in moments {
            if moment.evidence == FactEvidence::Yes {
                let near = apart(moment.logged.as_deref(), get(row, column)) <= SAME_CLOCK;
                let outcome = if near { Outcome::Right } else { Outcome::Wrong };
                let fact = Fact {
                    value: moment.logged.clone().into_iter().collect(),
                    evidence: moment.evidence,
                };
                self.note(session, column, outcome, &row[column], &fact);
            }
        }
        let columns: [(&'static str, &Fact, Same); 13] = [
            ("end_kind", &session.end_kind, same),
            ("source_host", &session.source_host, same_label),
            ("source_ip", &session.source_ip, same),
            ("target_host", &session.target_host, same_label),
            ("user", &session.user, same_account),
            ("user_sid", &session.user_sid, same),
            ("auth", &session.auth, same),
            ("transport", &session.transport, same),
            ("kind", &session.kind, same),
            ("configuration", &session.configuration, same),
            ("logon_ids", &session.logon_id, first),
            ("process_id", &session.process_id, same),
            ("runspace_ids", &session.runspace_ids, one_of),
        ];
        for (column, fact, is) in columns {
            let value = get(row, column).filter(|value| *value != "unknown").unwrap_or("");
            self.note(session, column, outcome(value, fact, is), value, fact);
        }
        if let Some(parent) = row.get("parent_session_id") {
            let value = ids.get(parent.as_str()).copied().unwrap_or(parent);
            self.note(
                session,
                "parent_session_id",
                outcome(value, &session.parent, same),
                value,
                &session.parent,
            );
        }
        if let Some(corrected) = row.get("start_corrected")
            && session.start.evidence == FactEvidence::Yes
        {
            let off = time(corrected)
                .zip(time(&session.start.actual))
                .map(|(a, b)| (a - b).as_seconds_f64() - shift);
            let near = off.is_some_and(|off| off.abs() <= SAME_CLOCK);
            let outcome = if near { Outcome::Right } else { Outcome::Wrong };
            let fact =
                Fact { value: vec![session.start.actual.clone()], evidence: FactEvidence::Yes };
            self.note(session, "start_corrected", outcome, corrected, &fact);
        }
    }

    fn note(
        &mut self,
        session: &SessionTruth,
        column: &'static str,
        outcome: Outcome,
        value: &str,
        fact: &Fact,
    ) {
        if fact.evidence == FactEvidence::Unclear {
            return;
        }
        self.fields.entry(column).or_default().count(outcome);
        if matches!(outcome, Outcome::Wrong | Outcome::Missing | Outcome::Guessed) {
            let what =
                format!("{} {column} {outcome:?}: {value:?}, true is {:?}", session.id, fact.value);
            self.fault(&session.case, what);
        }
    }

    /// Compares commands and child processes, by the unique word in each.
    fn runs(&mut self, truth: &Truth, found: &Found, matches: &[Option<&Row>]) {
        let mut told: BTreeMap<(&str, bool), Vec<&Row>> = BTreeMap::new();
        for row in &found.commands {
            if let Some(token) = token(&row["text"]) {
                let process = matches!(row["source_event"].as_str(), "4688" | "1");
                told.entry((token, process)).or_default().push(row);
            }
        }
        let mut true_session: BTreeMap<&str, Option<&Row>> = BTreeMap::new();
        for (session, row) in truth.sessions.iter().zip(matches) {
            for run in session.commands.iter().chain(&session.children) {
                true_session.insert(&run.token, *row);
            }
            if session.expected != ExpectedResult::Yes {
                continue;
            }
            for (runs, process) in [(&session.commands, false), (&session.children, true)] {
                for run in runs.iter().filter(|run| run.evidence == FactEvidence::Yes) {
                    let in_session = told.get(&(run.token.as_str(), process)).into_iter().flatten();
                    let hit = in_session.into_iter().any(|found| {
                        row.is_some_and(|row| row["session_id"] == found["session_id"])
                    });
                    self.run(session, run, process, hit);
                }
            }
        }
        for ((token, process), rows) in &told {
            let right = true_session.get(token).copied().flatten();
            let mut hit = false;
            for row in rows {
                let count = if *process { &mut self.children } else { &mut self.commands };
                count.found += 1;
                let its = right.is_some_and(|right| right["session_id"] == row["session_id"]);
                // Each executed item is one row, however many records show it.
                if !its || hit {
                    count.strangers += 1;
                    let why = if its { "is a second row in" } else { "is not of" };
                    let what = format!("{:?} {why} {}", row["text"], row["session_id"]);
                    self.faults.push(format!("no such command: {what}"));
                }
                hit |= its;
            }
        }
    }

    fn run(&mut self, session: &SessionTruth, run: &RunTruth, process: bool, hit: bool) {
        let count = if process { &mut self.children } else { &mut self.commands };
        count.truth += 1;
        if hit {
            count.matched += 1;
        } else {
            let what = format!("{} not in commands.csv: {}", session.id, run.text);
            self.faults.push(format!("{}: {what}", session.case));
        }
    }

    fn attempts(&mut self, truth: &Truth, found: &Found, window: f64) {
        let rows = &found.attempts;
        let pairs = pairs(&truth.attempts, rows, |attempt, row| {
            let distance = apart(attempt.time.logged.as_deref(), get(row, "time"));
            let named = names_target(&attempt.target_names, &row["target_host"]);
            let possible = named && distance <= window && attempt.expected != ExpectedResult::No;
            let same_source = same_label(&row["source_host"], &attempt.source_host);
            possible.then_some((usize::from(same_source), distance))
        });
        let mut of_optional = 0;
        for (attempt, at) in truth.attempts.iter().zip(&pairs) {
            match (attempt.expected, at) {
                (ExpectedResult::Yes, Some(at)) => {
                    self.attempts.truth += 1;
                    self.attempts.matched += 1;
                    self.attempt(attempt, &rows[*at]);
                }
                (ExpectedResult::Yes, None) => {
                    self.attempts.truth += 1;
                    let what =
                        format!("{} not found at {:?}", attempt.id, attempt.target_host.value);
                    self.faults.push(format!("{}: {what}", attempt.case));
                }
                (_, Some(_)) => of_optional += 1,
                (_, None) => {}
            }
        }
        self.attempts.found = rows.len() - of_optional;
        for (at, row) in rows.iter().enumerate() {
            if !pairs.contains(&Some(at)) {
                self.attempts.strangers += 1;
                let what = format!(
                    "{} {} {} {}",
                    row["time"], row["source_host"], row["target_host"], row["reason"]
                );
                self.faults.push(format!("no such attempt: {what}"));
            }
        }
    }

    fn attempt(&mut self, attempt: &AttemptTruth, row: &Row) {
        let columns: [(&'static str, &Fact, Same); 5] = [
            ("source_host", &attempt.source_host, same_label),
            ("source_ip", &attempt.source_ip, same),
            ("target_host", &attempt.target_host, same_label),
            ("user", &attempt.user, same_account),
            ("reason", &attempt.reason, same),
        ];
        for (column, fact, is) in columns {
            if fact.evidence == FactEvidence::Unclear {
                continue;
            }
            let outcome = outcome(&row[column], fact, is);
            self.attempt_fields.entry(column).or_default().count(outcome);
            if matches!(outcome, Outcome::Wrong | Outcome::Missing | Outcome::Guessed) {
                let what = format!(
                    "{} {column} {outcome:?}: {:?}, true is {:?}",
                    attempt.id, row[column], fact.value
                );
                self.faults.push(format!("{}: {what}", attempt.case));
            }
        }
    }

    /// Compares clock offsets, where the program gives them. The program chooses its reference time,
    /// so all of them may differ by the same amount.
    fn hosts(&mut self, truth: &Truth, found: &Found) {
        let told: BTreeMap<String, f64> = found
            .hosts
            .iter()
            .filter_map(|row| {
                let offset = row.get("clock_offset_seconds")?.parse().ok()?;
                Some((label(row.get("host")?), offset))
            })
            .collect();
        if told.is_empty() {
            return;
        }
        let collected = || truth.hosts.iter().filter(|host| host.collected);
        let shift =
            common_shift(collected().filter_map(|host| {
                Some(told.get(&label(&host.name))? - host.clock_offset_seconds)
            }));
        for host in collected() {
            let outcome = match told.get(&label(&host.name)) {
                Some(offset) if (offset - shift - host.clock_offset_seconds).abs() <= 1.0 => {
                    Outcome::Right
                }
                Some(_) => Outcome::Wrong,
                None => Outcome::Missing,
            };
            self.fields.entry("clock_offset_seconds").or_default().count(outcome);
        }
    }
}

/// Matches one to one: pairs that agree in most come first, then those nearest in time. The place
/// of the row of each true thing.
fn pairs<T>(
    truth: &[T],
    rows: &[Row],
    weigh: impl Fn(&T, &Row) -> Option<(usize, f64)>,
) -> Vec<Option<usize>> {
    let mut all = Vec::new();
    for (t, thing) in truth.iter().enumerate() {
        for (r, row) in rows.iter().enumerate() {
            if let Some((agreement, distance)) = weigh(thing, row) {
                all.push((usize::MAX - agreement, distance, t, r));
            }
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then((a.2, a.3).cmp(&(b.2, b.3))));
    let mut matched = vec![None; truth.len()];
    let mut taken = vec![false; rows.len()];
    for (_, _, t, r) in all {
        if matched[t].is_none() && !taken[r] {
            matched[t] = Some(r);
            taken[r] = true;
        }
    }
    matched
}

/// Returns how well a row matches a session. Keys weigh most.
fn agreement(session: &SessionTruth, row: &Row) -> usize {
    let told = |column: &str, fact: &Fact, is: Same| {
        usize::from(get(row, column).is_some_and(|value| is(value, fact)))
    };
    4 * told("process_id", &session.process_id, same)
        + 4 * told("runspace_ids", &session.runspace_ids, one_of)
        + 4 * told("logon_ids", &session.logon_id, first)
        + told("user", &session.user, same_account)
        + told("user_sid", &session.user_sid, same)
        + told("source_host", &session.source_host, same_label)
        + told("source_ip", &session.source_ip, same)
        + told("kind", &session.kind, same)
}

fn outcome(value: &str, fact: &Fact, is: Same) -> Outcome {
    match (fact.evidence == FactEvidence::Yes, value.is_empty()) {
        (true, true) => Outcome::Missing,
        (false, true) => Outcome::Empty,
        (true, false) if is(value, fact) => Outcome::Right,
        (true, false) => Outcome::Wrong,
        (false, false) if is(value, fact) => Outcome::Lucky,
        (false, false) => Outcome::Guessed,
    }
}

fn get<'r>(row: &'r Row, column: &str) -> Option<&'r str> {
    row.get(column).map(String::as_str).filter(|value| !value.is_empty())
}

fn same(value: &str, fact: &Fact) -> bool {
    fact.value.iter().any(|right| right.eq_ignore_ascii_case(value))
}

/// Returns the first label of a host name, or the whole of an address.
fn label(name: &str) -> String {
    let address = name.parse::<std::net::IpAddr>().is_ok();
    let label = if address { name } else { name.split('.').next().unwrap_or(name) };
    label.to_lowercase()
}

fn same_label(value: &str, fact: &Fact) -> bool {
    fact.value.iter().any(|right| label(right) == label(value))
}

/// Whether two accounts are the same. They are written as `DOMAIN\name`, `REALM\name`, `name@REALM`, `name` or a SID.
fn same_account(value: &str, fact: &Fact) -> bool {
    let parts = |text: &str| match text.split_once('\\') {
        Some((domain, name)) => (label(domain), name.to_lowercase()),
        None => match text.split_once('@') {
            Some((name, realm)) => (label(realm), name.to_lowercase()),
            None => (String::new(), text.to_lowercase()),
        },
    };
    let (domain, name) = parts(value);
    fact.value.iter().any(|right| {
        let (true_domain, true_name) = parts(right);
        name == true_name && (domain.is_empty() || domain == true_domain)
    })
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(';').map(str::trim)
}

fn first(value: &str, fact: &Fact) -> bool {
    list(value).next().is_some_and(|value| same(value, fact))
}

fn one_of(value: &str, fact: &Fact) -> bool {
    list(value).any(|value| same(value, fact))
}

fn names_target(names: &[String], found: &str) -> bool {
    names.iter().any(|name| label(name) == label(found))
}

/// Returns the unique word of an executed item in a text. Words of noise differ.
fn token(text: &str) -> Option<&str> {
    ["ref", "noise"].into_iter().find_map(|prefix| {
        text.match_indices(prefix).find_map(|(at, _)| {
            let word = text.get(at..at + prefix.len() + 6)?;
            word[prefix.len()..].bytes().all(|byte| byte.is_ascii_digit()).then_some(word)
        })
    })
}

/// Returns the median of the differences.
fn common_shift(differences: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = differences.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}
