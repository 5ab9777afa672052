//! A host with pods, as far as their files go: mounts as the kernel tells of them, and a tree below
//! a root that is not this host's.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use nodetally::disk_usage::target::{Target, TargetContainer};
use nodetally::disk_usage::walk::TreeUsage;
use nodetally::identity::{ContainerId, PodUid, ProcessKey};
use nodetally::snapshot::roots::{Roots, Units};
use tempfile::TempDir;

use crate::pod_filesystem::oracle;
use crate::support::scratch::in_memory;

pub struct Host {
    dir: TempDir,
    mounts: String,
    processes: u32,
}

impl Host {
    pub fn new() -> Self {
        let mut host = Self {
            dir: in_memory(),
            mounts: "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n".to_owned(),
            processes: 0,
        };
        for path in ["var/lib/kubelet/pods", "var/log/pods"] {
            fs::create_dir_all(host.root().join(path)).unwrap();
        }
        host.add_mount("23 22 0:5 / /proc rw - proc proc rw");
        host
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn roots(&self) -> Roots {
        Roots {
            procfs: self.dir.path().join("proc"),
            sysfs: self.dir.path().join("sys"),
            cgroupfs: None,
            rootfs: self.root(),
            units: Units { ticks_per_second: 100, page_size_bytes: 4096 },
            captured: None,
        }
    }

    /// One more line of pid 1's mountinfo.
    pub fn add_mount(&mut self, line: &str) {
        writeln!(self.mounts, "{line}").unwrap();
        let init = self.dir.path().join("proc/1");
        fs::create_dir_all(&init).unwrap();
        fs::write(init.join("mountinfo"), &self.mounts).unwrap();
    }

    /// A process whose root is mounted as `root_mount` says, behind `- `.
    pub fn add_process(&mut self, root_mount: &str) -> ProcessKey {
        self.processes += 1;
        let key = ProcessKey { pid: 4000 + self.processes, start_ticks: 777 };
        let dir = self.dir.path().join(format!("proc/{}", key.pid));
        fs::create_dir_all(&dir).unwrap();
        let pid = key.pid;
        let stat = format!(
            "{pid} (a (b) c) S 1 {pid} {pid} 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 3 0 777 \
             1000000 250 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 \
             0 0\n"
        );
        fs::write(dir.join("stat"), stat).unwrap();
        let mountinfo = format!(
            "700 600 0:60 / / rw,relatime master:3 - {root_mount}\n\
             701 700 0:61 / /proc rw - proc proc rw\n"
        );
        fs::write(dir.join("mountinfo"), mountinfo).unwrap();
        key
    }

    /// A container that writes to `upper` of the host.
    pub fn add_container(&mut self, number: u8, upper: &str) -> TargetContainer {
        let line = format!(
            "overlay overlay rw,lowerdir=/layers/2/fs:/layers/1/fs,upperdir={upper},workdir=/w"
        );
        TargetContainer { id: container_id(number), process: Some(self.add_process(&line)) }
    }

    /// Makes `bytes` bytes in the file `path` of the host.
    pub fn file(&self, path: &str, bytes: usize) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![5; bytes]).unwrap();
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.strip_prefix('/').unwrap_or(path))
    }

    /// The disk usage of a tree, counted by other means.
    pub fn count(&self, path: &str) -> TreeUsage {
        oracle::count(&self.at(path))
    }

    /// A pod with one container, one emptyDir and logs, each with one file of so many bytes.
    pub fn add_simple_pod(&mut self, number: u8, bytes: usize) -> Target {
        let pod = pod_uid(number);
        let upper = format!("/layers/{}/fs", 100 + u32::from(number));
        let container = self.add_container(number, &upper);
        self.file(&format!("{upper}/etc/file"), bytes);
        self.file(&format!("{}/cache/file", empty_dirs(pod)), bytes);
        self.file(&format!("/var/log/pods/default_web-{number}_{pod}/main/0.log"), bytes);
        Target { pod, containers: vec![container] }
    }
}

pub fn pod_uid(number: u8) -> PodUid {
    PodUid::parse(format!("a533c208-0be3-44e3-adb7-a0dae664d7{number:02x}").as_bytes()).unwrap()
}

pub fn container_id(number: u8) -> ContainerId {
    ContainerId::parse(format!("{number:02x}").repeat(32).as_bytes()).unwrap()
}

pub fn empty_dirs(pod: PodUid) -> String {
    format!("/var/lib/kubelet/pods/{pod}/volumes/kubernetes.io~empty-dir")
}

/// Many empty files: `directories` times a thousand.
pub fn fill(root: &Path, directories: usize) {
    for directory in 0..directories {
        let path = root.join(format!("{directory}"));
        fs::create_dir_all(&path).unwrap();
        for file in 0..1000 {
            fs::File::create(path.join(format!("{file}"))).unwrap();
        }
    }
}
