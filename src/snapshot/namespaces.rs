//! Network namespaces: one read of `net/dev` for each that a cgroup's processes stand in, however
//! many containers share it.

use super::pass::{Outcome, Pass, Shape};
use super::processes::PathSpace;
use super::topology::left_out_inside;
use super::{CgroupReading, NamespaceReading};
use crate::source::proc::net_dev::{self, InterfaceName, InterfaceRow};
use crate::source::root::{Dir, Failure};

/// Brings the list of namespaces and their interfaces up to date.
#[derive(Debug, Default)]
pub struct NamespaceReader {
    /// `None`: pid 1's namespace may not be asked for, so no namespace can be told from the host's.
    pub host: Option<u64>,
    known: Vec<KnownNames>,
    rows: Vec<InterfaceRow>,
}

/// Which interface names of a namespace are left out; asked again when the names change.
#[derive(Debug)]
struct KnownNames {
    inode: u64,
    names: Vec<(InterfaceName, bool)>,
}

/// More namespaces than this are not followed; a node has one a pod.
const NAMESPACES_MAX: usize = 4096;

impl NamespaceReader {
    pub fn read(
        &mut self,
        procfs: &Dir,
        cgroups: &[CgroupReading],
        namespaces: &mut Vec<NamespaceReading>,
        pass: &mut Pass<'_>,
    ) {
        if self.host.is_none() {
            // Any of them might be the host's, whose traffic is nobody's own.
            namespaces.clear();
            return;
        }
        for namespace in namespaces.iter_mut() {
            namespace.leader_pid = 0;
        }
        for cgroup in cgroups {
            let (Some(inode), Some(first)) = (cgroup.namespace, cgroup.processes.first()) else {
                continue;
            };
            match namespaces.binary_search_by_key(&inode, |namespace| namespace.inode) {
                Ok(at) => {
                    if let Some(namespace) = namespaces.get_mut(at)
                        && namespace.leader_pid == 0
                    {
                        namespace.leader_pid = first.key.pid;
                    }
                }
                Err(at) if namespaces.len() < NAMESPACES_MAX => namespaces.insert(
                    at,
                    NamespaceReading {
                        inode,
                        is_host: self.host == Some(inode),
                        leader_pid: first.key.pid,
                        read_at: pass.now(),
                        interfaces: Vec::new(),
                        readable: false,
                    },
                ),
                Err(_) => pass.gaps.add_once(b"network namespaces beyond 4096", Failure::TooLarge),
            }
        }
        // A namespace that no cgroup names any more has no process that nodetally knows of.
        namespaces.retain(|namespace| namespace.leader_pid != 0);
        self.known.retain(|known| {
            namespaces.binary_search_by_key(&known.inode, |namespace| namespace.inode).is_ok()
        });
        for namespace in namespaces.iter_mut().filter(|namespace| !namespace.is_host) {
            self.read_one(procfs, namespace, pass);
        }
    }

    fn read_one(&mut self, procfs: &Dir, namespace: &mut NamespaceReading, pass: &mut Pass<'_>) {
        let mut space = PathSpace::default();
        let path = space.path(namespace.leader_pid, "net/dev");
        let rows = &mut self.rows;
        let outcome = pass.read_at(procfs, path, Shape::ManyRecords, &[b"/proc/<pid>/net/dev"], {
            |text| net_dev::parse(text, rows)
        });
        match outcome {
            Outcome::Present(()) => {}
            // The leader went between the cgroup's read and here: the figures of before stay, with
            // the time of before, and the next tick has another leader.
            Outcome::Absent | Outcome::Gone => return,
            Outcome::Unreadable => {
                namespace.readable = false;
                return;
            }
        }
        namespace.read_at = pass.now();
        namespace.readable = true;
        let at = match self.known.binary_search_by_key(&namespace.inode, |known| known.inode) {
            Ok(at) => at,
            Err(at) => {
                self.known.insert(at, KnownNames { inode: namespace.inode, names: Vec::new() });
                at
            }
        };
        let Some(known) = self.known.get_mut(at) else { return };
        let same =
            known.names.iter().map(|(name, _)| *name).eq(self.rows.iter().map(|row| row.name));
        if !same {
            // With loopback and one more there is nothing to bridge.
            let class = (self.rows.len() > 2)
                .then(|| {
                    let path = space.path(namespace.leader_pid, "root/sys/class/net");
                    procfs.open_dir(path).ok()
                })
                .flatten();
            let rows = &self.rows;
            known.names.clear();
            known.names.extend(
                rows.iter().map(|row| (row.name, left_out_inside(class.as_ref(), row.name, rows))),
            );
        }
        namespace.interfaces.clear();
        let counted = self.rows.iter().zip(&known.names).filter(|(_, (_, left_out))| !left_out);
        namespace.interfaces.extend(counted.map(|(row, _)| *row));
    }
}
