//! The native API: a sample as a whole, and the reads of units, processes and the balance.

use serde_json::{Value, json};

use super::{Server, answer, json_body, node_body, pod_body};

const PATH: &str = "/api/samples";

/// A sample of 15:00:00, whatever the time is.
pub fn sample(unit_cpu: u64) -> Value {
    json!({
        "node_name": "node-1", "sampled_at": "2025-06-11T15:00:00.000Z",
        "posts": [
            {"path": "/api/nodes/node-1/metrics", "body": node_body(2300)},
            {"path": "/api/namespaces/default/pods/web/metrics", "body": pod_body("node-1", 300)}
        ],
        "record": {
            "schema_version": 1,
            "node": {
                "name": "node-1", "sampled_at": "2025-06-11T15:00:00.000Z",
                "interval_usec": 15_000_000, "memory_slab_reclaimable_bytes": 7,
                "memory_total_bytes": 9
            },
            "pods": [],
            "host_units": [
                {"name": "nginx.service", "cgroup": "/system.slice/nginx.service",
                 "cpu_millicores": unit_cpu, "memory_working_set_bytes": 5, "disk_read_bytes": 6},
                {"name": "/", "cgroup": "/", "cpu_millicores": 1}
            ],
            "processes": [
                {"pid": 7, "comm": "nginx", "owner": "unit",
                 "unit_cgroup": "/system.slice/nginx.service", "cpu_millicores": 3,
                 "memory_resident_bytes": 4}
            ],
            "conservation": {
                "cpu_usec": {"node": 10, "pods": 4, "host_units": 3, "kernel": 1, "interrupts": 0,
                             "exited": 1, "unattributed": 1},
                "exited": []
            },
            "gaps": []
        }
    })
}

async fn push(server: &Server, body: &Value) -> (u16, Value) {
    answer(json_body(server.post(PATH), body)).await
}

#[tokio::test]
async fn a_sample_is_stored_with_everything_in_it() {
    let server = Server::start().await;
    let (status, message) = push(&server, &sample(11)).await;
    assert_eq!((status, message["message"].as_str()), (201, Some("sample of node node-1 stored")));
    assert_eq!(server.get_ok("/api/nodes/node-1").await["cpu_millicores"], 2300);
    assert_eq!(server.names("/api/pods", "pod_name").await, ["web"]);
    let units = server.get_ok("/api/nodes/node-1/units").await;
    assert_eq!(units[1]["unit"], "/");
    assert_eq!(
        units[0],
        json!({
            "unit": "system.slice/nginx.service", "node_name": "node-1",
            "timestamp": "2025-06-11T15:00:00.000Z", "window_millis": 15000,
            "cpu_millicores": 11, "memory_bytes": 5, "disk_io": {"read_bytes": 6}
        }),
        "what is not known is left out"
    );
    let processes = server.get_ok("/api/nodes/node-1/processes").await;
    assert_eq!(processes[0]["owner"], "system.slice/nginx.service");
    assert_eq!((&processes[0]["pid"], &processes[0]["name"]), (&json!(7), &json!("nginx")));
    let balance = server.get_ok("/api/nodes/node-1/balance").await;
    assert_eq!(balance["cpu_usec"]["unattributed"], 1);
    assert_eq!(balance["memory_parts"], json!({"slab_reclaimable": 7}));
    assert_eq!(balance["interval_usec"], 15_000_000);
    assert_eq!(server.get_ok("/api/nodes/node-1/sample").await, sample(11)["record"]);
}

#[tokio::test]
async fn a_unit_has_a_past() {
    let server = Server::start().await;
    for cpu in [10, 20, 30] {
        let mut body = sample(cpu);
        let seconds = (cpu - 10) * 3 / 2;
        body["sampled_at"] = json!(format!("2025-06-11T15:00:{seconds:02}.000Z"));
        assert_eq!(push(&server, &body).await.0, 201);
        server.advance(15);
    }
    for path in ["/api/nodes/node-1/units?window=60", "/api/nodes/node-1/units/timeseries"] {
        let series = server.get_ok(path).await;
        let points = series.as_array().unwrap().iter();
        let own = points.filter(|point| point["unit"] == "system.slice/nginx.service");
        let cpu: Vec<_> = own.map(|point| &point["cpu_millicores"]).collect();
        assert_eq!(cpu, [10, 20, 30], "{path}");
    }
    assert_eq!(server.get_ok("/api/nodes/other/units?window=60").await, json!([]));
}

/// A backlog arrives late, with the times of its samples.
#[tokio::test]
async fn a_late_sample_is_filed_under_its_own_time() {
    let server = Server::start().await;
    server.advance(600);
    assert_eq!(push(&server, &sample(1)).await.0, 201);
    let series = server.get_ok("/api/nodes/node-1?window=3600").await;
    assert_eq!(series[0]["timestamp"], "2025-06-11T15:00:00Z");
    let nodes = server.get_ok("/api/nodes").await;
    assert_eq!(nodes[0].get("stale"), None, "it has just been heard of: {nodes}");
    // A newer record is not replaced by that of an older sample.
    let mut newer = sample(2);
    newer["sampled_at"] = json!("2025-06-11T15:05:00.000Z");
    assert_eq!(push(&server, &newer).await.0, 201);
    assert_eq!(push(&server, &sample(3)).await.0, 201);
    assert_eq!(server.get_ok("/api/nodes/node-1/units").await[0]["cpu_millicores"], 2);
}

#[tokio::test]
async fn a_bad_sample_stores_nothing_and_its_part_is_named() {
    let server = Server::start().await;
    for (pointer, value, expected) in [
        ("/sampled_at", json!(7), "sampled_at must be a string"),
        ("/posts/1/body/node_name", json!(null), "posts[1].body.node_name must be a string"),
        ("/posts/1/path", json!("/api/pods"), "posts[1].path must be the path of a node's"),
        ("/record/host_units", json!({}), "record must be an object with a list of host_units"),
    ] {
        let mut bad = sample(1);
        *bad.pointer_mut(pointer).unwrap() = value;
        let (status, error) = push(&server, &bad).await;
        let text = error["error"].as_str().unwrap();
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(server.get_ok("/api/nodes").await, json!([]));
    for part in ["units", "processes", "balance", "sample"] {
        let (status, error) = server.get(&format!("/api/nodes/node-1/{part}")).await;
        assert_eq!(status, 404, "{part}");
        assert!(error["error"].as_str().unwrap().contains("dialect samples"), "{error}");
    }
}

#[tokio::test]
async fn lists_have_series_and_merged_steps_have_peaks() {
    let server = Server::start().await;
    for cpu in [100, 300, 200, 400] {
        server.push("/api/nodes/node-1/metrics", &node_body(cpu)).await;
        server.push_pod("default", "web", "node-1", cpu).await;
        server.advance(15);
    }
    for path in [
        "/api/nodes?window=120",
        "/api/nodes/timeseries?window=120",
        "/api/pods?window=120",
        "/api/pods/timeseries",
        "/api/namespaces?window=120",
        "/api/namespaces/timeseries",
    ] {
        let series = server.get_ok(path).await;
        let cpu: Vec<_> =
            series.as_array().unwrap().iter().map(|point| &point["cpu_millicores"]).collect();
        assert_eq!(cpu, [100, 300, 200, 400], "{path}");
    }
    let minute = server.get_ok("/api/nodes/node-1?window=120&step=60").await;
    assert_eq!(minute.as_array().unwrap().len(), 1);
    assert_eq!(minute[0]["cpu_millicores"], 250);
    assert_eq!(minute[0]["peak"]["cpu_millicores"], 400);
    assert_eq!(minute[0]["disk_io"]["read_bytes"], 4 * 104_857_600_u64);
    let (from, to) = (1_749_654_015, 1_749_654_030);
    let part = server.get_ok(&format!("/api/nodes/node-1?from={from}&to={to}")).await;
    assert_eq!(part.as_array().unwrap().len(), 2);
}
