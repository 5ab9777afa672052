//! Migrates the backlog of an endpoint from its previous settings to the new ones, or ends it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::endpoint::Endpoint;
use crate::clock;
use crate::delivery::{Handle, Worker, reached};
use crate::identity::BootId;
use crate::quantity::counted;
use crate::spool::{Batch, Bounds, Journal, Moment, Queue, RowId, SpoolError};

/// The time to flush an endpoint at a stop or a change of its settings.
pub const FLUSH_DEADLINE: Duration = Duration::from_secs(5);

/// Batches that move from one queue to another in one transaction.
const BATCHES_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 1 << 20;

/// The deadline of all migrations, once the agent stops.
pub type Ending = watch::Receiver<Option<Instant>>;

/// The endpoint that receives the backlog.
#[derive(Debug)]
pub struct Successor {
    pub handle: Handle,
    pub queue: Option<Queue>,
    pub journal: Option<Journal>,
    pub worker: Worker,
}

/// Flushes the predecessor, moves its unacknowledged batches to the successor and starts that.
pub async fn migrate(from: Endpoint, to: Successor, boot: BootId, ending: Ending) {
    let (queue, journal) = (from.queue.clone(), from.journal.clone());
    let (name, left) = from.finish(clock::timer_now() + FLUSH_DEADLINE).await;
    let is_elsewhere = journal.as_ref().map(Journal::dir) != to.journal.as_ref().map(Journal::dir);
    let sampled_at: Vec<Moment> = left.iter().map(|batch| batch.sampled_at).collect();
    if is_elsewhere {
        // A batch that cannot be written is logged there, and is still in memory.
        for batch in &left {
            let _ = to.handle.journal(batch);
        }
    }
    // Batches without a file have none to be removed.
    to.handle.prepend(left, true);
    if let Some(journal) = journal.filter(|_| is_elsewhere) {
        sampled_at.iter().for_each(|sampled_at| journal.forget(sampled_at));
    }
    let is_same = |from: &Queue| to.queue.as_ref().is_some_and(|to| to.path() == from.path());
    if let Some(queue) = queue.filter(|queue| !is_same(queue)) {
        move_queue(&name, &queue, &to, boot, ending).await;
    }
    tokio::spawn(to.worker.run());
}

async fn move_queue(name: &str, from: &Queue, to: &Successor, boot: BootId, ending: Ending) {
    // Batches that are too old are dropped and counted by the successor.
    let from = from.bounded(Bounds { age_max: Duration::MAX, ..from.bounds() });
    let mut moved = 0;
    let moves = async {
        let outcome = move_all(name, &from, to, boot, &mut moved).await;
        from.close_idle().await;
        outcome
    };
    let outcome = tokio::select! {
        outcome = moves => outcome.map_err(|error| error.to_string()),
        () = reached(ending) => Err("the agent stops".to_owned()),
    };
    to.handle.count_damaged(from.take_lost().damaged_posts);
    let stay = from.contents().batches;
    let (file, place) = (from.path().display(), place(to));
    if moved > 0 {
        let samples = counted(moved, "sample was", "samples were");
        info!("endpoint {name}: {samples} moved from {file} to {place}");
    }
    if stay > 0 || outcome.is_err() {
        let why = outcome.err().unwrap_or_else(|| "there is no room for more".to_owned());
        let what = match stay {
            // The file could not be read.
            0 => "what may wait".to_owned(),
            stay => format!("the backlog of {}", counted(stay, "sample", "samples")),
        };
        warn!(
            "endpoint {name}: {what} in {file} cannot be moved to {place} and is not sent until its \
             queue is configured again: {why}"
        );
    }
}

fn place(to: &Successor) -> String {
    to.queue.as_ref().map_or("memory".to_owned(), |queue| queue.path().display().to_string())
}

/// Moves batches from the oldest on, as far as there is room. Each is written there before it is
/// removed here. After a kill in between it is in both, and the server recognises the repeat.
async fn move_all(
    name: &str,
    from: &Queue,
    to: &Successor,
    boot: BootId,
    moved: &mut u64,
) -> Result<(), SpoolError> {
    // They stay leased, so that none is read twice.
    let mut stay = Vec::new();
    let mut is_logged = false;
    let outcome = loop {
        let some = match some_of(from, boot).await {
            Ok(some) if some.is_empty() => break Ok(()),
            Ok(some) => some,
            Err(error) => break Err(error),
        };
        if !std::mem::replace(&mut is_logged, true) {
            let samples = counted(from.contents().batches, "sample is", "samples are");
            let (file, to) = (from.path().display(), place(to));
            info!("endpoint {name}: {samples} moved from {file} to {to}");
        }
        let (rows, batches): (Vec<RowId>, Vec<Batch>) = some.into_iter().unzip();
        let (there, outcome) = put(to, batches, clock::moment(boot)).await;
        let is_there = |row: &RowId| rows.iter().zip(&there).any(|(of, is)| of == row && *is);
        let (gone, left): (Vec<RowId>, Vec<RowId>) = rows.iter().partition(|row| is_there(row));
        *moved += gone.len() as u64;
        let is_full = to.queue.is_none() && !left.is_empty();
        stay.extend(left);
        // They are not leased again either way. The server recognises those that stay on disk.
        let removed = from.remove(&gone).await;
        if let Err(error) = outcome.and(removed) {
            break Err(error);
        }
        if is_full {
            break Ok(());
        }
    };
    for row in stay {
        let _ = from.release(row).await;
    }
    outcome
}

async fn some_of(from: &Queue, boot: BootId) -> Result<Vec<(RowId, Batch)>, SpoolError> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while some.len() < BATCHES_AT_ONCE && bytes < BYTES_AT_ONCE {
        let Some((row, batch)) = from.next(clock::moment(boot)).await? else { break };
        bytes += batch.posts.iter().map(|post| post.path.len() + post.body.len()).sum::<usize>();
        some.push((row, batch));
    }
    Ok(some)
}

/// Writes batches to the successor; returns for each whether it is there.
async fn put(
    to: &Successor,
    batches: Vec<Batch>,
    now: Moment,
) -> (Vec<bool>, Result<(), SpoolError>) {
    let Some(queue) = &to.queue else {
        let mut is_full = false;
        let adopt = |batch| {
            is_full = is_full || !to.handle.adopt(batch);
            !is_full
        };
        return (batches.into_iter().map(adopt).collect(), Ok(()));
    };
    match queue.append_all(&batches, now).await {
        Ok(()) => (vec![true; batches.len()], Ok(())),
        Err(SpoolError::TooLarge { .. }) => {
            let mut there = Vec::new();
            for batch in batches {
                match queue.append(&batch, false, now).await {
                    Ok(_) => there.push(true),
                    Err(SpoolError::TooLarge { .. }) => there.push(false),
                    Err(error) => return (there, Err(error)),
                }
            }
            (there, Ok(()))
        }
        Err(error) => (Vec::new(), Err(error)),
    }
}

/// The reason why an endpoint ends.
#[derive(Debug, Clone, Copy)]
pub enum Leaving {
    AgentStops,
    /// The settings no longer name it.
    Removed,
}

/// Flushes an endpoint until `deadline` and logs where its backlog stays.
pub async fn finish(endpoint: Endpoint, deadline: Instant, boot: BootId, leaving: Leaving) {
    let (handle, journal) = (endpoint.handle.clone(), endpoint.journal.clone());
    let (name, left) = endpoint.finish(deadline).await;
    let on_disk = handle.statistics(&clock::moment(boot)).on_disk.samples;
    if on_disk > 0 {
        let until = match leaving {
            Leaving::AgentStops => "the next start",
            Leaving::Removed => "an endpoint of that name is configured",
        };
        let samples = counted(on_disk, "sample waits", "samples wait");
        info!("endpoint {name}: {samples} on disk until {until}");
    }
    if !left.is_empty() {
        let posts: usize = left.iter().map(|batch| batch.posts.len()).sum();
        let kept = match (journal, leaving) {
            (None, _) => String::new(),
            (Some(_), Leaving::AgentStops) => {
                " nor put to disk; the next start will send them".to_owned()
            }
            (Some(journal), Leaving::Removed) => format!(
                " nor put to disk; they stay in {}, and the next start with an endpoint of that \
                 name will send them, if no boot empties it before",
                journal.dir().display()
            ),
        };
        let (samples, posts) =
            (counted(left.len(), "sample", "samples"), counted(posts, "post", "posts"));
        warn!("endpoint {name}: {samples} ({posts}) could not be sent{kept}");
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::path::Path;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::Poll;

    use bytes::Bytes;
    use tempfile::TempDir;

    use super::*;
    use crate::delivery::{self, BaseUrl, Storage};
    use crate::quantity::{BootTime, WallTime};
    use crate::spool::Spool;

    const BOUNDS: Bounds = Bounds { bytes_max: 64 << 20, age_max: Duration::from_secs(3600) };
    const BATCHES: u64 = 150;

    /// On a file system that does not wait for a disk, where there is one.
    fn quick_dir() -> TempDir {
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
    }

    fn boot() -> BootId {
        BootId::parse(b"0f3c1d2e-4a5b-4c6d-8e7f-0123456789ab").unwrap()
    }

    /// The `n`th, of a body that grows with the number, and that cannot be packed.
    fn batch(n: u64) -> Batch {
        let mut state = n;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let body: Bytes = noise.take(usize::try_from(n * 100).unwrap()).collect();
        let now = clock::moment(boot());
        let since_boot = BootTime::from_nanos(now.since_boot.as_nanos() - 1_000_000 + n);
        let taken = Moment { since_boot, wall: WallTime::from_unix_millis(n), ..now };
        Batch::new(taken, [("/a".to_owned(), body)])
    }

    /// In a directory, and what is in it.
    async fn full(dir: &Path) -> (Queue, Vec<u64>) {
        let queue = Spool::new(dir.to_owned()).queue("central", BOUNDS);
        let batches: Vec<Batch> = (0..BATCHES).map(batch).collect();
        queue.append_all(&batches, clock::moment(boot())).await.unwrap();
        (queue, (0..BATCHES).collect())
    }

    /// The numbers of what is there, in nobody's hands.
    async fn all(queue: &Queue) -> Vec<u64> {
        let (mut all, mut rows) = (Vec::new(), Vec::new());
        while let Some((row, batch)) = queue.next(clock::moment(boot())).await.unwrap() {
            all.push(batch.sampled_at.wall.as_unix_millis());
            rows.push(row);
        }
        for row in rows {
            queue.release(row).await;
        }
        all
    }

    /// The batches that the next run finds there.
    async fn found(dir: &Path) -> Vec<u64> {
        let queue = Spool::new(dir.to_owned()).queue("central", BOUNDS);
        // The thread of before may be about to let go of it.
        while queue.open(clock::moment(boot())).await.is_err() {
            tokio::task::yield_now().await;
        }
        all(&queue).await
    }

    fn successor(queue: Option<Queue>, bytes_max: usize) -> Successor {
        let url = BaseUrl::parse("http://127.0.0.1:9").unwrap();
        let mut settings = delivery::DeliverySettings::new("central", url, 1);
        settings.queue_bytes_max = bytes_max;
        let places = Storage { queue: queue.clone(), journal: None };
        let now = Arc::new(|| clock::moment(boot()));
        let (handle, worker) = delivery::endpoint(settings, places, now).unwrap();
        Successor { handle, queue, journal: None, worker }
    }

    fn never() -> (watch::Sender<Option<Instant>>, Ending) {
        watch::channel(None)
    }

    #[tokio::test]
    async fn all_of_a_queue_goes_to_another_but_what_is_more_than_that_keeps() {
        let dir = quick_dir();
        let (from, batches) = full(&dir.path().join("from")).await;
        let smaller = Bounds { bytes_max: 12_000, ..BOUNDS };
        let mut stay = batches.clone();
        for bounds in [smaller, BOUNDS] {
            let to = Spool::new(dir.path().join("to")).queue("central", bounds);
            let to = successor(Some(to), 1 << 20);
            let (_sender, ending) = never();
            move_queue("central", &from, &to, boot(), ending).await;
            let stayed = all(&from).await;
            let moved = &stay[..stay.len() - stayed.len()];
            assert!(!moved.is_empty() && batches.ends_with(&stayed));
            let queue = to.queue.unwrap();
            let there = all(&queue).await;
            assert_eq!(there.last(), moved.last());
            // What is pushed out there is counted there.
            let lost = queue.take_lost().full_posts;
            if bounds == smaller {
                assert!(!stayed.is_empty() && moved.ends_with(&there));
                assert_eq!(lost, (moved.len() - there.len()) as u64);
            } else {
                assert_eq!((stayed.len(), lost), (0, 0));
            }
            // Closed for the next.
            queue.close_idle().await;
            stay = stayed;
        }
        assert!(!from.path().exists());
    }

    #[tokio::test]
    async fn as_much_of_a_queue_goes_to_memory_as_there_is_room_from_the_oldest_on() {
        let dir = quick_dir();
        let (from, batches) = full(dir.path()).await;
        let to = successor(None, 100_000);
        let (_sender, ending) = never();
        move_queue("central", &from, &to, boot(), ending).await;
        let stay = all(&from).await;
        let figures = to.handle.statistics(&clock::moment(boot()));
        let there = figures.in_memory_samples;
        assert!((20..45).contains(&there), "{figures:?}");
        assert_eq!(stay, batches[there..]);
        assert_eq!((figures.offered_posts, figures.waiting_posts), (there as u64, there as u64));
        let left = to.handle.flush(clock::timer_now()).await;
        let left: Vec<u64> =
            left.iter().map(|batch| batch.sampled_at.wall.as_unix_millis()).collect();
        assert_eq!(left, batches[..there]);
    }

    #[tokio::test]
    async fn wherever_a_move_is_ended_each_batch_is_here_or_there() {
        let mut ends_between = false;
        // About one for each row, and for each that is put or removed.
        for answers in (0..280).step_by(23) {
            let dir = quick_dir();
            let (from, batches) = full(&dir.path().join("from")).await;
            let to = Spool::new(dir.path().join("to")).queue("central", BOUNDS);
            let to = successor(Some(to), 1 << 20);
            let (_sender, ending) = never();
            {
                let mut moves = pin!(move_queue("central", &from, &to, boot(), ending));
                let mut left = answers;
                let cut = poll_fn(|context| match left {
                    0 => Poll::Ready(()),
                    _ => {
                        left -= 1;
                        moves.as_mut().poll(context)
                    }
                });
                cut.await;
            }
            drop((from, to));
            let stay = found(&dir.path().join("from")).await;
            let there = found(&dir.path().join("to")).await;
            let is_nowhere = |n: &&u64| !stay.contains(n) && !there.contains(n);
            assert_eq!(batches.iter().find(is_nowhere), None, "{answers}");
            ends_between |= !stay.is_empty() && !there.is_empty();
        }
        assert!(ends_between);
    }

    #[tokio::test]
    async fn a_move_that_takes_longer_than_the_agent_has_is_cut_short() {
        let dir = quick_dir();
        let (from, batches) = full(&dir.path().join("from")).await;
        let to = Spool::new(dir.path().join("to")).queue("central", BOUNDS);
        let to = successor(Some(to), 1 << 20);
        let (sender, ending) = never();
        sender.send_replace(Some(clock::timer_now()));
        move_queue("central", &from, &to, boot(), ending).await;
        drop(from);
        assert_eq!(found(&dir.path().join("from")).await, batches);
    }
}
