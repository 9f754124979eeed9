//! Packs `detections/`, rules and their cases, into one deflated JSON list of (file name, text) for
//! the program to hold, and tells it of what source and by what compiler it is built.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    tell_build();
    println!("cargo::rerun-if-changed=detections");
    let mut files = Vec::new();
    collect(Path::new("detections"), &mut files);
    files.sort();
    let entries: Vec<(String, String)> = files
        .iter()
        .map(|path| {
            let name = path.strip_prefix("detections").expect("collected below it");
            let text = fs::read_to_string(path).expect("rules are UTF-8");
            (name.to_string_lossy().replace('\\', "/"), text)
        })
        .collect();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let file = File::create(out.join("detections.json.z")).expect("cargo's folder is writable");
    let mut zlib = flate2::write::ZlibEncoder::new(file, flate2::Compression::best());
    let json = serde_json::to_vec(&entries).expect("text is JSON");
    zlib.write_all(&json).and_then(|()| zlib.finish()).expect("cargo's folder is writable");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("detections is a folder") {
        let path = entry.expect("detections is readable").path();
        let name = path.to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, files);
        } else if name.ends_with(".yml") {
            files.push(path);
        }
    }
}

/// What `run.json` says of the build. No date and no path: two builds of one source are the same.
fn tell_build() {
    let known = |name: &str| std::env::var(name).expect("cargo sets it");
    let (target, profile) = (known("TARGET"), known("PROFILE"));
    println!("cargo::rustc-env=PSR_FORENSICS_TARGET={target}");
    println!("cargo::rustc-env=PSR_FORENSICS_PROFILE={profile}");
    let rustc = said(&known("RUSTC"), &["--version"]).unwrap_or_default();
    println!("cargo::rustc-env=PSR_FORENSICS_RUSTC={rustc}");
    // Who develops builds between commits, and should not build anew after each.
    if profile != "release" {
        return;
    }
    let sources =
        ["src", "crates/psrp", "crates/ps-layers", "build.rs", "Cargo.toml", "Cargo.lock"];
    for source in sources.iter().chain(&[".git/HEAD", ".git/logs/HEAD"]) {
        if Path::new(source).exists() {
            println!("cargo::rerun-if-changed={source}");
        }
    }
    let git = |arguments: &[&str]| said("git", arguments);
    // Not the history of some folder that the source was unpacked into.
    let own = git(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty());
    let status = [&["status", "--porcelain", "--", "detections"][..], &sources].concat();
    if let (true, Some(commit)) = (own, git(&["rev-parse", "HEAD"])) {
        let changed = git(&status).is_none_or(|changes| !changes.is_empty());
        let changed = if changed { " with changes" } else { "" };
        println!("cargo::rustc-env=PSR_FORENSICS_COMMIT={commit}{changed}");
    }
}

/// The first line that a program prints, if it ends well.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}
