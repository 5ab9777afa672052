//! The cost of parsing each kind of kernel file, without the read.

#![allow(clippy::expect_used, clippy::panic, reason = "text of our own that must parse")]

#[path = "../tests/it/support/host_tree.rs"]
#[allow(dead_code, reason = "only the texts are used here")]
mod host_tree;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nodetally::source::Malformed;
use nodetally::source::cgroup::{cpu_stat, io_stat, memory_events, memory_stat, pressure, single};
use nodetally::source::proc::{diskstats, meminfo, net_dev, pid_stat, stat};

const CPU_STAT: &str = "usage_usec 1867946\nuser_usec 1200000\nsystem_usec 667946\nnice_usec 0\n\
    core_sched.force_idle_usec 0\nnr_periods 18\nnr_throttled 2\nthrottled_usec 16200\n\
    nr_bursts 0\nburst_usec 0\n";
const MEMORY_EVENTS: &str = "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n";
const IO_STAT: &str = "254:0 rbytes=116734976 wbytes=242012160 rios=4524 wios=16229 dbytes=0 \
    dios=0\n253:0 rbytes=116734976 wbytes=242012160 rios=4524 wios=16229 dbytes=0 dios=0\n";
const PID_STAT: &str = "4167 (sleep) S 1004 1004 1004 0 -1 4194304 54 0 0 0 31 12 0 0 20 0 1 0 \
    9045 2293760 316 18446744073709551615 4198400 5785993 140187729607856 0 0 0 0 0 0 1 0 0 17 0 \
    0 0 0 0 0 6141704 6178576 6209536 140187729608330 140187729608338 140187729608338 \
    140187729608681 0\n";

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let mut measure = |name: &str, text: &str, parse: &mut dyn FnMut(&[u8]) -> bool| {
        assert!(parse(text.as_bytes()), "{name} does not parse");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(parse(black_box(text.as_bytes()))));
        });
    };
    let mut text = String::new();
    measure("cpu.stat", CPU_STAT, &mut |text| is_ok(cpu_stat::parse(text)));
    measure("memory.current", "311296\n", &mut |text| is_ok(single::parse_figure(text)));
    host_tree::memory_stat(&mut text, 64 << 20);
    measure("memory.stat", &text, &mut |text| is_ok(memory_stat::parse(text)));
    measure("memory.events", MEMORY_EVENTS, &mut |text| is_ok(memory_events::parse(text)));
    let mut rows = Vec::new();
    measure("io.stat, 2 devices", IO_STAT, &mut |text| is_ok(io_stat::parse(text, &mut rows)));
    host_tree::pressure(&mut text, 50_304_023);
    measure("pressure", &text, &mut |text| is_ok(pressure::parse(text)));
    measure("pid stat", PID_STAT, &mut |text| is_ok(pid_stat::parse(text)));
    let mut rows = Vec::new();
    let devices = host_tree::net_dev(&["lo", "eth0"]);
    measure("net/dev, 2 interfaces", &devices, &mut |text| is_ok(net_dev::parse(text, &mut rows)));
    let mut rows = Vec::new();
    let disks = host_tree::DISKSTATS;
    measure("diskstats, 4 devices", disks, &mut |text| is_ok(diskstats::parse(text, &mut rows)));
    measure("meminfo", &host_tree::meminfo(), &mut |text| is_ok(meminfo::parse(text)));
    for cpus in [2, 128] {
        host_tree::proc_stat(&mut text, cpus, 4467);
        measure(&format!("proc stat, {cpus} CPUs"), &text, &mut |text| is_ok(stat::parse(text)));
    }
    group.finish();
}

/// Makes sure that what was parsed is not optimised away.
fn is_ok<T>(parsed: Result<T, Malformed>) -> bool {
    black_box(parsed).is_ok()
}

criterion_group!(benches, parse);
criterion_main!(benches);
