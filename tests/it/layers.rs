//! Obfuscated commands of real logs, read by hand, and what the program makes of them.

use std::collections::BTreeMap;

use psr_forensics::decode::{Decoder, Wanted};
use psr_forensics::input::{Piece, Reader, discover, piece_count};
use psr_forensics::layers::{Limits, Unwrapped, layers};
use psr_forensics::{Channel, Record, RecordRef};

use crate::common::corpus;

/// Wants every record.
struct All;

impl Wanted for All {
    fn wants(&self, _: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        true
    }
}

/// The script blocks, command lines and services' paths of the logs in a folder, each once, in the
/// order of the logs.
fn texts(folder: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let (mut decoder, mut piece) = (Decoder::default(), Piece::default());
    for input in discover(&[folder.into()]).unwrap() {
        let mut reader = Reader::new(&input);
        let mut blocks: BTreeMap<String, BTreeMap<u32, String>> = BTreeMap::new();
        for _ in 0..piece_count(&input) {
            reader.next(&mut piece).unwrap();
            decoder.piece(&input, 0, &mut piece, &All, |record| {
                let field = |name| record.data.get(name).map(str::to_owned);
                if let (Some(id), Some(text)) = (field("ScriptBlockId"), field("ScriptBlockText")) {
                    let number = field("MessageNumber").and_then(|n| n.parse().ok()).unwrap_or(1);
                    blocks.entry(id).or_default().insert(number, text);
                }
                texts.extend(field("CommandLine"));
                texts.extend(field("ImagePath"));
                classic(record, &mut texts);
            });
        }
        texts.extend(blocks.into_values().map(|parts| parts.into_values().collect()));
    }
    let mut seen = std::collections::BTreeSet::new();
    texts.retain(|text: &String| seen.insert(text.clone()));
    texts
}

/// The command lines of the classic log's pipelines.
fn classic(record: &Record, texts: &mut Vec<String>) {
    if record.known_channel == Channel::PowerShellClassic && record.event_id == 800 {
        texts.extend(record.data.iter().map(|(_, text)| text.to_owned()).take(1));
    }
}

#[test]
#[ignore]
fn explore() {
    let Some(path) = corpus("evtx") else { return };
    let texts = texts(&path);
    std::fs::write("/tmp/h/layers-texts.txt", texts.join("\n=====\n")).unwrap();
    let bytes: usize = texts.iter().map(String::len).sum();
    let before = std::time::Instant::now();
    let found: Vec<Unwrapped> = texts.iter().map(|text| layers(text, &Limits::default())).collect();
    println!("{} texts, {bytes} bytes, {:?}", texts.len(), before.elapsed());
    let mut worst: Vec<_> = texts.iter().map(|text| { let b = std::time::Instant::now(); layers(text, &Limits::default()); (b.elapsed(), text.len()) }).collect();
    worst.sort(); worst.reverse();
    println!("{:?}", &worst[..10]);
    for (text, found) in texts.iter().zip(&found) {
        if found.layers.is_empty() && found.stopped.is_none() && found.binaries.is_empty() { continue }
        println!("-- {} {}", text.len(), text.chars().take(160).collect::<String>().replace(['\r','\n'], " "));
        for layer in &found.layers {
            if layer.how == psr_forensics::layers::How::Evaluated { let above: Vec<&str> = match layer.parent { Some(p) => found.layers[p].text.lines().collect(), None => text.lines().collect() }; for (n, (a,b)) in above.iter().zip(layer.text.lines()).filter(|(a,b)| **a!=*b).take(6).enumerate() { println!("      {n} <{}>\n      {n} >{}<", &a.chars().take(700).collect::<String>(), b.chars().take(700).collect::<String>()); } }
            println!("   {:?} p{:?} @{} {}: {}", layer.how, layer.parent, layer.offset, layer.text.len(), layer.text.chars().take(300).collect::<String>().replace(['\r','\n'], " "));
        }
        println!("   {:?} {:?}", found.binaries, found.stopped);
    }
}
