//! The Helm chart, rendered by Helm itself: held to what holds for the kustomize base, and to the same
//! objects as it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use boon::{Compiler, Schemas};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use nodetally::config::KEYS;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::configuration::{environment_of, resolved};
use super::pod::host_mounts;
use super::{COMPONENTS, container_of, pod_of, strict, text, tree};
use crate::support::rbac::{self, Right};
use crate::support::tools::tool;

const CHART: &str = "packaging/helm/nodetally";

/// Values as they stand in a file, beside the chart's own.
fn values_file(values: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    fs::write(&file, values).unwrap();
    file
}

fn helm(program: &Path, arguments: &[&str], values: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    let file = values_file(values);
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home.path()).current_dir(tree("."));
    command.args(arguments).arg("--values").arg(file.path()).output().unwrap()
}

/// The objects of a release `name` in `namespace`, or what Helm says against it.
fn release(
    program: &Path,
    name: &str,
    namespace: &str,
    values: &str,
) -> Result<Vec<Value>, String> {
    let arguments = ["template", name, CHART, "--namespace", namespace];
    rendered(&helm(program, &arguments, values))
}

fn rendered(output: &Output) -> Result<Vec<Value>, String> {
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let objects = strict::documents(&String::from_utf8_lossy(&output.stdout))?;
    // A template that has nothing to say leaves a document of comments.
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

fn template(program: &Path, values: &str) -> Vec<Value> {
    release(program, "nodetally", "nodetally", values).unwrap_or_else(|error| panic!("{error}"))
}

fn of_kind<T: DeserializeOwned + Serialize>(objects: &[Value], kind: &str) -> Vec<T> {
    let of_kind = objects.iter().filter(|object| object["kind"] == kind);
    of_kind.map(|object| strict::decode(object).unwrap()).collect()
}

fn one<T: DeserializeOwned + Serialize>(objects: &[Value], kind: &str) -> T {
    let mut all = of_kind(objects, kind);
    assert_eq!(all.len(), 1, "{kind}");
    all.remove(0)
}

fn agent_pod(objects: &[Value]) -> PodSpec {
    pod_of(one(objects, "DaemonSet"))
}

/// Values that use everything there is.
const EVERYTHING: &str = r#"
commonLabels: {team: observability}
image:
  repository: registry.internal.example/nodetally
  digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  pullSecrets: [{name: registry}]
config:
  directory: {sources: [kubernetes, kubelet, cri]}
  sampling: {interval: 30s, process_io: true}
  cluster: {labels: ["env=prod", "tier=a,b"]}
  endpoint:
    - name: central
      url: http://metrics.example.com:5000/in?a=<b>&c="d"
      concurrency: 12
      headers: {X-Scope-OrgID: shop, X-B: "1"}
      spool_bytes: 64MiB
    - {name: lines, dialect: ndjson, url: "file:///var/lib/nodetally/lines", rotate_bytes: 67108864}
metrics: {enabled: true, port: 9999}
podMonitor:
  enabled: true
  namespace: monitoring
  labels: {release: prometheus}
  bearerTokenKey: metrics
  tlsConfig: {insecureSkipVerify: true}
  relabelings: [{action: labeldrop, regex: pod_ip}]
  metricRelabelings: [{action: drop, sourceLabels: [unit], regex: "user@.*"}]
serviceMonitor: {enabled: true, scrapeTimeout: 10s}
prometheusRule: {enabled: true, labels: {release: prometheus}}
dashboards: {enabled: true, annotations: {grafana_folder: nodetally}}
networkPolicy:
  enabled: true
  metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  receiverFrom: [{ipBlock: {cidr: 10.0.0.0/8}}]
namespace: {create: true}
unconfined: true
serviceAccount: {annotations: {example.com/owner: sre}}
extraCapabilities: [DAC_READ_SEARCH]
extraArgs: ["--log-level=debug"]
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}]
extraVolumes: [{name: ca, configMap: {name: ca}}]
extraVolumeMounts: [{name: ca, mountPath: /etc/ca, readOnly: true}]
podAnnotations: {example.com/a: "1"}
podLabels: {example.com/b: "2"}
daemonSetAnnotations: {example.com/c: "3"}
receiver: {enabled: true, resources: {limits: {memory: 1Gi}}}
"#;

/// Kinds of the Prometheus operator, whose types are not among the API's own.
const OF_THE_OPERATOR: [&str; 3] = ["PodMonitor", "PrometheusRule", "ServiceMonitor"];

#[test]
fn the_chart_has_the_version_of_the_program() {
    let [chart] = &strict::documents(&text(&format!("{CHART}/Chart.yaml"))).unwrap()[..] else {
        panic!("one document")
    };
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["apiVersion"], "v2");
}

#[test]
fn helm_finds_no_fault_in_the_chart() {
    let Some(program) = tool("helm") else { return };
    for values in ["", EVERYTHING] {
        let output = helm(&program, &["lint", "--strict", "--quiet", CHART], values);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn every_rendered_object_is_taken_strictly_by_the_type_of_its_kind() {
    let Some(program) = tool("helm") else { return };
    for values in ["", EVERYTHING, "rbac: {create: false}\nserviceAccount: {create: false}"] {
        let objects = template(&program, values);
        let mut named = BTreeSet::new();
        for object in &objects {
            let kind = object["kind"].as_str().unwrap();
            if !OF_THE_OPERATOR.contains(&kind) {
                strict::check(object).unwrap_or_else(|error| panic!("{kind}: {error}"));
            }
            assert!(named.insert((kind, object["metadata"]["name"].as_str())), "{kind}: twice");
        }
        if values == EVERYTHING {
            let kinds: BTreeSet<&str> = named.iter().map(|(kind, _)| *kind).collect();
            let expected = [
                "ClusterRole",
                "ClusterRoleBinding",
                "ConfigMap",
                "DaemonSet",
                "Deployment",
                "Namespace",
                "NetworkPolicy",
                "PodMonitor",
                "PrometheusRule",
                "Service",
                "ServiceAccount",
                "ServiceMonitor",
            ];
            assert_eq!(kinds, expected.into());
        }
    }
}

/// The object without what only one of the two writes: labels and annotations of a release, the hash in
/// a generated name, and the order of lists whose entries have names.
fn normalised(mut object: Value) -> Value {
    if object["kind"] == "ConfigMap" {
        let mut parsed: toml::Table =
            object["data"]["config.toml"].as_str().unwrap().parse().unwrap();
        // A section without keys only offers some in comments.
        parsed.retain(|_, section| section.as_table().is_none_or(|section| !section.is_empty()));
        object["data"]["config.toml"] = serde_json::to_value(parsed).unwrap();
        object["metadata"]["name"] = without_hash(&object["metadata"]["name"]);
    }
    walk(&mut object);
    object
}

fn without_hash(name: &Value) -> Value {
    let name = name.as_str().unwrap();
    let (first, last) = name.split_once('-').unwrap_or((name, ""));
    let is_hash = last.len() == 10 && last.bytes().all(|byte| byte.is_ascii_alphanumeric());
    json!(if is_hash { first } else { name })
}

fn walk(value: &mut Value) {
    const OF_A_RELEASE: [&str; 5] = [
        "app.kubernetes.io/instance",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/version",
        "helm.sh/chart",
        "checksum/config",
    ];
    match value {
        Value::Object(keys) => {
            keys.retain(|key, _| !OF_A_RELEASE.contains(&key.as_str()));
            if let Some(config) = keys.get_mut("configMap") {
                config["name"] = without_hash(&config["name"]);
            }
            for value in keys.values_mut() {
                walk(value);
            }
            keys.retain(|key, value| key != "annotations" || *value != json!({}));
        }
        Value::Array(elements) => {
            elements.iter_mut().for_each(walk);
            if elements.iter().all(|element| element["name"].is_string()) {
                elements.sort_by_key(|element| element["name"].as_str().unwrap().to_owned());
            }
        }
        _ => {}
    }
}

fn by_name(objects: Vec<Value>) -> BTreeMap<(String, String), Value> {
    let name =
        |object: &Value| (object["kind"].to_string(), object["metadata"]["name"].to_string());
    objects.into_iter().map(normalised).map(|object| (name(&object), object)).collect()
}

/// The base with these components, rendered by kustomize.
fn kustomized(kubectl: &Path, components: &[&str]) -> Vec<Value> {
    let dir = tempfile::tempdir_in(tree("target")).unwrap();
    let up = "../../packaging/kubernetes";
    let components: Vec<String> =
        components.iter().map(|name| format!("{up}/components/{name}")).collect();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [up], "components": components,
    });
    fs::write(dir.path().join("kustomization.yaml"), kustomization.to_string()).unwrap();
    rendered(&Command::new(kubectl).arg("kustomize").arg(dir.path()).output().unwrap()).unwrap()
}

/// Each component has values of the chart beside it. The base and the chart cannot drift apart.
#[test]
fn chart_and_base_are_the_same_objects() {
    let (Some(helm), Some(kubectl)) = (tool("helm"), tool("kubectl")) else { return };
    let components: BTreeMap<&str, &str> = [
        ("cri", "config: {directory: {sources: [kubernetes, cri]}}"),
        ("kubelet", "config: {directory: {sources: [kubernetes, kubelet]}}"),
        (
            "kubelet-before-1.33",
            "config: {directory: {sources: [kubernetes, kubelet]}}\nkubelet: {useNodesProxy: true}",
        ),
        ("metrics", "metrics: {enabled: true}"),
        ("unconfined", "unconfined: true"),
    ]
    .into();
    for component in COMPONENTS {
        assert!(components.contains_key(component), "{component}: which values are the same?");
    }
    for component in [None].into_iter().chain(COMPONENTS.map(Some)) {
        let values = component.map_or("", |component| components[component]);
        let values = format!("namespace: {{create: true}}\n{values}");
        let mut chart = by_name(template(&helm, &values));
        let mut base = by_name(kustomized(&kubectl, component.as_slice()));
        if component.is_some() {
            // To name a source is what docs/kubernetes.md has the reader do by hand.
            for objects in [&mut chart, &mut base] {
                objects.remove(&("\"ConfigMap\"".to_owned(), "\"nodetally\"".to_owned())).unwrap();
            }
        }
        let names = |objects: &BTreeMap<(String, String), Value>| -> Vec<_> {
            objects.keys().cloned().collect()
        };
        assert_eq!(names(&chart), names(&base), "{component:?}");
        for (name, object) in &base {
            assert_eq!(&chart[name], object, "{component:?} {name:?}");
        }
    }
}

#[test]
fn a_difference_between_chart_and_base_is_found() {
    let named = |name: &str, hash: &str| {
        json!({
            "kind": "DaemonSet", "metadata": {"name": "nodetally", "labels": {"helm.sh/chart": hash}},
            "volumes": [{"name": "b"}, {"name": name, "configMap": {"name": format!("c-{hash}")}}],
        })
    };
    let same = normalised(named("a", "92h2kdm7k7"));
    assert_eq!(same, normalised(named("a", "0123456789")));
    assert_ne!(same, normalised(named("c", "92h2kdm7k7")));
    assert_eq!(same["volumes"][0], json!({"name": "a", "configMap": {"name": "c"}}));
}

/// The variables of the container and the file of the ConfigMap, as the agent gets them.
fn settings_of(objects: &[Value]) -> nodetally::config::Settings {
    let maps: Vec<ConfigMap> = of_kind(objects, "ConfigMap");
    let data = maps.iter().find_map(|map| map.data.as_ref()?.get("config.toml")).unwrap();
    let pod = agent_pod(objects);
    let variables = container_of(&pod).env.clone().unwrap();
    let of_the_agent: Vec<_> =
        variables.into_iter().filter(|variable| variable.name != "HTTPS_PROXY").collect();
    let environment = environment_of(&of_the_agent, "192.0.2.7");
    resolved(data.clone(), environment).unwrap_or_else(|error| panic!("{error}\n{data}"))
}

#[test]
fn the_configuration_of_the_values_is_what_the_agent_takes() {
    let Some(program) = tool("helm") else { return };
    let objects = template(&program, EVERYTHING);
    let maps: Vec<ConfigMap> = of_kind(&objects, "ConfigMap");
    let data = maps.iter().find_map(|map| map.data.as_ref()?.get("config.toml")).unwrap();
    let expected: toml::Table = r#"
        [directory]
        sources = ["kubernetes", "kubelet", "cri"]
        [sampling]
        interval = "30s"
        process_io = true
        [cluster]
        labels = ["env=prod", "tier=a,b"]
        [status]
        listen = "127.0.0.1:7644"
        [[endpoint]]
        name = "central"
        url = 'http://metrics.example.com:5000/in?a=<b>&c="d"'
        concurrency = 12
        headers = { X-Scope-OrgID = "shop", X-B = "1" }
        spool_bytes = "64MiB"
        [[endpoint]]
        name = "lines"
        dialect = "ndjson"
        url = "file:///var/lib/nodetally/lines"
        rotate_bytes = 67108864
        [[endpoint]]
        name = "receiver"
        dialect = "samples"
        url = "http://nodetally-receiver.nodetally.svc:7643"
    "#
    .parse()
    .unwrap();
    assert_eq!(data.parse::<toml::Table>().unwrap(), expected);

    let plain = settings_of(&template(&program, ""));
    assert_eq!(plain.node.name, "worker-1");
    assert!(plain.uses_embedded_receiver());
    // A text holds as it is, but for what the chart has made other objects from.
    let as_text = "configText: |\n  [sampling]\n  interval = \"20s\"\n  [status]\n  listen = \"0.0.0.0:1\"\n\
                   config: {directory: {sources: [cri]}}\nreceiver: {enabled: true}";
    let settings = settings_of(&template(&program, as_text));
    assert_eq!(settings.sampling.interval.as_secs(), 20);
    assert_eq!(settings.status.listen.unwrap().to_string(), "127.0.0.1:7644");
    assert_eq!(settings.directory.sources, [nodetally::config::DirectorySource::Cri]);
    assert_eq!(settings.endpoints[0].name, "receiver");
}

#[test]
fn the_probes_ask_where_the_values_have_the_agent_answer() {
    let Some(program) = tool("helm") else { return };
    for (listen, host, port) in [
        ("127.0.0.1:7644", "127.0.0.1", 7644),
        ("127.0.0.2:99", "127.0.0.2", 99),
        ("[::1]:7644", "::1", 7644),
    ] {
        let objects = template(&program, &format!("config: {{status: {{listen: '{listen}'}}}}"));
        assert_eq!(settings_of(&objects).status.listen.unwrap().to_string(), listen);
        let pod = agent_pod(&objects);
        let container = container_of(&pod);
        for probe in
            [&container.startup_probe, &container.liveness_probe, &container.readiness_probe]
        {
            let http = probe.as_ref().unwrap().http_get.as_ref().unwrap();
            assert_eq!((http.host.as_deref(), &http.port), (Some(host), &IntOrString::Int(port)));
        }
    }
}

#[test]
fn a_changed_configuration_rolls_the_pods_and_nothing_else_does() {
    let Some(program) = tool("helm") else { return };
    let template_of = |values: &str| {
        let daemon_set: DaemonSet = one(&template(&program, values), "DaemonSet");
        serde_json::to_value(daemon_set.spec.template).unwrap()
    };
    let first = template_of("");
    assert_eq!(template_of("dashboards: {enabled: true}\nprometheusRule: {enabled: true}"), first);
    assert_ne!(template_of("config: {sampling: {interval: 30s}}"), first);
    assert_ne!(template_of("configText: '[status]'"), first);
}

#[test]
fn each_source_has_what_it_needs_and_nothing_for_others() {
    let Some(program) = tool("helm") else { return };
    const API: [&str; 5] =
        ["get :nodes", "get apps:replicasets", "get batch:jobs", "list :pods", "watch :pods"];
    type Case<'a> = (&'a str, &'a [&'a str], Vec<&'a str>, bool, bool);
    let cases: [Case; 6] = [
        ("[kubernetes]", &[], API.to_vec(), true, false),
        ("[kubelet]", &[], vec!["get :nodes/pods"], true, false),
        ("[kubelet]", &["kubelet: {useNodesProxy: true}"], vec!["get :nodes/proxy"], true, false),
        ("[cri]", &[], vec![], false, true),
        ("[file]", &[], vec![], false, false),
        ("[kubelet, cri]", &["rbac: {create: false}"], vec![], true, true),
    ];
    for (sources, more, rights, token, socket) in cases {
        let values = format!("config: {{directory: {{sources: {sources}}}}}\n{}", more.join("\n"));
        let objects = template(&program, &values);
        let roles: Vec<ClusterRole> = of_kind(&objects, "ClusterRole");
        let bindings: Vec<ClusterRoleBinding> = of_kind(&objects, "ClusterRoleBinding");
        let words = |right| match right {
            Right::Resource { verb, api_group, resource, name: None } => {
                format!("{verb} {api_group}:{resource}")
            }
            other => panic!("{other:?}"),
        };
        let given: Vec<String> = roles.iter().flat_map(rbac::rights).map(words).collect();
        assert_eq!(given, rights, "{values}");
        let of_roles: Vec<_> = roles.iter().map(|role| role.metadata.name.clone()).collect();
        let bound: Vec<_> = bindings.iter().map(|one| Some(one.role_ref.name.clone())).collect();
        assert_eq!(bound, of_roles, "{values}");
        let pod = agent_pod(&objects);
        assert_eq!(pod.automount_service_account_token, Some(token), "{values}");
        assert_eq!(host_mounts(&pod).contains_key("/run/containerd"), socket, "{values}");
        let asks = settings_of(&objects).directory.kubelet_url.to_string();
        let expected = if sources.contains("kubelet") { "192.0.2.7" } else { "127.0.0.1" };
        assert_eq!(asks, format!("https://{expected}:10250/"), "{values}");
    }
}

/// Two releases, and one of another name, in another namespace.
#[test]
fn all_names_of_a_release_go_together() {
    let Some(program) = tool("helm") else { return };
    for (name, namespace, full, more) in [
        ("nodetally", "nodetally", "nodetally", ""),
        ("prod", "monitoring", "prod-nodetally", ""),
        ("my-nodetally", "a", "my-nodetally", ""),
        ("x", "y", "z", "fullnameOverride: z"),
        // Names that are numbers and truth values where nobody quotes them.
        ("1e3", "true", "1e3-nodetally", ""),
        ("123", "on", "0123", "fullnameOverride: '0123'"),
        ("x", "default", "x-nodetally", "namespaceOverride: elsewhere"),
    ] {
        let objects = release(&program, name, namespace, &format!("{EVERYTHING}\n{more}")).unwrap();
        let namespace = if more.contains("elsewhere") { "elsewhere" } else { namespace };
        let daemon_set: DaemonSet = one(&objects, "DaemonSet");
        assert_eq!(daemon_set.metadata.name.as_deref(), Some(full));
        for object in &objects {
            let metadata = &object["metadata"];
            let within = metadata["namespace"].as_str().unwrap_or(namespace);
            let expected = if object["kind"] == "PodMonitor" { "monitoring" } else { namespace };
            if object["kind"] != "Namespace" {
                assert_eq!(within, expected, "{object}");
                assert!(metadata["name"].as_str().unwrap().starts_with(full), "{object}");
            }
            assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], name);
            assert_eq!(metadata["labels"]["team"], "observability");
        }
        let account = agent_pod(&objects).service_account_name;
        for binding in of_kind::<ClusterRoleBinding>(&objects, "ClusterRoleBinding") {
            let [subject] = &binding.subjects.unwrap()[..] else { panic!("one subject") };
            assert_eq!(Some(&subject.name), account.as_ref());
            assert_eq!(subject.namespace.as_deref(), Some(namespace));
        }
        let agents = daemon_set.spec.template.metadata.unwrap().labels.unwrap();
        let receiver: Deployment = one(&objects, "Deployment");
        let receivers = receiver.spec.template.metadata.unwrap().labels.unwrap();
        let selects = |selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>| {
            selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        let selector = daemon_set.spec.selector.match_labels.unwrap();
        assert!(selects(&selector, &agents) && !selects(&selector, &receivers));
        for service in of_kind::<Service>(&objects, "Service") {
            let is_of_the_receiver = service.metadata.name.unwrap().ends_with("-receiver");
            let spec = service.spec.unwrap();
            let selector = spec.selector.unwrap();
            assert_eq!(selects(&selector, &receivers), is_of_the_receiver);
            assert_eq!(selects(&selector, &agents), !is_of_the_receiver);
            assert_eq!(spec.cluster_ip.is_some(), !is_of_the_receiver, "headless");
        }
        for policy in of_kind::<NetworkPolicy>(&objects, "NetworkPolicy") {
            let is_of_the_receiver = policy.metadata.name.unwrap().ends_with("-receiver");
            let selector = policy.spec.unwrap().pod_selector.unwrap().match_labels.unwrap();
            assert_eq!(selects(&selector, &receivers), is_of_the_receiver);
            assert_eq!(selects(&selector, &agents), !is_of_the_receiver);
        }
        let settings = settings_of(&objects);
        let endpoint = settings.endpoints.iter().find(|one| one.name == "receiver").unwrap();
        let expected = format!("http://{full}-receiver.{namespace}.svc:7643/");
        assert_eq!(endpoint.url.to_string().trim_end_matches('/'), expected.trim_end_matches('/'));
    }
}

#[test]
fn what_is_added_stands_in_the_pod() {
    let Some(program) = tool("helm") else { return };
    let objects = template(&program, EVERYTHING);
    let daemon_set: DaemonSet = one(&objects, "DaemonSet");
    assert_eq!(daemon_set.metadata.annotations.unwrap()["example.com/c"], "3");
    let metadata = daemon_set.spec.template.metadata.clone().unwrap();
    assert_eq!(metadata.annotations.unwrap()["example.com/a"], "1");
    assert_eq!(metadata.labels.unwrap()["example.com/b"], "2");
    let pod = agent_pod(&objects);
    assert_eq!(pod.image_pull_secrets.as_ref().unwrap()[0].name, "registry");
    let container = container_of(&pod);
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let version = env!("CARGO_PKG_VERSION");
    let image = format!("registry.internal.example/nodetally:{version}@{digest}");
    assert_eq!(container.image.as_ref(), Some(&image));
    assert_eq!(container.args.as_ref().unwrap(), &["run", "--log-level=debug"]);
    assert_eq!(container.ports.as_ref().unwrap()[0].container_port, 9999);
    assert_eq!(settings_of(&objects).metrics.listen.unwrap().to_string(), "192.0.2.7:9999");
    let context = container.security_context.clone().unwrap();
    assert_eq!(context.capabilities.unwrap().add.unwrap(), ["SYS_PTRACE", "DAC_READ_SEARCH"]);
    assert_eq!(context.app_armor_profile.unwrap().type_, "Unconfined");
    let mounts = container.volume_mounts.as_ref().unwrap();
    assert_eq!(mounts.last().unwrap().mount_path, "/etc/ca");
    assert_eq!(pod.volumes.unwrap().last().unwrap().name, "ca");
    // Before 1.30 the field is not known, and an annotation says the same.
    let old = ["template", "nodetally", CHART, "--kube-version", "1.29.0"];
    let old = rendered(&helm(&program, &old, "unconfined: true")).unwrap();
    let daemon_set: DaemonSet = one(&old, "DaemonSet");
    let annotations = daemon_set.spec.template.metadata.clone().unwrap().annotations.unwrap();
    let annotation = "container.apparmor.security.beta.kubernetes.io/nodetally";
    assert_eq!(annotations[annotation], "unconfined");
    let pod = pod_of(daemon_set);
    assert_eq!(container_of(&pod).security_context.as_ref().unwrap().app_armor_profile, None);
}

#[test]
fn the_receiver_has_no_rights_and_answers_where_its_service_leads() {
    let Some(program) = tool("helm") else { return };
    let objects = template(&program, EVERYTHING);
    let deployment: Deployment = one(&objects, "Deployment");
    let spec = deployment.spec;
    assert_eq!(spec.replicas, Some(1));
    let pod = spec.template.spec.unwrap();
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!((pod.host_network, pod.host_pid), (None, None));
    let own = pod.security_context.as_ref().unwrap();
    assert_eq!((own.run_as_non_root, own.fs_group), (Some(true), own.run_as_group));
    let [volume] = &pod.volumes.as_ref().unwrap()[..] else { panic!("one volume") };
    assert!(volume.empty_dir.as_ref().is_some_and(|volume| volume.size_limit.is_some()));
    let container = container_of(&pod);
    let [mount] = &container.volume_mounts.as_ref().unwrap()[..] else { panic!("one mount") };
    assert_eq!(mount.name, volume.name);
    let context = container.security_context.as_ref().unwrap();
    assert_eq!(context.read_only_root_filesystem, Some(true));
    let capabilities = context.capabilities.as_ref().unwrap();
    assert_eq!(
        (capabilities.drop.as_deref(), &capabilities.add),
        (Some(&["ALL".to_owned()][..]), &None)
    );
    let environment = environment_of(container.env.as_ref().unwrap(), "192.0.2.7");
    let settings = resolved(String::new(), environment).unwrap();
    let [port] = &container.ports.as_ref().unwrap()[..] else { panic!("one port") };
    assert_eq!(i32::from(settings.receiver.listen.port()), port.container_port);
    assert!(settings.receiver.listen.ip().is_unspecified());
    let store = settings.receiver.store.as_ref().unwrap().file().unwrap();
    assert!(store.starts_with(&mount.mount_path), "the only place that it can write to");
    let claim = template(&program, "receiver: {enabled: true, claim: figures}");
    let pod = one::<Deployment>(&claim, "Deployment").spec.template.spec.unwrap();
    let claim = pod.volumes.unwrap()[0].persistent_volume_claim.clone().unwrap();
    assert_eq!(claim.claim_name, "figures");
    assert!(settings.receiver.insecure, "it would not start: it has neither TLS nor tokens");
    assert_eq!(settings.sampling.interval.as_secs(), 30, "as often as the agents send");
    let services: Vec<Service> = of_kind(&objects, "Service");
    let service =
        services.into_iter().find(|one| one.metadata.name.as_deref() == Some("nodetally-receiver"));
    let [service_port] = &service.unwrap().spec.unwrap().ports.unwrap()[..] else { panic!() };
    assert_eq!(service_port.target_port, Some(IntOrString::String(port.name.clone().unwrap())));
    assert_eq!(service_port.port, 7643);
}

/// With TLS and tokens it starts without `--insecure`, and the agents trust and authenticate.
#[test]
fn the_receiver_takes_metrics_servers_place_with_tls_and_tokens() {
    let Some(program) = tool("helm") else { return };
    let secrets = "tlsSecretName: own-tls, tokensSecretName: own-tokens";
    let values = format!(
        "receiver: {{enabled: true, {secrets}, apiService: {{enabled: true, caBundle: QQ==}}}}"
    );
    let objects = template(&program, &values);
    let pod = one::<Deployment>(&objects, "Deployment").spec.template.spec.unwrap();
    let container = container_of(&pod);
    let variables = environment_of(container.env.as_ref().unwrap(), "192.0.2.7");
    let receiver = resolved(String::new(), variables).unwrap().receiver;
    assert!(!receiver.insecure && receiver.tls.is_some() && receiver.tokens_file.is_some());
    assert_eq!(receiver.front_proxy.unwrap().allowed_names, ["front-proxy-client"]);
    // All but for the names of the objects as in the manifests.
    let manifests = super::objects("packaging/kubernetes/receiver");
    let theirs = manifests.iter().find(|(_, object)| object["kind"] == "Deployment").unwrap();
    let theirs: Deployment = strict::decode(&theirs.1).unwrap();
    let theirs = theirs.spec.template.spec.unwrap();
    let mounts = |pod: &PodSpec| -> BTreeMap<String, String> {
        let mounts = container_of(pod).volume_mounts.as_ref().unwrap();
        mounts.iter().map(|mount| (mount.name.clone(), mount.mount_path.clone())).collect()
    };
    assert_eq!(mounts(&pod), mounts(&theirs));
    let volumes = pod.volumes.clone().unwrap();
    let named: Vec<String> = volumes
        .into_iter()
        .filter_map(|volume| {
            let secret = volume.secret.map(|secret| secret.secret_name.unwrap());
            secret.or(volume.config_map.map(|map| map.name))
        })
        .collect();
    assert_eq!(named, ["own-tls", "own-tokens", "nodetally-front-proxy-ca"]);
    for probe in [&container.readiness_probe, &container.liveness_probe] {
        let get = probe.as_ref().unwrap().http_get.as_ref().unwrap();
        assert_eq!(get.scheme.as_deref(), Some("HTTPS"));
    }
    let api = objects.iter().find(|object| object["kind"] == "APIService").unwrap();
    let (_, other) = manifests.iter().find(|(_, object)| object["kind"] == "APIService").unwrap();
    let mut spec = api["spec"].clone();
    assert_eq!(spec.as_object_mut().unwrap().remove("caBundle"), Some(json!("QQ==")));
    spec["service"]["port"] = json!(443);
    assert_eq!(spec, other["spec"]);
    let [endpoint] = &settings_of(&objects).endpoints[..] else { panic!("one endpoint") };
    let shown = format!("{endpoint:?}");
    for part in [
        "https://nodetally-receiver.nodetally.svc:7643/",
        "/run/secrets/nodetally/token",
        "/run/secrets/receiver/ca.crt",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let agent = agent_pod(&objects);
    let volume = agent.volumes.unwrap().into_iter().find(|volume| volume.name == "receiver-ca");
    let source = volume.unwrap().secret.unwrap();
    assert_eq!(source.secret_name.as_deref(), Some("own-tls"));
    assert_eq!(source.items.unwrap()[0].key, "ca.crt", "not the key");
    for lacking in ["tokensSecretName: b", "tlsSecretName: a"] {
        let values =
            format!("receiver: {{enabled: true, {lacking}, apiService: {{enabled: true}}}}");
        let refused = release(&program, "x", "x", &values).unwrap_err();
        assert!(refused.contains("receiver.apiService.enabled needs"), "{refused}");
    }
}

/// The files that Grafana and Prometheus are given otherwise.
#[test]
fn dashboards_and_rules_are_the_files_of_the_repository() {
    let Some(program) = tool("helm") else { return };
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(&program)
        .current_dir(tree("."))
        .args(["package", CHART, "--destination"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let package = dir.path().join(format!("nodetally-{}.tgz", env!("CARGO_PKG_VERSION")));
    let packaged = ["template", "nodetally", package.to_str().unwrap(), "--namespace", "nodetally"];
    let packaged = rendered(&helm(&program, &packaged, EVERYTHING)).unwrap();
    let objects = template(&program, EVERYTHING);
    assert_eq!(packaged, objects, "in a package there are no links");

    let mut expected = BTreeMap::new();
    for entry in fs::read_dir(tree("packaging/grafana")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        expected.insert(format!("nodetally-{name}"), fs::read_to_string(&path).unwrap());
    }
    let maps: Vec<ConfigMap> = of_kind(&objects, "ConfigMap");
    let dashboards = maps.into_iter().filter(|map| {
        let labels = map.metadata.labels.as_ref().unwrap();
        labels.get("grafana_dashboard").is_some_and(|label| label == "1")
    });
    let given: BTreeMap<String, String> = dashboards.flat_map(|map| map.data.unwrap()).collect();
    let trimmed = |texts: &BTreeMap<String, String>| -> Vec<(String, String)> {
        texts.iter().map(|(name, text)| (name.clone(), text.trim_end().to_owned())).collect()
    };
    assert_eq!(trimmed(&given), trimmed(&expected));

    let rule = objects.iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    let rules = strict::documents(&text("packaging/prometheus/nodetally.rules.yaml")).unwrap();
    assert_eq!(rule["spec"], rules[0]);
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
}

/// The forms of the operator's API, as its reference has them.
#[test]
fn the_operator_is_told_how_the_agents_are_asked() {
    let Some(program) = tool("helm") else { return };
    let objects = template(&program, EVERYTHING);
    let of = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap().clone();
    let selector =
        json!({"app.kubernetes.io/name": "nodetally", "app.kubernetes.io/instance": "nodetally"});
    let labels_of_targets =
        json!({"action": "labeldrop", "regex": "namespace|pod|container|endpoint"});
    assert_eq!(
        of("PodMonitor")["spec"],
        json!({
            "jobLabel": "app.kubernetes.io/name",
            "namespaceSelector": {"matchNames": ["nodetally"]},
            "selector": {"matchLabels": selector},
            "podMetricsEndpoints": [{
                "port": "metrics",
                "interval": "15s",
                "authorization": {"credentials": {"name": "nodetally-token", "key": "metrics"}},
                "scheme": "https",
                "tlsConfig": {"insecureSkipVerify": true},
                "relabelings": [labels_of_targets, {"action": "labeldrop", "regex": "pod_ip"}],
                "metricRelabelings": [{"action": "drop", "sourceLabels": ["unit"], "regex": "user@.*"}],
            }],
        })
    );
    assert_eq!(
        of("ServiceMonitor")["spec"],
        json!({
            "jobLabel": "app.kubernetes.io/name",
            "namespaceSelector": {"matchNames": ["nodetally"]},
            "selector": {"matchLabels": selector},
            "endpoints": [{
                "port": "metrics",
                "interval": "15s",
                "scrapeTimeout": "10s",
                "relabelings": [labels_of_targets],
            }],
        })
    );
    let refused = release(&program, "x", "x", "podMonitor: {enabled: true}").unwrap_err();
    assert!(refused.contains("podMonitor.enabled needs metrics.enabled"), "{refused}");
    // Two endpoints of one name would end every pod at its start.
    let values =
        "receiver: {enabled: true}\nconfig: {endpoint: [{name: receiver, url: http://a:1}]}";
    let refused = release(&program, "x", "x", values).unwrap_err();
    assert!(refused.contains("config.endpoint: the name \"receiver\""), "{refused}");
}

/// The example of docs/kubernetes.md, and that the values it explains are values of the chart.
#[test]
fn the_documented_values_are_taken() {
    let document = text("docs/kubernetes.md");
    let section = document.split("## Install with Helm\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let [own] = &strict::documents(&text(&format!("{CHART}/values.yaml"))).unwrap()[..] else {
        panic!("one document")
    };
    let mut explained = 0;
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap();
        let mut parent = String::new();
        for name in cell.split('`').skip(1).step_by(2) {
            let pointer = |path: &str| format!("/{}", path.replace('.', "/"));
            if own.pointer(&pointer(name)).is_none() {
                // `image.repository`, `tag`: the second is beside the first.
                let beside = format!("{parent}{name}");
                assert!(own.pointer(&pointer(&beside)).is_some(), "{name}: no such value");
            } else {
                parent = name.rsplit_once('.').map_or("", |(parent, _)| parent).to_owned() + ".";
            }
            explained += 1;
        }
    }
    assert!(explained > 25, "{explained}");
    let Some(program) = tool("helm") else { return };
    let example = section.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let objects = template(&program, example);
    let [endpoint] = &settings_of(&objects).endpoints[..] else { panic!("one endpoint") };
    assert_eq!(endpoint.name, "central");
    let kinds: BTreeSet<&str> = objects.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains("PodMonitor") && kinds.contains("PrometheusRule"), "{kinds:?}");
}

/// Wrong values, and where the error says that they are.
const WRONG: [(&str, &str); 13] = [
    ("image: {pulPolicy: Always}", "/image"),
    ("image: {digest: 0123}", "/image/digest"),
    ("tolerations: 5", "/tolerations"),
    ("metrics: {port: 99999}", "/metrics/port"),
    ("metrics: {enabled: 'yes'}", "/metrics/enabled"),
    ("config: {smpling: {interval: 30s}}", "/config"),
    ("config: {directory: {sources: [kubernets]}}", "/config/directory/sources/0"),
    ("config: {status: {listen: none}}", "/config/status/listen"),
    ("config: {endpoint: [{name: a}]}", "/config/endpoint/0"),
    ("podMonitor: {interval: 15}", "/podMonitor/interval"),
    ("receiver: {listen: '0.0.0.0:80'}", "/receiver/listen"),
    ("receiver: {apiService: {caBundle: '-----BEGIN'}}", "/receiver/apiService/caBundle"),
    ("nosuch: 1", "''"),
];

#[test]
fn a_wrong_value_is_refused_with_its_place() {
    let Some(program) = tool("helm") else { return };
    for (values, place) in WRONG {
        let error = release(&program, "x", "x", values).unwrap_err();
        assert!(error.contains(&format!("at '{}'", place.trim_matches('\''))), "{values}: {error}");
    }
}

/// Without Helm: another validator of the same schema.
#[test]
fn the_schema_takes_the_chart_s_own_values_and_refuses_wrong_ones() {
    let schema: Value =
        serde_json::from_str(&text(&format!("{CHART}/values.schema.json"))).unwrap();
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler.add_resource("file:///values.schema.json", schema.clone()).unwrap();
    let index = compiler.compile("file:///values.schema.json", &mut schemas).unwrap();
    let [own] = &strict::documents(&text(&format!("{CHART}/values.yaml"))).unwrap()[..] else {
        panic!("one document")
    };
    schemas.validate(own, index).unwrap_or_else(|error| panic!("{error}"));
    for (values, _) in WRONG {
        let mut merged = own.clone();
        merge(&mut merged, strict::documents(values).unwrap().remove(0));
        assert!(schemas.validate(&merged, index).is_err(), "{values}");
    }
    // Every value has its place in the schema, and the other way round.
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().filter(|key| *key != "global").cloned().collect()
    };
    assert_eq!(names(own), names(&schema["properties"]));
    // The sections are the configuration's.
    let sections: BTreeSet<String> =
        KEYS.iter().filter_map(|key| Some(key.path().split_once('.')?.0.to_owned())).collect();
    assert_eq!(names(&schema["properties"]["config"]["properties"]), sections);
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// The first command that a new user types is right.
#[test]
fn the_notes_name_the_objects_that_were_made() {
    let Some(program) = tool("helm") else { return };
    let arguments = ["install", "prod", CHART, "--namespace", "monitoring", "--dry-run=client"];
    for (values, expected) in [
        ("", "kubectl -n monitoring port-forward daemonset/prod-nodetally 7643\n"),
        (
            "receiver: {enabled: true}",
            "kubectl -n monitoring port-forward service/prod-nodetally-receiver 7643:7643\n",
        ),
    ] {
        let output = helm(&program, &arguments, values);
        let text = String::from_utf8(output.stdout).unwrap();
        let notes = text.split("NOTES:\n").nth(1).unwrap_or_else(|| panic!("{text}"));
        let next = "kubectl -n monitoring rollout status daemonset/prod-nodetally\n";
        assert!(notes.contains(next), "{notes}");
        assert!(notes.contains(expected), "{notes}");
        assert!(notes.contains("pod-security.kubernetes.io/enforce=privileged"), "{notes}");
        assert!(notes.lines().all(|line| line.trim_end() == line), "{notes}");
    }
}
