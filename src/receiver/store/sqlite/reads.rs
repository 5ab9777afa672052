//! Answers reads. Each function is one read of a consistent state.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter};

use super::error::SqliteError;
use super::ingest::spec_row;
use super::rows::{self, COLUMNS, now_column, time_of};
use crate::quantity::WallTime;
use crate::receiver::store::block;
use crate::receiver::store::point::{Point, add_all, stepped};
use crate::receiver::store::port::{
    DocumentKind, DocumentRow, EntityQuery, NodeRow, PodKey, PodRow, RowPage, SeriesRow, Span,
    SpecQuery, SpecRow, SumKey, SumRow,
};
use crate::receiver::store::sums::{SumParts, Sums};
use crate::receiver::store::totals::{NODE, POD, UNIT};

/// Conditions of a statement, with their parameters.
struct Conditions {
    /// The index that leads to few rows; empty: the planner's choice. It would rather walk all rows
    /// in their order than sort the few that are wanted.
    index: &'static str,
    sql: String,
    parameters: Vec<Box<dyn ToSql>>,
}

impl Conditions {
    fn of(kind: i64, wanted: &EntityQuery) -> Self {
        Self::since("seen_at", kind, wanted)
    }

    /// `column`: of the time that is compared.
    fn since(column: &str, kind: i64, wanted: &EntityQuery) -> Self {
        let sql = format!("kind = ?1 AND {column} >= ?2");
        let parameters: Vec<Box<dyn ToSql>> =
            vec![Box::new(kind), Box::new(now_column(wanted.since))];
        let index = match wanted {
            EntityQuery { name: Some(_), namespace: None, .. } => "INDEXED BY latest_by_name_alone",
            EntityQuery { node: Some(_), name: None, .. } => "INDEXED BY latest_by_node",
            _ => "",
        };
        let mut conditions = Self { index, sql, parameters };
        for (column, value) in [
            ("namespace", &wanted.namespace),
            ("name", &wanted.name),
            ("node", &wanted.node),
            ("deployment", &wanted.deployment),
        ] {
            if let Some(value) = value {
                conditions.and(&format!("{column} = ?"), [Box::new(value.clone())]);
            }
        }
        conditions
    }

    fn and<const N: usize>(&mut self, condition: &str, values: [Box<dyn ToSql>; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.parameters.extend(values);
    }

    fn page(&mut self, page: &RowPage) -> String {
        if let Some((namespace, name)) = &page.after {
            let values: [Box<dyn ToSql>; 2] = [Box::new(namespace.clone()), Box::new(name.clone())];
            self.and("(namespace, name) > (?, ?)", values);
        }
        format!("ORDER BY namespace, name LIMIT {}", page.rows_max)
    }

    fn parameters(&self) -> impl Iterator<Item = &dyn ToSql> {
        self.parameters.iter().map(AsRef::as_ref)
    }
}

/// A page of nodes, by name.
pub(super) fn nodes(
    connection: &Connection,
    wanted: &EntityQuery,
    page: &RowPage,
) -> Result<Vec<NodeRow>, SqliteError> {
    latest(connection, NODE, wanted, page, rows::node_row)
}

/// A page of pods, by namespace and name.
pub(super) fn pods(
    connection: &Connection,
    wanted: &EntityQuery,
    page: &RowPage,
) -> Result<Vec<PodRow>, SqliteError> {
    latest(connection, POD, wanted, page, rows::pod_row)
}

fn latest<T>(
    connection: &Connection,
    kind: i64,
    wanted: &EntityQuery,
    page: &RowPage,
    row: fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, SqliteError> {
    let mut conditions = Conditions::of(kind, wanted);
    let order = conditions.page(page);
    let Conditions { index, sql, .. } = &conditions;
    let sql = format!("SELECT {COLUMNS} FROM latest {index} WHERE {sql} {order}");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(conditions.parameters()), row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The sums over the pods that are wanted, by namespace, or by namespace and deployment.
pub(super) fn sums(
    connection: &Connection,
    wanted: &EntityQuery,
    by_deployment: bool,
) -> Result<Vec<SumRow>, SqliteError> {
    let mut conditions = Conditions::of(POD, wanted);
    if by_deployment {
        conditions.and("deployment IS NOT NULL", []);
    }
    let sql = format!(
        "SELECT namespace, deployment, at, cpu_millicores, memory_bytes, read_bytes, write_bytes, \
         sent_bytes, recv_bytes FROM latest WHERE {}",
        conditions.sql
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(conditions.parameters()))?;
    let mut sums: BTreeMap<SumKey, SumRow> = BTreeMap::new();
    while let Some(row) = found.next()? {
        let deployment: Option<String> = if by_deployment { row.get(1)? } else { None };
        let of = SumKey { namespace: row.get(0)?, deployment };
        let (at, usage) = (time_of(row.get(2)?), rows::usage_of(row, 3)?);
        match sums.get_mut(&of) {
            Some(sum) => {
                sum.at = sum.at.max(at);
                add_all(&mut sum.usage, &usage);
            }
            None => {
                sums.insert(of.clone(), SumRow { of, at, usage });
            }
        }
    }
    Ok(sums.into_values().collect())
}

/// The points of the nodes of a page, by name.
pub(super) fn node_series(
    connection: &Connection,
    wanted: &EntityQuery,
    page: &RowPage,
    span: Span,
) -> Result<Vec<SeriesRow<String>>, SqliteError> {
    let owners = owners(connection, NODE, wanted, Some(page))?;
    let series = owners.into_iter().map(|owner| {
        let points = points(connection, owner.id, span)?;
        Ok(SeriesRow { of: owner.name, points })
    });
    series.collect()
}

/// The points of the host units of a node, by name. `wanted`: the node is its namespace.
pub(super) fn unit_series(
    connection: &Connection,
    wanted: &EntityQuery,
    page: &RowPage,
    span: Span,
) -> Result<Vec<SeriesRow<PodKey>>, SqliteError> {
    series_of(connection, UNIT, wanted, page, span)
}

/// The record of a node's last sample as JSON.
pub(super) fn record(connection: &Connection, node: &str) -> Result<Option<String>, SqliteError> {
    let mut statement =
        connection.prepare_cached("SELECT json FROM document WHERE kind = ?1 AND name = ?2")?;
    Ok(statement.query_row((UNIT, node), |row| row.get(0)).optional()?)
}

/// The points of the pods of a page, by namespace and name.
pub(super) fn pod_series(
    connection: &Connection,
    wanted: &EntityQuery,
    page: &RowPage,
    span: Span,
) -> Result<Vec<SeriesRow<PodKey>>, SqliteError> {
    series_of(connection, POD, wanted, page, span)
}

fn series_of(
    connection: &Connection,
    kind: i64,
    wanted: &EntityQuery,
    page: &RowPage,
    span: Span,
) -> Result<Vec<SeriesRow<PodKey>>, SqliteError> {
    let owners = owners(connection, kind, wanted, Some(page))?;
    let series = owners.into_iter().map(|owner| {
        let points = points(connection, owner.id, span)?;
        Ok(SeriesRow { of: PodKey { namespace: owner.namespace, name: owner.name }, points })
    });
    series.collect()
}

/// The sums over time of the pods that are wanted, by namespace, or by namespace and deployment.
///
/// `interval`: the time between two pushes of one pod. `hold`: the time for which a push counts.
pub(super) fn sum_series(
    connection: &Connection,
    wanted: &EntityQuery,
    by_deployment: bool,
    span: Span,
    interval: Duration,
    hold: Duration,
) -> Result<Vec<SeriesRow<SumKey>>, SqliteError> {
    let owners = owners(connection, POD, wanted, None)?.into_iter();
    let keyed = owners.filter(|owner| !by_deployment || owner.deployment.is_some()).map(|owner| {
        let deployment = owner.deployment.filter(|_| by_deployment);
        (SumKey { namespace: owner.namespace, deployment }, owner.id)
    });
    let parts = SumParts::of(keyed.collect());
    let mut series = Vec::new();
    for (of, owners) in parts.iter() {
        let mut sum = Sums::new(span.from, span.until, interval, hold, parts.bins_max());
        let wanted = Span { from: sum.wants_from(), until: span.until, step: None };
        for owner in owners {
            sum.add(&points(connection, *owner, wanted)?);
        }
        // Longer intervals are means of short ones: a pod that ended counts for its part of them.
        series.push(SeriesRow { of, points: stepped(sum.finish(), span.step) });
    }
    Ok(series)
}

struct Owner {
    id: i64,
    namespace: String,
    name: String,
    deployment: Option<String>,
}

fn owners(
    connection: &Connection,
    kind: i64,
    wanted: &EntityQuery,
    page: Option<&RowPage>,
) -> Result<Vec<Owner>, SqliteError> {
    let mut conditions = Conditions::of(kind, wanted);
    let order = page.map(|page| conditions.page(page)).unwrap_or_default();
    let sql = format!(
        "SELECT id, namespace, name, deployment FROM latest {} WHERE {} {order}",
        conditions.index, conditions.sql
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(conditions.parameters()), |row| {
        Ok(Owner {
            id: row.get(0)?,
            namespace: row.get(1)?,
            name: row.get(2)?,
            deployment: row.get(3)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The points of one node or pod, by time. A block that is damaged is left out.
fn points(connection: &Connection, id: i64, span: Span) -> Result<Vec<Point>, SqliteError> {
    let mut points = Vec::new();
    let mut closed = connection.prepare_cached(
        "SELECT points FROM block WHERE of = ?1 AND level IN (0, 1, 2) AND until >= ?2",
    )?;
    let mut blocks = closed.query((id, now_column(span.from)))?;
    while let Some(row) = blocks.next()? {
        let block = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        points.extend(block::closed_points(block).unwrap_or_default());
    }
    let mut open = connection.prepare_cached("SELECT open_points FROM latest WHERE id = ?1")?;
    let mut rows = open.query([id])?;
    if let Some(row) = rows.next()? {
        let block = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        points.extend(block::open_points(block).unwrap_or_default());
    }
    let is_wanted = |at: WallTime| at >= span.from && at <= span.until;
    points.retain(|point| is_wanted(point.at));
    // A clock that was set back leaves them out of order.
    points.sort_by_key(|point| point.at);
    Ok(stepped(points, span.step))
}

/// A page of the resources of batches that were posted since `since`.
pub(super) fn documents(
    connection: &Connection,
    kind: DocumentKind,
    since: WallTime,
    page: &RowPage,
) -> Result<Vec<DocumentRow>, SqliteError> {
    let kind = match kind {
        DocumentKind::Node => NODE,
        DocumentKind::Pod => POD,
        DocumentKind::Record => UNIT,
    };
    let wanted = EntityQuery { since, ..EntityQuery::default() };
    let mut conditions = Conditions::since("at", kind, &wanted);
    let order = conditions.page(page);
    let sql =
        format!("SELECT namespace, name, json FROM document WHERE {} {order}", conditions.sql);
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(conditions.parameters()), |row| {
        Ok(DocumentRow { namespace: row.get(0)?, name: row.get(1)?, json: row.get(2)? })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// A page of the rows of the life-cycle API, by namespace and name. Rows without a namespace come
/// last.
pub(super) fn specs(
    connection: &Connection,
    wanted: &SpecQuery,
    page: &RowPage,
) -> Result<Vec<SpecRow>, SqliteError> {
    const ROWS: &str = "SELECT head, is_dead, pod_obj FROM pod_spec WHERE";
    let (sql, parameters): (String, Vec<&str>) = match wanted {
        SpecQuery::Named(name) => return Ok(spec_row(connection, name)?.into_iter().collect()),
        SpecQuery::WithIp(ip) => {
            let last = "ORDER BY is_dead, changed_at DESC LIMIT 1";
            (format!("{ROWS} ip = ?1 {last}"), vec![ip])
        }
        SpecQuery::All | SpecQuery::LiveOn(_) => {
            let after = page.after.as_ref();
            let (namespace, name) =
                after.map_or(("", ""), |(namespace, name)| (namespace.as_str(), name.as_str()));
            let order = format!("ORDER BY namespace, name LIMIT {}", page.rows_max);
            let behind = "(namespace, name) > (?1, ?2)";
            match wanted {
                SpecQuery::LiveOn(node) => (
                    format!("{ROWS} {behind} AND node = ?3 AND NOT is_dead {order}"),
                    vec![namespace, name, node],
                ),
                _ => (format!("{ROWS} {behind} {order}"), vec![namespace, name]),
            }
        }
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(parameters), rows::spec_row)?;
    // A row whose JSON is damaged is left out.
    Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}
