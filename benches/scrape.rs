//! The cost of an answer to a scraper: CPU, and memory above that of the sample.
//!
//! A generated node of 250 pods with two containers and a sandbox each, and 60 units, all of them young: so
//! OpenMetrics has the start of each counter. The aim is at most 10 ms of CPU for the text and 1 MiB. The
//! bench fails beyond 1 MiB, and says where the time is missed.

#![allow(clippy::disallowed_methods, reason = "a bench has a clock and opens files")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench that cannot go on ends"
)]

#[path = "../tests/allocations/counting.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod counting;
mod generated;

use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use generated::host_tree::HostTree;
use generated::{cpu_time, third_sample};
use nodetally::metrics::sample::MetricSample;
use nodetally::metrics::store::StoreOptions;
use nodetally::payload::open_metrics::TextFormat;
use nodetally::payload::prometheus::{EntityFilter, MetricText};

const PODS: usize = 250;
const UNITS: usize = 60;
const ROUNDS: usize = 50;
const CPU_MAX: Duration = Duration::from_millis(10);
const PEAK_MAX: isize = 1 << 20;
/// As the server makes them.
const PIECE_BYTES: usize = 64 << 10;

fn sample() -> MetricSample {
    let tree = HostTree::build(PODS);
    let slice = tree.path().join("sys/fs/cgroup/system.slice");
    let units = || fs::read_dir(&slice).unwrap().flatten().filter(|entry| entry.path().is_dir());
    for more in units().count()..UNITS {
        let unit = slice.join(format!("more-{more}.service"));
        fs::create_dir(&unit).unwrap();
        for file in fs::read_dir(slice.join("unit-2.service")).unwrap().flatten() {
            fs::copy(file.path(), unit.join(file.file_name())).unwrap();
        }
        fs::write(unit.join("cgroup.procs"), "").unwrap();
    }
    third_sample(tree, StoreOptions::default()).1
}

/// Makes the text as the server does; its size, and that of what is sent.
fn render(sample: &Arc<MetricSample>, format: TextFormat, packs: bool) -> [usize; 2] {
    let mut text = MetricText::new(Arc::clone(sample), format, EntityFilter::default());
    let mut gzip = packs.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
    let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
    let [mut bytes, mut sent] = [0; 2];
    loop {
        piece.clear();
        let goes_on = text.write(&mut piece, PIECE_BYTES);
        bytes += piece.len();
        match &mut gzip {
            Some(gzip) => {
                gzip.write_all(&piece).unwrap();
                sent += std::mem::take(gzip.get_mut()).len();
            }
            None => sent += piece.len(),
        }
        if !goes_on {
            return [bytes, sent];
        }
    }
}

fn main() {
    let sample = Arc::new(sample());
    let of = |word: &str| {
        sample.entries.iter().filter(|entry| entry.entity.id.class().as_str() == word).count()
    };
    println!("{} pods, {} containers, {} units:", of("pod"), of("container"), of("unit"));
    let mut failed = false;
    for (name, format) in
        [("OpenMetrics", TextFormat::OpenMetrics), ("text 0.0.4", TextFormat::Prometheus)]
    {
        for packs in [false, true] {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                let start = cpu_time();
                std::hint::black_box(render(&sample, format, packs));
                times.push(cpu_time() - start);
            }
            times.sort_unstable();
            let time = times[ROUNDS / 2];
            let before = counting::held();
            let (peak, [bytes, sent]) = counting::peak_in(|| render(&sample, format, packs));
            let peak = peak - before;
            let gzip = if packs { ", gzip" } else { "" };
            println!(
                "  {name}{gzip}: {:.2} ms of CPU, {} KiB above the sample, {} KiB of text, {} KiB sent",
                time.as_secs_f64() * 1e3,
                peak >> 10,
                bytes >> 10,
                sent >> 10
            );
            // Packing is the scraper's wish, and costs more than the text.
            if !packs && time > CPU_MAX {
                println!("    more than the aim of {CPU_MAX:?}");
            }
            failed |= peak > PEAK_MAX;
        }
    }
    assert!(!failed, "more than {} KiB", PEAK_MAX >> 10);
}
