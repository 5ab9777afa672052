//! A captured host at both instants, copied so that a case can edit its files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::scratch::{copy_tree, in_memory};

/// The two instants of a capture.
pub const BOTH: [usize; 2] = [0, 1];

pub const MIB: u64 = 1 << 20;

/// A copy of one folder of fixtures/hosts.
pub struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    pub fn copy(name: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts").join(name);
        let dir = in_memory();
        copy_tree(&from, dir.path());
        Self { dir }
    }

    /// The path of a file at one instant, such as `proc/stat`.
    pub fn path(&self, instant: usize, file: &str) -> PathBuf {
        self.dir.path().join(format!("t{instant}")).join(file)
    }

    pub fn read(&self, instant: usize, file: &str) -> String {
        fs::read_to_string(self.path(instant, file)).unwrap_or_else(|err| panic!("{file}: {err}"))
    }

    /// Writes a file, and makes the folders above it. A link is replaced by a file.
    pub fn write(&self, instant: usize, file: &str, text: &str) {
        let path = self.path(instant, file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.is_symlink() {
            fs::remove_file(&path).unwrap();
        }
        fs::write(path, text).unwrap();
    }

    pub fn edit(&self, instant: usize, file: &str, change: impl FnOnce(&str) -> String) {
        let before = self.read(instant, file);
        let after = change(&before);
        assert_ne!(before, after, "{file}: the edit changed nothing");
        self.write(instant, file, &after);
    }

    /// Replaces the first line in which `is_it` holds.
    pub fn edit_line(
        &self,
        instant: usize,
        file: &str,
        is_it: impl Fn(&str) -> bool,
        change: impl FnOnce(&str) -> String,
    ) {
        self.edit(instant, file, |text| {
            let line = text.lines().find(|line| is_it(line));
            let line = line.unwrap_or_else(|| panic!("{file}: no such line"));
            text.replacen(line, &change(line), 1)
        });
    }

    pub fn append(&self, instant: usize, file: &str, text: &str) {
        self.edit(instant, file, |before| format!("{before}{text}"));
    }

    /// Makes a symbolic link; the folders above it too.
    pub fn link(&self, instant: usize, file: &str, target: &str) {
        let path = self.path(instant, file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.is_symlink() {
            fs::remove_file(&path).unwrap();
        }
        symlink(target, path).unwrap();
    }

    pub fn make_dir(&self, instant: usize, dir: &str) {
        fs::create_dir_all(self.path(instant, dir)).unwrap();
    }

    /// The processes of an instant whose `ns/net` is `namespace`, such as `net:[4026532262]`.
    pub fn pids_in(&self, instant: usize, namespace: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(instant, "proc")).unwrap().flatten();
        let pids = entries.filter_map(|entry| {
            let target = fs::read_link(entry.path().join("ns/net")).ok()?;
            (target == Path::new(namespace)).then(|| entry.file_name().into_string().unwrap())
        });
        pids.collect()
    }

    /// The number of the network namespace of a process.
    pub fn namespace_of(&self, instant: usize, pid: &str) -> String {
        let link = fs::read_link(self.path(instant, &format!("proc/{pid}/ns/net"))).unwrap();
        link.to_str().unwrap().to_owned()
    }

    /// Removes a file or a folder.
    pub fn remove(&self, instant: usize, file: &str) {
        let path = self.path(instant, file);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// `dump --format json` over both instants.
    pub fn dump(&self) -> Dump {
        let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
            .env_clear()
            .args(["dump", "--top", "1000", "--format", "json", "--replay"])
            .arg(self.dir.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        Dump(serde_json::from_slice(&output.stdout).unwrap())
    }
}

/// The document of a dump.
pub struct Dump(pub Value);

impl Dump {
    /// A value of the node; `None`: absent or null.
    pub fn node(&self, key: &str) -> Option<u64> {
        self.0["node"][key].as_u64()
    }

    /// The pod whose uid begins with `uid`; null if there is none.
    pub fn pod(&self, uid: &str) -> &Value {
        let pods = self.0["pods"].as_array().unwrap();
        let is_it = |pod: &&Value| pod["uid"].as_str().unwrap().starts_with(uid);
        pods.iter().find(is_it).unwrap_or(&Value::Null)
    }

    /// The container of a pod, each by the beginning of its id; null if there is none.
    pub fn container(&self, uid: &str, id: &str) -> &Value {
        let containers = self.pod(uid)["containers"].as_array();
        let is_it = |value: &&Value| value["container_id"].as_str().unwrap().starts_with(id);
        containers.and_then(|all| all.iter().find(is_it)).unwrap_or(&Value::Null)
    }

    /// The host unit of this name; null if there is none.
    pub fn unit(&self, name: &str) -> &Value {
        let units = self.0["host_units"].as_array().unwrap();
        units.iter().find(|unit| unit["name"] == name).unwrap_or(&Value::Null)
    }

    pub fn unattributed(&self, resource: &str) -> Option<i64> {
        self.0["conservation"][resource]["unattributed"].as_i64()
    }
}

/// True if `value` is within 0.5 % of `right`, or within 2 where that is more.
pub fn near(value: Option<u64>, right: u64) -> bool {
    value.is_some_and(|value| value.abs_diff(right) <= (right / 200).max(2))
}

/// The two header lines of net/dev.
pub const NET_DEV_HEAD: &str = "Inter-|   Receive                                                |  Transmit\n \
     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop \
     fifo colls carrier compressed\n";

/// A row of net/dev.
pub fn net_dev_row(name: &str, rx: u64, tx: u64) -> String {
    format!("{name:>6}: {rx} {} 0 0 0 0 0 0 {tx} {} 0 0 0 0 0 0\n", rx / 1000, tx / 1000)
}
