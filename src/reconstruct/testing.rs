//! Reconstruction of events at hand.

use super::case::Case;
use super::focus::Focus;
use super::gather::{Gathered, Keys};
use super::rebuild::rebuild;
use crate::decode::RecordHeader;
use crate::model::{Channel, Event, EventIdx, InputIdx, RecordRef, Weighed};

/// The case of some events. Which of them are asked for must make no difference: all of them give
/// the same as those that `focus` names. Nor must copies that are left out.
pub(crate) fn rebuilt(events: Vec<Event>) -> Case {
    let focused = rebuild_with(&events, gathered(&events, &[]), |focus| focus.records());
    let some: Vec<Event> = events.iter().step_by(2).cloned().collect();
    let copied = rebuild_with(&events, gathered(&events, &some), |focus| focus.records());
    assert_eq!(shape(&focused), shape(&copied), "copies left something behind");
    let every = |focus: &Focus<'_>| {
        let at_hand: Vec<RecordRef> = focus.core.iter().map(|event| event.source).collect();
        let all = events.iter().map(|event| event.source);
        all.filter(|source| !at_hand.contains(source)).collect()
    };
    let whole = rebuild_with(&events, gathered(&events, &[]), every);
    assert_eq!(shape(&focused), shape(&whole), "records that matter were passed over");
    focused
}

/// What is gathered of some events, and of copies of some that are then left out.
fn gathered(events: &[Event], copies: &[Event]) -> (Gathered, Keys) {
    const ELSEWHERE: usize = 1 << 20;
    let keys = Keys::default();
    let mut gathered = Gathered::default();
    let copies = copies.iter().map(|event| {
        let input = InputIdx::new(event.source.input.index() + ELSEWHERE);
        let source = RecordRef { input, ..event.source };
        Event { source, ..event.clone() }
    });
    for event in copies.chain(events.iter().cloned()) {
        if event.source.input < InputIdx::new(ELSEWHERE) {
            gathered.reach.see(RecordHeader {
                source: event.source,
                channel: Channel::of(&event.channel, &event.provider),
                channel_name: &event.channel,
                provider: &event.provider,
                computer: &event.computer,
                event_id: event.event_id,
                record_id: event.record_id,
                time: event.time,
            });
        }
        gathered.take(event, &keys);
    }
    gathered.retain(|source| source.input < InputIdx::new(ELSEWHERE), &keys);
    (gathered, keys)
}

fn rebuild_with(
    events: &[Event],
    (gathered, keys): (Gathered, Keys),
    records: impl FnOnce(&Focus<'_>) -> Vec<RecordRef>,
) -> Case {
    rebuild(vec![gathered], &keys, &events, records)
}

/// A case with records in the place of indexes.
fn shape(case: &Case) -> impl PartialEq + std::fmt::Debug {
    let place = |event: EventIdx| case.events[event].source;
    let sessions = case.sessions.iter().map(|session| {
        let evidence = session.evidence.iter().map(|e| (place(e.event), e.link));
        let evidence: Vec<_> = evidence.collect();
        let mut session = crate::model::Session { evidence: vec![], ..session.clone() };
        let Weighed { winner, agreeing, rivals } = &mut session.weighed;
        let hints = winner.iter_mut().chain(agreeing);
        let hints = hints.chain(rivals.iter_mut().map(|rival| &mut rival.hint));
        let indexes = hints.map(|hint| &mut hint.event);
        let indexes = indexes.chain(session.tool.iter_mut().map(|tool| &mut tool.event));
        let told: Vec<_> = indexes.map(|index| place(std::mem::take(index))).collect();
        (format!("{session:?}"), evidence, told)
    });
    let commands = case.commands.iter().map(|command| {
        let events: Vec<_> = command.events.iter().map(|&event| place(event)).collect();
        format!("{:?} {events:?}", crate::model::Command { events: vec![], ..command.clone() })
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
        format!("{:?}", case.hosts),
        sessions.collect::<Vec<_>>(),
        commands.collect::<Vec<_>>(),
        attempts.collect::<Vec<_>>(),
        scripts.collect::<Vec<_>>(),
        case.elsewhere.whole.clone(),
        case.elsewhere.parted.clone(),
    )
}
