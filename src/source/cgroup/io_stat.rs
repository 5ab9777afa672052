//! `io.stat`: bytes and operations a cgroup caused, a row for every block device of every layer.

use serde::{Deserialize, Serialize};

use crate::identity::DeviceNumber;
use crate::quantity::Bytes;
use crate::source::Malformed;
use crate::source::text::{fields, figure, figure_or, lines_or_none};

/// One device's row, cumulative. A transfer is in the row of each layer it went through (a
/// loop device and the disk below it), so rows must not be added up as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoRow {
    pub device: DeviceNumber,
    pub read: Bytes,
    pub written: Bytes,
    pub read_ops: u64,
    pub write_ops: u64,
}

// 254:0 rbytes=1024 wbytes=4096 rios=1 wios=2 dbytes=0 dios=0
// 7:0                                         a device without figures: a bare number
// 8:0 8:16 rbytes=…                           seen on kernels 5.x: an empty row runs into the next
pub fn parse(text: &[u8], rows: &mut Vec<IoRow>) -> Result<(), Malformed> {
    rows.clear();
    for line in lines_or_none(text)? {
        let mut row: Option<IoRow> = None;
        for field in fields(line) {
            let Some(equals) = field.iter().position(|byte| *byte == b'=') else {
                row = Some(IoRow {
                    device: device(field)?,
                    read: Bytes::ZERO,
                    written: Bytes::ZERO,
                    read_ops: 0,
                    write_ops: 0,
                });
                continue;
            };
            let row = row.as_mut().ok_or(Malformed::expected("major:minor before the figures"))?;
            let value = || figure_or(field.get(equals + 1..), "a figure behind each =");
            match &field[..equals] {
                b"rbytes" => row.read = Bytes::from_bytes(value()?),
                b"wbytes" => row.written = Bytes::from_bytes(value()?),
                b"rios" => row.read_ops = value()?,
                b"wios" => row.write_ops = value()?,
                // dbytes and dios discard; cost.* and the like belong to io.cost and io.latency.
                _ => {}
            }
        }
        rows.extend(row);
    }
    Ok(())
}

fn device(field: &[u8]) -> Result<DeviceNumber, Malformed> {
    const EXPECTED: &str = "major:minor at the start of each row";
    let colon = field.iter().position(|byte| *byte == b':');
    let number = |part: Option<&[u8]>| part.and_then(figure).and_then(|n| u32::try_from(n).ok());
    let parts = colon.map(|at| (number(field.get(..at)), number(field.get(at + 1..))));
    match parts {
        Some((Some(major), Some(minor))) => Ok(DeviceNumber { major, minor }),
        _ => Err(Malformed::expected(EXPECTED)),
    }
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
    fn no_rows_is_no_error_and_a_row_without_device_is() {
        let mut rows = Vec::new();
        assert_eq!(parse(b"", &mut rows), Ok(()));
        assert!(parse(b"rbytes=5\n", &mut rows).is_err());
        assert!(parse(b"8 rbytes=5\n", &mut rows).is_err());
    }
}
