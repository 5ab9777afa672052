//! Every parser of a kernel's file or message, each with every input.

use std::fmt::Debug;

use nodetally::source::Malformed;
use nodetally::source::cgroup::{
    cpu_max, cpu_stat, io_stat, memory_events, memory_stat, pressure, procs, single,
};
use nodetally::source::netlink::inet_diag;
use nodetally::source::proc::{
    diskstats, loadavg, meminfo, mountinfo, net_dev, net_index, net_ipv6_route, net_route,
    net_snmp, pid_cgroup, pid_io, pid_stat, pid_status, stat, uptime, zfs_arcstats, zoneinfo,
};

/// Reads one input.
pub fn run(text: &[u8]) {
    whole(text, cpu_max::parse);
    whole(text, cpu_stat::parse);
    whole(text, loadavg::parse);
    whole(text, meminfo::parse);
    whole(text, memory_events::parse);
    whole(text, memory_stat::parse);
    whole(text, net_snmp::parse);
    whole(text, pid_io::parse);
    whole(text, pid_status::parse_uid);
    whole(text, pressure::parse);
    whole(text, pressure::parse_irq);
    whole(text, single::parse_figure);
    whole(text, single::parse_limit);
    whole(text, stat::parse);
    whole(text, uptime::parse);
    whole(text, zfs_arcstats::parse);
    whole(text, zoneinfo::parse);
    if let Some(held) = whole(text, pid_status::parse) {
        assert!(held.iter().all(|capability| held.has(capability)));
    }

    // Rows: no more than lines, and nothing left of the rows that stood there before.
    rows(text, diskstats::parse);
    rows(text, io_stat::parse);
    rows(text, net_dev::parse);
    rows(text, procs::parse);
    for parse in [net_route::parse, net_ipv6_route::parse] {
        if let Some(names) = whole(text, parse) {
            assert!(names.len() <= lines(text));
        }
    }
    whole(text, net_index::parse_dev_snmp6);
    if let Some(name) = net_dev::InterfaceName::new(b"eth0") {
        whole(text, |text| net_index::parse_igmp(text, name));
    }

    if let Some(stat) = whole(text, pid_stat::parse) {
        let comm = stat.comm.as_bytes();
        assert!(comm.is_empty() || text.windows(comm.len()).any(|part| part == comm));
    }
    if let Some(found) = whole(text, |text| pid_cgroup::parse(text, |other, path| other > path)) {
        let path = found.best;
        assert!(path == b"/" || text.windows(path.len() + 1).any(|part| part[1..] == *path));
    }

    let (mounts, malformed) = mountinfo::parse(text);
    assert!(mounts.len() + malformed <= lines(text) + 1);
    let written: usize =
        mounts.iter().map(|m| m.root.len() + m.source.as_deref().map_or(0, str::len)).sum();
    // A byte that is no UTF-8 becomes a sign of three.
    assert!(written <= 3 * text.len());

    // A socket takes its headers and as much of a tcp_info as is read.
    let mut sockets = 0;
    let _ = inet_diag::parse(text, |_| sockets += 1);
    assert!(sockets * (16 + 72 + 4 + 144) <= text.len());
}

/// The last line may lack its newline.
fn lines(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'\n').count()
}

fn whole<'t, T>(text: &'t [u8], parse: impl Fn(&'t [u8]) -> Result<T, Malformed>) -> Option<T> {
    parse(text).ok()
}

fn rows<R: Clone + Debug + PartialEq, T: Debug + PartialEq>(
    text: &[u8],
    parse: impl Fn(&[u8], &mut Vec<R>) -> Result<T, Malformed>,
) {
    let mut rows = Vec::new();
    let parsed = parse(text, &mut rows);
    assert!(rows.len() <= lines(text) || parsed.is_err());
    if parsed.is_ok() && !rows.is_empty() {
        let first = rows.clone();
        assert_eq!(parse(text, &mut rows), parsed);
        assert_eq!(rows, first);
    }
}
