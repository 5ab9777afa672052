//! `nodetally dump` in the forms that endpoints are sent: the posts of one sample.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::observed::Observed;
use crate::config::Settings;
use crate::directory::{SourceKind, SourceStatus};
use crate::endpoint::render::{Encoder, cluster};
use crate::payload::dialect::Dialect;
use crate::payload::entities::Observation;
use crate::payload::open_metrics::TextFormat;
use crate::payload::options::{EncodeOptions, PodFilter, UnknownPodPolicy};
use crate::payload::pod_lifecycle::{self, Lifecycle};
use crate::payload::profile::{CounterForms, Reports};
use crate::payload::prometheus::{EntityFilter, MetricText};
use crate::payload::running_totals::RunningTotals;

/// The bytes of a text that are made at once.
const PIECE_BYTES: usize = 64 << 10;

/// The bodies of a dialect's posts in its JSON form, one a line.
pub(super) fn json_lines(
    settings: &Settings,
    dialect: Dialect,
    observed: &Observed,
) -> anyhow::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for (_, body) in posts(settings, dialect, observed)? {
        match dialect.profile().as_json {
            Some(as_json) => {
                lines.extend(as_json(&body).context("a body that was just made")?);
            }
            None => lines.extend_from_slice(&body),
        }
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The posts of a dialect, one JSON object a line with path and body. Bodies are in their JSON form.
pub(super) fn request_lines(
    settings: &Settings,
    dialect: Dialect,
    observed: &Observed,
) -> anyhow::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for (path, body) in posts(settings, dialect, observed)? {
        let json = match dialect.profile().as_json {
            Some(as_json) => as_json(&body).context("a body that was just made")?,
            None => body.into(),
        };
        let body: &RawValue = serde_json::from_slice(&json)?;
        serde_json::to_writer(&mut lines, &RequestLine { path: &path, body })?;
        lines.push(b'\n');
    }
    Ok(lines)
}

#[derive(Serialize)]
struct RequestLine<'a> {
    path: &'a str,
    body: &'a RawValue,
}

/// Writes what `/metrics` serves, without the agent's own metrics.
pub(super) fn write_openmetrics(
    settings: &Settings,
    observed: &Observed,
    out: &mut impl Write,
) -> io::Result<()> {
    let (format, filter) = (TextFormat::OpenMetrics, EntityFilter::default());
    let mut text = MetricText::new(Arc::new(observed.metrics(settings)), format, filter);
    let mut piece = Vec::with_capacity(PIECE_BYTES * 2);
    loop {
        let goes_on = text.write(&mut piece, PIECE_BYTES);
        out.write_all(&piece)?;
        piece.clear();
        if !goes_on {
            return out.write_all(format.end().as_bytes());
        }
    }
}

/// The paths and bodies of a dialect's posts. Options are those of the first endpoint of the dialect;
/// without one they are the defaults, with running totals where the dialect has temporality.
fn posts(
    settings: &Settings,
    dialect: Dialect,
    observed: &Observed,
) -> anyhow::Result<Vec<(String, Bytes)>> {
    let sample = observed.metrics(settings);
    let view = Observation {
        account: &observed.account,
        catalog: &observed.catalog,
        filesystems: &BTreeMap::new(),
        node_filesystem: None,
        metrics: Some(&sample),
    };
    let entities = RunningTotals::default().add(&view);
    let endpoint = settings.endpoints.iter().find(|endpoint| endpoint.dialect == dialect);
    if let Some(endpoint) = endpoint
        && let Encoder::Samples(encoder) = Encoder::of(endpoint, settings)?
    {
        return Ok(encoder.posts(&view, &entities));
    }
    let profile = dialect.profile();
    let Reports::Usage(encode) = profile.reports else {
        let filter = match endpoint.map(|endpoint| Encoder::of(endpoint, settings)).transpose()? {
            Some(Encoder::Lifecycle(filter)) => filter,
            _ => PodFilter::default(),
        };
        return Ok(pod_changes(observed, &filter));
    };
    let options = EncodeOptions {
        cumulative: profile.counters == CounterForms::Temporality,
        // As an endpoint has them by default.
        extras: true,
        cluster: cluster(&settings.cluster),
        unknown_pods: if settings.directory.knows_pods() {
            UnknownPodPolicy::Wait
        } else {
            UnknownPodPolicy::Uid { namespace: "unknown".into() }
        },
        ..EncodeOptions::new(&observed.host.name)
    };
    let messages = encode(&view, &entities, &options);
    Ok(messages.into_iter().map(|message| (message.path, message.body)).collect())
}

/// The reason why a dialect has no request of this sample, and what would change that.
pub(super) fn why_none(settings: &Settings, dialect: Dialect, observed: &Observed) -> String {
    if observed.is_replayed {
        return "the capture has no pod with an address; its pods are those of \
                api/pods-of-node.json in it"
            .to_owned();
    }
    if dialect.profile().needs_addresses && !settings.directory.knows_addresses() {
        return "no source of names knows the addresses of pods; set directory.sources to \
                [\"kubernetes\"] or [\"kubelet\"]"
            .to_owned();
    }
    // Addresses and Node objects are theirs.
    let is_asked = |source: &&SourceStatus| {
        matches!(source.kind, SourceKind::Kubernetes | SourceKind::Kubelet)
    };
    for SourceStatus { kind, current_at, last_error, .. } in
        observed.catalog.sources.iter().filter(is_asked)
    {
        match (last_error, current_at) {
            (Some(error), _) => return format!("the source of names {kind} fails: {}", error.text),
            (None, None) => {
                return format!(
                    "the source of names {kind} has not answered in time; `nodetally check` shows why"
                );
            }
            (None, Some(_)) => {}
        }
    }
    match observed.catalog.pods().len() {
        0 => "no source of names knows a pod on this node; `nodetally check` shows what they know"
            .to_owned(),
        known => format!(
            "of the pods known on this node ({known}) none can be sent: each has ended, has no \
             address yet, or is held back by namespaces, namespaces_except or pod_selector of the \
             endpoint"
        ),
    }
}

/// The posts of an agent that has just started, to an endpoint that reports pods.
fn pod_changes(observed: &Observed, filter: &PodFilter) -> Vec<(String, Bytes)> {
    let changes = Lifecycle::default().changes(&observed.catalog, filter);
    let (node, wall) = (&observed.host.name, observed.account.wall);
    let messages = changes.iter().map(|change| pod_lifecycle::message(change, node, wall));
    messages.map(|message| (message.path, message.body)).collect()
}
