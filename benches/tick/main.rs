//! Full ticks (sample and settle) next to their floor: the same files, pread from open descriptors
//! into one buffer, nothing parsed.
//!
//! First over generated trees on tmpfs, then, where that is allowed, over cgroups and processes of
//! its own on the running kernel. Tick and floor take turns, and each sees the same activity right
//! before it; what stands in the tables is the median of the rounds, in CPU time.
//!
//! `cargo bench --bench tick [-- generated|kernel]`, or `-- --pods COUNT ROUNDS` for one row over
//! the running kernel and pods that stay (the guest's scenario `cost`).

#![allow(clippy::disallowed_methods, reason = "a bench has a clock, opens files, starts children")]
#![allow(clippy::expect_used, clippy::panic, reason = "a bench that cannot go on ends")]

mod floor;
#[path = "../../tests/it/support/host_tree.rs"]
#[allow(dead_code, reason = "the tests and the other bench use the rest of it")]
mod host_tree;
mod real_kernel;

use std::path::PathBuf;
use std::time::Duration;

use floor::{Floor, Recorder};
use host_tree::{Activity, HostTree};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use nodetally::ledger::{Account, Ledger};
use nodetally::quantity::{BootTime, WallTime};
use nodetally::snapshot::ReadCounts;
use nodetally::snapshot::roots::Roots;
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};

/// Ticks before anything is measured: every cgroup had its turn to be read in full.
const WARM_UP: usize = 20;

/// CPU time of this thread, the kernel's work for it included: what others do on the machine
/// meanwhile is not in it, but for their share of its caches.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the thread's CPU time");
    Duration::from(time)
}

fn boot_time() -> BootTime {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME");
    let (seconds, nanos) = (time.tv_sec() as u64, time.tv_nsec() as u64);
    BootTime::from_nanos(seconds * 1_000_000_000 + nanos)
}

/// The measurements of one tree and one activity.
struct Measured {
    work: ReadCounts,
    /// Files that the floor read where the tick read `work.files_read`.
    floor_files: u64,
    floor: Duration,
    sample: Duration,
    settle: Duration,
}

/// Takes turns: activity, tick, activity, floor.
fn measure(
    roots: &Roots,
    options: SamplerOptions,
    rounds: usize,
    mut activity: impl FnMut(),
) -> (Measured, Account) {
    let cgroups = roots.find_cgroup2().path.expect("a cgroup2 mount");
    let procfs = roots.procfs.clone();
    let units = roots.units;
    let mut sampler = Sampler::open(roots.clone(), options).expect("a readable procfs");
    let mut ledger = Ledger::new(units);
    let mut account = Account::default();
    let mut recorder = Recorder::new(options);
    let (open_max, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of open files");
    let mut floor = Floor::new((open_max as usize).saturating_sub(4096).clamp(256, 65_536));
    let mut rows: Vec<(ReadCounts, u64, [Duration; 3])> = Vec::new();
    for round in 0..WARM_UP + rounds {
        recorder.before_tick(sampler.snapshot());
        activity();
        let start = cpu_time();
        sampler.sample(&boot_time, WallTime::default());
        let sampled = cpu_time();
        ledger.settle(sampler.snapshot(), &mut account);
        let settled = cpu_time();
        let snapshot = sampler.snapshot();
        let files: Vec<PathBuf> = recorder.after_tick(snapshot, &procfs, &cgroups);
        if round < WARM_UP {
            continue;
        }
        floor.prepare(&files);
        activity();
        let (count, took) = floor.read(&files);
        rows.push((snapshot.counts, count, [took, sampled - start, settled - sampled]));
    }
    // The tick of the median number of files stands for the work.
    rows.sort_by_key(|row| row.0.files_read);
    let median_of = |part: usize| median(rows.iter().map(|row| row.2[part]).collect());
    let (work, floor_files, _) = rows[rows.len() / 2];
    let measured = Measured {
        work,
        floor_files,
        floor: median_of(0),
        sample: median_of(1),
        settle: median_of(2),
    };
    (measured, account)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn print_heading() {
    println!(
        "{:>5} {:<16} {:>11} {:>11} {:>9} {:>9} {:>6} {:>9} {:>8} {:>9} {:>9}",
        "pods",
        "active",
        "files: tick",
        "floor",
        "floor us",
        "tick us",
        "ratio",
        "sample us",
        "ledger",
        "processes",
        "skipped",
    );
}

fn print_row(pods: usize, active: &str, measured: &Measured) {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let tick = measured.sample + measured.settle;
    println!(
        "{pods:>5} {active:<16} {:>11} {:>11} {:>9.0} {:>9.0} {:>6.2} {:>9.0} {:>8.0} {:>9} {:>9}",
        measured.work.files_read,
        measured.floor_files,
        micros(measured.floor),
        micros(tick),
        micros(tick) / micros(measured.floor),
        micros(measured.sample),
        micros(measured.settle),
        measured.work.processes_read,
        measured.work.processes_skipped,
    );
}

fn generated_trees() {
    println!("\ngenerated trees on tmpfs, 3 containers and 6 processes a pod");
    print_heading();
    for pods in [10, 110, 500] {
        for (name, activity) in [
            ("nobody", Activity::Nobody),
            ("same fifth", Activity::SameFifth),
            ("next fifth", Activity::NextFifth),
            ("all", Activity::All),
        ] {
            let mut tree = HostTree::build(pods);
            let roots = tree.roots();
            let (measured, account) =
                measure(&roots, SamplerOptions::default(), 40, || tree.advance(activity));
            assert_eq!(account.pods.len(), pods, "the tree's pods were found");
            print_row(pods, name, &measured);
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [park, cgroup, network] = &arguments[..]
        && park == real_kernel::PARK
    {
        return real_kernel::park(cgroup, network);
    }
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    if let [pods, count, rounds] = &arguments[..]
        && pods == real_kernel::PODS
    {
        let figure = |text: &String| text.parse().expect("--pods COUNT ROUNDS");
        if let Err(reason) = real_kernel::run_one(figure(count), figure(rounds)) {
            eprintln!("{reason}");
            std::process::exit(1);
        }
        return;
    }
    let wanted = |part: &str| {
        let mut words = arguments.iter().filter(|word| !word.starts_with('-')).peekable();
        words.peek().is_none() || words.any(|word| word == part)
    };
    if wanted("generated") {
        generated_trees();
    }
    if wanted("kernel") {
        real_kernel::run();
    }
}
