//! The agent's own metrics for `GET /status`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::view::{StatusShared, StatusView};
use crate::clock;
use crate::delivery::{Health, Statistics};
use crate::directory::SourceStatus;
use crate::endpoint::endpoint::EndpointView;
use crate::identity::BootId;
use crate::payload::stamp::Rfc3339Millis;
use crate::payload::status::{
    BacklogReport, EndpointReport, EndpointState, LastSample, SCHEMA_VERSION, SamplingReport,
    SourceReport, StatusReport,
};
use crate::quantity::BootTime;

pub(super) fn report(shared: &StatusShared, view: &StatusView, now: BootTime) -> StatusReport {
    let sampling = shared.self_metrics.read();
    let last = sampling.last_at.map(|at| LastSample {
        age_ms: millis(now.since(at)),
        took_usec: sampling.took_usec,
        cgroups: sampling.cgroups as u64,
        gaps: sampling.gaps,
    });
    let moment = clock::moment(view.boot.unwrap_or_else(|| BootId::from_bits(0)));
    let catalog = view.directory.catalog();
    StatusReport {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: view.node_name.clone(),
        pid: std::process::id(),
        at: Rfc3339Millis(moment.wall).to_string(),
        up_ms: millis(now.since(shared.started_at)),
        is_healthy: sampling.is_sampling(shared.started_at, now),
        sampling: SamplingReport {
            interval_ms: millis(sampling.interval),
            samples: sampling.samples,
            last,
        },
        directory: catalog.sources.iter().map(|known| source(known, now)).collect(),
        endpoints: view
            .endpoints
            .iter()
            .map(|view| endpoint(view, view.handle.statistics(&moment)))
            .collect(),
    }
}

fn source(known: &SourceStatus, now: BootTime) -> SourceReport {
    let last_error = known.last_error.as_ref();
    SourceReport {
        source: known.kind.as_str().to_owned(),
        known: known.known as u64,
        age_ms: known.current_at.map(|at| millis(now.since(at))),
        last_error: last_error.map(|error| error.text.to_string()),
        restarts: known.restarts,
        failing_ms: last_error.map(|error| millis(now.since(error.since))),
    }
}

fn endpoint(view: &EndpointView, figures: Statistics) -> EndpointReport {
    let in_memory = BacklogReport {
        samples: figures.in_memory_samples as u64,
        posts: figures.in_memory_posts as u64,
        bytes: figures.in_memory_bytes as u64,
    };
    let on_disk = BacklogReport {
        samples: figures.on_disk.samples,
        posts: figures.on_disk.posts,
        bytes: figures.on_disk.bytes,
    };
    EndpointReport {
        name: view.name.clone(),
        url: view.url.clone(),
        embedded: view.embedded,
        state: match figures.health {
            Health::Healthy => EndpointState::Healthy,
            Health::Degraded => EndpointState::Degraded,
            Health::Rejecting => EndpointState::Rejecting,
            Health::Down => EndpointState::Down,
        },
        state_ms: millis(figures.health_age),
        waiting: BacklogReport {
            samples: figures.waiting_samples(),
            posts: figures.waiting_posts,
            bytes: in_memory.bytes + on_disk.bytes,
        },
        in_memory,
        on_disk,
        oldest_age_ms: figures.oldest_age.map(millis),
        offered_posts: figures.offered_posts,
        recovered_posts: figures.recovered_posts,
        accepted_posts: figures.accepted_posts,
        accepted_bytes: figures.accepted_bytes,
        merged_posts: figures.merged_posts,
        dropped_posts: named(figures.dropped_posts.by_reason()),
        dropped_points: named(figures.dropped_points.by_reason()),
        answers: figures.answers,
        unanswered: figures.unanswered,
        retries: figures.retries,
        restarts: figures.restarts,
        last_success_age_ms: figures.last_success_age.map(millis),
        newest_accepted: figures.newest_accepted.map(|at| Rfc3339Millis(at).to_string()),
        spool_error: figures.spool_error,
    }
}

fn named(counts: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<String, u64> {
    counts.map(|(reason, count)| (reason.to_owned(), count)).collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
