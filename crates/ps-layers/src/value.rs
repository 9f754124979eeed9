//! Values, and PowerShell's conversions between their types.

use std::rc::Rc;

use super::encoding::TextEncoding;
use super::syntax::BlockNode;

#[derive(Debug, Clone)]
pub(super) enum ScriptValue {
    /// Unknown: it cannot be evaluated without running the script.
    Unknown,
    Null,
    Bool(bool),
    Int(i64),
    Char(char),
    Text(Rc<String>),
    Bytes(Rc<Vec<u8>>),
    Array(Rc<Vec<ScriptValue>>),
    /// A value that is usual on any machine: letters may be taken from it, but it is not shown as
    /// a result.
    Usual(&'static str),
    /// A method that is not called, as its definition.
    Method(&'static str),
    Hashtable,
    Type(Rc<str>),
    /// A stream of bytes, or a reader of one.
    Stream(Rc<Vec<u8>>),
    Encoding(TextEncoding),
    Block(Rc<BlockNode>),
    /// A variable as an item of the `variable:` drive.
    Item {
        name: Rc<str>,
        value: Box<ScriptValue>,
    },
}

/// Deepest nesting of values; deeper ones are unknown.
pub(super) const DEEPEST_VALUE: usize = 12;

impl ScriptValue {
    pub fn text(text: impl Into<String>) -> ScriptValue {
        ScriptValue::Text(Rc::new(text.into()))
    }

    /// Makes a value of a pipeline's output.
    pub fn from_output(mut output: Vec<ScriptValue>) -> ScriptValue {
        match output.len() {
            0 => ScriptValue::Null,
            1 => output.remove(0),
            _ => ScriptValue::Array(Rc::new(output)),
        }
    }

    pub fn is_unknown(&self) -> bool {
        matches!(self, ScriptValue::Unknown)
    }

    /// Returns whether no part of it is unknown.
    pub fn is_known(&self) -> bool {
        match self {
            ScriptValue::Unknown => false,
            ScriptValue::Array(values) => values.iter().all(|value| !value.is_unknown()),
            _ => true,
        }
    }

    /// Returns its nesting depth: 1 for a value without others inside.
    pub fn depth(&self) -> usize {
        match self {
            ScriptValue::Array(values) => {
                1 + values.iter().map(ScriptValue::depth).max().unwrap_or(0)
            }
            ScriptValue::Item { value, .. } => 1 + value.depth(),
            _ => 1,
        }
    }

    /// Returns its elements; a single value is its own only element.
    pub fn elements(&self) -> Vec<ScriptValue> {
        match self {
            ScriptValue::Null => Vec::new(),
            ScriptValue::Array(values) => values.to_vec(),
            ScriptValue::Bytes(bytes) => {
                bytes.iter().map(|&byte| ScriptValue::Int(byte.into())).collect()
            }
            _ => vec![self.clone()],
        }
    }

    pub fn count(&self) -> usize {
        match self {
            ScriptValue::Null => 0,
            ScriptValue::Array(values) => values.len(),
            ScriptValue::Bytes(bytes) => bytes.len(),
            ScriptValue::Text(text) => text.len(),
            _ => 1,
        }
    }

    /// Converts as `[string]` does; the elements of an array are separated by `separator`
    /// (`$OFS`).
    pub fn to_text(&self, separator: &str) -> Option<String> {
        Some(match self {
            ScriptValue::Null => String::new(),
            ScriptValue::Bool(true) => "True".to_owned(),
            ScriptValue::Bool(false) => "False".to_owned(),
            ScriptValue::Int(number) => number.to_string(),
            ScriptValue::Char(char) => char.to_string(),
            ScriptValue::Text(text) => text.to_string(),
            ScriptValue::Hashtable => "System.Collections.Hashtable".to_owned(),
            ScriptValue::Method(definition) => (*definition).to_owned(),
            ScriptValue::Bytes(bytes) => {
                let texts: Vec<String> = bytes.iter().map(u8::to_string).collect();
                texts.join(separator)
            }
            ScriptValue::Array(values) => {
                let mut text = String::new();
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        text.push_str(separator);
                    }
                    match value {
                        // An array inside an array becomes the name of its type.
                        ScriptValue::Array(_) | ScriptValue::Bytes(_) => return None,
                        ScriptValue::Text(part) => text.push_str(part),
                        ScriptValue::Char(part) => text.push(*part),
                        _ => text.push_str(&value.to_text(separator)?),
                    }
                }
                text
            }
            _ => return None,
        })
    }

    /// Joins the characters of a text or the elements of an array, if all are texts.
    pub fn joined(&self) -> Option<String> {
        match self {
            ScriptValue::Array(_) => self.to_text(""),
            ScriptValue::Text(text) => Some(text.to_string()),
            ScriptValue::Char(char) => Some(char.to_string()),
            _ => None,
        }
    }

    /// Converts as `[int]` does, if nothing is lost.
    pub fn to_int(&self) -> Option<i64> {
        match self {
            ScriptValue::Null => Some(0),
            ScriptValue::Bool(truth) => Some((*truth).into()),
            ScriptValue::Int(number) => Some(*number),
            ScriptValue::Char(char) => Some(i64::from(u32::from(*char))),
            ScriptValue::Text(text) => {
                let text = text.trim();
                let (negative, digits) = match text.strip_prefix('-') {
                    Some(digits) => (true, digits),
                    None => (false, text.strip_prefix('+').unwrap_or(text)),
                };
                let number = match digits.get(..2) {
                    _ if text.is_empty() => 0,
                    Some("0x" | "0X") => i64::from_str_radix(&digits[2..], 16).ok()?,
                    _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
                    _ => return None,
                };
                Some(if negative { -number } else { number })
            }
            ScriptValue::Array(values) if values.len() == 1 => values[0].to_int(),
            ScriptValue::Bytes(bytes) if bytes.len() == 1 => Some(bytes[0].into()),
            _ => None,
        }
    }

    /// Converts as `[char]` does.
    pub fn to_char(&self) -> Option<char> {
        match self {
            ScriptValue::Char(char) => Some(*char),
            ScriptValue::Int(number) => char::from_u32(u32::try_from(*number).ok()?),
            ScriptValue::Text(text) => {
                let mut chars = text.chars();
                let first = chars.next()?;
                chars.next().is_none().then_some(first)
            }
            ScriptValue::Array(values) if values.len() == 1 => values[0].to_char(),
            _ => None,
        }
    }

    /// Converts as `[byte[]]` does.
    pub fn to_bytes(&self) -> Option<Rc<Vec<u8>>> {
        match self {
            ScriptValue::Bytes(bytes) | ScriptValue::Stream(bytes) => Some(Rc::clone(bytes)),
            ScriptValue::Array(values) => {
                // `(, $bytes)` is an array that contains the bytes.
                if let [only @ (ScriptValue::Bytes(_) | ScriptValue::Array(_))] = &values[..] {
                    return only.to_bytes();
                }
                let byte = |value: &ScriptValue| u8::try_from(value.to_int()?).ok();
                values.iter().map(byte).collect::<Option<Vec<u8>>>().map(Rc::new)
            }
            ScriptValue::Int(number) => Some(Rc::new(vec![u8::try_from(*number).ok()?])),
            _ => None,
        }
    }

    /// Returns whether it counts as true.
    pub fn to_bool(&self) -> Option<bool> {
        Some(match self {
            ScriptValue::Unknown => return None,
            ScriptValue::Null => false,
            ScriptValue::Bool(truth) => *truth,
            ScriptValue::Int(number) => *number != 0,
            ScriptValue::Char(char) => *char != '\0',
            ScriptValue::Text(text) => !text.is_empty(),
            ScriptValue::Array(values) => match &values[..] {
                [] => false,
                [only] => return only.to_bool(),
                _ => true,
            },
            ScriptValue::Bytes(bytes) => match bytes[..] {
                [] => false,
                [only] => only != 0,
                _ => true,
            },
            _ => true,
        })
    }
}

/// Returns a text in single quotes, as PowerShell reads it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for next in text.chars() {
        if super::parse::is_single_quote(next) {
            quoted.push(next);
        }
        quoted.push(next);
    }
    quoted.push('\'');
    quoted
}

/// Returns whether a text can stand as a bare word: the name of a command, type or member.
pub(super) fn is_plain_word(text: &str) -> bool {
    text.starts_with(|next: char| next.is_ascii_alphabetic() || next == '_')
        && text.chars().all(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '-' | '.'))
}
