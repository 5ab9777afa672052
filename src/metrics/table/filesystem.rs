//! The figures of the node's filesystems.

use crate::metrics::entity::EntityClass;
use crate::metrics::input::{Read, kept};
use crate::metrics::metric::{Instrument, Metric, Unit};

pub(super) fn metrics() -> Vec<Metric> {
    const BYTES: Metric = Metric {
        class: EntityClass::Filesystem,
        name: "system.filesystem.usage",
        instrument: Instrument::UpDownCounter,
        unit: Unit::BYTES,
        attributes: &[],
        help: "Space of a filesystem by state: used, free to everybody, or reserved.",
        source: "statfs",
        dump_key: "",
        read: Read::Filesystem(|_| None),
    };
    const INODES: Metric = Metric {
        name: "nodetally.filesystem.inodes",
        unit: Unit::count("{inode}"),
        help: "Inodes of a filesystem by state; absent where it makes them as it needs them.",
        ..BYTES
    };
    vec![
        Metric {
            name: "system.filesystem.limit",
            help: "Size of a filesystem.",
            dump_key: "filesystems[].capacity_bytes",
            read: Read::Filesystem(|usage| Some(kept(usage.capacity_bytes))),
            ..BYTES
        },
        Metric {
            attributes: &[("system.filesystem.state", "used")],
            dump_key: "filesystems[].used_bytes",
            read: Read::Filesystem(|usage| Some(kept(usage.used_bytes))),
            ..BYTES
        },
        Metric {
            attributes: &[("system.filesystem.state", "free")],
            dump_key: "filesystems[].available_bytes",
            read: Read::Filesystem(|usage| Some(kept(usage.available_bytes))),
            ..BYTES
        },
        Metric {
            attributes: &[("system.filesystem.state", "reserved")],
            read: Read::Filesystem(|usage| {
                let reserved = usage.capacity_bytes.checked_sub(usage.used_bytes)?;
                reserved.checked_sub(usage.available_bytes).map(kept)
            }),
            ..BYTES
        },
        Metric {
            name: "nodetally.filesystem.inodes.limit",
            help: "Inodes of a filesystem; absent where it makes them as it needs them.",
            dump_key: "filesystems[].inodes",
            read: Read::Filesystem(|usage| (usage.inodes > 0).then(|| kept(usage.inodes))),
            ..INODES
        },
        Metric {
            attributes: &[("system.filesystem.state", "free")],
            dump_key: "filesystems[].inodes_free",
            read: Read::Filesystem(|usage| (usage.inodes > 0).then(|| kept(usage.inodes_free))),
            ..INODES
        },
    ]
}
