//! The text inside `-EncodedCommand`.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use regex::Regex;

/// Longest decoded text, in characters: longer ones are cut.
pub const MAX_DECODED: usize = 1 << 20;

/// `-e`, `-ec`, `-en` ... `-encodedcommand` with any of the dashes PowerShell takes, then Base64.
///
/// PowerShell resolves a parameter by any unambiguous prefix; `-ec` is an alias of its own
/// (Microsoft's about_PowerShell_exe).
static ENCODED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)(?:^|[\s"'])[-/\u{2013}\u{2014}\u{2015}](?:ec|e(?:n(?:c(?:o(?:d(?:e(?:d(?:c(?:o(?:m(?:m(?:a(?:n(?:d)?)?)?)?)?)?)?)?)?)?)?)?)?)\s+["']?([A-Za-z0-9+/]{8,}={0,2})"#,
    )
    .expect("the pattern is fixed")
});

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The command inside a command line's `-EncodedCommand`: Base64 of UTF-16LE.
///
/// None when there is no such argument or it does not hold text.
pub fn decode_command(text: &str) -> Option<String> {
    ENCODED.captures_iter(text).find_map(|found| decode(&found[1]))
}

fn decode(argument: &str) -> Option<String> {
    let bytes = BASE64.decode(argument).ok().filter(|bytes| bytes.len() % 2 == 0)?;
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let decoded: String =
        char::decode_utf16(units).take(MAX_DECODED).collect::<Result<_, _>>().ok()?;
    // Any word is Base64 of something: PowerShell's own words are ASCII, chance's are not.
    let ascii = decoded.chars().filter(char::is_ascii).count();
    let readable = decoded.chars().all(|c| !c.is_control() || c.is_whitespace());
    let command = readable && 2 * ascii >= decoded.chars().count();
    (command && !decoded.trim().is_empty()).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    // `whoami` in UTF-16LE: 77 00 68 00 6f 00 61 00 6d 00 69 00.
    const WHOAMI: &str = "dwBoAG8AYQBtAGkA";

    #[test]
    fn all_spellings_of_the_parameter() {
        for flag in ["-e", "-ec", "-enc", "-EncodedCommand", "/enc", "\u{2013}EnCod"] {
            let line = format!("powershell.exe -NoP {flag} {WHOAMI}");
            assert_eq!(decode_command(&line).as_deref(), Some("whoami"), "{flag}");
        }
    }

    #[test]
    fn other_parameters_and_other_bytes_are_no_command() {
        assert_eq!(decode_command(&format!("powershell -ep {WHOAMI}")), None);
        assert_eq!(decode_command(&format!("powershell -f {WHOAMI}")), None);
        // The bytes 01 00 02 00 03 00: control characters, no text.
        assert_eq!(decode_command("powershell -e AQACAAMA"), None);
        assert_eq!(decode_command("deploy.exe -e production"), None);
        let decoy = format!("findstr -e password & powershell -enc {WHOAMI}");
        assert_eq!(decode_command(&decoy).as_deref(), Some("whoami"));
        assert_eq!(decode_command(""), None);
    }
}
