//! The wire's decoders on what nobody meant to send: no panic, no end without an answer, nothing
//! that grows without bound.

use proptest::collection::vec;
use proptest::prelude::*;
use psr_forensics::psrp::{
    ChunkKey, ClixmlDocument, Conversation, Envelope, Exchange, Fragment, MessageHeader, SoapChunk,
    node_line, node_literal, unpack_xpress,
};

/// Asks for everything that a conversation can tell.
fn walk(conversation: &Conversation<u8>) -> usize {
    let mut length = 0;
    for pipeline in conversation.pipelines() {
        length += pipeline.command_text().map_or(0, |text| text.len());
        length += pipeline.output.iter().map(|item| item.line().len()).sum::<usize>();
    }
    for gap in &conversation.gaps {
        length += usize::from(conversation.direction(&gap.lane).is_some());
    }
    length + conversation.pools().len()
}

/// Fragments that are likely to meet: few numbers, often with a header that makes sense.
fn fragment() -> impl Strategy<Value = Fragment> {
    let kinds = prop::sample::select(vec![
        0x0001_0002u32,
        0x0002_1005,
        0x0002_1006,
        0x0002_1100,
        0x0004_1004,
        0x0004_1006,
        0x0004_1100,
        0x0004_1101,
        7,
    ]);
    let blob =
        (1u32..4, kinds, 0u8..3, 0u8..3, clixml()).prop_map(|(to, kind, pool, pipeline, xml)| {
            let mut blob = to.to_le_bytes().to_vec();
            blob.extend(kind.to_le_bytes());
            blob.extend([pool; 16]);
            blob.extend([pipeline; 16]);
            blob.extend(xml.into_bytes());
            blob
        });
    let blob = prop_oneof![blob, vec(any::<u8>(), 0..60)];
    let id = prop_oneof![9 => 0u64..4, 1 => any::<u64>()];
    (id.clone(), id, any::<bool>(), any::<bool>(), blob).prop_map(
        |(object_id, fragment_id, start, end, blob)| {
            // Most start flags are right: what is refused at once, tests little.
            let start = if fragment_id < 4 { fragment_id == 0 } else { start };
            Fragment { object_id, fragment_id, start, end, blob }
        },
    )
}

/// Pieces of CLIXML in any order.
fn clixml() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "<Obj RefId='0'>",
        "<Obj N='mi' RefId='1'>",
        "</Obj>",
        "<MS>",
        "</MS>",
        "<Props>",
        "</Props>",
        "<LST>",
        "</LST>",
        "<DCT>",
        "</DCT>",
        "<En>",
        "</En>",
        "<S N='Key'>",
        "<S>",
        "</S>",
        "<S/>",
        "<Ref RefId='0'/>",
        "<Ref RefId='1' N='Cmds'/>",
        "<TN RefId='0'>",
        "<T>",
        "</T>",
        "</TN>",
        "<TNRef RefId='0'/>",
        "<ToString>",
        "</ToString>",
        "<Nil/>",
        "<I32 N='ci'>1</I32>",
        "<PR>",
        "</PR>",
        "_x0041_",
        "_xD83D_",
        "&#x0;",
        "&lt;",
        "&bad;",
        "<![CDATA[",
        "]]>",
        "<?xml?>",
        "<!--",
        "-->",
        "text",
    ]);
    vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

/// Pieces of SOAP in any order.
fn soap() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "<r:Shell ShellId='A'>",
        "</r:Shell>",
        "<r:Stream Name='stdin' CommandId='B'>",
        "</r:Stream>",
        "<r:Arguments>",
        "</r:Arguments>",
        "AAAAAAAAAAEAAAAAAAAAAAMAAAABeA==",
        "AAAA",
        "<a:Action>",
        "</a:Action>",
        "http://x/Create",
        "http://x/Command",
        "http://x/ReceiveResponse",
        "<a:MessageID>uuid:1</a:MessageID>",
        "<a:RelatesTo>uuid:1</a:RelatesTo>",
        "<r:CompressionType>xpress</r:CompressionType>",
        "<r:Code>x</r:Code>",
        "<q:x xmlns:q='y'>",
        "</q:x>",
        "&amp;",
    ]);
    vec(pieces, 0..20).prop_map(|pieces| {
        let body = pieces.concat();
        format!(
            "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope' \
             xmlns:a='http://schemas.xmlsoap.org/ws/2004/08/addressing' \
             xmlns:r='http://schemas.microsoft.com/wbem/wsman/1/windows/shell'>\
             <s:Header>{body}</s:Header></s:Envelope>"
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..2000)) {
        let (fragments, _) = Fragment::split(&bytes);
        prop_assert!(fragments.iter().map(|fragment| fragment.blob.len()).sum::<usize>() <= bytes.len());
        let _ = MessageHeader::parse(&bytes);
        let _ = ClixmlDocument::parse(&bytes);
        let _ = Envelope::parse(&String::from_utf8_lossy(&bytes));
        // Of each block, at most 64 KiB.
        if let Ok(plain) = unpack_xpress(&bytes) {
            prop_assert!(plain.len() <= (bytes.len() / 5 + 1) << 16);
        }
    }

    #[test]
    fn any_block_with_a_sound_table(
        mut data in vec(any::<u8>(), 0..600),
        length in 0u16..,
        width in 0usize..3,
    ) {
        // 512 codes of nine bits; 256 literals of eight, or matches of eight alone.
        let table = match width {
            0 => vec![0x99; 256],
            1 => [vec![0x88; 128], vec![0; 128]].concat(),
            _ => [vec![0; 128], vec![0x88; 128]].concat(),
        };
        data.splice(0..0, table);
        let mut stream = length.to_le_bytes().to_vec();
        stream.extend((data.len() as u16 - 1).to_le_bytes());
        stream.extend(data);
        if let Ok(plain) = unpack_xpress(&stream) {
            prop_assert_eq!(plain.len(), usize::from(length) + 1);
        }
    }

    #[test]
    fn any_clixml(xml in clixml()) {
        if let Ok(document) = ClixmlDocument::parse(xml.as_bytes()) {
            let _ = (node_line(document.root()), node_literal(document.root()));
        }
    }

    #[test]
    fn any_fragments(fragments in vec((0u32..2, any::<bool>(), fragment()), 0..40)) {
        let mut exchange = Exchange::new();
        for (process, received, fragment) in fragments {
            exchange.add_fragment("srv", process, received, fragment, 0u8);
        }
        walk(&exchange.finish());
    }

    #[test]
    fn any_documents(rows in vec((0u32..2, 0u32..4, 0u32..4, soap()), 0..20)) {
        let mut exchange = Exchange::new();
        for (thread, index, total, text) in rows {
            let thread = Some(thread);
            let key =
                ChunkKey { host: "srv".into(), activity: None, process: None, thread, event_id: 772 };
            exchange.add_document("srv", &text, vec![0u8]);
            exchange.add_chunk(SoapChunk { key, index, total, text }, 0u8);
        }
        walk(&exchange.finish());
    }
}
