//! Reads a record from XML as Windows exports it (wevtutil, Event Viewer) and evtx_dump writes it.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::interner::Interner;
use super::record_filter::RecordFilter;
use super::system::{RecordOrigin, SystemElement, SystemFields};
use crate::model::{Fields, Record};

/// The greatest depth of nested elements. Windows' own renderer stops earlier.
const MAX_DEPTH: usize = 64;

/// Reads one `<Event>`. Returns `None` if it is not wanted.
pub(super) fn read_record(
    text: &str,
    header: RecordOrigin,
    filter: &dyn RecordFilter,
    names: &mut Interner,
) -> Result<Option<Record>, String> {
    let wrong = |error: quick_xml::Error| format!("its XML is damaged: {error}");
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    reader.config_mut().allow_dangling_amp = true;
    let mut system = SystemFields::default();
    let mut fields = Fields::default();
    // The open elements, Event first.
    let mut open: Vec<OpenElement> = Vec::new();
    loop {
        match reader.read_event().map_err(wrong)? {
            Event::Start(start) => {
                if open.len() == MAX_DEPTH {
                    return Err(format!("its elements are more than {MAX_DEPTH} deep"));
                }
                if let Some(parent) = open.last_mut() {
                    parent.is_leaf = false;
                }
                open.push(OpenElement::new(&start)?);
            }
            Event::End(_) => {
                let Some(element) = open.pop() else { break };
                let below: Vec<&str> = open.iter().skip(1).map(|open| &*open.name).collect();
                match (&below[..], &*element.name) {
                    (["System"], name) => system.set_from_element(name, &element.node()),
                    ([], "System")
                        if system.event_id.is_some() && !system.is_wanted(header, filter) =>
                    {
                        return Ok(None);
                    }
                    ([], "System" | "RenderingInfo") | (["System" | "RenderingInfo", ..], _) => {}
                    _ if open.is_empty() => break,
                    // An empty EventData element is not a field.
                    ([], "EventData" | "UserData") if element.text.trim().is_empty() => {}
                    _ if element.is_leaf => fields.push(element.field(), &element.text),
                    _ => {}
                }
            }
            Event::Text(content) => append(&mut open, &content),
            Event::CData(content) => append(&mut open, &content),
            Event::GeneralRef(reference) => append(&mut open, &resolved(&reference)),
            Event::Eof => return Err("its XML breaks off".to_owned()),
            _ => {}
        }
    }
    system.build_record(header, filter, names, || fields)
}

/// An element whose end was not yet read.
struct OpenElement {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    is_leaf: bool,
}

impl OpenElement {
    fn new(start: &BytesStart<'_>) -> Result<OpenElement, String> {
        let mut attributes = Vec::new();
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| format!("its XML is damaged: {error}"))?;
            let name = attribute.key.local_name().as_ref().to_owned();
            let raw = &*attribute.value;
            let value = quick_xml::escape::unescape(raw).unwrap_or(Cow::Borrowed(raw));
            attributes.push((name, value.into_owned()));
        }
        let name = start.local_name().as_ref().to_owned();
        Ok(OpenElement { name, attributes, text: String::new(), is_leaf: true })
    }

    /// Returns the field name: the attribute `Name`, or else the element's name.
    fn field(&self) -> &str {
        let name = self.attributes.iter().find(|(name, _)| name == "Name");
        name.map_or(&self.name, |(_, value)| value)
    }

    fn node(&self) -> SystemElement<'_> {
        let attributes = self.attributes.iter();
        SystemElement {
            text: Some(Cow::Borrowed(&self.text)),
            attributes: attributes.map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }
}

fn append(open: &mut [OpenElement], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

/// Returns the text of a reference. A reference that XML does not define stays as it is.
fn resolved(reference: &BytesRef<'_>) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => character.into(),
        Err(_) => char::REPLACEMENT_CHARACTER.into(),
        Ok(None) => match quick_xml::escape::resolve_predefined_entity(reference) {
            Some(text) => text.to_owned(),
            None => format!("&{};", &**reference),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tests::All;
    use crate::model::{Channel, InputIdx, RecordRef, parse_utc};

    fn parse(text: &str) -> Result<Option<Record>, String> {
        read_record(
            text,
            RecordOrigin::from_text(InputIdx::new(2), 70),
            &All,
            &mut Interner::default(),
        )
    }

    #[test]
    fn what_wevtutil_writes() {
        let text = "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>\
            <Provider Name='Microsoft-Windows-PowerShell' Guid='{a0c1853b-5c40-4b15-8766-3cf1c58f985a}'/>\
            <EventID>4104</EventID><Version>1</Version><Level>3</Level><Task>2</Task>\
            <TimeCreated SystemTime='2026-03-14T21:14:07.123456700Z'/>\
            <EventRecordID>789</EventRecordID><Correlation ActivityID='{AE1A2CAB-0000-0000-0000-000000000001}'/>\
            <Execution ProcessID='12' ThreadID='34'/><Channel>Microsoft-Windows-PowerShell/Operational</Channel>\
            <Computer>SRV02.corp.example</Computer><Security UserID='S-1-5-18'/></System>\
            <EventData><Data Name='MessageNumber'>1</Data>\
            <Data Name='ScriptBlockText'>if ($a -lt 1 &amp;&amp; &quot;&#228;&quot;) {\r\n&lt;# &x; #&gt; }</Data>\
            <Data Name='Path'></Data><Data Name='Empty'/></EventData>\
            <RenderingInfo Culture='en-US'><Message>Creating</Message><Level>Warning</Level></RenderingInfo></Event>";
        let record = parse(text).unwrap().unwrap();
        assert_eq!(record.source, RecordRef { input: InputIdx::new(2), offset: 70, number: 789 });
        assert_eq!(record.known_channel, Channel::PowerShell);
        assert_eq!(record.time, parse_utc("2026-03-14T21:14:07.1234567Z").unwrap());
        assert_eq!((record.event_id, record.level, record.record_id), (4104, 3, 789));
        assert_eq!((record.process_id, record.thread_id), (Some(12), Some(34)));
        assert_eq!(
            record.activity_id.as_ref().map(ToString::to_string).as_deref(),
            Some("ae1a2cab-0000-0000-0000-000000000001")
        );
        assert_eq!(record.user_sid.as_deref(), Some("S-1-5-18"));
        let expected = [
            ("MessageNumber", "1"),
            ("ScriptBlockText", "if ($a -lt 1 && \"\u{e4}\") {\r\n<# &x; #> }"),
            ("Path", ""),
            ("Empty", ""),
        ];
        assert_eq!(record.data.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn data_without_names_and_user_data() {
        const SYSTEM: &str = "<System><Provider Name='x'/><EventID Qualifiers='0'>1102</EventID>\
            <TimeCreated SystemTime='2026-03-14T21:14:07Z'/></System>";
        let data = |body: &str| {
            let record = parse(&format!("<Event>{SYSTEM}{body}</Event>")).unwrap().unwrap();
            let fields = record.data.iter();
            fields.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(
            data("<EventData><Data>a</Data><Data>b</Data></EventData>"),
            ["Data=a", "Data=b"]
        );
        assert_eq!(data("<EventData>\r\n</EventData>"), [""; 0]);
        let user = "<UserData><LogFileCleared xmlns='x'><SubjectUserName>a</SubjectUserName>\
            </LogFileCleared></UserData>";
        assert_eq!(data(user), ["SubjectUserName=a"]);
    }

    #[test]
    fn damage_has_a_reason() {
        let deep = format!("<Event>{}", "<a>".repeat(1000));
        for text in ["<Event><System>", "<Event></System></Event>", "<Event></Event>", &deep] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
