//! The rules for which pods and containers run, and for the sum over a container's runs.
//!
//! Every dialect uses these, so that two endpoints of one agent agree.

use super::account::{Account, ContainerUsage, CpuUsage, PodUsage, Usage};
use crate::directory::pod::{Container, Phase, Pod};
use crate::quantity::CpuTime;

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

impl PodUsage {
    /// True if nothing of the pod will be used any more, so that the next post about it is its last.
    /// `phase` as for [`runs`](Self::runs).
    ///
    /// A pod that the kubelet evicts is Failed at once, and its processes end later. The sandbox of a
    /// completed pod may stay; it uses no CPU.
    #[must_use]
    pub fn has_ended(&self, phase: Phase) -> bool {
        let is_idle = self.usage.cpu.is_none_or(|cpu| cpu.usage == CpuTime::ZERO);
        self.exited || phase.is_final() && (is_idle || !self.usage.has_tasks())
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
    ///
    /// A container is read some milliseconds before its pod. What all come to beyond the pod is the
    /// skew of the readings and left out.
    #[must_use]
    pub fn running_containers<'a>(&self, pod: &'a Pod) -> Vec<RunningContainer<'a>> {
        let at = self.pods.binary_search_by_key(&pod.uid, |pod| pod.uid).ok();
        let of_pod = at.and_then(|at| self.pods.get(at)?.usage.cpu);
        let mut left = of_pod.map(|cpu| cpu.usage);
        let all = pod.containers.iter().filter_map(|container| {
            let (mut cpu, memory_bytes) = self.running_container(pod, container)?;
            if let Some(left) = &mut left {
                cpu.usage = cpu.usage.min(*left);
                *left = left.saturating_sub(cpu.usage);
            }
            let cpu_nanocores = self.over_interval(cpu).nanocores();
            Some(RunningContainer { name: &container.name, cpu_nanocores, memory_bytes })
        });
        all.collect()
    }

    /// CPU time over all runs in the interval, and bytes in use by the run that goes on; `None`: no run
    /// does, or its CPU is not known.
    fn running_container(&self, pod: &Pod, container: &Container) -> Option<(CpuUsage, u64)> {
        let mut sum = CpuUsage::default();
        let (mut runs, mut memory_bytes) = (false, 0_u64);
        for run in self.containers_of(pod.uid) {
            let is_its = pod.container(run.id).is_some_and(|named| std::ptr::eq(named, container));
            let Some(cpu) = run.usage.cpu.filter(|_| is_its) else { continue };
            sum.usage += cpu.usage;
            sum.over_usec = sum.over_usec.max(cpu.over_usec);
            if run.runs() {
                let memory = run.usage.memory_in_use().as_bytes();
                memory_bytes = memory_bytes.saturating_add(memory);
                runs = true;
            }
        }
        runs.then_some((sum, memory_bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::attribution::QosClass;
    use crate::identity::PodUid;
    use crate::snapshot::PidsReading;

    /// CPU in microseconds, visible processes, and the cgroup's own count of tasks.
    fn usage(cpu: Option<u64>, processes: u32, tasks: Option<u64>) -> Usage {
        let cpu =
            cpu.map(|usec| CpuUsage { usage: CpuTime::from_usec(usec), ..CpuUsage::default() });
        let pids = PidsReading { current: tasks, max: None };
        Usage { cpu, processes, pids, ..Usage::default() }
    }

    fn pod(exited: bool, usage: Usage) -> PodUsage {
        PodUsage {
            uid: PodUid::parse(b"a533c208-0be3-44e3-adb7-a0dae664d797").unwrap(),
            qos: QosClass::Burstable,
            path: Arc::from(&b"/kubepods/burstable/poda533c208"[..]),
            exited,
            host_network: None,
            usage,
        }
    }

    #[test]
    fn a_cgroup_with_a_visible_process_or_a_count_of_tasks_has_tasks() {
        for (processes, tasks, has_tasks) in [
            (0, None, false),
            (0, Some(0), false),
            (0, Some(1), true),
            (0, Some(7), true),
            (1, None, true),
            (2, Some(0), true),
        ] {
            assert_eq!(
                usage(None, processes, tasks).has_tasks(),
                has_tasks,
                "{processes} {tasks:?}"
            );
        }
    }

    #[test]
    fn a_pod_runs_where_its_source_or_else_its_cgroup_says_so() {
        let (busy, empty) = (usage(None, 3, None), usage(None, 0, None));
        for (phase, exited, usage, runs) in [
            (Phase::Running, false, empty, true),
            (Phase::Running, true, busy, false),
            (Phase::Unknown, false, busy, true),
            (Phase::Unknown, false, empty, false),
            (Phase::Unknown, true, busy, false),
            (Phase::Pending, false, busy, false),
            (Phase::Succeeded, false, busy, false),
            (Phase::Failed, false, busy, false),
        ] {
            assert_eq!(pod(exited, usage).runs(phase), runs, "{phase:?} {exited}");
        }
    }

    #[test]
    fn a_pod_has_ended_when_nothing_of_it_will_be_used_any_more() {
        for (phase, exited, usage, has_ended) in [
            (Phase::Running, true, usage(Some(9), 2, None), true),
            (Phase::Running, false, usage(Some(0), 0, None), false),
            // Evicted, and its processes still work.
            (Phase::Failed, false, usage(Some(9), 2, None), false),
            (Phase::Failed, false, usage(Some(9), 0, None), true),
            // The sandbox of a completed pod stays and does nothing.
            (Phase::Succeeded, false, usage(Some(0), 1, None), true),
            (Phase::Succeeded, false, usage(None, 1, None), true),
        ] {
            assert_eq!(pod(exited, usage).has_ended(phase), has_ended, "{phase:?} {usage:?}");
        }
    }
}
