//! Reconstruction of events at hand.

use super::gather::Gathered;
use super::{Case, Keys, focus::Focus, rebuild};
use crate::decode::Seen;
use crate::model::{Channel, Event, RecordRef};

/// The case of some events. Which of them are asked for must make no difference: all of them give
/// the same as those that `focus` names.
pub(crate) fn rebuilt(events: Vec<Event>) -> Case {
    let focused = rebuild_with(&events, |focus| focus.records());
    let every = |focus: &Focus<'_>| {
        let at_hand: Vec<RecordRef> = focus.core.iter().map(|event| event.source).collect();
        let all = events.iter().map(|event| event.source);
        all.filter(|source| !at_hand.contains(source)).collect()
    };
    let whole = rebuild_with(&events, every);
    assert_eq!(shape(&focused), shape(&whole), "records that matter were passed over");
    focused
}

fn rebuild_with(events: &[Event], records: impl FnOnce(&Focus<'_>) -> Vec<RecordRef>) -> Case {
    let keys = Keys::default();
    let mut gathered = Gathered::default();
    for event in events {
        gathered.reach.see(Seen {
            channel: Channel::of(&event.channel, &event.provider),
            computer: &event.computer,
            event_id: event.event_id,
            record_id: event.record_id,
            time: event.time,
        });
        gathered.take(event.clone(), &keys);
    }
    let load = |records: Vec<RecordRef>| {
        events.iter().filter(|event| records.contains(&event.source)).cloned().collect()
    };
    rebuild(vec![gathered], &keys, load, records)
}

/// A case with records in the place of indexes.
fn shape(case: &Case) -> impl PartialEq + std::fmt::Debug {
    let place = |event: usize| case.events[event].source;
    let sessions = case.sessions.iter().map(|session| {
        let evidence = session.evidence.iter().map(|e| (place(e.event), e.link));
        let evidence: Vec<_> = evidence.collect();
        (format!("{:?}", crate::model::Session { evidence: vec![], ..session.clone() }), evidence)
    });
    let commands = case.commands.iter().map(|command| {
        (command.session, place(command.event), command.text.clone(), command.depth)
    });
    let attempts = case.attempts.iter().map(|attempt| {
        let events: Vec<_> = attempt.events.iter().map(|&event| place(event)).collect();
        (attempt.target_host.clone(), attempt.reason, events)
    });
    let scripts = case.scripts.iter().map(|script| {
        let events: Vec<_> = script.events.iter().map(|&event| place(event)).collect();
        (script.text.clone(), script.session, events)
    });
    (
        sessions.collect::<Vec<_>>(),
        commands.collect::<Vec<_>>(),
        attempts.collect::<Vec<_>>(),
        scripts.collect::<Vec<_>>(),
        case.elsewhere.whole.clone(),
        case.elsewhere.parted.clone(),
    )
}
