//! The kernel's facts about one interface that seldom change, from sysfs and /proc/net.

use super::path_buffer::PathBuffer;
use crate::source::proc::net_dev::{InterfaceName, InterfaceRow};
use crate::source::proc::net_index;
use crate::source::root::{Buffer, Dir, EntryKinds};
use crate::source::text::figure;

/// The directories of one network namespace, opened for as long as its interfaces are asked about.
#[derive(Debug)]
pub struct LinkFiles {
    /// `/proc/<pid>/net`, which needs no right over the process.
    net: Option<Dir>,
    /// `/sys/class/net` of the namespace, which needs ptrace rights over a process in it.
    class: Option<Dir>,
}

/// The facts about one interface. Without sysfs only its name is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    pub name: Option<InterfaceName>,
    /// It has a directory in sysfs.
    pub in_sysfs: bool,
    pub index: Option<u32>,
    /// The index of the interface below it or at its other end, in whichever namespace that is.
    pub peer: Option<u32>,
    /// It has a `device`: a physical or virtual function, or a paravirtual card.
    pub has_device: bool,
    pub is_bridge: bool,
    pub is_bond: bool,
    pub is_tun: bool,
    /// IFF_NOARP, which a dummy has and a veth has not.
    pub no_arp: bool,
    /// The ARPHRD_ number.
    pub hardware_type: Option<u64>,
    /// The kind that the driver gives (`bridge`, `vlan`, `wireguard`); most drivers give none.
    pub kind: Box<[u8]>,
    pub master: Option<InterfaceName>,
    /// The interfaces of the namespace directly below it.
    pub lower: Vec<InterfaceName>,
    /// The name of the port of a switch: `p0`, and `pf0vf3` for the port of a virtual function.
    pub port_name: Box<[u8]>,
    pub switch_id: Box<[u8]>,
    /// Its `uevent` could be read, so this is a whole sysfs, with all links.
    pub is_whole: bool,
}

impl Link {
    /// A link of which the name alone is known, without sysfs.
    #[must_use]
    pub fn named(name: InterfaceName) -> Self {
        Self { name: Some(name), ..Self::default() }
    }

    pub fn name(&self) -> &[u8] {
        self.name.as_ref().map_or(b"", |name| name.as_bytes())
    }
}

/// Where the class directory of another namespace is reached from.
const CLASS_OF_PROCESS: &[u8] = b"/root/sys/class/net/.";

impl LinkFiles {
    /// The files of the namespace of `process`, a directory below /proc. `class`: its class
    /// directory where that is known already.
    #[must_use]
    pub fn open(procfs: &Dir, process: &[u8], class: Option<Dir>, rows: &[InterfaceRow]) -> Self {
        let mut space = PathBuffer::default();
        let net = space.join(&[process, b"/net/."]).and_then(|path| procfs.open_dir(path).ok());
        let fits = |class: &Dir| {
            let mut space = PathBuffer::default();
            let named = |row: &&InterfaceRow| {
                space.join(&[row.name.as_bytes()]).is_some_and(|name| class.has(name))
            };
            // A process can see the sysfs of another namespace than its own.
            2 * rows.iter().filter(named).count() >= rows.len()
        };
        let class = class.filter(fits).or_else(|| {
            let path = space.join(&[process, CLASS_OF_PROCESS])?;
            procfs.open_dir(path).ok().filter(fits)
        });
        Self { net, class }
    }

    /// The index of an interface. Allocates nothing.
    pub fn index(&self, name: InterfaceName, buffer: &mut Buffer) -> Option<u32> {
        let mut space = PathBuffer::default();
        let by_ipv6 = self.net.as_ref().and_then(|net| {
            let path = space.join(&[b"dev_snmp6/", name.as_bytes()])?;
            net_index::parse_dev_snmp6(net.read_records(path, buffer).ok()?).ok()
        });
        let by_ipv6 = by_ipv6.or_else(|| self.number(name, b"/ifindex", buffer));
        by_ipv6.or_else(|| {
            let text = self.net.as_ref()?.read_records(c"igmp", buffer).ok()?;
            net_index::parse_igmp(text, name).ok().flatten()
        })
    }

    /// True if it has a `device`.
    pub fn has_device(&self, name: InterfaceName) -> bool {
        self.has(name, b"/device")
    }

    /// Every fact about one interface.
    pub fn link(&self, name: InterfaceName, buffer: &mut Buffer) -> Link {
        let mut link = Link { index: self.index(name, buffer), ..Link::named(name) };
        if !self.has(name, b"") {
            return link;
        }
        link.in_sysfs = true;
        link.peer = self.number(name, b"/iflink", buffer);
        link.has_device = self.has_device(name);
        link.is_bridge = self.has(name, b"/bridge");
        link.is_bond = self.has(name, b"/bonding");
        link.is_tun = self.has(name, b"/tun_flags");
        link.hardware_type = self.text(name, b"/type", buffer).and_then(figure);
        let flags = self.text(name, b"/flags", buffer).and_then(hexadecimal);
        link.no_arp = flags.is_some_and(|flags| flags & IFF_NOARP != 0);
        if let Some(uevent) = self.text(name, b"/uevent", buffer) {
            let mut lines = uevent.split(|byte| *byte == b'\n');
            let kind = lines.find_map(|line| line.strip_prefix(b"DEVTYPE="));
            link.kind = kind.unwrap_or_default().into();
            link.is_whole = true;
        }
        link.port_name = self.text(name, b"/phys_port_name", buffer).unwrap_or_default().into();
        link.switch_id = self.text(name, b"/phys_switch_id", buffer).unwrap_or_default().into();
        let mut space = PathBuffer::default();
        let master = self.class.as_ref().zip(space.join(&[name.as_bytes(), b"/master"]));
        let last = |target: &[u8]| InterfaceName::new(target.rsplit(|byte| *byte == b'/').next()?);
        link.master =
            master.and_then(|(class, master)| class.with_link(master, last).ok().flatten());
        // The entries of a class are links; with the dot the last component is none.
        let own = self.class.as_ref().zip(space.join(&[name.as_bytes(), b"/."]));
        if let Some(own) = own.and_then(|(class, own)| class.open_dir(own).ok()) {
            let _ = own.entries(EntryKinds::DirsAndLinks, |entry| {
                let lower = entry.to_bytes().strip_prefix(b"lower_").and_then(InterfaceName::new);
                link.lower.extend(lower);
            });
        }
        link
    }

    fn has(&self, name: InterfaceName, file: &[u8]) -> bool {
        let mut space = PathBuffer::default();
        let path = space.join(&[name.as_bytes(), file]);
        self.class.as_ref().zip(path).is_some_and(|(class, path)| class.has(path))
    }

    /// The text of a file of one value. Some can be read for some drivers only.
    fn text<'b>(
        &self,
        name: InterfaceName,
        file: &[u8],
        buffer: &'b mut Buffer,
    ) -> Option<&'b [u8]> {
        let mut space = PathBuffer::default();
        let path = space.join(&[name.as_bytes(), file])?;
        let text = self.class.as_ref()?.read_record(path, buffer).ok()?;
        Some(text.strip_suffix(b"\n").unwrap_or(text))
    }

    fn number(&self, name: InterfaceName, file: &[u8], buffer: &mut Buffer) -> Option<u32> {
        self.text(name, file, buffer).and_then(figure).and_then(|number| number.try_into().ok())
    }
}

const IFF_NOARP: u32 = 0x80;

/// The number of `0x1003`.
fn hexadecimal(text: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(text.strip_prefix(b"0x")?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn name(text: &str) -> InterfaceName {
        InterfaceName::new(text.as_bytes()).unwrap()
    }

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (file, text) in files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// As the kernel writes them, and as some drivers do not.
    #[test]
    fn each_fact_is_read_from_its_own_file() {
        let dir = tempfile::tempdir().unwrap();
        let class = dir.path().join("7/root/sys/class/net");
        write(
            &class,
            &[
                ("full/ifindex", "12\n"),
                ("full/iflink", "34\n"),
                ("full/type", "1\n"),
                ("full/flags", "0x1083\n"),
                ("full/uevent", "DEVTYPE=vlan\nINTERFACE=full\nIFINDEX=12\n"),
                ("full/phys_port_name", "pf0vf3\n"),
                ("full/phys_switch_id", "0a1b\n"),
                ("full/tun_flags", "0x1002\n"),
                ("full/device/vendor", "0x1af4\n"),
                ("full/bridge/ageing_time", "0\n"),
                ("full/bonding/mode", "802.3ad 4\n"),
                ("bare/ifindex", "13\n"),
                ("bare/flags", "0x1003\n"),
            ],
        );
        symlink("../br0", class.join("full/master")).unwrap();
        symlink("../eth0", class.join("full/lower_eth0")).unwrap();
        symlink("../up", class.join("full/upper_up")).unwrap();
        let procfs = Dir::open(dir.path()).unwrap();
        let files = LinkFiles::open(&procfs, b"7", None, &[]);
        let buffer = &mut Buffer::default();
        let full = Link {
            name: Some(name("full")),
            in_sysfs: true,
            index: Some(12),
            peer: Some(34),
            has_device: true,
            is_bridge: true,
            is_bond: true,
            is_tun: true,
            no_arp: true,
            hardware_type: Some(1),
            kind: b"vlan"[..].into(),
            master: Some(name("br0")),
            lower: vec![name("eth0")],
            port_name: b"pf0vf3"[..].into(),
            switch_id: b"0a1b"[..].into(),
            is_whole: true,
        };
        assert_eq!(files.link(name("full"), buffer), full);
        let bare = Link { in_sysfs: true, index: Some(13), ..Link::named(name("bare")) };
        assert_eq!(files.link(name("bare"), buffer), bare);
        assert_eq!(files.link(name("none"), buffer), Link::named(name("none")));
        assert!(files.has_device(name("full")) && !files.has_device(name("bare")));
    }

    /// The first source that knows the number tells it.
    #[test]
    fn the_number_of_an_interface_is_found_without_sysfs_too() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                ("7/net/dev_snmp6/six", "ifIndex                         \t4\nIp6InReceives 2\n"),
                (
                    "7/net/igmp",
                    "Idx\tDevice    : Count Querier\tGroup\n5\tfour      :     1      V3\n",
                ),
                ("7/root/sys/class/net/six/ifindex", "44\n"),
                ("7/root/sys/class/net/sys/ifindex", "6\n"),
            ],
        );
        let procfs = Dir::open(dir.path()).unwrap();
        let files = LinkFiles::open(&procfs, b"7", None, &[]);
        let buffer = &mut Buffer::default();
        for (interface, number) in
            [("six", Some(4)), ("sys", Some(6)), ("four", Some(5)), ("none", None)]
        {
            assert_eq!(files.index(name(interface), buffer), number, "{interface}");
        }
    }

    /// A process can see the sysfs of another namespace than its own. Then half of its interfaces or
    /// more are not there.
    #[test]
    fn a_class_directory_with_other_interfaces_is_another_namespaces() {
        let row = |name: &str| InterfaceRow {
            name: InterfaceName::new(name.as_bytes()).unwrap(),
            rx_bytes: 0,
            rx_packets: 0,
            rx_errors: 0,
            rx_dropped: 0,
            tx_bytes: 0,
            tx_packets: 0,
            tx_errors: 0,
            tx_dropped: 0,
            is_odd: false,
        };
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                ("7/root/sys/class/net/lo/ifindex", "1\n"),
                ("own/lo/ifindex", "1\n"),
                ("own/a/ifindex", "2\n"),
            ],
        );
        let procfs = Dir::open(dir.path()).unwrap();
        let number = |class: Option<Dir>, names: &[&str]| {
            let rows: Vec<_> = names.iter().map(|name| row(name)).collect();
            let files = LinkFiles::open(&procfs, b"7", class, &rows);
            files.index(name("lo"), &mut Buffer::default())
        };
        assert_eq!(number(None, &["lo"]), Some(1));
        assert_eq!(number(None, &["lo", "a"]), Some(1));
        assert_eq!(number(None, &["lo", "a", "b"]), None);
        let own = || Dir::open(&dir.path().join("own")).ok();
        assert_eq!(number(own(), &["lo", "a", "b"]), Some(1));
        assert_eq!(number(own(), &["x", "y", "z"]), None);
    }

    #[test]
    fn flags_are_hexadecimal() {
        assert_eq!(hexadecimal(b"0x1083"), Some(0x1083));
        assert_eq!(hexadecimal(b"1083"), None);
        assert_eq!(hexadecimal(b"0x"), None);
    }
}
