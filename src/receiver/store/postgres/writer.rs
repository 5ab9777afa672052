//! The writing task: it stores posts, many in a transaction, and has what is old aged.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::warn;

use super::address::PostgresAddress;
use super::error::PostgresError;
use super::names::store_names;
use super::retention;
use super::session::{ANSWER_TIME, Session};
use super::work::{Work, WorkRows};
use crate::receiver::bounds::ReceiverBounds;
use crate::receiver::minute_log::MinuteLog;
use crate::receiver::store::aging::AgingClock;
use crate::receiver::store::port::{Change, StoreError, StorePost, Stored};
use crate::receiver::store::totals::Totals;

/// The most posts of one transaction.
const POSTS_OF_BATCH: usize = 256;

/// The rows and bytes from which on a transaction takes no more posts.
const ROWS_OF_BATCH: usize = 20_000;
const BYTES_OF_BATCH: usize = 16 << 20;

/// A post, and where its answer goes.
pub(super) type PostCall = (Box<StorePost>, oneshot::Sender<Result<Stored, StoreError>>);

/// The task's own state.
pub(super) struct PostgresWriter {
    address: PostgresAddress,
    bounds: Arc<Mutex<ReceiverBounds>>,
    runtime: Handle,
    session: Option<Session>,
    clock: AgingClock,
    /// The hints of this process on silent rows. The numbers are those of the last transaction.
    totals: Totals,
    log: MinuteLog,
    is_away: bool,
    /// The most posts of the next transaction: one after a failure, then more and more.
    posts_max: usize,
    aging: Option<JoinHandle<()>>,
}

impl PostgresWriter {
    /// `session`: `None` where the database is away.
    pub(super) fn new(
        address: PostgresAddress,
        bounds: Arc<Mutex<ReceiverBounds>>,
        session: Option<Session>,
    ) -> Self {
        Self {
            address,
            bounds,
            runtime: Handle::current(),
            is_away: session.is_none(),
            session,
            clock: AgingClock::default(),
            totals: Totals::default(),
            log: MinuteLog::default(),
            posts_max: POSTS_OF_BATCH,
            aging: None,
        }
    }

    /// Serves calls until all senders are gone.
    pub(super) async fn run(mut self, mut calls: mpsc::Receiver<PostCall>) {
        while let Some(first) = calls.recv().await {
            let (mut posts, mut answers) = (Vec::new(), Vec::new());
            let (mut rows, mut bytes) = (0, 0);
            let mut next = Some(first);
            while let Some((mut post, answer)) = next.take() {
                self.clock.set_now(post.at);
                store_names(&mut post);
                let (of_rows, of_bytes) = size_of(&post);
                rows += of_rows;
                bytes += of_bytes;
                posts.push(*post);
                answers.push(answer);
                if posts.len() < self.posts_max && rows < ROWS_OF_BATCH && bytes < BYTES_OF_BATCH {
                    next = calls.try_recv().ok();
                }
            }
            match self.batch(posts).await {
                Ok(stored) => {
                    self.is_back();
                    self.posts_max = (self.posts_max * 2).min(POSTS_OF_BATCH);
                    for (answer, stored) in answers.into_iter().zip(stored) {
                        // A client that has gone needs no answer.
                        let _ = answer.send(stored);
                    }
                }
                Err(error) => {
                    let has_no_answer = matches!(error, PostgresError::Timeout(_))
                        || self.session.as_ref().is_none_or(Session::is_closed);
                    if has_no_answer {
                        // They have waited for this attempt, and would for the next one.
                        answers.extend(std::iter::from_fn(|| Some(calls.try_recv().ok()?.1)));
                    }
                    // If it was one of the posts, the others are stored without it.
                    self.posts_max = 1;
                    // Its transaction ends with it.
                    self.session = None;
                    self.is_away = true;
                    let text = error.to_string();
                    let refusal = StoreError::from(error);
                    self.log.say(self.clock.now(), "the store cannot be written", || {
                        format!(
                            "{} ({text}): posts are answered 503 or 507 until it is back, and their \
                             senders retry",
                            self.address
                        )
                    });
                    for answer in answers {
                        let _ = answer.send(Err(refusal.clone()));
                    }
                }
            }
            self.age_if_due();
        }
    }

    fn is_back(&mut self) {
        if std::mem::take(&mut self.is_away) {
            self.log.say(self.clock.now(), "the store answers", || self.address.to_string());
        }
    }

    /// Stores posts in one transaction. An error is that of all of them.
    async fn batch(
        &mut self,
        posts: Vec<StorePost>,
    ) -> Result<Vec<Result<Stored, StoreError>>, PostgresError> {
        let bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stored = async {
            self.session.take_if(|session| session.is_closed());
            let session = match &mut self.session {
                Some(session) => session,
                none => none.insert(Session::open(&self.address, &self.runtime).await?),
            };
            store_all(session, &bounds, posts, &mut self.totals).await
        };
        let stored = tokio::time::timeout(ANSWER_TIME, stored).await;
        stored.map_err(|_| PostgresError::Timeout(ANSWER_TIME.as_secs()))?
    }

    /// Ages what is old beside the posts: that waits for the store's lock like another receiver.
    fn age_if_due(&mut self) {
        let is_busy = self.aging.as_ref().is_some_and(|aging| !aging.is_finished());
        if !self.clock.is_due() || is_busy || self.is_away || !self.clock.removes() {
            return;
        }
        self.clock.has_aged();
        let bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (address, runtime) = (self.address.clone(), self.runtime.clone());
        let now = self.clock.now();
        self.aging = Some(self.runtime.spawn(async move {
            // A failure is one of the database, which the next post meets too, or a lock that was not
            // had. The next pass tries again.
            let aged = retention::age(&address, &runtime, now, &bounds);
            let timeout = |_| PostgresError::Timeout(retention::PASS_TIME.as_secs());
            let aged = tokio::time::timeout(retention::PASS_TIME, aged).await.map_err(timeout);
            if let Err(error) = aged.flatten() {
                warn!(
                    "receiver: the store {address} was not aged in full ({error}); again in a minute"
                );
            }
        }));
    }
}

/// The rows and the bytes of documents of a post.
fn size_of(post: &StorePost) -> (usize, usize) {
    match &post.change {
        Change::Usage(pushes) => {
            let rows = pushes.nodes.len() + pushes.pods.len() + pushes.units.len();
            let bytes = pushes.documents.iter().map(|document| document.json.len()).sum();
            (rows + pushes.documents.len(), bytes)
        }
        Change::Spec { post, .. } => (1, post.pod_obj.as_ref().map_or(0, String::len)),
        Change::MarkDead { .. } => (1, 0),
    }
}

/// Stores posts in one transaction, each as a whole or not at all.
async fn store_all(
    session: &Session,
    bounds: &ReceiverBounds,
    posts: Vec<StorePost>,
    totals: &mut Totals,
) -> Result<Vec<Result<Stored, StoreError>>, PostgresError> {
    let mut work = Work::begin(session, totals).await?;
    let mut answers = Vec::with_capacity(posts.len());
    let mut posts = posts.into_iter();
    // Where room has to be made, the rows in memory are read again: then few are read at a time.
    let mut chunk_max = POSTS_OF_BATCH;
    while !posts.as_slice().is_empty() {
        let chunk = posts.as_slice();
        let chunk = chunk.get(..chunk_max.min(chunk.len())).unwrap_or_default();
        work.rows = WorkRows::load(session, chunk).await?;
        let mut was_roomy = true;
        for _ in 0..chunk.len() {
            let Some(post) = posts.as_slice().first() else { break };
            if let Some(answer) = work.answer_at_once(post, bounds) {
                answers.push(answer);
            } else if work.has_room(post, bounds) {
                let Some(post) = posts.next() else { break };
                answers.push(Ok(work.store(post, bounds)));
                continue;
            } else {
                was_roomy = false;
                break;
            }
            posts.next();
        }
        work.flush(session).await?;
        if !was_roomy && let Some(post) = posts.next() {
            answers.push(store_alone(session, &mut work, post, bounds).await?);
        }
        work.trim_keys(session, bounds).await?;
        chunk_max = if was_roomy { (chunk_max * 2).min(POSTS_OF_BATCH) } else { 1 };
    }
    work.commit(session).await?;
    *totals = work.totals;
    Ok(answers)
}

/// Stores a post for which something has to go, or nothing of it.
async fn store_alone(
    session: &Session,
    work: &mut Work,
    mut post: StorePost,
    bounds: &ReceiverBounds,
) -> Result<Result<Stored, StoreError>, PostgresError> {
    session.run("SAVEPOINT post").await?;
    let before = (work.totals, work.next_id);
    work.rows = WorkRows::load(session, std::slice::from_ref(&post)).await?;
    match work.make_room(session, &mut post, bounds).await {
        Ok(()) => {
            let stored = work.store(post, bounds);
            work.flush(session).await?;
            session.run("RELEASE SAVEPOINT post").await?;
            Ok(Ok(stored))
        }
        Err(PostgresError::Refused(error)) => {
            work.rows = WorkRows::default();
            let hints = work.totals;
            (work.totals, work.next_id) = before;
            work.totals.keep_hints(&hints);
            session.run("ROLLBACK TO SAVEPOINT post").await?;
            Ok(Err(error))
        }
        Err(error) => Err(error),
    }
}
