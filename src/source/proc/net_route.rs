//! `/proc/net/route`: which interfaces the default routes leave by.

use super::net_dev::InterfaceName;
use crate::source::Malformed;
use crate::source::text::{fields, lines};

/// The interfaces of all IPv4 default routes (destination and mask 0).
// Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
// eth0	00000000	010011AC	0003	0	0	0	00000000	0	0	0
pub fn parse(text: &[u8]) -> Result<Vec<InterfaceName>, Malformed> {
    let mut defaults = Vec::new();
    for line in lines(text)?.skip(1) {
        let mut line = fields(line);
        // An odd line hides no other route.
        let Some(name) = line.next().and_then(InterfaceName::new) else { continue };
        if line.next() == Some(b"00000000") && line.nth(5) == Some(b"00000000") {
            defaults.push(name);
        }
    }
    Ok(defaults)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_a_zero_mask_makes_a_default_route() {
        let text = b"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
            eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\n\
            eth1\t00000000\t00000000\t0001\t0\t0\t0\t0000FFFF\n";
        let defaults = super::parse(text).unwrap();
        assert_eq!(defaults.len(), 1);
        assert_eq!(defaults[0].as_bytes(), b"eth0");
    }
}
