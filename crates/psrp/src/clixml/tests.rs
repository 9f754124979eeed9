use super::*;
use crate::node_text::node_line;

fn parse(text: &str) -> Result<ClixmlDocument, ClixmlError> {
    ClixmlDocument::parse(text.as_bytes())
}

#[test]
fn every_simple_type_keeps_its_type_and_text() {
    for (tag, text) in [
        ("S", "a b"),
        ("C", "97"),
        ("B", "true"),
        ("DT", "2008-04-11T10:42:32.2731993-07:00"),
        ("TS", "PT9.0269026S"),
        ("By", "254"),
        ("SB", "-127"),
        ("U16", "65535"),
        ("I16", "-32767"),
        ("U32", "4294967295"),
        ("I32", "-2147483648"),
        ("U64", "18446744073709551615"),
        ("I64", "-9223372036854775808"),
        ("Sg", "12.34"),
        ("Db", "12.34"),
        ("D", "12.34"),
        ("BA", "AQIDBA=="),
        ("G", "792e5b37-4505-47ef-b7d2-8711bb7affa8"),
        ("URI", "http://www.microsoft.com/"),
        ("Version", "6.2.1.3"),
        ("XD", "x"),
        ("SBK", "get-command -type cmdlet"),
        ("SS", "bnVsbA=="),
    ] {
        let document = parse(&format!("<{tag}>{text}</{tag}>")).unwrap();
        let (primitive, found) = document.root().simple().unwrap();
        assert_eq!((primitive.tag(), found), (tag, text));
    }
    assert!(parse("<Nil/>").unwrap().root().is_null());
    assert!(parse("").unwrap().root().is_null());
    assert_eq!(parse("\u{feff}<S></S>").unwrap().root().as_str(), Some(""));
}

#[test]
fn escapes_are_utf16_units() {
    let text = |xml: &str| parse(xml).unwrap().root().as_str().unwrap().to_owned();
    assert_eq!(text("<S>a_x000D__x000a_b</S>"), "a\r\nb");
    assert_eq!(text("<S>_xD83D__xDE00_</S>"), "\u{1f600}");
    assert_eq!(text("<S>_x005F_x000A_</S>"), "_x000A_");
    assert_eq!(text("<S>_x00_ _xZZZZ_ __x0041_</S>"), "_x00_ _xZZZZ_ _A");
    assert_eq!(text("<S>_xD83D_ alone</S>"), "\u{fffd} alone");
    assert_eq!(text("<S>&lt;&amp;&#65;<![CDATA[<x>]]></S>"), "<&A<x>");
    // Other types are not encoded.
    assert_eq!(text("<Version>_x0041_</Version>"), "_x0041_");
}

#[test]
fn objects_references_and_containers() {
    let document = parse(
        "<Obj RefId='0'><TN RefId='0'><T>A</T><T>B</T></TN><ToString>shown</ToString>\
         <Props><S N='p'>one</S></Props><MS><Obj N='list' RefId='1'><TNRef RefId='0'/><LST>\
         <I32>1</I32><Ref RefId='1'/></LST></Obj><S N='p'>two</S>\
         <MS N='set'><B N='in'>TRUE</B></MS><Ref N='lost' RefId='9'/></MS></Obj>",
    )
    .unwrap();
    let root = document.root();
    assert_eq!(
        (root.types(), root.to_string_text()),
        (&["A".into(), "B".into()][..], Some("shown"))
    );
    assert_eq!(root.get("p").unwrap().as_str(), Some("two"));
    assert_eq!(root.get("set").unwrap().get("in").unwrap().as_bool(), Some(true));
    assert_eq!(root.get("lost").unwrap().value(), &ClixmlValue::Dangling("9".to_owned()));
    let list = root.get("list").unwrap();
    assert_eq!((list.types().len(), list.items().len()), (2, 2));
    assert_eq!(list.items().next().unwrap().as_i64(), Some(1));
    let table =
        parse("<Obj RefId='0'><DCT><En><S N='Key'>k</S><I32 N='Value'>7</I32></En></DCT></Obj>");
    let table = table.unwrap();
    let (key, value) = table.root().entries().next().unwrap();
    assert_eq!((key.as_str(), value.as_i64()), (Some("k"), Some(7)));
    // An enum, and a value with properties of its own.
    let colour = parse("<Obj RefId='0'><ToString>Red</ToString><I32>12</I32></Obj>").unwrap();
    assert_eq!(colour.root().as_i64(), Some(12));
}

#[test]
fn progress_records_read_like_the_messages() {
    let document = parse(
        "<PR><AV>Copy</AV><AI>3</AI><Nil/><PI>-1</PI><PC>40</PC><T>Processing</T><SR>-1</SR>\
         <SD>busy</SD></PR>",
    );
    let document = document.unwrap();
    let root = document.root();
    assert_eq!(root.property_text("Activity").as_deref(), Some("Copy"));
    assert_eq!(root.get("PercentComplete").unwrap().as_i64(), Some(40));
}

#[test]
fn damage_has_a_reason() {
    let nested = "<Obj><LST>".repeat(10_000);
    for text in [
        "<Obj RefId='0'><MS><S N='x'>",
        "<Obj RefId='0'><MS></Obj></MS>",
        "<S>a</S><S>b</S>",
        "<S>a</S>b",
        "<Script>x</Script>",
        &nested,
    ] {
        assert!(parse(text).is_err(), "{text:.40}");
    }
    assert_eq!(ClixmlDocument::parse(b"<S>\xff</S>").unwrap_err(), ClixmlError::Encoding);
}

#[test]
fn circles_and_bombs_are_walked_within_bounds() {
    let circle = parse("<Obj RefId='0'><LST><Ref RefId='0'/></LST></Obj>").unwrap();
    assert!(node_line(circle.root()).len() < 1000);
    // Each object contains the one before ten times: 10^40 values if all were written.
    let mut bomb = "<Obj RefId='0'><LST><S>x</S></LST></Obj>".to_owned();
    for id in 1..40 {
        let inner = format!("<Ref RefId='{}'/>", id - 1).repeat(10);
        bomb += &format!("<Obj RefId='{id}'><LST>{inner}</LST></Obj>");
    }
    let bomb = parse(&format!("<Objs>{bomb}</Objs>")).unwrap();
    assert!(node_line(bomb.roots().last().unwrap()).len() < 2 << 20);
}
