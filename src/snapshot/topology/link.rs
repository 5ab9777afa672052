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
