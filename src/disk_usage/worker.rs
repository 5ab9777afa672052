//! The thread that counts the files of pods.
//!
//! It has the idle scheduling class, asks the disk for so many entries a second, and works for no more
//! than half of the time. It goes round the pods in slices. Nobody waits for it: pods are passed to it
//! and its figures are read without a lock that it holds for long.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};

use super::capacity::CapacityReader;
use super::pace::Pace;
use super::rounds::{Counted, Rounds};
use super::target::{Target, UsageOptions};
use super::usage::PodFilesystemUsage;
use crate::identity::PodUid;
use crate::quantity::BootTime;
use crate::snapshot::roots::Roots;
use crate::source::tree::Space;

/// The figures of all pods that have been counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UsageTable {
    pub pods: BTreeMap<PodUid, PodFilesystemUsage>,
    /// The filesystem that the kubelet's directory lies on, or the root where there is none; `None`
    /// where it was not asked yet or did not answer.
    pub node: Option<Space>,
    /// Entries asked for since the lane was started.
    pub entries: u64,
}

/// The lane, as long as this is held. Letting go of it ends the thread at its next look, which is
/// not waited for: it may be waiting for a disk.
#[derive(Debug)]
pub struct UsageLane {
    wanted: SyncSender<Vec<Target>>,
    published: Arc<Mutex<Arc<UsageTable>>>,
}

/// A reader of the figures.
#[derive(Debug, Clone)]
pub struct UsageFigures {
    published: Arc<Mutex<Arc<UsageTable>>>,
    latest: Arc<UsageTable>,
}

impl UsageLane {
    /// Starts the thread. It does nothing until pods are passed to it.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(roots: Roots, options: UsageOptions, clock: fn() -> BootTime) -> io::Result<Self> {
        let (wanted, asked) = sync_channel(1);
        let published = Arc::<Mutex<Arc<UsageTable>>>::default();
        let lane = Lane {
            pace: Pace::new(options.entries_per_second),
            capacity: CapacityReader::new(roots.rootfs.clone(), options.capacity_deadline),
            rounds: Rounds::new(roots, &options),
            pods: BTreeMap::new(),
            node: None,
            node_asked_at: None,
            entries: 0,
            published: Arc::clone(&published),
        };
        thread::Builder::new().name("usage".to_owned()).spawn(move || {
            if let Err(error) = become_idle() {
                tracing::info!("files of pods are counted at the usual priority: {error}");
            }
            lane.run(&asked, clock);
        })?;
        Ok(Self { wanted, published })
    }

    /// From now on these pods and no others; the figures of others are dropped. Never waits: if
    /// the lane has not yet accepted the targets before these, these come back, to be passed again
    /// later.
    ///
    /// # Errors
    /// The targets, not taken.
    pub fn want(&self, targets: Vec<Target>) -> Result<(), Vec<Target>> {
        self.wanted.try_send(targets).map_err(|error| match error {
            TrySendError::Full(targets) | TrySendError::Disconnected(targets) => targets,
        })
    }

    /// A reader of the figures.
    #[must_use]
    pub fn figures(&self) -> UsageFigures {
        UsageFigures { published: Arc::clone(&self.published), latest: Arc::default() }
    }
}

impl UsageFigures {
    /// The newest figures that can be had without waiting for the lane.
    pub fn latest(&mut self) -> &Arc<UsageTable> {
        if let Ok(table) = self.published.try_lock() {
            self.latest = Arc::clone(&table);
        }
        &self.latest
    }
}

/// The thread's own.
struct Lane {
    rounds: Rounds,
    pace: Pace,
    capacity: CapacityReader,
    pods: BTreeMap<PodUid, PodFilesystemUsage>,
    node: Option<Space>,
    node_asked_at: Option<BootTime>,
    entries: u64,
    published: Arc<Mutex<Arc<UsageTable>>>,
}

/// Without anything to do the thread looks this seldom whether time has passed: a wait's clock
/// stands still while the machine sleeps.
const LOOK: Duration = Duration::from_secs(60);

impl Lane {
    fn run(mut self, asked: &Receiver<Vec<Target>>, clock: fn() -> BootTime) {
        loop {
            let now = clock();
            if self.node_asked_at.is_none_or(|at| now.since(at) >= LOOK) {
                self.node_asked_at = Some(now);
                let place = self.rounds.finder().storage().unwrap_or(Path::new("/")).to_owned();
                self.node = self.capacity.ask(&place, now);
                self.publish();
            }
            let due = self.rounds.next_due().map(|due| due.max(self.pace.ready_at()));
            let wait = due.map_or(LOOK, |due| due.since(now).min(LOOK));
            match asked.recv_timeout(wait) {
                Ok(targets) => {
                    self.rounds.want(targets, clock());
                    let before = self.pods.len();
                    self.pods.retain(|pod, _| self.rounds.wants(*pod));
                    if self.pods.len() < before {
                        self.publish();
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let begun = clock();
            if due.is_none_or(|due| due > begun) {
                continue;
            }
            let slice = self.rounds.slice(begun);
            self.entries += slice.entries;
            self.pace.spent(slice.entries, begun, clock());
            if let Some((pod, counted)) = slice.counted {
                self.take(pod, counted, clock());
                self.publish();
            }
        }
    }

    fn take(&mut self, pod: PodUid, counted: Counted, now: BootTime) {
        let Some(used_bytes) = counted.used_bytes() else {
            // Better none than the last one for ever.
            self.pods.remove(&pod);
            return;
        };
        let storage = self.rounds.finder().storage();
        let space = storage.and_then(|path| self.capacity.ask(path, now));
        let usage = PodFilesystemUsage {
            used_bytes,
            inodes: counted.inodes,
            writable_layer_bytes: counted.writable_layer_bytes,
            empty_dir_bytes: counted.empty_dir_bytes,
            logs_bytes: counted.logs_bytes,
            as_of: now,
            begun_at: counted.begun_at,
            capacity_bytes: space.map(|space| space.capacity_bytes),
            available_bytes: space.map(|space| space.available_bytes),
            incomplete: counted.incomplete,
            overcounted: counted.overcounted,
            from: counted.from,
        };
        self.pods.insert(pod, usage);
    }

    fn publish(&self) {
        let table = Arc::new(UsageTable {
            pods: self.pods.clone(),
            node: self.node,
            entries: self.entries,
        });
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let last = std::mem::replace(&mut *published, table);
        // Let go of behind the lock.
        drop(published);
        drop(last);
    }
}

/// Gives this thread the idle scheduling class, which any process may. Its reads from disk are idle
/// with it where the scheduler of the disk goes by the thread's class (task_nice_ioclass): BFQ
/// always, others where the process has been given an I/O class of its own.
fn become_idle() -> Result<(), thread_priority::Error> {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let outcome = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
    // It sets a nice value besides, which means nothing within the class and may be refused.
    if thread_schedule_policy().is_ok_and(|policy| policy == idle) { Ok(()) } else { outcome }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::root::{Buffer, Dir};

    #[test]
    fn the_thread_is_idle_and_no_other_is() {
        let policy = || {
            let procfs = Dir::open(std::path::Path::new("/proc/thread-self")).unwrap();
            let mut buffer = Buffer::default();
            let stat = procfs.read_record(c"stat", &mut buffer).unwrap();
            let stat = String::from_utf8_lossy(stat).into_owned();
            let behind = stat.rsplit_once(") ").unwrap().1.to_owned();
            // Field 41; the first behind the name is the third.
            behind.split(' ').nth(38).unwrap().parse::<u32>().unwrap()
        };
        const SCHED_IDLE: u32 = 5;
        let before = policy();
        let of_thread = thread::spawn(move || {
            become_idle().unwrap();
            policy()
        });
        assert_eq!(of_thread.join().unwrap(), SCHED_IDLE);
        assert_eq!(policy(), before);
        assert_ne!(before, SCHED_IDLE);
    }
}
