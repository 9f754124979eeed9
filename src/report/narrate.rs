//! Tells each session once, for both files that have its story: `sessions.jsonl`, and the page where
//! one is wanted.

use std::io::Write;

use rayon::prelude::*;

use super::html::PageWriter;
use super::teller::{BLOCK_SESSIONS, Stories, sessions_in_scope};
use super::{Output, story};
use crate::analysis::Analysis;
use crate::error::Error;
use crate::model::SessionIdx;

/// Parts that are told side by side.
const AT_ONCE: usize = 4;

/// Sessions that are told together, and those of them that make a block of the page.
struct Part<'a> {
    sessions: &'a [SessionIdx],
    block: &'a [SessionIdx],
}

/// Writes both files.
///
/// # Errors
/// [`Error::Write`] when one cannot be written.
pub(super) fn write(
    analysis: &Analysis,
    wants_page: bool,
    output: &mut Output,
) -> Result<(), Error> {
    let lines_path = output.path(story::FILE);
    let mut lines = output.create(story::FILE)?;
    let mut page = match wants_page {
        true => Some(PageWriter::begin(analysis, output)?),
        false => None,
    };
    let stories = Stories::of(analysis);
    let all = sessions_in_scope(analysis);
    let shown = page.as_ref().map_or_else(Vec::new, |page| page.sessions().to_vec());
    let parts: Vec<(usize, Part<'_>)> = parts(&all, &shown).into_iter().enumerate().collect();
    for some in parts.chunks(AT_ONCE) {
        let tell = |(at, part): &(usize, Part<'_>)| tell(&stories, page.as_ref(), *at, part);
        let made: Vec<_> = some.par_iter().map(tell).collect();
        for made in made {
            let (text, block) = made.map_err(Error::write(&lines_path))?;
            lines.write_all(&text).map_err(Error::write(&lines_path))?;
            if let Some(page) = &mut page {
                page.write(&block)?;
            }
        }
    }
    lines.flush().map_err(Error::write(&lines_path))?;
    page.map_or(Ok(()), PageWriter::end)
}

/// Cuts the sessions into parts, so that the page's blocks are told one after the other: each but the
/// last ends with its last session. `shown` are some of `all`, and both are in order.
fn parts<'a>(all: &'a [SessionIdx], shown: &'a [SessionIdx]) -> Vec<Part<'a>> {
    let mut rest = all;
    let mut parts = Vec::new();
    for block in shown.chunks(BLOCK_SESSIONS) {
        let end = rest.partition_point(|session| Some(session) <= block.last());
        let (sessions, after) = rest.split_at(end);
        parts.push(Part { sessions, block });
        rest = after;
    }
    let others = rest.chunks(BLOCK_SESSIONS);
    parts.extend(others.map(|sessions| Part { sessions, block: &[] }));
    parts
}

/// The lines of a part's sessions, and its block of the page, if it has one.
fn tell(
    stories: &Stories<'_>,
    page: Option<&PageWriter>,
    at: usize,
    part: &Part<'_>,
) -> std::io::Result<(Vec<u8>, String)> {
    let mut lines = Vec::new();
    let mut tales = Vec::new();
    for &session in part.sessions {
        let (story, commands) = stories.tell(session);
        serde_json::to_writer(&mut lines, &story)?;
        lines.push(b'\n');
        if let Some(page) = page
            && part.block.binary_search(&session).is_ok()
        {
            tales.push(page.tale(&story, &commands));
        }
    }
    match page {
        Some(page) if !tales.is_empty() => Ok((lines, page.block(at, &tales)?)),
        _ => Ok((lines, String::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_is_told_once_and_blocks_hold_what_the_page_shows() {
        let all: Vec<SessionIdx> = (0..200).map(|n| SessionIdx::new(3 * n)).collect();
        let few: Vec<SessionIdx> =
            all.iter().copied().filter(|session| session.index() % 4 == 0).collect();
        for shown in [&[][..], &few, &all] {
            let parts = parts(&all, shown);
            let told: Vec<SessionIdx> =
                parts.iter().flat_map(|part| part.sessions).copied().collect();
            assert_eq!(told, all);
            let blocks: Vec<&[SessionIdx]> = parts.iter().map(|part| part.block).collect();
            let filled = blocks.iter().filter(|block| !block.is_empty()).count();
            assert_eq!(blocks[..filled], shown.chunks(BLOCK_SESSIONS).collect::<Vec<_>>());
            for part in &parts[..filled] {
                assert!(part.block.iter().all(|session| part.sessions.contains(session)));
            }
        }
    }
}
