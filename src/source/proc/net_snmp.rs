//! `/proc/<pid>/net/snmp`: counts of protocols in that process's network namespace. For each
//! protocol a line of names, then a line of figures.

use crate::source::Malformed;
use crate::source::text::{fields, figure_or, lines};

/// The TCP connections that were opened from this namespace since it was made, IPv6 included
/// (ActiveOpens).
// Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails …
// Tcp: 1 200 120000 -1 70631 56237 14354 …
pub fn parse(text: &[u8]) -> Result<u64, Malformed> {
    let absent = Malformed::expected("ActiveOpens of Tcp");
    let mut lines = lines(text)?.map(fields).filter_map(|mut fields| {
        let is_tcp = fields.next() == Some(b"Tcp:");
        is_tcp.then_some(fields)
    });
    let (mut names, mut figures) = (lines.next().ok_or(absent)?, lines.next().ok_or(absent)?);
    let at = names.position(|name| name == b"ActiveOpens").ok_or(absent)?;
    figure_or(figures.nth(at), "ActiveOpens of Tcp")
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_opened_connections_are_found_by_their_name() {
        let text = b"Ip: Forwarding DefaultTTL\nIp: 2 64\nIcmpMsg: InType3\nIcmpMsg: 2\n\
            Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens\n\
            Tcp: 1 200 120000 -1 70631 56237\nUdp: InDatagrams\nUdp: 124\n";
        assert_eq!(parse(text), Ok(70_631));
        assert_eq!(parse(b"Tcp: PassiveOpens ActiveOpens\nTcp: 3 4\n"), Ok(4));
        let without: [&[u8]; 5] = [
            b"",
            b"Ip: ActiveOpens\nIp: 2\n",
            b"Tcp: ActiveOpens\n",
            b"Tcp: PassiveOpens\nTcp: 3\n",
            b"Tcp: PassiveOpens ActiveOpens\nTcp: 3\n",
        ];
        for text in without {
            assert!(parse(text).is_err());
        }
    }
}
