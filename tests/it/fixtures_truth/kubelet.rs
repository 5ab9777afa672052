//! The captured hosts against what their kubelet said at the same time.
//!
//! Its figures are 0 to 17 seconds old, each with its own stamp, cut to a second. So a counter of
//! it lies between ours of the instants around its stamp, and no more below ours than one CPU can
//! use meanwhile; the guests had one.

use nodetally::identity::PodUid;
use serde_json::Value;

use crate::fixtures_truth::host::Host;

pub const HOSTS: [&str; 3] =
    ["7.2-containerd-cgroupfs", "7.2-containerd-systemd", "7.2-containerd-systemd-static"];

/// One of the kubelet's figures.
#[derive(Debug)]
struct Said {
    what: String,
    /// Of the stamp's second, on the boot's clock.
    since_usec: i64,
    usage_usec: i64,
    working_set_bytes: Option<u64>,
    cpu_is_zero: bool,
}

#[test]
fn every_counter_of_the_kubelet_lies_where_its_stamp_allows() {
    for name in HOSTS {
        let host = Host::load(name);
        let mut checked = 0;
        for answer in 0..2 {
            for pod in pods(&host, answer) {
                let path = path_of(&host, &pod.uid);
                let Some(path) = path else {
                    assert_eq!(
                        pod.uid, "9c16aad6a90144af2a8c7a78b50320b5",
                        "{name}: it was removed"
                    );
                    continue;
                };
                // A pod that had just been born when its own figure was made.
                if !pod.whole.cpu_is_zero {
                    check(&host, &path, &pod.whole, answer);
                    checked += 1;
                }
                for (container, path) in pod.containers.iter().zip(cgroups_of(&host, &path, &pod)) {
                    check(&host, &path, container, answer);
                    checked += 1;
                }
            }
        }
        assert!(checked >= 19, "{name}: only {checked} figures were compared");
    }
}

/// A container's memory moves within a second, so only most are equal to the byte.
#[test]
fn most_working_sets_of_fresh_containers_are_the_kubelets_to_the_byte() {
    let (mut equal, mut all) = (0, 0);
    for name in ["7.2-containerd-systemd", "7.2-containerd-systemd-static"] {
        let host = Host::load(name);
        for answer in 0..2 {
            for pod in pods(&host, answer) {
                let Some(path) = path_of(&host, &pod.uid) else { continue };
                for (said, path) in pod.containers.iter().zip(cgroups_of(&host, &path, &pod)) {
                    let Some(ours) = host.instants[answer].cgroups.get(&path) else { continue };
                    let age_usec = ours.read_at.as_nanos() as i64 / 1000 - said.since_usec;
                    assert!(age_usec < 3_000_000, "{name}: {} is {age_usec} µs old", said.what);
                    let ours = ours.memory.working_set().unwrap().as_bytes();
                    all += 1;
                    equal += usize::from(said.working_set_bytes == Some(ours));
                }
            }
        }
    }
    assert!(all >= 25, "{all}");
    assert!(equal * 2 > all, "{equal} of {all}");
}

#[test]
fn every_running_pod_of_the_api_has_a_line_and_no_other_has() {
    for name in ["7.2-containerd-cgroupfs", "7.2-containerd-systemd"] {
        let host = Host::load(name);
        let table = std::fs::read_to_string(host.dir.join("api/pods.txt")).unwrap();
        let running: Vec<(&str, &str)> = table
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields[3] == "Running")
            .map(|fields| (fields[0], fields[1]))
            .collect();
        assert_eq!(running.len(), 6, "{name}");
        // truth.tsv says which pod a uid is; its names are from the kubelet's /pods.
        for (namespace, pod) in &running {
            let owner = format!("{namespace}/{pod} ");
            let row = host.truth.iter().find(|row| row.owner.starts_with(&owner)).unwrap();
            let uid = row.owner.split(' ').nth(1).unwrap();
            assert!(path_of(&host, uid).is_some(), "{name}: {owner}");
        }
        // Beside them only a job's pod, which the list, seconds later, calls completed.
        let rest = host.account.pods.len() - running.len();
        assert_eq!(rest, usize::from(name.ends_with("cgroupfs")), "{name}");
    }
}

struct Pod {
    uid: String,
    whole: Said,
    containers: Vec<Said>,
}

fn pods(host: &Host, answer: usize) -> Vec<Pod> {
    let path = host.dir.join(format!("kubelet-t{answer}/stats-summary.json"));
    let summary: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let pods = summary["pods"].as_array().unwrap();
    let instant = &host.instants[0];
    // The boot's clock and the wall's show the same moment at the instant.
    let boot_usec =
        instant.wall.as_unix_millis() as i64 * 1000 - instant.at.as_nanos() as i64 / 1000;
    let said = |what: String, of: &Value| {
        let stamp = humantime::parse_rfc3339(of["cpu"]["time"].as_str().unwrap()).unwrap();
        let stamp = stamp.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
        let nanos = of["cpu"]["usageCoreNanoSeconds"].as_i64().unwrap();
        Said {
            what,
            since_usec: stamp - boot_usec,
            usage_usec: nanos / 1000,
            working_set_bytes: of["memory"]["workingSetBytes"].as_u64(),
            cpu_is_zero: nanos == 0,
        }
    };
    pods.iter()
        .map(|pod| {
            let name = pod["podRef"]["name"].as_str().unwrap();
            let containers = pod["containers"].as_array().into_iter().flatten();
            Pod {
                uid: pod["podRef"]["uid"].as_str().unwrap().to_owned(),
                whole: said(name.to_owned(), pod),
                containers: containers
                    .map(|one| said(format!("{name}/{}", one["name"].as_str().unwrap()), one))
                    .collect(),
            }
        })
        .collect()
}

fn path_of(host: &Host, uid: &str) -> Option<Vec<u8>> {
    let uid = PodUid::parse(uid.as_bytes()).unwrap();
    host.account.pods.iter().find(|pod| pod.uid == uid).map(|pod| pod.path.to_vec())
}

/// The cgroups of a pod's containers, in the order of the kubelet's. It tells names, the cgroups
/// ids: the order of their CPU time brings them together, the sandbox has the least of all.
fn cgroups_of(host: &Host, pod: &[u8], said: &Pod) -> Vec<Vec<u8>> {
    let cgroups = &host.instants[1].cgroups;
    let usage = |path: &[u8]| cgroups[path].cpu.unwrap().usage.as_usec();
    let of_pod = host.account.containers.iter().filter(|one| one.path.starts_with(pod));
    let mut paths: Vec<Vec<u8>> = of_pod.map(|one| one.path.to_vec()).collect();
    assert_eq!(paths.len(), said.containers.len() + 1, "{}", said.whole.what);
    paths.sort_by_key(|path| std::cmp::Reverse(usage(path)));
    let mut order: Vec<usize> = (0..said.containers.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(said.containers[*at].usage_usec));
    let mut placed = vec![Vec::new(); said.containers.len()];
    for (at, path) in order.into_iter().zip(paths) {
        placed[at] = path;
    }
    placed
}

fn check(host: &Host, path: &[u8], said: &Said, answer: usize) {
    const SECOND_USEC: i64 = 1_000_000;
    let name = &host.name;
    for (at, instant) in host.instants.iter().enumerate() {
        let Some(ours) = instant.cgroups.get(path) else { continue };
        let read_usec = ours.read_at.as_nanos() as i64 / 1000;
        let counter = ours.cpu.unwrap().usage.as_usec() as i64;
        let context = || format!("{name}: t{at} has {counter} of {said:?}");
        if said.since_usec >= read_usec {
            assert!(said.usage_usec >= counter, "{}", context());
        } else if at >= answer || said.since_usec + SECOND_USEC <= read_usec {
            // The kubelet's answers were all there before the instant's tree was read.
            assert!(said.usage_usec <= counter, "{}", context());
            // Between the stamp's second and our read one CPU can do no more than this.
            let elapsed = read_usec - said.since_usec;
            assert!(counter - said.usage_usec <= elapsed, "{}", context());
        }
    }
}
