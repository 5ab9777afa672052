//! Everything the receiver answers, held against what the tree and the API server had.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cluster::host::{
    CPU_USEC, FILE_BYTES, Host, Reader, WITH_FILES, disk_sum, holds_null, working_set,
};
use crate::cluster::objects::{self, NODE, ip, kind, name};
use crate::cluster::{PODS, Scene};
use crate::support::agent::{eventually, get};
use crate::support::host_tree::{Activity, HostTree};

/// Who works in a tick has that tick's CPU in the interval, who rests has none.
pub fn cpu_of_a_tick(scene: &mut Scene) {
    let reader = scene.reader;
    // `None` while some are known by their batches alone, which came first.
    let used_usec = || -> Option<Vec<(String, u64)>> {
        let pods = reader.list("/api/pods");
        let used = |pod: &Value| {
            let figure = |key: &str| pod.get(key).and_then(Value::as_u64);
            let (cpu, window) = (figure("cpu_nanocores")?, figure("window_millis")?);
            assert!(figure("cpu_millicores")?.abs_diff(cpu / 1_000_000) <= 1, "{pod}");
            Some((pod["pod_name"].as_str()?.to_owned(), cpu * window / 1_000_000))
        };
        pods.iter().map(used).collect()
    };
    drop(scene.settled(0..PODS));
    eventually("an interval in which nobody works", || {
        used_usec()?.iter().all(|(_, usec)| *usec == 0).then_some(())
    });
    let works = |at: &usize| Activity::SameFifth.includes(*at, 0);
    let mut expected: BTreeSet<String> = (0..PODS).filter(works).map(name).collect();
    let working = expected.clone();
    // The readings of a pod and of the interval are some milliseconds apart.
    let about_a_tick = CPU_USEC * 8 / 10..=CPU_USEC * 12 / 10;
    let mut polls = 0;
    eventually("the CPU of a tick", || {
        // More than once only if a sample was under way, or was very late.
        if polls % 100 == 0 {
            scene.advance(Activity::SameFifth);
        }
        polls += 1;
        for (name, usec) in used_usec()? {
            if about_a_tick.contains(&usec) {
                expected.remove(&name);
            }
            assert!(usec == 0 || working.contains(&name), "{name} rests and has {usec} us");
        }
        expected.is_empty().then_some(())
    });
}

/// They are counted beside the samples, by a thread that yields to all others.
pub fn files_are_counted(reader: Reader) {
    eventually("the bytes of a pod's volume", || {
        let answer = reader.get("/api/v1/metrics/pods");
        let mut pods = answer["resources"].as_array()?.iter();
        let pod = pods.find(|pod| pod["name"] == name(WITH_FILES))?;
        let bytes = pod["metrics"]["filesystem"]["usage_bytes"].as_u64()?;
        (bytes >= FILE_BYTES).then_some(())
    });
}

/// All of it, of a receiver that nobody posts to meanwhile.
pub fn everything(scene: &Scene) {
    let (reader, host) = (scene.reader, &scene.host);
    nodes(reader, host);
    let pods = pods(reader, host);
    namespaces(reader, host, &pods);
    deployments(reader, host, &pods);
    pod_batch(reader, host);
    pod_lifecycle(reader, host);
    metrics_k8s_io(reader, host, &pods);
    assert_eq!(get(reader.0, "/").0, 200);
}

fn nodes(reader: Reader, host: &Host) {
    let nodes = reader.list("/api/nodes");
    let node = reader.get(&format!("/api/nodes/{NODE}"));
    assert_eq!(nodes, std::slice::from_ref(&node));
    assert_eq!(node["node_name"], NODE);
    // MemTotal less MemFree and Inactive(file).
    assert_eq!(node["memory_bytes"], (16_170_336 - 5_174_436 - 394_384) * 1024_u64);
    assert_eq!(node["labels"]["eks.amazonaws.com/nodegroup"], "general");
    assert_eq!(node["labels"].as_object().unwrap().len(), 9);

    let series = reader.list(&format!("/api/nodes/{NODE}?window=3600"));
    assert_eq!(reader.list(&format!("/api/nodes/{NODE}/timeseries?window=3600")), series);
    assert_eq!(reader.list(&format!("/api/nodes/{NODE}/timeseries")), series);
    assert!(series.len() > 3);
    // Idle time stands still in this tree, so the ticks count. An interval without ticks is not known
    // and is 0. Intervals take about a second, and longer where the machine is busy.
    let times = series.iter().map(|point| {
        let time = humantime::parse_rfc3339(point["timestamp"].as_str().unwrap()).unwrap();
        time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    });
    let seconds = times.clone().skip(1).zip(times).map(|(now, before)| (now - before).max(1));
    let cpu = series.iter().skip(1).map(|point| point["cpu_millicores"].as_u64().unwrap());
    let cpu_msec: u64 = cpu.zip(seconds).map(|(cpu, seconds)| cpu * seconds).sum();
    let of_ticks = host.node_cpu_usec / 1000;
    assert!((of_ticks / 4..=of_ticks * 2).contains(&cpu_msec), "{cpu_msec} of {of_ticks}");
    for point in &series {
        assert_eq!(point["node_name"], NODE);
        assert_eq!(point["memory_bytes"], node["memory_bytes"]);
        assert_eq!(point["disk_io"], json!({"read_bytes": 0, "write_bytes": 0}));
        assert_eq!(point["network_io"], json!({"bytes_sent": 0, "bytes_recv": 0}));
    }
}

/// By the number in the tree.
fn pods(reader: Reader, host: &Host) -> Vec<Value> {
    let all = reader.list("/api/pods");
    assert_eq!(reader.list(&format!("/api/nodes/{NODE}/pods")), all);
    let by_name: BTreeMap<(&str, &str), &Value> = all
        .iter()
        .map(|pod| ((pod["namespace"].as_str().unwrap(), pod["pod_name"].as_str().unwrap()), pod))
        .collect();
    assert_eq!((all.len(), by_name.len()), (PODS, PODS));
    let mut in_order = Vec::new();
    for at in 0..PODS {
        let (kind, name) = (kind(at), name(at));
        let pod = *by_name.get(&(kind.namespace, name.as_str())).expect(&name);
        assert_eq!(pod["node_name"], NODE);
        assert_eq!(pod["pod_uid"], HostTree::pod_uid(at), "{name}");
        assert_eq!(pod["qos_class"].as_str().unwrap().to_lowercase(), kind.qos.to_lowercase());
        assert_eq!(pod["memory_bytes"], host.working_set(at), "{name}");
        assert_eq!(pod["network_io"], json!({"bytes_sent": 0, "bytes_recv": 0}));
        let (workload_kind, workload) = kind.workload.unzip();
        assert_eq!(pod.get("workload_kind").and_then(Value::as_str), workload_kind, "{name}");
        assert_eq!(pod.get("workload_name").and_then(Value::as_str), workload, "{name}");
        let deployment = workload.filter(|_| workload_kind == Some("Deployment"));
        assert_eq!(pod.get("deployment_name").and_then(Value::as_str), deployment, "{name}");
        let labels = &objects::pod(&host.tree, at)["metadata"]["labels"];
        let labels = if labels.is_null() { &json!({}) } else { labels };
        assert_eq!(&pod["labels"], labels, "{name}");
        assert_eq!(containers(pod), expected_containers(host, at), "{name}");
        pod_alone(reader, host, at, pod);
        in_order.push(pod.clone());
    }
    in_order
}

/// Names and memory.
fn containers(pod: &Value) -> Vec<(String, u64)> {
    let containers = pod["containers"].as_array().unwrap().iter();
    let one = |container: &Value| {
        let memory = container["memory_bytes"].as_u64().unwrap();
        (container["name"].as_str().unwrap().to_owned(), memory)
    };
    containers.map(one).collect()
}

/// In the order of their names, from the tree's files.
pub fn expected_containers(host: &Host, at: usize) -> Vec<(String, u64)> {
    let object = objects::pod(&host.tree, at);
    let statuses = object["status"]["containerStatuses"].as_array().unwrap();
    let mut containers: Vec<(String, u64)> = statuses
        .iter()
        .map(|status| {
            let id = status["containerID"].as_str().unwrap().strip_prefix("containerd://").unwrap();
            let dir = host.tree.pod_dir(at).join(format!("cri-containerd-{id}.scope"));
            (status["name"].as_str().unwrap().to_owned(), working_set(&dir))
        })
        .collect();
    containers.sort();
    let names: Vec<&str> = containers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, kind(at).containers);
    containers
}

/// One pod, by all the spellings.
fn pod_alone(reader: Reader, host: &Host, at: usize, pod: &Value) {
    let (namespace, name) = (kind(at).namespace, name(at));
    let path = format!("/api/pods/{name}");
    for query in ["", &format!("?namespace={namespace}")] {
        assert_eq!(reader.list(&format!("{path}{query}")), std::slice::from_ref(pod));
    }
    assert_eq!(get(reader.0, &format!("{path}?namespace=elsewhere")).0, 404);
    let series = reader.get(&format!("{path}?window=3600"));
    for other in [
        format!("{path}?window=3600&namespace={namespace}"),
        format!("{path}/timeseries?window=3600"),
        format!("{path}/timeseries?window=3600&namespace={namespace}"),
        format!("{path}/timeseries?namespace={namespace}"),
    ] {
        assert_eq!(reader.get(&other), series, "{other}");
    }
    assert!(!holds_null(&series));
    for key in ["read_bytes", "write_bytes"] {
        assert_eq!(disk_sum(&series, key), host.disk_bytes(at), "{name} {key}");
    }
    let last = series.as_array().unwrap().last().unwrap();
    for key in ["namespace", "pod_name", "timestamp", "cpu_millicores", "memory_bytes", "disk_io"] {
        assert_eq!(last[key], pod[key], "{name} {key}");
    }
}

/// That a sum is the sum over these.
fn is_sum_of<'a>(sum: &Value, pods: impl Iterator<Item = &'a Value> + Clone) {
    for path in [
        "/cpu_millicores",
        "/memory_bytes",
        "/disk_io/read_bytes",
        "/disk_io/write_bytes",
        "/network_io/bytes_sent",
        "/network_io/bytes_recv",
    ] {
        let figure = |value: &Value| value.pointer(path).unwrap().as_u64().unwrap();
        assert_eq!(figure(sum), pods.clone().map(figure).sum::<u64>(), "{path}: {sum}");
    }
    let latest = pods.map(|pod| pod["timestamp"].as_str().unwrap()).max();
    assert_eq!(sum["timestamp"].as_str(), latest);
}

/// A series of sums adds up to what these pods have read and written.
fn adds_up_to(series: &Value, host: &Host, pods: impl Iterator<Item = usize>) {
    assert!(!holds_null(series));
    let bytes: u64 = pods.map(|at| host.disk_bytes(at)).sum();
    assert_eq!(disk_sum(series, "read_bytes"), bytes);
    assert_eq!(disk_sum(series, "write_bytes"), bytes);
}

fn namespaces(reader: Reader, host: &Host, pods: &[Value]) {
    let all = reader.list("/api/namespaces");
    let names: Vec<&str> = all.iter().map(|ns| ns["namespace"].as_str().unwrap()).collect();
    assert_eq!(names, ["batch", "data", "default", "kube-system", "logging", "shop"]);
    for record in &all {
        let ns = record["namespace"].as_str().unwrap();
        let own = pods.iter().filter(|pod| pod["namespace"] == ns);
        is_sum_of(record, own.clone());
        let path = format!("/api/namespaces/{ns}");
        assert_eq!(&reader.get(&path), record);
        let listed = reader.list(&format!("{path}/pods"));
        assert_eq!(reader.list(&format!("/api/pods?namespace={ns}")), listed);
        assert_eq!(listed.len(), own.clone().count());
        assert!(own.clone().all(|pod| listed.contains(pod)));
        let series = reader.get(&format!("{path}?window=3600"));
        assert_eq!(reader.get(&format!("{path}/timeseries?window=3600")), series);
        adds_up_to(&series, host, (0..PODS).filter(|at| kind(*at).namespace == ns));
        let deployments = reader.get(&format!("{path}/deployments"));
        assert_eq!(reader.get(&format!("/api/deployments?namespace={ns}")), deployments);
        let names: Vec<&Value> = deployments.as_array().unwrap().iter().collect();
        let names: Vec<&str> =
            names.iter().map(|record| record["deployment_name"].as_str().unwrap()).collect();
        assert_eq!(names, if ns == "shop" { &["cart", "web"][..] } else { &[] });
    }
    assert_eq!(get(reader.0, "/api/namespaces/unknown").0, 404);
}

fn deployments(reader: Reader, host: &Host, pods: &[Value]) {
    let all = reader.list("/api/deployments");
    assert_eq!(all.len(), 2);
    for record in &all {
        let name = record["deployment_name"].as_str().unwrap();
        let is_own = |at: &usize| kind(*at).workload == Some(("Deployment", name));
        let own = || (0..PODS).filter(is_own).map(|at| &pods[at]);
        assert_eq!((own().count(), &record["namespace"]), (22, &json!("shop")));
        is_sum_of(record, own());
        let path = format!("/api/namespaces/shop/deployments/{name}");
        assert_eq!(&reader.get(&path), record);
        assert_eq!(reader.list(&format!("/api/deployments/{name}")), std::slice::from_ref(record));
        let listed = reader.list(&format!("{path}/pods"));
        assert_eq!(listed.len(), 22);
        assert!(own().all(|pod| listed.contains(pod)));
        let series = reader.get(&format!("{path}?window=3600"));
        for other in [
            format!("{path}/timeseries?window=3600"),
            format!("/api/deployments/{name}?window=3600"),
            format!("/api/deployments/{name}/timeseries?window=3600"),
            format!("/api/deployments/{name}/timeseries?window=3600&namespace=shop"),
            // As the API's document has it.
            format!("/api/namespaces/{name}?window=3600"),
        ] {
            assert_eq!(reader.get(&other), series, "{other}");
        }
        adds_up_to(&series, host, (0..PODS).filter(is_own));
    }
    assert_eq!(get(reader.0, "/api/deployments/db").0, 404);
}

fn pod_batch(reader: Reader, host: &Host) {
    let answer = reader.get("/api/v1/metrics/pods");
    assert!(!holds_null(&answer));
    assert_eq!(answer["metrics_count"], PODS);
    let resources = answer["resources"].as_array().unwrap();
    assert_eq!(resources.len(), PODS);
    for at in 0..PODS {
        let (kind, name) = (kind(at), name(at));
        let mut own = resources.iter().filter(|pod| pod["name"] == name);
        let (pod, none) = (own.next().expect(&name), own.next());
        assert_eq!((&pod["namespace"], none), (&json!(kind.namespace), None));
        assert_eq!(pod["uid"], objects::api_uid(at));
        let object = objects::pod(&host.tree, at);
        let metrics = &pod["metrics"];
        let amounts = |key: &str| {
            let cores = metrics["cpu"][key].as_f64().unwrap();
            (cores, metrics["memory"][format!("{key}_bytes")].as_u64().unwrap())
        };
        assert_eq!(amounts("requests"), kind.requests, "{name}");
        assert_eq!(amounts("limits"), kind.limits, "{name}");
        assert_eq!(metrics["memory"]["usage_bytes"], host.working_set(at));
        assert_eq!(metrics["network"], json!({"rx_bytes": 0, "tx_bytes": 0}));
        // With its directories, which take less than a page each.
        let files = &metrics["filesystem"]["usage_bytes"];
        let own = if at == WITH_FILES { FILE_BYTES } else { 0 };
        assert!((own..=own + 16_384).contains(&files.as_u64().unwrap()), "{name}: {metrics}");
        assert_eq!(pod["status"]["phase"], "Running");
        assert_eq!(pod["spec"]["node_name"], NODE);
        let conditions = |status: &Value| -> Vec<Value> {
            let all = status["conditions"].as_array().into_iter().flatten();
            all.map(|one| json!([one["type"], one["status"]])).collect()
        };
        assert_eq!(conditions(&pod["status"]), conditions(&object["status"]), "{name}");
        let statuses = pod["status"]["container_statuses"].as_array().unwrap();
        let running = statuses.iter().filter(|one| one["state"]["running"].is_object());
        let mut running: Vec<&str> = running.map(|one| one["name"].as_str().unwrap()).collect();
        running.sort_unstable();
        assert_eq!(running, kind.containers);
        let has = |count: usize| statuses.len() == running.len() + count;
        // That of the init container is terminated.
        assert!(has(usize::from(kind.containers.contains(&"web"))), "{pod}");
        let metadata = &pod["metadata"];
        assert_eq!(metadata["creation_timestamp"], object["metadata"]["creationTimestamp"]);
        let owner = object["metadata"]["ownerReferences"].get(0);
        let owner =
            owner.map(|it| json!({"kind": it["kind"], "name": it["name"], "uid": it["uid"]}));
        assert_eq!(metadata["owner_references"].get(0), owner.as_ref());
        let annotations = match kind.containers.contains(&"web") {
            true => json!({"prometheus.io/port": "9090"}),
            false => json!({}),
        };
        assert_eq!(metadata["annotations"], annotations, "{name}");
    }
    let answer = reader.get("/api/v1/metrics/nodes");
    assert!(!holds_null(&answer));
    assert_eq!(answer["metrics_count"], 1);
    let node = &answer["resources"][0];
    assert_eq!((&node["name"], node["uid"].as_str().unwrap().len()), (&json!(NODE), 36));
    assert_eq!(
        node["status"]["capacity"],
        json!({
            "cpu": "4", "memory": "16078924Ki", "pods": "110",
            "ephemeral-storage": "83873772Ki",
        })
    );
    assert_eq!(node["metrics"]["cpu"]["capacity"], 4.0);
    assert_eq!(node["metrics"]["cpu"]["allocatable"], 3.92);
    assert_eq!(node["metrics"]["memory"]["allocatable_bytes"], 15_061_068_u64 * 1024);
    assert_eq!(node["metadata"]["labels"]["topology.kubernetes.io/zone"], "eu-west-1a");
}

fn pod_lifecycle(reader: Reader, host: &Host) {
    let info = reader.get("/pod/info");
    let rows = info.as_array().unwrap();
    assert_eq!(rows.len(), PODS);
    assert_eq!(reader.get(&format!("/pod/list/{NODE}")), info);
    assert_eq!(reader.get("/pod/list/worker-2"), json!([]));
    for at in 0..PODS {
        let (kind, name) = (kind(at), name(at));
        let row = rows.iter().find(|row| row["pod_name"] == name).expect(&name);
        assert_eq!(reader.get(&format!("/pod/name/{name}")), *row);
        let with_ip = reader.get(&format!("/pod/ip/{}", ip(at)));
        assert_eq!(with_ip["pod_ip"], ip(at));
        if ip(at).starts_with("10.244.") {
            assert_eq!(with_ip, *row);
        }
        assert_eq!(row["pod_namespace"], kind.namespace);
        assert_eq!((&row["pod_ip"], &row["node_name"]), (&json!(ip(at)), &json!(NODE)));
        assert_eq!(row["is_dead"], false);
        // Naive, in UTC: servers refuse a Z.
        let stamp = row["time_stamp"].as_str().unwrap();
        assert!(humantime::parse_rfc3339(&format!("{stamp}Z")).is_ok(), "{stamp}");
        let labels = &objects::pod(&host.tree, at)["metadata"]["labels"];
        let identity = match at % 10 {
            // By the label, whatever the Deployment is called.
            0..=3 => labels["app.kubernetes.io/name"].as_str(),
            6 => labels["k8s-app"].as_str(),
            _ => kind.workload.map(|(_, name)| name),
        };
        assert_eq!(row["pod_identity"].as_str(), identity, "{name}");
        let object = &row["pod_obj"];
        assert_eq!(object["metadata"]["uid"], objects::api_uid(at));
        assert_eq!(object["status"]["podIP"], ip(at));
        assert!(object["spec"]["containers"][0].get("env").is_none());
    }
    assert_eq!(get(reader.0, "/pod/name/nobody").0, 404);
    assert_eq!(get(reader.0, "/pod/ip/10.9.9.9").0, 404);
}

/// Billionths of a CPU, and bytes.
fn usage(value: &Value) -> (u64, u64) {
    let cpu = value["cpu"].as_str().unwrap();
    let memory = value["memory"].as_str().unwrap();
    let memory = match memory.strip_suffix("Ki") {
        Some(kibibytes) => kibibytes.parse::<u64>().unwrap() * 1024,
        None => memory.parse().unwrap(),
    };
    (cpu.strip_suffix('n').unwrap_or(cpu).parse().unwrap(), memory)
}

fn metrics_k8s_io(reader: Reader, host: &Host, pods: &[Value]) {
    const V1BETA1: &str = "/apis/metrics.k8s.io/v1beta1";
    for (path, kind) in [
        ("/api", "APIVersions"),
        ("/api/v1", "APIResourceList"),
        ("/apis", "APIGroupList"),
        ("/apis/metrics.k8s.io", "APIGroup"),
        (V1BETA1, "APIResourceList"),
    ] {
        assert_eq!(reader.get(path)["kind"], kind, "{path}");
    }
    let nodes = reader.get(&format!("{V1BETA1}/nodes"));
    assert_eq!(nodes["kind"], "NodeMetricsList");
    let mut node = reader.get(&format!("{V1BETA1}/nodes/{NODE}"));
    assert_eq!(node["kind"], "NodeMetrics");
    let memory = reader.get(&format!("/api/nodes/{NODE}"))["memory_bytes"].as_u64().unwrap();
    assert_eq!(usage(&node["usage"]).1, memory);
    without_type(&mut node);
    assert_eq!(nodes["items"], json!([node]));

    let list = reader.get(&format!("{V1BETA1}/pods"));
    assert_eq!(list["kind"], "PodMetricsList");
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), PODS);
    for (at, shown) in pods.iter().enumerate() {
        let (namespace, name) = (kind(at).namespace, name(at));
        let path = format!("{V1BETA1}/namespaces/{namespace}/pods/{name}");
        let mut pod = reader.get(&path);
        assert_eq!(pod["kind"], "PodMetrics");
        without_type(&mut pod);
        assert!(items.contains(&pod), "{pod}");
        let containers = pod["containers"].as_array().unwrap().iter();
        let containers: Vec<(String, u64)> = containers
            .map(|one| (one["name"].as_str().unwrap().to_owned(), usage(&one["usage"]).1))
            .collect();
        assert_eq!(containers, expected_containers(host, at));
        let window = pod["window"].as_str().unwrap().strip_suffix('s').unwrap();
        let millis = shown["window_millis"].as_u64().unwrap();
        assert!((window.parse::<f64>().unwrap() * 1000.0 - millis as f64).abs() < 0.5, "{pod}");
    }
    for namespace in ["batch", "data", "default", "kube-system", "logging", "shop"] {
        let own = reader.get(&format!("{V1BETA1}/namespaces/{namespace}/pods"));
        let expected = items.iter().filter(|pod| pod["metadata"]["namespace"] == namespace);
        assert!(own["items"].as_array().unwrap().iter().eq(expected), "{namespace}");
    }
    let names = |path: &str| -> Vec<String> {
        let list = reader.get(path);
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let chosen = names(&format!("{V1BETA1}/pods?labelSelector=qos%3Dguaranteed"));
    assert_eq!((chosen.len(), &*chosen[0]), (11, "odd-quantities-108"));
    assert_eq!(get(reader.0, &format!("{V1BETA1}/nodes/nobody")).0, 404);

    // What `kubectl top` asks of an API server beside it.
    assert_eq!(names("/api/v1/nodes"), [NODE]);
    assert_eq!(names("/api/v1/pods").len(), PODS);
    assert_eq!(names("/api/v1/namespaces/shop/pods").len(), 44);
    assert_eq!(
        usage(&reader.get(&format!("/api/v1/nodes/{NODE}"))["status"]["allocatable"]),
        (3_920_000_000, 15_061_068 * 1024)
    );
    let web = reader.get(&format!("/api/v1/namespaces/shop/pods/{}", name(0)));
    assert_eq!(web["metadata"]["uid"], HostTree::pod_uid(0));
}

/// An object alone says what it is, one of a list does not.
fn without_type(object: &mut Value) {
    let object = object.as_object_mut().unwrap();
    object.remove("kind");
    object.remove("apiVersion");
}
