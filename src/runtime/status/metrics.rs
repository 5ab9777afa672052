//! The agent's own metrics as text.

use super::view::{StatusShared, StatusView};
use crate::clock;
use crate::delivery::{Health, Statistics};
use crate::descriptors;
use crate::identity::BootId;
use crate::payload::open_metrics::{Exposition, TextFormat};
use crate::quantity::BootTime;
use crate::source::own_process::{self, OwnProcess};

pub(super) fn exposition(shared: &StatusShared, now: BootTime, format: TextFormat) -> String {
    let (sampling, view) = (shared.self_metrics.read(), &shared.view());
    let mut all = Exposition::new(format);
    all.info("nodetally_build", "The program.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    all.counter("nodetally_samples", "Samples taken.").sample(&[], sampling.samples);
    if let Some(last) = sampling.last_at {
        let seconds = |usec: u64| usec as f64 / 1e6;
        all.gauge("nodetally_sample_age_seconds", "Time since the last sample.")
            .sample(&[], seconds(now.usec_since(last)));
        all.gauge("nodetally_sample_duration_seconds", "Duration of the last sample.")
            .sample(&[], seconds(sampling.took_usec));
        all.gauge("nodetally_sample_gaps", "Readings that failed in the last sample.")
            .sample(&[], sampling.gaps);
        all.gauge("nodetally_cgroups", "Cgroups in the last sample.").sample(&[], sampling.cgroups);
    }
    restarts(&mut all, view);
    directory(&mut all, view, now);
    endpoints(&mut all, view);
    pull(&mut all, shared);
    if let Some(own) = own_process::read() {
        process(&mut all, shared, own);
    }
    all.finish()
}

/// Those who pull metrics.
fn pull(all: &mut Exposition, shared: &StatusShared) {
    if shared.published.sample().is_none() {
        return;
    }
    let mut requests = all.counter(
        "nodetally_metrics_requests",
        "Requests for metrics at metrics.listen and metrics.socket, by the code of the answer.",
    );
    for (code, count) in shared.requests.all() {
        requests.sample(&[("code", code)], count);
    }
    all.gauge("nodetally_metrics_pullers", "Those who pulled metrics within ten minutes.")
        .sample(&[], shared.published.pullers.count());
    all.counter(
        "nodetally_metrics_ended_dropped",
        "Ended entities that were left out, for lack of room, before all pullers had seen them.",
    )
    .sample(&[], shared.published.ended_dropped());
}

/// The agent's process, under the names of Prometheus' client libraries.
// https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
fn process(all: &mut Exposition, shared: &StatusShared, own: OwnProcess) {
    all.counter("process_cpu_seconds", "Total user and system CPU time spent in seconds.")
        .sample(&[], own.cpu.as_secs_f64());
    if let Some(open) = own.open_files {
        all.gauge("process_open_fds", "Number of open file descriptors.").sample(&[], open);
    }
    all.gauge("process_max_fds", "Maximum number of open file descriptors.")
        .sample(&[], descriptors::limit());
    all.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")
        .sample(&[], own.virtual_bytes);
    all.gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
        .sample(&[], own.resident_bytes);
    if let Some(threads) = own.threads {
        all.gauge("process_threads", "Number of OS threads in the process.").sample(&[], threads);
    }
    all.gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
    )
    .sample(&[], shared.process_started.as_unix_millis() as f64 / 1000.0);
}

/// Panics, by the part that was started again.
fn restarts(all: &mut Exposition, view: &StatusView) {
    let now = clock::moment(view.boot.unwrap_or_else(|| BootId::from_bits(0)));
    let mut family = all.counter(
        "nodetally_task_restarts",
        "Panics after which a task was started again, by source of identity and endpoint.",
    );
    for source in &view.directory.catalog().sources {
        family.sample(&[("source", source.kind.as_str())], source.restarts);
    }
    for endpoint in &view.endpoints {
        let restarts = endpoint.handle.statistics(&now).restarts;
        family.sample(&[("endpoint", &endpoint.name)], restarts);
    }
}

fn directory(all: &mut Exposition, view: &StatusView, now: BootTime) {
    let catalog = view.directory.catalog();
    if catalog.sources.is_empty() {
        return;
    }
    let mut known = all.gauge(
        "nodetally_directory_known",
        "Pods, containers and patterns that a source of identity knows.",
    );
    for source in &catalog.sources {
        known.sample(&[("source", source.kind.as_str())], source.known);
    }
    let mut up = all.gauge("nodetally_directory_up", "1 while a source of identity answers.");
    for source in &catalog.sources {
        let up_now = source.last_error.is_none() && source.current_at.is_some();
        up.sample(&[("source", source.kind.as_str())], u8::from(up_now));
    }
    let mut age = all.gauge(
        "nodetally_directory_age_seconds",
        "Age of what a source of identity knows; absent before its first answer.",
    );
    for source in &catalog.sources {
        if let Some(at) = source.current_at {
            let seconds = now.since(at).as_secs_f64();
            age.sample(&[("source", source.kind.as_str())], seconds);
        }
    }
}

fn endpoints(all: &mut Exposition, view: &StatusView) {
    let now = clock::moment(view.boot.unwrap_or_else(|| BootId::from_bits(0)));
    let endpoints: Vec<_> = view
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.name.as_str(), endpoint.handle.statistics(&now)))
        .collect();
    if !endpoints.is_empty() {
        posts(all, &endpoints);
        waiting(all, &endpoints);
        state(all, &endpoints);
    }
}

/// The name of a family, its help text and its value.
type Figure<T> = (&'static str, &'static str, fn(&Statistics) -> T);

/// The endpoints by name.
type NamedStatistics<'a> = [(&'a str, Statistics)];

/// The counters of posts and answers, by endpoint.
fn posts(all: &mut Exposition, endpoints: &NamedStatistics<'_>) {
    let mut posts = all.counter("nodetally_posts", "Posts by outcome.");
    for (name, figures) in endpoints {
        let settled = [("accepted", figures.accepted_posts), ("merged", figures.merged_posts)];
        for (outcome, count) in settled.into_iter().chain(figures.dropped_posts.by_reason()) {
            posts.sample(&[("endpoint", name), ("outcome", outcome)], count);
        }
    }
    let mut answers =
        all.counter("nodetally_answers", "Answers by status; a post may have several.");
    for (name, figures) in endpoints {
        for (status, count) in &figures.answers {
            answers.sample(&[("endpoint", name), ("status", &status.to_string())], count);
        }
    }
    let mut points = all.counter("nodetally_dropped_points", "Points that the endpoint refused.");
    for (name, figures) in endpoints {
        for (reason, count) in figures.dropped_points.by_reason() {
            points.sample(&[("endpoint", name), ("reason", reason)], count);
        }
    }
    let counters: [Figure<u64>; 5] = [
        ("nodetally_offered_posts", "Posts given to the endpoint to send.", |of| of.offered_posts),
        ("nodetally_recovered_posts", "Posts that an earlier run left on disk.", |of| {
            of.recovered_posts
        }),
        ("nodetally_accepted_bytes", "Bytes of the bodies that were accepted.", |of| {
            of.accepted_bytes
        }),
        ("nodetally_unanswered", "Attempts without a complete answer.", |of| of.unanswered),
        ("nodetally_retries", "Attempts beyond the first of each post.", |of| of.retries),
    ];
    for (family, help, figure) in counters {
        let mut family = all.counter(family, help);
        for (name, figures) in endpoints {
            family.sample(&[("endpoint", name)], figure(figures));
        }
    }
}

/// The gauges of posts not yet acknowledged, by endpoint.
fn waiting(all: &mut Exposition, endpoints: &NamedStatistics<'_>) {
    let gauges: [Figure<[u64; 2]>; 3] = [
        ("nodetally_queue_samples", "Samples that wait or are in flight.", |of| {
            [of.in_memory_samples as u64, of.on_disk.samples]
        }),
        ("nodetally_queue_posts", "Posts that wait or are in flight.", |of| {
            [of.in_memory_posts as u64, of.on_disk.posts]
        }),
        ("nodetally_queue_bytes", "Bytes of the posts that wait or are in flight.", |of| {
            [of.in_memory_bytes as u64, of.on_disk.bytes]
        }),
    ];
    for (family, help, figures_of) in gauges {
        let mut family = all.gauge(family, help);
        for (name, figures) in endpoints {
            for (place, count) in ["memory", "disk"].iter().zip(figures_of(figures)) {
                family.sample(&[("endpoint", name), ("place", place)], count);
            }
        }
    }
}

/// The health of the endpoints.
fn state(all: &mut Exposition, endpoints: &NamedStatistics<'_>) {
    let mut states =
        all.gauge("nodetally_endpoint_state", "1 for the present state of the endpoint.");
    for (name, figures) in endpoints {
        for state in [Health::Healthy, Health::Degraded, Health::Rejecting, Health::Down] {
            let labels = [("endpoint", *name), ("state", state.as_str())];
            states.sample(&labels, u8::from(state == figures.health));
        }
    }
    let gauges: [Figure<Option<f64>>; 5] = [
        ("nodetally_endpoint_state_age_seconds", "Time in the present state.", |of| {
            Some(of.health_age.as_secs_f64())
        }),
        (
            "nodetally_queue_oldest_age_seconds",
            "Age of the oldest sample that waits; absent while none does.",
            |of| of.oldest_age.map(|age| age.as_secs_f64()),
        ),
        (
            "nodetally_spool_error",
            "1 while samples that should be on disk are not, because the disk fails.",
            |of| Some(f64::from(u8::from(of.spool_error.is_some()))),
        ),
        (
            "nodetally_last_success_age_seconds",
            "Time since a post was last accepted; absent before the first.",
            |of| of.last_success_age.map(|age| age.as_secs_f64()),
        ),
        (
            "nodetally_newest_accepted_timestamp_seconds",
            "Time of the newest sample of which a post was accepted; absent before the first.",
            |of| of.newest_accepted.map(|at| at.as_unix_millis() as f64 / 1000.0),
        ),
    ];
    for (family, help, figure) in gauges {
        let mut family = all.gauge(family, help);
        for (name, figures) in endpoints {
            if let Some(value) = figure(figures) {
                family.sample(&[("endpoint", name)], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::directory::{Directory, SourceKind};

    #[test]
    fn the_directorys_age_and_errors_are_exposed() {
        let at = |secs: u64| BootTime::from_nanos(secs * 1_000_000_000);
        let (directory, publishers) =
            Directory::new(&[SourceKind::Kubernetes, SourceKind::Cri, SourceKind::File]);
        publishers[0].still_current(at(100));
        publishers[0].failed("connection refused", at(130));
        publishers[1].still_current(at(150));
        let view = StatusView { directory, ..StatusView::default() };
        let shared = StatusShared::new(Arc::default(), Arc::default(), Arc::default(), at(90));
        shared.set_view(view);
        let text = exposition(&shared, at(160), TextFormat::OpenMetrics);
        for line in [
            "nodetally_directory_up{source=\"kubernetes\"} 0\n",
            "nodetally_directory_up{source=\"cri\"} 1\n",
            "nodetally_directory_up{source=\"file\"} 0\n",
            "nodetally_directory_age_seconds{source=\"kubernetes\"} 60\n",
            "nodetally_directory_age_seconds{source=\"cri\"} 10\n",
            "nodetally_samples_total 0\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("age_seconds{source=\"file\"}"), "{text}");
    }
}
