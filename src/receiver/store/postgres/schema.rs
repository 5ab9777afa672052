//! The tables of the database, the way up to them from every earlier version, and the differences
//! between databases that speak PostgreSQL's protocol. No other file has DDL.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Transaction};

use super::error::PostgresError;

/// A database's own ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flavor {
    /// Points are in native range partitions, and age by dropping them. Without, they are deleted row by
    /// row: CockroachDB and YugabyteDB have no DDL within a transaction, or other partitions.
    pub(super) has_partitions: bool,
    /// CockroachDB has neither `LOCK TABLE` nor collations of columns, and compares bytes anyway.
    is_cockroach: bool,
}

impl Flavor {
    /// `version`: the answer of `SELECT version()`.
    fn of_version(version: &str, wants_partitions: bool) -> Self {
        let is_cockroach = version.contains("CockroachDB");
        let is_yugabyte = version.contains("-YB-");
        Self { has_partitions: wants_partitions && !is_cockroach && !is_yugabyte, is_cockroach }
    }

    /// Readers hold the partitions that they have seen until they are done.
    pub(super) fn read_locks(self) -> &'static str {
        if self.has_partitions { "LOCK TABLE push, minute, hour IN ACCESS SHARE MODE" } else { "" }
    }

    /// The statements for a new part of a level.
    pub(super) fn create_part(self, part: &StorePart) -> String {
        if !self.has_partitions {
            return String::new();
        }
        let (table, of) = (part.table(), part.level_table());
        let StorePart { since, until, .. } = part;
        // Attached and not created in its place: that would wait for all readers.
        format!(
            "CREATE TABLE {table} (LIKE {of} INCLUDING ALL); \
             ALTER TABLE {of} ATTACH PARTITION {table} FOR VALUES FROM ({since}) TO ({until});"
        )
    }

    /// The statements that remove a part of a level.
    pub(super) fn drop_part(self, part: &StorePart) -> String {
        let StorePart { since, until, .. } = part;
        if self.has_partitions {
            // Writers queue behind a waiting DROP, so it waits for readers no longer than this.
            return format!("SET LOCAL lock_timeout = '3s'; DROP TABLE {};", part.table());
        }
        format!("DELETE FROM {} WHERE at >= {since} AND at < {until};", part.level_table())
    }

    /// The statement that merges the points of a part into those of the next level. Means are rounded
    /// as those of a series are.
    pub(super) fn raise_part(self, part: &StorePart, step_millis: u64) -> String {
        let StorePart { since, until, .. } = part;
        let from = if self.has_partitions { part.table() } else { part.level_table().to_owned() };
        let (cpu_peak, memory_peak) = match part.level {
            0 => ("cpu_millicores", "memory_bytes"),
            _ => ("cpu_peak", "memory_peak"),
        };
        let mean = |column: &str| {
            format!("div(sum({column}) + div(count(*)::numeric, 2), count(*)::numeric)::bigint")
        };
        let sum = |column: &str| format!("least(sum({column}), 9223372036854775807)::bigint");
        format!(
            "INSERT INTO {} ({MERGED_COLUMNS}) SELECT of, max(at), {}, {}, {}, {}, {}, {}, \
             max({cpu_peak}), max({memory_peak}) FROM {from} WHERE at >= {since} AND at < {until} \
             AND of IN (SELECT id FROM latest) GROUP BY of, at / {step_millis}",
            table_of(part.level + 1),
            mean("cpu_millicores"),
            mean("memory_bytes"),
            sum("read_bytes"),
            sum("write_bytes"),
            sum("sent_bytes"),
            sum("recv_bytes"),
        )
    }
}

/// The columns of a push.
pub(super) const PUSH_COLUMNS: &str =
    "of, at, cpu_millicores, memory_bytes, read_bytes, write_bytes, sent_bytes, recv_bytes";

/// The columns of a merged point.
const MERGED_COLUMNS: &str = "of, at, cpu_millicores, memory_bytes, read_bytes, write_bytes, \
    sent_bytes, recv_bytes, cpu_peak, memory_peak";

/// A span of time at a level. Its points age together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StorePart {
    /// 0: pushes, 1: minutes, 2: hours.
    pub(super) level: i64,
    pub(super) since: i64,
    pub(super) until: i64,
}

impl StorePart {
    /// The part of a level that has this moment.
    pub(super) fn at(level: i64, at: i64) -> Self {
        const HOUR: i64 = 3_600_000;
        let length = match level {
            0 => HOUR,
            1 => 24 * HOUR,
            _ => 5 * 24 * HOUR,
        };
        let since = at.div_euclid(length) * length;
        Self { level, since, until: since.saturating_add(length) }
    }

    fn level_table(&self) -> &'static str {
        table_of(self.level)
    }

    fn table(&self) -> String {
        format!("{}_{}", self.level_table(), self.since / 1000)
    }
}

/// The table of a level's points.
pub(super) fn table_of(level: i64) -> &'static str {
    match level {
        0 => "push",
        1 => "minute",
        _ => "hour",
    }
}

/// The statements that lead from each version to the next. The last one is this version. Steps are
/// never changed once they are released. `{text}` is a text that is compared by its bytes; `{parts}`
/// is the end of a table of points.
const STEPS: [&str; 1] = ["
    -- The totals of all tables. Whoever writes locks this row first: writers come one after the other.
    CREATE TABLE store (
        only_one boolean PRIMARY KEY CHECK (only_one),
        next_id bigint NOT NULL,
        nodes bigint NOT NULL,
        pods bigint NOT NULL,
        units bigint NOT NULL,
        keys bigint NOT NULL,
        node_documents bigint NOT NULL,
        node_document_bytes bigint NOT NULL,
        pod_documents bigint NOT NULL,
        pod_document_bytes bigint NOT NULL,
        records bigint NOT NULL,
        record_bytes bigint NOT NULL,
        specs bigint NOT NULL,
        spec_bytes bigint NOT NULL
    );
    INSERT INTO store VALUES (true, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    CREATE TABLE sender (
        id bigint PRIMARY KEY,
        name {text} NOT NULL UNIQUE,
        nodes bigint NOT NULL,
        pods bigint NOT NULL,
        units bigint NOT NULL,
        keys bigint NOT NULL
    );
    -- The last push of each node (kind 0), pod (kind 1) and host unit (kind 2; its node is the
    -- namespace).
    CREATE TABLE latest (
        id bigint PRIMARY KEY,
        kind bigint NOT NULL,
        namespace {text} NOT NULL,
        name {text} NOT NULL,
        node {text} NOT NULL,
        deployment {text},
        sender bigint NOT NULL,
        has_disk_io boolean NOT NULL,
        -- The time of the push or of its sample, and that of its arrival.
        at bigint NOT NULL,
        seen_at bigint NOT NULL,
        cpu_millicores bigint NOT NULL,
        memory_bytes bigint NOT NULL,
        read_bytes bigint NOT NULL,
        write_bytes bigint NOT NULL,
        sent_bytes bigint NOT NULL,
        recv_bytes bigint NOT NULL,
        extras text,
        amounts text
    ) {updated};
    CREATE UNIQUE INDEX latest_by_name ON latest (kind, namespace, name);
    CREATE INDEX latest_by_node ON latest (kind, node);
    CREATE INDEX latest_by_name_alone ON latest (kind, name);
    CREATE TABLE push (
        of bigint NOT NULL,
        at bigint NOT NULL,
        cpu_millicores bigint NOT NULL,
        memory_bytes bigint NOT NULL,
        read_bytes bigint NOT NULL,
        write_bytes bigint NOT NULL,
        sent_bytes bigint NOT NULL,
        recv_bytes bigint NOT NULL
    ) {parts};
    CREATE INDEX push_by_owner ON push (of, at);
    CREATE TABLE minute (
        of bigint NOT NULL,
        at bigint NOT NULL,
        cpu_millicores bigint NOT NULL,
        memory_bytes bigint NOT NULL,
        read_bytes bigint NOT NULL,
        write_bytes bigint NOT NULL,
        sent_bytes bigint NOT NULL,
        recv_bytes bigint NOT NULL,
        cpu_peak bigint NOT NULL,
        memory_peak bigint NOT NULL
    ) {parts};
    CREATE INDEX minute_by_owner ON minute (of, at);
    CREATE TABLE hour (
        of bigint NOT NULL,
        at bigint NOT NULL,
        cpu_millicores bigint NOT NULL,
        memory_bytes bigint NOT NULL,
        read_bytes bigint NOT NULL,
        write_bytes bigint NOT NULL,
        sent_bytes bigint NOT NULL,
        recv_bytes bigint NOT NULL,
        cpu_peak bigint NOT NULL,
        memory_peak bigint NOT NULL
    ) {parts};
    CREATE INDEX hour_by_owner ON hour (of, at);
    -- The spans of time that there are, by level. A closing one takes no more points.
    CREATE TABLE part (
        level bigint NOT NULL,
        since bigint NOT NULL,
        until bigint NOT NULL,
        is_closing boolean NOT NULL,
        PRIMARY KEY (level, since)
    );
    -- Resources of batches: pods (kind 1) and nodes (kind 0). Records of samples by node (kind 2).
    CREATE TABLE document (
        kind bigint NOT NULL,
        namespace {text} NOT NULL,
        name {text} NOT NULL,
        at bigint NOT NULL,
        bytes bigint NOT NULL,
        json text NOT NULL,
        PRIMARY KEY (kind, namespace, name)
    ) {updated};
    CREATE TABLE pod_spec (
        name {text} PRIMARY KEY,
        ip {text} NOT NULL,
        -- U+10FFFF where there is none, so that it comes last.
        namespace {text} NOT NULL,
        node {text} NOT NULL,
        is_dead boolean NOT NULL,
        changed_at bigint NOT NULL,
        bytes bigint NOT NULL,
        head text NOT NULL,
        pod_obj text
    );
    CREATE INDEX pod_spec_by_namespace ON pod_spec (namespace, name);
    CREATE INDEX pod_spec_by_ip ON pod_spec (ip);
    CREATE INDEX pod_spec_by_node ON pod_spec (node);
    -- Posts that were accepted, to recognise a replay.
    CREATE TABLE accepted (
        post bytea PRIMARY KEY,
        body bytea NOT NULL,
        sender bigint NOT NULL,
        number bigint NOT NULL,
        at bigint NOT NULL
    );
    CREATE INDEX accepted_by_sender ON accepted (sender, number);
    CREATE INDEX accepted_by_age ON accepted (at);"];

const VERSION: i64 = STEPS.len() as i64;

/// Two receivers that begin at once make each other's statements fail.
const TRIES: usize = 5;

/// Creates the tables, or brings them up to this version.
pub(super) async fn prepare(
    client: &mut Client,
    wants_partitions: bool,
) -> Result<Flavor, PostgresError> {
    let row = client.query_one("SELECT version(), current_setting('server_encoding')", &[]).await?;
    let encoding: String = row.try_get(1)?;
    if encoding != "UTF8" {
        return Err(PostgresError::Encoding(encoding));
    }
    let flavor = Flavor::of_version(row.try_get(0)?, wants_partitions);
    let mut tries = 0;
    loop {
        tries += 1;
        match climb(client, flavor).await {
            Err(PostgresError::Database(error)) if tries < TRIES && is_of_race(&error) => {}
            other => return other,
        }
    }
}

fn is_of_race(error: &tokio_postgres::Error) -> bool {
    let code = error.code();
    code.is_some_and(|code| {
        *code == SqlState::UNIQUE_VIOLATION
            || *code == SqlState::DUPLICATE_TABLE
            || *code == SqlState::DUPLICATE_SCHEMA
            || *code == SqlState::T_R_SERIALIZATION_FAILURE
    })
}

async fn climb(client: &mut Client, wanted: Flavor) -> Result<Flavor, PostgresError> {
    let transaction = client.transaction().await?;
    let has = async |transaction: &Transaction<'_>, sql: &str| -> Result<bool, PostgresError> {
        Ok(transaction.query_opt(sql, &[]).await?.is_some())
    };
    if !has(&transaction, "SELECT 1 FROM pg_namespace WHERE nspname = 'nodetally'").await? {
        transaction.batch_execute("CREATE SCHEMA nodetally").await?;
    }
    let tables = "SELECT 1 FROM pg_tables WHERE schemaname = 'nodetally'";
    if !has(&transaction, &format!("{tables} AND tablename = 'schema_version'")).await? {
        if has(&transaction, &format!("{tables} LIMIT 1")).await? {
            return Err(PostgresError::Foreign);
        }
        transaction
            .batch_execute(&format!(
                "CREATE TABLE schema_version (version bigint NOT NULL, \
                 has_partitions boolean NOT NULL); INSERT INTO schema_version VALUES (0, {})",
                wanted.has_partitions
            ))
            .await?;
    }
    let sql = "SELECT version, has_partitions FROM schema_version FOR UPDATE";
    let row = transaction.query_one(sql, &[]).await?;
    let (version, has_partitions): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
    let flavor = Flavor { has_partitions, ..wanted };
    refuse_later(version)?;
    if version > 0 && version < VERSION {
        // Posts that an earlier version is storing end first.
        transaction.batch_execute("SELECT 1 FROM store FOR UPDATE").await?;
    }
    let done = usize::try_from(version).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        transaction.batch_execute(&flavored(step, flavor)).await?;
    }
    if version < VERSION {
        transaction.execute("UPDATE schema_version SET version = $1", &[&VERSION]).await?;
    }
    transaction.commit().await?;
    Ok(flavor)
}

/// Refuses a schema that only a later version of this program knows.
pub(super) fn refuse_later(version: i64) -> Result<(), PostgresError> {
    if version > VERSION {
        return Err(PostgresError::Later { version, known: VERSION });
    }
    Ok(())
}

fn flavored(step: &str, flavor: Flavor) -> String {
    let text = if flavor.is_cockroach { "text" } else { "text COLLATE \"C\"" };
    let parts = if flavor.has_partitions { "PARTITION BY RANGE (at)" } else { "" };
    // A push changes no indexed column: with room in its page no index is written.
    let updated = if flavor.is_cockroach { "" } else { "WITH (fillfactor = 60)" };
    step.replace("{text}", text).replace("{parts}", parts).replace("{updated}", updated)
}
