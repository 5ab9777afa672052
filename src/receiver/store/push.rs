//! The pushes of a post as every store keeps them.

use super::port::{NodePush, PodPush, UnitPush, UsagePushes};
use super::totals::{NODE, POD, UNIT};
use crate::payload::resource_api::UsageValues;

/// A push of a node, pod or host unit.
pub(super) struct Push<'a> {
    pub(super) kind: i64,
    /// Empty of a node; the node of a host unit.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) node: &'a str,
    pub(super) deployment: Option<&'a str>,
    pub(super) has_disk_io: bool,
    /// Its time is the sample's own and not that of its arrival.
    pub(super) is_dated: bool,
    pub(super) usage: UsageValues,
    /// More fields, as JSON.
    pub(super) extras: String,
    /// Capacity and allocatable amounts of a node, as JSON.
    pub(super) amounts: Option<String>,
}

impl UsagePushes {
    /// Kind, namespace and name of its pushes.
    pub(super) fn keys(&self) -> impl Iterator<Item = (i64, &str, &str)> {
        let nodes = self.nodes.iter().map(|node| (NODE, "", node.name.as_str()));
        let pods = self.pods.iter().map(|pod| (POD, pod.namespace.as_str(), pod.name.as_str()));
        let units = self.units.iter().map(|unit| (UNIT, unit.node.as_str(), unit.name.as_str()));
        nodes.chain(pods).chain(units)
    }

    /// Its pushes: nodes first, then pods, then host units.
    pub(super) fn pushes(&self) -> impl Iterator<Item = Push<'_>> {
        let has_disk_io = self.dialect.profile().has_disk_io;
        let is_dated = self.sampled_at.is_some();
        let push = move |kind, namespace, name, node, usage| Push {
            kind,
            namespace,
            name,
            node,
            deployment: None,
            has_disk_io,
            is_dated,
            usage,
            extras: String::new(),
            amounts: None,
        };
        let nodes = self.nodes.iter().map(move |NodePush { name, post, amounts }| Push {
            extras: json(&post.extras),
            amounts: amounts.as_ref().map(json),
            ..push(NODE, "", name, name, post.usage)
        });
        let pods = self.pods.iter().map(move |PodPush { namespace, name, post }| Push {
            deployment: post.extras.deployment_name.as_deref(),
            extras: json(&post.extras),
            ..push(POD, namespace, name, &post.node_name, post.usage)
        });
        let units = self.units.iter().map(move |UnitPush { node, name, usage }| Push {
            extras: "{}".to_owned(),
            ..push(UNIT, node, name, node, *usage)
        });
        nodes.chain(pods).chain(units)
    }
}

/// A value of ours as JSON. Texts, figures and maps of texts always have one.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The value of a text of ours; the default where it is damaged.
pub(super) fn of_json<T: serde::de::DeserializeOwned + Default>(json: &str) -> T {
    serde_json::from_str(json).unwrap_or_default()
}
