//! The tables of the database, and the way up to them from every earlier version.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::error::SqliteError;

/// "ntrc", in the database's header.
pub(super) const APPLICATION_ID: i64 = 0x6e74_7263;

/// The statements that lead from each version to the next. The last one is this version. Steps are
/// never changed once they are released.
const STEPS: [&str; 1] = ["CREATE TABLE sender (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        nodes INTEGER NOT NULL DEFAULT 0,
        pods INTEGER NOT NULL DEFAULT 0,
        units INTEGER NOT NULL DEFAULT 0,
        keys INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    -- One row for each node (kind 0), pod (kind 1) and host unit (kind 2; its node is the namespace):
    -- its latest push, and its open block.
    CREATE TABLE latest (
        id INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        node TEXT NOT NULL,
        deployment TEXT,
        sender INTEGER NOT NULL,
        has_disk_io INTEGER NOT NULL,
        -- The time of the last push or of its sample, and that of its arrival.
        at INTEGER NOT NULL,
        seen_at INTEGER NOT NULL,
        cpu_millicores INTEGER NOT NULL,
        memory_bytes INTEGER NOT NULL,
        read_bytes INTEGER NOT NULL,
        write_bytes INTEGER NOT NULL,
        sent_bytes INTEGER NOT NULL,
        recv_bytes INTEGER NOT NULL,
        extras TEXT NOT NULL,
        amounts TEXT,
        open_since INTEGER NOT NULL,
        open_points BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX latest_by_name ON latest (kind, namespace, name);
    CREATE INDEX latest_by_node ON latest (kind, node);
    CREATE INDEX latest_by_name_alone ON latest (kind, name);
    -- Level 0: pushes, 1: minutes, 2: hours.
    CREATE TABLE block (
        id INTEGER PRIMARY KEY,
        of INTEGER NOT NULL,
        level INTEGER NOT NULL,
        until INTEGER NOT NULL,
        points BLOB NOT NULL
    ) STRICT;
    CREATE INDEX block_by_owner ON block (of, level, until);
    CREATE INDEX block_by_age ON block (level, until);
    -- Resources of batches: pods (kind 1) and nodes (kind 0). Records of samples by node (kind 2).
    CREATE TABLE document (
        id INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        at INTEGER NOT NULL,
        json TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX document_by_name ON document (kind, namespace, name);
    CREATE TABLE pod_spec (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        ip TEXT NOT NULL,
        -- U+10FFFF where there is none, so that it comes last.
        namespace TEXT NOT NULL,
        node TEXT NOT NULL,
        is_dead INTEGER NOT NULL,
        changed_at INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        head TEXT NOT NULL,
        pod_obj TEXT
    ) STRICT;
    CREATE INDEX pod_spec_by_ip ON pod_spec (ip);
    CREATE INDEX pod_spec_by_node ON pod_spec (node);
    -- Posts that were accepted, to recognise a replay.
    CREATE TABLE accepted (
        id INTEGER PRIMARY KEY,
        post BLOB NOT NULL UNIQUE,
        body BLOB NOT NULL,
        sender INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX accepted_by_sender ON accepted (sender);"];

const VERSION: i64 = STEPS.len() as i64;

/// Creates the tables, or brings them up to this version.
///
/// # Errors
/// The file is no database, another program's, or of a later version.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), SqliteError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = version_of(&transaction)?;
    climb(&transaction, version)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// The version of a database, which is this one's.
///
/// # Errors
/// The file is no database, another program's, or of another version.
pub(super) fn check(connection: &Connection) -> Result<i64, SqliteError> {
    match version_of(connection)? {
        VERSION => Ok(VERSION),
        version => Err(SqliteError::Earlier { version, known: VERSION }),
    }
}

/// The version of a database of ours, at most this one; 0 of an empty file.
fn version_of(connection: &Connection) -> Result<i64, SqliteError> {
    let application = header(connection, "application_id")?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables > 0) {
        return Err(SqliteError::Foreign);
    }
    match header(connection, "user_version")? {
        version if version > VERSION => Err(SqliteError::Later { version, known: VERSION }),
        version => Ok(version),
    }
}

fn header(connection: &Connection, name: &str) -> Result<i64, SqliteError> {
    Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
}

fn climb(transaction: &Transaction<'_>, version: i64) -> Result<(), SqliteError> {
    let done = usize::try_from(version).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    Ok(())
}
