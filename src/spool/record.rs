//! One batch as the bytes that are kept of it.
//!
//! ```text
//!  at  bytes
//!   0      4  "ntsb"
//!   4      4  CRC-32 (IEEE) of all that is behind it
//!   8      1  version: 1
//!   9      1  how the contents are packed: 0 not at all, 1 with deflate (RFC 1951)
//!  10      1  1 if it was attempted, plus 2 if it was partially accepted
//!  11      1  0
//!  12      4  posts
//!  16      4  the contents, unpacked, in bytes
//!  20     36  the boot's id, as text
//!  56      8  since that boot, in nanoseconds
//!  64      8  by the wall clock, in milliseconds since 1970
//!  72         the contents: of each post 16 bytes (number, piece, bytes of its path, bytes of its
//!             body, 4 each), then path and body of each post in their order
//! ```
//!
//! Numbers have their low byte first. 110 posts of the resource API are 74 kB plain and 16 kB packed,
//! for 1.4 ms of CPU: so a day of them fits into what a queue keeps by default, and less is written.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::bufread::DeflateDecoder;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use thiserror::Error;

use super::{Batch, Moment, Part, Post};
use crate::identity::BootId;
use crate::quantity::{BootTime, WallTime};

/// The largest contents of a batch, in bytes, not packed.
pub const CONTENTS_BYTES_MAX: usize = 64 << 20;

const MAGIC: [u8; 4] = *b"ntsb";
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const DEFLATE: u8 = 1;

/// The byte of flags. A program ignores flags that it does not know.
const FLAGS_AT: usize = 10;
const ATTEMPTED: u8 = 1;
const PARTIAL: u8 = 2;

const CHECKED_FROM: usize = MAGIC.len() + 4;
/// The bytes before the contents.
pub const HEAD_BYTES: usize = CONTENTS_AT;
const CONTENTS_AT: usize = CHECKED_FROM + 1 + 1 + 2 + 4 + 4 + 36 + 8 + 8;
const POST_BYTES: usize = 4 + 4 + 4 + 4;
const _: () = assert!(CONTENTS_AT == 72 && POST_BYTES == 16);

/// Deflate makes at most 258 bytes of two bits.
const DEFLATE_RATIO_MAX: usize = 1032;

/// Levels one and three take equally long, and three saves a seventh.
const LEVEL: Compression = Compression::new(3);

/// The reason why bytes are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error("it ends too early")]
    Short,
    #[error("it does not begin as a record does")]
    Foreign,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it is of version {0}, not {VERSION}")]
    Version(u8),
    #[error("its parts contradict each other")]
    Contents,
}

/// Encodes a batch; `None`: its posts are larger than [`CONTENTS_BYTES_MAX`].
#[must_use]
pub fn encode(batch: &Batch) -> Option<Vec<u8>> {
    let contents_bytes = contents_bytes(batch)?;
    let mut record = DeflateEncoder::new(header(batch, DEFLATE, contents_bytes)?, LEVEL);
    // Writing into memory does not fail.
    write_contents(batch, &mut record).ok()?;
    let record = record.finish().ok()?;
    if record.len() < CONTENTS_AT + contents_bytes { checked(record) } else { encode_plain(batch) }
}

/// Encodes a batch without packing it, for files in memory.
#[must_use]
pub fn encode_plain(batch: &Batch) -> Option<Vec<u8>> {
    let contents_bytes = contents_bytes(batch)?;
    let mut record = header(batch, PLAIN, contents_bytes)?;
    record.reserve_exact(contents_bytes);
    // Writing into memory does not fail.
    write_contents(batch, &mut record).ok()?;
    checked(record)
}

/// The change that marks a record as attempted: its offset and bytes. They are adjacent, so that
/// one write is enough.
///
/// # Errors
/// It is no record.
pub fn mark_attempted(mut record: Vec<u8>) -> Result<(u64, Vec<u8>), RecordError> {
    checked_part(&record)?;
    *record.get_mut(FLAGS_AT).ok_or(RecordError::Short)? |= ATTEMPTED;
    let record = checked(record).ok_or(RecordError::Short)?;
    let changed = record.get(MAGIC.len()..=FLAGS_AT).ok_or(RecordError::Short)?;
    Ok((MAGIC.len() as u64, changed.to_vec()))
}

fn contents_bytes(batch: &Batch) -> Option<usize> {
    let of_post = |post: &Post| POST_BYTES + post.path.len() + post.body.len();
    let contents_bytes = batch.posts.iter().map(of_post).sum();
    (contents_bytes <= CONTENTS_BYTES_MAX).then_some(contents_bytes)
}

/// A record with its checksum.
fn checked(mut record: Vec<u8>) -> Option<Vec<u8>> {
    let checksum = checksum(record.get(CHECKED_FROM..)?);
    record.get_mut(MAGIC.len()..CHECKED_FROM)?.copy_from_slice(&checksum.to_le_bytes());
    Some(record)
}

fn header(batch: &Batch, packing: u8, contents_bytes: usize) -> Option<Vec<u8>> {
    let mut header = Vec::with_capacity(CONTENTS_AT);
    header.extend(MAGIC);
    header.extend([0; 4]);
    let flags = u8::from(batch.attempted) * ATTEMPTED + u8::from(batch.partial) * PARTIAL;
    header.extend([VERSION, packing, flags, 0]);
    header.extend(u32::try_from(batch.posts.len()).ok()?.to_le_bytes());
    header.extend(u32::try_from(contents_bytes).ok()?.to_le_bytes());
    header.extend(batch.sampled_at.boot.as_str().as_bytes());
    header.extend(batch.sampled_at.since_boot.as_nanos().to_le_bytes());
    header.extend(batch.sampled_at.wall.as_unix_millis().to_le_bytes());
    Some(header)
}

fn write_contents(batch: &Batch, into: &mut impl Write) -> std::io::Result<()> {
    // No length is above CONTENTS_BYTES_MAX.
    let bytes = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    for post in &batch.posts {
        into.write_all(&post.part.number.to_le_bytes())?;
        into.write_all(&post.part.piece.to_le_bytes())?;
        into.write_all(&bytes(post.path.len()))?;
        into.write_all(&bytes(post.body.len()))?;
    }
    for post in &batch.posts {
        into.write_all(post.path.as_bytes())?;
        into.write_all(&post.body)?;
    }
    Ok(())
}

/// Decodes what [`encode`] returned. The bodies share one allocation.
///
/// # Errors
/// The bytes are no whole record.
pub fn decode(record: &[u8]) -> Result<Batch, RecordError> {
    let mut rest = checked_part(record)?;
    let RecordHead { sampled_at, attempted, partial, posts, contents_bytes, packing } =
        take_head(&mut rest)?;
    let contents = unpack(rest, packing, contents_bytes)?;
    let posts = decode_posts(posts, contents).ok_or(RecordError::Contents)?;
    Ok(Batch { sampled_at, attempted, partial, posts })
}

/// The head of a record.
#[derive(Debug, Clone, Copy)]
pub struct RecordHead {
    pub sampled_at: Moment,
    pub attempted: bool,
    pub partial: bool,
    pub posts: usize,
    /// Not packed.
    pub contents_bytes: usize,
    packing: u8,
}

/// Decodes the first [`HEAD_BYTES`] of a record, without a checksum.
///
/// # Errors
/// They are no head of this version.
pub fn decode_head(record: &[u8]) -> Result<RecordHead, RecordError> {
    let mut rest = record;
    if take::<4>(&mut rest)? != MAGIC {
        return Err(RecordError::Foreign);
    }
    take::<4>(&mut rest)?;
    take_head(&mut rest)
}

/// The part of a record that the checksum covers.
fn checked_part(record: &[u8]) -> Result<&[u8], RecordError> {
    let mut rest = record;
    if take::<4>(&mut rest)? != MAGIC {
        return Err(RecordError::Foreign);
    }
    let expected = u32::from_le_bytes(take(&mut rest)?);
    if checksum(rest) == expected { Ok(rest) } else { Err(RecordError::Checksum) }
}

fn take_head(rest: &mut &[u8]) -> Result<RecordHead, RecordError> {
    let [version, packing, flags, _] = take(rest)?;
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    let posts = take_length(rest)?;
    let contents_bytes = take_length(rest)?;
    if posts > contents_bytes / POST_BYTES {
        return Err(RecordError::Contents);
    }
    let boot = BootId::parse(&take::<36>(rest)?).ok_or(RecordError::Contents)?;
    let since_boot = BootTime::from_nanos(u64::from_le_bytes(take(rest)?));
    let wall = WallTime::from_unix_millis(u64::from_le_bytes(take(rest)?));
    let sampled_at = Moment { boot, since_boot, wall };
    let (attempted, partial) = (flags & ATTEMPTED != 0, flags & PARTIAL != 0);
    Ok(RecordHead { sampled_at, attempted, partial, posts, contents_bytes, packing })
}

fn unpack(packed: &[u8], packing: u8, bytes: usize) -> Result<Bytes, RecordError> {
    let contents = match packing {
        PLAIN => Bytes::copy_from_slice(packed),
        DEFLATE => {
            let most = packed.len().saturating_mul(DEFLATE_RATIO_MAX).min(CONTENTS_BYTES_MAX);
            if bytes > most {
                return Err(RecordError::Contents);
            }
            let mut contents = vec![0; bytes];
            let mut unpacking = DeflateDecoder::new(packed);
            unpacking.read_exact(&mut contents).map_err(|_| RecordError::Contents)?;
            if !matches!(unpacking.read(&mut [0]), Ok(0)) {
                return Err(RecordError::Contents);
            }
            Bytes::from(contents)
        }
        _ => return Err(RecordError::Contents),
    };
    if contents.len() == bytes { Ok(contents) } else { Err(RecordError::Contents) }
}

fn decode_posts(count: usize, mut contents: Bytes) -> Option<Vec<Post>> {
    let heads_bytes = count.checked_mul(POST_BYTES).filter(|bytes| *bytes <= contents.len())?;
    let heads = contents.split_to(heads_bytes);
    let mut posts = Vec::with_capacity(count);
    for mut head in heads.chunks_exact(POST_BYTES) {
        let number = u32::from_le_bytes(take(&mut head).ok()?);
        let piece = u32::from_le_bytes(take(&mut head).ok()?);
        let path_bytes = take_length(&mut head).ok()?;
        let body_bytes = take_length(&mut head).ok()?;
        if path_bytes.checked_add(body_bytes)? > contents.len() {
            return None;
        }
        let path = std::str::from_utf8(&contents.split_to(path_bytes)).ok()?.to_owned();
        let body = contents.split_to(body_bytes);
        posts.push(Post { part: Part { number, piece }, path, body });
    }
    contents.is_empty().then_some(posts)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], RecordError> {
    let (sampled_at, rest) = bytes.split_first_chunk().ok_or(RecordError::Short)?;
    *bytes = rest;
    Ok(*sampled_at)
}

fn take_length(bytes: &mut &[u8]) -> Result<usize, RecordError> {
    usize::try_from(u32::from_le_bytes(take(bytes)?)).map_err(|_| RecordError::Contents)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOOT: &[u8] = b"0f3c1d2e-4a5b-4c6d-8e7f-0123456789ab";

    fn moment(since_boot: u64, wall: u64) -> Moment {
        Moment {
            boot: BootId::parse(BOOT).unwrap(),
            since_boot: BootTime::from_nanos(since_boot),
            wall: WallTime::from_unix_millis(wall),
        }
    }

    fn sample() -> Batch {
        let post = |n: u64| {
            let body = format!("{{\"cpu_millicores\":{n},\"memory_bytes\":{}}}", n * 7919);
            (format!("/api/namespaces/a/pods/pod-{n}/metrics"), Bytes::from(body))
        };
        Batch::new(moment(1_234_567_890, 1_790_000_000_123), (0..5).map(post))
    }

    /// Gives changed bytes the checksum that they ought to have.
    fn reseal(record: &mut [u8]) {
        let sum = checksum(&record[CHECKED_FROM..]);
        record[MAGIC.len()..CHECKED_FROM].copy_from_slice(&sum.to_le_bytes());
    }

    #[test]
    fn the_bytes_are_those_documented() {
        let mut batch = Batch::new(moment(2, 3), [("/p".to_owned(), Bytes::from_static(b"{}"))]);
        batch.posts[0].part = Part { number: 4, piece: 5 };
        let mut plain = b"ntsb\0\0\0\0".to_vec();
        plain.extend([1, 0, 0, 0, 1, 0, 0, 0, 20, 0, 0, 0]);
        plain.extend(BOOT);
        plain.extend([2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        plain.extend([4, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0]);
        plain.extend(b"/p{}");
        reseal(&mut plain);
        assert_eq!(decode(&plain).unwrap(), batch);

        let packed = encode(&batch).unwrap();
        let contents = unpack(&packed[72..], DEFLATE, 20).unwrap();
        assert_eq!(contents, plain[72..]);
        plain[9] = DEFLATE;
        assert_eq!(packed[8..72], plain[8..72]);

        plain[9..11].copy_from_slice(&[PLAIN, 1]);
        reseal(&mut plain);
        batch.attempted = true;
        assert_eq!(encode_plain(&batch).unwrap(), plain);
        assert_eq!(decode(&plain).unwrap(), batch);

        plain[10] = 2;
        reseal(&mut plain);
        batch.attempted = false;
        batch.partial = true;
        assert_eq!(encode_plain(&batch).unwrap(), plain);
        assert_eq!(decode(&plain).unwrap(), batch);
    }

    #[test]
    fn a_record_is_marked_where_it_stands_unless_it_is_damaged() {
        let mut batch = Batch { partial: true, ..sample() };
        for record in [encode(&batch).unwrap(), encode_plain(&batch).unwrap()] {
            let (at, changed) = mark_attempted(record.clone()).unwrap();
            let at = usize::try_from(at).unwrap();
            let mut marked = record.clone();
            marked[at..at + changed.len()].copy_from_slice(&changed);
            batch.attempted = true;
            assert_eq!(decode(&marked).unwrap(), batch);
            assert_eq!(mark_attempted(marked.clone()).unwrap(), (at as u64, changed));
            batch.attempted = false;

            let mut damaged = record;
            *damaged.last_mut().unwrap() ^= 1;
            assert_eq!(mark_attempted(damaged), Err(RecordError::Checksum));
        }
        assert_eq!(mark_attempted(Vec::new()), Err(RecordError::Short));
    }

    #[test]
    fn what_cannot_be_packed_is_kept_as_it_is() {
        let mut state = 1_u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24).to_le_bytes()[0]
        });
        let body: Bytes = noise.take(5000).collect();
        let batch = Batch::new(moment(2, 3), [("/p".to_owned(), body)]);
        let record = encode(&batch).unwrap();
        assert_eq!((record[9], record.len()), (PLAIN, 72 + 16 + 2 + 5000));
        assert_eq!(decode(&record).unwrap(), batch);
    }

    #[test]
    fn a_record_cut_short_anywhere_is_none() {
        let record = encode(&sample()).unwrap();
        assert_eq!(record[9], DEFLATE);
        for bytes in 0..record.len() {
            let cut = &record[..bytes];
            assert!(decode(cut).is_err(), "cut to {bytes} bytes");
            let mut sealed = cut.to_vec();
            if bytes >= CHECKED_FROM {
                reseal(&mut sealed);
                assert!(decode(&sealed).is_err(), "cut to {bytes} bytes, with a checksum");
            }
        }
    }

    #[test]
    fn no_bit_changes_unnoticed() {
        let record = encode(&sample()).unwrap();
        for bit in 0..record.len() * 8 {
            let mut changed = record.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&changed).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_allocated_for_them() {
        let record = encode(&sample()).unwrap();
        for at in [12, 16] {
            for lie in [0, 1, u32::MAX / 2, u32::MAX] {
                let mut changed = record.clone();
                changed[at..at + 4].copy_from_slice(&lie.to_le_bytes());
                reseal(&mut changed);
                assert_eq!(decode(&changed), Err(RecordError::Contents), "{lie} at {at}");
            }
        }
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        let mut record = encode(&sample()).unwrap();
        record[8] = 2;
        reseal(&mut record);
        assert_eq!(decode(&record), Err(RecordError::Version(2)));
        assert_eq!(decode(b"SQLite format 3"), Err(RecordError::Foreign));
    }

    #[test]
    fn what_is_more_than_a_record_may_hold_is_not_encoded() {
        let body = Bytes::from(vec![0; CONTENTS_BYTES_MAX / 2]);
        let posts = |count| std::iter::repeat_n((String::new(), body.clone()), count);
        assert_eq!(encode(&Batch::new(moment(0, 0), posts(2))), None);
    }

    fn batches() -> impl Strategy<Value = Batch> {
        let body = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            // Something to pack.
            (any::<u8>(), 0_usize..3000).prop_map(|(byte, bytes)| vec![byte; bytes]),
        ];
        let post = (any::<u32>(), any::<u32>(), "\\PC{0,40}", body).prop_map(
            |(number, piece, path, body)| Post {
                part: Part { number, piece },
                path,
                body: body.into(),
            },
        );
        (any::<u64>(), any::<u64>(), any::<[bool; 2]>(), proptest::collection::vec(post, 0..12))
            .prop_map(|(since, wall, [attempted, partial], posts)| Batch {
                sampled_at: moment(since, wall),
                attempted,
                partial,
                posts,
            })
    }

    proptest! {
        #[test]
        fn every_batch_comes_back_as_it_was(batch in batches()) {
            prop_assert_eq!(decode(&encode(&batch).unwrap()), Ok(batch));
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            packing in 0_u8..3,
            posts in 0_u32..20,
        ) {
            let _ = decode(&bytes);
            // The same behind a header that is in order, so that they are looked at.
            let mut record = header(&sample(), packing, bytes.len()).unwrap();
            record[12..16].copy_from_slice(&posts.to_le_bytes());
            record.extend(&bytes);
            reseal(&mut record);
            let _ = decode(&record);
        }
    }
}
