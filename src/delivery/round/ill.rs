//! Paths on which an endpoint has failed while it took others: what waits on one of them is not all tried
//! in each round.

use std::collections::HashMap;

use crate::delivery::queue::Waiting;

/// So many ask whether a path is well again: one that is fresh, as what was left may be ill itself, and
/// the oldest, which would else never be tried while what is fresh fails ([`super::line`]).
const ASKING: u8 = 2;

#[derive(Debug)]
pub(super) struct IllPaths(HashMap<String, Ill>);

#[derive(Debug)]
struct Ill {
    may_ask: u8,
    is_answered: bool,
}

impl IllPaths {
    pub(super) fn of<'w>(waiting: impl Iterator<Item = &'w Waiting>) -> Self {
        let failing = waiting.filter(|waiting| waiting.failing.is_some());
        let ill = || Ill { may_ask: ASKING, is_answered: false };
        Self(failing.map(|waiting| (waiting.post.path.clone(), ill())).collect())
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The endpoint took or refused a post of it.
    pub(super) fn is_answered(&mut self, path: &str) {
        if let Some(ill) = self.0.get_mut(path) {
            ill.is_answered = true;
        }
    }

    /// Whether nothing of it is let out any more.
    pub(super) fn is_held_back(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|ill| !ill.is_answered && ill.may_ask == 0)
    }

    pub(super) fn let_out(&mut self, path: &str) {
        if let Some(ill) = self.0.get_mut(path) {
            ill.may_ask = ill.may_ask.saturating_sub(1);
        }
    }
}
