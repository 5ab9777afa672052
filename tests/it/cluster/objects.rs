//! The objects of the scripted API server: the pods of the host's tree, built from recorded ones, and
//! what owns them.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::api_server::{Answer, ApiServer, parameter, recorded_file};
use crate::support::host_tree::HostTree;

pub const NODE: &str = "worker-1";

/// The workload of a pod, by the last digit of its number in the tree.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub namespace: &'static str,
    stem: &'static str,
    /// Where it is recorded, and its name there.
    template: (&'static str, &'static str),
    /// Kind and name of what controls it.
    controller: Option<(&'static str, &'static str)>,
    /// Kind and name of what people deployed.
    pub workload: Option<(&'static str, &'static str)>,
    /// Those of its containers that have figures, as the recorded object has them.
    pub containers: &'static [&'static str],
    /// Cores and bytes that the recorded specification asks for and is held to, worked out by hand.
    pub requests: (f64, u64),
    pub limits: (f64, u64),
    pub qos: &'static str,
}

const LIST: &str = "api/pods-of-node.body";
const JOINED: &str = "joined-systemd/pods-of-node.json";

const WEB: Kind = Kind {
    namespace: "shop",
    stem: "web-66c5cb679f",
    template: (LIST, "web-66c5cb679f-dccp2"),
    controller: Some(("ReplicaSet", "web-66c5cb679f")),
    workload: Some(("Deployment", "web")),
    containers: &["mesh-proxy", "web"],
    // CPU: its init container asks for more than the two that run (100m and 50m).
    requests: (0.5, (128 << 20) + 1500 * 1024),
    limits: (3.5, 1_000_000_000 + (256 << 20)),
    qos: "Burstable",
};
const CART: Kind = Kind {
    stem: "cart-5d8f7b9c64",
    controller: Some(("ReplicaSet", "cart-5d8f7b9c64")),
    workload: Some(("Deployment", "cart")),
    ..WEB
};
const KINDS: [Kind; 10] = [
    WEB,
    WEB,
    CART,
    CART,
    Kind {
        namespace: "data",
        stem: "db",
        template: (LIST, "db-1"),
        controller: Some(("StatefulSet", "db")),
        workload: Some(("StatefulSet", "db")),
        containers: &["postgres"],
        requests: (1.0, 1_000_000_000),
        limits: (1.0, 1_000_000_000),
        ..WEB
    },
    Kind {
        namespace: "batch",
        stem: "report-29334960",
        template: (JOINED, "sums-hbqtw"),
        controller: Some(("Job", "report-29334960")),
        workload: Some(("CronJob", "report")),
        containers: &["sum"],
        requests: (0.0, 0),
        limits: (0.0, 0),
        ..WEB
    },
    Kind {
        namespace: "logging",
        stem: "log-shipper",
        template: (LIST, "log-shipper-rd78g"),
        controller: Some(("DaemonSet", "log-shipper")),
        workload: Some(("DaemonSet", "log-shipper")),
        containers: &["shipper"],
        requests: (0.5, 128 << 20),
        limits: (0.0, 256 << 20),
        ..WEB
    },
    Kind {
        namespace: "kube-system",
        stem: "kube-proxy-worker",
        template: (LIST, "kube-proxy-worker-1"),
        controller: Some(("Node", NODE)),
        workload: None,
        containers: &["kube-proxy"],
        requests: (0.1, 0),
        limits: (0.0, 0),
        ..WEB
    },
    Kind {
        namespace: "default",
        stem: "odd-quantities",
        template: (LIST, "odd-quantities"),
        controller: None,
        workload: None,
        containers: &["a", "b"],
        requests: (1.25, 1_129_000_000),
        limits: (1.25, 1_129_000_000),
        qos: "Guaranteed",
    },
    Kind {
        namespace: "default",
        stem: "shell",
        template: (LIST, "shell"),
        controller: None,
        workload: None,
        containers: &["shell"],
        requests: (0.0, 0),
        limits: (0.0, 0),
        qos: "BestEffort",
    },
];

pub fn kind(pod: usize) -> Kind {
    KINDS[pod % 10]
}

pub fn name(pod: usize) -> String {
    format!("{}-{pod}", kind(pod).stem)
}

/// Pods of the host's own network have the node's.
pub fn ip(pod: usize) -> String {
    match pod % 10 {
        6 | 7 => "10.0.0.11".to_owned(),
        _ => format!("10.244.1.{}", pod + 2),
    }
}

/// The metadata's uid, which of a static pod's mirror is another than that of its cgroup.
pub fn api_uid(pod: usize) -> String {
    match HostTree::is_static(pod) {
        true => format!("{pod:08x}-7777-4777-8777-777777777777"),
        false => HostTree::pod_uid(pod),
    }
}

/// The pod as the API server has it.
pub fn pod(tree: &HostTree, at: usize) -> Value {
    let kind = kind(at);
    let mut pod = recorded(kind.template.0, kind.template.1);
    let metadata = &mut pod["metadata"];
    metadata["namespace"] = kind.namespace.into();
    metadata["name"] = name(at).into();
    metadata["uid"] = api_uid(at).into();
    if let Some((controller, owner)) = kind.controller {
        let reference = &mut metadata["ownerReferences"][0];
        assert_eq!(reference["kind"], controller);
        reference["name"] = owner.into();
    }
    if kind.controller.is_some_and(|(controller, _)| controller == "ReplicaSet") {
        // What a reader could guess a Deployment's name from without asking for the ReplicaSet.
        metadata["labels"].as_object_mut().unwrap().remove("pod-template-hash");
    }
    if HostTree::is_static(at) {
        for annotation in ["kubernetes.io/config.hash", "kubernetes.io/config.mirror"] {
            metadata["annotations"][annotation] = HostTree::pod_uid(at).into();
        }
    }
    pod["spec"]["nodeName"] = NODE.into();
    let status = &mut pod["status"];
    assert_eq!(status["phase"], "Running");
    status["podIP"] = ip(at).into();
    status["podIPs"] = json!([{"ip": ip(at)}]);
    status["qosClass"] = kind.qos.into();
    let ids = tree.container_ids(at);
    let statuses = status["containerStatuses"].as_array_mut().unwrap();
    for (status, id) in statuses.iter_mut().zip(&ids[1..]) {
        status["containerID"] = format!("containerd://{id}").into();
        // One of them is recorded between two runs.
        status["state"] = json!({"running": {"startedAt": "2026-11-20T17:15:58Z"}});
    }
    pod
}

fn recorded(file: &str, name: &str) -> Value {
    let list: Value = serde_json::from_slice(&recorded_file(file)).unwrap();
    let items = list["items"].as_array().unwrap();
    items.iter().find(|pod| pod["metadata"]["name"] == name).expect(name).clone()
}

/// An event of a watch, as a line.
pub fn event(what: &str, object: &Value, resource_version: u64) -> String {
    let mut object = object.clone();
    object["kind"] = "Pod".into();
    object["apiVersion"] = "v1".into();
    object["metadata"]["resourceVersion"] = resource_version.to_string().into();
    json!({"type": what, "object": object}).to_string() + "\n"
}

/// The pods that are there now; a test changes them as it tells a watch.
pub type Pods = Arc<Mutex<Vec<Value>>>;

/// From here on the server has these pods and their owners, and the recorded node.
pub fn serve(server: &ApiServer, pods: &Pods) {
    let pods = Arc::clone(pods);
    server.serve_objects(move |path_and_query| {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let parameter = |name| parameter(path_and_query, name);
        match path {
            "/api/v1/pods" if parameter("watch").is_none() => {
                assert_eq!(parameter("fieldSelector"), Some("spec.nodeName%3Dworker-1"));
                Some(page(&pods.lock().unwrap(), parameter("limit")?, parameter("continue")))
            }
            // Somebody who only asks whether he may.
            "/api/v1/pods" if parameter("timeoutSeconds") == Some("1") => Some(Answer::json("")),
            _ => owner(path),
        }
    });
}

fn page(pods: &[Value], limit: &str, token: Option<&str>) -> Answer {
    let limit: usize = limit.parse().unwrap();
    let from: usize = token.map_or(0, |token| token.parse().unwrap());
    let mut metadata = json!({"resourceVersion": "1000"});
    if from + limit < pods.len() {
        metadata["continue"] = (from + limit).to_string().into();
        metadata["remainingItemCount"] = (pods.len() - from - limit).into();
    }
    let items: Vec<&Value> = pods.iter().skip(from).take(limit).collect();
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items});
    Answer::json(list.to_string())
}

fn owner(path: &str) -> Option<Answer> {
    let mut of_web: Value =
        serde_json::from_slice(&recorded_file("api/replicaset-metadata-only.body")).unwrap();
    let metadata = &mut of_web["metadata"];
    let (kind, owner) = match path {
        "/apis/apps/v1/namespaces/shop/replicasets/web-66c5cb679f" => ("Deployment", "web"),
        "/apis/apps/v1/namespaces/shop/replicasets/cart-5d8f7b9c64" => ("Deployment", "cart"),
        "/apis/batch/v1/namespaces/batch/jobs/report-29334960" => ("CronJob", "report"),
        _ => return None,
    };
    let mut steps = path.rsplit('/');
    metadata["name"] = steps.next().into();
    metadata["namespace"] = steps.nth(1).into();
    metadata["ownerReferences"][0]["kind"] = kind.into();
    metadata["ownerReferences"][0]["name"] = owner.into();
    Some(Answer::json(of_web.to_string()))
}
