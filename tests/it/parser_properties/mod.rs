//! Properties of every parser of kernel files, for any bytes.

#![allow(clippy::disallowed_methods, reason = "it reads fixtures, and /proc for the oracle's sake")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod netlink;
mod oracle;
mod round_trips;
mod truncation;

use std::fs;
use std::path::{Path, PathBuf};

use nodetally::identity::{BootId, ContainerId, PodUid};
use nodetally::source::cgroup::{
    cpu_max, cpu_stat, io_stat, memory_events, memory_stat, pressure, procs, single,
};
use nodetally::source::proc::net_dev::InterfaceName;
use nodetally::source::proc::{
    diskstats, loadavg, meminfo, mountinfo, net_dev, net_index, net_ipv6_route, net_route,
    net_snmp, pid_cgroup, pid_io, pid_stat, pid_status, stat, uptime, zfs_arcstats, zoneinfo,
};
use proptest::prelude::*;

use crate::support::rounds::cases;

/// One parser: which files it is for, and what it makes of a text, as text.
pub struct Parser {
    pub name: &'static str,
    pub parse: fn(&[u8]) -> Option<String>,
}

macro_rules! parser {
    ($name:literal, $parse:expr) => {
        Parser { name: $name, parse: |text| $parse(text).ok().map(|value| format!("{value:?}")) }
    };
    ($name:literal, $parse:path, into $rows:ty) => {
        Parser {
            name: $name,
            parse: |text| {
                let mut rows = <$rows>::new();
                let told = $parse(text, &mut rows).ok()?;
                Some(format!("{rows:?} {told:?}"))
            },
        }
    };
}

pub fn parsers() -> Vec<Parser> {
    vec![
        parser!("cpu.stat", cpu_stat::parse),
        parser!("cpu.max", cpu_max::parse),
        parser!("io.stat", io_stat::parse, into Vec<io_stat::IoRow>),
        parser!("memory.events", memory_events::parse),
        parser!("memory.stat", memory_stat::parse),
        parser!("pressure", pressure::parse),
        parser!("pressure/irq", pressure::parse_irq),
        parser!("cgroup.procs", procs::parse, into Vec<u32>),
        parser!("memory.current", single::parse_figure),
        parser!("memory.max", single::parse_limit),
        parser!("diskstats", diskstats::parse, into Vec<diskstats::DiskstatsRow>),
        parser!("loadavg", loadavg::parse),
        parser!("meminfo", meminfo::parse),
        parser!("arcstats", zfs_arcstats::parse),
        parser!("zoneinfo", zoneinfo::parse),
        parser!("mountinfo", |text| Ok::<_, ()>(mountinfo::parse(text))),
        parser!("net/dev", net_dev::parse, into Vec<net_dev::InterfaceRow>),
        parser!("net/dev_snmp6", net_index::parse_dev_snmp6),
        parser!("net/igmp", |text| net_index::parse_igmp(
            text,
            InterfaceName::new(b"eth0").unwrap()
        )),
        parser!("net/ipv6_route", net_ipv6_route::parse),
        parser!("net/route", net_route::parse),
        parser!("net/snmp", net_snmp::parse),
        parser!("<pid>/cgroup", |text| pid_cgroup::parse(text, |other, path| other > path)),
        parser!("<pid>/io", pid_io::parse),
        parser!("<pid>/stat", pid_stat::parse),
        parser!("<pid>/status", pid_status::parse),
        parser!("stat", stat::parse),
        parser!("uptime", uptime::parse),
    ]
}

/// Files of a kind in fixtures/, by the ends of their paths.
pub fn fixtures(end: &str) -> Vec<(PathBuf, Vec<u8>)> {
    fn walk(dir: &Path, end: &str, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                walk(&path, end, found);
            } else if path.to_string_lossy().ends_with(end) {
                let text = fs::read(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts"), end, &mut found);
    found.sort();
    found
}

/// Words and bytes that these files are made of, in any order.
fn kernel_words() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"usage_usec",
        b"user_usec",
        b"system_usec",
        b"nr_periods",
        b"max",
        b"some",
        b"full",
        b"avg10=",
        b"total=",
        b"rbytes=",
        b"wbytes=",
        b"8:0",
        b"anon",
        b"file",
        b"inactive_file",
        b"cpu",
        b"cpu0",
        b"btime",
        b"procs_running",
        b"procs_blocked",
        b"MemTotal:",
        b"kB",
        b"read_bytes:",
        b"CapEff:\t",
        b"0000000000080004",
        b"eth0:",
        b"|",
        b"0::/",
        b"name=systemd",
        b"(",
        b")",
        b"S",
        b"- cgroup2",
        b"18446744073709551615",
        b"18446744073709551616",
        b"4294967296",
        b"-1",
        b"0",
        b"7",
        b"0.00",
        b"1.5",
        b".",
        b"=",
        b":",
        b",",
        b" ",
        b" ",
        b" ",
        b"\n",
        b"\n",
        b"\t",
        b"\0",
        b"\xff",
        b"\\040",
        b"\\",
    ];
    prop::collection::vec(prop::sample::select(words), 0..80).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn no_bytes_make_a_parser_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
        for parser in parsers() {
            let _ = (parser.parse)(&text);
        }
        let _ = (BootId::parse(&text), PodUid::parse(&text), ContainerId::parse(&text));
    }

    #[test]
    fn no_words_make_a_parser_panic(text in kernel_words()) {
        for parser in parsers() {
            let _ = (parser.parse)(&text);
        }
    }

    /// A real file with a few bytes changed, left out or put in.
    #[test]
    fn no_flaw_in_a_real_file_makes_a_parser_panic(
        flaws in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        for (file, parser) in truncation::KINDS {
            let mut text = truncation::sample(file).clone();
            for (at, byte, kind) in &flaws {
                if text.is_empty() {
                    break;
                }
                let at = at.index(text.len());
                match kind {
                    0 => text[at] = *byte,
                    1 => drop(text.remove(at)),
                    _ => text.insert(at, *byte),
                }
            }
            let parser = parsers().into_iter().find(|one| one.name == *parser).unwrap();
            let _ = (parser.parse)(&text);
        }
    }

    /// A parser that is used again returns nothing of an earlier text.
    #[test]
    fn rows_of_an_earlier_text_do_not_stay(text in kernel_words()) {
        let (mut used, mut fresh) = (Vec::new(), Vec::new());
        io_stat::parse(b"8:0 rbytes=5 wbytes=6 rios=1 wios=1\n", &mut used).unwrap();
        if io_stat::parse(&text, &mut used).is_ok() {
            io_stat::parse(&text, &mut fresh).unwrap();
            prop_assert_eq!(used, fresh);
        }
        let (mut used, mut fresh) = (Vec::new(), Vec::new());
        procs::parse(b"1\n2\n", &mut used).unwrap();
        if procs::parse(&text, &mut used).is_ok() {
            procs::parse(&text, &mut fresh).unwrap();
            prop_assert_eq!(used, fresh);
        }
    }
}
