//! `/proc/<pid>/io`: needs ptrace rights over the process.

use serde::{Deserialize, Serialize};

use crate::quantity::Bytes;
use crate::source::text::{Odd, key_and_rest, lines};
use crate::source::{Malformed, Parsed};

/// Bytes that the process caused at the block layer, cumulative. A write counts when the page
/// becomes dirty, not when it is written back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessIo {
    pub read: Option<Bytes>,
    /// Bytes made dirty, less those discarded before they reached a disk.
    pub written: Option<Bytes>,
    #[serde(skip)]
    pub odd: Option<Malformed>,
}

impl Parsed for ProcessIo {
    fn odd(&self) -> Option<Malformed> {
        self.odd
    }
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
    let mut odd = Odd::default();
    for line in lines(text)? {
        let Some((key, rest)) = key_and_rest(line) else {
            odd.note("a key and a figure in each line");
            continue;
        };
        let slot = match key {
            b"read_bytes:" => &mut read,
            b"write_bytes:" => &mut written,
            b"cancelled_write_bytes:" => &mut cancelled,
            _ => continue,
        };
        *slot = odd.figure(Some(rest), "a figure behind each key");
    }
    let written: Option<(u64, u64)> = written.zip(cancelled);
    if read.is_none() && written.is_none() {
        return Err(Malformed::expected("read_bytes, write_bytes and cancelled_write_bytes"));
    }
    Ok(ProcessIo {
        read: read.map(Bytes::from_bytes),
        written: written.map(|(all, cancelled)| Bytes::from_bytes(all.saturating_sub(cancelled))),
        odd: odd.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_write_reached_no_disk() {
        let text = b"rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 192\n";
        let io = parse(text).unwrap();
        let bytes = |bytes: Option<Bytes>| bytes.map(Bytes::as_bytes);
        assert_eq!((bytes(io.read), bytes(io.written)), (Some(4096), Some(8000)));
        let io = parse(b"read_bytes: 4096\nwrite_bytes: -1\ncancelled_write_bytes: 192").unwrap();
        assert_eq!((bytes(io.read), io.written), (Some(4096), None));
        assert!(parse(b"rchar: 1\n").is_err());
    }
}
