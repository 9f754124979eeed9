//! PowerShell Remoting on the wire, from fragments and SOAP documents to what was typed and shown
//! (MS-PSRP, MS-WSMV, MS-XCA).
//!
//! Bytes go through [`Fragment`]s and [`Reassembler`] to [`Message`]s, whose objects [`Document`]
//! reads; [`Exchange`] does all of it, takes SOAP documents and their chunks, too, and gives a
//! [`Conversation`] with runspace [`Pool`]s and [`Pipeline`]s. It knows no log formats: whoever
//! reads a log hands it fragments and chunks, each with a tag of its own, which stays with all that
//! is made of it.
//!
//! What is not there, is not shown: messages with a gap become a [`Gap`], those that are none of the
//! protocol a [`MessageFault`], those whose data is no CLIXML are told by [`Conversation::damaged`],
//! and nothing is made up in their place.
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
//! exchange.fragment("SRV02", 4242, false, fragment, "record 17");
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

pub use chunks::{Chunk, ChunkKey, Chunks, LostDocument, Outcome};
pub use clixml::{Container, Damage, Document, Node, Primitive, Value};
pub use conversation::{Anomaly, Conversation, Message, MessageFault, Pool};
pub use encoded::{base64, hex};
pub use exchange::Exchange;
pub use fragments::Fragment;
pub use lane::Lane;
pub use message::{Direction, Guid, Header, MessageType, pipeline_state, pool_state};
pub use node_text::{line, literal};
pub use pipeline::{Item, Pipeline};
pub use reassembler::{Absent, Gap, GapReason, Joined, Oddity, Reassembler};
pub use record_text::{commands, error, host_call, progress};
pub use records::{
    Command, Creation, ErrorRecord, HostCall, HostCalls, Information, Parameter, Progress,
    informational_message,
};
pub use secret::SessionKey;
pub use shells::{Reading, Shell, ShellCommand};
pub use soap::{Envelope, Slot, Stream};
pub use xpress::{Damage as XpressDamage, unpack};
