//! The reader `spool` under the fuzzer.
#![no_main]

#[path = "../readers/spool.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(
    init: {
        if let Some(dir) = std::env::var_os("NODETALLY_FUZZ_SEEDS") {
            reader::write_seeds(dir.as_ref());
        }
    },
    |input: &[u8]| reader::run(input)
);
