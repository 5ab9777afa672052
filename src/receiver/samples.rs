//! The native API: samples as a whole, and reads of what the resource API has no word for.
//!
//! Every error is `{"error": "…"}`.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::answer::{self, HandlerResult, JSON_HEADERS, Refusal};
use super::listing::{ARRAY, Items, ListSource};
use super::request::{JsonBody, PathNames};
use super::span::Filter;
use super::state::ReceiverState;
use super::store::{
    Change, Document, DocumentKind, EntityQuery, NodePush, PodKey, PodPush, RowPage, SeriesRow,
    Span, StoreError, UnitPush, UsagePushes,
};
use super::{listing, store};
use crate::payload::dialect::Dialect;
use crate::payload::dump::memory_part_keys;
use crate::payload::resource_api::PeakRecord;
use crate::payload::sample_post::{PATH, decode_sample, unit_name};
use crate::payload::stamp::Rfc3339Seconds;
use crate::quantity::WallTime;

/// The largest body: a node of some 500 pods.
const BODY_BYTES_MAX: usize = 8 << 20;

/// The age up to which a sample is filed under its own time, in milliseconds.
const AGE_MILLIS_MAX: u64 = 24 * 3_600_000;

/// A sample from the future is filed under the time of its arrival.
const AHEAD_MILLIS_MAX: u64 = 60_000;

pub(super) fn router() -> Router<ReceiverState> {
    Router::new()
        .route(PATH, post(push))
        .route("/api/nodes/{node}/sample", get(sample))
        .route("/api/nodes/{node}/units", get(units))
        .route("/api/nodes/{node}/units/timeseries", get(units))
        .route("/api/nodes/{node}/processes", get(processes))
        .route("/api/nodes/{node}/balance", get(balance))
}

async fn push(State(state): State<ReceiverState>, body: JsonBody<BODY_BYTES_MAX>) -> HandlerResult {
    let sample = decode_sample(&body.bytes).map_err(Refusal::bad_request)?;
    let mut pushes = UsagePushes::of(Dialect::Samples);
    pushes.sampled_at = own_time(sample.sampled_at, state.now());
    let node = &sample.node_name;
    body.head.rights.check_node(node)?;
    let nodes = sample.nodes.into_iter();
    pushes.nodes.extend(nodes.map(|(name, post)| {
        let amounts = sample.amounts.filter(|_| name == *node);
        NodePush { name, post, amounts }
    }));
    let pods = sample.pods.into_iter();
    pushes.pods.extend(pods.map(|(namespace, name, post)| PodPush { namespace, name, post }));
    let units = sample.units.into_iter();
    pushes.units.extend(units.map(|unit| {
        let (node, name, usage) = (node.clone(), unit.name, unit.usage);
        UnitPush { node, name, usage }
    }));
    pushes.documents.extend(sample.record.map(|json| {
        let (kind, name) = (DocumentKind::Record, node.clone());
        Document { kind, namespace: String::new(), name, json }
    }));
    let message = json!({ "message": format!("sample of node {node} stored") });
    let stored = |_| answer::json(StatusCode::CREATED, &message);
    state.store_post(body.head, Change::Usage(pushes), stored).await
}

/// The time that a sample is filed under; `None`: that of its arrival.
fn own_time(sampled_at: WallTime, now: WallTime) -> Option<WallTime> {
    let (at, now) = (sampled_at.as_unix_millis(), now.as_unix_millis());
    let is_near = at <= now.saturating_add(AHEAD_MILLIS_MAX) && at + AGE_MILLIS_MAX >= now;
    // One that is a little ahead would be later than reads that ask up to now.
    is_near.then(|| WallTime::from_unix_millis(at.min(now)))
}

/// The record of a node's last sample as JSON.
async fn record_text(state: &ReceiverState, node: &str) -> Result<String, Refusal> {
    state.store().record(node.to_owned()).await?.ok_or_else(|| {
        Refusal::not_found(format!(
            "node {node} has sent no sample as a whole: its agent sends one where its endpoint has \
             the dialect samples"
        ))
    })
}

/// The node and one more part of its record. The rows of pods are most of a record, and are not read.
async fn record_of(
    state: &ReceiverState,
    node: &str,
    part: &str,
) -> Result<Map<String, Value>, Refusal> {
    let text = record_text(state, node).await?;
    let parts: BTreeMap<&str, &RawValue> = serde_json::from_str(&text).unwrap_or_default();
    let parts = parts.into_iter().filter(|(key, _)| *key == "node" || *key == part);
    let read = parts
        .filter_map(|(key, value)| Some((key.to_owned(), serde_json::from_str(value.get()).ok()?)));
    Ok(read.collect())
}

async fn sample(
    State(state): State<ReceiverState>,
    PathNames(node): PathNames<String>,
) -> HandlerResult {
    Ok((StatusCode::OK, JSON_HEADERS, record_text(&state, &node).await?).into_response())
}

fn ok(value: &Value) -> HandlerResult {
    Ok(answer::json(StatusCode::OK, value))
}

/// Rows of a list in a record.
fn rows<'a>(record: &'a Map<String, Value>, list: &str) -> impl Iterator<Item = &'a Value> {
    record.get(list).and_then(Value::as_array).into_iter().flatten()
}

/// The keys of a row in the words of the resource API. What is not known is left out.
fn usage(row: &Value) -> Map<String, Value> {
    let mut usage = Map::new();
    let mut copy = |to: &str, from: &[&str]| {
        if let Some(value) = from.iter().find_map(|key| row.get(key)) {
            usage.insert(to.to_owned(), value.clone());
        }
    };
    copy("cpu_millicores", &["cpu_millicores"]);
    copy("memory_bytes", &["memory_working_set_bytes", "memory_resident_bytes"]);
    for (group, keys) in [
        ("disk_io", [("read_bytes", "disk_read_bytes"), ("write_bytes", "disk_written_bytes")]),
        ("network_io", [("bytes_sent", "network_tx_bytes"), ("bytes_recv", "network_rx_bytes")]),
    ] {
        let known = keys.into_iter().filter_map(|(to, from)| Some((to, row.get(from)?.clone())));
        let known: Map<String, Value> = known.map(|(to, value)| (to.to_owned(), value)).collect();
        if !known.is_empty() {
            usage.insert(group.to_owned(), known.into());
        }
    }
    usage
}

/// A row about a node's sample.
fn of_node(record: &Map<String, Value>, node: &str, mut row: Map<String, Value>) -> Value {
    row.insert("node_name".to_owned(), node.into());
    let own = record.get("node");
    if let Some(at) = own.and_then(|own| own.get("sampled_at")) {
        row.insert("timestamp".to_owned(), at.clone());
    }
    let interval = own.and_then(|own| own.get("interval_usec")).and_then(Value::as_u64);
    if let Some(usec) = interval {
        row.insert("window_millis".to_owned(), (usec / 1000).into());
    }
    Value::Object(row)
}

async fn units(
    State(state): State<ReceiverState>,
    PathNames(node): PathNames<String>,
    filter: Filter,
) -> HandlerResult {
    if let Some(span) = filter.span {
        let wanted = EntityQuery { namespace: Some(node), ..state.kept() };
        return listing::answer(UnitSeries { state, wanted, span }, RowPage::of_series(), ARRAY)
            .await;
    }
    let record = record_of(&state, &node, "host_units").await?;
    let rows = rows(&record, "host_units").filter_map(|unit| {
        let name = unit_name(unit.get("cgroup")?.as_str()?);
        let mut row = usage(unit);
        row.insert("unit".to_owned(), name.into());
        for key in ["unit_kind", "exited"] {
            row.extend(unit.get(key).map(|value| (key.to_owned(), value.clone())));
        }
        Some(of_node(&record, &node, row))
    });
    ok(&rows.collect())
}

/// The series of a node's units.
struct UnitSeries {
    state: ReceiverState,
    wanted: EntityQuery,
    span: Span,
}

impl ListSource for UnitSeries {
    type Row = SeriesRow<PodKey>;

    async fn read(&self, page: RowPage) -> Result<Vec<SeriesRow<PodKey>>, StoreError> {
        self.state.store().unit_series(self.wanted.clone(), page, self.span).await
    }

    fn place(row: &SeriesRow<PodKey>) -> (String, String) {
        (row.of.namespace.clone(), row.of.name.clone())
    }

    fn write(&self, row: &SeriesRow<PodKey>, items: &mut Items) {
        for point in &row.points {
            items.push(&unit_point(row, point));
        }
    }
}

fn unit_point(row: &SeriesRow<PodKey>, point: &store::Point) -> Value {
    let mut value = json!(point.usage);
    value["unit"] = json!(row.of.name);
    value["node_name"] = json!(row.of.namespace);
    value["timestamp"] = json!(Rfc3339Seconds(point.at));
    if let Some((cpu_millicores, memory_bytes)) = point.own_peak() {
        value["peak"] = json!(PeakRecord { cpu_millicores, memory_bytes });
    }
    value
}

async fn processes(
    State(state): State<ReceiverState>,
    PathNames(node): PathNames<String>,
) -> HandlerResult {
    let record = record_of(&state, &node, "processes").await?;
    let rows = rows(&record, "processes").map(|process| {
        let mut row = usage(process);
        for (to, from) in [
            ("pid", "pid"),
            ("parent_pid", "parent_pid"),
            ("name", "comm"),
            ("owner_kind", "owner"),
            ("owner", "unit_cgroup"),
            ("owner", "container_id"),
            ("owner", "pod_uid"),
        ] {
            row.extend(process.get(from).map(|value| (to.to_owned(), value.clone())));
        }
        // Units are named without the first slash.
        if let Some(Value::String(owner)) = row.get_mut("owner") {
            *owner = unit_name(owner).to_owned();
        }
        of_node(&record, &node, row)
    });
    ok(&rows.collect())
}

async fn balance(
    State(state): State<ReceiverState>,
    PathNames(node): PathNames<String>,
) -> HandlerResult {
    let record = record_of(&state, &node, "conservation").await?;
    let mut row = Map::new();
    let conservation = record.get("conservation").and_then(Value::as_object);
    let balances = conservation.into_iter().flatten().filter(|(_, balance)| balance.is_object());
    row.extend(balances.map(|(resource, balance)| (resource.clone(), balance.clone())));
    let own = record.get("node").and_then(Value::as_object);
    let parts = memory_part_keys().filter_map(|key| {
        let part = key.strip_prefix("memory_")?.strip_suffix("_bytes")?;
        Some((part.to_owned(), own?.get(key)?.clone()))
    });
    row.insert("memory_parts".to_owned(), Value::Object(parts.collect()));
    row.extend(
        own.and_then(|own| Some(("interval_usec".to_owned(), own.get("interval_usec")?.clone()))),
    );
    ok(&of_node(&record, &node, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_filed_under_its_own_time_unless_that_is_odd() {
        let at = |seconds: u64| WallTime::from_unix_millis(seconds * 1000);
        let now = at(1_000_000);
        for (sampled, expected) in [
            (1_000_000, Some(1_000_000)),
            (999_000, Some(999_000)),
            (913_600, Some(913_600)),
            (913_599, None),
            (1_000_060, Some(1_000_000)),
            (1_000_061, None),
            (0, None),
        ] {
            assert_eq!(own_time(at(sampled), now), expected.map(at), "{sampled}");
        }
    }
}
