//! The reader `wire` under the fuzzer.
#![no_main]

#[path = "../readers/wire.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reader::run(input));
