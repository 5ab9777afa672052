//! Counts what the database has.

use rusqlite::Connection;

use super::error::SqliteError;
use super::rows::from_column;
use crate::receiver::store::totals::{Amount, NODE, POD, Totals, UNIT};

/// Counts everything.
pub(super) fn count_all(connection: &Connection) -> Result<Totals, SqliteError> {
    let amount = |sql: &str| -> Result<Amount, SqliteError> {
        let counted: (i64, i64) =
            connection.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Amount { count: from_column(counted.0), bytes: from_column(counted.1) })
    };
    let documents = |kind: i64| {
        amount(&format!(
            "SELECT count(*), coalesce(sum(octet_length(namespace) + octet_length(name) + \
             octet_length(json)), 0) FROM document WHERE kind = {kind}"
        ))
    };
    let rows = amount("SELECT coalesce(sum(nodes), 0), coalesce(sum(pods), 0) FROM sender")?;
    Ok(Totals {
        nodes: rows.count,
        pods: rows.bytes,
        units: amount("SELECT coalesce(sum(units), 0), 0 FROM sender")?.count,
        keys: amount("SELECT coalesce(sum(keys), 0), 0 FROM sender")?.count,
        node_documents: documents(NODE)?,
        pod_documents: documents(POD)?,
        records: documents(UNIT)?,
        specs: amount("SELECT count(*), coalesce(sum(bytes), 0) FROM pod_spec")?,
        ..Totals::default()
    })
}
