use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::identity::BootId;
use crate::quantity::{BootTime, WallTime};

const BOUNDS: Bounds = Bounds { bytes_max: 1 << 20, age_max: Duration::from_secs(3600) };

fn at(secs: u64) -> Moment {
    Moment {
        boot: BootId::parse(b"0f3c1d2e-4a5b-4c6d-8e7f-0123456789ab").unwrap(),
        since_boot: BootTime::from_nanos(secs * 1_000_000_000),
        wall: WallTime::from_unix_millis(secs * 1000),
    }
}

fn batch(secs: u64) -> Batch {
    Batch::new(at(secs), [("/a".to_owned(), Bytes::from_static(b"{}"))])
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

/// Begins a call and lets go of it before it is answered.
fn call_and_leave<T>(call: impl Future<Output = T>) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut call = pin!(call);
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// Begins a call while the thread is at work, has the work end, and lets go of the call when its
/// answer is there.
fn call_and_leave_answered<T>(
    queue: &Queue,
    work: mpsc::Sender<()>,
    call: impl Future<Output = T>,
) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut call = pin!(call);
    // A thread without work could answer before this poll returns.
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(work);
    wait(queue.ask(|_, _| Ok(()))).unwrap();
}

/// Has the thread at work until the sender is dropped.
fn occupy(queue: &Queue) -> mpsc::Sender<()> {
    let (end, until) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    call_and_leave(queue.ask(move |_, _| {
        begin.send(()).unwrap();
        let _ = until.recv();
        Ok(())
    }));
    begun.recv().unwrap();
    end
}

#[test]
fn a_panic_in_the_thread_is_an_error_for_all_who_wait() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Spool::new(dir.path().to_owned()).queue("a", BOUNDS);
    let end = occupy(&queue);
    let panics = queue.ask(|_, _| -> Result<(), SpoolError> { panic!("a test's") });
    let waits = queue.append_and_end(batch(1), end);
    let (panicked, waited) = wait(async { tokio::join!(panics, waits) });
    assert_eq!((panicked, waited), (Err(SpoolError::Ended), Err(SpoolError::Ended)));
    assert_eq!(wait(queue.append(&batch(2), false, at(2))), Err(SpoolError::Ended));
    assert_eq!(wait(queue.open(at(2))), Err(SpoolError::Ended));
    wait(queue.close_idle());
    assert_eq!(queue.contents(), QueueContents::default());
}

impl Queue {
    /// Appends, and lets the thread go on once that is on its way.
    async fn append_and_end(
        &self,
        batch: Batch,
        end: mpsc::Sender<()>,
    ) -> Result<RowId, SpoolError> {
        let ends = async {
            drop(end);
        };
        tokio::join!(self.append(&batch, false, at(1)), ends).0
    }
}

#[test]
fn figures_are_told_while_the_disk_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Spool::new(dir.path().to_owned()).queue("a", BOUNDS);
    wait(queue.append(&batch(1), false, at(1))).unwrap();
    let end = occupy(&queue);
    call_and_leave(queue.append(&batch(2), false, at(2)));
    // Would be for ever, if it waited.
    assert_eq!(queue.contents().batches, 1);
    assert_eq!(queue.take_lost(), Lost::default());
    drop(end);
}

#[test]
fn what_nobody_waits_for_any_more_is_carried_out_and_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Spool::new(dir.path().to_owned()).queue("a", BOUNDS);
    let end = occupy(&queue);
    // More than have a place: the last ones were never taken.
    for secs in 0..CALLS_MAX as u64 + 8 {
        call_and_leave(queue.append(&batch(secs), true, at(secs)));
    }
    drop(end);
    wait(queue.append(&batch(99), false, at(99))).unwrap();
    assert_eq!(queue.contents().batches, CALLS_MAX as u64 + 1);
    // Nor are they in anybody's hands, neither by having been put there nor by having been asked
    // for; and neither if the answer was given and not taken.
    let end = occupy(&queue);
    call_and_leave(queue.next(at(99)));
    drop(end);
    call_and_leave_answered(&queue, occupy(&queue), queue.next(at(99)));
    let mut sampled_at = Vec::new();
    while let Some((_, batch)) = wait(queue.next(at(99))).unwrap() {
        sampled_at.push(batch.sampled_at);
    }
    let expected: Vec<Moment> = (0..CALLS_MAX as u64).chain([99]).map(at).collect();
    assert_eq!(sampled_at, expected);
}

const MOMENT: Duration = Duration::from_millis(50);

fn hasty(dir: &Path) -> Queue {
    Spool::with_answer_time(dir.to_owned(), MOMENT).queue("a", BOUNDS)
}

fn unanswered_error(queue: &Queue) -> SpoolError {
    failed(queue.path(), "the disk has not answered within 50ms")
}

/// Asks until there is an answer again.
fn at_last<T>(mut ask: impl FnMut() -> Result<T, SpoolError>) -> T {
    std::iter::repeat_with(|| ask().ok()).flatten().next().unwrap()
}

fn samples(queue: &Queue) -> Vec<Moment> {
    let mut sampled_at = Vec::new();
    while let Some((_, batch)) = at_last(|| wait(queue.next(at(99)))) {
        sampled_at.push(batch.sampled_at);
    }
    sampled_at
}

#[test]
fn what_a_disk_that_does_not_answer_is_asked_meanwhile_does_not_come_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let queue = hasty(dir.path());
    for secs in 0..4 {
        at_last(|| wait(queue.append(&batch(secs), false, at(secs))));
    }
    let rows = [(); 3].map(|()| at_last(|| wait(queue.next(at(4)))).unwrap().0);
    let end = occupy(&queue);
    assert_eq!(wait(queue.append(&batch(5), false, at(5))), Err(unanswered_error(&queue)));
    for secs in 10..210 {
        assert_eq!(wait(queue.append(&batch(secs), true, at(secs))), Err(unanswered_error(&queue)));
    }
    // Nothing is even waited for but the first.
    assert_eq!(queue.thread.calls().unwrap().capacity(), CALLS_MAX - 1);
    assert_eq!(wait(queue.next(at(6))), Err(unanswered_error(&queue)));
    assert_eq!(wait(queue.remove(&rows[..1])), Err(unanswered_error(&queue)));
    assert_eq!(wait(queue.merge(&rows[1..], &batch(2))), Err(unanswered_error(&queue)));
    assert_eq!(wait(queue.release(rows[1])), RowPresence::Present);
    assert_eq!(queue.contents().batches, 4);
    drop(end);
    at_last(|| wait(queue.append(&batch(7), false, at(7))));
    // What was done with is removed, what was let go is given out again, and one is in hand still.
    assert_eq!(queue.contents().batches, 4);
    assert_eq!(samples(&queue), [1, 3, 7].map(at));
    assert_eq!((queue.take_lost(), queue.take_merged_posts()), (Lost::default(), 0));
}

/// The work that the thread had begun when it was given up.
#[test]
fn what_comes_to_be_too_late_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let queue = hasty(dir.path());
    let (end, until) = mpsc::channel::<()>();
    let late = queue.ask_or_undo(
        move |database, bounds| {
            let _ = until.recv();
            database.append(&batch(1), false, at(1), bounds)
        },
        |database, row| drop(database.remove(&[row])),
    );
    assert_eq!(wait(late), Err(unanswered_error(&queue)));
    drop(end);
    assert_eq!(samples(&queue), []);
    assert_eq!(queue.contents(), QueueContents::default());
    at_last(|| wait(queue.append(&batch(2), false, at(2))));
    assert_eq!(samples(&queue), [at(2)]);
}

#[test]
fn a_look_that_takes_its_time_is_given_up_and_the_only_one() {
    let dir = tempfile::tempdir().unwrap();
    let queue = hasty(dir.path());
    let (end, until) = mpsc::channel::<()>();
    let look = queue.is_absent(move |_| {
        let _ = until.recv();
        Ok(())
    });
    assert_eq!(wait(look), Err(unanswered_error(&queue)));
    let again = queue.is_absent(|_| panic!("a second one"));
    assert_eq!(wait(again), Err(unanswered_error(&queue)));
    drop(end);
    assert!(at_last(|| wait(queue.is_absent(|_| Ok(())))));
}
