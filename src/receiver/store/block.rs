//! Blocks: the points of one node or pod over some minutes, packed.
//!
//! An open block grows by one record a push:
//!
//! ```text
//! time, then the six values: each the difference from the record before, as a zigzag varint
//! ```
//!
//! A closed block has the same points by column, compressed with zstd:
//!
//! ```text
//! 1, the number of points as a varint; then nine columns of zigzag varints:
//!   time (difference of differences), six values (differences), two peaks (less their value)
//! ```

use thiserror::Error;

use super::point::{Peak, Point};
use crate::payload::resource_api::UsageValues;
use crate::quantity::WallTime;

/// The version of closed blocks, their first byte.
const VERSION: u8 = 1;

/// The most points of a closed block.
pub(in crate::receiver) const POINTS_MAX: usize = 4096;

/// A decoded block of that many points has at most 9 columns of 10 bytes.
const DECODED_BYTES_MAX: usize = POINTS_MAX * 90 + 16;

/// Values of a point, in the order of the columns.
const VALUES: usize = 6;

/// The bytes of a block are not those of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a block of points is damaged: {0}")]
pub(in crate::receiver) struct DamagedBlock(&'static str);

/// Appends a point to an open block. `before` is the last point in it; `None`: it is empty.
pub(in crate::receiver) fn append(block: &mut Vec<u8>, before: Option<&Point>, point: &Point) {
    let time = |point: &Point| point.at.as_unix_millis();
    put_difference(block, before.map_or(0, time), time(point));
    let earlier = before.map_or([0; VALUES], |point| values(&point.usage));
    for (earlier, value) in earlier.into_iter().zip(values(&point.usage)) {
        put_difference(block, earlier, value);
    }
}

/// The points of an open block.
///
/// # Errors
/// The block ends within a record, or a figure has more than 64 bits.
pub(in crate::receiver) fn open_points(mut block: &[u8]) -> Result<Vec<Point>, DamagedBlock> {
    let mut points = Vec::with_capacity(block.len() / 8);
    let (mut at, mut now) = (0, [0; VALUES]);
    while !block.is_empty() {
        take_difference(&mut block, &mut at)?;
        for value in &mut now {
            take_difference(&mut block, value)?;
        }
        points.push(Point::of_push(WallTime::from_unix_millis(at), usage(now)));
    }
    Ok(points)
}

/// Packs and unpacks closed blocks, with buffers that are used again.
pub(in crate::receiver) struct BlockCodec {
    compressor: zstd::bulk::Compressor<'static>,
    columns: Vec<u8>,
}

impl BlockCodec {
    /// # Errors
    /// zstd has no memory.
    pub(in crate::receiver) fn new() -> std::io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(3)?;
        compressor.include_checksum(false)?;
        Ok(Self { compressor, columns: Vec::new() })
    }

    /// `points`, at most [`POINTS_MAX`] of them, as a closed block.
    ///
    /// # Errors
    /// zstd has no memory.
    pub(in crate::receiver) fn close(&mut self, points: &[Point]) -> std::io::Result<Vec<u8>> {
        let columns = &mut self.columns;
        columns.clear();
        columns.push(VERSION);
        put(columns, points.len() as u64);
        let (mut before, mut step) = (0, 0_u64);
        for point in points {
            let at = point.at.as_unix_millis();
            let next = at.wrapping_sub(before);
            put_difference(columns, step, next);
            (before, step) = (at, next);
        }
        for column in 0..VALUES {
            let mut before = 0;
            for point in points {
                let value = values(&point.usage).get(column).copied().unwrap_or_default();
                put_difference(columns, before, value);
                before = value;
            }
        }
        for (peak, value) in PEAKS {
            for point in points {
                put_difference(columns, value(&point.usage), peak(&point.peak));
            }
        }
        self.compressor.compress(columns)
    }
}

type PeakColumn = (fn(&Peak) -> u64, fn(&UsageValues) -> u64);

const PEAKS: [PeakColumn; 2] = [
    (|peak| peak.cpu_millicores, |usage| usage.cpu_millicores),
    (|peak| peak.memory_bytes, |usage| usage.memory_bytes),
];

/// The points of a closed block.
///
/// # Errors
/// The bytes are no block of this version.
pub(in crate::receiver) fn closed_points(block: &[u8]) -> Result<Vec<Point>, DamagedBlock> {
    let columns = zstd::bulk::decompress(block, DECODED_BYTES_MAX)
        .map_err(|_| DamagedBlock("zstd cannot read it"))?;
    let mut columns = columns.as_slice();
    let (version, rest) = columns.split_first().ok_or(DamagedBlock("it is empty"))?;
    if *version != VERSION {
        return Err(DamagedBlock("its version is not known"));
    }
    columns = rest;
    let count = take(&mut columns)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= POINTS_MAX);
    let count = count.ok_or(DamagedBlock("it has too many points"))?;
    let mut points = Vec::with_capacity(count);
    let (mut at, mut step) = (0_u64, 0);
    for _ in 0..count {
        take_difference(&mut columns, &mut step)?;
        at = at.wrapping_add(step);
        let usage = UsageValues::default();
        points.push(Point::of_push(WallTime::from_unix_millis(at), usage));
    }
    let mut rows = vec![[0; VALUES]; count];
    for column in 0..VALUES {
        let mut value = 0;
        for row in &mut rows {
            take_difference(&mut columns, &mut value)?;
            if let Some(slot) = row.get_mut(column) {
                *slot = value;
            }
        }
    }
    for (point, row) in points.iter_mut().zip(&rows) {
        point.usage = usage(*row);
        point.peak = Peak::of(&point.usage);
    }
    for point in &mut points {
        take_difference(&mut columns, &mut point.peak.cpu_millicores)?;
    }
    for point in &mut points {
        take_difference(&mut columns, &mut point.peak.memory_bytes)?;
    }
    Ok(points)
}

fn values(usage: &UsageValues) -> [u64; VALUES] {
    let UsageValues {
        cpu_millicores,
        memory_bytes,
        read_bytes,
        write_bytes,
        sent_bytes,
        recv_bytes,
    } = *usage;
    [cpu_millicores, memory_bytes, read_bytes, write_bytes, sent_bytes, recv_bytes]
}

fn usage(values: [u64; VALUES]) -> UsageValues {
    let [cpu_millicores, memory_bytes, read_bytes, write_bytes, sent_bytes, recv_bytes] = values;
    UsageValues { cpu_millicores, memory_bytes, read_bytes, write_bytes, sent_bytes, recv_bytes }
}

/// Appends `to` less `from`, wrapping, as a zigzag varint.
fn put_difference(out: &mut Vec<u8>, from: u64, to: u64) {
    let difference = to.wrapping_sub(from).cast_signed();
    put(out, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Adds the next difference to `value`.
fn take_difference(bytes: &mut &[u8], value: &mut u64) -> Result<(), DamagedBlock> {
    let zigzag = take(bytes)?;
    let difference = (zigzag >> 1) ^ (zigzag & 1).wrapping_neg();
    *value = value.wrapping_add(difference);
    Ok(())
}

fn take(bytes: &mut &[u8]) -> Result<u64, DamagedBlock> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(DamagedBlock("it ends within a figure"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DamagedBlock("a figure has more than 64 bits"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_points() -> impl Strategy<Value = Vec<Point>> {
        let point = (any::<u64>(), prop::array::uniform6(any::<u64>()), any::<(u64, u64)>());
        let point = point.prop_map(|(at, row, (cpu_millicores, memory_bytes))| Point {
            at: WallTime::from_unix_millis(at),
            usage: usage(row),
            peak: Peak { cpu_millicores, memory_bytes },
        });
        prop::collection::vec(point, 0..70)
    }

    proptest! {
        #[test]
        fn a_closed_block_has_the_points_it_was_made_of(points in any_points()) {
            let block = BlockCodec::new().unwrap().close(&points).unwrap();
            prop_assert_eq!(closed_points(&block).unwrap(), points);
        }

        #[test]
        fn an_open_block_has_the_pushes_in_their_order(points in any_points()) {
            let pushes: Vec<Point> =
                points.iter().map(|point| Point::of_push(point.at, point.usage)).collect();
            let mut block = Vec::new();
            for (number, point) in pushes.iter().enumerate() {
                append(&mut block, number.checked_sub(1).map(|before| &pushes[before]), point);
            }
            prop_assert_eq!(open_points(&block).unwrap(), pushes);
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>()) {
            let _ = open_points(&bytes);
            let _ = closed_points(&bytes);
            let packed = zstd::bulk::compress(&bytes, 1).unwrap();
            let _ = closed_points(&packed);
            let _ = closed_points(&zstd::bulk::compress(&[&[VERSION], &bytes[..]].concat(), 1).unwrap());
        }
    }

    #[test]
    fn a_block_that_is_cut_off_is_an_error() {
        let point = Point::of_push(WallTime::from_unix_millis(1 << 40), usage([1; VALUES]));
        let mut block = Vec::new();
        append(&mut block, None, &point);
        for length in 1..block.len() {
            assert!(open_points(&block[..length]).is_err(), "{length}");
        }
        let block = BlockCodec::new().unwrap().close(&[point; 3]).unwrap();
        for length in 0..block.len() {
            assert!(closed_points(&block[..length]).is_err(), "{length}");
        }
    }
}
