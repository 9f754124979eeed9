//! Parses expressions.

use std::rc::Rc;

use super::super::syntax::{
    BinaryOperator, BlockNode, NodeKind, Suffix, SuffixKind, SyntaxNode, UnaryOperator,
};
use super::{ScriptParser, is_dash, is_double_quote, is_single_quote};

impl ScriptParser<'_> {
    pub(super) fn expression(&mut self) -> SyntaxNode {
        self.binary(0)
    }

    fn binary(&mut self, loosest: u8) -> SyntaxNode {
        let start = self.at;
        let mut left = self.list();
        loop {
            let before = self.at;
            self.skip_here();
            let operator = self.operator().filter(|(found, _)| found.precedence() >= loosest);
            let Some((operator, length)) = operator else {
                self.at = before;
                return left;
            };
            self.at += length;
            self.skip(true);
            let right = self.binary(operator.precedence() + 1);
            left = match left.kind {
                NodeKind::Chain(first, mut more)
                    if more[0].0.precedence() == operator.precedence() =>
                {
                    more.push((operator, right));
                    self.node(start, NodeKind::Chain(first, more))
                }
                kind => {
                    let first = Box::new(SyntaxNode { span: left.span, kind });
                    self.node(start, NodeKind::Chain(first, vec![(operator, right)]))
                }
            };
        }
    }

    /// Returns the binary operator that comes next, and its length.
    fn operator(&self) -> Option<(BinaryOperator, usize)> {
        let rest = self.rest();
        let first = self.peek()?;
        let second = rest[first.len_utf8()..].chars().next();
        if is_dash(first) {
            let name = letters(&rest[first.len_utf8()..]);
            return match name {
                "" if second == Some('=') => None,
                "" => Some((BinaryOperator::Subtract, first.len_utf8())),
                _ => Some((BinaryOperator::from_name(name)?, first.len_utf8() + name.len())),
            };
        }
        let operator = match first {
            '.' if second == Some('.') => return Some((BinaryOperator::Range, 2)),
            '+' => BinaryOperator::Add,
            '*' => BinaryOperator::Multiply,
            '/' => BinaryOperator::Divide,
            '%' => BinaryOperator::Modulo,
            _ => return None,
        };
        (second != Some('=')).then_some((operator, 1))
    }

    /// Parses values separated by commas.
    fn list(&mut self) -> SyntaxNode {
        let start = self.at;
        if self.peek() == Some(',') {
            return self.nested(|parser| {
                parser.advance();
                parser.skip(true);
                NodeKind::List(vec![parser.unary()])
            });
        }
        let first = self.unary();
        let mut values = Vec::new();
        let mut end = self.at;
        loop {
            self.skip_here();
            if self.peek() != Some(',') {
                break;
            }
            self.advance();
            self.skip(true);
            if matches!(self.peek(), None | Some(')' | '}' | ']' | ';' | '|')) {
                break;
            }
            let before = self.at;
            values.push(self.unary());
            if self.at == before {
                self.advance();
            }
            end = self.at;
        }
        self.at = end;
        if values.is_empty() {
            return first;
        }
        values.insert(0, first);
        self.node(start, NodeKind::List(values))
    }

    fn unary(&mut self) -> SyntaxNode {
        let start = self.at;
        let Some(first) = self.peek() else { return self.opaque(start, Vec::new()) };
        let second = self.peek_second();
        let (operator, length) = match first {
            '!' => (UnaryOperator::Not, 1),
            '+' if second == Some('+') => (UnaryOperator::Step(1), 2),
            '+' => (UnaryOperator::Plus, 1),
            '[' => return self.cast(),
            _ if is_dash(first) && second.is_some_and(is_dash) => (UnaryOperator::Step(-1), 2),
            _ if is_dash(first) => {
                let name = letters(&self.rest()[first.len_utf8()..]);
                let operator = match name.to_ascii_lowercase().as_str() {
                    "" => UnaryOperator::Minus,
                    "not" => UnaryOperator::Not,
                    "bnot" => UnaryOperator::BitNot,
                    "join" => UnaryOperator::Join,
                    "split" | "isplit" | "csplit" => UnaryOperator::Split,
                    _ => return self.word(),
                };
                (operator, first.len_utf8() + name.len())
            }
            _ => return self.postfix(),
        };
        self.nested(|parser| {
            parser.at += length;
            parser.skip(true);
            let value = parser.unary();
            if let UnaryOperator::Step(_) = operator {
                parser.record_assigned(&value);
            }
            NodeKind::Unary(operator, Box::new(value))
        })
    }

    /// Parses `[type]value`, `[type]::Member` or `[type]`.
    fn cast(&mut self) -> SyntaxNode {
        let start = self.at;
        let Some(name) = self.type_name() else {
            self.at = start + 1;
            return self.opaque(start, Vec::new());
        };
        if self.rest().starts_with("::") {
            let base = self.node(start, NodeKind::Type(name));
            return self.suffixes(base);
        }
        let end = self.at;
        self.skip(false);
        let operand = self.peek().is_some_and(|next| {
            matches!(next, '(' | '$' | '[' | '@' | '{')
                || next.is_ascii_digit()
                || is_single_quote(next)
                || is_double_quote(next)
                || is_dash(next) && self.peek_second().is_some_and(|next| next.is_ascii_digit())
        });
        if !operand {
            self.at = end;
            return self.node(start, NodeKind::Type(name));
        }
        let value = self.nested(|parser| parser.unary().kind);
        self.node(start, NodeKind::Cast(name, Box::new(value)))
    }

    /// Returns the name of a type in brackets, as it is looked up.
    fn type_name(&mut self) -> Option<Rc<str>> {
        const LONGEST: usize = 200;
        const DEEPEST: usize = 4;
        let mut open = 0_usize;
        let mut name = String::new();
        for _ in 0..LONGEST {
            let next = self.advance()?;
            match next {
                '[' if open < DEEPEST => open += 1,
                ']' => {
                    open -= 1;
                    if open == 0 {
                        let name = &name[1..];
                        let bare = name.strip_prefix("system.").unwrap_or(name);
                        return (!bare.is_empty()).then(|| bare.into());
                    }
                }
                '`' | ' ' | '\t' => continue,
                _ if next.is_alphanumeric() || matches!(next, '_' | '.' | ',' | '+') => {}
                _ => return None,
            }
            name.extend(next.to_lowercase());
        }
        None
    }

    /// Parses a value with its suffixes: members, calls and indices.
    pub(super) fn postfix(&mut self) -> SyntaxNode {
        let base = self.primary();
        self.suffixes(base)
    }

    pub(super) fn suffixes(&mut self, base: SyntaxNode) -> SyntaxNode {
        let start = base.span.start;
        let mut suffixes = Vec::new();
        while let Some(kind) = self.suffix(&base) {
            suffixes.push(Suffix { end: self.at, kind });
        }
        match suffixes[..] {
            [] => base,
            _ => self.node(start, NodeKind::Postfix(Box::new(base), suffixes)),
        }
    }

    fn suffix(&mut self, base: &SyntaxNode) -> Option<SuffixKind> {
        let next = self.peek()?;
        match next {
            '[' => {
                let index = self.nested(|parser| {
                    parser.advance();
                    let outside = std::mem::replace(&mut parser.lines_join, true);
                    parser.skip(true);
                    let index = parser.expression();
                    parser.skip(true);
                    parser.lines_join = outside;
                    parser.take(']');
                    index.kind
                });
                Some(SuffixKind::Index(index))
            }
            '+' | '-' if self.peek_second() == Some(next) => {
                let NodeKind::Variable { .. } = base.kind else { return None };
                self.record_assigned(base);
                self.at += 2;
                Some(SuffixKind::Step(if next == '+' { 1 } else { -1 }))
            }
            '.' | ':' => {
                let length = if next == '.' { 1 } else { 2 };
                if next == ':' && self.peek_second() != Some(':') {
                    return None;
                }
                let named = self.rest()[length..].starts_with(|next: char| {
                    next.is_alphabetic()
                        || matches!(next, '_' | '`' | '$' | '(')
                        || is_single_quote(next)
                        || is_double_quote(next)
                });
                if !named {
                    return None;
                }
                self.at += length;
                let name = match self.peek() {
                    Some(next) if next.is_alphabetic() || matches!(next, '_' | '`') => {
                        self.member_name()
                    }
                    _ => self.primary(),
                };
                if self.peek() == Some('(') {
                    return Some(SuffixKind::Call(name, self.call()));
                }
                Some(SuffixKind::Member(name))
            }
            _ => None,
        }
    }

    /// Parses a method's arguments with their brackets.
    fn call(&mut self) -> Vec<SyntaxNode> {
        let mut arguments = Vec::new();
        self.nested(|parser| {
            parser.advance();
            let outside = std::mem::replace(&mut parser.lines_join, true);
            loop {
                parser.skip(true);
                match parser.peek() {
                    Some(',') => {
                        parser.advance();
                        // A `,` before the first argument wraps it in an array.
                        if arguments.is_empty() {
                            parser.skip(true);
                            let value = parser.unary();
                            arguments.push(value);
                        }
                    }
                    None | Some(')' | '}' | ']' | ';') => break,
                    Some(_) => {
                        let before = parser.at;
                        let argument = parser.argument_expression();
                        arguments.push(argument);
                        if parser.at == before {
                            parser.advance();
                        }
                    }
                }
            }
            parser.lines_join = outside;
            parser.take(')');
            NodeKind::Number(0)
        });
        arguments
    }

    /// Parses an expression that ends at a comma.
    fn argument_expression(&mut self) -> SyntaxNode {
        let start = self.at;
        let first = self.unary();
        let mut operands = vec![first];
        let mut operators = Vec::new();
        loop {
            let before = self.at;
            self.skip_here();
            let Some((operator, length)) = self.operator() else {
                self.at = before;
                break;
            };
            self.at += length;
            self.skip(true);
            operators.push(operator);
            operands.push(self.unary());
        }
        self.by_precedence(start, operands, operators)
    }

    /// Joins operands and operators to chains; the tightest operators bind first.
    fn by_precedence(
        &self,
        start: usize,
        operands: Vec<SyntaxNode>,
        operators: Vec<BinaryOperator>,
    ) -> SyntaxNode {
        let mut values: Vec<SyntaxNode> = Vec::new();
        let mut waiting: Vec<BinaryOperator> = Vec::new();
        let join = |values: &mut Vec<SyntaxNode>, operator: BinaryOperator| {
            let (Some(right), Some(left)) = (values.pop(), values.pop()) else { return };
            let span = left.span.start..right.span.end;
            let kind = match left.kind {
                NodeKind::Chain(first, mut more)
                    if more[0].0.precedence() == operator.precedence() =>
                {
                    more.push((operator, right));
                    NodeKind::Chain(first, more)
                }
                kind => NodeKind::Chain(
                    Box::new(SyntaxNode { span: left.span, kind }),
                    vec![(operator, right)],
                ),
            };
            values.push(SyntaxNode { span, kind });
        };
        let mut operators = operators.into_iter();
        for operand in operands {
            values.push(operand);
            let Some(operator) = operators.next() else { break };
            while let Some(tighter) =
                waiting.pop_if(|last| last.precedence() >= operator.precedence())
            {
                join(&mut values, tighter);
            }
            waiting.push(operator);
        }
        while let Some(operator) = waiting.pop() {
            join(&mut values, operator);
        }
        values.pop().unwrap_or_else(|| self.opaque(start, Vec::new()))
    }

    pub(super) fn primary(&mut self) -> SyntaxNode {
        let start = self.at;
        let Some(first) = self.peek() else { return self.opaque(start, Vec::new()) };
        match first {
            '(' => self.nested(|parser| NodeKind::Paren(parser.bracketed(')', true))),
            '{' => self.nested(|parser| {
                let before = parser.script.assigned.len();
                let body = parser.bracketed('}', false);
                NodeKind::Block(Rc::new(BlockNode {
                    body,
                    assigned: parser.assigned_since(before),
                }))
            }),
            '$' => self.dollar(),
            '@' => match self.peek_second() {
                Some('(') => self.nested(|parser| {
                    parser.advance();
                    NodeKind::Sub { body: parser.bracketed(')', true), array: true }
                }),
                Some('{') => self.nested(|parser| {
                    parser.advance();
                    NodeKind::Hash(parser.bracketed('}', false))
                }),
                Some(quote) if is_single_quote(quote) || is_double_quote(quote) => {
                    self.here_string()
                }
                _ => {
                    self.advance();
                    self.opaque(start, Vec::new())
                }
            },
            '[' => {
                let base = self.type_name();
                match base {
                    Some(name) => self.node(start, NodeKind::Type(name)),
                    None => {
                        self.at = start + 1;
                        self.opaque(start, Vec::new())
                    }
                }
            }
            _ if is_single_quote(first) || is_double_quote(first) => self.quoted(),
            _ if first.is_ascii_digit() => self.number(),
            ')' | '}' | ']' | ';' | '|' | ',' | '=' | '&' | '\r' | '\n' => {
                self.opaque(start, Vec::new())
            }
            _ => self.word(),
        }
    }
}

fn letters(text: &str) -> &str {
    let end = text.find(|next: char| !next.is_ascii_alphabetic()).unwrap_or(text.len());
    &text[..end]
}
