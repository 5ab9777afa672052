//! The order in which the posts of a round are sent, and the choice of the probe.

use std::collections::{HashMap, HashSet, VecDeque};

use super::failing_paths::FailingPaths;
use super::slot::PostSlot;
use crate::delivery::queue::QueuedBatch;

pub(super) struct SendOrder {
    /// Numbers of slots.
    pub(super) posts: VecDeque<usize>,
    /// The number of posts from which the probe was chosen.
    pub(super) probes: usize,
}

/// Unacknowledged posts take turns with the others. Posts on a path with unacknowledged ones go
/// last. So an endpoint that accepts anything does not count as down, however many posts it always
/// fails on. The probe is chosen in turn by the number `probe`; an unacknowledged post is a probe
/// only where there is no other.
pub(super) fn of(
    slots: &[Option<PostSlot>],
    entries: &[QueuedBatch],
    is_in_order: bool,
    failing_paths: &FailingPaths,
    probe: Option<usize>,
) -> SendOrder {
    let is_left =
        |slot: &PostSlot| entries.get(slot.entry).is_some_and(|entry| entry.partially_accepted);
    let posts = slots.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.as_ref()?)));
    let (left, whole): (Vec<_>, Vec<_>) = posts.partition(|(_, slot)| is_left(slot));
    let paths_left: HashSet<&str> = left.iter().map(|(_, slot)| path(slot)).collect();
    let is_free = |(_, slot): &(usize, &PostSlot)| !paths_left.contains(path(slot));
    let (mut first, mut behind): (Vec<_>, Vec<_>) = whole.into_iter().partition(is_free);
    if !is_in_order {
        first.append(&mut behind);
    }
    let probes = if first.is_empty() {
        probe_candidates(&left, is_in_order)
    } else {
        probe_candidates(&first, is_in_order)
    };
    let number = |(at, _): &(usize, &PostSlot)| *at;
    let mut line = VecDeque::with_capacity(slots.len());
    let mut turns = (left.iter().map(number), first.iter().map(number));
    loop {
        let (one, other) = (turns.0.next(), turns.1.next());
        line.extend(one.into_iter().chain(other));
        if one.is_none() && other.is_none() {
            break;
        }
    }
    line.extend(behind.iter().map(number));
    put_probes_first(&mut line, slots, failing_paths, is_left);
    if let Some(nth) = probe
        && let Some(at) = nth.checked_rem(probes.len()).and_then(|nth| probes.get(nth))
    {
        line.retain(|other| other != at);
        line.push_front(*at);
    }
    SendOrder { posts: line, probes: probes.len() }
}

/// On failing paths a fresh post goes first, then the oldest unacknowledged one. They use the
/// places of their path's posts.
fn put_probes_first(
    line: &mut VecDeque<usize>,
    slots: &[Option<PostSlot>],
    failing_paths: &FailingPaths,
    is_left: impl Fn(&PostSlot) -> bool,
) {
    let slot = |at: usize| slots.get(at)?.as_ref();
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, at) in line.iter().enumerate() {
        if let Some(path) = slot(*at).map(path).filter(|path| failing_paths.has(path)) {
            places.entry(path).or_default().push(place);
        }
    }
    for places in places.into_values() {
        let mut posts: Vec<usize> =
            places.iter().filter_map(|place| line.get(*place).copied()).collect();
        posts.sort_by_key(|at| (slot(*at).is_some_and(&is_left), *at));
        let oldest_left = posts.iter().position(|at| slot(*at).is_some_and(&is_left));
        if let Some(behind) = oldest_left.and_then(|at| posts.get_mut(1..=at)) {
            behind.rotate_right(usize::from(!behind.is_empty()));
        }
        for (place, at) in places.into_iter().zip(posts) {
            line.get_mut(place).into_iter().for_each(|old| *old = at);
        }
    }
}

/// The posts that may be sent before any other of these.
fn probe_candidates<'s>(posts: &[(usize, &'s PostSlot)], is_in_order: bool) -> Vec<usize> {
    let mut paths: HashSet<&'s str> = HashSet::new();
    let mut may = |slot: &'s PostSlot| !is_in_order || paths.insert(path(slot));
    posts.iter().filter_map(|(at, slot)| may(slot).then_some(*at)).collect()
}

fn path(slot: &PostSlot) -> &str {
    &slot.waiting.post.path
}
