//! Who connected to whom, as a drawing: hosts in columns, in which sessions go from left to right
//! where they can.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::grid::{Grid, Kind};
use super::tables::{Told, source, word};
use super::text::{count, number, short};
use crate::analysis::Analysis;
use crate::model::{Level, short_name};

/// Pairs of hosts that are drawn: of more, those of the highest levels with the most sessions.
const MOST_EDGES: usize = 30;
/// Pairs whose number and level are written beside their line.
const MOST_LABELS: usize = 14;
/// Pairs in the table.
const MOST_ROWS: usize = 20_000;
/// Hosts below each other that a screen has room for.
const MOST_IN_SIGHT: usize = 14;
/// Letters of a name that are drawn.
const MOST_LETTERS: usize = 22;

/// Sizes in the drawing.
const WIDTH: usize = 168;
const HEIGHT: usize = 28;
const ACROSS: usize = 330;
const DOWN: usize = 40;
const MARGIN: usize = 14;

/// Hosts, and the sessions between them.
pub(super) struct Graph {
    pub width: usize,
    pub height: usize,
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    /// What is not drawn.
    pub says: String,
    pub grid: Grid,
}

/// A host.
pub(super) struct Node {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
    pub text_x: usize,
    pub text_y: usize,
    pub name: String,
    pub label: String,
}

/// Sessions from one host to another.
pub(super) struct Edge {
    pub path: String,
    /// The arrow's head.
    pub head: String,
    pub level: &'static str,
    pub stroke: String,
    pub source: String,
    pub target: String,
    /// How many, and of which level.
    pub says: String,
    /// Where that is written, if it is.
    pub label: Option<(usize, usize)>,
}

impl Graph {
    pub(super) fn of(analysis: &Analysis, told: &Told) -> Graph {
        let mut pairs: BTreeMap<(&str, &str), (usize, Option<Level>)> = BTreeMap::new();
        for (session, level) in told.of_run(analysis).zip(told.levels()) {
            let pair = pairs.entry((source(session), &session.target_host)).or_default();
            *pair = (pair.0 + 1, pair.1.max(level));
        }
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by_key(|&(names, (sessions, level))| (Reverse(level), Reverse(sessions), names));
        let grid = grid(&pairs);
        let all = pairs.len();
        pairs.truncate(MOST_EDGES);
        let columns = columns(&pairs);
        let height = columns.iter().map(Vec::len).max().unwrap_or_default();
        let mut nodes = Vec::new();
        let mut places: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (column, names) in columns.iter().enumerate() {
            // Short columns stand in the middle, unless that is out of sight.
            let above = match height {
                0..=MOST_IN_SIGHT => (height - names.len()) * DOWN / 2,
                _ => 0,
            };
            for (row, &name) in names.iter().enumerate() {
                let (x, y) = (MARGIN + column * ACROSS, MARGIN + 8 + above + row * DOWN);
                places.insert(name, (x, y));
                nodes.push(node(name, x, y));
            }
        }
        let is_labelled = pairs.len() <= MOST_LABELS;
        let edges = pairs.iter().enumerate().map(|(index, &((from, to), of))| {
            edge([from, to], [places[from], places[to]], of, is_labelled, index)
        });
        let edges = edges.collect();
        let says = match all {
            all if all > MOST_EDGES => format!(
                "Drawn are the {MOST_EDGES} of {} pairs of hosts with the highest levels and the most \
                 sessions. The table has all.",
                number(all)
            ),
            _ => String::new(),
        };
        Graph {
            width: 2 * MARGIN + columns.len().saturating_sub(1) * ACROSS + WIDTH + 60,
            height: 2 * MARGIN + height * DOWN,
            nodes,
            edges,
            says,
            grid,
        }
    }
}

type Pair<'a> = ((&'a str, &'a str), (usize, Option<Level>));

fn grid(pairs: &[Pair<'_>]) -> Grid {
    let columns = [
        ("Level", Kind::Level, true),
        ("Source", Kind::Host, true),
        ("Target", Kind::Host, true),
        ("Sessions", Kind::Number, true),
    ];
    let mut grid = Grid::new("pairs", "Who connected to whom", &columns, "sessions.csv", "No one.");
    for &((source, target), (sessions, level)) in pairs {
        if grid.len() == MOST_ROWS {
            grid.leave_out();
            continue;
        }
        let level = word(level).to_owned();
        grid.push([level, short(source), short(target), sessions.to_string()]);
    }
    grid
}

/// The hosts by column: a target stands right of its sources, unless they go round in a circle.
fn columns<'a>(pairs: &[Pair<'a>]) -> Vec<Vec<&'a str>> {
    let mut sources: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for &((source, target), _) in pairs {
        sources.entry(source).or_default();
        if source != target {
            sources.entry(target).or_default().insert(source);
        }
    }
    let mut column: BTreeMap<&str, usize> = BTreeMap::new();
    let mut left: BTreeSet<&str> = sources.keys().copied().collect();
    while !left.is_empty() {
        let waiting = |name: &&&str| sources[**name].intersection(&left).count();
        // The first without a source that has no place yet; in a circle, the one with the fewest.
        let Some(&next) = left.iter().min_by_key(waiting) else { break };
        let of = sources[next].iter().filter_map(|source| column.get(source));
        let place = of.max().map_or(0, |column| column + 1);
        column.insert(next, place);
        left.remove(next);
    }
    let count = column.values().max().map_or(0, |last| last + 1);
    let mut columns = vec![Vec::new(); count];
    for (name, column) in column {
        columns[column].push(name);
    }
    // Each host near the middle of those it has sessions with to its left: fewer lines cross.
    let mut row: BTreeMap<&str, usize> = BTreeMap::new();
    for names in &mut columns {
        let middle = |name: &str| {
            let rows: Vec<usize> =
                sources[name].iter().filter_map(|source| row.get(source)).copied().collect();
            rows.iter().sum::<usize>() * 1000 / rows.len().max(1)
        };
        names.sort_by_key(|&name| (middle(name), name));
        row.extend(names.iter().enumerate().map(|(index, &name)| (name, index)));
    }
    columns
}

fn node(name: &str, x: usize, y: usize) -> Node {
    let full = short(name);
    let label = short(short_name(name));
    let letters = label.chars().count();
    let label = match label.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) if letters > MOST_LETTERS => format!("{}…", &label[..end]),
        _ => label,
    };
    let (text_x, text_y) = (x + WIDTH / 2, y + HEIGHT / 2 + 4);
    Node { x, y, width: WIDTH, height: HEIGHT, text_x, text_y, name: full, label }
}

fn edge(
    [source, target]: [&str; 2],
    [from, to]: [(usize, usize); 2],
    (sessions, level): (usize, Option<Level>),
    is_labelled: bool,
    index: usize,
) -> Edge {
    let middle = |y: usize| y + HEIGHT / 2;
    let (from_x, from_y, to_x, to_y) = (from.0 + WIDTH, middle(from.1), to.0, middle(to.1));
    let (path, head, label) = if to.0 > from.0 {
        let bend = (to_x - from_x) / 2;
        let path = format!(
            "M{from_x} {from_y}C{} {from_y} {} {to_y} {} {to_y}",
            from_x + bend,
            to_x - bend,
            to_x - 7
        );
        let head = format!("M{} {}L{to_x} {to_y}L{} {}z", to_x - 9, to_y - 5, to_x - 9, to_y + 5);
        (path, head, (from_x + bend, (from_y + to_y) / 2 - 5))
    } else {
        // Back, within a column, or to itself: round the right side.
        let (to_x, out) = (to.0 + WIDTH, 50 + 6 * (index % 4));
        let right = from_x.max(to_x) + out;
        let to_y = if from == to { to_y + 9 } else { to_y };
        let from_y = if from == to { from_y - 9 } else { from_y };
        let path =
            format!("M{from_x} {from_y}C{right} {from_y} {right} {to_y} {} {to_y}", to_x + 7);
        let head = format!("M{} {}L{to_x} {to_y}L{} {}z", to_x + 9, to_y - 5, to_x + 9, to_y + 5);
        (path, head, (right - out / 3, (from_y + to_y) / 2))
    };
    let width = 1.5 + (sessions as f64).log10().min(3.0) * 1.5;
    Edge {
        path,
        head,
        level: word(level),
        stroke: format!("{width:.1}"),
        source: short(source),
        target: short(target),
        says: format!("{}, {}", count(sessions, "session"), word(level)),
        label: is_labelled.then_some(label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair<'a>(source: &'a str, target: &'a str) -> Pair<'a> {
        ((source, target), (1, None))
    }

    #[test]
    fn a_target_stands_right_of_its_sources() {
        let pairs = [pair("b", "c"), pair("a", "b"), pair("a", "c"), pair("x", "c")];
        assert_eq!(columns(&pairs), [vec!["a", "x"], vec!["b"], vec!["c"]]);
    }

    #[test]
    fn circles_end() {
        let pairs = [pair("a", "b"), pair("b", "a"), pair("c", "c")];
        assert_eq!(columns(&pairs), [vec!["a", "c"], vec!["b"]]);
    }
}
