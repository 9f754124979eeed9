//! Commands: those that hand a text to an interpreter, those that hold variables, and the few that
//! only turn values into values. No other is looked at but for its arguments.

use std::rc::Rc;

use super::super::syntax::{Block, Kind, Node, variable_name};
use super::super::value::{DEEPEST_VALUE, Value};
use super::expression::STANDARD_VARIABLES;
use super::{DEEPEST_CALL, Machine};

/// An argument's value, the parameter in front of it (lower-case), and its place.
struct Argument<'n> {
    parameter: Option<String>,
    value: Value,
    node: &'n Node,
}

/// The commands that are known.
enum Known {
    InvokeExpression,
    ForEachObject,
    WriteOutput,
    OutString,
    SetVariable,
    GetItem { drive: bool },
    GetContent,
    NewObject,
}

impl Known {
    /// By name or alias (Get-Alias of Windows PowerShell 5.1).
    fn named(name: &str) -> Option<Known> {
        Some(match name.to_lowercase().as_str() {
            "iex" | "invoke-expression" => Known::InvokeExpression,
            "%" | "foreach" | "foreach-object" => Known::ForEachObject,
            "write-output" | "write" | "echo" => Known::WriteOutput,
            "out-string" => Known::OutString,
            "set-variable" | "sv" | "set" | "new-variable" | "nv" | "set-item" | "si" => {
                Known::SetVariable
            }
            "get-variable" | "gv" | "variable" => Known::GetItem { drive: false },
            "get-item" | "gi" | "item" | "get-childitem" | "gci" | "ls" | "dir" | "childitem" => {
                Known::GetItem { drive: true }
            }
            "get-content" | "gc" | "cat" | "type" => Known::GetContent,
            "new-object" => Known::NewObject,
            _ => return None,
        })
    }
}

impl Machine<'_, '_> {
    pub(super) fn pipeline(&mut self, elements: &[Node]) -> Value {
        let Some((first, more)) = elements.split_first() else { return Value::Null };
        let mut value = self.eval(first);
        let mut before = first;
        for element in more {
            value = match &element.kind {
                Kind::Command { invoked, name, arguments } => {
                    self.command(element, *invoked, name, arguments, Some((&value, before)))
                }
                _ => {
                    self.eval(element);
                    Value::Unknown
                }
            };
            before = element;
        }
        value
    }

    pub(super) fn command(
        &mut self,
        node: &Node,
        invoked: bool,
        name: &Node,
        arguments: &[Node],
        input: Option<(&Value, &Node)>,
    ) -> Value {
        let mark = self.found.replacements.len();
        let called = match &name.kind {
            Kind::Word { value, ticked: false } => Value::Text(Rc::clone(value)),
            Kind::Block(block) => Value::Block(Rc::clone(block)),
            _ => self.eval(name),
        };
        let known = match &called {
            Value::Text(text) => {
                if !matches!(name.kind, Kind::Word { ticked: false, .. }) {
                    let start = if invoked { node.span.start } else { name.span.start };
                    self.note_name(start..name.span.end, mark, text);
                }
                Known::named(text)
            }
            Value::Block(block) => return self.run_block(block, arguments),
            _ => None,
        };
        // ForEach-Object looks at its block itself.
        if let Some(Known::ForEachObject) = known {
            return self.for_each_object(arguments, input.map(|(value, _)| value));
        }
        let given = self.arguments(arguments);
        let positional = |wanted: &[&str]| {
            given.iter().find(|argument| match &argument.parameter {
                Some(parameter) => wanted.iter().any(|full| full.starts_with(parameter.as_str())),
                None => true,
            })
        };
        match known {
            Some(Known::InvokeExpression) => {
                let known = match (positional(&["command"]), input) {
                    (Some(text), _) => self.invoke(&text.value, &text.node.span),
                    (None, Some((value, from))) => self.invoke(value, &from.span),
                    (None, None) => false,
                };
                if let Some(shown) = self.found.replacements.get_mut(mark)
                    && shown.span.end <= name.span.end
                {
                    shown.invoked = known;
                }
                Value::Unknown
            }
            Some(Known::WriteOutput) => {
                let mut values: Vec<Value> = given.into_iter().map(|given| given.value).collect();
                match (values.len(), input) {
                    (0, Some((value, _))) => value.clone(),
                    (1, _) => values.remove(0),
                    _ if values.iter().all(Value::is_known) => Value::of_output(values),
                    _ => Value::Unknown,
                }
            }
            Some(Known::OutString) => match input {
                Some((value, _)) if value.is_known() && self.budget.make(value.count()) => {
                    value.to_text("\r\n").map_or(Value::Unknown, Value::text)
                }
                _ => Value::Unknown,
            },
            Some(Known::SetVariable) => self.set_variable(&given),
            Some(Known::GetItem { drive }) => match positional(&["name", "path"]) {
                Some(path) => {
                    let only_value = has_switch(arguments, "valueonly");
                    let value = path.value.clone();
                    self.item(&value, drive, only_value)
                }
                None => Value::Unknown,
            },
            Some(Known::GetContent) => match positional(&["path"]) {
                Some(path) => {
                    let value = path.value.clone();
                    self.item(&value, true, true)
                }
                None => Value::Unknown,
            },
            Some(Known::NewObject) => {
                let mut rest = given.iter().filter(|argument| {
                    argument.parameter.as_deref().is_none_or(|name| {
                        "typename".starts_with(name)
                            || "argumentlist".starts_with(name)
                            || name == "args"
                    })
                });
                let Some(kind) = rest.next().and_then(|kind| match &kind.value {
                    Value::Text(text) => Some(Rc::clone(text)),
                    _ => None,
                }) else {
                    return Value::Unknown;
                };
                let mut values = Vec::new();
                for argument in rest {
                    if !self.budget.make(argument.value.count()) {
                        return Value::Unknown;
                    }
                    match &argument.value {
                        Value::Array(spread) => values.extend(spread.iter().cloned()),
                        value => values.push(value.clone()),
                    }
                }
                self.new_object(&kind, &values)
            }
            Some(Known::ForEachObject) => Value::Unknown,
            None => {
                // An interpreter whose name is put together, but was not worked out: what reaches it was.
                if invoked && called.is_unknown() && matches!(name.kind, Kind::Paren(_)) {
                    match (given.first(), input) {
                        (Some(text), _) if given.len() == 1 => {
                            self.invoke_decoded(&text.value, text.node);
                        }
                        (None, Some((value, from))) => self.invoke_decoded(value, from),
                        _ => {}
                    }
                }
                Value::Unknown
            }
        }
    }

    /// Takes a text as handed to an interpreter when it was put together or decoded.
    fn invoke_decoded(&mut self, value: &Value, from: &Node) {
        let literal = matches!(from.kind, Kind::Text { .. } | Kind::Word { .. });
        if !literal {
            self.invoke(value, &from.span);
        }
    }

    fn arguments<'n>(&mut self, arguments: &'n [Node]) -> Vec<Argument<'n>> {
        let mut given = Vec::new();
        let mut parameter: Option<String> = None;
        for node in arguments {
            if let Kind::Parameter(name) = &node.kind {
                parameter = Some(name.to_lowercase());
                continue;
            }
            let mark = self.found.replacements.len();
            let value = self.eval(node);
            // `('Net.Web'+'Client')` is an argument as good as `Net.WebClient`.
            if let (Value::Text(text), Kind::Paren(_)) = (&value, &node.kind)
                && self.found.replacements.len() > mark
            {
                self.note_name(node.span.clone(), mark, text);
            }
            given.push(Argument { parameter: parameter.take(), value, node });
        }
        given
    }

    fn run_block(&mut self, block: &Block, arguments: &[Node]) -> Value {
        self.arguments(arguments);
        if self.calls == DEEPEST_CALL {
            return Value::Unknown;
        }
        self.calls += 1;
        let value = self.output(&block.body);
        self.calls -= 1;
        value
    }

    fn for_each_object(&mut self, arguments: &[Node], input: Option<&Value>) -> Value {
        let mut blocks = arguments.iter().filter_map(|argument| match &argument.kind {
            Kind::Block(block) => Some(block),
            _ => None,
        });
        let (Some(block), None) = (blocks.next(), blocks.next()) else {
            self.arguments(arguments);
            return Value::Unknown;
        };
        let name: Rc<str> = "_".into();
        let outer = self.get(&name).cloned();
        let mut output = Vec::new();
        let mut known = self.calls < DEEPEST_CALL
            && input.is_some_and(|input| self.budget.make(input.count()) && input.is_known());
        if let (true, Some(input)) = (known, input) {
            self.quiet += 1;
            self.calls += 1;
            let unknown = self.unknown;
            for value in input.elements() {
                self.set(&name, value);
                match self.output(&block.body) {
                    Value::Unknown => known = false,
                    Value::Null => {}
                    value @ (Value::Array(_) | Value::Bytes(_)) => output.extend(value.elements()),
                    value => output.push(value),
                }
                let size = output.len() * size_of::<Value>();
                known &= self.unknown == unknown
                    && self.budget.step()
                    && size / 4 <= self.budget.bytes_left();
                if !known {
                    break;
                }
            }
            self.calls -= 1;
            self.quiet -= 1;
        }
        if !known {
            self.set(&name, Value::Unknown);
            self.forget(&block.assigned);
            self.visit(&block.body);
            self.forget(&block.assigned);
        }
        self.set(&name, outer.unwrap_or(Value::Unknown));
        if known { Value::of_output(output) } else { Value::Unknown }
    }

    /// `Set-Variable name value`, `Set-Item variable:name value`.
    fn set_variable(&mut self, given: &[Argument<'_>]) -> Value {
        let mut values = given.iter().filter(|argument| {
            argument.parameter.as_deref().is_none_or(|name| {
                ["name", "path", "value"].iter().any(|full| full.starts_with(name))
            })
        });
        let (Some(name), Some(value)) = (values.next(), values.next()) else {
            return Value::Unknown;
        };
        let Some(name) = self.as_text(&name.value) else { return Value::Unknown };
        let name: Rc<str> = variable_name(&name).into();
        self.set(&name, value.value.clone());
        Value::Null
    }

    /// An item of the drives `variable:` and `env:`, or a variable by its name.
    fn item(&mut self, path: &Value, drive: bool, only_value: bool) -> Value {
        let Value::Text(path) = path else { return Value::Unknown };
        let lower = path.to_lowercase();
        let bare = lower.strip_prefix("variable:").or_else(|| lower.strip_prefix("env:"));
        if drive && bare.is_none() {
            return Value::Unknown;
        }
        let name = variable_name(&lower.replace("env:\\", "env:").replace("env:/", "env:"));
        let name: Rc<str> = if name.contains('*') {
            let shown = STANDARD_VARIABLES
                .iter()
                .find(|standard| matches_wildcard(&name, &standard.to_lowercase()));
            match shown {
                Some(shown) => (*shown).into(),
                None => return Value::Unknown,
            }
        } else {
            name.into()
        };
        let value = self.variable(&name.to_lowercase());
        if only_value {
            return value;
        }
        if !self.budget.make(value.count()) || value.depth() >= DEEPEST_VALUE {
            return Value::Unknown;
        }
        Value::Item { name, value: Box::new(value) }
    }
}

/// Whether a switch is among the arguments, by any prefix of its name.
fn has_switch(arguments: &[Node], switch: &str) -> bool {
    arguments.iter().any(|argument| {
        matches!(&argument.kind, Kind::Parameter(name)
            if switch.starts_with(&name.to_lowercase()))
    })
}

/// Whether a name fits a pattern in which `*` stands for anything; both are short.
fn matches_wildcard(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = first;
    for part in parts {
        last = part;
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    last.is_empty() || name.ends_with(last)
}
