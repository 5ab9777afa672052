//! The sampling thread: sample, settle, keep the counters, offer the posts to every endpoint.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::asked_sample::AskedSample;
use super::metrics_feed::MetricsFeed;
use super::notify::Watchdog;
use super::pod_files::PodFiles;
use super::self_metrics::SelfMetrics;
use super::wait::{self, StopSignal, Woken};
use crate::checkpoint::{StateDir, StateError};
use crate::clock;
use crate::directory::Directory;
use crate::endpoint::endpoint::EndpointHandle;
use crate::identity::BootId;
use crate::ledger::{Account, Ledger};
use crate::metrics::published::PublishedMetrics;
use crate::metrics::store::StoreOptions;
use crate::payload::entities::Observation;
use crate::payload::running_totals::RunningTotals;
use crate::snapshot::Snapshot;
use crate::snapshot::gaps::{Gap, GapReason};
use crate::snapshot::sampler::Sampler;
use crate::spool::{Batch, Moment};

/// The state of the sampling thread.
pub struct SamplingThread {
    pub sampler: Sampler,
    pub ledger: Ledger,
    pub state: Option<StateDir>,
    pub endpoints: Vec<EndpointHandle>,
    pub directory: Directory,
    pub pod_files: PodFiles,
    pub boot: BootId,
    pub interval: Duration,
    pub self_metrics: Arc<SelfMetrics>,
    /// `None`: nobody is configured to get metrics.
    pub metrics: Option<MetricsFeed>,
    pub published: Arc<PublishedMetrics>,
    pub asked_sample: Arc<AskedSample>,
}

/// The parts that a reload replaces. Counters, totals and the account continue.
pub struct SamplingChange {
    /// `None`: the present sampler continues.
    pub sampler: Option<Sampler>,
    pub state: Option<StateDir>,
    pub endpoints: Vec<EndpointHandle>,
    /// `None`: the present directory continues.
    pub directory: Option<Directory>,
    /// `None`: the present count of files continues.
    pub pod_files: Option<PodFiles>,
    pub interval: Duration,
    /// `None`: nobody is configured to get metrics.
    pub metrics: Option<StoreOptions>,
    /// Notified once the change is in force: from then on no previous endpoint is offered a batch.
    pub in_force: oneshot::Sender<()>,
}

/// The time between the first sample, which only sets the start, and the second. Short, since the
/// person who started the agent is looking.
const FIRST_FIGURES: Duration = Duration::from_secs(1);

/// The shortest time between two samples. A sample that would come sooner is skipped.
const LEAST: Duration = Duration::from_millis(500);

impl SamplingThread {
    /// Samples until `stop` ends it, and applies `changes` when it is woken. Calls `ticked` after each
    /// sample.
    pub fn run(
        mut self,
        stop: &StopSignal,
        changes: &mpsc::Receiver<SamplingChange>,
        mut watchdog: Watchdog,
        mut ticked: impl FnMut(u64),
    ) {
        let mut account = Account::default();
        let mut totals = RunningTotals::default();
        let mut log = SampleLog::default();
        let mut sequence = 0;
        let mut wait = FIRST_FIGURES;
        loop {
            let wall = clock::wall_time();
            let snapshot = self.sampler.sample(&clock::boot_time, wall);
            self.ledger.set_rules(self.directory.catalog().cgroup_rules());
            self.ledger.settle(snapshot, &mut account);
            log.note(snapshot, &account);
            self.self_metrics.sampled(snapshot, &account, self.interval);
            debug!(
                took_usec = snapshot.ended_at.usec_since(snapshot.begun_at),
                files = snapshot.counts.files_read,
                cgroups = snapshot.cgroups.len(),
                skipped = snapshot.counts.cgroups_skipped,
                "sampled"
            );
            let mut taken = Moment { boot: self.boot, since_boot: snapshot.begun_at, wall };
            let batches = self.batches(&account, &mut totals, taken);
            // Journalled, then counted, then sent. However the process ends, an interval is in the
            // journal or is counted again, never both.
            let in_journal: Vec<bool> = self
                .endpoints
                .iter()
                .zip(&batches)
                .map(|(endpoint, batch)| endpoint.handle.journal(batch))
                .collect();
            if let (Some(state), Some(counters)) = (&self.state, self.ledger.counters()) {
                log.state(state.save(counters).err());
            }
            for ((endpoint, batch), kept) in self.endpoints.iter().zip(batches).zip(in_journal) {
                endpoint.handle.offer(batch, kept);
            }
            if account.since.is_some() {
                sequence += 1;
                wait = clock::until_next(clock::wall_time(), self.interval, LEAST);
            }
            ticked(sequence);
            self.answer(&account);
            let mut due = clock::boot_time().plus(wait);
            loop {
                watchdog.notify_if_due();
                match wait::until(watchdog.or_sooner(due), stop, &mut self.sampler) {
                    Woken::Stopped => {
                        return self.end_series(self.endpoints.iter(), &account, &mut taken);
                    }
                    Woken::Due if clock::boot_time() >= due => break,
                    Woken::Due => {}
                    Woken::Asked => {
                        self.answer(&account);
                        for change in changes.try_iter() {
                            let interval = self.interval;
                            if change.sampler.is_some() {
                                log.standing_logged = 0;
                            }
                            self.apply(change, &account, &mut taken);
                            // The wait for the second sample does not depend on the interval.
                            if self.interval != interval && account.since.is_some() {
                                let now = clock::wall_time();
                                let wait = clock::until_next(now, self.interval, LEAST);
                                due = clock::boot_time().plus(wait);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Copies the newest sample, if somebody asked for it and it has usage.
    fn answer(&self, account: &Account) {
        if account.since.is_some() {
            let number = self.self_metrics.read().samples;
            self.asked_sample.answer(number, account, &self.directory.catalog());
        }
    }

    /// The batch of each endpoint for the settled sample. Empty after the first sample.
    fn batches(
        &mut self,
        account: &Account,
        totals: &mut RunningTotals,
        taken: Moment,
    ) -> Vec<Batch> {
        if account.since.is_none() {
            return Vec::new();
        }
        let catalog = self.directory.catalog();
        let files = self.pod_files.follow(account, &catalog, clock::boot_time());
        let metrics = self.metrics.as_mut().map(|feed| feed.add(account, &catalog, files));
        let view = Observation {
            account,
            catalog: &catalog,
            filesystems: &files.pods,
            node_filesystem: files.node,
            metrics: metrics.as_deref(),
        };
        let entities = totals.add(&view);
        let batch =
            |endpoint: &EndpointHandle| Batch::new(taken, endpoint.encoder.posts(&view, &entities));
        self.endpoints.iter().map(batch).collect()
    }

    /// Offers these endpoints what ends their series, as the newest sample of all. `last`: the sample
    /// before it, and then this one.
    fn end_series<'a>(
        &self,
        endpoints: impl Iterator<Item = &'a EndpointHandle>,
        account: &Account,
        last: &mut Moment,
    ) {
        let mut endpoints = endpoints.filter(|endpoint| endpoint.encoder.ends_series()).peekable();
        if endpoints.peek().is_none() {
            return;
        }
        let Some(sample) = self.metrics.as_ref().and_then(MetricsFeed::closing_sample) else {
            return;
        };
        let catalog = self.directory.catalog();
        let view = Observation {
            account,
            catalog: &catalog,
            filesystems: &BTreeMap::new(),
            node_filesystem: None,
            metrics: Some(&sample),
        };
        // Not behind the counters that were saved: the next start leaves out what is.
        last.since_boot = last.since_boot.plus(Duration::from_nanos(1));
        last.wall = sample.wall;
        for endpoint in endpoints {
            let batch = Batch::new(*last, endpoint.encoder.closing_posts(&view));
            let in_journal = endpoint.handle.journal(&batch);
            endpoint.handle.offer(batch, in_journal);
        }
    }

    /// `last`: the newest sample that was offered.
    fn apply(&mut self, change: SamplingChange, account: &Account, last: &mut Moment) {
        let ended = self.endpoints.iter();
        let ended = ended.filter(|endpoint| !endpoint.is_continued_by(&change.endpoints));
        self.end_series(ended, account, last);
        let is_other_host = change.sampler.is_some();
        if let Some(mut sampler) = change.sampler {
            // The new ledger resumes from the counters, as after a restart.
            let mut ledger = Ledger::new(sampler.roots().units);
            if let Some(counters) = self.ledger.counters() {
                ledger.resume(counters.clone());
            }
            self.ledger = ledger;
            std::mem::swap(&mut self.sampler, &mut sampler);
            self.sampler.inherit(sampler);
        }
        // A later run must not resume from counters that are no longer kept there.
        if let Some(left) = self.state.take().filter(|left| change.state.as_ref() != Some(left)) {
            left.forget();
        }
        self.state = change.state;
        self.endpoints = change.endpoints;
        if let Some(directory) = change.directory {
            self.directory = directory;
        }
        if let Some(pod_files) = change.pod_files {
            self.pod_files = pod_files;
        }
        self.interval = change.interval;
        match (&mut self.metrics, change.metrics) {
            (Some(feed), Some(options)) => {
                feed.set_options(options);
                if is_other_host {
                    feed.set_roots(self.sampler.roots());
                }
            }
            (feed, options) => {
                let (published, roots) = (&self.published, self.sampler.roots());
                let started = |options| MetricsFeed::new(options, Arc::clone(published), roots);
                *feed = options.map(started);
            }
        }
        // The reload may have been cancelled meanwhile.
        let _ = change.in_force.send(());
    }
}

/// The conditions that have been logged, so that a lasting one is one line and not one a sample.
#[derive(Debug, Default)]
struct SampleLog {
    standing_logged: usize,
    gaps: u64,
    state_failed: bool,
    unowned_logged: bool,
}

impl SampleLog {
    fn note(&mut self, snapshot: &Snapshot, account: &Account) {
        let standing = &snapshot.gaps.standing;
        for gap in standing.get(self.standing_logged..).unwrap_or_default() {
            info!("{}: {}", String::from_utf8_lossy(&gap.path), gap.reason);
        }
        self.standing_logged = standing.len();
        let count = snapshot.gaps.count + account.gaps.count;
        if (self.gaps == 0) != (count == 0) {
            let failed = |gap: &&Gap| gap.reason.is_of_reading();
            let first = snapshot.gaps.current.iter().chain(&account.gaps.current).find(failed);
            match first.filter(|_| count > 0) {
                Some(gap) => warn!(
                    "sampling: failed or odd readings in this sample: {count}, first {}: {}",
                    String::from_utf8_lossy(&gap.path).escape_debug(),
                    gap.reason
                ),
                None => info!("sampling: all readings succeed again"),
            }
        }
        self.gaps = count;
        let is_unowned = |gap: &&Gap| matches!(gap.reason, GapReason::UnownedCpu { .. });
        if !self.unowned_logged
            && let Some(gap) = account.gaps.current.iter().find(is_unowned)
        {
            self.unowned_logged = true;
            info!(
                "sampling: {}: {} (logged once)",
                String::from_utf8_lossy(&gap.path).escape_debug(),
                gap.reason
            );
        }
    }

    fn state(&mut self, failed: Option<StateError>) {
        match failed {
            Some(error) if !self.state_failed => {
                warn!(
                    "state: the counters cannot be kept, a restart will lose an interval: {error}"
                );
                self.state_failed = true;
            }
            None if self.state_failed => {
                info!("state: the counters are kept again");
                self.state_failed = false;
            }
            _ => {}
        }
    }
}
