//! The figures of cgroups that were created and removed between two samples.

use crate::metrics::entity::EntityClass;
use crate::metrics::input::{Read, kept};
use crate::metrics::metric::{Instrument, Metric, Unit};

pub(super) fn metrics() -> Vec<Metric> {
    const BYTES: Metric = Metric {
        class: EntityClass::Exited,
        name: "nodetally.exited.disk.io",
        instrument: Instrument::Counter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Bytes read from and written to disks by cgroups that lived between two samples.",
        source: "io.stat of the cgroup above",
        dump_key: "",
        read: Read::Exited(|_| None),
    };
    const NETWORK: Metric = Metric {
        name: "nodetally.exited.network.io",
        help: "Bytes of TCP connections of cgroups that lived between two samples.",
        source: "sock_diag",
        ..BYTES
    };
    vec![
        Metric {
            name: "nodetally.exited.cpu.time",
            unit: Unit::SECONDS,
            help: "CPU time of cgroups that lived between two samples.",
            source: "cpu.stat of the cgroup above",
            dump_key: "conservation.exited[].cpu_usage_usec",
            read: Read::Exited(|exited| Some(kept(exited.cpu.as_usec()))),
            ..BYTES
        },
        Metric {
            attributes: &[("disk.io.direction", "read")],
            dump_key: "conservation.exited[].disk_read_bytes",
            read: Read::Exited(|exited| Some(kept(exited.disk.read.as_bytes()))),
            ..BYTES
        },
        Metric {
            attributes: &[("disk.io.direction", "write")],
            dump_key: "conservation.exited[].disk_written_bytes",
            read: Read::Exited(|exited| Some(kept(exited.disk.written.as_bytes()))),
            ..BYTES
        },
        Metric {
            attributes: &[("network.io.direction", "receive")],
            dump_key: "conservation.exited[].network_rx_bytes",
            read: Read::Exited(|exited| Some(kept(exited.network.rx.as_bytes()))),
            ..NETWORK
        },
        Metric {
            attributes: &[("network.io.direction", "transmit")],
            dump_key: "conservation.exited[].network_tx_bytes",
            read: Read::Exited(|exited| Some(kept(exited.network.tx.as_bytes()))),
            ..NETWORK
        },
    ]
}
