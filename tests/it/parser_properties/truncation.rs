//! A file that was cut behind a line says less or nothing, and never something else.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::parser_properties::{Parser, fixtures, parsers};

/// Ends of paths in fixtures/, and the parser that is for them.
pub const KINDS: &[(&str, &str)] = &[
    ("/cpu.stat", "cpu.stat"),
    ("/cpu.max", "cpu.max"),
    ("/io.stat", "io.stat"),
    ("/memory.events", "memory.events"),
    ("/memory.stat", "memory.stat"),
    ("/cpu.pressure", "pressure"),
    ("/memory.pressure", "pressure"),
    ("/cgroup.procs", "cgroup.procs"),
    ("/memory.current", "memory.current"),
    ("/memory.max", "memory.max"),
    ("/pids.max", "memory.max"),
    ("/proc/diskstats", "diskstats"),
    ("/proc/loadavg", "loadavg"),
    ("/proc/meminfo", "meminfo"),
    ("/mountinfo", "mountinfo"),
    ("/net/dev", "net/dev"),
    ("/net/route", "net/route"),
    ("/cgroup", "<pid>/cgroup"),
    ("/io", "<pid>/io"),
    ("/stat", "<pid>/stat"),
    ("/proc/stat", "stat"),
    ("/proc/uptime", "uptime"),
];

/// Files of one kind that differ in shape, a few of them.
fn files(end: &str) -> Vec<Vec<u8>> {
    let is_kind = |path: &str| match end {
        // /proc/stat has another format than /proc/<pid>/stat, and pressure/io than <pid>/io.
        "/stat" => !path.ends_with("/proc/stat"),
        "/io" => !path.ends_with("/pressure/io"),
        "/proc/stat" | "/proc/diskstats" | "/proc/meminfo" => true,
        _ => true,
    };
    let mut by_shape: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (path, text) in fixtures(end) {
        if is_kind(&path.to_string_lossy()) && text.len() < 6_000 {
            let mut shape: Vec<u8> =
                text.iter().map(|b| if b.is_ascii_digit() { b'0' } else { *b }).collect();
            shape.dedup();
            by_shape.entry(shape).or_insert(text);
        }
    }
    let all: Vec<Vec<u8>> = by_shape.into_values().collect();
    let step = all.len().div_ceil(6).max(1);
    all.into_iter().step_by(step).collect()
}

/// The longest of a kind.
pub fn sample(end: &'static str) -> &'static Vec<u8> {
    static SAMPLES: OnceLock<BTreeMap<&str, Vec<u8>>> = OnceLock::new();
    let samples = SAMPLES.get_or_init(|| {
        let longest = |end| files(end).into_iter().max_by_key(Vec::len).unwrap_or_default();
        KINDS.iter().map(|(end, _)| (*end, longest(*end))).collect()
    });
    &samples[end]
}

fn parser(name: &str) -> Parser {
    parsers().into_iter().find(|parser| parser.name == name).unwrap()
}

#[test]
fn every_file_of_every_host_parses() {
    for (end, name) in KINDS {
        let parser = parser(name);
        let mut seen = 0;
        for (path, text) in fixtures(end) {
            let path = path.to_string_lossy().into_owned();
            let other = match *end {
                "/stat" => path.ends_with("/proc/stat"),
                "/io" => path.ends_with("/pressure/io"),
                _ => false,
            };
            // A v1 hierarchy's files are nobody's here.
            if other || path.contains("/cgroup/cpu,cpuacct/") || path.contains("/cgroup/memory/") {
                continue;
            }
            seen += 1;
            assert!((parser.parse)(&text).is_some(), "{path}");
        }
        assert!(seen > 0, "no {end}");
    }
}

/// The figures in a Debug text, in order.
fn figures(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// Cut behind a line, a text may pass for whole: then what it says is what the whole says, or
/// nothing.
#[test]
fn a_file_cut_behind_a_line_invents_nothing() {
    for (end, name) in KINDS {
        let parser = parser(name);
        for whole in files(end) {
            let all = (parser.parse)(&whole).unwrap();
            let ends = (0..whole.len()).filter(|at| whole[*at] == b'\n').map(|at| at + 1);
            for cut in ends.chain([0]) {
                let Some(told) = (parser.parse)(&whole[..cut]) else { continue };
                let context = format!("{end} cut at {cut} of {}: {told}", whole.len());
                assert!(says_no_more(name, &told, &all), "{context}\nwhole: {all}");
            }
        }
    }
}

/// A tool that copies files may strip the last newline. Nothing else may change.
#[test]
fn a_file_without_its_last_newline_is_the_same() {
    // The options of a mount are in no order.
    for (end, name) in KINDS.iter().filter(|(_, name)| *name != "mountinfo") {
        let parser = parser(name);
        for whole in files(end) {
            let Some(bare) = whole.strip_suffix(b"\n") else { continue };
            assert_eq!((parser.parse)(bare), (parser.parse)(&whole), "{end}");
        }
    }
}

fn says_no_more(name: &str, told: &str, all: &str) -> bool {
    match name {
        // Rows: the first ones of the whole.
        "cgroup.procs" | "io.stat" | "diskstats" | "net/dev" | "net/route" => {
            let rows = told.rsplit_once(']').map_or(told, |(rows, _)| rows);
            all.starts_with(rows)
        }
        "mountinfo" => {
            // A cut line is an option less, or a shorter source; the whole lines before it stay.
            let rows = told.matches("Mount {").count();
            let before = told.rsplit_once("Mount {").map_or("([", |(before, _)| before);
            rows <= all.matches("Mount {").count() && same_options(before, all)
        }
        // The path of another hierarchy is one of the lines all the same.
        "<pid>/cgroup" => true,
        // A figure that is there is the whole's; one that is not is None, which has no digits.
        _ => {
            let all = figures(all);
            let mut rest = all.iter();
            figures(told).iter().all(|figure| rest.any(|other| other == figure))
        }
    }
}

/// Options stand in no order, so only how much there is can be compared.
fn same_options(before: &str, all: &str) -> bool {
    let mounts = |text: &str| {
        text.split("mount_point: ")
            .skip(1)
            .map(|mount| mount.split(',').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let before = mounts(before);
    mounts(all).starts_with(&before)
}
