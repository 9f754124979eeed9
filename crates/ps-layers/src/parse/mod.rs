//! A tolerant parser for the part of PowerShell that obfuscators use.
//!
//! It accepts any text, reads it once from left to right without backtracking, and never fails.
//! Unknown syntax becomes [`NodeKind::Opaque`]; brackets and quotes that are not closed end with
//! the text. The grammar follows the Windows PowerShell Language Specification 3.0, chapter 8,
//! and about_Parsing.

mod command;
mod expression;
mod text;

use std::rc::Rc;

use super::syntax::{AssignedNames, NodeKind, ParsedScript, SuffixKind, SyntaxNode};

/// Deepest nesting of brackets, casts and assignments that is followed: the parser, and the code
/// that walks its nodes, recurse for each. Obfuscators nest some dozens.
const NESTING: usize = 80;

/// Parses a text.
pub(super) fn parse(text: &str) -> ParsedScript {
    let mut parser = ScriptParser {
        text,
        at: 0,
        nesting: 0,
        lines_join: false,
        script: ParsedScript::default(),
    };
    let statements = parser.statements(None);
    ParsedScript { statements, ..parser.script }
}

struct ScriptParser<'t> {
    text: &'t str,
    at: usize,
    nesting: usize,
    /// Inside round brackets a new line does not end a statement.
    lines_join: bool,
    script: ParsedScript,
}

impl ScriptParser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Returns the character after the next one.
    fn peek_second(&self) -> Option<char> {
        self.rest().chars().nth(1)
    }

    fn advance(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.at += expected.len_utf8();
        }
        found
    }

    fn node(&self, start: usize, kind: NodeKind) -> SyntaxNode {
        SyntaxNode { span: start..self.at, kind }
    }

    fn opaque(&self, start: usize, parts: Vec<SyntaxNode>) -> SyntaxNode {
        let none = self.script.assigned.len();
        self.node(start, NodeKind::Opaque { parts, assigned: none..none })
    }

    /// Parses something nested. If it is nested too deep, only its first character is skipped.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> NodeKind) -> SyntaxNode {
        let start = self.at;
        if self.nesting == NESTING {
            self.script.too_deep.get_or_insert(start);
            self.advance();
            return self.opaque(start, Vec::new());
        }
        self.nesting += 1;
        let kind = read(self);
        self.nesting -= 1;
        self.node(start, kind)
    }

    /// Skips blanks, comments, line continuations, and new lines if `lines` is set.
    fn skip(&mut self, lines: bool) {
        while let Some(next) = self.peek() {
            match next {
                '\r' | '\n' if !lines => return,
                '`' if matches!(self.peek_second(), Some('\r' | '\n')) => {
                    self.advance();
                    while matches!(self.peek(), Some('\r' | '\n')) {
                        self.advance();
                    }
                }
                '#' => {
                    let end = memchr::memchr2(b'\r', b'\n', self.rest().as_bytes());
                    self.at = end.map_or(self.text.len(), |end| self.at + end);
                }
                '<' if self.peek_second() == Some('#') => {
                    let end = memchr::memmem::find(self.rest().as_bytes(), b"#>");
                    self.at = end.map_or(self.text.len(), |end| self.at + end + 2);
                }
                _ if next.is_whitespace() => {
                    self.advance();
                }
                _ => return,
            }
        }
    }

    fn skip_here(&mut self) {
        self.skip(self.lines_join);
    }

    /// Parses statements up to a closing bracket, which is not consumed; at the top level, to the
    /// end of the text.
    fn statements(&mut self, closer: Option<char>) -> Vec<SyntaxNode> {
        let mut statements = Vec::new();
        loop {
            self.skip(true);
            match self.peek() {
                None => return statements,
                Some(')' | '}' | ']') if closer.is_some() => return statements,
                Some(')' | '}' | ']' | ';' | '|') => {
                    self.advance();
                }
                Some('&') if self.peek_second() == Some('&') => self.at += 2,
                Some(_) => {
                    let before = self.at;
                    statements.push(self.statement());
                    if self.at == before {
                        self.advance();
                    }
                }
            }
        }
    }

    /// Parses statements between brackets, both brackets included.
    fn bracketed(&mut self, closer: char, lines_join: bool) -> Vec<SyntaxNode> {
        self.advance();
        let outside = std::mem::replace(&mut self.lines_join, lines_join);
        let statements = self.statements(Some(closer));
        self.lines_join = outside;
        self.take(closer);
        statements
    }

    fn statement(&mut self) -> SyntaxNode {
        let start = self.at;
        let word: String =
            self.rest().chars().take(13).take_while(char::is_ascii_alphabetic).collect();
        let whole = !self.text[start + word.len()..].starts_with(|next: char| {
            next.is_ascii_alphanumeric() || matches!(next, '-' | '_' | '.' | '\\' | ':' | '`' | '/')
        });
        if !whole {
            return self.pipeline();
        }
        let before = self.script.assigned.len();
        let keyword = word.to_ascii_lowercase();
        match keyword.as_str() {
            "if" => self.nested(|parser| {
                parser.at += word.len();
                let branches = parser.branches();
                NodeKind::If { branches, assigned: parser.assigned_since(before) }
            }),
            "for" | "while" => self.nested(|parser| {
                parser.at += word.len();
                let mut parts = parser.loop_head();
                let body = parser.body();
                let assigned = parser.assigned_since(before);
                if keyword == "for" || parts.len() != 1 || parts[0].len() != 1 {
                    return NodeKind::For { parts, body, assigned };
                }
                let condition = Box::new(parts.remove(0).remove(0));
                NodeKind::While { condition, body, assigned }
            }),
            "foreach" if self.text[start + word.len()..].trim_start().starts_with('(') => self
                .nested(|parser| {
                    parser.at += word.len();
                    parser.for_each(before)
                }),
            "function" | "filter" | "workflow" | "class" | "do" | "switch" | "try" | "catch"
            | "finally" | "begin" | "process" | "end" | "trap" | "param" | "until" => {
                self.nested(|parser| {
                    parser.at += word.len();
                    let parts = parser.parts();
                    NodeKind::Opaque { parts, assigned: parser.assigned_since(before) }
                })
            }
            "return" | "throw" | "exit" => {
                self.at += word.len();
                self.skip(false);
                self.pipeline()
            }
            _ => self.pipeline(),
        }
    }

    /// Returns the range of names assigned since there were `before` names.
    fn assigned_since(&self, before: usize) -> AssignedNames {
        before..self.script.assigned.len()
    }

    fn branches(&mut self) -> Vec<(Option<SyntaxNode>, Vec<SyntaxNode>)> {
        let mut branches = Vec::new();
        loop {
            self.skip(true);
            let condition = (self.peek() == Some('(')).then(|| self.primary());
            let last = condition.is_none();
            branches.push((condition, self.body()));
            let end = self.at;
            self.skip(true);
            let word: String =
                self.rest().chars().take(7).take_while(char::is_ascii_alphabetic).collect();
            match word.to_ascii_lowercase().as_str() {
                "elseif" | "else" if !last => self.at += word.len(),
                _ => {
                    self.at = end;
                    return branches;
                }
            }
        }
    }

    /// Parses the parts between a loop's round brackets, which semicolons separate.
    fn loop_head(&mut self) -> Vec<Vec<SyntaxNode>> {
        self.skip(true);
        let mut parts = Vec::new();
        if !self.take('(') {
            return parts;
        }
        let outside = std::mem::replace(&mut self.lines_join, true);
        let mut part = Vec::new();
        loop {
            self.skip(true);
            match self.peek() {
                Some(';') => {
                    self.advance();
                    parts.push(std::mem::take(&mut part));
                }
                None | Some(')' | '}' | ']') => break,
                Some(_) => {
                    let before = self.at;
                    part.push(self.pipeline());
                    if self.at == before {
                        self.advance();
                    }
                }
            }
        }
        parts.push(part);
        self.lines_join = outside;
        self.take(')');
        parts
    }

    fn for_each(&mut self, before: usize) -> NodeKind {
        self.skip(true);
        self.take('(');
        let outside = std::mem::replace(&mut self.lines_join, true);
        self.skip(true);
        let variable = self.primary();
        self.skip(true);
        if self.rest().get(..2).is_some_and(|word| word.eq_ignore_ascii_case("in")) {
            self.at += 2;
        }
        self.skip(true);
        let list = Box::new(self.pipeline());
        self.skip(true);
        self.lines_join = outside;
        self.take(')');
        self.record_assigned(&variable);
        let body = self.body();
        let assigned = self.assigned_since(before);
        match variable.kind {
            NodeKind::Variable { name, .. } => NodeKind::ForEach { name, list, body, assigned },
            _ => NodeKind::Opaque { parts: vec![variable, *list], assigned },
        }
    }

    fn body(&mut self) -> Vec<SyntaxNode> {
        self.skip(true);
        match self.peek() {
            Some('{') => self.bracketed('}', false),
            _ => Vec::new(),
        }
    }

    /// Parses the words, brackets and blocks of a statement that is not evaluated.
    fn parts(&mut self) -> Vec<SyntaxNode> {
        let mut parts = Vec::new();
        loop {
            self.skip(false);
            let next = self.peek();
            match next {
                Some('{') => {
                    parts.push(self.primary());
                    return parts;
                }
                Some('(' | '[' | '$') => parts.push(self.primary()),
                None | Some(')' | '}' | ']' | ';' | '|') => return parts,
                Some('\r' | '\n') => {
                    // The block may begin on the next line.
                    self.skip(true);
                    if self.peek() != Some('{') {
                        return parts;
                    }
                }
                Some(_) => {
                    self.advance();
                }
            }
        }
    }

    /// Records the variables that an assignment to `target` changes.
    fn record_assigned(&mut self, target: &SyntaxNode) {
        match &target.kind {
            NodeKind::Variable { name, .. } => self.script.assigned.push(Rc::clone(name)),
            NodeKind::Cast(_, value) => self.record_assigned(value),
            NodeKind::List(values) => values.iter().for_each(|value| self.record_assigned(value)),
            NodeKind::Postfix(base, suffixes)
                if suffixes.iter().all(|suffix| matches!(suffix.kind, SuffixKind::Index(_))) =>
            {
                self.record_assigned(base);
            }
            _ => {}
        }
    }
}

/// Returns whether PowerShell accepts a character as a dash (language specification, 2.2.5).
pub(super) fn is_dash(next: char) -> bool {
    matches!(next, '-' | '\u{2013}' | '\u{2014}' | '\u{2015}')
}

/// Returns whether PowerShell accepts a character as a single quote (language specification,
/// 2.3.5.2).
pub(super) fn is_single_quote(next: char) -> bool {
    matches!(next, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}')
}

/// Returns whether PowerShell accepts a character as a double quote.
pub(super) fn is_double_quote(next: char) -> bool {
    matches!(next, '"' | '\u{201c}' | '\u{201d}' | '\u{201e}')
}

#[cfg(test)]
mod tests;
