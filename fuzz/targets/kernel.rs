//! The reader `kernel` under the fuzzer.
#![no_main]

#[path = "../readers/kernel.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reader::run(input));
