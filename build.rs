//! Packs `detections/`, rules and their cases, into one deflated JSON list of (file name, text) for the program to hold.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

fn main() {
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
