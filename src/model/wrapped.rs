//! Texts of the logs that hide others.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ps_layers::Unwrapped;

use super::{CommandIdx, HostName, Proof, SessionIdx};

/// What a text of the logs is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum TextKind {
    /// A script block's text, its parts joined (4104).
    ScriptBlock,
    /// A command of a session that no script block shows.
    Command,
    /// A process's command line (4688, Sysmon 1).
    Process,
    /// The command line of a process that hosts an engine (classic 400, HostApplication).
    Engine,
    /// What a service runs (7045, 4697).
    Service,
    /// What a task runs (4698).
    Task,
}

impl TextKind {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            TextKind::ScriptBlock => "script_block",
            TextKind::Command => "command",
            TextKind::Process => "process",
            TextKind::Engine => "engine",
            TextKind::Service => "service",
            TextKind::Task => "task",
        }
    }
}

/// A text that hides others, and what is known of it.
#[derive(Debug, Clone)]
pub struct Wrapped {
    /// What it is.
    pub kind: TextKind,
    /// When the first of its records was logged, UTC.
    pub time: DateTime<Utc>,
    /// The host that logged it.
    pub host: HostName,
    /// The account that ran it, as logged.
    pub user: String,
    /// The image of the process it ran in or as, where known.
    pub image: String,
    /// Index of its session.
    pub session: Option<SessionIdx>,
    /// Index of the command that it is the text of.
    pub command: Option<CommandIdx>,
    /// Its records.
    pub evidence: Vec<Proof>,
    /// What it hides.
    pub hidden: Arc<Unwrapped>,
}

/// One of the things a text hides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'w> {
    /// How it was hidden; `program` for a program, of which no text is kept.
    pub how: &'static str,
    /// How many layers deep it lies; 1 for what lies in the text itself.
    pub depth: usize,
    /// How the layer it was in was hidden; `text` for the text itself.
    pub parent: &'static str,
    /// The layer's text; what the program is, and its size.
    pub text: Cow<'w, str>,
}

impl Wrapped {
    /// The layers, outer ones first, then the programs.
    pub fn found(&self) -> impl Iterator<Item = Found<'_>> {
        let Unwrapped { layers, binaries, .. } = &*self.hidden;
        let at = |how, parent: Option<usize>, text| Found {
            how,
            depth: self.hidden.depth(parent) + 1,
            parent: parent.map_or("text", |parent| layers[parent].how.as_str()),
            text,
        };
        let texts = layers.iter().map(move |layer| {
            at(layer.how.as_str(), layer.parent, Cow::Borrowed(layer.text.as_str()))
        });
        let programs = binaries.iter().map(move |binary| {
            let text = format!("{}, {} bytes", binary.kind, binary.size);
            at("program", binary.parent, Cow::Owned(text))
        });
        texts.chain(programs)
    }
}
