//! The fixed list of .NET's functions that are evaluated: pure ones, from value to value.

use std::rc::Rc;

use super::encoding::{Compression, Encoding, base64, text_of};
use super::operators::{Context, cast, format_text, pattern, replace_all};
use super::value::Value;

macro_rules! overloads {
    ($name:literal) => {
        concat!(
            "int ",
            $name,
            "(char value), ",
            "int ",
            $name,
            "(char value, int startIndex), ",
            "int ",
            $name,
            "(char value, int startIndex, int count), ",
            "int ",
            $name,
            "(string value), ",
            "int ",
            $name,
            "(string value, int startIndex), ",
            "int ",
            $name,
            "(string value, int startIndex, int count), ",
            "int ",
            $name,
            "(string value, System.StringComparison comparisonType), ",
            "int ",
            $name,
            "(string value, int startIndex, System.StringComparison comparisonType), ",
            "int ",
            $name,
            "(string value, int startIndex, int count, ",
            "System.StringComparison comparisonType)",
        )
    };
}

macro_rules! overloads_any {
    ($name:literal) => {
        concat!(
            "int ",
            $name,
            "(char[] anyOf), ",
            "int ",
            $name,
            "(char[] anyOf, int startIndex), ",
            "int ",
            $name,
            "(char[] anyOf, int startIndex, int count)",
        )
    };
}

/// A property, `value.name`; the name is lower-case.
pub(super) fn member(value: &Value, name: &str) -> Value {
    match (value, name) {
        (Value::Text(text), "length") => Value::Int(text.chars().count() as i64),
        (Value::Array(_) | Value::Bytes(_), "length" | "count" | "longlength") => {
            Value::Int(value.count() as i64)
        }
        (Value::Text(_), _) => definition(name).map_or(Value::Unknown, Value::Method),
        (Value::Item { value, .. }, "value") => (**value).clone(),
        (Value::Item { name, .. }, "name" | "key") => Value::text(&**name),
        (Value::Char(_), "value") => value.clone(),
        (Value::Type(kind), _) => static_member(kind, name),
        _ => Value::Unknown,
    }
}

fn static_member(kind: &str, name: &str) -> Value {
    match (kind, name) {
        ("string", "empty") => Value::text(""),
        ("text.encoding", _) => Encoding::named(name).map_or(Value::Unknown, Value::Encoding),
        // Known, and nothing to show.
        ("io.compression.compressionmode", "decompress") => Value::Usual("Decompress"),
        _ => Value::Unknown,
    }
}

/// What PowerShell shows for a method of a string that is not called: its overloads (Windows
/// PowerShell 5.1 on .NET Framework). Obfuscators take letters of it.
fn definition(name: &str) -> Option<&'static str> {
    Some(match name {
        "chars" => "char Chars(int index) {get;}",
        "insert" => "string Insert(int startIndex, string value)",
        "normalize" => {
            "string Normalize(), string Normalize(System.Text.NormalizationForm normalizationForm)"
        }
        "isnormalized" => {
            "bool IsNormalized(), bool IsNormalized(System.Text.NormalizationForm normalizationForm)"
        }
        "remove" => "string Remove(int startIndex, int count), string Remove(int startIndex)",
        "substring" => {
            "string Substring(int startIndex), string Substring(int startIndex, int length)"
        }
        "indexof" => overloads!("IndexOf"),
        "lastindexof" => overloads!("LastIndexOf"),
        "indexofany" => overloads_any!("IndexOfAny"),
        "lastindexofany" => overloads_any!("LastIndexOfAny"),
        _ => return None,
    })
}

/// A method, `value.name(arguments)` or `[type]::name(arguments)`; the name is lower-case.
pub(super) fn call(
    value: &Value,
    name: &str,
    arguments: &[Value],
    context: &mut Context<'_>,
) -> Value {
    if arguments.iter().any(|argument| !argument.is_known()) {
        return Value::Unknown;
    }
    let result = match value {
        Value::Text(text) => on_text(text, name, arguments, context),
        Value::Type(kind) => on_type(kind, name, arguments, context),
        Value::Encoding(encoding) => on_encoding(*encoding, name, arguments, context),
        Value::Stream(bytes) => match name {
            "readtoend" => context.budget.make(bytes.len()).then(|| {
                Value::text(text_of(bytes).unwrap_or_else(|| Encoding::Utf8.decode(bytes)))
            }),
            "toarray" | "getbuffer" => Some(Value::Bytes(Rc::clone(bytes))),
            "close" | "dispose" | "flush" => Some(Value::Null),
            _ => None,
        },
        Value::Array(_) | Value::Bytes(_) if name == "clone" => Some(value.clone()),
        Value::Usual(_) if name == "tostring" => Some(value.clone()),
        Value::Char(_) | Value::Int(_) | Value::Method(_)
            if name == "tostring" && arguments.is_empty() =>
        {
            value.to_text("").map(Value::text)
        }
        Value::Char(char) => on_text(&char.to_string(), name, arguments, context),
        _ => None,
    };
    result.unwrap_or(Value::Unknown)
}

fn on_text(
    text: &str,
    name: &str,
    arguments: &[Value],
    context: &mut Context<'_>,
) -> Option<Value> {
    context.budget.make(text.len()).then_some(())?;
    let string = |at: usize| arguments.get(at)?.to_text(&context.separator);
    let place = |at: usize| usize::try_from(arguments.get(at)?.to_int()?).ok();
    // Places are counted in characters.
    let byte = |place: usize| {
        let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        starts.nth(place)
    };
    let text_value = |text: String| Some(Value::text(text));
    match (name, arguments.len()) {
        ("tostring" | "clone" | "normalize", 0) => text_value(text.to_owned()),
        ("tolower" | "tolowerinvariant", 0) => text_value(text.to_lowercase()),
        ("toupper" | "toupperinvariant", 0) => text_value(text.to_uppercase()),
        ("tochararray", 0) => {
            context.budget.make(text.len() * size_of::<Value>()).then_some(())?;
            Some(Value::Array(Rc::new(text.chars().map(Value::Char).collect())))
        }
        ("replace", 2) => {
            let (from, to) = (string(0)?, string(1)?);
            if from.is_empty() {
                return None;
            }
            let grown = text.matches(&from).count().checked_mul(to.len())?;
            context.budget.make(text.len().checked_add(grown)?).then_some(())?;
            text_value(text.replace(&from, &to))
        }
        ("split", 1 | 2) => {
            let by = separators(&arguments[0])?;
            context.budget.make(text.len() * by.len().clamp(1, 32)).then_some(())?;
            let mut parts: Vec<&str> = match &by[..] {
                [] => text.split(char::is_whitespace).collect(),
                _ => text.split(|next| by.contains(&next)).collect(),
            };
            if let Some(option) = arguments.get(1) {
                match option.to_text("")?.to_lowercase().as_str() {
                    "removeemptyentries" | "1" => parts.retain(|part| !part.is_empty()),
                    "none" | "0" => {}
                    _ => return None,
                }
            }
            context.budget.make(parts.len() * size_of::<Value>()).then_some(())?;
            Some(Value::Array(Rc::new(parts.into_iter().map(Value::text).collect())))
        }
        ("substring", 1) => text_value(text[byte(place(0)?)?..].to_owned()),
        ("substring", 2) => {
            let end = byte(place(0)?.checked_add(place(1)?)?)?;
            text_value(text[byte(place(0)?)?..end].to_owned())
        }
        ("insert", 2) => {
            let at = byte(place(0)?)?;
            text_value(format!("{}{}{}", &text[..at], string(1)?, &text[at..]))
        }
        ("remove", 1) => text_value(text[..byte(place(0)?)?].to_owned()),
        ("remove", 2) => {
            let end = byte(place(0)?.checked_add(place(1)?)?)?;
            text_value(format!("{}{}", &text[..byte(place(0)?)?], &text[end..]))
        }
        ("trim" | "trimstart" | "trimend", _) => {
            let of = match arguments {
                [] => Vec::new(),
                [only] => separators(only)?,
                _ => arguments.iter().map(Value::to_char).collect::<Option<_>>()?,
            };
            let cut = |next: char| match &of[..] {
                [] => next.is_whitespace(),
                _ => of.contains(&next),
            };
            text_value(match name {
                "trim" => text.trim_matches(cut).to_owned(),
                "trimstart" => text.trim_start_matches(cut).to_owned(),
                _ => text.trim_end_matches(cut).to_owned(),
            })
        }
        ("chars" | "get_chars", 1) => text.chars().nth(place(0)?).map(Value::Char),
        ("indexof" | "lastindexof", 1) => {
            let of = string(0)?;
            let found = if name == "indexof" { text.find(&of) } else { text.rfind(&of) };
            Some(Value::Int(match found {
                Some(at) => text[..at].chars().count() as i64,
                None => -1,
            }))
        }
        ("contains", 1) => Some(Value::Bool(text.contains(&string(0)?))),
        ("startswith", 1) => Some(Value::Bool(text.starts_with(&string(0)?))),
        ("endswith", 1) => Some(Value::Bool(text.ends_with(&string(0)?))),
        _ => None,
    }
}

/// The characters to split or trim by: of a text, each (Windows PowerShell takes it for `char[]`).
fn separators(value: &Value) -> Option<Vec<char>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Text(text) => Some(text.chars().collect()),
        _ => value.elements().iter().map(Value::to_char).collect(),
    }
}

fn on_encoding(
    encoding: Encoding,
    name: &str,
    arguments: &[Value],
    context: &mut Context<'_>,
) -> Option<Value> {
    match (name, arguments) {
        ("getstring" | "getchars", [bytes, range @ ..]) => {
            let bytes = bytes.to_bytes()?;
            let bytes = match range {
                [] => &bytes[..],
                [from, count] => {
                    let from = usize::try_from(from.to_int()?).ok()?;
                    let count = usize::try_from(count.to_int()?).ok()?;
                    bytes.get(from..from.checked_add(count)?)?
                }
                _ => return None,
            };
            context.budget.make(bytes.len()).then(|| Value::text(encoding.decode(bytes)))
        }
        ("getbytes", [text]) => {
            let text = text.joined()?;
            context
                .budget
                .make(4 * text.len())
                .then(|| Value::Bytes(Rc::new(encoding.encode(&text))))
        }
        _ => None,
    }
}

fn on_type(
    kind: &str,
    name: &str,
    arguments: &[Value],
    context: &mut Context<'_>,
) -> Option<Value> {
    let string = |at: usize| arguments.get(at)?.to_text(" ");
    match (kind, name) {
        (_, "new") => create(kind, arguments, context),
        ("convert", "frombase64string") => {
            let text = string(0)?;
            context.budget.make(text.len()).then_some(())?;
            base64(&text).map(|bytes| Value::Bytes(Rc::new(bytes)))
        }
        ("convert", "toint16" | "toint32" | "toint64" | "tobyte" | "touint16" | "touint32") => {
            match arguments {
                [value] => value.to_int().map(Value::Int),
                [value, base] => {
                    let digits = value.to_text("")?;
                    let base =
                        u32::try_from(base.to_int()?).ok().filter(|b| [2, 8, 10, 16].contains(b));
                    let digits = digits.trim();
                    let digits = match base {
                        Some(16) => digits.trim_start_matches("0x").trim_start_matches("0X"),
                        _ => digits,
                    };
                    i64::from_str_radix(digits, base?).ok().map(Value::Int)
                }
                _ => None,
            }
        }
        ("convert", "tochar") => arguments.first()?.to_char().map(Value::Char),
        ("convert", "tostring") if arguments.len() == 1 => string(0).map(Value::text),
        ("text.encoding", "getencoding") => match arguments.first()? {
            Value::Int(65001) => Some(Value::Encoding(Encoding::Utf8)),
            Value::Int(1200) => Some(Value::Encoding(Encoding::Utf16Le)),
            Value::Int(20127 | 28591 | 1252) => Some(Value::Encoding(Encoding::Ascii)),
            label => Encoding::named(&label.to_text("")?.to_lowercase()).map(Value::Encoding),
        },
        ("string", "join") => {
            let [separator, parts @ ..] = arguments else { return None };
            let parts = match parts {
                [only] => only.elements(),
                _ => parts.to_vec(),
            };
            let text = Value::Array(Rc::new(parts)).to_text(&separator.to_text("")?)?;
            context.budget.make(text.len()).then(|| Value::text(text))
        }
        ("string", "concat") => {
            let parts = match arguments {
                [only] => only.elements(),
                _ => arguments.to_vec(),
            };
            let text = Value::Array(Rc::new(parts)).to_text("")?;
            context.budget.make(text.len()).then(|| Value::text(text))
        }
        ("string", "format") => {
            let (format, values) = arguments.split_first()?;
            format_text(&format.to_text("")?, values, context).map(Value::text)
        }
        ("char", "convertfromutf32") => arguments.first()?.to_char().map(Value::text),
        ("char", "parse") => arguments.first()?.to_char().map(Value::Char),
        ("int" | "int32", "parse") => arguments.first()?.to_int().map(Value::Int),
        ("regex" | "text.regularexpressions.regex", "replace") if arguments.len() == 3 => {
            let from = pattern(&string(1)?, true, context)?;
            replace_all(&from, &string(0)?, &string(2)?, context).map(Value::text)
        }
        ("regex" | "text.regularexpressions.regex", "split") if arguments.len() == 2 => {
            let text = string(0)?;
            context.budget.make(text.len()).then_some(())?;
            let by = pattern(&string(1)?, true, context)?;
            Some(Value::Array(Rc::new(by.split(&text).map(Value::text).collect())))
        }
        // A well-known way to turn a text round.
        ("regex" | "text.regularexpressions.regex", "matches")
            if arguments.len() == 3
                && string(1)? == "."
                && string(2)?.eq_ignore_ascii_case("righttoleft") =>
        {
            let text = string(0)?;
            context.budget.make(text.len() * size_of::<Value>()).then_some(())?;
            let lines = text.chars().rev().filter(|next| *next != '\n');
            Some(Value::Array(Rc::new(lines.map(Value::Char).collect())))
        }
        _ => None,
    }
}

/// `New-Object kind arguments`; the kind is lower-case and without `system.`.
pub(super) fn create(kind: &str, arguments: &[Value], context: &mut Context<'_>) -> Option<Value> {
    if arguments.iter().any(|argument| !argument.is_known()) {
        return None;
    }
    match kind {
        "io.memorystream" => match arguments.first() {
            None => Some(Value::Stream(Rc::default())),
            Some(bytes) => bytes.to_bytes().map(Value::Stream),
        },
        "io.compression.gzipstream" | "io.compression.deflatestream" => {
            let Some(Value::Stream(bytes)) = arguments.first() else { return None };
            let compression = match kind {
                "io.compression.gzipstream" => Compression::Gzip,
                _ => Compression::Deflate,
            };
            compression.inflate(bytes, context.budget).map(|bytes| Value::Stream(Rc::new(bytes)))
        }
        "io.streamreader" => match arguments {
            [Value::Stream(bytes), Value::Encoding(encoding), ..]
                if !matches!(encoding, Encoding::Ascii | Encoding::Utf8) =>
            {
                let text = encoding.decode(bytes);
                context.budget.make(text.len()).then(|| Value::Stream(Rc::new(text.into_bytes())))
            }
            [stream @ Value::Stream(_), ..] => Some(stream.clone()),
            _ => None,
        },
        "string" => match arguments {
            [text, times] => {
                let times = usize::try_from(times.to_int()?).ok()?;
                let text = text.to_char()?.to_string();
                context
                    .budget
                    .make(text.len().checked_mul(times)?)
                    .then(|| Value::text(text.repeat(times)))
            }
            [only] => only.joined().map(Value::text),
            // An array of characters is spread over the arguments.
            _ => Value::Array(Rc::new(arguments.to_vec())).joined().map(Value::text),
        },
        _ => {
            let encoding = kind.strip_prefix("text.").and_then(Encoding::named);
            match encoding {
                Some(encoding) => Some(Value::Encoding(encoding)),
                None if kind.ends_with("[]") => None,
                None if matches!(kind, "char" | "int") => {
                    Some(cast(kind, arguments.first()?, context))
                }
                None => None,
            }
        }
    }
}
