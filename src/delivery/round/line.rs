//! In which order the posts of a round are let out, and which of them asks whether an endpoint that was
//! down is back.

use std::collections::{HashMap, HashSet, VecDeque};

use super::Slot;
use super::ill::IllPaths;
use crate::delivery::queue::Entry;

pub(super) struct Line {
    /// Numbers of slots.
    pub(super) posts: VecDeque<usize>,
    /// Among how many the first was chosen, if it asks.
    pub(super) probes: usize,
}

/// What was left of samples takes turns with what is whole, and so does what is on a path on which
/// something was left, as far behind as it can be: however many posts the endpoint always fails on, it is
/// not taken for down as long as it takes others. Which of these asks, if it is down, goes round with
/// the number `probe`; what was left of samples asks only where there is nothing else.
pub(super) fn up(
    slots: &[Option<Slot>],
    entries: &[Entry],
    is_in_order: bool,
    ill: &IllPaths,
    probe: Option<usize>,
) -> Line {
    let is_left = |slot: &Slot| entries.get(slot.entry).is_some_and(|entry| entry.partly_accepted);
    let posts = slots.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.as_ref()?)));
    let (left, whole): (Vec<_>, Vec<_>) = posts.partition(|(_, slot)| is_left(slot));
    let paths_left: HashSet<&str> = left.iter().map(|(_, slot)| path(slot)).collect();
    let is_free = |(_, slot): &(usize, &Slot)| !paths_left.contains(path(slot));
    let (mut first, mut behind): (Vec<_>, Vec<_>) = whole.into_iter().partition(is_free);
    if !is_in_order {
        first.append(&mut behind);
    }
    let probes = match first.is_empty() {
        true => asking(&left, is_in_order),
        false => asking(&first, is_in_order),
    };
    let number = |(at, _): &(usize, &Slot)| *at;
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
    put_asking_first(&mut line, slots, ill, is_left);
    if let Some(nth) = probe
        && let Some(at) = nth.checked_rem(probes.len()).and_then(|nth| probes.get(nth))
    {
        line.retain(|other| other != at);
        line.push_front(*at);
    }
    Line { posts: line, probes: probes.len() }
}

/// On ill paths one that is whole comes first, at the places where its posts are, then the oldest that was
/// left.
fn put_asking_first(
    line: &mut VecDeque<usize>,
    slots: &[Option<Slot>],
    ill: &IllPaths,
    is_left: impl Fn(&Slot) -> bool,
) {
    let slot = |at: usize| slots.get(at)?.as_ref();
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, at) in line.iter().enumerate() {
        if let Some(path) = slot(*at).map(path).filter(|path| ill.has(path)) {
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

/// Those that may be sent before any other of these.
fn asking<'s>(posts: &[(usize, &'s Slot)], is_in_order: bool) -> Vec<usize> {
    let mut paths: HashSet<&'s str> = HashSet::new();
    let mut may = |slot: &'s Slot| !is_in_order || paths.insert(path(slot));
    posts.iter().filter_map(|(at, slot)| may(slot).then_some(*at)).collect()
}

fn path(slot: &Slot) -> &str {
    &slot.waiting.post.path
}
