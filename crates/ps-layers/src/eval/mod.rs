//! Evaluates a parsed text without running it: values that follow from the text alone are worked
//! out, everything else is unknown.
//!
//! Variables hold what was last assigned to them on the way through the text. What a branch or loop
//! assigns is unknown after it, unless its conditions were known, too.

mod command;
mod expression;

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use foldhash::HashMap;

use super::budget::Budget;
use super::encoding::binary;
use super::operators::{Context, Patterns};
use super::syntax::{Assigned, Kind, Node, Operator, Script, Suffix, SuffixKind, Unary};
use super::value::{Value, is_plain_word, quoted};

/// Blocks that run blocks: `{ & $x }` may be in `$x`.
const DEEPEST_CALL: usize = 12;
/// Most texts handed to an interpreter that are noted.
const MOST_INVOKED: usize = 128;

/// A part of the text to be shown as its value.
#[derive(Debug)]
pub(super) struct Replacement {
    pub span: Range<usize>,
    pub text: String,
    /// Whether it was hidden: what no plain script writes like this.
    pub telling: bool,
    /// Whether it was handed to an interpreter, or is the interpreter's name.
    pub invoked: bool,
}

/// What evaluation found in a text.
#[derive(Debug, Default)]
pub(super) struct Evaluated {
    /// In the order of the text, none inside another.
    pub replacements: Vec<Replacement>,
    /// Texts handed to an interpreter, and where.
    pub invoked: Vec<(usize, Rc<String>)>,
    /// Where bytes came out that are a program: what they are, and how many.
    pub binaries: Vec<(usize, &'static str, usize)>,
}

/// Evaluates a text's statements. `environment` are variables that a command line has set.
pub(super) fn evaluate(
    script: &Script,
    environment: &BTreeMap<String, String>,
    budget: &mut Budget,
) -> Evaluated {
    let variables = environment
        .iter()
        .map(|(name, value)| (format!("env:{name}").into(), Value::text(value.as_str())))
        .collect();
    let mut machine = Machine {
        assigned: &script.assigned,
        budget,
        variables,
        undo: Vec::new(),
        scopes: 0,
        quiet: 0,
        calls: 0,
        patterns: Patterns::default(),
        unknown: 0,
        word_cut: false,
        found: Evaluated::default(),
    };
    for statement in &script.statements {
        machine.eval(statement);
    }
    let mut found = machine.found;
    found.replacements.sort_by_key(|replacement| replacement.span.start);
    found
}

struct Machine<'s, 'b> {
    assigned: &'s [Rc<str>],
    budget: &'b mut Budget,
    variables: HashMap<Rc<str>, Value>,
    /// Variables and what they were before the scopes that are open assigned them.
    undo: Vec<(Rc<str>, Option<Value>)>,
    scopes: usize,
    /// Above 0: replacements are not noted, as the nodes are evaluated more than once.
    quiet: usize,
    calls: usize,
    patterns: Patterns,
    /// How often something came out unknown.
    unknown: u64,
    /// Whether the texts that were just put together had been cut inside a word.
    word_cut: bool,
    found: Evaluated,
}

impl Machine<'_, '_> {
    fn context(&mut self) -> Context<'_> {
        let separator = self.variables.get("ofs").and_then(|value| value.to_text(" "));
        Context {
            budget: self.budget,
            patterns: &mut self.patterns,
            separator: separator.unwrap_or_else(|| " ".to_owned()),
        }
    }

    fn as_text(&mut self, value: &Value) -> Option<String> {
        let context = self.context();
        if !context.budget.make(value.count()) {
            return None;
        }
        value.to_text(&context.separator)
    }

    /// The value of a node, which is noted where the text can be shown as it.
    fn eval(&mut self, node: &Node) -> Value {
        if !self.budget.step() {
            return Value::Unknown;
        }
        let mark = self.found.replacements.len();
        let value = self.value(node);
        match &value {
            Value::Unknown => {
                self.unknown += 1;
                self.note_variable(node);
            }
            Value::Bytes(bytes) | Value::Stream(bytes) => self.note_binary(node, bytes),
            _ => self.note(node, mark, &value),
        }
        value
    }

    fn value(&mut self, node: &Node) -> Value {
        match &node.kind {
            Kind::If { branches, assigned } => self.branch(branches, assigned),
            Kind::For { parts, body, assigned } => self.for_loop(parts, body, assigned),
            Kind::While { condition, body, assigned } => {
                self.repeat(Some(condition), &[], body, assigned)
            }
            Kind::ForEach { name, list, body, assigned } => {
                self.for_each(name, list, body, assigned)
            }
            Kind::Opaque { parts, assigned } => {
                self.forget(assigned);
                self.visit(parts);
                self.forget(assigned);
                Value::Unknown
            }
            Kind::Pipeline(elements) => self.pipeline(elements),
            Kind::Command { invoked, name, arguments } => {
                self.command(node, *invoked, name, arguments, None)
            }
            Kind::Assign { target, operator, value } => self.assign(target, *operator, value),
            _ => self.expression(node),
        }
    }

    /// Notes that a node's text can be shown as its value.
    fn note(&mut self, node: &Node, mark: usize, value: &Value) {
        if self.quiet > 0 {
            return;
        }
        let (own, telling) = match &node.kind {
            Kind::Chain(_, more) => match more.first() {
                Some((Operator::Add | Operator::Multiply, _)) => (true, self.word_cut),
                _ => (true, true),
            },
            Kind::Unary(..) | Kind::Pipeline(_) => (true, true),
            // A letter by its number is no more than that until it is put to others.
            Kind::Cast(..) => (true, false),
            Kind::Postfix(_, suffixes) => {
                let member = |suffix: &Suffix| matches!(suffix.kind, SuffixKind::Member(_));
                (true, !suffixes.iter().all(member))
            }
            Kind::Text { ticked: true, .. } | Kind::Variable { ticked: true, .. } => (true, true),
            Kind::Word { value, ticked: true } => {
                let text = value.to_string();
                return self.replace(node.span.clone(), mark, text, true);
            }
            Kind::Variable { .. } | Kind::Expand(_) | Kind::Paren(_) | Kind::Sub { .. } => {
                (false, false)
            }
            _ => return,
        };
        let length = match value {
            Value::Text(text) => text.len(),
            Value::Char(_) => 1,
            _ => return,
        };
        let inside = &self.found.replacements[mark..];
        let decoding = own || !inside.is_empty();
        let telling = telling || inside.iter().any(|replacement| replacement.telling);
        if !decoding || !self.budget.make(length) {
            return;
        }
        let text = match value {
            Value::Text(text) => quoted(text),
            Value::Char(char) => quoted(&char.to_string()),
            _ => return,
        };
        self.replace(node.span.clone(), mark, text, telling);
    }

    /// Notes a replacement in place of those since `mark`.
    fn replace(&mut self, span: Range<usize>, mark: usize, text: String, telling: bool) {
        if self.quiet > 0 {
            return;
        }
        self.found.replacements.truncate(mark);
        self.found.replacements.push(Replacement { span, text, telling, invoked: false });
    }

    /// Shows a name that was worked out as a bare word, where it can stand as one.
    fn note_name(&mut self, span: Range<usize>, mark: usize, name: &str) {
        let telling = self.found.replacements[mark..].iter().any(|inside| inside.telling);
        if is_plain_word(name) {
            self.replace(span, mark, name.to_owned(), telling);
        }
    }

    /// Shows a variable's name without the escapes in it.
    fn note_variable(&mut self, node: &Node) {
        if let Kind::Variable { name, ticked: true } = &node.kind {
            let mark = self.found.replacements.len();
            self.replace(node.span.clone(), mark, format!("${{{name}}}"), true);
        }
    }

    fn note_binary(&mut self, node: &Node, bytes: &[u8]) {
        let Some(what) = binary(bytes) else { return };
        let noted =
            |(_, other, size): &(usize, &str, usize)| *other == what && *size == bytes.len();
        if self.found.binaries.len() < MOST_INVOKED && !self.found.binaries.iter().any(noted) {
            self.found.binaries.push((node.span.start, what, bytes.len()));
        }
    }

    /// A text goes to an interpreter; whether it is one that is known.
    fn invoke(&mut self, value: &Value, span: &Range<usize>) -> bool {
        let text = match value {
            Value::Text(text) => Rc::clone(text),
            // What comes out of a pipeline is run piece by piece.
            Value::Array(values) if values.iter().all(|value| matches!(value, Value::Text(_))) => {
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

    fn get(&self, name: &str) -> Option<&Value> {
        self.variables.get(name)
    }

    fn set(&mut self, name: &Rc<str>, value: Value) {
        let before = self.variables.insert(Rc::clone(name), value);
        if self.scopes > 0 {
            self.undo.push((Rc::clone(name), before));
        }
    }

    /// What is assigned here is not known any more.
    fn forget(&mut self, assigned: &Assigned) {
        for name in &self.assigned[assigned.clone()] {
            if !self.budget.step() {
                // Without steps nothing is evaluated any more.
                return;
            }
            let before = self.variables.insert(Rc::clone(name), Value::Unknown);
            if self.scopes > 0 {
                self.undo.push((Rc::clone(name), before));
            }
        }
    }

    /// Looks into statements that may or may not run: what they assign is undone.
    fn visit(&mut self, statements: &[Node]) {
        let mark = self.undo.len();
        self.scopes += 1;
        for statement in statements {
            match &statement.kind {
                Kind::Block(block) => self.visit(&block.body),
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

    /// What statements put out.
    fn output(&mut self, statements: &[Node]) -> Value {
        let mut output = Vec::new();
        let mut known = true;
        for statement in statements {
            let value = self.eval(statement);
            let silent = match &statement.kind {
                Kind::Assign { .. } | Kind::Unary(Unary::Step(_), _) => true,
                Kind::Postfix(_, suffixes) => {
                    matches!(suffixes.last().map(|suffix| &suffix.kind), Some(SuffixKind::Step(_)))
                }
                _ => false,
            };
            // In brackets of its own, an assignment's value is what it puts out.
            if statements.len() == 1 {
                return value;
            }
            if silent {
                continue;
            }
            known &= value.is_known();
            if known {
                match value {
                    Value::Array(_) | Value::Bytes(_) => {
                        if !self.budget.make(value.count() * size_of::<Value>()) {
                            return Value::Unknown;
                        }
                        output.extend(value.elements());
                    }
                    Value::Null => {}
                    value => output.push(value),
                }
            }
        }
        if known { Value::of_output(output) } else { Value::Unknown }
    }

    fn branch(&mut self, branches: &[(Option<Node>, Vec<Node>)], assigned: &Assigned) -> Value {
        let mut certain = true;
        let mut result = None;
        for (condition, body) in branches {
            let truth = match condition {
                Some(condition) => self.eval(condition).truth(),
                None => Some(true),
            };
            match truth {
                Some(true) if certain && result.is_none() => result = Some(self.output(body)),
                _ => {
                    certain &= truth.is_some();
                    self.visit(body);
                }
            }
        }
        match result {
            Some(value) if certain => value,
            None if certain => Value::Null,
            _ => {
                self.forget(assigned);
                Value::Unknown
            }
        }
    }

    fn for_loop(&mut self, parts: &[Vec<Node>], body: &[Node], assigned: &Assigned) -> Value {
        for start in parts.first().into_iter().flatten() {
            self.eval(start);
        }
        let condition = parts.get(1).and_then(|part| part.first());
        let step = parts.get(2).map_or(&[][..], |part| part);
        self.repeat(condition, step, body, assigned)
    }

    /// A loop: followed for as long as all in it is known, else looked into once.
    fn repeat(
        &mut self,
        condition: Option<&Node>,
        step: &[Node],
        body: &[Node],
        assigned: &Assigned,
    ) -> Value {
        self.quiet += 1;
        let unknown = self.unknown;
        let mut output = Vec::new();
        let finished = loop {
            let truth = condition.and_then(|condition| self.eval(condition).truth());
            match truth {
                Some(false) => break true,
                None => break false,
                Some(true) => {}
            }
            let value = self.output(body);
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
        list: &Node,
        body: &[Node],
        assigned: &Assigned,
    ) -> Value {
        let values = self.eval(list);
        self.quiet += 1;
        let unknown = self.unknown;
        let mut output = Vec::new();
        let mut finished = self.budget.make(values.count()) && values.is_known();
        if finished {
            for value in values.elements() {
                self.set(name, value);
                let value = self.output(body);
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
        output: Vec<Value>,
        parts: &[&[Node]],
        body: &[Node],
        assigned: &Assigned,
    ) -> Value {
        if finished {
            for name in &self.assigned[assigned.clone()] {
                if let Some(Value::Bytes(bytes)) = self.variables.get(name).cloned()
                    && let Some(first) = body.first()
                {
                    self.note_binary(first, &bytes);
                }
            }
            return Value::of_output(output);
        }
        self.forget(assigned);
        for part in parts {
            self.visit(part);
        }
        self.visit(body);
        self.forget(assigned);
        Value::Unknown
    }
}
