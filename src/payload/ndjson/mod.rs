//! The dialect `ndjson`: the lines of `dump --format ndjson`, one for each entity of a sample.
//!
//! ```text
//! {"schema_version":1,"sampled_at":"2026-11-30T02:33:50.120Z","kind":"node","name":"worker-1",…}
//! {"schema_version":1,"sampled_at":"2026-11-30T02:33:50.120Z","kind":"pod","uid":"d757cf9d-…",…}
//! ```
//!
//! `run` has no lines of processes and gaps, and knows less of the host. docs/wire/ndjson.md lists
//! the differences.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::dump::{self, Dump, HostFacts};
use super::entities::Observation;
use super::options::{EncodeOptions, Message, UnknownPodPolicy};
use super::profile::{CounterForms, Order, Profile, Reports, Timestamps};
use super::running_totals::Entities;
use crate::directory::pod::Labels;
use crate::ledger::ProcessOwner;
use crate::ledger::account::PodUsage;
use crate::snapshot::gaps::Gaps;

pub const PROFILE: Profile = Profile {
    name: "ndjson",
    content_type: "application/x-ndjson",
    path_in_url: None,
    reports: Reports::Usage(encode),
    order: Order::Any,
    timestamps: Timestamps::InBody,
    split: Some(split),
    permanent_500: false,
    retried_statuses: None,
    read_answer: None,
    points: None,
    uncompressed_because: None,
    protocols: &[],
    as_json: Some(as_json),
    gzip_by_default: false,
    counters: CounterForms::DeltaAlone,
    bounds_bodies: false,
    is_lines: true,
    has_disk_io: true,
    needs_metrics: false,
    needs_addresses: false,
    ends_series: false,
};

/// The lines of a sample, in as few bodies as their size allows.
#[must_use]
pub fn encode(view: &Observation<'_>, _: &Entities<'_>, options: &EncodeOptions) -> Vec<Message> {
    let lines = with_dump(view, options, 0, |dump| {
        let mut lines = Vec::new();
        // Writing to memory cannot fail.
        let _ = dump::write_ndjson(dump, &mut lines);
        lines
    });
    let body = |body| Message { path: String::new(), body };
    bodies(lines.into(), options.body_bytes_max).into_iter().map(body).collect()
}

/// The result of `write` for a dump of the sample, with the pods that an endpoint wants and as many
/// processes.
pub(super) fn with_dump<T>(
    view: &Observation<'_>,
    options: &EncodeOptions,
    processes_max: usize,
    write: impl FnOnce(&Dump<'_>) -> T,
) -> T {
    let Observation { account, catalog, .. } = *view;
    let host = HostFacts { name: options.node_name.to_string(), ..HostFacts::default() };
    let pods: Vec<&PodUsage> =
        account.pods.iter().filter(|pod| is_sent(pod, view, options)).collect();
    let sent: BTreeSet<String> = pods.iter().map(|pod| pod.uid.to_string()).collect();
    let of_sent = |owner: &ProcessOwner| match owner {
        ProcessOwner::Pod { uid, .. } => sent.contains(uid),
        ProcessOwner::Kernel | ProcessOwner::Container { .. } | ProcessOwner::Unit { .. } => true,
    };
    let exited = account.exited_children.iter();
    let mut processes = dump::largest_processes(account, processes_max);
    processes.retain(|process| of_sent(&ProcessOwner::of(process)));
    write(&Dump {
        host: &host,
        account,
        catalog,
        // The agent logs and counts them.
        gaps: &Gaps::default(),
        filesystems: None,
        pods,
        container_weight: |_| 0,
        units: account.units.iter().collect(),
        processes,
        exited_children: exited
            .filter(|exited| of_sent(&ProcessOwner::of_cgroup(&exited.cgroup)))
            .collect(),
        rests: Vec::new(),
    })
}

/// `true` where a pod passes the filters. One that no source knows has no namespace and no labels.
fn is_sent(pod: &PodUsage, view: &Observation<'_>, options: &EncodeOptions) -> bool {
    let catalog = view.catalog;
    if let Some(known) = catalog.pod(pod.uid).or_else(|| catalog.departed(pod.uid)) {
        return options.filter.matches(&known.namespace, &known.labels);
    }
    match catalog.cgroup(&pod.path) {
        Some(named) => options.filter.matches(&named.namespace, &named.labels),
        None => {
            options.unknown_pods != UnknownPodPolicy::Skip
                && options.filter.matches("", &Labels::default())
        }
    }
}

/// Whole lines, at most `bytes_max` together, but at least one.
fn bodies(mut lines: Bytes, bytes_max: usize) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    while lines.len() > bytes_max {
        let is_end = |byte: &u8| *byte == b'\n';
        let within = lines[..bytes_max].iter().rposition(is_end);
        let end = within.or_else(|| lines.iter().position(is_end)).unwrap_or(lines.len() - 1);
        bodies.push(lines.split_to(end + 1));
    }
    if !lines.is_empty() {
        bodies.push(lines);
    }
    bodies
}

/// About half of the lines each; `None`: there is one line.
fn split(body: &[u8]) -> Option<(Bytes, Bytes)> {
    let is_end = |byte: &u8| *byte == b'\n';
    let middle = body.len() / 2;
    let before = body.get(..middle)?.iter().rposition(is_end);
    // The last line's end splits nothing.
    let after =
        || Some(middle + body.get(middle..body.len().checked_sub(1)?)?.iter().position(is_end)?);
    let (first, second) = body.split_at(before.or_else(after)? + 1);
    Some((Bytes::copy_from_slice(first), Bytes::copy_from_slice(second)))
}

/// The lines as a JSON array.
fn as_json(body: &[u8]) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> =
        body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    Some([b"[", lines.join(&b',').as_slice(), b"]"].concat())
}

#[cfg(test)]
mod tests {
    use super::super::options::PodFilter;
    use super::super::running_totals::RunningTotals;
    use super::super::samples::{
        account, catalog, pod, uid, used, used_by_container, used_by_unit, view,
    };
    use super::super::selector::Selector;
    use super::*;
    use crate::identity::ProcessKey;
    use crate::ledger::account::ExitedChildren;
    use crate::quantity::CpuTime;
    use crate::source::proc::pid_stat::Comm;

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn bodies_are_whole_lines_of_at_most_the_size() {
        let lines = "aaaa\nbb\ncccccccccc\nd\n";
        for (bytes_max, expected) in [
            (100, vec!["aaaa\nbb\ncccccccccc\nd\n"]),
            (21, vec!["aaaa\nbb\ncccccccccc\nd\n"]),
            (20, vec!["aaaa\nbb\ncccccccccc\n", "d\n"]),
            (8, vec!["aaaa\nbb\n", "cccccccccc\n", "d\n"]),
            (7, vec!["aaaa\n", "bb\n", "cccccccccc\n", "d\n"]),
            (1, vec!["aaaa\n", "bb\n", "cccccccccc\n", "d\n"]),
        ] {
            let bodies = bodies(lines.into(), bytes_max);
            assert_eq!(bodies.iter().map(text).collect::<Vec<_>>(), expected, "{bytes_max}");
        }
        assert!(bodies(Bytes::new(), 5).is_empty());
    }

    #[test]
    fn a_body_is_halved_between_lines_down_to_one_line() {
        for (body, expected) in [
            ("aa\nbb\ncc\ndd\n", Some(("aa\nbb\n", "cc\ndd\n"))),
            ("a\nbbbbbbbbbb\n", Some(("a\n", "bbbbbbbbbb\n"))),
            ("bbbbbbbbbb\na\n", Some(("bbbbbbbbbb\n", "a\n"))),
            ("aaaa\n", None),
            ("", None),
        ] {
            let halves = split(body.as_bytes());
            let halves = halves.as_ref().map(|(first, second)| (text(first), text(second)));
            assert_eq!(halves, expected, "{body:?}");
        }
    }

    #[test]
    fn lines_are_shown_as_an_array() {
        assert_eq!(as_json(b"{\"a\":1}\n{\"b\":2}\n").unwrap(), b"[{\"a\":1},{\"b\":2}]");
        assert_eq!(as_json(b"").unwrap(), b"[]");
    }

    #[test]
    fn pods_that_a_filter_holds_back_have_no_line_and_nor_have_their_containers() {
        let mut account = account(vec![used(1, 1), used(2, 2), used(3, 3), used(4, 4)]);
        account.containers = vec![used_by_container(1, 7, 1), used_by_container(2, 8, 2)];
        account.units = vec![used_by_unit("/system.slice/ssh.service", 5)];
        let of_pod = |pod: u32| ExitedChildren {
            parent: ProcessKey { pid: pod, start_ticks: 1 },
            comm: Comm::default(),
            cgroup: used(pod, 1).path.to_vec().into(),
            cpu: CpuTime::ZERO,
        };
        account.exited_children = vec![of_pod(1), of_pod(2)];
        // The third has a name by its cgroup, the fourth none.
        let path = format!("/kubepods/burstable/pod{}", uid(3));
        let catalog = catalog(vec![pod(1, "web"), pod(2, "db")], &[(&path, "mirror")], &[]);
        let view = view(&account, &catalog);
        let mut totals = RunningTotals::default();
        let entities = totals.add(&view);
        let lines = |options: &EncodeOptions| {
            let all = encode(&view, &entities, options);
            let text: String = all.iter().map(|message| text(&message.body)).collect();
            let parsed = text.lines().map(|line| serde_json::from_str(line).unwrap());
            parsed.collect::<Vec<serde_json::Value>>()
        };
        let kinds = |all: &[serde_json::Value], kind: &str| {
            all.iter().filter(|line| line["kind"] == kind).count()
        };
        let counts = |options: &EncodeOptions| {
            let all = lines(options);
            ["pod", "container", "exited_children", "host_unit", "node"]
                .map(|kind| kinds(&all, kind))
        };
        let all = EncodeOptions::new("n1");
        assert_eq!(counts(&all), [4, 2, 2, 1, 1]);
        let skip = EncodeOptions { unknown_pods: UnknownPodPolicy::Skip, ..all.clone() };
        assert_eq!(counts(&skip), [3, 2, 2, 1, 1]);
        for (filter, expected) in [
            (PodFilter { include: vec!["shop".into()], ..PodFilter::default() }, [2, 2, 2, 1, 1]),
            (PodFilter { exclude: vec!["shop".into()], ..PodFilter::default() }, [2, 0, 0, 1, 1]),
            (
                PodFilter { selector: Selector::parse("app=web").unwrap(), ..PodFilter::default() },
                [1, 1, 1, 1, 1],
            ),
            (PodFilter { include: vec!["no".into()], ..PodFilter::default() }, [0, 0, 0, 1, 1]),
        ] {
            let options = EncodeOptions { filter, ..all.clone() };
            assert_eq!(counts(&options), expected, "{:?}", options.filter);
        }
    }
}
