//! Packs: where rules come from. A folder, a file, or the pack inside the program.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::error::Error;
use crate::input::hex;

/// `detections/` as the build script packed it: deflated, for antivirus programs delete what
/// holds rules for their own prey in clear (see the README).
const DEFAULT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/detections.json.z"));

/// A rule that was not loaded, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refused {
    /// The rule's file, as the pack names it.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// A pack's files, and what identifies it.
#[derive(Debug, Clone)]
pub struct Pack {
    /// Its name: the manifest's, else the folder's or file's.
    pub name: String,
    /// Where it came from; none for the default pack.
    pub path: Option<PathBuf>,
    /// SHA-256 over the names and contents of its files, in order.
    pub sha256: String,
    /// Name and text of each rule file, in the order of the names.
    pub(super) files: Vec<(String, String)>,
}

/// `pack.yml`, which a pack may have.
#[derive(Deserialize)]
struct Manifest {
    name: String,
}

impl Pack {
    /// The pack inside the program, or packs if there are more.
    ///
    /// # Panics
    /// Never, as long as the build script and this function agree: a test reads it.
    pub fn default_pack() -> Pack {
        let mut json = String::new();
        flate2::read::ZlibDecoder::new(DEFAULT)
            .read_to_string(&mut json)
            .expect("the build script deflated it");
        let files = serde_json::from_str(&json).expect("the build script wrote it");
        Pack::of("default".to_owned(), None, files)
    }

    /// Reads the pack in a folder or file.
    ///
    /// # Errors
    /// [`Error::Pack`] when it cannot be read or holds no rule file.
    pub fn read(path: &Path) -> Result<Pack, Error> {
        let fail = |reason: String| Error::Pack { path: path.to_owned(), reason };
        let mut files = Vec::new();
        for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
            let entry = entry.map_err(|error| fail(error.to_string()))?;
            let name = entry.path().strip_prefix(path).unwrap_or(entry.path());
            let name = match name.as_os_str().is_empty() {
                true => entry.file_name().to_string_lossy().into_owned(),
                false => name.to_string_lossy().replace('\\', "/"),
            };
            let is_file = entry.file_type().is_file();
            if is_file && (entry.depth() == 0 || is_rule_file(&name) || name == "pack.yml") {
                let text = std::fs::read(entry.path()).map_err(|error| fail(error.to_string()))?;
                files.push((name, String::from_utf8_lossy(&text).into_owned()));
            }
        }
        if !files.iter().any(|(name, _)| name != "pack.yml") {
            return Err(fail("it holds no rule: a pack is a folder of .yml files or one".into()));
        }
        let name = path.file_name().map_or_else(|| ".".into(), |name| name.to_string_lossy());
        Ok(Pack::of(name.into_owned(), Some(path.to_owned()), files))
    }

    fn of(name: String, path: Option<PathBuf>, mut files: Vec<(String, String)>) -> Pack {
        files.sort();
        let mut hash = Sha256::new();
        for (name, text) in &files {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let sha256 = hex(&hash.finalize());
        let is_manifest = |name: &str| name.rsplit('/').next() == Some("pack.yml");
        let manifest = files.iter().find(|(name, _)| is_manifest(name));
        let manifest = manifest.and_then(|(_, text)| yaml_serde::from_str::<Manifest>(text).ok());
        files.retain(|(name, _)| !is_manifest(name));
        Pack { name: manifest.map_or(name, |manifest| manifest.name), path, sha256, files }
    }
}

/// Rules are `.yml` or `.yaml`; `NAME.cases.yml` beside a rule holds its test cases.
fn is_rule_file(name: &str) -> bool {
    let name = name.to_lowercase();
    (name.ends_with(".yml") || name.ends_with(".yaml")) && !name.ends_with(".cases.yml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_pack_is_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("detections");
        let (built_in, folder) = (Pack::default_pack(), Pack::read(&folder).unwrap());
        assert_eq!(built_in.files, folder.files);
        assert!(built_in.files.iter().all(|(name, _)| !name.contains(".cases.")));
    }

    #[test]
    fn a_folder_without_rules_is_no_pack() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pack.yml"), "name: x").unwrap();
        let error = Pack::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("holds no rule"), "{error}");
        assert!(Pack::read(Path::new("no/such/pack")).is_err());
    }
}
