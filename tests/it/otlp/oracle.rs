//! Bodies read by the published Python package `opentelemetry-proto`, which is made from the protocol's
//! own files.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nodetally::payload::otlp;
use serde_json::Value;

use super::Rig;
use crate::support::skip::skip;

/// Prints the body on its input in the JSON form, as Google's library writes it.
const READER: &str = "
import sys
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
request = metrics_service_pb2.ExportMetricsServiceRequest.FromString(sys.stdin.buffer.read())
print(MessageToJson(request, use_integers_for_enums=True))
";

fn python() -> Command {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../python");
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", packages);
    python
}

#[test]
fn the_protocols_own_reader_reads_every_body_as_it_is_shown() {
    let import = "import opentelemetry.proto.collector.metrics.v1.metrics_service_pb2";
    let has_it = python().args(["-c", import]).stderr(Stdio::null()).status();
    if !has_it.is_ok_and(|status| status.success()) {
        return skip("Python's package opentelemetry-proto is not in target/python");
    }
    for keys in ["", "temporality = \"delta\""] {
        let mut rig = Rig::new("oracle", "http://localhost:4318", keys);
        rig.posts(0);
        for (_, body) in rig.posts(1) {
            let mut reader = python()
                .args(["-c", READER])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            reader.stdin.take().unwrap().write_all(&body).unwrap();
            let output = reader.wait_with_output().unwrap();
            assert!(output.status.success());
            let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
            let ours: Value = serde_json::from_slice(&otlp::as_json(&body).unwrap()).unwrap();
            let resources = |json: &Value| json["resourceMetrics"].as_array().unwrap().clone();
            assert!(resources(&ours).len() > 20);
            for (ours, theirs) in resources(&ours).iter().zip(resources(&theirs)) {
                assert_eq!(*ours, theirs);
            }
            assert_eq!(resources(&ours).len(), resources(&theirs).len());
        }
    }
}
