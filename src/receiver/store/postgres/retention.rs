//! Ages what is kept: whole parts of pushes become minutes, parts of minutes become hours, and what is
//! too old is dropped.
//!
//! A part is closed first, under the store's lock: from then on no receiver adds points to it. Then its
//! points are merged and it is dropped, in one transaction beside the posts. So each moment is at one
//! level only, whoever ages and wherever it stops.

use std::time::Duration;

use tokio::runtime::Handle;

use super::address::PostgresAddress;
use super::error::PostgresError;
use super::rows::{from_column, millis};
use super::schema::StorePart;
use super::session::Session;
use super::work::{Work, column_of};
use crate::quantity::WallTime;
use crate::receiver::bounds::ReceiverBounds;
use crate::receiver::store::aging::{AgingLevel, HOUR, LEVELS};
use crate::receiver::store::totals::Totals;

/// The most rows of a kind that one pass removes, so that posts wait no longer than some hundredths of
/// a second.
const ROWS_OF_PASS: i64 = 4096;

/// The time within which a pass ends. The next one begins then, with a session of its own.
pub(super) const PASS_TIME: Duration = Duration::from_secs(600);

/// Ages what is old, and removes what is too old. A part that cannot be ended is left for the next
/// pass, and its error is returned once the others are done.
pub(super) async fn age(
    address: &PostgresAddress,
    runtime: &Handle,
    now: WallTime,
    bounds: &ReceiverBounds,
) -> Result<(), PostgresError> {
    let session = Session::open(address, runtime).await?;
    let mut closing = close_parts(&session, now, bounds).await?;
    // The last level first, so that the next one is open for those that come before it.
    closing.sort_by_key(|part| (std::cmp::Reverse(part.level), part.since));
    let mut failed = Ok(());
    for part in closing {
        // Such as a DROP that waits for a long read. The other parts do not wait for that one.
        if let Err(error) = end_part(&session, part, now, bounds).await {
            session.run("ROLLBACK").await?;
            failed = Err(error);
        }
    }
    failed
}

/// The level whose points become those of the next one; `None`: they are dropped.
fn raised(level: i64, bounds: &ReceiverBounds) -> Option<&'static AgingLevel> {
    let mut levels = LEVELS.iter();
    levels.find(|known| known.number == level && known.kept_for < bounds.retention)
}

/// Removes rows that are too old, closes old parts, and makes those that the next level needs.
/// Returns the closed ones.
async fn close_parts(
    session: &Session,
    now: WallTime,
    bounds: &ReceiverBounds,
) -> Result<Vec<StorePart>, PostgresError> {
    let mut work = Work::begin(session, &Totals::default()).await?;
    remove_rows(session, &mut work, now, bounds).await?;
    let is_old = |part: &StorePart| {
        let kept_for = raised(part.level, bounds).map_or(bounds.retention, |level| level.kept_for);
        part.until <= millis(now.minus(kept_for))
    };
    let known: Vec<(StorePart, bool)> =
        work.parts.iter().map(|(part, is_closing)| (*part, *is_closing)).collect();
    let mut closing = Vec::new();
    for (part, is_closing) in known {
        // One that is locked is getting points of the level before it.
        let closes = is_closing
            || is_old(&part)
                && session
                    .execute(
                        "UPDATE part SET is_closing = true WHERE (level, since) IN (SELECT level, \
                         since FROM part WHERE level = $1 AND since = $2 FOR UPDATE SKIP LOCKED)",
                        &[&part.level, &part.since],
                    )
                    .await?
                    > 0;
        if !closes {
            continue;
        }
        closing.push(part);
        let next = StorePart::at(part.level + 1, part.since);
        let is_dropped = part.until <= millis(now.minus(bounds.retention));
        if !is_dropped && raised(part.level, bounds).is_some() && !work.parts.contains_key(&next) {
            work.parts.insert(next, false);
            work.new_parts.push(next);
        }
    }
    work.create_parts(session).await?;
    work.commit(session).await?;
    Ok(closing)
}

/// Removes nodes, pods, documents and keys of posts that are too old.
async fn remove_rows(
    session: &Session,
    work: &mut Work,
    now: WallTime,
    bounds: &ReceiverBounds,
) -> Result<(), PostgresError> {
    let since = millis(now.minus(bounds.retention));
    let gone = session
        .query(
            "DELETE FROM latest WHERE id IN (SELECT id FROM latest WHERE seen_at < $1 LIMIT $2) \
             RETURNING kind, sender",
            &[&since, &ROWS_OF_PASS],
        )
        .await?;
    for row in &gone {
        work.count(row.try_get(1)?, column_of(row.try_get(0)?), -1);
    }
    let documents_since = millis(now.minus(bounds.retention.min(HOUR)));
    let documents = session
        .query(
            "DELETE FROM document WHERE (kind, namespace, name) IN (SELECT kind, namespace, name \
             FROM document WHERE at < $1 LIMIT $2) RETURNING kind, bytes",
            &[&documents_since, &ROWS_OF_PASS],
        )
        .await?;
    for row in &documents {
        let bytes = from_column(row.try_get(1)?);
        work.totals.documents_of(row.try_get(0)?).remove(bytes);
    }
    let keys_since = millis(now.minus(bounds.post_keys_age_max));
    let keys = session
        .query(
            "DELETE FROM accepted WHERE post IN (SELECT post FROM accepted WHERE at < $1 \
             ORDER BY at LIMIT $2) RETURNING sender",
            &[&keys_since, &ROWS_OF_PASS],
        )
        .await?;
    for row in &keys {
        work.count(row.try_get(0)?, 3, -1);
    }
    work.write_counts(session).await?;
    session.run("DELETE FROM sender WHERE nodes = 0 AND pods = 0 AND units = 0 AND keys = 0").await
}

/// Merges the points of a closed part into the next level, or not where they are too old, and drops it.
async fn end_part(
    session: &Session,
    part: StorePart,
    now: WallTime,
    bounds: &ReceiverBounds,
) -> Result<(), PostgresError> {
    session.run("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    // Another receiver may be at it, or done.
    let own = session
        .query_opt(
            "SELECT 1 FROM part WHERE level = $1 AND since = $2 AND is_closing \
             FOR UPDATE SKIP LOCKED",
            &[&part.level, &part.since],
        )
        .await?;
    let is_dropped = part.until <= millis(now.minus(bounds.retention));
    let level = raised(part.level, bounds).filter(|_| !is_dropped);
    // Where the part behind is closing too, this one waits for the next pass.
    let next = StorePart::at(part.level + 1, part.since);
    let has_next = match level {
        None => true,
        Some(_) => {
            let sql = "SELECT 1 FROM part WHERE level = $1 AND since = $2 AND NOT is_closing \
                 FOR SHARE SKIP LOCKED";
            session.query_opt(sql, &[&next.level, &next.since]).await?.is_some()
        }
    };
    if own.is_none() || !has_next {
        return session.run("ROLLBACK").await;
    }
    // It may take longer than a read.
    session.run("SET LOCAL statement_timeout = '10min'").await?;
    if let Some(level) = level {
        session.run(&session.flavor.raise_part(&part, level.step_millis)).await?;
    }
    session
        .execute("DELETE FROM part WHERE level = $1 AND since = $2", &[&part.level, &part.since])
        .await?;
    session.run(&session.flavor.drop_part(&part)).await?;
    session.run("COMMIT").await
}
