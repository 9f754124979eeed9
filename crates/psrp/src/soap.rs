//! Reads WS-Management documents as WinRM traces them (MS-WSMV 3.1.4, MS-PSRP 3.1.5.3).

use std::borrow::Cow;

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};

use super::xml;

/// Deepest nesting of elements; real documents have about ten levels.
const MAX_DEPTH: usize = 64;
/// Largest number of streams read from a document.
const MOST_STREAMS: usize = 1 << 16;
/// Longest text kept of a field in header or body, in bytes; streams may be longer.
const LONGEST_FIELD: usize = 64 << 10;

const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
const ENVELOPE: &str = "http://www.w3.org/2003/05/soap-envelope";
const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
const MICROSOFT: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd";
const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
const POWERSHELL: &str = "http://schemas.microsoft.com/powershell";

/// The place in a document where bytes stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamSlot {
    /// `creationXml` of a Create: the client's first fragments.
    Creation,
    /// `connectXml` of a Connect.
    Connect,
    /// `connectResponseXml` of the answer.
    ConnectResponse,
    /// `rsp:Arguments` of a Command.
    Arguments,
    /// `rsp:Stream` of a Send or of the answer to a Receive: `stdin`, `pr`, `stdout`, `stderr`.
    Stream(String),
}

/// Bytes in a document, still encoded as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeStream<'t> {
    /// Where the bytes stand.
    pub slot: StreamSlot,
    /// CommandId, lower case.
    pub command_id: Option<String>,
    /// Base64, or an argument's text.
    pub text: Cow<'t, str>,
    /// Whether the stream ends here.
    pub end: bool,
}

/// A parsed document. Ids are in lower case, without `uuid:`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope<'t> {
    /// Action: the request or answer, a URI.
    pub action: String,
    /// MessageID.
    pub message_id: Option<String>,
    /// RelatesTo: the MessageID of the request that this document answers.
    pub relates_to: Option<String>,
    /// OperationID, the same in request and answer.
    pub operation_id: Option<String>,
    /// SessionId of the client's transport.
    pub session_id: Option<String>,
    /// To: the address to which the client sends the request, with its PowerShell version.
    pub to: Option<String>,
    /// ResourceURI.
    pub resource_uri: Option<String>,
    /// ShellId, from the selectors or the shell itself.
    pub shell_id: Option<String>,
    /// CommandId, from the command itself.
    pub command_id: Option<String>,
    /// Options: names and values.
    pub options: Vec<(String, String)>,
    /// Name of a shell.
    pub shell_name: Option<String>,
    /// Owner of a shell.
    pub owner: Option<String>,
    /// ClientIP of a shell.
    pub client_ip: Option<String>,
    /// ProcessId of a shell: its host process.
    pub process_id: Option<u32>,
    /// The requested CompressionType, or the reported CompressionMode.
    pub compression: Option<String>,
    /// `rsp:Command`: a command line, or the start of a pipeline's history text.
    pub command: Option<String>,
    /// Code of a Signal.
    pub signal: Option<String>,
    /// State of a command, a URI.
    pub command_state: Option<String>,
    /// ExitCode of a command.
    pub exit_code: Option<String>,
    /// Reason of a Fault.
    pub fault: Option<String>,
    /// Bytes it carries.
    pub streams: Vec<EnvelopeStream<'t>>,
}

impl<'t> Envelope<'t> {
    /// Returns the last part of the action, such as `Create` or `ReceiveResponse`.
    pub fn operation(&self) -> &str {
        self.action.rsplit('/').next().unwrap_or_default()
    }

    /// Parses a document.
    pub fn parse(text: &'t str) -> Result<Envelope<'t>, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let wrong = |error: quick_xml::Error| format!("its XML is damaged: {error}");
        let mut reader = NsReader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        reader.config_mut().allow_dangling_amp = true;
        let mut envelope = Envelope::default();
        let mut open: Vec<OpenElement<'t>> = Vec::new();
        let mut is_soap = false;
        loop {
            let (namespace, event) = reader.read_resolved_event().map_err(wrong)?;
            match event {
                Event::Start(start) => {
                    if open.len() == MAX_DEPTH {
                        return Err(format!("its elements are more than {MAX_DEPTH} deep"));
                    }
                    let element = OpenElement::new(&namespace, &start);
                    is_soap |= open.is_empty() && element.is("s", "Envelope");
                    if open.is_empty() && !is_soap {
                        return Err("it is not a SOAP envelope".to_owned());
                    }
                    envelope.start(&element);
                    open.push(element);
                }
                Event::End(_) => {
                    let Some(element) = open.pop() else { continue };
                    let parent = open.last().map_or("", |parent| parent.name);
                    envelope.end(element, parent);
                }
                Event::Eof if open.is_empty() && is_soap => return Ok(envelope),
                Event::Eof => return Err("its XML breaks off".to_owned()),
                event => {
                    if let (Some(element), Some(text)) = (open.last_mut(), xml::text(&event)) {
                        element.text += text;
                    }
                }
            }
        }
    }

    /// Returns the same document without borrowed data.
    pub(super) fn into_owned(self) -> Envelope<'static> {
        let owned = |stream: EnvelopeStream<'_>| EnvelopeStream {
            text: stream.text.into_owned().into(),
            ..stream
        };
        let streams = self.streams.into_iter().map(owned).collect();
        Envelope { streams, ..self }
    }

    fn start(&mut self, element: &OpenElement<'_>) {
        if element.is("rsp", "Shell") {
            self.shell_id = self.shell_id.take().or_else(|| element.id("ShellId"));
            self.shell_name = element.attribute("Name");
        } else if element.space == "rsp"
            && matches!(element.name, "CommandLine" | "Signal" | "CommandState" | "DesiredStream")
        {
            self.command_id = self.command_id.take().or_else(|| element.id("CommandId"));
            if let Some(state) = element.attribute("State") {
                self.command_state = Some(state);
            }
        }
    }

    fn end(&mut self, element: OpenElement<'t>, parent: &str) {
        let slot = match (element.space, element.name) {
            ("ps", "creationXml") => Some(StreamSlot::Creation),
            ("ps", "connectXml") => Some(StreamSlot::Connect),
            ("ps", "connectResponseXml") => Some(StreamSlot::ConnectResponse),
            ("rsp", "Arguments") => Some(StreamSlot::Arguments),
            ("rsp", "Stream") => {
                Some(StreamSlot::Stream(element.attribute("Name").unwrap_or_default()))
            }
            _ => None,
        };
        if let Some(slot) = slot {
            if self.streams.len() < MOST_STREAMS {
                let command_id = element.id("CommandId");
                let end =
                    element.attribute("End").is_some_and(|end| end.eq_ignore_ascii_case("true"));
                self.streams.push(EnvelopeStream { slot, command_id, text: element.text, end });
            }
            return;
        }
        if element.text.len() > LONGEST_FIELD {
            return;
        }
        let text = element.text.trim();
        let known = || Some(text.to_owned()).filter(|text| !text.is_empty());
        let field = match (element.space, element.name) {
            ("a", "Action") if parent == "Header" => return self.action = text.to_owned(),
            ("a", "MessageID") => return self.message_id = id(text),
            ("a", "RelatesTo") => return self.relates_to = id(text),
            ("p", "OperationID") => return self.operation_id = id(text),
            ("p", "SessionId") => return self.session_id = id(text),
            ("a", "To") => &mut self.to,
            ("w", "ResourceURI") | ("rsp", "ResourceUri") => &mut self.resource_uri,
            ("w", "Selector") if element.attribute("Name").as_deref() == Some("ShellId") => {
                return self.shell_id = id(text);
            }
            ("rsp", "ShellId") => return self.shell_id = id(text),
            ("rsp", "CommandId") => return self.command_id = id(text),
            ("w", "Option") => {
                let name = element.attribute("Name").unwrap_or_default();
                return self.options.push((name, text.to_owned()));
            }
            ("rsp", "Owner") => &mut self.owner,
            ("rsp", "ClientIP") => &mut self.client_ip,
            ("rsp", "ProcessId") => return self.process_id = text.parse().ok(),
            ("rsp", "CompressionType" | "CompressionMode") => &mut self.compression,
            ("rsp", "Command") => return self.command = Some(element.text.into_owned()),
            ("rsp", "Code") => &mut self.signal,
            ("rsp", "ExitCode") => &mut self.exit_code,
            ("s", "Text") => &mut self.fault,
            _ => return,
        };
        if field.is_none() {
            *field = known();
        }
    }
}

/// Returns an id in the spelling used for comparison.
fn id(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches("urn:").trim_start_matches("uuid:");
    let text = text.trim_matches(['{', '}']).to_lowercase();
    (!text.is_empty()).then_some(text)
}

/// Returns the names of elements and attributes that have a meaning here, and an empty text for
/// all others.
fn known_name(name: &str) -> &'static str {
    macro_rules! known {
        ($($name:literal)*) => { match name { $($name => $name,)* _ => "" } };
    }
    known! {
        "Action" "Arguments" "ClientIP" "Code" "Command" "CommandId" "CommandLine" "CommandState"
        "CompressionMode" "CompressionType" "DesiredStream" "End" "Envelope" "ExitCode" "Header"
        "MessageID" "Name" "OperationID" "Option" "Owner" "ProcessId" "RelatesTo" "ResourceURI"
        "ResourceUri" "Selector" "SessionId" "Shell" "ShellId" "Signal" "State" "Stream" "Text" "To"
        "UserAgent" "connectResponseXml" "connectXml" "creationXml"
    }
}

/// An element that is open.
struct OpenElement<'t> {
    /// The usual prefix of its namespace; empty if the namespace has no meaning here.
    space: &'static str,
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    text: Cow<'t, str>,
}

impl<'t> OpenElement<'t> {
    fn new(namespace: &ResolveResult<'_>, start: &BytesStart<'_>) -> OpenElement<'t> {
        let space = match namespace {
            ResolveResult::Bound(Namespace(ENVELOPE)) => "s",
            ResolveResult::Bound(Namespace(ADDRESSING)) => "a",
            ResolveResult::Bound(Namespace(WSMAN)) => "w",
            ResolveResult::Bound(Namespace(MICROSOFT)) => "p",
            ResolveResult::Bound(Namespace(SHELL)) => "rsp",
            ResolveResult::Bound(Namespace(POWERSHELL)) => "ps",
            _ => "",
        };
        let attributes = match space {
            "w" | "rsp" => xml::attributes(start)
                .map(|(name, value)| (known_name(name), value))
                .filter(|(name, _)| {
                    matches!(*name, "Name" | "ShellId" | "CommandId" | "State" | "End")
                })
                .map(|(name, value)| (name, xml::unescaped(value)))
                .collect(),
            _ => Vec::new(),
        };
        let name = if space.is_empty() { "" } else { known_name(start.local_name().into_inner()) };
        OpenElement { space, name, attributes, text: Cow::Borrowed("") }
    }

    fn is(&self, space: &str, name: &str) -> bool {
        self.space == space && self.name == name
    }

    fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|found| found.0 == name).map(|found| found.1.clone())
    }

    fn id(&self, name: &str) -> Option<String> {
        id(&self.attribute(name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoded::decode_base64;

    /// Makes a document with unusual prefixes.
    fn document(header: &str, body: &str) -> String {
        format!(
            "<?xml version='1.0'?><E:Envelope xmlns:E='{ENVELOPE}' xmlns:x='{ADDRESSING}' \
             xmlns:y='{WSMAN}' xmlns='{SHELL}' xmlns:m='{MICROSOFT}'><E:Header>{header}</E:Header>\
             <E:Body>{body}</E:Body></E:Envelope>"
        )
    }

    #[test]
    fn a_create_by_namespace_not_by_prefix() {
        let text = document(
            "<x:To>http://srv:5985/wsman?PSVersion=5.1</x:To>\
             <y:ResourceURI>http://schemas.microsoft.com/powershell/Microsoft.PowerShell</y:ResourceURI>\
             <x:ReplyTo><x:Address>nobody</x:Address></x:ReplyTo>\
             <x:Action>http://schemas.xmlsoap.org/ws/2004/09/transfer/Create</x:Action>\
             <x:MessageID>uuid:AB</x:MessageID><m:OperationID>uuid:CD</m:OperationID>\
             <y:OptionSet><y:Option Name='protocolversion'>2.3</y:Option></y:OptionSet>\
             <CompressionType>xpress</CompressionType>",
            "<Shell ShellId='EF' Name='Session1'><creationXml \
             xmlns='http://schemas.microsoft.com/powershell'>AA\r\nEC</creationXml></Shell>",
        );
        let envelope = Envelope::parse(&text).unwrap();
        assert_eq!(envelope.operation(), "Create");
        assert_eq!(envelope.message_id.as_deref(), Some("ab"));
        assert_eq!(envelope.operation_id.as_deref(), Some("cd"));
        assert_eq!(envelope.shell_id.as_deref(), Some("ef"));
        assert_eq!(envelope.compression.as_deref(), Some("xpress"));
        assert_eq!(envelope.options, [("protocolversion".to_owned(), "2.3".to_owned())]);
        assert_eq!(envelope.streams[0].slot, StreamSlot::Creation);
        assert_eq!(decode_base64(&envelope.streams[0].text), Some(vec![0, 1, 2]));
        // The same names without a namespace, or in another one, have no meaning.
        let text = text.replace(ADDRESSING, "http://example.com/");
        assert_eq!(Envelope::parse(&text).unwrap().action, "");
    }

    #[test]
    fn streams_states_and_signals() {
        let text = document(
            "<x:Action>http://schemas.microsoft.com/wbem/wsman/1/windows/shell/ReceiveResponse</x:Action>\
             <x:RelatesTo>uuid:AB</x:RelatesTo>",
            "<ReceiveResponse><Stream Name='stdout' CommandId='C1'>aGk=</Stream>\
             <Stream Name='stderr' CommandId='C1' End='true'/>\
             <CommandState CommandId='C1' State='http://x/CommandState/Done'><ExitCode>3</ExitCode>\
             </CommandState></ReceiveResponse>",
        );
        let envelope = Envelope::parse(&text).unwrap();
        let streams: Vec<_> = envelope
            .streams
            .iter()
            .map(|s| (s.slot.clone(), s.command_id.as_deref(), s.end))
            .collect();
        assert_eq!(
            streams,
            [
                (StreamSlot::Stream("stdout".to_owned()), Some("c1"), false),
                (StreamSlot::Stream("stderr".to_owned()), Some("c1"), true)
            ]
        );
        assert_eq!(envelope.relates_to.as_deref(), Some("ab"));
        assert_eq!(envelope.exit_code.as_deref(), Some("3"));
        assert!(envelope.command_state.unwrap().ends_with("/Done"));
        let text =
            document("", "<Signal CommandId='C2'><Code>powershell/signal/crtl_c</Code></Signal>");
        let envelope = Envelope::parse(&text).unwrap();
        assert_eq!(envelope.command_id.as_deref(), Some("c2"));
        assert_eq!(envelope.signal.as_deref(), Some("powershell/signal/crtl_c"));
    }

    #[test]
    fn damage_has_a_reason() {
        let whole = document("", "<Shell/>");
        let deep = document("", &"<Shell>".repeat(1000));
        for text in ["", "no XML", "<a/>", &whole[..whole.len() - 3], &deep] {
            assert!(Envelope::parse(text).is_err(), "{text:.60}");
        }
    }
}
