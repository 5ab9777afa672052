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
        // k3s without root.
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/k3s-rootless.service/kubepods/pod{d}/{1}",
            pod_container(DASHED, Guaranteed, ID, Unknown),
            "",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-pod{u}.slice",
            pod(DASHED, Guaranteed),
            "",
        ),
    ]);
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
        ("/lxc.payload.web/system.slice/docker-{1}.scope", container(ID, Docker), ""),
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
        (
            r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator",
            Owner::Unit,
            "/libvirt/emulator",
        ),
    ]);
}

#[test]
fn a_plain_directory_of_the_host_is_a_unit_of_its_own() {
    assert_owners(&[
        ("/foo", Owner::Unit, ""),
        ("/foo/bar", Owner::Unit, "/bar"),
        ("/lxc.payload.web", Owner::Unit, ""),
        ("/lxc.payload.web/init.scope", Owner::Unit, ""),
        ("/machine.slice/foo", Owner::Unit, ""),
        ("/kubepods/burstable/foo", Owner::Unit, ""),
    ]);
}

#[test]
fn what_merely_resembles_a_pod_or_a_container_is_none() {
    let short_id = ID.strip_prefix('6').unwrap();
    assert_owners(&[
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podXYZ.slice", SLICE, ""),
        // The slice's class is not the one it stands in.
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-besteffort-pod{u}.slice", SLICE, ""),
        ("/kubepods.slice/kubepods-burstable-pod{u}.slice", SLICE, ""),
        // Dashes and underscores in the other driver's place.
        ("/kubepods.slice/kubepods-pod{d}.slice", SLICE, ""),
        ("/kubepods/pod{u}", Owner::Unit, ""),
        ("/kubepods/podfoo", Owner::Unit, ""),
        ("/kubepods/pod{d}x", Owner::Unit, ""),
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
        // A slice that names a pod with a wrong uid still holds a container.
        ("/kubepods-podXYZ.slice:cri-containerd:{1}", container(ID, Containerd), ""),
    ]);
}

#[test]
fn a_step_tells_an_equal_owner_from_the_same_one() {
    assert_eq!(Owner::Unit.step(b"udev"), OwnerStep::Inherits);
    assert_eq!(Owner::Unit.step(b"foo.service"), OwnerStep::New(Owner::Unit));
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
        let (mut walked, mut starts_at) = (Owner::Root, Vec::new());
        let mut path = Vec::new();
        for component in &components {
            path.push(b'/');
            path.extend_from_slice(component);
            if let OwnerStep::New(owner) = walked.step(component) {
                (walked, starts_at) = (owner, path.clone());
            }
        }
        prop_assert_eq!(Owner::of_path(&path), walked);
        prop_assert_eq!(Owner::locate(&path), Located { owner: walked, starts_at: &starts_at });
        let folded = components
            .iter()
            .fold(Owner::Root, |parent, component| Owner::of_child(&parent, component));
        prop_assert_eq!(folded, walked);
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
