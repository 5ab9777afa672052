//! `/proc/<pid>/status`: the capabilities and the user of a process.

use std::fmt;

use crate::source::Malformed;
use crate::source::text::{fields, figure, lines};

/// Capabilities by their number in include/uapi/linux/capability.h.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// One capability. Displayed by its name, or its number where it is newer than the names here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(u8);

impl Capability {
    /// Opens any file for reading, whatever its mode says.
    pub const DAC_READ_SEARCH: Self = Self(2);
    /// Looks into any process.
    pub const SYS_PTRACE: Self = Self(19);
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "capability {}", self.0),
        }
    }
}

/// The capabilities in force: CapEff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u64);

impl Capabilities {
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// In the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..64).map(Capability).filter(move |capability| self.has(*capability))
    }
}

// Name:   nodetally
// Uid:    61234   61234   61234   61234
// CapPrm: 0000000000080000
// CapEff: 0000000000080000
pub fn parse(text: &[u8]) -> Result<Capabilities, Malformed> {
    let complaint = Malformed::expected("CapEff with 16 hexadecimal digits");
    for line in lines(text)? {
        let Some(rest) = line.strip_prefix(b"CapEff:") else { continue };
        let digits = rest.trim_ascii();
        if digits.len() != 16 {
            return Err(complaint);
        }
        let digits = std::str::from_utf8(digits).map_err(|_| complaint)?;
        // A sign is none of the digits, though the conversion would take one.
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(complaint);
        }
        return u64::from_str_radix(digits, 16).map(Capabilities).map_err(|_| complaint);
    }
    Err(complaint)
}

/// The effective uid, by which rights are checked and which `ps` shows.
// Uid:    0       1000    0       0
//
// Real, effective, saved and of the file system. The owner of the directory /proc/<pid> is no
// substitute: it is root for processes that may not be dumped.
pub fn parse_uid(text: &[u8]) -> Result<u32, Malformed> {
    let ids = lines(text)?.find_map(|line| line.strip_prefix(b"Uid:"));
    let uid = ids.and_then(|ids| fields(ids).nth(1)).and_then(figure);
    let uid = uid.and_then(|uid| u32::try_from(uid).ok());
    uid.ok_or(Malformed::expected("four uids after \"Uid:\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_uid_is_the_second() {
        let text = b"Name:\tUid: 9 9 9 9\nUmask:\t0022\nUid:\t0\t1000\t4294967294\t0\nGid:\t5\t6\n";
        assert_eq!(parse_uid(text).unwrap(), 1000);
        for text in [&b""[..], b"Uid:\n", b"Uid:\t0\n", b"Uid:\t0\t-1\t0\t0\n", b"Gid:\t1\t2\n"] {
            assert!(parse_uid(text).is_err());
        }
    }

    #[test]
    fn effective_capabilities_are_told_from_the_others() {
        let text = b"Name:\tCapEff:\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000080004\n\
                     CapBnd:\t000001ffffffffff\n";
        let held = parse(text).unwrap();
        let names: Vec<String> = held.iter().map(|capability| capability.to_string()).collect();
        assert_eq!(names, ["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"]);
        assert!(held.has(Capability::SYS_PTRACE) && held.has(Capability::DAC_READ_SEARCH));
    }

    #[test]
    fn every_bit_has_a_name_or_a_number() {
        let all = parse(b"CapEff:\tffffffffffffffff\n").unwrap();
        let names: Vec<String> = all.iter().map(|capability| capability.to_string()).collect();
        assert_eq!(
            (names.len(), &*names[40], &*names[41]),
            (64, "CAP_CHECKPOINT_RESTORE", "capability 41")
        );
    }

    #[test]
    fn what_is_no_set_of_capabilities_is_malformed() {
        for bad in [
            &b""[..],
            b"CapPrm:\t0000000000080004\n",
            b"CapEff:\t80004\n",
            b"CapEff:\t+000000000080004\n",
            b"CapEff:\t00000000000g0004\n",
        ] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
