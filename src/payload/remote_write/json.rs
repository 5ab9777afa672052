//! Requests for people: one JSON document with texts in place of their numbers.

use std::collections::BTreeMap;

use prost::Message as _;
use serde::Serialize;

use super::messages::{COUNTER, SeriesSample, SymbolRequest, SymbolSeries, is_stale};
use super::symbols::{labels_of, text_at};

#[derive(Serialize)]
struct RequestDocument<'a> {
    timeseries: Vec<SeriesDocument<'a>>,
}

#[derive(Serialize)]
struct SeriesDocument<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    samples: Vec<PointDocument>,
    metadata: MetadataDocument<'a>,
}

#[derive(Serialize)]
struct PointDocument {
    /// Absent where the point ends the series.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stale: bool,
    timestamp: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_timestamp: i64,
}

#[derive(Serialize)]
struct MetadataDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    help: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(millis: &i64) -> bool {
    *millis == 0
}

/// The request as JSON; `None`: it is none.
#[must_use]
pub fn as_json(body: &[u8]) -> Option<Vec<u8>> {
    let request = SymbolRequest::decode(body).ok()?;
    let series = |series| document(series, &request.symbols);
    let document = RequestDocument { timeseries: request.timeseries.iter().map(series).collect() };
    let mut json = Vec::with_capacity(body.len() * 4);
    crate::payload::append(&document, &mut json);
    Some(json)
}

fn document<'a>(series: &'a SymbolSeries, symbols: &'a [String]) -> SeriesDocument<'a> {
    let metadata = series.metadata.unwrap_or_default();
    SeriesDocument {
        labels: labels_of(series, symbols).collect(),
        samples: series.samples.iter().map(point).collect(),
        metadata: MetadataDocument {
            kind: if metadata.kind == COUNTER { "counter" } else { "gauge" },
            help: text_at(symbols, metadata.help_ref),
            unit: text_at(symbols, metadata.unit_ref),
        },
    }
}

fn point(sample: &SeriesSample) -> PointDocument {
    let stale = is_stale(sample.value);
    PointDocument {
        value: (!stale).then_some(sample.value),
        stale,
        timestamp: sample.timestamp,
        start_timestamp: sample.start_timestamp,
    }
}
