//! Which posts were taken, so that one that comes again is not counted again.
//!
//! A client that got no answer cannot know whether its post was taken, and sends it once more. It
//! tells with `Idempotency-Key` which post that is:
//!
//! - The first of a path and a key that is taken (2xx) is remembered. One that was refused is not:
//!   it may be sent again under its key, and is judged anew.
//! - A further one with the same body changes nothing. It has the status of the first and a body of
//!   the same shape, of what stands now, and `Idempotency-Replayed: true`.
//! - A further one with another body is answered 422: the client uses a key twice.
//! - What is older than [`Bounds::post_keys_age_max`], or has more than [`Bounds::post_keys_max`]
//!   posts behind it, is forgotten, the oldest first. A repeat that comes later than that is a new
//!   post: it counts once more, with the time at which it came.
//!
//! A receiver that begins anew knows of no post before.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use axum::http::HeaderMap;
use hashbrown::HashTable;

use super::Bounds;
use super::request::Refusal;
use super::series::before;
use crate::quantity::WallTime;

/// The header with the key (draft-ietf-httpapi-idempotency-key-header).
const KEY: &str = "idempotency-key";

/// In the answer to a post that had been taken before.
pub(super) const REPLAYED: &str = "idempotency-replayed";

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// Below this many places nothing is given back.
const PLACES_MIN: usize = 1024;

/// The key of a post, without the quotes that it may have: to the server it is only a text.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Refusal> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = match values.next() {
        None => text_of(value.as_bytes()),
        Some(_) => None,
    };
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

/// A string of RFC 8941, or the text as it is. `None`: the quotes do not end, or not at the end.
fn text_of(value: &[u8]) -> Option<Vec<u8>> {
    let Some(quoted) = value.strip_prefix(b"\"") else { return Some(value.to_owned()) };
    let mut text = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter();
    loop {
        match rest.next()? {
            b'"' => return rest.as_slice().is_empty().then_some(text),
            b'\\' => text.push(*rest.next().filter(|byte| matches!(byte, b'"' | b'\\'))?),
            byte => text.push(*byte),
        }
    }
}

/// A post that has a key, by hashes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Post {
    /// Of path and key. 128 bits: two posts that have the same would make one of them be lost.
    place: [u64; 2],
    /// 32 bits: they only tell a client that its keys are not unique.
    body: u32,
}

/// Hashes with keys that nobody outside knows, so that nobody can choose posts that meet. Nothing is
/// remembered beyond this process, so the keys need not be either.
#[derive(Debug, Clone, Default)]
pub(super) struct Hashes([RandomState; 2]);

impl Hashes {
    pub(super) fn of(&self, path: &str, key: &[u8], body: &[u8]) -> Post {
        let place = self.0.each_ref().map(|state| state.hash_one((path, key)));
        // The cheapest there is here: SipHash reads more than 1 GB/s, and no body is above 4 MiB.
        let body = self.0[0].hash_one(body);
        Post { place, body: (body >> 32) as u32 }
    }
}

/// What is known of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    No,
    Taken,
    /// Under its key another body was taken.
    OtherBody,
}

#[derive(Debug)]
struct Entry {
    place: [u64; 2],
    body: u32,
    /// Seconds since 1970.
    at: u32,
}

/// With 5 bytes for each place of the index, of which seven of eight at most are taken: 0.9 MiB for
/// what 110 pods and their node post in an hour at 15 s, 8.5 MiB for as many as are kept at most.
const _: () = assert!(size_of::<Entry>() == 24);

/// The posts that were taken lately, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    entries: VecDeque<Entry>,
    /// The number of the first of `entries`; the others count on from it, beyond the last number
    /// from 0.
    first: u32,
    /// Numbers of entries, by the first half of `place`.
    index: HashTable<u32>,
}

impl Repeats {
    pub(super) fn known(&mut self, now: WallTime, post: Post, bounds: &Bounds) -> Known {
        self.forget(now, bounds.post_keys_max, bounds);
        let (entries, first) = (&self.entries, self.first);
        let is_it = |number: &u32| {
            entry(entries, first, *number).is_some_and(|entry| entry.place == post.place)
        };
        match self.index.find(post.place[0], is_it) {
            None => Known::No,
            Some(number) => match entry(entries, first, *number) {
                Some(entry) if entry.body != post.body => Known::OtherBody,
                _ => Known::Taken,
            },
        }
    }

    /// From here on it is known; it was not before.
    pub(super) fn remember(&mut self, now: WallTime, post: Post, bounds: &Bounds) {
        let Some(others_max) = bounds.post_keys_max.checked_sub(1) else { return };
        self.forget(now, others_max, bounds);
        // Fits: the number of entries is bounded far below.
        let number = self.first.wrapping_add(self.entries.len() as u32);
        self.entries.push_back(Entry { place: post.place, body: post.body, at: seconds(now) });
        let (entries, first) = (&self.entries, self.first);
        let hash = |number: &u32| entry(entries, first, *number).map_or(0, |entry| entry.place[0]);
        self.index.insert_unique(post.place[0], number, hash);
    }

    /// The oldest, down to `entries_max`, and what is too old.
    fn forget(&mut self, now: WallTime, entries_max: usize, bounds: &Bounds) {
        let since = seconds(before(now, bounds.post_keys_age_max));
        while let Some(oldest) = self.entries.front()
            && (self.entries.len() > entries_max || oldest.at < since)
        {
            let number = self.first;
            let found = self.index.find_entry(oldest.place[0], |other| *other == number);
            if let Ok(found) = found {
                found.remove();
            }
            self.entries.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        // What a flood of posts took is given back once it is over.
        if self.entries.capacity() > PLACES_MIN.max(self.entries.len().saturating_mul(4)) {
            let kept = PLACES_MIN.max(self.entries.len().saturating_mul(2));
            self.entries.shrink_to(kept);
            let (entries, first) = (&self.entries, self.first);
            self.index.shrink_to(kept, |number| {
                entry(entries, first, *number).map_or(0, |entry| entry.place[0])
            });
        }
    }
}

fn entry(entries: &VecDeque<Entry>, first: u32, number: u32) -> Option<&Entry> {
    entries.get(number.wrapping_sub(first) as usize)
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

    fn bounds(keys_max: usize, age_max: u64) -> Bounds {
        let mut bounds = Bounds::for_interval(Duration::from_secs(15));
        bounds.post_keys_max = keys_max;
        bounds.post_keys_age_max = Duration::from_secs(age_max);
        bounds
    }

    fn post(hashes: &Hashes, number: usize) -> Post {
        hashes.of("/pod/spec", number.to_string().as_bytes(), b"{}")
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
        let (hashes, mut repeats) = (Hashes::default(), Repeats::default());
        let bounds = bounds(3, 100);
        for number in 0..4 {
            assert_eq!(repeats.known(at(10), post(&hashes, number), &bounds), Known::No);
            repeats.remember(at(10 + number as u64), post(&hashes, number), &bounds);
        }
        let mut known = |now, number| repeats.known(at(now), post(&hashes, number), &bounds);
        assert_eq!(
            (known(20, 0), known(20, 1), known(20, 3)),
            (Known::No, Known::Taken, Known::Taken)
        );
        assert_eq!((known(112, 1), known(112, 2)), (Known::No, Known::Taken));
        assert_eq!(known(1000, 3), Known::No);
        assert_eq!((repeats.entries.len(), repeats.index.len()), (0, 0));
    }

    #[test]
    fn another_body_path_or_key_is_told_apart() {
        let (hashes, mut repeats) = (Hashes::default(), Repeats::default());
        let bounds = bounds(10, 100);
        repeats.remember(at(0), hashes.of("/a", b"k", b"1"), &bounds);
        let mut known = |path, key, body| repeats.known(at(0), hashes.of(path, key, body), &bounds);
        assert_eq!(known("/a", b"k", b"1"), Known::Taken);
        assert_eq!(known("/a", b"k", b"2"), Known::OtherBody);
        assert_eq!(known("/b", b"k", b"1"), Known::No);
        assert_eq!(known("/a", b"K", b"1"), Known::No);
        assert_eq!(known("/ak", b"", b"1"), Known::No);
    }

    #[test]
    fn numbers_go_on_from_0_beyond_the_last() {
        let (hashes, bounds) = (Hashes::default(), bounds(100, 100));
        let mut repeats = Repeats { first: u32::MAX - 150, ..Repeats::default() };
        for number in 0..1000 {
            repeats.remember(at(0), post(&hashes, number), &bounds);
            let oldest = (number + 1).saturating_sub(100);
            assert_eq!(repeats.known(at(0), post(&hashes, oldest), &bounds), Known::Taken);
            if oldest > 0 {
                assert_eq!(repeats.known(at(0), post(&hashes, oldest - 1), &bounds), Known::No);
            }
        }
        assert_eq!((repeats.entries.len(), repeats.index.len()), (100, 100));
    }

    #[test]
    fn the_most_that_is_kept_takes_nine_mebibytes_and_is_given_back() {
        let (hashes, mut repeats) = (Hashes::default(), Repeats::default());
        let bounds = Bounds::for_interval(Duration::from_secs(15));
        let bytes = |repeats: &Repeats| {
            repeats.entries.capacity() * size_of::<Entry>() + repeats.index.allocation_size()
        };
        for number in 0..bounds.post_keys_max + 1000 {
            repeats.remember(at(0), post(&hashes, number), &bounds);
            if number == 26_640 {
                // 110 pods and the node, every 15 s, for an hour.
                assert!(bytes(&repeats) < 1 << 20, "{}", bytes(&repeats));
            }
        }
        assert_eq!(repeats.entries.len(), bounds.post_keys_max);
        assert!(bytes(&repeats) < 9 << 20, "{}", bytes(&repeats));
        let later = at(2 * bounds.post_keys_age_max.as_secs());
        repeats.remember(later, post(&hashes, 0), &bounds);
        assert!(bytes(&repeats) < 64 << 10, "{}", bytes(&repeats));
        assert_eq!(repeats.known(later, post(&hashes, 0), &bounds), Known::Taken);
    }
}
