//! The estate: machines, what each of them logs, and people.

use std::collections::BTreeSet;

use evtx_writer::{EvtxEvent, Sid};

use crate::Config;
use crate::clock::{Ticks, seconds};
use crate::events::{Account, ScenarioHost};
use crate::rng::Rng;

const DOMAIN: &str = "CORP";
const SUFFIX: &str = "corp.example";
const REALM: &str = "CORP.EXAMPLE";

/// The purpose of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MachineRole {
    Controller,
    /// Collects forwarded events and watches the others.
    Collector,
    Workstation,
    Server,
}

/// How a machine's WinRM spells 91.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShellRecord {
    /// The resource URI alone.
    Plain,
    /// With the caller behind it.
    Caller,
    /// The URI alone, as ProcessingErrorData.
    Unmatched,
    /// With the caller behind it, as ProcessingErrorData.
    UnmatchedCaller,
}

impl ShellRecord {
    pub(crate) fn names_caller(self) -> bool {
        matches!(self, Self::Caller | Self::UnmatchedCaller)
    }
}

/// Under which name a machine logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ComputerNaming {
    Full,
    /// Under its short name in the classic log, as real machines were seen to.
    ShortInClassic,
    Short,
}

/// The events that a machine logs, and whether its logs are collected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoggingPolicy {
    /// In a word, for the truth.
    pub name: &'static str,
    pub old_build: bool,
    pub winrm: bool,
    pub analytic: bool,
    pub shell: ShellRecord,
    pub security: bool,
    /// 4688, 4689.
    pub processes: bool,
    /// 5156.
    pub connections: bool,
    pub sysmon: bool,
    pub operational: bool,
    /// 4103, 4104.
    pub scripts: bool,
    pub classic: bool,
    /// Nothing of the machine was ever collected.
    pub absent: bool,
}

const FULL: LoggingPolicy = LoggingPolicy {
    name: "full",
    old_build: false,
    winrm: true,
    analytic: false,
    shell: ShellRecord::Caller,
    security: true,
    processes: true,
    connections: true,
    sysmon: false,
    operational: true,
    scripts: true,
    classic: true,
    absent: false,
};
const ANALYTIC: LoggingPolicy =
    LoggingPolicy { name: "analytic", analytic: true, shell: ShellRecord::Unmatched, ..FULL };
const NO_CONNECTIONS: LoggingPolicy =
    LoggingPolicy { name: "no 5156", connections: false, shell: ShellRecord::Plain, ..FULL };
const NO_PROCESS_AUDIT: LoggingPolicy =
    LoggingPolicy { name: "no process audit", processes: false, connections: false, ..FULL };
const NO_SCRIPTS: LoggingPolicy = LoggingPolicy {
    name: "no 4103/4104",
    scripts: false,
    shell: ShellRecord::UnmatchedCaller,
    ..FULL
};
const NO_CLASSIC: LoggingPolicy =
    LoggingPolicy { name: "no classic log", classic: false, shell: ShellRecord::Plain, ..FULL };
const OLD: LoggingPolicy =
    LoggingPolicy { name: "Windows 7", old_build: true, connections: false, ..FULL };
const BARE: LoggingPolicy = LoggingPolicy {
    name: "defaults",
    processes: false,
    connections: false,
    scripts: false,
    shell: ShellRecord::Plain,
    ..FULL
};
const SYSMON: LoggingPolicy =
    LoggingPolicy { name: "sysmon", sysmon: true, processes: false, connections: false, ..FULL };
const NO_WINRM: LoggingPolicy = LoggingPolicy { name: "no WinRM log", winrm: false, ..FULL };
const ONLY_WINRM: LoggingPolicy = LoggingPolicy {
    name: "WinRM log only",
    security: false,
    operational: false,
    classic: false,
    shell: ShellRecord::Plain,
    ..FULL
};
const ONLY_POWERSHELL: LoggingPolicy =
    LoggingPolicy { name: "PowerShell logs only", security: false, winrm: false, ..FULL };
const ABSENT: LoggingPolicy = LoggingPolicy { name: "nothing", absent: true, ..FULL };

const OF_SERVERS: [LoggingPolicy; 10] = [
    FULL,
    NO_PROCESS_AUDIT,
    OLD,
    NO_SCRIPTS,
    ANALYTIC,
    NO_CLASSIC,
    SYSMON,
    BARE,
    NO_WINRM,
    ONLY_POWERSHELL,
];
const OF_WORKSTATIONS: [LoggingPolicy; 7] =
    [FULL, NO_WINRM, SYSMON, BARE, NO_CONNECTIONS, OLD, ONLY_WINRM];

impl LoggingPolicy {
    /// Whether there is a record of an event.
    pub(crate) fn keeps(&self, event: &EvtxEvent) -> bool {
        let id = event.event_id;
        !self.absent
            && match event.channel.as_str() {
                "Microsoft-Windows-WinRM/Operational" => self.winrm,
                "Microsoft-Windows-WinRM/Analytic" => self.analytic,
                "Security" => {
                    self.security
                        && match id {
                            4688 | 4689 => self.processes,
                            5156 => self.connections,
                            _ => true,
                        }
                }
                "Microsoft-Windows-Sysmon/Operational" => self.sysmon,
                "Microsoft-Windows-PowerShell/Operational" | "PowerShellCore/Operational" => {
                    self.operational
                        && !self.old_build
                        && (self.scripts || !matches!(id, 4103 | 4104))
                }
                "Windows PowerShell" => self.classic && (self.scripts || id != 800),
                _ => true,
            }
    }
}

/// A person's or a machine's account.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub name: String,
    /// Short name of the domain, or of the machine for a local account.
    pub domain: String,
    pub realm: &'static str,
    pub sid: Sid,
    pub administrator: bool,
    /// The machine that a local account is of.
    pub local_to: Option<usize>,
}

impl Person {
    pub(crate) fn account(&self) -> Account<'_> {
        Account {
            name: &self.name,
            domain: &self.domain,
            realm: self.realm,
            sid: self.sid,
            administrator: self.administrator,
        }
    }
}

/// A machine.
#[derive(Debug, Clone)]
pub(crate) struct FleetMachine {
    pub name: String,
    /// Not in a domain.
    pub workgroup: bool,
    pub ip: String,
    pub role: MachineRole,
    pub policy: LoggingPolicy,
    pub naming: ComputerNaming,
    /// How far its clock is ahead of the true time, in ticks.
    pub clock_error: i64,
    account: Person,
    lsass: u32,
    winrm: u32,
    dcom: u32,
}

impl FleetMachine {
    pub(crate) fn host(&self) -> ScenarioHost<'_> {
        ScenarioHost {
            name: &self.name,
            suffix: if self.workgroup { "" } else { SUFFIX },
            ip: &self.ip,
            account: self.account.account(),
            lsass: self.lsass,
            winrm: self.winrm,
            dcom: self.dcom,
            old_build: self.policy.old_build,
        }
    }

    pub(crate) fn fqdn(&self) -> String {
        self.host().fqdn()
    }

    /// The names that it goes by.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = BTreeSet::from([self.fqdn(), self.name.clone(), self.ip.clone()]);
        names.into_iter().collect()
    }

    /// Whether it is a domain controller.
    pub(crate) fn is_controller(&self) -> bool {
        self.role == MachineRole::Controller
    }

    /// System/Computer of a record of `channel`.
    pub(crate) fn computer(&self, channel: &str) -> String {
        match self.naming {
            ComputerNaming::Short => self.name.clone(),
            ComputerNaming::ShortInClassic if channel == "Windows PowerShell" => self.name.clone(),
            _ => self.fqdn(),
        }
    }

    /// Returns the time that its clock shows at a true time.
    pub(crate) fn shows(&self, time: Ticks) -> Ticks {
        time.saturating_add_signed(self.clock_error)
    }
}

/// All machines and people.
#[derive(Debug, Clone)]
pub(crate) struct FleetWorld {
    /// Machines that are collected, then those that are not.
    pub machines: Vec<FleetMachine>,
    /// Users and administrators of the domain, then the service that watches, then local ones.
    pub people: Vec<Person>,
    /// Index of the account that watches all machines.
    pub monitor: usize,
    /// How many people belong to the domain and work at a keyboard.
    pub domain_people: usize,
    pub krbtgt: Person,
    /// How many machines are collected.
    pub collected: usize,
}

impl FleetWorld {
    pub(crate) fn make(config: &Config, rng: &mut Rng) -> FleetWorld {
        let domain_sid =
            [21, rng.next() as u32, rng.next() as u32, rng.next() as u32].map(|part| part | 1);
        let person = |name: String, rid: u32, administrator: bool| Person {
            name,
            domain: DOMAIN.into(),
            realm: REALM,
            sid: Sid::nt([21, domain_sid[1], domain_sid[2], domain_sid[3], rid]),
            administrator,
            local_to: None,
        };
        let mut machines = Vec::new();
        let mut counts = [0usize; 4];
        let controllers = 1 + config.hosts / 30;
        for index in 0..config.hosts + config.loss.uncollected {
            let absent = index >= config.hosts;
            let role = match index {
                _ if absent => [MachineRole::Workstation, MachineRole::Server][index % 2],
                _ if index < controllers => MachineRole::Controller,
                _ if index == controllers => MachineRole::Collector,
                _ if (index - controllers) % 5 < 2 => MachineRole::Workstation,
                _ => MachineRole::Server,
            };
            let count = &mut counts[role as usize];
            let nth = *count;
            *count += 1;
            let (prefix, policy) = match role {
                MachineRole::Controller => ("DC", NO_CONNECTIONS),
                MachineRole::Collector => ("COL", FULL),
                MachineRole::Workstation => ("WS", OF_WORKSTATIONS[nth % OF_WORKSTATIONS.len()]),
                MachineRole::Server => ("SRV", OF_SERVERS[nth % OF_SERVERS.len()]),
            };
            let name = format!("{prefix}{:02}", nth + 1);
            let naming = match index % 5 {
                1 | 3 => ComputerNaming::ShortInClassic,
                4 => ComputerNaming::Short,
                _ => ComputerNaming::Full,
            };
            let error = seconds(config.max_clock_error_seconds);
            machines.push(FleetMachine {
                workgroup: !absent && role == MachineRole::Server && nth % 6 == 5,
                ip: format!("10.20.{}.{}", index / 200, 10 + index % 200),
                role,
                policy: if absent { ABSENT } else { policy },
                naming,
                clock_error: rng.within(0..2 * error + 1) as i64 - error as i64,
                account: person(format!("{name}$"), 1000 + index as u32, false),
                name,
                lsass: 4 * rng.within(150..200) as u32,
                winrm: 4 * rng.within(600..750) as u32,
                dcom: 4 * rng.within(200..240) as u32,
            });
        }
        let mut people: Vec<Person> = NAMES
            .iter()
            .zip(2001..)
            .map(|(name, rid)| person((*name).into(), rid, name.starts_with("adm.")))
            .collect();
        let domain_people = people.len();
        let monitor = people.len();
        people.push(person("svc.monitor".into(), 3001, false));
        for (index, machine) in machines.iter_mut().enumerate().filter(|(_, m)| m.workgroup) {
            let sid = [rng.next() as u32, rng.next() as u32, rng.next() as u32];
            machine.account.domain = "WORKGROUP".into();
            people.push(Person {
                name: "ops".into(),
                domain: machine.name.clone(),
                realm: "",
                sid: Sid::nt([21, sid[0], sid[1], sid[2], 1001]),
                administrator: true,
                local_to: Some(index),
            });
        }
        let krbtgt = person("krbtgt".into(), 502, false);
        FleetWorld { machines, people, monitor, domain_people, krbtgt, collected: config.hosts }
    }

    /// The same after some workstations got other addresses: each the next one's, the last a new
    /// one, as leases that ran out are given anew.
    pub(crate) fn moved(&self) -> FleetWorld {
        let mut world = self.clone();
        let moved: Vec<usize> = self.moving();
        for (nth, &machine) in moved.iter().enumerate() {
            world.machines[machine].ip = match moved.get(nth + 1) {
                Some(&next) => self.machines[next].ip.clone(),
                None => "10.20.9.9".into(),
            };
        }
        world
    }

    /// The machines whose address changes.
    pub(crate) fn moving(&self) -> Vec<usize> {
        self.of_role(MachineRole::Workstation).into_iter().step_by(3).collect()
    }

    /// The machines of a role that are collected.
    pub(crate) fn of_role(&self, role: MachineRole) -> Vec<usize> {
        (0..self.collected).filter(|&index| self.machines[index].role == role).collect()
    }

    /// The machines that are not collected.
    pub(crate) fn absent(&self) -> Vec<usize> {
        (self.collected..self.machines.len()).collect()
    }

    pub(crate) fn account(&self, person: usize) -> Account<'_> {
        self.people[person].account()
    }

    pub(crate) fn host(&self, machine: usize) -> ScenarioHost<'_> {
        self.machines[machine].host()
    }

    /// The local account of a machine in a workgroup.
    pub(crate) fn local_account(&self, machine: usize) -> Option<usize> {
        self.people.iter().position(|person| person.local_to == Some(machine))
    }
}

/// Who works at corp.example; administrators by their second accounts.
const NAMES: [&str; 16] = [
    "adm.lee",
    "adm.novak",
    "adm.okafor",
    "adm.silva",
    "adm.brandt",
    "adm.haddad",
    "j.doe",
    "m.keller",
    "p.rossi",
    "s.tanaka",
    "l.dubois",
    "k.nowak",
    "a.mensah",
    "r.olsen",
    "t.garcia",
    "c.wright",
];
