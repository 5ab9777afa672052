//! The sampling thread: sample, settle, keep the counters, hand the posts to every endpoint's queue.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::notify::Pulse;
use super::pod_files::PodFiles;
use super::vitals::Vitals;
use super::wait::{self, Stop, Woken};
use crate::checkpoint::{StateDir, StateError};
use crate::clock;
use crate::directory::Directory;
use crate::endpoint::endpoint::EndpointHandle;
use crate::identity::BootId;
use crate::ledger::{Account, Ledger};
use crate::payload::entities::{Observation, RunningTotals};
use crate::snapshot::Snapshot;
use crate::snapshot::sampler::Sampler;
use crate::spool::{Batch, Moment};

pub struct Sampling {
    pub sampler: Sampler,
    pub ledger: Ledger,
    pub state: Option<StateDir>,
    pub endpoints: Vec<EndpointHandle>,
    pub directory: Directory,
    pub pod_files: PodFiles,
    pub boot: BootId,
    pub interval: Duration,
    pub vitals: Arc<Vitals>,
}

/// What a reload brings. Counters, totals and the account go on whatever it is.
pub struct Change {
    /// `None`: the one that is there reads the same host as before.
    pub sampler: Option<Sampler>,
    pub state: Option<StateDir>,
    pub endpoints: Vec<EndpointHandle>,
    /// `None`: the one that is there goes on.
    pub directory: Option<Directory>,
    /// `None`: likewise.
    pub pod_files: Option<PodFiles>,
    pub interval: Duration,
    /// Told once the change is in force: from then on no endpoint of before is offered anything.
    pub in_force: oneshot::Sender<()>,
}

/// Between the first sample, which only sets the start, and the first figures: whoever has just
/// started the agent is looking.
const FIRST_FIGURES: Duration = Duration::from_secs(1);

/// The shortest time between two samples, when an interval's boundary comes right behind one.
const LEAST: Duration = Duration::from_millis(500);

impl Sampling {
    /// Goes on until `stop` says so, and looks for `changes` when it is woken. `ticked` is told of
    /// each sample.
    pub fn run(
        mut self,
        stop: &Stop,
        changes: &mpsc::Receiver<Change>,
        mut pulse: Pulse,
        mut ticked: impl FnMut(u64),
    ) {
        let mut account = Account::default();
        let mut totals = RunningTotals::default();
        let mut notes = Notes::default();
        let mut sequence = 0;
        let mut wait = FIRST_FIGURES;
        loop {
            let wall = clock::wall_time();
            let snapshot = self.sampler.sample(&clock::boot_time, wall);
            self.ledger.settle(snapshot, &mut account);
            notes.note(snapshot);
            self.vitals.sampled(snapshot, self.interval);
            debug!(
                took_usec = snapshot.ended_at.usec_since(snapshot.begun_at),
                files = snapshot.work.files_read,
                cgroups = snapshot.cgroups.len(),
                spared = snapshot.work.cgroups_spared,
                "sampled"
            );
            let taken = Moment { boot: self.boot, since_boot: snapshot.begun_at, wall };
            let batches = self.batches(&account, &mut totals, taken);
            // Handed over, then counted, then sent: whenever the process ends, an interval stands in
            // what it has handed over or is counted again, and never both.
            let in_journal: Vec<bool> = self
                .endpoints
                .iter()
                .zip(&batches)
                .map(|(endpoint, batch)| endpoint.handle.journal(batch))
                .collect();
            if let (Some(state), Some(counters)) = (&self.state, self.ledger.counters()) {
                notes.state(state.save(counters).err());
            }
            for ((endpoint, batch), kept) in self.endpoints.iter().zip(batches).zip(in_journal) {
                endpoint.handle.offer(batch, kept);
            }
            if account.since.is_some() {
                sequence += 1;
                wait = clock::until_next(clock::wall_time(), self.interval, LEAST);
            }
            ticked(sequence);
            let mut due = clock::boot_time().plus(wait);
            loop {
                pulse.beat();
                match wait::until(pulse.or_sooner(due), stop, &mut self.sampler) {
                    Woken::Stopped => return,
                    Woken::Due if clock::boot_time() >= due => break,
                    Woken::Due => {}
                    Woken::Asked => {
                        for change in changes.try_iter() {
                            let interval = self.interval;
                            if change.sampler.is_some() {
                                notes.standing_told = 0;
                            }
                            self.take(change);
                            // The wait for the first figures is none of the interval's.
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

    /// What each endpoint is told of the sample that was just settled; nothing where it was the first.
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
        let files = self.pod_files.follow(account, clock::boot_time());
        let view = Observation {
            account,
            catalog: &catalog,
            filesystems: &files.pods,
            node_filesystem: files.node,
        };
        let entities = totals.add(&view);
        let batch =
            |endpoint: &EndpointHandle| Batch::new(taken, endpoint.encoder.posts(&view, &entities));
        self.endpoints.iter().map(batch).collect()
    }

    fn take(&mut self, change: Change) {
        if let Some(mut sampler) = change.sampler {
            // As over a restart: what was read before holds if it was of the same boot.
            let mut ledger = Ledger::new(sampler.roots().units);
            if let Some(counters) = self.ledger.counters() {
                ledger.resume(counters.clone());
            }
            self.ledger = ledger;
            std::mem::swap(&mut self.sampler, &mut sampler);
            self.sampler.inherit(sampler);
        }
        // Counters that are no longer kept there must not be gone on from one day.
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
        // Whoever reloads may have been stopped meanwhile.
        let _ = change.in_force.send(());
    }
}

/// What has been logged, so that a lasting trouble is one line and not one a tick.
#[derive(Debug, Default)]
struct Notes {
    standing_told: usize,
    gaps: u64,
    state_failed: bool,
}

impl Notes {
    fn note(&mut self, snapshot: &Snapshot) {
        let standing = &snapshot.gaps.standing;
        for gap in standing.get(self.standing_told..).unwrap_or_default() {
            info!("{}: {}", String::from_utf8_lossy(&gap.path), gap.reason);
        }
        self.standing_told = standing.len();
        let count = snapshot.gaps.count;
        if (self.gaps == 0) != (count == 0) {
            match snapshot.gaps.current.first() {
                Some(gap) => warn!(
                    "not everything can be read (gaps in this sample: {count}), first {}: {}",
                    String::from_utf8_lossy(&gap.path).escape_debug(),
                    gap.reason
                ),
                None => info!("everything can be read again"),
            }
        }
        self.gaps = count;
    }

    fn state(&mut self, failed: Option<StateError>) {
        match failed {
            Some(error) if !self.state_failed => {
                warn!("the counters cannot be kept, a restart will be a gap: {error}");
                self.state_failed = true;
            }
            None if self.state_failed => {
                info!("the counters are kept again");
                self.state_failed = false;
            }
            _ => {}
        }
    }
}
