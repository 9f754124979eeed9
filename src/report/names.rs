//! Names of files and folders in the output folder.

/// The ledger of a run.
pub(crate) const RUN: &str = "run.json";

/// How the name of the file goes on that has the SHA-256 of `run.json`, as sha256sum writes it.
pub(crate) const SEAL: &str = ".sha256";

/// The folder of transcripts.
pub(super) const TRANSCRIPTS: &str = "sessions";

/// The folder of script texts.
pub(super) const SCRIPTS: &str = "scripts";

/// The file of the page.
pub(super) const HTML_FILE: &str = "report.html";
/// The folder of the Parquet tables.
pub(crate) const PARQUET_FOLDER: &str = "parquet";
/// How their names end.
pub(crate) const PARQUET_EXTENSION: &str = ".parquet";

/// Whether a name in the folder of scripts is one that this program gives.
pub(super) fn is_script(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(stem) = name.strip_suffix(".txt") else { return name == "index.csv" };
    match stem.split_once('-') {
        Some(("outside", number)) => digits(number),
        Some((session, number)) => session.strip_prefix('S').is_some_and(digits) && digits(number),
        None => false,
    }
}

/// Whether a name in the folder of transcripts is one that this program gives.
pub(super) fn is_transcript(name: &str) -> bool {
    let number = name.strip_prefix('S').and_then(|name| name.strip_suffix(".txt"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    number.is_some_and(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_scripts_are_told_from_others() {
        for name in ["index.csv", "S0001-001.txt", "S12345-1000.txt", "outside-00001.txt"] {
            assert!(is_script(name), "{name}");
        }
        for name in ["notes.txt", "S1.txt", "S-1.txt", "outside-.txt", "S0001-001.ps1", "Sx-1.txt"]
        {
            assert!(!is_script(name), "{name}");
        }
    }
}
