//! Evaluates PowerShell's operators on known values (about_Operators), and casts.

use std::collections::BTreeMap;
use std::rc::Rc;

use regex::{Captures, NoExpand, Regex, RegexBuilder};

use super::budget::Budget;
use super::syntax::{BinaryOperator, UnaryOperator};
use super::value::ScriptValue;

/// Largest compiled pattern, in bytes: the text itself may supply the patterns.
const PATTERN_SIZE: usize = 64 << 10;
/// Cost of compiling a pattern, as bytes of a value.
const PATTERN_COST: usize = 128 << 10;
/// Largest number of patterns that are kept.
const MOST_PATTERNS: usize = 64;

/// The state that operators need besides their operands.
pub(super) struct OperatorContext<'b> {
    pub budget: &'b mut Budget,
    pub patterns: &'b mut PatternCache,
    /// `$OFS`: the text between the elements of an array that is converted to text.
    pub separator: String,
}

pub(super) fn apply_binary(
    operator: BinaryOperator,
    left: &ScriptValue,
    right: &ScriptValue,
    context: &mut OperatorContext<'_>,
) -> ScriptValue {
    evaluate_binary(operator, left, right, context).unwrap_or(ScriptValue::Unknown)
}

fn evaluate_binary(
    operator: BinaryOperator,
    left: &ScriptValue,
    right: &ScriptValue,
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
    let size = left.count() + right.count();
    if !context.budget.make(size) || !left.is_known() || !right.is_known() {
        return None;
    }
    let ints = || Some((left.to_int()?, right.to_int()?));
    let int = |operation: fn(i64, i64) -> Option<i64>| {
        let (left, right) = ints()?;
        operation(left, right).map(ScriptValue::Int)
    };
    match operator {
        BinaryOperator::Add => add(left, right, context),
        BinaryOperator::Subtract => int(i64::checked_sub),
        BinaryOperator::Multiply => multiply(left, right, context),
        BinaryOperator::Divide => int(|a, b| (b != 0 && a.checked_rem(b)? == 0).then(|| a / b)),
        BinaryOperator::Modulo => int(i64::checked_rem),
        BinaryOperator::BitAnd => int(|a, b| Some(a & b)),
        BinaryOperator::BitOr => int(|a, b| Some(a | b)),
        BinaryOperator::BitXor => int(|a, b| Some(a ^ b)),
        BinaryOperator::ShiftLeft => int(|a, b| a.checked_shl(u32::try_from(b).ok()?)),
        BinaryOperator::ShiftRight => int(|a, b| a.checked_shr(u32::try_from(b).ok()?)),
        BinaryOperator::Less => ints().map(|(a, b)| ScriptValue::Bool(a < b)),
        BinaryOperator::LessOrEqual => ints().map(|(a, b)| ScriptValue::Bool(a <= b)),
        BinaryOperator::Greater => ints().map(|(a, b)| ScriptValue::Bool(a > b)),
        BinaryOperator::GreaterOrEqual => ints().map(|(a, b)| ScriptValue::Bool(a >= b)),
        BinaryOperator::And => Some(ScriptValue::Bool(left.to_bool()? && right.to_bool()?)),
        BinaryOperator::Or => Some(ScriptValue::Bool(left.to_bool()? || right.to_bool()?)),
        BinaryOperator::Xor => Some(ScriptValue::Bool(left.to_bool()? != right.to_bool()?)),
        BinaryOperator::Equal { negated, case } => {
            let equal = match left {
                ScriptValue::Int(number) => *number == right.to_int()?,
                ScriptValue::Text(_) | ScriptValue::Char(_) => {
                    let left = left.to_text("")?;
                    let right = right.to_text(&context.separator)?;
                    if case { left == right } else { left.to_lowercase() == right.to_lowercase() }
                }
                _ => return None,
            };
            Some(ScriptValue::Bool(equal != negated))
        }
        BinaryOperator::Range => {
            let (first, last) = ints()?;
            let count = usize::try_from(first.checked_sub(last)?.checked_abs()?).ok()?;
            if !context.budget.make(count.checked_mul(size_of::<ScriptValue>())?) {
                return None;
            }
            let numbers: Vec<ScriptValue> = if first <= last {
                (first..=last).map(ScriptValue::Int).collect()
            } else {
                (last..=first).rev().map(ScriptValue::Int).collect()
            };
            Some(ScriptValue::Array(Rc::new(numbers)))
        }
        BinaryOperator::Format => {
            let format = left.to_text(&context.separator)?;
            let arguments = match right {
                ScriptValue::Array(values) => values.to_vec(),
                _ => vec![right.clone()],
            };
            format_text(&format, &arguments, context).map(ScriptValue::text)
        }
        BinaryOperator::Join => join(left, &right.to_text(&context.separator)?, context),
        BinaryOperator::Split { case } => split(left, right, case, context),
        BinaryOperator::Replace { case } => replace(left, right, case, context),
        BinaryOperator::As => match right {
            ScriptValue::Type(name) => Some(cast_value(name, left, context)),
            ScriptValue::Text(name) => Some(cast_value(&name.to_lowercase(), left, context)),
            _ => None,
        },
        BinaryOperator::Other => None,
    }
}

pub(super) fn apply_unary(
    operator: UnaryOperator,
    value: &ScriptValue,
    context: &mut OperatorContext<'_>,
) -> ScriptValue {
    let result = match operator {
        _ if !context.budget.make(value.count()) || !value.is_known() => None,
        UnaryOperator::Not => value.to_bool().map(|truth| ScriptValue::Bool(!truth)),
        UnaryOperator::BitNot => value.to_int().map(|number| ScriptValue::Int(!number)),
        UnaryOperator::Minus => value.to_int().and_then(i64::checked_neg).map(ScriptValue::Int),
        UnaryOperator::Plus => value.to_int().map(ScriptValue::Int),
        UnaryOperator::Join => join(value, "", context),
        UnaryOperator::Split => value.to_text(&context.separator).map(|text| {
            ScriptValue::Array(Rc::new(text.split_whitespace().map(ScriptValue::text).collect()))
        }),
        UnaryOperator::Step(_) => None,
    };
    result.unwrap_or(ScriptValue::Unknown)
}

fn add(
    left: &ScriptValue,
    right: &ScriptValue,
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
    match left {
        ScriptValue::Null => Some(right.clone()),
        ScriptValue::Int(_) | ScriptValue::Bool(_) => {
            left.to_int()?.checked_add(right.to_int()?).map(ScriptValue::Int)
        }
        ScriptValue::Char(_) if matches!(right, ScriptValue::Int(_)) => {
            left.to_int()?.checked_add(right.to_int()?).map(ScriptValue::Int)
        }
        ScriptValue::Text(_) | ScriptValue::Char(_) => {
            let mut text = left.to_text("")?;
            let more = right.to_text(&context.separator)?;
            context.budget.make(text.len() + more.len()).then(|| {
                text.push_str(&more);
                ScriptValue::text(text)
            })
        }
        ScriptValue::Array(_) | ScriptValue::Bytes(_) => {
            let mut values = left.elements();
            match right {
                ScriptValue::Array(_) | ScriptValue::Bytes(_) => values.extend(right.elements()),
                _ => values.push(right.clone()),
            }
            context
                .budget
                .make(values.len() * size_of::<ScriptValue>())
                .then(|| ScriptValue::Array(Rc::new(values)))
        }
        _ => None,
    }
}

fn multiply(
    left: &ScriptValue,
    right: &ScriptValue,
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
    if let ScriptValue::Int(number) = left {
        return number.checked_mul(right.to_int()?).map(ScriptValue::Int);
    }
    let times = usize::try_from(right.to_int()?).ok()?;
    match left {
        ScriptValue::Text(_) | ScriptValue::Char(_) => {
            let text = left.to_text("")?;
            context
                .budget
                .make(text.len().checked_mul(times)?)
                .then(|| ScriptValue::text(text.repeat(times)))
        }
        ScriptValue::Array(values) => {
            let size = values.len().checked_mul(times)?.checked_mul(size_of::<ScriptValue>())?;
            context.budget.make(size).then(|| {
                let count = values.len() * times;
                ScriptValue::Array(Rc::new(values.iter().cycle().take(count).cloned().collect()))
            })
        }
        _ => None,
    }
}

fn join(
    value: &ScriptValue,
    separator: &str,
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
    let elements = value.elements();
    let joined = ScriptValue::Array(Rc::new(elements));
    let length = joined.count() * (separator.len() + 1);
    if !context.budget.make(length) {
        return None;
    }
    let text = joined.to_text(separator)?;
    context.budget.make(text.len()).then(|| ScriptValue::text(text))
}

/// Formats a composite format string, as far as texts and whole numbers need it.
pub(super) fn format_text(
    format: &str,
    arguments: &[ScriptValue],
    context: &mut OperatorContext<'_>,
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

/// Compiled patterns: loops use the same ones again and again.
#[derive(Debug, Default)]
pub(super) struct PatternCache(BTreeMap<(String, bool), Option<Regex>>);

/// Compiles a .NET pattern, if it means the same in Rust's regexes.
pub(super) fn compiled_pattern(
    text: &str,
    case: bool,
    context: &mut OperatorContext<'_>,
) -> Option<Regex> {
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
    // .NET treats a brace that is not a quantifier as a plain character.
    build(pattern).or_else(|| {
        let plain = !pattern.contains(['\\', '[', '(', ')', '*', '+', '?', '.', '^', '$', '|']);
        plain.then(|| build(&regex::escape(pattern))).flatten()
    })
}

fn split(
    left: &ScriptValue,
    right: &ScriptValue,
    case: bool,
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
    let (by, most) = match right {
        ScriptValue::Array(values) => match &values[..] {
            [by, most] => (by.to_text("")?, usize::try_from(most.to_int()?).ok()?),
            _ => return None,
        },
        _ => (right.to_text(&context.separator)?, 0),
    };
    let by = compiled_pattern(&by, case, context)?;
    let mut parts = Vec::new();
    for element in left.elements() {
        let text = element.to_text(&context.separator)?;
        let before = parts.len();
        match most {
            0 => parts.extend(by.split(&text).map(ScriptValue::text)),
            _ => parts.extend(by.splitn(&text, most).map(ScriptValue::text)),
        }
        let made = (parts.len() - before) * size_of::<ScriptValue>();
        if !context.budget.make(text.len() + made) {
            return None;
        }
    }
    Some(ScriptValue::Array(Rc::new(parts)))
}

fn replace(
    left: &ScriptValue,
    right: &ScriptValue,
    case: bool,
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
    let (from, to) = match right {
        ScriptValue::Array(values) => match &values[..] {
            [from] => (from.to_text("")?, String::new()),
            [from, to] => (from.to_text("")?, to.to_text(&context.separator)?),
            _ => return None,
        },
        _ => (right.to_text(&context.separator)?, String::new()),
    };
    let from = compiled_pattern(&from, case, context)?;
    let replace_one = |value: &ScriptValue, context: &mut OperatorContext<'_>| {
        let text = value.to_text(&context.separator)?;
        replace_all(&from, &text, &to, context).map(ScriptValue::text)
    };
    match left {
        ScriptValue::Array(values) => {
            let values: Option<Vec<ScriptValue>> =
                values.iter().map(|value| replace_one(value, context)).collect();
            Some(ScriptValue::Array(Rc::new(values?)))
        }
        _ => replace_one(left, context),
    }
}

/// Replaces as `-replace` does; `$1` and similar stand for groups.
pub(super) fn replace_all(
    from: &Regex,
    text: &str,
    to: &str,
    context: &mut OperatorContext<'_>,
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

/// Evaluates `[type]value`.
pub(super) fn cast_value(
    name: &str,
    value: &ScriptValue,
    context: &mut OperatorContext<'_>,
) -> ScriptValue {
    cast_known(name, value, context).unwrap_or(ScriptValue::Unknown)
}

fn cast_known(
    name: &str,
    value: &ScriptValue,
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
    if !context.budget.make(value.count()) || !value.is_known() {
        return None;
    }
    let each = |to: fn(&ScriptValue) -> Option<ScriptValue>| {
        let values: Option<Vec<ScriptValue>> = value.elements().iter().map(to).collect();
        Some(ScriptValue::Array(Rc::new(values?)))
    };
    match name {
        "char" => value.to_char().map(ScriptValue::Char),
        "char[]" => match value {
            ScriptValue::Text(text) => {
                Some(ScriptValue::Array(Rc::new(text.chars().map(ScriptValue::Char).collect())))
            }
            _ => each(|value| value.to_char().map(ScriptValue::Char)),
        },
        "string" => match value {
            ScriptValue::Usual(_) => Some(value.clone()),
            _ => value.to_text(&context.separator).map(ScriptValue::text),
        },
        "string[]" => each(|value| value.to_text(" ").map(ScriptValue::text)),
        "int" | "int16" | "int32" | "int64" | "long" | "uint16" | "uint32" | "uint64" | "byte"
        | "sbyte" => value.to_int().map(ScriptValue::Int),
        "int[]" | "int32[]" => each(|value| value.to_int().map(ScriptValue::Int)),
        "byte[]" => value.to_bytes().map(ScriptValue::Bytes),
        "array" | "object[]" => Some(ScriptValue::Array(Rc::new(value.elements()))),
        "io.memorystream" => value.to_bytes().map(ScriptValue::Stream),
        "type" => {
            let name = value.to_text("")?.to_lowercase();
            Some(ScriptValue::Type(name.strip_prefix("system.").unwrap_or(&name).into()))
        }
        "regex" | "object" | "psobject" => Some(value.clone()),
        "bool" => value.to_bool().map(ScriptValue::Bool),
        "void" => Some(ScriptValue::Null),
        _ => None,
    }
}

/// Evaluates `value[index]`.
pub(super) fn index_value(
    value: &ScriptValue,
    index: &ScriptValue,
    context: &mut OperatorContext<'_>,
) -> ScriptValue {
    indexed(value, index, context).unwrap_or(ScriptValue::Unknown)
}

fn indexed(
    value: &ScriptValue,
    index: &ScriptValue,
    context: &mut OperatorContext<'_>,
) -> Option<ScriptValue> {
    if !index.is_known() {
        return None;
    }
    let chars: Vec<char>;
    let at: &dyn Fn(usize) -> Option<ScriptValue> = match value {
        ScriptValue::Usual(text) => {
            &|at: usize| text.as_bytes().get(at).map(|&b| ScriptValue::Char(b.into()))
        }
        ScriptValue::Text(text) if text.is_ascii() => {
            &|at: usize| text.as_bytes().get(at).map(|&b| ScriptValue::Char(b.into()))
        }
        ScriptValue::Text(text) => {
            context.budget.make(text.len() * size_of::<char>()).then_some(())?;
            chars = text.chars().collect();
            &|at: usize| chars.get(at).map(|&char| ScriptValue::Char(char))
        }
        ScriptValue::Array(values) => &|at: usize| values.get(at).cloned(),
        ScriptValue::Bytes(bytes) => {
            &|at: usize| bytes.get(at).map(|&byte| ScriptValue::Int(byte.into()))
        }
        _ => return None,
    };
    let count = match value {
        ScriptValue::Usual(text) => text.len(),
        ScriptValue::Text(text) if text.is_ascii() => text.len(),
        ScriptValue::Text(text) => text.chars().count(),
        _ => value.count(),
    } as i64;
    // Each access includes a check of the text's characters.
    if let ScriptValue::Text(text) = value {
        context.budget.make(text.len() / 8).then_some(())?;
    }
    let find = |number: i64| -> Option<ScriptValue> {
        let place = if number < 0 { number.checked_add(count)? } else { number };
        usize::try_from(place).ok().and_then(at)
    };
    match index {
        ScriptValue::Array(_) | ScriptValue::Bytes(_) => {
            let indexes = index.elements();
            context.budget.make(indexes.len() * size_of::<ScriptValue>()).then_some(())?;
            let mut found = Vec::with_capacity(indexes.len());
            for index in &indexes {
                found.extend(find(index.to_int()?));
            }
            Some(ScriptValue::Array(Rc::new(found)))
        }
        _ => Some(find(index.to_int()?).unwrap_or(ScriptValue::Null)),
    }
}
