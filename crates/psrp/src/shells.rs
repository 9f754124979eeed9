//! Shells from SOAP documents: which shell and command a document belongs to, what it tells of
//! them, and the bytes it carries for them.

use std::collections::BTreeMap;

use super::encoded::base64;
use super::fragments::Fragment;
use super::message::Header;
use super::soap::{Envelope, Slot, Stream};
use super::xpress;

/// Most bytes kept of a stream of a plain command.
const LONGEST_STREAM: usize = 64 << 20;

/// How the bytes of a stream had to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// As they are.
    Plain,
    /// Unpacked as Xpress.
    Xpress,
}

/// A shell, as its documents tell of it.
#[derive(Debug, Clone)]
pub struct Shell<T> {
    /// The logging host.
    pub host: String,
    /// ShellId, lower case; none while no document names it. With PowerShell 3 and later it is the
    /// id of the runspace pool.
    pub id: Option<String>,
    /// Name, as the client calls its session.
    pub name: Option<String>,
    /// What was asked for.
    pub resource_uri: Option<String>,
    /// Where the client sent its requests.
    pub to: Option<String>,
    /// Options of the Create.
    pub options: Vec<(String, String)>,
    /// The account, as the server tells it.
    pub owner: Option<String>,
    /// The client's address, as the server tells it.
    pub client_ip: Option<String>,
    /// The host process on the server, as the server tells it.
    pub process_id: Option<u32>,
    /// The compression that the client asked for.
    pub compression: Option<String>,
    /// Actions of all documents, in the order of the log.
    pub actions: Vec<String>,
    /// Commands, in the order of the log.
    pub commands: Vec<ShellCommand<T>>,
    /// Signals: command and code.
    pub signals: Vec<(Option<String>, String)>,
    /// Reasons of faults.
    pub faults: Vec<String>,
    /// How its streams had to be read, and how often.
    pub readings: BTreeMap<Reading, usize>,
    /// The callers' tags of the documents.
    pub tags: Vec<T>,
    /// The callers' tags of the Create and of what tells owner and address: those of their first
    /// chunks.
    pub told_by: Vec<T>,
    /// Where in `commands` an id is; without an id, the latest one that has none.
    places: BTreeMap<Option<String>, usize>,
    /// By MessageID of its request, where in `commands` one is whose id the server will tell.
    asked: BTreeMap<String, usize>,
}

/// A command of a shell: a pipeline's start, or a command line of `winrs` with its streams.
#[derive(Debug, Clone)]
pub struct ShellCommand<T> {
    /// CommandId, lower case; the pipeline's id.
    pub id: Option<String>,
    /// `rsp:Command`: a command line, or up to 256 characters of a pipeline's history text.
    pub line: String,
    /// Arguments of a command line.
    pub arguments: Vec<String>,
    /// Plain streams: name, bytes.
    pub streams: BTreeMap<String, Vec<u8>>,
    /// Whether streams were longer than what is kept.
    pub is_cut: bool,
    /// State last told, a URI.
    pub state: Option<String>,
    /// ExitCode.
    pub exit_code: Option<String>,
    /// The callers' tags of the documents that name it.
    pub tags: Vec<T>,
}

/// Bytes that are fragments, found in a document.
#[derive(Debug)]
pub(super) struct Found<T> {
    /// The shell's index.
    pub(super) shell: usize,
    /// Whether the client sent them.
    pub(super) to_server: bool,
    pub(super) fragments: Vec<Fragment>,
    /// What is wrong with the rest of the bytes.
    pub(super) damage: Option<String>,
    /// The caller's tag of the document's first chunk, which stands for all of them.
    pub(super) tag: Option<T>,
}

/// All shells of a trace. What names no shell that is known yet, waits for the end.
#[derive(Debug)]
pub(super) struct Shells<T> {
    shells: Vec<Shell<T>>,
    /// By host and ShellId, CommandId, MessageID or OperationID.
    known: BTreeMap<String, BTreeMap<Key, usize>>,
    waiting: Vec<(String, Envelope<'static>, Vec<T>)>,
    /// How many documents have to do with no shell that is known.
    others: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Shell(String),
    Command(String),
    Message(String),
    Operation(String),
    /// What no document assigns to a shell.
    Nobody,
}

impl<T> Default for Shells<T> {
    fn default() -> Self {
        Shells { shells: Vec::new(), known: BTreeMap::new(), waiting: Vec::new(), others: 0 }
    }
}

impl<T: Clone> Shells<T> {
    /// Takes a document; gives the fragments in it.
    pub(super) fn push(
        &mut self,
        host: &str,
        envelope: Envelope<'_>,
        tags: Vec<T>,
    ) -> Vec<Found<T>> {
        let shell = match self.shell_of(host, &envelope) {
            Some(shell) => shell,
            None if envelope.operation() == "Create" => self.new_shell(host),
            None if envelope.streams.is_empty() && envelope.command_id.is_none() => {
                self.others += 1;
                return Vec::new();
            }
            None => {
                self.waiting.push((host.to_owned(), envelope.into_owned(), tags));
                return Vec::new();
            }
        };
        self.take(shell, host, envelope, tags)
    }

    /// All shells with what was told of them since the last part, the fragments of documents that
    /// had to wait, and the number of documents that have to do with no shell.
    pub(super) fn part(&mut self) -> (Vec<Shell<T>>, Vec<Found<T>>, usize) {
        let mut found = Vec::new();
        for (host, envelope, tags) in std::mem::take(&mut self.waiting) {
            let nobody = self.known(&host, &Key::Nobody);
            let known = self.shell_of(&host, &envelope).or(nobody);
            let shell = known.unwrap_or_else(|| {
                let shell = self.new_shell(&host);
                self.keys(&host).insert(Key::Nobody, shell);
                shell
            });
            found.extend(self.take(shell, &host, envelope, tags));
        }
        let shells = self.shells.iter_mut().map(Shell::part).collect();
        (shells, found, std::mem::take(&mut self.others))
    }

    /// The shell that a document names, answers or asks on behalf of.
    fn shell_of(&mut self, host: &str, envelope: &Envelope<'_>) -> Option<usize> {
        let command = envelope.command_id.iter();
        let streams = envelope.streams.iter().filter_map(|stream| stream.command_id.as_ref());
        let keys = [
            envelope.shell_id.clone().map(Key::Shell),
            envelope.relates_to.clone().map(Key::Message),
            envelope.operation_id.clone().map(Key::Operation),
            command.chain(streams).next().cloned().map(Key::Command),
        ];
        let known = |key: Key| self.known(host, &key);
        let found = keys.into_iter().flatten().find_map(known);
        let Some(id) = envelope.shell_id.clone() else { return found };
        // A shell that this document names, and no other one has named yet.
        let nameless = found.filter(|&found| self.shells[found].id.is_none());
        let shell = match found.filter(|&found| self.shells[found].id.as_ref() == Some(&id)) {
            Some(shell) => return Some(shell),
            None => nameless.unwrap_or_else(|| self.new_shell(host)),
        };
        self.shells[shell].id = Some(id.clone());
        self.keys(host).insert(Key::Shell(id), shell);
        Some(shell)
    }

    fn known(&self, host: &str, key: &Key) -> Option<usize> {
        self.known.get(host)?.get(key).copied()
    }

    /// What is known of a host's shells.
    fn keys(&mut self, host: &str) -> &mut BTreeMap<Key, usize> {
        self.known.entry(host.to_owned()).or_default()
    }

    fn new_shell(&mut self, host: &str) -> usize {
        self.shells.push(Shell {
            host: host.to_owned(),
            id: None,
            name: None,
            resource_uri: None,
            to: None,
            options: Vec::new(),
            owner: None,
            client_ip: None,
            process_id: None,
            compression: None,
            actions: Vec::new(),
            commands: Vec::new(),
            signals: Vec::new(),
            faults: Vec::new(),
            readings: BTreeMap::new(),
            tags: Vec::new(),
            told_by: Vec::new(),
            places: BTreeMap::new(),
            asked: BTreeMap::new(),
        });
        self.shells.len() - 1
    }

    fn take(
        &mut self,
        at: usize,
        host: &str,
        envelope: Envelope<'_>,
        tags: Vec<T>,
    ) -> Vec<Found<T>> {
        let keys = self.keys(host);
        let mut know = |key: Option<Key>| {
            if let Some(key) = key {
                keys.entry(key).or_insert(at);
            }
        };
        know(envelope.message_id.clone().map(Key::Message));
        know(envelope.operation_id.clone().map(Key::Operation));
        know(envelope.command_id.clone().map(Key::Command));
        for stream in &envelope.streams {
            know(stream.command_id.clone().map(Key::Command));
        }
        let shell = &mut self.shells[at];
        shell.tell(&envelope, &tags);
        let operation = envelope.operation().to_owned();
        let command_id = envelope.command_id;
        let mut found: Vec<Found<T>> = Vec::new();
        for stream in envelope.streams {
            let to_server =
                !matches!(&stream.slot, Slot::ConnectResponse) && operation != "ReceiveResponse";
            match shell.read(&stream) {
                Content::Nothing => {}
                Content::Fragments(fragments, damage) => {
                    found.push(Found {
                        shell: at,
                        to_server,
                        fragments,
                        damage,
                        tag: tags.first().cloned(),
                    });
                }
                Content::Plain(bytes) => {
                    let id = stream.command_id.as_ref().or(command_id.as_ref());
                    let command = shell.command(id.cloned());
                    match stream.slot {
                        Slot::Arguments => command.arguments.push(stream.text.into_owned()),
                        Slot::Stream(name) => command.append(name, &bytes),
                        _ => {}
                    }
                }
            }
        }
        found
    }
}

/// What bytes in a document are.
enum Content {
    Nothing,
    Fragments(Vec<Fragment>, Option<String>),
    Plain(Vec<u8>),
}

impl<T: Clone> Shell<T> {
    /// What it is, and what was told of it; keeps only what it is.
    fn part(&mut self) -> Shell<T> {
        Shell {
            actions: std::mem::take(&mut self.actions),
            commands: std::mem::take(&mut self.commands),
            signals: std::mem::take(&mut self.signals),
            faults: std::mem::take(&mut self.faults),
            readings: std::mem::take(&mut self.readings),
            tags: std::mem::take(&mut self.tags),
            told_by: std::mem::take(&mut self.told_by),
            places: std::mem::take(&mut self.places),
            asked: std::mem::take(&mut self.asked),
            // What it is.
            ..self.clone()
        }
    }

    /// Takes what a document tells of the shell and its commands.
    fn tell(&mut self, envelope: &Envelope<'_>, tags: &[T]) {
        self.actions.push(envelope.action.clone());
        self.tags.extend_from_slice(tags);
        let is_request = envelope.relates_to.is_none();
        let tell = |field: &mut Option<String>, told: &Option<String>| {
            if field.is_none() {
                field.clone_from(told);
            }
        };
        let answers = envelope.owner.is_some() || envelope.client_ip.is_some();
        let is_first = self.owner.is_none() && self.client_ip.is_none();
        if (answers && is_first) || (is_request && envelope.operation() == "Create") {
            self.told_by.extend(tags.first().cloned());
        }
        tell(&mut self.resource_uri, &envelope.resource_uri);
        tell(&mut self.name, &envelope.shell_name);
        tell(&mut self.owner, &envelope.owner);
        tell(&mut self.client_ip, &envelope.client_ip);
        if is_request {
            tell(&mut self.to, &envelope.to);
        }
        if is_request && envelope.operation() == "Create" {
            self.options.clone_from(&envelope.options);
        }
        self.process_id = self.process_id.or(envelope.process_id);
        // NoCompression is what a server says of a shell without.
        let compression = envelope.compression.clone();
        tell(&mut self.compression, &compression.filter(|told| told != "NoCompression"));
        self.faults.extend(envelope.fault.clone());
        if let Some(code) = &envelope.signal {
            self.signals.push((envelope.command_id.clone(), code.clone()));
        }
        // `winrs` leaves it to the server to name its commands.
        match (
            envelope.operation(),
            &envelope.command_id,
            &envelope.message_id,
            &envelope.relates_to,
        ) {
            ("Command", None, Some(message), _) if envelope.command.is_some() => {
                self.asked.insert(message.clone(), self.commands.len());
                self.places.remove(&None);
            }
            ("CommandResponse", Some(id), _, Some(request)) => {
                if let Some(at) = self.asked.remove(request)
                    && let Some(command) = self.commands.get_mut(at)
                {
                    command.id = Some(id.clone());
                    self.places.entry(command.id.clone()).or_insert(at);
                }
            }
            _ => {}
        }
        let is_told = envelope.command.is_some() || envelope.command_state.is_some();
        if is_told || (envelope.command_id.is_some() && envelope.operation().starts_with("Command"))
        {
            let command = self.command(envelope.command_id.clone());
            command.tags.extend_from_slice(tags);
            if let Some(line) = &envelope.command {
                command.line.clone_from(line);
            }
            tell(&mut command.exit_code, &envelope.exit_code);
            if envelope.command_state.is_some() {
                command.state.clone_from(&envelope.command_state);
            }
        }
    }

    /// The command of this id, or the latest one without.
    fn command(&mut self, id: Option<String>) -> &mut ShellCommand<T> {
        let at = *self.places.entry(id.clone()).or_insert_with(|| {
            self.commands.push(ShellCommand {
                id,
                line: String::new(),
                arguments: Vec::new(),
                streams: BTreeMap::new(),
                is_cut: false,
                state: None,
                exit_code: None,
                tags: Vec::new(),
            });
            self.commands.len() - 1
        });
        &mut self.commands[at]
    }

    /// Reads bytes in the way that makes sense: as they are, or as Xpress. The shell's compression
    /// says which to try first; a log that starts late does not have it.
    fn read(&mut self, stream: &Stream<'_>) -> Content {
        if stream.text.trim().is_empty() {
            return Content::Nothing;
        }
        let is_powershell =
            self.resource_uri.as_deref().is_none_or(|uri| uri.contains("/powershell/"));
        let Some(bytes) = base64(&stream.text) else {
            let reason = || Some("its stream is no Base64".to_owned());
            return match stream.slot {
                Slot::Arguments if !is_powershell => Content::Plain(Vec::new()),
                _ => Content::Fragments(Vec::new(), reason()),
            };
        };
        if !is_powershell {
            return self.read_plain(stream, bytes);
        }
        let mut readings = [Reading::Plain, Reading::Xpress];
        if self.compression.is_some() {
            readings.reverse();
        }
        for reading in readings {
            let (fragments, damage) = match reading {
                Reading::Plain => Fragment::split(&bytes),
                Reading::Xpress => match xpress::unpack(&bytes) {
                    Ok(plain) => Fragment::split(&plain),
                    Err(_) => continue,
                },
            };
            if damage.is_none() && fragments.iter().all(makes_sense) {
                *self.readings.entry(reading).or_default() += 1;
                return Content::Fragments(fragments, None);
            }
        }
        // Neither holds. Without knowing what the shell is for, it may be a command's plain text.
        if self.resource_uri.is_none() {
            return self.read_plain(stream, bytes);
        }
        let (fragments, damage) = Fragment::split(&bytes);
        let sound: Vec<Fragment> = fragments.into_iter().take_while(makes_sense).collect();
        let damage = damage.unwrap_or_else(|| "its fragments make no sense".to_owned());
        Content::Fragments(sound, Some(damage))
    }

    fn read_plain(&mut self, stream: &Stream<'_>, bytes: Vec<u8>) -> Content {
        if stream.slot == Slot::Arguments {
            return Content::Plain(Vec::new());
        }
        match self.compression.as_ref().and_then(|_| xpress::unpack(&bytes).ok()) {
            Some(plain) => {
                *self.readings.entry(Reading::Xpress).or_default() += 1;
                Content::Plain(plain)
            }
            None => {
                *self.readings.entry(Reading::Plain).or_default() += 1;
                Content::Plain(bytes)
            }
        }
    }
}

/// Whether a fragment may be one: its flags fit its place, and a first one has a header.
fn makes_sense(fragment: &Fragment) -> bool {
    let is_first = fragment.fragment_id == 0;
    let is_headed = fragment.blob.len() < Header::LENGTH || Header::parse(&fragment.blob).is_ok();
    fragment.start == is_first && (!is_first || is_headed)
}

impl<T> ShellCommand<T> {
    fn append(&mut self, name: String, bytes: &[u8]) {
        let stream = self.streams.entry(name).or_default();
        let room = LONGEST_STREAM.saturating_sub(stream.len());
        self.is_cut |= bytes.len() > room;
        stream.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// A plain stream as text; what is not UTF-8 in it, is replaced.
    pub fn stream_text(&self, name: &str) -> Option<String> {
        self.streams.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests;
