//! What one end writes the other reads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::metrics_k8s_io;
use super::pod_batch::{self, ClusterContext, decode_nodes, decode_pods};
use super::pod_lifecycle::{decode_mark_dead, decode_spec, mark_dead_body, spec_body};
use super::resource_api::{
    self, ContainerFigures, Figures, NodeExtras, PodExtras, decode_node, decode_pod,
};
use super::samples::*;
use super::subjects::{Filters, RunningTotals, UnknownPods};
use crate::attribution::QosClass;
use crate::quantity::WallTime;

/// Names that the API server gives nobody, and a receiver has no place for.
fn is_nameless(resource: &Value) -> bool {
    resource["name"] == "" || resource["namespace"] == ""
}

#[test]
fn every_extra_of_the_resource_api_is_read_and_written_again_as_it_was() {
    let labels = labels(&[("app", "web")]);
    let extras = PodExtras {
        uid: Some(uid(1)),
        qos: Some(QosClass::Burstable),
        deployment_name: Some("web"),
        workload_kind: Some("Deployment"),
        workload_name: Some("web"),
        labels: Some(&labels),
        window_millis: 15_012,
        cpu_nanocores: 300_123_456,
        containers: vec![ContainerFigures { name: "app", cpu_nanocores: 5, memory_bytes: 6 }],
    };
    let mut body = Vec::new();
    resource_api::encode_pod(&Figures::default(), "n", Some(&extras), &mut body);
    let read = decode_pod(&body).unwrap().extras;
    assert_eq!(serde_json::json!(read), serde_json::json!(extras));

    let extras = NodeExtras { window_millis: 15_012, cpu_nanocores: 7, labels: Some(&labels) };
    body.clear();
    resource_api::encode_node(&Figures::default(), Some(&extras), &mut body);
    let read = decode_node(&body).unwrap().extras;
    assert_eq!(serde_json::json!(read), serde_json::json!(extras));
}

proptest! {
    #[test]
    fn every_batch_is_read(account in any_account(), catalog in any_catalog()) {
        let view = view(&account, &catalog);
        let subjects = RunningTotals::default().add(&view);
        let (cluster, filters) = (ClusterContext::default(), Filters::default());
        let form = pod_batch::Form {
            node_name: "node-1",
            cluster: &cluster,
            cumulative: false,
            unknown: UnknownPods::Uid { namespace: "unknown" },
            filters: &filters,
            annotations: &["*".into()],
            resources_max: 2,
        };
        for message in pod_batch::pods(&view, &subjects, &form) {
            let sent: Value = serde_json::from_slice(&message.body).unwrap();
            let sent = sent["resources"].as_array().unwrap();
            let read = decode_pods(&message.body);
            if sent.iter().any(is_nameless) {
                prop_assert!(read.unwrap_err().to_string().contains("is an empty name"));
                continue;
            }
            let read = read.unwrap().resources;
            let read: Vec<Value> =
                read.iter().map(|pod| serde_json::from_str(&pod.json).unwrap()).collect();
            prop_assert_eq!(&read, sent);
        }
        let message = pod_batch::nodes(&view, &subjects, &form);
        prop_assert_eq!(decode_nodes(&message.body).unwrap().resources.len(), 1);
    }

    #[test]
    fn every_specification_is_read(
        pod in any_pod(),
        millis in 0_u64..1 << 47,
        has_ip in any::<bool>(),
    ) {
        let body = spec_body(&pod, "node-1", WallTime::from_unix_millis(millis));
        let read = decode_spec(&body).unwrap();
        prop_assert_eq!(&*read.row.pod_name, &*pod.name);
        let sent: BTreeMap<String, Value> = serde_json::from_slice(&body).unwrap();
        let object: Value = serde_json::from_str(&read.pod_obj.unwrap()).unwrap();
        prop_assert_eq!(&object, &sent["pod_obj"]);
        let ip = has_ip.then_some("10.0.0.1");
        let read = decode_mark_dead(&mark_dead_body(&pod.name, ip)).unwrap();
        prop_assert_eq!(read.pod_ip.as_deref(), ip);
    }

    #[test]
    fn an_accounts_list_has_only_pods_that_the_catalog_has_running(
        account in any_account(),
        catalog in any_catalog(),
    ) {
        let wall = WallTime::from_unix_millis(0);
        let (_, pods) = metrics_k8s_io::of_account(&account, &catalog, "node-1", wall);
        let pods = serde_json::json!(pods);
        for pod in pods["items"].as_array().unwrap() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let known = catalog.pods().iter().any(|known| {
                &*known.name == name && known.phase == crate::directory::pod::Phase::Running
            });
            prop_assert!(known);
            prop_assert!(!pod["containers"].as_array().unwrap().is_empty());
        }
    }
}
