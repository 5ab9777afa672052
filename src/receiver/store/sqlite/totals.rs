//! The number of rows and bytes, so that no post has to count them.

use std::time::Duration;

use rusqlite::Connection;

use super::error::SqliteError;
use super::rows::{NODE, POD, UNIT, from_column};
use crate::quantity::WallTime;
use crate::receiver::bounds::Full;

/// The totals of the database, restored where a post is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) nodes: u64,
    pub(super) pods: u64,
    pub(super) units: u64,
    pub(super) keys: u64,
    node_documents: Amount,
    pod_documents: Amount,
    records: Amount,
    pub(super) specs: Amount,
    nodes_silent: Silent,
    pods_silent: Silent,
    units_silent: Silent,
}

/// A number of texts, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    count: u64,
    bytes: u64,
}

/// When there was no silent node or pod, and until when there can be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Silent {
    none_at: WallTime,
    none_until: WallTime,
}

impl Totals {
    /// Counts everything.
    pub(super) fn read(connection: &Connection) -> Result<Self, SqliteError> {
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
        Ok(Self {
            nodes: rows.count,
            pods: rows.bytes,
            units: amount("SELECT coalesce(sum(units), 0), 0 FROM sender")?.count,
            keys: amount("SELECT coalesce(sum(keys), 0), 0 FROM sender")?.count,
            node_documents: documents(NODE)?,
            pod_documents: documents(POD)?,
            records: documents(UNIT)?,
            specs: amount("SELECT count(*), coalesce(sum(bytes), 0) FROM pod_spec")?,
            ..Self::default()
        })
    }

    pub(super) fn documents_of(&mut self, kind: i64) -> &mut Amount {
        match kind {
            NODE => &mut self.node_documents,
            UNIT => &mut self.records,
            _ => &mut self.pod_documents,
        }
    }

    fn silent_of(&mut self, kind: i64) -> &mut Silent {
        match kind {
            NODE => &mut self.nodes_silent,
            UNIT => &mut self.units_silent,
            _ => &mut self.pods_silent,
        }
    }

    /// A search for silent nodes or pods may find one.
    pub(super) fn may_have_silent(&mut self, kind: i64, now: WallTime) -> bool {
        let silent = self.silent_of(kind);
        !(silent.none_at..=silent.none_until).contains(&now)
    }

    /// Notes that all of them push. The oldest push was at `oldest`.
    pub(super) fn none_silent(
        &mut self,
        kind: i64,
        now: WallTime,
        oldest: WallTime,
        stale_after: Duration,
    ) {
        let stale_after = u64::try_from(stale_after.as_millis()).unwrap_or(u64::MAX);
        let none_until = oldest.as_unix_millis().saturating_add(stale_after);
        *self.silent_of(kind) =
            Silent { none_at: now, none_until: WallTime::from_unix_millis(none_until) };
    }
}

impl Amount {
    pub(super) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn remove(&mut self, bytes: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn has_room(&self, bytes: u64, count_max: usize, bytes_max: usize) -> bool {
        self.count < count_max as u64 && self.bytes.saturating_add(bytes) <= bytes_max as u64
    }

    /// The bound that is reached.
    pub(super) fn full(
        &self,
        what: &'static str,
        bytes: &'static str,
        count_max: usize,
        bytes_max: usize,
    ) -> Full {
        if self.count >= count_max as u64 {
            Full { what, max: count_max }
        } else {
            Full { what: bytes, max: bytes_max }
        }
    }
}
