//! The reader `cri` under the fuzzer.
#![no_main]

#[path = "../readers/cri.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reader::run(input));
