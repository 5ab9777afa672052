//! Every path form that the rules know, and what only looks like one.

use proptest::prelude::*;

use super::*;

const DASHED: &str = "a533c208-0be3-44e3-adb7-a0dae664d797";
const SCORED: &str = "a533c208_0be3_44e3_adb7_a0dae664d797";
const STATIC: &str = "72dd719cb36a6d92769b0e001945c7b5";
const ID: &str = "6aa202e329f75489799803e56efd7f73194cff763d2e0daa22b693e94ff7e1ce";
const ID2: &str = "31222f15a76edd976d4b06c08e6d591d990d92063b20777b8ec8bbb9a1c1861f";

use QosClass::{BestEffort, Burstable, Guaranteed};
use Runtime::{Containerd, CriO, Docker, Podman, Unknown};

const SLICE: Owner = Owner::Inner(InnerNode::Slice);

fn pods(qos: QosClass) -> Owner {
    Owner::Inner(InnerNode::Pods { qos })
}

fn directory(runtime: Runtime) -> Owner {
    Owner::Inner(InnerNode::Containers { runtime })
}

fn pod(uid: &str, qos: QosClass) -> Owner {
    Owner::Pod { uid: PodUid::parse(uid.as_bytes()).unwrap(), qos }
}

fn pod_container(uid: &str, qos: QosClass, id: &str, runtime: Runtime) -> Owner {
    let (uid, id) = (PodUid::parse(uid.as_bytes()), ContainerId::parse(id.as_bytes()));
    Owner::PodContainer { uid: uid.unwrap(), qos, id: id.unwrap(), runtime }
}

fn container(id: &str, runtime: Runtime) -> Owner {
    Owner::Container { id: ContainerId::parse(id.as_bytes()).unwrap(), runtime }
}

/// Writes the uid and ids into a path: `{d}` and `{u}` for the uid with dashes and underscores,
/// `{s}` for a static pod's, `{1}` and `{2}` for container ids.
fn filled(path: &str) -> String {
    path.replace("{d}", DASHED)
        .replace("{u}", SCORED)
        .replace("{s}", STATIC)
        .replace("{1}", ID)
        .replace("{2}", ID2)
}

/// Each row: a path, its owner, and below which trailing part of it the owner does not start: the
/// row `("/a.service/b", Unit, "/b")` says that the owner's first cgroup is `/a.service`.
#[track_caller]
fn assert_owners(rows: &[(&str, Owner, &str)]) {
    for (path, owner, below) in rows {
        let path = filled(path);
        let starts_at = path.strip_suffix(&filled(below)).unwrap();
        let located = Owner::locate(path.as_bytes());
        assert_eq!(located.owner, *owner, "{path}");
        assert_eq!(String::from_utf8_lossy(located.starts_at), starts_at, "{path}");
    }
}

#[test]
fn the_systemd_driver_gives_class_pod_and_container() {
    assert_owners(&[
        ("", Owner::Root, ""),
        ("/", Owner::Root, "/"),
        ("/kubepods.slice", pods(Guaranteed), ""),
        ("/kubepods.slice/kubepods-burstable.slice", pods(Burstable), ""),
        ("/kubepods.slice/kubepods-besteffort.slice", pods(BestEffort), ""),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u}.slice",
            pod(DASHED, Burstable),
            "",
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u}.slice/cri-containerd-{1}.scope",
            pod_container(DASHED, BestEffort, ID, Containerd),
            "",
        ),
        ("/kubepods.slice/kubepods-pod{u}.slice", pod(DASHED, Guaranteed), ""),
        (
            "/kubepods.slice/kubepods-pod{u}.slice/crio-{1}.scope",
            pod_container(DASHED, Guaranteed, ID, CriO),
            "",
        ),
        (
            "/kubepods.slice/kubepods-pod{u}.slice/docker-{1}.scope",
            pod_container(DASHED, Guaranteed, ID, Docker),
            "",
        ),
        (
            "/kubepods.slice/kubepods-pod{u}.slice/libpod-{1}.scope",
            pod_container(DASHED, Guaranteed, ID, Podman),
            "",
        ),
        // A runtime that is not known by name is a container's all the same inside a pod.
        (
            "/kubepods.slice/kubepods-pod{u}.slice/isulad-{1}.scope",
            pod_container(DASHED, Guaranteed, ID, Unknown),
            "",
        ),
        // A static pod's uid is its configuration's hash.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{s}.slice/cri-containerd-{1}.scope",
            pod_container(STATIC, Burstable, ID, Containerd),
            "",
        ),
    ]);
}

#[test]
fn the_cgroupfs_driver_gives_class_pod_and_container() {
    assert_owners(&[
        ("/kubepods", pods(Guaranteed), ""),
        ("/kubepods/burstable", pods(Burstable), ""),
        ("/kubepods/besteffort", pods(BestEffort), ""),
        ("/kubepods/pod{d}", pod(DASHED, Guaranteed), ""),
        ("/kubepods/pod{d}/{1}", pod_container(DASHED, Guaranteed, ID, Unknown), ""),
        ("/kubepods/burstable/pod{d}", pod(DASHED, Burstable), ""),
        ("/kubepods/burstable/pod{d}/{1}", pod_container(DASHED, Burstable, ID, Unknown), ""),
        ("/kubepods/besteffort/pod{s}/{1}", pod_container(STATIC, BestEffort, ID, Unknown), ""),
        ("/kubepods/burstable/pod{d}/crio-{1}", pod_container(DASHED, Burstable, ID, CriO), ""),
    ]);
}

#[test]
fn the_tree_of_one_real_node_with_either_driver() {
    assert_owners(&[
        ("/dev-mqueue.mount", Owner::Unit, ""),
        ("/proc-sys-fs-binfmt_misc.mount", Owner::Unit, ""),
        ("/init.scope", Owner::Unit, ""),
        ("/system.slice", SLICE, ""),
        ("/system.slice/system-modprobe.slice", SLICE, ""),
        ("/system.slice/containerd.service", Owner::Unit, ""),
        ("/system.slice/systemd-udevd.service/udev", Owner::Unit, "/udev"),
        ("/user.slice", SLICE, ""),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod9c16aad6a90144af2a8c7a78b50320b5.slice/cri-containerd-37b86c134ee2e2a696e18bf12c310699a93b1cb02fb47818fa1e66f665bfcfef.scope",
            pod_container(
                "9c16aad6a90144af2a8c7a78b50320b5",
                BestEffort,
                "37b86c134ee2e2a696e18bf12c310699a93b1cb02fb47818fa1e66f665bfcfef",
                Containerd,
            ),
            "",
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod4e761ee3_d496_4c33_b2d3_25873fd2243f.slice/cri-containerd-ee4a00423d97a2179828078f4feb00e5a0892a8de161d745dfdf42aaab976e4a.scope",
            pod_container(
                "4e761ee3-d496-4c33-b2d3-25873fd2243f",
                Burstable,
                "ee4a00423d97a2179828078f4feb00e5a0892a8de161d745dfdf42aaab976e4a",
                Containerd,
            ),
            "",
        ),
        (
            "/kubepods.slice/kubepods-pod9d3cb796c4939d15b5b4ec6775c9af7f.slice",
            pod("9d3cb796c4939d15b5b4ec6775c9af7f", Guaranteed),
            "",
        ),
        (
            "/kubepods.slice/kubepods-pode3d5296e_b697_4cba_af3c_352149101fda.slice/cri-containerd-aa1c25b1159dfcd9272ea513e91161de777157fbf5991a9daaf219b4aa938711.scope",
            pod_container(
                "e3d5296e-b697-4cba-af3c-352149101fda",
                Guaranteed,
                "aa1c25b1159dfcd9272ea513e91161de777157fbf5991a9daaf219b4aa938711",
                Containerd,
            ),
            "",
        ),
        // The empty twin that a kubelet with the systemd driver leaves beside the real slice.
        (
            "/kubepods/besteffort/pod9c16aad6a90144af2a8c7a78b50320b5",
            pod("9c16aad6a90144af2a8c7a78b50320b5", BestEffort),
            "",
        ),
        (
            "/kubepods/burstable/pod576c6dbe-27d0-42a1-9f34-3bf17eaf63f5/280b97896bbba25d906a272ba3db82950d52a32191df510afcf736d2e358fba2",
            pod_container(
                "576c6dbe-27d0-42a1-9f34-3bf17eaf63f5",
                Burstable,
                "280b97896bbba25d906a272ba3db82950d52a32191df510afcf736d2e358fba2",
                Unknown,
            ),
            "",
        ),
        (
            "/kubepods/pod94b72f17-32c1-4c96-a8d0-bca9b197a6b1/5ed61b4c59828b74ecf3cbef0a56ecdaafc852c65a33f3d0ae4ad74f4f424ae1",
            pod_container(
                "94b72f17-32c1-4c96-a8d0-bca9b197a6b1",
                Guaranteed,
                "5ed61b4c59828b74ecf3cbef0a56ecdaafc852c65a33f3d0ae4ad74f4f424ae1",
                Unknown,
            ),
            "",
        ),
    ]);
}

#[test]
fn pods_are_found_below_any_prefix() {
    let scope = "kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{u}.slice/cri-containerd-{1}.scope";
    let in_pod = pod_container(DASHED, Burstable, ID, Containerd);
    assert_owners(&[
        ("/kubelet.slice", SLICE, ""),
        ("/kubelet.slice/kubelet-kubepods.slice", pods(Guaranteed), ""),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice",
            pods(BestEffort),
            "",
        ),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{u}.slice",
            pod(DASHED, Guaranteed),
            "",
        ),
        (&format!("/kubelet.slice/kubelet-kubepods.slice/{scope}"), in_pod, ""),
        ("/kubelet", Owner::Unit, ""),
        ("/kubelet/kubepods", pods(Guaranteed), ""),
        (
            "/kubelet/kubepods/besteffort/pod{d}/{1}",
            pod_container(DASHED, BestEffort, ID, Unknown),
            "",
        ),
        // kind, seen from the host that its node runs on.
        ("/system.slice/docker-{2}.scope/kubelet.slice", container(ID2, Docker), "/kubelet.slice"),
        (
            &format!(
                "/system.slice/docker-{{2}}.scope/kubelet.slice/kubelet-kubepods.slice/{scope}"
            ),
            in_pod,
            "",
        ),
        (
            "/docker/{2}/kubelet/kubepods/pod{d}/{1}",
            pod_container(DASHED, Guaranteed, ID, Unknown),
            "",
        ),
        // minikube and k3d.
        ("/system.slice/docker-{2}.scope/kubepods", pods(Guaranteed), ""),
        (
            "/system.slice/docker-{2}.scope/kubepods/burstable/pod{d}/{1}",
            pod_container(DASHED, Burstable, ID, Unknown),
            "",
        ),
        (
            "/docker/{2}/kubepods/besteffort/pod{d}/{1}",
            pod_container(DASHED, BestEffort, ID, Unknown),
            "",
        ),
        (
            "/machine.slice/libpod-{2}.scope/container/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{u}.slice/crio-{1}.scope",
            pod_container(DASHED, Guaranteed, ID, CriO),
            "",
        ),
        // A kubelet with a cgroup root of its own.
        ("/node/kubepods/pod{d}/{1}", pod_container(DASHED, Guaranteed, ID, Unknown), ""),
        ("/a.slice/a-kubepods.slice/a-kubepods-pod{u}.slice", pod(DASHED, Guaranteed), ""),
        // The node's own components.
        (
            "/system.slice/k3s.service/kubepods/besteffort/pod{d}/{1}",
            pod_container(DASHED, BestEffort, ID, Unknown),
            "",
        ),
        ("/system.slice/rke2-server.service/kubepods/pod{d}", pod(DASHED, Guaranteed), ""),
        // A node in a container in a container.
        (
            "/docker/{1}/docker/{2}/kubepods/pod{d}/{1}",
            pod_container(DASHED, Guaranteed, ID, Unknown),
            "",
        ),
    ]);
}

/// Who can make cgroups at a place could put any pod's usage there.
#[test]
fn nobody_bills_a_pod_from_a_subtree_of_his_own() {
    let user = "/user.slice/user-1000.slice/user@1000.service";
    let forged = [
        "/kubepods/pod{d}/{1}",
        "/kubepods/burstable/pod{d}",
        "/kubepods.slice/kubepods-pod{u}.slice/cri-containerd-{1}.scope",
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{u}.slice",
        "/kubepods-burstable-pod{u}.slice:cri-containerd:{1}",
        "/app.slice/kubepods.slice/kubepods-pod{u}.slice",
        "/kubepods.slice/kubepods-pod{u}.slice/containerd.service/kubepods/pod{d}",
    ];
    let owners = [
        (user.to_owned(), Owner::Unit),
        ("/user.slice/user-1000.slice/session-3.scope".to_owned(), Owner::Unit),
        ("/system.slice/web.service".to_owned(), Owner::Unit),
        ("/system.slice/runner@7.service".to_owned(), Owner::Unit),
        ("/system.slice/run-r1.scope".to_owned(), Owner::Unit),
        ("/init.scope".to_owned(), Owner::Unit),
        ("/lxc/101".to_owned(), Owner::Guest(GuestKind::Lxc)),
        ("/lxc.payload.web".to_owned(), Owner::Guest(GuestKind::Lxc)),
        ("/machine.slice/machine-a.scope".to_owned(), Owner::Guest(GuestKind::Machine)),
        ("/system.slice/slurmstepd.scope/job_7".to_owned(), Owner::Guest(GuestKind::Job)),
        ("/kubepods/pod{s}".to_owned(), pod(STATIC, Guaranteed)),
        ("/kubepods/pod{s}/{2}".to_owned(), pod_container(STATIC, Guaranteed, ID2, Unknown)),
        (
            "/system.slice/docker-{2}.scope/kubepods/pod{s}/{2}".to_owned(),
            pod_container(STATIC, Guaranteed, ID2, Unknown),
        ),
        // A user's own containers are no nodes, nor are those of a service.
        (format!("{user}/user.slice/docker-{{2}}.scope"), container(ID2, Docker)),
        ("/system.slice/web.service/libpod-payload-{2}".to_owned(), container(ID2, Podman)),
    ];
    for (top, owner) in &owners {
        for below in forged {
            // A container in the pod itself is the pod's.
            let is_own = matches!(owner, Owner::Pod { .. }) && below.contains("{1}");
            if !is_own {
                assert_owners(&[(&format!("{top}{below}"), *owner, below)]);
            }
        }
    }
    // In a node that is a container, its users and units are no nearer to its pods.
    let node = "/system.slice/docker-{2}.scope";
    for below in [
        "/user.slice/user-0.slice/session-1.scope/kubepods/pod{d}",
        "/system.slice/web.service/kubepods.slice/kubepods-pod{u}.slice",
        "/init.scope/kubepods/pod{d}/{1}",
    ] {
        assert_owners(&[(&format!("{node}{below}"), container(ID2, Docker), below)]);
    }
    // Directly below a slice there is no unit that could have it.
    for path in ["/user.slice/kubepods", "/user.slice/user-1000.slice/kubepods.slice"] {
        assert_owners(&[(&format!("{path}/pod{{d}}/{{1}}"), Owner::Unit, "/pod{d}/{1}")]);
    }
}

#[test]
fn a_static_pods_own_uid_can_be_any_text() {
    let uid = |text: &str| PodUid::of_text(text.as_bytes()).unwrap();
    for own in ["kube-proxy", "etcd.main", "A533C208-0BE3-44E3-ADB7-A0DAE664D797", "7", "a@b:c"] {
        let scored = own.replace('-', "_");
        let wanted = Owner::Pod { uid: uid(own), qos: Burstable };
        assert_owners(&[
            (&format!("/kubepods/burstable/pod{own}"), wanted, ""),
            (
                &format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{scored}.slice"
                ),
                wanted,
                "",
            ),
        ]);
        assert_eq!(uid(own).to_string(), own);
        assert!(uid(own).is_config_hash());
    }
    // It holds containers as any other, and says the same in both drivers.
    assert_owners(&[(
        "/kubepods/podkube-proxy/{1}",
        Owner::PodContainer {
            uid: uid("kube-proxy"),
            qos: Guaranteed,
            id: ContainerId::parse(ID.as_bytes()).unwrap(),
            runtime: Unknown,
        },
        "",
    )]);
    assert_eq!(uid("a_b"), uid("a-b"));
    assert_eq!(PodUid::of_text(b""), None);
    assert_eq!(PodUid::of_text(b"a b"), None);
    assert_eq!(PodUid::of_text(&[b'a'; 64]), None);
}

#[test]
fn a_guest_or_job_owns_all_in_it() {
    use GuestKind::{Job, Lxc, Machine, VirtualMachine};
    for (top, kind, name) in [
        ("/lxc/101", Lxc, "101"),
        ("/lxc.payload/101", Lxc, "101"),
        ("/lxc.payload.web", Lxc, "web"),
        ("/system.slice/lxc@web.service/lxc.payload.web-1", Lxc, "web-1"),
        ("/machine.slice/machine-web.scope", Machine, "web"),
        (r"/machine.slice/machine-web\x2d1.scope", Machine, "web-1"),
        (r"/machine.slice/systemd-nspawn@web\x2d1.service", Machine, "web-1"),
        (r"/machine.slice/machine-qemu\x2d1\x2dweb.scope", VirtualMachine, "qemu-1-web"),
        (r"/machine.slice/machine-lxc\x2d9\x2dweb.scope", Lxc, "lxc-9-web"),
        ("/machine/qemu-3-db.libvirt-qemu", VirtualMachine, "qemu-3-db"),
        ("/machine/lxc-4-db.libvirt-lxc", Lxc, "lxc-4-db"),
        ("/system.slice/slurmstepd.scope/job_123", Job, "job_123"),
        ("/slurmstepd.scope/job_9", Job, "job_9"),
        ("/system.slice/node1_slurmstepd.scope/job_123", Job, "job_123"),
        ("/slurm/uid_1000/job_123", Job, "job_123"),
        ("/slurm_node1/uid_0/job_4", Job, "job_4"),
    ] {
        for below in [
            "",
            "/ns",
            "/ns/init.scope",
            "/system.slice/nginx.service",
            "/user.slice/user-0.slice/session-1.scope",
            "/libvirt/emulator",
            "/libvirt/vcpu0",
            "/step_0/user/task_0",
            "/step_batch",
            "/system.slice/docker-{1}.scope",
            "/docker/{1}",
            "/job_5",
            "/lxc/7",
        ] {
            assert_owners(&[(&format!("{top}{below}"), Owner::Guest(kind), below)]);
        }
        let component = top.rsplit('/').next().unwrap();
        assert_eq!(String::from_utf8_lossy(&guest_name(component.as_bytes())), name);
    }
    assert_owners(&[
        // What watches over them is the host's.
        ("/lxc.monitor.web", Owner::Unit, ""),
        ("/lxc.monitor/101", Owner::Unit, "/101"),
        ("/system.slice/slurmstepd.scope", Owner::Unit, ""),
        ("/system.slice/slurmstepd.scope/system", Owner::Unit, "/system"),
        ("/system.slice/slurmd.service", Owner::Unit, ""),
        ("/lxc", Owner::Inner(InnerNode::Guests), ""),
        ("/machine.slice", SLICE, ""),
        ("/machine.slice/machine-libpod_pod_{2}.slice", SLICE, ""),
        // What only resembles them.
        ("/system.slice/slurmstepd.scope/job_x", Owner::Unit, "/job_x"),
        ("/system.slice/web.service/job_1", Owner::Unit, "/job_1"),
        ("/lxc.payload.", Owner::Unit, ""),
        ("/machine.slice/machine-.scope", Owner::Unit, ""),
        ("/user.slice/user-1000.slice/user@1000.service/machine-db.scope", Owner::Unit, ""),
    ]);
}

#[test]
fn the_services_of_talos_are_owners_of_their_own() {
    assert_owners(&[
        ("/init", Owner::Unit, ""),
        ("/podruntime", SLICE, ""),
        ("/podruntime/runtime", Owner::Unit, ""),
        ("/podruntime/kubelet", Owner::Unit, ""),
        ("/podruntime/etcd", Owner::Unit, ""),
        ("/system/apid", Owner::Unit, ""),
        ("/system/runtime", Owner::Unit, ""),
        ("/kubepods/besteffort/pod{d}/{1}", pod_container(DASHED, BestEffort, ID, Unknown), ""),
        ("/a/system/apid", Owner::Unit, "/system/apid"),
    ]);
}

#[test]
fn of_two_paths_of_a_process_one_says_more() {
    for (more, less) in [
        ("/kubepods/pod{d}/{1}", "/system.slice/containerd.service"),
        ("/kubepods/pod{d}", "/"),
        ("/kubepods/pod{d}/{1}", "/kubepods/pod{d}"),
        ("/kubepods/pod{d}/{1}", "/docker/{2}"),
        ("/docker/{1}", "/system.slice/docker.service"),
        ("/docker/{1}", "/"),
        ("/lxc/101", "/system.slice/pve.service"),
        ("/system.slice/a.service", "/system.slice"),
        ("/user.slice/user@1.service/a.service", "/user.slice/user@1.service"),
        ("/mullvad-exclusions", "/user.slice"),
    ] {
        let (more, less) = (filled(more), filled(less));
        assert!(says_more(more.as_bytes(), less.as_bytes()), "{more} {less}");
        assert!(!says_more(less.as_bytes(), more.as_bytes()), "{less} {more}");
    }
    for (one, other) in [
        ("/mullvad-exclusions", "/user.slice/user-1000.slice/session-1.scope"),
        ("/system.slice/a.service", "/system.slice/b.service"),
        ("/a", "/a"),
        ("/docker/{1}", "/docker/{2}"),
        // Nobody's claim counts, in whichever hierarchy.
        ("/user.slice/user@1.service/kubepods/pod{d}/{1}", "/user.slice/user@1.service"),
    ] {
        let (one, other) = (filled(one), filled(other));
        assert!(!says_more(one.as_bytes(), other.as_bytes()), "{one} {other}");
        assert!(!says_more(other.as_bytes(), one.as_bytes()), "{other} {one}");
    }
}

#[test]
fn the_colon_form_names_the_pod_wherever_it_stands() {
    let burstable = pod_container(DASHED, Burstable, ID, Containerd);
    assert_owners(&[
        ("/kubepods-burstable-pod{u}.slice:cri-containerd:{1}", burstable, ""),
        (
            "/system.slice/containerd.service/kubepods-burstable-pod{u}.slice:cri-containerd:{1}",
            burstable,
            "",
        ),
        (
            "/system.slice/containerd.service/kubepods-burstable-pod{u}.slice:cri-containerd:{1}/init",
            burstable,
            "/init",
        ),
        (
            "/system.slice/kubepods-pod{s}.slice:crio:{1}",
            pod_container(STATIC, Guaranteed, ID, CriO),
            "",
        ),
        (
            "/kubelet-kubepods-besteffort-pod{u}.slice:cri-containerd:{1}",
            pod_container(DASHED, BestEffort, ID, Containerd),
            "",
        ),
        (
            "/docker/{2}/system.slice/containerd.service/kubepods-burstable-pod{u}.slice:cri-containerd:{1}",
            burstable,
            "",
        ),
        ("/kubepods.slice/kubepods-burstable-pod{u}.slice:cri-containerd:{1}", burstable, ""),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u}.slice/kubepods-burstable-pod{u}.slice:cri-containerd:{1}",
            burstable,
            "",
        ),
        // Another pod's name below a pod: the tree is right.
        (
            "/kubepods/burstable/pod{d}/kubepods-burstable-pod{s}.slice:cri-containerd:{1}",
            pod(DASHED, Burstable),
            "/kubepods-burstable-pod{s}.slice:cri-containerd:{1}",
        ),
        ("/kubepods-pod{u}.slice:crio-conmon:{1}", pod(DASHED, Guaranteed), ""),
        // The same of a container that is no pod's.
        ("/system.slice:docker:{1}", container(ID, Docker), ""),
    ]);
}

#[test]
fn a_monitor_in_a_pod_is_the_pods_and_outside_a_unit() {
    let slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u}.slice";
    assert_owners(&[
        (
            &format!("{slice}/crio-conmon-{{1}}.scope"),
            pod(DASHED, Burstable),
            "/crio-conmon-{1}.scope",
        ),
        ("/kubepods/pod{d}/crio-conmon-{1}", pod(DASHED, Guaranteed), "/crio-conmon-{1}"),
        (
            &format!("{slice}/libpod-conmon-{{1}}.scope"),
            pod(DASHED, Burstable),
            "/libpod-conmon-{1}.scope",
        ),
        (&format!("{slice}/anything"), pod(DASHED, Burstable), "/anything"),
        ("/system.slice/crio-conmon-{1}.scope", Owner::Unit, ""),
        ("/machine.slice/libpod-conmon-{1}.scope", Owner::Unit, ""),
        ("/libpod_parent/conmon", Owner::Unit, ""),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-{1}.scope",
            Owner::Unit,
            "",
        ),
    ]);
}

#[test]
fn what_runs_inside_a_pods_container_stays_its() {
    let scope = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u}.slice/cri-containerd-{1}.scope";
    let owner = pod_container(DASHED, Burstable, ID, Containerd);
    for below in [
        "/container",
        "/init.scope",
        "/system.slice/nginx.service",
        "/docker/{2}",
        "/system.slice/docker-{2}.scope",
        "/libpod_parent/libpod-{2}",
        "/kubepods",
        "/kubepods.slice/kubepods-pod{s}.slice/cri-containerd-{2}.scope",
        "/kubelet/kubepods/burstable/pod{d}/{2}",
        "/kubepods-pod{s}.slice:cri-containerd:{2}",
        "/{2}",
    ] {
        assert_owners(&[(&format!("{scope}{below}"), owner, below)]);
    }
}

#[test]
fn a_container_outside_kubernetes_owns_all_but_pods_below_it() {
    let user = "/user.slice/user-1000.slice/user@1000.service/user.slice";
    assert_owners(&[
        ("/system.slice/docker-{1}.scope", container(ID, Docker), ""),
        ("/docker", directory(Docker), ""),
        ("/docker/{1}", container(ID, Docker), ""),
        ("/docker/{1}/init.scope", container(ID, Docker), "/init.scope"),
        (
            "/docker/{1}/system.slice/ssh.service",
            container(ID, Docker),
            "/system.slice/ssh.service",
        ),
        ("/docker/{1}/docker/{2}", container(ID, Docker), "/docker/{2}"),
        ("/docker/buildkit", Owner::Unit, ""),
        ("/machine.slice/libpod-{1}.scope", container(ID, Podman), ""),
        ("/machine.slice/libpod-{1}.scope/container", container(ID, Podman), "/container"),
        ("/machine.slice/machine-libpod_pod_{2}.slice/libpod-{1}.scope", container(ID, Podman), ""),
        (&format!("{user}/libpod-{{1}}.scope/container"), container(ID, Podman), "/container"),
        (&format!("{user}/docker-{{1}}.scope"), container(ID, Docker), ""),
        (
            &format!("{user}/user-libpod_pod_{{2}}.slice/libpod-{{1}}.scope"),
            container(ID, Podman),
            "",
        ),
        ("/libpod_parent", directory(Podman), ""),
        ("/libpod_parent/libpod-{1}", container(ID, Podman), ""),
        // A pod of Podman's is no container; its containers stand in it.
        ("/libpod_parent/{2}", directory(Podman), ""),
        ("/libpod_parent/{2}/libpod-{1}", container(ID, Podman), ""),
        // A service that Podman splits.
        ("/system.slice/web.service/libpod-payload-{1}", container(ID, Podman), ""),
        ("/system.slice/web.service/supervisor", Owner::Unit, "/supervisor"),
        ("/system.slice/nerdctl-{1}.scope", container(ID, Containerd), ""),
        ("/k8s.io/{1}", container(ID, Containerd), ""),
        ("/actions_job/{1}", container(ID, Unknown), ""),
    ]);
}

#[test]
fn the_innermost_unit_owns_what_is_below_it() {
    let user = "/user.slice/user-1000.slice/user@1000.service";
    assert_owners(&[
        ("/system.slice/ssh.service", Owner::Unit, ""),
        ("/system.slice/system-getty.slice/getty@tty1.service", Owner::Unit, ""),
        ("/user.slice/user-1000.slice", SLICE, ""),
        ("/user.slice/user-1000.slice/session-1.scope", Owner::Unit, ""),
        (user, Owner::Unit, ""),
        (&format!("{user}/init.scope"), Owner::Unit, ""),
        (&format!("{user}/app.slice"), Owner::Unit, "/app.slice"),
        (&format!("{user}/app.slice/foo.service"), Owner::Unit, ""),
        (&format!("{user}/app.slice/dbus.socket"), Owner::Unit, ""),
        (&format!("{user}/app.slice/foo.service/worker"), Owner::Unit, "/worker"),
        ("/system.slice/var-lib.mount", Owner::Unit, ""),
        ("/system.slice/dev-sda2.swap", Owner::Unit, ""),
        ("/system.slice/docker.socket", Owner::Unit, ""),
        // systemd's escapes stay as they are.
        (r"/system.slice/dev-disk-by\x2duuid-1.swap", Owner::Unit, ""),
        (r"/system.slice/system-systemd\x2dfsck.slice", SLICE, ""),
    ]);
}

#[test]
fn a_plain_directory_of_the_host_is_a_unit_of_its_own() {
    assert_owners(&[
        ("/foo", Owner::Unit, ""),
        ("/foo/bar", Owner::Unit, "/bar"),
        ("/machine.slice/foo", Owner::Unit, ""),
        ("/kubepods/burstable/foo", Owner::Unit, ""),
    ]);
}

#[test]
fn what_merely_resembles_a_pod_or_a_container_is_none() {
    let short_id = ID.strip_prefix('6').unwrap();
    assert_owners(&[
        // The slice's class is not the one it stands in.
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-besteffort-pod{u}.slice", SLICE, ""),
        ("/kubepods.slice/kubepods-burstable-pod{u}.slice", SLICE, ""),
        // Dashes and underscores in the other driver's place.
        ("/kubepods.slice/kubepods-pod{d}.slice", SLICE, ""),
        ("/kubepods/pod{u}", Owner::Unit, ""),
        ("/kubepods/pod", Owner::Unit, ""),
        ("/kubepods/xpod{d}", Owner::Unit, ""),
        ("/kubepods/burstable/besteffort", Owner::Unit, ""),
        ("/notkubepods.slice", SLICE, ""),
        ("/kubepods-burstable.slice", SLICE, ""),
        ("/xkubepods/pod{d}", Owner::Unit, "/pod{d}"),
        // Below no kubepods.
        ("/pod{d}", Owner::Unit, ""),
        ("/system.slice/kubepods-pod{u}.slice", SLICE, ""),
        ("/burstable/pod{d}", Owner::Unit, "/pod{d}"),
        // Ids of the wrong length, or of an unknown name on the host.
        (&format!("/system.slice/docker-{short_id}.scope"), Owner::Unit, ""),
        (&format!("/docker/{short_id}"), Owner::Unit, ""),
        ("/docker/{1}0", Owner::Unit, ""),
        (
            &format!("/kubepods/pod{{d}}/{short_id}"),
            pod(DASHED, Guaranteed),
            &format!("/{short_id}"),
        ),
        ("/system.slice/run-{1}.scope", Owner::Unit, ""),
        ("/system.slice/{1}.scope", Owner::Unit, ""),
        ("/system.slice/foo.slice:run:{1}", Owner::Unit, ""),
        (&format!("/kubepods-pod{{u}}.slice:cri-containerd:{short_id}"), Owner::Unit, ""),
        ("/kubepods-pod{u}:cri-containerd:{1}", Owner::Unit, ""),
        // A slice that names no pod still holds a container.
        ("/kubepods-pod.slice:cri-containerd:{1}", container(ID, Containerd), ""),
    ]);
}

#[test]
fn a_step_tells_an_equal_owner_from_the_same_one() {
    let unit = Position { owner: Owner::Unit, ground: Ground::Delegated };
    let step = |name: &[u8]| (unit.step(name).position.owner, unit.step(name).starts);
    assert_eq!(step(b"udev"), (Owner::Unit, false));
    assert_eq!(step(b"foo.service"), (Owner::Unit, true));
}

#[test]
fn names_are_those_that_kubernetes_and_the_runtimes_write() {
    let classes = [Guaranteed, Burstable, BestEffort].map(|class| class.to_string());
    assert_eq!(classes, ["Guaranteed", "Burstable", "BestEffort"]);
    let runtimes = [Containerd, CriO, Docker, Podman, Unknown].map(|runtime| runtime.to_string());
    assert_eq!(runtimes, ["containerd", "cri-o", "docker", "podman", "unknown"]);
    assert_eq!(short_name(ContainerId::parse(ID.as_bytes()).unwrap()), "6aa202e329f7");
}

/// Components that mean something, made of the same parts as real ones, among arbitrary bytes.
fn component() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        "kubepods",
        "-",
        "-burstable",
        "-besteffort",
        "burstable",
        "pod",
        "-pod",
        DASHED,
        SCORED,
        STATIC,
        ".slice",
        ".scope",
        ".service",
        ":",
        "cri-containerd",
        "crio",
        "crio-conmon",
        "docker",
        "libpod_parent",
        ID,
        ID2,
    ]);
    prop_oneof![
        prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat().into_bytes()),
        prop::collection::vec(any::<u8>().prop_filter("a separator", |byte| *byte != b'/'), 1..80),
        prop::sample::select(vec![
            format!("kubepods-pod{SCORED}.slice"),
            format!("pod{DASHED}"),
            format!("cri-containerd-{ID}.scope"),
            format!("docker-{ID2}.scope"),
            format!("kubepods-pod{SCORED}.slice:cri-containerd:{ID}"),
            "kubepods".to_owned(),
            "kubepods.slice".to_owned(),
        ])
        .prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn any_bytes_have_an_owner_that_starts_within_them(
        path in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assert!(path.starts_with(Owner::locate(&path).starts_at));
    }

    #[test]
    fn a_path_is_classified_as_its_walk_is(components in prop::collection::vec(component(), 0..8)) {
        let (mut walked, mut starts_at) = (Position::ROOT, Vec::new());
        let mut path = Vec::new();
        for component in &components {
            path.push(b'/');
            path.extend_from_slice(component);
            let step = walked.step(component);
            walked = step.position;
            if step.starts {
                starts_at.clone_from(&path);
            }
        }
        let Position { owner, ground } = walked;
        prop_assert_eq!(Owner::of_path(&path), owner);
        prop_assert_eq!(Owner::locate(&path), Located { owner, ground, starts_at: &starts_at });
    }

    #[test]
    fn nothing_below_a_pods_container_has_another_owner(
        components in prop::collection::vec(component(), 1..6),
    ) {
        let scope = format!("/kubepods.slice/kubepods-pod{SCORED}.slice/cri-containerd-{ID}.scope");
        let mut path = scope.clone().into_bytes();
        for component in &components {
            path.push(b'/');
            path.extend_from_slice(component);
        }
        let located = Owner::locate(&path);
        prop_assert_eq!(located.owner, pod_container(DASHED, Guaranteed, ID, Containerd));
        prop_assert_eq!(located.starts_at, scope.as_bytes());
    }

    #[test]
    fn below_a_pod_there_is_only_the_pod(components in prop::collection::vec(component(), 0..6)) {
        let mut path = format!("/kubepods/burstable/pod{DASHED}").into_bytes();
        for component in &components {
            path.push(b'/');
            path.extend_from_slice(component);
        }
        let expected = PodUid::parse(DASHED.as_bytes()).unwrap();
        match Owner::of_path(&path) {
            Owner::Pod { uid, qos } | Owner::PodContainer { uid, qos, .. } => {
                prop_assert_eq!((uid, qos), (expected, Burstable));
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn only_slurms_own_users_have_jobs() {
    let job = Owner::Guest(GuestKind::Job);
    assert_eq!(Owner::of_path(b"/slurm/uid_1000/job_1"), job);
    // Another directory of Slurm's, and a user's directory of somebody else's.
    assert_eq!(Owner::of_path(b"/slurm/system/job_1"), Owner::Unit);
    assert_eq!(Owner::of_path(b"/uid_1000/job_1"), Owner::Unit);
}

#[test]
fn guests_have_a_kind_in_one_word() {
    let kinds = [GuestKind::Lxc, GuestKind::Machine, GuestKind::VirtualMachine, GuestKind::Job];
    assert_eq!(kinds.map(GuestKind::as_str), ["lxc", "machine", "vm", "job"]);
    let classes = [Guaranteed, Burstable, BestEffort].map(QosClass::as_str);
    assert_eq!(classes, ["Guaranteed", "Burstable", "BestEffort"]);
}
