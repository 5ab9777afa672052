//! Keeps the interfaces of one network namespace: their counters are read in each tick, the facts
//! about them when they can have changed.

use super::InterfaceReading;
use super::topology::{InterfaceFacts, LinkFiles};
use crate::source::proc::net_dev::InterfaceRow;
use crate::source::root::Buffer;

/// An interface that gained more in one tick is asked for its index: another one with more traffic
/// behind it can have taken its name.
const GAIN_BYTES_MAX: u64 = 256 << 20;

/// Brings `readings` up to date with `rows`. `open` opens the files of the namespace, and `facts`
/// reads the facts about all rows. They are read if the list of names changed, if an interface has
/// another index than before, or if `is_outdated`. Allocates nothing otherwise.
pub(super) fn update(
    readings: &mut Vec<InterfaceReading>,
    rows: &[InterfaceRow],
    is_outdated: bool,
    buffer: &mut Buffer,
    open: impl FnOnce() -> LinkFiles,
    facts: impl FnOnce(&LinkFiles, &mut Buffer) -> Vec<InterfaceFacts>,
) {
    let same = readings.iter().map(|known| known.row.name).eq(rows.iter().map(|row| row.name));
    let is_doubtful = same
        && readings
            .iter()
            .zip(rows)
            .any(|(known, row)| known.facts.index.is_some() && !is_plain_gain(&known.row, row));
    if same && !is_doubtful && !is_outdated {
        copy_rows(readings, rows);
        return;
    }
    let files = open();
    let has_another_index = |buffer: &mut Buffer| {
        readings.iter().zip(rows).any(|(known, row)| {
            let index = known.facts.index;
            index.is_some()
                && !is_plain_gain(&known.row, row)
                && files.index(row.name, buffer) != index
        })
    };
    if same && !is_outdated && !has_another_index(buffer) {
        copy_rows(readings, rows);
        return;
    }
    let facts = facts(&files, buffer);
    readings.clear();
    let of_rows = rows.iter().zip(facts);
    readings.extend(of_rows.map(|(row, facts)| InterfaceReading { row: *row, facts }));
}

fn copy_rows(readings: &mut [InterfaceReading], rows: &[InterfaceRow]) {
    for (reading, row) in readings.iter_mut().zip(rows) {
        reading.row = *row;
    }
}

fn is_plain_gain(before: &InterfaceRow, now: &InterfaceRow) -> bool {
    let is_plain =
        |before: u64, now: u64| now.checked_sub(before).is_some_and(|gain| gain <= GAIN_BYTES_MAX);
    is_plain(before.rx_bytes, now.rx_bytes) && is_plain(before.tx_bytes, now.tx_bytes)
}
