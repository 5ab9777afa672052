//! `io.stat`: bytes and operations a cgroup caused, a row for every block device of every layer.

use serde::{Deserialize, Serialize};

use crate::identity::DeviceNumber;
use crate::quantity::Bytes;
use crate::source::text::{Odd, fields, figure, lines_or_none};
use crate::source::{Malformed, Rows};

/// One device's row, cumulative. A transfer is in the row of each layer it went through (a
/// loop device and the disk below it), so rows must not be added up as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoRow {
    pub device: DeviceNumber,
    pub read: Bytes,
    pub written: Bytes,
    pub read_ops: u64,
    pub write_ops: u64,
    /// A figure of the row is not what the kernel writes, so none of them counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_odd: bool,
}

// 254:0 rbytes=1024 wbytes=4096 rios=1 wios=2 dbytes=0 dios=0
// 7:0                                         a device without figures: a bare number
// 8:0 8:16 rbytes=…                           seen on kernels 5.x: an empty row runs into the next
// (unknown) rbytes=… a device without a name, as an NVMe path: its transfers are in the head's row
pub fn parse(text: &[u8], rows: &mut Vec<IoRow>) -> Result<Rows, Malformed> {
    rows.clear();
    let mut odd = Odd::default();
    for line in lines_or_none(text) {
        let mut row: Option<IoRow> = None;
        for field in fields(line) {
            let Some(equals) = field.iter().position(|byte| *byte == b'=') else {
                row = device(field).map(|device| IoRow {
                    device,
                    read: Bytes::ZERO,
                    written: Bytes::ZERO,
                    read_ops: 0,
                    write_ops: 0,
                    is_odd: false,
                });
                if row.is_none() {
                    odd.note(DEVICE);
                }
                continue;
            };
            // The figures of a device that is not known.
            let Some(row) = row.as_mut() else {
                odd.note(DEVICE);
                continue;
            };
            let mut value = || {
                let value = odd.figure(field.get(equals + 1..), "a figure behind each =");
                row.is_odd |= value.is_none();
                value.unwrap_or(0)
            };
            match &field[..equals] {
                b"rbytes" => row.read = Bytes::from_bytes(value()),
                b"wbytes" => row.written = Bytes::from_bytes(value()),
                b"rios" => row.read_ops = value(),
                b"wios" => row.write_ops = value(),
                // dbytes and dios discard; cost.* and the like belong to io.cost and io.latency.
                _ => {}
            }
        }
        rows.extend(row);
    }
    Ok(Rows { odd: odd.0 })
}

const DEVICE: &str = "major:minor at the start of each row";

fn device(field: &[u8]) -> Option<DeviceNumber> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    let number = |part: Option<&[u8]>| u32::try_from(figure(part?)?).ok();
    Some(DeviceNumber {
        major: number(field.get(..colon))?,
        minor: number(field.get(colon + 1..))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_has_its_row_and_a_bare_number_is_an_empty_one() {
        let mut rows = Vec::new();
        let text = b"7:0 \n254:0 rbytes=1024 wbytes=4096 rios=1 wios=2 dbytes=0 dios=0\n";
        parse(text, &mut rows).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].device, DeviceNumber { major: 7, minor: 0 });
        assert_eq!(rows[1].written.as_bytes(), 4096);
        assert_eq!((rows[1].read_ops, rows[1].write_ops), (1, 2));
    }

    #[test]
    fn two_numbers_in_one_line_give_the_figures_to_the_last() {
        let mut rows = Vec::new();
        parse(b"8:0 8:16 rbytes=5 wbytes=6 rios=1 wios=1\n", &mut rows).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].device.minor, 16);
        assert_eq!(rows[0].read.as_bytes(), 5);
    }

    #[test]
    fn an_odd_row_takes_no_other_away() {
        let mut rows = Vec::new();
        let row = "8:0 rbytes=5 wbytes=6 rios=1 wios=1\n";
        for odd in [
            "(unknown) rbytes=7 wbytes=7 rios=1 wios=1 dbytes=0 dios=0\n",
            "(unknown)\n",
            "rbytes=5\n",
            "8 rbytes=5\n",
            "8:-1 rbytes=5\n",
        ] {
            for text in [format!("{odd}{row}"), format!("{row}{odd}")] {
                let parsed = parse(text.as_bytes(), &mut rows).unwrap();
                assert!(parsed.odd.is_some(), "{text}");
                assert_eq!(rows.len(), 1, "{text}");
                assert_eq!(rows[0].written.as_bytes(), 6);
            }
        }
        parse(b"8:0 rbytes=-5 wbytes=6\n8:16 rbytes=5 wbytes=6\n", &mut rows).unwrap();
        assert_eq!(rows.iter().map(|row| row.is_odd).collect::<Vec<_>>(), [true, false]);
        assert_eq!(parse(b"", &mut rows), Ok(Rows::default()));
    }
}
