//! What messages say, read from their objects: commands, errors, records of the streams, calls of
//! the client's host (MS-PSRP 2.2.2, 2.2.3).

use std::collections::{BTreeMap, VecDeque};

use super::clixml::Node;
use super::node_text::{line, lines, literal, start};

/// Most commands of a pipeline, and parameters of all of them, that are read.
const MOST_PARTS: usize = 4096;
/// Most text of all commands of a pipeline, in bytes: references can repeat a text at no cost.
const MOST_TEXT: usize = 64 << 20;

/// The text of a property, its start if it is very long; none where it is missing or null.
fn text_of(node: Node<'_>, name: &str) -> Option<String> {
    node.get(name)?.as_str().map(start)
}

/// A command in a pipeline (MS-PSRP 2.2.3.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// A script's text, or a command's name.
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
    /// Its name; none for one that goes by its place.
    pub name: Option<String>,
    /// Its value on one line.
    pub value: String,
    /// Its value as one could type it.
    pub literal: String,
}

/// What a CREATE_PIPELINE asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Creation {
    /// All commands of all statements.
    pub commands: Vec<Command>,
    /// Whether it has more commands or text than this program reads.
    pub is_cut: bool,
    /// What goes into the client's history.
    pub history: Option<String>,
    /// Whether no input follows.
    pub no_input: Option<bool>,
    /// Whether the commands are kept in the server's history.
    pub add_to_history: Option<bool>,
    /// Whether it runs inside another pipeline.
    pub is_nested: Option<bool>,
}

impl Creation {
    /// Reads a CREATE_PIPELINE's object.
    pub fn read(root: Node<'_>) -> Creation {
        let powershell = root.get("PowerShell");
        let of = |name: &str| powershell.and_then(|powershell| powershell.get(name));
        let extra = of("ExtraCmds").filter(|extra| extra.items().len() > 0);
        // ExtraCmds has every statement, Cmds the first one only.
        let statements: Vec<Node<'_>> = match extra {
            Some(extra) => {
                extra.items().take(MOST_PARTS).filter_map(|one| one.get("Cmds")).collect()
            }
            None => of("Cmds").into_iter().collect(),
        };
        let is_cut = extra.is_some_and(|extra| extra.items().len() > MOST_PARTS);
        let mut reader = CommandReader { room: MOST_TEXT, parts: MOST_PARTS, is_cut };
        let commands = statements.into_iter().flat_map(|one| reader.statement(one)).collect();
        Creation {
            commands,
            is_cut: reader.is_cut,
            history: of("History").and_then(Node::as_str).map(str::to_owned),
            no_input: root.get("NoInput").and_then(Node::as_bool),
            add_to_history: root.get("AddToHistory").and_then(Node::as_bool),
            is_nested: root.get("IsNested").and_then(Node::as_bool),
        }
    }
}

/// Reads commands, and stops at what no client sends.
struct CommandReader {
    room: usize,
    parts: usize,
    is_cut: bool,
}

impl CommandReader {
    fn statement(&mut self, commands: Node<'_>) -> Vec<Command> {
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

    fn command(&mut self, command: Node<'_>) -> Command {
        self.parts -= 1;
        let text = command.get("Cmd").and_then(Node::as_str).unwrap_or_default();
        self.room = self.room.saturating_sub(text.len());
        let mut parameters = Vec::new();
        for argument in command.get("Args").into_iter().flat_map(Node::items) {
            if self.is_full() {
                break;
            }
            self.parts -= 1;
            let value = argument.get("V");
            let parameter = Parameter {
                name: text_of(argument, "N"),
                value: value.map(line).unwrap_or_default(),
                literal: value.map_or_else(|| "$null".to_owned(), literal),
            };
            let name = parameter.name.as_ref().map_or(0, String::len);
            let length = name + parameter.value.len() + parameter.literal.len();
            self.room = self.room.saturating_sub(length);
            parameters.push(parameter);
        }
        Command {
            text: text.to_owned(),
            is_script: command.get("IsScript").and_then(Node::as_bool) == Some(true),
            end_of_statement: false,
            parameters,
        }
    }
}

/// An error (MS-PSRP 2.2.3.15).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorRecord {
    /// The exception's message; the record's own text where there is none.
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
    /// ErrorCategory_Activity: what failed, as a rule a command.
    pub activity: Option<String>,
    /// ErrorCategory_Reason.
    pub reason: Option<String>,
    /// ErrorCategory_TargetName.
    pub target_name: Option<String>,
    /// TargetObject on one line; empty for null.
    pub target_object: Option<String>,
    /// ErrorDetails_Message, which the console shows in place of the exception's.
    pub details_message: Option<String>,
    /// ErrorDetails_ScriptStackTrace.
    pub script_stack_trace: Option<String>,
    /// InvocationInfo_PositionMessage: where, and the line itself.
    pub position_message: Option<String>,
}

impl ErrorRecord {
    /// Reads an ErrorRecord's object.
    pub fn read(root: Node<'_>) -> ErrorRecord {
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
        let message = exception.and_then(|exception| text_of(exception, "Message"));
        let shown = || root.to_string_text().map(start);
        let category = root.get("ErrorCategory_Category").and_then(Node::as_i64);
        let place = category.and_then(|category| usize::try_from(category).ok());
        ErrorRecord {
            message: message.or_else(shown).unwrap_or_else(|| line(root)),
            exception_type: exception
                .and_then(|exception| exception.types().first().map(|name| start(name))),
            fully_qualified_error_id: text_of(root, "FullyQualifiedErrorId"),
            category,
            category_name: place.and_then(|place| CATEGORIES.get(place).copied()),
            category_message: text_of(root, "ErrorCategory_Message"),
            activity: text_of(root, "ErrorCategory_Activity"),
            reason: text_of(root, "ErrorCategory_Reason"),
            target_name: text_of(root, "ErrorCategory_TargetName"),
            target_object: root.get("TargetObject").map(line),
            details_message: text_of(root, "ErrorDetails_Message"),
            script_stack_trace: text_of(root, "ErrorDetails_ScriptStackTrace"),
            position_message: text_of(root, "InvocationInfo_PositionMessage"),
        }
    }

    /// The message that the console shows.
    pub fn shown_message(&self) -> &str {
        self.details_message.as_deref().unwrap_or(&self.message)
    }
}

/// The message of a debug, verbose or warning record (MS-PSRP 2.2.3.15.1).
pub fn informational_message(root: Node<'_>) -> String {
    text_of(root, "InformationalRecord_Message").unwrap_or_else(|| line(root))
}

/// An information record (MS-PSRP 2.2.2.26).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Information {
    /// MessageData on one line.
    pub data: String,
    /// Source: the script or command.
    pub source: Option<String>,
    /// Tags; `PSHOST` means that it was written to the host.
    pub tags: Vec<String>,
    /// User.
    pub user: Option<String>,
    /// Computer.
    pub computer: Option<String>,
}

impl Information {
    /// Reads an INFORMATION_RECORD's object.
    pub fn read(root: Node<'_>) -> Information {
        let tags = root.get("Tags");
        Information {
            data: root.get("MessageData").map(line).unwrap_or_default(),
            source: text_of(root, "Source"),
            tags: lines(tags.into_iter().flat_map(Node::items)),
            user: text_of(root, "User"),
            computer: text_of(root, "Computer"),
        }
    }
}

/// Progress (MS-PSRP 2.2.2.25).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
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

impl Progress {
    /// Reads a PROGRESS_RECORD's object.
    pub fn read(root: Node<'_>) -> Progress {
        Progress {
            activity: text_of(root, "Activity").unwrap_or_default(),
            activity_id: root.get("ActivityId").and_then(Node::as_i64).unwrap_or_default(),
            status: text_of(root, "StatusDescription").unwrap_or_default(),
            operation: text_of(root, "CurrentOperation"),
            percent: root.get("PercentComplete").and_then(Node::as_i64),
            kind: root.get("Type").map(|kind| match kind.to_string_text() {
                None if kind.as_i64() == Some(0) => "Processing".to_owned(),
                None if kind.as_i64() == Some(1) => "Completed".to_owned(),
                _ => line(kind),
            }),
        }
    }
}

/// A call of the client's host, and its answer (MS-PSRP 2.2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCall {
    /// `ci`, which pairs call and answer; -100 wants no answer.
    pub call_id: i64,
    /// `mi`, the method's number.
    pub method_id: i64,
    /// The method's name.
    pub method: String,
    /// Its parameters, each on one line.
    pub parameters: Vec<String>,
    /// What was answered, on one line.
    pub response: Option<String>,
    /// The error that was answered.
    pub error: Option<ErrorRecord>,
    /// Whether there is an answer.
    pub answered: bool,
}

impl HostCall {
    /// Reads a host call's object.
    pub fn read(root: Node<'_>) -> HostCall {
        let method = root.get("mi");
        let method_id = method.and_then(Node::as_i64).unwrap_or_default();
        let name = host_method(method_id).map(str::to_owned);
        let parameters = root.get("mp");
        HostCall {
            call_id: root.get("ci").and_then(Node::as_i64).unwrap_or_default(),
            method_id,
            method: name.or_else(|| method.map(line)).unwrap_or_default(),
            parameters: lines(parameters.into_iter().flat_map(Node::items)),
            response: None,
            error: None,
            answered: false,
        }
    }

    fn answer(&mut self, root: Node<'_>) {
        self.answered = true;
        self.response = root.get("mr").map(line);
        self.error = root.get("me").filter(|error| !error.is_null()).map(ErrorRecord::read);
    }
}

/// Calls of a host, each with the message that made it, and the answers that came.
#[derive(Debug, Clone, Default)]
pub struct HostCalls {
    calls: Vec<(HostCall, usize)>,
    /// By `ci`, the calls that have no answer yet.
    waiting: BTreeMap<i64, VecDeque<usize>>,
}

impl HostCalls {
    /// The calls in their order, with the indices of their messages.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(HostCall, usize)> {
        self.calls.iter()
    }

    /// Takes a call's object.
    pub(super) fn call(&mut self, root: Node<'_>, message: usize) {
        let call = HostCall::read(root);
        self.waiting.entry(call.call_id).or_default().push_back(self.calls.len());
        self.calls.push((call, message));
    }

    /// Gives an answer's object to the first call that waits for it.
    pub(super) fn answer(&mut self, root: Node<'_>) {
        let id = root.get("ci").and_then(Node::as_i64).unwrap_or_default();
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
