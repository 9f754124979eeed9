#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| psr_forensics_fuzz::targets::clixml(data));
