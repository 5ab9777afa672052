//! What is applied to a cluster, held against the Kubernetes API's own types and against the agent
//! that it is for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test reads the package's files and starts the binary"
)]

#[path = "support/rbac.rs"]
mod rbac;
#[path = "packaging/strict.rs"]
mod strict;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::DeepMerge as _;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Container, Namespace, PodSpec, Probe, ServiceAccount, VolumeMount,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use nodetally::config::keys::{CONFIG_VARIABLE, NODE_NAME_VARIABLE};
use nodetally::config::{Flags, Inputs, KEYS, Settings};
use serde_json::{Value, json};

use rbac::{Request, Right};

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(tree(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

const BASE: &str = "packaging/kubernetes";
const COMPONENTS: [&str; 4] = ["cri", "kubelet", "kubelet-before-1.33", "unconfined"];

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
fn object<T: serde::de::DeserializeOwned + serde::Serialize>(folder: &str, kind: &str) -> T {
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
        ("DaemonSet", 3),
        ("Namespace", 1),
        ("ServiceAccount", 1),
    ];
    assert_eq!(kinds, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
}

/// Every key of every manifest, one after the other: so the test above does catch them.
#[test]
fn a_key_misspelt_anywhere_is_caught_by_its_path() {
    // Labels and resources are maps of whatever names; what these are is held by tests of their own.
    const NAMED_FREELY: [&str; 4] = ["/labels/", "/matchLabels/", "/requests/", "/limits/"];
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
fn the_daemon_set_runs_on_every_node_and_stays_there() {
    let spec = daemon_set().spec;
    let strategy = spec.update_strategy.unwrap();
    assert_eq!(strategy.type_.as_deref(), Some("RollingUpdate"));
    let unavailable = strategy.rolling_update.unwrap().max_unavailable;
    assert_eq!(unavailable, Some(IntOrString::String("10%".to_owned())));
    let selected = spec.selector.match_labels.unwrap();
    assert!(!selected.is_empty());
    assert_eq!(spec.selector.match_expressions, None);
    assert_eq!(spec.template.metadata.unwrap().labels, Some(selected));
    let pod = spec.template.spec.unwrap();
    assert_eq!(pod.priority_class_name.as_deref(), Some("system-node-critical"));
    let [toleration] = &pod.tolerations.unwrap()[..] else { panic!("one toleration expected") };
    assert_eq!(toleration.operator.as_deref(), Some("Exists"));
    // A key or an effect would narrow it.
    assert_eq!((&toleration.key, &toleration.effect), (&None, &None));
    assert_eq!((pod.node_selector, pod.affinity), (None, None));
}

#[test]
fn the_pod_stands_in_the_hosts_namespaces() {
    let pod = pod();
    assert_eq!(pod.host_pid, Some(true));
    assert_eq!(pod.host_network, Some(true));
    assert_eq!(pod.dns_policy.as_deref(), Some("ClusterFirstWithHostNet"));
    assert_eq!(pod.enable_service_links, Some(false));
    assert_eq!(pod.automount_service_account_token, Some(true));
}

/// systemd waits as long for the same five seconds of sending.
#[test]
fn the_pod_has_as_much_time_to_end_as_the_service() {
    let unit = text("systemd/nodetally.service");
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    let seconds: i64 = stop.strip_suffix('s').unwrap().parse().unwrap();
    assert_eq!(pod().termination_grace_period_seconds, Some(seconds));
}

#[test]
fn the_container_may_nothing_beyond_what_it_names() {
    let pod = pod();
    let profile = pod.security_context.as_ref().unwrap().seccomp_profile.as_ref().unwrap();
    assert_eq!(profile.type_, "RuntimeDefault");
    let context = container_of(&pod).security_context.clone().unwrap();
    assert_eq!(context.privileged, Some(false));
    assert_eq!(context.allow_privilege_escalation, Some(false));
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!((context.run_as_user, context.run_as_non_root), (Some(0), None));
    assert_eq!(context.seccomp_profile, None, "the pod's holds");
    assert_eq!(context.capabilities.unwrap().drop.unwrap(), ["ALL"]);
}

/// Every mount with its volume's path on the host, where it is one.
fn host_mounts(pod: &PodSpec) -> BTreeMap<String, VolumeMount> {
    let volumes = pod.volumes.as_ref().unwrap();
    let mut mounts = BTreeMap::new();
    for volume in
        volumes.iter().filter_map(|volume| Some((&volume.name, volume.host_path.as_ref()?)))
    {
        let (name, source) = volume;
        let all = container_of(pod).volume_mounts.as_ref().unwrap();
        let mount = all.iter().find(|mount| mount.name == *name).unwrap();
        mounts.insert(source.path.clone(), mount.clone());
    }
    mounts
}

#[test]
fn the_host_is_mounted_to_be_read_and_the_state_directory_to_be_written() {
    let pod = pod();
    let mounts = host_mounts(&pod);
    let paths: Vec<&str> = mounts.keys().map(String::as_str).collect();
    assert_eq!(paths, ["/", "/run/nodetally", "/sys", "/sys/fs/cgroup"]);
    for (path, mount) in &mounts {
        let is_state = path == "/run/nodetally";
        assert_eq!(mount.read_only, (!is_state).then_some(true), "{path}");
        let propagation = (!is_state).then_some("HostToContainer");
        assert_eq!(mount.mount_propagation.as_deref(), propagation, "{path}");
    }
    let volumes = pod.volumes.unwrap();
    let of = |name: &str| volumes.iter().find(|volume| volume.name == name).unwrap();
    let state = of("state").host_path.as_ref().unwrap();
    assert_eq!(state.type_.as_deref(), Some("DirectoryOrCreate"));
    let token = of("token").secret.as_ref().unwrap();
    assert_eq!((token.optional, token.default_mode), (Some(true), Some(0o400)));
    // What the generator of the kustomization is called.
    assert_eq!(of("config").config_map.as_ref().unwrap().name, "nodetally");
}

/// The base, and with each component's patches over it.
fn daemon_sets() -> Vec<(&'static str, DaemonSet)> {
    let mut all = vec![("the base", daemon_set())];
    for component in COMPONENTS {
        let mut patched = daemon_set();
        for (_, object) in objects(&format!("{BASE}/components/{component}")) {
            if object["kind"] == "DaemonSet" {
                let patch: DaemonSet = strict::decode(&object).unwrap();
                assert_eq!(patch.metadata.name, patched.metadata.name);
                assert_eq!(patch.metadata.namespace, patched.metadata.namespace);
                patched.merge_from(patch);
            }
        }
        all.push((component, patched));
    }
    all
}

#[test]
fn every_mount_has_its_volume_and_every_volume_is_mounted() {
    for (whose, daemon_set) in daemon_sets() {
        let pod = pod_of(daemon_set);
        let mounts = container_of(&pod).volume_mounts.clone().unwrap();
        let volumes = pod.volumes.unwrap();
        let mounted: BTreeSet<&str> = mounts.iter().map(|mount| mount.name.as_str()).collect();
        let named: BTreeSet<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
        assert_eq!(mounted, named, "{whose}");
        assert_eq!(named.len(), volumes.len(), "{whose}: a name twice");
        let places: BTreeSet<&str> = mounts.iter().map(|mount| mount.mount_path.as_str()).collect();
        assert_eq!(places.len(), mounts.len(), "{whose}: a path twice");
    }
}

#[test]
fn a_component_adds_what_it_is_for_and_takes_nothing_away() {
    let base = container();
    for (whose, daemon_set) in daemon_sets() {
        let patched = container_of(&pod_of(daemon_set)).clone();
        let added: Vec<String> = patched
            .volume_mounts
            .unwrap()
            .into_iter()
            .filter(|mount| !base.volume_mounts.as_ref().unwrap().contains(mount))
            .map(|mount| mount.mount_path)
            .collect();
        let expected: &[&str] = if whose == "cri" { &["/run/containerd"] } else { &[] };
        assert_eq!(added, expected, "{whose}");
        let mut context = patched.security_context.unwrap();
        let (apparmor, selinux) =
            (context.app_armor_profile.take(), context.se_linux_options.take());
        assert_eq!(Some(context), base.security_context, "{whose}");
        let apparmor = apparmor.map(|profile| profile.type_);
        let selinux = selinux.and_then(|options| options.type_);
        let expected = (whose == "unconfined").then_some(("Unconfined".into(), "spc_t".into()));
        assert_eq!(apparmor.zip(selinux), expected, "{whose}");
    }
}

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

/// The variables of the container, with what the kubelet would put in.
fn environment() -> Vec<(String, String)> {
    let variables = container().env.unwrap().into_iter().map(|variable| {
        let value = variable.value.unwrap_or_else(|| {
            let field = variable.value_from.unwrap().field_ref.unwrap().field_path;
            assert_eq!(field, "spec.nodeName");
            "worker-1".to_owned()
        });
        (variable.name, value)
    });
    variables.collect()
}

#[test]
fn the_environment_names_what_the_agent_knows_and_what_is_mounted() {
    let pod = pod();
    let mounts = host_mounts(&pod);
    let variables: BTreeMap<String, String> = environment().into_iter().collect();
    for name in variables.keys() {
        let known = KEYS.iter().any(|key| key.environment.contains(&name.as_str()));
        let special = [CONFIG_VARIABLE, NODE_NAME_VARIABLE].contains(&name.as_str());
        assert!(known || special, "{name}");
    }
    for (variable, on_host) in [
        ("NODETALLY_PATH_SYSFS", "/sys"),
        ("NODETALLY_PATH_ROOTFS", "/"),
        ("NODETALLY_STATE_DIR", "/run/nodetally"),
    ] {
        assert_eq!(variables[variable], mounts[on_host].mount_path, "{variable}");
    }
    assert_eq!(
        mounts["/sys/fs/cgroup"].mount_path,
        mounts["/sys"].mount_path.clone() + "/fs/cgroup"
    );
    let config = Path::new(&variables[CONFIG_VARIABLE]);
    let mounts = container().volume_mounts.unwrap();
    let directory = mounts.iter().find(|mount| mount.name == "config").unwrap();
    assert_eq!(config, Path::new(&directory.mount_path).join("config.toml"));
    assert_eq!(container().args.unwrap(), ["run"]);
    assert_eq!(container().command, None, "the image's entry point");
}

/// Sections of the manifest's configuration that the agent has no keys for.
const WITHOUT_KEYS: [&str; 2] = ["directory", "status"];

/// The manifest's configuration, without the sections that the agent has no keys for.
fn config_of_the_manifest() -> String {
    let mut kept = String::new();
    let mut leave_out = false;
    for line in text(&format!("{BASE}/config.toml")).lines() {
        if let Some(section) = line.strip_prefix('[') {
            leave_out = WITHOUT_KEYS.contains(&section.trim_matches(['[', ']']));
        }
        if !leave_out || line.starts_with('#') {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

#[test]
fn no_section_of_the_configuration_is_left_out_that_the_agent_knows() {
    for section in WITHOUT_KEYS {
        let known = KEYS.iter().any(|key| key.section == section);
        assert!(!known, "[{section}] has keys: take it out of WITHOUT_KEYS");
    }
}

fn settings(file: String) -> Settings {
    let path = PathBuf::from("/etc/nodetally/config.toml");
    let inputs = Inputs {
        file: Some((path, file)),
        environment: environment(),
        flags: Flags::default(),
        host_name: "nodetally-x2x9z".to_owned(),
        is_root: true,
        xdg_runtime_dir: None,
    };
    Settings::resolve(inputs).unwrap_or_else(|error| panic!("{error}"))
}

/// A line that is offered has no blank behind its `#`.
fn with_what_is_offered(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(offered) if !offered.starts_with(' ') => offered.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(line).map(|line| line + "\n").collect()
}

#[test]
fn the_configuration_is_taken_by_the_agent_with_and_without_its_comments() {
    let plain = settings(config_of_the_manifest());
    assert_eq!(plain.node.name, "worker-1");
    assert_eq!(plain.paths.procfs, Path::new("/proc"));
    assert_eq!(plain.state.dir.as_deref(), Some(Path::new("/run/nodetally")));
    assert!(plain.uses_embedded_receiver());

    let all = settings(with_what_is_offered(&config_of_the_manifest()));
    let [endpoint] = &all.endpoints[..] else { panic!("one endpoint is offered") };
    let token = endpoint.bearer_token_file.as_ref().unwrap();
    let mounts = container().volume_mounts.unwrap();
    let mount = mounts.iter().find(|mount| mount.name == "token").unwrap();
    assert_eq!(token.parent(), Some(Path::new(&mount.mount_path)));
}

#[test]
fn the_probes_ask_where_the_configuration_has_the_agent_answer() {
    let config: toml::Table = text(&format!("{BASE}/config.toml")).parse().unwrap();
    assert_eq!(config["directory"]["sources"].as_array().unwrap(), &["kubernetes".into()]);
    let listen = config["status"]["listen"].as_str().unwrap();
    let asked = |probe: Option<Probe>| {
        let http = probe.unwrap().http_get.unwrap();
        let IntOrString::Int(port) = http.port else { panic!("a number: no port has a name") };
        assert_eq!(format!("{}:{port}", http.host.unwrap()), listen);
        http.path.unwrap()
    };
    let container = container();
    assert_eq!(asked(container.startup_probe), "/healthz");
    let live = container.liveness_probe.unwrap();
    // As long as systemd's watchdog waits.
    assert_eq!(live.period_seconds.unwrap() * live.failure_threshold.unwrap(), 30);
    assert!(text("systemd/nodetally.service").contains("WatchdogSec=30s"));
    assert_eq!(asked(Some(live)), "/healthz");
    assert_eq!(asked(container.readiness_probe), "/readyz");
}

/// The capabilities that `check` names on a captured host, with the manifest's configuration.
fn named_by_check(process_io: bool) -> BTreeSet<String> {
    let t0 = tree("fixtures/hosts/7.2-containerd-systemd/t0");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    fs::write(&config, config_of_the_manifest()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .env_clear()
        .envs(process_io.then_some(("NODETALLY_SAMPLING_PROCESS_IO", "true")))
        .args([
            "check",
            "--state-dir",
            "none",
            "--listen",
            "127.0.0.1:0",
            "--node-name",
            "worker-1",
        ])
        .args([Path::new("--config"), &config])
        .args([Path::new("--path.procfs"), &t0.join("proc")])
        .args([Path::new("--path.sysfs"), &t0.join("sys")])
        .args([Path::new("--path.rootfs"), &t0])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let named = text.split("has a use for ").nth(1).unwrap_or_else(|| panic!("{text}"));
    named.split(';').next().unwrap().split(", ").map(str::to_owned).collect()
}

#[test]
fn the_container_has_the_capabilities_that_check_names_and_no_others() {
    let named = named_by_check(false);
    assert!(named.iter().all(|name| name.starts_with("CAP_")), "{named:?}");
    let capabilities = container().security_context.unwrap().capabilities.unwrap();
    let given = capabilities.add.unwrap();
    let given: BTreeSet<String> = given.iter().map(|name| format!("CAP_{name}")).collect();
    assert_eq!(given, named);
    // What takes more is said, with what it takes.
    let document = text("docs/kubernetes.md");
    for capability in named_by_check(true) {
        assert!(document.contains(capability.strip_prefix("CAP_").unwrap()), "{capability}");
    }
}

fn mebibytes(quantity: &str) -> u64 {
    quantity.strip_suffix("Mi").unwrap_or_else(|| panic!("{quantity}")).parse().unwrap()
}

/// docs/performance.md: 10.2 MiB resident with 250 pods, 18 MiB of the kernel's for open files, and
/// a good KiB for each of up to 4096 cgroups that are watched.
#[test]
fn the_memory_limit_has_room_for_what_was_measured_and_for_queues() {
    let resources = container().resources.unwrap();
    let (requests, limits) = (resources.requests.unwrap(), resources.limits.unwrap());
    assert_eq!(requests.keys().collect::<Vec<_>>(), ["cpu", "memory"]);
    assert_eq!(limits.keys().collect::<Vec<_>>(), ["memory"], "no limit of CPU");
    let measured = 11 + 18 + 5;
    let settings = settings(with_what_is_offered(&config_of_the_manifest()));
    let queue = settings.endpoints[0].queue_bytes.as_bytes().div_ceil(1 << 20);
    assert!(mebibytes(&requests["memory"].0) >= 11 + 18);
    assert!(mebibytes(&limits["memory"].0) >= measured + 4 * queue, "four endpoints, as it says");
    assert_eq!(requests["cpu"].0, "10m");
}

#[test]
fn the_image_is_of_this_version_and_built_by_this_compiler() {
    let image = container().image.unwrap();
    let (name, tag) = image.rsplit_once(':').unwrap();
    assert_eq!(tag, env!("CARGO_PKG_VERSION"));
    // A name without a host would be looked for in a public registry, where anybody may put it.
    assert_eq!(name, "registry.example.com/nodetally");

    let file = text("packaging/Dockerfile");
    let instruction = |name: &str| -> Vec<&str> {
        file.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect()
    };
    let stages = instruction("FROM");
    let compiler = stages[0].strip_prefix("rust:").unwrap().split('-').next().unwrap();
    assert_eq!(compiler, env!("CARGO_PKG_RUST_VERSION"));
    assert_eq!(stages.last(), Some(&"scratch"));
    assert_eq!(instruction("ENTRYPOINT"), [r#"["/nodetally"]"#]);
    assert_eq!(instruction("CMD"), [r#"["run", "--config", "/etc/nodetally/config.toml"]"#]);
    assert_eq!(instruction("USER"), ["0"]);
    let label = format!("image.version=\"{tag}\"");
    assert!(file.contains(&label) && file.contains(&image), "{image}");
}

/// What .dockerignore lets through is all that cargo is given, so it must be all that it asks for.
#[test]
fn the_image_is_built_from_the_files_that_cargo_needs() {
    let ignored = text(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    let let_through: Vec<&str> = lines.map(|line| line.strip_prefix('!').unwrap()).collect();
    assert_eq!(let_through, ["Cargo.toml", "Cargo.lock", "src", "benches"]);
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    for (section, folder) in [("bin", "src"), ("lib", "src"), ("bench", "benches")] {
        for target in
            manifest.get(section).and_then(|targets| targets.as_array()).into_iter().flatten()
        {
            let path = target.get("path").and_then(|path| path.as_str());
            assert!(path.is_none_or(|path| path.starts_with(folder)), "{section} {path:?}");
        }
    }
    assert!(!manifest["package"].as_table().unwrap().contains_key("build"));
    let mut rust_files = Vec::new();
    collect_files(&tree("src"), &mut rust_files);
    assert!(rust_files.len() > 50, "{}", rust_files.len());
    for path in rust_files {
        let source = fs::read_to_string(&path).unwrap();
        let included = source.split("include_str!(").chain(source.split("include_bytes!(")).skip(1);
        assert!(included.clone().all(|rest| !rest.starts_with("\"../../")), "{}", path.display());
    }
}

fn collect_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect_files(&path, into) } else { into.push(path) }
    }
}

#[test]
fn the_documentation_names_every_right_and_every_file_that_there_is() {
    let document = text("docs/kubernetes.md");
    for folder in folders() {
        assert!(document.contains(folder.trim_start_matches("packaging/kubernetes/")), "{folder}");
        for right in objects(&folder).iter().filter(|(_, object)| object["kind"] == "ClusterRole") {
            let role: ClusterRole = strict::decode(&right.1).unwrap();
            for right in rbac::rights(&role) {
                let Right::Resource { verb, resource, .. } = right else { panic!("{right:?}") };
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
