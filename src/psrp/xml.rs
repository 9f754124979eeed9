//! What both kinds of XML here share: CLIXML and SOAP.

use std::borrow::Cow;

use quick_xml::events::{BytesRef, BytesStart, Event};

/// The value of an attribute, by its local name.
pub(super) fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    // Most elements have no such attribute, and need no reading.
    if !start.attributes_raw().contains(name) {
        return None;
    }
    let mut attributes = start.attributes();
    let found = attributes.with_checks(false).filter_map(Result::ok).find(|found| {
        found.key.as_namespace_binding().is_none() && found.key.local_name().into_inner() == name
    })?;
    let raw = &*found.value;
    Some(quick_xml::escape::unescape(raw).unwrap_or(Cow::Borrowed(raw)).into_owned())
}

/// The text that an event within an element stands for, lines ended as XML 1.0, 2.11 has it.
pub(super) fn text<'e>(event: &'e Event<'_>) -> Option<Cow<'e, str>> {
    match event {
        Event::Text(text) => Some(text.xml10_content()),
        Event::CData(text) => Some(text.xml10_content()),
        Event::GeneralRef(reference) => Some(Cow::Owned(resolved(reference))),
        _ => None,
    }
}

/// What a reference stands for; one that XML does not know stays as it is.
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
