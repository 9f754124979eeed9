//! Equal texts are unwrapped once: a log holds the same script hundreds of times.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Limits, Unwrapped, layers};
use crate::keyed::Keyed;

/// Text that the layers kept may hold, in bytes; what more texts hide is found anew each time.
const MOST_HELD: usize = 16 << 20;

/// Takes the layers off texts, within the default [`Limits`], and remembers what it found.
#[derive(Default)]
pub struct Unwrapper {
    keys: Keyed,
    /// By the text's hash, which is keyed anew in each run: no log can aim at it.
    known: HashMap<u64, Arc<Unwrapped>>,
    /// What most texts hide.
    nothing: Arc<Unwrapped>,
    held: usize,
}

impl Unwrapper {
    /// What a text hides.
    pub fn layers(&mut self, text: &str) -> Arc<Unwrapped> {
        let key = self.keys.of(text);
        if let Some(known) = self.known.get(&key) {
            return Arc::clone(known);
        }
        let found = layers(text, &Limits::default());
        let found = if found.is_empty() { Arc::clone(&self.nothing) } else { Arc::new(found) };
        let size: usize = found.layers.iter().map(|layer| layer.text.len()).sum();
        if self.held + size <= MOST_HELD && self.known.len() < MOST_HELD / size_of::<Unwrapped>() {
            self.held += size;
            self.known.insert(key, Arc::clone(&found));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::layers;

    #[test]
    fn a_text_hides_the_same_the_second_time() {
        let mut unwrapper = Unwrapper::default();
        // UTF-16LE Base64 of "whoami".
        let texts =
            ["powershell -e dwBoAG8AYQBtAGkA", "Get-Date", "powershell -e dwBoAG8AYQBtAGkA"];
        let found = texts.map(|text| unwrapper.layers(text));
        for (found, text) in found.iter().zip(texts) {
            assert_eq!(**found, layers(text, &Limits::default()), "{text}");
        }
        assert_eq!(found[0].layers[0].text, "whoami");
        assert!(Arc::ptr_eq(&found[0], &found[2]));
    }
}
