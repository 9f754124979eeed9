//! PowerShell's operators on known values (about_Operators), and casts.

use std::collections::BTreeMap;
use std::rc::Rc;

use regex::{Captures, NoExpand, Regex, RegexBuilder};

use super::budget::Budget;
use super::syntax::{Operator, Unary};
use super::value::Value;

/// Largest compiled pattern, in bytes: texts may bring their own.
const PATTERN_SIZE: usize = 64 << 10;
/// What compiling one costs, as bytes of a value.
const PATTERN_COST: usize = 128 << 10;
/// Most patterns that are kept.
const MOST_PATTERNS: usize = 64;

/// What the operators need to know beside their operands.
pub(super) struct Context<'b> {
    pub budget: &'b mut Budget,
    pub patterns: &'b mut Patterns,
    /// `$OFS`: what stands between an array's elements in a text.
    pub separator: String,
}

pub(super) fn binary(
    operator: Operator,
    left: &Value,
    right: &Value,
    context: &mut Context<'_>,
) -> Value {
    apply(operator, left, right, context).unwrap_or(Value::Unknown)
}

fn apply(
    operator: Operator,
    left: &Value,
    right: &Value,
    context: &mut Context<'_>,
) -> Option<Value> {
    let size = left.count() + right.count();
    if !context.budget.make(size) || !left.is_known() || !right.is_known() {
        return None;
    }
    let ints = || Some((left.to_int()?, right.to_int()?));
    let int = |operation: fn(i64, i64) -> Option<i64>| {
        let (left, right) = ints()?;
        operation(left, right).map(Value::Int)
    };
    match operator {
        Operator::Add => add(left, right, context),
        Operator::Subtract => int(i64::checked_sub),
        Operator::Multiply => multiply(left, right, context),
        Operator::Divide => int(|a, b| (b != 0 && a.checked_rem(b)? == 0).then(|| a / b)),
        Operator::Modulo => int(i64::checked_rem),
        Operator::BitAnd => int(|a, b| Some(a & b)),
        Operator::BitOr => int(|a, b| Some(a | b)),
        Operator::BitXor => int(|a, b| Some(a ^ b)),
        Operator::ShiftLeft => int(|a, b| a.checked_shl(u32::try_from(b).ok()?)),
        Operator::ShiftRight => int(|a, b| a.checked_shr(u32::try_from(b).ok()?)),
        Operator::Less => ints().map(|(a, b)| Value::Bool(a < b)),
        Operator::LessOrEqual => ints().map(|(a, b)| Value::Bool(a <= b)),
        Operator::Greater => ints().map(|(a, b)| Value::Bool(a > b)),
        Operator::GreaterOrEqual => ints().map(|(a, b)| Value::Bool(a >= b)),
        Operator::And => Some(Value::Bool(left.truth()? && right.truth()?)),
        Operator::Or => Some(Value::Bool(left.truth()? || right.truth()?)),
        Operator::Xor => Some(Value::Bool(left.truth()? != right.truth()?)),
        Operator::Equal { negated, case } => {
            let equal = match left {
                Value::Int(number) => *number == right.to_int()?,
                Value::Text(_) | Value::Char(_) => {
                    let left = left.to_text("")?;
                    let right = right.to_text(&context.separator)?;
                    if case { left == right } else { left.to_lowercase() == right.to_lowercase() }
                }
                _ => return None,
            };
            Some(Value::Bool(equal != negated))
        }
        Operator::Range => {
            let (first, last) = ints()?;
            let count = usize::try_from(first.checked_sub(last)?.checked_abs()?).ok()?;
            if !context.budget.make(count.checked_mul(size_of::<Value>())?) {
                return None;
            }
            let numbers: Vec<Value> = if first <= last {
                (first..=last).map(Value::Int).collect()
            } else {
                (last..=first).rev().map(Value::Int).collect()
            };
            Some(Value::Array(Rc::new(numbers)))
        }
        Operator::Format => {
            let format = left.to_text(&context.separator)?;
            let arguments = match right {
                Value::Array(values) => values.to_vec(),
                _ => vec![right.clone()],
            };
            format_text(&format, &arguments, context).map(Value::text)
        }
        Operator::Join => join(left, &right.to_text(&context.separator)?, context),
        Operator::Split { case } => split(left, right, case, context),
        Operator::Replace { case } => replace(left, right, case, context),
        Operator::As => match right {
            Value::Type(name) => Some(cast(name, left, context)),
            Value::Text(name) => Some(cast(&name.to_lowercase(), left, context)),
            _ => None,
        },
        Operator::Other => None,
    }
}

pub(super) fn unary(operator: Unary, value: &Value, context: &mut Context<'_>) -> Value {
    let result = match operator {
        _ if !context.budget.make(value.count()) || !value.is_known() => None,
        Unary::Not => value.truth().map(|truth| Value::Bool(!truth)),
        Unary::BitNot => value.to_int().map(|number| Value::Int(!number)),
        Unary::Minus => value.to_int().and_then(i64::checked_neg).map(Value::Int),
        Unary::Plus => value.to_int().map(Value::Int),
        Unary::Join => join(value, "", context),
        Unary::Split => value
            .to_text(&context.separator)
            .map(|text| Value::Array(Rc::new(text.split_whitespace().map(Value::text).collect()))),
        Unary::Step(_) => None,
    };
    result.unwrap_or(Value::Unknown)
}

fn add(left: &Value, right: &Value, context: &mut Context<'_>) -> Option<Value> {
    match left {
        Value::Null => Some(right.clone()),
        Value::Int(_) | Value::Bool(_) => {
            left.to_int()?.checked_add(right.to_int()?).map(Value::Int)
        }
        Value::Char(_) if matches!(right, Value::Int(_)) => {
            left.to_int()?.checked_add(right.to_int()?).map(Value::Int)
        }
        Value::Text(_) | Value::Char(_) => {
            let mut text = left.to_text("")?;
            let more = right.to_text(&context.separator)?;
            context.budget.make(text.len() + more.len()).then(|| {
                text.push_str(&more);
                Value::text(text)
            })
        }
        Value::Array(_) | Value::Bytes(_) => {
            let mut values = left.elements();
            match right {
                Value::Array(_) | Value::Bytes(_) => values.extend(right.elements()),
                _ => values.push(right.clone()),
            }
            context
                .budget
                .make(values.len() * size_of::<Value>())
                .then(|| Value::Array(Rc::new(values)))
        }
        _ => None,
    }
}

fn multiply(left: &Value, right: &Value, context: &mut Context<'_>) -> Option<Value> {
    if let Value::Int(number) = left {
        return number.checked_mul(right.to_int()?).map(Value::Int);
    }
    let times = usize::try_from(right.to_int()?).ok()?;
    match left {
        Value::Text(_) | Value::Char(_) => {
            let text = left.to_text("")?;
            context
                .budget
                .make(text.len().checked_mul(times)?)
                .then(|| Value::text(text.repeat(times)))
        }
        Value::Array(values) => {
            let size = values.len().checked_mul(times)?.checked_mul(size_of::<Value>())?;
            context.budget.make(size).then(|| {
                let count = values.len() * times;
                Value::Array(Rc::new(values.iter().cycle().take(count).cloned().collect()))
            })
        }
        _ => None,
    }
}

fn join(value: &Value, separator: &str, context: &mut Context<'_>) -> Option<Value> {
    let elements = value.elements();
    let joined = Value::Array(Rc::new(elements));
    let length = joined.count() * (separator.len() + 1);
    if !context.budget.make(length) {
        return None;
    }
    let text = joined.to_text(separator)?;
    context.budget.make(text.len()).then(|| Value::text(text))
}

/// Composite formatting, as far as texts and whole numbers need it.
pub(super) fn format_text(
    format: &str,
    arguments: &[Value],
    context: &mut Context<'_>,
) -> Option<String> {
    let mut text = String::with_capacity(format.len());
    let mut rest = format;
    while let Some(brace) = rest.find(['{', '}']) {
        text.push_str(&rest[..brace]);
        let (sign, after) = (&rest[brace..=brace], &rest[brace + 1..]);
        if after.starts_with(sign) {
            text.push_str(sign);
            rest = &after[1..];
            continue;
        }
        let end = if sign == "{" { after.find('}')? } else { return None };
        let item = &after[..end];
        rest = &after[end + 1..];
        let (index, shape) = item.split_once(':').unwrap_or((item, ""));
        let value = arguments.get(index.trim().parse::<usize>().ok()?)?;
        let shown = match shape {
            "" => value.to_text(&context.separator)?,
            _ => {
                let width = shape[1..].parse::<usize>().unwrap_or(0).min(64);
                let number = value.to_int()?;
                match shape.as_bytes()[0] {
                    b'X' => format!("{number:0width$X}"),
                    b'x' => format!("{number:0width$x}"),
                    b'D' | b'd' => format!("{number:0width$}"),
                    _ => return None,
                }
            }
        };
        text.push_str(&shown);
        if !context.budget.make(shown.len()) || text.len() > context.budget.bytes_left() {
            return None;
        }
    }
    text.push_str(rest);
    Some(text)
}

/// Patterns that have been compiled, as loops use the same again and again.
#[derive(Debug, Default)]
pub(super) struct Patterns(BTreeMap<(String, bool), Option<Regex>>);

/// A pattern of .NET's, where Rust's mean the same.
pub(super) fn pattern(text: &str, case: bool, context: &mut Context<'_>) -> Option<Regex> {
    let key = (text.to_owned(), case);
    if let Some(known) = context.patterns.0.get(&key) {
        return known.clone();
    }
    if context.patterns.0.len() == MOST_PATTERNS || !context.budget.make(PATTERN_COST) {
        return None;
    }
    let compiled = compile(text, case);
    context.patterns.0.insert(key, compiled.clone());
    compiled
}

fn compile(pattern: &str, case: bool) -> Option<Regex> {
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .case_insensitive(!case)
            .size_limit(PATTERN_SIZE)
            .dfa_size_limit(PATTERN_SIZE)
            .build()
            .ok()
    };
    // .NET takes a brace that counts nothing for itself.
    build(pattern).or_else(|| {
        let plain = !pattern.contains(['\\', '[', '(', ')', '*', '+', '?', '.', '^', '$', '|']);
        plain.then(|| build(&regex::escape(pattern))).flatten()
    })
}

fn split(left: &Value, right: &Value, case: bool, context: &mut Context<'_>) -> Option<Value> {
    let (by, most) = match right {
        Value::Array(values) => match &values[..] {
            [by, most] => (by.to_text("")?, usize::try_from(most.to_int()?).ok()?),
            _ => return None,
        },
        _ => (right.to_text(&context.separator)?, 0),
    };
    let by = pattern(&by, case, context)?;
    let mut parts = Vec::new();
    for element in left.elements() {
        let text = element.to_text(&context.separator)?;
        let before = parts.len();
        match most {
            0 => parts.extend(by.split(&text).map(Value::text)),
            _ => parts.extend(by.splitn(&text, most).map(Value::text)),
        }
        let made = (parts.len() - before) * size_of::<Value>();
        if !context.budget.make(text.len() + made) {
            return None;
        }
    }
    Some(Value::Array(Rc::new(parts)))
}

fn replace(left: &Value, right: &Value, case: bool, context: &mut Context<'_>) -> Option<Value> {
    let (from, to) = match right {
        Value::Array(values) => match &values[..] {
            [from] => (from.to_text("")?, String::new()),
            [from, to] => (from.to_text("")?, to.to_text(&context.separator)?),
            _ => return None,
        },
        _ => (right.to_text(&context.separator)?, String::new()),
    };
    let from = pattern(&from, case, context)?;
    let one = |value: &Value, context: &mut Context<'_>| {
        let text = value.to_text(&context.separator)?;
        replace_all(&from, &text, &to, context).map(Value::text)
    };
    match left {
        Value::Array(values) => {
            let values: Option<Vec<Value>> =
                values.iter().map(|value| one(value, context)).collect();
            Some(Value::Array(Rc::new(values?)))
        }
        _ => one(left, context),
    }
}

/// Replaces as `-replace` does; `$1` and the like stand for groups.
pub(super) fn replace_all(
    from: &Regex,
    text: &str,
    to: &str,
    context: &mut Context<'_>,
) -> Option<String> {
    let most = context.budget.bytes_left();
    let mut size = text.len();
    let groups = to.contains('$');
    let replaced = from.replace_all(text, |found: &Captures<'_>| {
        let mut new = String::new();
        if size <= most {
            if groups {
                found.expand(to, &mut new);
            } else {
                regex::Replacer::replace_append(&mut NoExpand(to), found, &mut new);
            }
        }
        size += new.len();
        new
    });
    (size <= most && context.budget.make(size)).then(|| replaced.into_owned())
}

/// `[type]value`.
pub(super) fn cast(name: &str, value: &Value, context: &mut Context<'_>) -> Value {
    cast_known(name, value, context).unwrap_or(Value::Unknown)
}

fn cast_known(name: &str, value: &Value, context: &mut Context<'_>) -> Option<Value> {
    if !context.budget.make(value.count()) || !value.is_known() {
        return None;
    }
    let each = |to: fn(&Value) -> Option<Value>| {
        let values: Option<Vec<Value>> = value.elements().iter().map(to).collect();
        Some(Value::Array(Rc::new(values?)))
    };
    match name {
        "char" => value.to_char().map(Value::Char),
        "char[]" => match value {
            Value::Text(text) => {
                Some(Value::Array(Rc::new(text.chars().map(Value::Char).collect())))
            }
            _ => each(|value| value.to_char().map(Value::Char)),
        },
        "string" => match value {
            Value::Usual(_) => Some(value.clone()),
            _ => value.to_text(&context.separator).map(Value::text),
        },
        "string[]" => each(|value| value.to_text(" ").map(Value::text)),
        "int" | "int16" | "int32" | "int64" | "long" | "uint16" | "uint32" | "uint64" | "byte"
        | "sbyte" => value.to_int().map(Value::Int),
        "int[]" | "int32[]" => each(|value| value.to_int().map(Value::Int)),
        "byte[]" => value.to_bytes().map(Value::Bytes),
        "array" | "object[]" => Some(Value::Array(Rc::new(value.elements()))),
        "io.memorystream" => value.to_bytes().map(Value::Stream),
        "type" => {
            let name = value.to_text("")?.to_lowercase();
            Some(Value::Type(name.strip_prefix("system.").unwrap_or(&name).into()))
        }
        "regex" | "object" | "psobject" => Some(value.clone()),
        "bool" => value.truth().map(Value::Bool),
        "void" => Some(Value::Null),
        _ => None,
    }
}

/// `value[index]`.
pub(super) fn index(value: &Value, index: &Value, context: &mut Context<'_>) -> Value {
    indexed(value, index, context).unwrap_or(Value::Unknown)
}

fn indexed(value: &Value, index: &Value, context: &mut Context<'_>) -> Option<Value> {
    if !index.is_known() {
        return None;
    }
    let chars: Vec<char>;
    let at: &dyn Fn(usize) -> Option<Value> = match value {
        Value::Usual(text) => &|at: usize| text.as_bytes().get(at).map(|&b| Value::Char(b.into())),
        Value::Text(text) if text.is_ascii() => {
            &|at: usize| text.as_bytes().get(at).map(|&b| Value::Char(b.into()))
        }
        Value::Text(text) => {
            context.budget.make(text.len() * size_of::<char>()).then_some(())?;
            chars = text.chars().collect();
            &|at: usize| chars.get(at).map(|&char| Value::Char(char))
        }
        Value::Array(values) => &|at: usize| values.get(at).cloned(),
        Value::Bytes(bytes) => &|at: usize| bytes.get(at).map(|&byte| Value::Int(byte.into())),
        _ => return None,
    };
    let count = match value {
        Value::Usual(text) => text.len(),
        Value::Text(text) if text.is_ascii() => text.len(),
        Value::Text(text) => text.chars().count(),
        _ => value.count(),
    } as i64;
    // A check of the text's characters is part of each access.
    if let Value::Text(text) = value {
        context.budget.make(text.len() / 8).then_some(())?;
    }
    let find = |number: i64| -> Option<Value> {
        let place = if number < 0 { number.checked_add(count)? } else { number };
        usize::try_from(place).ok().and_then(at)
    };
    match index {
        Value::Array(_) | Value::Bytes(_) => {
            let indexes = index.elements();
            context.budget.make(indexes.len() * size_of::<Value>()).then_some(())?;
            let mut found = Vec::with_capacity(indexes.len());
            for index in &indexes {
                found.extend(find(index.to_int()?));
            }
            Some(Value::Array(Rc::new(found)))
        }
        _ => Some(find(index.to_int()?).unwrap_or(Value::Null)),
    }
}
