//! Everything that was pushed, in a database. Handlers send owned commands and get owned rows.
//!
//! A pod is live until `stale_after` has passed without a push. Then it leaves the lists and the
//! sums, and its past stays readable until it is older than `retention`. A node stays listed for an
//! hour, marked stale: pods come and go, but a silent node is worth seeing.

mod block;
mod point;
mod port;
mod sqlite;
mod sums;
#[cfg(test)]
mod tests;

pub(super) use point::Point;
pub(super) use port::{
    Change, Document, DocumentKind, DocumentRow, EntityQuery, NodePush, NodeRow, PodKey, PodPush,
    PodRow, PostId, RowPage, SeriesRow, Span, SpecQuery, SpecRow, StoreError, StorePost, Stored,
    StoredOutcome, SumKey, SumRow, UnitPush, UsagePushes,
};
pub(super) use sqlite::SqliteStore;
pub use sqlite::{
    HistoryInfo, SqlitePlace, StoreFileError, StoreFileInfo, backup_store, compact_store,
    store_info,
};
