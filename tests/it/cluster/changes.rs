//! Changes while the agent runs: pods that go, start anew and come late, and an API server
//! that is not there.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::cluster::host::Stopped;
use crate::cluster::objects::{self, kind, name};
use crate::cluster::reads::expected_containers;
use crate::cluster::{LATE, PODS, Scene};
use crate::support::agent::eventually;
use crate::support::api_server::Watcher;
use crate::support::host_tree::Activity;

/// Neither works in every fifth tick.
const DELETED: usize = 2;
const RESTARTED: usize = 1;

impl Scene {
    fn next_watch(&mut self) -> Watcher {
        let server = &mut self.server;
        self.runtime.block_on(server.next_watch())
    }

    fn tell(&self, watch: &Watcher, what: &str, object: &Value, resource_version: u64) {
        let event = objects::event(what, object, resource_version);
        self.runtime.block_on(watch.pen.write(event));
    }

    fn metric(&self, line: &str) -> Option<f64> {
        let text = self.status.metrics();
        text.lines().find_map(|text| text.strip_prefix(line)?.trim().parse().ok())
    }

    /// Exit status and text of `check`, and nothing on standard error.
    fn check(&self) -> (i32, String) {
        let mut command = self.host.command(&["check"], &self.config);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }
}

fn about_kubernetes(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains("directory kubernetes")).collect()
}

pub fn check_is_well(scene: &Scene) {
    let (_, text) = scene.check();
    let lines = about_kubernetes(&text);
    assert_eq!(lines.len(), 6, "{text}");
    assert!(lines.iter().all(|line| line.starts_with("present")), "{text}");
    assert_eq!(scene.metric("nodetally_directory_up{source=\"kubernetes\"}"), Some(1.0));
    assert_eq!(scene.metric("nodetally_directory_known{source=\"kubernetes\"}"), Some(110.0));
}

pub fn a_pod_is_deleted(scene: &mut Scene) {
    let watch = scene.next_watch();
    assert_eq!(watch.parameter("resourceVersion"), "1000");
    let object = objects::pod(&scene.host.tree, DELETED);
    scene.pods.lock().unwrap().retain(|pod| pod["metadata"]["uid"] != object["metadata"]["uid"]);
    scene.tell(&watch, "DELETED", &object, 1001);
    let stopped = Stopped::new(&scene.agent);
    scene.host.tree.remove_pod(DELETED);
    drop(stopped);
    let (reader, name) = (scene.reader, name(DELETED));
    eventually("the row of a pod that has gone is dead", || {
        (reader.get(&format!("/pod/name/{name}"))["is_dead"] == true).then_some(())
    });
    let is_it = |row: &Value| row["pod_name"] == name;
    let info = reader.get("/pod/info");
    assert_eq!(info.as_array().unwrap().iter().filter(|row| row["is_dead"] == true).count(), 1);
    let list = reader.get(&format!("/pod/list/{}", objects::NODE));
    let list = list.as_array().unwrap();
    assert_eq!((list.len(), list.iter().any(is_it)), (PODS - 1, false));
    scene.watch = Some(watch);

    // The others go on, it does not; and what it used stays as it was.
    let series = || reader.get(&format!("/api/pods/{name}/timeseries"));
    let after = eventually("two samples without it", || {
        let before = series();
        let node = || reader.list(&format!("/api/nodes/{}/timeseries", objects::NODE)).len();
        let samples = node();
        eventually("a sample", || (node() >= samples + 2).then_some(()));
        (series() == before).then_some(before)
    });
    assert_eq!(
        crate::cluster::host::disk_sum(&after, "read_bytes"),
        scene.host.disk_bytes(DELETED)
    );
}

pub fn a_container_is_restarted(scene: &mut Scene) {
    let watch = scene.watch.take().unwrap();
    let (reader, name) = (scene.reader, name(RESTARTED));
    let before = reader.get(&format!("/pod/name/{name}"));
    let old = objects::pod(&scene.host.tree, RESTARTED);
    // A kernel's cgroup has all its files from the first; this one gets them one by one.
    let stopped = Stopped::new(&scene.agent);
    scene.host.tree.restart_container(RESTARTED, 1);
    drop(stopped);
    let mut object = objects::pod(&scene.host.tree, RESTARTED);
    let status = &mut object["status"]["containerStatuses"][0];
    let id = old["status"]["containerStatuses"][0]["containerID"].clone();
    assert_ne!(status["containerID"], id);
    status["restartCount"] = 1.into();
    status["lastState"] = json!({"terminated": {
        "exitCode": 137, "reason": "OOMKilled", "containerID": id,
        "startedAt": "2026-11-20T17:15:58Z", "finishedAt": "2026-11-21T08:00:00Z",
    }});
    scene.tell(&watch, "MODIFIED", &object, 1002);
    scene.watch = Some(watch);
    let row = eventually("the row of the pod's new version", || {
        let row = reader.get(&format!("/pod/name/{name}"));
        (row["pod_obj"] != before["pod_obj"]).then_some(row)
    });
    let status = &row["pod_obj"]["status"]["containerStatuses"][0];
    assert_eq!((&status["name"], &status["restartCount"]), (&json!("web"), &json!(1)));
    assert_eq!(row["is_dead"], false);
    assert!(row["time_stamp"].as_str() > before["time_stamp"].as_str());

    scene.advance(Activity::All);
    let others: Vec<usize> = (0..PODS).filter(|at| *at != DELETED).collect();
    let stopped = scene.settled(others.iter().copied());
    let pod = reader.list(&format!("/api/pods/{name}"));
    let containers = pod[0]["containers"].as_array().unwrap().iter();
    let memory =
        |one: &Value| (one["name"].as_str().unwrap().to_owned(), one["memory_bytes"].as_u64());
    let expected = expected_containers(&scene.host, RESTARTED);
    let expected = expected.into_iter().map(|(name, memory)| (name, Some(memory)));
    assert!(containers.map(memory).eq(expected), "{}", pod[0]);
    let batch = reader.get("/api/v1/metrics/pods");
    let resource = batch["resources"].as_array().unwrap().iter().find(|pod| pod["name"] == name);
    let statuses = resource.unwrap()["status"]["container_statuses"].as_array().unwrap();
    let web = statuses.iter().find(|status| status["name"] == "web").unwrap();
    assert_eq!(web["restarts"], 1);
    assert_eq!(web["last_state"]["terminated"]["exit_code"], 137);
    drop(stopped);
}

/// The first post of a late pod includes the bytes from before its name was known.
pub fn a_pod_is_added_late(scene: &mut Scene) {
    let (reader, name) = (scene.reader, name(LATE));
    let bytes = scene.host.disk_bytes(LATE);
    assert!(bytes >= 3 * crate::cluster::host::DISK_BYTES);
    assert_eq!(reader.disk_bytes(LATE), None);
    let watch = scene.watch.take().unwrap();
    let object = objects::pod(&scene.host.tree, LATE);
    scene.pods.lock().unwrap().push(object.clone());
    scene.tell(&watch, "ADDED", &object, 1003);
    scene.watch = Some(watch);
    let path = format!("/api/pods/{name}/timeseries?namespace={}", kind(LATE).namespace);
    let told = |point: &Value| point["disk_io"] != json!({"read_bytes": 0, "write_bytes": 0});
    // A batch, which has no disk figures, may come before.
    let posts = eventually("three posts of the pod, the disk's figures among them", || {
        let (_, series) = crate::support::agent::get(reader.0, &path);
        let posts = series.as_array().filter(|posts| posts.len() > 2)?;
        posts.iter().any(told).then(|| posts.clone())
    });
    let posts: Vec<&Value> = posts.iter().filter(|post| told(post)).collect();
    assert_eq!(posts.len(), 1, "{posts:?}");
    assert_eq!(posts[0]["disk_io"], json!({"read_bytes": bytes, "write_bytes": bytes}));
    let row = eventually("its row", || {
        let (status, row) = crate::support::agent::get(reader.0, &format!("/pod/name/{name}"));
        (status == 200).then_some(row)
    });
    assert_eq!(row["pod_ip"], objects::ip(LATE));
    scene.advance(Activity::All);
    eventually("what it has done since", || {
        (reader.disk_bytes(LATE) == Some([bytes + crate::cluster::host::DISK_BYTES; 2]))
            .then_some(())
    });
    let web = reader.list("/api/namespaces/shop/deployments/web/pods");
    assert_eq!(web.len(), 23);
}

pub fn the_server_goes_away_and_comes_back(scene: &mut Scene) {
    const UP: &str = "nodetally_directory_up{source=\"kubernetes\"}";
    const AGE: &str = "nodetally_directory_age_seconds{source=\"kubernetes\"}";
    drop(scene.watch.take());
    let runtime = scene.runtime.clone();
    runtime.block_on(scene.server.kill());
    eventually("the directory is down", || (scene.metric(UP) == Some(0.0)).then_some(()));
    let age = scene.metric(AGE).unwrap();
    let (_, text) = scene.check();
    let lines = about_kubernetes(&text);
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].starts_with("failed"), "{text}");
    assert!(lines[0].contains("kubeconfig refuses the connection"), "{text}");

    scene.advance(Activity::All);
    let known = || (0..=LATE).filter(|at| *at != DELETED);
    drop(scene.settled(known()));
    let pods = scene.reader.list("/api/pods");
    assert!(pods.iter().all(|pod| pod["namespace"] != "unknown"), "a pod under its uid");
    eventually("what is known grows old", || (scene.metric(AGE)? > age).then_some(()));
    assert_eq!(scene.metric(UP), Some(0.0));

    runtime.block_on(scene.server.restart());
    eventually("the directory is up again", || (scene.metric(UP) == Some(1.0)).then_some(()));
    assert!(scene.metric(AGE).unwrap() < age + 60.0);
    scene.advance(Activity::All);
    drop(scene.settled(known()));
}
