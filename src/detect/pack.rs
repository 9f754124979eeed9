//! Packs of rules: a folder, a zip, a file, or the pack inside the program.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::error::Error;
use crate::hex::hex;
use crate::input::{ZippedText, is_zip, read_text, zipped_texts};

/// `detections/` as the build script packed it. It is deflated because antivirus programs delete
/// files that contain detection rules in plain text (see the README).
const DEFAULT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/detections.json.z"));

/// A rule that was not loaded, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RejectedRule {
    /// The rule's file, as the pack names it.
    pub file: String,
    /// The reason.
    pub reason: String,
}

/// The files of a pack, with its name and hash.
#[derive(Debug, Clone, Default)]
pub struct Pack {
    /// Its name from the manifest, or else the name of its folder or file.
    pub name: String,
    /// Its path; `None` for the default pack.
    pub path: Option<PathBuf>,
    /// SHA-256 over the names and contents of its files, in order.
    pub sha256: String,
    /// Name and text of each rule file, sorted by name.
    pub(super) files: Vec<(String, String)>,
    /// Name and text of each file of rule tests.
    pub(super) tests: Vec<(String, String)>,
    /// Files that could not be read.
    pub(super) unread: Vec<RejectedRule>,
}

/// The optional `pack.yml` of a pack.
#[derive(Deserialize)]
struct PackManifest {
    name: String,
}

impl Pack {
    /// Returns the pack inside the program.
    ///
    /// # Panics
    ///
    /// Never, as long as the build script and this function agree; a test reads the pack.
    pub fn default_pack() -> Pack {
        let files = Pack::default_files().into_iter();
        let files = files.map(|(name, text)| (name, Ok(text.into_bytes())));
        Pack::new("default".to_owned(), None, files.collect())
    }

    /// Returns name and text of each file of the pack inside the program: rules, rule tests,
    /// manifest.
    ///
    /// # Panics
    ///
    /// As [`Pack::default_pack`].
    pub fn default_files() -> Vec<(String, String)> {
        let mut json = String::new();
        flate2::read::ZlibDecoder::new(DEFAULT)
            .read_to_string(&mut json)
            .expect("the build script deflated it");
        serde_json::from_str(&json).expect("the build script wrote it")
    }

    /// Reads a pack from a folder, a zip or a file.
    ///
    /// # Errors
    ///
    /// [`Error::Pack`] when it cannot be read or contains no rule file.
    pub fn read(path: &Path) -> Result<Pack, Error> {
        let fail = |reason: String| Error::Pack { path: path.to_owned(), reason };
        let files = if path.is_dir() {
            folder_files(path).map_err(|error| fail(error.to_string()))?
        } else if is_zip(path).map_err(|error| fail(error.to_string()))? {
            zipped_texts(path, is_pack_file).map_err(fail)?
        } else {
            file_and_tests(path)
        };
        let name = path.file_name().map_or_else(|| ".".into(), |name| name.to_string_lossy());
        let pack = Pack::new(name.into_owned(), Some(path.to_owned()), files);
        match (&pack.files[..], &pack.unread[..]) {
            ([], []) => Err(fail(
                "it contains no rule: a pack is a folder, a zip or a file with \
                                  rules in .yml or .yaml files"
                    .into(),
            )),
            ([], [RejectedRule { file, reason }, ..]) => Err(fail(format!("{file}: {reason}"))),
            _ => Ok(pack),
        }
    }

    /// Returns the path of a file of the pack as a person would look for it.
    pub fn shown(&self, file: &str) -> String {
        match &self.path {
            Some(path) if path.is_file() && path.ends_with(file) => path.display().to_string(),
            Some(path) => format!("{}/{file}", path.display()),
            None => file.to_owned(),
        }
    }

    /// Returns the number of rule files.
    pub fn rule_files(&self) -> usize {
        self.files.len()
    }

    fn new(name: String, path: Option<PathBuf>, mut all: Vec<ZippedText>) -> Pack {
        all.sort();
        let mut pack = Pack {
            name,
            path,
            sha256: String::new(),
            files: Vec::new(),
            tests: Vec::new(),
            unread: Vec::new(),
        };
        let mut hash = Sha256::new();
        for (file, text) in all {
            let text = match text {
                Ok(text) => String::from_utf8_lossy(&text).into_owned(),
                Err(reason) => {
                    pack.unread.push(RejectedRule { file, reason });
                    continue;
                }
            };
            if is_test_file(&file) {
                pack.tests.push((file, text));
                continue;
            }
            hash.update((file.len() as u64).to_le_bytes());
            hash.update(&file);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(&text);
            match is_manifest(&file) {
                true => match yaml_serde::from_str::<PackManifest>(&text) {
                    Ok(manifest) => pack.name = manifest.name,
                    Err(error) => {
                        pack.unread.push(RejectedRule {
                            file,
                            reason: format!("the manifest is not valid: {error}"),
                        });
                    }
                },
                false => pack.files.push((file, text)),
            }
        }
        pack.sha256 = hex(&hash.finalize());
        pack
    }
}

/// Reads the pack files of a folder.
fn folder_files(path: &Path) -> Result<Vec<ZippedText>, walkdir::Error> {
    let mut files = Vec::new();
    for entry in WalkDir::new(path).follow_links(true) {
        let entry = entry?;
        let name = entry.path().strip_prefix(path).unwrap_or(entry.path());
        let name = name.to_string_lossy().replace('\\', "/");
        if entry.file_type().is_file() && is_pack_file(&name) {
            files.push((name, read(entry.path())));
        }
    }
    Ok(files)
}

/// Reads a single file, whatever its name, and its rule tests.
fn file_and_tests(path: &Path) -> Vec<ZippedText> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cases = test_file_name(&name);
    let cases_path = path.with_file_name(&cases);
    let mut files = vec![(name, read(path))];
    if cases_path.is_file() {
        files.push((cases, read(&cases_path)));
    }
    files
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    read_text(file, u64::MAX)
}

/// Returns the name of the file with the tests of a rule file.
pub(super) fn test_file_name(file: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    format!("{stem}.cases.yml")
}

fn is_pack_file(name: &str) -> bool {
    let name = name.to_lowercase();
    name.ends_with(".yml") || name.ends_with(".yaml")
}

fn is_test_file(name: &str) -> bool {
    name.to_lowercase().ends_with(".cases.yml")
}

fn is_manifest(name: &str) -> bool {
    name.rsplit('/').next() == Some("pack.yml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_pack_is_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("detections");
        let (built_in, folder) = (Pack::default_pack(), Pack::read(&folder).unwrap());
        assert_eq!(built_in.files, folder.files);
        assert_eq!(built_in.tests, folder.tests);
        assert_eq!(built_in.unread, []);
        assert!(built_in.files.iter().all(|(name, _)| !name.contains(".cases.")));
    }

    #[test]
    fn a_folder_without_rules_is_no_pack() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pack.yml"), "name: x").unwrap();
        let error = Pack::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("contains no rule"), "{error}");
        assert!(Pack::read(Path::new("no/such/pack")).is_err());
    }

    /// Writes a zip with these members.
    fn zip(path: &Path, members: &[(&str, &[u8])]) {
        let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
        for (name, text) in members {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            std::io::Write::write_all(&mut zip, text).unwrap();
        }
        zip.finish().unwrap();
    }

    #[test]
    fn a_zip_is_the_pack_that_its_folder_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("pack/a")).unwrap();
        let members =
            [("a/r.yml", "title: r"), ("a/r.cases.yml", "fires: []"), ("pack.yml", "name: mine")];
        for (name, text) in members {
            std::fs::write(at("pack").join(name), text).unwrap();
        }
        let bytes = members.map(|(name, text)| (name, text.as_bytes()));
        zip(&at("z"), &[&bytes[..], &[("README.md", b"text")]].concat());
        let (folder, zip) = (Pack::read(&at("pack")).unwrap(), Pack::read(&at("z")).unwrap());
        assert_eq!((&folder.name, &folder.sha256), (&zip.name, &zip.sha256));
        assert_eq!((&folder.files, &folder.tests), (&zip.files, &zip.tests));
        assert_eq!((folder.files.len(), folder.tests.len(), &*zip.name), (1, 1, "mine"));
    }

    #[test]
    fn what_is_too_long_is_named_and_an_empty_zip_is_no_pack() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("z.zip");
        zip(&path, &[("long.yml", &vec![b' '; (1 << 20) + 1]), ("r.yml", b"title: r")]);
        let pack = Pack::read(&path).unwrap();
        assert_eq!(pack.files.len(), 1);
        assert_eq!(
            (&*pack.unread[0].file, &*pack.unread[0].reason),
            ("long.yml", "it is longer than 1 MiB")
        );
        zip(&path, &[("README.md", b"text")]);
        assert!(Pack::read(&path).unwrap_err().to_string().contains("contains no rule"));
        // The limit on the total size.
        let long = vec![b' '; 1 << 20];
        let names: Vec<String> = (0..65).map(|n| format!("{n}.yml")).collect();
        let members: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &long[..])).collect();
        zip(&path, &members);
        let error = Pack::read(&path).unwrap_err().to_string();
        assert!(error.ends_with("its texts come to more than 64 MiB"), "{error}");
    }
}
