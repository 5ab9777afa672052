//! The manifests, checked against the Kubernetes API's own types and against the agent
//! that it is for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test reads the package's files and starts the binary"
)]

mod chart;
mod configuration;
mod image;
mod messages;
mod package;
mod pod;
mod receiver;
mod roles;
mod strict;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::rbac;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::api::rbac::v1::ClusterRole;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(tree(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

const BASE: &str = "packaging/kubernetes";
const COMPONENTS: [&str; 5] = ["cri", "kubelet", "kubelet-before-1.33", "metrics", "unconfined"];

/// The base and its components: every folder that kustomize is pointed at.
fn folders() -> Vec<String> {
    let components = COMPONENTS.iter().map(|name| format!("{BASE}/components/{name}"));
    std::iter::once(BASE.to_owned()).chain(components).collect()
}

fn file_names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(tree(folder)).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Every object in the YAML files of a folder but its kustomization, with where it stands.
fn objects(folder: &str) -> Vec<(String, Value)> {
    let mut objects = Vec::new();
    for name in file_names(folder) {
        if name.ends_with(".yaml") && name != "kustomization.yaml" {
            let path = format!("{folder}/{name}");
            let documents =
                strict::documents(&text(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            objects.extend(documents.into_iter().map(|object| (path.clone(), object)));
        }
    }
    objects
}

/// The one object of this kind in a folder.
fn object<T: DeserializeOwned + Serialize>(folder: &str, kind: &str) -> T {
    let all = objects(folder);
    let of_kind: Vec<&Value> =
        all.iter().map(|(_, object)| object).filter(|object| object["kind"] == kind).collect();
    let [one] = of_kind[..] else { panic!("{} of kind {kind} in {folder}", of_kind.len()) };
    strict::decode(one).unwrap()
}

fn daemon_set() -> DaemonSet {
    object(BASE, "DaemonSet")
}

fn pod_of(daemon_set: DaemonSet) -> PodSpec {
    daemon_set.spec.template.spec.unwrap()
}

fn pod() -> PodSpec {
    pod_of(daemon_set())
}

fn container_of(pod: &PodSpec) -> &Container {
    let [container] = &pod.containers[..] else { panic!("one container expected") };
    container
}

fn container() -> Container {
    container_of(&pod()).clone()
}

#[test]
fn every_manifest_is_taken_strictly_by_the_type_of_its_kind() {
    let mut kinds = BTreeMap::new();
    for (path, object) in folders().iter().flat_map(|folder| objects(folder)) {
        match strict::check(&object) {
            Ok(kind) => *kinds.entry(kind.to_owned()).or_insert(0) += 1,
            Err(why) => panic!("{path}: {why}"),
        }
    }
    let expected = [
        ("ClusterRole", 3),
        ("ClusterRoleBinding", 3),
        ("DaemonSet", 6),
        ("Namespace", 1),
        ("ServiceAccount", 1),
    ];
    assert_eq!(kinds, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
}

/// Every key of every manifest, one after the other: so the test above does catch them.
#[test]
fn a_key_misspelt_anywhere_is_caught_by_its_path() {
    // Labels, their selectors and resources are maps of whatever names; what these are is held by tests of their own.
    const NAMED_FREELY: [&str; 5] =
        ["/labels/", "/matchLabels/", "/nodeSelector/", "/requests/", "/limits/"];
    let named_freely = |pointer: &str| NAMED_FREELY.iter().any(|parent| pointer.contains(parent));
    let mut tried = 0;
    for (path, object) in folders().iter().flat_map(|folder| objects(folder)) {
        for pointer in strict::key_pointers(&object) {
            if named_freely(&pointer) {
                continue;
            }
            let wrong = strict::misspelt(&object, &pointer);
            assert_ne!(wrong, object, "{path} {pointer}");
            let caught = strict::check(&wrong);
            assert!(caught.is_err(), "{path}: {pointer} misspelt, and nobody minds");
            tried += 1;
        }
    }
    assert!(tried > 150, "{tried}");
}

#[test]
fn what_a_type_does_not_know_is_named_by_its_path() {
    let original = json!({"a": {"b": [{"c": 1}, {"d": 2, "e": null}]}, "f": "1", "g": [1, 2]});
    let again = json!({"a": {"b": [{"c": 1}, {"d": 3}]}, "f": 1, "g": [1], "more": true});
    assert_eq!(
        strict::lost(&original, &again),
        [
            ".a.b[1].d: 2 became 3",
            ".a.b[1].e: not known to the type",
            ".f: \"1\" became 1",
            ".g: [1,2] became [1]",
        ]
    );
    let wrong = json!({"apiVersion": "v1", "kind": "ServiceAccount", "automount": false});
    assert_eq!(strict::check(&wrong).unwrap_err(), ".automount: not known to the type");
    let of_another_group = json!({"apiVersion": "apps/v2", "kind": "DaemonSet"});
    assert!(strict::check(&of_another_group).unwrap_err().starts_with("not decoded"));
    assert!(strict::documents("a: 1\na: 2\n").is_err(), "a key may stand once");
}

#[test]
fn a_kustomization_names_exactly_the_files_beside_it() {
    const KNOWN: [&str; 5] = ["apiVersion", "kind", "resources", "patches", "configMapGenerator"];
    for folder in folders() {
        let [kustomization] =
            &strict::documents(&text(&format!("{folder}/kustomization.yaml"))).unwrap()[..]
        else {
            panic!("one document in {folder}")
        };
        let (version, kind) =
            if folder == BASE { ("v1beta1", "Kustomization") } else { ("v1alpha1", "Component") };
        assert_eq!(kustomization["apiVersion"], format!("kustomize.config.k8s.io/{version}"));
        assert_eq!(kustomization["kind"], kind, "{folder}");
        for key in kustomization.as_object().unwrap().keys() {
            assert!(KNOWN.contains(&key.as_str()), "{folder}: {key}");
        }
        let list = |key: &str| kustomization[key].as_array().cloned().unwrap_or_default();
        let mut named = list("resources");
        named.extend(list("patches").iter().map(|patch| patch["path"].clone()));
        for generator in list("configMapGenerator") {
            named.extend(generator["files"].as_array().unwrap().iter().cloned());
        }
        let mut named: Vec<&str> = named.iter().map(|name| name.as_str().unwrap()).collect();
        named.push("kustomization.yaml");
        named.sort_unstable();
        let there: Vec<String> = file_names(&folder).into_iter().collect();
        assert_eq!(named, there, "{folder}");
    }
    let components = fs::read_dir(tree(BASE).join("components")).unwrap();
    let mut there: Vec<String> =
        components.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    assert_eq!(there, COMPONENTS);
}

#[test]
fn the_documentation_names_every_right_and_every_file_that_there_is() {
    let document = text("docs/kubernetes.md");
    for folder in folders() {
        assert!(document.contains(folder.trim_start_matches("packaging/kubernetes/")), "{folder}");
        for right in objects(&folder).iter().filter(|(_, object)| object["kind"] == "ClusterRole") {
            let role: ClusterRole = strict::decode(&right.1).unwrap();
            for right in rbac::rights(&role) {
                let rbac::Right::Resource { verb, resource, .. } = right else {
                    panic!("{right:?}")
                };
                let row = document.lines().find(|line| line.contains(&format!("`{resource}`")));
                let row = row.unwrap_or_else(|| panic!("{resource}"));
                assert!(row.contains(&verb), "{verb} {resource}: {row}");
            }
        }
    }
    // Its own kustomization.
    let example = document.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let [example] = &strict::documents(example).unwrap()[..] else { panic!("one document") };
    for key in ["resources", "components"] {
        for path in example[key].as_array().unwrap() {
            let path = path.as_str().unwrap().trim_start_matches("../");
            assert!(tree(path).join("kustomization.yaml").exists(), "{path}");
        }
    }
    let name = example["images"][0]["name"].as_str().unwrap();
    assert_eq!(container().image.unwrap().rsplit_once(':').unwrap().0, name);
}
