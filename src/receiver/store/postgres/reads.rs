//! Answers reads. Each function is one read of a consistent state.

use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::error::PostgresError;
use super::names::stored;
use super::rows::{self, COLUMNS, from_column, millis, row_usage, time_of};
use super::schema::PUSH_COLUMNS;
use super::session::Session;
use super::work::document_kind;
use crate::receiver::store::point::{Peak, Point, stepped};
use crate::receiver::store::port::{
    DocumentKind, DocumentRow, EntityQuery, NodeRow, PodKey, PodRow, RowPage, SeriesRow, Span,
    SpecQuery, SpecRow, SumKey, SumRow,
};
use crate::receiver::store::sums::{SumParts, Sums};
use crate::receiver::store::totals::{NODE, POD, UNIT};

/// The points that are in memory before they are merged.
const POINTS_OF_QUERY: u64 = 50_000;

/// PostgresConditions of a statement, with their parameters.
struct PostgresConditions {
    sql: String,
    parameters: Vec<Box<dyn ToSql + Send + Sync>>,
}

impl PostgresConditions {
    fn of(kind: i64, wanted: &EntityQuery) -> Self {
        Self::since("seen_at", kind, wanted)
    }

    /// `column`: of the time that is compared.
    fn since(column: &str, kind: i64, wanted: &EntityQuery) -> Self {
        let mut conditions = Self {
            sql: format!("kind = $1 AND {column} >= $2"),
            parameters: vec![Box::new(kind), Box::new(millis(wanted.since))],
        };
        for (column, value) in [
            ("namespace", &wanted.namespace),
            ("name", &wanted.name),
            ("node", &wanted.node),
            ("deployment", &wanted.deployment),
        ] {
            if let Some(value) = value {
                let at = conditions.add(value);
                conditions.sql.push_str(&format!(" AND {column} = {at}"));
            }
        }
        conditions
    }

    /// Adds a parameter. Returns its place.
    fn add(&mut self, value: &str) -> String {
        self.parameters.push(Box::new(value.to_owned()));
        format!("${}", self.parameters.len())
    }

    fn page(&mut self, page: &RowPage) -> String {
        if let Some((namespace, name)) = &page.after {
            // They come from a client, which may send what no text of the database can have.
            let (namespace, name) = (self.add(&stored(namespace)), self.add(&stored(name)));
            self.sql.push_str(&format!(" AND (namespace, name) > ({namespace}, {name})"));
        }
        format!("ORDER BY namespace, name LIMIT {}", page.rows_max)
    }

    async fn query(&self, session: &Session, sql: &str) -> Result<Vec<Row>, PostgresError> {
        let parameters: Vec<&(dyn ToSql + Sync)> =
            self.parameters.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
        session.query(sql, &parameters).await
    }
}

/// A page of nodes, by name.
pub(super) async fn nodes(
    session: &Session,
    wanted: &EntityQuery,
    page: &RowPage,
) -> Result<Vec<NodeRow>, PostgresError> {
    latest(session, NODE, wanted, page).await?.iter().map(rows::node_row).collect()
}

/// A page of pods, by namespace and name.
pub(super) async fn pods(
    session: &Session,
    wanted: &EntityQuery,
    page: &RowPage,
) -> Result<Vec<PodRow>, PostgresError> {
    latest(session, POD, wanted, page).await?.iter().map(rows::pod_row).collect()
}

async fn latest(
    session: &Session,
    kind: i64,
    wanted: &EntityQuery,
    page: &RowPage,
) -> Result<Vec<Row>, PostgresError> {
    let mut conditions = PostgresConditions::of(kind, wanted);
    let order = conditions.page(page);
    let sql = format!("SELECT {COLUMNS} FROM latest WHERE {} {order}", conditions.sql);
    conditions.query(session, &sql).await
}

/// The sums over the pods that are wanted, by namespace, or by namespace and deployment.
pub(super) async fn sums(
    session: &Session,
    wanted: &EntityQuery,
    by_deployment: bool,
) -> Result<Vec<SumRow>, PostgresError> {
    let conditions = PostgresConditions::of(POD, wanted);
    let (of, only) = match by_deployment {
        true => ("namespace, deployment", "AND deployment IS NOT NULL"),
        false => ("namespace", ""),
    };
    let sum = |column: &str| format!("least(sum({column}), 9223372036854775807)::bigint");
    let sql = format!(
        "SELECT max(at), {}, {}, {}, {}, {}, {}, {of} FROM latest WHERE {} {only} GROUP BY {of} \
         ORDER BY {of}",
        sum("cpu_millicores"),
        sum("memory_bytes"),
        sum("read_bytes"),
        sum("write_bytes"),
        sum("sent_bytes"),
        sum("recv_bytes"),
        conditions.sql
    );
    let found = conditions.query(session, &sql).await?;
    let sums = found.iter().map(|row| {
        let deployment = if by_deployment { row.try_get(8)? } else { None };
        let of = SumKey { namespace: row.try_get(7)?, deployment };
        Ok(SumRow { of, at: time_of(row.try_get(0)?), usage: row_usage(row, 1)? })
    });
    sums.collect()
}

/// A node, pod or unit whose points are wanted.
struct SeriesOwner {
    id: i64,
    namespace: String,
    name: String,
    deployment: Option<String>,
}

async fn owners(
    session: &Session,
    kind: i64,
    wanted: &EntityQuery,
    page: Option<&RowPage>,
) -> Result<Vec<SeriesOwner>, PostgresError> {
    let mut conditions = PostgresConditions::of(kind, wanted);
    let order = page.map(|page| conditions.page(page)).unwrap_or_default();
    let sql = format!(
        "SELECT id, namespace, name, deployment FROM latest WHERE {} {order}",
        conditions.sql
    );
    let found = conditions.query(session, &sql).await?;
    let owners = found.iter().map(|row| {
        Ok(SeriesOwner {
            id: row.try_get(0)?,
            namespace: row.try_get(1)?,
            name: row.try_get(2)?,
            deployment: row.try_get(3)?,
        })
    });
    owners.collect()
}

/// Begins a read of several statements, which see one state and one set of partitions.
async fn begin(session: &Session) -> Result<(), PostgresError> {
    let locks = session.flavor.read_locks();
    session.run(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {locks}")).await
}

/// The points of the nodes of a page, by name.
pub(super) async fn node_series(
    session: &Session,
    wanted: &EntityQuery,
    page: &RowPage,
    span: Span,
) -> Result<Vec<SeriesRow<String>>, PostgresError> {
    let series = series_of(session, NODE, wanted, page, span).await?;
    Ok(series.into_iter().map(|row| SeriesRow { of: row.of.name, points: row.points }).collect())
}

/// The points of the host units of a node, by name. `wanted`: the node is its namespace.
pub(super) async fn unit_series(
    session: &Session,
    wanted: &EntityQuery,
    page: &RowPage,
    span: Span,
) -> Result<Vec<SeriesRow<PodKey>>, PostgresError> {
    series_of(session, UNIT, wanted, page, span).await
}

/// The points of the pods of a page, by namespace and name.
pub(super) async fn pod_series(
    session: &Session,
    wanted: &EntityQuery,
    page: &RowPage,
    span: Span,
) -> Result<Vec<SeriesRow<PodKey>>, PostgresError> {
    series_of(session, POD, wanted, page, span).await
}

async fn series_of(
    session: &Session,
    kind: i64,
    wanted: &EntityQuery,
    page: &RowPage,
    span: Span,
) -> Result<Vec<SeriesRow<PodKey>>, PostgresError> {
    begin(session).await?;
    let owners = owners(session, kind, wanted, Some(page)).await?;
    let ids: Vec<i64> = owners.iter().map(|owner| owner.id).collect();
    let mut points = points(session, &ids, span).await?;
    session.run("COMMIT").await?;
    let series = owners.into_iter().map(|owner| SeriesRow {
        points: points.remove(&owner.id).unwrap_or_default(),
        of: PodKey { namespace: owner.namespace, name: owner.name },
    });
    Ok(series.collect())
}

/// The points of some nodes or pods, each by time. They are merged into steps as they come: one
/// owner's points are in memory as they are kept, and those of the others as they are answered.
async fn points(
    session: &Session,
    owners: &[i64],
    span: Span,
) -> Result<HashMap<i64, Vec<Point>>, PostgresError> {
    let where_ = "WHERE of = ANY($1::bigint[]) AND at >= $2 AND at <= $3";
    let sql = format!(
        "SELECT {PUSH_COLUMNS}, cpu_millicores, memory_bytes FROM push {where_} UNION ALL \
         SELECT {PUSH_COLUMNS}, cpu_peak, memory_peak FROM minute {where_} UNION ALL \
         SELECT {PUSH_COLUMNS}, cpu_peak, memory_peak FROM hour {where_} ORDER BY 1, 2"
    );
    let (from, until) = (millis(span.from), millis(span.until));
    let mut found = pin!(session.query_each(&sql, &[&owners, &from, &until]).await?);
    let mut points: HashMap<i64, Vec<Point>> = HashMap::new();
    let mut last = None;
    while let Some(row) = found.try_next().await? {
        let of: i64 = row.try_get(0)?;
        if let Some(before) = last.replace(of).filter(|before| *before != of)
            && let Some(whole) = points.get_mut(&before)
        {
            *whole = stepped(std::mem::take(whole), span.step);
        }
        let peak = Peak {
            cpu_millicores: from_column(row.try_get(8)?),
            memory_bytes: from_column(row.try_get(9)?),
        };
        let point = Point { at: time_of(row.try_get(1)?), usage: row_usage(&row, 2)?, peak };
        points.entry(of).or_default().push(point);
    }
    if let Some(whole) = last.and_then(|last| points.get_mut(&last)) {
        *whole = stepped(std::mem::take(whole), span.step);
    }
    Ok(points)
}

/// The sums over time of the pods that are wanted, by namespace, or by namespace and deployment.
///
/// `interval`: the time between two pushes of one pod. `hold`: the time for which a push counts.
pub(super) async fn sum_series(
    session: &Session,
    wanted: &EntityQuery,
    by_deployment: bool,
    span: Span,
    interval: Duration,
    hold: Duration,
) -> Result<Vec<SeriesRow<SumKey>>, PostgresError> {
    begin(session).await?;
    let owners = owners(session, POD, wanted, None).await?;
    let keyed = owners.into_iter().filter(|owner| !by_deployment || owner.deployment.is_some());
    let keyed = keyed.map(|owner| {
        let deployment = owner.deployment.filter(|_| by_deployment);
        (SumKey { namespace: owner.namespace, deployment }, owner.id)
    });
    let parts = SumParts::of(keyed.collect());
    let mut series = Vec::new();
    for (of, owners) in parts.iter() {
        let mut sum = Sums::new(span.from, span.until, interval, hold, parts.bins_max());
        let wanted = Span { from: sum.wants_from(), until: span.until, step: None };
        let millis = span.until.as_unix_millis().saturating_sub(wanted.from.as_unix_millis());
        let interval_millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        // Levels behind the first have fewer.
        let points_of_one = (millis / interval_millis).clamp(1, 20_000);
        let at_once = usize::try_from(POINTS_OF_QUERY / points_of_one).unwrap_or(1).max(1);
        for owners in owners.chunks(at_once) {
            for points in points(session, owners, wanted).await?.values() {
                sum.add(points);
            }
        }
        // Longer intervals are means of short ones: a pod that ended counts for its part of them.
        series.push(SeriesRow { of, points: stepped(sum.finish(), span.step) });
    }
    session.run("COMMIT").await?;
    Ok(series)
}

/// The record of a node's last sample as JSON.
pub(super) async fn record(session: &Session, node: &str) -> Result<Option<String>, PostgresError> {
    let sql = "SELECT json FROM document WHERE kind = $1 AND namespace = '' AND name = $2";
    let found = session.query_opt(sql, &[&UNIT, &&*stored(node)]).await?;
    found.map(|row| Ok(row.try_get(0)?)).transpose()
}

/// A page of the resources of batches that were posted since `wanted.since`.
pub(super) async fn documents(
    session: &Session,
    kind: DocumentKind,
    wanted: &EntityQuery,
    page: &RowPage,
) -> Result<Vec<DocumentRow>, PostgresError> {
    let mut conditions = PostgresConditions::since("at", document_kind(kind), wanted);
    let order = conditions.page(page);
    let sql =
        format!("SELECT namespace, name, json FROM document WHERE {} {order}", conditions.sql);
    let found = conditions.query(session, &sql).await?;
    let documents = found.iter().map(|row| {
        Ok(DocumentRow { namespace: row.try_get(0)?, name: row.try_get(1)?, json: row.try_get(2)? })
    });
    documents.collect()
}

/// A page of the rows of the life-cycle API, by namespace and name. Rows without a namespace come
/// last.
pub(super) async fn specs(
    session: &Session,
    wanted: &SpecQuery,
    page: &RowPage,
) -> Result<Vec<SpecRow>, PostgresError> {
    let (namespace, name) = match &page.after {
        Some((namespace, name)) => (stored(namespace), stored(name)),
        None => (Cow::Borrowed(""), Cow::Borrowed("")),
    };
    let (namespace, name) = (&*namespace, &*name);
    let order = format!("ORDER BY namespace, name LIMIT {}", page.rows_max);
    let behind = "(namespace, name) > ($1, $2)";
    let (sql, parameters): (String, Vec<&(dyn ToSql + Sync)>) = match wanted {
        SpecQuery::Named(name) => ("name = $1".to_owned(), vec![name]),
        SpecQuery::WithIp(ip) => {
            ("ip = $1 ORDER BY is_dead, changed_at DESC LIMIT 1".to_owned(), vec![ip])
        }
        SpecQuery::All => (format!("{behind} {order}"), vec![&namespace, &name]),
        SpecQuery::LiveOn(node) => (
            format!("{behind} AND node = $3 AND NOT is_dead {order}"),
            vec![&namespace, &name, node],
        ),
    };
    let sql = format!("SELECT head, is_dead, pod_obj FROM pod_spec WHERE {sql}");
    let found = session.query(&sql, &parameters).await?;
    let specs = found.iter().map(|row| -> Result<_, PostgresError> {
        Ok(SpecRow::of_columns(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
    });
    // A row whose JSON is damaged is left out.
    Ok(specs.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}
