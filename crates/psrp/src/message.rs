//! The header of a message (MS-PSRP 2.2.1) and the types of messages.

use std::fmt;

/// A GUID as the protocol's headers store it: the first three fields are little-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WireGuid([u8; 16]);

impl WireGuid {
    /// Returns whether all bits are zero, which means no GUID.
    pub fn is_zero(self) -> bool {
        self == WireGuid::default()
    }

    /// Parses the text of a GUID in either case, with or without braces or `uuid:`.
    pub fn parse(text: &str) -> Option<WireGuid> {
        let text = text.trim().trim_start_matches("urn:").trim_start_matches("uuid:");
        let text = text.trim_matches(['{', '}']);
        let groups: Vec<usize> = text.split('-').map(str::len).collect();
        if groups != [8, 4, 4, 4, 12] {
            return None;
        }
        let mut bytes = [0; 16];
        let mut digits = text.chars().filter(|&c| c != '-').map(|c| c.to_digit(16));
        for byte in &mut bytes {
            *byte = (digits.next()?? << 4 | digits.next()??) as u8;
        }
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Some(WireGuid(bytes))
    }
}

impl fmt::Display for WireGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        for (place, at) in ORDER.into_iter().enumerate() {
            if [4, 6, 8, 10].contains(&place) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[at])?;
        }
        Ok(())
    }
}

impl fmt::Debug for WireGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the client to the server: commands, input, answers to prompts.
    ToServer,
    /// From the server to the client: output, states, prompts.
    ToClient,
}

impl Direction {
    /// Returns `client_to_server` or `server_to_client`.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::ToServer => "client_to_server",
            Direction::ToClient => "server_to_client",
        }
    }
}

macro_rules! message_types {
    ($($name:ident = $value:literal, $word:literal, $about:literal;)*) => {
        /// The type of a message (MS-PSRP 2.2.1, MessageType).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MessageType {
            $(#[doc = $about] $name,)*
            /// A type that this program does not know.
            Unknown(u32),
        }

        impl MessageType {
            /// Returns the type with this number.
            pub fn from_value(value: u32) -> MessageType {
                match value {
                    $($value => MessageType::$name,)*
                    other => MessageType::Unknown(other),
                }
            }

            /// Returns the number of the type.
            pub fn value(self) -> u32 {
                match self {
                    $(MessageType::$name => $value,)*
                    MessageType::Unknown(value) => value,
                }
            }

            /// Returns the name in the specification; empty for an unknown type.
            pub fn name(self) -> &'static str {
                match self {
                    $(MessageType::$name => $word,)*
                    MessageType::Unknown(_) => "",
                }
            }
        }
    };
}

message_types! {
    SessionCapability = 0x0001_0002, "SESSION_CAPABILITY", "Versions, first in both directions.";
    InitRunspacePool = 0x0001_0004, "INIT_RUNSPACEPOOL", "The client opens a runspace pool.";
    PublicKey = 0x0001_0005, "PUBLIC_KEY", "The client's key, for the session key.";
    EncryptedSessionKey = 0x0001_0006, "ENCRYPTED_SESSION_KEY", "The session key, encrypted.";
    PublicKeyRequest = 0x0001_0007, "PUBLIC_KEY_REQUEST", "The server asks for the client's key.";
    ConnectRunspacePool = 0x0001_0008, "CONNECT_RUNSPACEPOOL", "A client connects again.";
    SetMaxRunspaces = 0x0002_1002, "SET_MAX_RUNSPACES", "The client sets the most runspaces.";
    SetMinRunspaces = 0x0002_1003, "SET_MIN_RUNSPACES", "The client sets the fewest runspaces.";
    RunspaceAvailability = 0x0002_1004, "RUNSPACE_AVAILABILITY", "The answer to those.";
    RunspacePoolState = 0x0002_1005, "RUNSPACEPOOL_STATE", "The pool's state.";
    CreatePipeline = 0x0002_1006, "CREATE_PIPELINE", "The client runs commands.";
    GetAvailableRunspaces = 0x0002_1007, "GET_AVAILABLE_RUNSPACES", "How many are free?";
    UserEvent = 0x0002_1008, "USER_EVENT", "An event that the client asked for.";
    ApplicationPrivateData = 0x0002_1009, "APPLICATION_PRIVATE_DATA", "The server's own data.";
    GetCommandMetadata = 0x0002_100A, "GET_COMMAND_METADATA", "The client asks for commands.";
    RunspacePoolInitData = 0x0002_100B, "RUNSPACEPOOL_INIT_DATA", "The pool's size, on connecting.";
    ResetRunspaceState = 0x0002_100C, "RESET_RUNSPACE_STATE", "The client resets a runspace.";
    RunspacePoolHostCall = 0x0002_1100, "RUNSPACEPOOL_HOST_CALL", "The pool calls the client's host.";
    RunspacePoolHostResponse = 0x0002_1101, "RUNSPACEPOOL_HOST_RESPONSE", "The host's answer to it.";
    PipelineInput = 0x0004_1002, "PIPELINE_INPUT", "An object of the pipeline's input.";
    EndOfPipelineInput = 0x0004_1003, "END_OF_PIPELINE_INPUT", "There is no more input.";
    PipelineOutput = 0x0004_1004, "PIPELINE_OUTPUT", "An object of the pipeline's output.";
    ErrorRecord = 0x0004_1005, "ERROR_RECORD", "An error that did not end the pipeline.";
    PipelineState = 0x0004_1006, "PIPELINE_STATE", "The pipeline's state.";
    DebugRecord = 0x0004_1007, "DEBUG_RECORD", "A debug message.";
    VerboseRecord = 0x0004_1008, "VERBOSE_RECORD", "A verbose message.";
    WarningRecord = 0x0004_1009, "WARNING_RECORD", "A warning.";
    ProgressRecord = 0x0004_1010, "PROGRESS_RECORD", "Progress.";
    InformationRecord = 0x0004_1011, "INFORMATION_RECORD", "An information record.";
    PipelineHostCall = 0x0004_1100, "PIPELINE_HOST_CALL", "A pipeline calls the client's host.";
    PipelineHostResponse = 0x0004_1101, "PIPELINE_HOST_RESPONSE", "The host's answer to it.";
}

/// The header of a message: the 40 bytes before its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHeader {
    /// The direction (Destination).
    pub direction: Direction,
    /// MessageType.
    pub kind: MessageType,
    /// RPID, the runspace pool; zero in the server's first message.
    pub pool: WireGuid,
    /// PID, the pipeline; `None` in messages of the pool.
    pub pipeline: Option<WireGuid>,
}

impl MessageHeader {
    /// Its length in bytes.
    pub const LENGTH: usize = 40;

    /// Parses the header at the start of a message. The error says why there is none.
    pub fn parse(bytes: &[u8]) -> Result<MessageHeader, String> {
        let Some(bytes) = bytes.get(..MessageHeader::LENGTH) else {
            return Err(format!("{} bytes are too few for a message's header", bytes.len()));
        };
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let guid = |at: usize| WireGuid(std::array::from_fn(|i| bytes[at + i]));
        let direction = match number(0) {
            1 => Direction::ToClient,
            2 => Direction::ToServer,
            other => {
                return Err(format!(
                    "a message's destination is {other}, which is neither client nor server"
                ));
            }
        };
        let pipeline = Some(guid(24)).filter(|pipeline| !pipeline.is_zero());
        Ok(MessageHeader {
            direction,
            kind: MessageType::from_value(number(4)),
            pool: guid(8),
            pipeline,
        })
    }
}

/// Returns the name of a runspace pool's state (MS-PSRP 2.2.3.4), or `None` for an unknown
/// number.
pub fn pool_state(value: i64) -> Option<&'static str> {
    const NAMES: [&str; 10] = [
        "BeforeOpen",
        "Opening",
        "Opened",
        "Closed",
        "Closing",
        "Broken",
        "NegotiationSent",
        "NegotiationSucceeded",
        "Connecting",
        "Disconnected",
    ];
    NAMES.get(usize::try_from(value).ok()?).copied()
}

/// Returns the name of a pipeline's state (MS-PSRP 2.2.3.5), or `None` for an unknown number.
pub fn pipeline_state(value: i64) -> Option<&'static str> {
    const NAMES: [&str; 7] =
        ["NotStarted", "Running", "Stopping", "Stopped", "Completed", "Failed", "Disconnected"];
    NAMES.get(usize::try_from(value).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_little_endian() {
        let mut bytes = vec![2, 0, 0, 0];
        bytes.extend([0x06, 0x10, 0x02, 0x00]);
        // 01020304-0506-0708-090a-0b0c0d0e0f10 in .NET's order, then no pipeline.
        bytes.extend([4, 3, 2, 1, 6, 5, 8, 7, 9, 10, 11, 12, 13, 14, 15, 16]);
        bytes.extend([0; 16]);
        let header = MessageHeader::parse(&bytes).unwrap();
        assert_eq!(
            (header.direction, header.kind),
            (Direction::ToServer, MessageType::CreatePipeline)
        );
        assert_eq!(header.pool.to_string(), "01020304-0506-0708-090a-0b0c0d0e0f10");
        assert_eq!(WireGuid::parse("{01020304-0506-0708-090A-0B0C0D0E0F10}"), Some(header.pool));
        assert_eq!(header.pipeline, None);
        assert!(MessageHeader::parse(&bytes[..39]).is_err());
        bytes[0] = 3;
        assert!(MessageHeader::parse(&bytes).is_err());
    }

    #[test]
    fn texts_that_are_not_guids_are_rejected() {
        for text in [
            "",
            "01020304",
            "01020304-0506-0708-090a-0b0c0d0e0fzz",
            "é1020304-0506-0708-090a-0b0c0d0e0f1",
        ] {
            assert_eq!(WireGuid::parse(text), None, "{text}");
        }
    }
}
