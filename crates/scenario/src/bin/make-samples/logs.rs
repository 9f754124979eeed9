//! Collects the events of all hosts and writes them as one log per host and channel.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use evtx_writer::{EvtxEvent, FileTime, LogWriter};
use scenario::events::ScenarioHost;

/// Midnight of the night in question, 2026-03-14 UTC.
const MIDNIGHT: u64 = 1_773_446_400;

/// A time of that night, to 100 ns.
pub const fn at(hour: u64, minute: u64, second: u64, ticks: u32) -> FileTime {
    FileTime::from_unix(MIDNIGHT + hour * 3600 + minute * 60 + second, ticks)
}

/// `time` and `ticks` of 100 ns more.
pub const fn later(time: FileTime, ticks: u64) -> FileTime {
    FileTime(time.0 + ticks)
}

/// Where each log's EventRecordID starts, as logs that have run for a while. A log that is not
/// named here would start at 1.
const FIRST_RECORD_IDS: [(&str, &str, u64); 11] = [
    ("WS01", "Microsoft-Windows-PowerShell/Operational", 2140),
    ("WS01", "Microsoft-Windows-Sysmon/Operational", 70551),
    ("WS01", "Microsoft-Windows-WinRM/Operational", 311),
    ("WS01", "Security", 90417),
    ("WS01", "System", 6120),
    ("WS01", "Windows PowerShell", 1803),
    ("SRV02", "Microsoft-Windows-PowerShell/Operational", 9011),
    ("SRV02", "Microsoft-Windows-WinRM/Operational", 1277),
    ("SRV02", "Security", 48210),
    ("SRV02", "System", 15630),
    ("DC01", "Security", 733102),
];

/// The one log that is an export, its records numbered anew in their headers.
const EXPORTED: (&str, &str) = ("SRV02", "Security");

/// Events by host and channel.
#[derive(Default)]
pub struct SampleLogs(BTreeMap<(&'static str, String), Vec<EvtxEvent>>);

impl SampleLogs {
    /// Files an event under its channel on `host`, in any order of time.
    pub fn add(&mut self, host: &ScenarioHost<'static>, event: EvtxEvent) {
        let event = EvtxEvent { computer: host.fqdn(), ..event };
        self.0.entry((host.name, event.channel.clone())).or_default().push(event);
    }

    pub fn write(self, folder: &Path) -> Result<(), Box<dyn Error>> {
        for ((host, channel), mut events) in self.0 {
            events.sort_by_key(|event| event.time);
            let exported = EXPORTED == (host, channel.as_str());
            let mut log = if exported { LogWriter::numbered_from(1) } else { LogWriter::new() };
            for (record_id, event) in (first_record_id(host, &channel)..).zip(events) {
                log.push(&EvtxEvent { record_id, ..event })?;
            }
            let folder = folder.join(host);
            fs::create_dir_all(&folder)?;
            // Windows' own way to keep the slash out of the name.
            fs::write(folder.join(channel.replace('/', "%4") + ".evtx"), log.finish())?;
        }
        Ok(())
    }
}

fn first_record_id(host: &str, channel: &str) -> u64 {
    let known = FIRST_RECORD_IDS.iter().find(|(h, c, _)| (*h, *c) == (host, channel));
    known.map_or(1, |(_, _, first)| *first)
}
