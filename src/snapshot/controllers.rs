//! The controllers that the cgroups below the root have (Documentation/admin-guide/cgroup-v2.rst, "Controllers").

use super::gaps::{Gap, GapReason};
use super::roots::Hierarchy;
use crate::source::root::{Buffer, Dir, KernelFile};

/// The start of the paths of their gaps.
const PATH: &[u8] = b"cgroup2 controller ";

/// A controller, and what follows where the cgroups lack it.
struct CgroupController {
    name: &'static [u8],
    on_hybrid: &'static str,
    off: &'static str,
    not_passed_on: &'static str,
}

const CONTROLLERS: [CgroupController; 4] = [
    CgroupController {
        name: b"cpu",
        on_hybrid: "cgroup2 has no cpu controller (v1 holds it): CPU time is there, throttling is not",
        off: "the cpu controller is off: CPU time is there, throttling is not",
        not_passed_on: "the root's cgroup.subtree_control lacks cpu: CPU time is there, throttling is \
                        not",
    },
    CgroupController {
        name: b"memory",
        on_hybrid: "cgroup2 has no memory controller (v1 holds it): memory of pods and units is the \
                    resident set of their processes",
        off: "the memory controller is off: memory of pods and units is the resident set of their \
              processes",
        not_passed_on: "the root's cgroup.subtree_control lacks memory: memory of pods and units is \
                        the resident set of their processes",
    },
    CgroupController {
        name: b"io",
        on_hybrid: "cgroup2 has no io controller (v1 holds it): disk traffic of pods and units is \
                    that of their live processes",
        off: "the io controller is off: disk traffic of pods and units is that of their live \
              processes",
        not_passed_on: "the root's cgroup.subtree_control lacks io: disk traffic of pods and units is \
                        that of their live processes",
    },
    CgroupController {
        name: b"pids",
        on_hybrid: "cgroup2 has no pids controller (v1 holds it): task counts are missing",
        off: "the pids controller is off: task counts are missing",
        not_passed_on: "the root's cgroup.subtree_control lacks pids: task counts are missing",
    },
];

/// The controllers of a tree. A kubelet or systemd passes one on when it first needs it, so this is
/// looked at again and again.
#[derive(Debug)]
pub struct Controllers {
    hierarchy: Hierarchy,
    /// The text of the root's cgroup.controllers.
    there: Vec<u8>,
    /// The root's cgroup.subtree_control; `None`: it cannot be opened, and all count as passed on.
    file: Option<KernelFile>,
    /// Its text when it was last read; `None`: it was not.
    passed_on: Option<Vec<u8>>,
    has_io_stat: bool,
}

impl Controllers {
    /// `None`: the root's cgroup.controllers cannot be read.
    pub fn open(root: &Dir, hierarchy: Hierarchy, buffer: &mut Buffer) -> Option<Self> {
        let there = root.read_record(c"cgroup.controllers", buffer).ok()?.to_vec();
        let file = root.open_file(c"cgroup.subtree_control").ok();
        Some(Self { hierarchy, there, file, passed_on: None, has_io_stat: false })
    }

    /// Brings the gaps of controllers up to date. True if cgroups have io.stat. Allocates where
    /// something has changed.
    pub fn look(&mut self, buffer: &mut Buffer, gaps: &mut Vec<Gap>) -> bool {
        let read = self.file.as_ref().and_then(|file| file.read_record(buffer).ok());
        let text = read.unwrap_or(&self.there);
        if self.passed_on.as_deref() != Some(text) {
            self.passed_on = Some(text.to_vec());
            gaps.retain(|gap| !gap.path.starts_with(PATH));
            gaps.extend(CONTROLLERS.iter().filter_map(|one| self.gap(one)));
            self.has_io_stat = self.is_there(b"io") && self.is_passed_on(b"io");
        }
        self.has_io_stat
    }

    fn is_there(&self, name: &[u8]) -> bool {
        lists(&self.there, name)
    }

    fn is_passed_on(&self, name: &[u8]) -> bool {
        self.passed_on.as_deref().is_none_or(|text| lists(text, name))
    }

    fn gap(&self, controller: &CgroupController) -> Option<Gap> {
        let consequence = match (self.is_there(controller.name), self.hierarchy) {
            (true, _) if self.is_passed_on(controller.name) => return None,
            (true, _) => controller.not_passed_on,
            (false, Hierarchy::Hybrid) => controller.on_hybrid,
            (false, _) => controller.off,
        };
        let path = [PATH, controller.name].concat().into();
        Some(Gap { path, reason: GapReason::NotOffered { consequence } })
    }
}

fn lists(text: &[u8], name: &[u8]) -> bool {
    text.split(|byte| byte.is_ascii_whitespace()).any(|controller| controller == name)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A host whose kubelet starts after the agent.
    #[test]
    fn a_controller_that_is_passed_on_later_is_no_gap_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
        write("cgroup.subtree_control", "memory pids\n");
        let root = Dir::open(folder.path()).unwrap();
        let mut buffer = Buffer::default();
        let mut controllers = Controllers::open(&root, Hierarchy::Unified, &mut buffer).unwrap();
        let mut gaps = Vec::new();
        let names = |gaps: &[Gap]| -> Vec<String> {
            gaps.iter().map(|gap| String::from_utf8_lossy(&gap.path).into_owned()).collect()
        };
        for _ in 0..2 {
            assert!(!controllers.look(&mut buffer, &mut gaps));
            assert_eq!(names(&gaps), ["cgroup2 controller cpu", "cgroup2 controller io"]);
        }
        write("cgroup.subtree_control", "cpuset cpu io memory hugetlb pids\n");
        assert!(controllers.look(&mut buffer, &mut gaps));
        assert_eq!(names(&gaps), [""; 0]);
        write("cgroup.subtree_control", "cpu io memory\n");
        assert!(controllers.look(&mut buffer, &mut gaps));
        assert_eq!(names(&gaps), ["cgroup2 controller pids"]);
    }
}
