//! The table of `nodetally status`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::table::{Grid, Style, nothing};
use crate::payload::size::size;
use crate::payload::status::{
    BacklogReport, EndpointReport, EndpointState, SourceReport, StatusReport,
};
use crate::printable::printable;
use crate::quantity::{Bytes, counted};

/// The longest text of another program, in characters.
const WORDS_CHARS_MAX: usize = 200;

pub(super) fn render(status: &StatusReport, style: Style) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = write!(out, "{}", style.bold(&words(&status.node)));
    let _ = writeln!(
        out,
        "  nodetally {}, pid {}, up {}",
        words(&status.version),
        status.pid,
        time(status.up_ms)
    );
    let _ = writeln!(out, "{}", samples(status));
    endpoints(status, style, &mut out);
    directory(status, style, &mut out);
    out
}

fn samples(status: &StatusReport) -> String {
    let sampling = &status.sampling;
    let Some(last) = &sampling.last else { return "no sample yet".to_owned() };
    let mut text = format!(
        "{}, one every {}; the last {} ago: {} in {:.1} ms",
        counted(sampling.samples, "sample", "samples"),
        time(sampling.interval_ms),
        time(last.age_ms),
        counted(last.cgroups, "cgroup", "cgroups"),
        last.took_usec as f64 / 1000.0
    );
    if last.gaps > 0 {
        let _ = write!(text, ", {}", counted(last.gaps, "gap", "gaps"));
    }
    if !status.is_healthy {
        text.push_str("; NO LONGER SAMPLING");
    }
    text
}

const ENDPOINT_HEADS: [&str; 9] =
    ["STATE", "SAMPLES", "POSTS", "MEMORY", "DISK", "OLDEST", "ACCEPTED", "DROPPED", "SUCCESS"];

fn endpoints(status: &StatusReport, style: Style, out: &mut String) {
    let mut grid = Grid::new(format!("ENDPOINTS ({})", status.endpoints.len()), ENDPOINT_HEADS);
    for endpoint in &status.endpoints {
        let BacklogReport { samples, posts, .. } = endpoint.waiting;
        let ago = |age_ms: u64| format!("{} ago", time(age_ms));
        grid.add(
            words(&endpoint.name),
            [
                format!("{} {}", word(endpoint.state), time(endpoint.state_ms)),
                samples.to_string(),
                posts.to_string(),
                size(Bytes::from_bytes(endpoint.in_memory.bytes)),
                size(Bytes::from_bytes(endpoint.on_disk.bytes)),
                endpoint.oldest_age_ms.map_or_else(nothing, time),
                endpoint.accepted_posts.to_string(),
                endpoint.dropped_posts.values().sum::<u64>().to_string(),
                endpoint.last_success_age_ms.map_or_else(nothing, ago),
            ],
        );
    }
    grid.draw(style, out);
    for endpoint in &status.endpoints {
        details(endpoint, out);
    }
}

fn word(state: EndpointState) -> &'static str {
    match state {
        EndpointState::Healthy => "healthy",
        EndpointState::Degraded => "degraded",
        EndpointState::Rejecting => "rejecting",
        EndpointState::Down => "down",
        EndpointState::Unknown => "?",
    }
}

/// Values of an endpoint that have no column, without those that are zero.
fn details(endpoint: &EndpointReport, out: &mut String) {
    let own = if endpoint.embedded { " (the agent's own receiver)" } else { "" };
    let _ = writeln!(out, "\n{} at {}{own}", words(&endpoint.name), words(&endpoint.url));
    let mut answers: Vec<String> =
        endpoint.answers.iter().map(|(status, count)| format!("{count} × {status}")).collect();
    if endpoint.unanswered > 0 {
        answers.push(format!("{} × none", endpoint.unanswered));
    }
    let retries = match endpoint.retries {
        0 => String::new(),
        retries => format!("; {}", counted(retries, "retry", "retries")),
    };
    if !answers.is_empty() {
        let _ = writeln!(out, "  answers  {}{retries}", answers.join(", "));
    }
    let drops = reasons(&endpoint.dropped_posts);
    if !drops.is_empty() {
        let _ = writeln!(out, "  dropped  {drops}");
    }
    let moved = [("recovered", endpoint.recovered_posts), ("merged", endpoint.merged_posts)];
    let moved: Vec<String> = moved
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(outcome, count)| format!("{count} {outcome}"))
        .collect();
    if !moved.is_empty() {
        let _ = writeln!(out, "  posts    {}", moved.join(", "));
    }
    let points = reasons(&endpoint.dropped_points);
    if !points.is_empty() {
        let _ = writeln!(out, "  points   {points} refused by the server");
    }
    if endpoint.restarts > 0 {
        let _ = writeln!(out, "  panics   {}, each logged", endpoint.restarts);
    }
    if let Some(error) = &endpoint.spool_error {
        let _ = writeln!(out, "  disk     {}", words(error));
    }
}

/// The reasons that have a count, with it.
fn reasons(counts: &BTreeMap<String, u64>) -> String {
    let counts = counts.iter().filter(|(_, count)| **count > 0);
    let counts: Vec<String> =
        counts.map(|(reason, count)| format!("{count} {}", words(reason))).collect();
    counts.join(", ")
}

fn directory(status: &StatusReport, style: Style, out: &mut String) {
    if status.directory.is_empty() {
        return;
    }
    let mut grid = Grid::new("DIRECTORY".to_owned(), ["STATE", "KNOWN", "AGE"]);
    for source in &status.directory {
        let state = match (source.failing_ms, source.age_ms) {
            (Some(since), _) => format!("failing {}", time(since)),
            (None, None) => "pending".to_owned(),
            (None, Some(_)) => "healthy".to_owned(),
        };
        let age = source.age_ms.map_or_else(nothing, time);
        grid.add(words(&source.source), [state, source.known.to_string(), age]);
    }
    grid.draw(style, out);
    let errors =
        status.directory.iter().filter_map(|SourceReport { source, last_error, .. }| {
            Some(format!("{}: {}", words(source), words(last_error.as_deref()?)))
        });
    for error in errors {
        let _ = writeln!(out, "{error}");
    }
    for source in status.directory.iter().filter(|source| source.restarts > 0) {
        let (name, panics) = (words(&source.source), counted(source.restarts, "panic", "panics"));
        let _ = writeln!(out, "{name}: {panics}, each logged");
    }
}

/// The text of another program, escaped and shortened.
fn words(text: &str) -> String {
    let mut shown: String = text.chars().take(WORDS_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    printable(&shown)
}

/// A time in its two largest units; below 10 s in tenths of a second.
fn time(millis: u64) -> String {
    if millis < 10_000 {
        let tenths = millis / 100;
        return match tenths % 10 {
            0 => format!("{}s", tenths / 10),
            tenth => format!("{}.{tenth}s", tenths / 10),
        };
    }
    let whole = humantime::format_duration(Duration::from_secs(millis / 1000)).to_string();
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::payload::status::{LastSample, SCHEMA_VERSION, SamplingReport};

    const PLAIN: Style = Style { colour: false, width: None, top: usize::MAX };

    #[test]
    fn a_time_has_its_two_largest_units() {
        let shown =
            [0, 3_240, 9_999, 10_000, 192_000, 3_600_000, 11_532_000, 200_000_000].map(time);
        assert_eq!(shown, ["0s", "3.2s", "9.9s", "10s", "3m 12s", "1h", "3h 12m", "2days 7h"]);
    }

    #[test]
    fn an_agent_with_an_endpoint_that_is_down_is_shown_whole() {
        let healthy = EndpointReport {
            name: "central".to_owned(),
            url: "http://10.0.0.1:5000/".to_owned(),
            state: EndpointState::Healthy,
            state_ms: 11_532_000,
            accepted_posts: 85_470,
            last_success_age_ms: Some(2_000),
            answers: BTreeMap::from([(201, 85_470)]),
            ..EndpointReport::default()
        };
        let waiting = BacklogReport { samples: 48, posts: 5328, bytes: 6 << 20 };
        let down = EndpointReport {
            name: "other".to_owned(),
            url: "https://other.example.com/".to_owned(),
            state: EndpointState::Down,
            state_ms: 723_000,
            waiting,
            on_disk: waiting,
            oldest_age_ms: Some(725_000),
            recovered_posts: 3,
            accepted_posts: 80_000,
            dropped_posts: BTreeMap::from([("stale".to_owned(), 3), ("closed".to_owned(), 0)]),
            answers: BTreeMap::from([(201, 80_000), (503, 7)]),
            unanswered: 12,
            retries: 19,
            last_success_age_ms: Some(725_000),
            spool_error: Some("no space \u{1b}[2J is left".to_owned()),
            ..EndpointReport::default()
        };
        let source = SourceReport {
            restarts: 2,
            source: "kubernetes".to_owned(),
            known: 9,
            age_ms: Some(312_000),
            last_error: Some("connection refused".to_owned()),
            failing_ms: Some(300_000),
        };
        let status = StatusReport {
            schema_version: SCHEMA_VERSION,
            version: "0.1.0".to_owned(),
            node: "worker-1".to_owned(),
            pid: 4711,
            at: String::new(),
            up_ms: 11_540_000,
            is_healthy: true,
            sampling: SamplingReport {
                interval_ms: 15_000,
                samples: 770,
                last: Some(LastSample { age_ms: 3_200, took_usec: 12_400, cgroups: 120, gaps: 2 }),
            },
            directory: vec![source],
            endpoints: vec![healthy, down],
        };
        let expected = "\
worker-1  nodetally 0.1.0, pid 4711, up 3h 12m
770 samples, one every 15s; the last 3.2s ago: 120 cgroups in 12.4 ms, 2 gaps

ENDPOINTS (2)           STATE  SAMPLES  POSTS  MEMORY      DISK  OLDEST  ACCEPTED  DROPPED     SUCCESS
central        healthy 3h 12m        0      0     0 B       0 B       -     85470        0      2s ago
other             down 12m 3s       48   5328     0 B  6.00 MiB  12m 5s     80000        3  12m 5s ago

central at http://10.0.0.1:5000/
  answers  85470 × 201

other at https://other.example.com/
  answers  80000 × 201, 7 × 503, 12 × none; 19 retries
  dropped  3 stale
  posts    3 recovered
  disk     no space \\u{1b}[2J is left

DIRECTORY        STATE  KNOWN     AGE
kubernetes  failing 5m      9  5m 12s
kubernetes: connection refused
kubernetes: 2 panics, each logged
";
        assert_eq!(render(&status, PLAIN), expected);
    }

    #[test]
    fn an_agent_without_samples_or_that_no_longer_samples_is_recognised() {
        let fresh = StatusReport::default();
        assert!(render(&fresh, PLAIN).contains("\nno sample yet\n"));
        let sampling =
            SamplingReport { last: Some(LastSample::default()), ..SamplingReport::default() };
        let stopped = StatusReport { sampling, ..StatusReport::default() };
        assert!(render(&stopped, PLAIN).contains("NO LONGER SAMPLING"));
    }
}
