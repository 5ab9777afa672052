use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::directory::pod::{Container, ContainerState, Labels, Phase, Workload};
use crate::directory::{Catalog, Directory, SourceKind};
use crate::payload::options::PodFilter;
use crate::payload::samples::{any_pod, catalog, container, labels, owner, pod};
use crate::quantity::BootTime;

fn of(pods: Vec<Pod>) -> Arc<Catalog> {
    catalog(pods, &[], &[])
}

fn in_namespace(namespace: &str, pod: Pod) -> Pod {
    Pod { namespace: namespace.into(), ..pod }
}

/// `+name ip` and `-name ip`.
fn shown(acts: Vec<PodChange>) -> Vec<String> {
    let shown = acts.into_iter().map(|act| match act {
        PodChange::Upsert(pod) => format!("+{} {}", pod.name, ip_of(&pod).unwrap()),
        PodChange::MarkDead { pod_name, pod_ip } => {
            format!("-{pod_name} {}", pod_ip.unwrap_or_default())
        }
    });
    shown.collect()
}

fn changes(life: &mut Lifecycle, pods: Vec<Pod>) -> Vec<String> {
    shown(life.changes(&of(pods), &PodFilter::default()))
}

fn row(name: &str, namespace: Option<&str>, ip: &str) -> ListedPod {
    let pod_namespace = namespace.map(Into::into);
    ListedPod { pod_name: name.into(), pod_namespace, pod_ip: Some(ip.into()) }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_specification_has_the_documents_keys_and_a_naive_stamp() {
    let mut web = pod(5, "web-7d9f6b8c4-x5z2w");
    web.labels = labels(&[
        ("app.kubernetes.io/component", "frontend"),
        ("app.kubernetes.io/name", "my-app"),
        ("tier", "1"),
    ]);
    web.annotations = labels(&[("secret", "hunter2")]);
    web.containers = vec![container("app", 10)];
    let stamp = WallTime::from_unix_millis(1_778_581_934_123);
    let body: Value = serde_json::from_slice(&spec_body(&web, "worker-1", stamp)).unwrap();
    let mut without_object = body.clone();
    let object = without_object.as_object_mut().unwrap().remove("pod_obj").unwrap();
    let expected = json!({
        "pod_name": "web-7d9f6b8c4-x5z2w",
        "pod_namespace": "shop",
        "pod_ip": "10.0.0.5",
        "node_name": "worker-1",
        "is_dead": false,
        "pod_identity": "my-app",
        "workload_selector_labels": {
            "app.kubernetes.io/name": "my-app",
            "app.kubernetes.io/component": "frontend",
        },
        "time_stamp": "2026-05-12T10:32:14.123000",
    });
    assert_eq!(without_object, expected);
    assert_eq!(object["metadata"]["labels"]["tier"], "1");
    assert_eq!(object["spec"]["containers"][0]["ports"][0]["containerPort"], 8080);
    assert_eq!(object["status"]["podIPs"], json!([{"ip": "10.0.0.5"}]));
    assert!(!body.to_string().contains("hunter2"));
}

#[test]
fn identity_is_by_label_then_by_owner() {
    let of = |pairs: &[(&str, &str)], workload: Option<(&str, &str)>| {
        let workload = workload.map(|(kind, name)| Workload {
            kind: kind.into(),
            name: name.into(),
            match_labels: Labels::new(),
        });
        let pod = Pod { labels: labels(pairs), workload, ..pod(1, "p") };
        let (identity, selector) = identity(&pod);
        (identity.map(str::to_owned), serde_json::to_value(selector).unwrap())
    };
    let is = |name: &str, selector: Value| (Some(name.to_owned()), selector);
    let deployment = Some(("Deployment", "web"));
    assert_eq!(
        of(&[("k8s-app", "c"), ("app.kubernetes.io/name", "a"), ("app", "x")], deployment),
        is("a", json!({"app.kubernetes.io/name": "a", "k8s-app": "c"}))
    );
    assert_eq!(
        of(&[("app.kubernetes.io/component", "b"), ("k8s-app", "c")], deployment),
        is("b", json!({"app.kubernetes.io/component": "b", "k8s-app": "c"}))
    );
    assert_eq!(of(&[("k8s-app", "c")], None), is("c", json!({"k8s-app": "c"})));
    assert_eq!(
        of(&[("app", "web"), ("pod-template-hash", "6877cbddcc")], deployment),
        is("web", json!({"app": "web"}))
    );
    let of_job = [("controller-uid", "u"), ("job-name", "sums"), ("team", "a")];
    let (job, cron) = (Some(("Job", "sums")), Some(("CronJob", "sums")));
    assert_eq!(of(&of_job, job), is("sums", json!({"job-name": "sums", "team": "a"})));
    assert_eq!(of(&of_job, cron), is("sums", json!({"team": "a"})));
    assert_eq!(of(&[("app.kubernetes.io/name", "")], deployment).0.as_deref(), Some("web"));
    assert_eq!(of(&[("app", "x")], None), (None, json!({})));
    let release = [("app.kubernetes.io/instance", "a"), ("app.kubernetes.io/name", "db")];
    assert_eq!(
        of(&release, Some(("StatefulSet", "a-db"))),
        is("db", json!({"app.kubernetes.io/instance": "a", "app.kubernetes.io/name": "db"})),
        "two releases of one chart are two selectors"
    );
    let bare = spec_body(&Pod { labels: Labels::new(), ..pod(1, "p") }, "n", WallTime::default());
    let bare: Value = serde_json::from_slice(&bare).unwrap();
    assert_eq!(bare.get("pod_identity"), None);
    assert_eq!(bare.get("workload_selector_labels"), None);
}

#[test]
fn the_selector_is_the_workloads_where_it_is_known() {
    let selector_of = |release: &str| {
        let mut pod = pod(1, "p");
        pod.labels = labels(&[
            ("app.kubernetes.io/instance", release),
            ("app.kubernetes.io/name", "redis"),
            ("helm.sh/chart", "redis-1.2.3"),
            ("pod-template-hash", "6877cbddcc"),
        ]);
        let match_labels =
            labels(&[("app.kubernetes.io/instance", release), ("app.kubernetes.io/name", "redis")]);
        pod.workload =
            Some(Workload { kind: "Deployment".into(), name: release.into(), match_labels });
        let (identity, selector) = identity(&pod);
        assert_eq!(identity, Some("redis"));
        serde_json::to_value(selector).unwrap()
    };
    for release in ["cache", "queue"] {
        let expected =
            json!({"app.kubernetes.io/instance": release, "app.kubernetes.io/name": "redis"});
        assert_eq!(selector_of(release), expected);
    }
    // Labels of the workload's own choice, which are none of those that identify a pod.
    let mut own = pod(1, "p");
    own.labels = labels(&[("app.kubernetes.io/name", "web"), ("track", "canary")]);
    let match_labels = labels(&[("track", "canary")]);
    own.workload = Some(Workload { kind: "Deployment".into(), name: "web".into(), match_labels });
    let (_, selector) = identity(&own);
    assert_eq!(serde_json::to_value(selector).unwrap(), json!({"track": "canary"}));
}

#[test]
fn the_object_says_how_containers_ended_and_why() {
    let mut gone = pod(1, "gone");
    (gone.reason, gone.message) = (Some("Evicted".into()), Some("low on memory".into()));
    let killed = ContainerState::Terminated {
        exit_code: 137,
        signal: Some(9),
        reason: Some("Error".into()),
        message: Some("killed".into()),
        started_at: None,
        finished_at: None,
    };
    let waits =
        ContainerState::Waiting { reason: Some("ErrImagePull".into()), message: Some("no".into()) };
    let app = container("app", 10);
    gone.containers = vec![Container { state: Some(waits), last_state: Some(killed), ..app }];
    let body: Value = serde_json::from_slice(&spec_body(&gone, "n", WallTime::default())).unwrap();
    let status = &body["pod_obj"]["status"];
    assert_eq!(
        (&status["reason"], &status["message"]),
        (&json!("Evicted"), &json!("low on memory"))
    );
    let expected = json!({
        "name": "app", "ready": true, "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}},
        "lastState": {"terminated": {
            "exitCode": 137, "signal": 9, "reason": "Error", "message": "killed",
        }},
    });
    assert_eq!(status["containerStatuses"][0], expected);
}

#[test]
fn the_dead_are_marked_by_name_and_ip() {
    let body = |ip| serde_json::from_slice::<Value>(&mark_dead_body("web", ip)).unwrap();
    assert_eq!(body(Some("10.0.0.1")), json!({"pod_name": "web", "pod_ip": "10.0.0.1"}));
    assert_eq!(body(None), json!({"pod_name": "web"}));
    assert_eq!(list_path("n/1"), "/pod/list/n%2F1");
}

#[test]
fn a_pod_is_reported_once_and_again_when_it_changes() {
    let mut life = Lifecycle::default();
    assert_eq!(changes(&mut life, vec![pod(1, "a"), pod(2, "b")]), ["+a 10.0.0.1", "+b 10.0.0.2"]);
    assert_eq!(changes(&mut life, vec![pod(1, "a"), pod(2, "b")]), NOTHING);
    let annotated = Pod { annotations: labels(&[("x", "y")]), ..pod(1, "a") };
    assert_eq!(changes(&mut life, vec![annotated, pod(2, "b")]), NOTHING, "it is not sent");
    let labelled = Pod { labels: labels(&[("x", "y")]), ..pod(1, "a") };
    assert_eq!(changes(&mut life, vec![labelled, pod(2, "b")]), ["+a 10.0.0.1"]);
    assert_eq!(changes(&mut life, vec![pod(2, "b")]), ["-a 10.0.0.1"]);
    assert_eq!(changes(&mut life, vec![pod(2, "b")]), NOTHING);
    assert_eq!(changes(&mut life, Vec::new()), ["-b 10.0.0.2"]);
}

#[test]
fn a_pod_without_an_ip_or_a_name_waits_and_one_that_is_over_is_dead() {
    let mut life = Lifecycle::default();
    let waiting = Pod { ips: Vec::new(), phase: Phase::Pending, ..pod(1, "a") };
    assert_eq!(changes(&mut life, vec![waiting.clone(), pod(2, " ")]), NOTHING);
    assert_eq!(changes(&mut life, vec![pod(1, "a")]), ["+a 10.0.0.1"]);
    assert_eq!(changes(&mut life, vec![waiting]), NOTHING, "its sandbox is made again");
    let over = Pod { phase: Phase::Succeeded, ..pod(1, "a") };
    assert_eq!(changes(&mut life, vec![over.clone()]), ["-a 10.0.0.1"]);
    assert_eq!(changes(&mut life, vec![over]), NOTHING);
}

#[test]
fn a_pod_made_again_under_its_name_is_never_killed_by_its_predecessor() {
    let mut life = Lifecycle::default();
    let (old, new) = (pod(1, "db-0"), pod(2, "db-0"));
    let deleting = Pod { deletion_timestamp: Some("2026".into()), ..old.clone() };
    let starting = Pod { ips: Vec::new(), ..new.clone() };
    assert_eq!(changes(&mut life, vec![old]), ["+db-0 10.0.0.1"]);
    assert_eq!(changes(&mut life, vec![deleting.clone(), starting.clone()]), ["+db-0 10.0.0.1"]);
    assert_eq!(changes(&mut life, vec![deleting, new.clone()]), ["+db-0 10.0.0.2"]);
    assert_eq!(changes(&mut life, vec![new.clone()]), NOTHING);

    // The old one is gone before the new one has its IP: dead by its own IP.
    let mut life = Lifecycle::default();
    assert_eq!(changes(&mut life, vec![pod(1, "db-0")]), ["+db-0 10.0.0.1"]);
    assert_eq!(changes(&mut life, vec![starting]), ["-db-0 10.0.0.1"]);
    assert_eq!(changes(&mut life, vec![new]), ["+db-0 10.0.0.2"]);

    // Both have the node's IP: only the new row is posted.
    let on_host = |number| Pod { ips: vec!["192.0.2.1".into()], ..pod(number, "agent") };
    let mut life = Lifecycle::default();
    assert_eq!(changes(&mut life, vec![on_host(1)]), ["+agent 192.0.2.1"]);
    assert_eq!(changes(&mut life, vec![on_host(2)]), ["+agent 192.0.2.1"]);
}

#[test]
fn of_two_namespaces_with_one_name_the_first_keeps_the_row_while_it_lives() {
    let mut life = Lifecycle::default();
    let (a, b) = (in_namespace("a", pod(7, "web")), in_namespace("b", pod(3, "web")));
    assert_eq!(changes(&mut life, vec![a.clone()]), ["+web 10.0.0.7"]);
    assert_eq!(changes(&mut life, vec![a.clone(), b.clone()]), NOTHING);
    assert_eq!(changes(&mut life, vec![b.clone()]), ["+web 10.0.0.3"]);
    assert_eq!(changes(&mut life, vec![b.clone(), a.clone()]), NOTHING);
    assert_eq!(changes(&mut life, vec![pod(9, "x")]), ["-web 10.0.0.3", "+x 10.0.0.9"]);
    assert_eq!(changes(&mut Lifecycle::default(), vec![a.clone(), b.clone()]), ["+web 10.0.0.3"]);

    // The other may not be sent: the row is nobody's.
    let mut life = Lifecycle::default();
    let filters = PodFilter { exclude: vec!["b".into()], ..PodFilter::default() };
    assert_eq!(shown(life.changes(&of(vec![a, b.clone()]), &filters)), ["+web 10.0.0.7"]);
    assert_eq!(shown(life.changes(&of(vec![b]), &filters)), ["-web 10.0.0.7"]);
}

#[test]
fn a_pod_that_the_filters_leave_out_is_neither_reported_nor_dead() {
    let mut life = Lifecycle::default();
    let all = of(vec![pod(1, "a"), in_namespace("kube-system", pod(2, "b"))]);
    let only = PodFilter { include: vec!["shop".into()], ..PodFilter::default() };
    assert_eq!(shown(life.changes(&all, &only)), ["+a 10.0.0.1"]);
    let none = PodFilter { exclude: vec!["shop".into()], ..only.clone() };
    assert_eq!(shown(life.changes(&all, &none)), NOTHING);
    let rows = [row("a", Some("shop"), "10.0.0.1"), row("b", Some("kube-system"), "10.0.0.2")];
    assert_eq!(shown(life.reconcile(&rows, &all, &none)), NOTHING);
    assert_eq!(changes(&mut life, vec![in_namespace("kube-system", pod(2, "b"))]).len(), 2);
}

#[test]
fn nobody_is_dead_while_no_source_knows_the_pods() {
    let mut life = Lifecycle::default();
    assert_eq!(changes(&mut life, vec![pod(1, "a")]), ["+a 10.0.0.1"]);
    let rows = [row("a", Some("shop"), "10.0.0.1"), row("z", None, "10.0.0.9")];
    let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes, SourceKind::File]);
    publishers[0].set_server_version("v1.30.0");
    publishers[0].failed("403", BootTime::default());
    publishers[1].replace_cgroups(Vec::new(), BootTime::default());
    for catalog in [Arc::default(), directory.catalog()] {
        assert_eq!(shown(life.changes(&catalog, &PodFilter::default())), NOTHING);
        assert_eq!(shown(life.reconcile(&rows, &catalog, &PodFilter::default())), NOTHING);
    }
}

#[test]
fn a_look_at_the_rows_ends_strays_and_brings_back_the_missing() {
    let mut life = Lifecycle::default();
    let pods = vec![pod(1, "a"), pod(2, "b"), pod(3, "c"), pod(4, "d")];
    assert_eq!(changes(&mut life, pods.clone()).len(), 4);
    let catalog = of(pods);
    let rows = [
        row("a", Some("shop"), "10.0.0.1"),
        row("b", Some("shop"), "10.0.0.99"),
        row("c", Some("elsewhere"), "10.0.0.3"),
        row("stray", Some("shop"), "10.0.0.50"),
    ];
    let acts = shown(life.reconcile(&rows, &catalog, &PodFilter::default()));
    assert_eq!(acts, ["-stray 10.0.0.50", "+b 10.0.0.2", "+c 10.0.0.3", "+d 10.0.0.4"]);
    let now: Vec<ListedPod> = [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
        .map(|(name, n)| row(name, Some("shop"), &format!("10.0.0.{n}")))
        .into();
    assert_eq!(shown(life.reconcile(&now, &catalog, &PodFilter::default())), NOTHING);
    assert_eq!(shown(life.changes(&catalog, &PodFilter::default())), NOTHING);
}

#[test]
fn a_row_that_another_node_takes_each_time_is_left_to_it() {
    let mut life = Lifecycle::default();
    let catalog = of(vec![pod(1, "a")]);
    let none = PodFilter::default();
    assert_eq!(shown(life.changes(&catalog, &none)), ["+a 10.0.0.1"]);
    for _ in 0..3 {
        assert_eq!(shown(life.reconcile(&[], &catalog, &none)), ["+a 10.0.0.1"]);
    }
    assert_eq!(shown(life.reconcile(&[], &catalog, &none)), NOTHING);
    // A server that had lost its rows and found them again is no such other node.
    let rows = [row("a", Some("shop"), "10.0.0.1")];
    assert_eq!(shown(life.reconcile(&rows, &catalog, &none)), NOTHING);
    assert_eq!(shown(life.reconcile(&[], &catalog, &none)), ["+a 10.0.0.1"]);
}

#[test]
fn what_may_not_have_arrived_is_reported_once_more() {
    let mut life = Lifecycle::default();
    let catalog = of(vec![pod(1, "a"), pod(2, "b")]);
    let none = PodFilter::default();
    assert_eq!(life.changes(&catalog, &none).len(), 2);
    life.doubt();
    assert_eq!(shown(life.changes(&catalog, &none)), ["+a 10.0.0.1", "+b 10.0.0.2"]);
    assert_eq!(shown(life.changes(&catalog, &none)), NOTHING);
}

#[test]
fn a_list_is_read_whatever_else_its_rows_hold() {
    let body = json!([
        {"pod_name": "web", "pod_namespace": "shop", "pod_ip": "10.0.0.1", "pod_obj": {"a": [1]},
         "is_dead": false, "time_stamp": "2026-05-12T10:32:14.123456"},
        {"pod_name": "bare", "pod_namespace": null, "pod_ip": 7},
        {"pod_name": "  "}, {"pod_name": null}, {}, null, 3, ["x"],
    ]);
    let rows = decode_list(body.to_string().as_bytes()).unwrap();
    let bare = ListedPod { pod_name: "bare".into(), pod_namespace: None, pod_ip: None };
    assert_eq!(rows, [row("web", Some("shop"), "10.0.0.1"), bare]);
    for bad in ["", "{}", "null", "No data found", "[{}"] {
        assert!(decode_list(bad.as_bytes()).is_err(), "{bad}");
    }
    let many = format!("[{}{{\"pod_name\":\"a\"}}]", "{\"pod_name\":\"a\"},".repeat(9000));
    assert_eq!(decode_list(many.as_bytes()).unwrap().len(), LIST_ROWS_MAX);
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.iter().any(has_null),
        Value::Object(all) => all.values().any(has_null),
        _ => false,
    }
}

/// The server, as far as this room sees it.
#[derive(Debug, Default)]
struct Server(BTreeMap<String, (String, String)>);

impl Server {
    fn take(&mut self, acts: Vec<PodChange>) {
        for act in acts {
            match act {
                PodChange::Upsert(pod) => {
                    let row = (pod.namespace.to_string(), ip_of(&pod).unwrap().to_owned());
                    self.0.insert(pod.name.to_string(), row);
                }
                PodChange::MarkDead { pod_name, pod_ip } => {
                    let is_of = |(_, ip): &(String, String)| {
                        pod_ip.as_deref().is_none_or(|wanted| wanted == ip)
                    };
                    if self.0.get(&*pod_name).is_some_and(is_of) {
                        self.0.remove(&*pod_name);
                    }
                }
            }
        }
    }

    fn rows(&self) -> Vec<ListedPod> {
        let rows = self.0.iter();
        rows.map(|(name, (namespace, ip))| row(name, Some(namespace), ip)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_specification_holds_a_null_or_lacks_what_is_required(pod in any_pod()) {
        let body = spec_body(&pod, "n", WallTime::from_unix_millis(1));
        let body: Value = serde_json::from_slice(&body).unwrap();
        prop_assert!(!has_null(&body));
        for key in ["pod_name", "pod_ip", "time_stamp", "node_name"] {
            prop_assert!(body[key].is_string(), "{key}");
        }
        prop_assert_eq!(body["is_dead"].as_bool(), Some(pod.phase.is_final()));
    }

    #[test]
    fn no_answer_panics(body in any::<Vec<u8>>(), text in "\\PC{0,60}") {
        let _ = decode_list(&body);
        let _ = decode_list(format!("[{{\"pod_name\":{text}}}]").as_bytes());
    }

    /// Whatever comes and goes: the server's rows are those of pods that live, by their present IP,
    /// and every name that can have a row has one.
    #[test]
    fn the_rows_follow_the_pods(
        steps in prop::collection::vec(prop::collection::vec(any_pod(), 0..6), 1..6),
    ) {
        let (mut life, mut server) = (Lifecycle::default(), Server::default());
        let filters = PodFilter::default();
        for pods in steps {
            let catalog = of(pods);
            server.take(life.changes(&catalog, &filters));
            let can = |pod: &Pod| {
                !pod.phase.is_final() && ip_of(pod).is_some() && !pod.name.trim().is_empty()
            };
            for pod in catalog.pods().iter().filter(|pod| can(pod)) {
                let (namespace, ip) = &server.0[&*pod.name];
                let is_it = |other: &&Arc<Pod>| {
                    other.name == pod.name
                        && *other.namespace == **namespace
                        && ip_of(other) == Some(ip)
                };
                prop_assert!(catalog.pods().iter().filter(|pod| can(pod)).any(|pod| is_it(&pod)));
            }
            for name in server.0.keys() {
                let mut living = catalog.pods().iter().filter(|pod| !pod.phase.is_final());
                prop_assert!(living.any(|pod| *pod.name == **name), "{name} is dead");
            }
            // The first look may find rows of a pod that has lost its IP; what it changes, if
            // anything, is settled by then.
            server.take(life.reconcile(&server.rows(), &catalog, &filters));
            prop_assert_eq!(life.reconcile(&server.rows(), &catalog, &filters), []);
            prop_assert_eq!(life.changes(&catalog, &filters), []);
        }
    }
}

#[test]
fn owners_are_walked_to_the_workload() {
    let mut pod = pod(1, "web-6877cbddcc-lm9mb");
    pod.labels = labels(&[("app", "web"), ("pod-template-hash", "6877cbddcc")]);
    pod.owners = vec![owner("ReplicaSet", "web-6877cbddcc")];
    let (found, selector) = identity(&pod);
    assert_eq!(found, Some("web"));
    assert_eq!(selector.into_iter().collect::<Vec<_>>(), [("app", "web")]);

    pod.owners = vec![owner("Node", "worker-1")];
    assert_eq!(identity(&pod), (None, BTreeMap::new()), "a static pod belongs to nothing");
}
