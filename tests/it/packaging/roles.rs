//! The roles: whose they are, and what they allow.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};

use super::{BASE, daemon_set, object, pod};
use crate::support::rbac::{self, Request, Right};

#[test]
fn role_binding_account_and_namespace_go_by_the_same_names() {
    let namespace: Namespace = object(BASE, "Namespace");
    let labels = namespace.metadata.labels.unwrap();
    for mode in ["enforce", "audit", "warn"] {
        assert_eq!(labels[&format!("pod-security.kubernetes.io/{mode}")], "privileged");
    }
    let namespace = namespace.metadata.name;
    let account: ServiceAccount = object(BASE, "ServiceAccount");
    assert_eq!(account.metadata.namespace, namespace);
    assert_eq!(account.automount_service_account_token, Some(false));
    assert_eq!(daemon_set().metadata.namespace, namespace);
    assert_eq!(pod().service_account_name, account.metadata.name);
    for folder in [
        BASE.to_owned(),
        format!("{BASE}/components/kubelet"),
        format!("{BASE}/components/kubelet-before-1.33"),
    ] {
        let role: ClusterRole = object(&folder, "ClusterRole");
        let binding: ClusterRoleBinding = object(&folder, "ClusterRoleBinding");
        assert_eq!(binding.role_ref.api_group.as_deref(), Some("rbac.authorization.k8s.io"));
        assert_eq!(binding.role_ref.kind, "ClusterRole");
        assert_eq!(Some(binding.role_ref.name), role.metadata.name);
        let [subject] = &binding.subjects.unwrap()[..] else { panic!("one subject expected") };
        assert_eq!((subject.kind.as_str(), &subject.api_group), ("ServiceAccount", &None));
        assert_eq!(Some(&subject.name), account.metadata.name.as_ref());
        assert_eq!(subject.namespace, namespace);
    }
}

fn rights_in(folder: &str) -> Vec<String> {
    let role: ClusterRole = object(folder, "ClusterRole");
    assert_eq!(role.aggregation_rule, None);
    let words = |right| match right {
        Right::Resource { verb, api_group, resource, name: None } => {
            format!("{verb} {api_group}:{resource}")
        }
        other => panic!("{other:?}"),
    };
    rbac::rights(&role).into_iter().map(words).collect()
}

#[test]
fn the_roles_hold_these_rights_and_no_others() {
    let expected =
        ["get :nodes", "get apps:replicasets", "get batch:jobs", "list :pods", "watch :pods"];
    assert_eq!(rights_in(BASE), expected);
    assert_eq!(rights_in(&format!("{BASE}/components/kubelet")), ["get :nodes/pods"]);
    assert_eq!(rights_in(&format!("{BASE}/components/kubelet-before-1.33")), ["get :nodes/proxy"]);
    // The same by way of requests, in both directions.
    let role: ClusterRole = object(BASE, "ClusterRole");
    let mut requests: Vec<Request> = [
        "/version",
        "/api/v1/pods?fieldSelector=spec.nodeName%3Dworker-1&limit=500",
        "/api/v1/pods?fieldSelector=spec.nodeName%3Dworker-1&watch=true&resourceVersion=7",
        "/api/v1/nodes/worker-1",
        "/apis/apps/v1/namespaces/shop/replicasets/web-5d8f",
        "/apis/batch/v1/namespaces/shop/jobs/nightly-2891",
    ]
    .map(Request::get)
    .into();
    assert_eq!(rbac::requests_forbidden(&role, &requests), BTreeSet::new());
    assert_eq!(rbac::rules_not_used(&role, &requests), []);
    let secrets = Request::get("/api/v1/namespaces/shop/secrets");
    requests.push(secrets.clone());
    assert_eq!(rbac::requests_forbidden(&role, &requests), BTreeSet::from([&secrets]));
}
