//! State that all handlers share: the store, and the clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::FromRef;
use axum::http::HeaderValue;
use axum::response::Response;
use thiserror::Error;

use super::answer::Refusal;
use super::bounds::ReceiverBounds;
use super::idempotency::REPLAYED;
use super::minute_log::MinuteLog;
use super::request::{LargeBodies, PostHead};
use super::store::{
    Change, EntityQuery, SqlitePlace, SqliteStore, StorePost, Stored, StoredOutcome,
};
use crate::quantity::WallTime;

/// The wall clock that stamps the pushes.
pub type WallClock = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// Everything that was pushed. Clones share it, so that receivers on several addresses can serve it.
#[derive(Clone)]
pub struct ReceiverState(Arc<SharedState>);

struct SharedState {
    store: SqliteStore,
    is_in_memory: bool,
    large_bodies: LargeBodies,
    log: MinuteLog,
    clock: WallClock,
    /// Nothing was accepted yet, and somebody is about to push.
    awaits_first: AtomicBool,
}

/// The store cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct OpenError(String);

impl fmt::Debug for ReceiverState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverState").finish_non_exhaustive()
    }
}

impl ReceiverState {
    /// The state over a store that is opened or created here.
    ///
    /// # Errors
    /// The place cannot be used, another receiver uses it, or what is there is no store of ours.
    pub fn open(
        place: &SqlitePlace,
        bounds: ReceiverBounds,
        clock: WallClock,
    ) -> Result<Self, OpenError> {
        let store = SqliteStore::open(place, bounds, clock());
        Ok(Self(Arc::new(SharedState {
            store: store.map_err(|error| OpenError(error.to_string()))?,
            is_in_memory: *place == SqlitePlace::Memory,
            large_bodies: LargeBodies::default(),
            log: MinuteLog::default(),
            clock,
            awaits_first: AtomicBool::new(false),
        })))
    }

    /// True if what was pushed ends with the process.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.0.is_in_memory
    }

    /// The same, of a receiver whose own agent is about to push. Until it does, reads are answered
    /// 503: an empty answer, or 404, would be untrue.
    #[must_use]
    pub fn awaiting_first_push(self) -> Self {
        self.0.awaits_first.store(true, Ordering::Relaxed);
        self
    }

    pub(super) fn awaits_first_push(&self) -> bool {
        self.0.awaits_first.load(Ordering::Relaxed)
    }

    /// Notes that a push was accepted.
    pub(super) fn has_push(&self) {
        self.0.awaits_first.store(false, Ordering::Relaxed);
    }

    /// Replaces the bounds. What lies beyond the new ones is removed with later pushes.
    pub fn set_bounds(&self, bounds: ReceiverBounds) {
        self.0.store.set_bounds(bounds);
    }

    pub(super) fn bounds(&self) -> ReceiverBounds {
        self.0.store.bounds()
    }

    pub(super) fn now(&self) -> WallTime {
        (self.0.clock)()
    }

    /// Logs an event that a sender caused, once a minute and kind.
    pub(super) fn log(&self, kind: &'static str, details: impl FnOnce() -> String) {
        self.0.log.say(self.now(), kind, details);
    }

    pub(super) fn store(&self) -> &SqliteStore {
        &self.0.store
    }

    /// Selects what is live: it was pushed within `stale_after`.
    pub(super) fn live(&self) -> EntityQuery {
        EntityQuery { since: self.now().minus(self.bounds().stale_after), ..EntityQuery::default() }
    }

    /// Selects the nodes that are listed: a silent one is for an hour.
    pub(super) fn listed_nodes(&self) -> EntityQuery {
        let listed_for = self.bounds().retention.min(Duration::from_secs(3600));
        EntityQuery { since: self.now().minus(listed_for), ..EntityQuery::default() }
    }

    /// Selects what has a past that can still be read.
    pub(super) fn kept(&self) -> EntityQuery {
        EntityQuery { since: self.now().minus(self.bounds().retention), ..EntityQuery::default() }
    }

    /// Stores a post. `answer` makes the answer; that to a replay says so in a header.
    pub(super) async fn store_post(
        &self,
        head: PostHead,
        change: Change,
        answer: impl FnOnce(StoredOutcome) -> Response,
    ) -> Result<Response, Refusal> {
        let PostHead { sender, id } = head;
        let post = StorePost { at: self.now(), sender, id, change };
        let Stored { is_replay, outcome } = self.0.store.post(post).await?;
        let mut response = answer(outcome);
        if is_replay {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(response)
    }
}

impl FromRef<ReceiverState> for LargeBodies {
    fn from_ref(state: &ReceiverState) -> Self {
        state.0.large_bodies.clone()
    }
}
