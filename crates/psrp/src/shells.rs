//! Rebuilds shells from SOAP documents: finds the shell and command of a document, what it
//! reports about them, and the bytes it carries.

use std::collections::BTreeMap;

use super::encoded::decode_base64;
use super::fragments::Fragment;
use super::message::MessageHeader;
use super::soap::{Envelope, EnvelopeStream, StreamSlot};
use super::xpress;

/// Largest number of bytes kept of a plain command's stream.
const LONGEST_STREAM: usize = 64 << 20;

/// How the bytes of a stream were encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamEncoding {
    /// Not compressed.
    Plain,
    /// Compressed with Xpress.
    Xpress,
}

/// A shell as its documents describe it.
#[derive(Debug, Clone)]
pub struct Shell<T> {
    /// The logging host.
    pub host: String,
    /// ShellId, lower case; `None` until a document names it. With PowerShell 3 and later it is
    /// the id of the runspace pool.
    pub id: Option<String>,
    /// Name that the client gave the session.
    pub name: Option<String>,
    /// ResourceURI: the kind of shell that was requested.
    pub resource_uri: Option<String>,
    /// Address to which the client sent its requests.
    pub to: Option<String>,
    /// Options of the Create.
    pub options: Vec<(String, String)>,
    /// The account, as the server reports it.
    pub owner: Option<String>,
    /// The client's address, as the server reports it.
    pub client_ip: Option<String>,
    /// The host process on the server, as the server reports it.
    pub process_id: Option<u32>,
    /// The compression that the client requested.
    pub compression: Option<String>,
    /// Actions of all documents, in the order of the log.
    pub actions: Vec<String>,
    /// Commands, in the order of the log.
    pub commands: Vec<ShellCommand<T>>,
    /// Signals: command and code.
    pub signals: Vec<(Option<String>, String)>,
    /// Reasons of faults.
    pub faults: Vec<String>,
    /// How its streams were encoded, with the number of times.
    pub encodings: BTreeMap<StreamEncoding, usize>,
    /// The callers' tags of the documents.
    pub tags: Vec<T>,
    /// The callers' tags of the Create and of the documents that report owner and address: those
    /// of their first chunks.
    pub source_tags: Vec<T>,
    /// Index in `commands` by id; under `None`, the latest command without an id.
    places: BTreeMap<Option<String>, usize>,
    /// Index in `commands` of commands whose id the server will report, by the MessageID of the
    /// request.
    asked: BTreeMap<String, usize>,
}

/// A command of a shell: the start of a pipeline, or a `winrs` command line with its streams.
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
    /// Whether streams were longer than the limit.
    pub is_cut: bool,
    /// The last reported state, a URI.
    pub state: Option<String>,
    /// ExitCode.
    pub exit_code: Option<String>,
    /// The callers' tags of the documents that name it.
    pub tags: Vec<T>,
}

/// Fragments found in a document.
#[derive(Debug)]
pub(super) struct FoundFragments<T> {
    /// Index of the shell.
    pub(super) shell: usize,
    /// Whether the client sent them.
    pub(super) to_server: bool,
    pub(super) fragments: Vec<Fragment>,
    /// The reason why the rest of the bytes cannot be read.
    pub(super) damage: Option<String>,
    /// The caller's tag of the document's first chunk, which stands for all its chunks.
    pub(super) tag: Option<T>,
}

/// All shells of a trace. Documents that name no known shell wait until the end.
#[derive(Debug)]
pub(super) struct Shells<T> {
    shells: Vec<Shell<T>>,
    /// Shells by host, then by ShellId, CommandId, MessageID or OperationID.
    known: BTreeMap<String, BTreeMap<ShellKey, usize>>,
    waiting: Vec<(String, Envelope<'static>, Vec<T>)>,
    /// The number of documents that concern no known shell.
    others: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ShellKey {
    Shell(String),
    Command(String),
    Message(String),
    Operation(String),
    /// For documents that cannot be assigned to a shell.
    Unassigned,
}

impl<T> Default for Shells<T> {
    fn default() -> Self {
        Shells { shells: Vec::new(), known: BTreeMap::new(), waiting: Vec::new(), others: 0 }
    }
}

impl<T: Clone> Shells<T> {
    /// Adds a document. Returns the fragments in it.
    pub(super) fn push(
        &mut self,
        host: &str,
        envelope: Envelope<'_>,
        tags: Vec<T>,
    ) -> Vec<FoundFragments<T>> {
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
        self.add_to_shell(shell, host, envelope, tags)
    }

    /// Returns all shells with what was reported since the last call, the fragments of documents
    /// that had to wait, and the number of documents that concern no shell.
    pub(super) fn take_reported(&mut self) -> (Vec<Shell<T>>, Vec<FoundFragments<T>>, usize) {
        let mut found = Vec::new();
        for (host, envelope, tags) in std::mem::take(&mut self.waiting) {
            let unassigned = self.known_shell(&host, &ShellKey::Unassigned);
            let known = self.shell_of(&host, &envelope).or(unassigned);
            let shell = known.unwrap_or_else(|| {
                let shell = self.new_shell(&host);
                self.keys_of_host(&host).insert(ShellKey::Unassigned, shell);
                shell
            });
            found.extend(self.add_to_shell(shell, &host, envelope, tags));
        }
        let shells = self.shells.iter_mut().map(Shell::take_reported).collect();
        (shells, found, std::mem::take(&mut self.others))
    }

    /// Returns the shell that a document names, answers, or sends a request for.
    fn shell_of(&mut self, host: &str, envelope: &Envelope<'_>) -> Option<usize> {
        let command = envelope.command_id.iter();
        let streams = envelope.streams.iter().filter_map(|stream| stream.command_id.as_ref());
        let keys = [
            envelope.shell_id.clone().map(ShellKey::Shell),
            envelope.relates_to.clone().map(ShellKey::Message),
            envelope.operation_id.clone().map(ShellKey::Operation),
            command.chain(streams).next().cloned().map(ShellKey::Command),
        ];
        let known = |key: ShellKey| self.known_shell(host, &key);
        let found = keys.into_iter().flatten().find_map(known);
        let Some(id) = envelope.shell_id.clone() else { return found };
        // A shell that this document names, and that no other document has named yet.
        let nameless = found.filter(|&found| self.shells[found].id.is_none());
        let shell = match found.filter(|&found| self.shells[found].id.as_ref() == Some(&id)) {
            Some(shell) => return Some(shell),
            None => nameless.unwrap_or_else(|| self.new_shell(host)),
        };
        self.shells[shell].id = Some(id.clone());
        self.keys_of_host(host).insert(ShellKey::Shell(id), shell);
        Some(shell)
    }

    fn known_shell(&self, host: &str, key: &ShellKey) -> Option<usize> {
        self.known.get(host)?.get(key).copied()
    }

    /// Returns the keys of a host's shells.
    fn keys_of_host(&mut self, host: &str) -> &mut BTreeMap<ShellKey, usize> {
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
            encodings: BTreeMap::new(),
            tags: Vec::new(),
            source_tags: Vec::new(),
            places: BTreeMap::new(),
            asked: BTreeMap::new(),
        });
        self.shells.len() - 1
    }

    fn add_to_shell(
        &mut self,
        at: usize,
        host: &str,
        envelope: Envelope<'_>,
        tags: Vec<T>,
    ) -> Vec<FoundFragments<T>> {
        let keys = self.keys_of_host(host);
        let mut know = |key: Option<ShellKey>| {
            if let Some(key) = key {
                keys.entry(key).or_insert(at);
            }
        };
        know(envelope.message_id.clone().map(ShellKey::Message));
        know(envelope.operation_id.clone().map(ShellKey::Operation));
        know(envelope.command_id.clone().map(ShellKey::Command));
        for stream in &envelope.streams {
            know(stream.command_id.clone().map(ShellKey::Command));
        }
        let shell = &mut self.shells[at];
        shell.apply(&envelope, &tags);
        let operation = envelope.operation().to_owned();
        let command_id = envelope.command_id;
        let mut found: Vec<FoundFragments<T>> = Vec::new();
        for stream in envelope.streams {
            let to_server = !matches!(&stream.slot, StreamSlot::ConnectResponse)
                && operation != "ReceiveResponse";
            match shell.read(&stream) {
                StreamContent::Nothing => {}
                StreamContent::Fragments(fragments, damage) => {
                    found.push(FoundFragments {
                        shell: at,
                        to_server,
                        fragments,
                        damage,
                        tag: tags.first().cloned(),
                    });
                }
                StreamContent::Plain(bytes) => {
                    let id = stream.command_id.as_ref().or(command_id.as_ref());
                    let command = shell.command(id.cloned());
                    match stream.slot {
                        StreamSlot::Arguments => command.arguments.push(stream.text.into_owned()),
                        StreamSlot::Stream(name) => command.append(name, &bytes),
                        _ => {}
                    }
                }
            }
        }
        found
    }
}

/// The content of bytes in a document.
enum StreamContent {
    Nothing,
    Fragments(Vec<Fragment>, Option<String>),
    Plain(Vec<u8>),
}

impl<T: Clone> Shell<T> {
    /// Returns the shell with everything reported since the last call. Keeps only its properties.
    fn take_reported(&mut self) -> Shell<T> {
        Shell {
            actions: std::mem::take(&mut self.actions),
            commands: std::mem::take(&mut self.commands),
            signals: std::mem::take(&mut self.signals),
            faults: std::mem::take(&mut self.faults),
            encodings: std::mem::take(&mut self.encodings),
            tags: std::mem::take(&mut self.tags),
            source_tags: std::mem::take(&mut self.source_tags),
            places: std::mem::take(&mut self.places),
            asked: std::mem::take(&mut self.asked),
            // Its properties.
            ..self.clone()
        }
    }

    /// Adds what a document reports about the shell and its commands.
    fn apply(&mut self, envelope: &Envelope<'_>, tags: &[T]) {
        self.actions.push(envelope.action.clone());
        self.tags.extend_from_slice(tags);
        let is_request = envelope.relates_to.is_none();
        let set_if_missing = |field: &mut Option<String>, reported: &Option<String>| {
            if field.is_none() {
                field.clone_from(reported);
            }
        };
        let answers = envelope.owner.is_some() || envelope.client_ip.is_some();
        let is_first = self.owner.is_none() && self.client_ip.is_none();
        if (answers && is_first) || (is_request && envelope.operation() == "Create") {
            self.source_tags.extend(tags.first().cloned());
        }
        set_if_missing(&mut self.resource_uri, &envelope.resource_uri);
        set_if_missing(&mut self.name, &envelope.shell_name);
        set_if_missing(&mut self.owner, &envelope.owner);
        set_if_missing(&mut self.client_ip, &envelope.client_ip);
        if is_request {
            set_if_missing(&mut self.to, &envelope.to);
        }
        if is_request && envelope.operation() == "Create" {
            self.options.clone_from(&envelope.options);
        }
        self.process_id = self.process_id.or(envelope.process_id);
        // A server reports NoCompression for a shell without compression.
        let compression = envelope.compression.clone();
        set_if_missing(&mut self.compression, &compression.filter(|mode| mode != "NoCompression"));
        self.faults.extend(envelope.fault.clone());
        if let Some(code) = &envelope.signal {
            self.signals.push((envelope.command_id.clone(), code.clone()));
        }
        // `winrs` lets the server choose the ids of its commands.
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
        let is_reported = envelope.command.is_some() || envelope.command_state.is_some();
        if is_reported
            || (envelope.command_id.is_some() && envelope.operation().starts_with("Command"))
        {
            let command = self.command(envelope.command_id.clone());
            command.tags.extend_from_slice(tags);
            if let Some(line) = &envelope.command {
                command.line.clone_from(line);
            }
            set_if_missing(&mut command.exit_code, &envelope.exit_code);
            if envelope.command_state.is_some() {
                command.state.clone_from(&envelope.command_state);
            }
        }
    }

    /// Returns the command with this id, or the latest one without an id.
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

    /// Decodes bytes in the way that gives valid fragments: as they are, or as Xpress. The
    /// shell's compression decides which is tried first; a log that starts late does not contain
    /// it.
    fn read(&mut self, stream: &EnvelopeStream<'_>) -> StreamContent {
        if stream.text.trim().is_empty() {
            return StreamContent::Nothing;
        }
        let is_powershell =
            self.resource_uri.as_deref().is_none_or(|uri| uri.contains("/powershell/"));
        let Some(bytes) = decode_base64(&stream.text) else {
            let reason = || Some("its stream is not Base64".to_owned());
            return match stream.slot {
                StreamSlot::Arguments if !is_powershell => StreamContent::Plain(Vec::new()),
                _ => StreamContent::Fragments(Vec::new(), reason()),
            };
        };
        if !is_powershell {
            return self.read_plain(stream, bytes);
        }
        let mut encodings = [StreamEncoding::Plain, StreamEncoding::Xpress];
        if self.compression.is_some() {
            encodings.reverse();
        }
        for reading in encodings {
            let (fragments, damage) = match reading {
                StreamEncoding::Plain => Fragment::split(&bytes),
                StreamEncoding::Xpress => match xpress::unpack_xpress(&bytes) {
                    Ok(plain) => Fragment::split(&plain),
                    Err(_) => continue,
                },
            };
            if damage.is_none() && fragments.iter().all(is_plausible) {
                *self.encodings.entry(reading).or_default() += 1;
                return StreamContent::Fragments(fragments, None);
            }
        }
        // Neither is valid. If the kind of shell is unknown, the bytes may be a command's plain
        // text.
        if self.resource_uri.is_none() {
            return self.read_plain(stream, bytes);
        }
        let (fragments, damage) = Fragment::split(&bytes);
        let sound: Vec<Fragment> = fragments.into_iter().take_while(is_plausible).collect();
        let damage = damage.unwrap_or_else(|| "its fragments are not valid".to_owned());
        StreamContent::Fragments(sound, Some(damage))
    }

    fn read_plain(&mut self, stream: &EnvelopeStream<'_>, bytes: Vec<u8>) -> StreamContent {
        if stream.slot == StreamSlot::Arguments {
            return StreamContent::Plain(Vec::new());
        }
        match self.compression.as_ref().and_then(|_| xpress::unpack_xpress(&bytes).ok()) {
            Some(plain) => {
                *self.encodings.entry(StreamEncoding::Xpress).or_default() += 1;
                StreamContent::Plain(plain)
            }
            None => {
                *self.encodings.entry(StreamEncoding::Plain).or_default() += 1;
                StreamContent::Plain(bytes)
            }
        }
    }
}

/// Returns whether a fragment is plausible: its flags fit its position, and a first fragment has
/// a header.
fn is_plausible(fragment: &Fragment) -> bool {
    let is_first = fragment.fragment_id == 0;
    let is_headed =
        fragment.blob.len() < MessageHeader::LENGTH || MessageHeader::parse(&fragment.blob).is_ok();
    fragment.start == is_first && (!is_first || is_headed)
}

impl<T> ShellCommand<T> {
    fn append(&mut self, name: String, bytes: &[u8]) {
        let stream = self.streams.entry(name).or_default();
        let room = LONGEST_STREAM.saturating_sub(stream.len());
        self.is_cut |= bytes.len() > room;
        stream.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Returns a plain stream as text; invalid UTF-8 is replaced.
    pub fn stream_text(&self, name: &str) -> Option<String> {
        self.streams.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests;
