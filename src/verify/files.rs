//! Outputs and inputs against their sizes and hashes in `run.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use super::{Deviation, Ledger, found};
use crate::input::sha256;
use crate::model::InputIdx;
use crate::report::{RUN, SEAL, Sum};

/// What a file must have, against what it has.
fn compared(name: &str, path: &Path, size: u64, hash: Option<&str>) -> Option<Deviation> {
    let deviates = |what: String| Some(Deviation::file(name, what));
    let there = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) => return deviates(format!("missing: {error}")),
    };
    if there != size {
        let shorter = if there < size { "cut" } else { "longer" };
        return deviates(format!("{shorter}: {there} bytes, {size} by {RUN}"));
    }
    let expected = hash?;
    match sha256(path) {
        Ok(hash) if hash == expected => None,
        Ok(hash) => deviates(format!("changed: SHA-256 {hash}, {expected} by {RUN}")),
        Err(error) => deviates(format!("cannot be read: {error}")),
    }
}

/// Compares the files of a folder of results with what its ledger has of them, and `run.json` with
/// its seal. A file that the ledger does not know is a deviation, too.
pub fn outputs(folder: &Path, ledger: &Ledger) -> Vec<Deviation> {
    let mut deviations: Vec<Deviation> = ledger
        .outputs
        .par_iter()
        .filter_map(|Sum { file, size, sha256 }| {
            compared(file, &folder.join(file), *size, Some(sha256))
        })
        .collect();
    let seal = format!("{RUN}{SEAL}");
    let sealed = fs::read_to_string(folder.join(&seal)).unwrap_or_default();
    let sealed = sealed.split_whitespace().next().unwrap_or_default();
    match sha256(&folder.join(RUN)) {
        _ if sealed.is_empty() => deviations.push(Deviation::file(&seal, "missing or empty")),
        Ok(hash) if hash == sealed => {}
        Ok(hash) => {
            let what = format!("changed: SHA-256 {hash}, {sealed} by {seal}");
            deviations.push(Deviation::file(RUN, what));
        }
        Err(error) => deviations.push(Deviation::file(RUN, format!("cannot be read: {error}"))),
    }
    let known: BTreeSet<&str> = ledger.outputs.iter().map(|output| output.file.as_str()).collect();
    for entry in WalkDir::new(folder).sort_by_file_name().into_iter().flatten() {
        let name = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        let name = name.to_string_lossy().replace('\\', "/");
        let is_known = known.contains(&*name) || name == RUN || name == seal;
        if !entry.file_type().is_dir() && !is_known {
            deviations.push(Deviation::file(name, "not of this run: the ledger does not have it"));
        }
    }
    deviations
}

/// Where inputs were found again.
#[derive(Debug, Default)]
pub struct Found {
    /// The files, by their indices in the ledger.
    pub paths: BTreeMap<InputIdx, PathBuf>,
    /// The files that are not there.
    pub missing: Vec<Deviation>,
    /// The files that changed.
    pub changed: Vec<Deviation>,
    /// How many were looked for.
    pub looked_for: usize,
}

/// Looks for the files that a run read, where they were or, moved, below another folder, and
/// compares them. A file that was not read is found, too, where it can be, and not compared.
pub fn inputs(ledger: &Ledger, below: Option<&Path>) -> Found {
    let elsewhere = below.map(Elsewhere::of);
    let files: Vec<InputIdx> = ledger.files().collect();
    let places = |index: InputIdx| places(&ledger.inputs[index].path, &ledger.working_directory);
    let unclear = Unclear::of(files.iter().flat_map(|&index| places(index)));
    let found: Vec<(InputIdx, Option<PathBuf>, Option<Deviation>)> = files
        .into_par_iter()
        .map(|index| {
            let input = &ledger.inputs[index];
            let hash = input.sha256.as_deref();
            let path = match &elsewhere {
                Some(elsewhere) => elsewhere.find(&input.path, input.size, hash),
                None => places(index).find_map(|place| match place.is_file() {
                    true => Some(place),
                    false => unclear.find(&place, hash),
                }),
            };
            let read = hash.is_some();
            let changed = path.as_ref().filter(|_| read);
            let changed = changed.and_then(|path| compared(&input.path, path, input.size, hash));
            (index, path, changed)
        })
        .collect();
    let looked_for = ledger.files().filter(|&index| ledger.inputs[index].sha256.is_some()).count();
    let mut all = Found { looked_for, ..Found::default() };
    for (index, path, changed) in found {
        let input = &ledger.inputs[index];
        if path.is_none() && input.sha256.is_some() {
            all.missing.push(Deviation::file(&input.path, missing(below)));
        }
        all.paths.extend(path.map(|path| (index, path)));
        all.changed.extend(changed);
    }
    all
}

fn missing(below: Option<&Path>) -> String {
    match below {
        Some(folder) => format!("missing: {} has no file of its name or hash", folder.display()),
        None => "missing".to_owned(),
    }
}

/// Where the run may have found a file: from where it was started, or as given.
fn places(path: &str, working_directory: &Option<PathBuf>) -> impl Iterator<Item = PathBuf> {
    let from_there = working_directory.as_ref().map(|folder| folder.join(path));
    // The run's own folder first: the same relative path may lead elsewhere from here.
    from_there.into_iter().chain([PathBuf::from(path)])
}

/// Files whose names are no valid text, by their paths as the ledger shows them: with `�` in place of
/// what is none.
struct Unclear(BTreeMap<PathBuf, Vec<PathBuf>>);

impl Unclear {
    /// Looks below the folders that such paths have in common with others, through each once.
    fn of(paths: impl Iterator<Item = PathBuf>) -> Unclear {
        let is_unclear = |path: &Path| path.to_string_lossy().contains('\u{fffd}');
        let folders: BTreeSet<PathBuf> = paths
            .filter(|path| is_unclear(path))
            .filter_map(|path| path.ancestors().find(|path| !is_unclear(path)).map(Path::to_owned))
            .collect();
        let mut files = BTreeMap::<_, Vec<_>>::new();
        let within = |folder: &&PathBuf| {
            let mut above = folder.ancestors().skip(1);
            !above.any(|above| folders.contains(above))
        };
        for folder in folders.iter().filter(within) {
            // A relative path of one name is in the folder without a name.
            let root = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            for entry in WalkDir::new(root).follow_links(true).sort_by_file_name() {
                let Ok(entry) = entry else { continue };
                let path = entry.into_path();
                let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
                if is_unclear(&path) {
                    let shown = PathBuf::from(path.to_string_lossy().into_owned());
                    files.entry(shown).or_default().push(path);
                }
            }
        }
        Unclear(files)
    }

    /// The file that shows so; of several the one with the hash.
    fn find(&self, shown: &Path, hash: Option<&str>) -> Option<PathBuf> {
        let alike = self.0.get(shown)?;
        let has_hash =
            |path: &&PathBuf| hash.is_some_and(|hash| sha256(path).is_ok_and(|own| own == hash));
        alike.iter().find(has_hash).or(alike.first()).cloned()
    }
}

/// The files below a folder that evidence was moved to.
struct Elsewhere {
    by_name: BTreeMap<String, Vec<PathBuf>>,
    by_size: BTreeMap<u64, Vec<PathBuf>>,
}

impl Elsewhere {
    fn of(folder: &Path) -> Elsewhere {
        let (mut by_name, mut by_size) =
            (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
        for entry in entries.flatten().filter(|entry| entry.file_type().is_file()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            by_name.entry(name).or_default().push(entry.path().to_owned());
            if let Ok(metadata) = entry.metadata() {
                by_size.entry(metadata.len()).or_default().push(entry.into_path());
            }
        }
        Elsewhere { by_name, by_size }
    }

    /// The file whose path ends as the old one did for longest; of several the one with the hash.
    /// One of another name is it by its hash alone.
    fn find(&self, old: &str, size: u64, hash: Option<&str>) -> Option<PathBuf> {
        let is_it =
            |path: &&PathBuf| hash.is_some_and(|hash| sha256(path).is_ok_and(|own| own == hash));
        let old: Vec<&str> = old.rsplit(['/', '\\']).collect();
        let named = old.first().and_then(|name| self.by_name.get(*name));
        let alike = |path: &PathBuf| {
            let path = path.to_string_lossy();
            path.rsplit(['/', '\\']).zip(&old).take_while(|(new, old)| new == *old).count()
        };
        let most = named.into_iter().flatten().map(alike).max();
        let best: Vec<&PathBuf> =
            named.into_iter().flatten().filter(|path| Some(alike(path)) == most).collect();
        match best[..] {
            [] => self.by_size.get(&size).into_iter().flatten().find(is_it).cloned(),
            [only] => Some(only.clone()),
            [first, ..] => Some(best.iter().copied().find(is_it).unwrap_or(first).clone()),
        }
    }
}

/// Compares the numbers of rows with the ledger's counts.
pub(super) fn count(file: &str, rows: u64, expected: u64) -> Option<Deviation> {
    let by = format!("the counts of {RUN}");
    let (rows, expected) = (rows.to_string(), expected.to_string());
    (rows != expected)
        .then(|| Deviation::file(file, format!("rows: {}", found(&rows, &expected, &by))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_files_are_found_by_the_end_of_their_path_then_by_hash() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let (a, b) = (put("SRV01/Security.evtx", "aaaa"), put("SRV02/Security.evtx", "bbbb"));
        let renamed = put("x/moved.bin", "cccc");
        let hash = |path: &Path| sha256(path).unwrap();
        let elsewhere = Elsewhere::of(folder.path());
        let find = |old: &str, hash: Option<&str>| elsewhere.find(old, 4, hash);
        assert_eq!(find(r"E:\case\SRV02\Security.evtx", None), Some(b.clone()));
        assert_eq!(find("case/SRV01/Security.evtx", None), Some(a.clone()));
        // The end tells no more than the name: the hash does.
        assert_eq!(find("case/SRV09/Security.evtx", Some(&hash(&b))), Some(b));
        assert_eq!(find("case/SRV09/System.evtx", Some(&hash(&renamed))), Some(renamed));
        assert_eq!(find("case/SRV09/System.evtx", Some("00")), None);
    }
}
