//! The values of expressions.

use std::ops::Range;
use std::rc::Rc;

use super::super::methods::{call, create, member};
use super::super::operators::{binary, cast, index, unary};
use super::super::syntax::{Kind, Node, Operator, Suffix, SuffixKind, Unary};
use super::super::value::{DEEPEST_VALUE, Value, quoted};
use super::Machine;

impl Machine<'_, '_> {
    pub(super) fn expression(&mut self, node: &Node) -> Value {
        match &node.kind {
            Kind::Text { value, .. } | Kind::Word { value, .. } => Value::Text(Rc::clone(value)),
            Kind::Number(number) => Value::Int(*number),
            Kind::Variable { name, .. } => self.variable(name),
            Kind::Expand(parts) => self.expand(parts),
            Kind::Chain(first, more) => self.chain(first, more),
            Kind::Unary(Unary::Step(by), value) => self.step(value, *by, true),
            Kind::Unary(operator, value) => {
                let value = self.eval(value);
                unary(*operator, &value, &mut self.context())
            }
            Kind::Cast(name, value) => {
                let value = self.eval(value);
                cast(name, &value, &mut self.context())
            }
            Kind::Type(name) => Value::Type(Rc::clone(name)),
            Kind::Postfix(base, suffixes) => self.postfix(node, base, suffixes),
            Kind::Paren(body) => self.output(body),
            Kind::Sub { body, array } => {
                let value = self.output(body);
                match value {
                    Value::Unknown => value,
                    _ if *array => Value::Array(Rc::new(value.elements())),
                    _ => value,
                }
            }
            Kind::Hash(parts) => {
                self.visit(parts);
                Value::Hashtable
            }
            Kind::Block(block) => {
                self.visit(&block.body);
                // When it will run is not known.
                self.forget(&block.assigned);
                Value::Block(Rc::clone(block))
            }
            Kind::List(values) => {
                let values: Vec<Value> = values.iter().map(|value| self.eval(value)).collect();
                self.list(values)
            }
            _ => Value::Unknown,
        }
    }

    /// An array of values, if none is unknown and they are not too deep.
    fn list(&mut self, values: Vec<Value>) -> Value {
        let size = values.iter().map(Value::count).sum();
        let known = self.budget.make(size)
            && values.iter().all(|value| !value.is_unknown() && value.depth() < DEEPEST_VALUE);
        if known { Value::Array(Rc::new(values)) } else { Value::Unknown }
    }

    pub(super) fn variable(&self, name: &str) -> Value {
        match name {
            "true" => return Value::Bool(true),
            "false" => return Value::Bool(false),
            "null" => return Value::Null,
            // No command has failed as far as is known.
            "?" => return Value::Bool(true),
            _ => {}
        }
        match self.get(name) {
            Some(value) => value.clone(),
            None => usual(name).map_or(Value::Unknown, Value::Usual),
        }
    }

    fn expand(&mut self, parts: &[Node]) -> Value {
        let mut text = String::new();
        let mut known = true;
        for part in parts {
            let value = self.eval(part);
            self.note_inside(part, &value);
            match self.as_text(&value) {
                Some(part) if known => {
                    if !self.budget.make(part.len())
                        || text.len() + part.len() > self.budget.bytes_left()
                    {
                        known = false;
                        continue;
                    }
                    text.push_str(&part);
                }
                _ => known = false,
            }
        }
        if known { Value::text(text) } else { Value::Unknown }
    }

    /// Inside a string a value stands as it is, not in quotes of its own.
    fn note_inside(&mut self, part: &Node, value: &Value) {
        if let (Some(replacement), Value::Text(text)) = (self.found.replacements.last_mut(), value)
            && replacement.span == part.span
        {
            replacement.text.clear();
            for next in text.chars() {
                if matches!(next, '"' | '$' | '`') {
                    replacement.text.push('`');
                }
                replacement.text.push(next);
            }
        }
    }

    fn chain(&mut self, first: &Node, more: &[(Operator, Node)]) -> Value {
        let mark = self.found.replacements.len();
        let mut left = self.eval(first);
        // Texts side by side become one, also before and after something unknown.
        let mut run = self.run(first, mark, &left);
        for (operator, operand) in more {
            let mark = self.found.replacements.len();
            let right = self.eval(operand);
            match (&mut run.text, text_of(&right)) {
                (Some(text), Some(more))
                    if *operator == Operator::Add && self.budget.make(more.len()) =>
                {
                    run.word_cut |= cuts_word(text, &more) || matches!(right, Value::Char(_));
                    text.push_str(&more);
                    run.count += 1;
                    run.span.end = operand.span.end;
                }
                _ => {
                    let operands = self.found.replacements.split_off(mark);
                    self.note_run(&run);
                    let mark = self.found.replacements.len();
                    self.found.replacements.extend(operands);
                    run = self.run(operand, mark, &right);
                }
            }
            left = match operator {
                Operator::Add => self.plus(left, &right),
                _ => binary(*operator, &left, &right, &mut self.context()),
            };
        }
        // What is known as a whole is noted as a whole.
        if left.is_unknown() {
            self.note_run(&run);
        }
        self.word_cut = run.word_cut;
        left
    }

    /// `left + right`; a text on the left grows in place.
    fn plus(&mut self, left: Value, right: &Value) -> Value {
        match (left, right) {
            (Value::Text(mut text), Value::Text(_) | Value::Char(_)) => {
                let grown = match right {
                    Value::Text(more) => more.len(),
                    _ => 4,
                };
                if !self.budget.make(grown) || text.len() + grown > self.budget.bytes_left() {
                    return Value::Unknown;
                }
                if Rc::get_mut(&mut text).is_none() && !self.budget.make(text.len()) {
                    return Value::Unknown;
                }
                let into = Rc::make_mut(&mut text);
                match right {
                    Value::Text(more) => into.push_str(more),
                    Value::Char(more) => into.push(*more),
                    _ => {}
                }
                Value::Text(text)
            }
            (left, right) => binary(Operator::Add, &left, right, &mut self.context()),
        }
    }

    fn run(&mut self, first: &Node, mark: usize, value: &Value) -> Run {
        let text = if self.budget.make(value.count()) { text_of(value) } else { None };
        Run { span: first.span.clone(), mark, text, count: 1, word_cut: false }
    }

    fn note_run(&mut self, run: &Run) {
        let Some(text) = &run.text else { return };
        if run.count > 1 && self.quiet == 0 && self.budget.make(text.len()) {
            let inside = &self.found.replacements[run.mark..];
            let telling = run.word_cut || inside.iter().any(|inside| inside.telling);
            self.replace(run.span.clone(), run.mark, quoted(text), telling);
        }
    }

    /// `++` and `--`.
    fn step(&mut self, target: &Node, by: i64, before: bool) -> Value {
        let Kind::Variable { name, .. } = &target.kind else {
            self.eval(target);
            return Value::Unknown;
        };
        let old = self.variable(name);
        let new = old.to_int().filter(|_| old.is_known()).and_then(|number| number.checked_add(by));
        let new = new.map_or(Value::Unknown, Value::Int);
        self.set(name, new.clone());
        if before { new } else { old }
    }

    fn postfix(&mut self, node: &Node, base: &Node, suffixes: &[Suffix]) -> Value {
        let start = node.span.start;
        let mark = self.found.replacements.len();
        let mut value = self.eval(base);
        let mut at = 0;
        while let Some(suffix) = suffixes.get(at) {
            at += 1;
            value = match &suffix.kind {
                SuffixKind::Step(by) => return self.step(base, *by, false),
                SuffixKind::Index(by) => {
                    let by = self.eval(by);
                    index(&value, &by, &mut self.context())
                }
                SuffixKind::Member(name) => {
                    let name = self.member_name(name);
                    match suffixes.get(at).map(|next| &next.kind) {
                        // `value.'name'.Invoke(…)` calls it.
                        Some(SuffixKind::Call(invoke, arguments))
                            if is_word(invoke, "invoke") && name.is_some() =>
                        {
                            at += 1;
                            self.call(&value, name.as_deref(), arguments)
                        }
                        _ => name.map_or(Value::Unknown, |name| member(&value, &name)),
                    }
                }
                SuffixKind::Call(name, arguments) => {
                    let name = self.member_name(name);
                    self.call(&value, name.as_deref(), arguments)
                }
            };
            if let (Value::Text(text), Some(_)) = (&value, suffixes.get(at))
                && self.quiet == 0
                && self.budget.make(text.len())
            {
                let shown = quoted(text);
                self.replace(start..suffixes[at - 1].end, mark, shown, true);
            }
        }
        value
    }

    /// A member's name, lower-case; shown as a word where it was hidden.
    fn member_name(&mut self, name: &Node) -> Option<String> {
        let mark = self.found.replacements.len();
        let value = self.eval(name);
        let Value::Text(text) = value else { return None };
        if !matches!(name.kind, Kind::Word { ticked: false, .. }) {
            self.note_name(name.span.clone(), mark, &text);
        }
        Some(text.to_lowercase())
    }

    fn call(&mut self, value: &Value, name: Option<&str>, arguments: &[Node]) -> Value {
        let values: Vec<Value> = arguments.iter().map(|argument| self.eval(argument)).collect();
        let size = values.iter().map(Value::count).sum();
        let Some(name) = name.filter(|_| self.budget.make(size)) else { return Value::Unknown };
        let on = |wanted: &str| matches!(value, Value::Type(kind) if **kind == *wanted);
        match name {
            // Methods that run or compile a text, whatever they are called on.
            "invokescript" | "newscriptblock" | "addscript" => {
                if let (Some(text), Some(node)) = (values.first(), arguments.first()) {
                    self.invoke(text, &node.span);
                }
                return Value::Unknown;
            }
            "create" if on("scriptblock") || on("management.automation.scriptblock") => {
                if let (Some(text), Some(node)) = (values.first(), arguments.first()) {
                    self.invoke(text, &node.span);
                }
                return Value::Unknown;
            }
            "reverse" if on("array") => {
                let Some(Node { kind: Kind::Variable { name, .. }, .. }) = arguments.first() else {
                    return Value::Unknown;
                };
                let mut elements = match self.variable(name) {
                    turned @ (Value::Array(_) | Value::Bytes(_)) => turned.elements(),
                    _ => return Value::Unknown,
                };
                if !self.budget.make(elements.len() * size_of::<Value>()) {
                    return Value::Unknown;
                }
                elements.reverse();
                self.set(name, Value::Array(Rc::new(elements)));
                return Value::Null;
            }
            "copyto" => {
                if let (Value::Stream(_), Some(Kind::Variable { name, .. })) =
                    (value, arguments.first().map(|node| &node.kind))
                {
                    self.set(name, value.clone());
                    return Value::Null;
                }
                return Value::Unknown;
            }
            _ => {}
        }
        call(value, name, &values, &mut self.context())
    }

    pub(super) fn assign(
        &mut self,
        target: &Node,
        operator: Option<Operator>,
        value: &Node,
    ) -> Value {
        self.note_variable(target);
        let value = self.eval(value);
        match &target.kind {
            Kind::Variable { name, .. } => {
                let value = match operator {
                    None => value,
                    Some(Operator::Add) => {
                        // Taken out, so that it can grow in place.
                        let old = match self.variables.remove(name) {
                            Some(old) if self.scopes == 0 => old,
                            Some(old) => {
                                self.variables.insert(Rc::clone(name), old.clone());
                                old
                            }
                            None => Value::Unknown,
                        };
                        self.grow(old, &value)
                    }
                    Some(operator) => {
                        let old = self.variable(name);
                        binary(operator, &old, &value, &mut self.context())
                    }
                };
                self.set(name, value.clone());
                value
            }
            Kind::Cast(kind, inner) => {
                let value = cast(kind, &value, &mut self.context());
                if let (Kind::Variable { name, .. }, None) = (&inner.kind, operator) {
                    self.set(name, value.clone());
                }
                value
            }
            Kind::Postfix(base, suffixes) => {
                for suffix in suffixes {
                    if let SuffixKind::Member(name) = &suffix.kind {
                        self.member_name(name);
                    }
                }
                self.assign_element(base, suffixes, operator, &value);
                value
            }
            _ => Value::Unknown,
        }
    }

    fn grow(&mut self, old: Value, more: &Value) -> Value {
        match old {
            Value::Array(mut values) if !more.is_unknown() => {
                let added = more.count() * size_of::<Value>();
                let shared = Rc::get_mut(&mut values).is_none();
                let copied = if shared { values.len() * size_of::<Value>() } else { 0 };
                if !self.budget.make(added + copied)
                    || (values.len() + more.count()) * size_of::<Value>()
                        > self.budget.bytes_left().saturating_mul(4)
                {
                    return Value::Unknown;
                }
                let into = Rc::make_mut(&mut values);
                match more {
                    Value::Array(_) | Value::Bytes(_) => into.extend(more.elements()),
                    _ => into.push(more.clone()),
                }
                Value::Array(values)
            }
            old => self.plus(old, more),
        }
    }

    /// `$x[i] = value`.
    fn assign_element(
        &mut self,
        base: &Node,
        suffixes: &[Suffix],
        operator: Option<Operator>,
        value: &Value,
    ) {
        let (Kind::Variable { name, .. }, [Suffix { kind: SuffixKind::Index(by), .. }]) =
            (&base.kind, suffixes)
        else {
            return;
        };
        let at = self.eval(by).to_int().and_then(|at| usize::try_from(at).ok());
        let old = match (at, operator) {
            (Some(at), Some(_)) => {
                let old = self.variable(name);
                index(&old, &Value::Int(at as i64), &mut self.context())
            }
            _ => Value::Unknown,
        };
        let value = match operator {
            None => value.clone(),
            Some(operator) => binary(operator, &old, value, &mut self.context()),
        };
        let holder =
            if self.scopes == 0 { self.variables.remove(name) } else { self.get(name).cloned() };
        let changed = match (holder, at, &value) {
            (Some(Value::Bytes(mut bytes)), Some(at), Value::Int(number)) => {
                match (u8::try_from(*number), bytes.len() > at) {
                    (Ok(byte), true) if self.owned(&bytes) => {
                        Rc::make_mut(&mut bytes)[at] = byte;
                        Value::Bytes(bytes)
                    }
                    _ => Value::Unknown,
                }
            }
            (Some(Value::Array(mut values)), Some(at), value)
                if !value.is_unknown()
                    && at < values.len()
                    && self.budget.make(value.count())
                    && value.depth() < DEEPEST_VALUE
                    && self.owned(&values) =>
            {
                Rc::make_mut(&mut values)[at] = value.clone();
                Value::Array(values)
            }
            _ => {
                self.unknown += 1;
                Value::Unknown
            }
        };
        self.set(name, changed);
    }

    /// Whether a value may be changed: the steps for the copy, where others hold it.
    fn owned<T>(&mut self, values: &Rc<Vec<T>>) -> bool {
        Rc::strong_count(values) == 1 || self.budget.make(values.len() * size_of::<T>())
    }

    pub(super) fn new_object(&mut self, kind: &str, arguments: &[Value]) -> Value {
        let kind = kind.to_lowercase();
        let kind = kind.strip_prefix("system.").unwrap_or(&kind);
        create(kind, arguments, &mut self.context()).unwrap_or(Value::Unknown)
    }
}

/// Texts with `+` between them.
struct Run {
    span: Range<usize>,
    /// Where its replacements begin.
    mark: usize,
    text: Option<String>,
    count: usize,
    /// Whether they part within a word.
    word_cut: bool,
}

/// Whether a text and the next part within a word: plain scripts do not write like that.
fn cuts_word(text: &str, next: &str) -> bool {
    text.ends_with(char::is_alphanumeric) && next.starts_with(char::is_alphanumeric)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Char(char) => Some(char.to_string()),
        _ => None,
    }
}

fn is_word(node: &Node, word: &str) -> bool {
    matches!(&node.kind, Kind::Word { value, .. } if value.eq_ignore_ascii_case(word))
}

/// What some variables hold on almost any Windows. Obfuscators take letters of them; the values
/// are not shown, as on this machine they may have been others.
fn usual(name: &str) -> Option<&'static str> {
    Some(match name {
        "pshome" => r"C:\Windows\System32\WindowsPowerShell\v1.0",
        "shellid" => "Microsoft.PowerShell",
        "verbosepreference" | "debugpreference" | "informationpreference" => "SilentlyContinue",
        "warningpreference" | "erroractionpreference" | "progresspreference" => "Continue",
        "confirmpreference" => "High",
        "maximumdrivecount" => "4096",
        "env:comspec" => r"C:\WINDOWS\system32\cmd.exe",
        "env:public" => r"C:\Users\Public",
        "env:windir" | "env:systemroot" => r"C:\WINDOWS",
        "env:systemdrive" | "env:homedrive" => "C:",
        "env:programfiles" => r"C:\Program Files",
        "env:programdata" | "env:allusersprofile" => r"C:\ProgramData",
        "env:os" => "Windows_NT",
        "env:pathext" => ".COM;.EXE;.BAT;.CMD;.VBS;.VBE;.JS;.JSE;.WSF;.WSH;.MSC",
        _ => return None,
    })
}

/// Names of variables there are from the start, which wildcards are made to match.
pub(super) const STANDARD_VARIABLES: [&str; 16] = [
    "ConfirmPreference",
    "DebugPreference",
    "ErrorActionPreference",
    "ErrorView",
    "ExecutionContext",
    "FormatEnumerationLimit",
    "MaximumAliasCount",
    "MaximumDriveCount",
    "MaximumErrorCount",
    "MaximumFunctionCount",
    "MaximumHistoryCount",
    "MaximumVariableCount",
    "OutputEncoding",
    "ProgressPreference",
    "VerbosePreference",
    "WarningPreference",
];
