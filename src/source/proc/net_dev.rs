//! `/proc/<pid>/net/dev`: the interfaces of that process's network namespace.

use serde::{Deserialize, Serialize};

use crate::source::text::{Odd, fields, lines};
use crate::source::{Malformed, Rows};

/// The longest interface name (IFNAMSIZ less its NUL).
pub const NAME_BYTES_MAX: usize = 15;

/// An interface's name, held in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName([u8; NAME_BYTES_MAX]);

impl InterfaceName {
    /// `None` if the name is empty, too long or holds a NUL, which ends a name.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Self> {
        let mut held = [0; NAME_BYTES_MAX];
        held.get_mut(..name.len())?.copy_from_slice(name);
        (!name.is_empty() && !name.contains(&0)).then_some(Self(held))
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES_MAX);
        &self.0[..end]
    }
}

impl AsRef<[u8]> for InterfaceName {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl TryFrom<Vec<u8>> for InterfaceName {
    type Error = &'static str;

    fn try_from(name: Vec<u8>) -> Result<Self, Self::Error> {
        Self::new(&name).ok_or("no interface name")
    }
}

/// One interface, cumulative since it appeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceRow {
    #[serde(with = "crate::identity::escaped")]
    pub name: InterfaceName,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
    /// A figure of the row is not what the kernel writes, so none of them counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_odd: bool,
}

// Inter-|   Receive                                                |  Transmit
//  face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
//   eth0: 6210355     613    0    0    0     0          0         0    42750     583    0    0    0     0       0          0
pub fn parse(text: &[u8], rows: &mut Vec<InterfaceRow>) -> Result<Rows, Malformed> {
    rows.clear();
    let mut lines = lines(text)?;
    for _ in 0..2 {
        lines
            .next()
            .filter(|line| line.contains(&b'|'))
            .ok_or(Malformed::expected("two heading lines"))?;
    }
    let mut odd = Odd::default();
    for line in lines {
        // A name may hold a colon (an old alias), so the last one ends it.
        let colon = line.iter().rposition(|byte| *byte == b':');
        let name = colon.and_then(|colon| {
            let name = fields(&line[..colon]).next().and_then(InterfaceName::new)?;
            Some((name, &line[colon + 1..]))
        });
        let Some((name, values)) = name else {
            odd.note("a name of 1 to 15 bytes and a colon in each row");
            continue;
        };
        let mut figures = [0_u64; 16];
        let mut is_odd = false;
        let mut values = fields(values);
        for (at, slot) in figures.iter_mut().enumerate() {
            let value = values.next();
            // Fifos, frames, collisions and the like are not used.
            if matches!(at, 4..=7 | 12..) {
                continue;
            }
            let value = odd.figure(value, "sixteen figures behind the name");
            is_odd |= value.is_none();
            *slot = value.unwrap_or(0);
        }
        rows.push(InterfaceRow {
            name,
            rx_bytes: figures[0],
            rx_packets: figures[1],
            rx_errors: figures[2],
            rx_dropped: figures[3],
            tx_bytes: figures[8],
            tx_packets: figures[9],
            tx_errors: figures[10],
            tx_dropped: figures[11],
            is_odd,
        });
    }
    Ok(Rows { odd: odd.0 })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sides_are_not_confused_and_a_full_column_touches_its_colon() {
        let mut rows = Vec::new();
        let text = b"Inter-| Receive |  Transmit\n face |bytes |bytes\n\
             eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
        super::parse(text, &mut rows).unwrap();
        let row = rows[0];
        assert_eq!(row.name.as_bytes(), b"eth0");
        assert_eq!((row.rx_bytes, row.rx_packets, row.rx_errors, row.rx_dropped), (1, 2, 3, 4));
        assert_eq!((row.tx_bytes, row.tx_packets, row.tx_errors, row.tx_dropped), (9, 10, 11, 12));
        assert!(super::parse(b"eth0: 1\n", &mut rows).is_err());
    }

    #[test]
    fn an_odd_row_takes_no_other_away() {
        let row = "eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
        for odd in
            ["no colon", ": 1 2", "eth1: 1 2", "eth1: -1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"]
        {
            let mut rows = Vec::new();
            let text = format!("a|b\nc|d\n{odd}\n{row}");
            assert!(super::parse(text.as_bytes(), &mut rows).unwrap().odd.is_some(), "{odd}");
            let known = rows.iter().filter(|row| !row.is_odd).map(|row| row.rx_bytes);
            assert_eq!(known.collect::<Vec<_>>(), [1], "{odd}");
        }
    }
}
