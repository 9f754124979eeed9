//! The page's tables of the run itself.

use super::grid::{Grid, Kind};
use super::text::{line, short};
use crate::analysis::Analysis;
use crate::detect::LoadedPack;
use crate::error::FaultKind;
use crate::input::InputKind;
use crate::rows::Overlap;

/// Rows of a table.
const MOST_ROWS: usize = 20_000;

/// The inputs, what is wrong with them, the packs, the rules that did not load or met a limit.
pub(super) fn all(analysis: &Analysis) -> Vec<Grid> {
    vec![inputs(analysis), faults(analysis), packs(analysis), rules(analysis)]
}

fn kind(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Evtx => "EVTX",
        InputKind::EvtxWithoutHeader => "EVTX, bad header",
        InputKind::Json => "JSON",
        InputKind::Xml => "XML",
        InputKind::Zip => "zip",
        InputKind::Recovered => "recovered",
        InputKind::Unknown => "not read",
    }
}

fn inputs(analysis: &Analysis) -> Grid {
    let columns = [
        ("File", Kind::Long, true),
        ("Kind", Kind::Text, false),
        ("Bytes", Kind::Number, false),
        ("Records", Kind::Number, true),
        ("Copies", Kind::Number, false),
        ("Faults", Kind::Number, true),
        ("SHA-256", Kind::Text, false),
    ];
    let mut grid = Grid::new("inputs", "Inputs", &columns, "run.json", "No input.");
    for report in &analysis.inputs {
        if grid.len() == MOST_ROWS {
            grid.leave_out();
            continue;
        }
        let copies: u64 = report.overlaps.iter().map(|(_, Overlap { copies, .. })| copies).sum();
        let faults = report.faults.iter().filter(|fault| fault.kind != FaultKind::NotALog).count();
        grid.push([
            line(&report.input.path.display().to_string()),
            kind(report.input.kind).to_owned(),
            report.input.size.to_string(),
            report.records.to_string(),
            copies.to_string(),
            faults.to_string(),
            report.sha256.clone().unwrap_or_default(),
        ]);
    }
    grid
}

fn faults(analysis: &Analysis) -> Grid {
    let columns = [
        ("File", Kind::Long, true),
        ("What", Kind::Text, true),
        ("Chunk", Kind::Number, false),
        ("Offset", Kind::Number, false),
        ("Record", Kind::Number, false),
        ("Reason", Kind::Long, true),
    ];
    let none = "Nothing: all logs were read to the last record.";
    let mut grid = Grid::new("faults", "What could not be read", &columns, "run.json", none);
    let faults = analysis.inputs.iter().flat_map(|report| {
        let path = report.input.path.display();
        report.faults.iter().map(move |fault| (path.to_string(), fault))
    });
    for (path, fault) in faults.filter(|(_, fault)| fault.kind != FaultKind::NotALog) {
        if grid.len() == MOST_ROWS {
            grid.leave_out();
            continue;
        }
        let place = |place: Option<u64>| place.map(|place| place.to_string()).unwrap_or_default();
        let what = match fault.kind {
            FaultKind::Suspect => "suspect: read, but a checksum or header is wrong",
            FaultKind::Lost | FaultKind::NotALog => "lost: not read",
            FaultKind::Remnant => "remnant: found, and not decodable",
        };
        grid.push([
            line(&path),
            what.to_owned(),
            place(fault.chunk),
            place(fault.offset),
            place(fault.record),
            short(&fault.reason),
        ]);
    }
    grid
}

fn packs(analysis: &Analysis) -> Grid {
    let columns = [
        ("Pack", Kind::Text, true),
        ("From", Kind::Text, true),
        ("Filters", Kind::Number, false),
        ("SHA-256", Kind::Text, false),
    ];
    let mut grid = Grid::new("packs", "Rule packs", &columns, "run.json", "No rules were loaded.");
    for LoadedPack { pack, filters, .. } in &analysis.rules.packs {
        let path = pack.path.as_ref().map(|path| path.display().to_string());
        grid.push([
            short(&pack.name),
            path.map_or("built in".to_owned(), |path| line(&path)),
            filters.to_string(),
            pack.sha256.clone(),
        ]);
    }
    grid
}

fn rules(analysis: &Analysis) -> Grid {
    let columns =
        [("Rule", Kind::Text, true), ("What", Kind::Text, true), ("Reason", Kind::Long, true)];
    let none = "None: all rules were loaded, and none met a limit.";
    let mut grid =
        Grid::new("refused", "Rules not loaded or cut short", &columns, "run.json", none);
    let refused = analysis.rules.rejected();
    let refused = refused.map(|refused| (&refused.file, "not loaded", &refused.reason));
    let limited = analysis.limited.iter();
    let limited = limited.map(|limited| (&limited.rule, "met a limit", &limited.reason));
    for (rule, what, reason) in limited.chain(refused) {
        if grid.len() == MOST_ROWS {
            grid.leave_out();
            continue;
        }
        grid.push([short(rule), what.to_owned(), short(reason)]);
    }
    grid
}
