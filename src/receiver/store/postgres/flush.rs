//! Writes the rows that posts changed: a few statements, whatever their number.

use tokio_postgres::types::ToSql;

use super::error::PostgresError;
use super::ingest::{head_json, usage_columns};
use super::rows::{from_column, millis, to_column};
use super::schema::{self, PUSH_COLUMNS, StorePart, table_of};
use super::session::Session;
use super::work::{Work, WorkRows};
use crate::receiver::store::totals::{Amount, Totals};

const LOCK: &str = "SELECT next_id, nodes, pods, units, keys, node_documents, node_document_bytes, \
    pod_documents, pod_document_bytes, records, record_bytes, specs, spec_bytes \
    FROM store FOR UPDATE";

const UPDATE: &str = "UPDATE store SET next_id = $1, nodes = $2, pods = $3, units = $4, keys = $5, \
    node_documents = $6, node_document_bytes = $7, pod_documents = $8, pod_document_bytes = $9, \
    records = $10, record_bytes = $11, specs = $12, spec_bytes = $13";

impl Work {
    /// Begins a transaction: locks the store, and reads its totals and parts. `hints`: what this
    /// process knows of silent rows.
    pub(super) async fn begin(session: &Session, hints: &Totals) -> Result<Self, PostgresError> {
        let (_, totals) = tokio::try_join!(
            session.run("BEGIN ISOLATION LEVEL READ COMMITTED"),
            session.query(LOCK, &[]),
        )?;
        // Not beside the lock: a part that closes while this waits takes no more points.
        let (parts, version) = tokio::try_join!(
            session.query("SELECT level, since, until, is_closing FROM part", &[]),
            session.query_opt("SELECT version FROM schema_version", &[]),
        )?;
        let version = version.map_or(Ok(0), |row| row.try_get(0))?;
        // A receiver of a later version has begun beside this one.
        schema::refuse_later(version)?;
        // Without its only row it is not ours.
        let row = totals.first().ok_or(PostgresError::Foreign)?;
        let count = |at: usize| -> Result<u64, PostgresError> { Ok(from_column(row.try_get(at)?)) };
        let amount = |at: usize| -> Result<Amount, PostgresError> {
            Ok(Amount { count: count(at)?, bytes: count(at + 1)? })
        };
        let totals = Totals {
            nodes: count(1)?,
            pods: count(2)?,
            units: count(3)?,
            keys: count(4)?,
            node_documents: amount(5)?,
            pod_documents: amount(7)?,
            records: amount(9)?,
            specs: amount(11)?,
            ..*hints
        };
        let mut work = Self { totals, next_id: row.try_get(0)?, ..Self::default() };
        for row in &parts {
            let part = StorePart {
                level: row.try_get(0)?,
                since: row.try_get(1)?,
                until: row.try_get(2)?,
            };
            work.parts.insert(part, row.try_get(3)?);
        }
        Ok(work)
    }

    /// Writes the totals and ends the transaction. It is on disk when this returns.
    pub(super) async fn commit(&self, session: &Session) -> Result<(), PostgresError> {
        let totals = &self.totals;
        let mut values = vec![self.next_id];
        let counts = [totals.nodes, totals.pods, totals.units, totals.keys];
        values.extend(counts.map(to_column));
        for amount in [totals.node_documents, totals.pod_documents, totals.records, totals.specs] {
            values.extend([to_column(amount.count), to_column(amount.bytes)]);
        }
        let parameters: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        session.execute(UPDATE, &parameters).await?;
        session.run("COMMIT").await
    }

    /// Writes all rows that changed, and forgets them.
    pub(super) async fn flush(&mut self, session: &Session) -> Result<(), PostgresError> {
        self.create_parts(session).await?;
        self.write_counts(session).await?;
        let rows = std::mem::take(&mut self.rows);
        // Before new points, which may be of the same moment.
        rows.write_replaced(session).await?;
        let written = tokio::join!(
            rows.write_latest(session),
            rows.write_points(session),
            rows.write_documents(session),
            rows.write_specs(session),
            rows.write_accepted(session),
        );
        let (latest, points, documents, specs, accepted) = written;
        let written = [latest, points, documents, specs, accepted];
        let mut errors: Vec<_> = written.into_iter().filter_map(Result::err).collect();
        // The others fail since their transaction has: the reason comes first.
        errors.sort_by_key(PostgresError::is_of_failed_transaction);
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// Creates the parts that new points need.
    pub(super) async fn create_parts(&mut self, session: &Session) -> Result<(), PostgresError> {
        for part in self.new_parts.drain(..) {
            let StorePart { level, since, until } = part;
            session
                .run(&format!(
                    "{} INSERT INTO part VALUES ({level}, {since}, {until}, false)",
                    session.flavor.create_part(&part)
                ))
                .await?;
        }
        Ok(())
    }

    /// Writes the numbers of rows and keys of senders.
    pub(super) async fn write_counts(&mut self, session: &Session) -> Result<(), PostgresError> {
        let mut new = self.rows.senders.iter_mut().filter(|(_, sender)| sender.is_new);
        let (mut ids, mut names) = (Vec::new(), Vec::new());
        for (name, sender) in &mut new {
            if self.rows.counts.contains_key(&sender.id) {
                sender.is_new = false;
                ids.push(sender.id);
                names.push(name.as_str());
            }
        }
        if !ids.is_empty() {
            session
                .execute(
                    "INSERT INTO sender SELECT id, name, 0, 0, 0, 0 \
                     FROM unnest($1::bigint[], $2::text[]) AS new (id, name)",
                    &[&ids, &names],
                )
                .await?;
        }
        let mut columns: [Vec<i64>; 5] = Default::default();
        for (id, counts) in self.rows.counts.drain() {
            let [ids, nodes, pods, units, keys] = &mut columns;
            let [more_nodes, more_pods, more_units, more_keys] = counts;
            if counts != [0; 4] {
                ids.push(id);
                nodes.push(more_nodes);
                pods.push(more_pods);
                units.push(more_units);
                keys.push(more_keys);
            }
        }
        let [ids, nodes, pods, units, keys] = &columns;
        if !ids.is_empty() {
            session
                .execute(
                    "UPDATE sender SET nodes = sender.nodes + more.nodes, \
                     pods = sender.pods + more.pods, units = sender.units + more.units, \
                     keys = sender.keys + more.keys \
                     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], \
                     $5::bigint[]) AS more (id, nodes, pods, units, keys) WHERE sender.id = more.id",
                    &[ids, nodes, pods, units, keys],
                )
                .await?;
        }
        Ok(())
    }
}

impl WorkRows {
    async fn write_replaced(&self, session: &Session) -> Result<(), PostgresError> {
        let (owners, times): (Vec<i64>, Vec<i64>) = self.replaced.iter().copied().unzip();
        let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
            return Ok(());
        };
        session
            .execute(
                "DELETE FROM push USING unnest($1::bigint[], $2::bigint[]) AS old (of, at) \
                 WHERE push.of = old.of AND push.at = old.at AND push.at BETWEEN $3 AND $4",
                &[&owners, &times, first, last],
            )
            .await?;
        Ok(())
    }

    async fn write_latest(&self, session: &Session) -> Result<(), PostgresError> {
        let changed: Vec<_> = self.latest.iter().filter(|(_, row)| row.is_changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        macro_rules! column {
            ($key:pat, $row:pat => $value:expr) => {
                changed.iter().map(|($key, $row)| $value).collect::<Vec<_>>()
            };
        }
        let figures = column!(_, row => usage_columns(&row.usage));
        let [cpu, memory, read, write, sent, recv] = six_columns(&figures);
        session
            .execute(
                "INSERT INTO latest (id, kind, namespace, name, node, deployment, sender, \
                 has_disk_io, at, seen_at, extras, amounts, cpu_millicores, memory_bytes, \
                 read_bytes, write_bytes, sent_bytes, recv_bytes) SELECT * FROM \
                 unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], \
                 $7::bigint[], $8::boolean[], $9::bigint[], $10::bigint[], $11::text[], \
                 $12::text[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], \
                 $17::bigint[], $18::bigint[]) \
                 ON CONFLICT (id) DO UPDATE SET node = excluded.node, \
                 deployment = excluded.deployment, sender = excluded.sender, \
                 has_disk_io = excluded.has_disk_io, at = excluded.at, seen_at = excluded.seen_at, \
                 extras = coalesce(excluded.extras, latest.extras), \
                 amounts = coalesce(excluded.amounts, latest.amounts), \
                 cpu_millicores = excluded.cpu_millicores, memory_bytes = excluded.memory_bytes, \
                 read_bytes = excluded.read_bytes, write_bytes = excluded.write_bytes, \
                 sent_bytes = excluded.sent_bytes, recv_bytes = excluded.recv_bytes",
                &[
                    &column!(_, row => row.id),
                    &column!((kind, ..), _ => *kind),
                    &column!((_, namespace, _), _ => namespace.as_str()),
                    &column!((.., name), _ => name.as_str()),
                    &column!(_, row => row.node.as_str()),
                    &column!(_, row => row.deployment.as_deref()),
                    &column!(_, row => row.sender),
                    &column!(_, row => row.has_disk_io),
                    &column!(_, row => row.at),
                    &column!(_, row => row.seen_at),
                    &column!(_, row => row.extras.as_deref()),
                    &column!(_, row => row.amounts.as_deref()),
                    &cpu,
                    &memory,
                    &read,
                    &write,
                    &sent,
                    &recv,
                ],
            )
            .await?;
        Ok(())
    }

    async fn write_points(&self, session: &Session) -> Result<(), PostgresError> {
        for level in 0..=2 {
            let points = self.points.iter().filter(|(of_level, ..)| *of_level == level);
            let (mut owners, mut times, mut figures) = (Vec::new(), Vec::new(), Vec::new());
            for (_, of, point) in points {
                owners.push(*of);
                times.push(millis(point.at));
                figures.push(usage_columns(&point.usage));
            }
            if owners.is_empty() {
                continue;
            }
            // A push is its own peak.
            let (peaks, values) = match level {
                0 => ("", "*"),
                _ => (", cpu_peak, memory_peak", "*, cpu_millicores, memory_bytes"),
            };
            let [cpu, memory, read, write, sent, recv] = six_columns(&figures);
            let sql = format!(
                "INSERT INTO {} ({PUSH_COLUMNS}{peaks}) SELECT {values} FROM \
                 unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], \
                 $6::bigint[], $7::bigint[], $8::bigint[]) AS new ({PUSH_COLUMNS})",
                table_of(level)
            );
            let parameters: [&(dyn ToSql + Sync); 8] =
                [&owners, &times, &cpu, &memory, &read, &write, &sent, &recv];
            session.execute(&sql, &parameters).await?;
        }
        Ok(())
    }

    async fn write_documents(&self, session: &Session) -> Result<(), PostgresError> {
        let changed = self
            .documents
            .iter()
            .filter_map(|(key, document)| Some((key, document, document.json.as_deref()?)));
        let changed: Vec<_> = changed.collect();
        if changed.is_empty() {
            return Ok(());
        }
        let kinds: Vec<i64> = changed.iter().map(|((kind, ..), ..)| *kind).collect();
        let namespaces: Vec<&str> = changed.iter().map(|((_, of, _), ..)| of.as_str()).collect();
        let names: Vec<&str> = changed.iter().map(|((.., name), ..)| name.as_str()).collect();
        let times: Vec<i64> = changed.iter().map(|(_, document, _)| document.at).collect();
        let bytes: Vec<i64> =
            changed.iter().map(|(_, document, _)| to_column(document.bytes)).collect();
        let texts: Vec<&str> = changed.iter().map(|(.., json)| *json).collect();
        session
            .execute(
                "INSERT INTO document (kind, namespace, name, at, bytes, json) SELECT * FROM \
                 unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], \
                 $6::text[]) ON CONFLICT (kind, namespace, name) DO UPDATE SET at = excluded.at, \
                 bytes = excluded.bytes, json = excluded.json",
                &[&kinds, &namespaces, &names, &times, &bytes, &texts],
            )
            .await?;
        Ok(())
    }

    async fn write_specs(&self, session: &Session) -> Result<(), PostgresError> {
        // Few at a time: they change with a pod's life.
        for (name, spec) in self.specs.iter().filter(|(_, spec)| spec.is_changed) {
            let Some(row) = &spec.row else {
                session
                    .execute(
                        "UPDATE pod_spec SET is_dead = $2, changed_at = $3 WHERE name = $1",
                        &[name, &spec.is_dead, &spec.changed_at],
                    )
                    .await?;
                continue;
            };
            session
                .execute(
                    "INSERT INTO pod_spec (name, ip, namespace, node, is_dead, changed_at, bytes, \
                     head, pod_obj) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                     ON CONFLICT (name) DO UPDATE SET ip = excluded.ip, \
                     namespace = excluded.namespace, node = excluded.node, \
                     is_dead = excluded.is_dead, changed_at = excluded.changed_at, \
                     bytes = excluded.bytes, head = excluded.head, pod_obj = excluded.pod_obj",
                    &[
                        name,
                        &spec.ip,
                        &row.place().0,
                        &spec.node,
                        &spec.is_dead,
                        &spec.changed_at,
                        &to_column(spec.bytes),
                        &head_json(row),
                        &row.pod_obj,
                    ],
                )
                .await?;
        }
        Ok(())
    }

    async fn write_accepted(&self, session: &Session) -> Result<(), PostgresError> {
        let new: Vec<_> = self.accepted.iter().filter(|(_, post)| post.is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let posts: Vec<&[u8]> = new.iter().map(|(key, _)| key.as_slice()).collect();
        let bodies: Vec<&[u8]> = new.iter().map(|(_, post)| post.body.as_slice()).collect();
        let senders: Vec<i64> = new.iter().map(|(_, post)| post.sender).collect();
        let numbers: Vec<i64> = new.iter().map(|(_, post)| post.number).collect();
        let times: Vec<i64> = new.iter().map(|(_, post)| post.at).collect();
        session
            .execute(
                "INSERT INTO accepted (post, body, sender, number, at) SELECT * FROM \
                 unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[]) \
                 ON CONFLICT (post) DO UPDATE SET body = excluded.body, sender = excluded.sender, \
                 number = excluded.number, at = excluded.at",
                &[&posts, &bodies, &senders, &numbers, &times],
            )
            .await?;
        Ok(())
    }
}

/// Rows of six figures as six columns.
fn six_columns(rows: &[[i64; 6]]) -> [Vec<i64>; 6] {
    std::array::from_fn(|column| rows.iter().filter_map(|row| row.get(column).copied()).collect())
}
