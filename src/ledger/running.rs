//! The rules for which pods and containers run, and for the sum over a container's runs.
//!
//! Every dialect uses these, so that two endpoints of one agent agree.

use super::account::{Account, ContainerUsage, PodUsage, Usage};
use crate::directory::pod::{Container, Phase, Pod};

impl Usage {
    /// True if at least one process is in it. Outside the host's pid namespace no process is
    /// visible, and the cgroup's own count (`pids.current`) decides.
    #[must_use]
    pub fn has_tasks(&self) -> bool {
        self.processes > 0 || self.pids.current.is_some_and(|count| count > 0)
    }
}

impl PodUsage {
    /// True if the pod runs at the end of the interval. `phase` is the directory's; for a pod that
    /// the directory does not know, pass [`Phase::Unknown`].
    #[must_use]
    pub fn runs(&self, phase: Phase) -> bool {
        match phase {
            // A pod that the kubelet is deleting is still Running.
            Phase::Running => !self.exited,
            // The source does not say, so the cgroup decides.
            Phase::Unknown => !self.exited && self.usage.has_tasks(),
            Phase::Pending | Phase::Succeeded | Phase::Failed => false,
        }
    }
}

impl ContainerUsage {
    /// True if the container runs at the end of the interval. A cgroup may outlive its processes.
    #[must_use]
    pub fn runs(&self) -> bool {
        !self.exited && self.usage.has_tasks()
    }
}

/// A running container of a pod's specification, with the runs before it in the same interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningContainer<'a> {
    pub name: &'a str,
    /// Billionths of a CPU over the interval, of all runs in it.
    pub cpu_nanocores: u64,
    /// Bytes in use by the run that goes on.
    pub memory_bytes: u64,
}

impl Account {
    /// The running containers of `pod` whose CPU is known, in the order of its specification.
    ///
    /// The sandbox has no name and is none of them. A pod in a sandbox of its own (gVisor, Kata)
    /// can have empty container cgroups beside a busy sandbox. Then the answer is empty, and only
    /// the pod's own usage is right.
    #[must_use]
    pub fn running_containers<'a>(&self, pod: &'a Pod) -> Vec<RunningContainer<'a>> {
        let all = pod.containers.iter();
        all.filter_map(|container| self.running_container(pod, container)).collect()
    }

    fn running_container<'a>(
        &self,
        pod: &Pod,
        container: &'a Container,
    ) -> Option<RunningContainer<'a>> {
        let name = &*container.name;
        let mut sum = RunningContainer { name, cpu_nanocores: 0, memory_bytes: 0 };
        let mut runs = false;
        for run in self.containers_of(pod.uid) {
            let is_its = pod.container(run.id).is_some_and(|named| std::ptr::eq(named, container));
            let Some(cpu) = run.usage.cpu.filter(|_| is_its) else { continue };
            sum.cpu_nanocores =
                sum.cpu_nanocores.saturating_add(self.over_interval(cpu).nanocores());
            if run.runs() {
                let memory = run.usage.memory_in_use().as_bytes();
                sum.memory_bytes = sum.memory_bytes.saturating_add(memory);
                runs = true;
            }
        }
        runs.then_some(sum)
    }
}
