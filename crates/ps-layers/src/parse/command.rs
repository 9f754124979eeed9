//! Parses pipelines, commands and their arguments.

use super::super::syntax::{BinaryOperator, NodeKind, SyntaxNode};
use super::{ScriptParser, is_dash, is_double_quote, is_single_quote};

impl ScriptParser<'_> {
    /// Parses commands and expressions joined by `|`, or an assignment.
    pub(super) fn pipeline(&mut self) -> SyntaxNode {
        let start = self.at;
        let first = self.element();
        self.skip_here();
        if let Some((operator, length)) = self.assignment() {
            self.record_assigned(&first);
            return self
                .nested(|parser| {
                    parser.at += length;
                    parser.skip(true);
                    let value = Box::new(parser.statement());
                    NodeKind::Assign { target: Box::new(first), operator, value }
                })
                .starting(start);
        }
        let mut elements = vec![first];
        let mut end = elements[0].span.end;
        loop {
            self.skip_here();
            if self.peek() != Some('|') || self.peek_second() == Some('|') {
                break;
            }
            self.advance();
            self.skip(true);
            elements.push(self.element());
            end = self.at;
        }
        if elements.len() > 1 {
            return SyntaxNode { span: start..end, kind: NodeKind::Pipeline(elements) };
        }
        elements.remove(0)
    }

    /// Returns the operator and length of the assignment that comes next.
    fn assignment(&self) -> Option<(Option<BinaryOperator>, usize)> {
        let rest = self.rest().as_bytes();
        let operator = match rest.first()? {
            b'=' => return (rest.get(1) != Some(&b'=')).then_some((None, 1)),
            b'+' => BinaryOperator::Add,
            b'-' => BinaryOperator::Subtract,
            b'*' => BinaryOperator::Multiply,
            b'/' => BinaryOperator::Divide,
            b'%' => BinaryOperator::Modulo,
            _ => return None,
        };
        (rest.get(1) == Some(&b'=')).then_some((Some(operator), 2))
    }

    fn element(&mut self) -> SyntaxNode {
        let Some(first) = self.peek() else { return self.opaque(self.at, Vec::new()) };
        let second = self.peek_second();
        let invoked = match first {
            '&' => true,
            '.' => second.is_some_and(|next| {
                next.is_whitespace()
                    || matches!(next, '(' | '$' | '{')
                    || is_single_quote(next)
                    || is_double_quote(next)
            }),
            _ => false,
        };
        if invoked {
            return self.command(true);
        }
        let expression = match first {
            '(' | '$' | '[' | '{' | ',' | '!' | '+' => true,
            '@' => second.is_some_and(|next| {
                matches!(next, '(' | '{') || is_single_quote(next) || is_double_quote(next)
            }),
            _ if is_dash(first) => self.begins_operand(),
            _ => {
                is_single_quote(first)
                    || is_double_quote(first)
                    || first.is_ascii_digit() && self.begins_number()
            }
        };
        if expression { self.expression() } else { self.command(false) }
    }

    /// Returns whether a dash begins an expression rather than a word.
    fn begins_operand(&self) -> bool {
        let rest = self.rest();
        let rest = rest.trim_start_matches(is_dash);
        let end = rest.find(|next: char| !next.is_ascii_alphabetic()).unwrap_or(rest.len());
        match rest[..end].to_ascii_lowercase().as_str() {
            "" => rest
                .starts_with(|next: char| next.is_ascii_digit() || matches!(next, '$' | '(' | '[')),
            "join" | "split" | "isplit" | "csplit" | "not" | "bnot" => true,
            _ => false,
        }
    }

    /// Returns whether a digit begins a number rather than a program's name.
    fn begins_number(&self) -> bool {
        let rest = self.rest();
        let end = rest.find(|next: char| !next.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let word = &rest[..end];
        let hex = word.get(..2).is_some_and(|sign| sign.eq_ignore_ascii_case("0x"));
        hex || word.bytes().all(|byte| byte.is_ascii_digit())
    }

    fn command(&mut self, invoked: bool) -> SyntaxNode {
        let start = self.at;
        if invoked {
            self.advance();
            self.skip(false);
        }
        let name = Box::new(if invoked { self.argument() } else { self.word() });
        let mut arguments = Vec::new();
        let mut end = self.at;
        loop {
            self.skip(false);
            let Some(next) = self.peek() else { break };
            if matches!(next, ';' | '|' | ')' | '}' | '&' | '\r' | '\n') {
                break;
            }
            let before = self.at;
            if next == ',' {
                self.advance();
                self.skip(true);
                continue;
            }
            let argument = self.argument();
            arguments.push(self.argument_list(argument));
            if self.at == before {
                self.advance();
            }
            end = self.at;
        }
        self.at = end;
        SyntaxNode { span: start..end, kind: NodeKind::Command { invoked, name, arguments } }
    }

    /// Parses the arguments that commas join to the first one.
    fn argument_list(&mut self, first: SyntaxNode) -> SyntaxNode {
        let start = first.span.start;
        let mut values = vec![first];
        loop {
            let before = self.at;
            self.skip(false);
            if self.peek() != Some(',') {
                self.at = before;
                break;
            }
            self.advance();
            self.skip(true);
            let begin = self.at;
            values.push(self.argument());
            if self.at == begin {
                break;
            }
        }
        if values.len() == 1 { values.remove(0) } else { self.node(start, NodeKind::List(values)) }
    }

    /// Parses one argument of a command.
    fn argument(&mut self) -> SyntaxNode {
        let start = self.at;
        let Some(first) = self.peek() else { return self.opaque(start, Vec::new()) };
        let second = self.peek_second();
        if is_dash(first) && second.is_some_and(char::is_alphabetic) {
            self.advance();
            let name = self.member_name();
            self.take(':');
            let NodeKind::Word { value, .. } = name.kind else { return name };
            return self.node(start, NodeKind::Parameter(value));
        }
        let value = match first {
            '(' | '$' | '{' => self.postfix(),
            '@' if matches!(second, Some('(' | '{' | '\'' | '"')) => self.postfix(),
            _ if is_single_quote(first) || is_double_quote(first) => self.postfix(),
            _ if first.is_ascii_digit() && self.begins_number() => self.number(),
            _ => self.word(),
        };
        // `$x\name` is a single word.
        let glued = |parser: &Self| {
            parser.peek().is_some_and(|next| {
                next.is_alphanumeric() || matches!(next, '\\' | '/' | '.' | ':' | '_' | '$')
            })
        };
        let ends_open = matches!(
            value.kind,
            NodeKind::Variable { .. }
                | NodeKind::Word { .. }
                | NodeKind::Postfix(..)
                | NodeKind::Sub { .. }
        );
        if !ends_open || !glued(self) {
            return value;
        }
        let mut parts = vec![value];
        while glued(self) {
            let before = self.at;
            parts.push(if self.peek() == Some('$') { self.dollar() } else { self.word() });
            if self.at == before {
                break;
            }
        }
        self.node(start, NodeKind::Expand(parts))
    }
}

impl SyntaxNode {
    fn starting(mut self, start: usize) -> SyntaxNode {
        self.span.start = start;
        self
    }
}
