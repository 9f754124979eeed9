//! Tests of the scorer: an output made from the truth gets the full score, an empty one gets none.

use scenario::{Config, ExpectedResult, Fact, FactEvidence, Fleet, Moment, SessionTruth, Truth};

use crate::found::{Found, Row};
use crate::score::Score;

fn fleet() -> Truth {
    let config = Config { noise_per_host: 0, ..Config::default() };
    Fleet::generate(&config).truth().clone()
}

fn expected_cell(fact: &Fact) -> String {
    let value = fact.value.first().filter(|_| fact.evidence == FactEvidence::Yes);
    value.cloned().unwrap_or_default()
}

fn moment(moment: &Moment) -> String {
    moment.logged.clone().unwrap_or_else(|| moment.actual.clone())
}

fn row(columns: &[(&str, String)]) -> Row {
    columns.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn session(truth: &SessionTruth) -> Row {
    row(&[
        ("session_id", truth.id.replace('T', "S")),
        ("start_time", moment(&truth.start)),
        ("start_corrected", truth.start.actual.clone()),
        ("end_time", moment(&truth.end)),
        ("end_kind", expected_cell(&truth.end_kind)),
        ("source_host", expected_cell(&truth.source_host)),
        ("source_ip", expected_cell(&truth.source_ip)),
        ("target_host", expected_cell(&truth.target_host)),
        ("user", expected_cell(&truth.user)),
        ("user_sid", expected_cell(&truth.user_sid)),
        ("auth", expected_cell(&truth.auth)),
        ("transport", expected_cell(&truth.transport)),
        ("kind", expected_cell(&truth.kind)),
        ("configuration", expected_cell(&truth.configuration)),
        ("logon_ids", expected_cell(&truth.logon_id)),
        ("process_id", expected_cell(&truth.process_id)),
        ("runspace_ids", expected_cell(&truth.runspace_ids)),
        ("parent_session_id", expected_cell(&truth.parent).replace('T', "S")),
    ])
}

fn perfect(truth: &Truth) -> Found {
    let sessions =
        || truth.sessions.iter().filter(|session| session.expected == ExpectedResult::Yes);
    let runs = sessions().flat_map(|session| {
        let runs = session.commands.iter().chain(&session.children);
        runs.filter(|run| run.evidence == FactEvidence::Yes).map(|run| {
            row(&[
                ("session_id", session.id.replace('T', "S")),
                ("source_event", if run.image.is_some() { "4688" } else { "4104" }.into()),
                ("text", run.text.clone()),
            ])
        })
    });
    let attempts = truth.attempts.iter().filter(|attempt| attempt.expected == ExpectedResult::Yes);
    let attempts = attempts.map(|attempt| {
        row(&[
            ("time", moment(&attempt.time)),
            ("source_host", expected_cell(&attempt.source_host)),
            ("source_ip", expected_cell(&attempt.source_ip)),
            ("target_host", expected_cell(&attempt.target_host)),
            ("user", expected_cell(&attempt.user)),
            ("reason", expected_cell(&attempt.reason)),
        ])
    });
    // Another reference time: all clocks differ by the same amount.
    let hosts = truth.hosts.iter().map(|host| {
        let offset = (host.clock_offset_seconds + 7.5).to_string();
        row(&[("host", host.name.clone()), ("clock_offset_seconds", offset)])
    });
    Found {
        sessions: sessions().map(session).collect(),
        commands: runs.collect(),
        attempts: attempts.collect(),
        hosts: hosts.collect(),
    }
}

#[test]
fn the_truth_gets_the_full_score() {
    let truth = fleet();
    let score = Score::of(&truth, &perfect(&truth));
    assert_eq!(score.faults, Vec::<String>::new());
    assert!(score.sessions.truth >= 200);
    for name in ["parent_session_id", "start_corrected", "clock_offset_seconds"] {
        assert!(score.fields[name].right > 0, "{name}");
    }
    for (name, value) in score.measures() {
        assert_eq!(value, 1.0, "{name}");
    }
}

#[test]
fn extra_rows_and_guesses_are_counted() {
    let truth = fleet();
    let mut found = perfect(&truth);
    let quiet = |session: &&SessionTruth| {
        session.expected == ExpectedResult::Yes && session.source_host.evidence == FactEvidence::No
    };
    let quiet = truth.sessions.iter().find(quiet).unwrap().id.replace('T', "S");
    for row in &mut found.sessions {
        if row["session_id"] == quiet {
            row.insert("source_host".into(), "SRV99".into());
        }
    }
    let mut stranger = found.sessions[0].clone();
    stranger.insert("start_time".into(), "2026-03-20 00:00:00".into());
    found.sessions.push(stranger);
    let gone = found.sessions.remove(1);
    let score = Score::of(&truth, &found);
    assert_eq!(score.fields["source_host"].guessed, 1);
    assert_eq!(score.sessions.strangers, 1);
    assert_eq!(score.sessions.matched, score.sessions.truth - 1);
    let missed = format!("{} not found", gone["session_id"].replace('S', "T"));
    assert!(score.faults.iter().any(|fault| fault.contains(&missed)), "{missed}");
}

#[test]
fn an_empty_output_scores_zero() {
    let truth = fleet();
    let none = Found {
        sessions: Vec::new(),
        commands: Vec::new(),
        attempts: Vec::new(),
        hosts: Vec::new(),
    };
    let score = Score::of(&truth, &none);
    for (name, count) in score.counts() {
        assert_eq!(count.recall(), 0.0, "{name}");
    }
}
