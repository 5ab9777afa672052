//! `nodetally dump` in the forms that endpoints are sent: the posts of one sample.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bytes::Bytes;

use super::observed::Observed;
use crate::config::Settings;
use crate::endpoint::render::Encoder;
use crate::metrics::sample::{MetricSample, NodeAttributes};
use crate::metrics::store::{MetricStore, StoreInput, StoreOptions};
use crate::payload::dialect::Dialect;
use crate::payload::entities::Observation;
use crate::payload::options::EncodeOptions;
use crate::payload::profile::Reports;
use crate::payload::running_totals::RunningTotals;

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

/// The paths and bodies of a dialect's posts. Options are those of the first endpoint of the dialect;
/// without one they are the defaults, with running totals where the dialect has temporality.
fn posts(
    settings: &Settings,
    dialect: Dialect,
    observed: &Observed,
) -> anyhow::Result<Vec<(String, Bytes)>> {
    let sample = sample(settings, observed);
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
    let Reports::Usage(encode) = profile.reports else { return Ok(Vec::new()) };
    let options = EncodeOptions {
        cumulative: profile.has_temporality,
        ..EncodeOptions::new(&observed.host.name)
    };
    let messages = encode(&view, &entities, &options);
    Ok(messages.into_iter().map(|message| (message.path, message.body)).collect())
}

/// The metrics of the one interval.
fn sample(settings: &Settings, observed: &Observed) -> MetricSample {
    let in_kubernetes = settings.directory.knows_pods() || !observed.catalog.pods().is_empty();
    let mut store = MetricStore::new(StoreOptions {
        node: NodeAttributes {
            name: observed.host.name.as_str().into(),
            in_kubernetes,
            cluster: settings.cluster.name.as_str().into(),
        },
        processes: settings.metrics.processes,
        // Nothing is sampled again, so that a name could come later.
        waits_for_names: false,
        keeps_intervals: false,
    });
    store.add(&StoreInput {
        account: &observed.account,
        catalog: &observed.catalog,
        pod_filesystems: &BTreeMap::new(),
        node_filesystem: None,
        filesystems: &observed.filesystems,
        seen_by_all: None,
    })
}
