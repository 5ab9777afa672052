//! The reader `receiver` under the fuzzer.
#![no_main]

#[path = "../readers/receiver.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reader::run(input));
