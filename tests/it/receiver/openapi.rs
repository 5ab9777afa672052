//! The OpenAPI document: complete, and true of a running receiver.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Server;
use super::command::{address_of, receive};
use crate::support::agent::Agent;
use crate::support::skip::skip;

/// Paths that the document leaves out: the page, health, and what describes the server.
const NOT_OF_THE_API: [&str; 12] = [
    "/",
    "/assets/app.js",
    "/assets/app.css",
    "/healthz",
    "/livez",
    "/readyz",
    "/version",
    "/openapi.json",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/api/v1",
    "/openapi/v3/apis/metrics.k8s.io/v1beta1",
];

/// A path with `{}` for each of its parameters.
fn without_names(path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { "{}" } else { segment }.to_owned();
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// The paths of all `.route(…)` calls of the receiver.
fn routes() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    let receiver = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/receiver");
    for file in std::fs::read_dir(receiver).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        if code.contains("const DOCUMENTS") {
            // Tables have its paths.
            let literals = code.split('"').skip(1).step_by(2);
            routes.extend(literals.filter(|text| text.starts_with('/')).map(str::to_owned));
            continue;
        }
        for call in code.split(".route(").skip(1) {
            let argument = call.trim_start().split_once(',').unwrap().0.trim_start_matches('&');
            let path = match argument {
                "PATH" => "/api/samples".to_owned(),
                "V1BETA1" => "/apis/metrics.k8s.io/v1beta1".to_owned(),
                other => {
                    let literal = other.trim_start_matches("format!(").trim_end_matches(')');
                    let literal = literal.trim().trim_matches('"');
                    let literal = literal.replace("{V1BETA1}", "/apis/metrics.k8s.io/v1beta1");
                    literal.replace("{{", "{").replace("}}", "}")
                }
            };
            routes.insert(without_names(&path));
        }
    }
    assert!(routes.len() > 50, "{routes:?}");
    routes
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else() {
    let server = Server::start().await;
    let document = server.get_ok("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<String> = paths.keys().map(|path| without_names(path)).collect();
    let routes: BTreeSet<String> =
        routes().into_iter().filter(|path| !NOT_OF_THE_API.contains(&path.as_str())).collect();
    assert_eq!(described, routes);
    // The methods: each is one of those that the path allows.
    for (path, item) in paths {
        let path = path.replace(['{', '}'], "");
        for method in ["get", "post", "put", "delete", "patch"] {
            let request = server
                .client
                .request(method.to_uppercase().parse().unwrap(), format!("{}{path}", server.base));
            let status = request.send().await.unwrap().status();
            assert_eq!(status != 405, item.get(method).is_some(), "{method} {path}: {status}");
        }
    }
}

/// Bodies and queries that the document allows are accepted, others are refused, and every answer has
/// the form that it says.
#[test]
fn a_running_receiver_is_as_described() {
    // It writes into the current directory.
    let dir = tempfile::tempdir().unwrap();
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../schemathesis");
    let python = || {
        let mut python = Command::new("python3");
        python.env("PYTHONPATH", &packages).current_dir(dir.path());
        python
    };
    let has_it = python().args(["-c", "import schemathesis"]).stderr(Stdio::null()).status();
    if !has_it.is_ok_and(|status| status.success()) {
        skip("Python's package schemathesis is not in target/schemathesis");
        return;
    }
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/receiver/openapi");
    for file in ["schemathesis.toml", "hooks.py"] {
        std::fs::copy(settings.join(file), dir.path().join(file)).unwrap();
    }
    let mut receiver = Agent::start(receive(&["--listen", "127.0.0.1:0"]));
    let address = address_of(&mut receiver);
    let mut checks = python();
    checks.args(["-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run"]);
    checks.arg(format!("http://{address}/openapi.json"));
    checks.args(["--phases", "coverage,fuzzing", "--max-examples", "5", "--seed", "1"]);
    // A machine under load is no fault of the receiver.
    checks.args(["--request-timeout", "60", "--suppress-health-check", "all"]);
    let output = checks.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("Tested: "), "{text}");
}
