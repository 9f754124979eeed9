use super::*;

fn lane() -> Lane {
    Lane::Process { host: "srv".into(), process: 1, received: true }
}

fn fragment(object_id: u64, fragment_id: u64, end: bool, blob: &str) -> Fragment {
    let blob = blob.as_bytes().to_vec();
    Fragment { object_id, fragment_id, start: fragment_id == 0, end, blob }
}

/// Joins fragments in this order. Returns the messages and the gaps.
fn joined(fragments: &[Fragment]) -> (Vec<String>, Vec<MessageGap<usize>>) {
    let mut reassembler = Reassembler::default();
    let mut messages = Vec::new();
    for (tag, fragment) in fragments.iter().enumerate() {
        if let (Some(joined), _) = reassembler.push(&lane(), fragment.clone(), None, tag) {
            messages.push(String::from_utf8(joined.bytes).unwrap());
        }
    }
    (messages, reassembler.finish().0)
}

#[test]
fn any_order_and_repeats_make_the_message_once() {
    let parts = [fragment(7, 2, true, "c"), fragment(7, 0, false, "a"), fragment(7, 1, false, "b")];
    let (messages, gaps) = joined(&[&parts[..], &parts[..]].concat());
    assert_eq!((messages, gaps.len()), (vec!["abc".to_owned()], 0));
}

#[test]
fn anomalies_are_reported_for_each_fragment() {
    let mut reassembler = Reassembler::default();
    let mut push = |id, end| reassembler.push(&lane(), fragment(5, id, end, "x"), None, ()).1;
    assert_eq!(push(0, false), None);
    assert_eq!(push(3, true), None);
    assert_eq!(push(1, false), Some(AnomalyKind::OutOfOrder));
    assert_eq!(push(1, false), Some(AnomalyKind::Duplicate));
    assert_eq!(push(2, false), None);
    assert_eq!(push(2, false), Some(AnomalyKind::Duplicate));
    let mut wrong = fragment(6, 1, false, "x");
    wrong.start = true;
    assert!(matches!(reassembler.push(&lane(), wrong, None, ()).1, Some(AnomalyKind::Rejected(_))));
}

#[test]
fn missing_fragments_are_reported_and_not_joined() {
    let parts = [
        fragment(7, 0, false, "a"),
        fragment(7, 1, false, "b"),
        fragment(7, 4, false, "e"),
        fragment(7, 9, true, "j"),
    ];
    let (messages, gaps) = joined(&parts);
    assert_eq!((messages.len(), gaps.len()), (0, 1));
    assert_eq!(gaps[0].have, [0..=1, 4..=4, 9..=9]);
    assert_eq!(gaps[0].missing, [2..=3, 5..=8]);
    assert!(gaps[0].end_seen && gaps[0].head.as_deref() == Some(b"a"));
    let (_, gaps) = joined(&[fragment(u64::MAX, u64::MAX, true, "z")]);
    assert_eq!(gaps[0].missing, [0..=u64::MAX - 1]);
}

#[test]
fn absent_objects_are_reported() {
    let mut reassembler = Reassembler::default();
    for object_id in [2, 3, 7] {
        reassembler.push(&lane(), fragment(object_id, 0, true, "x"), None, ());
    }
    let (_, absent) = reassembler.finish();
    let ids: Vec<_> = absent.into_iter().map(|absent| absent.object_ids).collect();
    assert_eq!(ids, [1..=1, 4..=6]);
}

#[test]
fn absent_objects_are_reported_for_each_count() {
    let mut reassembler = Reassembler::default();
    for (object_id, text) in [(1, "a"), (3, "b"), (1, "c"), (2, "d"), (3, "e"), (5, "f")] {
        reassembler.push(&lane(), fragment(object_id, 0, true, text), None, ());
    }
    let (_, absent) = reassembler.finish();
    let ids: Vec<_> = absent.into_iter().map(|absent| absent.object_ids).collect();
    assert_eq!(ids, [2..=2, 4..=4]);
}

#[test]
fn a_client_that_connects_again_starts_new_objects() {
    let parts = [
        fragment(3, 0, false, "old "),
        fragment(3, 1, true, "text"),
        fragment(3, 0, false, "new "),
        fragment(3, 1, true, "text"),
    ];
    let (messages, gaps) = joined(&parts);
    assert_eq!((messages, gaps.len()), (vec!["old text".into(), "new text".into()], 0));
}

#[test]
fn two_senders_of_one_number_are_never_mixed() {
    // Two objects 3, A and B, with alternating fragments: which end belongs to which start?
    let parts = [
        fragment(3, 0, false, "A0"),
        fragment(3, 0, false, "B0"),
        fragment(3, 1, true, "A1"),
        fragment(3, 1, true, "B1"),
    ];
    let (messages, gaps) = joined(&parts);
    assert_eq!(messages, [""; 0]);
    assert!(gaps.len() >= 2 && gaps[1].reason == GapReason::Contested);
    // An object of one fragment cannot be mixed up.
    let (messages, _) = joined(&[fragment(3, 0, false, "A0"), fragment(3, 0, true, "B")]);
    assert_eq!(messages, ["B"]);
}

#[test]
fn activities_separate_objects_with_the_same_number() {
    let rows = [("a", 0, "A0"), ("b", 0, "B0"), ("b", 1, "B1"), ("a", 1, "A1")];
    let mut reassembler = Reassembler::default();
    let mut messages = Vec::new();
    for (activity, id, text) in rows {
        let fragment = fragment(3, id, id == 1, text);
        let (joined, _) = reassembler.push(&lane(), fragment, Some(activity), ());
        messages.extend(joined.map(|joined| String::from_utf8(joined.bytes).unwrap()));
    }
    assert_eq!((messages, reassembler.finish().0.len()), (vec!["B0B1".into(), "A0A1".into()], 0));
    // If B's start is lost, A's text may contain B's end: the message is marked as mixed.
    let mut reassembler = Reassembler::default();
    reassembler.push(&lane(), fragment(3, 0, false, "A0"), Some("a"), ());
    let (joined, _) = reassembler.push(&lane(), fragment(3, 1, true, "B1"), Some("b"), ());
    assert!(joined.unwrap().is_mixed);
}

#[test]
fn a_new_count_takes_no_fragment_of_the_old() {
    let mut reassembler = Reassembler::default();
    // Object 3 lost its start; then the client connects again and sends another object 3.
    reassembler.push(&lane(), fragment(3, 1, true, "old"), None, ());
    reassembler.close(&lane(), 1);
    let (joined, _) = reassembler.push(&lane(), fragment(3, 0, false, "new "), None, ());
    assert!(joined.is_none());
    let (joined, _) = reassembler.push(&lane(), fragment(3, 1, true, "text"), None, ());
    assert_eq!(joined.unwrap().bytes, b"new text");
}

#[test]
fn the_oldest_are_given_up_when_too_much_is_held() {
    let mut reassembler = Reassembler { most_held: 1 << 20, ..Reassembler::default() };
    let big = "x".repeat(10 << 10);
    // Each of these lacks its end. The last one gets it; the end of the first one comes too late.
    let last = 200;
    for object_id in 1..=last {
        reassembler.push(&lane(), fragment(object_id, 0, false, &big), None, ());
    }
    assert!(reassembler.held <= 1 << 20);
    let mut end =
        |id| reassembler.push(&lane(), fragment(id, 1, true, "end"), None, ()).0.is_some();
    assert!(end(last) && !end(1));
    let (gaps, _) = reassembler.finish();
    assert_eq!(gaps[0].reason, GapReason::GivenUp);
    assert!(gaps.iter().all(|gap| gap.head.as_ref().is_some_and(|head| head.len() == HEAD)));
}
