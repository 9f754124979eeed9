//! What is lost, doubled or out of order: a stated gap, and never a wrong text.

use std::collections::BTreeMap;

use psr_forensics::psrp::{self, Conversation, Exchange, Oddity, Pipeline};

use super::fixtures::{chunks, exchange, fixtures, fragments, sessions, soap};

/// Every text that a conversation shows, by pipeline, in its kind; host calls apart from answers.
fn shown(conversation: &Conversation<usize>) -> Vec<String> {
    let mut all = Vec::new();
    for found in conversation.pipelines() {
        let mut say = |kind: &str, text: &str| {
            all.push(format!("{} {} {kind}: {text}", found.pool, found.id))
        };
        if let Some(commands) = found.command_text() {
            say("commands", &commands);
        }
        for (kind, items) in [("input", &found.input), ("output", &found.output)] {
            items.iter().for_each(|item| say(kind, &item.line()));
        }
        for (kind, records) in [
            ("warning", &found.warnings),
            ("verbose", &found.verbose),
            ("debug", &found.debug),
            ("state", &found.states),
        ] {
            records.iter().for_each(|(text, _)| say(kind, text));
        }
        found.errors.iter().for_each(|(record, _)| say("error", &psrp::error(record)));
        found.failure.iter().for_each(|(record, _)| say("failure", &psrp::error(record)));
        found.information.iter().for_each(|(record, _)| say("information", &record.data));
        found.progress.iter().for_each(|(record, _)| say("progress", &format!("{record:?}")));
        for (call, _) in found.host_calls.iter() {
            say("call", &format!("{} {} {:?}", call.call_id, call.method, call.parameters));
            call.response
                .iter()
                .for_each(|text| say("answer", &format!("{} {text}", call.call_id)));
        }
    }
    for pool in conversation.pools() {
        pool.states.iter().for_each(|(state, _)| all.push(format!("{} state: {state}", pool.id)));
        for (call, _) in pool.host_calls.iter() {
            all.push(format!("{} call: {} {:?}", pool.id, call.method, call.parameters));
        }
    }
    all.sort();
    all
}

/// The texts of the first list that are not in the second, each as often as it is missing there.
fn beyond(texts: &[String], truth: &[String]) -> Vec<String> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    truth.iter().for_each(|text| *left.entry(text.as_str()).or_default() += 1);
    let mut has_place = |text: &&String| match left.get_mut(text.as_str()) {
        Some(0) | None => false,
        Some(count) => {
            *count -= 1;
            true
        }
    };
    texts.iter().filter(|text| !has_place(text)).cloned().collect()
}

/// Whether a conversation says itself that something is missing.
fn tells_gaps(conversation: &Conversation<usize>) -> bool {
    let told = conversation.gaps.len() + conversation.absent.len();
    let without_command = |found: &Pipeline| {
        found.creation.is_none() && found.metadata_request.is_none() && !found.messages.is_empty()
    };
    told + conversation.lost_documents.len() + conversation.faults.len() > 0
        || conversation.pipelines().any(|found| without_command(&found))
}

/// Numbers that look random and are the same in each run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// At most this many places of a log of so many rows, evenly.
fn some_of(rows: usize, most: usize) -> impl Iterator<Item = usize> {
    (0..rows).step_by(rows.div_ceil(most).max(1))
}

#[test]
fn lost_fragments_are_gaps_and_never_wrong_text() {
    for (name, fixture) in fixtures() {
        let rows = fragments(&fixture);
        let truth = shown(&exchange(rows.clone()));
        for lost in some_of(rows.len(), 40) {
            let mut rows = rows.clone();
            let (process, received, fragment) = rows.remove(lost);
            let conversation = exchange(rows.clone());
            let texts = shown(&conversation);
            assert_eq!(beyond(&texts, &truth), [""; 0], "{name} without row {lost}");
            // That the last object of all is not there, nobody can tell.
            let later = rows.iter().any(|row| {
                let same = row.2.object_id == fragment.object_id;
                let later = row.2.object_id > fragment.object_id;
                row.0 == process && row.1 == received && (same || later)
            });
            let is_missed = !beyond(&truth, &texts).is_empty();
            assert!(!is_missed || !later || tells_gaps(&conversation), "{name} without row {lost}");
        }
    }
}

#[test]
fn doubled_fragments_add_nothing_but_their_own_mention() {
    for (name, fixture) in fixtures() {
        let rows = fragments(&fixture);
        let once = exchange(rows.clone());
        let truth = shown(&once);
        for twice in some_of(rows.len(), 20) {
            for place in [twice, rows.len()] {
                let mut rows = rows.clone();
                rows.insert(place, rows[twice].clone());
                let conversation = exchange(rows);
                assert_eq!(shown(&conversation), truth, "{name}: row {twice} again at {place}");
                let count = |c: &Conversation<usize>| {
                    c.anomalies.iter().filter(|anomaly| anomaly.oddity == Oddity::Duplicate).count()
                };
                assert_eq!(count(&conversation), count(&once) + 1, "{name}: row {twice}");
            }
        }
    }
}

#[test]
fn shuffled_fragments_say_the_same_or_less() {
    let mut dice = Dice(7);
    for (name, fixture) in fixtures() {
        let mut rows = fragments(&fixture);
        let truth = shown(&exchange(rows.clone()));
        let is_one = sessions(&fixture["expected"]).len() == 1;
        for round in 0..10 {
            dice.shuffle(&mut rows);
            let conversation = exchange(rows.clone());
            let texts = shown(&conversation);
            assert_eq!(beyond(&texts, &truth), [""; 0], "{name}, round {round}");
            // Where nobody counts anew, the numbers alone put everything right.
            assert!(!is_one || texts == truth, "{name}, round {round}");
        }
    }
}

#[test]
fn lost_doubled_and_shuffled_chunks() {
    let mut dice = Dice(11);
    for (name, fixture) in fixtures() {
        let rows = chunks(&fixture);
        let truth = shown(&soap(rows.clone()));
        for at in some_of(rows.len(), 12) {
            let mut less = rows.clone();
            less.remove(at);
            let conversation = soap(less);
            let texts = shown(&conversation);
            assert_eq!(beyond(&texts, &truth), [""; 0], "{name} without chunk {at}");
            // A document of one chunk that is not there, is missed by its objects' numbers only.
            let is_missed = rows[at].total > 1 && texts != truth;
            assert!(!is_missed || tells_gaps(&conversation), "{name} without chunk {at}");
            let mut more = rows.clone();
            more.insert(at, rows[at].clone());
            assert_eq!(shown(&soap(more)), truth, "{name} with chunk {at} again");
        }
        let mut rows = rows;
        for round in 0..3 {
            dice.shuffle(&mut rows);
            assert_eq!(shown(&soap(rows.clone())), truth, "{name}, round {round}");
        }
    }
}

#[test]
fn both_traces_together_say_each_thing_once_and_fill_each_others_gaps() {
    for (name, fixture) in fixtures() {
        let (rows, documents) = (fragments(&fixture), chunks(&fixture));
        let (of_rows, of_documents) =
            (shown(&exchange(rows.clone())), shown(&soap(documents.clone())));
        let mut exchange = Exchange::new();
        for (tag, (process, received, fragment)) in rows.into_iter().enumerate() {
            exchange.fragment("srv", process, received, fragment, tag);
        }
        documents.into_iter().for_each(|chunk| exchange.chunk(chunk, 0));
        let both = shown(&exchange.finish());
        // What only one of the two tells, is there as well.
        let mut expected = of_rows.clone();
        expected.extend(beyond(&of_documents, &of_rows));
        expected.sort();
        assert_eq!(both, expected, "{name}");
    }
}
