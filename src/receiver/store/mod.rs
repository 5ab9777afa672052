//! Everything that was pushed, in a database. Handlers send owned commands and get owned rows.
//!
//! A pod is live until `stale_after` has passed without a push. Then it leaves the lists and the
//! sums, and its past stays readable until it is older than `retention`. A node stays listed for an
//! hour, marked stale: pods come and go, but a silent node is worth seeing.

mod aging;
mod block;
mod point;
mod port;
mod postgres;
mod push;
mod spec;
mod sqlite;
mod sums;
#[cfg(test)]
mod tests;
mod totals;

use std::fmt;

use crate::quantity::WallTime;
use crate::receiver::bounds::ReceiverBounds;

pub(super) use point::Point;
pub(super) use port::{
    Change, Document, DocumentKind, DocumentRow, EntityQuery, NodePush, NodeRow, PodKey, PodPush,
    PodRow, PostId, RowPage, SeriesRow, Span, SpecQuery, SpecRow, StoreError, StorePost, Stored,
    StoredOutcome, SumKey, SumRow, UnitPush, UsagePushes,
};
use postgres::PostgresStore;
pub use postgres::{PostgresAddress, PostgresAddressError};
use sqlite::SqliteStore;
pub use sqlite::{
    HistoryInfo, SqlitePlace, StoreFileError, StoreFileInfo, backup_store, compact_store,
    store_info,
};

/// The database of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    Sqlite(SqlitePlace),
    Postgres(Box<PostgresAddress>),
}

impl StorePlace {
    /// In memory, with the process.
    pub const MEMORY: Self = Self::Sqlite(SqlitePlace::Memory);
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(SqlitePlace::Memory) => f.write_str("in memory"),
            Self::Sqlite(SqlitePlace::File(path)) => write!(f, "{}", path.display()),
            Self::Postgres(address) => write!(f, "{address}"),
        }
    }
}

/// A store. Clones share it; it is closed with the last of them.
#[derive(Debug, Clone)]
pub(super) enum Store {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

/// Functions of both stores.
macro_rules! of_both {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $row:ty;)*) => {
        impl Store {
            $(pub(super) async fn $name(&self, $($argument: $kind),*) -> Result<$row, StoreError> {
                match self {
                    Self::Sqlite(store) => store.$name($($argument),*).await,
                    Self::Postgres(store) => store.$name($($argument),*).await,
                }
            })*
        }
    };
}

of_both! {
    fn post(post: StorePost) -> Stored;
    fn nodes(wanted: EntityQuery, page: RowPage) -> Vec<NodeRow>;
    fn pods(wanted: EntityQuery, page: RowPage) -> Vec<PodRow>;
    fn sums(wanted: EntityQuery, by_deployment: bool) -> Vec<SumRow>;
    fn node_series(wanted: EntityQuery, page: RowPage, span: Span) -> Vec<SeriesRow<String>>;
    fn pod_series(wanted: EntityQuery, page: RowPage, span: Span) -> Vec<SeriesRow<PodKey>>;
    fn unit_series(wanted: EntityQuery, page: RowPage, span: Span) -> Vec<SeriesRow<PodKey>>;
    fn record(node: String) -> Option<String>;
    fn sum_series(wanted: EntityQuery, by_deployment: bool, span: Span) -> Vec<SeriesRow<SumKey>>;
    fn documents(kind: DocumentKind, since: WallTime, page: RowPage) -> Vec<DocumentRow>;
    fn specs(wanted: SpecQuery, page: RowPage) -> Vec<SpecRow>;
}

impl Store {
    /// Opens the store and starts its thread.
    ///
    /// # Errors
    /// It cannot be used by this receiver. A PostgreSQL database that is away is no error.
    pub(super) fn open(
        place: &StorePlace,
        bounds: ReceiverBounds,
        now: WallTime,
    ) -> Result<Self, StoreError> {
        Ok(match place {
            StorePlace::Sqlite(place) => Self::Sqlite(SqliteStore::open(place, bounds, now)?),
            StorePlace::Postgres(address) => Self::Postgres(PostgresStore::open(address, bounds)?),
        })
    }

    pub(super) fn bounds(&self) -> ReceiverBounds {
        match self {
            Self::Sqlite(store) => store.bounds(),
            Self::Postgres(store) => store.bounds(),
        }
    }

    /// Replaces the bounds. What lies beyond the new ones is removed with later posts.
    pub(super) fn set_bounds(&self, bounds: ReceiverBounds) {
        match self {
            Self::Sqlite(store) => store.set_bounds(bounds),
            Self::Postgres(store) => store.set_bounds(bounds),
        }
    }
}
