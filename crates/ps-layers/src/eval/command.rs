//! Evaluates commands: those that pass a text to an interpreter, those that hold variables, and
//! the few that only convert values. Of all other commands, only the arguments are evaluated.

use std::rc::Rc;

use super::super::syntax::{BlockNode, NodeKind, SyntaxNode, variable_name};
use super::super::value::{DEEPEST_VALUE, ScriptValue};
use super::expression::STANDARD_VARIABLES;
use super::{DEEPEST_CALL, Evaluator};

/// The value of an argument, the parameter before it (lower-case), and its node.
struct CommandArgument<'n> {
    parameter: Option<String>,
    value: ScriptValue,
    node: &'n SyntaxNode,
}

/// The commands that are evaluated.
enum KnownCommand {
    InvokeExpression,
    ForEachObject,
    WriteOutput,
    OutString,
    SetVariable,
    GetItem { drive: bool },
    GetContent,
    NewObject,
}

impl KnownCommand {
    /// Finds a command by its name or alias (Get-Alias of Windows PowerShell 5.1).
    fn from_name(name: &str) -> Option<KnownCommand> {
        Some(match name.to_lowercase().as_str() {
            "iex" | "invoke-expression" => KnownCommand::InvokeExpression,
            "%" | "foreach" | "foreach-object" => KnownCommand::ForEachObject,
            "write-output" | "write" | "echo" => KnownCommand::WriteOutput,
            "out-string" => KnownCommand::OutString,
            "set-variable" | "sv" | "set" | "new-variable" | "nv" | "set-item" | "si" => {
                KnownCommand::SetVariable
            }
            "get-variable" | "gv" | "variable" => KnownCommand::GetItem { drive: false },
            "get-item" | "gi" | "item" | "get-childitem" | "gci" | "ls" | "dir" | "childitem" => {
                KnownCommand::GetItem { drive: true }
            }
            "get-content" | "gc" | "cat" | "type" => KnownCommand::GetContent,
            "new-object" => KnownCommand::NewObject,
            _ => return None,
        })
    }
}

impl Evaluator<'_, '_> {
    pub(super) fn pipeline(&mut self, elements: &[SyntaxNode]) -> ScriptValue {
        let Some((first, more)) = elements.split_first() else { return ScriptValue::Null };
        let mut value = self.eval(first);
        let mut before = first;
        for element in more {
            value = match &element.kind {
                NodeKind::Command { invoked, name, arguments } => {
                    self.command(element, *invoked, name, arguments, Some((&value, before)))
                }
                _ => {
                    self.eval(element);
                    ScriptValue::Unknown
                }
            };
            before = element;
        }
        value
    }

    pub(super) fn command(
        &mut self,
        node: &SyntaxNode,
        invoked: bool,
        name: &SyntaxNode,
        arguments: &[SyntaxNode],
        input: Option<(&ScriptValue, &SyntaxNode)>,
    ) -> ScriptValue {
        let mark = self.found.replacements.len();
        let called = match &name.kind {
            NodeKind::Word { value, ticked: false } => ScriptValue::Text(Rc::clone(value)),
            NodeKind::Block(block) => ScriptValue::Block(Rc::clone(block)),
            _ => self.eval(name),
        };
        let known = match &called {
            ScriptValue::Text(text) => {
                if !matches!(name.kind, NodeKind::Word { ticked: false, .. }) {
                    let start = if invoked { node.span.start } else { name.span.start };
                    self.record_name(start..name.span.end, mark, text);
                }
                KnownCommand::from_name(text)
            }
            ScriptValue::Block(block) => return self.run_block(block, arguments),
            _ => None,
        };
        // ForEach-Object evaluates its block itself.
        if let Some(KnownCommand::ForEachObject) = known {
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
            Some(KnownCommand::InvokeExpression) => {
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
                ScriptValue::Unknown
            }
            Some(KnownCommand::WriteOutput) => {
                let mut values: Vec<ScriptValue> =
                    given.into_iter().map(|given| given.value).collect();
                match (values.len(), input) {
                    (0, Some((value, _))) => value.clone(),
                    (1, _) => values.remove(0),
                    _ if values.iter().all(ScriptValue::is_known) => {
                        ScriptValue::from_output(values)
                    }
                    _ => ScriptValue::Unknown,
                }
            }
            Some(KnownCommand::OutString) => match input {
                Some((value, _)) if value.is_known() && self.budget.make(value.count()) => {
                    value.to_text("\r\n").map_or(ScriptValue::Unknown, ScriptValue::text)
                }
                _ => ScriptValue::Unknown,
            },
            Some(KnownCommand::SetVariable) => self.set_variable(&given),
            Some(KnownCommand::GetItem { drive }) => match positional(&["name", "path"]) {
                Some(path) => {
                    let only_value = has_switch(arguments, "valueonly");
                    let value = path.value.clone();
                    self.drive_item(&value, drive, only_value)
                }
                None => ScriptValue::Unknown,
            },
            Some(KnownCommand::GetContent) => match positional(&["path"]) {
                Some(path) => {
                    let value = path.value.clone();
                    self.drive_item(&value, true, true)
                }
                None => ScriptValue::Unknown,
            },
            Some(KnownCommand::NewObject) => {
                let mut rest = given.iter().filter(|argument| {
                    argument.parameter.as_deref().is_none_or(|name| {
                        "typename".starts_with(name)
                            || "argumentlist".starts_with(name)
                            || name == "args"
                    })
                });
                let Some(kind) = rest.next().and_then(|kind| match &kind.value {
                    ScriptValue::Text(text) => Some(Rc::clone(text)),
                    _ => None,
                }) else {
                    return ScriptValue::Unknown;
                };
                let mut values = Vec::new();
                for argument in rest {
                    if !self.budget.make(argument.value.count()) {
                        return ScriptValue::Unknown;
                    }
                    match &argument.value {
                        ScriptValue::Array(spread) => values.extend(spread.iter().cloned()),
                        value => values.push(value.clone()),
                    }
                }
                self.new_object(&kind, &values)
            }
            Some(KnownCommand::ForEachObject) => ScriptValue::Unknown,
            None => {
                // The interpreter's name is an expression that could not be evaluated, but its
                // input could.
                if invoked && called.is_unknown() && matches!(name.kind, NodeKind::Paren(_)) {
                    match (given.first(), input) {
                        (Some(text), _) if given.len() == 1 => {
                            self.invoke_decoded(&text.value, text.node);
                        }
                        (None, Some((value, from))) => self.invoke_decoded(value, from),
                        _ => {}
                    }
                }
                ScriptValue::Unknown
            }
        }
    }

    /// Treats a text as passed to an interpreter if it was assembled or decoded.
    fn invoke_decoded(&mut self, value: &ScriptValue, from: &SyntaxNode) {
        let literal = matches!(from.kind, NodeKind::Text { .. } | NodeKind::Word { .. });
        if !literal {
            self.invoke(value, &from.span);
        }
    }

    fn arguments<'n>(&mut self, arguments: &'n [SyntaxNode]) -> Vec<CommandArgument<'n>> {
        let mut given = Vec::new();
        let mut parameter: Option<String> = None;
        for node in arguments {
            if let NodeKind::Parameter(name) = &node.kind {
                parameter = Some(name.to_lowercase());
                continue;
            }
            let mark = self.found.replacements.len();
            let value = self.eval(node);
            // `('Net.Web'+'Client')` is the same argument as `Net.WebClient`.
            if let (ScriptValue::Text(text), NodeKind::Paren(_)) = (&value, &node.kind)
                && self.found.replacements.len() > mark
            {
                self.record_name(node.span.clone(), mark, text);
            }
            given.push(CommandArgument { parameter: parameter.take(), value, node });
        }
        given
    }

    fn run_block(&mut self, block: &BlockNode, arguments: &[SyntaxNode]) -> ScriptValue {
        self.arguments(arguments);
        if self.calls == DEEPEST_CALL {
            return ScriptValue::Unknown;
        }
        self.calls += 1;
        let value = self.output_of(&block.body);
        self.calls -= 1;
        value
    }

    fn for_each_object(
        &mut self,
        arguments: &[SyntaxNode],
        input: Option<&ScriptValue>,
    ) -> ScriptValue {
        let mut blocks = arguments.iter().filter_map(|argument| match &argument.kind {
            NodeKind::Block(block) => Some(block),
            _ => None,
        });
        let (Some(block), None) = (blocks.next(), blocks.next()) else {
            self.arguments(arguments);
            return ScriptValue::Unknown;
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
                match self.output_of(&block.body) {
                    ScriptValue::Unknown => known = false,
                    ScriptValue::Null => {}
                    value @ (ScriptValue::Array(_) | ScriptValue::Bytes(_)) => {
                        output.extend(value.elements())
                    }
                    value => output.push(value),
                }
                let size = output.len() * size_of::<ScriptValue>();
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
            self.set(&name, ScriptValue::Unknown);
            self.mark_unknown(&block.assigned);
            self.evaluate_uncertain(&block.body);
            self.mark_unknown(&block.assigned);
        }
        self.set(&name, outer.unwrap_or(ScriptValue::Unknown));
        if known { ScriptValue::from_output(output) } else { ScriptValue::Unknown }
    }

    /// Evaluates `Set-Variable name value` and `Set-Item variable:name value`.
    fn set_variable(&mut self, given: &[CommandArgument<'_>]) -> ScriptValue {
        let mut values = given.iter().filter(|argument| {
            argument.parameter.as_deref().is_none_or(|name| {
                ["name", "path", "value"].iter().any(|full| full.starts_with(name))
            })
        });
        let (Some(name), Some(value)) = (values.next(), values.next()) else {
            return ScriptValue::Unknown;
        };
        let Some(name) = self.as_text(&name.value) else { return ScriptValue::Unknown };
        let name: Rc<str> = variable_name(&name).into();
        self.set(&name, value.value.clone());
        ScriptValue::Null
    }

    /// Returns an item of the drives `variable:` and `env:`, or a variable by its name.
    fn drive_item(&mut self, path: &ScriptValue, drive: bool, only_value: bool) -> ScriptValue {
        let ScriptValue::Text(path) = path else { return ScriptValue::Unknown };
        let lower = path.to_lowercase();
        let bare = lower.strip_prefix("variable:").or_else(|| lower.strip_prefix("env:"));
        if drive && bare.is_none() {
            return ScriptValue::Unknown;
        }
        let name = variable_name(&lower.replace("env:\\", "env:").replace("env:/", "env:"));
        let name: Rc<str> = if name.contains('*') {
            let shown = STANDARD_VARIABLES
                .iter()
                .find(|standard| matches_wildcard(&name, &standard.to_lowercase()));
            match shown {
                Some(shown) => (*shown).into(),
                None => return ScriptValue::Unknown,
            }
        } else {
            name.into()
        };
        let value = self.variable(&name.to_lowercase());
        if only_value {
            return value;
        }
        if !self.budget.make(value.count()) || value.depth() >= DEEPEST_VALUE {
            return ScriptValue::Unknown;
        }
        ScriptValue::Item { name, value: Box::new(value) }
    }
}

/// Returns whether a switch is among the arguments; any prefix of its name counts.
fn has_switch(arguments: &[SyntaxNode], switch: &str) -> bool {
    arguments.iter().any(|argument| {
        matches!(&argument.kind, NodeKind::Parameter(name)
            if switch.starts_with(&name.to_lowercase()))
    })
}

/// Returns whether a name matches a pattern in which `*` stands for any text; both are short.
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
