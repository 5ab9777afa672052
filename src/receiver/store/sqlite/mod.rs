//! The store in a SQLite database, in a file or in memory.
//!
//! One thread writes. Reads of a file run beside it, each on a connection of its own, and see what is
//! committed. In memory there is one connection, so the writing thread reads too.

mod database;
mod error;
mod ingest;
mod maintenance;
mod reads;
mod retention;
mod rows;
mod schema;
mod thread;
mod totals;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use self::database::SqlitePlace;
use self::database::{StoreDatabase, open_reader};
use self::error::SqliteError;
pub use self::maintenance::{
    HistoryInfo, StoreFileError, StoreFileInfo, backup_store, compact_store, store_info,
};
use self::thread::{Call, StoreWriter};
use super::port::{
    DocumentKind, DocumentRow, EntityQuery, NodeRow, PodKey, PodRow, RowPage, SeriesRow, Span,
    SpecQuery, SpecRow, StoreError, StorePost, Stored, SumKey, SumRow,
};
use crate::quantity::WallTime;
use crate::receiver::bounds::ReceiverBounds;

/// The most posts that wait for the thread. Their senders wait beyond.
const CALLS_MAX: usize = 64;

/// The most reads at the same time. Further ones wait.
const READERS_MAX: usize = 4;

/// A store in SQLite. Clones share it; it is closed with the last of them.
#[derive(Clone)]
pub(in crate::receiver) struct SqliteStore(Arc<Shared>);

struct Shared {
    calls: mpsc::Sender<Call>,
    bounds: Arc<Mutex<ReceiverBounds>>,
    /// `None`: it is in memory.
    readers: Option<Readers>,
}

/// Connections that only read.
struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
    /// Rises with each new file, so that connections to an earlier one are closed.
    generation: Arc<AtomicU64>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the store and starts its thread.
    ///
    /// # Errors
    /// It cannot be opened, or another receiver has it open.
    pub(in crate::receiver) fn open(
        place: &SqlitePlace,
        bounds: ReceiverBounds,
        now: WallTime,
    ) -> Result<Self, StoreError> {
        let database = StoreDatabase::open(place, bounds.store_bytes_max, now)?;
        let bounds = Arc::new(Mutex::new(bounds));
        let readers = match place {
            SqlitePlace::Memory => None,
            SqlitePlace::File(path) => Some(Readers {
                path: path.clone(),
                permits: Arc::new(Semaphore::new(READERS_MAX)),
                idle: Arc::default(),
                generation: Arc::default(),
            }),
        };
        let on_replaced: Box<dyn Fn() + Send> = match &readers {
            None => Box::new(|| {}),
            Some(readers) => {
                let (idle, generation) = (readers.idle.clone(), readers.generation.clone());
                Box::new(move || {
                    let mut idle = locked(&idle);
                    generation.fetch_add(1, Ordering::Relaxed);
                    idle.clear();
                })
            }
        };
        let writer = StoreWriter::new(place.clone(), bounds.clone(), database, on_replaced)?;
        let (calls, waiting) = mpsc::channel(CALLS_MAX);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(SqliteError::from)?;
        Ok(Self(Arc::new(Shared { calls, bounds, readers })))
    }

    pub(in crate::receiver) fn bounds(&self) -> ReceiverBounds {
        locked(&self.0.bounds).clone()
    }

    /// Replaces the bounds. What lies beyond the new ones is removed with later posts.
    pub(in crate::receiver) fn set_bounds(&self, bounds: ReceiverBounds) {
        *locked(&self.0.bounds) = bounds;
    }

    /// Stores a post. It is on disk when this returns.
    pub(in crate::receiver) async fn post(&self, post: StorePost) -> Result<Stored, StoreError> {
        let (answer, stored) = oneshot::channel();
        self.call(Call::Post(Box::new(post), answer)).await?;
        stored.await.map_err(|_| ended())?
    }

    async fn call(&self, call: Call) -> Result<(), StoreError> {
        self.0.calls.send(call).await.map_err(|_| ended())
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(readers) = &self.0.readers else {
            let (answer, value) = oneshot::channel();
            let call = Call::Read(Box::new(move |connection| {
                // A client that has gone needs no answer.
                let _ = answer.send(read(connection));
            }));
            self.call(call).await?;
            return Ok(value.await.map_err(|_| ended())??);
        };
        let permits = Arc::clone(&readers.permits);
        let permit = permits.acquire_owned().await.map_err(|_| ended())?;
        let (idle, path) = (Arc::clone(&readers.idle), readers.path.clone());
        let generation = Arc::clone(&readers.generation);
        let work = tokio::task::spawn_blocking(move || {
            // Held to the end of the read, also where the client has gone meanwhile.
            let _permit = permit;
            let begun = generation.load(Ordering::Relaxed);
            let connection = locked(&idle).pop();
            let connection = match connection {
                Some(connection) => connection,
                None => open_reader(&path)?,
            };
            // All statements of one read see one state.
            let state = connection.unchecked_transaction()?;
            let value = read(&connection);
            drop(state);
            let mut idle = locked(&idle);
            if generation.load(Ordering::Relaxed) == begun {
                idle.push(connection);
            }
            value
        });
        Ok(work.await.map_err(|_| ended())??)
    }

    pub(in crate::receiver) async fn nodes(
        &self,
        wanted: EntityQuery,
        page: RowPage,
    ) -> Result<Vec<NodeRow>, StoreError> {
        self.read(move |connection| reads::nodes(connection, &wanted, &page)).await
    }

    pub(in crate::receiver) async fn pods(
        &self,
        wanted: EntityQuery,
        page: RowPage,
    ) -> Result<Vec<PodRow>, StoreError> {
        self.read(move |connection| reads::pods(connection, &wanted, &page)).await
    }

    pub(in crate::receiver) async fn sums(
        &self,
        wanted: EntityQuery,
        by_deployment: bool,
    ) -> Result<Vec<SumRow>, StoreError> {
        self.read(move |connection| reads::sums(connection, &wanted, by_deployment)).await
    }

    pub(in crate::receiver) async fn node_series(
        &self,
        wanted: EntityQuery,
        page: RowPage,
        span: Span,
    ) -> Result<Vec<SeriesRow<String>>, StoreError> {
        self.read(move |connection| reads::node_series(connection, &wanted, &page, span)).await
    }

    pub(in crate::receiver) async fn pod_series(
        &self,
        wanted: EntityQuery,
        page: RowPage,
        span: Span,
    ) -> Result<Vec<SeriesRow<PodKey>>, StoreError> {
        self.read(move |connection| reads::pod_series(connection, &wanted, &page, span)).await
    }

    pub(in crate::receiver) async fn unit_series(
        &self,
        wanted: EntityQuery,
        page: RowPage,
        span: Span,
    ) -> Result<Vec<SeriesRow<PodKey>>, StoreError> {
        self.read(move |connection| reads::unit_series(connection, &wanted, &page, span)).await
    }

    pub(in crate::receiver) async fn record(
        &self,
        node: String,
    ) -> Result<Option<String>, StoreError> {
        self.read(move |connection| reads::record(connection, &node)).await
    }

    pub(in crate::receiver) async fn sum_series(
        &self,
        wanted: EntityQuery,
        by_deployment: bool,
        span: Span,
    ) -> Result<Vec<SeriesRow<SumKey>>, StoreError> {
        let ReceiverBounds { interval, stale_after, .. } = self.bounds();
        self.read(move |connection| {
            reads::sum_series(connection, &wanted, by_deployment, span, interval, stale_after)
        })
        .await
    }

    pub(in crate::receiver) async fn documents(
        &self,
        kind: DocumentKind,
        since: WallTime,
        page: RowPage,
    ) -> Result<Vec<DocumentRow>, StoreError> {
        self.read(move |connection| reads::documents(connection, kind, since, &page)).await
    }

    pub(in crate::receiver) async fn specs(
        &self,
        wanted: SpecQuery,
        page: RowPage,
    ) -> Result<Vec<SpecRow>, StoreError> {
        self.read(move |connection| reads::specs(connection, &wanted, &page)).await
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable("its thread has ended".to_owned())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
