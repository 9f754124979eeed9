//! What is lost, doubled or out of order: a stated gap, and never a wrong text.

use std::collections::{BTreeMap, BTreeSet};

use psr_forensics::psrp::{self, AnomalyKind, Conversation, Exchange, Fragment, Pipeline};
use serde_json::Value;

use super::fixtures::{bytes, chunks, exchange, fixtures, fragments, sessions, soap, text};

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
        found.errors.iter().for_each(|(record, _)| say("error", &psrp::error_text(record)));
        found.failure.iter().for_each(|(record, _)| say("failure", &psrp::error_text(record)));
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
fn has_gaps(conversation: &Conversation<usize>) -> bool {
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
            assert!(!is_missed || !later || has_gaps(&conversation), "{name} without row {lost}");
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
                    c.anomalies
                        .iter()
                        .filter(|anomaly| anomaly.kind == AnomalyKind::Duplicate)
                        .count()
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
            assert!(!is_missed || has_gaps(&conversation), "{name} without chunk {at}");
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
            exchange.add_fragment("srv", process, received, fragment, tag);
        }
        documents.into_iter().for_each(|chunk| exchange.add_chunk(chunk, 0));
        let both = shown(&exchange.finish());
        // What only one of the two tells, is there as well.
        let mut expected = of_rows.clone();
        expected.extend(beyond(&of_documents, &of_rows));
        expected.sort();
        assert_eq!(both, expected, "{name}");
    }
}

/// All that a message is, as far as it does not depend on what came before it.
fn each<T: Clone>(conversation: &Conversation<T>) -> Vec<String> {
    let one = |message: &psrp::Message<T>| {
        let data = String::from_utf8_lossy(message.data());
        format!("{} {:?} {data}", message.object_id, message.header)
    };
    let mut all: Vec<String> = conversation.messages.iter().map(one).collect();
    all.sort();
    all
}

/// A fixture's fragments as bytes, row by row.
fn raw(fixture: &Value) -> Vec<(u32, bool, Vec<u8>)> {
    let read = |row: &Value| {
        let process = u32::try_from(row["process_id"].as_u64().unwrap()).unwrap();
        let to_server = text(row, "direction") == "client_to_server";
        (process, to_server, bytes(text(row, "raw_fragment_hex")))
    };
    fixture["fragments"].as_array().unwrap().iter().map(read).collect()
}

/// An exchange that hears bytes as they are, tagged with their rows.
fn heard(rows: &[(u32, bool, Vec<u8>)]) -> Conversation<usize> {
    let mut exchange = Exchange::new();
    for (tag, (process, received, bytes)) in rows.iter().enumerate() {
        for fragment in Fragment::split(bytes).0 {
            exchange.add_fragment("srv", *process, *received, fragment, tag);
        }
    }
    exchange.finish()
}

/// There is no checksum: a changed text cannot be told. It stays where it is.
#[test]
fn a_flipped_bit_or_a_cut_changes_no_message_but_its_own() {
    let mut dice = Dice(13);
    for (name, fixture) in fixtures() {
        let rows = raw(&fixture);
        let whole = heard(&rows);
        let truth: BTreeSet<String> = each(&whole).into_iter().collect();
        for round in 0..40 {
            let mut rows = rows.clone();
            let at = dice.below(rows.len());
            let bytes = &mut rows[at].2;
            let place = dice.below(bytes.len());
            if round % 2 == 0 {
                bytes[place] ^= 1 << dice.below(8);
            } else {
                bytes.truncate(place);
            }
            let mut found = heard(&rows);
            let length: usize = found.messages.iter().map(|message| message.length()).sum();
            assert!(length <= rows.iter().map(|row| row.2.len()).sum(), "{name}, round {round}");
            found.messages.retain(|message| !message.tags.contains(&at));
            for message in each(&found) {
                assert!(truth.contains(&message), "{name}, row {at}, byte {place}: {message:.200}");
            }
            // Whoever asks for all of it, gets an answer.
            shown(&heard(&rows));
        }
    }
}

#[test]
fn parts_of_a_trace_hold_together_what_the_whole_does() {
    for (name, fixture) in fixtures() {
        let rows = fragments(&fixture);
        let truth = exchange(rows.clone());
        // What comes twice, in another part, is told twice.
        if !truth.anomalies.is_empty() || sessions(&fixture["expected"]).len() > 1 {
            continue;
        }
        for cut in some_of(rows.len(), 12) {
            let mut exchange = Exchange::new();
            let mut part = None;
            for (tag, (process, received, fragment)) in rows.clone().into_iter().enumerate() {
                if tag == cut {
                    part = Some(exchange.take_completed());
                }
                exchange.add_fragment("srv", process, received, fragment, tag);
            }
            let (part, rest) = (part.unwrap(), exchange.finish());
            let mut both = [each(&part), each(&rest)].concat();
            both.sort();
            assert_eq!(both, each(&truth), "{name}, cut at {cut}");
            assert_eq!(part.gaps.len() + rest.gaps.len(), truth.gaps.len(), "{name}, cut at {cut}");
        }
        let rows = chunks(&fixture);
        let truth = soap(rows.clone());
        if !truth.anomalies.is_empty() {
            continue;
        }
        for cut in some_of(rows.len(), 12) {
            let mut exchange = Exchange::new();
            rows[..cut].iter().for_each(|chunk| exchange.add_chunk(chunk.clone(), 0));
            let part = exchange.take_completed();
            rows[cut..].iter().for_each(|chunk| exchange.add_chunk(chunk.clone(), 0));
            let rest = exchange.finish();
            let mut both = [each(&part), each(&rest)].concat();
            both.sort();
            assert_eq!(both, each(&truth), "{name}, documents cut at {cut}");
            assert_eq!(part.shells.len().max(rest.shells.len()), truth.shells.len(), "{name}");
        }
    }
}
