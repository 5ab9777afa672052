//! Network namespaces: one read of `net/dev` for each, however many cgroups share it.

use super::processes::PidPath;
use super::read_context::{Outcome, ReadContext, Shape};
use super::topology::left_out_inside;
use super::{CgroupReading, NamespaceReading};
use crate::source::proc::net_dev::{self, InterfaceName, InterfaceRow};
use crate::source::root::{Dir, ReadFailure};

/// Updates the list of namespaces and their interfaces.
#[derive(Debug, Default)]
pub struct NamespaceReader {
    /// Inode of the host's namespace. `None`: that of pid 1 is not readable, so no namespace is
    /// known not to be the host's.
    pub host: Option<u64>,
    known: Vec<KnownNames>,
    rows: Vec<InterfaceRow>,
}

/// The interface names of a namespace, each with whether it is left out; updated when they change.
#[derive(Debug)]
struct KnownNames {
    inode: u64,
    names: Vec<(InterfaceName, bool)>,
}

/// Limit of followed namespaces; a node has one per pod.
const NAMESPACES_MAX: usize = 4096;

impl NamespaceReader {
    pub fn read(
        &mut self,
        procfs: &Dir,
        cgroups: &[CgroupReading],
        namespaces: &mut Vec<NamespaceReading>,
        context: &mut ReadContext<'_>,
    ) {
        if self.host.is_none() {
            // Any of them could be the host's, whose traffic has no owner.
            namespaces.clear();
            return;
        }
        for namespace in namespaces.iter_mut() {
            namespace.leader_pid = 0;
        }
        for cgroup in cgroups {
            let (Some(inode), Some(first)) = (cgroup.namespace, cgroup.own_processes().next())
            else {
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
                        read_at: context.now(),
                        interfaces: Vec::new(),
                        readable: false,
                    },
                ),
                Err(_) => {
                    context.gaps.add_once(b"network namespaces beyond 4096", ReadFailure::TooLarge)
                }
            }
        }
        // A namespace without a cgroup has no known process.
        namespaces.retain(|namespace| namespace.leader_pid != 0);
        self.known.retain(|known| {
            namespaces.binary_search_by_key(&known.inode, |namespace| namespace.inode).is_ok()
        });
        for namespace in namespaces.iter_mut().filter(|namespace| !namespace.is_host) {
            self.read_one(procfs, namespace, context);
        }
    }

    fn read_one(
        &mut self,
        procfs: &Dir,
        namespace: &mut NamespaceReading,
        context: &mut ReadContext<'_>,
    ) {
        let mut space = PidPath::default();
        let path = space.path(namespace.leader_pid, "net/dev");
        let rows = &mut self.rows;
        let outcome =
            context.read_at(procfs, path, Shape::ManyRecords, &[b"/proc/<pid>/net/dev"], {
                |text| net_dev::parse(text, rows)
            });
        match outcome {
            Outcome::Present(_) => {}
            // The leader exited since the cgroup was read. The earlier figures and time stay, and
            // the next tick has another leader.
            Outcome::Absent | Outcome::Gone => return,
            Outcome::Unreadable => {
                namespace.readable = false;
                return;
            }
        }
        namespace.read_at = context.now();
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
            // With loopback and one more interface there is nothing to bridge.
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
