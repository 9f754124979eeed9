//! Checks of the documents: outputs are listed, links lead somewhere, the README is short.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{FILES, root};

#[test]
fn each_file_of_a_run_is_in_the_output_reference() {
    let page = fs::read_to_string(root().join("docs/outputs.md")).unwrap();
    let table = page.split("## What a run writes").nth(1).unwrap().split("\n## ").next().unwrap();
    for name in FILES.into_iter().chain(["run.json", "run.json.sha256", "scripts/"]) {
        let is_named = |line: &str| line.starts_with("| `") && line.contains(&format!("`{name}`"));
        assert!(table.lines().any(is_named), "{name}");
    }
}

#[test]
fn the_readme_is_short_and_leads_to_every_page() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 150, "{} lines", readme.lines().count());
    for page in fs::read_dir(root().join("docs")).unwrap() {
        let link = format!("](docs/{})", page.unwrap().file_name().to_str().unwrap());
        assert!(readme.contains(&link), "{link}");
    }
}

/// Returns the pages that people read.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![];
    for folder in ["", "docs", "detections", "samples"] {
        let files = fs::read_dir(root().join(folder)).unwrap().map(|file| file.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    pages.sort();
    pages
}

/// Returns a heading's name in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Returns the text outside blocks of code.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

fn anchors(page: &Path) -> BTreeSet<String> {
    let text = prose(&fs::read_to_string(page).unwrap());
    let heads = text.lines().filter(|line| line.starts_with('#'));
    heads.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut checked = 0;
    for page in pages() {
        let text = prose(&fs::read_to_string(&page).unwrap());
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            let is_there = place.is_empty() || anchors(&target).contains(place);
            assert!(is_there, "{}: {link}", page.display());
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked} links");
}
