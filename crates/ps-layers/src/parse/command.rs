//! Pipelines, commands and their arguments.

use super::super::syntax::{Kind, Node, Operator};
use super::{Parser, is_dash, is_double_quote, is_single_quote};

impl Parser<'_> {
    /// Commands and expressions with `|` between them, or an assignment.
    pub(super) fn pipeline(&mut self) -> Node {
        let start = self.at;
        let first = self.element();
        self.skip_here();
        if let Some((operator, length)) = self.assignment() {
            self.assign(&first);
            return self
                .nested(|parser| {
                    parser.at += length;
                    parser.skip(true);
                    let value = Box::new(parser.statement());
                    Kind::Assign { target: Box::new(first), operator, value }
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
            return Node { span: start..end, kind: Kind::Pipeline(elements) };
        }
        elements.remove(0)
    }

    /// The assignment that comes next: its operator, and its length.
    fn assignment(&self) -> Option<(Option<Operator>, usize)> {
        let rest = self.rest().as_bytes();
        let operator = match rest.first()? {
            b'=' => return (rest.get(1) != Some(&b'=')).then_some((None, 1)),
            b'+' => Operator::Add,
            b'-' => Operator::Subtract,
            b'*' => Operator::Multiply,
            b'/' => Operator::Divide,
            b'%' => Operator::Modulo,
            _ => return None,
        };
        (rest.get(1) == Some(&b'=')).then_some((Some(operator), 2))
    }

    fn element(&mut self) -> Node {
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

    /// Whether a dash begins an expression, not a word.
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

    /// Whether a digit begins a number, not a program's name.
    fn begins_number(&self) -> bool {
        let rest = self.rest();
        let end = rest.find(|next: char| !next.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let word = &rest[..end];
        let hex = word.get(..2).is_some_and(|sign| sign.eq_ignore_ascii_case("0x"));
        hex || word.bytes().all(|byte| byte.is_ascii_digit())
    }

    fn command(&mut self, invoked: bool) -> Node {
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
            arguments.push(self.more(argument));
            if self.at == before {
                self.advance();
            }
            end = self.at;
        }
        self.at = end;
        Node { span: start..end, kind: Kind::Command { invoked, name, arguments } }
    }

    /// An argument with the ones that commas tie to it.
    fn more(&mut self, first: Node) -> Node {
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
        if values.len() == 1 { values.remove(0) } else { self.node(start, Kind::List(values)) }
    }

    /// One argument of a command.
    fn argument(&mut self) -> Node {
        let start = self.at;
        let Some(first) = self.peek() else { return self.opaque(start, Vec::new()) };
        let second = self.peek_second();
        if is_dash(first) && second.is_some_and(char::is_alphabetic) {
            self.advance();
            let name = self.member_name();
            self.take(':');
            let Kind::Word { value, .. } = name.kind else { return name };
            return self.node(start, Kind::Parameter(value));
        }
        let value = match first {
            '(' | '$' | '{' => self.postfix(),
            '@' if matches!(second, Some('(' | '{' | '\'' | '"')) => self.postfix(),
            _ if is_single_quote(first) || is_double_quote(first) => self.postfix(),
            _ if first.is_ascii_digit() && self.begins_number() => self.number(),
            _ => self.word(),
        };
        // `$x\name` is one word.
        let glued = |parser: &Self| {
            parser.peek().is_some_and(|next| {
                next.is_alphanumeric() || matches!(next, '\\' | '/' | '.' | ':' | '_' | '$')
            })
        };
        let ends_open = matches!(
            value.kind,
            Kind::Variable { .. } | Kind::Word { .. } | Kind::Postfix(..) | Kind::Sub { .. }
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
        self.node(start, Kind::Expand(parts))
    }
}

impl Node {
    fn starting(mut self, start: usize) -> Node {
        self.span.start = start;
        self
    }
}
