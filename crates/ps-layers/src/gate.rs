//! Whether a text may hold layers at all. Most texts hold none, and are left alone after one pass.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// The shortest run of Base64 that is looked into where nothing says that it is some.
pub(super) const SHORTEST_RUN: usize = 32;

/// Signs of what is unwrapped. Where a text is run something must be
/// encoded, put together or escaped to be a layer.
static SIGNS: LazyLock<Regex> = LazyLock::new(|| {
    let signs = [
        // Base64, as an argument and anywhere.
        r"[-/\xE2]\S{0,3}e(?:c|n[a-z]*)?[\x22']?\s+[\x22']*[a-z0-9+/]{8}",
        r"[a-z0-9+/]{32}",
        "frombase64",
        // Texts put together: 'a'+'b', -join, '{1}{0}'-f, [char]97.
        r#"['"\]][\s)]*\+[\s(]*(?:\\?['"]|\$)"#,
        r"(?:&|\.|iex|expression)\s*\(+\s*\$[\w:]+\s*\+",
        r#"\+=\s*['"]"#,
        r"-join\b|::join\b|::concat\b|::format\b",
        r#"-f[\s(]*(?:\\?['"]|\[)"#,
        r"\[char",
        r"-bxor\b",
        r"\biex\b|invoke-expression|invokescript|newscriptblock|scriptblock\]::create",
        // Texts taken apart and turned round.
        r#"['"][\s)]*(?:-[ic]?replace|-[ic]?split|\.\s*['"(]*(?:replace|split|insert|substring|remove|trim|tolower|toupper))"#,
        r#"['"]\s*\["#,
        r"::reverse|righttoleft|\[\s*-\s*1\s*\.\.",
        "(?:gzip|deflate)stream",
        // Escapes that escape nothing, and names that hide: Ne`w, ${=}, .'Foo'.
        r"(?-i:[A-Za-z]`[A-Zc-eg-mo-qsuw-z1-9])",
        r#"\$\{[!-/;-@\[-^`{|~]"#,
        r#"[&.]\s*\(?\s*\\?['"][\w`-]+\\?['"]"#,
        // cmd's escapes and variables.
        r"[a-z]\^[a-z]",
        "%[a-z_]+:",
        r"\bset\s+\w+=",
    ];
    Regex::new(&format!("(?i-u){}", signs.join("|"))).expect("the pattern is fixed")
});

/// Whether there is anything to unwrap in a text: too often yes, never wrongly no.
pub(super) fn may_hold_layers(text: &str) -> bool {
    SIGNS.is_match(text.as_bytes())
}
