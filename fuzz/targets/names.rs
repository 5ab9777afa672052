//! The reader `names` under the fuzzer.
#![no_main]

#[path = "../readers/names.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reader::run(input));
