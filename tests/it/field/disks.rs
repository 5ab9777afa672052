//! Layers of block devices: each transfer counts once, whatever it passes through.

use super::host::{BOTH, Dump, Host, MIB, near};

/// A host whose one disk nvme0n1 (259:0), with LVM on it, wrote 249 MiB. A pod caused 200 of them.
const HOST: &str = "6.8-crio-systemd";
const POD: &str = "cd47dd0a";
const POD_DIR: &str = "sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-\
    podcd47dd0a_9310_4c43_afc3_a47f29343e3d.slice";
const CONTAINER: &str =
    "crio-d0a94e0efca245d531730228a43bdf3d00f567237ac2394c72590df134a6527a.scope";
const NODE_WRITTEN: u64 = 249 * MIB;
const POD_WRITTEN: u64 = 200 * MIB;

fn node_written(host: &Host) -> Option<u64> {
    host.dump().node("disk_written_bytes")
}

fn pod_written(dump: &Dump) -> Option<u64> {
    dump.pod(POD)["disk_written_bytes"].as_u64()
}

/// The row of a device that wrote `written` MiB between the instants, and 1 MiB before.
fn disk_row(number: &str, name: &str, instant: usize, written: u64) -> String {
    let (major, minor) = number.split_once(':').unwrap();
    let sectors = (1 + instant as u64 * written) * 2048;
    format!(
        " {major} {minor} {name} 8 0 64 0 {} 0 {sectors} 0 0 0 0 0 0 0 0 0 0\n",
        8 + sectors / 8
    )
}

/// Adds a device. `target` is its place below /sys/devices; none: sysfs does not show it.
fn add_device(host: &Host, number: &str, name: &str, written: u64, target: Option<&str>) {
    for instant in BOTH {
        host.append(instant, "proc/diskstats", &disk_row(number, name, instant, written));
        if let Some(target) = target {
            let entry = name.replace('/', "!");
            host.make_dir(instant, &format!("sys/devices/{target}"));
            host.link(instant, &format!("sys/block/{entry}"), &format!("../devices/{target}"));
        }
    }
}

/// Adds bytes written by the pod's container to the rows of these devices in io.stat.
fn pod_writes(host: &Host, devices: &[&str], written: u64) {
    let parents = ["kubepods.slice", "kubepods.slice/kubepods-burstable.slice"];
    let dirs = parents.map(|dir| format!("sys/fs/cgroup/{dir}"));
    let own = [POD_DIR.to_owned(), format!("{POD_DIR}/{CONTAINER}")];
    for instant in BOTH {
        for dir in dirs.iter().chain(&own) {
            io_stat_gains(host, instant, dir, devices, written * instant as u64);
        }
    }
}

fn io_stat_gains(host: &Host, instant: usize, dir: &str, devices: &[&str], gained: u64) {
    let file = format!("{dir}/io.stat");
    let mut text = host.read(instant, &file);
    for device in devices {
        let row =
            text.lines().find(|line| line.starts_with(&format!("{device} "))).map(str::to_owned);
        match row {
            Some(row) => {
                let (head, tail) = row.split_once("wbytes=").unwrap();
                let (figure, tail) = tail.split_once(' ').unwrap();
                let now = figure.parse::<u64>().unwrap() + gained;
                text = text.replace(&row, &format!("{head}wbytes={now} {tail}"));
            }
            None => text.push_str(&format!(
                "{device} rbytes=0 wbytes={gained} rios=0 wios={} dbytes=0 dios=0\n",
                gained / 65536
            )),
        }
    }
    host.write(instant, &file, &text);
}

/// The disk and its layers write more in the interval.
fn disk_gains(host: &Host, names: &[&str], gained: u64) {
    for name in names {
        host.edit_line(
            1,
            "proc/diskstats",
            |line| line.split_whitespace().nth(2) == Some(name),
            |line| {
                let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
                fields[9] = (fields[9].parse::<u64>().unwrap() + gained / 512).to_string();
                format!("   {}", fields.join(" "))
            },
        );
    }
}

/// Gives a loop device a file at `path`.
fn loop_file(host: &Host, name: &str, path: &str) {
    for instant in BOTH {
        let file = format!("sys/devices/virtual/block/{name}/loop/backing_file");
        host.write(instant, &file, &format!("{path}\n"));
    }
}

/// Adds devices, the first with 1 MiB, the next with 2, then 4: what is counted shows in the sum.
fn add_devices(host: &Host, devices: &[(&str, &str, Option<&str>)]) {
    for (at, (number, name, target)) in devices.iter().enumerate() {
        add_device(host, number, name, 1 << at, *target);
    }
}

#[test]
fn devices_without_hardware_are_not_the_nodes_disks() {
    let virtual_devices = [
        ("230:0", "zd0", Some("virtual/block/zd0")),
        ("230:16", "zd16", Some("virtual/block/zd16")),
        ("43:0", "nbd0", Some("virtual/block/nbd0")),
        ("259:40", "ublkb0", Some("virtual/block/ublkb0")),
        ("147:0", "drbd0", Some("virtual/block/drbd0")),
        ("252:0", "bcache0", Some("virtual/block/bcache0")),
        ("152:0", "etherd/e0.0", Some("virtual/block/etherd!e0.0")),
        ("251:0", "nullb0", Some("virtual/block/nullb0")),
        ("250:0", "zram1", Some("virtual/block/zram1")),
        ("9:127", "md127", Some("virtual/block/md127")),
        ("7:3", "loop3", Some("virtual/block/loop3")),
        // A partition of one of them.
        ("230:1", "zd0p1", None),
    ];
    let host = Host::copy(HOST);
    add_devices(&host, &virtual_devices);
    // One whose name is not known to anybody.
    add_device(&host, "249:0", "veil0", 1 << 13, Some("virtual/block/veil0"));
    assert_eq!(node_written(&host), Some(NODE_WRITTEN));
    let host = Host::copy(HOST);
    let without_sysfs = virtual_devices.map(|(number, name, _)| (number, name, None));
    add_devices(&host, &without_sysfs);
    assert_eq!(node_written(&host), Some(NODE_WRITTEN));
}

#[test]
fn disks_of_machines_virtual_machines_and_networks_are_the_nodes_disks() {
    let disks = [
        ("8:0", "sda", "pci0000:00/0000:00:17.0/ata1/host1/target1:0:0/1:0:0:0/block/sda"),
        ("8:16", "sdb", "platform/host3/session1/target3:0:0/3:0:0:0/block/sdb"),
        ("254:0", "vda", "virtio-mmio-cmdline/virtio-mmio.0/virtio0/block/vda"),
        ("254:16", "vdb", "LNXSYSTM:00/LNXSYBUS:00/LNRO0005:01/virtio1/block/vdb"),
        ("202:0", "xvda", "vbd-51712/block/xvda"),
        ("251:0", "rbd0", "rbd/0/block/rbd0"),
        ("179:0", "mmcblk0", "platform/soc/fe340000.mmc/mmc_host/mmc0/mmc0:0001/block/mmcblk0"),
        ("259:9", "nvme1n1", "virtual/nvme-subsystem/nvme-subsys1/nvme1n1"),
        ("259:10", "nvme2n1", "virtual/nvme-fabrics/ctl/nvme2/nvme2n1"),
    ];
    let host = Host::copy(HOST);
    add_devices(&host, &disks.map(|(number, name, target)| (number, name, Some(target))));
    assert_eq!(node_written(&host), Some(NODE_WRITTEN + 511 * MIB));
}

/// A microVM, and nodes whose only disk is served by another host.
#[test]
fn where_nothing_else_is_there_the_lowest_device_is_the_disk() {
    let only = [
        ("254:0", "vda", Some("platform/a000000.virtio_mmio/virtio0/block/vda")),
        ("43:0", "nbd0", Some("virtual/block/nbd0")),
        ("43:0", "nbd0", None),
    ];
    for (number, name, target) in only {
        let host = Host::copy(HOST);
        for instant in BOTH {
            std::fs::remove_dir_all(host.path(instant, "sys/block")).unwrap();
            host.make_dir(instant, "sys/block");
            host.write(instant, "proc/diskstats", " 11 0 sr0 0 0 0 0 0 0 0 0 0 0 0\n");
        }
        add_device(&host, number, name, 100, target);
        // A device mapper on it is no second disk.
        add_device(&host, "253:0", "dm-0", 100, Some("virtual/block/dm-0"));
        for instant in BOTH {
            host.make_dir(instant, &format!("sys/devices/virtual/block/dm-0/slaves/{name}"));
        }
        let written = node_written(&host);
        assert!(near(written, 100 * MIB), "{name} {target:?}: {written:?}");
    }
}

/// The hidden rows of the ways to an NVMe disk come before the disk's own, all with the number 0:0.
/// `shares`: what went each way, in MiB; `head_counts`: as since Linux 6.4.
fn multipath(shares: &[u64], head_counts: bool, in_sysfs: bool) -> Host {
    let host = Host::copy(HOST);
    for instant in BOTH {
        host.edit(instant, "proc/diskstats", |text| {
            let rows: String = text
                .lines()
                .map(|line| match line.contains(" nvme0n1 ") && !head_counts {
                    true => "259 0 nvme0n1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n".to_owned(),
                    false => format!("{line}\n"),
                })
                .collect();
            let paths = shares
                .iter()
                .enumerate()
                .map(|(at, share)| disk_row("0:0", &format!("nvme0c{at}n1"), instant, *share));
            paths.chain([rows]).collect()
        });
        for at in 0..shares.len() {
            if in_sysfs {
                let place = format!("devices/pci0000:00/0000:00:1d.0/nvme/nvme{at}/nvme0c{at}n1");
                host.write(instant, &format!("sys/{place}/hidden"), "1\n");
                host.link(instant, &format!("sys/block/nvme0c{at}n1"), &format!("../{place}"));
            }
        }
    }
    host
}

#[test]
fn an_nvme_disk_counts_once_beside_the_ways_to_it() {
    let cases: [(&[u64], bool, bool); 5] = [
        (&[249], true, true),
        (&[249, 0], true, false),
        (&[149, 100], true, true),
        (&[149, 100], false, true),
        (&[83, 83, 83], false, false),
    ];
    for (shares, head_counts, in_sysfs) in cases {
        let written = node_written(&multipath(shares, head_counts, in_sysfs));
        assert!(near(written, NODE_WRITTEN), "{shares:?} {head_counts} {in_sysfs}: {written:?}");
    }
}

/// Loop devices without direct I/O, whose files are all on dm-1: the bytes below are nobody's. The
/// pod wrote to dm-0 besides. A device whose disk is not found is taken to be on that one.
#[test]
fn a_loop_files_disk_is_found_below_filesystems_without_a_number() {
    let mounts = [
        "60 28 0:45 / /srv/b1 rw - btrfs /dev/mapper/vg0-data rw,subvol=/",
        "61 28 0:46 / /srv/b2 rw - btrfs /dev/vg0/data rw,subvol=/",
        "62 28 0:47 / /srv/b3 rw - btrfs /dev/dm-1 rw,subvol=/",
        // Its own source says nothing, and there is one btrfs filesystem only.
        "63 28 0:48 / /srv/b4 rw - btrfs /dev/root rw,subvol=/",
        "64 28 0:49 / /srv/b5 rw - bcachefs /dev/dm-1:/dev/dm-9 rw",
        "65 28 0:50 / /srv/o1 rw - overlay overlay rw,lowerdir=/l,upperdir=/var/lib/data/u,workdir=/w",
        "66 28 0:51 / /srv/o2 rw - overlay overlay rw,lowerdir=/l,upperdir=/srv/o1/u,workdir=/w",
        "67 28 0:52 / /var/lib/data/o3 rw - overlay overlay rw,lowerdir=l,upperdir=u,workdir=w",
        // A mount below a mount, and one that hides an earlier one.
        "68 28 0:53 / /srv/n rw - tmpfs tmpfs rw",
        "69 68 0:45 /sub /srv/n/deep rw - btrfs /dev/mapper/vg0-data rw,subvol=/sub",
        "70 28 0:54 / /srv/h rw - tmpfs tmpfs rw",
        "71 28 253:1 / /srv/h rw - xfs /dev/mapper/vg0-data rw",
    ];
    let files = [
        "/var/lib/data/disk.img",
        "/var/lib/data/disk.img (deleted)",
        "/dev/mapper/vg0-data",
        "/srv/b1/disk.img",
        "/srv/b2/disk.img",
        "/srv/b3/disk.img",
        "/srv/b4/disk.img",
        "/srv/b5/disk.img",
        "/srv/o1/disk.img",
        "/srv/o2/disk.img",
        "/var/lib/data/o3/disk.img",
        "/srv/n/deep/disk.img",
        "/srv/h/disk.img",
    ];
    let host = Host::copy(HOST);
    for instant in BOTH {
        host.append(instant, "proc/1/mountinfo", &format!("{}\n", mounts.join("\n")));
        host.make_dir(instant, "sys/fs/btrfs/features");
        host.make_dir(instant, "sys/fs/btrfs/5b3c/devices/dm-1");
    }
    for (at, path) in files.iter().enumerate() {
        let (number, name) = (format!("7:{}", 10 + at), format!("loop{}", 10 + at));
        add_device(&host, &number, &name, 1 << at, Some(&format!("virtual/block/{name}")));
        loop_file(&host, &name, path);
        pod_writes(&host, &[&number], MIB << at);
    }
    assert_eq!(pod_written(&host.dump()), Some(POD_WRITTEN + 8191 * MIB));
}

/// On btrfs on LVM on NVMe, with direct I/O: every layer is in the pod's name.
#[test]
fn what_a_loop_device_passes_down_in_its_writers_name_counts_once() {
    let host = Host::copy(HOST);
    loop_file(&host, "loop0", "/srv/disk.img");
    for instant in BOTH {
        let mount = "60 28 0:45 / /srv rw - btrfs /dev/mapper/vg0-root rw\n";
        host.append(instant, "proc/1/mountinfo", mount);
    }
    pod_writes(&host, &["7:0", "253:0", "259:0"], 100 * MIB);
    disk_gains(&host, &["nvme0n1", "nvme0n1p3", "dm-0"], 100 * MIB);
    let dump = host.dump();
    assert!(near(pod_written(&dump), POD_WRITTEN + 100 * MIB));
    assert!(near(dump.node("disk_written_bytes"), NODE_WRITTEN + 100 * MIB));
}

#[test]
fn a_loop_file_that_cannot_be_found_does_not_double_what_it_passes_down() {
    let host = Host::copy(HOST);
    pod_writes(&host, &["7:0", "253:0", "259:0"], 100 * MIB);
    disk_gains(&host, &["nvme0n1", "nvme0n1p3", "dm-0"], 100 * MIB);
    let dump = host.dump();
    assert!(near(pod_written(&dump), POD_WRITTEN + 100 * MIB));
    assert!(near(dump.node("disk_written_bytes"), NODE_WRITTEN + 100 * MIB));
}

#[test]
fn a_loop_file_in_a_pool_counts_for_its_writer_and_one_in_memory_does_not() {
    // The mount, what the disk has of 100 MiB, and what the pod has of them.
    let places = [
        ("63 28 0:47 / /srv rw - zfs tank/data rw", 100, 100),
        ("63 28 0:47 / /srv rw - tmpfs tmpfs rw", 0, 0),
        ("63 28 0:47 / /srv rw - nfs4 server:/srv rw", 0, 100),
        ("63 28 0:47 / /srv rw - fuse.sshfs server:/srv rw", 0, 100),
    ];
    for (mount, disk, pod) in places {
        let host = Host::copy(HOST);
        loop_file(&host, "loop0", "/srv/disk.img");
        for instant in BOTH {
            host.append(instant, "proc/1/mountinfo", &format!("{mount}\n"));
        }
        pod_writes(&host, &["7:0"], 100 * MIB);
        disk_gains(&host, &["nvme0n1"], disk * MIB);
        let dump = host.dump();
        assert!(near(pod_written(&dump), POD_WRITTEN + pod * MIB), "{mount}");
        assert!(near(dump.node("disk_written_bytes"), NODE_WRITTEN + disk * MIB), "{mount}");
    }
}

#[test]
fn a_pod_has_its_transfers_to_a_zvol_and_to_a_served_device() {
    let host = Host::copy(HOST);
    for (number, name) in [("230:0", "zd0"), ("43:0", "nbd0"), ("259:40", "ublkb0")] {
        add_device(&host, number, name, 100, Some(&format!("virtual/block/{name}")));
        pod_writes(&host, &[number], 100 * MIB);
    }
    assert!(near(pod_written(&host.dump()), POD_WRITTEN + 300 * MIB));
}

const JOURNAL: &str = "systemd-journald.service";

/// The pod writes 100 MiB through a loop device without direct I/O, onto dm-1. `charged` MiB of what
/// the disk writes are a unit's, of nobody otherwise; the disk writes `disk` MiB.
fn buffered_loop(charged: u64, disk: u64) -> Dump {
    let host = Host::copy(HOST);
    loop_file(&host, "loop0", "/var/lib/data/disk.img");
    pod_writes(&host, &["7:0"], 100 * MIB);
    disk_gains(&host, &["nvme0n1", "nvme0n1p3", "dm-1"], disk * MIB);
    for dir in ["system.slice".to_owned(), format!("system.slice/{JOURNAL}")] {
        let dir = format!("sys/fs/cgroup/{dir}");
        for instant in BOTH {
            let gained = instant as u64 * charged * MIB;
            io_stat_gains(&host, instant, &dir, &["253:1", "259:0"], gained);
        }
    }
    host.dump()
}

#[test]
fn what_the_kernel_writes_to_a_loop_file_counts_for_who_wrote_to_the_device() {
    let plain = Host::copy(HOST).dump();
    let unit = |dump: &Dump| dump.unit(JOURNAL)["disk_written_bytes"].as_u64().unwrap();
    // What the unit is charged for, what the disk writes, and what the unit wrote itself.
    for (charged, disk, own) in [(0, 100, 0), (100, 100, 0), (150, 150, 50), (30, 130, 30)] {
        let dump = buffered_loop(charged, disk);
        let case = format!("{charged} {disk}");
        assert!(near(pod_written(&dump), POD_WRITTEN + 100 * MIB), "{case}");
        assert!(near(Some(unit(&dump)), unit(&plain) + own * MIB), "{case}: {}", unit(&dump));
        let unattributed = |dump: &Dump| dump.unattributed("disk_written_bytes").unwrap();
        let more = unattributed(&dump) - unattributed(&plain);
        assert!(more.abs() < 1 << 16, "{case}: {more} more without an owner");
    }
}

#[test]
fn a_served_device_is_in_its_users_figure_and_not_in_the_balance_of_the_disks() {
    let plain = Host::copy(HOST).dump();
    let host = Host::copy(HOST);
    add_device(&host, "43:0", "nbd0", 100, Some("virtual/block/nbd0"));
    pod_writes(&host, &["43:0"], 100 * MIB);
    let dump = host.dump();
    assert!(near(pod_written(&dump), POD_WRITTEN + 100 * MIB));
    let unattributed = |dump: &Dump| dump.unattributed("disk_written_bytes");
    assert_eq!(unattributed(&dump), unattributed(&plain));
}
