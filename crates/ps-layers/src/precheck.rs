//! A quick check whether a text may contain layers at all. Most texts contain none and need only
//! this one pass.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// Shortest run of Base64 that is decoded when nothing marks it as Base64.
pub(super) const SHORTEST_RUN: usize = 32;

/// Signs of something to unwrap. A call of an interpreter alone is not enough: something must be
/// encoded, assembled or escaped to be a layer.
static SIGNS: LazyLock<Regex> = LazyLock::new(|| {
    let signs = [
        // Base64, as an argument or anywhere.
        r"[-/\xE2]\S{0,3}e(?:c|n[a-z]*)?[\x22']?\s+[\x22']*[a-z0-9+/]{8}",
        r"[a-z0-9+/]{32}",
        "frombase64",
        // Assembled texts: 'a'+'b', -join, '{1}{0}'-f, [char]97.
        r#"['"\]][\s)]*\+[\s(]*(?:\\?['"]|\$)"#,
        r"(?:&|\.|iex|expression)\s*\(+\s*\$[\w:]+\s*\+",
        r#"\+=\s*['"]"#,
        r"-join\b|::join\b|::concat\b|::format\b",
        r#"-f[\s(]*(?:\\?['"]|\[)"#,
        r"\[char",
        r"-bxor\b",
        r"\biex\b|invoke-expression|invokescript|newscriptblock|scriptblock\]::create",
        // Texts that are split, replaced or reversed.
        r#"['"][\s)]*(?:-[ic]?replace|-[ic]?split|\.\s*['"(]*(?:replace|split|insert|substring|remove|trim|tolower|toupper))"#,
        r#"['"]\s*\["#,
        r"::reverse|righttoleft|\[\s*-\s*1\s*\.\.",
        "(?:gzip|deflate)stream",
        // Needless escapes, and names that hide something: Ne`w, ${=}, .'Foo'.
        r"(?-i:[A-Za-z]`[A-Zc-eg-mo-qsuw-z1-9])",
        r#"\$\{[!-/;-@\[-^`{|~]"#,
        r#"[&.]\s*\(?\s*\\?['"][\w`-]+\\?['"]"#,
        // Escapes and variables of cmd.
        r"[a-z]\^[a-z]",
        "%[a-z_]+:",
        r"\bset\s+\w+=",
    ];
    Regex::new(&format!("(?i-u){}", signs.join("|"))).expect("the pattern is fixed")
});

/// Returns whether a text may contain something to unwrap. It may say yes too often, but never
/// wrongly no.
pub(super) fn may_contain_layers(text: &str) -> bool {
    SIGNS.is_match(text.as_bytes())
}
