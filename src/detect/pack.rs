//! Packs: where rules come from. A folder, a zip, a file, or the pack inside the program.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::error::Error;
use crate::hex::hex;
use crate::input::{ZippedText, is_zip, read_text, zipped_texts};

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
#[derive(Debug, Clone, Default)]
pub struct Pack {
    /// Its name: the manifest's, else the folder's or file's.
    pub name: String,
    /// Where it came from; none for the default pack.
    pub path: Option<PathBuf>,
    /// SHA-256 over the names and contents of its files, in order.
    pub sha256: String,
    /// Name and text of each rule file, in the order of the names.
    pub(super) files: Vec<(String, String)>,
    /// Name and text of each file of cases.
    pub(super) cases: Vec<(String, String)>,
    /// Files that could not be read.
    pub(super) unread: Vec<Refused>,
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
        let files = Pack::default_files().into_iter();
        let files = files.map(|(name, text)| (name, Ok(text.into_bytes())));
        Pack::of("default".to_owned(), None, files.collect())
    }

    /// The files of the pack inside the program, name and text: rules, their cases, the manifest.
    ///
    /// # Panics
    /// As [`Pack::default_pack`].
    pub fn default_files() -> Vec<(String, String)> {
        let mut json = String::new();
        flate2::read::ZlibDecoder::new(DEFAULT)
            .read_to_string(&mut json)
            .expect("the build script deflated it");
        serde_json::from_str(&json).expect("the build script wrote it")
    }

    /// Reads the pack that a folder, a zip or a file is.
    ///
    /// # Errors
    /// [`Error::Pack`] when it cannot be read or holds no rule file.
    pub fn read(path: &Path) -> Result<Pack, Error> {
        let fail = |reason: String| Error::Pack { path: path.to_owned(), reason };
        let files = if path.is_dir() {
            folder(path).map_err(|error| fail(error.to_string()))?
        } else if is_zip(path).map_err(|error| fail(error.to_string()))? {
            zipped_texts(path, is_of_pack).map_err(fail)?
        } else {
            beside(path)
        };
        let name = path.file_name().map_or_else(|| ".".into(), |name| name.to_string_lossy());
        let pack = Pack::of(name.into_owned(), Some(path.to_owned()), files);
        match (&pack.files[..], &pack.unread[..]) {
            ([], []) => Err(fail(
                "it holds no rule: a pack is a folder, a zip or a file of \
                                  rules, which are .yml or .yaml"
                    .into(),
            )),
            ([], [Refused { file, reason }, ..]) => Err(fail(format!("{file}: {reason}"))),
            _ => Ok(pack),
        }
    }

    /// A file of the pack as people find it: below the pack's path.
    pub fn shown(&self, file: &str) -> String {
        match &self.path {
            Some(path) if path.is_file() && path.ends_with(file) => path.display().to_string(),
            Some(path) => format!("{}/{file}", path.display()),
            None => file.to_owned(),
        }
    }

    /// How many files of rules it has.
    pub fn rule_files(&self) -> usize {
        self.files.len()
    }

    fn of(name: String, path: Option<PathBuf>, mut all: Vec<ZippedText>) -> Pack {
        all.sort();
        let mut pack = Pack {
            name,
            path,
            sha256: String::new(),
            files: Vec::new(),
            cases: Vec::new(),
            unread: Vec::new(),
        };
        let mut hash = Sha256::new();
        for (file, text) in all {
            let text = match text {
                Ok(text) => String::from_utf8_lossy(&text).into_owned(),
                Err(reason) => {
                    pack.unread.push(Refused { file, reason });
                    continue;
                }
            };
            if is_cases(&file) {
                pack.cases.push((file, text));
                continue;
            }
            hash.update((file.len() as u64).to_le_bytes());
            hash.update(&file);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(&text);
            match is_manifest(&file) {
                true => match yaml_serde::from_str::<Manifest>(&text) {
                    Ok(manifest) => pack.name = manifest.name,
                    Err(error) => {
                        pack.unread.push(Refused { file, reason: format!("no manifest: {error}") });
                    }
                },
                false => pack.files.push((file, text)),
            }
        }
        pack.sha256 = hex(&hash.finalize());
        pack
    }
}

/// The files of a folder.
fn folder(path: &Path) -> Result<Vec<ZippedText>, walkdir::Error> {
    let mut files = Vec::new();
    for entry in WalkDir::new(path).follow_links(true) {
        let entry = entry?;
        let name = entry.path().strip_prefix(path).unwrap_or(entry.path());
        let name = name.to_string_lossy().replace('\\', "/");
        if entry.file_type().is_file() && is_of_pack(&name) {
            files.push((name, read(entry.path())));
        }
    }
    Ok(files)
}

/// A file, whatever its name, and its cases.
fn beside(path: &Path) -> Vec<ZippedText> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cases = cases_of(&name);
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

/// The name of the cases of a rule file.
pub(super) fn cases_of(file: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    format!("{stem}.cases.yml")
}

fn is_of_pack(name: &str) -> bool {
    let name = name.to_lowercase();
    name.ends_with(".yml") || name.ends_with(".yaml")
}

fn is_cases(name: &str) -> bool {
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
        assert_eq!(built_in.cases, folder.cases);
        assert_eq!(built_in.unread, []);
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

    /// A zip of such members.
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
        assert_eq!((&folder.files, &folder.cases), (&zip.files, &zip.cases));
        assert_eq!((folder.files.len(), folder.cases.len(), &*zip.name), (1, 1, "mine"));
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
        assert!(Pack::read(&path).unwrap_err().to_string().contains("holds no rule"));
        // All of it together.
        let long = vec![b' '; 1 << 20];
        let names: Vec<String> = (0..65).map(|n| format!("{n}.yml")).collect();
        let members: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &long[..])).collect();
        zip(&path, &members);
        let error = Pack::read(&path).unwrap_err().to_string();
        assert!(error.ends_with("its texts come to more than 64 MiB"), "{error}");
    }
}
