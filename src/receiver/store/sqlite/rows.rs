//! Values and rows as their columns.

use rusqlite::{Connection, Row, ToSql};

use super::error::SqliteError;
use crate::payload::resource_api::UsageValues;
use crate::quantity::WallTime;
use crate::receiver::store::port::{NodeRow, PodRow, SpecRow};
use crate::receiver::store::push::of_json;

/// SQLite's integers are signed. Figures above its largest are stored as negative ones.
pub(super) fn to_column(value: u64) -> i64 {
    value.cast_signed()
}

/// The figure of a column.
pub(super) fn from_column(value: i64) -> u64 {
    value.cast_unsigned()
}

/// A time as it is compared in SQL.
pub(super) fn now_column(at: WallTime) -> i64 {
    i64::try_from(at.as_unix_millis()).unwrap_or(i64::MAX)
}

pub(super) fn time_of(column: i64) -> WallTime {
    WallTime::from_unix_millis(from_column(column))
}

/// The result of a count.
pub(super) fn count(
    connection: &Connection,
    sql: &str,
    parameters: &[&dyn ToSql],
) -> Result<usize, SqliteError> {
    let count: i64 = connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The columns that [`node_row`] and [`pod_row`] read.
pub(super) const COLUMNS: &str = "namespace, name, node, at, cpu_millicores, memory_bytes, \
    read_bytes, write_bytes, sent_bytes, recv_bytes, extras, amounts, seen_at";

/// The usage in six columns from `first` on.
pub(super) fn usage_of(row: &Row<'_>, first: usize) -> rusqlite::Result<UsageValues> {
    let figure = |at: usize| row.get(first + at).map(from_column);
    Ok(UsageValues {
        cpu_millicores: figure(0)?,
        memory_bytes: figure(1)?,
        read_bytes: figure(2)?,
        write_bytes: figure(3)?,
        sent_bytes: figure(4)?,
        recv_bytes: figure(5)?,
    })
}

pub(super) fn node_row(row: &Row<'_>) -> rusqlite::Result<NodeRow> {
    let amounts: Option<String> = row.get(11)?;
    Ok(NodeRow {
        name: row.get(1)?,
        at: time_of(row.get(3)?),
        seen_at: time_of(row.get(12)?),
        usage: usage_of(row, 4)?,
        extras: of_json(row.get_ref(10)?.as_str()?),
        amounts: amounts.and_then(|amounts| serde_json::from_str(&amounts).ok()),
    })
}

pub(super) fn pod_row(row: &Row<'_>) -> rusqlite::Result<PodRow> {
    Ok(PodRow {
        namespace: row.get(0)?,
        name: row.get(1)?,
        node_name: row.get(2)?,
        at: time_of(row.get(3)?),
        usage: usage_of(row, 4)?,
        extras: of_json(row.get_ref(10)?.as_str()?),
    })
}

/// A row of `head, is_dead, pod_obj`; `None`: its JSON is damaged.
pub(super) fn spec_row(row: &Row<'_>) -> rusqlite::Result<Option<SpecRow>> {
    Ok(SpecRow::of_columns(row.get_ref(0)?.as_str()?, row.get(1)?, row.get(2)?))
}
