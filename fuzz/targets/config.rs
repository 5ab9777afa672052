//! The reader `config` under the fuzzer.
#![no_main]

#[path = "../readers/config.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reader::run(input));
