//! The receiver as an API server: what says which APIs there are, and clients of others that read it,
//! `kubectl` and Python's package `kubernetes`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::access::{Files, https_address, token_of};
use super::command::receive;
use super::{Server, answer, json_body, node_body, pod_body};
use crate::support::agent::Agent;
use crate::support::tools::{has_python_module, python, tool};

const V1BETA1: &str = "/apis/metrics.k8s.io/v1beta1";

/// A node with 4 CPUs and 8 GiB, of which pods may use 2 CPUs and 4 GiB, a node of which nothing but the
/// usage is known, and two pods.
async fn small_cluster() -> Server {
    let server = Server::start().await;
    let mut node = node_body(500);
    node["memory_bytes"] = json!(1_u64 << 30);
    let sample = json!({
        "node_name": "node-1", "sampled_at": "2025-06-11T15:00:00.000Z",
        "capacity": {"cpu_nanocores": 4_000_000_000_u64, "memory_bytes": 8_u64 << 30},
        "allocatable": {"cpu_nanocores": 2_000_000_000_u64, "memory_bytes": 4_u64 << 30},
        "posts": [{"path": "/api/nodes/node-1/metrics", "body": node}],
    });
    server.push("/api/samples", &sample).await;
    for (namespace, name) in [("default", "web-1"), ("kube-system", "dns-1")] {
        let mut pod = pod_body("node-1", 300);
        pod["memory_bytes"] = json!(96 << 20);
        pod["labels"] = json!({"app": name.split('-').next().unwrap()});
        pod["containers"] = json!([
            {"name": "app", "cpu_nanocores": 250_000_000, "memory_bytes": 64 << 20},
            {"name": "proxy", "cpu_nanocores": 50_000_000, "memory_bytes": 32 << 20}
        ]);
        server.push(&format!("/api/namespaces/{namespace}/pods/{name}/metrics"), &pod).await;
    }
    server
}

#[tokio::test]
async fn health_is_a_word_without_figures() {
    let server = Server::start().await;
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = server.client.get(format!("{}{path}", server.base)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        assert_eq!(answer.text().await.unwrap(), "ok", "{path}");
    }
}

#[tokio::test]
async fn lists_of_apis_come_in_the_form_that_is_asked_for() {
    let server = Server::start().await;
    let aggregated = |version: &str| {
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
    };
    let ask = async |path: &str, accept: &str| {
        let request = server.client.get(format!("{}{path}", server.base)).header("accept", accept);
        let answer = request.send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let body = answer.bytes().await.unwrap();
        (kind, serde_json::from_slice::<Value>(&body).unwrap())
    };
    for path in ["/api", "/api/", "/apis", "/apis/"] {
        let (kind, list) = ask(path, "application/json").await;
        assert_eq!(kind, "application/json");
        assert!(list["kind"] == "APIVersions" || list["kind"] == "APIGroupList", "{list}");
        for version in ["v2", "v2beta1"] {
            let accept = format!("{},application/json", aggregated(version));
            let (kind, list) = ask(path, &accept).await;
            assert_eq!(kind, aggregated(version));
            assert_eq!(list["kind"], "APIGroupDiscoveryList");
            assert_eq!(list["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
            let versions = &list["items"][0]["versions"];
            let resources = versions[0]["resources"].as_array().unwrap();
            // The same as in the lists of each API.
            let base = if path.starts_with("/apis") { V1BETA1 } else { "/api/v1" };
            let own = server.get_ok(base).await;
            let own = own["resources"].as_array().unwrap();
            assert_eq!(resources.len(), own.len());
            for (aggregated, own) in resources.iter().zip(own) {
                assert_eq!(aggregated["resource"], own["name"]);
                assert_eq!(aggregated["responseKind"]["kind"], own["kind"]);
                assert_eq!(aggregated["verbs"], own["verbs"]);
                let is_namespaced = own["namespaced"].as_bool().unwrap();
                let scope = if is_namespaced { "Namespaced" } else { "Cluster" };
                assert_eq!(aggregated["scope"], scope);
            }
        }
    }
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let request = server.client.get(format!("{}/openapi/v2", server.base));
    let (status, error) = answer(request.header("accept", protobuf)).await;
    assert_eq!((status, &error["reason"]), (406, &json!("NotAcceptable")));
}

/// All references of a document.
fn references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            into.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

/// Every object that is answered has only fields that its schema has.
fn check_fields(document: &Value, schema: &Value, object: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        return check_fields(document, schema, object, place);
    }
    match object {
        Value::Object(fields) => {
            for (name, value) in fields {
                let own = schema["properties"].get(name);
                let own = own.or_else(|| schema.get("additionalProperties"));
                let own = own.unwrap_or_else(|| panic!("{place}: {name} is not described"));
                check_fields(document, own, value, &format!("{place}.{name}"));
            }
        }
        Value::Array(items) => {
            for item in items {
                check_fields(document, &schema["items"], item, place);
            }
        }
        _ => assert!(schema["type"].is_string(), "{place}: {schema}"),
    }
}

#[tokio::test]
async fn the_openapi_documents_describe_each_answer() {
    let server = small_cluster().await;
    let index = server.get_ok("/openapi/v3").await;
    let v2 = server.get_ok("/openapi/v2").await;
    assert_eq!(v2["swagger"], "2.0");
    let mut paths = 0;
    for (api, place) in index["paths"].as_object().unwrap() {
        let url = place["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with(&format!("/openapi/v3/{api}?hash=")), "{url}");
        let v3 = server.get_ok(url).await;
        assert!(v3["openapi"].as_str().unwrap().starts_with("3.0."));
        for (path, item) in v3["paths"].as_object().unwrap() {
            paths += 1;
            assert!(path.starts_with(&format!("/{api}/")), "{path}");
            let path_of_object = path.replace("/nodes/{name}", "/nodes/node-1");
            let path_of_object = path_of_object.replace("{namespace}", "default");
            let object = server.get_ok(&path_of_object.replace("{name}", "web-1")).await;
            let ok = &item["get"]["responses"]["200"];
            check_fields(&v3, &ok["content"]["application/json"]["schema"], &object, path);
            let ok = &v2["paths"][path]["get"]["responses"]["200"];
            check_fields(&v2, &ok["schema"], &object, path);
            let kind = item["get"]["x-kubernetes-group-version-kind"]["kind"].as_str().unwrap();
            let answered = object["kind"].as_str().unwrap();
            assert_eq!(answered.strip_suffix("List").unwrap_or(answered), kind, "{path}");
        }
        for document in [&v3, &v2] {
            let mut all = Vec::new();
            references(document, &mut all);
            for reference in all {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
        }
    }
    assert_eq!(paths, 10);
    assert_eq!(v2["paths"].as_object().unwrap().len(), 10);
}

/// `kubectl` with a home of its own.
struct Kubectl {
    program: PathBuf,
    home: tempfile::TempDir,
    server: Vec<String>,
}

impl Kubectl {
    fn new(program: PathBuf, server: Vec<String>) -> Self {
        Self { program, home: tempfile::tempdir().unwrap(), server }
    }

    fn output(&self, arguments: &str) -> Output {
        let mut command = Command::new(&self.program);
        command.env_clear().env("HOME", self.home.path()).args(&self.server);
        command.arg("--request-timeout=60s").args(arguments.split(' ')).output().unwrap()
    }

    /// Its output without the spaces that lay it out.
    fn ok(&self, arguments: &str) -> String {
        let output = self.output(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {error}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[tokio::test]
async fn kubectl_reads_it_as_an_api_server() {
    let Some(program) = tool("kubectl") else { return };
    let server = small_cluster().await;
    let kubectl = Kubectl::new(program, vec![format!("--server={}", server.base)]);
    tokio::task::spawn_blocking(move || {
        let version = kubectl.ok("version");
        let is_printed = version
            .lines()
            .any(|line| line.starts_with("Server Version: v1.") && line.contains("+nodetally-"));
        assert!(is_printed, "{version}");
        assert_eq!(
            kubectl.ok("api-resources --no-headers"),
            "nodes no v1 false Node\n\
             pods po v1 true Pod\n\
             nodes metrics.k8s.io/v1beta1 false NodeMetrics\n\
             pods metrics.k8s.io/v1beta1 true PodMetrics"
        );
        assert_eq!(kubectl.ok("api-versions"), "metrics.k8s.io/v1beta1\nv1");
        // 500m of 2 CPUs, 1 GiB of 4 GiB.
        let top = kubectl.ok("top node");
        let (head, nodes) = top.split_once('\n').unwrap();
        assert_eq!(nodes, "node-1 500m 25% 1024Mi 25%");
        let columns: Vec<&str> = head.split(' ').collect();
        assert_eq!((columns[0], columns[1], columns[3]), ("NAME", "CPU(cores)", "MEMORY(bytes)"));
        // Of 4 CPUs and 8 GiB.
        assert_eq!(
            kubectl.ok("top node --show-capacity --no-headers"),
            "node-1 500m 12% 1024Mi 12%"
        );
        assert_eq!(
            kubectl.ok("top pod -A --no-headers"),
            "default web-1 300m 96Mi\nkube-system dns-1 300m 96Mi"
        );
        assert_eq!(kubectl.ok("top pod -A -l app=dns --no-headers"), "kube-system dns-1 300m 96Mi");
        assert_eq!(
            kubectl.ok("top pod web-1 --containers --no-headers"),
            "web-1 app 250m 64Mi\nweb-1 proxy 50m 32Mi"
        );
        assert_eq!(kubectl.ok("get nodes -o name"), "node/node-1");
        assert_eq!(kubectl.ok("get pods -A --no-headers").lines().count(), 2);
        let in_parts = kubectl.ok("get pods.metrics.k8s.io -A --chunk-size=1 -o name");
        assert_eq!(in_parts.lines().count(), 2, "{in_parts}");
        let raw: Value =
            serde_json::from_str(&kubectl.ok(&format!("get --raw {V1BETA1}/nodes"))).unwrap();
        assert_eq!(raw["kind"], "NodeMetricsList");
        for (what, parts) in [
            (
                "nodemetrics",
                &["GROUP: metrics.k8s.io", "KIND: NodeMetrics", "usage <map[string]string>"][..],
            ),
            (
                "pods --api-version=metrics.k8s.io/v1beta1",
                &["KIND: PodMetrics", "containers <[]Object>"],
            ),
            ("pods.containers.usage --api-version=metrics.k8s.io/v1beta1", &["cpu in CPUs"]),
            ("nodes.status", &["allocatable <map[string]string>"]),
        ] {
            let text = kubectl.ok(&format!("explain {what}"));
            for part in parts {
                assert!(text.contains(part), "{what}: {part} is not in {text}");
            }
        }
        let refused = kubectl.output(&format!("get --raw {V1BETA1}/pods?limit=x"));
        let error = String::from_utf8_lossy(&refused.stderr);
        assert!(error.contains("limit is not a whole number"), "{error}");
    })
    .await
    .unwrap();
}

/// A receiver with TLS and tokens: `kubectl` gets through with a token that reads. With one that is not
/// known it learns what there is and no more.
#[test]
fn kubectl_reads_with_a_token_over_tls() {
    let Some(program) = tool("kubectl") else { return };
    let files = Files::new();
    let mut command = receive(&["--listen", "127.0.0.1:0"]);
    files.configure(&mut command, true, true);
    let mut receiver = Agent::start(command);
    let address = https_address(&mut receiver);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("https://{address}/api/nodes/node-1/metrics");
    let post = json_body(files.client().post(url), &node_body(1)).bearer_auth(token_of("root"));
    assert_eq!(runtime.block_on(answer(post)).0, 201);
    let with = |token: &str| {
        let server = vec![
            format!("--server=https://{address}"),
            format!("--certificate-authority={}", files.path("cert.pem").display()),
            format!("--token={}", token_of(token)),
        ];
        Kubectl::new(program.clone(), server)
    };
    assert!(with("eyes").ok("top node --no-headers").starts_with("node-1 1m"));
    assert!(with("stranger").ok("version").contains("Server Version"));
    let stranger = with("stranger").output("top node");
    let error = String::from_utf8_lossy(&stranger.stderr);
    assert!(error.contains("Unauthorized") || error.contains("logged in"), "{error}");
    let sender = with("workers").output("top node");
    let error = String::from_utf8_lossy(&sender.stderr);
    assert!(error.contains("the role ingest may not read"), "{error}");
}

/// Prints what a client of Kubernetes for Python reads, as JSON.
const PYTHON: &str = r#"
import json, sys
from kubernetes import client
from kubernetes.client.rest import ApiException
from kubernetes.dynamic import DynamicClient
configuration = client.Configuration()
configuration.host = sys.argv[1]
api = client.ApiClient(configuration)
pods = DynamicClient(api).resources.get(api_version="metrics.k8s.io/v1beta1", kind="PodMetrics")
parts, token = [], None
while token != "":
    part = pods.get(limit=1, **({"_continue": token} if token else {}))
    parts.append([[pod.metadata.namespace, pod.metadata.name, pod.containers[0].usage.cpu] for pod in part.items])
    token = part.metadata["continue"] or ""
try:
    pods.get(limit=1, _continue="damaged")
    refused = None
except ApiException as error:
    refused = [error.status, json.loads(error.body)["reason"]]
core = client.CoreV1Api(api)
listed = client.CustomObjectsApi(api).list_cluster_custom_object("metrics.k8s.io", "v1beta1", "nodes")
print(json.dumps({
    "version": client.VersionApi(api).get_code().git_version,
    "groups": [group.name for group in client.ApisApi(api).get_api_versions().groups],
    "core": client.CoreApi(api).get_api_versions().versions,
    "parts": parts,
    "one": pods.get(name="web-1", namespace="default").containers[1].name,
    "refused": refused,
    "nodes": [[node.metadata.name, node.status.allocatable] for node in core.list_node(limit=10).items],
    "metrics": [node["usage"] for node in listed["items"]],
}))
"#;

#[tokio::test]
async fn the_python_client_of_kubernetes_reads_it() {
    if !has_python_module("kubernetes.dynamic", "kubernetes") {
        return;
    }
    let server = small_cluster().await;
    let home = tempfile::tempdir().unwrap();
    let (base, path): (String, PathBuf) = (server.base.clone(), Path::new(home.path()).into());
    let read = tokio::task::spawn_blocking(move || {
        let mut command = python();
        command.env("HOME", &path).env("TMPDIR", &path).env("NO_PROXY", "127.0.0.1");
        let output = command.args(["-c", PYTHON, &base]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    });
    let mut read = read.await.unwrap();
    let version = read["version"].take();
    assert!(version.as_str().unwrap().starts_with("v1."), "{version}");
    assert_eq!(
        read,
        json!({
            "version": null,
            "groups": ["metrics.k8s.io"],
            "core": ["v1"],
            "parts": [
                [["default", "web-1", "250000000n"]], [["kube-system", "dns-1", "250000000n"]]
            ],
            "one": "proxy",
            "refused": [400, "BadRequest"],
            "nodes": [["node-1", {"cpu": "2000000000n", "memory": "4194304Ki"}]],
            "metrics": [{"cpu": "500000000n", "memory": "1048576Ki"}]
        })
    );
}
