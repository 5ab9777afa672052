//! The cost of one sample in each dialect: bytes on the wire, and CPU of its encoder.
//!
//! A generated node of 110 pods with two containers and a sandbox each, of which a fifth is active. Bodies
//! alone count, without HTTP's heads.

#![allow(clippy::disallowed_methods, reason = "a bench has a clock and opens files")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench that cannot go on ends"
)]

mod generated;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use generated::host_tree::HostTree;
use generated::{cpu_time, third_sample};
use nodetally::directory::Catalog;
use nodetally::metrics::store::StoreOptions;
use nodetally::payload::dialect::Dialect;
use nodetally::payload::entities::Observation;
use nodetally::payload::options::{EncodeOptions, Message, UnknownPodPolicy};
use nodetally::payload::profile::{CounterForms, Reports};
use nodetally::payload::running_totals::RunningTotals;

const PODS: usize = 110;
const ROUNDS: usize = 50;

/// The median CPU time of many runs.
fn median(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = cpu_time();
            run();
            cpu_time() - start
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2].as_secs_f64() * 1e3
}

fn gzip(body: &[u8]) -> usize {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body).unwrap();
    gzip.finish().unwrap().len()
}

fn print(name: &str, posts: usize, bytes: usize, packed: Option<usize>, cpu: f64) {
    let packed = packed.map_or_else(|| "-".to_owned(), |packed| packed.to_string());
    println!("{name:<28} {posts:>6} {bytes:>10} {packed:>10} {cpu:>9.2}");
}

fn main() {
    // As remote write needs it.
    let options = StoreOptions { keeps_intervals: true, ..StoreOptions::default() };
    let (account, metrics) = third_sample(HostTree::build(PODS), options);
    let view = Observation {
        account: &account,
        catalog: &Catalog::default(),
        filesystems: &BTreeMap::new(),
        node_filesystem: None,
        metrics: Some(&metrics),
    };
    let entities = RunningTotals::default().add(&view);
    println!("{} pods, {} containers", account.pods.len(), account.containers.len());
    println!("{:<28} {:>6} {:>10} {:>10} {:>9}", "dialect", "posts", "bytes", "gzip", "CPU ms");
    for word in ["resource-api", "pod-batch", "otlp", "prometheus-remote-write"] {
        let profile = Dialect::from_word(word).expect("a dialect").profile();
        let Reports::Usage(encode) = profile.reports else { panic!("{word}: no usage") };
        let options = EncodeOptions {
            cumulative: profile.counters == CounterForms::Temporality,
            extras: true,
            unknown_pods: UnknownPodPolicy::Uid { namespace: "unknown".into() },
            ..EncodeOptions::new("node-1")
        };
        let make = || encode(&view, &entities, &options);
        let cpu = median(|| {
            black_box(make());
        });
        let messages = make();
        let sum = |of: &dyn Fn(&Message) -> usize| messages.iter().map(of).sum::<usize>();
        if profile.protocols.is_empty() {
            let packed = sum(&|message| gzip(&message.body));
            print(word, messages.len(), sum(&|message| message.body.len()), Some(packed), cpu);
        }
        let mut forms: Vec<_> = profile.protocols.iter().map(|(_, forms)| forms[0]).collect();
        forms.sort_by_key(|form| form.name);
        forms.dedup_by_key(|form| form.name);
        for form in forms {
            let bytes = sum(&|message| (form.render)(&message.body).len());
            let cpu = cpu
                + median(|| {
                    for message in &messages {
                        black_box((form.render)(&message.body));
                    }
                });
            print(&format!("{word}, {}", form.name), messages.len(), bytes, None, cpu);
        }
    }
}
