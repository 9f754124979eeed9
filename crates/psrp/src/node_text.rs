//! Values and objects as a person would read them.

use super::clixml::{Container, Node, Primitive, Value};

/// Longest text made of one value, in bytes: what follows is cut, and says so.
pub(super) const LONGEST: usize = 1 << 20;
/// Most values of a list that are given a line each.
const MOST_LINES: usize = 4096;
/// Most objects in each other that are written out.
const MAX_DEPTH: usize = 32;
/// What stands in place of what is not written out.
pub(super) const CUT: &str = "\u{2026}";
/// What stands in place of a SecureString: its text is encrypted with the session key, which
/// travels encrypted, too (MS-PSRP 2.2.5.1.24, 2.2.2.4).
const SECURE: &str = "<encrypted SecureString>";

/// A value on one line: texts as they are, `ToString` of objects that have one, `{a, b}` for lists
/// and `@{k=v; k2=v2}` for dictionaries and other objects. Null is empty.
pub fn line(node: Node<'_>) -> String {
    let mut out = String::new();
    write_line(node, &mut out, 0);
    cut(out)
}

/// Values on a line each, all of them together little longer than the longest text of one; the
/// last line says so where there are more.
pub(super) fn lines<'d>(nodes: impl Iterator<Item = Node<'d>>) -> Vec<String> {
    let (mut room, mut lines) = (LONGEST, Vec::new());
    for node in nodes {
        if room == 0 || lines.len() == MOST_LINES {
            lines.push(CUT.to_owned());
            break;
        }
        let line = line(node);
        room = room.saturating_sub(line.len());
        lines.push(line);
    }
    lines
}

/// A value as one could type it in PowerShell, as far as it can be typed.
pub fn literal(node: Node<'_>) -> String {
    let mut out = String::new();
    write_literal(node, &mut out, 0);
    cut(out)
}

/// The start of a text, no longer than the longest text of one value.
pub(super) fn start(text: &str) -> String {
    let mut out = String::new();
    push(&mut out, text);
    cut(out)
}

/// Adds as much of a text as there is room for, and a little more, so that it is seen to be full.
fn push(out: &mut String, text: &str) {
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

/// Every value adds at least one byte somewhere, its separator at least: so the length of the text
/// bounds the walk.
fn is_full(out: &str, depth: usize) -> bool {
    depth > MAX_DEPTH || out.len() > LONGEST
}

fn write_line(node: Node<'_>, out: &mut String, depth: usize) {
    if is_full(out, depth) {
        return out.push_str(CUT);
    }
    if let Some(text) = node.to_string_text() {
        return push(out, text);
    }
    if let Some((primitive, text)) = node.simple() {
        return write_simple(primitive, text, out);
    }
    match (node.value(), node.inner(), node.container()) {
        (Value::Null, ..) => {}
        (Value::Dangling(id), ..) => push(out, &format!("<object {id} is missing>")),
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
                push(out, name);
                out.push('=');
                write_line(value, out, depth + 1);
            });
        }
    }
}

/// Properties, adapted before extended; of several of one name the last one, in the place of the first.
fn members<'d>(node: Node<'d>) -> Vec<(&'d str, Node<'d>)> {
    let mut members: Vec<(&str, Node<'_>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (name, value) in node.adapted().chain(node.extended()) {
        match places.get(name) {
            Some(&place) => {
                let member: &mut (&str, Node<'_>) = &mut members[place];
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
        _ => push(out, text),
    }
}

/// The character of a UTF-16 unit; half of a pair is no character.
fn character(number: &str) -> char {
    let unit = number.trim().parse().ok();
    unit.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn write_literal(node: Node<'_>, out: &mut String, depth: usize) {
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
                push(out, text);
                out.push('}');
            }
            _ if is_bare(primitive) => push(out, text),
            _ => write_quoted(text, out),
        };
    }
    match (node.value(), node.container()) {
        (Value::Null, _) => out.push_str("$null"),
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
        // A switch, as the client's parser sent it.
        _ if node.get("IsPresent").is_some() => {
            let present = node.get("IsPresent").and_then(Node::as_bool) == Some(true);
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
    push(out, &start(text).replace('\'', "''"));
    out.push('\'');
}
