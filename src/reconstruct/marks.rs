//! What a task keeps of events: remoting events as a whole, and a small mark of fixed size for each
//! other event that may belong to a session.
//!
//! Logs hold millions of logons and processes, and few of them belong to remoting. Which ones is
//! known when all logs are read. [`super::record_selector`] selects them, and those records are
//! read a second time.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::log_extent::LogExtent;
use super::names::{SERVICE_SIDS, WINRM_PORTS};
use super::sightings::Sightings;
use crate::keyed::KeyedHasher;
use crate::model::{
    AccountName, Channel, Clearing, EngineContext, Event, EventKind, HostName, LoggedId, Logon,
    ProcessStart, RecordRef, file_name, host_key, host_of_service, is_address,
};

/// The hash of a text in a mark. Equal texts have equal keys; keys are compared for equality only.
/// They select records that are read again and whose texts are compared then. They also distinguish
/// the few images and accounts of one process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct TextKey(u64);

/// The hash of an id in a mark, wide enough to identify the id by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct IdKey([u64; 2]);

impl IdKey {
    /// Returns true if there was an id.
    pub fn is_some(self) -> bool {
        self != IdKey::default()
    }
}

/// Makes the keys of a run.
#[derive(Debug, Default)]
pub struct KeyHasher(KeyedHasher);

impl KeyHasher {
    /// Returns the key of a text. The empty text has key zero.
    pub(crate) fn text_key(&self, text: &str) -> TextKey {
        TextKey(if text.is_empty() { 0 } else { self.0.hash(text).max(1) })
    }

    /// Returns the wide key of an id. `None` has key zero.
    pub(super) fn id_key(&self, id: Option<&LoggedId>) -> IdKey {
        IdKey(id.map_or([0; 2], |id| self.0.hash_128(id)))
    }

    /// Returns the short key of an id, which only selects records to read again. `None` has key
    /// zero.
    pub(super) fn short_id_key(&self, id: Option<&LoggedId>) -> TextKey {
        TextKey(id.map_or(0, |id| self.0.hash(id).max(1)))
    }

    /// Returns the key of the host that a name, an address or a service names, by [`host_key`].
    pub(super) fn host_key(&self, name: &str) -> TextKey {
        self.text_key(&host_key(host_of_service(name)))
    }

    /// Returns the key of an account's name, ignoring case. For a virtual account, the key of its
    /// caller.
    pub(super) fn account_key(&self, account: Option<&AccountName>) -> TextKey {
        let name = account.map(|account| match account.virtual_caller() {
            Some(caller) => caller.name_key(),
            None => account.name_key(),
        });
        self.text_key(&name.unwrap_or_default())
    }
}

impl TextKey {
    /// Returns true if there was a text.
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// An event that may matter: the place of its record, its time and its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordMark {
    pub time: DateTime<Utc>,
    /// Index of the host among those of the same task.
    pub host: u32,
    pub source: RecordRef,
}

/// A mark of any kind.
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

/// A record about a process, without its texts.
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
    /// The keys of the account's name and SID.
    pub account_keys: [TextKey; 2],
    pub kind: ProcessMarkKind,
}

/// What a record shows about its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessMarkKind {
    Started(HostKind),
    Exited(HostKind),
    /// The PowerShell engine began to listen (53504), once in the life of the process.
    Listens,
    /// The process holds the remote engine of this HostId.
    HostsEngine(HostKind, IdKey),
    /// The classic log shows the remote engine of this HostId, but not its process.
    EngineOnly(HostKind, IdKey),
}

/// The part that a process has in remoting.
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

/// Returns true if a PowerShell command line is that of the server of an SSH session.
fn is_ssh_server(command_line: &str) -> bool {
    command_line.to_ascii_lowercase().contains(" -sshs")
}

/// The lower-case file name of the process that WinRM starts for PowerShell.
const POWERSHELL_HOST: &str = "wsmprovhost.exe";

/// An event that a process logged or caused.
#[derive(Debug, Clone, Copy)]
pub(super) struct InProcessMark {
    pub mark: RecordMark,
    pub id: u32,
    /// The runspace of a command, or the address at the near end of a connection.
    pub runspace: TextKey,
    /// The key of the SID that caused it.
    pub sid: TextKey,
    /// The event is a connection.
    pub connection: bool,
    /// The event is 4103, which is logged by policy only.
    pub command: bool,
}

/// A record of an engine that is not a remote one.
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
    /// The keys of the account's name and SID.
    pub account_keys: [TextKey; 2],
}

/// A record that may show a session's source.
#[derive(Debug, Clone, Copy)]
pub(super) struct HintMark {
    pub mark: RecordMark,
    pub kind: HintKind,
    /// The keys of the target's names: first labels or addresses.
    pub targets: [TextKey; 2],
    pub account: TextKey,
}

/// Kinds of records that may show a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HintKind {
    /// 4648, at the client.
    Credentials,
    /// 4768, 4769, 4771.
    Ticket,
    /// 4776: it names an account, but no target.
    Check,
    /// A connection to WinRM's ports, at the client.
    Outbound,
    /// A connection to WinRM's ports, at the target, which is the logging host.
    Inbound,
}

/// A record that names a logon id: 4634, 4647, 4672.
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
    /// It is the first and only part.
    pub whole: bool,
    /// The engine found it suspicious, and so logged it without any policy.
    pub warning: bool,
    pub number: u32,
    pub process: u32,
    /// The key of the SID that ran it.
    pub sid: TextKey,
}

/// A piece of remoting traffic, which is read again later.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrafficMark {
    pub mark: RecordMark,
    /// The process that logged it.
    pub process: u32,
}

/// The spellings of an account, each with its earliest record.
pub(super) type AccountSpellings = BTreeMap<AccountName, (DateTime<Utc>, RecordRef)>;

/// A logging host, as its earliest record spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostSpelling {
    pub time: DateTime<Utc>,
    pub source: RecordRef,
    pub computer: HostName,
}

/// What a task keeps of events, in any order.
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
    /// Each host's own addresses, and when its connections show them.
    pub(super) addresses: BTreeMap<HostName, BTreeMap<String, Sightings>>,
    /// Addresses of hosts from other hosts' records, by lower-case host name.
    pub(super) reported_addresses: BTreeMap<String, BTreeMap<String, Sightings>>,
    /// 1102, 104.
    pub(super) cleared: Vec<Clearing>,
    /// Which records the task saw.
    pub extent: LogExtent,
    /// The account names of each SID, from logons.
    pub(super) accounts: BTreeMap<String, AccountSpellings>,
}

impl TaskMarks {
    /// Returns marks without events, for a task whose events are kept elsewhere.
    pub fn from_extent(extent: LogExtent) -> TaskMarks {
        TaskMarks { extent, ..TaskMarks::default() }
    }

    /// Adds an event: as a whole, as a mark, or not at all.
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
                    self.remoting_events.push(event);
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
                self.remoting_events.push(event);
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
                // For an interactive logon, the workstation is the logging host itself.
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
            // Local PowerShell processes log it, too.
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
                self.remoting_events.push(event);
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
            | EventKind::SshAccepted(_) => self.remoting_events.push(event),
        }
    }

    /// Returns the index of an event's host.
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

    /// Adds the address of another host.
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

    /// Adds the address of a caller that is a machine's own account: it comes from that machine.
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

    /// Keeps the marks of records for which `is_own` returns true. The other records are copies:
    /// facts without a count (hosts, accounts, names) are also in the remaining records.
    pub fn retain(&mut self, is_own: impl Fn(RecordRef) -> bool, keys: &KeyHasher) {
        self.remoting_events.retain(|event| is_own(event.source));
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

    /// Drops all marks but those of script blocks, once they are no longer needed.
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

    /// Frees unused memory.
    pub fn shrink(&mut self) {
        self.remoting_events.shrink_to_fit();
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

/// Adds a spelling of an account, or sets an earlier record for it.
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

    /// A busy host leaves millions of them.
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
