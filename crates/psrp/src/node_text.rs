//! Writes values and objects as text for people.

use super::clixml::{ClixmlNode, ClixmlValue, Container, Primitive};

/// Longest text made of one value, in bytes; the rest is cut and the cut is marked.
pub(super) const LONGEST: usize = 1 << 20;
/// Largest number of values of a list that get a line each.
const MOST_LINES: usize = 4096;
/// Deepest nesting of objects that is written.
const MAX_DEPTH: usize = 32;
/// The mark for a part that is not written.
pub(super) const CUT: &str = "\u{2026}";
/// The text written for a SecureString. Its content is encrypted with the session key, which is
/// itself encrypted in the traffic (MS-PSRP 2.2.5.1.24, 2.2.2.4).
const SECURE: &str = "<encrypted SecureString>";

/// Writes a value on one line: texts unchanged, `ToString` of objects that have one, `{a, b}` for
/// lists and `@{k=v; k2=v2}` for dictionaries and other objects. Null is empty.
pub fn node_line(node: ClixmlNode<'_>) -> String {
    let mut out = String::new();
    write_line(node, &mut out, 0);
    cut(out)
}

/// Writes values on a line each. All lines together are little longer than the longest text of
/// one value; if there are more, the last line says so.
pub(super) fn lines<'d>(nodes: impl Iterator<Item = ClixmlNode<'d>>) -> Vec<String> {
    let (mut room, mut lines) = (LONGEST, Vec::new());
    for node in nodes {
        if room == 0 || lines.len() == MOST_LINES {
            lines.push(CUT.to_owned());
            break;
        }
        let line = node_line(node);
        room = room.saturating_sub(line.len());
        lines.push(line);
    }
    lines
}

/// Writes a value as it could be typed in PowerShell, as far as that is possible.
pub fn node_literal(node: ClixmlNode<'_>) -> String {
    let mut out = String::new();
    write_literal(node, &mut out, 0);
    cut(out)
}

/// Returns the start of a text, up to the longest text of one value.
pub(super) fn text_start(text: &str) -> String {
    let mut out = String::new();
    push_up_to_limit(&mut out, text);
    cut(out)
}

/// Appends as much of a text as fits, plus a few bytes that show that it was too long.
fn push_up_to_limit(out: &mut String, text: &str) {
    let room = (LONGEST + 4).saturating_sub(out.len()).min(text.len());
    out.push_str(&text[..text.floor_char_boundary(room)]);
}

/// Cuts a text that is longer than [`LONGEST`], and marks the cut.
pub(super) fn cut(mut out: String) -> String {
    if out.len() > LONGEST {
        out.truncate(out.floor_char_boundary(LONGEST));
        out.push_str(CUT);
    }
    out
}

/// Returns whether the walk must stop. Every value adds at least one byte, even if only its
/// separator, so the length of the text limits the walk.
fn is_full(out: &str, depth: usize) -> bool {
    depth > MAX_DEPTH || out.len() > LONGEST
}

fn write_line(node: ClixmlNode<'_>, out: &mut String, depth: usize) {
    if is_full(out, depth) {
        return out.push_str(CUT);
    }
    if let Some(text) = node.to_string_text() {
        return push_up_to_limit(out, text);
    }
    if let Some((primitive, text)) = node.simple() {
        return write_simple(primitive, text, out);
    }
    match (node.value(), node.inner(), node.container()) {
        (ClixmlValue::Null, ..) => {}
        (ClixmlValue::Dangling(id), ..) => {
            push_up_to_limit(out, &format!("<object {id} is missing>"))
        }
        (_, Some(inner), _) => write_line(inner, out, depth + 1),
        (_, _, Some(Container::Dictionary)) => {
            write_all(out, ("@{", "; ", "}"), node.entries(), |(key, value), out| {
                write_line(key, out, depth + 1);
                out.push('=');
                write_line(value, out, depth + 1);
            });
        }
        (_, _, Some(_)) => {
            write_all(out, ("{", ", ", "}"), node.items(), |item, out| {
                write_line(item, out, depth + 1);
            });
        }
        _ => {
            let members = members(node);
            write_all(out, ("@{", "; ", "}"), members.into_iter(), |(name, value), out| {
                push_up_to_limit(out, name);
                out.push('=');
                write_line(value, out, depth + 1);
            });
        }
    }
}

/// Returns the properties, adapted before extended. Of several with the same name the last one
/// counts, in the position of the first.
fn members<'d>(node: ClixmlNode<'d>) -> Vec<(&'d str, ClixmlNode<'d>)> {
    let mut members: Vec<(&str, ClixmlNode<'_>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (name, value) in node.adapted().chain(node.extended()) {
        match places.get(name) {
            Some(&place) => {
                let member: &mut (&str, ClixmlNode<'_>) = &mut members[place];
                member.1 = value;
            }
            None => {
                places.insert(name, members.len());
                members.push((name, value));
            }
        }
    }
    members
}

fn write_all<I>(
    out: &mut String,
    (open, separator, close): (&str, &str, &str),
    items: impl Iterator<Item = I>,
    mut write: impl FnMut(I, &mut String),
) {
    out.push_str(open);
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push_str(separator);
        }
        if out.len() > LONGEST {
            return out.push_str(CUT);
        }
        write(item, out);
    }
    out.push_str(close);
}

fn write_simple(primitive: Primitive, text: &str, out: &mut String) {
    match primitive {
        Primitive::Secure => out.push_str(SECURE),
        Primitive::Bool => out.push_str(if text == "true" { "True" } else { "False" }),
        Primitive::Char => out.push(character(text)),
        _ => push_up_to_limit(out, text),
    }
}

/// Returns the character of a UTF-16 unit; half of a surrogate pair is not a character.
fn character(number: &str) -> char {
    let unit = number.trim().parse().ok();
    unit.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn write_literal(node: ClixmlNode<'_>, out: &mut String, depth: usize) {
    if is_full(out, depth) {
        return out.push_str(CUT);
    }
    if let (Some(text), Some(_)) = (node.to_string_text(), node.inner()) {
        return write_quoted(text, out);
    }
    if let Some((primitive, text)) = node.simple() {
        return match primitive {
            Primitive::Secure => out.push_str(SECURE),
            Primitive::Bool => out.push_str(if text == "true" { "$true" } else { "$false" }),
            Primitive::Char => write_quoted(&character(text).to_string(), out),
            Primitive::ScriptBlock => {
                out.push('{');
                push_up_to_limit(out, text);
                out.push('}');
            }
            _ if is_bare(primitive) => push_up_to_limit(out, text),
            _ => write_quoted(text, out),
        };
    }
    match (node.value(), node.container()) {
        (ClixmlValue::Null, _) => out.push_str("$null"),
        (_, Some(Container::Dictionary)) => {
            write_all(out, ("@{", "; ", "}"), node.entries(), |(key, value), out| {
                write_literal(key, out, depth + 1);
                out.push_str(" = ");
                write_literal(value, out, depth + 1);
            });
        }
        (_, Some(_)) => write_all(out, ("@(", ", ", ")"), node.items(), |item, out| {
            write_literal(item, out, depth + 1);
        }),
        // A switch parameter, as the client's parser sent it.
        _ if node.get("IsPresent").is_some() => {
            let present = node.get("IsPresent").and_then(ClixmlNode::as_bool) == Some(true);
            out.push_str(if present { "$true" } else { "$false" });
        }
        _ => {
            write_line(node, out, depth + 1);
        }
    }
}

fn is_bare(primitive: Primitive) -> bool {
    use Primitive::{Decimal, Double, I8, I16, I32, I64, Single, U8, U16, U32, U64};
    matches!(primitive, U8 | I8 | U16 | I16 | U32 | I32 | U64 | I64 | Single | Double | Decimal)
}

fn write_quoted(text: &str, out: &mut String) {
    out.push('\'');
    push_up_to_limit(out, &text_start(text).replace('\'', "''"));
    out.push('\'');
}
