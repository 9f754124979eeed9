//! `report.html`: what was found as one page for a browser that has no network.
//!
//! The page is made by templates that escape; what it shows with scripts comes from blocks of
//! compressed data, and its scripts make text of it, never markup. The policy in its head allows its
//! own script and style, by their hashes, and nothing else. Without scripts it has the summary and
//! the first rows of each table.

mod data;
mod graph;
mod grid;
mod ledger;
mod stories;
mod tables;
mod text;
mod verdict;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::Output;
use super::names::HTML_FILE;
use super::output::Summed;
use super::story::Story;
use crate::analysis::Analysis;
use crate::error::Error;
use crate::model::{Command, SessionIdx};
use graph::Graph;
use grid::{Grid, Kind};
pub(super) use stories::Tale;
use tables::Told;
use text::{count, number, short};
use verdict::Verdict;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    "(() => {\n\"use strict\";\n",
    include_str!("data.js"),
    include_str!("grid.js"),
    include_str!("story.js"),
    include_str!("timeline.js"),
    include_str!("page.js"),
    "})();\n",
);

/// The page without its data.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    version: &'static str,
    style: &'static str,
    /// What a policy names script and style by.
    script_hash: String,
    style_hash: String,
    /// Of what part of the run it tells, or nothing where it tells of all.
    part: String,
    verdict: &'a Verdict,
    graph: &'a Graph,
    sections: &'a [Section],
}

/// A part of the page: a heading, what it says, its tables.
struct Section {
    id: &'static str,
    title: &'static str,
    says: &'static str,
    grids: Vec<Grid>,
}

/// Writes the page: all but the stories of sessions first, then these, a block at a time.
pub(super) struct PageWriter {
    path: PathBuf,
    to: BufWriter<Summed>,
    sessions: Vec<SessionIdx>,
}

impl PageWriter {
    /// Writes the page as far as the stories, which are its end.
    ///
    /// # Errors
    /// [`Error::Write`] when it cannot be written.
    pub(super) fn begin(analysis: &Analysis, output: &mut Output) -> Result<PageWriter, Error> {
        let (path, mut to) = (output.path(HTML_FILE), output.create(HTML_FILE)?);
        let told = Told::of(analysis);
        begin(analysis, &told, &mut to).map_err(Error::write(&path))?;
        Ok(PageWriter { path, to, sessions: told.sessions })
    }

    /// The sessions that it shows, by start.
    pub(super) fn sessions(&self) -> &[SessionIdx] {
        &self.sessions
    }

    /// What it shows of a session; `ran` are its commands in the story's order.
    pub(super) fn tale(&self, story: &Story, ran: &[&Command]) -> Tale {
        stories::tale(story, ran)
    }

    /// Makes a block of stories, the first of which is 0.
    pub(super) fn block(&self, number: usize, tales: &[Tale]) -> io::Result<String> {
        stories::block(number, tales)
    }

    /// Writes the next block.
    ///
    /// # Errors
    /// [`Error::Write`] when it cannot be written.
    pub(super) fn write(&mut self, block: &str) -> Result<(), Error> {
        self.to.write_all(block.as_bytes()).map_err(Error::write(&self.path))
    }

    /// Writes what is behind the stories.
    ///
    /// # Errors
    /// [`Error::Write`] when it cannot be written.
    pub(super) fn end(mut self) -> Result<(), Error> {
        let written = self.to.write_all(b"</body>\n</html>\n").and_then(|()| self.to.flush());
        written.map_err(Error::write(&self.path))
    }
}

fn begin(analysis: &Analysis, told: &Told, to: &mut dyn Write) -> io::Result<()> {
    let findings = tables::findings(analysis)?;
    let verdict = Verdict::of(analysis, told, &findings);
    let sections = [
        Section {
            id: "sessions",
            title: "Sessions",
            says: "One row per session, the highest level first. Open one to have it told: what \
                   happened, why we say so, what speaks against it, what is missing.",
            grids: vec![tables::sessions(analysis, told), tables::attempts(analysis)],
        },
        Section {
            id: "findings",
            title: "Findings",
            says: "What the rules found, folded: a rule on a host in a session is one finding, \
                   however often it fired.",
            grids: vec![tables::rules(analysis, &findings), tables::rows(analysis, findings)],
        },
        Section {
            id: "coverage",
            title: "Logs and hosts",
            says: "How far the logs at hand reach, and how far the hosts' clocks are apart. What is \
                   not covered cannot be found.",
            grids: vec![
                tables::collect(analysis, told),
                tables::hosts(analysis, told),
                tables::coverage(analysis),
                tables::holes(analysis),
            ],
        },
        Section {
            id: "run",
            title: "The run",
            says: "What was read, and what could not be. run.json holds the command line and the \
                   clock.",
            grids: ledger::all(analysis),
        },
    ];
    let graph = Graph::of(analysis, told);
    let page = Page {
        version: env!("CARGO_PKG_VERSION"),
        style: STYLE,
        script_hash: hash(SCRIPT),
        style_hash: hash(STYLE),
        part: part(analysis, told),
        verdict: &verdict,
        graph: &graph,
        sections: &sections,
    };
    let mut text = String::new();
    page.render_into(&mut text).map_err(io::Error::other)?;
    to.write_all(text.as_bytes())?;
    let grids = sections.iter().flat_map(|section| &section.grids).chain([&graph.grid]);
    let grids: Vec<&Grid> = grids.collect();
    let blocks: Vec<io::Result<String>> =
        grids.par_iter().map(|grid| data::block(grid.id, grid)).collect();
    for block in blocks {
        to.write_all(block?.as_bytes())?;
    }
    // Before the stories: a large page can be used while they are still read.
    writeln!(to, "<script>{SCRIPT}</script>")
}

/// Of which hosts and accounts a page tells that is not of the whole run.
fn part(analysis: &Analysis, told: &Told) -> String {
    let Analysis { scope, reconstruction: case, .. } = analysis;
    if scope.is_whole() {
        return String::new();
    }
    let of = [("host", &scope.hosts), ("account", &scope.users)];
    let named = of.iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| {
        let names: Vec<String> = names.iter().map(|name| short(name)).collect();
        format!("{what} {}", names.join(" or "))
    });
    format!(
        "This page tells of a part of the run only: what concerns {}. That is {} of {} and {} of {}. \
         Logs, clocks and the run are told whole.",
        named.collect::<Vec<_>>().join(" and "),
        number(told.all.len()),
        count(case.sessions.len(), "session"),
        number(tables::attempts_of(analysis).count()),
        count(case.attempts.len(), "failed attempt"),
    )
}

/// A text's hash, as a content security policy spells it.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(Sha256::digest(text)))
}
