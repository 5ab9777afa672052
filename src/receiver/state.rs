//! State that all handlers share: what was pushed, the posts that were accepted, the clock.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderValue, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{HandlerResult, Refusal};
use super::bounds::ReceiverBounds;
use super::documents::BatchDocuments;
use super::idempotency::{IdempotencyCache, PostHasher, PostId, PostLookup, REPLAYED};
use super::lifecycle_rows::LifecycleRows;
use super::store::Store;
use crate::quantity::WallTime;

/// The most large bodies that are read at the same time.
const LARGE_BODIES_MAX: usize = 8;

/// The wall clock that stamps the pushes.
pub type WallClock = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// Everything that was pushed. Clones share it, so that receivers on several addresses can serve it.
#[derive(Clone)]
pub struct ReceiverState(Arc<SharedState>);

struct SharedState {
    store: Mutex<Store>,
    documents: Mutex<BatchDocuments>,
    rows: Mutex<LifecycleRows>,
    accepted: Mutex<IdempotencyCache>,
    hasher: PostHasher,
    large_bodies: Arc<Semaphore>,
    clock: WallClock,
    /// Nothing was accepted yet, and somebody is about to push.
    awaits_first: AtomicBool,
}

/// A post seen for the first time, or a replay that must change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    First,
    Replay,
}

impl fmt::Debug for ReceiverState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverState").finish_non_exhaustive()
    }
}

impl ReceiverState {
    #[must_use]
    pub fn new(bounds: ReceiverBounds, clock: WallClock) -> Self {
        Self(Arc::new(SharedState {
            store: Mutex::new(Store::new(bounds)),
            documents: Mutex::default(),
            rows: Mutex::default(),
            accepted: Mutex::default(),
            hasher: PostHasher::default(),
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES_MAX)),
            clock,
            awaits_first: AtomicBool::new(false),
        }))
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
        self.store().set_bounds(bounds);
    }

    pub(super) fn bounds(&self) -> ReceiverBounds {
        self.store().bounds().clone()
    }

    pub(super) fn now(&self) -> WallTime {
        (self.0.clock)()
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        locked(&self.0.store)
    }

    pub(super) fn documents(&self) -> MutexGuard<'_, BatchDocuments> {
        locked(&self.0.documents)
    }

    pub(super) fn rows(&self) -> MutexGuard<'_, LifecycleRows> {
        locked(&self.0.rows)
    }

    pub(super) fn hasher(&self) -> &PostHasher {
        &self.0.hasher
    }

    /// The answer of `answer`, which keeps what was posted on first arrival only. Two posts that
    /// arrive at once wait for each other, so that one of them is a replay. A post without a key is
    /// always a first arrival.
    pub(super) fn once(
        &self,
        post: Option<PostId>,
        answer: impl FnOnce(Arrival) -> HandlerResult,
    ) -> HandlerResult {
        let Some(post) = post else { return answer(Arrival::First) };
        let (now, bounds) = (self.now(), self.bounds());
        let mut accepted = locked(&self.0.accepted);
        match accepted.look_up(now, post, &bounds) {
            PostLookup::Unknown => {
                let answer = answer(Arrival::First)?;
                accepted.remember(now, post, &bounds);
                Ok(answer)
            }
            PostLookup::SameBody => {
                let mut answer = answer(Arrival::Replay)?;
                answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                Ok(answer)
            }
            PostLookup::OtherBody => Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "another body was accepted under this Idempotency-Key; a key is for one post",
            )),
        }
    }

    /// Waits until a large body may be read.
    pub(super) async fn large_body_permit(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.0.large_bodies).acquire_owned().await.ok()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under the lock leaves no half of a push behind that a read could fail on.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
