//! The memory that the pods of one source may take. A server may send pods of any size.

use super::pod::{Condition, Container, ContainerState, Labels, Pod};

/// The most bytes of one source's pods. A pod takes 2 to 8 KiB, so this is far more than a node has.
pub(super) const SOURCE_BYTES_MAX: usize = 16 << 20;

/// A string on the heap takes this much beside its text: pointer, length and the allocator's part.
const TEXT_OVERHEAD: usize = 32;

/// The part of a pod that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Whole,
    /// Without its annotations, or without annotations, labels and conditions.
    Trimmed,
    Refused,
}

/// The bytes of the pods that are kept.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PodBudget {
    used_bytes: usize,
}

impl PodBudget {
    /// Counts a pod, and trims it where it does not fit. Names and containers are kept for longest.
    pub(super) fn admit(&mut self, pod: &mut Pod) -> Admission {
        if self.fits(pod) {
            return Admission::Whole;
        }
        pod.annotations = Vec::new();
        if self.fits(pod) {
            return Admission::Trimmed;
        }
        pod.labels = Vec::new();
        pod.conditions = Vec::new();
        if self.fits(pod) { Admission::Trimmed } else { Admission::Refused }
    }

    fn fits(&mut self, pod: &Pod) -> bool {
        let used_bytes = self.used_bytes + kept_bytes(pod);
        if used_bytes > SOURCE_BYTES_MAX {
            return false;
        }
        self.used_bytes = used_bytes;
        true
    }

    /// Takes out a pod that is no longer kept.
    pub(super) fn release(&mut self, pod: &Pod) {
        self.used_bytes = self.used_bytes.saturating_sub(kept_bytes(pod));
    }
}

/// About the bytes that a pod takes in memory.
fn kept_bytes(pod: &Pod) -> usize {
    let Pod { api_uid, namespace, name, node_name, labels, annotations, owners, workload, .. } =
        pod;
    let texts = [api_uid, namespace, name, node_name, &pod.service_account, &pod.priority_class];
    let optional =
        [&pod.creation_timestamp, &pod.deletion_timestamp, &pod.reason, &pod.runtime_class];
    let owners =
        owners.iter().map(|owner| text(&owner.kind) + text(&owner.name) + text(&owner.uid));
    let workload = workload.iter().map(|workload| text(&workload.kind) + text(&workload.name));
    size_of::<Pod>()
        + texts.into_iter().map(|some| text(some)).sum::<usize>()
        + optional.into_iter().map(optional_text).sum::<usize>()
        + pairs(labels)
        + pairs(annotations)
        + owners.chain(workload).sum::<usize>()
        + pod.ips.iter().map(|ip| text(ip)).sum::<usize>()
        + pod.conditions.iter().map(condition).sum::<usize>()
        + pod.containers.iter().map(container).sum::<usize>()
}

fn text(text: &str) -> usize {
    text.len() + TEXT_OVERHEAD
}

fn optional_text(optional: &Option<Box<str>>) -> usize {
    optional.as_ref().map_or(0, |some| text(some))
}

fn pairs(labels: &Labels) -> usize {
    labels.iter().map(|(key, value)| text(key) + text(value)).sum()
}

fn condition(condition: &Condition) -> usize {
    let Condition { kind, status, reason, message, last_transition_time } = condition;
    let optional = [reason, message, last_transition_time].into_iter().map(optional_text);
    text(kind) + text(status) + optional.sum::<usize>()
}

fn container(container: &Container) -> usize {
    let ports: usize = container.ports.iter().map(|(_, protocol)| text(protocol)).sum();
    let states = [&container.state, &container.last_state].into_iter().flatten().map(state);
    size_of::<Container>()
        + text(&container.name)
        + text(&container.image)
        + ports
        + states.sum::<usize>()
}

fn state(state: &ContainerState) -> usize {
    match state {
        ContainerState::Waiting { reason, message } => {
            optional_text(reason) + optional_text(message)
        }
        ContainerState::Running { started_at } => optional_text(started_at),
        ContainerState::Terminated { reason, message, started_at, finished_at, .. } => {
            [reason, message, started_at, finished_at].into_iter().map(optional_text).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::objects::{ObjectLimits, pods_of_list};

    /// A pod with `kib` KiB of annotations.
    fn pod(kib: usize) -> Pod {
        let annotations: Vec<String> =
            (0..kib * 2).map(|at| format!("\"k{at}\":\"{}\"", "x".repeat(512))).collect();
        let json = format!(
            r#"{{"kind":"PodList","items":[{{"metadata":{{"uid":"a533c208-0be3-44e3-adb7-a0dae664d797",
            "namespace":"n","name":"p","labels":{{"app":"web"}},"annotations":{{{}}}}},
            "spec":{{"containers":[{{"name":"c","image":"i"}}]}}}}]}}"#,
            annotations.join(",")
        );
        let limits = ObjectLimits { annotation_bytes_max: 1024 };
        pods_of_list(json.as_bytes(), &limits).unwrap().pods.remove(0)
    }

    #[test]
    fn a_source_keeps_names_when_it_no_longer_keeps_annotations() {
        let large = pod(60);
        let mut budget = PodBudget::default();
        let admitted: Vec<(Admission, bool, bool)> = (0..4096)
            .map(|_| {
                let mut pod = large.clone();
                let admission = budget.admit(&mut pod);
                (
                    admission,
                    pod.annotations.is_empty(),
                    &*pod.name == "p" && pod.containers.len() == 1,
                )
            })
            .collect();
        // 60 KiB each and what goes with 120 pairs: some 240 in 16 MiB, and the others by name.
        let whole =
            admitted.iter().filter(|(admission, ..)| *admission == Admission::Whole).count();
        assert!((200..=273).contains(&whole), "{whole}");
        assert!(admitted.iter().all(|(_, _, is_named)| *is_named));
        assert!(
            admitted[whole..].iter().any(|(admission, is_trimmed, _)| {
                *admission == Admission::Trimmed && *is_trimmed
            })
        );
        assert!(budget.used_bytes <= SOURCE_BYTES_MAX);
        budget.release(&large);
        assert_eq!(budget.admit(&mut large.clone()), Admission::Whole);
    }
}
