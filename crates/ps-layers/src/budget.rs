//! The limits on the cost of unwrapping.

/// Limits on how far a text is unwrapped. The work is counted, not timed, so the same text gives
/// the same layers on any machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnwrapLimits {
    /// Deepest nesting of layers. Obfuscators wrap a command about five times.
    pub depth: usize,
    /// Largest number of layers, and of texts that are searched.
    pub layers: usize,
    /// Largest number of bytes of all layers together, and of any single value while it is
    /// computed.
    pub bytes: usize,
    /// Largest number of evaluation steps for all layers of a text. A step is a syntax node, or
    /// 32 bytes of a value.
    pub steps: u64,
    /// Steps for each byte of the text, in addition to [`UnwrapLimits::FREE_STEPS`] and up to
    /// `steps`. A short text that costs much is an attack on the analyst's machine.
    pub steps_per_byte: u64,
}

impl UnwrapLimits {
    /// Steps that are allowed for every text.
    pub const FREE_STEPS: u64 = 100_000;
}

impl Default for UnwrapLimits {
    fn default() -> Self {
        UnwrapLimits { depth: 20, layers: 64, bytes: 8 << 20, steps: 8_000_000, steps_per_byte: 64 }
    }
}

/// The limit that ended the unwrapping of a text.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum UnwrapLimit {
    /// Layers nested deeper than [`UnwrapLimits::depth`].
    Depth,
    /// More than [`UnwrapLimits::layers`].
    Layers,
    /// More than [`UnwrapLimits::bytes`].
    Bytes,
    /// More than [`UnwrapLimits::steps`].
    Steps,
    /// Brackets nested deeper than the parser follows.
    Nesting,
}

impl UnwrapLimit {
    /// Returns the limit in words.
    pub fn as_str(self) -> &'static str {
        match self {
            UnwrapLimit::Depth => "layers nested too deep",
            UnwrapLimit::Layers => "too many layers",
            UnwrapLimit::Bytes => "too many bytes",
            UnwrapLimit::Steps => "too much work",
            UnwrapLimit::Nesting => "brackets nested too deep",
        }
    }
}

/// The part of the limits that is left.
#[derive(Debug)]
pub(super) struct Budget {
    steps: u64,
    bytes: usize,
    /// The first limit that was exceeded.
    pub exceeded: Option<UnwrapLimit>,
}

impl Budget {
    pub fn new(limits: &UnwrapLimits, length: usize) -> Budget {
        let more = limits.steps_per_byte.saturating_mul(length as u64);
        let steps = limits.steps.min(UnwrapLimits::FREE_STEPS.saturating_add(more));
        Budget { steps, bytes: limits.bytes, exceeded: None }
    }

    /// Returns whether no steps are left.
    pub fn is_spent(&self) -> bool {
        self.steps == 0
    }

    /// Uses a step. Returns false if none was left.
    pub fn step(&mut self) -> bool {
        self.steps(1)
    }

    /// Uses the steps for reading this many bytes of text.
    pub fn read(&mut self, bytes: usize) -> bool {
        self.steps(bytes as u64 / 8)
    }

    fn steps(&mut self, count: u64) -> bool {
        let enough = count < self.steps;
        self.steps = self.steps.saturating_sub(count);
        if !enough {
            self.exceed(UnwrapLimit::Steps);
        }
        enough
    }

    /// Uses the steps for computing a value of this many bytes. Returns false if it is too large
    /// or no steps are left.
    pub fn make(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            self.exceed(UnwrapLimit::Bytes);
            return false;
        }
        self.steps(bytes as u64 / 32)
    }

    /// Reserves the bytes of a layer. Returns false if too few are left.
    pub fn keep(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.bytes;
        if fits {
            self.bytes -= bytes;
        } else {
            self.exceed(UnwrapLimit::Bytes);
        }
        fits
    }

    /// Returns how many bytes may still be computed.
    pub fn bytes_left(&self) -> usize {
        self.bytes
    }

    pub fn exceed(&mut self, limit: UnwrapLimit) {
        self.exceeded.get_or_insert(limit);
    }
}
