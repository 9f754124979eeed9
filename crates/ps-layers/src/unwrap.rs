//! Unwraps a text, then the texts found in it, and so on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::blobs::{self, Blob};
use super::budget::{Budget, UnwrapLimit, UnwrapLimits};
use super::unwrapped::{Binary, Layer, Stopped, UnwrapMethod, Unwrapped};
use super::{eval, launch, parse, precheck};

/// Finds the layers of a text.
///
/// ```
/// use ps_layers::{UnwrapLimits, UnwrapMethod, find_layers};
///
/// let found = find_layers("&('i'+'ex') ('who'+'ami')", &UnwrapLimits::default());
/// assert_eq!(found.layers[0].text, "whoami");
/// assert_eq!(found.layers[0].how, UnwrapMethod::Invoked);
/// ```
pub fn find_layers(text: &str, limits: &UnwrapLimits) -> Unwrapped {
    match precheck::may_contain_layers(text) {
        true => unwrap(text, limits),
        false => Unwrapped::default(),
    }
}

/// Finds the layers of a text that consists of Base64 only, apart from white space.
/// [`find_layers`] decodes only runs of a certain length, because any word is valid Base64; this
/// function is for a text that is known to be Base64.
///
/// ```
/// use ps_layers::{UnwrapLimits, find_base64_layers, find_layers};
///
/// let text = "dwBoAG8AYQBtAGkA";
/// assert!(find_layers(text, &UnwrapLimits::default()).is_empty());
/// assert_eq!(find_base64_layers(text, &UnwrapLimits::default()).layers[0].text, "whoami");
/// ```
pub fn find_base64_layers(text: &str, limits: &UnwrapLimits) -> Unwrapped {
    let run: String = text.split_whitespace().collect();
    let (mut unwrapping, whole) = UnwrapRun::start(text, limits);
    let blob = match run.len() >= SHORTEST_KNOWN {
        true => blobs::decode_blob(run.trim_end_matches('='), &mut unwrapping.budget),
        false => None,
    };
    if let Some(blob) = blob {
        let mut parts = FoundTexts { environment: Rc::default(), found: Vec::new() };
        unwrapping.add_blob(&whole, 0, blob, &mut parts);
        for part in parts.found {
            unwrapping.add_layer(&whole, part, &parts.environment);
        }
    }
    unwrapping.finish()
}

/// Shortest text that is decoded when it is known to be Base64: four letters in UTF-16.
const SHORTEST_KNOWN: usize = 11;

/// Unwraps a text that may contain layers.
fn unwrap(text: &str, limits: &UnwrapLimits) -> Unwrapped {
    let (mut unwrapping, whole) = UnwrapRun::start(text, limits);
    unwrapping.waiting.push_back(whole);
    unwrapping.finish()
}

type Environment = BTreeMap<String, String>;

/// A text that is waiting to be unwrapped.
struct PendingText {
    text: Rc<str>,
    /// The layer that contains it, and its position there.
    layer: Option<usize>,
    offset: usize,
    depth: usize,
    environment: Rc<Environment>,
    /// Whether cmd.exe reads it, and not PowerShell.
    is_line: bool,
}

/// A text found in another.
struct FoundText {
    at: usize,
    text: String,
    how: UnwrapMethod,
    is_line: bool,
}

/// The texts found in a text, and the variables that a command line in it sets.
struct FoundTexts {
    environment: Rc<Environment>,
    found: Vec<FoundText>,
}

impl FoundTexts {
    fn add(&mut self, at: usize, text: String, how: UnwrapMethod) {
        self.found.push(FoundText { at, text, how, is_line: false });
    }
}

struct UnwrapRun<'l> {
    limits: &'l UnwrapLimits,
    budget: Budget,
    /// All texts that were unwrapped, so that none is unwrapped twice.
    seen: BTreeSet<Rc<str>>,
    found: Unwrapped,
    waiting: VecDeque<PendingText>,
}

impl<'l> UnwrapRun<'l> {
    /// Starts with a text.
    fn start(text: &str, limits: &'l UnwrapLimits) -> (UnwrapRun<'l>, PendingText) {
        let unwrapping = UnwrapRun {
            limits,
            budget: Budget::new(limits, text.len()),
            seen: BTreeSet::from([Rc::from(text)]),
            found: Unwrapped::default(),
            waiting: VecDeque::new(),
        };
        let whole = PendingText {
            text: text.into(),
            layer: None,
            offset: 0,
            depth: 0,
            environment: Rc::default(),
            is_line: false,
        };
        (unwrapping, whole)
    }

    /// Unwraps all waiting texts and returns the result.
    fn finish(mut self) -> Unwrapped {
        while let Some(seen) = self.waiting.pop_front() {
            self.process(&seen);
        }
        self.found
    }

    fn process(&mut self, seen: &PendingText) {
        let parts = self.find_hidden(seen);
        for part in parts.found {
            self.add_layer(seen, part, &parts.environment);
        }
        if let (Some(limit), None) = (self.budget.exceeded, self.found.stopped) {
            self.found.stopped = Some(Stopped { limit, layer: seen.layer });
        }
    }

    /// Finds the texts hidden in a text.
    fn find_hidden(&mut self, seen: &PendingText) -> FoundTexts {
        let text = &*seen.text;
        let lines = launch::cmd_lines(text, &seen.environment, &mut self.budget);
        let mut environment = Rc::clone(&seen.environment);
        for line in &lines {
            if !line.environment.is_empty() {
                Rc::make_mut(&mut environment).extend(line.environment.clone());
            }
        }
        let mut parts = FoundTexts { environment, found: Vec::new() };
        for (at, text) in launch::encoded_commands(text) {
            parts.add(at, text, UnwrapMethod::EncodedCommand);
        }
        // A command line is not written in PowerShell's language, but the command it passes on
        // is.
        let line = seen.is_line || launch::is_command_line(text);
        let commands = launch::powershell_commands(text, line, &mut self.budget);
        let is_line = seen.is_line || line && !(lines.is_empty() && commands.is_empty());
        for (at, text) in commands {
            parts.add(at, text, UnwrapMethod::CommandLine);
        }
        for line in lines {
            if let Some(text) = line.piped {
                parts.add(line.at, text, UnwrapMethod::CommandLine);
            }
            let (at, text) = (line.at, line.text);
            parts.found.push(FoundText { at, text, how: UnwrapMethod::CommandLine, is_line: true });
        }
        for (at, blob) in blobs::find_blobs(text, &mut self.budget) {
            self.add_blob(seen, at, blob, &mut parts);
        }
        if !is_line {
            self.evaluate(seen, &mut parts);
        }
        parts
    }

    fn add_blob(&mut self, seen: &PendingText, at: usize, blob: Blob, parts: &mut FoundTexts) {
        match blob {
            Blob::Text(text) => parts.add(at, text, UnwrapMethod::Base64),
            Blob::Inflated(text) => parts.add(at, text, UnwrapMethod::Inflated),
            Blob::Binary(kind, size) => self.add_binary(seen, at, kind, size),
        }
    }

    /// Evaluates a text, and shows it with the computed values.
    fn evaluate(&mut self, seen: &PendingText, parts: &mut FoundTexts) {
        let text = &*seen.text;
        if !self.budget.read(text.len()) {
            return;
        }
        let script = parse::parse(text);
        if script.too_deep.is_some() {
            self.budget.exceed(UnwrapLimit::Nesting);
        }
        let found = eval::evaluate(&script, &seen.environment, &mut self.budget);
        for (at, kind, size) in found.binaries {
            self.add_binary(seen, at, kind, size);
        }
        for (at, text) in found.invoked {
            parts.add(at, text.to_string(), UnwrapMethod::Invoked);
        }
        // A text that was decoded only to be passed to an interpreter is already a layer.
        let mut hidden = found.replacements.iter().filter(|r| r.is_hidden && !r.invoked);
        let Some(first) = hidden.next() else { return };
        let at = first.span.start;
        let size = text.len() + found.replacements.iter().map(|r| r.text.len()).sum::<usize>();
        if size > self.budget.bytes_left() {
            return self.budget.exceed(UnwrapLimit::Bytes);
        }
        let mut shown = String::with_capacity(size);
        let mut from = 0;
        for replacement in &found.replacements {
            if let Some(between) = text.get(from..replacement.span.start) {
                shown.push_str(between);
                shown.push_str(&replacement.text);
                from = replacement.span.end;
            }
        }
        shown.push_str(&text[from..]);
        parts.add(at, shown, UnwrapMethod::Evaluated);
    }

    fn add_layer(&mut self, seen: &PendingText, part: FoundText, environment: &Rc<Environment>) {
        let text: Rc<str> = part.text.as_str().into();
        if part.text.trim().is_empty() || !self.seen.insert(Rc::clone(&text)) {
            return;
        }
        let goes_on = precheck::may_contain_layers(&text)
            || *environment != seen.environment && part.how == UnwrapMethod::CommandLine;
        // Searching for a text reads all of it.
        if !self.budget.read(text.len()) {
            return;
        }
        let inside = memchr::memmem::find(seen.text.as_bytes(), text.as_bytes());
        if inside.is_some() && !goes_on {
            return;
        }
        if seen.depth == self.limits.depth {
            return self.budget.exceed(UnwrapLimit::Depth);
        }
        if self.seen.len() > self.limits.layers {
            return self.budget.exceed(UnwrapLimit::Layers);
        }
        let (layer, offset) = match inside {
            Some(at) => (seen.layer, seen.offset + at),
            None => {
                if !self.budget.keep(text.len()) {
                    return;
                }
                self.found.layers.push(Layer {
                    text: part.text,
                    how: part.how,
                    parent: seen.layer,
                    offset: seen.offset + part.at,
                });
                (Some(self.found.layers.len() - 1), 0)
            }
        };
        if goes_on {
            let environment = Rc::clone(environment);
            let depth = seen.depth + 1;
            let is_line = part.is_line;
            self.waiting.push_back(PendingText {
                text,
                layer,
                offset,
                depth,
                environment,
                is_line,
            });
        }
    }

    fn add_binary(&mut self, seen: &PendingText, at: usize, kind: &'static str, size: usize) {
        let again = |noted: &Binary| noted.kind == kind && noted.size == size;
        if self.found.binaries.len() < self.limits.layers && !self.found.binaries.iter().any(again)
        {
            let offset = seen.offset + at;
            self.found.binaries.push(Binary { kind, size, parent: seen.layer, offset });
        }
    }
}
