use super::*;
use crate::syntax::BinaryOperator;

/// Parses a text and returns its only statement.
fn only(text: &str) -> NodeKind {
    let mut statements = parse(text).statements;
    assert_eq!(statements.len(), 1, "{text}: {statements:?}");
    statements.remove(0).kind
}

#[test]
fn operators_bind_as_about_operator_precedence_says() {
    // -f binds tighter than +, + tighter than -join.
    let NodeKind::Chain(_, more) = only("'a' + '{0}' -f 'b' -join ''") else { panic!() };
    assert_eq!(more.len(), 1);
    assert_eq!(more[0].0, BinaryOperator::Join);
    // One list of operators for a long sum: nothing nests.
    let NodeKind::Chain(_, more) = only(&format!("'a'{}", "+'a'".repeat(500))) else { panic!() };
    assert_eq!(more.len(), 500);
    // A unary operator takes the first of a list only.
    let NodeKind::List(values) = only("-join 'a','b'") else { panic!() };
    assert!(matches!(values[0].kind, NodeKind::Unary(..)));
}

#[test]
fn names_lose_their_scope_case_and_ticks() {
    for text in ["$Foo", "${F`oo}", "$script:foo", "${variable:FOO}"] {
        let NodeKind::Variable { name, .. } = only(text) else { panic!("{text}") };
        assert_eq!(&*name, "foo", "{text}");
    }
    let NodeKind::Variable { name, .. } = only("$env:ComSpec") else { panic!() };
    assert_eq!(&*name, "env:comspec");
    let NodeKind::Variable { name, .. } = only("${]!}") else { panic!() };
    assert_eq!(&*name, "]!");
}

#[test]
fn strings_end_at_their_quotes() {
    let text = |text: &str| match only(text) {
        NodeKind::Text { value, ticked } => (value.to_string(), ticked),
        kind => panic!("{kind:?}"),
    };
    assert_eq!(text("'it''s'"), ("it's".into(), false));
    assert_eq!(text("\u{2018}typed\u{2019}"), ("typed".into(), false));
    assert_eq!(text(r#""a ""b"" `"c`"""#), (r#"a "b" "c""#.into(), false));
    assert_eq!(text("\"a`nb\""), ("a\nb".into(), false));
    // Windows PowerShell does not know `e.
    assert_eq!(text("\"inv`ok`e\""), ("invoke".into(), true));
    assert_eq!(text("@'\r\nit's\r\n'@"), ("it's".into(), false));
    assert_eq!(text("'never closed"), ("never closed".into(), false));
}

#[test]
fn statements_are_distinguished() {
    let count = |text: &str| parse(text).statements.len();
    assert_eq!(count("a; b\nc | d\n# e; f\n<# g;\nh #> i"), 4);
    assert_eq!(count("if (1) { a; b } elseif (2) { c } else { d }; e"), 2);
    assert_eq!(count("('a' +\n'b')\n'c'"), 2);
    assert_eq!(count("$a = 'b' `\r\n + 'c'"), 1);
    assert_eq!(count(") } ] a"), 1);
}

#[test]
fn assignments_are_recorded() {
    let script = parse("$a = 1; foreach ($b in 2) { $c += 3; $d++ } ; [int]$e = 4; $f[0] = 5");
    let names: Vec<&str> = script.assigned.iter().map(|name| &**name).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn deep_texts_are_left_shallow() {
    for deep in ["(", "$(", "@(", "{", "@{", "\"$(", "[char]", "!", "-join ", "$a=", "$a[", "$a.b("]
    {
        let script = parse(&deep.repeat(20_000));
        assert!(script.too_deep.is_some(), "{deep}");
    }
    for flat in
        ["if(1){}else", "a|", "'a'+", "1,", ",", "&", ")", "]", "${", "[[", "a.b", "@'", "% {};"]
    {
        parse(&flat.repeat(20_000));
    }
    assert!(parse(&"((('a'+'b')))".repeat(100)).too_deep.is_none());
}
