//! Ages what is kept: pushes become minutes, minutes become hours, and hours are removed.
//!
//! Each moment is kept at one level only, so a series is its blocks one after the other.

use std::time::Duration;

use rusqlite::Connection;

use super::error::SqliteError;
use super::ingest::{put_block, remove};
use super::rows::now_column;
use super::totals::count_all;
use crate::quantity::WallTime;
use crate::receiver::bounds::ReceiverBounds;
use crate::receiver::store::aging::{AgingLevel, HOUR, LEVELS};
use crate::receiver::store::block::{self, BlockCodec};
use crate::receiver::store::point::{Point, merged};
use crate::receiver::store::totals::{NODE, Totals, UNIT};

/// The time by which a block of a level is older before it is aged, so that a new block has many
/// points.
const WAITS: [Duration; LEVELS.len()] =
    [Duration::from_secs(6 * 3600), Duration::from_secs(3 * 24 * 3600)];

/// The most nodes and pods that one pass removes.
const ROWS_OF_PASS: i64 = 1024;

/// The most nodes and pods that one pass ages, so that posts wait no longer than some
/// hundredths of a second.
const OWNERS_OF_PASS: usize = 64;

/// The removal of what is too old in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// None: the clock may be wrong.
    None,
    /// Blocks, which an index finds.
    Blocks,
    /// Blocks; and nodes, pods, documents and keys, which take a search of their tables.
    All,
}

/// Ages some of what is old, and removes some of what is too old. Returns whether there may be more.
///
/// # Errors
/// The database failed.
pub(super) fn age(
    connection: &Connection,
    codec: &mut BlockCodec,
    totals: &mut Totals,
    now: WallTime,
    bounds: &ReceiverBounds,
    removal: Removal,
) -> Result<bool, SqliteError> {
    let mut has_more = removal != Removal::None && remove_blocks(connection, now, bounds)?;
    if removal == Removal::All {
        remove_rows(connection, totals, now, bounds)?;
    }
    for (level, wait) in LEVELS.iter().zip(WAITS) {
        if level.kept_for < bounds.retention {
            has_more |= raise(connection, codec, level, wait, now)?;
        }
    }
    Ok(has_more)
}

/// Removes blocks that no window reaches any more. Returns whether there may be more.
fn remove_blocks(
    connection: &Connection,
    now: WallTime,
    bounds: &ReceiverBounds,
) -> Result<bool, SqliteError> {
    let since = now_column(now.minus(bounds.retention));
    let mut has_more = false;
    for level in 0..=LEVELS.len() {
        let blocks = connection
            .prepare_cached(
                "DELETE FROM block WHERE id IN (SELECT id FROM block WHERE level = ?1 AND \
                 until < ?2 LIMIT 1024)",
            )?
            .execute((level as i64, since))?;
        has_more |= blocks >= 1024;
    }
    Ok(has_more)
}

/// Removes nodes, pods, documents and keys of posts that are too old.
fn remove_rows(
    connection: &Connection,
    totals: &mut Totals,
    now: WallTime,
    bounds: &ReceiverBounds,
) -> Result<(), SqliteError> {
    let since = now_column(now.minus(bounds.retention));
    let mut statement = connection
        .prepare_cached("SELECT id, kind, sender FROM latest WHERE seen_at < ?1 LIMIT ?2")?;
    let found = statement
        .query_map((since, ROWS_OF_PASS), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let gone: Vec<(i64, i64, i64)> = found.collect::<Result<_, _>>()?;
    for (id, kind, sender) in &gone {
        remove(connection, *id)?;
        let sql = match *kind {
            NODE => "UPDATE sender SET nodes = nodes - 1 WHERE id = ?1",
            UNIT => "UPDATE sender SET units = units - 1 WHERE id = ?1",
            _ => "UPDATE sender SET pods = pods - 1 WHERE id = ?1",
        };
        connection.prepare_cached(sql)?.execute([sender])?;
        let total = totals.rows_of(*kind);
        *total = total.saturating_sub(1);
    }
    let documents = connection
        .prepare_cached(
            "DELETE FROM document WHERE id IN (SELECT id FROM document WHERE at < ?1 LIMIT 1024)",
        )?
        .execute([now_column(now.minus(bounds.retention.min(HOUR)))])?;
    let keys_since = now_column(now.minus(bounds.post_keys_age_max));
    let keys = connection
        .prepare_cached(
            "DELETE FROM accepted WHERE id IN (SELECT id FROM accepted ORDER BY id LIMIT 4096) \
             AND at < ?1",
        )?
        .execute([keys_since])?;
    if keys > 0 {
        connection.execute(
            "UPDATE sender SET keys = (SELECT count(*) FROM accepted WHERE sender = sender.id)",
            (),
        )?;
    }
    connection.execute(
        "DELETE FROM sender WHERE nodes = 0 AND pods = 0 AND units = 0 AND keys = 0",
        (),
    )?;
    if documents > 0 || keys > 0 {
        *totals = count_all(connection)?;
    }
    Ok(())
}

/// Merges the old blocks of some nodes and pods into blocks of the next level.
fn raise(
    connection: &Connection,
    codec: &mut BlockCodec,
    level: &AgingLevel,
    wait: Duration,
    now: WallTime,
) -> Result<bool, SqliteError> {
    let late = now_column(now.minus(level.kept_for + wait));
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT of FROM (SELECT of FROM block WHERE level = ?1 AND until < ?2 \
         ORDER BY until LIMIT 256) LIMIT ?3",
    )?;
    let found =
        statement.query_map((level.number, late, OWNERS_OF_PASS as i64), |row| row.get(0))?;
    let owners: Vec<i64> = found.collect::<Result<_, _>>()?;
    let old = now_column(now.minus(level.kept_for));
    for owner in &owners {
        raise_one(connection, codec, level, *owner, old)?;
    }
    Ok(!owners.is_empty())
}

fn raise_one(
    connection: &Connection,
    codec: &mut BlockCodec,
    level: &AgingLevel,
    owner: i64,
    old: i64,
) -> Result<(), SqliteError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, points FROM block WHERE of = ?1 AND level = ?2 AND until < ?3",
    )?;
    let mut rows = statement.query((owner, level.number, old))?;
    let (mut ids, mut points): (Vec<i64>, Vec<Point>) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        ids.push(row.get(0)?);
        let block = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        points.extend(block::closed_points(block).unwrap_or_default());
    }
    drop(rows);
    points.sort_by_key(|point| point.at);
    let begun = unfinished(&points, level.step_millis);
    // Those of a step that goes on in the next block wait for it: a step is one point.
    let has_next: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM block WHERE of = ?1 AND level = ?2 AND until >= ?3)",
        )?
        .query_row((owner, level.number, old), |row| row.get(0))?;
    let waiting = if has_next && begun > 0 { points.split_off(begun) } else { Vec::new() };
    let raised = merged(&points, level.step_millis);
    for (points, number) in [(&waiting, level.number), (&raised, level.number + 1)] {
        for points in points.chunks(block::POINTS_MAX) {
            let Some(last) = points.last() else { continue };
            put_block(connection, codec, owner, number, last.at, points)?;
        }
    }
    for id in ids {
        connection.prepare_cached("DELETE FROM block WHERE id = ?1")?.execute([id])?;
    }
    Ok(())
}

/// The number of points before the step of the last one.
fn unfinished(points: &[Point], step_millis: u64) -> usize {
    let step = |point: &Point| point.at.as_unix_millis() / step_millis;
    let last = points.last().map_or(0, step);
    points.partition_point(|point| step(point) < last)
}
