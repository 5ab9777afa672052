//! The workloads of pods: pod → ReplicaSet → Deployment, pod → Job → CronJob.
//!
//! A ReplicaSet or Job is requested once for all its pods, and forgotten with the last of them.

use std::collections::{BTreeMap, VecDeque};

use super::error::ApiRequest;
use super::options::part;
use crate::directory::objects::PodController;
use crate::directory::pod::{OwnerReference, Pod, Workload};
use crate::directory::source_status::PODS_MAX;
use crate::identity::PodUid;

/// The labels that controllers of ReplicaSets (Deployments, Argo's Rollouts) add to their selectors.
const TEMPLATE_HASHES: [&str; 2] = ["pod-template-hash", "rollouts-pod-template-hash"];

/// A ReplicaSet or Job that controls pods. Most have a controller themselves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Controller {
    pub asked: ApiRequest,
    namespace: Box<str>,
    name: Box<str>,
    /// Tells it from a later object of the same name.
    uid: Box<str>,
}

impl Controller {
    fn of(pod: &Pod) -> Option<Self> {
        let owner = pod.controller()?;
        let asked = match &*owner.kind {
            "ReplicaSet" => ApiRequest::ReplicaSet,
            "Job" => ApiRequest::Job,
            // Any other kind is the workload itself.
            _ => return None,
        };
        let (name, uid) = (owner.name.clone(), owner.uid.clone());
        Some(Self { asked, namespace: pod.namespace.clone(), name, uid })
    }

    pub(super) fn path(&self) -> String {
        let kind = match self.asked {
            ApiRequest::Job => "batch/v1/namespaces",
            _ => "apps/v1/namespaces",
        };
        let resource = match self.asked {
            ApiRequest::Job => "jobs",
            _ => "replicasets",
        };
        format!("/apis/{kind}/{}/{resource}/{}", part(&self.namespace), part(&self.name))
    }

    /// The workload: its own controller, or itself if it has none.
    pub(super) fn workload(&self, found: PodController) -> Workload {
        let own = match self.asked {
            ApiRequest::Job => "Job",
            _ => "ReplicaSet",
        };
        let mut match_labels = found.match_labels;
        match found.owner {
            Some(OwnerReference { kind, name, .. }) => {
                // A ReplicaSet selects by its workload's labels and the hash of its own template.
                match_labels.retain(|(key, _)| !TEMPLATE_HASHES.contains(&&**key));
                Workload { kind, name, match_labels }
            }
            None => Workload { kind: own.into(), name: self.name.clone(), match_labels },
        }
    }
}

#[derive(Debug)]
enum OwnerState {
    /// It is in the queue, or its request is under way.
    Pending,
    /// `None` if it no longer exists, so that its workload stays unknown.
    Answered(Option<Workload>),
    /// The request failed; [`Owners::retry_failed`] queues it again.
    Failed,
}

#[derive(Debug, Default)]
pub(super) struct Owners {
    controllers: BTreeMap<Controller, OwnerState>,
    /// The controller of each pod that has one.
    by_pod: BTreeMap<PodUid, Controller>,
    queue: VecDeque<Controller>,
}

impl Owners {
    /// Replaces all pods. Sets the workloads that are known and queues the others.
    pub(super) fn replace(&mut self, pods: &mut [Pod]) {
        self.by_pod.clear();
        for pod in pods {
            self.put(pod);
        }
        let by_pod = &self.by_pod;
        self.controllers.retain(|controller, _| by_pod.values().any(|other| other == controller));
        self.drop_from_queue();
    }

    /// Adds or changes one pod. Sets its workload if it is known, else queues it.
    pub(super) fn put(&mut self, pod: &mut Pod) {
        let controller = Controller::of(pod);
        if self.by_pod.get(&pod.uid) != controller.as_ref() {
            self.remove(pod.uid);
        }
        let Some(controller) = controller.filter(|_| self.by_pod.len() < PODS_MAX) else { return };
        match self.controllers.get(&controller) {
            Some(OwnerState::Answered(workload)) => pod.workload.clone_from(workload),
            Some(OwnerState::Pending | OwnerState::Failed) => {}
            None => {
                self.controllers.insert(controller.clone(), OwnerState::Pending);
                self.queue.push_back(controller.clone());
            }
        }
        self.by_pod.insert(pod.uid, controller);
    }

    pub(super) fn remove(&mut self, pod: PodUid) {
        let Some(controller) = self.by_pod.remove(&pod) else { return };
        if !self.by_pod.values().any(|other| *other == controller) {
            self.controllers.remove(&controller);
            self.drop_from_queue();
        }
    }

    fn drop_from_queue(&mut self) {
        let controllers = &self.controllers;
        self.queue.retain(|controller| controllers.contains_key(controller));
    }

    pub(super) fn next_in_queue(&mut self) -> Option<Controller> {
        self.queue.pop_front()
    }

    /// Stores a controller's workload (`None`: it no longer exists) and returns its pods.
    pub(super) fn answered(
        &mut self,
        controller: &Controller,
        workload: Option<Workload>,
    ) -> Vec<PodUid> {
        let Some(known) = self.controllers.get_mut(controller) else { return Vec::new() };
        *known = OwnerState::Answered(workload);
        let pods = self.by_pod.iter().filter(|(_, other)| *other == controller);
        pods.map(|(pod, _)| *pod).collect()
    }

    pub(super) fn failed(&mut self, controller: &Controller) {
        if let Some(known) = self.controllers.get_mut(controller) {
            *known = OwnerState::Failed;
        }
    }

    /// Queues all controllers whose request failed.
    pub(super) fn retry_failed(&mut self) {
        for (controller, known) in &mut self.controllers {
            if matches!(known, OwnerState::Failed) {
                *known = OwnerState::Pending;
                self.queue.push_back(controller.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::objects::{ObjectLimits, pods_of_list};

    const BODY: &[u8] =
        include_bytes!("../../../fixtures/kubernetes/recorded/joined-systemd/pods-of-node.json");

    fn recorded() -> Vec<Pod> {
        pods_of_list(BODY, &ObjectLimits { annotation_bytes_max: 0 }).unwrap().pods
    }

    #[test]
    fn each_controller_is_asked_for_once_and_forgotten_with_its_last_pod() {
        let mut pods = recorded();
        let mut owners = Owners::default();
        owners.replace(&mut pods);
        // 19 pods of one Job and 3 of one ReplicaSet; the others' controllers are the workload.
        let asked: Vec<_> = std::iter::from_fn(|| owners.next_in_queue()).collect();
        let paths: Vec<_> = asked.iter().map(Controller::path).collect();
        assert_eq!(
            paths,
            [
                "/apis/batch/v1/namespaces/shop/jobs/sums",
                "/apis/apps/v1/namespaces/shop/replicasets/web-6877cbddcc"
            ]
        );
        let label = |key: &str, value: &str| (Box::from(key), Box::from(value));
        let match_labels = vec![label("app", "web")];
        let web = Workload { kind: "Deployment".into(), name: "web".into(), match_labels };
        let owner = OwnerReference {
            kind: "Deployment".into(),
            name: "web".into(),
            uid: "".into(),
            controller: true,
        };
        let selector = vec![label("app", "web"), label("pod-template-hash", "6877cbddcc")];
        let found = PodController { owner: Some(owner), match_labels: selector };
        assert_eq!(asked[1].workload(found), web);
        assert_eq!(owners.answered(&asked[1], Some(web.clone())).len(), 3);
        let sums = asked[0].workload(PodController::default());
        assert_eq!((&*sums.kind, &*sums.name), ("Job", "sums"));
        owners.failed(&asked[0]);

        let mut again = recorded();
        owners.replace(&mut again);
        assert_eq!(owners.next_in_queue(), None);
        assert_eq!(again.iter().filter(|pod| pod.workload == Some(web.clone())).count(), 3);
        owners.retry_failed();
        assert_eq!(owners.next_in_queue().as_ref(), Some(&asked[0]));

        for pod in again.iter().filter(|pod| pod.name.starts_with("web-")) {
            assert!(owners.controllers.contains_key(&asked[1]));
            owners.remove(pod.uid);
        }
        assert!(!owners.controllers.contains_key(&asked[1]));
        assert!(owners.answered(&asked[1], Some(web)).is_empty());
        // A Job's pod that is adopted by nobody leaves nothing behind.
        let mut sums = again.into_iter().filter(|pod| pod.name.starts_with("sums-"));
        let mut left = sums.next().unwrap();
        owners.replace(std::slice::from_mut(&mut left));
        assert_eq!(owners.controllers.len(), 1);
        left.owners.clear();
        owners.put(&mut left);
        assert!(owners.controllers.is_empty() && owners.by_pod.is_empty());
    }
}
