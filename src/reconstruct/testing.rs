//! Rebuilds sessions from events in memory, for tests.

use super::marks::{KeyHasher, TaskMarks};
use super::rebuild::rebuild_from_records;
use super::reconstruction::Reconstruction;
use super::record_selector::RecordSelector;
use crate::decode::RecordHeader;
use crate::model::{Channel, Event, EventIdx, InputIdx, RecordRef, Weighed};

/// Rebuilds from some events. The selection of records must make no difference: all records give
/// the same result as those that the selector returns. Copies that are left out must make no
/// difference either.
pub(crate) fn rebuilt(events: Vec<Event>) -> Reconstruction {
    let focused = rebuild_with(&events, marks_of(&events, &[]), |selector| selector.records());
    let some: Vec<Event> = events.iter().step_by(2).cloned().collect();
    let copied = rebuild_with(&events, marks_of(&events, &some), |selector| selector.records());
    assert_eq!(shape(&focused), shape(&copied), "copies left something behind");
    let every = |selector: &RecordSelector<'_>| {
        let at_hand: Vec<RecordRef> =
            selector.remoting_events.iter().map(|event| event.source).collect();
        let all = events.iter().map(|event| event.source);
        all.filter(|source| !at_hand.contains(source)).collect()
    };
    let whole = rebuild_with(&events, marks_of(&events, &[]), every);
    assert_eq!(shape(&focused), shape(&whole), "records that matter were passed over");
    focused
}

/// Returns the marks of some events. Marks of `copies` are added and removed again.
fn marks_of(events: &[Event], copies: &[Event]) -> (TaskMarks, KeyHasher) {
    const ELSEWHERE: usize = 1 << 20;
    let keys = KeyHasher::default();
    let mut task_marks = TaskMarks::default();
    let copies = copies.iter().map(|event| {
        let input = InputIdx::new(event.source.input.index() + ELSEWHERE);
        let source = RecordRef { input, ..event.source };
        Event { source, ..event.clone() }
    });
    for event in copies.chain(events.iter().cloned()) {
        if event.source.input < InputIdx::new(ELSEWHERE) {
            task_marks.extent.add_record(RecordHeader {
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
        task_marks.add_event(event, &keys);
    }
    task_marks.retain(|source| source.input < InputIdx::new(ELSEWHERE), &keys);
    (task_marks, keys)
}

fn rebuild_with(
    events: &[Event],
    (task_marks, keys): (TaskMarks, KeyHasher),
    records: impl FnOnce(&RecordSelector<'_>) -> Vec<RecordRef>,
) -> Reconstruction {
    rebuild_from_records(vec![task_marks], &keys, &events, records)
}

/// Returns a reconstruction with records in place of indexes, for comparison.
fn shape(reconstruction: &Reconstruction) -> impl PartialEq + std::fmt::Debug {
    let place = |event: EventIdx| reconstruction.events[event].source;
    let sessions = reconstruction.sessions.iter().map(|session| {
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
    let commands = reconstruction.commands.iter().map(|command| {
        let events: Vec<_> = command.events.iter().map(|&event| place(event)).collect();
        format!("{:?} {events:?}", crate::model::Command { events: vec![], ..command.clone() })
    });
    let attempts = reconstruction.attempts.iter().map(|attempt| {
        let events: Vec<_> = attempt.events.iter().map(|&event| place(event)).collect();
        (attempt.target_host.clone(), attempt.reason, events)
    });
    let scripts = reconstruction.scripts.iter().map(|script| {
        let events: Vec<_> = script.events.iter().map(|&event| place(event)).collect();
        (script.text.clone(), script.session, events)
    });
    (
        format!("{:?}", reconstruction.hosts),
        sessions.collect::<Vec<_>>(),
        commands.collect::<Vec<_>>(),
        attempts.collect::<Vec<_>>(),
        scripts.collect::<Vec<_>>(),
        reconstruction.unassigned_scripts.whole.clone(),
        reconstruction.unassigned_scripts.in_parts.clone(),
    )
}
