//! The syntax tree that the parser builds: the part of PowerShell's grammar that obfuscators use.

use std::ops::Range;
use std::rc::Rc;

/// A part of the text with its kind.
#[derive(Debug)]
pub(super) struct SyntaxNode {
    /// Byte range in the text.
    pub span: Range<usize>,
    pub kind: NodeKind,
}

/// The names that the statements of a loop or branch assign: a range of
/// [`ParsedScript::assigned`].
pub(super) type AssignedNames = Range<usize>;

#[derive(Debug)]
pub(super) enum NodeKind {
    /// A literal string. `ticked` means that it contained needless escapes.
    Text {
        value: Rc<String>,
        ticked: bool,
    },
    /// A bare word: the name of a command or member, or an argument.
    Word {
        value: Rc<String>,
        ticked: bool,
    },
    /// `-Name` among a command's arguments.
    Parameter(Rc<String>),
    Number(i64),
    /// A double-quoted string, or a word, that contains values.
    Expand(Vec<SyntaxNode>),
    /// The lower-case name of a variable, with its drive but without `variable:` and scopes.
    Variable {
        name: Rc<str>,
        ticked: bool,
    },
    /// Operators of one precedence, from left to right.
    Chain(Box<SyntaxNode>, Vec<(BinaryOperator, SyntaxNode)>),
    Unary(UnaryOperator, Box<SyntaxNode>),
    Cast(Rc<str>, Box<SyntaxNode>),
    /// `[name]`, lower-case and without `system.`.
    Type(Rc<str>),
    /// A value with suffixes: members, calls and indices.
    Postfix(Box<SyntaxNode>, Vec<Suffix>),
    /// `(…)`.
    Paren(Vec<SyntaxNode>),
    /// `$(…)`, or `@(…)` when `array`.
    Sub {
        body: Vec<SyntaxNode>,
        array: bool,
    },
    /// `@{…}`.
    Hash(Vec<SyntaxNode>),
    /// `{…}`.
    Block(Rc<BlockNode>),
    /// `a, b`; or `, a`.
    List(Vec<SyntaxNode>),
    Assign {
        target: Box<SyntaxNode>,
        operator: Option<BinaryOperator>,
        value: Box<SyntaxNode>,
    },
    Pipeline(Vec<SyntaxNode>),
    Command {
        invoked: bool,
        name: Box<SyntaxNode>,
        arguments: Vec<SyntaxNode>,
    },
    /// Conditions with their branches; a last branch without condition is `else`.
    If {
        branches: Vec<(Option<SyntaxNode>, Vec<SyntaxNode>)>,
        assigned: AssignedNames,
    },
    For {
        parts: Vec<Vec<SyntaxNode>>,
        body: Vec<SyntaxNode>,
        assigned: AssignedNames,
    },
    ForEach {
        name: Rc<str>,
        list: Box<SyntaxNode>,
        body: Vec<SyntaxNode>,
        assigned: AssignedNames,
    },
    While {
        condition: Box<SyntaxNode>,
        body: Vec<SyntaxNode>,
        assigned: AssignedNames,
    },
    /// Any other syntax: its parts are evaluated, its value is unknown.
    Opaque {
        parts: Vec<SyntaxNode>,
        assigned: AssignedNames,
    },
}

/// The statements of a script block.
#[derive(Debug)]
pub(super) struct BlockNode {
    pub body: Vec<SyntaxNode>,
    pub assigned: AssignedNames,
}

#[derive(Debug)]
pub(super) struct Suffix {
    pub end: usize,
    pub kind: SuffixKind,
}

#[derive(Debug)]
pub(super) enum SuffixKind {
    Member(SyntaxNode),
    Call(SyntaxNode, Vec<SyntaxNode>),
    Index(SyntaxNode),
    /// `++` or `--`.
    Step(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnaryOperator {
    Not,
    BitNot,
    Minus,
    Plus,
    Join,
    Split,
    /// `++` or `--` before a variable.
    Step(i64),
}

/// Binary operators, in the order of about_Operator_Precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BinaryOperator {
    And,
    Or,
    Xor,
    BitAnd,
    BitOr,
    BitXor,
    Equal {
        negated: bool,
        case: bool,
    },
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Replace {
        case: bool,
    },
    Split {
        case: bool,
    },
    Join,
    As,
    ShiftLeft,
    ShiftRight,
    /// `-like`, `-match`, `-is` and others, which are not used for decoding.
    Other,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Format,
    Range,
}

impl BinaryOperator {
    /// Returns the precedence; the loosest operators have 0.
    pub fn precedence(self) -> u8 {
        use BinaryOperator::*;
        match self {
            And | Or | Xor => 0,
            BitAnd | BitOr | BitXor => 1,
            Equal { .. }
            | Less
            | LessOrEqual
            | Greater
            | GreaterOrEqual
            | Replace { .. }
            | Split { .. }
            | Join
            | As
            | ShiftLeft
            | ShiftRight
            | Other => 2,
            Add | Subtract => 3,
            Multiply | Divide | Modulo => 4,
            Format => 5,
            Range => 6,
        }
    }

    /// Finds the operator with this name after the dash.
    pub fn from_name(name: &str) -> Option<BinaryOperator> {
        let name = name.to_ascii_lowercase();
        let case = name.starts_with('c') && name.len() > 3;
        Some(match name.as_str() {
            "f" => BinaryOperator::Format,
            "and" => BinaryOperator::And,
            "or" => BinaryOperator::Or,
            "xor" => BinaryOperator::Xor,
            "band" => BinaryOperator::BitAnd,
            "bor" => BinaryOperator::BitOr,
            "bxor" => BinaryOperator::BitXor,
            "shl" => BinaryOperator::ShiftLeft,
            "shr" => BinaryOperator::ShiftRight,
            "eq" | "ieq" | "ceq" => BinaryOperator::Equal { negated: false, case: name == "ceq" },
            "ne" | "ine" | "cne" => BinaryOperator::Equal { negated: true, case: name == "cne" },
            "lt" | "ilt" | "clt" => BinaryOperator::Less,
            "le" | "ile" | "cle" => BinaryOperator::LessOrEqual,
            "gt" | "igt" | "cgt" => BinaryOperator::Greater,
            "ge" | "ige" | "cge" => BinaryOperator::GreaterOrEqual,
            "replace" | "ireplace" | "creplace" => BinaryOperator::Replace { case },
            "split" | "isplit" | "csplit" => BinaryOperator::Split { case },
            "join" => BinaryOperator::Join,
            "as" => BinaryOperator::As,
            "is" | "isnot" | "like" | "ilike" | "clike" | "notlike" | "inotlike" | "cnotlike"
            | "match" | "imatch" | "cmatch" | "notmatch" | "inotmatch" | "cnotmatch"
            | "contains" | "icontains" | "ccontains" | "notcontains" | "inotcontains"
            | "cnotcontains" | "in" | "notin" => BinaryOperator::Other,
            _ => return None,
        })
    }
}

/// The syntax tree of a text.
#[derive(Debug, Default)]
pub(super) struct ParsedScript {
    pub statements: Vec<SyntaxNode>,
    /// Names, in the order in which they are assigned in the text.
    pub assigned: Vec<Rc<str>>,
    /// Position where brackets are nested too deep, if they are.
    pub too_deep: Option<usize>,
}

/// Returns a variable's name as it is looked up: lower-case and without scope.
pub(super) fn variable_name(name: &str) -> String {
    let name = name.to_lowercase();
    let scoped = ["variable:", "global:", "script:", "local:", "private:"];
    match scoped.iter().find_map(|scope| name.strip_prefix(scope)) {
        Some(bare) => bare.trim_start_matches(['/', '\\']).to_owned(),
        None => name,
    }
}
