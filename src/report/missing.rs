//! What is missing from a session, in words.

use super::story;
use crate::model::{Absence, Channel, Covered, Missing, csv_time};

/// A channel without the words that all have.
fn short(channel: Channel) -> &'static str {
    channel.name().trim_start_matches("Microsoft-Windows-")
}

fn ids(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join("/")
}

/// In short: side, channel, event ids, reason.
pub(super) fn short_form(missing: &Missing) -> String {
    let Missing { side, channel, ids: of, why, .. } = missing;
    format!("{} {} {}: {}", side.as_str(), short(*channel), ids(of), why.as_str())
}

/// The reason as a sentence.
fn reason(missing: &Missing) -> String {
    let Missing { host, channel, ids: of, why, .. } = missing;
    let (log, of) = (format!("{host}'s {}", short(*channel)), ids(of));
    match why {
        Absence::NotCollected => format!("{log} is not among the inputs"),
        Absence::RolledOver(first) => format!(
            "{log} begins at {}: older records were overwritten or not exported",
            csv_time(*first)
        ),
        Absence::Cleared(time, _) => format!("{log} was cleared at {}", csv_time(*time)),
        Absence::EndsBefore(last) => format!("{log} ends at {}", csv_time(*last)),
        Absence::NotAudited => {
            format!(
                "{log} covers the time and has no {of} at any time: not audited, or switched off"
            )
        }
        Absence::NotLogged => format!("{log} covers the time and has {of} at other times only"),
        Absence::Cached => {
            format!("{log} covers the time; the ticket may be from up to ten hours before")
        }
        Absence::OutsideWindow => "the run leaves that time out (--from, --to)".to_owned(),
    }
}

/// All that is known of it.
pub(super) fn told(missing: &Missing) -> story::Missing {
    story::Missing {
        side: missing.side.as_str().to_owned(),
        host: missing.host.clone(),
        channel: missing.channel.name().to_owned(),
        event_ids: missing.ids.to_vec(),
        tells: missing.tells.to_owned(),
        why: missing.why.as_str().to_owned(),
        reason: reason(missing),
    }
}

/// How much of a session a log covers, in short.
pub(super) fn covered_form(covered: &Covered) -> String {
    match covered.percent {
        Some(percent) => format!("{} {percent}%", short(covered.channel)),
        None => format!("{} not_collected", short(covered.channel)),
    }
}

/// The logs to look for, each once and over all the time it is looked for.
pub(super) fn collect(missing: &[Missing]) -> Vec<story::Collect> {
    let mut all: Vec<story::Collect> = Vec::new();
    for missing in missing {
        let Some((from, to)) = missing.collect else { continue };
        let channel = missing.channel.name();
        match all.iter_mut().find(|known| known.host == missing.host && known.channel == channel) {
            Some(known) => {
                known.from = known.from.min(from);
                known.to = known.to.max(to);
            }
            None => {
                let (host, channel) = (missing.host.clone(), channel.to_owned());
                all.push(story::Collect { host, channel, from, to });
            }
        }
    }
    all
}

/// A log to look for, in short.
pub(super) fn collect_form(collect: &story::Collect) -> String {
    let story::Collect { host, channel, from, to } = collect;
    let time = "%Y-%m-%d %H:%M:%S";
    format!("{host} {channel} {} to {} UTC", from.format(time), to.format(time))
}
