//! `/proc/net/ipv6_route`: which interfaces the IPv6 default routes leave by.

use super::net_dev::InterfaceName;
use crate::source::Malformed;
use crate::source::text::{fields, lines_or_none};

/// The flag of a route that refuses its packets. Every host has such a default route, by loopback.
const REJECT: u32 = 0x200;

/// The interfaces of all IPv6 default routes (destination and prefix length 0) that are used.
// 00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
// 00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
pub fn parse(text: &[u8]) -> Result<Vec<InterfaceName>, Malformed> {
    let mut defaults = Vec::new();
    for line in lines_or_none(text) {
        let mut line = fields(line);
        let (destination, length) = (line.next(), line.next());
        let flags = line.nth(6).and_then(|flags| std::str::from_utf8(flags).ok());
        let flags = flags.and_then(|flags| u32::from_str_radix(flags, 16).ok());
        let flags = flags.ok_or(Malformed::expected("flags in the ninth column"))?;
        let name = line.next().and_then(InterfaceName::new);
        let name = name.ok_or(Malformed::expected("an interface name"))?;
        let is_default = length == Some(b"00")
            && destination.is_some_and(|digits| digits.iter().all(|digit| *digit == b'0'));
        if is_default && flags & REJECT == 0 && !defaults.contains(&name) {
            defaults.push(name);
        }
    }
    Ok(defaults)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_route_that_every_host_refuses_by_is_no_way_out() {
        let zero = "0".repeat(32);
        let line = |to: &str, length: &str, flags: &str, name: &str| {
            format!(
                "{to} {length} {zero} 00 {zero} 00000400 00000001 00000000 {flags}     {name}\n"
            )
        };
        let text = [
            line(&zero, "00", "00200200", "lo"),
            line(&zero, "00", "00000003", "eth0"),
            line(&zero, "00", "00000003", "eth0"),
            line(&zero, "60", "00000001", "tun0"),
            line("fe800000000000000000000000000000", "00", "00000001", "eth1"),
        ];
        let defaults = super::parse(text.concat().as_bytes()).unwrap();
        assert_eq!(defaults.iter().map(|name| name.as_bytes()).collect::<Vec<_>>(), [b"eth0"]);
        assert!(super::parse(b"").unwrap().is_empty());
        assert!(super::parse(b"eth0\n").is_err());
    }
}
