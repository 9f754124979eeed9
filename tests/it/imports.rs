//! Imports run one way. The order is the table "Import order" in ARCHITECTURE.md, and within
//! `reconstruct` the table "Floors of reconstruct".
//!
//! Each file is read as tokens, so that comments and texts are no imports. What counts is every `use`
//! and every path that begins with `crate`, `self`, `super` or one of our crates. Code that is compiled
//! for tests only does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use crate::common::root;

#[test]
fn imports_run_one_way() {
    let found = violations(&root());
    assert!(found.is_empty(), "{} of them:\n{}", found.len(), found.join("\n"));
}

/// All that is against the import order in the tree below a folder, a line each.
fn violations(root: &Path) -> Vec<String> {
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let order = order(&architecture);
    let sources = Sources::read(root);
    let mut found = order.misfits(&sources.parts());
    let imports = sources.imports();
    for import in &imports {
        found.extend(order.refuse(import));
    }
    found.extend(circles(&imports));
    found
}

#[test]
fn the_floors_of_reconstruct_run_one_way() {
    let found = against_floors(&root());
    assert!(found.is_empty(), "{} of them:\n{}", found.len(), found.join("\n"));
}

/// All that is against the floors of `reconstruct`, and the circles of its files, a line each.
fn against_floors(root: &Path) -> Vec<String> {
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let order = floors(&architecture);
    let sources = Sources::read(root);
    let mut found = order.misfits(&sources.all(Sources::floor));
    let imports = sources.between(Sources::floor);
    found.extend(imports.iter().filter_map(|import| order.refuse(import)));
    found.extend(circles(&sources.between(Sources::file_of_reconstruct)));
    found
}

/// The parts of the tree, from the ground up.
struct Order(Vec<String>);

/// Reads the parts from the first column of the table.
fn order(architecture: &str) -> Order {
    let section = section(architecture, "Import order");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    Order(rows.map(str::to_owned).collect())
}

/// The folder whose files have an order of their own.
const RECONSTRUCT: &str = "reconstruct";

/// Reads the files of `reconstruct` from the second column of the table; its `mod.rs` is above all of
/// them.
fn floors(architecture: &str) -> Order {
    let section = section(architecture, "Floors of reconstruct");
    let columns = section.lines().filter_map(|line| line.split('|').nth(2));
    let files = columns.flat_map(|column| column.split('`').skip(1).step_by(2));
    let files = files.map(|file| format!("{RECONSTRUCT}::{file}"));
    Order(files.chain([RECONSTRUCT.to_owned()]).collect())
}

/// What lies below a heading.
fn section<'a>(architecture: &'a str, heading: &str) -> &'a str {
    let section = architecture.split(&format!("\n## {heading}\n")).nth(1);
    section.expect("the order is stated").split("\n## ").next().unwrap_or_default()
}

impl Order {
    fn place(&self, part: &str) -> Option<usize> {
        self.0.iter().position(|known| known == part)
    }

    /// The parts that the table or the tree has alone, and those that the table has twice.
    fn misfits(&self, parts: &BTreeSet<String>) -> Vec<String> {
        let unstated = parts.iter().filter(|part| self.place(part).is_none());
        let unstated = unstated.map(|part| format!("`{part}` is not in the import order"));
        let stale = self.0.iter().filter(|part| !parts.contains(*part));
        let stale =
            stale.map(|part| format!("`{part}` is in the import order and not in the tree"));
        let twice = self.0.iter().enumerate().filter(|(at, part)| self.place(part) != Some(*at));
        let twice = twice.map(|(_, part)| format!("`{part}` is in the import order twice"));
        unstated.chain(stale).chain(twice).collect()
    }

    /// Why an import is against the order, if it is.
    fn refuse(&self, import: &Import) -> Option<String> {
        let Import { place, path, from, to } = import;
        (self.place(from)? < self.place(to)?).then(|| {
            format!(
                "{place}: `{path}`: `{from}` must not import `{to}`, which is below it in the order"
            )
        })
    }
}

/// An import of one part by another.
struct Import {
    /// File and line.
    place: String,
    /// As it is written, braces taken apart.
    path: String,
    from: String,
    to: String,
}

/// Each circle of parts once, with an import for each step.
fn circles(imports: &[Import]) -> Vec<String> {
    let mut steps: BTreeMap<&str, BTreeMap<&str, &Import>> = BTreeMap::new();
    for import in imports {
        steps.entry(&import.from).or_default().entry(&import.to).or_insert(import);
    }
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    for import in steps.values().flat_map(BTreeMap::values) {
        let Some(back) = way(&steps, &import.to, &import.from) else { continue };
        let circle: Vec<&Import> = [*import].into_iter().chain(back).collect();
        if known.insert(circle.iter().map(|step| &step.from).collect::<BTreeSet<_>>()) {
            let steps = circle
                .iter()
                .map(|step| format!("`{}` imports `{}` ({})", step.from, step.to, step.place));
            found.push(format!("a circle: {}", steps.collect::<Vec<_>>().join(", ")));
        }
    }
    found
}

/// The shortest way from a part to another.
fn way<'i>(
    steps: &BTreeMap<&str, BTreeMap<&str, &'i Import>>,
    from: &str,
    to: &str,
) -> Option<Vec<&'i Import>> {
    let mut reached = BTreeSet::from([from.to_owned()]);
    let mut ways: Vec<Vec<&Import>> = vec![Vec::new()];
    while !ways.is_empty() {
        let mut next = Vec::new();
        for way in ways {
            let end = way.last().map_or(from, |step| &step.to);
            if end == to {
                return Some(way);
            }
            for step in steps.get(end).into_iter().flat_map(BTreeMap::values) {
                if reached.insert(step.to.clone()) {
                    next.push(way.iter().copied().chain([*step]).collect());
                }
            }
        }
        ways = next;
    }
    None
}

/// A crate of the tree.
struct Crate {
    /// As paths in other crates have it.
    name: String,
    /// Its folder below `crates`; none is the program's, whose folders are parts of their own.
    folder: Option<String>,
}

/// A path in a file.
struct Found {
    krate: usize,
    file: PathBuf,
    line: usize,
    /// The module that the path stands in, without the crate.
    module: Vec<String>,
    path: Vec<String>,
}

/// All paths of the tree.
#[derive(Default)]
struct Sources {
    root: PathBuf,
    crates: Vec<Crate>,
    /// The modules, each with its crate.
    modules: BTreeSet<(usize, Vec<String>)>,
    found: Vec<Found>,
}

impl Sources {
    fn read(root: &Path) -> Sources {
        let mut sources = Sources { root: root.to_owned(), ..Sources::default() };
        sources.read_crate(root, None);
        for folder in entries(&root.join("crates")) {
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            sources.read_crate(&folder, Some(name));
        }
        sources
    }

    /// Reads a crate from its root files on.
    fn read_crate(&mut self, folder: &Path, name: Option<String>) {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let package = manifest.split("[package]").nth(1).unwrap_or_default();
        let named = package.lines().find_map(|line| line.strip_prefix("name = \""));
        let named = named.and_then(|rest| rest.split('"').next()).expect("a package has a name");
        self.crates.push(Crate { name: named.replace('-', "_"), folder: name });
        let source = folder.join("src");
        let roots = ["lib.rs", "main.rs"].map(|file| source.join(file)).into_iter();
        let programs = entries(&source.join("bin")).into_iter();
        let programs = programs.map(|path| if path.is_dir() { path.join("main.rs") } else { path });
        for file in roots.chain(programs).filter(|path| path.is_file()) {
            let children = file.parent().unwrap().to_owned();
            self.file(&file, &children, &mut Vec::new());
        }
    }

    /// Reads a file, whose modules lie in the folder `children`.
    fn file(&mut self, file: &Path, children: &Path, module: &mut Vec<String>) {
        let text = fs::read_to_string(file).unwrap();
        let tokens: TokenStream =
            text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.modules.insert((self.crates.len() - 1, module.clone()));
        self.tokens(&tokens_of(tokens), file, children, module);
    }

    fn tokens(&mut self, tokens: &[Token], file: &Path, children: &Path, module: &mut Vec<String>) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match (token, &tokens[at + 1..]) {
                (Token::Mark('#'), [Token::Group(Delimiter::Bracket, attribute), rest @ ..])
                    if is_for_tests(attribute) && item_length(rest).is_some() =>
                {
                    at += 2 + item_length(rest).unwrap_or_default();
                    continue;
                }
                // `pub(in path)` says who may see an item, and imports nothing.
                (Token::Word(word, _), [Token::Group(Delimiter::Parenthesis, inner), ..])
                    if word == "pub" && is_within(inner) =>
                {
                    at += 1;
                }
                (Token::Word(word, line), [next, ..])
                    if word == "use" && !matches!(next, Token::Mark('<')) =>
                {
                    let end =
                        tokens[at..].iter().position(|token| matches!(token, Token::Mark(';')));
                    let end = at + end.expect("a use ends");
                    for path in uses(&tokens[at + 1..end], &[]) {
                        self.push(file, *line, module, path);
                    }
                    at = end;
                }
                (Token::Word(word, _), [Token::Word(name, _), body, ..]) if word == "mod" => {
                    module.push(name.clone());
                    match body {
                        Token::Group(Delimiter::Brace, tokens) => {
                            self.modules.insert((self.crates.len() - 1, module.clone()));
                            self.tokens(tokens, file, &children.join(name), module);
                        }
                        _ => {
                            let plain = children.join(format!("{name}.rs"));
                            let nested = children.join(name).join("mod.rs");
                            let of = if plain.is_file() { plain } else { nested };
                            self.file(&of, &children.join(name), module);
                            // The file that takes its place in other builds.
                            for other in other_paths(&tokens[..at]) {
                                let of = file.with_file_name(other);
                                self.file(&of, &children.join(name), module);
                            }
                        }
                    }
                    module.pop();
                    at += 2;
                }
                (Token::Word(first, line), [Token::Separator, ..]) => {
                    let mut path = vec![first.clone()];
                    while let [Token::Separator, Token::Word(word, _), ..] = &tokens[at + 1..] {
                        path.push(word.clone());
                        at += 2;
                    }
                    self.push(file, *line, module, path);
                }
                // The rest of a path that begins with a type or at no module.
                (Token::Separator, [Token::Word(..), ..]) => at += 1,
                (Token::Group(_, tokens), _) => self.tokens(tokens, file, children, module),
                _ => {}
            }
            at += 1;
        }
    }

    fn push(&mut self, file: &Path, line: usize, module: &[String], path: Vec<String>) {
        let file = file.strip_prefix(&self.root).unwrap().to_owned();
        let (krate, module) = (self.crates.len() - 1, module.to_vec());
        self.found.push(Found { krate, file, line, module, path });
    }

    /// The part that a module of a crate is of, or an item in it.
    fn part(&self, krate: usize, path: &[String]) -> String {
        let is_module = |name: &&String| self.modules.contains(&(krate, vec![(*name).clone()]));
        match &self.crates[krate].folder {
            Some(folder) => format!("crates/{folder}"),
            None => path.first().filter(is_module).map_or("lib", |name| name).to_owned(),
        }
    }

    /// The file or folder of `reconstruct` that a module is of, or an item in it; none is of another part.
    fn floor(&self, krate: usize, path: &[String]) -> Option<String> {
        let file = self.file_of_reconstruct(krate, path)?;
        Some(file.split("::").take(2).collect::<Vec<_>>().join("::"))
    }

    /// The module of `reconstruct` that has an item, or is meant; none is of another part.
    fn file_of_reconstruct(&self, krate: usize, path: &[String]) -> Option<String> {
        let is_module = |end: &usize| self.modules.contains(&(krate, path[..*end].to_vec()));
        let ours = self.part(krate, path) == RECONSTRUCT;
        let end = (1..=path.len()).rev().find(is_module).filter(|_| ours)?;
        Some(path[..end].join("::"))
    }

    fn parts(&self) -> BTreeSet<String> {
        self.all(|sources, krate, module| Some(sources.part(krate, module)))
    }

    /// What the modules of the tree are of.
    fn all(&self, of: impl Fn(&Sources, usize, &[String]) -> Option<String>) -> BTreeSet<String> {
        self.modules.iter().filter_map(|(krate, module)| of(self, *krate, module)).collect()
    }

    /// The crate and the path in it that a path leads to; none leads to a library of others.
    fn target(&self, found: &Found) -> Option<(usize, Vec<String>)> {
        let Found { krate, module, path, .. } = found;
        let first = path.first()?;
        let within = |module: &[String], rest: &[String]| (*krate, [module, rest].concat());
        match first.as_str() {
            "crate" => Some(within(&[], &path[1..])),
            "self" => Some(within(module, &path[1..])),
            "super" => {
                let up = path.iter().take_while(|word| *word == "super").count();
                let above = module.len().checked_sub(up)?;
                Some(within(&module[..above], &path[up..]))
            }
            _ if self.modules.contains(&within(module, &path[..1])) => Some(within(module, path)),
            _ => {
                let krate = self.crates.iter().position(|krate| krate.name == *first)?;
                Some((krate, path[1..].to_vec()))
            }
        }
    }

    /// The imports of one part by another.
    fn imports(&self) -> Vec<Import> {
        self.between(|sources, krate, path| Some(sources.part(krate, path)))
    }

    /// The imports of one by another of what paths are of.
    fn between(&self, of: impl Fn(&Sources, usize, &[String]) -> Option<String>) -> Vec<Import> {
        let import = |found: &Found| {
            let (krate, path) = self.target(found)?;
            let from = of(self, found.krate, &found.module)?;
            let to = of(self, krate, &path)?;
            let place = format!("{}:{}", found.file.display(), found.line);
            (from != to).then(|| Import { place, path: found.path.join("::"), from, to })
        };
        self.found.iter().filter_map(import).collect()
    }
}

/// A token of a file.
enum Token {
    /// A word, with its line.
    Word(String, usize),
    /// `::`
    Separator,
    Mark(char),
    Group(Delimiter, Vec<Token>),
    Literal(String),
}

fn tokens_of(stream: TokenStream) -> Vec<Token> {
    let mut all = Vec::new();
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        all.push(match tree {
            TokenTree::Group(group) => Token::Group(group.delimiter(), tokens_of(group.stream())),
            TokenTree::Ident(word) => {
                let text = word.to_string();
                Token::Word(text.trim_start_matches("r#").to_owned(), word.span().start().line)
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' && mark.spacing() == Spacing::Joint => {
                trees.next();
                Token::Separator
            }
            TokenTree::Punct(mark) => Token::Mark(mark.as_char()),
            TokenTree::Literal(literal) => Token::Literal(literal.to_string()),
        });
    }
    all
}

/// The paths of a `use`, each below what was before its braces.
fn uses(tokens: &[Token], before: &[String]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for tree in tokens.split(|token| matches!(token, Token::Mark(','))) {
        let mut path = before.to_vec();
        let mut is_open = true;
        for token in tree {
            match token {
                Token::Word(word, _) if word == "as" => break,
                Token::Word(word, _) => path.push(word.clone()),
                Token::Group(_, tokens) => {
                    all.extend(uses(tokens, &path));
                    is_open = false;
                }
                _ => {}
            }
        }
        if is_open && !tree.is_empty() {
            all.push(path);
        }
    }
    all
}

/// Whether the parentheses behind `pub` begin with `in`.
fn is_within(visibility: &[Token]) -> bool {
    matches!(visibility, [Token::Word(word, _), ..] if word == "in")
}

/// The files that the attributes at the end of some tokens name for the item that follows.
fn other_paths(before: &[Token]) -> Vec<String> {
    let visible = match before {
        [rest @ .., Token::Word(word, _), Token::Group(Delimiter::Parenthesis, _)]
        | [rest @ .., Token::Word(word, _)]
            if word == "pub" =>
        {
            rest
        }
        all => all,
    };
    let attributes = visible.rchunks(2).map_while(|pair| match pair {
        [Token::Mark('#'), Token::Group(Delimiter::Bracket, tokens)] => Some(tokens),
        _ => None,
    });
    attributes.filter_map(|attribute| path_in(attribute)).collect()
}

/// The file that an attribute names: `path = "..."`, also within `cfg_attr`.
fn path_in(attribute: &[Token]) -> Option<String> {
    attribute.iter().enumerate().find_map(|(at, token)| match (token, attribute.get(at + 1..)?) {
        (Token::Word(word, _), [Token::Mark('='), Token::Literal(text), ..]) if word == "path" => {
            Some(text.trim_matches('"').to_owned())
        }
        (Token::Group(_, tokens), _) => path_in(tokens),
        _ => None,
    })
}

/// Whether an attribute leaves an item to tests.
fn is_for_tests(attribute: &[Token]) -> bool {
    match attribute {
        [Token::Word(word, _)] => word == "test",
        [Token::Word(word, _), Token::Group(_, condition)] if word == "cfg" => {
            needs_test(condition)
        }
        _ => false,
    }
}

/// Whether a condition holds in tests only.
fn needs_test(condition: &[Token]) -> bool {
    match condition {
        [Token::Word(word, _)] => word == "test",
        [Token::Word(word, _), Token::Group(_, inner)] => {
            let mut parts = inner.split(|token| matches!(token, Token::Mark(',')));
            match word.as_str() {
                "all" => parts.any(needs_test),
                "any" => parts.all(needs_test),
                _ => false,
            }
        }
        _ => false,
    }
}

/// The words that an item can begin with.
const ITEMS: [&str; 15] = [
    "async",
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "macro_rules",
    "mod",
    "pub",
    "static",
    "struct",
    "trait",
    "type",
    "unsafe",
    "use",
];

/// How many tokens an item has, with its other attributes; none where it is no item.
fn item_length(tokens: &[Token]) -> Option<usize> {
    let mut at = 0;
    while let [Token::Mark('#'), Token::Group(..), ..] = &tokens[at..] {
        at += 2;
    }
    let item = &tokens[at..];
    let [Token::Word(first, _), ..] = item else { return None };
    if !ITEMS.contains(&first.as_str()) {
        return None;
    }
    // The braces of a `use` are not its end.
    let has_body = first != "use";
    let end = item.iter().position(|token| match token {
        Token::Mark(';') => true,
        Token::Group(Delimiter::Brace, _) => has_body,
        _ => false,
    });
    Some(at + end? + 1)
}

/// What is in a folder, by name; nothing where there is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A tree with the order model, report, analysis, lib, crates/other.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let table = "# A\n\n## Import order\n\n| part | place |\n|---|---|\n| `model` | `ground` |\n\
                 | `report` | |\n| `analysis` | |\n| `lib` | |\n| `crates/other` | |\n\n## Data\n\n\
                 | `none` | |\n";
    let sound = [
        ("ARCHITECTURE.md", table),
        ("Cargo.toml", "[package]\nname = \"our-tool\"\n"),
        ("src/lib.rs", "mod analysis;\nmod model;\npub mod report;\npub use model::Record;\n"),
        ("src/model.rs", "pub struct Record;\n"),
        ("src/report/mod.rs", "mod csv;\nuse crate::model::Record;\nuse csv::Csv;\n"),
        ("src/report/csv.rs", "use super::Record;\npub struct Csv(Record);\n"),
        ("src/analysis.rs", "use crate::{model, report::{self, Csv}};\n"),
        ("crates/other/Cargo.toml", "[package]\nname = \"other\"\n"),
        ("crates/other/src/lib.rs", "use our_tool::report;\n"),
    ];
    for (file, text) in sound.iter().chain(files) {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn a_tree_in_order_has_no_violation() {
    assert_eq!(violations(tree(&[]).path()), Vec::<String>::new());
}

#[test]
fn an_import_against_the_order_is_found_however_it_is_written() {
    let against = |file: &str, text: &str| violations(tree(&[(file, text)]).path());
    let circle = |line: u32, file: &str| {
        format!(
            "a circle: `model` imports `report` ({file}:{line}), `report` imports `model` \
             (src/report/mod.rs:2)"
        )
    };
    let refused = |line: u32, path: &str| {
        format!(
            "src/model.rs:{line}: `{path}`: `model` must not import `report`, which is below it in \
             the order"
        )
    };
    for (text, line, path) in [
        ("use crate::report::Csv;\n", 1, "crate::report::Csv"),
        ("\npub use super::report as r;\n", 2, "super::report"),
        ("use crate::{model::Record, report::csv::{self}};\n", 1, "crate::report::csv::self"),
        ("fn f() {\n    g(&[crate::report::Csv::new()]);\n}\n", 2, "crate::report::Csv::new"),
        ("mod deep {\n    use super::super::report::*;\n}\n", 2, "super::super::report"),
        ("macro_rules! m {\n    () => { $crate::report::f!() };\n}\n", 2, "crate::report::f"),
        ("fn f() {\n    println!(\"{}\", our_tool::report::N);\n}\n", 2, "our_tool::report::N"),
        ("#[cfg(not(test))]\nuse crate::report::Csv;\n", 2, "crate::report::Csv"),
    ] {
        let expected = [refused(line, path), circle(line, "src/model.rs")];
        assert_eq!(against("src/model.rs", text), expected, "{text}");
    }
    assert_eq!(
        against("src/model.rs", "use crate::Record;\n"),
        [
            "src/model.rs:1: `crate::Record`: `model` must not import `lib`, which is below it in \
             the order"
                .to_owned(),
            "a circle: `lib` imports `model` (src/lib.rs:4), `model` imports `lib` (src/model.rs:1)"
                .to_owned(),
        ]
    );
    let lib = "mod analysis;\n#[cfg_attr(unix, path = \"other.rs\")]\n#[doc(hidden)]\npub(crate) mod model;\n\
               mod report;\n";
    let files = [("src/lib.rs", lib), ("src/other.rs", "use crate::report::Csv;\n")];
    let found = violations(tree(&files).path());
    assert!(
        found[0].starts_with("src/other.rs:1: `crate::report::Csv`: `model` must not"),
        "{found:?}"
    );
    let other = against("src/report/csv.rs", "use super::Record;\nuse other::Thing;\n");
    assert_eq!(other.len(), 2, "{other:?}");
    assert!(other[0].starts_with("src/report/csv.rs:2: `other::Thing`: `report` must not import"));
}

#[test]
fn tests_comments_and_texts_import_nothing() {
    let text = "//! See [crate::report].\n// use crate::report::Csv;\n/* crate::report */\n\
                const T: &str = \"use crate::report::Csv;\";\nconst C: char = '\"';\n\
                #[cfg(test)]\nuse crate::report::{Csv};\n\
                #[cfg(all(test, unix))]\n#[allow(unused)]\nmod tests {\n    use crate::report::Csv;\n}\n\
                #[cfg(test)]\nmod more;\n\
                #[test]\nfn f() { crate::report::f() }\n";
    let files = [("src/model.rs", text), ("src/model/more.rs", "use crate::report::Csv;\n")];
    assert_eq!(violations(tree(&files).path()), Vec::<String>::new());
}

#[test]
fn the_order_has_each_part_of_the_tree_once() {
    let lib = "mod analysis;\nmod model;\nmod report;\nmod rows;\n";
    let found = violations(tree(&[("src/lib.rs", lib), ("src/rows.rs", "")]).path());
    assert_eq!(found, ["`rows` is not in the import order"]);
    let lib = "mod model;\nmod report;\n";
    let found = violations(tree(&[("src/lib.rs", lib)]).path());
    assert_eq!(found, ["`analysis` is in the import order and not in the tree"]);
}

/// A tree with floors: `windows`, `marks`, then the folder `commands`, whose files are `list` and `row`.
fn floored(files: &[(&str, &str)]) -> tempfile::TempDir {
    let table = "# A\n\n## Floors of reconstruct\n\n| floor | files | |\n|---|---|---|\n\
                 | ground | `windows`, `marks` | `x` |\n| top | `commands` | |\n\n## Data\n";
    let sound = [
        ("ARCHITECTURE.md", table),
        ("src/lib.rs", "mod analysis;\nmod model;\nmod report;\nmod reconstruct;\n"),
        (
            "src/reconstruct/mod.rs",
            "mod commands;\nmod marks;\nmod windows;\npub use marks::Mark;\n",
        ),
        ("src/reconstruct/windows.rs", "use crate::model::Record;\n"),
        ("src/reconstruct/marks.rs", "use super::windows;\npub struct Mark;\n"),
        ("src/reconstruct/commands/mod.rs", "mod list;\nmod row;\npub use list::list;\n"),
        (
            "src/reconstruct/commands/list.rs",
            "use super::row;\nuse crate::reconstruct::marks::Mark;\npub(in crate::reconstruct) fn list() {}\n",
        ),
        ("src/reconstruct/commands/row.rs", "use super::super::windows;\n"),
    ];
    let all: Vec<(&str, &str)> = sound.iter().chain(files).copied().collect();
    tree(&all)
}

#[test]
fn an_import_against_the_floors_is_found() {
    let against = |file: &str, text: &str| {
        let file = format!("src/reconstruct/{file}");
        against_floors(floored(&[(&file, text)]).path())
    };
    assert_eq!(against_floors(floored(&[]).path()), Vec::<String>::new());
    let found = against("windows.rs", "use super::commands::list;\n");
    assert_eq!(
        found[0],
        "src/reconstruct/windows.rs:1: `super::commands::list`: `reconstruct::windows` must not \
         import `reconstruct::commands`, which is below it in the order"
    );
    assert!(found[1..].iter().all(|found| found.starts_with("a circle: ")), "{found:?}");
    // By a name that `mod.rs` re-exports.
    let found = against("windows.rs", "use super::Mark;\n");
    assert!(found[0].ends_with("must not import `reconstruct`, which is below it in the order"));
    let found = against("commands/row.rs", "use super::list::list;\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("a circle: `reconstruct::commands::list`"), "{found:?}");
    let faces = "mod commands;\nmod marks;\nmod windows;\nmod new;\n";
    let new = [("src/reconstruct/mod.rs", faces), ("src/reconstruct/new.rs", "")];
    let found = against_floors(floored(&new).path());
    assert_eq!(found, ["`reconstruct::new` is not in the import order"]);
}
