//! Who may do what: tokens with their roles, TLS, and addresses that other hosts reach.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nodetally::receiver::{ReceiverAccess, ReceiverBounds, TokensFile};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::command::receive;
use super::pod_batch::{envelope, node, pod};
use super::pod_lifecycle::spec;
use super::samples::sample;
use super::{Server, client, json_body, node_body, pod_body};
use crate::support::agent::{Agent, Host, eventually};

/// The tokens of [`tokens_file`], after their names; "stranger" is in no file.
const NAMES: [&str; 6] = ["", "stranger", "worker-1", "workers", "eyes", "root"];

pub fn token_of(name: &str) -> String {
    format!("hunter2-of-{name}")
}

fn line(name: &str, role: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, token_of(name).as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {role} sha256:{hash}\n")
}

pub fn put(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, path).unwrap();
}

fn all_tokens() -> String {
    [
        line("worker-1", "ingest:node-1"),
        line("worker-2", "ingest:node-2"),
        line("workers", "ingest"),
        line("eyes", "read"),
        line("root", "admin"),
    ]
    .concat()
}

/// A receiver that asks for tokens.
struct Guarded {
    server: Server,
    tokens: PathBuf,
    _dir: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        Self::start_with(ReceiverBounds::for_interval(Duration::from_secs(15))).await
    }

    async fn start_with(bounds: ReceiverBounds) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tokens = dir.path().join("tokens");
        put(&tokens, &all_tokens());
        let access = ReceiverAccess {
            tokens: Some(TokensFile::open(&tokens).unwrap()),
            ..ReceiverAccess::default()
        };
        let server = Server::start_with_access(bounds, access).await;
        Self { server, tokens, _dir: dir }
    }

    /// A request with the token of this name.
    fn request(&self, name: &str, method: &Method, path: &str, body: &Value) -> RequestBuilder {
        let request =
            self.server.client.request(method.clone(), format!("{}{path}", self.server.base));
        let request = if body.is_null() { request } else { json_body(request, body) };
        if name.is_empty() { request } else { request.bearer_auth(token_of(name)) }
    }

    async fn post(&self, name: &str, path: &str, body: &Value) -> u16 {
        self.request(name, &Method::POST, path, body).send().await.unwrap().status().as_u16()
    }

    async fn read(&self, path: &str) -> Value {
        let answer = self.request("eyes", &Method::GET, path, &Value::Null).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }
}

fn on_node(mut pod: Value, node: &str) -> Value {
    pod["spec"]["node_name"] = json!(node);
    pod
}

fn spec_on(name: &str, node: &str) -> Value {
    let mut spec = spec(name, "10.0.0.9");
    spec["node_name"] = json!(node);
    spec
}

fn sample_of(node: &str) -> Value {
    let text = sample(7).to_string().replace("node-1", node);
    serde_json::from_str(&text).unwrap()
}

/// The form that errors of the API of this path have.
fn check_form(path: &str, status: u16, content_type: &str, body: &str) {
    let is_401 = status == 401;
    if path.starts_with("/pod/") {
        assert_eq!(content_type, "text/plain; charset=utf-8", "{path}");
        assert!(!body.is_empty() && !body.starts_with('{'), "{path}: {body}");
        return;
    }
    assert_eq!(content_type, "application/json", "{path}");
    let body: Value = serde_json::from_str(body).unwrap();
    if path.starts_with("/api/v1/metrics/") {
        let code = if is_401 { "unauthorized" } else { "forbidden" };
        assert_eq!(body["error"]["code"], code, "{path}");
        assert!(body["error"]["message"].is_string(), "{path}");
    } else if ["/apis/", "/api/v1/", "/openapi/"].iter().any(|begin| path.starts_with(begin)) {
        let reason = if is_401 { "Unauthorized" } else { "Forbidden" };
        assert_eq!(
            (&body["kind"], &body["reason"], &body["code"]),
            (&json!("Status"), &json!(reason), &json!(status)),
            "{path}"
        );
    } else {
        assert!(body["error"].is_string(), "{path}: {body}");
    }
}

#[tokio::test]
async fn each_role_may_do_its_own_and_no_more_in_every_dialect() {
    let guarded = Guarded::start().await;
    let posted = |ok: u16, own: bool| [401, 401, if own { ok } else { 403 }, ok, 403, ok];
    let read = [401, 401, 403, 403, 200, 200];
    let for_all = [200; 6];
    let batch = |one: Value| envelope(&[one]);
    let none = Value::Null;
    let pods = "/api/namespaces/default/pods";
    let posts = [
        ("/api/nodes/node-1/metrics", node_body(1), posted(201, true)),
        ("/api/nodes/node-2/metrics", node_body(1), posted(201, false)),
        (&*format!("{pods}/web-1/metrics"), pod_body("node-1", 1), posted(201, true)),
        (&*format!("{pods}/web-2/metrics"), pod_body("node-2", 1), posted(201, false)),
        (
            "/api/v1/metrics/pods",
            batch(on_node(pod("default", "a", 0.1), "node-1")),
            posted(200, true),
        ),
        (
            "/api/v1/metrics/pods",
            batch(on_node(pod("default", "b", 0.1), "node-2")),
            posted(200, false),
        ),
        ("/api/v1/metrics/nodes", batch(node("node-1")), posted(200, true)),
        ("/api/v1/metrics/nodes", batch(node("node-2")), posted(200, false)),
        ("/pod/spec", spec_on("web-1", "node-1"), posted(200, true)),
        ("/pod/spec", spec_on("web-2", "node-2"), posted(200, false)),
        ("/pod/mark_dead", json!({"pod_name": "nobody"}), posted(200, true)),
        ("/api/samples", sample_of("node-1"), posted(201, true)),
        ("/api/samples", sample_of("node-2"), posted(201, false)),
    ];
    let posts = posts.iter().map(|(path, body, expected)| (Method::POST, *path, body, *expected));
    let gets = [
        ("/api/nodes", read),
        ("/api/nodes/node-1?window=60", read),
        ("/api/pods/web-1", read),
        ("/api/namespaces", read),
        ("/api/nodes/node-1/units", read),
        ("/api/nodes/node-1/processes", read),
        ("/api/nodes/node-1/balance", read),
        ("/api/nodes/node-1/sample", read),
        ("/api/v1/metrics/pods", read),
        ("/api/v1/metrics/nodes", read),
        ("/api/v1/nodes", read),
        ("/apis/metrics.k8s.io/v1beta1/nodes", read),
        ("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/web-1", read),
        ("/pod/info", read),
        ("/pod/name/web-1", read),
        ("/pod/ip/10.0.0.9", read),
        ("/pod/list/node-1", [401, 401, 200, 200, 200, 200]),
        ("/pod/list/node-2", [401, 401, 403, 200, 200, 200]),
        ("/pod/list/node%2D2", [401, 401, 403, 200, 200, 200]),
        ("/", for_all),
        ("/api", for_all),
        ("/api/v1", for_all),
        ("/apis", for_all),
        ("/apis/metrics.k8s.io", for_all),
        ("/apis/metrics.k8s.io/v1beta1", for_all),
        ("/api/", for_all),
        ("/apis/", for_all),
        ("/version", for_all),
        ("/openapi/v2", for_all),
        ("/openapi/v3", for_all),
        ("/openapi/v3/apis/metrics.k8s.io/v1beta1", for_all),
        ("/healthz", for_all),
        ("/livez", for_all),
        ("/readyz", for_all),
        ("/openapi/none", [401, 401, 403, 403, 404, 404]),
        ("/assets/app.js", for_all),
        ("/assets/app.css", for_all),
        ("/assets/none.js", [404; 6]),
        ("/none", [401, 401, 403, 403, 404, 404]),
    ];
    let gets = gets.into_iter().map(|(path, expected)| (Method::GET, path, &none, expected));
    let deleted = (Method::DELETE, "/api/nodes", &none, [401, 401, 405, 405, 405, 405]);
    let requests: Vec<_> = posts.chain(gets).chain([deleted]).collect();
    // The last name first: it may write, and then there is something to read.
    for (at, name) in NAMES.iter().enumerate().rev() {
        for (method, path, body, expected) in &requests {
            let answer = guarded.request(name, method, path, body).send().await.unwrap();
            let status = answer.status().as_u16();
            assert_eq!(status, expected[at], "{name}: {method} {path}");
            let challenge = answer.headers().get("www-authenticate").cloned();
            let is_bearer =
                challenge.as_ref().is_some_and(|text| text.as_bytes().starts_with(b"Bearer"));
            assert_eq!(is_bearer, status == 401, "{name}: {method} {path}: {challenge:?}");
            if matches!(status, 401 | 403) {
                let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
                let body = answer.text().await.unwrap();
                assert!(!body.contains("hunter2"), "{body}");
                check_form(path, status, &kind, &body);
            }
        }
    }
}

#[tokio::test]
async fn a_token_comes_in_either_header_and_two_are_refused() {
    let guarded = Guarded::start().await;
    for path in ["/api/nodes", "/api/v1/metrics/pods", "/pod/info", "/api/v1/nodes"] {
        let get = || guarded.server.client.get(format!("{}{path}", guarded.server.base));
        let key = get().header("X-API-Key", token_of("eyes"));
        assert_eq!(key.send().await.unwrap().status().as_u16(), 200, "{path}");
        let both = get().bearer_auth(token_of("eyes")).header("X-API-Key", token_of("eyes"));
        let answer = both.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 400, "{path}");
        assert!(answer.text().await.unwrap().contains("two tokens"), "{path}");
        let basic = get().header("Authorization", format!("Basic {}", token_of("eyes")));
        assert_eq!(basic.send().await.unwrap().status().as_u16(), 401, "{path}");
    }
}

#[tokio::test]
async fn a_batch_with_one_pod_of_another_node_stores_nothing() {
    let guarded = Guarded::start().await;
    let own = on_node(pod("default", "own", 0.1), "node-1");
    let other = on_node(pod("default", "other", 0.1), "node-2");
    let path = "/api/v1/metrics/pods";
    let batch = envelope(&[own.clone(), other]);
    assert_eq!(guarded.post("worker-1", path, &batch).await, 403);
    assert_eq!(guarded.read(path).await["metrics_count"], 0);
    assert_eq!(guarded.read("/api/pods").await, json!([]));
    let nodes = envelope(&[node("node-1"), node("node-2")]);
    assert_eq!(guarded.post("worker-1", "/api/v1/metrics/nodes", &nodes).await, 403);
    assert_eq!(guarded.read("/api/nodes").await, json!([]));
    assert_eq!(guarded.post("worker-1", path, &envelope(&[own])).await, 200);
    assert_eq!(guarded.read(path).await["metrics_count"], 1);
}

/// Each part of a sample names a node.
#[tokio::test]
async fn a_sample_with_a_part_of_another_node_stores_nothing() {
    let guarded = Guarded::start().await;
    for (pointer, other) in [
        ("/node_name", json!("node-2")),
        ("/posts/0/path", json!("/api/nodes/node-2/metrics")),
        ("/posts/1/body/node_name", json!("node-2")),
    ] {
        let mut sample = sample(7);
        *sample.pointer_mut(pointer).unwrap() = other;
        assert_eq!(guarded.post("worker-1", "/api/samples", &sample).await, 403, "{pointer}");
        for list in ["/api/nodes", "/api/pods"] {
            assert_eq!(guarded.read(list).await, json!([]), "{pointer}");
        }
    }
    assert_eq!(guarded.post("worker-1", "/api/samples", &sample(7)).await, 201);
}

#[tokio::test]
async fn a_node_ends_no_pod_of_another_node() {
    let guarded = Guarded::start().await;
    assert_eq!(guarded.post("worker-2", "/pod/spec", &spec_on("web", "node-2")).await, 200);
    let before = guarded.read("/pod/name/web").await;
    assert_eq!((&before["node_name"], &before["is_dead"]), (&json!("node-2"), &json!(false)));

    for dead in [json!({"pod_name": "web", "pod_ip": "10.0.0.9"}), json!({"pod_name": "web"})] {
        let request = guarded.request("worker-1", &Method::POST, "/pod/mark_dead", &dead);
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), "0");
    }
    let mut dead = spec_on("web", "node-1");
    dead["is_dead"] = json!(true);
    assert_eq!(guarded.post("worker-1", "/pod/spec", &dead).await, 403);
    assert_eq!(guarded.read("/pod/name/web").await, before);
    assert_eq!(guarded.read("/pod/list/node-2").await, json!([before]));

    // A pod of that name may have moved here. It is another pod, and has nothing of the first.
    let mut moved = spec_on("web", "node-1");
    moved["pod_obj"] = Value::Null;
    assert_eq!(guarded.post("worker-1", "/pod/spec", &moved).await, 200);
    let row = guarded.read("/pod/name/web").await;
    assert_eq!((&row["node_name"], &row["pod_obj"]), (&json!("node-1"), &Value::Null));
    let request =
        guarded.request("worker-1", &Method::POST, "/pod/mark_dead", &json!({"pod_name": "web"}));
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "1");
    assert_eq!(guarded.post("worker-2", "/pod/spec", &spec_on("web", "node-2")).await, 200);
    // The token of all nodes may end every pod.
    assert_eq!(guarded.post("workers", "/pod/spec", &dead).await, 200);
}

#[tokio::test]
async fn no_token_uses_up_the_idempotency_keys_of_another() {
    let guarded = Guarded::start().await;
    let path = "/api/v1/metrics/pods";
    for (name, at) in [("worker-1", "node-1"), ("worker-2", "node-2")] {
        let batch = envelope(&[on_node(pod("default", at, 0.1), at)]);
        for is_replay in [false, true] {
            let request = guarded.request(name, &Method::POST, path, &batch);
            let answer = request.header("Idempotency-Key", "guessed").send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{name}");
            assert_eq!(answer.headers().contains_key("idempotency-replayed"), is_replay, "{name}");
        }
    }
    assert_eq!(guarded.read(path).await["metrics_count"], 2);
}

/// Both send from one address. So without tokens the second would have to share the flood's room.
#[tokio::test]
async fn a_flood_of_one_token_keeps_no_node_and_pod_of_another_out() {
    let mut bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
    (bounds.nodes_max, bounds.pods_max) = (20, 20);
    let guarded = Guarded::start_with(bounds).await;
    let pods = "/api/namespaces/default/pods";
    let mut statuses = Vec::new();
    for at in 0..30 {
        let node = format!("/api/nodes/flood-{at}/metrics");
        statuses.push(guarded.post("workers", &node, &node_body(1)).await);
        let pod = format!("{pods}/flood-{at}/metrics");
        statuses.push(guarded.post("workers", &pod, &pod_body("node-9", 1)).await);
    }
    assert!(statuses.contains(&507), "the flood meets the bounds: {statuses:?}");
    assert_eq!(guarded.post("worker-1", "/api/nodes/node-1/metrics", &node_body(7)).await, 201);
    let path = format!("{pods}/web/metrics");
    assert_eq!(guarded.post("worker-1", &path, &pod_body("node-1", 7)).await, 201);
    assert_eq!(guarded.read("/api/nodes/node-1").await["cpu_millicores"], 7);
    assert_eq!(guarded.read("/api/pods/web").await[0]["cpu_millicores"], 7);
}

#[tokio::test]
async fn a_rotated_token_counts_at_once_and_a_broken_file_changes_nothing() {
    let guarded = Guarded::start().await;
    let path = "/api/nodes/node-1/metrics";
    let status = async |name| guarded.post(name, path, &node_body(1)).await;
    assert_eq!((status("worker-1").await, status("next").await), (201, 401));
    put(&guarded.tokens, &(all_tokens() + &line("next", "ingest:node-1")));
    assert_eq!((status("worker-1").await, status("next").await), (201, 201), "both for a while");
    put(&guarded.tokens, &line("next", "ingest:node-1"));
    assert_eq!((status("worker-1").await, status("next").await), (401, 201));
    for broken in ["", "next ingest:node-1 hunter2\n", "# none\n"] {
        put(&guarded.tokens, broken);
        assert_eq!((status("worker-1").await, status("next").await), (401, 201), "{broken:?}");
    }
    fs::remove_file(&guarded.tokens).unwrap();
    assert_eq!(status("next").await, 201);
    put(&guarded.tokens, &line("next", "read"));
    assert_eq!(status("next").await, 403, "its role changed");
}

/// Files of a receiver with TLS and tokens.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        put(&files.path("tokens"), &all_tokens());
        files.certify();
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a new certificate.
    fn certify(&self) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        put(&self.path("key.pem"), &signing_key.serialize_pem());
        put(&self.path("cert.pem"), &cert.pem());
    }

    /// A client that trusts the certificate as it is now.
    pub fn client(&self) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let trusted = Certificate::from_pem(&fs::read(self.path("cert.pem")).unwrap()).unwrap();
        Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap()
    }

    pub fn configure(&self, command: &mut Command, tls: bool, tokens: bool) {
        if tls {
            command.env("NODETALLY_RECEIVER_TLS_CERTIFICATE_FILE", self.path("cert.pem"));
            command.env("NODETALLY_RECEIVER_TLS_KEY_FILE", self.path("key.pem"));
        }
        if tokens {
            command.env("NODETALLY_RECEIVER_TOKENS_FILE", self.path("tokens"));
        }
    }
}

pub fn https_address(agent: &mut Agent) -> SocketAddr {
    let line = agent.wait_for_output("the receiver answers on https://");
    line.split("https://").nth(1).unwrap().trim_end().trim_end_matches('/').parse().unwrap()
}

async fn status_of(request: RequestBuilder) -> Option<u16> {
    request.send().await.ok().map(|answer| answer.status().as_u16())
}

#[tokio::test]
async fn a_receiver_for_other_hosts_speaks_tls_and_logs_those_it_refuses() {
    let files = Files::new();
    let mut command = receive(&["--listen", "0.0.0.0:0"]);
    files.configure(&mut command, true, true);
    let mut receiver = Agent::start(command);
    let address = https_address(&mut receiver);
    let url = format!("https://{address}/api/nodes/node-1/metrics");
    let post = |client: &Client, name: &str| {
        json_body(client.post(&url), &node_body(1)).bearer_auth(token_of(name))
    };
    let first = files.client();
    assert_eq!(status_of(post(&first, "worker-1")).await, Some(201));
    for _ in 0..3 {
        assert_eq!(status_of(post(&first, "stranger")).await, Some(401));
        assert_eq!(status_of(post(&first, "worker-2")).await, Some(403));
    }
    let plain = client().get(format!("http://{address}/")).send().await;
    assert!(plain.is_err(), "plain HTTP gets no answer");

    files.certify();
    let second = files.client();
    assert_eq!(status_of(post(&second, "worker-1")).await, Some(201), "the new certificate");
    assert_eq!(status_of(post(&client(), "worker-1")).await, None, "trusts nobody");
    put(&files.path("tokens"), "worker-1 ingest hunter2\n");
    assert_eq!(status_of(post(&second, "worker-1")).await, Some(201), "the last good tokens");

    receiver.signal(Signal::SIGTERM);
    let (status, log) = receiver.end();
    assert!(status.success(), "{status}: {log}");
    for (part, count) in [
        ("a request without a valid token was refused: 127.0.0.1: POST", 1),
        ("a request beyond the rights of its token was refused: 127.0.0.1: POST", 1),
        ("the token worker-2 with the role ingest:node-2", 1),
        ("127.0.0.1 speaks plain HTTP or another protocol to the port of receiver.listen", 1),
        ("receiver.tokens_file: ", 1),
        ("line 1: the hash is not", 1),
        ("the last tokens stay in use", 1),
    ] {
        assert_eq!(log.matches(part).count(), count, "{part}: {log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn an_address_for_other_hosts_needs_tls_and_tokens_or_the_flag() {
    let files = Files::new();
    let host = Host::copy("7.2-containerd-systemd");
    for (tls, tokens, missing) in [
        (
            false,
            false,
            "receiver.tls_certificate_file, receiver.tls_key_file and receiver.tokens_file",
        ),
        (true, false, "receiver.tokens_file would"),
        (false, true, "receiver.tls_certificate_file and receiver.tls_key_file would"),
    ] {
        let wide = ["--listen", "0.0.0.0:0"];
        let run =
            host.agent(&[&["run", "--state-dir", "none", "--config", "none"][..], &wide].concat());
        for mut command in [receive(&wide), run] {
            files.configure(&mut command, tls, tokens);
            let mut refused = Agent::start(command);
            // One that starts goes on, and that is the fault.
            eventually("an end at the start", || refused.0.try_wait().unwrap());
            let (status, error) = refused.end();
            assert_eq!(status.code(), Some(2), "{error}");
            assert!(error.contains(missing), "{error}");
            assert!(error.contains("--insecure (receiver.insecure)"), "{error}");
        }
        let mut command = receive(&[&wide[..], &["--insecure"]].concat());
        files.configure(&mut command, tls, tokens);
        let mut receiver = Agent::start(command);
        let said = receiver.wait_for_output("it ");
        assert_eq!(said.contains("no TLS"), !tls, "{said}");
        assert_eq!(said.contains("no token"), !tokens, "{said}");
        receiver.signal(Signal::SIGTERM);
        assert!(receiver.end().0.success());
    }
}

#[test]
fn a_tokens_file_that_cannot_be_used_is_named_at_the_start() {
    let files = Files::new();
    put(&files.path("tokens"), "# who\nworker-1 write sha256:1\n");
    let mut command = receive(&["--listen", "127.0.0.1:0"]);
    files.configure(&mut command, false, true);
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        error.contains("receiver.tokens_file: ") && error.contains("line 2: the role"),
        "{error}"
    );
}

/// The agent's own receiver asks for tokens and speaks TLS, and the agent itself still gets through.
#[test]
fn an_agent_sends_to_its_own_receiver_without_a_token_of_the_file() {
    let files = Files::new();
    let host = Host::copy("7.2-containerd-systemd");
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listen.local_addr().unwrap();
    drop(listen);
    let address_text = address.to_string();
    let mut command = host.agent(&["run", "--interval", "1s", "--node-name", "node-1"]);
    command.args(["--state-dir", "none", "--config", "none", "--listen", &address_text]);
    command.env("NODETALLY_SPOOL_DIR", "none");
    files.configure(&mut command, true, true);
    let agent = Agent::start(command);
    let client = files.client();
    let url = format!("https://{address}/api/nodes");
    let ask = || async {
        let answer = client.get(&url).bearer_auth(token_of("eyes")).send().await.ok()?;
        (answer.status().as_u16() == 200).then_some(())?;
        let nodes: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        (nodes[0]["node_name"] == "node-1").then_some(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    eventually("the figures of the agent's own node", || runtime.block_on(ask()));
    assert_eq!(runtime.block_on(status_of(client.get(&url))), Some(401));
    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success(), "{log}");
    assert!(!log.contains("401"), "{log}");
}

/// The receiver has 512 places. A connection that never asks anything, and with TLS never begins a
/// handshake, gives its place to a new client.
#[tokio::test]
async fn six_hundred_idle_connections_keep_no_client_out() {
    for tls in [false, true] {
        let files = Files::new();
        let mut command = receive(&["--listen", "127.0.0.1:0"]);
        files.configure(&mut command, tls, true);
        let mut receiver = Agent::start(command);
        let scheme = if tls { "https://" } else { "http://" };
        let line = receiver.wait_for_output(scheme);
        let address = line.split("//").nth(1).unwrap().trim_end().trim_end_matches('/');
        let idle: Vec<TcpStream> = (0..600)
            .map(|at| {
                let mut stream = TcpStream::connect(address).unwrap();
                if !tls && at % 2 == 0 {
                    // A request that never ends is idle as well.
                    stream.write_all(b"GET /api/nodes HTTP/1.1\r\nHost: local").unwrap();
                }
                stream
            })
            .collect();
        let client = files.client();
        for _ in 0..3 {
            let request = client.get(format!("{scheme}{address}/api/nodes"));
            let request = request.bearer_auth(token_of("eyes")).timeout(Duration::from_secs(30));
            assert_eq!(status_of(request).await, Some(200), "tls: {tls}");
        }
        let ended = idle.into_iter().filter(|stream| {
            stream.set_nonblocking(true).unwrap();
            matches!((&*stream).read(&mut [0]), Ok(0))
        });
        assert!(ended.count() >= 600 - 512, "tls: {tls}: the places are bounded");
    }
}

#[test]
fn the_tokens_file_of_the_documents_can_be_used() {
    let page = fs::read_to_string("docs/receiver.md").unwrap();
    let example = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(example.lines().count(), 6, "{example}");
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join("tokens"), example);
    TokensFile::open(&dir.path().join("tokens")).unwrap();
}
