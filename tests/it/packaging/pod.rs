//! The DaemonSet and its pod: where it runs, what it sees of the host, and what it may.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::DeepMerge as _;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Affinity, PodSpec, VolumeMount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    BASE, COMPONENTS, container, container_of, daemon_set, objects, pod, pod_of, strict, text,
};

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
    let selector = BTreeMap::from([("kubernetes.io/os".to_owned(), "linux".to_owned())]);
    assert_eq!(pod.node_selector, Some(selector));
}

/// `true` where a required affinity lets the pod onto a node with these labels, as the API says: one
/// of the terms, with all of its expressions; `NotIn` also holds where the label is missing.
fn is_let_onto(affinity: &Affinity, labels: &[(&str, &str)]) -> bool {
    assert_eq!((&affinity.pod_affinity, &affinity.pod_anti_affinity), (&None, &None));
    let node = affinity.node_affinity.as_ref().unwrap();
    assert_eq!(node.preferred_during_scheduling_ignored_during_execution, None);
    let required = node.required_during_scheduling_ignored_during_execution.as_ref().unwrap();
    required.node_selector_terms.iter().any(|term| {
        assert_eq!(term.match_fields, None);
        term.match_expressions.as_ref().unwrap().iter().all(|expression| {
            assert_eq!(expression.operator, "NotIn", "another operator: enter it here");
            let values = expression.values.as_ref().unwrap();
            let value = labels.iter().find(|(key, _)| *key == expression.key);
            value.is_none_or(|(_, value)| !values.iter().any(|other| other == value))
        })
    })
}

/// The labels that virtual-kubelet and EKS document for their nodes.
#[test]
fn the_pod_keeps_off_nodes_that_are_no_machines() {
    let affinity = pod().affinity.unwrap();
    let machine = ("kubernetes.io/os", "linux");
    for (labels, expected) in [
        (vec![machine], true),
        (vec![machine, ("type", "virtual-kubelet"), ("kubernetes.io/role", "agent")], false),
        (vec![machine, ("eks.amazonaws.com/compute-type", "fargate")], false),
        (vec![machine, ("eks.amazonaws.com/compute-type", "ec2")], true),
        (vec![machine, ("eks.amazonaws.com/compute-type", "hybrid"), ("type", "gpu")], true),
    ] {
        assert_eq!(is_let_onto(&affinity, &labels), expected, "{labels:?}");
    }
}

#[test]
fn the_pod_shares_the_hosts_namespaces() {
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
pub fn host_mounts(pod: &PodSpec) -> BTreeMap<String, VolumeMount> {
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
fn the_host_is_mounted_to_be_read_and_the_agents_own_directories_to_be_written() {
    let pod = pod();
    let mounts = host_mounts(&pod);
    let paths: Vec<&str> = mounts.keys().map(String::as_str).collect();
    assert_eq!(paths, ["/", "/run/nodetally", "/sys", "/sys/fs/cgroup", "/var/lib/nodetally"]);
    for (path, mount) in &mounts {
        let is_own = path.ends_with("/nodetally");
        assert_eq!(mount.read_only, (!is_own).then_some(true), "{path}");
        let propagation = (!is_own).then_some("HostToContainer");
        assert_eq!(mount.mount_propagation.as_deref(), propagation, "{path}");
    }
    let volumes = pod.volumes.unwrap();
    let of = |name: &str| volumes.iter().find(|volume| volume.name == name).unwrap();
    for name in ["state", "spool"] {
        let own = of(name).host_path.as_ref().unwrap();
        assert_eq!(own.type_.as_deref(), Some("DirectoryOrCreate"));
    }
    let token = of("token").secret.as_ref().unwrap();
    assert_eq!((token.optional, token.default_mode), (Some(true), Some(0o400)));
    // What the generator of the kustomization is called.
    assert_eq!(of("config").config_map.as_ref().unwrap().name, "nodetally");
}

/// The base, and with each component's patches over it.
pub fn daemon_sets() -> Vec<(&'static str, DaemonSet)> {
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
        let added: Vec<String> = patched
            .env
            .unwrap()
            .into_iter()
            .filter(|variable| !base.env.as_ref().unwrap().contains(variable))
            .map(|variable| variable.name)
            .collect();
        let expected: &[&str] = match whose {
            "kubelet" | "kubelet-before-1.33" => &["HOST_IP", "NODETALLY_DIRECTORY_KUBELET_URL"],
            "metrics" => &["POD_IP", "NODETALLY_METRICS_LISTEN"],
            _ => &[],
        };
        assert_eq!(added, expected, "{whose}");
        let ports = patched.ports.unwrap_or_default();
        let ports: Vec<_> =
            ports.iter().map(|port| (port.name.as_deref(), port.container_port)).collect();
        let expected: &[(Option<&str>, i32)] =
            if whose == "metrics" { &[(Some("metrics"), 9753)] } else { &[] };
        assert_eq!(ports, expected, "{whose}");
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
