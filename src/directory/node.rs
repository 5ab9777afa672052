//! The node as the API server describes it.

use super::pod::{Condition, Labels};
use super::resource_quantity::ResourceQuantity;

/// A Node object, with the fields that are sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    pub name: Box<str>,
    /// `metadata.uid`
    pub uid: Box<str>,
    pub labels: Labels,
    /// Annotations up to the configured size.
    pub annotations: Labels,
    pub creation_timestamp: Option<Box<str>>,
    /// `spec.providerID`, such as `aws:///eu-central-1a/i-0abc`.
    pub provider_id: Option<Box<str>>,
    pub capacity: NodeResources,
    pub allocatable: NodeResources,
    pub conditions: Vec<Condition>,
    /// `status.addresses`: type and address.
    pub addresses: Vec<(Box<str>, Box<str>)>,
    pub info: NodeInfo,
}

/// Resources of a node; `None` where the node does not state one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeResources {
    /// Cores.
    pub cpu: Option<StatedQuantity>,
    /// Bytes.
    pub memory: Option<StatedQuantity>,
    pub pods: Option<StatedQuantity>,
    /// Bytes.
    pub ephemeral_storage: Option<StatedQuantity>,
}

/// A quantity with the text that states it, such as `16367288Ki`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedQuantity {
    value: ResourceQuantity,
    text: Box<str>,
}

impl StatedQuantity {
    /// Parses a quantity; `None` if the text is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self { value: ResourceQuantity::parse(text)?, text: text.into() })
    }

    #[must_use]
    pub const fn value(&self) -> ResourceQuantity {
        self.value
    }

    /// The quantity as it was written.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.text
    }
}

/// `status.nodeInfo`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeInfo {
    /// `linux`
    pub operating_system: Box<str>,
    /// `amd64`, `arm64`, ...
    pub architecture: Box<str>,
    pub kubelet_version: Box<str>,
    pub container_runtime_version: Box<str>,
    pub kernel_version: Box<str>,
    pub os_image: Box<str>,
}
