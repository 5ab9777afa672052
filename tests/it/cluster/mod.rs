//! The real binary on a node of 110 pods: the host's trees generated, the API server scripted, the
//! receiver of this process read by everything it answers.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test writes its own files and is the edge to time; what is not there fails it"
)]

mod changes;
mod host;
mod objects;
mod reads;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::agent::{Agent, PATIENCE, any_port, eventually, get, post, receiver};
use crate::support::api_server::{ApiServer, Pki, Watcher, background, kubeconfig};
use crate::support::host_tree::Activity;
use crate::support::rbac;
use host::{Host, Reader, Stopped};
use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::{Value, json};
use tokio::runtime::Handle;

/// The pods that the API server has from the start.
const PODS: usize = 110;

/// The number of the one more pod in the tree, which the API server gets later.
const LATE: usize = PODS;

fn config(dir: &Path, kubeconfig: &Path, status: SocketAddr, to: SocketAddr) -> PathBuf {
    let endpoints = ["resource-api", "pod-batch", "pod-lifecycle"].map(|dialect| {
        // Longer than the agent is ever stopped for: what it takes for unanswered it sends again.
        format!(
            "[[endpoint]]\nname = \"{dialect}\"\ndialect = \"{dialect}\"\n\
             url = \"http://{to}\"\ntimeout = \"2m\"\nannotations = [\"prometheus.io/port\"]\n"
        )
    });
    let text = format!(
        "[node]\nname = \"{}\"\n[sampling]\ninterval = \"1s\"\ntcp_sockets = false\n\
         [state]\ndir = \"none\"\n[directory]\nsources = [\"kubernetes\"]\nkubeconfig = {:?}\n\
         [cluster]\nid = \"c-1\"\n[status]\nlisten = \"{status}\"\n{}",
        objects::NODE,
        kubeconfig,
        endpoints.concat()
    );
    let path = dir.join("nodetally.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// All that a test of a whole node needs.
struct Scene {
    host: Host,
    agent: Agent,
    reader: Reader,
    status: Reader,
    server: ApiServer,
    pods: objects::Pods,
    /// The one that the agent reads.
    watch: Option<Watcher>,
    runtime: Handle,
    config: PathBuf,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        Self::start_beside(&[])
    }

    /// With rows of pods that the receiver has from before.
    fn start_beside(rows: &[Value]) -> Self {
        let host = Host::new(PODS + 1);
        let dir = tempfile::tempdir().unwrap();
        let runtime = background();
        let pki = Pki::new("cluster-ca");
        let server = runtime.block_on(async { ApiServer::start(&pki).await });
        let pods = Arc::new(Mutex::new((0..PODS).map(|at| objects::pod(&host.tree, at)).collect()));
        objects::serve(&server, &pods);
        server.accept_tokens(&["the-token"]);
        let reader = Reader(receiver(any_port()));
        for row in rows {
            let answer = post(reader.0, "/pod/spec", row);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        // A port that was just free.
        let status = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
        let kubeconfig = kubeconfig(dir.path(), &pki, server.address);
        let config = config(dir.path(), &kubeconfig, status, reader.0);
        let agent = Agent::start(host.command(&["run"], &config));
        let status = Reader(status);
        Self { host, agent, reader, status, server, pods, watch: None, runtime, config, _dir: dir }
    }

    fn advance(&mut self, activity: Activity) {
        self.host.advance(&self.agent, activity);
    }

    /// Waits until all figures of the tree have come, then stops the agent.
    fn settled(&self, pods: impl Iterator<Item = usize> + Clone) -> Stopped<'_> {
        let start = Instant::now();
        while let Some(missing) = pods.clone().find_map(|at| self.missing_of(at)) {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {missing}");
            thread::sleep(Duration::from_millis(50));
        }
        Stopped::new(&self.agent)
    }

    /// The figures of a pod that the receiver does not have yet, in words.
    fn missing_of(&self, pod: usize) -> Option<String> {
        let (namespace, name) = (objects::kind(pod).namespace, objects::name(pod));
        let disk = Some([self.host.disk_bytes(pod); 2]);
        let received = self.reader.disk_bytes(pod);
        let now = get(self.reader.0, &format!("/api/pods/{name}?namespace={namespace}")).1;
        let (memory, now) = (self.host.working_set(pod), &now[0]["memory_bytes"]);
        (received != disk || *now != memory).then(|| {
            format!(
                "pod {pod} {name}: received disk {received:?} of {disk:?}, memory {now} of {memory}"
            )
        })
    }
}

/// Reads every endpoint of a node at work; then what the API server tells changes, it goes away and
/// comes back; and at last its requests are held against the role that the manifests give.
#[test]
fn a_node_of_110_pods_from_its_kernel_and_api_server_to_every_read_endpoint() {
    let mut scene = Scene::start();
    let first = |scene: &Scene| {
        let (_, pods) = get(scene.reader.0, "/api/pods");
        pods.as_array().map_or(0, Vec::len)
    };
    eventually("a first post of each pod", || (first(&scene) == PODS).then_some(()));

    for activity in [Activity::All, Activity::NextFifth, Activity::NextFifth] {
        scene.advance(activity);
    }
    reads::cpu_of_a_tick(&mut scene);
    reads::files_are_counted(scene.reader);
    let stopped = scene.settled(0..PODS);
    reads::everything(&scene);
    drop(stopped);

    let requests = requests_to(&scene.server);
    changes::check_is_well(&scene);
    changes::a_pod_is_deleted(&mut scene);
    changes::a_container_is_restarted(&mut scene);
    changes::a_pod_is_added_late(&mut scene);
    changes::the_server_goes_away_and_comes_back(&mut scene);

    scene.agent.signal(nix::sys::signal::Signal::SIGTERM);
    let Scene { agent, server, .. } = scene;
    let (status, log) = agent.end();
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("refuses the connection").count(), 1, "{log}");
    let role = role();
    assert_eq!(rbac::requests_forbidden(&role, &requests_to(&server)), [].into());
    // `check` asks whether it may, of which `run` alone has the use.
    assert!(requests.len() > 8);
    assert_eq!(rbac::rules_not_used(&role, &requests), []);
}

/// Pods can end while no agent runs. Their rows die once the API server has listed its pods, and not a minute
/// later, when rows are compared again.
#[test]
fn the_row_of_a_pod_that_ended_before_the_agents_start_dies_within_seconds() {
    let row = json!({
        "pod_name": "ended-1", "pod_namespace": "production", "pod_ip": "10.244.9.9",
        "node_name": objects::NODE, "is_dead": false, "pod_identity": "ended",
        "workload_selector_labels": {}, "pod_obj": {}, "time_stamp": "2026-05-12T10:32:14.123456"
    });
    let scene = Scene::start_beside(&[row]);
    let ask = || get(scene.reader.0, "/pod/name/ended-1").1["is_dead"] == true;
    assert!(!ask());
    let listed = || get(scene.reader.0, "/pod/info").1.as_array().map_or(0, Vec::len) > PODS;
    eventually("the rows of the pods that run", || listed().then_some(()));
    let start = Instant::now();
    while !ask() {
        assert!(start.elapsed() < Duration::from_secs(30), "its row is still alive");
        thread::sleep(Duration::from_millis(100));
    }
}

fn requests_to(server: &ApiServer) -> Vec<rbac::Request> {
    let requests = server.requests();
    requests.iter().map(|(method, target)| rbac::Request::new(method, target)).collect()
}

/// The rights that the manifests give.
fn role() -> ClusterRole {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/kubernetes/rbac.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let role = text.split("\n---\n").find(|document| document.contains("kind: ClusterRole\n"));
    serde_saphyr::from_str(role.unwrap()).unwrap()
}
