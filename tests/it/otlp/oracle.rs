//! Bodies read by the published Python package `opentelemetry-proto`, which is made from the protocol's
//! own files.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use nodetally::payload::otlp;
use nodetally::payload::otlp::messages::ExportRequest;
use prost::Message as _;
use serde_json::Value;

use super::Rig;
use crate::support::tools::{has_python_module, python};

/// Prints the body on its input in the JSON form, as Google's library writes it.
const READER: &str = "
import sys
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
request = metrics_service_pb2.ExportMetricsServiceRequest.FromString(sys.stdin.buffer.read())
print(MessageToJson(request, use_integers_for_enums=True))
";

/// Reads each line of its input as the JSON form, in which no field may be unknown, and prints the message
/// in the binary form, as Base64.
const PARSER: &str = "
import base64, sys
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
for line in sys.stdin:
    request = Parse(line, metrics_service_pb2.ExportMetricsServiceRequest())
    print(base64.b64encode(request.SerializeToString()).decode())
";

/// `None`: the package is not here, which is recorded.
fn oracle(script: &str, input: &[u8]) -> Option<Vec<u8>> {
    let module = "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2";
    if !has_python_module(module, "opentelemetry-proto") {
        return None;
    }
    let mut reader =
        python().args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Written beside, so that neither side waits for the other with a full pipe.
    let mut stdin = reader.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        reader.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{:?}", output.status);
    Some(output.stdout)
}

/// The messages that the protocol's own reader finds in lines of JSON.
fn parsed(lines: &[u8]) -> Option<Vec<ExportRequest>> {
    let printed = String::from_utf8(oracle(PARSER, lines)?).unwrap();
    let decoded = printed
        .lines()
        .map(|line| ExportRequest::decode(&*BASE64_STANDARD.decode(line).unwrap()).unwrap());
    Some(decoded.collect())
}

#[test]
fn the_protocols_own_reader_reads_every_body_as_it_is_shown() {
    for keys in ["", "temporality = \"delta\""] {
        let mut rig = Rig::new("oracle", "http://localhost:4318", keys);
        rig.posts(0);
        for (_, body) in rig.posts(1) {
            let Some(printed) = oracle(READER, &body) else { return };
            let theirs: Value = serde_json::from_slice(&printed).unwrap();
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

#[test]
fn the_json_form_of_a_body_is_the_same_message() {
    for keys in ["", "temporality = \"delta\""] {
        let mut rig = Rig::new("oracle-json", "http://localhost:4318", keys);
        rig.posts(0);
        let (mut lines, mut sent) = (Vec::new(), Vec::new());
        for (_, body) in rig.posts(1) {
            lines.extend(otlp::as_json(&body).unwrap());
            lines.push(b'\n');
            sent.push(ExportRequest::decode(&*body).unwrap());
        }
        assert!(!sent.is_empty());
        let Some(parsed) = parsed(&lines) else { return };
        assert_eq!(parsed, sent);
    }
}

/// The value of a resource's metric, of its first point.
fn value_of(resource: &Value, name: &str) -> f64 {
    let metrics = resource["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let metric = metrics.iter().find(|metric| metric["name"] == name).unwrap();
    let data = if metric["sum"].is_null() { &metric["gauge"] } else { &metric["sum"] };
    let point = &data["dataPoints"][0];
    let of_integer = || point["asInt"].as_str().unwrap().parse().unwrap();
    point["asDouble"].as_f64().unwrap_or_else(of_integer)
}

#[test]
fn the_dump_of_a_host_is_a_message_of_the_protocol_with_the_figures_of_the_document() {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts/6.8-crio-systemd");
    let dump = |format: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
            .env_clear()
            .args(["dump", "--format", format, "--replay"])
            .arg(&host)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let document: Value = serde_json::from_slice(&dump("json")).unwrap();
    let lines = dump("otlp-json");
    let shown: Vec<Value> = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let resources: Vec<&Value> =
        shown.iter().flat_map(|line| line["resourceMetrics"].as_array().unwrap()).collect();
    for pod in document["pods"].as_array().unwrap() {
        let has_uid = |resource: &&&Value| {
            let attributes = resource["resource"]["attributes"].as_array().unwrap();
            let uid = |it: &&Value| it["key"] == "k8s.pod.uid" || it["key"] == "container.id";
            let keys: Vec<&Value> = attributes.iter().filter(uid).collect();
            keys.len() == 1 && keys[0]["value"]["stringValue"] == pod["uid"]
        };
        let of_pod = resources.iter().find(has_uid).unwrap();
        for (name, key, per_unit) in [
            ("k8s.pod.cpu.time", "cpu_usage_usec", 1e6),
            ("k8s.pod.memory.usage", "memory_current_bytes", 1.0),
        ] {
            let right = pod[key].as_f64().unwrap() / per_unit;
            let value = value_of(of_pod, name);
            assert!((value - right).abs() < 1e-9 * right.max(1.0), "{name}: {value}, not {right}");
        }
    }
    let Some(parsed) = parsed(&lines) else { return };
    assert_eq!(parsed.len(), shown.len());
    for (message, shown) in parsed.iter().zip(&shown) {
        let again = otlp::as_json(&message.encode_to_vec()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&again).unwrap(), *shown);
    }
}
