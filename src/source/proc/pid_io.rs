//! `/proc/<pid>/io`: needs ptrace rights over the process.

use serde::{Deserialize, Serialize};

use crate::quantity::Bytes;
use crate::source::Malformed;
use crate::source::text::{figure, key_and_rest, lines};

/// Bytes that the process caused at the block layer, cumulative. A write counts when the page
/// becomes dirty, not when it is written back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessIo {
    pub read: Bytes,
    /// Bytes made dirty, less those discarded before they reached a disk.
    pub written: Bytes,
}

// rchar: 3234
// wchar: 120
// syscr: 9
// syscw: 3
// read_bytes: 4096
// write_bytes: 8192
// cancelled_write_bytes: 0
pub fn parse(text: &[u8]) -> Result<ProcessIo, Malformed> {
    let (mut read, mut written, mut cancelled) = (None, None, None);
    for line in lines(text)? {
        let (key, rest) =
            key_and_rest(line).ok_or(Malformed::expected("a key and a figure in each line"))?;
        match key {
            b"read_bytes:" => read = figure(rest),
            b"write_bytes:" => written = figure(rest),
            b"cancelled_write_bytes:" => cancelled = figure(rest),
            _ => {}
        }
    }
    match (read, written, cancelled) {
        (Some(read), Some(written), Some(cancelled)) => Ok(ProcessIo {
            read: Bytes::from_bytes(read),
            written: Bytes::from_bytes(written.saturating_sub(cancelled)),
        }),
        _ => Err(Malformed::expected("read_bytes, write_bytes and cancelled_write_bytes")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cancelled_write_reached_no_disk() {
        let text = b"rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 192\n";
        let io = super::parse(text).unwrap();
        assert_eq!((io.read.as_bytes(), io.written.as_bytes()), (4096, 8000));
    }
}
