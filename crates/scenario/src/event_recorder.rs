//! Records events: each on its machine, with the time of that machine's clock, if the machine logs
//! it.

use std::collections::BTreeMap;

use evtx_writer::{EvtxEvent, FileTime};

use crate::clock::{Ticks, seconds};
use crate::events::{ScenarioLogon, ScenarioProcess, dcom, security, sysmon};
use crate::facts::Facts;
use crate::rng::Rng;
use crate::world::FleetWorld;

/// The session that a record belongs to, and the facts that it shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionFacts {
    pub session: usize,
    pub facts: Facts,
}

/// A record, and what it shows.
#[derive(Debug, Clone)]
pub(crate) struct RecordedEvent {
    pub event: EvtxEvent,
    pub machine: usize,
    pub session_facts: Option<SessionFacts>,
    /// The executed item that it shows, as an index into all executed items.
    pub run: Option<usize>,
    /// The failed attempt that it belongs to.
    pub attempt: Option<usize>,
}

/// The process ids that each machine has used, and when.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessIds(BTreeMap<u32, Vec<(Ticks, Ticks)>>);

impl ProcessIds {
    /// An id that no other process has from `start` to `end`.
    pub(crate) fn take(&mut self, rng: &mut Rng, start: Ticks, end: Ticks) -> u32 {
        loop {
            let id = 4 * rng.within(250..3_500) as u32;
            if self.take_this(id, start, end) {
                return id;
            }
        }
    }

    /// Takes an id if it is free.
    pub(crate) fn take_this(&mut self, id: u32, start: Ticks, end: Ticks) -> bool {
        let lives = self.0.entry(id).or_default();
        let (from, to) = (start - seconds(1), end.saturating_add(seconds(1)));
        let free = lives.iter().all(|&(s, e)| to < s || e < from);
        if free {
            lives.push((start, end));
        }
        free
    }
}

/// Something run in a session, as the truth knows it.
#[derive(Debug, Clone)]
pub(crate) struct ExecutedItem {
    pub time: Ticks,
    pub text: String,
    pub token: String,
    pub image: Option<&'static str>,
    /// The process that it was run in, where that is a child.
    pub within: Option<usize>,
}

pub(crate) struct EventRecorder<'w> {
    pub world: &'w FleetWorld,
    pub rng: Rng,
    pub entries: Vec<RecordedEvent>,
    pub runs: Vec<ExecutedItem>,
    pub process_ids: Vec<ProcessIds>,
    next_logon: Vec<u64>,
    next_token: u64,
}

impl<'w> EventRecorder<'w> {
    pub(crate) fn new(world: &'w FleetWorld, rng: Rng) -> Self {
        Self {
            world,
            rng,
            entries: Vec::new(),
            runs: Vec::new(),
            process_ids: vec![ProcessIds::default(); world.machines.len()],
            next_logon: vec![0x3_0000; world.machines.len()],
            next_token: 0,
        }
    }

    /// Records an event. Its time is the true time; the record shows the machine's clock.
    pub(crate) fn record_event(
        &mut self,
        machine: usize,
        event: EvtxEvent,
        session_facts: Option<SessionFacts>,
    ) {
        self.record_with_context(machine, event, session_facts, None, None);
    }

    /// Records an event of a failed attempt.
    pub(crate) fn record_attempt(&mut self, machine: usize, event: EvtxEvent, attempt: usize) {
        self.record_with_context(machine, event, None, None, Some(attempt));
    }

    /// Records an event that shows an executed item.
    pub(crate) fn record_execution(
        &mut self,
        machine: usize,
        event: EvtxEvent,
        session_facts: SessionFacts,
        run: usize,
    ) {
        self.record_with_context(machine, event, Some(session_facts), Some(run), None);
    }

    fn record_with_context(
        &mut self,
        machine: usize,
        event: EvtxEvent,
        session_facts: Option<SessionFacts>,
        run: Option<usize>,
        attempt: Option<usize>,
    ) {
        let at = &self.world.machines[machine];
        if at.policy.keeps(&event) {
            let (time, computer) = (at.shows(event.time.0), at.computer(&event.channel));
            let event = EvtxEvent { time: FileTime(time), computer, ..event };
            self.entries.push(RecordedEvent { event, machine, session_facts, run, attempt });
        }
    }

    /// A new logon id of a machine.
    pub(crate) fn logon_id(&mut self, machine: usize) -> u64 {
        self.next_logon[machine] += self.rng.within(0x11..0x4000);
        self.next_logon[machine]
    }

    /// Skips `count` logon ids of a machine.
    pub(crate) fn skip_logons(&mut self, machine: usize, count: u64) {
        self.next_logon[machine] += count;
    }

    /// A new process id of a machine.
    pub(crate) fn process_id(&mut self, machine: usize, start: Ticks, end: Ticks) -> u32 {
        self.process_ids[machine].take(&mut self.rng, start, end)
    }

    /// Returns a word that appears nowhere else.
    pub(crate) fn token(&mut self) -> String {
        self.next_token += 1;
        format!("ref{:06}", self.next_token)
    }

    pub(crate) fn run(&mut self, run: ExecutedItem) -> usize {
        self.runs.push(run);
        self.runs.len() - 1
    }

    /// Records the start of a process in all logs of its machine that show it.
    pub(crate) fn record_process_start(&mut self, machine: usize, creation: &ProcessCreation<'_>) {
        let world = self.world;
        let host = world.host(machine);
        let &ProcessCreation { time, by, logon, new, parent, .. } = creation;
        let at = FileTime(time);
        // Whoever starts a process for somebody else is named as such by newer builds only.
        let (subject, target) = match by {
            Some(by) => (by, Some(logon)),
            None => (logon, None),
        };
        let event = if host.old_build {
            security::process_created_v0(at, subject, new, parent)
        } else {
            security::process_created(at, subject, target, new, parent)
        };
        // An old build says whose it is only where its creator's logon is its own.
        let owner = Facts::LOGON | Facts::USER;
        let shown =
            creation.facts | owner.when(creation.owner && !(host.old_build && by.is_some()));
        // Nor does it log the command line.
        let run = creation.run.filter(|_| !host.old_build);
        self.tell(machine, event, &ProcessCreation { run, ..*creation }, shown);
        let utc = crate::clock::sysmon(time);
        let event = sysmon::process_created(at, &utc, logon, new, parent, "MD5=0");
        let shown = creation.facts | owner.when(creation.owner);
        self.tell(machine, event, creation, shown);
    }

    fn tell(
        &mut self,
        machine: usize,
        event: EvtxEvent,
        creation: &ProcessCreation<'_>,
        facts: Facts,
    ) {
        let session_facts = creation.session.map(|session| SessionFacts { session, facts });
        self.record_with_context(machine, event, session_facts, creation.run, None);
    }

    /// Records the end of a process.
    pub(crate) fn record_process_exit(
        &mut self,
        machine: usize,
        time: Ticks,
        logon: ScenarioLogon<'_>,
        process: &ScenarioProcess,
        session_facts: Option<SessionFacts>,
    ) {
        self.record_event(
            machine,
            security::process_exited(FileTime(time), logon, process),
            session_facts,
        );
        let utc = crate::clock::sysmon(time);
        self.record_event(
            machine,
            sysmon::process_ended(FileTime(time), &utc, process),
            session_facts,
        );
    }

    /// The process that starts servers out of process.
    pub(crate) fn dcom(&self, machine: usize) -> ScenarioProcess {
        dcom(&self.world.host(machine))
    }

    /// Returns a random domain controller. Each is equally likely.
    pub(crate) fn controller(&mut self) -> usize {
        let controllers = self.world.of_role(crate::world::MachineRole::Controller);
        *self.rng.pick(&controllers)
    }
}

/// The start of a process.
#[derive(Clone, Copy)]
pub(crate) struct ProcessCreation<'b> {
    pub time: Ticks,
    /// Who starts it, if not its own logon.
    pub by: Option<ScenarioLogon<'b>>,
    /// The logon it runs in.
    pub logon: ScenarioLogon<'b>,
    pub new: &'b ScenarioProcess,
    pub parent: &'b ScenarioProcess,
    pub session: Option<usize>,
    pub facts: Facts,
    /// Whether the logon is the session's own.
    pub owner: bool,
    pub run: Option<usize>,
}
