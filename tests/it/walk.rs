//! Runs the commands of the documents as they are written.
//!
//! In a block called `console`, a line after `$ ` is typed into a shell, and the lines that follow are
//! its output. A line `[...]` stands for any number of lines, `[...]` at a line's end for its rest. In a
//! block called `sh`, each line is a command that must succeed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{analyze, psr, root, rows};

/// The pages whose commands are run.
fn pages() -> Vec<String> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|file| file.unwrap().file_name().into_string().unwrap());
    let docs = docs.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    let mut pages: Vec<String> =
        docs.chain(["README.md", "CONTRIBUTING.md"].map(String::from)).collect();
    pages.sort();
    pages
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// The programs of others that commands of the documents may begin with. They are not run.
const OTHER_PROGRAMS: [&str; 3] = ["cargo", "curl", "pip"];

/// A command of a page and the output that the page shows.
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

/// Returns whether a line is the one shown, whose end may be left out.
fn is_shown(line: &str, shown: &str) -> bool {
    match shown.strip_suffix("[...]") {
        Some(beginning) => line.starts_with(beginning),
        None => line == shown,
    }
}

/// Returns whether lines are those shown, of which some may be left out.
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

/// Makes a folder with what the documents' commands expect: the sample logs under several names, the
/// rule of `docs/rules.md`, and a pack in the place of SigmaHQ's.
fn working_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let samples = root().join("samples");
    for name in ["samples", "triage"] {
        copy(&samples, &folder.path().join(name));
    }
    for host in ["SRV02", "WS01", "DC01"] {
        copy(&samples.join(host), &folder.path().join(host));
    }
    write_rule(&folder.path().join("my-rules"));
    let sigma = folder.path().join("sigma/rules/windows");
    fs::create_dir_all(&sigma).unwrap();
    fs::write(sigma.join("one.yml"), SIGMA_RULE).unwrap();
    folder
}

const SIGMA_RULE: &str = "title: A security log was cleared
id: 3c1b5a52-6c3d-4a0e-9a5e-6b2f5f0d7a11
logsource: {product: windows, service: security}
detection:
    selection: {EventID: 1102}
    condition: selection
level: high
";

/// Runs a command in a shell that finds the program.
fn run_in_shell(command: &str, folder: &Path) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_psr-forensics")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder).env("PATH", &path);
    shell.output().expect("there is a shell")
}

/// Returns all that a command printed.
fn printed(output: Output) -> String {
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[cfg(unix)]
#[test]
fn commands_print_what_their_page_shows() {
    let mut commands = 0;
    for page in pages() {
        let steps = steps(&read(&page));
        if steps.is_empty() {
            continue;
        }
        commands += steps.len();
        let folder = working_folder();
        for Step { line, typed, shown } in &steps {
            let text = printed(run_in_shell(typed, folder.path()));
            let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
            assert!(
                fits(&lines, shown),
                "{page}, line {line}, '{typed}', prints:\n{text}\nand the page shows:\n{}",
                shown.join("\n")
            );
        }
    }
    assert!(commands >= 10, "{commands} commands");
}

/// Returns the commands in a page's blocks of shell commands.
fn shell_commands(page: &str) -> Vec<&str> {
    blocks(page, "sh").into_iter().flat_map(str::lines).collect()
}

#[cfg(unix)]
#[test]
fn commands_of_the_documents_succeed() {
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        let (ours, others): (Vec<&str>, Vec<&str>) = shell_commands(&text)
            .into_iter()
            .partition(|command| command.starts_with("psr-forensics "));
        for command in others {
            let known = OTHER_PROGRAMS.iter().any(|name| command.starts_with(&format!("{name} ")));
            assert!(known, "{page}: '{command}' is not run by a test");
        }
        if ours.is_empty() {
            continue;
        }
        let folder = working_folder();
        for command in ours {
            // A build without SQL refuses queries; `query.rs` asks those of the documents.
            if command.starts_with("psr-forensics query ") {
                continue;
            }
            let output = run_in_shell(command, folder.path());
            let code = output.status.code();
            assert_eq!(code, Some(0), "{page}: '{command}' prints:\n{}", printed(output));
            count += 1;
        }
    }
    assert!(count >= 30, "{count} commands");
}

#[test]
fn commands_stand_in_blocks_that_are_run() {
    for page in pages() {
        let text = read(&page);
        let unnamed = text.split("\n```").skip(1).step_by(2);
        for block in unnamed.filter(|block| block.starts_with('\n')) {
            assert!(!block.contains("\npsr-forensics "), "{page}: a block without a name:{block}");
        }
    }
}

/// Returns the blocks of a kind in a page.
fn blocks<'p>(page: &'p str, kind: &str) -> Vec<&'p str> {
    let open = format!("```{kind}\n");
    page.split(&open).skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

/// Writes the rule of `docs/rules.md` and its rule tests to a new folder.
fn write_rule(pack: &Path) {
    let page = read("docs/rules.md");
    let [rule, tests] = blocks(&page, "yaml")[..] else { panic!("a rule and its tests") };
    fs::create_dir(pack).unwrap();
    fs::write(pack.join("admin_session.yml"), rule).unwrap();
    fs::write(pack.join("admin_session.cases.yml"), tests).unwrap();
}

#[test]
fn the_rule_that_is_written_is_sound_and_finds_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("my-rules");
    write_rule(&pack);
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
