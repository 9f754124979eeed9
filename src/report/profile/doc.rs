//! A line of JSON, its fields named by dotted paths. What is empty is left out.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::super::cell;

/// An object in the making.
#[derive(Default)]
pub(super) struct Doc(Map<String, Value>);

impl Doc {
    /// Sets a field unless the value is empty.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        let value = value.into();
        let is_empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(values) => values.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if is_empty {
            return;
        }
        let mut object = &mut self.0;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                object.insert(name.to_owned(), value);
                return;
            }
            let inner = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = inner else { return };
            object = inner;
        }
    }

    /// The value of a field.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('.');
        let first = self.0.get(names.next()?);
        names.fold(first, |value, name| value?.get(name))
    }

    /// Appends it as a line.
    pub fn line(self, to: &mut String) {
        to.push_str(&escaped(&Value::Object(self.0).to_string()));
        to.push('\n');
    }

    /// It as a value.
    pub fn value(self) -> Value {
        Value::Object(self.0)
    }
}

/// Adds a value to an object: one that has the name already becomes a list, the first stays first.
pub(super) fn add(object: &mut Map<String, Value>, name: &str, value: Value) {
    match object.get_mut(name) {
        None => {
            object.insert(name.to_owned(), value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// A time as ISO 8601 has it, UTC, with the seven digits of Windows.
pub(super) fn iso(time: DateTime<Utc>) -> String {
    // chrono has no word for seven digits: nine, of which the last two are 0.
    let text = time.to_rfc3339_opts(SecondsFormat::Nanos, true);
    format!("{}Z", &text[..text.len() - 3])
}

/// JSON with escapes for the characters that end lines for some readers (Python's among them), hide
/// themselves or reorder text.
pub(super) fn escaped(json: &str) -> Cow<'_, str> {
    let hides = |c: char| c == '\u{7f}' || cell::hides(c);
    if !json.contains(hides) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + json.len() / 8);
    for c in json.chars() {
        if hides(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_nest_and_what_is_empty_is_left_out() {
        let mut doc = Doc::default();
        doc.set("a.b", 1);
        doc.set("a.c", "x\u{0}");
        doc.set("a.d", "");
        doc.set("e", Value::Array(Vec::new()));
        doc.set("a.b.c", "b is a number");
        assert_eq!(doc.value(), json!({"a": {"b": 1, "c": "x\u{0}"}}));
    }

    #[test]
    fn a_line_is_one_for_any_reader() {
        let text = "a\u{85}b\u{2028}c\u{202e}d\u{b}e\u{61c}f\u{e0041}\n";
        let mut doc = Doc::default();
        doc.set("text", text);
        let mut line = String::new();
        doc.line(&mut line);
        let plain = |c: char| c == '\n' || (' '..='~').contains(&c);
        assert!(line.chars().all(plain) && line.matches('\n').count() == 1, "{line}");
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["text"], text);
    }

    #[test]
    fn names_that_repeat_hide_nothing() {
        let mut object = Map::new();
        for value in ["first", "second", "third"] {
            add(&mut object, "Computer", value.into());
        }
        assert_eq!(Value::Object(object), json!({"Computer": ["first", "second", "third"]}));
    }
}
