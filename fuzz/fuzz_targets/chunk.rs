#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use psr_forensics_fuzz::mutate::{self, Random};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let most = max_size.min(data.len());
    mutate::chunk(&mut data[..most], size.min(most), &mut Random::new(seed), |bytes, size| {
        fuzzer_mutate(bytes, size, bytes.len())
    })
});

fuzz_target!(|data: &[u8]| psr_forensics_fuzz::targets::chunk(data));
