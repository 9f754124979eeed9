//! What is kept of the events that pass: those that show remoting by themselves, and of each
//! other one that may belong to a session a mark, small and of fixed size.
//!
//! Logs hold millions of logons and processes, and few of them have to do with remoting. Which,
//! is known when all logs are read; `focus` tells, and those records are read a second time.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::names::{SERVICE_SIDS, WINRM_PORTS};
use super::reach::Reach;
use super::sightings::Sightings;
use crate::keyed::KeyedHasher;
use crate::model::{
    AccountName, Channel, Clearing, EngineContext, Event, EventKind, HostName, LoggedId, Logon,
    ProcessStart, RecordRef, file_name, host_key, host_of_service, is_address,
};

/// A text as a mark keeps it: equal texts have equal keys, which are compared for equality only.
/// They pick what is read again, whose texts are compared then; or they tell apart the few images
/// and accounts of one process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Key(u64);

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
pub struct Keys(KeyedHasher);

impl Keys {
    /// The key of a text; the empty text has key zero.
    pub(crate) fn of(&self, text: &str) -> Key {
        Key(if text.is_empty() { 0 } else { self.0.hash(text).max(1) })
    }

    /// The key of an id that decides by itself; that of none is zero.
    pub(super) fn id(&self, id: Option<&LoggedId>) -> IdKey {
        IdKey(id.map_or([0; 2], |id| self.0.hash_128(id)))
    }

    /// The key of an id that picks what is read again; that of none is zero.
    pub(super) fn of_id(&self, id: Option<&LoggedId>) -> Key {
        Key(id.map_or(0, |id| self.0.hash(id).max(1)))
    }

    /// The key of the host that a name, an address or a service means, as `host_key` has it.
    pub(super) fn of_host(&self, name: &str) -> Key {
        self.of(&host_key(host_of_service(name)))
    }

    /// The key of an account's name, which cases do not tell apart; of a virtual account, its
    /// caller's.
    pub(super) fn of_account(&self, account: Option<&AccountName>) -> Key {
        let name = account.map(|account| match account.virtual_caller() {
            Some(caller) => caller.name_key(),
            None => account.name_key(),
        });
        self.of(&name.unwrap_or_default())
    }
}

impl Key {
    /// Whether there was a text.
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// An event that may matter: where its record lies, and when it was logged on which host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub time: DateTime<Utc>,
    /// Index of the host among those of the same task.
    pub host: u32,
    pub source: RecordRef,
}

/// What holds a mark.
pub(super) trait Marked: Sync + 'static {
    fn mark(&self) -> &Mark;
}

macro_rules! marked {
    ($($kind:ty),+) => {
        $(impl Marked for $kind {
            fn mark(&self) -> &Mark {
                &self.mark
            }
        })+
    };
}

marked!(ProcessMark, InProcess, LocalEngine, LogonMark, LogonId, HintMark, ScriptMark, TrafficMark);

impl Marked for Mark {
    fn mark(&self) -> &Mark {
        self
    }
}

/// What a record says of a process, without its texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessMark {
    pub mark: Mark,
    pub id: u32,
    pub parent: u32,
    /// The lower-case file name of its image.
    pub image: Key,
    pub parent_image: Key,
    /// Its command line, trimmed.
    pub line: Key,
    pub logon_id: u64,
    /// Its account's name and SID.
    pub who: [Key; 2],
    pub what: Told,
}

/// What a record tells of its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Started(Image),
    Exited(Image),
    /// Its PowerShell engine began to listen (53504), once in its life.
    Listens,
    /// It holds the remote engine of this HostId.
    Serves(Image, IdKey),
    /// The classic log tells of the remote engine of this HostId, and not of its process.
    Engine(Image, IdKey),
}

/// What a process is to remoting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    /// wsmprovhost.exe
    PowerShellHost,
    /// PowerShell 7 as sshd starts it for a session.
    SshHost,
    /// winrshost.exe
    WinrsHost,
    Other,
}

impl Image {
    fn of(file_name: &str, command_line: &str) -> Image {
        match file_name {
            "wsmprovhost.exe" => Image::PowerShellHost,
            "winrshost.exe" => Image::WinrsHost,
            "pwsh.exe" | "pwsh" | "powershell.exe" if is_ssh(command_line) => Image::SshHost,
            _ => Image::Other,
        }
    }
}

/// Whether a PowerShell's command line is that of an SSH session's server.
fn is_ssh(command_line: &str) -> bool {
    command_line.to_ascii_lowercase().contains(" -sshs")
}

/// The lower-case file name of what WinRM starts for PowerShell.
const POWERSHELL_HOST: &str = "wsmprovhost.exe";

/// Something logged of or by a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct InProcess {
    pub mark: Mark,
    pub id: u32,
    /// Its runspace, for a command; for a connection, the near end's address.
    pub runspace: Key,
    /// The SID of who did it.
    pub sid: Key,
    /// A connection.
    pub connection: bool,
    /// 4103, which is logged by policy only.
    pub command: bool,
}

/// A record of an engine of this host's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalEngine {
    pub mark: Mark,
    pub host_id: Key,
    pub runspace: Key,
    /// Its command line, trimmed.
    pub line: Key,
}

/// 4624.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogonMark {
    pub mark: Mark,
    pub logon_id: u64,
    /// Its account's name and SID.
    pub who: [Key; 2],
}

/// What may tell a session's source, and what it speaks of.
#[derive(Debug, Clone, Copy)]
pub(super) struct HintMark {
    pub mark: Mark,
    pub what: Hint,
    /// What it calls its target: first labels of names, or addresses.
    pub targets: [Key; 2],
    pub account: Key,
}

/// Kinds of hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
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
pub(super) struct LogonId {
    pub mark: Mark,
    pub logon_id: u64,
}

/// A part of a script block.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScriptMark {
    pub mark: Mark,
    /// ScriptBlockId.
    pub id: IdKey,
    /// It says that it is the first and only part.
    pub whole: bool,
    /// The engine found it suspicious, and so logged it without any policy.
    pub warning: bool,
    pub number: u32,
    pub process: u32,
    /// The SID of who ran it.
    pub sid: Key,
}

/// A piece of remoting's traffic, which is read again by its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrafficMark {
    pub mark: Mark,
    /// The process that logged it.
    pub process: u32,
}

/// How logs spell an account, each spelling at its earliest.
pub(super) type Spellings = BTreeMap<AccountName, (DateTime<Utc>, RecordRef)>;

/// A logging host, as its earliest record spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spelling {
    pub time: DateTime<Utc>,
    pub source: RecordRef,
    pub computer: HostName,
}

/// What a task keeps of the events that pass, in any order.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Events that show remoting by themselves.
    pub(super) core: Vec<Event>,
    pub(super) processes: Vec<ProcessMark>,
    pub(super) in_process: Vec<InProcess>,
    pub(super) engines: Vec<LocalEngine>,
    pub(super) scripts: Vec<ScriptMark>,
    pub(super) traffic: Vec<TrafficMark>,
    pub(super) logons: Vec<LogonMark>,
    pub(super) logon_ids: Vec<LogonId>,
    /// 4625.
    pub(super) failed_logons: Vec<Mark>,
    pub(super) hints: Vec<HintMark>,
    /// The logging hosts by their lower-case names.
    pub(super) hosts: Vec<(HostName, Spelling)>,
    by_name: HashMap<HostName, u32>,
    /// The host of the latest event: logs seldom change it.
    latest: u32,
    /// Hosts' own addresses, by their names, and when connections show each.
    pub(super) addresses: BTreeMap<HostName, BTreeMap<String, Sightings>>,
    /// Addresses that other hosts' records give names, which are lower case.
    pub(super) hearsay: BTreeMap<String, BTreeMap<String, Sightings>>,
    /// 1102, 104.
    pub(super) cleared: Vec<Clearing>,
    /// How far the task's records reach.
    pub reach: Reach,
    /// The accounts that logons give a SID.
    pub(super) accounts: BTreeMap<String, Spellings>,
}

impl Gathered {
    /// Of a task whose events are another's, how far its records reach.
    pub fn of_reach(reach: Reach) -> Gathered {
        Gathered { reach, ..Gathered::default() }
    }

    /// Takes what matters of an event.
    pub fn take(&mut self, event: Event, keys: &Keys) {
        let mark = Mark { time: event.time, source: event.source, host: self.host(&event) };
        let sid = || keys.of(event.user_sid.as_deref().unwrap_or_default());
        let process = event.process_id.unwrap_or(0);
        let in_process = InProcess {
            mark,
            id: process,
            runspace: Key::default(),
            sid: sid(),
            connection: false,
            command: matches!(event.kind, EventKind::Command(_)),
        };
        match &event.kind {
            EventKind::ProcessStart(start) => self.processes.push(started(mark, start, keys)),
            EventKind::ProcessExit(exit) => self.processes.push(ProcessMark {
                id: exit.process_id,
                image: keys.of(&file_name(&exit.image)),
                logon_id: exit.logon_id,
                who: [
                    keys.of_account(exit.account.as_ref()),
                    keys.of(exit.sid.as_deref().unwrap_or_default()),
                ],
                what: Told::Exited(Image::of(&file_name(&exit.image), "")),
                ..ProcessMark::bare(mark)
            }),
            EventKind::Command(command)
            | EventKind::CommandError(command)
            | EventKind::CommandLifecycle(command) => {
                let EngineContext { host_id, runspace_id, host_application, .. } = &command.context;
                if command.context.is_remote() {
                    let ssh = is_ssh(host_application);
                    let host = if ssh { Image::SshHost } else { Image::PowerShellHost };
                    if process != 0 {
                        self.processes.push(ProcessMark {
                            id: process,
                            image: keys.of(POWERSHELL_HOST),
                            who: [Key::default(), in_process.sid],
                            what: Told::Serves(host, keys.id(host_id.as_ref())),
                            ..ProcessMark::bare(mark)
                        });
                    }
                    self.core.push(event);
                } else {
                    let runspace = keys.of_id(runspace_id.as_ref());
                    self.in_process.push(InProcess { runspace, ..in_process });
                }
            }
            EventKind::Engine(engine) if !engine.context.is_remote() => {
                self.engines.push(local_engine(mark, &engine.context, keys));
            }
            EventKind::Pipeline(pipeline) if !pipeline.context.is_remote() => {
                self.engines.push(local_engine(mark, &pipeline.context, keys));
            }
            EventKind::Engine(_) | EventKind::Pipeline(_) => {
                if let Some(EngineContext { host_id, host_application, .. }) = event.engine() {
                    let ssh = is_ssh(host_application);
                    let host = if ssh { Image::SshHost } else { Image::PowerShellHost };
                    self.processes.push(ProcessMark {
                        image: keys.of(POWERSHELL_HOST),
                        what: Told::Engine(host, keys.id(host_id.as_ref())),
                        ..ProcessMark::bare(mark)
                    });
                }
                self.core.push(event);
            }
            EventKind::ScriptBlockPart(part) => {
                let id = keys.id(part.id.as_ref());
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
                    Some(seen) => seen.note(event.time),
                    None => {
                        let ips = self.addresses.entry(event.host.clone()).or_default();
                        ips.entry(own.clone()).or_default().note(event.time);
                    }
                }
                let time = event.time;
                self.hear(&connection.source_host, Some(&connection.source_ip), time);
                self.hear(&connection.destination_host, Some(&connection.destination_ip), time);
                let (id, runspace) = (connection.process_id, keys.of(own));
                if WINRM_PORTS.contains(&connection.destination_port) {
                    let names = [&*connection.destination_ip, &*connection.destination_host];
                    let targets = names.map(|name| keys.of_host(name));
                    let what = if connection.outbound { Hint::Outbound } else { Hint::Inbound };
                    self.hints.push(HintMark { mark, what, targets, account: Key::default() });
                }
                let connection = true;
                self.in_process.push(InProcess { id, runspace, connection, ..in_process });
            }
            EventKind::Logon(logon) => {
                self.account(&event, logon);
                self.hear_account(logon.account.as_ref(), logon.ip.as_deref(), event.time);
                // Of an interactive logon the workstation is the logging host itself.
                const NETWORK: u32 = 3;
                if logon.logon_type == NETWORK {
                    let workstation = logon.workstation.as_deref().unwrap_or_default();
                    self.hear(workstation, logon.ip.as_deref(), event.time);
                }
                let who = [keys.of_account(logon.account.as_ref()), keys.of(&logon.sid)];
                self.logons.push(LogonMark { mark, logon_id: logon.logon_id, who });
            }
            EventKind::Logoff(of) | EventKind::SpecialPrivileges(of) => {
                self.logon_ids.push(LogonId { mark, logon_id: of.logon_id });
            }
            // Every PowerShell of a host's own says it, too.
            EventKind::EngineListening(_) => self.processes.push(ProcessMark {
                id: process,
                who: [Key::default(), in_process.sid],
                what: Told::Listens,
                ..ProcessMark::bare(mark)
            }),
            EventKind::ServerSession(_) => {
                if process != 0 {
                    self.processes.push(ProcessMark {
                        id: process,
                        image: keys.of(POWERSHELL_HOST),
                        who: [Key::default(), in_process.sid],
                        what: Told::Serves(Image::PowerShellHost, IdKey::default()),
                        ..ProcessMark::bare(mark)
                    });
                }
                self.core.push(event);
            }
            EventKind::Traffic(_) => self.traffic.push(TrafficMark { mark, process }),
            EventKind::LogonFailed(_) => self.failed_logons.push(mark),
            EventKind::KerberosTicket(ticket) => {
                self.hear_account(ticket.account.as_ref(), ticket.ip.as_deref(), event.time);
                self.hints.push(HintMark {
                    mark,
                    what: Hint::Ticket,
                    targets: [keys.of_host(&ticket.service), Key::default()],
                    account: keys.of_account(ticket.account.as_ref()),
                });
            }
            EventKind::ExplicitCredentials(used) => {
                // A machine's own account is used at that machine.
                let machine = used.account.as_ref().map_or("", |account| &account.domain);
                if is_address(&used.target) {
                    self.hear(machine, Some(&used.target), event.time);
                }
                self.hints.push(HintMark {
                    mark,
                    what: Hint::Credentials,
                    targets: [&used.target_info, &used.target].map(|name| keys.of_host(name)),
                    account: keys.of_account(used.account.as_ref()),
                });
            }
            EventKind::NtlmValidation(check) => self.hints.push(HintMark {
                mark,
                what: Hint::Check,
                targets: [Key::default(); 2],
                account: keys.of_account(check.account.as_ref()),
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
    fn host(&mut self, event: &Event) -> u32 {
        let latest = self.hosts.get(self.latest as usize);
        if !latest.is_some_and(|(name, _)| name.is_same_text(&event.host)) {
            self.latest = match self.by_name.get(&event.host) {
                Some(&known) => known,
                None => {
                    let new = self.hosts.len() as u32;
                    self.by_name.insert(event.host.clone(), new);
                    let Event { time, source, .. } = *event;
                    let spelling = Spelling { time, source, computer: event.computer.clone() };
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
    fn hear(&mut self, name: &str, ip: Option<&str>, time: DateTime<Utc>) {
        let Some(ip) = ip.filter(|_| !name.is_empty()) else { return };
        let name = name.to_lowercase();
        match self.hearsay.get_mut(&name).and_then(|known| known.get_mut(ip)) {
            Some(seen) => seen.note(time),
            None => {
                let known = self.hearsay.entry(name).or_default();
                known.entry(ip.to_owned()).or_default().note(time);
            }
        }
    }

    /// Takes what a record says of a caller: a machine's own account comes from the machine.
    fn hear_account(
        &mut self,
        account: Option<&AccountName>,
        ip: Option<&str>,
        time: DateTime<Utc>,
    ) {
        if let Some(machine) = account.and_then(AccountName::machine) {
            self.hear(machine, ip, time);
        }
    }

    fn account(&mut self, event: &Event, logon: &Logon) {
        let Some(account) = &logon.account else { return };
        if !logon.sid.starts_with("S-1-5-21-") {
            return;
        }
        let (time, source) = (event.time, event.source);
        match self.accounts.get_mut(&logon.sid) {
            Some(known) => spell(known, time, source, account),
            None => {
                let first = BTreeMap::from([(account.clone(), (time, source))]);
                self.accounts.insert(logon.sid.clone(), first);
            }
        }
    }

    /// Keeps what the records give that `is_own` holds of. The others are copies: what is known of
    /// hosts, accounts and names without a count, the records that stay say, too.
    pub fn retain(&mut self, is_own: impl Fn(RecordRef) -> bool, keys: &Keys) {
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
        let mut shown: HashMap<(&HostName, Key), Sightings> = HashMap::new();
        for one in self.in_process.iter().filter(|one| one.connection) {
            let (host, _) = &self.hosts[one.mark.host as usize];
            shown.entry((host, one.runspace)).or_default().note(one.mark.time);
        }
        for (host, addresses) in &mut self.addresses {
            for (address, seen) in addresses.iter_mut() {
                *seen = shown.remove(&(host, keys.of(address))).unwrap_or_default();
            }
            addresses.retain(|_, seen| seen.count > 0);
        }
        self.shrink();
    }

    /// Forgets the marks but for script blocks': what they are for is known.
    pub(super) fn forget(&mut self) {
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
        self.reach.shrink();
    }
}

/// Takes a spelling of an account, at its earliest.
pub(super) fn spell(
    known: &mut Spellings,
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
    fn bare(mark: Mark) -> ProcessMark {
        ProcessMark {
            mark,
            id: 0,
            parent: 0,
            image: Key::default(),
            parent_image: Key::default(),
            line: Key::default(),
            logon_id: 0,
            who: [Key::default(); 2],
            what: Told::Listens,
        }
    }
}

fn started(mark: Mark, start: &ProcessStart, keys: &Keys) -> ProcessMark {
    let image = start.image_name();
    ProcessMark {
        mark,
        id: start.process_id,
        parent: start.parent_process_id,
        image: keys.of(&image),
        parent_image: keys.of(&file_name(&start.parent_image)),
        line: keys.of(start.command_line.trim()),
        logon_id: start.logon_id,
        who: [
            keys.of_account(start.account.as_ref()),
            keys.of(start.sid.as_deref().unwrap_or_default()),
        ],
        what: Told::Started(Image::of(&image, &start.command_line)),
    }
}

fn local_engine(mark: Mark, context: &EngineContext, keys: &Keys) -> LocalEngine {
    LocalEngine {
        mark,
        host_id: keys.of_id(context.host_id.as_ref()),
        runspace: keys.of_id(context.runspace_id.as_ref()),
        line: keys.of(context.host_application.trim()),
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
            size_of::<InProcess>(),
            size_of::<LocalEngine>(),
            size_of::<LogonMark>(),
            size_of::<HintMark>(),
            size_of::<ScriptMark>(),
            size_of::<TrafficMark>(),
        ];
        assert_eq!(sizes, [120, 64, 64, 64, 72, 80, 48]);
    }

    #[test]
    fn ids_have_one_key_in_any_spelling() {
        let keys = Keys::default();
        let key = |text: &str| keys.id(LoggedId::parse(text).as_ref());
        let id = "3a01e863-e5f7-4fe6-a55d-36e4078d77f9";
        assert_eq!(key(id), key(&format!("{{{}}}", id.to_uppercase())));
        assert!(key(id).is_some() && key("a") != key("b"));
        assert_eq!(key(""), IdKey::default());
    }
}
