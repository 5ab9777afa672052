//! Files of the agent's own that anything may have happened to: the counters of the last run, with
//! the settling that goes on from them, and the two tables of a captured host (an empty line between
//! them).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nodetally::checkpoint::StateDir;
use nodetally::ledger::{Account, Counters, Ledger};
use nodetally::runtime::capture;
use nodetally::snapshot::Snapshot;
use nodetally::snapshot::roots::{Roots, Units};
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};
use tempfile::TempDir;

const HOST: &str = "fixtures/hosts/5.15-hybrid";

/// Writes the first inputs, which only the code itself can make.
pub fn write_seeds(dir: &Path) {
    let mut ledger = ledger();
    ledger.settle(&host().before, &mut Account::default());
    let state = StateDir::open(dir).expect("a directory");
    state.save(ledger.counters().expect("settled once")).expect("a file");
}

/// Reads one input.
pub fn run(bytes: &[u8]) {
    let place = place();
    fs::write(place.path().join("counters.json"), bytes).expect("a file");
    let state = StateDir::open(place.path()).expect("a directory");
    match state.load() {
        Ok(Some(counters)) => {
            state.save(&counters).expect("what was read is written");
            let again = state.load().expect("what was written is read");
            assert_eq!(again.as_ref(), Some(&counters));
            let mut ledger = ledger();
            // As if they were of the host's own boot: others are passed over.
            ledger.resume(Counters { boot: host().after.boot, ..counters });
            let mut account = Account::default();
            for snapshot in [&host().after, &host().after] {
                ledger.settle(snapshot, &mut account);
            }
        }
        Ok(None) => {}
        Err(error) => assert!(error.to_string().len() < 4096, "{error}"),
    }
    captured(place, bytes);
}

fn captured(place: &TempDir, bytes: &[u8]) {
    // JSON is no TOML: only what is meant for them is worth writing four files.
    if bytes.starts_with(b"{") {
        return;
    }
    let at = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
    let (instant, cgroups) = bytes.split_at(at);
    let cgroups = cgroups.get(2..).unwrap_or_default();
    for dir in ["t0", "t1"] {
        let dir = place.path().join(dir);
        fs::create_dir_all(&dir).expect("a directory");
        fs::write(dir.join("instant.toml"), instant).expect("a file");
        fs::write(dir.join("cgroups.tsv"), cgroups).expect("a file");
    }
    let _ = capture::load(place.path());
}

/// In memory, since it is written at every run.
fn place() -> &'static TempDir {
    static PLACE: OnceLock<TempDir> = OnceLock::new();
    PLACE.get_or_init(|| TempDir::new_in("/dev/shm").expect("a directory in memory"))
}

struct Host {
    before: Snapshot,
    after: Snapshot,
    units: Units,
}

fn host() -> &'static Host {
    static HOST_READ: OnceLock<Host> = OnceLock::new();
    HOST_READ.get_or_init(|| {
        let [before, after] = capture::load(&host_dir()).expect("a captured host");
        Host { units: before.units, before: sampled(before), after: sampled(after) }
    })
}

fn sampled(roots: Roots) -> Snapshot {
    let captured = roots.captured.clone().expect("a captured host");
    let mut sampler = Sampler::open(roots, SamplerOptions::default()).expect("its procfs");
    sampler.sample(&|| captured.at, captured.wall);
    let read = sampler.snapshot();
    Snapshot {
        boot: read.boot,
        begun_at: read.begun_at,
        ended_at: read.ended_at,
        wall: read.wall,
        node: read.node.clone(),
        topology: read.topology.clone(),
        cgroups: read.cgroups.clone(),
        namespaces: read.namespaces.clone(),
        sockets: read.sockets.clone(),
        ..Snapshot::default()
    }
}

fn ledger() -> Ledger {
    Ledger::new(host().units)
}

/// The captured host, below the package of the tests or beside that of the fuzzer.
fn host_dir() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut places = package.ancestors().map(|dir| dir.join(HOST));
    places.find(|dir| dir.is_dir()).expect("a captured host")
}
