use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::directory::Catalog;
use crate::directory::pod::{Container, Phase, Pod};
use crate::ledger::account::{ContainerUsage, PodUsage, Usage};
use crate::payload::options::PodFilter;
use crate::payload::running_totals::RunningTotals;
use crate::payload::samples::*;
use crate::payload::selector::Selector;
use crate::quantity::BootTime;

const WAITING: UnknownPodPolicy = UnknownPodPolicy::Wait;

fn by_uid() -> UnknownPodPolicy {
    UnknownPodPolicy::Uid { namespace: "unknown".into() }
}

struct Sent(Vec<(String, Value)>);

impl Sent {
    /// The post of this path below `/api/namespaces/`.
    fn of(&self, pod: &str) -> Option<&Value> {
        let (namespace, name) = pod.split_once('/').unwrap();
        let path = format!("/api/namespaces/{namespace}/pods/{name}/metrics");
        self.0.iter().find(|(sent, _)| *sent == path).map(|(_, body)| body)
    }

    fn read_bytes(&self, pod: &str) -> Option<u64> {
        self.of(pod).map(|body| body["disk_io"]["read_bytes"].as_u64().unwrap())
    }

    fn pods(&self) -> usize {
        self.0.iter().filter(|(path, _)| path.starts_with("/api/namespaces/")).count()
    }
}

fn sent(view: &Observation<'_>, entities: &Entities<'_>, options: &EncodeOptions) -> Sent {
    let messages = encode(view, entities, options);
    let read = |message: Message| (message.path, serde_json::from_slice(&message.body).unwrap());
    Sent(messages.into_iter().map(read).collect())
}

fn options(unknown_pods: UnknownPodPolicy) -> EncodeOptions {
    EncodeOptions { unknown_pods, extras: true, ..EncodeOptions::new("node-1") }
}

/// One interval, to an endpoint without filters.
fn tick(
    totals: &mut RunningTotals,
    pods: Vec<PodUsage>,
    catalog: &Catalog,
    unknown: UnknownPodPolicy,
) -> Sent {
    let account = account(pods);
    let view = view(&account, catalog);
    let entities = totals.add(&view);
    sent(&view, &entities, &options(unknown))
}

fn once(pods: Vec<PodUsage>, catalog: &Catalog, unknown: UnknownPodPolicy) -> Sent {
    tick(&mut RunningTotals::default(), pods, catalog, unknown)
}

#[test]
fn a_known_pod_is_posted_by_its_name_with_all_that_is_known() {
    let mut web = pod(1, "web-6877cbddcc-lm9mb");
    web.labels = labels(&[("app", "web"), ("pod-template-hash", "6877cbddcc")]);
    web.owners = vec![owner("ReplicaSet", "web-6877cbddcc")];
    let restarted = Container { last_id: Some(container_id(11)), ..container("app", 10) };
    web.containers = vec![restarted, container("log", 12)];
    let catalog = catalog(vec![web], &[], &[]);
    let mut account = account(vec![used(1, 7)]);
    let gone = ContainerUsage { exited: true, ..used_by_container(1, 11, 2) };
    account.containers = vec![
        used_by_container(1, 9, 1), // the sandbox
        used_by_container(1, 10, 3),
        gone,
        used_by_container(1, 12, 1),
    ];
    let view = view(&account, &catalog);
    let entities = RunningTotals::default().add(&view);
    let all = sent(&view, &entities, &options(WAITING));
    let expected = json!({
        "cpu_millicores": 7, "memory_bytes": 7 << 20, "node_name": "node-1",
        "disk_io": {"read_bytes": 7, "write_bytes": 70},
        "network_io": {"bytes_recv": 700, "bytes_sent": 7000},
        "pod_uid": "00000001-0000-0000-0000-000000000000", "qos_class": "Burstable",
        "deployment_name": "web", "workload_kind": "Deployment", "workload_name": "web",
        "labels": {"app": "web", "pod-template-hash": "6877cbddcc"},
        "window_millis": 15_000, "cpu_nanocores": 7_000_000,
        "containers": [
            {"name": "app", "cpu_nanocores": 5_000_000, "memory_bytes": 3 << 20},
            {"name": "log", "cpu_nanocores": 1_000_000, "memory_bytes": 1 << 20},
        ],
    });
    assert_eq!(all.of("shop/web-6877cbddcc-lm9mb"), Some(&expected));

    let plain = EncodeOptions { extras: false, ..options(WAITING) };
    let all = sent(&view, &entities, &plain);
    let post = all.of("shop/web-6877cbddcc-lm9mb").unwrap().as_object().unwrap();
    let keys: Vec<&str> = post.keys().map(String::as_str).collect();
    assert_eq!(keys, ["cpu_millicores", "disk_io", "memory_bytes", "network_io", "node_name"]);
}

#[test]
fn only_running_pods_are_sent() {
    let with = |phase: Phase| Pod { phase, ..pod(1, "web") };
    let is_sent = |pod: Pod, usage: PodUsage| {
        once(vec![usage], &catalog(vec![pod], &[], &[]), by_uid()).of("shop/web").is_some()
    };
    assert!(is_sent(with(Phase::Running), used(1, 1)));
    let deleting = Pod { deletion_timestamp: Some("2026".into()), ..with(Phase::Running) };
    assert!(is_sent(deleting, used(1, 1)), "the kubelet is at it, and it runs still");
    assert!(!is_sent(with(Phase::Pending), used(1, 1)));
    assert!(!is_sent(with(Phase::Succeeded), used(1, 1)), "terminated, and its cgroup still there");
    assert!(!is_sent(with(Phase::Failed), used(1, 1)));
    let idle = Usage { processes: 0, ..usage(1) };
    assert!(is_sent(with(Phase::Unknown), used(1, 1)));
    assert!(!is_sent(with(Phase::Unknown), PodUsage { usage: idle, ..used(1, 1) }));
    let none = once(Vec::new(), &catalog(vec![with(Phase::Running)], &[], &[]), by_uid());
    assert_eq!(none.pods(), 0, "nothing is known of what it uses");
}

#[test]
fn what_flowed_before_a_pod_was_known_comes_with_its_first_post() {
    let nobody = Catalog::default();
    let known = catalog(vec![pod(1, "web")], &[], &[]);
    let pending = catalog(vec![Pod { phase: Phase::Pending, ..pod(1, "web") }], &[], &[]);
    let mut totals = RunningTotals::default();
    for figure in [1, 2] {
        assert_eq!(tick(&mut totals, vec![used(1, figure)], &nobody, WAITING).pods(), 0);
    }
    assert_eq!(tick(&mut totals, vec![used(1, 4)], &pending, WAITING).pods(), 0);
    let first = tick(&mut totals, vec![used(1, 8)], &known, WAITING);
    assert_eq!(first.read_bytes("shop/web"), Some(1 + 2 + 4 + 8));
    let cpu = &first.of("shop/web").unwrap()["cpu_millicores"];
    assert_eq!(*cpu, 1 + 2 + 4 + 8, "the CPU time of its start is not lost");
    let second = tick(&mut totals, vec![used(1, 16)], &known, WAITING);
    assert_eq!(second.read_bytes("shop/web"), Some(16));
    assert_eq!(second.of("shop/web").unwrap()["cpu_millicores"], 16);
}

#[test]
fn what_was_sent_under_the_uid_is_not_sent_again_under_the_name() {
    let known = catalog(vec![pod(1, "web")], &[], &[]);
    let mut totals = RunningTotals::default();
    let unknown = tick(&mut totals, vec![used(1, 1)], &Catalog::default(), by_uid());
    assert_eq!(unknown.read_bytes(&format!("unknown/{}", uid(1))), Some(1));
    let first = tick(&mut totals, vec![used(1, 2)], &known, by_uid());
    assert_eq!((first.read_bytes("shop/web"), first.pods()), (Some(2), 1));

    let mut totals = RunningTotals::default();
    let skipped = tick(&mut totals, vec![used(1, 1)], &Catalog::default(), UnknownPodPolicy::Skip);
    assert_eq!(skipped.pods(), 0);
    let first = tick(&mut totals, vec![used(1, 2)], &known, UnknownPodPolicy::Skip);
    assert_eq!(first.read_bytes("shop/web"), Some(2));
}

#[test]
fn a_pod_that_leaves_is_forgotten_after_two_minutes() {
    let mut totals = RunningTotals::default();
    let _ = tick(&mut totals, vec![used(1, 5)], &Catalog::default(), WAITING);
    let _ = tick(&mut totals, Vec::new(), &Catalog::default(), WAITING);
    let known = catalog(vec![pod(1, "web")], &[], &[]);
    let back = tick(&mut totals, vec![used(1, 1)], &known, WAITING);
    assert_eq!(back.read_bytes("shop/web"), Some(6), "its name may come after its end");

    let mut totals = RunningTotals::default();
    let _ = tick(&mut totals, vec![used(1, 5)], &Catalog::default(), WAITING);
    let nobody = Catalog::default();
    let later = Account { until: BootTime::from_nanos(135_000_000_000), ..account(Vec::new()) };
    let _ = totals.add(&view(&later, &nobody));
    let back = tick(&mut totals, vec![used(1, 1)], &known, WAITING);
    assert_eq!(back.read_bytes("shop/web"), Some(1), "it has waited for two minutes");
}

#[test]
fn of_two_pods_with_one_name_the_newer_that_runs_is_sent_with_both_amounts() {
    let old = Pod { deletion_timestamp: Some("2026".into()), ..pod(2, "db-0") };
    let new = pod(1, "db-0");
    let both = |new: &Pod| catalog(vec![old.clone(), new.clone()], &[], &[]);
    let mut totals = RunningTotals::default();
    let starting = both(&Pod { phase: Phase::Pending, ..new.clone() });
    let first = tick(&mut totals, vec![used(1, 1), used(2, 10)], &starting, WAITING);
    assert_eq!(first.pods(), 1);
    assert_eq!(first.read_bytes("shop/db-0"), Some(10), "the new pod's first bytes are its own");
    let post = first.of("shop/db-0").unwrap();
    assert_eq!(post["pod_uid"], uid(2).to_string());
    assert_eq!(post["cpu_millicores"], 10);

    let second = tick(&mut totals, vec![used(1, 2), used(2, 20)], &both(&new), WAITING);
    assert_eq!(second.read_bytes("shop/db-0"), Some(1 + 2 + 20));
    let post = second.of("shop/db-0").unwrap();
    assert_eq!(post["cpu_millicores"], 1 + 2 + 20);
    assert_eq!(post["pod_uid"], uid(1).to_string());
    assert_eq!(post["memory_bytes"], 2 << 20);

    // Neither is being deleted: a static pod's old and new configuration.
    let catalog = catalog(vec![pod(1, "edge"), pod(2, "edge")], &[], &[]);
    let sent = once(vec![used(1, 1), used(2, 10)], &catalog, WAITING);
    assert_eq!(sent.of("shop/edge").unwrap()["pod_uid"], uid(2).to_string());
    assert_eq!(sent.read_bytes("shop/edge"), Some(11));
}

fn exited(number: u32, figure: u64) -> PodUsage {
    PodUsage { exited: true, ..used(number, figure) }
}

fn idle(number: u32) -> PodUsage {
    PodUsage { usage: Usage { processes: 1, ..usage(0) }, ..used(number, 0) }
}

/// A post's CPU in thousandths over the interval, and its bytes read; `None`: no post.
fn amounts(sent: &Sent, pod: &str) -> Option<(u64, u64)> {
    let body = sent.of(pod)?;
    assert_eq!(body["window_millis"], 15_000);
    let cpu = body["cpu_nanocores"].as_u64().unwrap() / 1_000_000;
    Some((cpu, body["disk_io"]["read_bytes"].as_u64().unwrap()))
}

/// Each row: the samples of one pod, each with its usage and the phase that the directory knows
/// (`None`: nothing), and the expected CPU of each sample's post, in thousandths over the interval.
#[test]
fn a_pod_that_ends_has_one_last_post_with_what_was_not_sent() {
    use Phase::{Failed, Pending, Running, Succeeded, Unknown};
    let empty =
        |figure| PodUsage { usage: Usage { processes: 0, ..usage(figure) }, ..used(1, figure) };
    type Row = (&'static str, Vec<(Option<PodUsage>, Option<Phase>)>, Vec<Option<u64>>);
    let rows: Vec<Row> = vec![
        (
            "it lived within one interval",
            vec![(Some(exited(1, 700)), Some(Running)), (None, Some(Succeeded))],
            vec![Some(700), None],
        ),
        (
            "it ran, and ended within the second interval",
            vec![(Some(used(1, 5)), Some(Running)), (Some(exited(1, 8)), Some(Succeeded))],
            vec![Some(5), Some(8)],
        ),
        (
            "it is completed, and its empty cgroup stays and ends later",
            vec![
                (Some(used(1, 5)), Some(Running)),
                (Some(empty(8)), Some(Succeeded)),
                (Some(empty(0)), Some(Succeeded)),
                (Some(exited(1, 0)), Some(Succeeded)),
            ],
            vec![Some(5), Some(8), None, None],
        ),
        (
            "it is evicted: Failed at once, and its processes end in their grace period",
            vec![
                (Some(used(1, 5)), Some(Failed)),
                (Some(used(1, 6)), Some(Failed)),
                (Some(exited(1, 7)), Some(Failed)),
            ],
            vec![None, None, Some(18)],
        ),
        (
            "it is completed, and its sandbox stays without using anything",
            vec![
                (Some(used(1, 5)), Some(Succeeded)),
                (Some(idle(1)), Some(Succeeded)),
                (Some(idle(1)), Some(Succeeded)),
            ],
            vec![None, Some(5), None],
        ),
        (
            "it ended before it was Running for the directory",
            vec![(Some(used(1, 5)), Some(Pending)), (Some(exited(1, 6)), Some(Pending))],
            vec![None, Some(11)],
        ),
        (
            "its name comes after its end",
            vec![
                (Some(exited(1, 9)), None),
                (None, None),
                (None, Some(Succeeded)),
                (None, Some(Succeeded)),
            ],
            vec![None, None, Some(9), None],
        ),
        (
            "nothing was used in its last interval",
            vec![(Some(used(1, 5)), Some(Running)), (Some(exited(1, 0)), Some(Running))],
            vec![Some(5), None],
        ),
        (
            "a runtime that knows no phase starts it again",
            vec![
                (Some(used(1, 5)), Some(Unknown)),
                (Some(empty(1)), Some(Unknown)),
                (Some(used(1, 6)), Some(Unknown)),
                (Some(exited(1, 2)), Some(Unknown)),
            ],
            vec![Some(5), None, Some(7), Some(2)],
        ),
    ];
    for (what, samples, expected) in rows {
        let mut totals = RunningTotals::default();
        let mut sent = Vec::new();
        for (usage, phase) in samples {
            let pods = phase.map(|phase| Pod { phase, ..pod(1, "job") });
            let catalog = catalog(pods.into_iter().collect(), &[], &[]);
            let used = usage.into_iter().collect();
            let posts = tick(&mut totals, used, &catalog, WAITING);
            let amounts = amounts(&posts, "shop/job");
            // CPU and bytes go together: each thousandth has one byte read.
            assert!(amounts.is_none_or(|(cpu, read)| cpu == read), "{what}: {amounts:?}");
            sent.push(amounts.map(|(cpu, _)| cpu));
        }
        assert_eq!(sent, expected, "{what}");
    }
}

#[test]
fn a_final_post_has_no_memory_and_a_rate_over_the_interval() {
    let catalog = catalog(vec![pod(1, "job")], &[("/unit", "backup")], &[]);
    // Read last five seconds before the end of the interval.
    let early = |mut usage: Usage| {
        usage.cpu.as_mut().unwrap().over_usec = 10_000_000;
        usage
    };
    let job = exited(1, 200);
    let mut account = account(vec![PodUsage { usage: early(job.usage), ..job }]);
    let gone = used_by_unit("/unit", 100);
    let gone = crate::ledger::account::UnitUsage { usage: early(gone.usage), ..gone };
    account.units = vec![crate::ledger::account::UnitUsage { exited: true, ..gone }];
    let view = view(&account, &catalog);
    let entities = RunningTotals::default().add(&view);
    let all = sent(&view, &entities, &options(WAITING));
    // 3 s and 1.5 s of CPU over 15 s.
    for (name, millicores) in [("shop/job", 200), ("host/backup", 100)] {
        let body = all.of(name).unwrap();
        assert_eq!(
            (&body["cpu_millicores"], &body["memory_bytes"]),
            (&json!(millicores), &json!(0))
        );
    }
}

#[test]
fn a_pod_known_by_its_uid_alone_has_a_last_post_too() {
    let nobody = Catalog::default();
    let mut totals = RunningTotals::default();
    let name = format!("unknown/{}", uid(1));
    assert_eq!(tick(&mut totals, vec![exited(1, 9)], &nobody, by_uid()).read_bytes(&name), Some(9));
    // Its name comes later: what was sent under the uid is not sent again.
    let known = catalog(vec![pod(1, "job")], &[], &[]);
    assert_eq!(tick(&mut totals, Vec::new(), &known, by_uid()).pods(), 0);
}

/// Deleted by force, it is gone from every source and runs on for its grace period.
#[test]
fn a_pod_that_left_the_directory_keeps_its_name_while_it_runs() {
    let (directory, publishers) =
        crate::directory::Directory::new(&[crate::directory::SourceKind::Kubernetes]);
    publishers[0].replace_pods([pod(1, "web")], BootTime::default());
    let mut totals = RunningTotals::default();
    let one = |totals: &mut RunningTotals, usage| {
        tick(totals, vec![usage], &directory.catalog(), WAITING).read_bytes("shop/web")
    };
    assert_eq!(one(&mut totals, used(1, 1)), Some(1));
    publishers[0].replace_pods([], BootTime::default());
    assert_eq!(one(&mut totals, used(1, 2)), Some(2));
    assert_eq!(one(&mut totals, exited(1, 4)), Some(4));
    assert_eq!(tick(&mut totals, Vec::new(), &directory.catalog(), WAITING).pods(), 0);
    // Its name came and went between two samples after its end.
    publishers[0].replace_pods([pod(2, "job")], BootTime::default());
    let unknown = Catalog::default();
    assert_eq!(tick(&mut totals, vec![exited(2, 5)], &unknown, WAITING).pods(), 0);
    publishers[0].replace_pods([], BootTime::default());
    let late = tick(&mut totals, Vec::new(), &directory.catalog(), WAITING);
    assert_eq!(late.read_bytes("shop/job"), Some(5));
}

#[test]
fn running_totals_only_grow_while_another_pod_lends_its_bytes() {
    let old = Pod { deletion_timestamp: Some("2026".into()), ..pod(2, "db-0") };
    let both = catalog(vec![old, pod(1, "db-0")], &[], &[]);
    let one = catalog(vec![pod(1, "db-0")], &[], &[]);
    let mut totals = RunningTotals::default();
    let options = EncodeOptions { cumulative: true, ..options(WAITING) };
    let mut read = Vec::new();
    for (pods, catalog) in [
        (vec![used(1, 1), used(2, 10)], &both),
        (vec![used(1, 2), used(2, 20)], &both),
        (vec![used(1, 4)], &one),
    ] {
        let account = account(pods);
        let view = view(&account, catalog);
        let entities = totals.add(&view);
        read.push(sent(&view, &entities, &options).read_bytes("shop/db-0").unwrap());
    }
    assert_eq!(read, [11, 33, 37]);
}

#[test]
fn what_has_a_name_outside_kubernetes_is_sent_as_a_pod() {
    let catalog = catalog(
        Vec::new(),
        &[("/system.slice/app-*.service", "app"), ("/kubepods/burstable/pod*", "from-file")],
        &[(7, "cache")],
    );
    let mut account = account(vec![used(3, 3)]);
    let mut cache = used_by_unit("/machine.slice/libpod-7.scope", 9);
    let (id, runtime) = (container_id(7), crate::attribution::Runtime::Podman);
    cache.kind = crate::ledger::account::UnitKind::Container { id, runtime };
    account.units = vec![
        used_by_unit("/system.slice/app-1.service", 1),
        used_by_unit("/system.slice/app-2.service", 2),
        used_by_unit("/system.slice/ssh.service", 100),
        cache,
    ];
    let view = view(&account, &catalog);
    let entities = RunningTotals::default().add(&view);
    let all = sent(&view, &entities, &options(WAITING));
    assert_eq!(all.pods(), 3);
    let app = all.of("host/app").unwrap();
    assert_eq!((&app["cpu_millicores"], &app["labels"]), (&json!(3), &json!({"on": "host"})));
    assert_eq!(all.read_bytes("host/app"), Some(3), "units of one name are one");
    assert_eq!(all.read_bytes("host/cache"), Some(9));
    assert_eq!(all.read_bytes("host/from-file"), Some(3));
    assert_eq!(all.of("host/from-file").unwrap()["pod_uid"], uid(3).to_string());
}

#[test]
fn filters_hold_pods_back_and_never_the_node() {
    let system = Pod { namespace: "kube-system".into(), ..pod(2, "dns") };
    let catalog = catalog(vec![pod(1, "web"), system], &[], &[]);
    let account = account(vec![used(1, 1), used(2, 2), used(3, 3)]);
    let view = view(&account, &catalog);
    let entities = RunningTotals::default().add(&view);
    let sent_with = |filters: &PodFilter| {
        let all =
            sent(&view, &entities, &EncodeOptions { filter: filters.clone(), ..options(by_uid()) });
        assert_eq!(all.0[0].0, "/api/nodes/node-1/metrics");
        let unknown = format!("unknown/{}", uid(3));
        ["shop/web", "kube-system/dns", &unknown].map(|pod| all.of(pod).is_some())
    };
    let list = |name: &str| vec![Box::from(name)];
    assert_eq!(sent_with(&PodFilter::default()), [true, true, true]);
    let only = PodFilter { include: list("shop"), ..PodFilter::default() };
    assert_eq!(sent_with(&only), [true, false, false]);
    let without = PodFilter { exclude: list("shop"), ..PodFilter::default() };
    assert_eq!(sent_with(&without), [false, true, true]);
    let both = PodFilter { include: list("shop"), exclude: list("shop"), ..PodFilter::default() };
    assert_eq!(sent_with(&both), [false, false, false]);
    let selected =
        PodFilter { selector: Selector::parse("app=dns").unwrap(), ..PodFilter::default() };
    assert_eq!(sent_with(&selected), [false, true, false]);
}

#[test]
fn nothing_is_said_of_containers_whose_pod_runs_in_a_sandbox_of_its_own() {
    let kata = Pod { containers: vec![container("app", 10)], ..pod(1, "kata") };
    let catalog = catalog(vec![kata], &[], &[]);
    let mut account = account(vec![used(1, 50)]);
    let empty = ContainerUsage { usage: Usage::default(), ..used_by_container(1, 10, 0) };
    account.containers = vec![used_by_container(1, 9, 49), empty];
    let view = view(&account, &catalog);
    let entities = RunningTotals::default().add(&view);
    let all = sent(&view, &entities, &options(WAITING));
    let post = all.of("shop/kata").unwrap();
    assert_eq!(post["cpu_nanocores"], 50_000_000);
    assert_eq!(post.get("containers"), None);
}

fn check_figures(body: &Value) {
    let integer = |value: &Value| assert!(value.is_u64(), "{value} in {body}");
    integer(&body["cpu_millicores"]);
    integer(&body["memory_bytes"]);
    integer(&body["disk_io"]["read_bytes"]);
    integer(&body["disk_io"]["write_bytes"]);
    integer(&body["network_io"]["bytes_sent"]);
    integer(&body["network_io"]["bytes_recv"]);
}

fn check_values(value: &Value) {
    match value {
        Value::Null => panic!("a null"),
        Value::Number(number) => assert!(number.is_u64(), "{number}"),
        Value::Array(all) => all.iter().for_each(check_values),
        Value::Object(all) => all.values().for_each(check_values),
        Value::Bool(_) | Value::String(_) => {}
    }
}

fn total_read(sent: &Sent) -> u64 {
    let pods = sent.0.iter().filter(|(path, _)| path.starts_with("/api/namespaces/"));
    pods.map(|(_, body)| body["disk_io"]["read_bytes"].as_u64().unwrap()).sum()
}

proptest! {
    #[test]
    fn no_post_holds_a_null_or_lacks_a_figure_and_no_two_have_one_path(
        account in any_account(),
        catalog in any_catalog(),
        (cumulative, extras, policy) in (any::<bool>(), any::<bool>(), 0..3_u8),
    ) {
        let unknown = [by_uid(), WAITING, UnknownPodPolicy::Skip][usize::from(policy)].clone();
        let view = view(&account, &catalog);
        let entities = RunningTotals::default().add(&view);
            let options = EncodeOptions { cumulative, extras, ..options(unknown) };
        let all = sent(&view, &entities, &options);
        prop_assert!(!all.0.is_empty());
        let mut paths: Vec<&String> = all.0.iter().map(|(path, _)| path).collect();
        paths.sort_unstable();
        paths.dedup();
        prop_assert_eq!(paths.len(), all.0.len());
        for (path, body) in &all.0 {
            check_figures(body);
            check_values(body);
            let is_pod = path.starts_with("/api/namespaces/");
            prop_assert_eq!(body["node_name"].is_string(), is_pod);
        }
    }

    /// Whatever is known of pods meanwhile, and whichever share a name: once all are known and run,
    /// everything has been sent, and once.
    #[test]
    fn no_byte_is_lost_or_doubled_while_names_come_and_go(
        ticks in prop::collection::vec(
            prop::collection::vec((0..4_u32, any::<bool>(), 0..4_u8, any::<bool>()), 4),
            1..6,
        ),
    ) {
        let mut totals = RunningTotals::default();
        let mut sum = 0;
        for tick_of in &ticks {
            let pods = (0..4).zip(tick_of).filter(|(_, (_, known, ..))| *known);
            let pods = pods.map(|(number, (name, _, phase, deleted))| Pod {
                phase: [Phase::Running, Phase::Pending, Phase::Unknown, Phase::Running]
                    [usize::from(*phase)],
                deletion_timestamp: deleted.then(|| "2026".into()),
                ..pod(number, ["a", "b", "c", "d"][*name as usize])
            });
            let catalog = catalog(pods.collect(), &[], &[]);
            let used = (0..4).map(|number| used(number, 1)).collect();
            sum += total_read(&tick(&mut totals, used, &catalog, WAITING));
        }
        let pods = ["a", "a", "b", "c"].iter().zip(0..).map(|(name, number)| pod(number, name));
        let catalog = catalog(pods.collect(), &[], &[]);
        let used = (0..4).map(|number| used(number, 1)).collect();
        sum += total_read(&tick(&mut totals, used, &catalog, WAITING));
        prop_assert_eq!(sum, 4 * (ticks.len() as u64 + 1));
    }
}
