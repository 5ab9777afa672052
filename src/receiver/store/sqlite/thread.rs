//! The writing thread: it stores posts, many in a transaction, and ages what is old.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::database::{self, SqlitePlace, StoreDatabase};
use super::error::SqliteError;
use super::ingest::Ingest;
use super::retention::{self, Removal};
use super::totals::count_all;
use crate::quantity::WallTime;
use crate::receiver::bounds::ReceiverBounds;
use crate::receiver::store::aging::AgingClock;
use crate::receiver::store::block::BlockCodec;
use crate::receiver::store::port::{StoreError, StorePost, Stored};

/// The most posts of one transaction.
const POSTS_OF_BATCH: usize = 256;

/// The receiver's time between two lines about the same trouble.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// A call to the thread.
pub(super) enum Call {
    Post(Box<StorePost>, oneshot::Sender<Result<Stored, StoreError>>),
    /// A read of a store in memory, which has this one connection.
    Read(Box<dyn FnOnce(&Connection) + Send>),
}

/// The thread's own state.
pub(super) struct StoreWriter {
    place: SqlitePlace,
    bounds: Arc<Mutex<ReceiverBounds>>,
    database: StoreDatabase,
    codec: BlockCodec,
    clock: AgingClock,
    has_more_to_age: bool,
    said_at: Option<WallTime>,
    /// Is called when another file takes the place of a damaged one.
    on_replaced: Box<dyn Fn() + Send>,
}

impl StoreWriter {
    pub(super) fn new(
        place: SqlitePlace,
        bounds: Arc<Mutex<ReceiverBounds>>,
        database: StoreDatabase,
        on_replaced: Box<dyn Fn() + Send>,
    ) -> Result<Self, SqliteError> {
        Ok(Self {
            place,
            bounds,
            database,
            codec: BlockCodec::new()?,
            clock: AgingClock::default(),
            has_more_to_age: false,
            said_at: None,
            on_replaced,
        })
    }

    /// Serves calls until all senders are gone.
    pub(super) fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        while let Some(call) = calls.blocking_recv() {
            match call {
                Call::Read(read) => read(&self.database.connection),
                Call::Post(post, answer) => self.batch((post, answer), &mut calls),
            }
            self.age_if_due();
        }
    }

    fn bounds(&self) -> ReceiverBounds {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores a post and those that wait behind it in one transaction. They are answered once it is on
    /// disk.
    fn batch(
        &mut self,
        first: (Box<StorePost>, oneshot::Sender<Result<Stored, StoreError>>),
        calls: &mut mpsc::Receiver<Call>,
    ) {
        let bounds = self.bounds();
        let before = self.database.totals;
        let mut answers = Vec::new();
        let mut reads = Vec::new();
        let mut next = Some(first);
        let mut failed = self.database.connection.execute_batch("BEGIN IMMEDIATE").err();
        while let Some((post, answer)) = next.take() {
            self.clock.set_now(post.at);
            let stored = match &failed {
                Some(error) => Err(refused(error)),
                None => match self.store_one(*post, &bounds) {
                    Ok(stored) => Ok(stored),
                    Err(error) => {
                        let is_over = self.database.connection.is_autocommit();
                        let refusal = match error {
                            SqliteError::Database(error) if is_over || is_fatal(&error) => {
                                let refusal = refused(&error);
                                failed = Some(error);
                                refusal
                            }
                            error => error.into(),
                        };
                        Err(refusal)
                    }
                },
            };
            answers.push((answer, stored));
            if answers.len() >= POSTS_OF_BATCH {
                break;
            }
            while next.is_none() {
                match calls.try_recv() {
                    Ok(Call::Post(post, answer)) => next = Some((post, answer)),
                    Ok(Call::Read(read)) => reads.push(read),
                    Err(_) => break,
                }
            }
        }
        let failed = failed.or_else(|| self.database.connection.execute_batch("COMMIT").err());
        if let Some(error) = &failed {
            if !self.database.connection.is_autocommit() {
                // What cannot be rolled back is by SQLite itself when the file is opened again.
                let _ = self.database.connection.execute_batch("ROLLBACK");
            }
            self.database.totals = before;
            self.trouble(error);
        }
        for (answer, stored) in answers {
            let stored = match &failed {
                Some(error) => stored.and_then(|_| Err(refused(error))),
                None => stored,
            };
            // A client that has gone needs no answer.
            let _ = answer.send(stored);
        }
        if let Some(error) = failed.map(SqliteError::from).filter(SqliteError::is_damage) {
            self.replace(&error);
        }
        for read in reads {
            read(&self.database.connection);
        }
    }

    /// Stores one post, or nothing of it.
    fn store_one(
        &mut self,
        post: StorePost,
        bounds: &ReceiverBounds,
    ) -> Result<Stored, SqliteError> {
        let connection = &self.database.connection;
        let before = self.database.totals;
        connection.prepare_cached("SAVEPOINT post")?.execute(())?;
        let mut ingest = Ingest {
            connection,
            bounds,
            totals: &mut self.database.totals,
            codec: &mut self.codec,
        };
        let stored = ingest.store(post);
        if stored.is_err() && !connection.is_autocommit() {
            connection.prepare_cached("ROLLBACK TO post")?.execute(())?;
        }
        if stored.is_err() {
            self.database.totals = before;
        }
        if !connection.is_autocommit() {
            connection.prepare_cached("RELEASE post")?.execute(())?;
        }
        stored
    }

    /// Logs a failure once a minute.
    fn trouble(&mut self, error: &rusqlite::Error) {
        let now = self.clock.now();
        let recently = now.minus(LINE_EVERY);
        if self.said_at.is_some_and(|at| at > recently && at <= now) {
            return;
        }
        self.said_at = Some(now);
        warn!(
            "receiver: the store cannot be written ({error}): posts are answered 503 or 507, and \
             their senders retry; make room on its disk, or correct its permissions"
        );
    }

    /// Begins an empty database in the place of a damaged one.
    fn replace(&mut self, error: &SqliteError) {
        let SqlitePlace::File(path) = self.place.clone() else { return };
        if let Err(error) = self.try_replace(&path, error) {
            warn!(
                "receiver: the damaged store {} cannot be replaced ({error}): posts are answered \
                 503; move it away and start the receiver again",
                path.display()
            );
        }
    }

    fn try_replace(&mut self, path: &Path, error: &SqliteError) -> Result<(), SqliteError> {
        database::set_aside(path, self.clock.now(), error)?;
        let connection = database::open_file(path, self.bounds().store_bytes_max)?;
        self.database.connection = connection;
        self.database.totals = count_all(&self.database.connection)?;
        (self.on_replaced)();
        Ok(())
    }

    fn age_if_due(&mut self) {
        let is_due = self.clock.is_due();
        if !is_due && !self.has_more_to_age {
            return;
        }
        self.clock.has_aged();
        let bounds = self.bounds();
        let before = self.database.totals;
        let removal = match self.clock.removes() {
            false => Removal::None,
            true if is_due => Removal::All,
            true => Removal::Blocks,
        };
        let aged = self.database.connection.unchecked_transaction().map_err(SqliteError::from);
        let aged = aged.and_then(|transaction| {
            let more = retention::age(
                &transaction,
                &mut self.codec,
                &mut self.database.totals,
                self.clock.now(),
                &bounds,
                removal,
            )?;
            transaction.commit()?;
            Ok(more)
        });
        match aged {
            Ok(more) => self.has_more_to_age = more,
            Err(error) => {
                self.database.totals = before;
                self.has_more_to_age = false;
                if error.is_damage() {
                    self.replace(&error);
                } else if let SqliteError::Database(error) = &error {
                    self.trouble(error);
                }
            }
        }
    }
}

/// The transaction cannot go on after this error.
fn is_fatal(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase, ReadOnly, SystemIoFailure};
    let code = error.sqlite_error_code();
    matches!(code, Some(DatabaseCorrupt | DiskFull | NotADatabase | ReadOnly | SystemIoFailure))
}

fn refused(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => {
            StoreError::NoRoom("database or disk is full".to_owned())
        }
        _ => StoreError::Unavailable(error.to_string().replace('\n', ", ")),
    }
}
