//! The readers of the fuzz targets over their first inputs: a test of what the fuzzer runs, without it.

#[path = "../../fuzz/readers/api_objects.rs"]
mod api_objects;
#[path = "../../fuzz/readers/config.rs"]
mod config;
#[path = "../../fuzz/readers/cri.rs"]
mod cri;
#[path = "../../fuzz/readers/kernel.rs"]
mod kernel;
#[path = "../../fuzz/readers/names.rs"]
mod names;
#[path = "../../fuzz/readers/receiver.rs"]
mod receiver;
#[path = "../../fuzz/readers/spool.rs"]
mod spool;
#[path = "../../fuzz/readers/state.rs"]
mod state;
#[path = "../../fuzz/readers/wire.rs"]
mod wire;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;

/// Runs `run` over the inputs that fuzz/collect-seeds finds and those of `write_seeds`.
fn replay(target: &str, write_seeds: fn(&Path), run: fn(&[u8])) {
    let folder = tempfile::tempdir().unwrap();
    let seeds = folder.path().join("seeds");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/collect-seeds");
    let output = Command::new(script).arg(target).arg(&seeds).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    write_seeds(&seeds);
    let mut inputs = 0;
    let mut failed = Vec::new();
    for entry in fs::read_dir(&seeds).unwrap().flatten() {
        let Ok(input) = fs::read(entry.path()) else { continue };
        inputs += 1;
        if catch_unwind(|| run(&input)).is_err() {
            failed.push(format!("{:?}", String::from_utf8_lossy(&input)));
        }
    }
    assert!(inputs > 0, "{target} has no inputs");
    assert!(failed.is_empty(), "{target} fails at:\n{}", failed.join("\n"));
}

macro_rules! replays {
    ($($name:ident $write_seeds:expr;)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name), $write_seeds, self::$name::run);
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/targets");
            let entries = fs::read_dir(targets).unwrap().flatten();
            let name = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_owned();
            let mut found: Vec<_> = entries.map(name).collect();
            found.sort();
            assert_eq!(found, [$(stringify!($name)),*]);
        }
    };
}

replays! {
    api_objects |_| {};
    config |_| {};
    cri |_| {};
    kernel |_| {};
    names |_| {};
    receiver |_| {};
    spool spool::write_seeds;
    state state::write_seeds;
    wire |_| {};
}
