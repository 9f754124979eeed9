use super::*;
use crate::pipeline::Pipeline;

/// Makes a message; destination, type, pool and pipeline are given by one byte each.
fn message(to: Direction, kind: MessageType, pool: u8, pipeline: u8, xml: &str) -> Vec<u8> {
    let destination = match to {
        Direction::ToClient => 1u32,
        Direction::ToServer => 2,
    };
    let mut bytes = destination.to_le_bytes().to_vec();
    bytes.extend(kind.value().to_le_bytes());
    bytes.extend([pool; 16]);
    bytes.extend([pipeline; 16]);
    bytes.extend(xml.as_bytes());
    bytes
}

fn whole(object_id: u64, blob: Vec<u8>) -> Fragment {
    Fragment { object_id, fragment_id: 0, start: true, end: true, blob }
}

fn output(object_id: u64, pool: u8, text: &str) -> Fragment {
    let xml = format!("<S>{text}</S>");
    whole(object_id, message(Direction::ToClient, MessageType::PipelineOutput, pool, 9, &xml))
}

fn outputs(conversation: &Conversation<u32>) -> Vec<Vec<String>> {
    let lines = |found: Pipeline| found.output.iter().map(|item| item.line()).collect();
    conversation.pipelines().map(lines).collect()
}

#[test]
fn output_stands_in_the_order_in_which_it_was_sent() {
    let mut exchange = Exchange::new();
    for (tag, object_id) in [(0, 3), (1, 1), (2, 2)] {
        exchange.add_fragment("srv", 1, false, output(object_id, 1, &object_id.to_string()), tag);
    }
    let conversation = exchange.finish();
    assert_eq!(outputs(&conversation), [["1", "2", "3"]]);
    let pipeline = conversation.pipelines().next().unwrap();
    let tags: Vec<u32> =
        pipeline.output.iter().map(|item| conversation.messages[item.message].tags[0]).collect();
    assert_eq!(tags, [1, 2, 0]);
}

#[test]
fn one_message_seen_on_both_ends_is_shown_once() {
    let mut exchange = Exchange::new();
    exchange.add_fragment("srv", 1, false, output(5, 1, "x"), 0);
    exchange.add_fragment("srv", 1, false, output(6, 1, "x"), 1);
    exchange.add_fragment("client", 7, true, output(5, 1, "x"), 2);
    // The same text in another pool is another message.
    exchange.add_fragment("srv", 2, false, output(5, 2, "x"), 3);
    let conversation = exchange.finish();
    assert_eq!(outputs(&conversation), [vec!["x", "x"], vec!["x"]]);
    let twins: Vec<_> = conversation.messages.iter().map(|message| message.twin_of).collect();
    assert_eq!(twins, [None, None, Some(0), None]);
}

#[test]
fn one_client_process_receives_from_many_servers_under_the_same_numbers() {
    let mut exchange = Exchange::new();
    for (tag, (object_id, pool)) in [(1, 1), (1, 2), (2, 2), (2, 1)].into_iter().enumerate() {
        let text = format!("{pool}:{object_id}");
        exchange.add_fragment("client", 7, true, output(object_id, pool, &text), tag as u32);
    }
    assert_eq!(outputs(&exchange.finish()), [["1:1", "1:2"], ["2:1", "2:2"]]);
}

#[test]
fn text_that_may_be_two_servers_is_not_shown() {
    let half = |pool, id: u64, xml: &str| {
        let blob = message(Direction::ToClient, MessageType::PipelineOutput, pool, 9, xml);
        let blob = if id == 0 { blob } else { xml.as_bytes().to_vec() };
        Fragment { object_id: 1, fragment_id: id, start: id == 0, end: id == 1, blob }
    };
    // The start of the second server's output is lost; it has one more message, or not.
    for (is_told, texts) in [(true, vec![vec!["x"]]), (false, vec![vec!["ab"]])] {
        let mut exchange = Exchange::new();
        exchange.add_fragment_of_activity("client", 7, true, Some("p"), half(1, 0, "<S>a"), 0);
        exchange.add_fragment_of_activity("client", 7, true, Some("q"), half(2, 1, "b</S>"), 1);
        if is_told {
            exchange.add_fragment_of_activity("client", 7, true, Some("q"), output(2, 2, "x"), 2);
            exchange.add_fragment_of_activity("client", 7, true, Some("p"), output(3, 1, ""), 3);
        }
        let conversation = exchange.finish();
        assert_eq!(conversation.faults.len(), usize::from(is_told));
        let shown: Vec<Vec<String>> = outputs(&conversation);
        let shown: Vec<_> = shown.into_iter().filter(|lines| lines != &[""]).collect();
        assert_eq!(shown, texts);
    }
}

#[test]
fn unreadable_messages_are_reported_and_make_no_pipeline() {
    let mut exchange = Exchange::new();
    let unknown = message(Direction::ToClient, MessageType::Unknown(0x99), 1, 1, "<S>x</S>");
    let torn = message(Direction::ToClient, MessageType::PipelineOutput, 1, 1, "<S>x");
    for (at, blob) in [unknown, torn, vec![1, 2, 3]].into_iter().enumerate() {
        exchange.add_fragment("srv", 1, false, whole(at as u64 + 1, blob), 0);
    }
    let conversation = exchange.finish();
    assert_eq!((conversation.faults.len(), conversation.damaged().count()), (2, 1));
    assert_eq!((conversation.pools().len(), conversation.pipelines().count()), (0, 0));
}

#[test]
fn a_server_says_its_version_before_it_knows_the_pool() {
    let version = |pool, text: &str| {
        let xml =
            format!("<Obj RefId='0'><MS><Version N='protocolversion'>{text}</Version></MS></Obj>");
        message(Direction::ToClient, MessageType::SessionCapability, pool, 0, &xml)
    };
    let mut exchange = Exchange::new();
    exchange.add_fragment("srv", 1, false, whole(1, version(0, "2.3")), 0);
    exchange.add_fragment("srv", 1, false, output(2, 1, "x"), 0);
    exchange.add_fragment("srv", 2, false, output(2, 2, "x"), 0);
    let versions = exchange.finish().pools().into_iter().map(|pool| pool.protocol_version);
    assert_eq!(versions.collect::<Vec<_>>(), [Some("2.3".to_owned()), None]);
}
