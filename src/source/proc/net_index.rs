//! The index of an interface, by files of /proc/net that need no right over the process.

use super::net_dev::InterfaceName;
use crate::source::Malformed;
use crate::source::text::{fields, lines, lines_or_none, small_or};

/// The index, which is the first line of `/proc/<pid>/net/dev_snmp6/<interface>`.
// ifIndex                         	4
// Ip6InReceives                   	2
pub fn parse_dev_snmp6(text: &[u8]) -> Result<u32, Malformed> {
    let expected = Malformed::expected("ifIndex in the first line");
    let mut line = fields(lines(text)?.next().ok_or(expected)?);
    if line.next() != Some(b"ifIndex") {
        return Err(expected);
    }
    small_or(line.next(), "a figure behind ifIndex")
}

/// The index of `name` in `/proc/<pid>/net/igmp`, which lists the interfaces with IPv4.
// Idx	Device    : Count Querier	Group    Users Timer	Reporter
// 4	eth0      :     1      V3
// 				010000E0     1 0:00000000		0
pub fn parse_igmp(text: &[u8], name: InterfaceName) -> Result<Option<u32>, Malformed> {
    // Lines of groups begin with a tab.
    let devices = lines_or_none(text).skip(1).filter(|line| !line.starts_with(b"\t"));
    for line in devices {
        let mut line = fields(line);
        let index = small_or(line.next(), "an index in front of the name")?;
        // A long name touches its colon.
        let named = line.next().map(|named| named.strip_suffix(b":").unwrap_or(named));
        if named == Some(name.as_bytes()) {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_have_the_index() {
        assert_eq!(
            parse_dev_snmp6(b"ifIndex                         \t4\nIp6InReceives\t2\n"),
            Ok(4)
        );
        assert!(parse_dev_snmp6(b"Ip6InReceives\t2\n").is_err());
        let text = b"Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
            1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
            14\teth0      :     1      V3\n15\tenp0s31f6np0:     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n";
        let index = |name: &[u8]| parse_igmp(text, InterfaceName::new(name).unwrap());
        assert_eq!(index(b"eth0"), Ok(Some(14)));
        assert_eq!(index(b"enp0s31f6np0"), Ok(Some(15)));
        assert_eq!(index(b"eth"), Ok(None));
    }
}
