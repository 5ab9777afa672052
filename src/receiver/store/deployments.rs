//! Deployments: sums over the pods that say they belong to one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::records::stamp;
use super::{Pod, Store};
use crate::payload::resource_api::{DeploymentRecord, PodRecord, UsageValues};
use crate::quantity::WallTime;
use crate::receiver::series::{Series, add_all, before, sum};

impl Store {
    /// The deployments that have live pods, of one namespace or of all, each with the sum over
    /// those, stamped with the latest of their pushes.
    pub(in crate::receiver) fn deployments(
        &self,
        now: WallTime,
        namespace: Option<&str>,
    ) -> Vec<DeploymentRecord<'_>> {
        let mut sums: BTreeMap<(&str, &str), (WallTime, UsageValues)> = BTreeMap::new();
        for (namespace, _, pod) in self.live_pods(now).filter(|(ns, ..)| of(namespace, ns)) {
            let Some(name) = pod.extras.deployment_name.as_deref() else { continue };
            let last = pod.series.last();
            let (latest, total) = sums.entry((namespace, name)).or_default();
            *latest = last.at.max(*latest);
            add_all(total, &last.figures);
        }
        sums.into_iter()
            .map(|((namespace, name), (at, total))| {
                DeploymentRecord::new(namespace, name, stamp(at), &total)
            })
            .collect()
    }

    /// The live pods of a deployment; `None` where there are none.
    pub(in crate::receiver) fn deployment_pods(
        &self,
        now: WallTime,
        namespace: &str,
        name: &str,
    ) -> Option<Vec<PodRecord<'_>>> {
        let pods: Vec<_> = self
            .live_pods(now)
            .filter(|(ns, _, pod)| *ns == namespace && pod.is_of(name))
            .map(|(namespace, name, pod)| pod.record(namespace, name))
            .collect();
        (!pods.is_empty()).then_some(pods)
    }

    /// The sums over time of the deployments called `name`, of one namespace or of all. `None`
    /// where no pod of such a deployment is kept.
    pub(in crate::receiver) fn deployment_series(
        &self,
        now: WallTime,
        namespace: Option<&str>,
        name: &str,
        window: Duration,
    ) -> Option<Vec<DeploymentRecord<'_>>> {
        let mut by_namespace: BTreeMap<(&str, &str), Vec<&Series>> = BTreeMap::new();
        for (namespace, _, pod) in self.all_pods().filter(|(ns, ..)| of(namespace, ns)) {
            let Some(of) = pod.extras.deployment_name.as_deref() else { continue };
            if of == name && self.kept(now, pod.series.last().at) {
                by_namespace.entry((namespace, of)).or_default().push(&pod.series);
            }
        }
        if by_namespace.is_empty() {
            return None;
        }
        let mut records = Vec::new();
        for ((namespace, name), pods) in by_namespace {
            let points = sum(pods.into_iter(), before(now, window), self.alignment());
            let record = |p: &_| -> DeploymentRecord<'_> { point_record(namespace, name, p) };
            records.extend(points.iter().map(record));
        }
        records.sort_by_key(|record| record.timestamp);
        Some(records)
    }
}

fn point_record<'a>(
    namespace: &'a str,
    name: &'a str,
    point: &crate::receiver::series::Point,
) -> DeploymentRecord<'a> {
    DeploymentRecord::new(namespace, name, stamp(point.at), &point.figures)
}

fn of(wanted: Option<&str>, namespace: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == namespace)
}

impl Pod {
    fn is_of(&self, deployment: &str) -> bool {
        self.extras.deployment_name.as_deref() == Some(deployment)
    }
}
