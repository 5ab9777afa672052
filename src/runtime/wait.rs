//! The wait of the sampling thread between two samples: until the next is due, a change arrives or
//! the agent stops. Kernel events are drained meanwhile.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock;
use crate::quantity::BootTime;
use crate::snapshot::sampler::{EventQueue, Sampler};

/// The end of the pipe that wakes the sampling thread. Dropping it stops the sampling.
#[derive(Debug)]
pub struct Waker {
    writer: PipeWriter,
}

impl Waker {
    /// Ends the present wait, or the next one, so that changes are applied.
    pub fn wake(&self) {
        // The sampling thread may have ended.
        let _ = (&self.writer).write(&[0]);
    }
}

/// The end of the pipe that the sampling thread polls.
#[derive(Debug)]
pub struct StopSignal {
    reader: PipeReader,
}

/// Both ends of the pipe.
///
/// # Errors
/// The process has reached its limit of open files.
pub fn stop_signal() -> io::Result<(Waker, StopSignal)> {
    let (reader, writer) = io::pipe()?;
    Ok((Waker { writer }, StopSignal { reader }))
}

/// The end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    Due,
    Asked,
    Stopped,
}

/// The kernel events that are drained, and the pause of each after a drain. The pause batches bursts
/// and bounds the cost. A cgroup that lost its last process is removed some milliseconds later; the
/// kernel buffers the destroy notices of some hundred sockets.
const ALARMS: [(EventQueue, Duration); 2] = [
    (EventQueue::Cgroups, Duration::from_millis(10)),
    (EventQueue::Sockets, Duration::from_millis(100)),
];

/// The time that draining may take in one wait, beside a twentieth of the wait; beyond it pauses grow.
/// A drain takes some milliseconds on a large tree with much churn.
const DRAIN_BUDGET: Duration = Duration::from_millis(250);

/// Waits until `due` or `stop`. Drains the sampler's kernel events meanwhile, and lets it look at
/// sockets. Time in suspend counts.
pub fn until(due: BootTime, stop: &StopSignal, sampler: &mut Sampler) -> Woken {
    // The end of each pause.
    let mut open_at = [BootTime::default(); ALARMS.len()];
    let (waited_from, mut attended) = (clock::boot_time(), Duration::ZERO);
    loop {
        let now = clock::boot_time();
        let mut left = due.since(now);
        if left == Duration::ZERO {
            return Woken::Due;
        }
        if let Some(at) = sampler.next_look(due) {
            if at <= now {
                sampler.look(&clock::boot_time);
                continue;
            }
            left = left.min(at.since(now));
        }
        let mut ends: [_; 1 + ALARMS.len()] =
            std::array::from_fn(|_| PollFd::new(&stop.reader, PollFlags::IN));
        let mut heard = [None; ALARMS.len()];
        let mut used = 1;
        for (number, (alarm, _)) in ALARMS.into_iter().enumerate() {
            let Some(fd) = sampler.event_fd(alarm) else { continue };
            let alone = open_at[number].since(now);
            if alone > Duration::ZERO {
                left = left.min(alone);
                continue;
            }
            ends[used] = PollFd::from_borrowed_fd(fd, PollFlags::IN);
            heard[used - 1] = Some(number);
            used += 1;
        }
        // An interrupted wait has seen nothing, and so has a timer that is ahead of the clock.
        let _ = poll(&mut ends[..used], Timespec::try_from(left).ok().as_ref());
        let seen = ends.map(|end| !end.revents().is_empty());
        if seen[0] {
            // Something was written or the other end is gone, so this does not wait.
            match (&stop.reader).read(&mut [0; 64]) {
                Ok(0) => return Woken::Stopped,
                Ok(_) => return Woken::Asked,
                // Interrupted.
                Err(_) => {}
            }
        }
        for (number, _) in heard.into_iter().zip(&seen[1..]).filter(|(_, seen)| **seen) {
            let Some(number) = number else { continue };
            let (alarm, alone) = ALARMS[number];
            let begun = clock::boot_time();
            sampler.drain_events(alarm, &clock::boot_time);
            let now = clock::boot_time();
            let took = now.since(begun);
            attended += took;
            let is_costly = attended > DRAIN_BUDGET + now.since(waited_from) / 20;
            open_at[number] = now.plus(if is_costly { alone.max(took * 20) } else { alone });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(millis: u64) -> BootTime {
        clock::boot_time().plus(Duration::from_millis(millis))
    }

    /// Of a host that tells of nothing.
    fn sampler(root: &std::path::Path) -> Sampler {
        let roots = crate::snapshot::roots::Roots {
            procfs: root.to_owned(),
            sysfs: root.to_owned(),
            cgroupfs: None,
            rootfs: root.to_owned(),
            units: crate::snapshot::roots::Units { ticks_per_second: 100, page_size_bytes: 4096 },
            captured: None,
        };
        Sampler::open(roots, crate::snapshot::sampler::SamplerOptions::default()).unwrap()
    }

    #[test]
    fn a_wait_ends_when_it_is_due_and_not_before() {
        let (_held, stop) = stop_signal().unwrap();
        let root = tempfile::tempdir().unwrap();
        let mut sampler = sampler(root.path());
        let due = later(30);
        assert_eq!(until(due, &stop, &mut sampler), Woken::Due);
        assert!(clock::boot_time() >= due);
        assert_eq!(until(BootTime::default(), &stop, &mut sampler), Woken::Due);
    }

    #[test]
    fn however_often_it_is_asked_for_the_wait_ends_once_and_the_stop_is_not_lost() {
        let (held, stop) = stop_signal().unwrap();
        let root = tempfile::tempdir().unwrap();
        let mut sampler = sampler(root.path());
        held.wake();
        held.wake();
        assert_eq!(until(later(60_000), &stop, &mut sampler), Woken::Asked);
        assert_eq!(until(later(30), &stop, &mut sampler), Woken::Due);
        held.wake();
        drop(held);
        assert_eq!(until(later(60_000), &stop, &mut sampler), Woken::Asked);
        assert_eq!(until(later(60_000), &stop, &mut sampler), Woken::Stopped);
    }

    #[test]
    fn letting_go_ends_a_long_wait_at_once() {
        let (held, stop) = stop_signal().unwrap();
        let due = later(60_000);
        let root = tempfile::tempdir().unwrap();
        let mut sampler = sampler(root.path());
        let waiting = std::thread::spawn(move || until(due, &stop, &mut sampler));
        drop(held);
        assert_eq!(waiting.join().unwrap(), Woken::Stopped);
        assert!(clock::boot_time() < due);
    }
}
