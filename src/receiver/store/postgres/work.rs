//! The rows that some posts touch: read in a few statements, changed here, and written together.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio_postgres::Row;

use super::error::PostgresError;
use super::rows::{from_column, row_usage};
use super::schema::StorePart;
use super::session::Session;
use crate::payload::resource_api::UsageValues;
use crate::receiver::store::point::Point;
use crate::receiver::store::port::{Change, DocumentKind, SpecRow, StorePost};
use crate::receiver::store::totals::{NODE, POD, Totals, UNIT};

/// Kind, namespace and name of a row of `latest` or `document`.
pub(super) type RowKey = (i64, String, String);

/// Everything that the posts of a transaction see and change.
#[derive(Default)]
pub(super) struct Work {
    pub(super) totals: Totals,
    pub(super) next_id: i64,
    /// The parts that there are, and whether each is closing.
    pub(super) parts: BTreeMap<StorePart, bool>,
    pub(super) new_parts: Vec<StorePart>,
    pub(super) rows: WorkRows,
}

/// The rows that are in memory. The empty value knows no row.
#[derive(Default)]
pub(super) struct WorkRows {
    pub(super) senders: HashMap<String, WorkSender>,
    /// Changes of the counts of senders: nodes, pods, units and keys.
    pub(super) counts: HashMap<i64, [i64; 4]>,
    pub(super) latest: HashMap<RowKey, LatestRow>,
    pub(super) documents: HashMap<RowKey, WorkDocument>,
    pub(super) specs: HashMap<String, WorkSpec>,
    pub(super) accepted: HashMap<[u8; 16], AcceptedPost>,
    /// New points by level and owner.
    pub(super) points: Vec<(i64, i64, Point)>,
    /// Owner and time of pushes that a greater dialect replaces.
    pub(super) replaced: Vec<(i64, i64)>,
}

pub(super) struct WorkSender {
    pub(super) id: i64,
    pub(super) is_new: bool,
}

/// A row of `latest`.
pub(super) struct LatestRow {
    pub(super) id: i64,
    pub(super) node: String,
    pub(super) deployment: Option<String>,
    pub(super) sender: i64,
    pub(super) has_disk_io: bool,
    pub(super) at: i64,
    pub(super) seen_at: i64,
    pub(super) usage: UsageValues,
    /// `None`: as they were.
    pub(super) extras: Option<String>,
    pub(super) amounts: Option<String>,
    pub(super) is_changed: bool,
}

pub(super) struct WorkDocument {
    pub(super) at: i64,
    pub(super) bytes: u64,
    /// `None`: it is not changed.
    pub(super) json: Option<String>,
}

pub(super) struct WorkSpec {
    /// `None`: its JSON is damaged.
    pub(super) row: Option<SpecRow>,
    pub(super) ip: String,
    pub(super) node: String,
    pub(super) is_dead: bool,
    pub(super) changed_at: i64,
    pub(super) bytes: u64,
    pub(super) is_changed: bool,
}

pub(super) struct AcceptedPost {
    pub(super) body: Vec<u8>,
    pub(super) sender: i64,
    pub(super) at: i64,
    pub(super) number: i64,
    pub(super) is_new: bool,
}

impl Work {
    pub(super) fn new_id(&mut self) -> i64 {
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        id
    }

    /// Counts rows or keys of a sender; `column` is that of `sender`.
    pub(super) fn count(&mut self, sender: i64, column: usize, more: i64) {
        let total = match column {
            0 => &mut self.totals.nodes,
            1 => &mut self.totals.pods,
            2 => &mut self.totals.units,
            _ => &mut self.totals.keys,
        };
        *total = total.saturating_add_signed(more);
        let counts = self.rows.counts.entry(sender).or_default();
        if let Some(count) = counts.get_mut(column) {
            *count += more;
        }
    }
}

/// The column of a kind in the counts of a sender.
pub(super) fn column_of(kind: i64) -> usize {
    match kind {
        NODE => 0,
        UNIT => 2,
        _ => 1,
    }
}

/// The kind of a document's row.
pub(super) fn document_kind(kind: DocumentKind) -> i64 {
    match kind {
        DocumentKind::Node => NODE,
        DocumentKind::Pod => POD,
        DocumentKind::Record => UNIT,
    }
}

/// Columns of keys, as parameters.
#[derive(Default)]
struct KeyColumns<'a> {
    seen: HashSet<(i64, &'a str, &'a str)>,
    kinds: Vec<i64>,
    namespaces: Vec<&'a str>,
    names: Vec<&'a str>,
}

impl<'a> KeyColumns<'a> {
    fn add(&mut self, kind: i64, namespace: &'a str, name: &'a str) {
        if self.seen.insert((kind, namespace, name)) {
            self.kinds.push(kind);
            self.namespaces.push(namespace);
            self.names.push(name);
        }
    }

    async fn read(&self, session: &Session, sql: &str) -> Result<Vec<Row>, PostgresError> {
        if self.kinds.is_empty() {
            return Ok(Vec::new());
        }
        session.query(sql, &[&self.kinds, &self.namespaces, &self.names]).await
    }
}

const LATEST: &str = "SELECT l.kind, l.namespace, l.name, l.id, l.node, l.deployment, l.sender, \
    l.has_disk_io, l.at, l.seen_at, l.cpu_millicores, l.memory_bytes, l.read_bytes, l.write_bytes, \
    l.sent_bytes, l.recv_bytes \
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS k (kind, namespace, name) \
    JOIN latest l ON l.kind = k.kind AND l.namespace = k.namespace AND l.name = k.name";

const DOCUMENTS: &str = "SELECT d.kind, d.namespace, d.name, d.at, d.bytes \
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS k (kind, namespace, name) \
    JOIN document d ON d.kind = k.kind AND d.namespace = k.namespace AND d.name = k.name";

impl WorkRows {
    /// Reads every row that the posts may touch.
    pub(super) async fn load(
        session: &Session,
        posts: &[StorePost],
    ) -> Result<Self, PostgresError> {
        let (mut latest, mut documents) = (KeyColumns::default(), KeyColumns::default());
        let (mut senders, mut specs, mut keys) = (HashSet::new(), HashSet::new(), Vec::new());
        for post in posts {
            senders.insert(post.sender.as_str());
            keys.extend(post.id.iter().map(|id| id.key.as_slice()));
            match &post.change {
                Change::Usage(pushes) => {
                    for (kind, namespace, name) in pushes.keys() {
                        latest.add(kind, namespace, name);
                    }
                    for document in &pushes.documents {
                        let kind = document_kind(document.kind);
                        documents.add(kind, &document.namespace, &document.name);
                        if document.kind == DocumentKind::Record {
                            latest.add(NODE, "", &document.name);
                        }
                    }
                }
                Change::Spec { post, .. } => {
                    specs.insert(post.row.pod_name.as_str());
                }
                Change::MarkDead { post, .. } => {
                    specs.insert(post.pod_name.as_str());
                }
            }
        }
        let (latest, documents, senders, specs, accepted) = tokio::try_join!(
            latest.read(session, LATEST),
            documents.read(session, DOCUMENTS),
            of_list(session, "SELECT name, id FROM sender WHERE name = ANY($1::text[])", senders),
            of_list(
                session,
                "SELECT name, head, is_dead, pod_obj, ip, node, changed_at, bytes FROM pod_spec \
                 WHERE name = ANY($1::text[])",
                specs,
            ),
            async {
                if keys.is_empty() {
                    return Ok(Vec::new());
                }
                let sql = "SELECT post, body, sender, at, number FROM accepted \
                     WHERE post = ANY($1::bytea[])";
                session.query(sql, &[&keys]).await
            },
        )?;
        let mut rows = Self::default();
        for row in &latest {
            rows.latest.insert(key_of(row)?, latest_row(row)?);
        }
        for row in &documents {
            let (at, bytes) = (row.try_get(3)?, from_column(row.try_get(4)?));
            rows.documents.insert(key_of(row)?, WorkDocument { at, bytes, json: None });
        }
        for row in &senders {
            let sender = WorkSender { id: row.try_get(1)?, is_new: false };
            rows.senders.insert(row.try_get(0)?, sender);
        }
        for row in &specs {
            rows.specs.insert(row.try_get(0)?, work_spec(row)?);
        }
        for row in &accepted {
            let Ok(key) = <[u8; 16]>::try_from(row.try_get::<_, &[u8]>(0)?) else { continue };
            let post = AcceptedPost {
                body: row.try_get(1)?,
                sender: row.try_get(2)?,
                at: row.try_get(3)?,
                number: row.try_get(4)?,
                is_new: false,
            };
            rows.accepted.insert(key, post);
        }
        Ok(rows)
    }
}

async fn of_list(
    session: &Session,
    sql: &str,
    names: HashSet<&str>,
) -> Result<Vec<Row>, PostgresError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = names.into_iter().collect();
    session.query(sql, &[&names]).await
}

fn key_of(row: &Row) -> Result<RowKey, PostgresError> {
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

fn latest_row(row: &Row) -> Result<LatestRow, PostgresError> {
    Ok(LatestRow {
        id: row.try_get(3)?,
        node: row.try_get(4)?,
        deployment: row.try_get(5)?,
        sender: row.try_get(6)?,
        has_disk_io: row.try_get(7)?,
        at: row.try_get(8)?,
        seen_at: row.try_get(9)?,
        usage: row_usage(row, 10)?,
        extras: None,
        amounts: None,
        is_changed: false,
    })
}

fn work_spec(row: &Row) -> Result<WorkSpec, PostgresError> {
    let is_dead = row.try_get(2)?;
    Ok(WorkSpec {
        row: SpecRow::of_columns(row.try_get(1)?, is_dead, row.try_get(3)?),
        ip: row.try_get(4)?,
        node: row.try_get(5)?,
        is_dead,
        changed_at: row.try_get(6)?,
        bytes: from_column(row.try_get(7)?),
        is_changed: false,
    })
}
