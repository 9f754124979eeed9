//! Evaluates a fixed list of .NET functions: pure ones, from value to value.

use std::rc::Rc;

use super::encoding::{Compression, TextEncoding, decode_base64, decode_text};
use super::operators::{OperatorContext, cast_value, compiled_pattern, format_text, replace_all};
use super::value::ScriptValue;

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

/// Returns a property, `value.name`; the name is lower-case.
pub(super) fn property(value: &ScriptValue, name: &str) -> ScriptValue {
    match (value, name) {
        (ScriptValue::Text(text), "length") => ScriptValue::Int(text.chars().count() as i64),
        (ScriptValue::Array(_) | ScriptValue::Bytes(_), "length" | "count" | "longlength") => {
            ScriptValue::Int(value.count() as i64)
        }
        (ScriptValue::Text(_), _) => {
            method_overloads(name).map_or(ScriptValue::Unknown, ScriptValue::Method)
        }
        (ScriptValue::Item { value, .. }, "value") => (**value).clone(),
        (ScriptValue::Item { name, .. }, "name" | "key") => ScriptValue::text(&**name),
        (ScriptValue::Char(_), "value") => value.clone(),
        (ScriptValue::Type(kind), _) => static_member(kind, name),
        _ => ScriptValue::Unknown,
    }
}

fn static_member(kind: &str, name: &str) -> ScriptValue {
    match (kind, name) {
        ("string", "empty") => ScriptValue::text(""),
        ("text.encoding", _) => {
            TextEncoding::from_name(name).map_or(ScriptValue::Unknown, ScriptValue::Encoding)
        }
        // A known value with nothing to show.
        ("io.compression.compressionmode", "decompress") => ScriptValue::Usual("Decompress"),
        _ => ScriptValue::Unknown,
    }
}

/// Returns what PowerShell shows for a string's method that is not called: its overloads (Windows
/// PowerShell 5.1 on .NET Framework). Obfuscators take letters from it.
fn method_overloads(name: &str) -> Option<&'static str> {
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

/// Calls a method, `value.name(arguments)` or `[type]::name(arguments)`; the name is lower-case.
pub(super) fn call_method(
    value: &ScriptValue,
    name: &str,
    arguments: &[ScriptValue],
    context: &mut OperatorContext<'_>,
) -> ScriptValue {
    if arguments.iter().any(|argument| !argument.is_known()) {
        return ScriptValue::Unknown;
    }
    let result = match value {
        ScriptValue::Text(text) => on_text(text, name, arguments, context),
        ScriptValue::Type(kind) => on_type(kind, name, arguments, context),
        ScriptValue::Encoding(encoding) => on_encoding(*encoding, name, arguments, context),
        ScriptValue::Stream(bytes) => match name {
            "readtoend" => context.budget.make(bytes.len()).then(|| {
                ScriptValue::text(
                    decode_text(bytes).unwrap_or_else(|| TextEncoding::Utf8.decode(bytes)),
                )
            }),
            "toarray" | "getbuffer" => Some(ScriptValue::Bytes(Rc::clone(bytes))),
            "close" | "dispose" | "flush" => Some(ScriptValue::Null),
            _ => None,
        },
        ScriptValue::Array(_) | ScriptValue::Bytes(_) if name == "clone" => Some(value.clone()),
        ScriptValue::Usual(_) if name == "tostring" => Some(value.clone()),
        ScriptValue::Char(_) | ScriptValue::Int(_) | ScriptValue::Method(_)
            if name == "tostring" && arguments.is_empty() =>
        {
            value.to_text("").map(ScriptValue::text)
        }
        ScriptValue::Char(char) => on_text(&char.to_string(), name, arguments, context),
        _ => None,
    };
    result.unwrap_or(ScriptValue::Unknown)
}

fn on_text(
    text: &str,
    name: &str,
    arguments: &[ScriptValue],
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
    context.budget.make(text.len()).then_some(())?;
    let string = |at: usize| arguments.get(at)?.to_text(&context.separator);
    let place = |at: usize| usize::try_from(arguments.get(at)?.to_int()?).ok();
    // Positions are counted in characters.
    let byte = |place: usize| {
        let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        starts.nth(place)
    };
    let text_value = |text: String| Some(ScriptValue::text(text));
    match (name, arguments.len()) {
        ("tostring" | "clone" | "normalize", 0) => text_value(text.to_owned()),
        ("tolower" | "tolowerinvariant", 0) => text_value(text.to_lowercase()),
        ("toupper" | "toupperinvariant", 0) => text_value(text.to_uppercase()),
        ("tochararray", 0) => {
            context.budget.make(text.len() * size_of::<ScriptValue>()).then_some(())?;
            Some(ScriptValue::Array(Rc::new(text.chars().map(ScriptValue::Char).collect())))
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
            context.budget.make(parts.len() * size_of::<ScriptValue>()).then_some(())?;
            Some(ScriptValue::Array(Rc::new(parts.into_iter().map(ScriptValue::text).collect())))
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
                _ => arguments.iter().map(ScriptValue::to_char).collect::<Option<_>>()?,
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
        ("chars" | "get_chars", 1) => text.chars().nth(place(0)?).map(ScriptValue::Char),
        ("indexof" | "lastindexof", 1) => {
            let of = string(0)?;
            let found = if name == "indexof" { text.find(&of) } else { text.rfind(&of) };
            Some(ScriptValue::Int(match found {
                Some(at) => text[..at].chars().count() as i64,
                None => -1,
            }))
        }
        ("contains", 1) => Some(ScriptValue::Bool(text.contains(&string(0)?))),
        ("startswith", 1) => Some(ScriptValue::Bool(text.starts_with(&string(0)?))),
        ("endswith", 1) => Some(ScriptValue::Bool(text.ends_with(&string(0)?))),
        _ => None,
    }
}

/// Returns the characters to split or trim by: each character of a text (Windows PowerShell
/// converts it to `char[]`).
fn separators(value: &ScriptValue) -> Option<Vec<char>> {
    match value {
        ScriptValue::Null => Some(Vec::new()),
        ScriptValue::Text(text) => Some(text.chars().collect()),
        _ => value.elements().iter().map(ScriptValue::to_char).collect(),
    }
}

fn on_encoding(
    encoding: TextEncoding,
    name: &str,
    arguments: &[ScriptValue],
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
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
            context.budget.make(bytes.len()).then(|| ScriptValue::text(encoding.decode(bytes)))
        }
        ("getbytes", [text]) => {
            let text = text.joined()?;
            context
                .budget
                .make(4 * text.len())
                .then(|| ScriptValue::Bytes(Rc::new(encoding.encode(&text))))
        }
        _ => None,
    }
}

fn on_type(
    kind: &str,
    name: &str,
    arguments: &[ScriptValue],
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
    let string = |at: usize| arguments.get(at)?.to_text(" ");
    match (kind, name) {
        (_, "new") => create_object(kind, arguments, context),
        ("convert", "frombase64string") => {
            let text = string(0)?;
            context.budget.make(text.len()).then_some(())?;
            decode_base64(&text).map(|bytes| ScriptValue::Bytes(Rc::new(bytes)))
        }
        ("convert", "toint16" | "toint32" | "toint64" | "tobyte" | "touint16" | "touint32") => {
            match arguments {
                [value] => value.to_int().map(ScriptValue::Int),
                [value, base] => {
                    let digits = value.to_text("")?;
                    let base =
                        u32::try_from(base.to_int()?).ok().filter(|b| [2, 8, 10, 16].contains(b));
                    let digits = digits.trim();
                    let digits = match base {
                        Some(16) => digits.trim_start_matches("0x").trim_start_matches("0X"),
                        _ => digits,
                    };
                    i64::from_str_radix(digits, base?).ok().map(ScriptValue::Int)
                }
                _ => None,
            }
        }
        ("convert", "tochar") => arguments.first()?.to_char().map(ScriptValue::Char),
        ("convert", "tostring") if arguments.len() == 1 => string(0).map(ScriptValue::text),
        ("text.encoding", "getencoding") => match arguments.first()? {
            ScriptValue::Int(65001) => Some(ScriptValue::Encoding(TextEncoding::Utf8)),
            ScriptValue::Int(1200) => Some(ScriptValue::Encoding(TextEncoding::Utf16Le)),
            ScriptValue::Int(20127 | 28591 | 1252) => {
                Some(ScriptValue::Encoding(TextEncoding::Ascii))
            }
            label => TextEncoding::from_name(&label.to_text("")?.to_lowercase())
                .map(ScriptValue::Encoding),
        },
        ("string", "join") => {
            let [separator, parts @ ..] = arguments else { return None };
            let parts = match parts {
                [only] => only.elements(),
                _ => parts.to_vec(),
            };
            let text = ScriptValue::Array(Rc::new(parts)).to_text(&separator.to_text("")?)?;
            context.budget.make(text.len()).then(|| ScriptValue::text(text))
        }
        ("string", "concat") => {
            let parts = match arguments {
                [only] => only.elements(),
                _ => arguments.to_vec(),
            };
            let text = ScriptValue::Array(Rc::new(parts)).to_text("")?;
            context.budget.make(text.len()).then(|| ScriptValue::text(text))
        }
        ("string", "format") => {
            let (format, values) = arguments.split_first()?;
            format_text(&format.to_text("")?, values, context).map(ScriptValue::text)
        }
        ("char", "convertfromutf32") => arguments.first()?.to_char().map(ScriptValue::text),
        ("char", "parse") => arguments.first()?.to_char().map(ScriptValue::Char),
        ("int" | "int32", "parse") => arguments.first()?.to_int().map(ScriptValue::Int),
        ("regex" | "text.regularexpressions.regex", "replace") if arguments.len() == 3 => {
            let from = compiled_pattern(&string(1)?, true, context)?;
            replace_all(&from, &string(0)?, &string(2)?, context).map(ScriptValue::text)
        }
        ("regex" | "text.regularexpressions.regex", "split") if arguments.len() == 2 => {
            let text = string(0)?;
            context.budget.make(text.len()).then_some(())?;
            let by = compiled_pattern(&string(1)?, true, context)?;
            Some(ScriptValue::Array(Rc::new(by.split(&text).map(ScriptValue::text).collect())))
        }
        // A common way to reverse a text.
        ("regex" | "text.regularexpressions.regex", "matches")
            if arguments.len() == 3
                && string(1)? == "."
                && string(2)?.eq_ignore_ascii_case("righttoleft") =>
        {
            let text = string(0)?;
            context.budget.make(text.len() * size_of::<ScriptValue>()).then_some(())?;
            let lines = text.chars().rev().filter(|next| *next != '\n');
            Some(ScriptValue::Array(Rc::new(lines.map(ScriptValue::Char).collect())))
        }
        _ => None,
    }
}

/// Evaluates `New-Object kind arguments`; the kind is lower-case and without `system.`.
pub(super) fn create_object(
    kind: &str,
    arguments: &[ScriptValue],
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
    if arguments.iter().any(|argument| !argument.is_known()) {
        return None;
    }
    match kind {
        "io.memorystream" => match arguments.first() {
            None => Some(ScriptValue::Stream(Rc::default())),
            Some(bytes) => bytes.to_bytes().map(ScriptValue::Stream),
        },
        "io.compression.gzipstream" | "io.compression.deflatestream" => {
            let Some(ScriptValue::Stream(bytes)) = arguments.first() else { return None };
            let compression = match kind {
                "io.compression.gzipstream" => Compression::Gzip,
                _ => Compression::Deflate,
            };
            compression
                .inflate(bytes, context.budget)
                .map(|bytes| ScriptValue::Stream(Rc::new(bytes)))
        }
        "io.streamreader" => match arguments {
            [ScriptValue::Stream(bytes), ScriptValue::Encoding(encoding), ..]
                if !matches!(encoding, TextEncoding::Ascii | TextEncoding::Utf8) =>
            {
                let text = encoding.decode(bytes);
                context
                    .budget
                    .make(text.len())
                    .then(|| ScriptValue::Stream(Rc::new(text.into_bytes())))
            }
            [stream @ ScriptValue::Stream(_), ..] => Some(stream.clone()),
            _ => None,
        },
        "string" => match arguments {
            [text, times] => {
                let times = usize::try_from(times.to_int()?).ok()?;
                let text = text.to_char()?.to_string();
                context
                    .budget
                    .make(text.len().checked_mul(times)?)
                    .then(|| ScriptValue::text(text.repeat(times)))
            }
            [only] => only.joined().map(ScriptValue::text),
            // An array of characters is spread over the arguments.
            _ => ScriptValue::Array(Rc::new(arguments.to_vec())).joined().map(ScriptValue::text),
        },
        _ => {
            let encoding = kind.strip_prefix("text.").and_then(TextEncoding::from_name);
            match encoding {
                Some(encoding) => Some(ScriptValue::Encoding(encoding)),
                None if kind.ends_with("[]") => None,
                None if matches!(kind, "char" | "int") => {
                    Some(cast_value(kind, arguments.first()?, context))
                }
                None => None,
            }
        }
    }
}
