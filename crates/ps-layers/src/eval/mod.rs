//! Evaluates a parsed text without running it. Values that follow from the text alone are
//! computed; everything else is unknown.
//!
//! A variable has the value that was last assigned to it in the text. After a branch or loop, the
//! variables assigned in it are unknown, unless its conditions were known too.

mod command;
mod expression;

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use foldhash::HashMap;

use super::budget::Budget;
use super::encoding::program_kind;
use super::operators::{OperatorContext, PatternCache};
use super::syntax::{
    AssignedNames, BinaryOperator, NodeKind, ParsedScript, Suffix, SuffixKind, SyntaxNode,
    UnaryOperator,
};
use super::value::{ScriptValue, is_plain_word, quoted};

/// Deepest nesting of blocks that call blocks: `$x` may contain `{ & $x }`.
const DEEPEST_CALL: usize = 12;
/// Largest number of texts passed to an interpreter that are recorded.
const MOST_INVOKED: usize = 128;

/// A part of the text that is to be shown as its value.
#[derive(Debug)]
pub(super) struct Replacement {
    pub span: Range<usize>,
    pub text: String,
    /// Whether the part was obfuscated: no ordinary script is written like this.
    pub is_hidden: bool,
    /// Whether the part was passed to an interpreter, or is the interpreter's name.
    pub invoked: bool,
}

/// The results of evaluating a text.
#[derive(Debug, Default)]
pub(super) struct EvaluationResult {
    /// In the order of the text; none is inside another.
    pub replacements: Vec<Replacement>,
    /// Texts passed to an interpreter, with their positions.
    pub invoked: Vec<(usize, Rc<String>)>,
    /// Positions where the bytes of a program were computed, with its kind and size.
    pub binaries: Vec<(usize, &'static str, usize)>,
}

/// Evaluates the statements of a text. `environment` has the variables that a command line set.
pub(super) fn evaluate(
    script: &ParsedScript,
    environment: &BTreeMap<String, String>,
    budget: &mut Budget,
) -> EvaluationResult {
    let variables = environment
        .iter()
        .map(|(name, value)| (format!("env:{name}").into(), ScriptValue::text(value.as_str())))
        .collect();
    let mut machine = Evaluator {
        assigned: &script.assigned,
        budget,
        variables,
        undo: Vec::new(),
        scopes: 0,
        quiet: 0,
        calls: 0,
        patterns: PatternCache::default(),
        unknown: 0,
        word_cut: false,
        found: EvaluationResult::default(),
    };
    for statement in &script.statements {
        machine.eval(statement);
    }
    let mut found = machine.found;
    found.replacements.sort_by_key(|replacement| replacement.span.start);
    found
}

struct Evaluator<'s, 'b> {
    assigned: &'s [Rc<str>],
    budget: &'b mut Budget,
    variables: HashMap<Rc<str>, ScriptValue>,
    /// Variables with their values before the open scopes assigned them.
    undo: Vec<(Rc<str>, Option<ScriptValue>)>,
    scopes: usize,
    /// Greater than 0 while nodes are evaluated several times: no replacements are recorded then.
    quiet: usize,
    calls: usize,
    patterns: PatternCache,
    /// The number of values that were unknown.
    unknown: u64,
    /// Whether the texts that were joined last had been split inside a word.
    word_cut: bool,
    found: EvaluationResult,
}

impl Evaluator<'_, '_> {
    fn context(&mut self) -> OperatorContext<'_> {
        let separator = self.variables.get("ofs").and_then(|value| value.to_text(" "));
        OperatorContext {
            budget: self.budget,
            patterns: &mut self.patterns,
            separator: separator.unwrap_or_else(|| " ".to_owned()),
        }
    }

    fn as_text(&mut self, value: &ScriptValue) -> Option<String> {
        let context = self.context();
        if !context.budget.make(value.count()) {
            return None;
        }
        value.to_text(&context.separator)
    }

    /// Evaluates a node. The value is recorded if the node can be shown as it.
    fn eval(&mut self, node: &SyntaxNode) -> ScriptValue {
        if !self.budget.step() {
            return ScriptValue::Unknown;
        }
        let mark = self.found.replacements.len();
        let value = self.value(node);
        match &value {
            ScriptValue::Unknown => {
                self.unknown += 1;
                self.record_variable(node);
            }
            ScriptValue::Bytes(bytes) | ScriptValue::Stream(bytes) => {
                self.record_program(node, bytes)
            }
            _ => self.record_value(node, mark, &value),
        }
        value
    }

    fn value(&mut self, node: &SyntaxNode) -> ScriptValue {
        match &node.kind {
            NodeKind::If { branches, assigned } => self.branch(branches, assigned),
            NodeKind::For { parts, body, assigned } => self.for_loop(parts, body, assigned),
            NodeKind::While { condition, body, assigned } => {
                self.evaluate_loop(Some(condition), &[], body, assigned)
            }
            NodeKind::ForEach { name, list, body, assigned } => {
                self.for_each(name, list, body, assigned)
            }
            NodeKind::Opaque { parts, assigned } => {
                self.mark_unknown(assigned);
                self.evaluate_uncertain(parts);
                self.mark_unknown(assigned);
                ScriptValue::Unknown
            }
            NodeKind::Pipeline(elements) => self.pipeline(elements),
            NodeKind::Command { invoked, name, arguments } => {
                self.command(node, *invoked, name, arguments, None)
            }
            NodeKind::Assign { target, operator, value } => self.assign(target, *operator, value),
            _ => self.expression(node),
        }
    }

    /// Records that a node can be shown as its value.
    fn record_value(&mut self, node: &SyntaxNode, mark: usize, value: &ScriptValue) {
        if self.quiet > 0 {
            return;
        }
        let (own, is_hidden) = match &node.kind {
            NodeKind::Chain(_, more) => match more.first() {
                Some((BinaryOperator::Add | BinaryOperator::Multiply, _)) => (true, self.word_cut),
                _ => (true, true),
            },
            NodeKind::Unary(..) | NodeKind::Pipeline(_) => (true, true),
            // A character given by its number is not obfuscation until it is joined to others.
            NodeKind::Cast(..) => (true, false),
            NodeKind::Postfix(_, suffixes) => {
                let member = |suffix: &Suffix| matches!(suffix.kind, SuffixKind::Member(_));
                (true, !suffixes.iter().all(member))
            }
            NodeKind::Text { ticked: true, .. } | NodeKind::Variable { ticked: true, .. } => {
                (true, true)
            }
            NodeKind::Word { value, ticked: true } => {
                let text = value.to_string();
                return self.record_replacement(node.span.clone(), mark, text, true);
            }
            NodeKind::Variable { .. }
            | NodeKind::Expand(_)
            | NodeKind::Paren(_)
            | NodeKind::Sub { .. } => (false, false),
            _ => return,
        };
        let length = match value {
            ScriptValue::Text(text) => text.len(),
            ScriptValue::Char(_) => 1,
            _ => return,
        };
        let inside = &self.found.replacements[mark..];
        let decoding = own || !inside.is_empty();
        let is_hidden = is_hidden || inside.iter().any(|replacement| replacement.is_hidden);
        if !decoding || !self.budget.make(length) {
            return;
        }
        let text = match value {
            ScriptValue::Text(text) => quoted(text),
            ScriptValue::Char(char) => quoted(&char.to_string()),
            _ => return,
        };
        self.record_replacement(node.span.clone(), mark, text, is_hidden);
    }

    /// Records a replacement in place of those since `mark`.
    fn record_replacement(
        &mut self,
        span: Range<usize>,
        mark: usize,
        text: String,
        is_hidden: bool,
    ) {
        if self.quiet > 0 {
            return;
        }
        self.found.replacements.truncate(mark);
        self.found.replacements.push(Replacement { span, text, is_hidden, invoked: false });
    }

    /// Shows a computed name as a plain word, if it can stand as one.
    fn record_name(&mut self, span: Range<usize>, mark: usize, name: &str) {
        let is_hidden = self.found.replacements[mark..].iter().any(|inside| inside.is_hidden);
        if is_plain_word(name) {
            self.record_replacement(span, mark, name.to_owned(), is_hidden);
        }
    }

    /// Shows a variable's name without escapes.
    fn record_variable(&mut self, node: &SyntaxNode) {
        if let NodeKind::Variable { name, ticked: true } = &node.kind {
            let mark = self.found.replacements.len();
            self.record_replacement(node.span.clone(), mark, format!("${{{name}}}"), true);
        }
    }

    fn record_program(&mut self, node: &SyntaxNode, bytes: &[u8]) {
        let Some(kind) = program_kind(bytes) else { return };
        let noted =
            |(_, other, size): &(usize, &str, usize)| *other == kind && *size == bytes.len();
        if self.found.binaries.len() < MOST_INVOKED && !self.found.binaries.iter().any(noted) {
            self.found.binaries.push((node.span.start, kind, bytes.len()));
        }
    }

    /// Records a text that is passed to an interpreter. Returns whether the text is known.
    fn invoke(&mut self, value: &ScriptValue, span: &Range<usize>) -> bool {
        let text = match value {
            ScriptValue::Text(text) => Rc::clone(text),
            // The output of a pipeline is run piece by piece.
            ScriptValue::Array(values)
                if values.iter().all(|value| matches!(value, ScriptValue::Text(_))) =>
            {
                match value.to_text("\n").filter(|text| self.budget.make(text.len())) {
                    Some(text) => Rc::new(text),
                    None => return false,
                }
            }
            _ => return false,
        };
        for replacement in self.found.replacements.iter_mut().rev() {
            if replacement.span.start < span.start {
                break;
            }
            replacement.invoked = true;
        }
        let again = self.found.invoked.last().is_some_and(|(_, last)| *last == text);
        if self.found.invoked.len() < MOST_INVOKED && !again && !text.trim().is_empty() {
            self.found.invoked.push((span.start, text));
        }
        true
    }

    fn get(&self, name: &str) -> Option<&ScriptValue> {
        self.variables.get(name)
    }

    fn set(&mut self, name: &Rc<str>, value: ScriptValue) {
        let before = self.variables.insert(Rc::clone(name), value);
        if self.scopes > 0 {
            self.undo.push((Rc::clone(name), before));
        }
    }

    /// Sets the variables that are assigned here to unknown.
    fn mark_unknown(&mut self, assigned: &AssignedNames) {
        for name in &self.assigned[assigned.clone()] {
            if !self.budget.step() {
                // Without steps nothing is evaluated any more.
                return;
            }
            let before = self.variables.insert(Rc::clone(name), ScriptValue::Unknown);
            if self.scopes > 0 {
                self.undo.push((Rc::clone(name), before));
            }
        }
    }

    /// Evaluates statements that may or may not run. Their assignments are undone.
    fn evaluate_uncertain(&mut self, statements: &[SyntaxNode]) {
        let mark = self.undo.len();
        self.scopes += 1;
        for statement in statements {
            match &statement.kind {
                NodeKind::Block(block) => self.evaluate_uncertain(&block.body),
                _ => {
                    self.eval(statement);
                }
            }
        }
        self.scopes -= 1;
        for (name, before) in self.undo.drain(mark..).rev() {
            match before {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
    }

    /// Returns the output of statements.
    fn output_of(&mut self, statements: &[SyntaxNode]) -> ScriptValue {
        let mut output = Vec::new();
        let mut known = true;
        for statement in statements {
            let value = self.eval(statement);
            let silent = match &statement.kind {
                NodeKind::Assign { .. } | NodeKind::Unary(UnaryOperator::Step(_), _) => true,
                NodeKind::Postfix(_, suffixes) => {
                    matches!(suffixes.last().map(|suffix| &suffix.kind), Some(SuffixKind::Step(_)))
                }
                _ => false,
            };
            // In its own brackets, an assignment outputs its value.
            if statements.len() == 1 {
                return value;
            }
            if silent {
                continue;
            }
            known &= value.is_known();
            if known {
                match value {
                    ScriptValue::Array(_) | ScriptValue::Bytes(_) => {
                        if !self.budget.make(value.count() * size_of::<ScriptValue>()) {
                            return ScriptValue::Unknown;
                        }
                        output.extend(value.elements());
                    }
                    ScriptValue::Null => {}
                    value => output.push(value),
                }
            }
        }
        if known { ScriptValue::from_output(output) } else { ScriptValue::Unknown }
    }

    fn branch(
        &mut self,
        branches: &[(Option<SyntaxNode>, Vec<SyntaxNode>)],
        assigned: &AssignedNames,
    ) -> ScriptValue {
        let mut certain = true;
        let mut result = None;
        for (condition, body) in branches {
            let truth = match condition {
                Some(condition) => self.eval(condition).to_bool(),
                None => Some(true),
            };
            match truth {
                Some(true) if certain && result.is_none() => result = Some(self.output_of(body)),
                _ => {
                    certain &= truth.is_some();
                    self.evaluate_uncertain(body);
                }
            }
        }
        match result {
            Some(value) if certain => value,
            None if certain => ScriptValue::Null,
            _ => {
                self.mark_unknown(assigned);
                ScriptValue::Unknown
            }
        }
    }

    fn for_loop(
        &mut self,
        parts: &[Vec<SyntaxNode>],
        body: &[SyntaxNode],
        assigned: &AssignedNames,
    ) -> ScriptValue {
        for start in parts.first().into_iter().flatten() {
            self.eval(start);
        }
        let condition = parts.get(1).and_then(|part| part.first());
        let step = parts.get(2).map_or(&[][..], |part| part);
        self.evaluate_loop(condition, step, body, assigned)
    }

    /// Evaluates a loop: round by round as long as everything in it is known, otherwise once with
    /// unknown values.
    fn evaluate_loop(
        &mut self,
        condition: Option<&SyntaxNode>,
        step: &[SyntaxNode],
        body: &[SyntaxNode],
        assigned: &AssignedNames,
    ) -> ScriptValue {
        self.quiet += 1;
        let unknown = self.unknown;
        let mut output = Vec::new();
        let finished = loop {
            let truth = condition.and_then(|condition| self.eval(condition).to_bool());
            match truth {
                Some(false) => break true,
                None => break false,
                Some(true) => {}
            }
            let value = self.output_of(body);
            output.extend(value.elements());
            for statement in step {
                self.eval(statement);
            }
            if self.unknown != unknown || self.budget.is_spent() {
                break false;
            }
        };
        self.quiet -= 1;
        self.after_loop(
            finished,
            output,
            &[condition.map_or(&[][..], std::slice::from_ref), step],
            body,
            assigned,
        )
    }

    fn for_each(
        &mut self,
        name: &Rc<str>,
        list: &SyntaxNode,
        body: &[SyntaxNode],
        assigned: &AssignedNames,
    ) -> ScriptValue {
        let values = self.eval(list);
        self.quiet += 1;
        let unknown = self.unknown;
        let mut output = Vec::new();
        let mut finished = self.budget.make(values.count()) && values.is_known();
        if finished {
            for value in values.elements() {
                self.set(name, value);
                let value = self.output_of(body);
                output.extend(value.elements());
                if self.unknown != unknown || !self.budget.step() {
                    finished = false;
                    break;
                }
            }
        }
        self.quiet -= 1;
        self.after_loop(finished, output, &[], body, assigned)
    }

    fn after_loop(
        &mut self,
        finished: bool,
        output: Vec<ScriptValue>,
        parts: &[&[SyntaxNode]],
        body: &[SyntaxNode],
        assigned: &AssignedNames,
    ) -> ScriptValue {
        if finished {
            for name in &self.assigned[assigned.clone()] {
                if let Some(ScriptValue::Bytes(bytes)) = self.variables.get(name).cloned()
                    && let Some(first) = body.first()
                {
                    self.record_program(first, &bytes);
                }
            }
            return ScriptValue::from_output(output);
        }
        self.mark_unknown(assigned);
        for part in parts {
            self.evaluate_uncertain(part);
        }
        self.evaluate_uncertain(body);
        self.mark_unknown(assigned);
        ScriptValue::Unknown
    }
}
