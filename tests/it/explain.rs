//! `psr-forensics explain`, on the samples' story as `samples/README.md` tells it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{Row, analyze, corpus, psr, root, rows};

/// Runs `explain` and gives exit code, what it said and what it complained of.
fn explain(out: &Path, sessions: &[&str]) -> (i32, String, String) {
    let args = [&["explain", "-o", out.to_str().unwrap()], sessions].concat();
    let output = psr(&args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn stories(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("sessions.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn explain_describes_a_session_from_account_to_gaps() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze("samples", out.path(), &["--no-default-pack"]), 0);
    let (code, text, errors) = explain(out.path(), &["s0002"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let head = "\
S0002  CORP\\j.doe on SRV02.corp.example, from WS01.corp.example (10.20.0.15)

  When        2026-03-14 22:03:20.4018550 to 2026-03-14 22:03:29.0450112 UTC, 8.6 s; end known by process exited
";
    assert!(text.starts_with(head), "{text}");
    // In the order of the story: logon, shell, host process, what was typed, what it started, end.
    let in_order = [
        "  How         winrs by ntlm over http\n",
        "  Process     6980 on the target, logon id 0x6a0c11\n",
        "  Tool        winrs: the program on the client that connected (record 90527 at byte ",
        "  Seen in     the logs of client, server, dc\n  Confidence  high\n",
        "\nWhat happened",
        "SRV02  logon: CORP\\j.doe type 3 by NTLM from WS01, logon id 0x6a0c11\n      \
         key: logon id 0x6a0c11, the host process's own\n      Security 4624, record 48542#333 at byte ",
        "SRV02  shell created: ",
        "      key: host process 6980, alive 22:03:20 to 22:03:29\n      Security 4688, record 48543#334 at byte ",
        "SRV02    > C:\\Windows\\system32\\cmd.exe /C ipconfig /all\n        \
         key: process 3000, below the host process 6980\n",
        "SRV02      > ipconfig  /all\n          key: process 7112, below the host process 6980\n",
        "SRV02  process exit: [6980] ",
        "\nWhy we say so (confidence high)\n",
        "  - the source: WS01.corp.example (10.20.0.15) by winrm 91 clientIP, record 1308 at byte ",
        "    agrees: WS01.corp.example by client's winrm 6, record 363 at byte ",
        "\nWhat speaks against it\n",
        "\nWhat is missing, and what to collect next\n",
        "  Security covers 100% of it\n",
        "  nothing that one expects of such a session\n",
        "\nFiles\n  [1] samples/DC01/Security.evtx\n",
    ];
    let mut rest = text.as_str();
    for part in in_order {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not in its place: {text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn every_statement_points_at_its_record() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze("samples", out.path(), &[]), 0);
    let mut pointers = 0;
    for story in stories(out.path()) {
        for statement in story["statements"].as_array().unwrap() {
            let evidence = &statement["evidence"];
            let log = fs::read(root().join(evidence["file"].as_str().unwrap())).unwrap();
            let record = &log[evidence["offset"].as_u64().unwrap() as usize..];
            // A record begins with its magic, its size, its number.
            assert_eq!(record[..4], *b"**\0\0");
            let number = u64::from_le_bytes(record[8..16].try_into().unwrap());
            assert_eq!(evidence["record_number"], number);
            pointers += 1;
        }
    }
    let sessions = rows(out.path(), "sessions.csv");
    let links = |row: &Row, column: &str| row[column].parse::<usize>().unwrap();
    let links = sessions.iter().map(|row| links(row, "key_links") + links(row, "time_links"));
    assert_eq!(pointers, links.sum::<usize>());
}

#[test]
fn what_was_not_collected_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, out) = (folder.path().join("logs"), folder.path().join("out"));
    fs::create_dir(&logs).unwrap();
    // The target's logs alone, without its WinRM log.
    for entry in fs::read_dir(root().join("samples/SRV02")).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().contains("WinRM") {
            fs::copy(entry.path(), logs.join(entry.file_name())).unwrap();
        }
    }
    assert_eq!(analyze(logs.to_str().unwrap(), &out, &[]), 0);
    let session = &rows(&out, "sessions.csv")[0];
    assert_eq!(
        session["missing"],
        "target WinRM/Operational 91: not_collected; client WinRM/Operational 6: not_collected; \
         domain controller Security 4769: not_collected"
    );
    let collect: Vec<&str> = session["collect_next"].split("; ").collect();
    let winrm = "SRV02.corp.example Microsoft-Windows-WinRM/Operational 2026-03-14 21:13:07";
    assert!(collect[0].starts_with(winrm), "{collect:?}");
    assert!(collect[2].starts_with("a domain controller of CORP Security 2026-03-14 11:14:07"));
    let (_, text, _) = explain(&out, &["S0001"]);
    assert!(text.contains("SRV02.corp.example's WinRM/Operational is not among the inputs"));
    assert!(text.contains("  - no log of the client shows it\n"));
}

#[test]
fn explain_describes_all_sessions_in_order() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze("samples", out.path(), &[]), 0);
    let (code, all, _) = explain(out.path(), &["all"]);
    assert_eq!(code, 0);
    let (_, both, _) = explain(out.path(), &["S0002", "S0001", "S0002"]);
    assert_eq!(all, both);
    let heads = all.lines().filter(|line| line.starts_with("S0"));
    let heads: Vec<&str> = heads.map(|line| &line[..5]).collect();
    assert_eq!(heads, ["S0001", "S0002"]);
}

#[test]
fn a_wrong_name_or_folder_is_wrong_usage() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze("samples", out.path(), &[]), 0);
    let (code, text, errors) = explain(out.path(), &["S0001", "S9\u{1b}[2J"]);
    assert_eq!((code, text.as_str()), (2, ""));
    assert_eq!(errors, "psr-forensics: no session 'S9␛[2J': there are S0001, S0002\n");

    let (code, _, errors) = explain(&out.path().join("none"), &["S0001"]);
    assert_eq!((code, errors.lines().count()), (2, 1));
    assert!(errors.contains("no sessions.jsonl in it"), "{errors}");

    fs::write(out.path().join("sessions.jsonl"), "{\"format\":0,\"session_id\":\"S0001\"}\n")
        .unwrap();
    let (code, _, errors) = explain(out.path(), &["S0001"]);
    assert_eq!((code, errors.lines().count()), (2, 1));
    assert!(errors.contains("line 1 is not of this version: run analyze again"), "{errors}");

    fs::remove_file(out.path().join("sessions.jsonl")).unwrap();
    let (code, _, errors) = explain(out.path(), &["S0001"]);
    assert_eq!((code, errors.lines().count()), (2, 1));
    assert!(errors.contains("results of an older version: run analyze again"), "{errors}");
}

#[test]
fn hostile_text_reaches_no_terminal() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(analyze("samples", out.path(), &[]), 0);
    let path = out.path().join("sessions.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("ipconfig", "\\u001b[2J\\u202e\\nS0009  forged")).unwrap();
    let (code, told, _) = explain(out.path(), &["S0002"]);
    assert_eq!(code, 0);
    assert!(told.contains("␛[2J<U+202E>"), "{told}");
    let kinds: BTreeSet<char> = told.chars().filter(|c| c.is_control()).collect();
    assert_eq!(kinds, BTreeSet::from(['\n']));
    assert!(!told.lines().skip(1).any(|line| line.starts_with("S0")), "{told}");
}

/// `../shared/README.md` says what is in them.
#[test]
fn the_captures_tell_who_came_from_where() {
    let Some(captures) = corpus("json") else { return };
    for (capture, told) in [
        (
            "covenant_psremoting_command.zip",
            &["Tool        GruntHTTP: ", "> Get-Process\n", "Process     1280 on the target"][..],
        ),
        ("empire_psremoting_stager.zip", &["> ", "whoami", "decoded from: "][..]),
    ] {
        let out = tempfile::tempdir().unwrap();
        assert_eq!(analyze(&format!("{captures}/{capture}"), out.path(), &[]), 0);
        let (code, text, _) = explain(out.path(), &["all"]);
        assert_eq!(code, 0);
        let head = "S0001  THESHIRE\\pgustavo on WORKSTATION6.theshire.local, \
                    from WORKSTATION5.theshire.local (172.18.39.5)\n";
        assert!(text.starts_with(head), "{text}");
        for part in told {
            assert!(text.contains(part), "{part} in {text}");
        }
        // The captures hold no WinRM log.
        for host in ["WORKSTATION6", "WORKSTATION5"] {
            let line = format!("{host}.theshire.local's WinRM/Operational is not among the inputs");
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
