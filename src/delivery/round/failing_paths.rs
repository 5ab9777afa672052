//! Paths that fail while the endpoint accepts others. Only some of their posts are tried in each
//! round.

use std::collections::HashMap;

use crate::delivery::queue::QueuedPost;

/// The tries on a failing path in a round: one fresh post, since unacknowledged ones may be bad
/// themselves, and the oldest one, which would never be tried while fresh ones fail
/// ([`super::order`]).
const TRIES_PER_ROUND: u8 = 2;

#[derive(Debug)]
pub(super) struct FailingPaths(HashMap<String, FailingPath>);

#[derive(Debug)]
struct FailingPath {
    tries_left: u8,
    is_answered: bool,
}

impl FailingPaths {
    pub(super) fn of<'w>(waiting: impl Iterator<Item = &'w QueuedPost>) -> Self {
        let failing = waiting.filter(|waiting| waiting.failing.is_some());
        let failing_paths = || FailingPath { tries_left: TRIES_PER_ROUND, is_answered: false };
        Self(failing.map(|waiting| (waiting.post.path.clone(), failing_paths())).collect())
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The endpoint accepted or rejected a post of this path.
    pub(super) fn is_answered(&mut self, path: &str) {
        if let Some(failing_paths) = self.0.get_mut(path) {
            failing_paths.is_answered = true;
        }
    }

    /// No further post of this path is sent in this round.
    pub(super) fn is_held_back(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|failing_paths| {
            !failing_paths.is_answered && failing_paths.tries_left == 0
        })
    }

    pub(super) fn start_tries(&mut self, path: &str) {
        if let Some(failing_paths) = self.0.get_mut(path) {
            failing_paths.tries_left = failing_paths.tries_left.saturating_sub(1);
        }
    }
}
