//! The capacity that pods have, asked for with a deadline. One thread asks; while it waits for an
//! answer it gets no other question.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::quantity::BootTime;
use crate::source::tree::{Space, TreeDir};

/// An answer stands for all pods that are done this soon after it.
const AGE_MAX: Duration = Duration::from_secs(10);

/// The thread that asks, started at the first question; it ends with this.
pub struct CapacityReader {
    host_root: PathBuf,
    deadline: Duration,
    desk: Option<CapacityThread>,
    latest: Option<(BootTime, Space)>,
}

struct CapacityThread {
    questions: SyncSender<PathBuf>,
    answers: Receiver<Option<Space>>,
    is_waiting: bool,
}

impl CapacityReader {
    #[must_use]
    pub fn new(host_root: PathBuf, deadline: Duration) -> Self {
        Self { host_root, deadline, desk: None, latest: None }
    }

    /// The room of the filesystem that `path` of the host lies on; `None` where it cannot be asked
    /// or does not answer in time. An answer that came too late is one for the next question.
    pub fn ask(&mut self, path: &Path, now: BootTime) -> Option<Space> {
        if let Some((at, space)) = self.latest
            && now.since(at) < AGE_MAX
        {
            return Some(space);
        }
        if self.desk.is_none() {
            self.desk = CapacityThread::open(self.host_root.clone());
        }
        let space = self.desk.as_mut()?.ask(path, self.deadline);
        self.latest = space.map(|space| (now, space));
        space
    }
}

impl CapacityThread {
    fn open(host_root: PathBuf) -> Option<Self> {
        let (questions, asked) = sync_channel::<PathBuf>(1);
        let (answer, answers) = sync_channel(1);
        let ask = move || {
            for path in asked {
                let space = TreeDir::open_place(&host_root, &path).and_then(|dir| dir.space()).ok();
                if answer.send(space).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("capacity".to_owned()).spawn(ask).ok()?;
        Some(Self { questions, answers, is_waiting: false })
    }

    fn ask(&mut self, path: &Path, deadline: Duration) -> Option<Space> {
        if self.is_waiting {
            self.answers.try_recv().ok()?;
            self.is_waiting = false;
        }
        match self.questions.try_send(path.to_owned()) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return None,
        }
        match self.answers.recv_timeout(deadline) {
            Ok(space) => space,
            Err(_) => {
                self.is_waiting = true;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> BootTime {
        BootTime::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn the_room_is_that_of_the_filesystem_and_an_answer_stands_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("kubelet")).unwrap();
        let expected = nix::sys::statvfs::statvfs(folder.path()).unwrap();
        let mut desk = CapacityReader::new(folder.path().to_owned(), Duration::from_secs(60));
        let space = desk.ask(Path::new("/kubelet"), seconds(1)).unwrap();
        assert_eq!(space.capacity_bytes, expected.blocks() * expected.fragment_size());
        assert!(space.available_bytes <= space.free_bytes);
        std::fs::remove_dir(folder.path().join("kubelet")).unwrap();
        assert_eq!(desk.ask(Path::new("/kubelet"), seconds(10)), Some(space));
        assert_eq!(desk.ask(Path::new("/kubelet"), seconds(11)), None);
    }

    #[test]
    fn nobody_waits_twice_for_an_answer_that_does_not_come() {
        // A desk at which nobody sits.
        let (questions, asked) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        let mut desk = CapacityThread { questions, answers, is_waiting: false };
        assert_eq!(desk.ask(Path::new("/a"), Duration::from_millis(1)), None);
        // Would be for ever, if it waited.
        assert_eq!(desk.ask(Path::new("/a"), Duration::MAX), None);
        assert_eq!(asked.try_iter().count(), 1);
        // The late answer makes room for the next question.
        answer.send(None).unwrap();
        assert_eq!(desk.ask(Path::new("/b"), Duration::from_millis(1)), None);
        assert_eq!(asked.try_iter().count(), 1);
    }
}
