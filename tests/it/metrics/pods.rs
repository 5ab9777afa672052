//! Pods that an API server names: their namespaces, and their end.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::desk::Desk;
use super::scrape::{OPEN_METRICS, Series, ask};
use super::totals::{CGROUPS, ID, POD, UID, load, near};
use crate::support::agent::{add, eventually};
use crate::support::api_server::{Answer, ApiServer, Pki, background, kubeconfig, parameter};

/// A pod as an API server has it; containers as name and id.
fn pod(namespace: &str, name: &str, uid: &str, containers: &[(&str, &str)]) -> Value {
    let specs: Vec<Value> =
        containers.iter().map(|(name, _)| json!({"name": name, "image": "app:1"})).collect();
    let statuses = containers.iter().map(|(name, id)| {
        json!({
            "name": name, "containerID": format!("cri-o://{id}"), "image": "app:1", "imageID": "",
            "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-11-20T17:15:58Z"}},
        })
    });
    json!({
        "metadata": {"namespace": namespace, "name": name, "uid": uid},
        "spec": {"nodeName": "n1", "containers": specs},
        "status": {"phase": "Running", "containerStatuses": statuses.collect::<Vec<_>>()},
    })
}

fn pods() -> Value {
    let clock = [
        ("face", "7797802e95b73bdfb2392c531043d6aa4caa22018133153cd1a6b9d1f3d9135b"),
        ("hands", "d0a94e0efca245d531730228a43bdf3d00f567237ac2394c72590df134a6527a"),
    ];
    json!({
        "kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
        "items": [
            pod("shop", "till", UID.1, &[("drawer", ID)]),
            pod("tower", "clock", "cd47dd0a-9310-4c43-afc3-a47f29343e3d", &clock),
        ],
    })
}

/// The series of a namespace as its own request has them.
fn of_namespace(desk: &Desk, query: &str) -> Series {
    let answer = ask(desk.listen, &format!("/metrics?{query}"), &[("Accept", OPEN_METRICS)]);
    Series::of(&answer.unwrap().text())
}

fn names(series: &Series) -> Vec<&String> {
    series.0.keys().collect()
}

#[test]
fn a_namespace_is_its_pods_and_a_pod_that_ended_stays_until_all_have_seen_it() {
    let runtime = background();
    let pki = Pki::new("cluster-ca");
    let server = runtime.block_on(async { ApiServer::start(&pki).await });
    server.serve_objects(|path| {
        let is_list = path.starts_with("/api/v1/pods") && parameter(path, "watch").is_none();
        is_list.then(|| Answer::json(pods().to_string()))
    });
    let desk = Desk::new("");
    let config = kubeconfig(Path::new(&desk.path("")), &pki, server.address);
    desk.configure(&format!("[directory]\nsources = [\"kubernetes\"]\nkubeconfig = {config:?}\n"));
    let agent = desk.start();

    let shop = ("namespace", "shop");
    let till = [shop, ("pod", "till"), UID];
    let cpu = "k8s_pod_cpu_time_seconds";
    let total = |series: &Series| series.find(&format!("{cpu}_total"), &till);
    let both_named = |series: &Series| {
        let clock = series.find(&format!("{cpu}_total"), &[("namespace", "tower")]);
        total(series).is_some() && clock.is_some()
    };
    desk.until("names of both pods", both_named);
    desk.change(&agent, load);
    let whole = desk.until("the load", |now| total(now).is_some_and(|total| near(total, 0.3)));

    // What the whole answer has of a namespace, and nothing else.
    for namespace in ["shop", "tower"] {
        let label = format!("namespace=\"{namespace}\"");
        let right: Vec<&String> = whole.0.keys().filter(|series| series.contains(&label)).collect();
        let own = of_namespace(&desk, &format!("namespace={namespace}"));
        assert_eq!(names(&own), right);
        let of_containers =
            right.iter().filter(|series| series.starts_with("container_cpu_time_seconds_total{"));
        assert_eq!(of_containers.count(), if namespace == "shop" { 1 } else { 2 });
    }
    let drawer = [shop, ("container", "drawer")];
    let own = of_namespace(&desk, "namespace=shop");
    assert!(near(own.get("container_cpu_time_seconds_total", &drawer), 0.25));
    let own = of_namespace(&desk, "namespace=shop&entity=pod");
    assert!(near(total(&own).unwrap(), 0.3));
    assert!(own.0.keys().all(|name| name.contains("_pod_")), "{:?}", names(&own));
    assert_eq!(of_namespace(&desk, "namespace=sho").0.len(), 0);

    // The pod ends. These have not seen it, and "a" has.
    let ask_others = || {
        let b = desk.series("b").unwrap();
        for query in
            ["namespace=shop", "namespace=tower", "namespace=shop&entity=pod", "namespace=sho"]
        {
            of_namespace(&desk, query);
        }
        b
    };
    ask_others();
    desk.change(&agent, |host| {
        fs::rename(host.path(&format!("{CGROUPS}/{POD}")), host.path("removed")).unwrap();
        for process in ["1531", "1541", "1542", "1543"] {
            fs::remove_dir_all(host.path(&format!("proc/{process}"))).unwrap();
        }
        // As the processes of a pod do at their end.
        for cgroup in ["kubepods.slice/", ""] {
            let file = format!("{CGROUPS}/{cgroup}cpu.stat");
            add(host, &file, "usage_usec", "usage_usec ", 10_000);
            add(host, &file, "user_usec", "user_usec ", 10_000);
        }
    });
    let memory = |series: &Series| series.find("k8s_pod_memory_usage_bytes", &till);
    let ended = desk.until("the end of the pod", |now| memory(now).is_none());
    for series in [&ended, &desk.next(3)] {
        assert!(total(series).is_some_and(|total| near(total, 0.3)), "{:?}", total(series));
        let container = series.get("container_cpu_time_seconds_total", &drawer);
        assert!(near(container, 0.25), "{container}");
        let created = |of: &Series| of.get(&format!("{cpu}_created"), &till);
        assert_eq!(created(series), created(&whole));
        assert!(series.find("container_memory_usage_bytes", &drawer).is_none());
    }
    assert!(near(total(&of_namespace(&desk, "namespace=shop")).unwrap(), 0.3));
    assert!(total(&ask_others()).is_some());
    desk.next(0);
    let gone = eventually("its totals to be gone", || {
        ask_others();
        desk.series("a").filter(|series| total(series).is_none())
    });
    assert_eq!(gone.find("container_cpu_time_seconds_total", &drawer), None);
    assert!(gone.find(&format!("{cpu}_total"), &[("pod", "clock")]).is_some());
    assert_eq!(of_namespace(&desk, "namespace=shop").0.len(), 0);

    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success(), "{log}");
}
