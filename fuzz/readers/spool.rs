//! Records of the spool: as they are, with their checksum put right, so that what stands behind it is
//! reached, and made of a batch that the bytes say.

use std::fs;
use std::path::Path;

use nodetally::identity::BootId;
use nodetally::quantity::{BootTime, WallTime};
use nodetally::spool::record::{decode, decode_head, encode, encode_plain, mark_attempted};
use nodetally::spool::{Batch, Moment};

/// The most that deflate makes of a byte.
const DEFLATE_RATIO_MAX: usize = 1032;

/// Writes the first inputs, which only the code itself can make.
pub fn write_seeds(dir: &Path) {
    for (name, bytes) in
        [("empty", &b""[..]), ("some", b"\x01a\x03bcd\x02{}"), ("long", &[b'a'; 999])]
    {
        let record = encode(&batch(bytes)).expect("far from the most");
        fs::write(dir.join(name), record).expect("a file");
    }
}

/// Reads one input.
pub fn run(bytes: &[u8]) {
    read(bytes);
    if let Some(checked) = bytes.get(8..) {
        read(&[b"ntsb", &crc32(checked).to_le_bytes(), checked].concat());
    }
    let batch = batch(bytes);
    let record = encode(&batch).expect("far from the most");
    assert_eq!(decode(&record).as_ref(), Ok(&batch));
    mark(&batch);
    // A record that was cut, or of which a byte is another, is none.
    let at = bytes.len() % record.len();
    assert!(decode(&record[..at]).is_err());
    let mut changed = record.clone();
    changed[at] ^= 1 | bytes.first().copied().unwrap_or_default();
    assert!(decode(&changed).is_err());
}

/// Checks that a record is marked as attempted in place.
fn mark(batch: &Batch) {
    let mut record = encode_plain(batch).expect("far from the most");
    let (at, changed) = mark_attempted(record.clone()).expect("a record");
    let at = usize::try_from(at).expect("within the record");
    record[at..at + changed.len()].copy_from_slice(&changed);
    let marked = decode(&record).expect("a record");
    assert!(
        marked.attempted && marked.posts == batch.posts && marked.sampled_at == batch.sampled_at
    );
}

fn read(record: &[u8]) {
    let head = decode_head(record);
    let _ = mark_attempted(record.to_vec());
    let Ok(batch) = decode(record) else { return };
    let head = head.expect("the head of a record");
    assert_eq!((head.sampled_at, head.attempted), (batch.sampled_at, batch.attempted));
    assert_eq!(head.posts, batch.posts.len());
    let bytes: usize = batch.posts.iter().map(|post| 16 + post.path.len() + post.body.len()).sum();
    assert!(bytes <= record.len() * DEFLATE_RATIO_MAX);
    let again = encode(&batch).expect("no larger than it was");
    assert_eq!(decode(&again).as_ref(), Ok(&batch));
}

/// Paths and bodies by turns, each behind a byte that says how long it is.
fn batch(mut bytes: &[u8]) -> Batch {
    let mut next = || {
        let (length, rest) = bytes.split_first()?;
        let (text, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = rest;
        Some(text)
    };
    let mut posts = Vec::new();
    while let Some(path) = next() {
        let body = next().unwrap_or_default().to_vec().into();
        posts.push((String::from_utf8_lossy(path).into_owned(), body));
    }
    let taken = Moment {
        boot: BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2").expect("a boot id"),
        since_boot: BootTime::from_nanos(u64::MAX),
        wall: WallTime::from_unix_millis(posts.len() as u64),
    };
    Batch::new(taken, posts)
}

/// IEEE's, as the records have it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
