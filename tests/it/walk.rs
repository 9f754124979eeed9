//! `docs/first-investigation.md`, walked by a stranger: each command typed as written gives what the
//! page shows.
//!
//! In blocks called `console`, a line after `$ ` is typed into a shell, and what follows is what it
//! prints. A line `[...]` stands for any number of lines, `[...]` at a line's end for the rest of it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{analyze, psr, root, rows};

/// What is typed, and what the page shows of it.
struct Step {
    line: usize,
    typed: String,
    shown: Vec<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (line, text) in (1..).zip(page.lines()) {
        match (inside, text.strip_prefix("$ ")) {
            (false, _) => inside = text == "```console",
            (true, _) if text == "```" => inside = false,
            (true, Some(typed)) => {
                steps.push(Step { line, typed: typed.to_owned(), shown: Vec::new() });
            }
            (true, None) => {
                let step = steps.last_mut().expect("a block begins with a command");
                step.shown.push(text.to_owned());
            }
        }
    }
    steps
}

/// Whether a line is the one shown, which may leave its end out.
fn is_shown(line: &str, shown: &str) -> bool {
    match shown.strip_suffix("[...]") {
        Some(beginning) => line.starts_with(beginning),
        None => line == shown,
    }
}

/// Whether lines are those shown, which may leave some out.
fn fits(lines: &[&str], shown: &[String]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "[...]" => {
            (0..=lines.len()).any(|skipped| fits(&lines[skipped..], rest))
        }
        Some((first, rest)) => {
            lines.first().is_some_and(|line| is_shown(line, first)) && fits(&lines[1..], rest)
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), &to).unwrap()),
        }
    }
}

#[cfg(unix)]
#[test]
fn the_first_investigation_is_as_its_page_shows() {
    let page = fs::read_to_string(root().join("docs/first-investigation.md")).unwrap();
    let steps = steps(&page);
    assert!(steps.len() >= 10, "{} commands", steps.len());
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("samples"), &folder.path().join("samples"));
    let program = Path::new(env!("CARGO_BIN_EXE_psr-forensics")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    for Step { line, typed, shown } in &steps {
        let mut shell = Command::new("sh");
        shell.args(["-c", typed]).current_dir(folder.path()).env("PATH", &path);
        let output = shell.output().expect("there is a shell");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
        assert!(
            fits(&lines, shown),
            "line {line}, '{typed}', prints:\n{said}\nand the page shows:\n{}",
            shown.join("\n")
        );
    }
}

/// The blocks of a kind in a page.
fn blocks<'p>(page: &'p str, kind: &str) -> Vec<&'p str> {
    let open = format!("```{kind}\n");
    page.split(&open).skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn the_rule_that_is_written_is_sound_and_finds_its_session() {
    let page = fs::read_to_string(root().join("docs/writing-rules.md")).unwrap();
    let [rule, cases] = blocks(&page, "yaml")[..] else { panic!("a rule and its cases") };
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("my-rules");
    fs::create_dir(&pack).unwrap();
    fs::write(pack.join("admin_session.yml"), rule).unwrap();
    fs::write(pack.join("admin_session.cases.yml"), cases).unwrap();
    let pack = pack.to_str().unwrap();
    for verb in ["check", "test"] {
        let output = psr(&["packs", verb, "--no-default-pack", "--pack", pack]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let out = folder.path().join("out");
    assert_eq!(analyze("samples", &out, &["--no-default-pack", "--pack", pack]), 0);
    let found = rows(&out, "detections.csv");
    let found: Vec<&str> = found.iter().map(|row| row["session_id"].as_str()).collect();
    assert_eq!(found, ["S0001"]);
}

#[test]
fn pages_lead_to_pages_that_are_there() {
    for page in ["first-investigation", "writing-rules", "method", "limits"] {
        let text = fs::read_to_string(root().join(format!("docs/{page}.md"))).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let path = root().join("docs").join(file);
            let target = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{page}: {link}"));
            let anchor = |line: &str| {
                let heading = line.trim_start_matches('#').trim().to_lowercase();
                heading.replace(' ', "-").replace([',', '.', '/'], "")
            };
            let mut headings = target.lines().filter(|line| line.starts_with('#'));
            let found = place.is_empty() || headings.any(|line| anchor(line) == place);
            assert!(found, "{page}: {link}");
        }
    }
}

#[test]
fn lines_may_be_left_out_and_no_others_differ() {
    let shown = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(is_shown("ab", "a[...]") && is_shown("a", "a") && !is_shown("ab", "a"));
    let lines = ["a", "b", "c", "d"];
    for fit in ["a\nb\nc\nd", "[...]", "a\n[...]\nd", "[...]\nc\nd\n[...]", "a\nb\n[...]\nc\nd"] {
        assert!(fits(&lines, &shown(fit)), "{fit}");
    }
    for unfit in ["", "a\nb\nc", "a\n[...]\nc", "a\n[...]\nx\n[...]", "b\n[...]"] {
        assert!(!fits(&lines, &shown(unfit)), "{unfit}");
    }
    let steps = steps("text\n```console\n$ one\nout\n$ two\n```\n```\n$ no\n```\n");
    let typed: Vec<_> = steps.iter().map(|step| (&*step.typed, step.shown.len())).collect();
    assert_eq!(typed, [("one", 1), ("two", 0)]);
}
