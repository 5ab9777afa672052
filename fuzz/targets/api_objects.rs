//! The reader `api_objects` under the fuzzer.
#![no_main]

#[path = "../readers/api_objects.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reader::run(input));
