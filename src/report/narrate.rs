//! Tells each session once, for both files that have its story: `sessions.jsonl`, and the page where
//! one is wanted.

use std::io::Write;

use rayon::prelude::*;

use super::teller::Stories;
use super::{Output, html, story};
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
    let told = html::Told::of(analysis);
    let lines_path = output.path(story::FILE);
    let mut lines = output.create(story::FILE)?;
    let page_path = output.path(html::FILE);
    let mut page = match wants_page {
        true => Some(output.create(html::FILE)?),
        false => None,
    };
    if let Some(page) = &mut page {
        html::begin(analysis, &told, page).map_err(Error::write(&page_path))?;
    }
    let stories = Stories::of(analysis);
    let shown = if wants_page { &told.sessions[..] } else { &[] };
    let parts: Vec<(usize, Part<'_>)> = parts(&told.all, shown).into_iter().enumerate().collect();
    for some in parts.chunks(AT_ONCE) {
        let made: Vec<_> = some.par_iter().map(|(at, part)| tell(&stories, *at, part)).collect();
        for made in made {
            let (text, block) = made.map_err(Error::write(&lines_path))?;
            lines.write_all(&text).map_err(Error::write(&lines_path))?;
            if let Some(page) = &mut page {
                page.write_all(block.as_bytes()).map_err(Error::write(&page_path))?;
            }
        }
    }
    lines.flush().map_err(Error::write(&lines_path))?;
    match &mut page {
        Some(page) => html::end(page).map_err(Error::write(&page_path)),
        None => Ok(()),
    }
}

/// Cuts the sessions into parts, so that the page's blocks are told one after the other: each but the
/// last ends with its last session. `shown` are some of `all`, and both are in order.
fn parts<'a>(all: &'a [SessionIdx], shown: &'a [SessionIdx]) -> Vec<Part<'a>> {
    let mut rest = all;
    let mut parts = Vec::new();
    for block in shown.chunks(html::A_BLOCK) {
        let end = rest.partition_point(|session| Some(session) <= block.last());
        let (sessions, after) = rest.split_at(end);
        parts.push(Part { sessions, block });
        rest = after;
    }
    let others = rest.chunks(html::A_BLOCK);
    parts.extend(others.map(|sessions| Part { sessions, block: &[] }));
    parts
}

/// The lines of a part's sessions, and its block of the page, if it has one.
fn tell(stories: &Stories<'_>, at: usize, part: &Part<'_>) -> std::io::Result<(Vec<u8>, String)> {
    let mut lines = Vec::new();
    let mut tales = Vec::new();
    for &session in part.sessions {
        let (story, commands) = stories.tell(session);
        serde_json::to_writer(&mut lines, &story)?;
        lines.push(b'\n');
        if part.block.binary_search(&session).is_ok() {
            tales.push(html::tale(&story, &commands));
        }
    }
    let block = if tales.is_empty() { String::new() } else { html::block(at, &tales)? };
    Ok((lines, block))
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
            assert_eq!(blocks[..filled], shown.chunks(html::A_BLOCK).collect::<Vec<_>>());
            for part in &parts[..filled] {
                assert!(part.block.iter().all(|session| part.sessions.contains(session)));
            }
        }
    }
}
