//! The entities that an endpoint of metrics receives.

use super::entities::Observation;
use super::options::{EncodeOptions, UnknownPodPolicy};
use crate::directory::pod::Labels;
use crate::identity::PodUid;
use crate::metrics::entity::{AttributeName, EntityId};
use crate::metrics::sample::Entry;

/// `true` where an entity is sent. Pods are filtered as elsewhere, and their containers and processes
/// with them; a pod known by its uid alone has no labels.
pub(super) fn is_sent(entry: &Entry, view: &Observation<'_>, options: &EncodeOptions) -> bool {
    let Some(uid) = pod_of(entry) else { return true };
    let known = view.catalog.pod(uid).or_else(|| view.catalog.departed(uid));
    let namespace = entry.entity.attribute(AttributeName::NAMESPACE);
    match (known, namespace) {
        (Some(pod), _) => options.filter.matches(&pod.namespace, &pod.labels),
        (None, Some(namespace)) => options.filter.matches(namespace, &Labels::default()),
        (None, None) => {
            options.unknown_pods != UnknownPodPolicy::Skip
                && options.filter.matches("", &Labels::default())
        }
    }
}

/// The pod that an entity is or belongs to; `None`: it belongs to none.
fn pod_of(entry: &Entry) -> Option<PodUid> {
    match &entry.entity.id {
        EntityId::Pod(uid) | EntityId::Container { pod: Some(uid), .. } => Some(*uid),
        EntityId::Process(_) | EntityId::OtherProcesses(_) => {
            let owner = entry.entity.attribute(AttributeName::OWNER)?;
            PodUid::parse(owner.strip_prefix("pod ")?.as_bytes())
        }
        _ => None,
    }
}
