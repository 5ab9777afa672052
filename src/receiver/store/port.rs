//! Commands that handlers send to a store, and the rows and errors that they get: all owned.

use std::time::Duration;

use thiserror::Error;

use super::point::Point;
use crate::payload::dialect::Dialect;
use crate::payload::pod_batch::NodeAmounts;
use crate::payload::pod_lifecycle::{MarkDead, PodSpecPost, RowHead};
use crate::payload::resource_api::{NodeEcho, NodePost, PodEcho, PodPost, UsageValues};
use crate::quantity::WallTime;
use crate::receiver::bounds::Full;

/// A post, which is stored as a whole or not at all.
#[derive(Debug)]
pub(in crate::receiver) struct StorePost {
    /// The receiver's time of its arrival.
    pub(in crate::receiver) at: WallTime,
    /// Who sent it: an address or the name of a token.
    pub(in crate::receiver) sender: String,
    /// `None`: it has no `Idempotency-Key`, and counts each time it comes.
    pub(in crate::receiver) id: Option<PostId>,
    pub(in crate::receiver) change: Change,
}

/// A post with an `Idempotency-Key`, as hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::receiver) struct PostId {
    /// Of path and key. 128 bits, since a collision would lose a post.
    pub(in crate::receiver) key: [u8; 16],
    /// Of the body. 64 bits are enough to see that a client reuses a key.
    pub(in crate::receiver) body: [u8; 8],
}

/// The contents of a post.
#[derive(Debug)]
pub(in crate::receiver) enum Change {
    Usage(UsagePushes),
    Spec {
        post: PodSpecPost,
        /// The only node whose live rows it may end; `None`: it may end all.
        only_on: Option<String>,
    },
    MarkDead {
        post: MarkDead,
        /// The only node whose rows it may mark; `None`: it may mark all.
        only_on: Option<String>,
    },
}

/// Usage of nodes and pods, with their documents.
#[derive(Debug)]
pub(in crate::receiver) struct UsagePushes {
    pub(in crate::receiver) dialect: Dialect,
    pub(in crate::receiver) nodes: Vec<NodePush>,
    pub(in crate::receiver) pods: Vec<PodPush>,
    pub(in crate::receiver) units: Vec<UnitPush>,
    pub(in crate::receiver) documents: Vec<Document>,
    /// The time of the sample; `None`: the post's arrival counts. An older one goes into the past of
    /// its node or pod and leaves the latest values.
    pub(in crate::receiver) sampled_at: Option<WallTime>,
}

impl UsagePushes {
    /// Pushes of a dialect, without any.
    pub(in crate::receiver) fn of(dialect: Dialect) -> Self {
        Self {
            dialect,
            nodes: Vec::new(),
            pods: Vec::new(),
            units: Vec::new(),
            documents: Vec::new(),
            sampled_at: None,
        }
    }
}

/// The usage of a host unit.
#[derive(Debug)]
pub(in crate::receiver) struct UnitPush {
    pub(in crate::receiver) node: String,
    /// Its cgroup without the first slash.
    pub(in crate::receiver) name: String,
    pub(in crate::receiver) usage: UsageValues,
}

#[derive(Debug)]
pub(in crate::receiver) struct NodePush {
    pub(in crate::receiver) name: String,
    pub(in crate::receiver) post: NodePost,
    /// Capacity and allocatable amounts; `None`: the post has none, and known ones stay.
    pub(in crate::receiver) amounts: Option<(NodeAmounts, NodeAmounts)>,
}

#[derive(Debug)]
pub(in crate::receiver) struct PodPush {
    pub(in crate::receiver) namespace: String,
    pub(in crate::receiver) name: String,
    pub(in crate::receiver) post: PodPost,
}

/// A resource of a batch, or a record, as it was posted.
#[derive(Debug)]
pub(in crate::receiver) struct Document {
    pub(in crate::receiver) kind: DocumentKind,
    /// Empty of a node and of a record.
    pub(in crate::receiver) namespace: String,
    pub(in crate::receiver) name: String,
    pub(in crate::receiver) json: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::receiver) enum DocumentKind {
    Pod,
    Node,
    /// The record of a node's last sample.
    Record,
}

/// A post that was stored, now or before.
#[derive(Debug)]
pub(in crate::receiver) struct Stored {
    /// It was accepted before, and changed nothing.
    pub(in crate::receiver) is_replay: bool,
    pub(in crate::receiver) outcome: StoredOutcome,
}

#[derive(Debug)]
pub(in crate::receiver) enum StoredOutcome {
    Usage,
    Spec(SpecRow),
    /// The number of rows that a mark-dead post named, dead before or not.
    MarkedDead(usize),
}

/// A resource of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::receiver) struct DocumentRow {
    /// Empty of a node.
    pub(in crate::receiver) namespace: String,
    pub(in crate::receiver) name: String,
    pub(in crate::receiver) json: String,
}

/// The reason why a post was not stored, or a read not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(in crate::receiver) enum StoreError {
    #[error(transparent)]
    Full(#[from] Full),
    #[error("another body was accepted under this Idempotency-Key; a key is for one post")]
    OtherBody,
    /// A post of one node's sender would end the row of another node's pod.
    #[error("a pod of that name is alive on another node, whose sender alone may end it")]
    OtherNode,
    /// The disk, or the room that the store may take, is used up.
    #[error("the store has no room: {0}")]
    NoRoom(String),
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    #[error("too many long lists are being read; ask again")]
    Busy,
}

/// A node with its latest usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::receiver) struct NodeRow {
    pub(in crate::receiver) name: String,
    pub(in crate::receiver) at: WallTime,
    /// The time of its arrival.
    pub(in crate::receiver) seen_at: WallTime,
    pub(in crate::receiver) usage: UsageValues,
    pub(in crate::receiver) extras: NodeEcho,
    /// Capacity and allocatable amounts; `None` until a pod batch has them.
    pub(in crate::receiver) amounts: Option<(NodeAmounts, NodeAmounts)>,
}

/// A pod with its latest usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::receiver) struct PodRow {
    pub(in crate::receiver) namespace: String,
    pub(in crate::receiver) name: String,
    pub(in crate::receiver) node_name: String,
    pub(in crate::receiver) at: WallTime,
    pub(in crate::receiver) usage: UsageValues,
    pub(in crate::receiver) extras: PodEcho,
}

/// The sum of the pods of a namespace or deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::receiver) struct SumRow {
    pub(in crate::receiver) of: SumKey,
    /// The latest push among them.
    pub(in crate::receiver) at: WallTime,
    pub(in crate::receiver) usage: UsageValues,
}

/// A namespace, or a deployment of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::receiver) struct SumKey {
    pub(in crate::receiver) namespace: String,
    pub(in crate::receiver) deployment: Option<String>,
}

/// The points of a node, a pod, or a sum of pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::receiver) struct SeriesRow<K> {
    pub(in crate::receiver) of: K,
    pub(in crate::receiver) points: Vec<Point>,
}

/// Namespace and name of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::receiver) struct PodKey {
    pub(in crate::receiver) namespace: String,
    pub(in crate::receiver) name: String,
}

/// A row of the life-cycle API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::receiver) struct SpecRow {
    pub(in crate::receiver) head: RowHead,
    /// The pod's object as JSON; `None` where no post had one.
    pub(in crate::receiver) pod_obj: Option<String>,
}

impl SpecRow {
    /// Namespace and name, by which rows are ordered. Rows without a namespace come last.
    pub(in crate::receiver) fn place(&self) -> (&str, &str) {
        (self.head.pod_namespace.as_deref().unwrap_or("\u{10ffff}"), &self.head.pod_name)
    }
}

/// Nodes or pods that were pushed since some time. What is `None` selects nothing.
#[derive(Debug, Clone, Default)]
pub(in crate::receiver) struct EntityQuery {
    pub(in crate::receiver) since: WallTime,
    /// Of pods.
    pub(in crate::receiver) namespace: Option<String>,
    pub(in crate::receiver) name: Option<String>,
    /// Of pods.
    pub(in crate::receiver) node: Option<String>,
    /// Of pods.
    pub(in crate::receiver) deployment: Option<String>,
}

/// A part of an ordered list.
#[derive(Debug, Clone)]
pub(in crate::receiver) struct RowPage {
    /// The namespace and name behind which the page begins; `None`: at the first. The namespace of a
    /// node is empty.
    pub(in crate::receiver) after: Option<(String, String)>,
    pub(in crate::receiver) rows_max: usize,
}

impl RowPage {
    /// The first page of rows.
    pub(in crate::receiver) fn of_rows() -> Self {
        Self { after: None, rows_max: 100 }
    }

    /// The first page of documents, which have some KB each.
    pub(in crate::receiver) fn of_documents() -> Self {
        Self { after: None, rows_max: 8 }
    }

    /// The first page of series.
    pub(in crate::receiver) fn of_series() -> Self {
        Self { after: None, rows_max: 1 }
    }

    /// The page behind this one, which had `rows` rows; `None`: this is the last.
    pub(in crate::receiver) fn next(
        &self,
        rows: usize,
        last: Option<(String, String)>,
    ) -> Option<Self> {
        let is_full = rows >= self.rows_max;
        last.filter(|_| is_full).map(|last| Self { after: Some(last), ..*self })
    }
}

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::receiver) struct Span {
    pub(in crate::receiver) from: WallTime,
    pub(in crate::receiver) until: WallTime,
    /// The points of each step are merged into one. `None`: as they are kept.
    pub(in crate::receiver) step: Option<Duration>,
}

/// Rows of the life-cycle API.
#[derive(Debug, Clone)]
pub(in crate::receiver) enum SpecQuery {
    Named(String),
    /// The live row with this address, else the one that changed last.
    WithIp(String),
    All,
    /// The live rows of a node.
    LiveOn(String),
}
