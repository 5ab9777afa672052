//! Reads of deployments: sums over the pods that name one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pushes::Store;
use super::records::pod_records;
use super::series::{Point, Series, add_all, sum};
use crate::payload::resource_api::{DeploymentRecord, PodRecord, UsageValues};
use crate::payload::stamp::Rfc3339Seconds;
use crate::quantity::WallTime;

impl Store {
    /// The deployments that have live pods, of one namespace or of all. Each is the sum over those
    /// pods, stamped with the latest of their pushes.
    pub(in crate::receiver) fn deployments(
        &self,
        now: WallTime,
        namespace: Option<&str>,
    ) -> Vec<DeploymentRecord<'_>> {
        let mut sums: BTreeMap<(&str, &str), Point> = BTreeMap::new();
        for (ns, _, pod) in
            self.live_pods(now).filter(|(ns, ..)| namespace.is_none_or(|it| it == *ns))
        {
            let Some(name) = pod.extras.deployment_name.as_deref() else { continue };
            let last = pod.series.last();
            let total = sums
                .entry((ns, name))
                .or_insert(Point { at: last.at, usage: UsageValues::default() });
            total.at = last.at.max(total.at);
            add_all(&mut total.usage, &last.usage);
        }
        sums.iter().map(|((ns, name), total)| record(ns, name, total)).collect()
    }

    /// The live pods of a deployment; `None` where there are none.
    pub(in crate::receiver) fn deployment_pods(
        &self,
        now: WallTime,
        namespace: &str,
        name: &str,
    ) -> Option<Vec<PodRecord<'_>>> {
        pod_records(self.live_pods(now).filter(|(ns, _, pod)| {
            *ns == namespace && pod.extras.deployment_name.as_deref() == Some(name)
        }))
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
        for (ns, _, pod) in self.all_pods().filter(|(ns, ..)| namespace.is_none_or(|it| it == *ns))
        {
            let Some(of) = pod.extras.deployment_name.as_deref() else { continue };
            if of == name && self.kept(now, &pod.series) {
                by_namespace.entry((ns, of)).or_default().push(&pod.series);
            }
        }
        let mut records = Vec::new();
        for ((ns, name), pods) in &by_namespace {
            let points = sum(pods.iter().copied(), now.minus(window), self.alignment());
            records.extend(points.iter().map(|point| record(ns, name, point)));
        }
        records.sort_by_key(|record| record.timestamp);
        (!by_namespace.is_empty()).then_some(records)
    }
}

fn record<'a>(namespace: &'a str, name: &'a str, point: &Point) -> DeploymentRecord<'a> {
    DeploymentRecord::new(namespace, name, Rfc3339Seconds(point.at), &point.usage)
}
