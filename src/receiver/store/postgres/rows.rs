//! Values and rows as their columns.

use tokio_postgres::Row;

use super::error::PostgresError;
use crate::payload::resource_api::UsageValues;
use crate::quantity::WallTime;
use crate::receiver::store::port::{NodeRow, PodRow};
use crate::receiver::store::push::of_json;

/// A figure as a signed integer. Larger ones become the largest: the database adds and compares them.
pub(super) fn to_column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The figure of a column.
pub(super) fn from_column(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A time as milliseconds.
pub(super) fn millis(at: WallTime) -> i64 {
    to_column(at.as_unix_millis())
}

pub(super) fn time_of(column: i64) -> WallTime {
    WallTime::from_unix_millis(from_column(column))
}

/// The columns that [`node_row`] and [`pod_row`] read.
pub(super) const COLUMNS: &str = "namespace, name, node, at, cpu_millicores, memory_bytes, \
    read_bytes, write_bytes, sent_bytes, recv_bytes, extras, amounts, seen_at";

/// The usage in six columns from `first` on.
pub(super) fn row_usage(row: &Row, first: usize) -> Result<UsageValues, PostgresError> {
    let figure =
        |at: usize| -> Result<u64, PostgresError> { Ok(from_column(row.try_get(first + at)?)) };
    Ok(UsageValues {
        cpu_millicores: figure(0)?,
        memory_bytes: figure(1)?,
        read_bytes: figure(2)?,
        write_bytes: figure(3)?,
        sent_bytes: figure(4)?,
        recv_bytes: figure(5)?,
    })
}

pub(super) fn node_row(row: &Row) -> Result<NodeRow, PostgresError> {
    let amounts: Option<&str> = row.try_get(11)?;
    Ok(NodeRow {
        name: row.try_get(1)?,
        at: time_of(row.try_get(3)?),
        seen_at: time_of(row.try_get(12)?),
        usage: row_usage(row, 4)?,
        extras: of_json(row.try_get::<_, Option<&str>>(10)?.unwrap_or_default()),
        amounts: amounts.and_then(|amounts| serde_json::from_str(amounts).ok()),
    })
}

pub(super) fn pod_row(row: &Row) -> Result<PodRow, PostgresError> {
    Ok(PodRow {
        namespace: row.try_get(0)?,
        name: row.try_get(1)?,
        node_name: row.try_get(2)?,
        at: time_of(row.try_get(3)?),
        usage: row_usage(row, 4)?,
        extras: of_json(row.try_get::<_, Option<&str>>(10)?.unwrap_or_default()),
    })
}
