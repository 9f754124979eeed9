//! A pipeline: its commands, input, output and states.

use super::clixml::{ClixmlDocument, ClixmlError, ClixmlNode};
use super::message::{MessageType, WireGuid, pipeline_state};
use super::records::{
    ErrorRecord, HostCalls, InformationRecord, PipelineCreation, ProgressRecord,
    informational_message,
};
use super::{node_text, record_text};

/// An object of a pipeline's input or output.
#[derive(Debug, Clone)]
pub struct PipelineObject {
    /// The object.
    pub document: ClixmlDocument,
    /// Index, in the conversation, of the message that carried it.
    pub message: usize,
}

impl PipelineObject {
    /// Returns the object on one line.
    pub fn line(&self) -> String {
        node_text::node_line(self.document.root())
    }
}

/// A pipeline. The number beside a value is the index of the message that carried it.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its id; in SOAP documents the CommandId.
    pub id: WireGuid,
    /// Its runspace pool.
    pub pool: WireGuid,
    /// The commands it was created for; `None` if that message is lost.
    pub creation: Option<(PipelineCreation, usize)>,
    /// Names of the commands that a GET_COMMAND_METADATA asked for.
    pub metadata_request: Option<(Vec<String>, usize)>,
    /// Its input.
    pub input: Vec<PipelineObject>,
    /// Whether the end of its input was sent.
    pub input_closed: bool,
    /// Its output.
    pub output: Vec<PipelineObject>,
    /// Errors that did not end it.
    pub errors: Vec<(ErrorRecord, usize)>,
    /// Warnings.
    pub warnings: Vec<(String, usize)>,
    /// Verbose messages.
    pub verbose: Vec<(String, usize)>,
    /// Debug messages.
    pub debug: Vec<(String, usize)>,
    /// Information records.
    pub information: Vec<(InformationRecord, usize)>,
    /// All progress records; [`progress_lines`](crate::progress_lines) folds them.
    pub progress: Vec<(ProgressRecord, usize)>,
    /// Calls of the client's host.
    pub host_calls: HostCalls,
    /// Its states.
    pub states: Vec<(String, usize)>,
    /// The error that ended it.
    pub failure: Option<(ErrorRecord, usize)>,
    /// All its messages, in the order in which their senders numbered them.
    pub messages: Vec<usize>,
    /// Indices of its incomplete messages in the conversation's gaps.
    pub gaps: Vec<usize>,
    /// Indices of its messages with uncertain sender in the conversation's faults.
    pub faults: Vec<usize>,
    /// Its messages whose data is damaged.
    pub damaged: Vec<(ClixmlError, usize)>,
}

impl Pipeline {
    pub(super) fn new(
        id: WireGuid,
        pool: WireGuid,
        gaps: Vec<usize>,
        faults: Vec<usize>,
    ) -> Pipeline {
        Pipeline {
            id,
            pool,
            creation: None,
            metadata_request: None,
            input: Vec::new(),
            input_closed: false,
            output: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            verbose: Vec::new(),
            debug: Vec::new(),
            information: Vec::new(),
            progress: Vec::new(),
            host_calls: HostCalls::default(),
            states: Vec::new(),
            failure: None,
            messages: Vec::new(),
            gaps,
            faults,
            damaged: Vec::new(),
        }
    }

    /// Returns its commands as they could be typed, or `None` if they are lost.
    pub fn command_text(&self) -> Option<String> {
        let (creation, _) = self.creation.as_ref()?;
        let cut = if creation.is_cut { node_text::CUT } else { "" };
        Some(record_text::commands_text(&creation.commands) + cut)
    }

    /// Returns the last reported state.
    pub fn state(&self) -> Option<&str> {
        self.states.last().map(|(state, _)| state.as_str())
    }

    /// Adds one of its messages.
    pub(super) fn apply(&mut self, kind: MessageType, document: ClixmlDocument, at: usize) {
        self.messages.push(at);
        let root = document.root();
        let message = || (informational_message(root), at);
        match kind {
            MessageType::CreatePipeline => self.creation = Some((PipelineCreation::read(root), at)),
            MessageType::GetCommandMetadata => {
                let names = root.get("Name");
                let names = node_text::lines(names.into_iter().flat_map(ClixmlNode::items));
                self.metadata_request = Some((names, at));
            }
            MessageType::PipelineInput => self.input.push(PipelineObject { document, message: at }),
            MessageType::EndOfPipelineInput => self.input_closed = true,
            MessageType::PipelineOutput => {
                self.output.push(PipelineObject { document, message: at })
            }
            MessageType::ErrorRecord => self.errors.push((ErrorRecord::read(root), at)),
            MessageType::WarningRecord => self.warnings.push(message()),
            MessageType::VerboseRecord => self.verbose.push(message()),
            MessageType::DebugRecord => self.debug.push(message()),
            MessageType::InformationRecord => {
                self.information.push((InformationRecord::read(root), at))
            }
            MessageType::ProgressRecord => self.progress.push((ProgressRecord::read(root), at)),
            MessageType::PipelineHostCall => self.host_calls.call(root, at),
            MessageType::PipelineHostResponse => self.host_calls.answer(root),
            MessageType::PipelineState => {
                let value = root.get("PipelineState").and_then(ClixmlNode::as_i64);
                let name = value.and_then(pipeline_state).map(str::to_owned);
                let unknown = || value.map_or_else(String::new, |value| value.to_string());
                self.states.push((name.unwrap_or_else(unknown), at));
                let failure = root.get("ExceptionAsErrorRecord").filter(|error| !error.is_null());
                if let Some(failure) = failure {
                    self.failure = Some((ErrorRecord::read(failure), at));
                }
            }
            _ => {}
        }
    }
}
