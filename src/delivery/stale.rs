//! Samples that are stale: too old for a server that files them under its own clock.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use crate::spool::{Batch, Part, Post};

/// The rule for samples older than `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaleRule {
    pub after: Duration,
    pub then: StaleAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleAction {
    /// They are dropped and counted.
    Drop,
    /// They are merged into one sample.
    Add(MergeBodies),
}

/// Merges two bodies of one path, the older one first; `None`: they cannot be merged.
#[derive(Debug, Clone, Copy)]
pub struct MergeBodies(pub fn(&[u8], &[u8]) -> Option<Bytes>);

impl PartialEq for MergeBodies {
    /// The function depends on the other settings alone.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for MergeBodies {}

/// A merged sample of this size is sent before newer ones are merged.
const POSTS_MAX: usize = 4096;
const BYTES_MAX: usize = 4 << 20;

/// The first part number of merged posts; no sample has as many posts. The newer of the two may
/// have arrived without an answer: under its number the merged post would be dropped as a repeat.
const SUMS_FROM: u32 = 1 << 31;

/// Merges two samples; the result has the number of the newer one. `None`: together they are too
/// large, or they are the same.
pub(super) fn merge(
    older: &Batch,
    newer: &Batch,
    MergeBodies(merge): MergeBodies,
) -> Option<Batch> {
    let bytes: usize = older.posts.iter().chain(&newer.posts).map(|post| post.body.len()).sum();
    let too_large = older.posts.len() + newer.posts.len() > POSTS_MAX || bytes > BYTES_MAX;
    if too_large || older.sampled_at == newer.sampled_at {
        return None;
    }
    let mut posts = newer.posts.clone();
    // A sample has one post for each path, unless a post was too large and was split.
    let mut places: HashMap<String, usize> =
        posts.iter().enumerate().map(|(at, post)| (post.path.clone(), at)).collect();
    let last = posts.iter().map(|post| post.part.number).max();
    let mut number = last.map_or(SUMS_FROM, |last| last.saturating_add(1).max(SUMS_FROM));
    let mut next_part = || {
        let part = Part { number, piece: 1 };
        number = number.saturating_add(1);
        part
    };
    for post in &older.posts {
        let place = places.get(&post.path).and_then(|at| posts.get_mut(*at));
        if let Some(same) = place
            && let Some(body) = merge(&post.body, &same.body)
        {
            same.body = body;
            same.part = next_part();
            continue;
        }
        // Of a pod that was gone by then.
        places.entry(post.path.clone()).or_insert(posts.len());
        posts.push(Post { part: next_part(), ..post.clone() });
    }
    Some(Batch { sampled_at: newer.sampled_at, attempted: false, partial: false, posts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::BootId;
    use crate::quantity::{BootTime, WallTime};
    use crate::spool::Moment;

    fn batch(number: u64, posts: &[(&str, u64)]) -> Batch {
        let sampled_at = Moment {
            boot: BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2").unwrap(),
            since_boot: BootTime::from_nanos(number),
            wall: WallTime::from_unix_millis(number),
        };
        let posts = posts.iter().map(|(path, flow)| ((*path).to_owned(), flow.to_string().into()));
        Batch::new(sampled_at, posts)
    }

    fn add(older: &[u8], newer: &[u8]) -> Option<Bytes> {
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        Some((number(older)? + number(newer)?).to_string().into())
    }

    #[test]
    fn flows_are_added_path_by_path_and_only_what_is_as_it_was_keeps_its_part() {
        let older = batch(1, &[("/node", 100), ("/gone", 7), ("/pod", 20)]);
        let newer = batch(2, &[("/node", 1000), ("/pod", 200), ("/new", 3)]);
        let both = merge(&older, &newer, MergeBodies(add)).unwrap();
        assert_eq!(both.sampled_at, newer.sampled_at);
        let told: Vec<_> = both
            .posts
            .iter()
            .map(|post| (post.part.to_string(), &*post.path, &post.body[..]))
            .collect();
        let expected: [(&str, &str, &[u8]); 4] = [
            ("2147483648", "/node", b"1100"),
            ("2147483650", "/pod", b"220"),
            ("2", "/new", b"3"),
            ("2147483649", "/gone", b"7"),
        ];
        let expected = expected.map(|(part, path, body)| (part.to_owned(), path, body));
        assert_eq!(told, expected);
    }

    #[test]
    fn what_cannot_be_added_goes_on_beside_the_other_and_no_part_is_named_twice() {
        let both =
            merge(&batch(1, &[("/a", 1)]), &batch(2, &[("/a", 2)]), MergeBodies(|_, _| None));
        let both = both.unwrap();
        let parts: Vec<_> = both.posts.iter().map(|post| post.part.to_string()).collect();
        assert_eq!(parts, ["0", "2147483648"]);
    }

    #[test]
    fn no_post_gets_the_number_of_one_that_the_endpoint_has_taken() {
        let older = batch(1, &[("/gone", 7), ("/went", 8)]);
        let mut newer = batch(2, &[("/node", 1000), ("/pod", 200), ("/other", 3)]);
        newer.posts.truncate(1);
        let both = merge(&older, &newer, MergeBodies(add)).unwrap();
        let numbers: Vec<u32> = both.posts.iter().map(|post| post.part.number).collect();
        assert_eq!(numbers, [0, SUMS_FROM, SUMS_FROM + 1]);
        let gone_on = merge(&batch(0, &[("/else", 1)]), &both, MergeBodies(add)).unwrap();
        assert_eq!(gone_on.posts.last().unwrap().part.number, SUMS_FROM + 2);
    }

    #[test]
    fn a_sample_does_not_grow_without_end() {
        let paths: Vec<String> = (0..POSTS_MAX).map(|number| format!("/{number}")).collect();
        let posts: Vec<(&str, u64)> = paths.iter().map(|path| (path.as_str(), 1)).collect();
        assert_eq!(merge(&batch(1, &posts), &batch(2, &[("/0", 1)]), MergeBodies(add)), None);
    }
}
