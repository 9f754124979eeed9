//! Values, and how PowerShell turns one kind into another.

use std::rc::Rc;

use super::encoding::Encoding;
use super::syntax::Block;

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Not known: what could not be evaluated without running it.
    Unknown,
    Null,
    Bool(bool),
    Int(i64),
    Char(char),
    Text(Rc<String>),
    Bytes(Rc<Vec<u8>>),
    Array(Rc<Vec<Value>>),
    /// A text of the machine it runs on, as it usually is: good to take letters of, not to be shown.
    Usual(&'static str),
    /// A method as a value: its definition.
    Method(&'static str),
    Hashtable,
    Type(Rc<str>),
    /// A stream over bytes, or a reader of one.
    Stream(Rc<Vec<u8>>),
    Encoding(Encoding),
    Block(Rc<Block>),
    /// A variable as an item of the `variable:` drive.
    Item {
        name: Rc<str>,
        value: Box<Value>,
    },
}

/// Values inside each other; what is deeper is not known.
pub(super) const DEEPEST_VALUE: usize = 12;

impl Value {
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(Rc::new(text.into()))
    }

    /// The pipeline's output as a value.
    pub fn of_output(mut output: Vec<Value>) -> Value {
        match output.len() {
            0 => Value::Null,
            1 => output.remove(0),
            _ => Value::Array(Rc::new(output)),
        }
    }

    pub fn is_unknown(&self) -> bool {
        matches!(self, Value::Unknown)
    }

    /// Whether nothing in it is unknown.
    pub fn is_known(&self) -> bool {
        match self {
            Value::Unknown => false,
            Value::Array(values) => values.iter().all(|value| !value.is_unknown()),
            _ => true,
        }
    }

    /// How deep values are in it: 1 for a value without others.
    pub fn depth(&self) -> usize {
        match self {
            Value::Array(values) => 1 + values.iter().map(Value::depth).max().unwrap_or(0),
            Value::Item { value, .. } => 1 + value.depth(),
            _ => 1,
        }
    }

    /// Its elements; one value is its own only element.
    pub fn elements(&self) -> Vec<Value> {
        match self {
            Value::Null => Vec::new(),
            Value::Array(values) => values.to_vec(),
            Value::Bytes(bytes) => bytes.iter().map(|&byte| Value::Int(byte.into())).collect(),
            _ => vec![self.clone()],
        }
    }

    pub fn count(&self) -> usize {
        match self {
            Value::Null => 0,
            Value::Array(values) => values.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::Text(text) => text.len(),
            _ => 1,
        }
    }

    /// As `[string]`; an array's elements with `separator` (`$OFS`) between them.
    pub fn to_text(&self, separator: &str) -> Option<String> {
        Some(match self {
            Value::Null => String::new(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Char(char) => char.to_string(),
            Value::Text(text) => text.to_string(),
            Value::Hashtable => "System.Collections.Hashtable".to_owned(),
            Value::Method(definition) => (*definition).to_owned(),
            Value::Bytes(bytes) => {
                let texts: Vec<String> = bytes.iter().map(u8::to_string).collect();
                texts.join(separator)
            }
            Value::Array(values) => {
                let mut text = String::new();
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        text.push_str(separator);
                    }
                    match value {
                        // Inside an array an array is its type's name.
                        Value::Array(_) | Value::Bytes(_) => return None,
                        Value::Text(part) => text.push_str(part),
                        Value::Char(part) => text.push(*part),
                        _ => text.push_str(&value.to_text(separator)?),
                    }
                }
                text
            }
            _ => return None,
        })
    }

    /// A text's characters or an array's elements joined by nothing, where all are texts.
    pub fn joined(&self) -> Option<String> {
        match self {
            Value::Array(_) => self.to_text(""),
            Value::Text(text) => Some(text.to_string()),
            Value::Char(char) => Some(char.to_string()),
            _ => None,
        }
    }

    /// As `[int]`, where that loses nothing.
    pub fn to_int(&self) -> Option<i64> {
        match self {
            Value::Null => Some(0),
            Value::Bool(truth) => Some((*truth).into()),
            Value::Int(number) => Some(*number),
            Value::Char(char) => Some(i64::from(u32::from(*char))),
            Value::Text(text) => {
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
            Value::Array(values) if values.len() == 1 => values[0].to_int(),
            Value::Bytes(bytes) if bytes.len() == 1 => Some(bytes[0].into()),
            _ => None,
        }
    }

    /// As `[char]`.
    pub fn to_char(&self) -> Option<char> {
        match self {
            Value::Char(char) => Some(*char),
            Value::Int(number) => char::from_u32(u32::try_from(*number).ok()?),
            Value::Text(text) => {
                let mut chars = text.chars();
                let first = chars.next()?;
                chars.next().is_none().then_some(first)
            }
            Value::Array(values) if values.len() == 1 => values[0].to_char(),
            _ => None,
        }
    }

    /// As `[byte[]]`.
    pub fn to_bytes(&self) -> Option<Rc<Vec<u8>>> {
        match self {
            Value::Bytes(bytes) | Value::Stream(bytes) => Some(Rc::clone(bytes)),
            Value::Array(values) => {
                // `(, $bytes)` is an array with the bytes in it.
                if let [only @ (Value::Bytes(_) | Value::Array(_))] = &values[..] {
                    return only.to_bytes();
                }
                let byte = |value: &Value| u8::try_from(value.to_int()?).ok();
                values.iter().map(byte).collect::<Option<Vec<u8>>>().map(Rc::new)
            }
            Value::Int(number) => Some(Rc::new(vec![u8::try_from(*number).ok()?])),
            _ => None,
        }
    }

    /// Whether it counts as true.
    pub fn truth(&self) -> Option<bool> {
        Some(match self {
            Value::Unknown => return None,
            Value::Null => false,
            Value::Bool(truth) => *truth,
            Value::Int(number) => *number != 0,
            Value::Char(char) => *char != '\0',
            Value::Text(text) => !text.is_empty(),
            Value::Array(values) => match &values[..] {
                [] => false,
                [only] => return only.truth(),
                _ => true,
            },
            Value::Bytes(bytes) => match bytes[..] {
                [] => false,
                [only] => only != 0,
                _ => true,
            },
            _ => true,
        })
    }
}

/// A text in single quotes, as PowerShell reads it.
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

/// Whether a text can stand as a bare word: a command's or a type's name, a member.
pub(super) fn is_plain_word(text: &str) -> bool {
    text.starts_with(|next: char| next.is_ascii_alphabetic() || next == '_')
        && text.chars().all(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '-' | '.'))
}
