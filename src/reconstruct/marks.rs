//! What is kept of the events that pass: those that show remoting by themselves, and of each
//! other one that may belong to a session a mark, small and of fixed size.
//!
//! Logs hold millions of logons and processes, and few of them have to do with remoting. Which,
//! is known when all logs are read; `selector` tells, and those records are read a second time.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::log_extent::LogExtent;
use super::names::{SERVICE_SIDS, WINRM_PORTS};
use super::sightings::Sightings;
use crate::keyed::Keyed;
use crate::model::{
    AccountName, Channel, Clearing, EngineContext, Event, EventKind, HostName, LoggedId, Logon,
    ProcessStart, RecordRef, file_name, host_key, host_of_service, is_address,
};

/// A text as a mark keeps it: equal texts have equal keys, which are compared for equality only.
/// They pick what is read again, whose texts are compared then; or they tell apart the few images
/// and accounts of one process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct TextKey(u64);

/// An id as a mark keeps it where nothing but that says whose a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct IdKey([u64; 2]);

impl IdKey {
    /// Whether there was an id.
    pub fn is_some(self) -> bool {
        self != IdKey::default()
    }
}

/// Makes the keys of a run.
#[derive(Debug, Default)]
pub struct KeyHasher(Keyed);

impl KeyHasher {
    /// The key of a text; the empty text has key zero.
    pub(crate) fn text_key(&self, text: &str) -> TextKey {
        TextKey(if text.is_empty() { 0 } else { self.0.of(text).max(1) })
    }

    /// The key of an id that decides by itself; that of none is zero.
    pub(super) fn id_key(&self, id: Option<&LoggedId>) -> IdKey {
        IdKey(id.map_or([0; 2], |id| self.0.wide(id)))
    }

    /// The key of an id that picks what is read again; that of none is zero.
    pub(super) fn short_id_key(&self, id: Option<&LoggedId>) -> TextKey {
        TextKey(id.map_or(0, |id| self.0.of(id).max(1)))
    }

    /// The key of the host that a name, an address or a service means, as `host_key` has it.
    pub(super) fn host_key(&self, name: &str) -> TextKey {
        self.text_key(&host_key(host_of_service(name)))
    }

    /// The key of an account's name, which cases do not tell apart; of a virtual account, its
    /// caller's.
    pub(super) fn account_key(&self, account: Option<&AccountName>) -> TextKey {
        let name = account.map(|account| match account.virtual_caller() {
            Some(caller) => caller.name_key(),
            None => account.name_key(),
        });
        self.text_key(&name.unwrap_or_default())
    }
}

impl TextKey {
    /// Whether there was a text.
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// An event that may matter: where its record lies, and when it was logged on which host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordMark {
    pub time: DateTime<Utc>,
    /// Index of the host among those of the same task.
    pub host: u32,
    pub source: RecordRef,
}

/// What holds a mark.
pub(super) trait HasMark: Sync + 'static {
    fn mark(&self) -> &RecordMark;
}

macro_rules! has_mark {
    ($($kind:ty),+) => {
        $(impl HasMark for $kind {
            fn mark(&self) -> &RecordMark {
                &self.mark
            }
        })+
    };
}

has_mark!(
    ProcessMark,
    InProcessMark,
    LocalEngineMark,
    LogonMark,
    LogonIdMark,
    HintMark,
    ScriptMark,
    TrafficMark
);

impl HasMark for RecordMark {
    fn mark(&self) -> &RecordMark {
        self
    }
}

/// What a record says of a process, without its texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessMark {
    pub mark: RecordMark,
    pub id: u32,
    pub parent: u32,
    /// The lower-case file name of its image.
    pub image: TextKey,
    pub parent_image: TextKey,
    /// Its command line, trimmed.
    pub line: TextKey,
    pub logon_id: u64,
    /// Its account's name and SID.
    pub account_keys: [TextKey; 2],
    pub kind: ProcessMarkKind,
}

/// What a record tells of its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessMarkKind {
    Started(HostKind),
    Exited(HostKind),
    /// Its PowerShell engine began to listen (53504), once in its life.
    Listens,
    /// It holds the remote engine of this HostId.
    HostsEngine(HostKind, IdKey),
    /// The classic log tells of the remote engine of this HostId, and not of its process.
    EngineOnly(HostKind, IdKey),
}

/// What a process is to remoting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostKind {
    /// wsmprovhost.exe
    PowerShellHost,
    /// PowerShell 7 as sshd starts it for a session.
    SshHost,
    /// winrshost.exe
    WinrsHost,
    Other,
}

impl HostKind {
    fn from_image(file_name: &str, command_line: &str) -> HostKind {
        match file_name {
            "wsmprovhost.exe" => HostKind::PowerShellHost,
            "winrshost.exe" => HostKind::WinrsHost,
            "pwsh.exe" | "pwsh" | "powershell.exe" if is_ssh_server(command_line) => {
                HostKind::SshHost
            }
            _ => HostKind::Other,
        }
    }
}

/// Whether a PowerShell's command line is that of an SSH session's server.
fn is_ssh_server(command_line: &str) -> bool {
    command_line.to_ascii_lowercase().contains(" -sshs")
}

/// The lower-case file name of what WinRM starts for PowerShell.
const POWERSHELL_HOST: &str = "wsmprovhost.exe";

/// Something logged of or by a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct InProcessMark {
    pub mark: RecordMark,
    pub id: u32,
    /// Its runspace, for a command; for a connection, the near end's address.
    pub runspace: TextKey,
    /// The SID of who did it.
    pub sid: TextKey,
    /// A connection.
    pub connection: bool,
    /// 4103, which is logged by policy only.
    pub command: bool,
}

/// A record of an engine of this host's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalEngineMark {
    pub mark: RecordMark,
    pub host_id: TextKey,
    pub runspace: TextKey,
    /// Its command line, trimmed.
    pub line: TextKey,
}

/// 4624.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogonMark {
    pub mark: RecordMark,
    pub logon_id: u64,
    /// Its account's name and SID.
    pub account_keys: [TextKey; 2],
}

/// What may tell a session's source, and what it speaks of.
#[derive(Debug, Clone, Copy)]
pub(super) struct HintMark {
    pub mark: RecordMark,
    pub kind: HintKind,
    /// What it calls its target: first labels of names, or addresses.
    pub targets: [TextKey; 2],
    pub account: TextKey,
}

/// Kinds of hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HintKind {
    /// 4648, at the client.
    Credentials,
    /// 4768, 4769, 4771.
    Ticket,
    /// 4776: it names an account and no target.
    Check,
    /// A connection to WinRM's ports, at the client.
    Outbound,
    /// The same at the target, which is the logging host.
    Inbound,
}

/// 4634, 4647, 4672.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogonIdMark {
    pub mark: RecordMark,
    pub logon_id: u64,
}

/// A part of a script block.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScriptMark {
    pub mark: RecordMark,
    /// ScriptBlockId.
    pub id: IdKey,
    /// It says that it is the first and only part.
    pub whole: bool,
    /// The engine found it suspicious, and so logged it without any policy.
    pub warning: bool,
    pub number: u32,
    pub process: u32,
    /// The SID of who ran it.
    pub sid: TextKey,
}

/// A piece of remoting's traffic, which is read again by its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrafficMark {
    pub mark: RecordMark,
    /// The process that logged it.
    pub process: u32,
}

/// How logs spell an account, each spelling at its earliest.
pub(super) type AccountSpellings = BTreeMap<AccountName, (DateTime<Utc>, RecordRef)>;

/// A logging host, as its earliest record spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostSpelling {
    pub time: DateTime<Utc>,
    pub source: RecordRef,
    pub computer: HostName,
}

/// What a task keeps of the events that pass, in any order.
#[derive(Debug, Default)]
pub struct TaskMarks {
    /// Events that show remoting by themselves.
    pub(super) remoting_events: Vec<Event>,
    pub(super) processes: Vec<ProcessMark>,
    pub(super) in_process: Vec<InProcessMark>,
    pub(super) engines: Vec<LocalEngineMark>,
    pub(super) scripts: Vec<ScriptMark>,
    pub(super) traffic: Vec<TrafficMark>,
    pub(super) logons: Vec<LogonMark>,
    pub(super) logon_ids: Vec<LogonIdMark>,
    /// 4625.
    pub(super) failed_logons: Vec<RecordMark>,
    pub(super) hints: Vec<HintMark>,
    /// The logging hosts by their lower-case names.
    pub(super) hosts: Vec<(HostName, HostSpelling)>,
    by_name: HashMap<HostName, u32>,
    /// The host of the latest event: logs seldom change it.
    latest: u32,
    /// Hosts' own addresses, by their names, and when connections show each.
    pub(super) addresses: BTreeMap<HostName, BTreeMap<String, Sightings>>,
    /// Addresses that other hosts' records give names, which are lower case.
    pub(super) reported_addresses: BTreeMap<String, BTreeMap<String, Sightings>>,
    /// 1102, 104.
    pub(super) cleared: Vec<Clearing>,
    /// How far the task's records reach.
    pub extent: LogExtent,
    /// The accounts that logons give a SID.
    pub(super) accounts: BTreeMap<String, AccountSpellings>,
}

impl TaskMarks {
    /// Of a task whose events are another's, how far its records reach.
    pub fn from_extent(extent: LogExtent) -> TaskMarks {
        TaskMarks { extent, ..TaskMarks::default() }
    }

    /// Takes what matters of an event.
    pub fn add_event(&mut self, event: Event, keys: &KeyHasher) {
        let mark =
            RecordMark { time: event.time, source: event.source, host: self.host_index(&event) };
        let sid = || keys.text_key(event.user_sid.as_deref().unwrap_or_default());
        let process = event.process_id.unwrap_or(0);
        let in_process = InProcessMark {
            mark,
            id: process,
            runspace: TextKey::default(),
            sid: sid(),
            connection: false,
            command: matches!(event.kind, EventKind::Command(_)),
        };
        match &event.kind {
            EventKind::ProcessStart(start) => {
                self.processes.push(process_start_mark(mark, start, keys))
            }
            EventKind::ProcessExit(exit) => self.processes.push(ProcessMark {
                id: exit.process_id,
                image: keys.text_key(&file_name(&exit.image)),
                logon_id: exit.logon_id,
                account_keys: [
                    keys.account_key(exit.account.as_ref()),
                    keys.text_key(exit.sid.as_deref().unwrap_or_default()),
                ],
                kind: ProcessMarkKind::Exited(HostKind::from_image(&file_name(&exit.image), "")),
                ..ProcessMark::empty(mark)
            }),
            EventKind::Command(command)
            | EventKind::CommandError(command)
            | EventKind::CommandLifecycle(command) => {
                let EngineContext { host_id, runspace_id, host_application, .. } = &command.context;
                if command.context.is_remote() {
                    let ssh = is_ssh_server(host_application);
                    let host = if ssh { HostKind::SshHost } else { HostKind::PowerShellHost };
                    if process != 0 {
                        self.processes.push(ProcessMark {
                            id: process,
                            image: keys.text_key(POWERSHELL_HOST),
                            account_keys: [TextKey::default(), in_process.sid],
                            kind: ProcessMarkKind::HostsEngine(host, keys.id_key(host_id.as_ref())),
                            ..ProcessMark::empty(mark)
                        });
                    }
                    self.core.push(event);
                } else {
                    let runspace = keys.short_id_key(runspace_id.as_ref());
                    self.in_process.push(InProcessMark { runspace, ..in_process });
                }
            }
            EventKind::Engine(engine) if !engine.context.is_remote() => {
                self.engines.push(local_engine_mark(mark, &engine.context, keys));
            }
            EventKind::Pipeline(pipeline) if !pipeline.context.is_remote() => {
                self.engines.push(local_engine_mark(mark, &pipeline.context, keys));
            }
            EventKind::Engine(_) | EventKind::Pipeline(_) => {
                if let Some(EngineContext { host_id, host_application, .. }) = event.engine() {
                    let ssh = is_ssh_server(host_application);
                    let host = if ssh { HostKind::SshHost } else { HostKind::PowerShellHost };
                    self.processes.push(ProcessMark {
                        image: keys.text_key(POWERSHELL_HOST),
                        kind: ProcessMarkKind::EngineOnly(host, keys.id_key(host_id.as_ref())),
                        ..ProcessMark::empty(mark)
                    });
                }
                self.core.push(event);
            }
            EventKind::ScriptBlockPart(part) => {
                let id = keys.id_key(part.id.as_ref());
                let (number, whole) = (part.number, part.is_whole());
                let (sid, warning) = (in_process.sid, part.warning);
                self.scripts.push(ScriptMark { mark, id, whole, warning, number, process, sid });
            }
            EventKind::ScriptBlockRun(_) | EventKind::PowerShell(_) => {
                self.in_process.push(in_process);
            }
            EventKind::Connection(connection) => {
                let own = if connection.outbound {
                    &connection.source_ip
                } else {
                    &connection.destination_ip
                };
                let known = self.addresses.get_mut(&event.host).and_then(|ips| ips.get_mut(own));
                match known {
                    Some(seen) => seen.add(event.time),
                    None => {
                        let ips = self.addresses.entry(event.host.clone()).or_default();
                        ips.entry(own.clone()).or_default().add(event.time);
                    }
                }
                let time = event.time;
                self.add_address(&connection.source_host, Some(&connection.source_ip), time);
                self.add_address(
                    &connection.destination_host,
                    Some(&connection.destination_ip),
                    time,
                );
                let (id, runspace) = (connection.process_id, keys.text_key(own));
                if WINRM_PORTS.contains(&connection.destination_port) {
                    let names = [&*connection.destination_ip, &*connection.destination_host];
                    let targets = names.map(|name| keys.host_key(name));
                    let kind =
                        if connection.outbound { HintKind::Outbound } else { HintKind::Inbound };
                    self.hints.push(HintMark { mark, kind, targets, account: TextKey::default() });
                }
                let connection = true;
                self.in_process.push(InProcessMark { id, runspace, connection, ..in_process });
            }
            EventKind::Logon(logon) => {
                self.add_account(&event, logon);
                self.add_machine_address(logon.account.as_ref(), logon.ip.as_deref(), event.time);
                // Of an interactive logon the workstation is the logging host itself.
                const NETWORK: u32 = 3;
                if logon.logon_type == NETWORK {
                    let workstation = logon.workstation.as_deref().unwrap_or_default();
                    self.add_address(workstation, logon.ip.as_deref(), event.time);
                }
                let account_keys =
                    [keys.account_key(logon.account.as_ref()), keys.text_key(&logon.sid)];
                self.logons.push(LogonMark { mark, logon_id: logon.logon_id, account_keys });
            }
            EventKind::Logoff(of) | EventKind::SpecialPrivileges(of) => {
                self.logon_ids.push(LogonIdMark { mark, logon_id: of.logon_id });
            }
            // Every PowerShell of a host's own says it, too.
            EventKind::EngineListening(_) => self.processes.push(ProcessMark {
                id: process,
                account_keys: [TextKey::default(), in_process.sid],
                kind: ProcessMarkKind::Listens,
                ..ProcessMark::empty(mark)
            }),
            EventKind::ServerSession(_) => {
                if process != 0 {
                    self.processes.push(ProcessMark {
                        id: process,
                        image: keys.text_key(POWERSHELL_HOST),
                        account_keys: [TextKey::default(), in_process.sid],
                        kind: ProcessMarkKind::HostsEngine(
                            HostKind::PowerShellHost,
                            IdKey::default(),
                        ),
                        ..ProcessMark::empty(mark)
                    });
                }
                self.core.push(event);
            }
            EventKind::Traffic(_) => self.traffic.push(TrafficMark { mark, process }),
            EventKind::LogonFailed(_) => self.failed_logons.push(mark),
            EventKind::KerberosTicket(ticket) => {
                self.add_machine_address(ticket.account.as_ref(), ticket.ip.as_deref(), event.time);
                self.hints.push(HintMark {
                    mark,
                    kind: HintKind::Ticket,
                    targets: [keys.host_key(&ticket.service), TextKey::default()],
                    account: keys.account_key(ticket.account.as_ref()),
                });
            }
            EventKind::ExplicitCredentials(used) => {
                // A machine's own account is used at that machine.
                let machine = used.account.as_ref().map_or("", |account| &account.domain);
                if is_address(&used.target) {
                    self.add_address(machine, Some(&used.target), event.time);
                }
                self.hints.push(HintMark {
                    mark,
                    kind: HintKind::Credentials,
                    targets: [&used.target_info, &used.target].map(|name| keys.host_key(name)),
                    account: keys.account_key(used.account.as_ref()),
                });
            }
            EventKind::NtlmValidation(check) => self.hints.push(HintMark {
                mark,
                kind: HintKind::Check,
                targets: [TextKey::default(); 2],
                account: keys.account_key(check.account.as_ref()),
            }),
            EventKind::LogCleared(cleared) => self.cleared.push(Clearing {
                host: event.host.clone(),
                channel: Channel::of(&cleared.log, ""),
                time: event.time,
                source: event.source,
                record_id: event.record_id,
                account: cleared.account.clone(),
            }),
            EventKind::WinRmService(_) | EventKind::Other(_) => {}
            // Event forwarding talks to its collector all day.
            EventKind::ClientSession(_)
            | EventKind::ClientStep(_)
            | EventKind::ClientFailure(_)
            | EventKind::ClientRunspace(_)
                if event.user_sid.as_deref().is_some_and(|sid| SERVICE_SIDS.contains(&sid)) => {}
            EventKind::ClientSession(_)
            | EventKind::ClientStep(_)
            | EventKind::ClientFailure(_)
            | EventKind::ClientRunspace(_)
            | EventKind::ShellCreated(_)
            | EventKind::ServerOperation(_)
            | EventKind::Authenticated(_)
            | EventKind::AuthorizationFailed(_)
            | EventKind::SshAccepted(_) => self.core.push(event),
        }
    }

    /// The index of an event's host.
    fn host_index(&mut self, event: &Event) -> u32 {
        let latest = self.hosts.get(self.latest as usize);
        if !latest.is_some_and(|(name, _)| name.is_same_text(&event.host)) {
            self.latest = match self.by_name.get(&event.host) {
                Some(&known) => known,
                None => {
                    let new = self.hosts.len() as u32;
                    self.by_name.insert(event.host.clone(), new);
                    let Event { time, source, .. } = *event;
                    let spelling = HostSpelling { time, source, computer: event.computer.clone() };
                    self.hosts.push((event.host.clone(), spelling));
                    new
                }
            };
        }
        let (_, earliest) = &mut self.hosts[self.latest as usize];
        if (event.time, event.source) < (earliest.time, earliest.source) {
            (earliest.time, earliest.source) = (event.time, event.source);
            earliest.computer.clone_from(&event.computer);
        }
        self.latest
    }

    /// Takes what a record says of another host's address.
    fn add_address(&mut self, name: &str, ip: Option<&str>, time: DateTime<Utc>) {
        let Some(ip) = ip.filter(|_| !name.is_empty()) else { return };
        let name = name.to_lowercase();
        match self.reported_addresses.get_mut(&name).and_then(|known| known.get_mut(ip)) {
            Some(seen) => seen.add(time),
            None => {
                let known = self.reported_addresses.entry(name).or_default();
                known.entry(ip.to_owned()).or_default().add(time);
            }
        }
    }

    /// Takes what a record says of a caller: a machine's own account comes from the machine.
    fn add_machine_address(
        &mut self,
        account: Option<&AccountName>,
        ip: Option<&str>,
        time: DateTime<Utc>,
    ) {
        if let Some(machine) = account.and_then(AccountName::machine) {
            self.add_address(machine, ip, time);
        }
    }

    fn add_account(&mut self, event: &Event, logon: &Logon) {
        let Some(account) = &logon.account else { return };
        if !logon.sid.starts_with("S-1-5-21-") {
            return;
        }
        let (time, source) = (event.time, event.source);
        match self.accounts.get_mut(&logon.sid) {
            Some(known) => add_spelling(known, time, source, account),
            None => {
                let first = BTreeMap::from([(account.clone(), (time, source))]);
                self.accounts.insert(logon.sid.clone(), first);
            }
        }
    }

    /// Keeps what the records give that `is_own` holds of. The others are copies: what is known of
    /// hosts, accounts and names without a count, the records that stay say, too.
    pub fn retain(&mut self, is_own: impl Fn(RecordRef) -> bool, keys: &KeyHasher) {
        self.core.retain(|event| is_own(event.source));
        self.processes.retain(|one| is_own(one.mark.source));
        self.in_process.retain(|one| is_own(one.mark.source));
        self.engines.retain(|one| is_own(one.mark.source));
        self.scripts.retain(|one| is_own(one.mark.source));
        self.traffic.retain(|one| is_own(one.mark.source));
        self.logons.retain(|one| is_own(one.mark.source));
        self.logon_ids.retain(|one| is_own(one.mark.source));
        self.failed_logons.retain(|mark| is_own(mark.source));
        self.hints.retain(|hint| is_own(hint.mark.source));
        self.cleared.retain(|one| is_own(one.source));
        let mut shown: HashMap<(&HostName, TextKey), Sightings> = HashMap::new();
        for one in self.in_process.iter().filter(|one| one.connection) {
            let (host, _) = &self.hosts[one.mark.host as usize];
            shown.entry((host, one.runspace)).or_default().add(one.mark.time);
        }
        for (host, addresses) in &mut self.addresses {
            for (address, seen) in addresses.iter_mut() {
                *seen = shown.remove(&(host, keys.text_key(address))).unwrap_or_default();
            }
            addresses.retain(|_, seen| seen.count > 0);
        }
        self.shrink();
    }

    /// Forgets the marks but for script blocks': what they are for is known.
    pub(super) fn drop_marks_but_scripts(&mut self) {
        self.processes = Vec::new();
        self.in_process = Vec::new();
        self.engines = Vec::new();
        self.traffic = Vec::new();
        self.logons = Vec::new();
        self.logon_ids = Vec::new();
        self.failed_logons = Vec::new();
        self.hints = Vec::new();
    }

    /// Gives back the room that was made for more.
    pub fn shrink(&mut self) {
        self.core.shrink_to_fit();
        self.processes.shrink_to_fit();
        self.in_process.shrink_to_fit();
        self.engines.shrink_to_fit();
        self.scripts.shrink_to_fit();
        self.traffic.shrink_to_fit();
        self.logons.shrink_to_fit();
        self.logon_ids.shrink_to_fit();
        self.failed_logons.shrink_to_fit();
        self.hints.shrink_to_fit();
        self.by_name = HashMap::new();
        self.extent.shrink();
    }
}

/// Takes a spelling of an account, at its earliest.
pub(super) fn add_spelling(
    known: &mut AccountSpellings,
    time: DateTime<Utc>,
    source: RecordRef,
    account: &AccountName,
) {
    match known.get_mut(account) {
        Some(earliest) => *earliest = (*earliest).min((time, source)),
        None => {
            known.insert(account.clone(), (time, source));
        }
    }
}

impl ProcessMark {
    fn empty(mark: RecordMark) -> ProcessMark {
        ProcessMark {
            mark,
            id: 0,
            parent: 0,
            image: TextKey::default(),
            parent_image: TextKey::default(),
            line: TextKey::default(),
            logon_id: 0,
            account_keys: [TextKey::default(); 2],
            kind: ProcessMarkKind::Listens,
        }
    }
}

fn process_start_mark(mark: RecordMark, start: &ProcessStart, keys: &KeyHasher) -> ProcessMark {
    let image = start.image_name();
    ProcessMark {
        mark,
        id: start.process_id,
        parent: start.parent_process_id,
        image: keys.text_key(&image),
        parent_image: keys.text_key(&file_name(&start.parent_image)),
        line: keys.text_key(start.command_line.trim()),
        logon_id: start.logon_id,
        account_keys: [
            keys.account_key(start.account.as_ref()),
            keys.text_key(start.sid.as_deref().unwrap_or_default()),
        ],
        kind: ProcessMarkKind::Started(HostKind::from_image(&image, &start.command_line)),
    }
}

fn local_engine_mark(
    mark: RecordMark,
    context: &EngineContext,
    keys: &KeyHasher,
) -> LocalEngineMark {
    LocalEngineMark {
        mark,
        host_id: keys.short_id_key(context.host_id.as_ref()),
        runspace: keys.short_id_key(context.runspace_id.as_ref()),
        line: keys.text_key(context.host_application.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Busy hosts give millions of them.
    #[test]
    fn marks_are_small() {
        let sizes = [
            size_of::<ProcessMark>(),
            size_of::<InProcessMark>(),
            size_of::<LocalEngineMark>(),
            size_of::<LogonMark>(),
            size_of::<HintMark>(),
            size_of::<ScriptMark>(),
            size_of::<TrafficMark>(),
        ];
        assert_eq!(sizes, [120, 64, 64, 64, 72, 80, 48]);
    }

    #[test]
    fn ids_have_one_key_in_any_spelling() {
        let keys = KeyHasher::default();
        let key = |text: &str| keys.id_key(LoggedId::parse(text).as_ref());
        let id = "3a01e863-e5f7-4fe6-a55d-36e4078d77f9";
        assert_eq!(key(id), key(&format!("{{{}}}", id.to_uppercase())));
        assert!(key(id).is_some() && key("a") != key("b"));
        assert_eq!(key(""), IdKey::default());
    }
}
