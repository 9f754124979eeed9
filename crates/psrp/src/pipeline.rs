//! One pipeline: its commands, what went in, what came out, and its states.

use super::clixml::{Damage, Document, Node};
use super::message::{Guid, MessageType, pipeline_state};
use super::records::{
    Creation, ErrorRecord, HostCalls, Information, Progress, informational_message,
};
use super::{node_text, record_text};

/// An object of input or output.
#[derive(Debug, Clone)]
pub struct Item {
    /// The object.
    pub document: Document,
    /// The message that carried it: its index in the conversation.
    pub message: usize,
}

impl Item {
    /// The object on one line.
    pub fn line(&self) -> String {
        node_text::line(self.document.root())
    }
}

/// A pipeline. Numbers beside values are the indices of the messages that tell them.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its id, the CommandId in SOAP documents.
    pub id: Guid,
    /// Its runspace pool.
    pub pool: Guid,
    /// What it was created for; none where that message is lost.
    pub creation: Option<(Creation, usize)>,
    /// Names of commands that were asked for, of a GET_COMMAND_METADATA.
    pub metadata_request: Option<(Vec<String>, usize)>,
    /// Its input.
    pub input: Vec<Item>,
    /// Whether its input was ended.
    pub input_closed: bool,
    /// Its output.
    pub output: Vec<Item>,
    /// Errors that did not end it.
    pub errors: Vec<(ErrorRecord, usize)>,
    /// Warnings.
    pub warnings: Vec<(String, usize)>,
    /// Verbose messages.
    pub verbose: Vec<(String, usize)>,
    /// Debug messages.
    pub debug: Vec<(String, usize)>,
    /// Information records.
    pub information: Vec<(Information, usize)>,
    /// Progress, all of it; [`progress`](crate::progress) folds it.
    pub progress: Vec<(Progress, usize)>,
    /// Calls of the client's host.
    pub host_calls: HostCalls,
    /// Its states.
    pub states: Vec<(String, usize)>,
    /// The error that ended it.
    pub failure: Option<(ErrorRecord, usize)>,
    /// All its messages, in the order in which their senders counted.
    pub messages: Vec<usize>,
    /// Its messages that are not whole: indices in the conversation's gaps.
    pub gaps: Vec<usize>,
    /// Its messages that are nobody's for sure: indices in the conversation's faults.
    pub faults: Vec<usize>,
    /// Its messages whose data is damaged.
    pub damaged: Vec<(Damage, usize)>,
}

impl Pipeline {
    pub(super) fn new(id: Guid, pool: Guid, gaps: Vec<usize>, faults: Vec<usize>) -> Pipeline {
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

    /// Its commands as one could type them; none where they are lost.
    pub fn command_text(&self) -> Option<String> {
        let (creation, _) = self.creation.as_ref()?;
        let cut = if creation.is_cut { node_text::CUT } else { "" };
        Some(record_text::commands(&creation.commands) + cut)
    }

    /// The state told last.
    pub fn state(&self) -> Option<&str> {
        self.states.last().map(|(state, _)| state.as_str())
    }

    /// Takes one of its messages.
    pub(super) fn tell(&mut self, kind: MessageType, document: Document, at: usize) {
        self.messages.push(at);
        let root = document.root();
        let message = || (informational_message(root), at);
        match kind {
            MessageType::CreatePipeline => self.creation = Some((Creation::read(root), at)),
            MessageType::GetCommandMetadata => {
                let names = root.get("Name");
                let names = node_text::lines(names.into_iter().flat_map(Node::items));
                self.metadata_request = Some((names, at));
            }
            MessageType::PipelineInput => self.input.push(Item { document, message: at }),
            MessageType::EndOfPipelineInput => self.input_closed = true,
            MessageType::PipelineOutput => self.output.push(Item { document, message: at }),
            MessageType::ErrorRecord => self.errors.push((ErrorRecord::read(root), at)),
            MessageType::WarningRecord => self.warnings.push(message()),
            MessageType::VerboseRecord => self.verbose.push(message()),
            MessageType::DebugRecord => self.debug.push(message()),
            MessageType::InformationRecord => self.information.push((Information::read(root), at)),
            MessageType::ProgressRecord => self.progress.push((Progress::read(root), at)),
            MessageType::PipelineHostCall => self.host_calls.call(root, at),
            MessageType::PipelineHostResponse => self.host_calls.answer(root),
            MessageType::PipelineState => {
                let value = root.get("PipelineState").and_then(Node::as_i64);
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
