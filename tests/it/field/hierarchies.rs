//! Hosts whose cgroup2 tree does not tell all owners, or tells of others than the host's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

use super::host::{BOTH, Dump, Host, NET_DEV_HEAD, net_dev_row};
use crate::support::mounts::in_own_mounts;

const UID: &str = "4eede96e-e976-4573-bc90-68dfe2516d3b";
const ID: &str = "c3cd4e0a7993a1c155cc1bdd3326c7b1e260226d0c2c79e3e48dbc360543c768";
const HYBRID: &str = "5.15-hybrid";
const CRIO: &str = "6.8-crio-systemd";

/// The processes of nginx.service on the hybrid host: 300 ms of the second, 0 of the first. Their
/// resident sets are 4 and 8 MiB.
const PIDS: [&str; 2] = ["600", "601"];

/// The hybrid host with nginx.service renamed to `unit`, whose processes `pids` have `path` in each
/// hierarchy of v1 whose line `is_line` holds.
fn hybrid(unit: &str, pids: &[&str], path: &str, is_line: fn(&str) -> bool) -> Host {
    let host = Host::copy(HYBRID);
    for instant in BOTH {
        let system = "sys/fs/cgroup/unified/system.slice";
        let renamed = host.path(instant, &format!("{system}/{unit}"));
        fs::rename(host.path(instant, &format!("{system}/nginx.service")), renamed).unwrap();
        host.edit(instant, "cgroups.tsv", |text| text.replace("nginx.service", unit));
        for pid in PIDS {
            let moved = pids.contains(&pid);
            host.edit(instant, &format!("proc/{pid}/cgroup"), |text| {
                let line = |line: &str| {
                    let (controllers, _) = line.rsplit_once(':').unwrap();
                    match controllers {
                        "0:" => format!("0::/system.slice/{unit}\n"),
                        _ if moved && is_line(line) => format!("{controllers}:{path}\n"),
                        _ => format!("{controllers}:/system.slice/{unit}\n"),
                    }
                };
                text.lines().map(line).collect()
            });
        }
    }
    host
}

fn any(_: &str) -> bool {
    true
}

/// The sum of the owners of the hybrid host, from its truth.tsv.
const OWNERS_USEC: u64 = 1_860_000;

fn balance(dump: &Dump, part: &str) -> u64 {
    dump.0["conservation"]["cpu_usec"][part].as_u64().unwrap()
}

fn gaps(dump: &Dump) -> String {
    dump.0["gaps"].to_string()
}

/// In a container that boots a systemd of its own (systemd-nspawn, LXC, kind), with cgroups below its
/// root.
#[test]
fn a_tree_that_is_a_part_of_the_hosts_is_a_gap() {
    for (is_part, expected) in [(false, 0), (true, 1)] {
        let host = Host::copy(CRIO);
        for instant in BOTH {
            if is_part {
                host.write(instant, "sys/fs/cgroup/cgroup.type", "domain\n");
            }
        }
        let gaps = gaps(&host.dump());
        assert_eq!(
            gaps.matches("its root is a cgroup of a larger tree").count(),
            expected,
            "{gaps}"
        );
    }
}

#[test]
fn the_pods_of_a_hybrid_host_are_found_in_v1() {
    let by_cgroupfs = format!("/kubepods/besteffort/pod{UID}/{ID}");
    let docker = format!("/kubepods/burstable/pod{UID}/docker-{ID}");
    let kubelet = format!("/kubelet/kubepods/pod{UID}/{ID}");
    let of_memory: fn(&str) -> bool = |line| line.contains(":memory:");
    let not_systemd: fn(&str) -> bool = |line| !line.contains("name=systemd");
    for (unit, path, is_line) in [
        ("containerd.service", &by_cgroupfs, any as fn(&str) -> bool),
        ("rke2-server.service", &by_cgroupfs, any),
        ("k3s.service", &by_cgroupfs, any),
        ("docker.service", &docker, any),
        ("containerd.service", &kubelet, any),
        // One controller is enough to tell.
        ("containerd.service", &by_cgroupfs, of_memory),
        ("containerd.service", &by_cgroupfs, not_systemd),
    ] {
        let dump = hybrid(unit, &PIDS, path, is_line).dump();
        let (pod, container) = (dump.pod(UID), dump.container(UID, ID));
        for owner in [pod, container] {
            assert_eq!(owner["cpu_usage_usec"], 300_000, "{unit} {path}");
            assert_eq!(owner["processes"], 2, "{unit} {path}");
            assert_eq!(owner["memory_resident_bytes"], 12_582_912, "{unit} {path}");
            assert_eq!(owner["disk_read_bytes"], 2_097_152, "{unit} {path}");
            assert_eq!(owner["disk_written_bytes"], 1_048_576, "{unit} {path}");
        }
        // What the unit's counters say is the pod's, once.
        let runtime = dump.unit(unit);
        assert_eq!(runtime["cpu_usage_usec"], 0, "{unit} {path}");
        assert_eq!(runtime["processes"], 0, "{unit} {path}");
        assert_eq!(balance(&dump, "pods"), 300_000);
        assert_eq!(balance(&dump, "pods") + balance(&dump, "host_units"), OWNERS_USEC);
        assert_eq!(dump.unattributed("cpu_usec"), Some(50_000), "{unit} {path}");
        assert!(gaps(&dump).contains("owners in cgroup v1"), "{}", gaps(&dump));
    }
}

#[test]
fn a_container_of_docker_in_v1_is_found_too() {
    let host = hybrid("docker.service", &PIDS, &format!("/docker/{ID}"), any);
    let dump = host.dump();
    let containers = dump.0["host_units"].as_array().unwrap();
    let one = containers.iter().find(|unit| unit["container_id"] == ID).unwrap();
    assert_eq!((&one["cpu_usage_usec"], &one["processes"]), (&300_000.into(), &2.into()));
    assert_eq!(dump.unit("docker.service")["cpu_usage_usec"], 0);
    assert_eq!(balance(&dump, "host_units"), OWNERS_USEC);
}

/// The runtime's own process stays in its unit, and so does what no live process has.
#[test]
fn the_runtime_keeps_what_is_its_own() {
    let path = format!("/kubepods/besteffort/pod{UID}/{ID}");
    let host = hybrid("containerd.service", &["601"], &path, any);
    // A hook of 100 ms that ended.
    for cgroup in ["/system.slice/containerd.service", "/system.slice"] {
        let file = format!("sys/fs/cgroup/unified{cgroup}/cpu.stat");
        host.edit_line(
            1,
            &file,
            |line| line.starts_with("usage_usec"),
            |line| {
                let usec: u64 = line.split(' ').nth(1).unwrap().parse().unwrap();
                format!("usage_usec {}", usec + 100_000)
            },
        );
    }
    let dump = host.dump();
    assert_eq!(dump.pod(UID)["cpu_usage_usec"], 300_000);
    assert_eq!(dump.pod(UID)["processes"], 1);
    let runtime = dump.unit("containerd.service");
    assert_eq!(runtime["cpu_usage_usec"], 100_000);
    assert_eq!(runtime["processes"], 1);
    assert_eq!(balance(&dump, "pods") + balance(&dump, "host_units"), OWNERS_USEC + 100_000);
}

#[test]
fn the_network_of_a_pod_in_v1_is_not_the_runtimes() {
    let host = hybrid("containerd.service", &PIDS, &format!("/kubepods/pod{UID}/{ID}"), any);
    for instant in BOTH {
        for pid in PIDS {
            host.link(instant, &format!("proc/{pid}/ns/net"), "net:[4026533333]");
            let rx = 1_000_000 + instant as u64 * 5_000_000;
            let rows = net_dev_row("lo", 0, 0) + &net_dev_row("eth0", rx, 2000);
            host.write(instant, &format!("proc/{pid}/net/dev"), &(NET_DEV_HEAD.to_owned() + &rows));
        }
    }
    let dump = host.dump();
    assert_eq!(dump.pod(UID)["network_rx_bytes"], 5_000_000);
    assert_eq!(dump.unit("containerd.service")["network_rx_bytes"], Value::Null);
}

/// Who may write a path of v1 bills nobody by it either.
#[test]
fn a_path_of_v1_in_a_users_subtree_is_no_pod() {
    for path in [
        format!("/user.slice/user-1000.slice/user@1000.service/kubepods/pod{UID}/{ID}"),
        format!("/system.slice/web.service/kubepods/burstable/pod{UID}/{ID}"),
        format!("/lxc/101/kubepods/pod{UID}/{ID}"),
    ] {
        let dump = hybrid("web.service", &PIDS, &path, any).dump();
        assert_eq!(*dump.pod(UID), Value::Null, "{path}");
        assert_eq!(balance(&dump, "pods"), 0);
        assert_eq!(balance(&dump, "host_units"), OWNERS_USEC, "{path}");
    }
}

/// The files of a hierarchy of v1, with every process of the host and one group.
fn mount_v1(host: &Host, at: &str, controller_file: &str) {
    for instant in BOTH {
        let entries = fs::read_dir(host.path(instant, "proc")).unwrap().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let pids: String = names
            .filter(|name| name.parse::<u32>().is_ok())
            .fold(String::new(), |all, pid| all + &pid + "\n");
        let top = format!("sys/fs/cgroup{at}");
        for (file, text) in [
            ("cgroup.procs", &*pids),
            ("tasks", &pids),
            ("notify_on_release", "0\n"),
            ("cgroup.clone_children", "0\n"),
            (controller_file, "0\n"),
            ("group/cgroup.procs", "1641\n"),
            ("group/tasks", "1641\n"),
            ("group/notify_on_release", "0\n"),
        ] {
            host.write(instant, &format!("{top}/{file}"), text);
        }
    }
}

#[test]
fn a_hierarchy_of_v1_inside_the_tree_is_no_cgroup() {
    let plain = Host::copy(CRIO).dump();
    for (at, file) in [
        ("/net_cls", "net_cls.classid"),
        ("/freezer", "freezer.state"),
        ("/system.slice/net_cls", "net_cls.classid"),
        ("/net_cls,net_prio", "net_prio.ifpriomap"),
        // A user's.
        ("/user.slice/user-0.slice/mine", "cpuacct.usage"),
    ] {
        let host = Host::copy(CRIO);
        mount_v1(&host, at, file);
        let dump = host.dump();
        for part in ["node", "host_units", "pods", "processes", "conservation", "exited", "gaps"] {
            assert_eq!(dump.0[part], plain.0[part], "{at}: {part}");
        }
    }
}

/// A process of the pod `cd47dd0a`, which used 3 s of CPU in its container.
#[test]
fn a_process_that_two_cgroups_list_is_counted_once() {
    let plain = Host::copy(CRIO).dump();
    let host = Host::copy(CRIO);
    for instant in BOTH {
        host.append(instant, "sys/fs/cgroup/system.slice/sshd.service/cgroup.procs", "1641\n");
    }
    let dump = host.dump();
    for part in ["node", "host_units", "pods", "processes", "conservation"] {
        assert_eq!(dump.0[part], plain.0[part], "{part}");
    }
    let noticed = gaps(&dump);
    assert!(noticed.contains("/system.slice/sshd.service/cgroup.procs"), "{noticed}");
    assert!(noticed.contains("counted once"), "{noticed}");
}

/// Its live process is no job that ended: `chronyd` with 80 ms.
#[test]
fn a_live_process_in_a_slice_has_a_line_of_its_own() {
    let plain = Host::copy(CRIO).dump();
    let host = Host::copy(CRIO);
    for instant in BOTH {
        let dir = "sys/fs/cgroup/system.slice";
        let pid = host.read(instant, &format!("{dir}/chronyd.service/cgroup.procs"));
        fs::remove_dir_all(host.path(instant, &format!("{dir}/chronyd.service"))).unwrap();
        host.write(instant, &format!("{dir}/cgroup.procs"), &pid);
    }
    let dump = host.dump();
    let slice = dump.unit("system.slice");
    assert_eq!(slice["unit_kind"], "slice");
    assert_eq!(slice["processes"], 1);
    // The process's own ticks say how much of the slice's is its.
    let units = dump.0["processes"].as_array().unwrap();
    let process = units.iter().find(|one| one["cgroup"] == "/system.slice").unwrap();
    assert_eq!(slice["cpu_usage_usec"], process["cpu_usage_usec"]);
    let whole = |dump: &Dump| balance(dump, "host_units") + balance(dump, "exited");
    assert_eq!(whole(&dump), whole(&plain));
    assert_eq!(dump.unattributed("cpu_usec"), plain.unattributed("cpu_usec"));
}

#[test]
fn a_tree_without_cgroups_or_processes_leaves_the_processes() {
    // No cgroup below the root.
    let host = Host::copy(CRIO);
    for instant in BOTH {
        let root = host.path(instant, "sys/fs/cgroup");
        for entry in fs::read_dir(root).unwrap().flatten() {
            if entry.path().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
    }
    let dump = host.dump();
    assert!(gaps(&dump).contains("no cgroup below"), "{}", gaps(&dump));
    assert_eq!(dump.pod("cd47dd0a")["processes"], 5, "{}", dump.0["pods"]);
    assert!(dump.pod("cd47dd0a")["cpu_usage_usec"].as_u64() > Some(0));

    // No process in any cgroup: the counters are still right, and each process has its owner.
    let host = Host::copy(CRIO);
    let plain = host.dump();
    let mut dirs = BOTH.map(|instant| host.path(instant, "sys/fs/cgroup")).to_vec();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            if entry.path().is_dir() {
                dirs.push(entry.path());
            } else if entry.file_name() == "cgroup.procs" {
                fs::write(entry.path(), "").unwrap();
            }
        }
    }
    let dump = host.dump();
    assert!(gaps(&dump).contains("lists a process"), "{}", gaps(&dump));
    for uid in ["cd47dd0a", "d757cf9d", "30a4aa2d"] {
        for key in ["cpu_usage_usec", "processes", "memory_current_bytes"] {
            assert_eq!(dump.pod(uid)[key], plain.pod(uid)[key], "{uid} {key}");
        }
    }
    assert_eq!(balance(&dump, "pods"), balance(&plain, "pods"));

    // A mount that is none of cgroup2.
    let host = Host::copy(CRIO);
    for instant in BOTH {
        host.make_dir(instant, "sys/fs/elsewhere");
        let file = "proc/1/mountinfo";
        host.edit(instant, file, |text| text.replace("/sys/fs/cgroup ", "/sys/fs/elsewhere "));
    }
    let dump = host.dump();
    assert!(gaps(&dump).contains("is no cgroup2 mount"), "{}", gaps(&dump));
    assert_eq!(dump.pod("cd47dd0a")["processes"], 5);
}

/// cgroup2 has its root alone, as on a host whose controllers are all in v1. A process that begins between
/// the reading of the root's list and that of /proc is in the latter alone.
#[test]
fn processes_of_one_path_of_v1_stay_together_however_each_is_found() {
    let path = format!("/kubepods/besteffort/pod{UID}/{ID}");
    let [first, second] = PIDS;
    let (both, none): (&[&str], &[&str]) = (&PIDS, &[]);
    for listed in [
        [both, both],
        [both, &[first]],
        [both, &[second]],
        [&[first], both],
        [&[first], &[second]],
        [none, both],
        [both, none],
        [none, none],
    ] {
        let host = hybrid("containerd.service", &PIDS, &path, any);
        for (instant, listed) in BOTH.into_iter().zip(listed) {
            let root = host.path(instant, "sys/fs/cgroup/unified");
            for entry in fs::read_dir(root).unwrap().flatten() {
                if entry.path().is_dir() {
                    fs::remove_dir_all(entry.path()).unwrap();
                }
            }
            let file = "sys/fs/cgroup/unified/cgroup.procs";
            let pids = ["1"].iter().chain(listed).fold(String::new(), |all, pid| all + pid + "\n");
            host.write(instant, file, &pids);
        }
        let dump = host.dump();
        assert!(gaps(&dump).contains("no cgroup below"), "{}", gaps(&dump));
        assert_eq!(dump.pod(UID)["processes"], 2, "{listed:?}");
        assert_eq!(dump.pod(UID)["cpu_usage_usec"], 300_000, "{listed:?}");
        assert_eq!(dump.container(UID, ID)["memory_resident_bytes"], 12_582_912, "{listed:?}");
    }
}

/// Exit status and text of `check` on this host.
fn check(arguments: &[&Path]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .env_clear()
        .args(["check", "--state-dir", "none", "--listen", "127.0.0.1:0"])
        .args(arguments)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn check_fails_where_the_path_is_no_cgroup2_mount() {
    let dir = tempfile::tempdir().unwrap();
    let v1 = dir.path().join("memory");
    fs::create_dir(&v1).unwrap();
    for file in ["cgroup.procs", "tasks", "notify_on_release"] {
        fs::write(v1.join(file), "").unwrap();
    }
    for path in [dir.path(), &v1, Path::new("/proc"), Path::new("/nowhere")] {
        let (code, text) = check(&[Path::new("--path.cgroupfs"), path]);
        assert_eq!(code, Some(1), "{text}");
        let line = text.lines().find(|line| line.contains("is no cgroup2 mount"));
        assert!(line.is_some_and(|line| line.contains(path.to_str().unwrap())), "{text}");
    }
    // A tree that says nothing.
    let bare = dir.path().join("bare");
    fs::create_dir(&bare).unwrap();
    fs::write(bare.join("cgroup.procs"), "").unwrap();
    fs::write(bare.join("cgroup.controllers"), "cpu io memory pids\n").unwrap();
    let (code, text) = check(&[Path::new("--path.cgroupfs"), &bare]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no cgroup below"), "{text}");
}

/// Text of `check` or `dump` with a procfs of these mount options, as root or as nobody.
fn with_procfs(option: &str, command: &[&str], as_nobody: bool) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let nothing = MsFlags::empty();
    mount(Some("proc"), dir.path(), Some("proc"), nothing, Some(option)).unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_nodetally"));
    agent.env_clear().args(command).arg("--path.procfs").arg(dir.path());
    if as_nobody {
        agent.uid(65534).gid(65534);
    }
    let output = agent.output().unwrap();
    umount2(dir.path(), MntFlags::MNT_DETACH).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_procfs_that_hides_processes_is_named() {
    in_own_mounts(|| {
        let check = ["check", "--state-dir", "none", "--listen", "127.0.0.1:0"];
        let dump = ["dump", "--interval", "100ms", "--format", "json"];
        for (option, named) in [
            ("hidepid=1", "hidepid=1 (noaccess)"),
            ("hidepid=noaccess", "hidepid=1 (noaccess)"),
            ("hidepid=2", "hidepid=2 (invisible)"),
            ("hidepid=invisible", "hidepid=2 (invisible)"),
            ("hidepid=4", "hidepid=4 (ptraceable)"),
        ] {
            let text = with_procfs(option, &check, true);
            let line = text.lines().find(|line| line.starts_with("absent   procfs hidepid"));
            assert!(line.is_some_and(|line| line.contains(named)), "{option}: {text}");
            let text = with_procfs(option, &dump, true);
            assert!(text.contains(named), "{option}: {text}");
            // With this one even root sees only what it may trace, which a sandbox can forbid.
            if option == "hidepid=4" {
                continue;
            }
            // Root sees all, and is told why others would not.
            let text = with_procfs(option, &check, false);
            let line = text.lines().find(|line| line.starts_with("note     procfs hidepid"));
            assert!(line.is_some_and(|line| line.contains("sees all")), "{option}: {text}");
            assert!(!with_procfs(option, &dump, false).contains("procfs hidepid"));
        }
        let text = with_procfs("subset=pid", &check, false);
        assert!(text.contains("mounted with subset=pid"), "{text}");
        let text = with_procfs("hidepid=off", &check, true);
        assert!(!text.contains("procfs hidepid"), "{text}");
    });
}
