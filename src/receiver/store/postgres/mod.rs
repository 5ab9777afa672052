//! The store in a PostgreSQL database, which several receivers may share.
//!
//! One thread serves the connections and writes. Whoever writes locks the only row of the table
//! `store`, in which the totals are: receivers hold nothing that matters.

mod address;
mod error;
mod flush;
mod ingest;
mod names;
mod reads;
mod retention;
mod room;
mod rows;
mod schema;
mod session;
mod work;
mod writer;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Builder, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::warn;

pub use self::address::{PostgresAddress, PostgresAddressError};
use self::error::PostgresError;
use self::session::{ANSWER_TIME, Session};
use self::writer::{PostCall, PostgresWriter};
use super::port::{
    DocumentKind, DocumentRow, EntityQuery, NodeRow, PodKey, PodRow, RowPage, SeriesRow, Span,
    SpecQuery, SpecRow, StoreError, StorePost, Stored, SumKey, SumRow,
};
use crate::quantity::WallTime;
use crate::receiver::bounds::ReceiverBounds;

/// The most posts that wait for the writer. Their senders wait beyond.
const CALLS_MAX: usize = 256;

/// The most reads at the same time. Further ones wait.
const READERS_MAX: usize = 4;

/// A store in PostgreSQL. Clones share it; it is closed with the last of them.
#[derive(Clone)]
pub(in crate::receiver) struct PostgresStore(Arc<PostgresShared>);

struct PostgresShared {
    address: PostgresAddress,
    /// That of the store's thread.
    runtime: Handle,
    calls: mpsc::Sender<PostCall>,
    bounds: Arc<Mutex<ReceiverBounds>>,
    readers: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
}

/// A session of one read. It is used again where the read has ended well.
struct Reader {
    /// `None`: the read has ended well.
    session: Option<Session>,
    permit: Option<OwnedSemaphorePermit>,
    runtime: Handle,
}

/// Ends a read that failed, or whose client has gone. It counts as a reader until the server is done.
impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let permit = self.permit.take();
            self.runtime.spawn(async move {
                session.end().await;
                drop(permit);
            });
        }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("address", &self.0.address).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the store and starts its thread. A database that is away is tried again with each post
    /// and read.
    ///
    /// # Errors
    /// The database refuses this receiver, or is not one of ours.
    pub(in crate::receiver) fn open(
        address: &PostgresAddress,
        bounds: ReceiverBounds,
    ) -> Result<Self, StoreError> {
        let bounds = Arc::new(Mutex::new(bounds));
        let (calls, waiting) = mpsc::channel(CALLS_MAX);
        let (opened, is_opened) = std::sync::mpsc::channel();
        let (own, own_bounds) = (address.clone(), Arc::clone(&bounds));
        let failed = |error: std::io::Error| StoreError::Unavailable(error.to_string());
        let thread = move || {
            let runtime = match Builder::new_current_thread().enable_io().enable_time().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(opened.send(Err(failed(error)))),
            };
            runtime.block_on(async move {
                let handle = Handle::current();
                let session = match Session::open(&own, &handle).await {
                    Ok(session) => Some(session),
                    Err(error) if error.is_lasting() => {
                        return drop(opened.send(Err(error.into())));
                    }
                    Err(error) => {
                        warn!(
                            "receiver: the store {own} is away ({error}): posts and reads are \
                             answered 503 until it is there"
                        );
                        None
                    }
                };
                let writer = PostgresWriter::new(own, own_bounds, session);
                if opened.send(Ok(handle)).is_ok() {
                    writer.run(waiting).await;
                }
            });
        };
        std::thread::Builder::new().name("store".to_owned()).spawn(thread).map_err(failed)?;
        let runtime = is_opened.recv().map_err(|_| ended())??;
        Ok(Self(Arc::new(PostgresShared {
            address: address.clone(),
            runtime,
            calls,
            bounds,
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            idle: Mutex::default(),
        })))
    }

    pub(in crate::receiver) fn bounds(&self) -> ReceiverBounds {
        locked(&self.0.bounds).clone()
    }

    /// Replaces the bounds. What lies beyond the new ones is removed with later posts.
    pub(in crate::receiver) fn set_bounds(&self, bounds: ReceiverBounds) {
        *locked(&self.0.bounds) = bounds;
    }

    /// Stores a post. It is on the database's disk when this returns.
    pub(in crate::receiver) async fn post(&self, post: StorePost) -> Result<Stored, StoreError> {
        let (answer, stored) = oneshot::channel();
        self.0.calls.send((Box::new(post), answer)).await.map_err(|_| ended())?;
        stored.await.map_err(|_| ended())?
    }

    /// Reads with a session of its own, for a limited time.
    async fn read<T>(
        &self,
        read: impl AsyncFnOnce(&Session) -> Result<T, PostgresError>,
    ) -> Result<T, StoreError> {
        let timed = tokio::time::timeout(ANSWER_TIME, async {
            let mut reader = self.reader().await?;
            let Some(session) = &reader.session else { return Err(unanswered()) };
            let value = read(session).await?;
            locked(&self.0.idle).extend(reader.session.take());
            Ok(value)
        });
        Ok(timed.await.map_err(|_| unanswered())??)
    }

    async fn reader(&self) -> Result<Reader, PostgresError> {
        let permit = Arc::clone(&self.0.readers).acquire_owned().await.map_err(|_| unanswered())?;
        let runtime = self.0.runtime.clone();
        let mut reader = Reader { session: None, permit: Some(permit), runtime };
        {
            let mut idle = locked(&self.0.idle);
            idle.retain(|session| !session.is_closed());
            reader.session = idle.pop();
        }
        if reader.session.is_some() {
            return Ok(reader);
        }
        let address = self.0.address.clone();
        // In a task of its own: it counts as a reader to its end, even if the client goes before.
        let opened = self.0.runtime.spawn(async move {
            reader.session = Some(Session::open(&address, &reader.runtime).await?);
            Ok(reader)
        });
        opened.await.map_err(|_| unanswered())?
    }

    pub(in crate::receiver) async fn nodes(
        &self,
        mut wanted: EntityQuery,
        page: RowPage,
    ) -> Result<Vec<NodeRow>, StoreError> {
        names::store_query(&mut wanted);
        self.read(async |session| reads::nodes(session, &wanted, &page).await).await
    }

    pub(in crate::receiver) async fn pods(
        &self,
        mut wanted: EntityQuery,
        page: RowPage,
    ) -> Result<Vec<PodRow>, StoreError> {
        names::store_query(&mut wanted);
        self.read(async |session| reads::pods(session, &wanted, &page).await).await
    }

    pub(in crate::receiver) async fn sums(
        &self,
        mut wanted: EntityQuery,
        by_deployment: bool,
    ) -> Result<Vec<SumRow>, StoreError> {
        names::store_query(&mut wanted);
        self.read(async |session| reads::sums(session, &wanted, by_deployment).await).await
    }

    pub(in crate::receiver) async fn node_series(
        &self,
        mut wanted: EntityQuery,
        page: RowPage,
        span: Span,
    ) -> Result<Vec<SeriesRow<String>>, StoreError> {
        names::store_query(&mut wanted);
        self.read(async |session| reads::node_series(session, &wanted, &page, span).await).await
    }

    pub(in crate::receiver) async fn pod_series(
        &self,
        mut wanted: EntityQuery,
        page: RowPage,
        span: Span,
    ) -> Result<Vec<SeriesRow<PodKey>>, StoreError> {
        names::store_query(&mut wanted);
        self.read(async |session| reads::pod_series(session, &wanted, &page, span).await).await
    }

    pub(in crate::receiver) async fn unit_series(
        &self,
        mut wanted: EntityQuery,
        page: RowPage,
        span: Span,
    ) -> Result<Vec<SeriesRow<PodKey>>, StoreError> {
        names::store_query(&mut wanted);
        self.read(async |session| reads::unit_series(session, &wanted, &page, span).await).await
    }

    pub(in crate::receiver) async fn record(
        &self,
        node: String,
    ) -> Result<Option<String>, StoreError> {
        self.read(async |session| reads::record(session, &node).await).await
    }

    pub(in crate::receiver) async fn sum_series(
        &self,
        mut wanted: EntityQuery,
        by_deployment: bool,
        span: Span,
    ) -> Result<Vec<SeriesRow<SumKey>>, StoreError> {
        names::store_query(&mut wanted);
        let ReceiverBounds { interval, stale_after, .. } = self.bounds();
        self.read(async |session| {
            reads::sum_series(session, &wanted, by_deployment, span, interval, stale_after).await
        })
        .await
    }

    pub(in crate::receiver) async fn documents(
        &self,
        kind: DocumentKind,
        since: WallTime,
        page: RowPage,
    ) -> Result<Vec<DocumentRow>, StoreError> {
        let wanted = EntityQuery { since, ..EntityQuery::default() };
        self.read(async |session| reads::documents(session, kind, &wanted, &page).await).await
    }

    pub(in crate::receiver) async fn specs(
        &self,
        mut wanted: SpecQuery,
        page: RowPage,
    ) -> Result<Vec<SpecRow>, StoreError> {
        names::store_spec_query(&mut wanted);
        self.read(async |session| reads::specs(session, &wanted, &page).await).await
    }
}

fn unanswered() -> PostgresError {
    PostgresError::Timeout(ANSWER_TIME.as_secs())
}

fn ended() -> StoreError {
    StoreError::Unavailable("its thread has ended".to_owned())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
