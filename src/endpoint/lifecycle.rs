//! Reports to a life-cycle endpoint which pods are created, change and end.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use tracing::{error, info, warn};

use crate::clock;
use crate::delivery::{self, Getter, Handle};
use crate::directory::Directory;
use crate::identity::BootId;
use crate::panics;
use crate::payload::options::PodFilter;
use crate::payload::pod_lifecycle::{self, Lifecycle, PodChange};
use crate::quantity::BootTime;
use crate::retry_after::Backoff;
use crate::spool::{Batch, Moment};

/// The interval at which the endpoint is asked which pods it holds to be alive.
const RECONCILE: Duration = Duration::from_secs(60);

/// The wait for a source to publish its pods, or for posts to be accepted, before the endpoint is asked.
const RECONCILE_RETRY: Duration = Duration::from_secs(1);

/// The delay between a change and its report, so that changes that come together go together.
const SETTLE: Duration = Duration::from_millis(500);

/// The longest list of pods that is read, in bytes: a row takes one to ten KiB.
const LIST_BYTES_MAX: usize = 16 << 20;

/// The task that reports the pod life cycle to one endpoint. It ends when this is dropped.
#[derive(Debug)]
pub struct Reporter(JoinHandle<()>);

impl Drop for Reporter {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reporter {
    /// Reports all pods, then each change. Needs a runtime.
    #[must_use]
    pub fn start(
        handle: Handle,
        delivery: delivery::DeliverySettings,
        filters: PodFilter,
        node_name: &str,
        boot: BootId,
        directory: &Directory,
    ) -> Self {
        let (node_name, directory) = (node_name.to_owned(), directory.clone());
        let (least, most) = (panics::RESTART_WAIT_MIN, panics::RESTART_WAIT_MAX);
        let mut backoff = Backoff::equal_jitter(least, most, delivery.seed);
        Self(tokio::spawn(async move {
            // After a panic all pods are reported once more; a repeated report changes nothing.
            loop {
                let reporting = Reporting {
                    handle: handle.clone(),
                    delivery: delivery.clone(),
                    filters: filters.clone(),
                    node_name: node_name.clone(),
                    lifecycle: Lifecycle::default(),
                    boot,
                    reported_at: BootTime::default(),
                    dropped_posts: 0,
                    reconcile_failed: false,
                };
                if panics::catch(reporting.run(directory.clone())).await.is_ok() {
                    return;
                }
                let wait = backoff.after_failure();
                let (name, wait_ms) = (&delivery.name, wait.as_millis());
                error!(
                    "endpoint {name}: the task that reports pods panicked, a fault of the program; it \
                     starts again in {wait_ms} ms, and sampling goes on"
                );
                handle.count_restart();
                tokio::time::sleep(wait).await;
            }
        }))
    }
}

struct Reporting {
    handle: Handle,
    delivery: delivery::DeliverySettings,
    filters: PodFilter,
    node_name: String,
    lifecycle: Lifecycle,
    boot: BootId,
    /// The time of the last report. No two have the same, since it identifies them.
    reported_at: BootTime,
    /// The posts that the endpoint's queue had dropped at the last check.
    dropped_posts: u64,
    reconcile_failed: bool,
}

impl Reporting {
    async fn run(mut self, directory: Directory) {
        let mut changes = directory.changes();
        let is_asked = self.delivery.dry_run.is_none();
        // Rows can be wrong from the start: pods have ended while no agent ran.
        let mut reconcile_at = clock::timer_now() + RECONCILE_RETRY;
        let getter = match Getter::new(&self.delivery) {
            Ok(getter) => getter,
            Err(reason) => {
                warn!("endpoint {}: cannot be asked for its pods: {reason}", self.delivery.name);
                return;
            }
        };
        let mut settled_at = Some(clock::timer_now());
        loop {
            let due = async {
                match settled_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {
                    settled_at = None;
                    let changes = self.lifecycle.changes(&directory.catalog(), &self.filters);
                    self.report(changes);
                }
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    settled_at.get_or_insert_with(|| clock::timer_now() + SETTLE);
                }
                () = sleep_until(reconcile_at), if is_asked => {
                    let wait = self.reconcile(&getter, &directory).await;
                    reconcile_at = clock::timer_now() + wait;
                }
            }
        }
    }

    /// Compares the endpoint's pods with the directory, and returns the wait until the next time. Before
    /// a source has listed pods, none counts as dead.
    async fn reconcile(&mut self, getter: &Getter, directory: &Directory) -> Duration {
        let catalog = directory.catalog();
        if !pod_lifecycle::knows_pods(&catalog) {
            return RECONCILE_RETRY;
        }
        let figures = self.handle.statistics(&clock::moment(self.boot));
        let dropped_posts = figures.dropped_posts.total();
        if std::mem::replace(&mut self.dropped_posts, dropped_posts) != dropped_posts {
            self.lifecycle.doubt();
            let changes = self.lifecycle.changes(&catalog, &self.filters);
            self.report(changes);
            return RECONCILE_RETRY;
        }
        // Waiting posts would look like a difference.
        if figures.waiting_posts > 0 {
            return RECONCILE_RETRY;
        }
        let path = pod_lifecycle::list_path(&self.node_name);
        let listed = match getter.get(&path, LIST_BYTES_MAX).await {
            Ok(body) => {
                pod_lifecycle::decode_list(&body).map_err(|error| getter.masked(&error.to_string()))
            }
            Err(error) => Err(error.to_string()),
        };
        match listed {
            Ok(rows) => {
                if std::mem::take(&mut self.reconcile_failed) {
                    info!("endpoint {}: answers for its pods again", self.delivery.name);
                }
                let changes = self.lifecycle.reconcile(&rows, &directory.catalog(), &self.filters);
                self.report(changes);
            }
            Err(reason) => {
                if !std::mem::replace(&mut self.reconcile_failed, true) {
                    warn!(
                        "endpoint {}: its pods cannot be compared: GET {path}: {reason}",
                        self.delivery.name
                    );
                }
            }
        }
        RECONCILE
    }

    /// Offers one batch per change: a batch has no order, and a pod's row must not be marked dead
    /// before it is created.
    fn report(&mut self, changes: Vec<PodChange>) {
        for change in changes {
            let now = clock::moment(self.boot);
            let after_the_last = self.reported_at.plus(Duration::from_nanos(1));
            let sampled_at = Moment { since_boot: now.since_boot.max(after_the_last), ..now };
            self.reported_at = sampled_at.since_boot;
            let message = pod_lifecycle::message(&change, &self.node_name, sampled_at.wall);
            let post = (message.path, message.body);
            self.handle.offer(Batch::new(sampled_at, [post]), false);
        }
    }
}
