//! Reads PowerShell Remoting traffic, from fragments and SOAP documents to commands and output
//! (MS-PSRP, MS-WSMV, MS-XCA).
//!
//! [`Reassembler`] joins [`Fragment`]s to [`Message`]s, whose objects [`ClixmlDocument`] reads.
//! [`Exchange`] does all of this. It also accepts SOAP documents and their chunks, and returns a
//! [`Conversation`] with [`RunspacePool`]s and [`Pipeline`]s. This crate knows no log formats:
//! the reader of a log passes fragments and chunks with a tag of its own, and the tag stays with
//! everything that is made from them.
//!
//! Missing data is never invented: incomplete messages become a [`MessageGap`], messages that are not
//! part of the protocol a [`MessageFault`], and messages whose data is not CLIXML are listed by
//! [`Conversation::damaged`].
//!
//! ```
//! use psrp::{Exchange, Fragment, MessageType};
//!
//! // A message's header has its destination (1 is the client), type, pool and pipeline.
//! let mut message = 1u32.to_le_bytes().to_vec();
//! message.extend(MessageType::PipelineOutput.value().to_le_bytes());
//! message.extend([7; 16]);
//! message.extend([9; 16]);
//! message.extend(br"<S>corp\admin</S>");
//! let fragment =
//!     Fragment { object_id: 1, fragment_id: 0, start: true, end: true, blob: message };
//!
//! let mut exchange = Exchange::new();
//! // Process 4242 of SRV02 sent it, as record 17 of a log says.
//! exchange.add_fragment("SRV02", 4242, false, fragment, "record 17");
//! let conversation = exchange.finish();
//! let pipeline = conversation.pipelines().next().expect("it has one");
//! assert_eq!(pipeline.output[0].line(), r"corp\admin");
//! let message = &conversation.messages[pipeline.output[0].message];
//! assert_eq!(message.tags, ["record 17"]);
//! ```

mod chunks;
mod clixml;
mod conversation;
mod encoded;
mod exchange;
mod fragments;
mod lane;
mod message;
mod node_text;
mod pipeline;
mod reassembler;
mod record_text;
mod records;
mod secret;
mod shells;
mod soap;
mod xml;
mod xpress;

pub use chunks::{ChunkJoiner, ChunkKey, ChunkOutcome, LostDocument, SoapChunk};
pub use clixml::{ClixmlDocument, ClixmlError, ClixmlNode, ClixmlValue, Container, Primitive};
pub use conversation::{Anomaly, Conversation, Message, MessageFault, RunspacePool};
pub use encoded::{decode_base64, decode_hex};
pub use exchange::Exchange;
pub use fragments::Fragment;
pub use lane::Lane;
pub use message::{Direction, MessageHeader, MessageType, WireGuid, pipeline_state, pool_state};
pub use node_text::{node_line, node_literal};
pub use pipeline::{Pipeline, PipelineObject};
pub use reassembler::{
    AbsentObjects, AnomalyKind, GapReason, JoinedMessage, MessageGap, Reassembler,
};
pub use record_text::{commands_text, error_text, host_call_text, progress_lines};
pub use records::{
    ErrorRecord, HostCall, HostCalls, InformationRecord, Parameter, PipelineCommand,
    PipelineCreation, ProgressRecord, informational_message,
};
pub use secret::SessionKey;
pub use shells::{Shell, ShellCommand, StreamEncoding};
pub use soap::{Envelope, EnvelopeStream, StreamSlot};
pub use xpress::{XpressError, unpack_xpress};
