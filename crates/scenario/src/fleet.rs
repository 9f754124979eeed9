//! Puts a fleet together, loses what is to be lost, and writes the rest.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evtx_writer::{EvtxEvent, FileTime, LogWriter};

use crate::clock::{MOVED, Ticks, millis};
use crate::event_recorder::{EventRecorder, ProcessIds, RecordedEvent};
use crate::events::{security, system};
use crate::json::{self, JsonLineFormat};
use crate::plan::{FleetPlan, LogLoss, LostLog};
use crate::rng::Rng;
use crate::truth::Truth;
use crate::truth_builder::{self, FleetKnowledge};
use crate::world::FleetWorld;
use crate::{Config, noise};

/// Parts of the story with chance of their own; noise has one for each machine after them.
const WORLD: u64 = 1;
const PLAN: u64 = 2;
const SESSIONS: u64 = 3;
const NOISE: u64 = 1000;

/// A day of a company, its logs and its truth.
pub struct Fleet {
    config: Config,
    world: FleetWorld,
    /// The world after some addresses changed.
    moved: FleetWorld,
    plan: FleetPlan,
    /// The remaining records of sessions, of attempts and of nearby activity.
    entries: Vec<RecordedEvent>,
    process_ids: Vec<ProcessIds>,
    truth: Truth,
}

impl Fleet {
    /// Makes a fleet.
    ///
    /// # Panics
    ///
    /// If there are fewer than eight hosts.
    pub fn generate(config: &Config) -> Fleet {
        assert!(config.hosts >= 8, "a fleet needs hosts of each kind");
        let world = FleetWorld::make(config, &mut Rng::part(config.seed, WORLD));
        let moved = world.moved();
        let plan = FleetPlan::make(config, &world, &mut Rng::part(config.seed, PLAN));
        let mut event_recorder = EventRecorder::new(&world, Rng::part(config.seed, SESSIONS));
        let mut done = Vec::new();
        for (index, spec) in plan.sessions.iter().enumerate() {
            event_recorder.world = if spec.start < MOVED { &world } else { &moved };
            let session = event_recorder.session(index, spec, &done);
            event_recorder.around(spec);
            done.push(session);
        }
        for (index, spec) in plan.failures.iter().enumerate() {
            event_recorder.world = if spec.time < MOVED { &world } else { &moved };
            event_recorder.failure(index, spec);
        }
        let EventRecorder { mut entries, runs, process_ids, .. } = event_recorder;
        entries.retain(|entry| !lost(&plan.lost_logs, entry.machine, &entry.event, &world));
        let mut fleet = Fleet {
            config: config.clone(),
            truth: Truth {
                seed: config.seed,
                max_clock_error_seconds: config.max_clock_error_seconds,
                hosts: Vec::new(),
                sessions: Vec::new(),
                attempts: Vec::new(),
            },
            world,
            moved,
            plan,
            entries,
            process_ids,
        };
        let mut known = FleetKnowledge::default();
        for entry in &fleet.entries {
            known.add_event(entry.machine, &entry.event);
        }
        for machine in 0..fleet.world.collected {
            for event in fleet.noise(machine) {
                known.add_event(machine, &event);
            }
        }
        let truth_builder = truth_builder::TruthBuilder {
            world: &fleet.world,
            moved: &fleet.moved,
            plan: &fleet.plan,
            done: &done,
            runs: &runs,
            entries: &fleet.entries,
            known: &known,
        };
        fleet.truth = truth_builder.truth(config);
        fleet
    }

    /// Returns the truth.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Writes the logs of each machine into a folder of its own, a file a channel, named as Windows
    /// names them.
    ///
    /// # Errors
    ///
    /// If a folder or file cannot be written.
    pub fn write_evtx(&self, folder: &Path) -> io::Result<()> {
        for machine in 0..self.world.collected {
            for (channel, events) in self.logs(machine) {
                // Every third machine's logs are exports: numbered anew in their headers.
                let export = machine % 3 == 2;
                let mut log = if export { LogWriter::numbered_from(1) } else { LogWriter::new() };
                for event in events {
                    log.push(&event).map_err(io::Error::other)?;
                }
                fs::write(self.file(folder, machine, &channel, "evtx")?, log.finish())?;
            }
        }
        Ok(())
    }

    /// Writes the same records as lines of JSON: a file a log, or one for all in NXLog's shape.
    ///
    /// # Errors
    ///
    /// If a folder or file cannot be written.
    pub fn write_json_lines(&self, folder: &Path, shape: JsonLineFormat) -> io::Result<()> {
        let logs = (0..self.world.collected).flat_map(|machine| {
            self.logs(machine).into_iter().map(move |(channel, events)| (machine, channel, events))
        });
        let lines = |events: &[EvtxEvent], line: fn(&EvtxEvent) -> serde_json::Value| -> String {
            events.iter().map(|event| format!("{}\n", line(event))).collect()
        };
        match shape {
            JsonLineFormat::EvtxDump => {
                for (machine, channel, events) in logs {
                    let file = self.file(folder, machine, &channel, "jsonl")?;
                    fs::write(file, lines(&events, json::evtx_dump))?;
                }
                Ok(())
            }
            JsonLineFormat::NxLog => {
                let mut events: Vec<EvtxEvent> = logs.flat_map(|(.., events)| events).collect();
                events.sort_by_key(|event| event.time);
                fs::create_dir_all(folder)?;
                fs::write(folder.join("nxlog.json"), lines(&events, json::nxlog))
            }
        }
    }

    /// Where a log goes; its folder is made.
    fn file(
        &self,
        folder: &Path,
        machine: usize,
        channel: &str,
        ending: &str,
    ) -> io::Result<PathBuf> {
        let folder = folder.join(&self.world.machines[machine].name);
        fs::create_dir_all(&folder)?;
        Ok(folder.join(format!("{}.{ending}", channel.replace('/', "%4"))))
    }

    /// A machine's logs, each in order.
    fn logs(&self, machine: usize) -> BTreeMap<String, Vec<EvtxEvent>> {
        let mut logs: BTreeMap<String, Vec<EvtxEvent>> = BTreeMap::new();
        let own = self.entries.iter().filter(|entry| entry.machine == machine);
        for event in own.map(|entry| entry.event.clone()).chain(self.noise(machine)) {
            logs.entry(event.channel.clone()).or_default().push(event);
        }
        let first = 1_000 * (machine as u64 + 1);
        for events in logs.values_mut() {
            events.sort_by_key(|event| event.time);
            for (event, record_id) in events.iter_mut().zip(first..) {
                event.record_id = record_id;
            }
        }
        logs
    }

    /// A machine's noise that is left, and the records of what was done to its logs.
    fn noise(&self, machine: usize) -> Vec<EvtxEvent> {
        let rng = Rng::part(self.config.seed, NOISE + machine as u64);
        let ids = &self.process_ids[machine];
        let count = self.config.noise_per_host;
        let worlds = (&self.world, &self.moved);
        let mut events = noise::of_machine(worlds, machine, count, rng, ids);
        events.retain(|event| !lost(&self.plan.lost_logs, machine, event, &self.world));
        let lost_logs = self.plan.lost_logs.iter();
        for lost_log in lost_logs
            .filter(|lost_log| lost_log.machine == machine && lost_log.fate == LogLoss::Cleared)
        {
            let at = &self.world.machines[machine];
            let time = FileTime(at.shows(lost_log.until + millis(1)));
            let by = self.world.account(0).logon(0x7_77c1);
            let event = match lost_log.channel {
                "Security" => security::cleared(time, by),
                channel => system::cleared(time, by, channel),
            };
            let computer = at.computer(&event.channel);
            events.push(EvtxEvent { computer, ..event });
        }
        events
    }
}

/// Whether an event is in a part of its log that is gone.
fn lost(lost_logs: &[LostLog], machine: usize, event: &EvtxEvent, world: &FleetWorld) -> bool {
    lost_logs.iter().any(|lost_log| {
        let until: Ticks = world.machines[machine].shows(lost_log.until);
        lost_log.machine == machine && lost_log.channel == event.channel && event.time.0 < until
    })
}
