//! How the sampling thread waits between two samples: until its time has come or it is told to stop.

use std::io::{self, PipeReader, PipeWriter};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::clock;
use crate::quantity::BootTime;

/// Whoever holds it keeps the sampling going; letting go of it ends the sampling, and so does the
/// end of the thread that holds it.
#[derive(Debug)]
pub struct KeepGoing {
    _writer: PipeWriter,
}

/// The sampling thread's end.
#[derive(Debug)]
pub struct Stop {
    reader: PipeReader,
}

/// A pair of ends; an error is the process's limit of open files.
pub fn stop() -> io::Result<(KeepGoing, Stop)> {
    let (reader, writer) = io::pipe()?;
    Ok((KeepGoing { _writer: writer }, Stop { reader }))
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    Due,
    Stopped,
}

/// Waits until `due`. Time that the machine slept through counts.
#[must_use]
pub fn until(due: BootTime, stop: &Stop) -> Woken {
    loop {
        let left = due.since(clock::boot_time());
        if left == Duration::ZERO {
            return Woken::Due;
        }
        let mut ends = [PollFd::new(&stop.reader, PollFlags::IN)];
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut ends, timeout.as_ref()) {
            // Nothing is ever written: what there is to see is that the other end is gone.
            Ok(_) if !ends[0].revents().is_empty() => return Woken::Stopped,
            // Interrupted, or the timer is a little ahead of the clock.
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(millis: u64) -> BootTime {
        clock::boot_time().plus(Duration::from_millis(millis))
    }

    #[test]
    fn a_wait_ends_when_it_is_due_and_not_before() {
        let (_held, stop) = stop().unwrap();
        let due = later(30);
        assert_eq!(until(due, &stop), Woken::Due);
        assert!(clock::boot_time() >= due);
        assert_eq!(until(BootTime::default(), &stop), Woken::Due);
    }

    #[test]
    fn letting_go_ends_a_long_wait_at_once() {
        let (held, stop) = stop().unwrap();
        let due = later(60_000);
        let waiting = std::thread::spawn(move || until(due, &stop));
        drop(held);
        assert_eq!(waiting.join().unwrap(), Woken::Stopped);
        assert!(clock::boot_time() < due);
    }
}
