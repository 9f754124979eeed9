//! Helpers for both kinds of XML: CLIXML and SOAP.

use std::borrow::Cow;

use quick_xml::events::{BytesRef, BytesStart, Event};

/// Returns the value of an attribute by its local name.
pub(super) fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    // Most elements have no such attribute and need not be parsed.
    if !start.attributes_raw().contains(name) {
        return None;
    }
    attributes(start).find(|found| found.0 == name).map(|(_, value)| unescaped(value))
}

/// Returns the local names of an element's attributes with their raw values.
pub(super) fn attributes<'s>(
    start: &'s BytesStart<'_>,
) -> impl Iterator<Item = (&'s str, Cow<'s, str>)> {
    let mut attributes = start.attributes();
    attributes.with_checks(false);
    let found = attributes.filter_map(Result::ok);
    let found = found.filter(|found| found.key.as_namespace_binding().is_none());
    found.map(|found| (found.key.local_name().into_inner(), found.value))
}

/// Decodes an attribute's value; invalid references stay as they are.
pub(super) fn unescaped(value: Cow<'_, str>) -> String {
    match quick_xml::escape::unescape(&value) {
        Ok(text) => text.into_owned(),
        Err(_) => value.into_owned(),
    }
}

/// Returns the text of an event inside an element, with line ends normalised as in XML 1.0, 2.11.
pub(super) fn text<'i>(event: &Event<'i>) -> Option<Cow<'i, str>> {
    match event {
        Event::Text(text) => Some(text.xml10_content()),
        Event::CData(text) => Some(text.xml10_content()),
        Event::GeneralRef(reference) => Some(Cow::Owned(resolved(reference))),
        _ => None,
    }
}

/// Resolves a reference; one that XML does not know stays as it is.
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
