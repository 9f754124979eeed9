//! The samples in the repository are what the program that makes them makes, byte for byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn logs(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            logs(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "evtx") {
            found.push(path);
        }
    }
}

#[test]
fn are_made_again_byte_for_byte() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    let made = tempfile::tempdir().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_make-samples")).arg(made.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let list = |root: &Path| {
        let mut found = Vec::new();
        logs(root, &mut found);
        let mut names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(root).unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert!(!list(&kept).is_empty());
    assert_eq!(list(&kept), list(made.path()));
    for name in list(&kept) {
        let same =
            fs::read(kept.join(&name)).unwrap() == fs::read(made.path().join(&name)).unwrap();
        assert!(same, "{} differs", name.display());
    }
}
