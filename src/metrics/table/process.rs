//! The figures of processes, and of the other processes of an owner together.

use crate::metrics::entity::EntityClass;
use crate::metrics::input::Read;
use crate::metrics::metric::{Instrument, Metric, Unit};

pub(super) fn metrics() -> Vec<Metric> {
    const COMMON: Metric = Metric {
        class: EntityClass::Process,
        name: "process.cpu.time",
        instrument: Instrument::Counter,
        unit: Unit::SECONDS,
        attributes: &[],
        help: "CPU time used, in clock ticks.",
        source: "/proc/<pid>/stat utime, stime",
        dump_key: "cpu_usage_usec",
        read: Read::Process(|input| input.cpu_usec),
    };
    const DISK: Metric = Metric {
        name: "process.disk.io",
        unit: Unit::BYTES,
        help: "Bytes read from and written to disks. A write counts when it is made.",
        source: "/proc/<pid>/io",
        ..COMMON
    };
    vec![
        COMMON,
        Metric {
            name: "process.memory.usage",
            instrument: Instrument::UpDownCounter,
            unit: Unit::BYTES,
            help: "The resident set.",
            source: "/proc/<pid>/stat rss",
            dump_key: "memory_resident_bytes",
            read: Read::Process(|input| input.resident_bytes),
            ..COMMON
        },
        Metric {
            attributes: &[("disk.io.direction", "read")],
            dump_key: "disk_read_bytes",
            read: Read::Process(|input| input.read_bytes),
            ..DISK
        },
        Metric {
            attributes: &[("disk.io.direction", "write")],
            dump_key: "disk_written_bytes",
            read: Read::Process(|input| input.written_bytes),
            ..DISK
        },
        Metric {
            name: "process.thread.count",
            instrument: Instrument::UpDownCounter,
            unit: Unit::count("{thread}"),
            help: "Threads.",
            source: "/proc/<pid>/stat num_threads",
            dump_key: "threads",
            read: Read::Process(|input| input.threads),
            ..COMMON
        },
        Metric {
            name: "nodetally.process.count",
            instrument: Instrument::UpDownCounter,
            unit: Unit::count("{process}"),
            help: "Processes: 1 for one with figures of its own, else those of the owner together.",
            source: "/proc",
            dump_key: "processes",
            read: Read::Process(|input| Some(input.processes)),
            ..COMMON
        },
    ]
}
