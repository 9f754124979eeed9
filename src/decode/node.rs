//! JSON of any structure. All scalars are text, and members keep their order.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::json::{ScalarText, scalars_as_text};
use crate::model::Fields;

/// A JSON value.
#[derive(Debug)]
pub(super) enum JsonNode<'t> {
    Text(Cow<'t, str>),
    List(Vec<JsonNode<'t>>),
    Map(Vec<(Cow<'t, str>, JsonNode<'t>)>),
}

impl<'t> JsonNode<'t> {
    /// Returns an object's members. Other values have none.
    pub fn members(&self) -> &[(Cow<'t, str>, JsonNode<'t>)] {
        match self {
            JsonNode::Map(members) => members,
            _ => &[],
        }
    }

    /// Returns the value at a path with dots. Names may contain dots as well.
    pub fn get(&self, path: &str) -> Option<&JsonNode<'t>> {
        self.members().iter().find_map(|(name, node)| match path.strip_prefix(&**name)? {
            "" => Some(node),
            rest => node.get(rest.strip_prefix('.')?),
        })
    }

    /// Returns the text at a path, or the first text of a list there.
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.get(path)? {
            JsonNode::Text(text) => Some(text),
            JsonNode::List(nodes) => match nodes.first()? {
                JsonNode::Text(text) => Some(text),
                _ => None,
            },
            JsonNode::Map(_) => None,
        }
    }

    /// Returns the number that the text at a path states.
    pub fn number<N: std::str::FromStr>(&self, path: &str) -> Option<N> {
        self.text(path)?.trim().parse().ok()
    }

    /// Returns the members below a path, including members whose names continue the path.
    pub fn members_below<'n>(&'n self, path: &str) -> Vec<(&'n str, &'n JsonNode<'t>)> {
        let mut found = Vec::new();
        for (name, node) in self.members() {
            if let Some(rest) = path.strip_prefix(&**name) {
                match rest.strip_prefix('.') {
                    Some(rest) => found.extend(node.members_below(rest)),
                    None if rest.is_empty() => {
                        found.extend(node.members().iter().map(|(name, node)| (&**name, node)));
                    }
                    None => {}
                }
            } else if let Some(rest) = name.strip_prefix(path).and_then(|r| r.strip_prefix('.')) {
                found.push((rest, node));
            }
        }
        found
    }

    /// Appends the leaves as fields, each under the nearest name.
    pub fn push_leaves(&self, name: &str, fields: &mut Fields) {
        match self {
            JsonNode::Text(text) => fields.push(name, text),
            JsonNode::List(nodes) => nodes.iter().for_each(|node| node.push_leaves(name, fields)),
            JsonNode::Map(members) => {
                members.iter().for_each(|(name, node)| node.push_leaves(name, fields));
            }
        }
    }
}

impl<'de> Deserialize<'de> for JsonNode<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(JsonNodeVisitor)
    }
}

struct JsonNodeVisitor;

impl<'de> Visitor<'de> for JsonNodeVisitor {
    type Value = JsonNode<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    scalars_as_text!(self, text => Ok(JsonNode::Text(text)));

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<JsonNode<'de>, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element()? {
            nodes.push(node);
        }
        Ok(JsonNode::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonNode<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key_seed(ScalarText)? {
            members.push((name, map.next_value()?));
        }
        Ok(JsonNode::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_in_names_or_between_them() {
        let flat = r#"{"a.b":{"c":1},"a":{"b.d":[true,"x"]},"a.b.e":"y","ab":0}"#;
        let node: JsonNode<'_> = serde_json::from_str(flat).unwrap();
        assert_eq!(node.text("a.b.c"), Some("1"));
        assert_eq!(node.text("a.b.d"), Some("true"));
        assert_eq!(node.text("a.b"), None);
        let below = node.members_below("a.b");
        assert_eq!(below.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["c", "d", "e"]);
    }
}
