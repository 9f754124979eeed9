//! Reads the objects of messages: commands, errors, records of the streams, calls of the client's
//! host (MS-PSRP 2.2.2, 2.2.3).

use std::collections::{BTreeMap, VecDeque};

use super::clixml::ClixmlNode;
use super::node_text::{lines, node_line, node_literal, text_start};

/// Largest number of commands of a pipeline, plus parameters of all of them, that are read.
const MOST_PARTS: usize = 4096;
/// Largest amount of text in all commands of a pipeline, in bytes. References can repeat a text
/// at no cost to the sender.
const MOST_TEXT: usize = 64 << 20;

/// Returns the text of a property, cut if it is very long, or `None` if it is missing or null.
fn property_text(node: ClixmlNode<'_>, name: &str) -> Option<String> {
    node.get(name)?.as_str().map(text_start)
}

/// A command in a pipeline (MS-PSRP 2.2.3.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineCommand {
    /// The text of a script, or the name of a command.
    pub text: String,
    /// Whether it is a script.
    pub is_script: bool,
    /// Whether the next command starts a new statement.
    pub end_of_statement: bool,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
}

/// A parameter of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; `None` for a positional parameter.
    pub name: Option<String>,
    /// Its value on one line.
    pub value: String,
    /// Its value as it could be typed.
    pub literal: String,
}

/// The contents of a CREATE_PIPELINE message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PipelineCreation {
    /// All commands of all statements.
    pub commands: Vec<PipelineCommand>,
    /// Whether it has more commands or text than this program reads.
    pub is_cut: bool,
    /// The text for the client's history.
    pub history: Option<String>,
    /// Whether no input follows.
    pub no_input: Option<bool>,
    /// Whether the commands are kept in the server's history.
    pub add_to_history: Option<bool>,
    /// Whether it runs inside another pipeline.
    pub is_nested: Option<bool>,
}

impl PipelineCreation {
    /// Reads the object of a CREATE_PIPELINE.
    pub fn read(root: ClixmlNode<'_>) -> PipelineCreation {
        let powershell = root.get("PowerShell");
        let of = |name: &str| powershell.and_then(|powershell| powershell.get(name));
        let extra = of("ExtraCmds").filter(|extra| extra.items().len() > 0);
        // ExtraCmds has every statement, Cmds only the first.
        let statements: Vec<ClixmlNode<'_>> = match extra {
            Some(extra) => {
                extra.items().take(MOST_PARTS).filter_map(|one| one.get("Cmds")).collect()
            }
            None => of("Cmds").into_iter().collect(),
        };
        let is_cut = extra.is_some_and(|extra| extra.items().len() > MOST_PARTS);
        let mut reader = CommandReader { room: MOST_TEXT, parts: MOST_PARTS, is_cut };
        let commands = statements.into_iter().flat_map(|one| reader.statement(one)).collect();
        PipelineCreation {
            commands,
            is_cut: reader.is_cut,
            history: of("History").and_then(ClixmlNode::as_str).map(str::to_owned),
            no_input: root.get("NoInput").and_then(ClixmlNode::as_bool),
            add_to_history: root.get("AddToHistory").and_then(ClixmlNode::as_bool),
            is_nested: root.get("IsNested").and_then(ClixmlNode::as_bool),
        }
    }
}

/// Reads commands, up to limits that no real client reaches.
struct CommandReader {
    room: usize,
    parts: usize,
    is_cut: bool,
}

impl CommandReader {
    fn statement(&mut self, commands: ClixmlNode<'_>) -> Vec<PipelineCommand> {
        let mut read = Vec::new();
        for command in commands.items() {
            if self.is_full() {
                break;
            }
            read.push(self.command(command));
        }
        if let Some(last) = read.last_mut() {
            last.end_of_statement = true;
        }
        read
    }

    fn is_full(&mut self) -> bool {
        let is_full = self.parts == 0 || self.room == 0;
        self.is_cut |= is_full;
        is_full
    }

    fn command(&mut self, command: ClixmlNode<'_>) -> PipelineCommand {
        self.parts -= 1;
        let text = command.get("Cmd").and_then(ClixmlNode::as_str).unwrap_or_default();
        self.room = self.room.saturating_sub(text.len());
        let mut parameters = Vec::new();
        for argument in command.get("Args").into_iter().flat_map(ClixmlNode::items) {
            if self.is_full() {
                break;
            }
            self.parts -= 1;
            let value = argument.get("V");
            let parameter = Parameter {
                name: property_text(argument, "N"),
                value: value.map(node_line).unwrap_or_default(),
                literal: value.map_or_else(|| "$null".to_owned(), node_literal),
            };
            let name = parameter.name.as_ref().map_or(0, String::len);
            let length = name + parameter.value.len() + parameter.literal.len();
            self.room = self.room.saturating_sub(length);
            parameters.push(parameter);
        }
        PipelineCommand {
            text: text.to_owned(),
            is_script: command.get("IsScript").and_then(ClixmlNode::as_bool) == Some(true),
            end_of_statement: false,
            parameters,
        }
    }
}

/// An error (MS-PSRP 2.2.3.15).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorRecord {
    /// The exception's message, or the record's own text if there is none.
    pub message: String,
    /// The exception's type.
    pub exception_type: Option<String>,
    /// FullyQualifiedErrorId.
    pub fully_qualified_error_id: Option<String>,
    /// ErrorCategory_Category.
    pub category: Option<i64>,
    /// The category's name.
    pub category_name: Option<&'static str>,
    /// ErrorCategory_Message.
    pub category_message: Option<String>,
    /// ErrorCategory_Activity: what failed, usually a command.
    pub activity: Option<String>,
    /// ErrorCategory_Reason.
    pub reason: Option<String>,
    /// ErrorCategory_TargetName.
    pub target_name: Option<String>,
    /// TargetObject on one line; empty for null.
    pub target_object: Option<String>,
    /// ErrorDetails_Message, which the console shows instead of the exception's message.
    pub details_message: Option<String>,
    /// ErrorDetails_ScriptStackTrace.
    pub script_stack_trace: Option<String>,
    /// InvocationInfo_PositionMessage: the position, and the line itself.
    pub position_message: Option<String>,
}

impl ErrorRecord {
    /// Reads the object of an ErrorRecord.
    pub fn read(root: ClixmlNode<'_>) -> ErrorRecord {
        const CATEGORIES: [&str; 32] = [
            "NotSpecified",
            "OpenError",
            "CloseError",
            "DeviceError",
            "DeadlockDetected",
            "InvalidArgument",
            "InvalidData",
            "InvalidOperation",
            "InvalidResult",
            "InvalidType",
            "MetadataError",
            "NotImplemented",
            "NotInstalled",
            "ObjectNotFound",
            "OperationStopped",
            "OperationTimeout",
            "SyntaxError",
            "ParserError",
            "PermissionDenied",
            "ResourceBusy",
            "ResourceExists",
            "ResourceUnavailable",
            "ReadError",
            "WriteError",
            "FromStdErr",
            "SecurityError",
            "ProtocolError",
            "ConnectionError",
            "AuthenticationError",
            "LimitsExceeded",
            "QuotaExceeded",
            "NotEnabled",
        ];
        let exception = root.get("Exception");
        let message = exception.and_then(|exception| property_text(exception, "Message"));
        let shown = || root.to_string_text().map(text_start);
        let category = root.get("ErrorCategory_Category").and_then(ClixmlNode::as_i64);
        let place = category.and_then(|category| usize::try_from(category).ok());
        ErrorRecord {
            message: message.or_else(shown).unwrap_or_else(|| node_line(root)),
            exception_type: exception
                .and_then(|exception| exception.types().first().map(|name| text_start(name))),
            fully_qualified_error_id: property_text(root, "FullyQualifiedErrorId"),
            category,
            category_name: place.and_then(|place| CATEGORIES.get(place).copied()),
            category_message: property_text(root, "ErrorCategory_Message"),
            activity: property_text(root, "ErrorCategory_Activity"),
            reason: property_text(root, "ErrorCategory_Reason"),
            target_name: property_text(root, "ErrorCategory_TargetName"),
            target_object: root.get("TargetObject").map(node_line),
            details_message: property_text(root, "ErrorDetails_Message"),
            script_stack_trace: property_text(root, "ErrorDetails_ScriptStackTrace"),
            position_message: property_text(root, "InvocationInfo_PositionMessage"),
        }
    }

    /// Returns the message that the console shows.
    pub fn shown_message(&self) -> &str {
        self.details_message.as_deref().unwrap_or(&self.message)
    }
}

/// Returns the message of a debug, verbose or warning record (MS-PSRP 2.2.3.15.1).
pub fn informational_message(root: ClixmlNode<'_>) -> String {
    property_text(root, "InformationalRecord_Message").unwrap_or_else(|| node_line(root))
}

/// An information record (MS-PSRP 2.2.2.26).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InformationRecord {
    /// MessageData on one line.
    pub data: String,
    /// Source: the script or command.
    pub source: Option<String>,
    /// Tags; `PSHOST` means that the record was written to the host.
    pub tags: Vec<String>,
    /// User.
    pub user: Option<String>,
    /// Computer.
    pub computer: Option<String>,
}

impl InformationRecord {
    /// Reads the object of an INFORMATION_RECORD.
    pub fn read(root: ClixmlNode<'_>) -> InformationRecord {
        let tags = root.get("Tags");
        InformationRecord {
            data: root.get("MessageData").map(node_line).unwrap_or_default(),
            source: property_text(root, "Source"),
            tags: lines(tags.into_iter().flat_map(ClixmlNode::items)),
            user: property_text(root, "User"),
            computer: property_text(root, "Computer"),
        }
    }
}

/// A progress record (MS-PSRP 2.2.2.25).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgressRecord {
    /// Activity.
    pub activity: String,
    /// ActivityId.
    pub activity_id: i64,
    /// StatusDescription.
    pub status: String,
    /// CurrentOperation.
    pub operation: Option<String>,
    /// PercentComplete; negative means unknown.
    pub percent: Option<i64>,
    /// `Processing` or `Completed`.
    pub kind: Option<String>,
}

impl ProgressRecord {
    /// Reads the object of a PROGRESS_RECORD.
    pub fn read(root: ClixmlNode<'_>) -> ProgressRecord {
        ProgressRecord {
            activity: property_text(root, "Activity").unwrap_or_default(),
            activity_id: root.get("ActivityId").and_then(ClixmlNode::as_i64).unwrap_or_default(),
            status: property_text(root, "StatusDescription").unwrap_or_default(),
            operation: property_text(root, "CurrentOperation"),
            percent: root.get("PercentComplete").and_then(ClixmlNode::as_i64),
            kind: root.get("Type").map(|kind| match kind.to_string_text() {
                None if kind.as_i64() == Some(0) => "Processing".to_owned(),
                None if kind.as_i64() == Some(1) => "Completed".to_owned(),
                _ => node_line(kind),
            }),
        }
    }
}

/// A call of the client's host, and its answer (MS-PSRP 2.2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCall {
    /// `ci`, which pairs call and answer; -100 means that no answer is expected.
    pub call_id: i64,
    /// `mi`, the method's number.
    pub method_id: i64,
    /// The method's name.
    pub method: String,
    /// Its parameters, each on one line.
    pub parameters: Vec<String>,
    /// The answer on one line.
    pub response: Option<String>,
    /// The error in the answer.
    pub error: Option<ErrorRecord>,
    /// Whether there is an answer.
    pub answered: bool,
}

impl HostCall {
    /// Reads the object of a host call.
    pub fn read(root: ClixmlNode<'_>) -> HostCall {
        let method = root.get("mi");
        let method_id = method.and_then(ClixmlNode::as_i64).unwrap_or_default();
        let name = host_method(method_id).map(str::to_owned);
        let parameters = root.get("mp");
        HostCall {
            call_id: root.get("ci").and_then(ClixmlNode::as_i64).unwrap_or_default(),
            method_id,
            method: name.or_else(|| method.map(node_line)).unwrap_or_default(),
            parameters: lines(parameters.into_iter().flat_map(ClixmlNode::items)),
            response: None,
            error: None,
            answered: false,
        }
    }

    fn answer(&mut self, root: ClixmlNode<'_>) {
        self.answered = true;
        self.response = root.get("mr").map(node_line);
        self.error = root.get("me").filter(|error| !error.is_null()).map(ErrorRecord::read);
    }
}

/// The calls of a host, each with the message that made it, and the answers.
#[derive(Debug, Clone, Default)]
pub struct HostCalls {
    calls: Vec<(HostCall, usize)>,
    /// Calls without an answer yet, by `ci`.
    waiting: BTreeMap<i64, VecDeque<usize>>,
}

impl HostCalls {
    /// Returns the calls in order, each with the index of its message.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(HostCall, usize)> {
        self.calls.iter()
    }

    /// Adds the object of a call.
    pub(super) fn call(&mut self, root: ClixmlNode<'_>, message: usize) {
        let call = HostCall::read(root);
        self.waiting.entry(call.call_id).or_default().push_back(self.calls.len());
        self.calls.push((call, message));
    }

    /// Adds the object of an answer to the first call that waits for it.
    pub(super) fn answer(&mut self, root: ClixmlNode<'_>) {
        let id = root.get("ci").and_then(ClixmlNode::as_i64).unwrap_or_default();
        if let Some(at) = self.waiting.get_mut(&id).and_then(VecDeque::pop_front) {
            self.calls[at].0.answer(root);
        }
    }
}

/// The names of the host's methods, by number from 1 (MS-PSRP 2.2.3.17).
fn host_method(id: i64) -> Option<&'static str> {
    const NAMES: [&str; 56] = [
        "GetName",
        "GetVersion",
        "GetInstanceId",
        "GetCurrentCulture",
        "GetCurrentUICulture",
        "SetShouldExit",
        "EnterNestedPrompt",
        "ExitNestedPrompt",
        "NotifyBeginApplication",
        "NotifyEndApplication",
        "ReadLine",
        "ReadLineAsSecureString",
        "Write1",
        "Write2",
        "WriteLine1",
        "WriteLine2",
        "WriteLine3",
        "WriteErrorLine",
        "WriteDebugLine",
        "WriteProgress",
        "WriteVerboseLine",
        "WriteWarningLine",
        "Prompt",
        "PromptForCredential1",
        "PromptForCredential2",
        "PromptForChoice",
        "GetForegroundColor",
        "SetForegroundColor",
        "GetBackgroundColor",
        "SetBackgroundColor",
        "GetCursorPosition",
        "SetCursorPosition",
        "GetWindowPosition",
        "SetWindowPosition",
        "GetCursorSize",
        "SetCursorSize",
        "GetBufferSize",
        "SetBufferSize",
        "GetWindowSize",
        "SetWindowSize",
        "GetWindowTitle",
        "SetWindowTitle",
        "GetMaxWindowSize",
        "GetMaxPhysicalWindowSize",
        "GetKeyAvailable",
        "ReadKey",
        "FlushInputBuffer",
        "SetBufferContents1",
        "SetBufferContents2",
        "GetBufferContents",
        "ScrollBufferContents",
        "PushRunspace",
        "PopRunspace",
        "GetIsRunspacePushed",
        "GetRunspace",
        "PromptForChoiceMultipleSelection",
    ];
    NAMES.get(usize::try_from(id.checked_sub(1)?).ok()?).copied()
}

#[cfg(test)]
mod tests;
