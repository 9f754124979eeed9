//! What unwrapping may cost.

/// How far a text is unwrapped. The work is counted, not timed: the same text gives the same layers
/// on any machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Layers below each other. Obfuscators wrap a command some five times.
    pub depth: usize,
    /// Layers in all, and texts that are looked into.
    pub layers: usize,
    /// Bytes of all layers together, and of any one value while it is made.
    pub bytes: usize,
    /// Steps of evaluation for all layers of a text; a step is a node, or 32 bytes of a value.
    pub steps: u64,
    /// Steps for each byte of the text, above [`Limits::FREE_STEPS`], up to `steps`: a short text
    /// that costs much is an attack on the reader.
    pub steps_per_byte: u64,
}

impl Limits {
    /// Steps that every text has.
    pub const FREE_STEPS: u64 = 100_000;
}

impl Default for Limits {
    fn default() -> Self {
        Limits { depth: 20, layers: 64, bytes: 8 << 20, steps: 8_000_000, steps_per_byte: 64 }
    }
}

/// The limit that ended the unwrapping of a text.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// More layers below each other than [`Limits::depth`].
    Depth,
    /// More than [`Limits::layers`].
    Layers,
    /// More than [`Limits::bytes`].
    Bytes,
    /// More than [`Limits::steps`].
    Steps,
    /// Brackets nest deeper than the reader follows.
    Nesting,
}

impl Limit {
    /// The limit in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::Depth => "too many layers below each other",
            Limit::Layers => "too many layers",
            Limit::Bytes => "too many bytes",
            Limit::Steps => "too much work",
            Limit::Nesting => "brackets nest too deep",
        }
    }
}

/// What is left of the limits.
#[derive(Debug)]
pub(super) struct Budget {
    steps: u64,
    bytes: usize,
    /// The first limit that was met.
    pub exceeded: Option<Limit>,
}

impl Budget {
    pub fn new(limits: &Limits, length: usize) -> Budget {
        let more = limits.steps_per_byte.saturating_mul(length as u64);
        let steps = limits.steps.min(Limits::FREE_STEPS.saturating_add(more));
        Budget { steps, bytes: limits.bytes, exceeded: None }
    }

    /// Whether any steps are left.
    pub fn is_spent(&self) -> bool {
        self.steps == 0
    }

    /// Takes a step; false when there is none left.
    pub fn step(&mut self) -> bool {
        self.steps(1)
    }

    /// Takes the steps for reading so many bytes of text.
    pub fn read(&mut self, bytes: usize) -> bool {
        self.steps(bytes as u64 / 8)
    }

    fn steps(&mut self, count: u64) -> bool {
        let enough = count < self.steps;
        self.steps = self.steps.saturating_sub(count);
        if !enough {
            self.exceed(Limit::Steps);
        }
        enough
    }

    /// Whether a value of so many bytes may be made, and the steps for it.
    pub fn make(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            self.exceed(Limit::Bytes);
            return false;
        }
        self.steps(bytes as u64 / 32)
    }

    /// Whether a layer of so many bytes may be kept.
    pub fn keep(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.bytes;
        if fits {
            self.bytes -= bytes;
        } else {
            self.exceed(Limit::Bytes);
        }
        fits
    }

    /// Bytes that may still be made.
    pub fn bytes_left(&self) -> usize {
        self.bytes
    }

    pub fn exceed(&mut self, limit: Limit) {
        self.exceeded.get_or_insert(limit);
    }
}
