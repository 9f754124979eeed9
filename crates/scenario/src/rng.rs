//! The one source of chance: SplitMix64, whose numbers are the same everywhere and for ever.

use std::ops::Range;

use evtx_writer::EvtxGuid;

/// Sebastiano Vigna's SplitMix64 (public domain), which any seed does for.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// A source of its own for one part of the story, so that parts do not disturb each other.
    pub(crate) fn part(seed: u64, part: u64) -> Self {
        let mut rng = Self(seed ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03));
        Self(rng.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `range`, which must not be empty.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.within(0..100) < chance
    }

    /// One of some things, of which there must be one.
    pub(crate) fn pick<'t, T>(&mut self, things: &'t [T]) -> &'t T {
        &things[self.within(0..things.len() as u64) as usize]
    }

    pub(crate) fn guid(&mut self) -> EvtxGuid {
        EvtxGuid::from_u128(u128::from(self.next()) << 64 | u128::from(self.next()))
    }

    pub(crate) fn port(&mut self) -> u16 {
        self.within(49_200..65_000) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_numbers_are_those_of_the_reference() {
        // splitmix64.c with x = 1234567, as Rosetta Code lists them.
        let mut rng = Rng(1_234_567);
        let first = [rng.next(), rng.next(), rng.next()];
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
