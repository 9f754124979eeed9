//! Looks into a text, then into what it found there, and so on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::blobs::{self, Blob};
use super::budget::{Budget, Limit, Limits};
use super::unwrapped::{Binary, How, Layer, Stopped, Unwrapped};
use super::{eval, gate, launch, parse};

/// Takes the layers off a text.
///
/// ```
/// use ps_layers::{How, Limits, layers};
///
/// let found = layers("&('i'+'ex') ('who'+'ami')", &Limits::default());
/// assert_eq!(found.layers[0].text, "whoami");
/// assert_eq!(found.layers[0].how, How::Invoked);
/// ```
pub fn layers(text: &str, limits: &Limits) -> Unwrapped {
    match gate::may_hold_layers(text) {
        true => unwrap(text, limits),
        false => Unwrapped::default(),
    }
}

/// Takes the layers off a text that is Base64 and nothing else, white space aside. [`layers`] looks
/// into runs of some length only, as any word is Base64 of something; this is for a text of which
/// somebody says so.
///
/// ```
/// use ps_layers::{Limits, base64_layers, layers};
///
/// let text = "dwBoAG8AYQBtAGkA";
/// assert!(layers(text, &Limits::default()).is_empty());
/// assert_eq!(base64_layers(text, &Limits::default()).layers[0].text, "whoami");
/// ```
pub fn base64_layers(text: &str, limits: &Limits) -> Unwrapped {
    let run: String = text.split_whitespace().collect();
    let (mut unwrapping, whole) = Unwrapping::of(text, limits);
    let blob = match run.len() >= SHORTEST_TOLD {
        true => blobs::blob(run.trim_end_matches('='), &mut unwrapping.budget),
        false => None,
    };
    if let Some(blob) = blob {
        let mut parts = Parts { environment: Rc::default(), found: Vec::new() };
        unwrapping.blob(&whole, 0, blob, &mut parts);
        for part in parts.found {
            unwrapping.take(&whole, part, &parts.environment);
        }
    }
    unwrapping.all()
}

/// Shortest text that is taken for Base64 because somebody says so: four letters in UTF-16.
const SHORTEST_TOLD: usize = 11;

/// Takes the layers off a text that may have some.
fn unwrap(text: &str, limits: &Limits) -> Unwrapped {
    let (mut unwrapping, whole) = Unwrapping::of(text, limits);
    unwrapping.waiting.push_back(whole);
    unwrapping.all()
}

type Environment = BTreeMap<String, String>;

/// A text to be looked into.
struct Seen {
    text: Rc<str>,
    /// The layer it is or stands in, and where.
    layer: Option<usize>,
    offset: usize,
    depth: usize,
    environment: Rc<Environment>,
    /// It is cmd.exe's to read, not PowerShell's.
    is_line: bool,
}

/// Something found in a text.
struct Part {
    at: usize,
    text: String,
    how: How,
    is_line: bool,
}

/// What a text hides, and the variables that a command line in it sets.
struct Parts {
    environment: Rc<Environment>,
    found: Vec<Part>,
}

impl Parts {
    fn add(&mut self, at: usize, text: String, how: How) {
        self.found.push(Part { at, text, how, is_line: false });
    }
}

struct Unwrapping<'l> {
    limits: &'l Limits,
    budget: Budget,
    /// All texts looked into, so that none is twice.
    seen: BTreeSet<Rc<str>>,
    found: Unwrapped,
    waiting: VecDeque<Seen>,
}

impl<'l> Unwrapping<'l> {
    /// Begins with a text.
    fn of(text: &str, limits: &'l Limits) -> (Unwrapping<'l>, Seen) {
        let unwrapping = Unwrapping {
            limits,
            budget: Budget::new(limits, text.len()),
            seen: BTreeSet::from([Rc::from(text)]),
            found: Unwrapped::default(),
            waiting: VecDeque::new(),
        };
        let whole = Seen {
            text: text.into(),
            layer: None,
            offset: 0,
            depth: 0,
            environment: Rc::default(),
            is_line: false,
        };
        (unwrapping, whole)
    }

    /// Looks into all that waits, and yields what was found.
    fn all(mut self) -> Unwrapped {
        while let Some(seen) = self.waiting.pop_front() {
            self.look_into(&seen);
        }
        self.found
    }

    fn look_into(&mut self, seen: &Seen) {
        let parts = self.parts(seen);
        for part in parts.found {
            self.take(seen, part, &parts.environment);
        }
        if let (Some(limit), None) = (self.budget.exceeded, self.found.stopped) {
            self.found.stopped = Some(Stopped { limit, layer: seen.layer });
        }
    }

    /// What a text hides.
    fn parts(&mut self, seen: &Seen) -> Parts {
        let text = &*seen.text;
        let lines = launch::cmd_lines(text, &seen.environment, &mut self.budget);
        let mut environment = Rc::clone(&seen.environment);
        for line in &lines {
            if !line.environment.is_empty() {
                Rc::make_mut(&mut environment).extend(line.environment.clone());
            }
        }
        let mut parts = Parts { environment, found: Vec::new() };
        for (at, text) in launch::encoded_commands(text) {
            parts.add(at, text, How::EncodedCommand);
        }
        // A command line is not PowerShell's language; what it hands on is.
        let line = seen.is_line || launch::is_command_line(text);
        let commands = launch::commands(text, line, &mut self.budget);
        let is_line = seen.is_line || line && !(lines.is_empty() && commands.is_empty());
        for (at, text) in commands {
            parts.add(at, text, How::CommandLine);
        }
        for line in lines {
            if let Some(text) = line.piped {
                parts.add(line.at, text, How::CommandLine);
            }
            let (at, text) = (line.at, line.text);
            parts.found.push(Part { at, text, how: How::CommandLine, is_line: true });
        }
        for (at, blob) in blobs::blobs(text, &mut self.budget) {
            self.blob(seen, at, blob, &mut parts);
        }
        if !is_line {
            self.evaluate(seen, &mut parts);
        }
        parts
    }

    fn blob(&mut self, seen: &Seen, at: usize, blob: Blob, parts: &mut Parts) {
        match blob {
            Blob::Text(text) => parts.add(at, text, How::Base64),
            Blob::Inflated(text) => parts.add(at, text, How::Inflated),
            Blob::Binary(what, size) => self.note(seen, at, what, size),
        }
    }

    /// Evaluates a text, and shows it with what was worked out.
    fn evaluate(&mut self, seen: &Seen, parts: &mut Parts) {
        let text = &*seen.text;
        if !self.budget.read(text.len()) {
            return;
        }
        let script = parse::parse(text);
        if script.too_deep.is_some() {
            self.budget.exceed(Limit::Nesting);
        }
        let found = eval::evaluate(&script, &seen.environment, &mut self.budget);
        for (at, what, size) in found.binaries {
            self.note(seen, at, what, size);
        }
        for (at, text) in found.invoked {
            parts.add(at, text.to_string(), How::Invoked);
        }
        // What was decoded only to be handed to an interpreter is a layer already.
        let mut telling = found.replacements.iter().filter(|r| r.telling && !r.invoked);
        let Some(first) = telling.next() else { return };
        let at = first.span.start;
        let size = text.len() + found.replacements.iter().map(|r| r.text.len()).sum::<usize>();
        if size > self.budget.bytes_left() {
            return self.budget.exceed(Limit::Bytes);
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
        parts.add(at, shown, How::Evaluated);
    }

    fn take(&mut self, seen: &Seen, part: Part, environment: &Rc<Environment>) {
        let text: Rc<str> = part.text.as_str().into();
        if part.text.trim().is_empty() || !self.seen.insert(Rc::clone(&text)) {
            return;
        }
        let goes_on = gate::may_hold_layers(&text)
            || *environment != seen.environment && part.how == How::CommandLine;
        // To be searched for, a text is looked at as a whole.
        if !self.budget.read(text.len()) {
            return;
        }
        let inside = memchr::memmem::find(seen.text.as_bytes(), text.as_bytes());
        if inside.is_some() && !goes_on {
            return;
        }
        if seen.depth == self.limits.depth {
            return self.budget.exceed(Limit::Depth);
        }
        if self.seen.len() > self.limits.layers {
            return self.budget.exceed(Limit::Layers);
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
            self.waiting.push_back(Seen { text, layer, offset, depth, environment, is_line });
        }
    }

    fn note(&mut self, seen: &Seen, at: usize, what: &'static str, size: usize) {
        let again = |noted: &Binary| noted.what == what && noted.size == size;
        if self.found.binaries.len() < self.limits.layers && !self.found.binaries.iter().any(again)
        {
            let offset = seen.offset + at;
            self.found.binaries.push(Binary { what, size, parent: seen.layer, offset });
        }
    }
}
