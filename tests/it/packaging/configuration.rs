//! The configuration in the manifests, checked against the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{EnvVar, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use nodetally::config::keys::{CONFIG_VARIABLE, NODE_NAME_VARIABLE};
use nodetally::config::{ConfigError, DirectorySource, Flags, Inputs, KEYS, Settings};

use super::pod::{daemon_sets, host_mounts};
use super::{BASE, container, container_of, object, pod, pod_of, text, tree};

/// The variables of a container as a kubelet would set them: `$(NAME)` is what an earlier one has,
/// and stays as it is where there is none.
pub fn environment_of(variables: &[EnvVar], host_ip: &str) -> Vec<(String, String)> {
    let mut set: Vec<(String, String)> = Vec::new();
    for variable in variables {
        let field = variable.value_from.as_ref().map(|from| from.field_ref.as_ref().unwrap());
        let value = match (variable.value.as_deref(), field.map(|field| field.field_path.as_str()))
        {
            (Some(value), None) => set.iter().fold(value.to_owned(), |value, (name, known)| {
                value.replace(&format!("$({name})"), known)
            }),
            (None, Some("spec.nodeName")) => "worker-1".to_owned(),
            (None, Some("status.hostIP" | "status.podIP")) => host_ip.to_owned(),
            other => panic!("{}: {other:?}", variable.name),
        };
        set.push((variable.name.clone(), value));
    }
    set
}

fn environment() -> Vec<(String, String)> {
    environment_of(&container().env.unwrap(), "192.0.2.7")
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
    let spool = mounts["/var/lib/nodetally"].mount_path.clone() + "/spool";
    assert_eq!(variables["NODETALLY_SPOOL_DIR"], spool);
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

fn config_of_the_manifest() -> String {
    text(&format!("{BASE}/config.toml"))
}

fn settings(file: String) -> Settings {
    resolved(file, environment()).unwrap_or_else(|error| panic!("{error}"))
}

pub fn resolved(file: String, environment: Vec<(String, String)>) -> Result<Settings, ConfigError> {
    let path = PathBuf::from("/etc/nodetally/config.toml");
    let inputs = Inputs {
        file: Some((path, file)),
        environment,
        flags: Flags::default(),
        host_name: "nodetally-x2x9z".to_owned(),
        is_root: true,
        ..Inputs::default()
    };
    Settings::resolve(inputs)
}

/// kustomize puts a patch's variables in front of those that it finds, so they have to do alone.
#[test]
fn a_kubelet_is_asked_at_the_address_that_its_certificate_is_for() {
    for component in ["kubelet", "kubelet-before-1.33"] {
        let patch: DaemonSet = object(&format!("{BASE}/components/{component}"), "DaemonSet");
        let mut variables = container_of(&pod_of(patch)).env.clone().unwrap();
        let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
        assert_eq!(names, ["HOST_IP", "NODETALLY_DIRECTORY_KUBELET_URL"], "{component}");
        let resolve = |variables: &[EnvVar], host_ip| {
            let mut all = environment_of(variables, host_ip);
            all.extend(environment());
            let kubelet_url = |settings: Settings| settings.directory.kubelet_url.to_string();
            resolved(config_of_the_manifest(), all)
                .map(kubelet_url)
                .map_err(|error| error.to_string())
        };
        assert_eq!(resolve(&variables, "192.0.2.7").as_deref(), Ok("https://192.0.2.7:10250/"));
        assert_eq!(resolve(&variables, "fd00::7").as_deref(), Ok("https://[fd00::7]:10250/"));
        variables.reverse();
        for host_ip in ["192.0.2.7", "fd00::7"] {
            let line = resolve(&variables, host_ip).expect_err("the order matters");
            assert!(line.contains("that Kubernetes did not replace"), "{line}");
        }
    }
}

/// The component's port, which the examples for Prometheus name, is where the agent listens.
#[test]
fn metrics_are_served_on_the_pods_address_at_the_port_that_is_named() {
    let patch: DaemonSet = object(&format!("{BASE}/components/metrics"), "DaemonSet");
    let container = container_of(&pod_of(patch)).clone();
    let [port] = &container.ports.unwrap()[..] else { panic!("one port") };
    let variables = container.env.unwrap();
    // With what the file offers, and beside another component, which comes in front or behind.
    let kubelet: DaemonSet = object(&format!("{BASE}/components/kubelet"), "DaemonSet");
    let kubelet = container_of(&pod_of(kubelet)).env.clone().unwrap();
    for file in [config_of_the_manifest(), with_what_is_offered(&config_of_the_manifest())] {
        for (ip, address) in [("192.0.2.7", "192.0.2.7"), ("fd00::7", "[fd00::7]")] {
            for both in [[&variables, &kubelet], [&kubelet, &variables]] {
                let mut all = environment_of(&both.map(Vec::clone).concat(), ip);
                all.extend(environment());
                let listen = resolved(file.clone(), all).unwrap().metrics.listen.unwrap();
                assert_eq!(listen.to_string(), format!("{address}:{}", port.container_port));
            }
        }
    }
    // Without it nothing is open, and what the file offers is the loopback.
    assert_eq!(settings(config_of_the_manifest()).metrics.listen, None);
    let offered = settings(with_what_is_offered(&config_of_the_manifest())).metrics;
    assert!(offered.listen.unwrap().ip().is_loopback());
    let token = offered.bearer_token_file.unwrap();
    let mounts = super::container().volume_mounts.unwrap();
    let mount = mounts.iter().find(|mount| mount.name == "token").unwrap();
    assert_eq!(token.parent(), Some(Path::new(&mount.mount_path)));

    let document = text("docs/kubernetes.md");
    let name = port.name.as_deref().unwrap();
    let example = |kind: &str| {
        let mut blocks = document.split("```yaml\n").skip(1);
        let block = blocks.find(|block| block.contains(kind)).unwrap();
        let documents = super::strict::documents(block.split("```").next().unwrap()).unwrap();
        documents.into_iter().next().unwrap()
    };
    let monitor = example("kind: PodMonitor");
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["port"], name);
    let labels = super::daemon_set().spec.template.metadata.unwrap().labels.unwrap();
    for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(labels[label], value.as_str().unwrap());
    }
    // Rules and dashboards expect this job.
    assert_eq!(labels[monitor["spec"]["jobLabel"].as_str().unwrap()], "nodetally");
    let job = &example("kubernetes_sd_configs")["scrape_configs"][0];
    assert_eq!(job["job_name"], "nodetally");
    assert!(job["relabel_configs"].as_array().unwrap().iter().any(|rule| rule["regex"] == name));
}

/// Where the component `cri` mounts it, the agent looks for the runtime's socket.
#[test]
fn the_socket_of_the_runtime_is_looked_for_where_it_is_mounted() {
    let (_, patched) = daemon_sets().into_iter().find(|(whose, _)| *whose == "cri").unwrap();
    let mounts = container_of(&pod_of(patched)).volume_mounts.clone().unwrap();
    let runtime = mounts.iter().find(|mount| mount.name == "runtime").unwrap();
    assert_eq!(settings(config_of_the_manifest()).directory.cri_socket, None);
    let looked_for = nodetally::config::keys::DIRECTORY_CRI_SOCKET.default_text();
    let mounted = format!(" {}/containerd.sock,", runtime.mount_path);
    assert!(looked_for.contains(&mounted), "{mounted}");
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
    assert_eq!(plain.directory.sources, [DirectorySource::Kubernetes]);
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
    let listen = settings(config_of_the_manifest()).status.listen.unwrap();
    assert!(listen.ip().is_loopback(), "{listen}: the pod is in the node's network");
    let asked = |probe: Option<Probe>| {
        let http = probe.unwrap().http_get.unwrap();
        let IntOrString::Int(port) = http.port else { panic!("a number: no port has a name") };
        assert_eq!(format!("{}:{port}", http.host.unwrap()), listen.to_string());
        http.path.unwrap()
    };
    let container = container();
    assert_eq!(asked(container.startup_probe), "/healthz");
    let live = container.liveness_probe.unwrap();
    // One slow answer ends nothing.
    assert_eq!((live.period_seconds, live.failure_threshold), (Some(10), Some(3)));
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
    let named = text.split("can use ").nth(1).unwrap_or_else(|| panic!("{text}"));
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

/// Mebibytes that are resident with 250 pods, as docs/performance.md has them, rounded up.
fn resident_with_250_pods() -> u64 {
    let page = text("docs/performance.md");
    let (before, _) = page.split_once(" with 250 pods in the guest").unwrap();
    let figure: f64 = before.rsplit(' ').next().unwrap().parse().unwrap();
    figure.ceil() as u64
}

/// Every place that repeats the figure has it as measured.
#[test]
fn what_is_resident_with_250_pods_is_the_same_everywhere() {
    let resident = format!("{} MiB", resident_with_250_pods());
    for path in
        ["systemd/nodetally.service", "packaging/kubernetes/daemonset.yaml", "docs/kubernetes.md"]
    {
        let text = text(path);
        let line = text.lines().find(|line| line.contains("resident") && line.contains("250 pods"));
        assert!(line.is_some_and(|line| line.contains(&resident)), "{path}: {resident}: {line:?}");
    }
}

/// There is room for what was measured, 18 MiB of the kernel's for open files, and a good KiB for each of up to
/// 4096 cgroups that are watched.
#[test]
fn the_memory_limit_has_room_for_what_was_measured_and_for_queues() {
    let resources = container().resources.unwrap();
    let (requests, limits) = (resources.requests.unwrap(), resources.limits.unwrap());
    assert_eq!(requests.keys().collect::<Vec<_>>(), ["cpu", "memory"]);
    assert_eq!(limits.keys().collect::<Vec<_>>(), ["memory"], "no limit of CPU");
    let resident = resident_with_250_pods();
    let measured = resident + 18 + 5;
    let settings = settings(with_what_is_offered(&config_of_the_manifest()));
    let queue = settings.endpoints[0].queue_bytes.as_bytes().div_ceil(1 << 20);
    assert!(mebibytes(&requests["memory"].0) >= resident + 18);
    // In memory, and in files on a tmpfs.
    let two = 2 * 2 * queue;
    assert!(mebibytes(&limits["memory"].0) >= measured + two, "two endpoints, as it says");
    assert_eq!(requests["cpu"].0, "10m");
}
