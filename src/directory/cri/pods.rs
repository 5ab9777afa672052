//! Pods from a runtime's lists of sandboxes and containers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::super::bounded;
use super::super::pod::{Container, ContainerKind, ContainerState, Labels, Phase, Pod, Resources};
use super::messages::{self, PodSandbox, PodSandboxMetadata, PodSandboxState};
use crate::identity::{ContainerId, PodUid};

/// The most containers of one pod.
const CONTAINERS_MAX: usize = 256;

/// The prefix of the labels that the kubelet adds to a pod's own.
const KUBELETS_LABELS: &str = "io.kubernetes.pod.";

/// The label with the pod's uid, one of [`KUBELETS_LABELS`].
const UID_LABEL: &str = "io.kubernetes.pod.uid";

/// The pods of the sandboxes, running pods first.
///
/// A sandbox without a pod's uid is left out: no kubelet made it. A text that is neither UUID nor hash
/// is a uid only if the kubelet's label has it too. A pod's ready sandbox counts, else the latest. Of
/// the containers of one name the latest attempt counts, and the one before is its last run.
///
/// CRI's lists hold less than the API:
/// - All containers are regular, since init containers and sidecars look the same.
/// - A running container is ready, since the lists know no probes.
/// - An exited container has no state, since the lists have no exit code.
/// - A pod without a ready sandbox has an unknown phase: it has ended or is about to start again.
#[must_use]
pub fn pods(
    sandboxes: Vec<PodSandbox>,
    containers: Vec<messages::CriContainer>,
    annotation_bytes_max: usize,
) -> Vec<Pod> {
    let mut uids = HashMap::with_capacity(sandboxes.len());
    let mut by_uid: BTreeMap<PodUid, FoundPod> = BTreeMap::new();
    for sandbox in sandboxes {
        let Some((uid, metadata)) = identity(&sandbox) else { continue };
        uids.insert(sandbox.id.clone(), uid);
        let rank = (is_ready(&sandbox), metadata.attempt, sandbox.created_at);
        match by_uid.get_mut(&uid) {
            Some(found) if found.rank >= rank => {}
            Some(found) => (found.rank, found.sandbox) = (rank, sandbox),
            None => {
                by_uid.insert(uid, FoundPod { rank, sandbox, containers: Vec::new() });
            }
        }
    }
    for container in containers {
        let found = uids.get(&container.pod_sandbox_id).and_then(|uid| by_uid.get_mut(uid));
        if let Some(found) = found
            && found.containers.len() < CONTAINERS_MAX
        {
            found.containers.push(container);
        }
    }
    let mut found: Vec<(PodUid, FoundPod)> = by_uid.into_iter().collect();
    found.sort_by_key(|(uid, found)| (!found.rank.0, *uid));
    found.into_iter().filter_map(|(uid, found)| pod(uid, found, annotation_bytes_max)).collect()
}

struct FoundPod {
    /// Readiness, attempt and creation time of the sandbox; the greatest rank counts.
    rank: (bool, u32, i64),
    sandbox: PodSandbox,
    containers: Vec<messages::CriContainer>,
}

fn identity(sandbox: &PodSandbox) -> Option<(PodUid, &PodSandboxMetadata)> {
    let metadata = sandbox.metadata.as_ref()?;
    bounded::name(&metadata.name).and(bounded::name(&metadata.namespace))?;
    let text = metadata.uid.as_bytes();
    // The own uid of a static pod can be any text, and so can that of a sandbox made by hand.
    let is_kubelets = sandbox.labels.get(UID_LABEL) == Some(&metadata.uid);
    let uid = if is_kubelets { PodUid::of_text(text) } else { PodUid::parse(text) };
    Some((uid?, metadata))
}

fn is_ready(sandbox: &PodSandbox) -> bool {
    sandbox.state == PodSandboxState::Ready as i32
}

fn pod(uid: PodUid, found: FoundPod, annotation_bytes_max: usize) -> Option<Pod> {
    let FoundPod { sandbox, containers, .. } = found;
    let phase = if is_ready(&sandbox) { Phase::Running } else { Phase::Unknown };
    let metadata = sandbox.metadata?;
    Some(Pod {
        uid,
        api_uid: metadata.uid.into(),
        namespace: metadata.namespace.into(),
        name: metadata.name.into(),
        node_name: Box::default(),
        labels: own_labels(sandbox.labels),
        annotations: bounded::annotations(sandbox.annotations, annotation_bytes_max),
        owners: Vec::new(),
        workload: None,
        creation_timestamp: None,
        deletion_timestamp: None,
        phase,
        reason: None,
        message: None,
        conditions: Vec::new(),
        containers: of_each_name(containers),
        sandbox: ContainerId::parse(sandbox.id.as_bytes()),
        resources: Resources::default(),
        overhead: Default::default(),
        ips: Vec::new(),
        host_network: false,
        qos: None,
        service_account: Box::default(),
        priority_class: Box::default(),
        runtime_class: bounded::name(&sandbox.runtime_handler).map(Into::into),
    })
}

fn own_labels(labels: HashMap<String, String>) -> Labels {
    bounded::labels(labels.into_iter().filter(|(key, _)| !key.starts_with(KUBELETS_LABELS)))
}

/// One container for each name, in the order in which their latest runs were created.
fn of_each_name(mut all: Vec<messages::CriContainer>) -> Vec<Container> {
    let attempt =
        |one: &messages::CriContainer| one.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
    all.sort_by_key(|one| Reverse((attempt(one), one.created_at)));
    let mut by_name: Vec<(i64, Container)> = Vec::new();
    for one in all {
        let Some(id) = ContainerId::parse(one.id.as_bytes()) else { continue };
        let Some(metadata) = one.metadata else { continue };
        let Some(name) = bounded::name(&metadata.name) else { continue };
        match by_name.iter_mut().find(|(_, container)| *container.name == *name) {
            Some((_, later)) => {
                later.last_id = later.last_id.or(Some(id));
            }
            None => {
                let state = messages::CriContainerState::try_from(one.state).ok();
                let container = Container {
                    name: name.into(),
                    kind: ContainerKind::Regular,
                    image: image(one.image.as_ref()).into(),
                    ports: Vec::new(),
                    resources: Resources::default(),
                    id: Some(id),
                    last_id: None,
                    ready: state == Some(messages::CriContainerState::Running),
                    restart_count: metadata.attempt,
                    state: state.and_then(container_state),
                    last_state: None,
                };
                by_name.push((one.created_at, container));
            }
        }
    }
    by_name.sort_by(|(made, one), (other_made, other)| {
        (made, &one.name).cmp(&(other_made, &other.name))
    });
    by_name.into_iter().map(|(_, container)| container).collect()
}

fn container_state(state: messages::CriContainerState) -> Option<ContainerState> {
    match state {
        messages::CriContainerState::Created => {
            Some(ContainerState::Waiting { reason: None, message: None })
        }
        messages::CriContainerState::Running => Some(ContainerState::Running { started_at: None }),
        messages::CriContainerState::Exited | messages::CriContainerState::Unknown => None,
    }
}

fn image(spec: Option<&messages::ImageSpec>) -> &str {
    let spec = spec.map(|spec| [&*spec.user_specified_image, &*spec.image]).unwrap_or_default();
    spec.into_iter().find_map(bounded::name).unwrap_or_default()
}
