//! Idempotency keys of accepted posts, so that a replay is not counted again.
//!
//! A client that got no answer cannot know whether its post was accepted, and sends it once more. The
//! `Idempotency-Key` identifies the post:
//!
//! - The first accepted post (2xx) of a path and a key is remembered. A refused post is not: it may be
//!   sent again under its key, and is judged anew.
//! - A replay with the same body changes nothing. The answer has the status of the first, a body of
//!   the same shape with current values, and `Idempotency-Replayed: true`.
//! - A post with another body under the same key is answered 422.
//! - A key is forgotten after [`ReceiverBounds::post_keys_age_max`], or when
//!   [`ReceiverBounds::post_keys_max`] newer ones are known. A later replay is a new post: it counts
//!   once more, at the time of its arrival.
//!
//! Keys do not survive a restart of the receiver.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use axum::http::HeaderMap;
use hashbrown::HashTable;

use super::answer::Refusal;
use super::bounds::ReceiverBounds;
use crate::quantity::WallTime;

/// The header with the key (draft-ietf-httpapi-idempotency-key-header).
const KEY: &str = "idempotency-key";

/// The header in the answer to a replay.
pub(super) const REPLAYED: &str = "idempotency-replayed";

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// The capacity below which no memory is given back.
const CAPACITY_MIN: usize = 1024;

/// The key of a post, without the quotes that it may have; `None` where there is no such header.
///
/// # Errors
/// There is more than one key, or it is not a text of 1 to 255 visible ASCII characters.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Refusal> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = if values.next().is_none() { text_of(value.as_bytes()) } else { None };
    let fits = |key: &Vec<u8>| {
        (1..=KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic)
    };
    key.filter(fits).map(Some).ok_or_else(|| {
        Refusal::bad_request(format!(
            "Idempotency-Key must be one text of 1 to {KEY_BYTES_MAX} visible ASCII characters, \
             in double quotes or without"
        ))
    })
}

/// A string of RFC 8941, or the text unchanged; `None` where the quotes do not close at the end.
fn text_of(value: &[u8]) -> Option<Vec<u8>> {
    let Some(quoted) = value.strip_prefix(b"\"") else { return Some(value.to_owned()) };
    let mut text = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    loop {
        match bytes.next()? {
            b'"' => return bytes.as_slice().is_empty().then_some(text),
            b'\\' => text.push(*bytes.next().filter(|byte| matches!(byte, b'"' | b'\\'))?),
            byte => text.push(*byte),
        }
    }
}

/// A post with a key, identified by hashes.
#[derive(Debug, Clone, Copy)]
pub(super) struct PostId {
    /// The hash of path and key. 128 bits, since a collision would lose a post.
    key: [u64; 2],
    /// The hash of the body. 32 bits are enough to see that a client reuses a key.
    body: u32,
}

/// A hasher with random keys, so that a client cannot choose posts that collide. The keys live as long
/// as the process, as the remembered posts do.
#[derive(Debug, Clone, Default)]
pub(super) struct PostHasher([RandomState; 2]);

impl PostHasher {
    pub(super) fn id_of(&self, path: &str, key: &[u8], body: &[u8]) -> PostId {
        let key = self.0.each_ref().map(|state| state.hash_one((path, key)));
        // SipHash is already there and fast enough: more than 1 GB/s, and no body is above 4 MiB.
        let body = self.0[0].hash_one(body);
        PostId { key, body: (body >> 32) as u32 }
    }
}

/// The result of a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PostLookup {
    Unknown,
    SameBody,
    /// Another body was accepted under this key.
    OtherBody,
}

#[derive(Debug)]
struct AcceptedPost {
    key: [u64; 2],
    body: u32,
    /// Seconds since 1970.
    at: u32,
}

/// Bounds the memory, with 5 bytes for each slot of the index, of which seven of eight are used at
/// most: 0.9 MiB for an hour of 110 pods and their node at 15 s, 8.5 MiB for the largest cache.
const _: () = assert!(size_of::<AcceptedPost>() == 24);

/// The posts that were accepted lately, the oldest first.
#[derive(Debug, Default)]
pub(super) struct IdempotencyCache {
    posts: VecDeque<AcceptedPost>,
    /// The number of the first of `posts`. The others are numbered on from it, wrapping to 0.
    first: u32,
    /// Numbers of posts, by the first half of their key's hash.
    index: HashTable<u32>,
}

impl IdempotencyCache {
    pub(super) fn look_up(
        &mut self,
        now: WallTime,
        post: PostId,
        bounds: &ReceiverBounds,
    ) -> PostLookup {
        self.forget(now, bounds.post_keys_max, bounds);
        let (posts, first) = (&self.posts, self.first);
        let is_it =
            |number: &u32| numbered(posts, first, *number).is_some_and(|it| it.key == post.key);
        match self.index.find(post.key[0], is_it) {
            None => PostLookup::Unknown,
            Some(number) => match numbered(posts, first, *number) {
                Some(known) if known.body != post.body => PostLookup::OtherBody,
                _ => PostLookup::SameBody,
            },
        }
    }

    /// Adds an accepted post, which must not be known yet.
    pub(super) fn remember(&mut self, now: WallTime, post: PostId, bounds: &ReceiverBounds) {
        let Some(others_max) = bounds.post_keys_max.checked_sub(1) else { return };
        self.forget(now, others_max, bounds);
        // Fits: the number of posts is bounded far below.
        let number = self.first.wrapping_add(self.posts.len() as u32);
        self.posts.push_back(AcceptedPost { key: post.key, body: post.body, at: seconds(now) });
        let (posts, first) = (&self.posts, self.first);
        let hash = |number: &u32| numbered(posts, first, *number).map_or(0, |it| it.key[0]);
        self.index.insert_unique(post.key[0], number, hash);
    }

    /// Forgets posts that are too old, and the oldest beyond `posts_max`.
    fn forget(&mut self, now: WallTime, posts_max: usize, bounds: &ReceiverBounds) {
        let since = seconds(now.minus(bounds.post_keys_age_max));
        while let Some(oldest) = self.posts.front()
            && (self.posts.len() > posts_max || oldest.at < since)
        {
            let number = self.first;
            let found = self.index.find_entry(oldest.key[0], |other| *other == number);
            if let Ok(found) = found {
                found.remove();
            }
            self.posts.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        // Memory that a flood of posts took is given back once it is over.
        if self.posts.capacity() > CAPACITY_MIN.max(self.posts.len().saturating_mul(4)) {
            let kept = CAPACITY_MIN.max(self.posts.len().saturating_mul(2));
            self.posts.shrink_to(kept);
            let (posts, first) = (&self.posts, self.first);
            self.index.shrink_to(kept, |number| {
                numbered(posts, first, *number).map_or(0, |it| it.key[0])
            });
        }
    }
}

fn numbered(posts: &VecDeque<AcceptedPost>, first: u32, number: u32) -> Option<&AcceptedPost> {
    posts.get(number.wrapping_sub(first) as usize)
}

fn seconds(at: WallTime) -> u32 {
    u32::try_from(at.as_unix_millis() / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::HeaderValue;

    use super::*;

    fn at(seconds: u64) -> WallTime {
        WallTime::from_unix_millis(seconds * 1000)
    }

    fn bounds(keys_max: usize, age_max: u64) -> ReceiverBounds {
        let mut bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
        bounds.post_keys_max = keys_max;
        bounds.post_keys_age_max = Duration::from_secs(age_max);
        bounds
    }

    fn post(hasher: &PostHasher, number: usize) -> PostId {
        hasher.id_of("/pod/spec", number.to_string().as_bytes(), b"{}")
    }

    fn key(value: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(KEY, HeaderValue::from_bytes(value).unwrap());
        key_of(&headers)
    }

    #[test]
    fn a_key_is_the_same_with_quotes_and_without() {
        let quoted = key(b"\"boot:central:7:0\"").unwrap();
        assert_eq!(quoted.as_deref(), Some(&b"boot:central:7:0"[..]));
        assert_eq!(key(b"boot:central:7:0").unwrap(), quoted);
        assert_eq!(key(br#""a\"b\\c""#).unwrap().as_deref(), Some(&br#"a"b\c"#[..]));
        assert_eq!(key_of(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_text_that_is_no_key_is_refused() {
        let (longest, longer) = ([b'x'; 255], [b'x'; 256]);
        assert_eq!(key(&longest).unwrap().unwrap().len(), 255);
        for bad in [
            &b""[..],
            b"\"\"",
            b"\"open",
            b"\"",
            b"\"a\"b",
            b"\"a\";q=1",
            br#""a\n""#,
            br#""a\"#,
            b"a b",
            b"\"a b\"",
            b"\xc3\xa9",
            &longer,
        ] {
            let refusal = key(bad).unwrap_err();
            assert_eq!(refusal.status, 400, "{}", String::from_utf8_lossy(bad));
            assert!(refusal.message.contains("1 to 255 visible ASCII"), "{}", refusal.message);
        }
        let mut two = HeaderMap::new();
        two.append(KEY, HeaderValue::from_static("a"));
        two.append(KEY, HeaderValue::from_static("a"));
        assert!(key_of(&two).is_err());
    }

    #[test]
    fn the_oldest_are_forgotten_by_number_and_by_age() {
        let (hasher, mut cache) = (PostHasher::default(), IdempotencyCache::default());
        let bounds = bounds(3, 100);
        for number in 0..4 {
            assert_eq!(cache.look_up(at(10), post(&hasher, number), &bounds), PostLookup::Unknown);
            cache.remember(at(10 + number as u64), post(&hasher, number), &bounds);
        }
        let mut look_up = |now, number| cache.look_up(at(now), post(&hasher, number), &bounds);
        assert_eq!(
            (look_up(20, 0), look_up(20, 1), look_up(20, 3)),
            (PostLookup::Unknown, PostLookup::SameBody, PostLookup::SameBody)
        );
        assert_eq!((look_up(112, 1), look_up(112, 2)), (PostLookup::Unknown, PostLookup::SameBody));
        assert_eq!(look_up(1000, 3), PostLookup::Unknown);
        assert_eq!((cache.posts.len(), cache.index.len()), (0, 0));
    }

    #[test]
    fn another_body_path_or_key_is_another_post() {
        let (hasher, mut cache) = (PostHasher::default(), IdempotencyCache::default());
        let bounds = bounds(10, 100);
        cache.remember(at(0), hasher.id_of("/a", b"k", b"1"), &bounds);
        let mut look_up =
            |path, key, body| cache.look_up(at(0), hasher.id_of(path, key, body), &bounds);
        assert_eq!(look_up("/a", b"k", b"1"), PostLookup::SameBody);
        assert_eq!(look_up("/a", b"k", b"2"), PostLookup::OtherBody);
        assert_eq!(look_up("/b", b"k", b"1"), PostLookup::Unknown);
        assert_eq!(look_up("/a", b"K", b"1"), PostLookup::Unknown);
        assert_eq!(look_up("/ak", b"", b"1"), PostLookup::Unknown);
    }

    #[test]
    fn numbers_go_on_from_0_beyond_the_last() {
        let (hasher, bounds) = (PostHasher::default(), bounds(100, 100));
        let mut cache = IdempotencyCache { first: u32::MAX - 150, ..IdempotencyCache::default() };
        for number in 0..1000 {
            cache.remember(at(0), post(&hasher, number), &bounds);
            let oldest = (number + 1).saturating_sub(100);
            assert_eq!(cache.look_up(at(0), post(&hasher, oldest), &bounds), PostLookup::SameBody);
            if oldest > 0 {
                assert_eq!(
                    cache.look_up(at(0), post(&hasher, oldest - 1), &bounds),
                    PostLookup::Unknown
                );
            }
        }
        assert_eq!((cache.posts.len(), cache.index.len()), (100, 100));
    }

    #[test]
    fn the_most_that_is_kept_takes_nine_mebibytes_and_is_given_back() {
        let (hasher, mut cache) = (PostHasher::default(), IdempotencyCache::default());
        let bounds = ReceiverBounds::for_interval(Duration::from_secs(15));
        let bytes = |cache: &IdempotencyCache| {
            cache.posts.capacity() * size_of::<AcceptedPost>() + cache.index.allocation_size()
        };
        for number in 0..bounds.post_keys_max + 1000 {
            cache.remember(at(0), post(&hasher, number), &bounds);
            if number == 26_640 {
                // 110 pods and the node, every 15 s, for an hour.
                assert!(bytes(&cache) < 1 << 20, "{}", bytes(&cache));
            }
        }
        assert_eq!(cache.posts.len(), bounds.post_keys_max);
        assert!(bytes(&cache) < 9 << 20, "{}", bytes(&cache));
        let later = at(2 * bounds.post_keys_age_max.as_secs());
        cache.remember(later, post(&hasher, 0), &bounds);
        assert!(bytes(&cache) < 64 << 10, "{}", bytes(&cache));
        assert_eq!(cache.look_up(later, post(&hasher, 0), &bounds), PostLookup::SameBody);
    }
}
