//! The attributes of a resource: what names the entity and its node.

use crate::metrics::entity::{AttributeName, EntityId, MetricEntity};
use crate::metrics::sample::{Entry, NodeAttributes};

/// An attribute's value on the wire.
pub(super) enum ResourceValue<'a> {
    Text(&'a str),
    Integer(i64),
}

/// Calls `add` with each attribute of an entity's resource, each name once.
pub(super) fn attributes<'a>(
    node: &'a NodeAttributes,
    entry: &'a Entry,
    mut add: impl FnMut(&str, ResourceValue<'_>),
) {
    let text = ResourceValue::Text;
    add("service.name", text(env!("CARGO_PKG_NAME")));
    let instance = instance(node, &entry.entity);
    add("service.instance.id", text(&instance));
    add("host.name", text(&node.name));
    if node.in_kubernetes {
        add("k8s.node.name", text(&node.name));
        add("k8s.cluster.name", text(&node.cluster));
    }
    for attribute in &entry.entity.attributes {
        // The conventions have this one as an integer.
        let number = (attribute.name == AttributeName::PID).then(|| attribute.value.parse().ok());
        let value = number.flatten().map_or(text(&attribute.value), ResourceValue::Integer);
        add(attribute.name.otel, value);
    }
}

/// A text that no two entities have, also on different nodes.
fn instance(node: &NodeAttributes, entity: &MetricEntity) -> String {
    let named = |name| entity.attribute(name).unwrap_or_default().to_owned();
    let own = match &entity.id {
        EntityId::Node => return node.name.to_string(),
        EntityId::Filesystem(_) => named(AttributeName::MOUNT_POINT),
        EntityId::Pod(uid) => uid.to_string(),
        EntityId::Container { id, .. } => id.to_string(),
        EntityId::Unit(_) | EntityId::Exited(_) => named(AttributeName::CGROUP),
        EntityId::Process(key) => format!("{}/{}", key.pid, key.start_ticks),
        EntityId::OtherProcesses(owner) => format!("others/{owner}"),
    };
    format!("{}/{}/{own}", node.name, entity.id.class().as_str())
}
