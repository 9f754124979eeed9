//! Evaluates expressions.

use std::ops::Range;
use std::rc::Rc;

use super::super::methods::{call_method, create_object, property};
use super::super::operators::{apply_binary, apply_unary, cast_value, index_value};
use super::super::syntax::{
    BinaryOperator, NodeKind, Suffix, SuffixKind, SyntaxNode, UnaryOperator,
};
use super::super::value::{DEEPEST_VALUE, ScriptValue, quoted};
use super::Evaluator;

impl Evaluator<'_, '_> {
    pub(super) fn expression(&mut self, node: &SyntaxNode) -> ScriptValue {
        match &node.kind {
            NodeKind::Text { value, .. } | NodeKind::Word { value, .. } => {
                ScriptValue::Text(Rc::clone(value))
            }
            NodeKind::Number(number) => ScriptValue::Int(*number),
            NodeKind::Variable { name, .. } => self.variable(name),
            NodeKind::Expand(parts) => self.expand(parts),
            NodeKind::Chain(first, more) => self.evaluate_chain(first, more),
            NodeKind::Unary(UnaryOperator::Step(by), value) => self.step(value, *by, true),
            NodeKind::Unary(operator, value) => {
                let value = self.eval(value);
                apply_unary(*operator, &value, &mut self.context())
            }
            NodeKind::Cast(name, value) => {
                let value = self.eval(value);
                cast_value(name, &value, &mut self.context())
            }
            NodeKind::Type(name) => ScriptValue::Type(Rc::clone(name)),
            NodeKind::Postfix(base, suffixes) => self.postfix(node, base, suffixes),
            NodeKind::Paren(body) => self.output_of(body),
            NodeKind::Sub { body, array } => {
                let value = self.output_of(body);
                match value {
                    ScriptValue::Unknown => value,
                    _ if *array => ScriptValue::Array(Rc::new(value.elements())),
                    _ => value,
                }
            }
            NodeKind::Hash(parts) => {
                self.evaluate_uncertain(parts);
                ScriptValue::Hashtable
            }
            NodeKind::Block(block) => {
                self.evaluate_uncertain(&block.body);
                // It is not known when the block will run.
                self.mark_unknown(&block.assigned);
                ScriptValue::Block(Rc::clone(block))
            }
            NodeKind::List(values) => {
                let values: Vec<ScriptValue> =
                    values.iter().map(|value| self.eval(value)).collect();
                self.list(values)
            }
            _ => ScriptValue::Unknown,
        }
    }

    /// Makes an array of values, or `Unknown` if one of them is unknown or nested too deep.
    fn list(&mut self, values: Vec<ScriptValue>) -> ScriptValue {
        let size = values.iter().map(ScriptValue::count).sum();
        let known = self.budget.make(size)
            && values.iter().all(|value| !value.is_unknown() && value.depth() < DEEPEST_VALUE);
        if known { ScriptValue::Array(Rc::new(values)) } else { ScriptValue::Unknown }
    }

    pub(super) fn variable(&self, name: &str) -> ScriptValue {
        match name {
            "true" => return ScriptValue::Bool(true),
            "false" => return ScriptValue::Bool(false),
            "null" => return ScriptValue::Null,
            // As far as is known, no command has failed.
            "?" => return ScriptValue::Bool(true),
            _ => {}
        }
        match self.get(name) {
            Some(value) => value.clone(),
            None => usual_value(name).map_or(ScriptValue::Unknown, ScriptValue::Usual),
        }
    }

    fn expand(&mut self, parts: &[SyntaxNode]) -> ScriptValue {
        let mut text = String::new();
        let mut known = true;
        for part in parts {
            let value = self.eval(part);
            self.record_inside_string(part, &value);
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
        if known { ScriptValue::text(text) } else { ScriptValue::Unknown }
    }

    /// Inside a string a value is shown without its own quotes.
    fn record_inside_string(&mut self, part: &SyntaxNode, value: &ScriptValue) {
        if let (Some(replacement), ScriptValue::Text(text)) =
            (self.found.replacements.last_mut(), value)
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

    fn evaluate_chain(
        &mut self,
        first: &SyntaxNode,
        more: &[(BinaryOperator, SyntaxNode)],
    ) -> ScriptValue {
        let mark = self.found.replacements.len();
        let mut left = self.eval(first);
        // Adjacent texts are joined, also before and after something unknown.
        let mut run = self.start_text_run(first, mark, &left);
        for (operator, operand) in more {
            let mark = self.found.replacements.len();
            let right = self.eval(operand);
            match (&mut run.text, literal_text(&right)) {
                (Some(text), Some(more))
                    if *operator == BinaryOperator::Add && self.budget.make(more.len()) =>
                {
                    run.word_cut |= cuts_word(text, &more) || matches!(right, ScriptValue::Char(_));
                    text.push_str(&more);
                    run.count += 1;
                    run.span.end = operand.span.end;
                }
                _ => {
                    let operands = self.found.replacements.split_off(mark);
                    self.record_text_run(&run);
                    let mark = self.found.replacements.len();
                    self.found.replacements.extend(operands);
                    run = self.start_text_run(operand, mark, &right);
                }
            }
            left = match operator {
                BinaryOperator::Add => self.add_values(left, &right),
                _ => apply_binary(*operator, &left, &right, &mut self.context()),
            };
        }
        // If the whole is known, only the whole is recorded.
        if left.is_unknown() {
            self.record_text_run(&run);
        }
        self.word_cut = run.word_cut;
        left
    }

    /// Computes `left + right`; a text on the left grows in place.
    fn add_values(&mut self, left: ScriptValue, right: &ScriptValue) -> ScriptValue {
        match (left, right) {
            (ScriptValue::Text(mut text), ScriptValue::Text(_) | ScriptValue::Char(_)) => {
                let grown = match right {
                    ScriptValue::Text(more) => more.len(),
                    _ => 4,
                };
                if !self.budget.make(grown) || text.len() + grown > self.budget.bytes_left() {
                    return ScriptValue::Unknown;
                }
                if Rc::get_mut(&mut text).is_none() && !self.budget.make(text.len()) {
                    return ScriptValue::Unknown;
                }
                let into = Rc::make_mut(&mut text);
                match right {
                    ScriptValue::Text(more) => into.push_str(more),
                    ScriptValue::Char(more) => into.push(*more),
                    _ => {}
                }
                ScriptValue::Text(text)
            }
            (left, right) => apply_binary(BinaryOperator::Add, &left, right, &mut self.context()),
        }
    }

    fn start_text_run(&mut self, first: &SyntaxNode, mark: usize, value: &ScriptValue) -> TextRun {
        let text = if self.budget.make(value.count()) { literal_text(value) } else { None };
        TextRun { span: first.span.clone(), mark, text, count: 1, word_cut: false }
    }

    fn record_text_run(&mut self, run: &TextRun) {
        let Some(text) = &run.text else { return };
        if run.count > 1 && self.quiet == 0 && self.budget.make(text.len()) {
            let inside = &self.found.replacements[run.mark..];
            let is_hidden = run.word_cut || inside.iter().any(|inside| inside.is_hidden);
            self.record_replacement(run.span.clone(), run.mark, quoted(text), is_hidden);
        }
    }

    /// Evaluates `++` and `--`.
    fn step(&mut self, target: &SyntaxNode, by: i64, before: bool) -> ScriptValue {
        let NodeKind::Variable { name, .. } = &target.kind else {
            self.eval(target);
            return ScriptValue::Unknown;
        };
        let old = self.variable(name);
        let new = old.to_int().filter(|_| old.is_known()).and_then(|number| number.checked_add(by));
        let new = new.map_or(ScriptValue::Unknown, ScriptValue::Int);
        self.set(name, new.clone());
        if before { new } else { old }
    }

    fn postfix(
        &mut self,
        node: &SyntaxNode,
        base: &SyntaxNode,
        suffixes: &[Suffix],
    ) -> ScriptValue {
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
                    index_value(&value, &by, &mut self.context())
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
                        _ => name.map_or(ScriptValue::Unknown, |name| property(&value, &name)),
                    }
                }
                SuffixKind::Call(name, arguments) => {
                    let name = self.member_name(name);
                    self.call(&value, name.as_deref(), arguments)
                }
            };
            if let (ScriptValue::Text(text), Some(_)) = (&value, suffixes.get(at))
                && self.quiet == 0
                && self.budget.make(text.len())
            {
                let shown = quoted(text);
                self.record_replacement(start..suffixes[at - 1].end, mark, shown, true);
            }
        }
        value
    }

    /// Returns the name of a member in lower case. If it was obfuscated, it is shown as a plain
    /// word.
    fn member_name(&mut self, name: &SyntaxNode) -> Option<String> {
        let mark = self.found.replacements.len();
        let value = self.eval(name);
        let ScriptValue::Text(text) = value else { return None };
        if !matches!(name.kind, NodeKind::Word { ticked: false, .. }) {
            self.record_name(name.span.clone(), mark, &text);
        }
        Some(text.to_lowercase())
    }

    fn call(
        &mut self,
        value: &ScriptValue,
        name: Option<&str>,
        arguments: &[SyntaxNode],
    ) -> ScriptValue {
        let values: Vec<ScriptValue> =
            arguments.iter().map(|argument| self.eval(argument)).collect();
        let size = values.iter().map(ScriptValue::count).sum();
        let Some(name) = name.filter(|_| self.budget.make(size)) else {
            return ScriptValue::Unknown;
        };
        let on = |wanted: &str| matches!(value, ScriptValue::Type(kind) if **kind == *wanted);
        match name {
            // Methods that run or compile a text, on any object.
            "invokescript" | "newscriptblock" | "addscript" => {
                if let (Some(text), Some(node)) = (values.first(), arguments.first()) {
                    self.invoke(text, &node.span);
                }
                return ScriptValue::Unknown;
            }
            "create" if on("scriptblock") || on("management.automation.scriptblock") => {
                if let (Some(text), Some(node)) = (values.first(), arguments.first()) {
                    self.invoke(text, &node.span);
                }
                return ScriptValue::Unknown;
            }
            "reverse" if on("array") => {
                let Some(SyntaxNode { kind: NodeKind::Variable { name, .. }, .. }) =
                    arguments.first()
                else {
                    return ScriptValue::Unknown;
                };
                let mut elements = match self.variable(name) {
                    turned @ (ScriptValue::Array(_) | ScriptValue::Bytes(_)) => turned.elements(),
                    _ => return ScriptValue::Unknown,
                };
                if !self.budget.make(elements.len() * size_of::<ScriptValue>()) {
                    return ScriptValue::Unknown;
                }
                elements.reverse();
                self.set(name, ScriptValue::Array(Rc::new(elements)));
                return ScriptValue::Null;
            }
            "copyto" => {
                if let (ScriptValue::Stream(_), Some(NodeKind::Variable { name, .. })) =
                    (value, arguments.first().map(|node| &node.kind))
                {
                    self.set(name, value.clone());
                    return ScriptValue::Null;
                }
                return ScriptValue::Unknown;
            }
            _ => {}
        }
        call_method(value, name, &values, &mut self.context())
    }

    pub(super) fn assign(
        &mut self,
        target: &SyntaxNode,
        operator: Option<BinaryOperator>,
        value: &SyntaxNode,
    ) -> ScriptValue {
        self.record_variable(target);
        let value = self.eval(value);
        match &target.kind {
            NodeKind::Variable { name, .. } => {
                let value = match operator {
                    None => value,
                    Some(BinaryOperator::Add) => {
                        // Removed from the variables, so that it can grow in place.
                        let old = match self.variables.remove(name) {
                            Some(old) if self.scopes == 0 => old,
                            Some(old) => {
                                self.variables.insert(Rc::clone(name), old.clone());
                                old
                            }
                            None => ScriptValue::Unknown,
                        };
                        self.append_to(old, &value)
                    }
                    Some(operator) => {
                        let old = self.variable(name);
                        apply_binary(operator, &old, &value, &mut self.context())
                    }
                };
                self.set(name, value.clone());
                value
            }
            NodeKind::Cast(kind, inner) => {
                let value = cast_value(kind, &value, &mut self.context());
                if let (NodeKind::Variable { name, .. }, None) = (&inner.kind, operator) {
                    self.set(name, value.clone());
                }
                value
            }
            NodeKind::Postfix(base, suffixes) => {
                for suffix in suffixes {
                    if let SuffixKind::Member(name) = &suffix.kind {
                        self.member_name(name);
                    }
                }
                self.assign_element(base, suffixes, operator, &value);
                value
            }
            _ => ScriptValue::Unknown,
        }
    }

    fn append_to(&mut self, old: ScriptValue, more: &ScriptValue) -> ScriptValue {
        match old {
            ScriptValue::Array(mut values) if !more.is_unknown() => {
                let added = more.count() * size_of::<ScriptValue>();
                let shared = Rc::get_mut(&mut values).is_none();
                let copied = if shared { values.len() * size_of::<ScriptValue>() } else { 0 };
                if !self.budget.make(added + copied)
                    || (values.len() + more.count()) * size_of::<ScriptValue>()
                        > self.budget.bytes_left().saturating_mul(4)
                {
                    return ScriptValue::Unknown;
                }
                let into = Rc::make_mut(&mut values);
                match more {
                    ScriptValue::Array(_) | ScriptValue::Bytes(_) => into.extend(more.elements()),
                    _ => into.push(more.clone()),
                }
                ScriptValue::Array(values)
            }
            old => self.add_values(old, more),
        }
    }

    /// Evaluates `$x[i] = value`.
    fn assign_element(
        &mut self,
        base: &SyntaxNode,
        suffixes: &[Suffix],
        operator: Option<BinaryOperator>,
        value: &ScriptValue,
    ) {
        let (NodeKind::Variable { name, .. }, [Suffix { kind: SuffixKind::Index(by), .. }]) =
            (&base.kind, suffixes)
        else {
            return;
        };
        let at = self.eval(by).to_int().and_then(|at| usize::try_from(at).ok());
        let old = match (at, operator) {
            (Some(at), Some(_)) => {
                let old = self.variable(name);
                index_value(&old, &ScriptValue::Int(at as i64), &mut self.context())
            }
            _ => ScriptValue::Unknown,
        };
        let value = match operator {
            None => value.clone(),
            Some(operator) => apply_binary(operator, &old, value, &mut self.context()),
        };
        let holder =
            if self.scopes == 0 { self.variables.remove(name) } else { self.get(name).cloned() };
        let changed = match (holder, at, &value) {
            (Some(ScriptValue::Bytes(mut bytes)), Some(at), ScriptValue::Int(number)) => {
                match (u8::try_from(*number), bytes.len() > at) {
                    (Ok(byte), true) if self.may_change(&bytes) => {
                        Rc::make_mut(&mut bytes)[at] = byte;
                        ScriptValue::Bytes(bytes)
                    }
                    _ => ScriptValue::Unknown,
                }
            }
            (Some(ScriptValue::Array(mut values)), Some(at), value)
                if !value.is_unknown()
                    && at < values.len()
                    && self.budget.make(value.count())
                    && value.depth() < DEEPEST_VALUE
                    && self.may_change(&values) =>
            {
                Rc::make_mut(&mut values)[at] = value.clone();
                ScriptValue::Array(values)
            }
            _ => {
                self.unknown += 1;
                ScriptValue::Unknown
            }
        };
        self.set(name, changed);
    }

    /// Returns whether a value may be changed in place. Uses the steps for a copy if the value is
    /// shared.
    fn may_change<T>(&mut self, values: &Rc<Vec<T>>) -> bool {
        Rc::strong_count(values) == 1 || self.budget.make(values.len() * size_of::<T>())
    }

    pub(super) fn new_object(&mut self, kind: &str, arguments: &[ScriptValue]) -> ScriptValue {
        let kind = kind.to_lowercase();
        let kind = kind.strip_prefix("system.").unwrap_or(&kind);
        create_object(kind, arguments, &mut self.context()).unwrap_or(ScriptValue::Unknown)
    }
}

/// A run of texts joined with `+`.
struct TextRun {
    span: Range<usize>,
    /// Index of its first replacement.
    mark: usize,
    text: Option<String>,
    count: usize,
    /// Whether a word is split between them.
    word_cut: bool,
}

/// Returns whether a text and the next one split a word. Ordinary scripts are not written like
/// that.
fn cuts_word(text: &str, next: &str) -> bool {
    text.ends_with(char::is_alphanumeric) && next.starts_with(char::is_alphanumeric)
}

fn literal_text(value: &ScriptValue) -> Option<String> {
    match value {
        ScriptValue::Text(text) => Some(text.to_string()),
        ScriptValue::Char(char) => Some(char.to_string()),
        _ => None,
    }
}

fn is_word(node: &SyntaxNode, word: &str) -> bool {
    matches!(&node.kind, NodeKind::Word { value, .. } if value.eq_ignore_ascii_case(word))
}

/// Returns the value that some variables have on almost any Windows. Obfuscators take letters
/// from them. The values are not shown as results, because they may have differed on the machine
/// in question.
fn usual_value(name: &str) -> Option<&'static str> {
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

/// Names of built-in variables, which wildcards are meant to match.
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
