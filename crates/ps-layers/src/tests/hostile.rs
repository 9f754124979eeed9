//! Texts that are made to be expensive.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

fn stopped(text: &str) -> Option<UnwrapLimit> {
    unwrap(text).stopped.map(|stopped| stopped.limit)
}

fn gzip(text: &str) -> String {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    STANDARD.encode(encoder.finish().unwrap())
}

#[test]
fn a_nest_of_a_hundred_layers_ends_at_the_depth() {
    let nest = (0..100).fold("whoami".to_owned(), |inner, _| {
        format!("iex (New-Object IO.StreamReader('{}'))", gzip(&inner))
    });
    let found = unwrap(&nest);
    assert_eq!(found.stopped.map(|stopped| stopped.limit), Some(UnwrapLimit::Depth));
    assert_eq!(found.layers.len(), UnwrapLimits::default().depth);
    // Twenty of them, and a text that can be read at the end.
    let nest = (0..19).fold("whoami".to_owned(), |inner, _| {
        format!("iex (New-Object IO.StreamReader('{}'))", gzip(&inner))
    });
    let found = unwrap(&nest);
    assert_eq!(found.stopped, None);
    assert_eq!(found.layers.last().unwrap().text, "whoami");
}

/// Makes a gzip stream of this many MiB of one letter.
fn bomb(mebibytes: usize) -> Vec<u8> {
    // After a full flush a block stands alone, and can be repeated.
    let mut compress = Compress::new(Compression::best(), false);
    let mut block = Vec::with_capacity(1 << 16);
    let status = compress.compress_vec(&[b'a'; 1 << 20], &mut block, FlushCompress::Full);
    assert_eq!((status.is_ok(), compress.total_in()), (true, 1 << 20));
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    for _ in 0..mebibytes {
        stream.extend(&block);
    }
    stream
}

#[test]
fn a_bomb_of_a_gibibyte_ends_at_the_bytes() {
    let bomb = STANDARD.encode(bomb(1024));
    for text in [
        format!("$x='{bomb}'"),
        format!(
            "iex (New-Object IO.StreamReader((New-Object IO.Compression.GzipStream([IO.MemoryStream][Convert]::FromBase64String(\"{bomb}\".Trim()), 'Decompress')))).ReadToEnd()"
        ),
    ] {
        let found = unwrap(&text);
        assert_eq!(found.stopped, Some(Stopped { limit: UnwrapLimit::Bytes, layer: None }));
        // The beginning of the text is enough evidence.
        assert!(found.layers[0].text.starts_with("aaaa"));
        assert!(found.layers.iter().map(|layer| layer.text.len()).sum::<usize>() < 1 << 20);
    }
}

#[test]
fn work_without_end_ends() {
    for text in [
        "$a = 'x'; while ($true) { $a += 'x' }; iex ($a+'b')",
        "for ($i = 0; $i -ge 0; $i++) { $s += [char]65 }",
        "$a = { & $a }; & $a; iex ('b'+'c')",
        "iex ('ab' * 2000000000)",
        "$a='ab'*9999; 1..9999 | % { $b = $a + $_ }; iex ('b'+'c')",
        "1..2000000000 | % { [char]$_ }",
        "iex ('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' -replace '(a+)+$|(a*)*b','b')",
        "iex ('ab'.Replace('a','ab'*99999).Replace('a','ab'*99999).Replace('a','ab'*99999))",
        "$a=1; for ($i=0;$i -lt 99999;$i++) { $a = ,$a } ; iex ('b'+'c')",
        "$a=@(1); for ($i=0;$i -lt 99999;$i++) { $a[0] = $a } ; iex ('b'+'c')",
        "$a=1; for ($i=0;$i -lt 99999;$i++) { $a = gci variable:a } ; iex ('b'+'c')",
        "$b=1..99999; for ($i=0;$i -lt 9999999;$i++) { $c = $b -band 1; $d = $b -eq $i } ; iex ('b'+'c')",
        "1..99999 | % { 'a' -replace \"\\w{9}$_\",'b' } ; iex ('b'+'c')",
        "-join [char[]](65,66); $x=@(1); while ($x) { $x += $x }",
    ] {
        let found = unwrap(text);
        assert!(found.layers.iter().all(|layer| layer.text.len() < 1 << 20), "{text}");
    }
    assert_eq!(stopped("$a=''; while ($true) { $a += [char]65 }"), Some(UnwrapLimit::Steps));
    // Each is twice as long as the one above.
    let doubling = format!("$a='ab'; {}; iex ($a+'c')", "$a=$a+$a+'';".repeat(60));
    assert!(matches!(stopped(&doubling), Some(UnwrapLimit::Steps | UnwrapLimit::Bytes)));
}

#[test]
fn lines_for_cmd_that_grow_are_work() {
    // A variable is set to a text longer than its reference, and each layer has more lines than
    // the one above.
    let line = include_bytes!("../../../../fuzz/corpus/layers/cmd-that-grows");
    assert_eq!(stopped(&String::from_utf8_lossy(line)), Some(UnwrapLimit::Steps));
}

#[test]
fn uses_of_a_long_variable_are_work() {
    let long = "x".repeat(60_000);
    // Each use takes one letter out of 60,000, which it has to count.
    let letters = format!("cmd /c \"set a={long}&echo {}\"", "%a:~5,1%".repeat(20_000));
    assert_eq!(stopped(&letters), Some(UnwrapLimit::Steps));
    // 300,000 letters, each of which would become 300,000: 90 GB.
    let (x, y) = ("x".repeat(300_000), "y".repeat(300_000));
    let letters = format!("cmd /c \"set a={x}&echo %a:x={y}%\"");
    let found = unwrap(&letters);
    assert!(found.layers.iter().all(|layer| layer.text.len() < 2 * letters.len()));
}

#[test]
fn commands_in_lines_that_grow_are_work() {
    let line = include_bytes!("../../../../fuzz/corpus/layers/cmd-with-many-commands");
    assert_eq!(stopped(&String::from_utf8_lossy(line)), Some(UnwrapLimit::Steps));
}

#[test]
fn brackets_without_end_overflow_nothing() {
    for deep in [
        "(", "$(", "@{a=", "{", "\"$(", "[char]", "-join ", "$a=", "iex (", "if(1){", "& {",
        "'a'+(",
    ] {
        let count = if deep == "(" { 100_000 } else { 10_000 };
        let text = format!("iex ('b'+'c'); {}", deep.repeat(count));
        let found = unwrap(&text);
        assert!(found.stopped.is_some(), "{deep}");
    }
}

#[test]
fn many_layers_side_by_side_are_counted() {
    let many: String = (0..300).map(|n| format!("iex ('who'+'ami {n}');")).collect();
    let found = unwrap(&many);
    assert_eq!(found.stopped.map(|stopped| stopped.limit), Some(UnwrapLimit::Layers));
    assert!(found.layers.len() <= UnwrapLimits::default().layers);
}

#[test]
fn the_same_text_gives_the_same_layers() {
    let text =
        "$a = 'x'; 1..300 | % { $a += 'ab' }; iex ($a -replace 'ab','b'); &('i'+'ex') ('a'+'b')";
    assert_eq!(unwrap(text), unwrap(text));
}

/// Generates pieces of obfuscated texts.
fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "iex ",
        "('a'+'b')",
        "$x",
        "=",
        "+=",
        "+",
        "-f ",
        "-join ",
        "''",
        "\"",
        "'",
        "{0}",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "[char]",
        "65",
        "-1",
        "..",
        ",",
        "|",
        "%{",
        "$_",
        "-bxor ",
        "0x35",
        "`",
        "for(",
        "foreach($x in ",
        "while(",
        "if(",
        ";",
        "\n",
        "$(",
        "@(",
        ".Replace(",
        ".Length",
        "[Convert]::FromBase64String(",
        "aaaa",
        "cmd /c ",
        "powershell -enc ",
        "^",
        "%x%",
        "&",
        "!",
        "++",
        "${",
        "@'",
        "*",
        "9",
        "-split ",
        "New-Object IO.MemoryStream",
        "é",
        "\u{1f600}",
        "# ",
        "<#",
        "[array]::Reverse($x)",
        ".Substring(",
        "sv x ",
        "::",
        "\\\"",
    ]);
    prop_oneof![9 => words.prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let limits = UnwrapLimits { bytes: 1 << 16, steps: 50_000, ..UnwrapLimits::default() };
    let found = find_layers(text, &limits);
    prop_assert!(found.layers.len() <= limits.layers);
    prop_assert!(found.layers.iter().map(|layer| layer.text.len()).sum::<usize>() <= limits.bytes);
    for (index, layer) in found.layers.iter().enumerate() {
        prop_assert!(layer.parent.is_none_or(|parent| parent < index));
        prop_assert!(!layer.text.trim().is_empty());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_ends_within_the_limits(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn any_script_ends_within_the_limits(pieces in prop::collection::vec(piece(), 0..60)) {
        check(&pieces.concat())?;
    }
}
