use super::*;

mod hostile;
mod tricks;

fn unwrap(text: &str) -> Unwrapped {
    find_layers(text, &UnwrapLimits::default())
}

/// Returns the texts of the layers.
fn texts(text: &str) -> Vec<String> {
    unwrap(text).layers.into_iter().map(|layer| layer.text).collect()
}

/// Returns the text, method and position of the only layer.
fn only(text: &str) -> (String, UnwrapMethod, usize) {
    let mut found = unwrap(text).layers;
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    let layer = found.remove(0);
    (layer.text, layer.how, layer.offset)
}

#[test]
fn plain_scripts_have_no_layers() {
    for plain in [
        "Get-ChildItem -Path C:\\Windows | Where-Object { $_.Length -gt 100kb }",
        "Write-Host \"a`tb`r`n\" ('C:\\' + $name) (\"first line \" + \"second line\")",
        "\"{0} of {1}\" -f $done, $all; $names -join ', '; $text -replace 'a', 'b'",
        "iex 'Get-Date'; powershell -c \"Get-Date\"; & \"$PSScriptRoot\\tool.exe\" -f x",
        "$x = [char]65; [Convert]::FromBase64String($y); if ($a) { $b = 'c' } else { throw 'd' }",
        "# SIG # MIIFYAYJKoZIhvcNAQcCoIIFUTCCBU0CAQExCzAJBgUrDgMCGgUAMGkGCisGAQQB",
        "C:\\Windows\\System32\\svchost.exe -k netsvcs -p -s gpsvc",
        "",
    ] {
        assert_eq!(unwrap(plain), Unwrapped::default(), "{plain}");
    }
}

#[test]
fn layers_know_their_place() {
    // Python: base64.b64encode("&('i'+'ex')('who'+'ami')".encode('utf-16le'))
    let encoded = "JgAoACcAaQAnACsAJwBlAHgAJwApACgAJwB3AGgAbwAnACsAJwBhAG0AaQAnACkA";
    let found = unwrap(&format!("powershell -enc {encoded}"));
    let layer = |text: &str, how, parent, offset| Layer { text: text.into(), how, parent, offset };
    assert_eq!(
        found.layers,
        [
            layer("&('i'+'ex')('who'+'ami')", UnwrapMethod::EncodedCommand, None, 16),
            layer("whoami", UnwrapMethod::Invoked, Some(0), 11),
        ]
    );
}

#[test]
fn what_stands_above_word_for_word_is_looked_into_and_not_repeated() {
    // The positions are those in the whole text: the command begins at 26, the sum at 30.
    let text = "powershell.exe -nop -c iex('who'+'ami /all')";
    assert_eq!(only(text), ("whoami /all".into(), UnwrapMethod::Invoked, 26));
}
