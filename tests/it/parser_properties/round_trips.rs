//! Figures printed as the kernel prints them come back as they were.

use nodetally::quantity::{Bytes, CpuTime, Limit, Pages, Ticks};
use nodetally::source::cgroup::{
    cpu_max, cpu_stat, io_stat, memory_events, memory_stat, pressure, procs, single,
};
use nodetally::source::proc::{
    diskstats, loadavg, meminfo, mountinfo, net_dev, net_route, net_snmp, pid_cgroup, pid_io,
    pid_stat, stat, uptime,
};
use proptest::prelude::*;

use crate::support::rounds::cases;

/// A count as the kernel can have it.
fn count() -> impl Strategy<Value = u64> {
    0..=u64::MAX / 2
}

fn counts<const N: usize>() -> impl Strategy<Value = [u64; N]> {
    any::<[u64; N]>().prop_map(|all| all.map(|one| one / 2))
}

fn name(of: &'static str) -> impl Strategy<Value = String> {
    proptest::string::string_regex(of).unwrap()
}

/// Escapes a path as the kernel does in mountinfo.
fn escape(path: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}"),
        other => char::from(*other).to_string(),
    };
    path.iter().map(escape).collect()
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn cpu_stat_comes_back(
        usec in counts::<3>(),
        throttling in prop::option::of(counts::<3>()),
        newer in any::<bool>(),
    ) {
        let [usage, user, system] = usec;
        let mut text = format!("usage_usec {usage}\nuser_usec {user}\nsystem_usec {system}\n");
        if newer {
            text.push_str("nice_usec 17\ncore_sched.force_idle_usec 0\n");
        }
        if let Some([periods, throttled, usec]) = throttling {
            text.push_str(&format!(
                "nr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec {usec}\n\
                 nr_bursts 5\nburst_usec 6\n",
            ));
        }
        let stat = cpu_stat::parse(text.as_bytes()).unwrap();
        prop_assert_eq!([Some(stat.usage), stat.user, stat.system], usec.map(CpuTime::from_usec).map(Some));
        let back = stat.throttling.map(|one| {
            [one.periods, one.throttled_periods, one.throttled.as_usec()]
        });
        prop_assert_eq!(back, throttling);
    }

    #[test]
    fn cpu_max_and_limits_come_back(quota in prop::option::of(count()), period in count()) {
        let word = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        let max = cpu_max::parse(format!("{word} {period}\n").as_bytes()).unwrap();
        let limit = quota.map_or(Limit::Max, |quota| Limit::At(CpuTime::from_usec(quota)));
        prop_assert_eq!((max.quota, max.period), (limit, CpuTime::from_usec(period)));
        let limit = quota.map_or(Limit::Max, Limit::At);
        prop_assert_eq!(single::parse_limit(format!("{word}\n").as_bytes()), Ok(limit));
        prop_assert_eq!(single::parse_figure(format!("{period}\n").as_bytes()), Ok(period));
    }

    #[test]
    fn io_stat_comes_back(rows in prop::collection::vec((any::<[u32; 2]>(), counts::<4>()), 0..6)) {
        let lines = rows.iter().map(|([major, minor], [read, written, reads, writes])| {
            format!(
                "{major}:{minor} rbytes={read} wbytes={written} rios={reads} wios={writes} \
                 dbytes=1 dios=2 cost.usage=3\n",
            )
        });
        let mut back = Vec::new();
        io_stat::parse(lines.collect::<String>().as_bytes(), &mut back).unwrap();
        let back: Vec<_> = back
            .iter()
            .map(|row| {
                let figures =
                    [row.read.as_bytes(), row.written.as_bytes(), row.read_ops, row.write_ops];
                ([row.device.major, row.device.minor], figures)
            })
            .collect();
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn memory_comes_back(
        events in counts::<5>(),
        gauges in counts::<6>(),
        kernel in prop::option::of(count()),
    ) {
        let [low, high, max, oom, kills] = events;
        let text = format!(
            "low {low}\nhigh {high}\nmax {max}\noom {oom}\noom_kill {kills}\noom_group_kill 9\n"
        );
        let back = memory_events::parse(text.as_bytes()).unwrap();
        prop_assert_eq!([back.low, back.high, back.max, back.oom, back.oom_kill], events.map(Some));
        let [anon, file, shmem, inactive, active, faults] = gauges;
        let kernel_line = kernel.map(|kernel| format!("kernel {kernel}\n")).unwrap_or_default();
        let text = format!(
            "anon {anon}\nfile {file}\n{kernel_line}kernel_stack 1\npagetables 2\nshmem {shmem}\n\
             file_mapped 3\ninactive_anon 4\nactive_anon 5\ninactive_file {inactive}\n\
             active_file {active}\nunevictable 6\npgfault 7\npgmajfault {faults}\n",
        );
        let back = memory_stat::parse(text.as_bytes()).unwrap();
        let figures = [back.anon, back.file, back.shmem, back.inactive_file, back.active_file];
        let all = [anon, file, shmem, inactive, active];
        prop_assert_eq!(figures, all.map(Bytes::from_bytes).map(Some));
        prop_assert_eq!(back.major_faults, Some(faults));
        prop_assert_eq!(back.kernel.map(Bytes::as_bytes), kernel);
    }

    #[test]
    fn pressure_comes_back(
        some in (0..10_000_u64, count()),
        full in prop::option::of((0..10_000_u64, count())),
    ) {
        let line = |word: &str, (avg10, total): (u64, u64)| {
            format!("{word} avg10={}.{:02} avg60=1.23 avg300=4.56 total={total}\n", avg10 / 100, avg10 % 100)
        };
        let text = line("some", some) + &full.map(|full| line("full", full)).unwrap_or_default();
        let back = pressure::parse(text.as_bytes()).unwrap();
        let pair = |stall: pressure::Stall| (stall.avg10_basis_points, stall.total.as_usec());
        prop_assert_eq!(back.some.map(pair), Some(some));
        prop_assert_eq!(back.full.map(pair), full);
    }

    #[test]
    fn process_lists_come_back(pids in prop::collection::vec(any::<u32>(), 0..40)) {
        let text: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
        let mut back = Vec::new();
        let foreign = procs::parse(text.as_bytes(), &mut back).unwrap().foreign;
        let seen: Vec<u32> = pids.iter().copied().filter(|pid| *pid != 0).collect();
        prop_assert_eq!(foreign, pids.len() - seen.len());
        prop_assert_eq!(back, seen);
    }

    #[test]
    fn a_process_comes_back_whatever_it_is_called(
        comm in prop::collection::vec(1..=255_u8, 0..=63),
        ids in any::<[u32; 3]>(),
        times in counts::<4>(),
        kernel in any::<bool>(),
    ) {
        let [pid, parent, threads] = ids;
        let [user, system, start, rss] = times;
        let flags = if kernel { 0x0020_8040 } else { 0x0040_0000 };
        let mut text = format!("{pid} (").into_bytes();
        text.extend_from_slice(&comm);
        text.extend_from_slice(
            format!(
                ") S {parent} 1 1 34816 -1 {flags} 1 2 3 4 {user} {system} -5 -6 20 -10 {threads} 0 \
                 {start} 1 {rss} 18446744073709551615 1 1 0 0 0 0 0 1 0 0 0 0 17 0 0 0 0 0 0 0 0 0 \
                 0 0 0 0 0\n",
            )
            .as_bytes(),
        );
        let back = pid_stat::parse(&text).unwrap();
        prop_assert_eq!(back.comm.as_bytes(), &comm[..]);
        prop_assert_eq!([Some(back.pid), Some(back.parent_pid), back.threads], ids.map(Some));
        prop_assert_eq!((back.user, back.system), (Some(Ticks::from_ticks(user)), Some(Ticks::from_ticks(system))));
        prop_assert_eq!((back.start_ticks, back.resident), (start, Some(Pages::from_pages(rss))));
        prop_assert_eq!((back.kernel_thread, back.state), (kernel, b'S'));
    }

    /// A field that does not fit is no smaller one.
    #[test]
    fn a_parent_or_thread_count_beyond_32_bits_is_none(beyond in (1_u64 << 32)..) {
        let line = |parent: u64, threads: u64| {
            format!("7 (x) S {parent} 1 1 0 -1 0 0 0 0 0 1 1 0 0 20 0 {threads} 0 5 1 1 0\n")
        };
        prop_assert!(pid_stat::parse(line(1, 1).as_bytes()).is_ok());
        prop_assert!(pid_stat::parse(line(beyond, 1).as_bytes()).is_err());
        prop_assert_eq!(pid_stat::parse(line(1, beyond).as_bytes()).unwrap().threads, None);
    }

    #[test]
    fn process_io_comes_back(figures in counts::<7>()) {
        let keys = ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"];
        let lines = keys.iter().zip(figures).map(|(key, figure)| format!("{key}: {figure}\n"));
        let back = pid_io::parse(lines.collect::<String>().as_bytes()).unwrap();
        prop_assert_eq!(back.read, Some(Bytes::from_bytes(figures[4])));
        let written = figures[5].saturating_sub(figures[6]);
        prop_assert_eq!(back.written, Some(Bytes::from_bytes(written)));
    }

    #[test]
    fn the_nodes_figures_come_back(
        total in counts::<10>(),
        columns in 7..=10_usize,
        cpus in 1..9_u32,
        rest in counts::<3>(),
        load in any::<[u32; 3]>(),
        up in any::<u32>(),
    ) {
        let line = |word: &str| {
            let figures: Vec<String> = total[..columns].iter().map(u64::to_string).collect();
            format!("{word} {}\n", figures.join(" "))
        };
        let [btime, running, blocked] = rest;
        let cpu_lines: String = (0..cpus).map(|cpu| line(&format!("cpu{cpu}"))).collect();
        let text = format!(
            "{}{cpu_lines}intr 7 0 0\nctxt 5\nbtime {btime}\nprocesses 4\nprocs_running {running}\n\
             procs_blocked {blocked}\nsoftirq 1 2\n",
            line("cpu "),
        );
        let back = stat::parse(text.as_bytes()).unwrap();
        let ticks = [
            back.user, back.nice, back.system, back.idle, back.iowait, back.irq, back.softirq,
            back.steal, back.guest, back.guest_nice,
        ];
        let mut expected = total;
        expected[columns..].fill(0);
        prop_assert_eq!(ticks, expected.map(Ticks::from_ticks).map(Some));
        prop_assert_eq!(back.cpus, cpus);
        prop_assert_eq!([back.boot_time_unix_seconds, back.procs_running, back.procs_blocked], rest.map(Some));

        let point = |hundredths: u32| format!("{}.{:02}", hundredths / 100, hundredths % 100);
        let text = format!("{} {} {} 9/232 4122\n", point(load[0]), point(load[1]), point(load[2]));
        let back = loadavg::parse(text.as_bytes()).unwrap();
        let hundredths = [
            back.one_minute_hundredths, back.five_minutes_hundredths, back.fifteen_minutes_hundredths,
        ];
        prop_assert_eq!(hundredths, load.map(u64::from).map(Some));
        let text = format!("{} 12.34\n", point(up));
        prop_assert_eq!(uptime::parse(text.as_bytes()), Ok(u64::from(up)));
    }

    #[test]
    fn meminfo_comes_back(kb in any::<[u32; 8]>(), available in prop::option::of(any::<u32>())) {
        let keys = [
            "MemTotal", "MemFree", "Buffers", "Cached", "Inactive(file)", "SwapTotal", "SwapFree",
            "Slab",
        ];
        let mut text: String =
            keys.iter().zip(kb).map(|(key, kb)| format!("{:<16}{kb:>8} kB\n", format!("{key}:"))).collect();
        if let Some(available) = available {
            text.push_str(&format!("MemAvailable:   {available:>8} kB\n"));
        }
        text.push_str("HugePages_Total:       0\nDirectMap2M:     2068480 kB\n");
        let back = meminfo::parse(text.as_bytes()).unwrap();
        let figures = [
            back.total, back.free, back.buffers, back.cached, back.inactive_file, back.swap_total,
            back.swap_free,
        ];
        let bytes = |kb: u32| u64::from(kb) * 1024;
        let figures: Vec<_> = figures.iter().map(|figure| figure.unwrap().as_bytes()).collect();
        prop_assert_eq!(figures, kb[..7].iter().copied().map(bytes).collect::<Vec<_>>());
        prop_assert_eq!(back.available.map(Bytes::as_bytes), available.map(bytes));
        prop_assert_eq!(back.page_tables, None);
    }

    #[test]
    fn disks_come_back(
        rows in prop::collection::vec((any::<[u32; 2]>(), name("[a-z][a-z0-9!_-]{0,30}"), any::<[u32; 11]>()), 0..5),
        flushes in any::<bool>(),
    ) {
        let text: String = rows
            .iter()
            .map(|([major, minor], name, figures)| {
                let figures: Vec<String> = figures.iter().map(u32::to_string).collect();
                let newer = if flushes { " 1 2 3 4 5 6" } else { "" };
                format!("{major:>4} {minor:>7} {name} {}{newer}\n", figures.join(" "))
            })
            .collect();
        let mut back = Vec::new();
        diskstats::parse(text.as_bytes(), &mut back).unwrap();
        prop_assert_eq!(back.len(), rows.len());
        for (row, ([major, minor], name, figures)) in back.iter().zip(&rows) {
            prop_assert_eq!((row.device.major, row.device.minor), (*major, *minor));
            prop_assert_eq!(row.name(), name.as_bytes());
            prop_assert_eq!(row.read.as_bytes(), u64::from(figures[2]) * 512);
            prop_assert_eq!(row.written.as_bytes(), u64::from(figures[6]) * 512);
            prop_assert_eq!((row.read_ops, row.write_ops), (u64::from(figures[0]), u64::from(figures[4])));
            let figure = |at: usize| Some(u64::from(figures[at]));
            let all = row.activity;
            prop_assert_eq!([all.merged_reads, all.read_ms], [figure(1), figure(3)]);
            prop_assert_eq!([all.merged_writes, all.write_ms], [figure(5), figure(7)]);
            prop_assert_eq!([all.in_progress, all.io_ms, all.weighted_io_ms], [8, 9, 10].map(figure));
        }
    }

    #[test]
    fn interfaces_come_back(
        rows in prop::collection::vec((name("[a-z][a-zA-Z0-9@._-]{0,14}"), counts::<16>()), 0..5),
    ) {
        let mut text = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n".to_owned();
        for (name, figures) in &rows {
            let figures: Vec<String> = figures.iter().map(|figure| format!("{figure:>8}")).collect();
            text.push_str(&format!("{name:>6}: {}\n", figures.join(" ")));
        }
        let mut back = Vec::new();
        net_dev::parse(text.as_bytes(), &mut back).unwrap();
        prop_assert_eq!(back.len(), rows.len());
        for (row, (name, figures)) in back.iter().zip(&rows) {
            prop_assert_eq!(row.name.as_bytes(), name.as_bytes());
            let received = [row.rx_bytes, row.rx_packets, row.rx_errors, row.rx_dropped];
            let sent = [row.tx_bytes, row.tx_packets, row.tx_errors, row.tx_dropped];
            prop_assert_eq!(&received, &figures[..4]);
            prop_assert_eq!(&sent, &figures[8..12]);
        }
    }

    #[test]
    fn default_routes_come_back(
        rows in prop::collection::vec((name("[a-z]{1,9}[0-9]"), any::<bool>(), any::<u32>()), 0..6),
    ) {
        let mut text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n".to_owned();
        for (name, is_default, net) in &rows {
            let (net, mask) = if *is_default { (0, 0) } else { (net | 1, 0x00ff_ffff) };
            text.push_str(&format!("{name}\t{net:08X}\t0100000A\t0003\t0\t0\t0\t{mask:08X}\t0\t0\t0\n"));
        }
        let back = net_route::parse(text.as_bytes()).unwrap();
        let back: Vec<_> = back.iter().map(|name| name.as_bytes().to_vec()).collect();
        let expected: Vec<_> = rows
            .iter()
            .filter(|(_, is_default, _)| *is_default)
            .map(|(name, ..)| name.as_bytes().to_vec())
            .collect();
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn opened_connections_come_back(
        before in prop::collection::vec((name("[A-Z][a-z]{1,9}"), -1..9_i64), 0..6),
        opened in 0..1_u64 << 63,
        after in prop::collection::vec((name("[A-Z][a-z]{1,9}"), any::<u64>()), 0..6),
    ) {
        let names = |row: &[(String, String)]| row.iter().map(|(name, _)| format!(" {name}")).collect::<String>();
        let figures = |row: &[(String, String)]| row.iter().map(|(_, figure)| format!(" {figure}")).collect::<String>();
        let mut row: Vec<(String, String)> =
            before.into_iter().map(|(name, figure)| (name, figure.to_string())).collect();
        row.push(("ActiveOpens".to_owned(), opened.to_string()));
        row.extend(after.into_iter().map(|(name, figure)| (name, figure.to_string())));
        let text = format!("Ip: ActiveOpens\nIp: 7\nTcp:{}\nTcp:{}\n", names(&row), figures(&row));
        prop_assert_eq!(net_snmp::parse(text.as_bytes()), Ok(opened));
    }

    #[test]
    fn the_unified_path_comes_back(path in name("/[^\n\0]{1,40}"), v1 in name("/[a-z/:]{0,60}")) {
        let text = format!("5:memory:{v1}\n1:name=systemd:{v1}\n0::{path}\n");
        let found = pid_cgroup::parse(text.as_bytes(), |_, _| false);
        prop_assert_eq!(found.map(|found| found.best), Ok(path.as_bytes()));
    }

    /// Paths with blanks, tabs, newlines and backslashes, any number of optional fields.
    #[test]
    fn mounts_come_back(
        root in name("/[a-z \\\\\t]{0,12}"),
        point in name("/[a-zA-Z0-9 \\\\\t\n-]{1,20}"),
        optional in 0..3_usize,
    ) {
        let fields = ["shared:7 ", "master:1 ", "propagate_from:2 "][..optional].concat();
        let text = format!(
            "24 20 0:21 {} {} ro,nosuid {fields}- cgroup2 cgroup2 rw,nsdelegate\n",
            escape(root.as_bytes()),
            escape(point.as_bytes()),
        );
        let (mounts, malformed) = mountinfo::parse(text.as_bytes());
        prop_assert_eq!((mounts.len(), malformed), (1, 0));
        prop_assert_eq!(&mounts[0].root, root.as_bytes());
        prop_assert_eq!(mounts[0].mount_point.as_os_str().as_encoded_bytes(), point.as_bytes());
        prop_assert_eq!(&*mounts[0].filesystem, "cgroup2");
        prop_assert!(mounts[0].read_only);
    }
}
