//! Network namespaces: one read of `net/dev` for each, however many cgroups share it.

use std::io::Write as _;

use super::interfaces;
use super::processes::PidPath;
use super::read_context::{Outcome, ReadContext, Shape};
use super::topology::{LinkFiles, inner_facts};
use super::{CgroupReading, NamespaceReading};
use crate::source::proc::net_dev::{self, InterfaceRow};
use crate::source::root::{Buffer, Dir, ReadFailure};

/// Updates the list of namespaces and their interfaces.
#[derive(Debug, Default)]
pub struct NamespaceReader {
    /// Identity of the host's namespace. `None`: that of pid 1 is not readable, so no namespace is
    /// known not to be the host's.
    pub host: Option<u64>,
    rows: Vec<InterfaceRow>,
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
            let (Some(id), Some(first)) = (cgroup.namespace, cgroup.own_processes().next()) else {
                continue;
            };
            match namespaces.binary_search_by_key(&id, |namespace| namespace.id) {
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
                        id,
                        is_host: self.host == Some(id),
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
            context.read_at(procfs, path, Shape::ShortRecords, &[b"/proc/<pid>/net/dev"], {
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
        let pid = namespace.leader_pid;
        let mut digits = [0; 10];
        let rows = &self.rows;
        let open = || LinkFiles::open(procfs, decimal(pid, &mut digits), None, rows);
        let facts = |files: &LinkFiles, buffer: &mut Buffer| inner_facts(files, rows, buffer);
        interfaces::update(&mut namespace.interfaces, rows, false, context.buffer, open, facts);
    }
}

fn decimal(number: u32, space: &mut [u8; 10]) -> &[u8] {
    let mut rest = &mut space[..];
    // Ten digits hold every number.
    let _ = write!(rest, "{number}");
    let left = rest.len();
    space.get(..10 - left).unwrap_or_default()
}
