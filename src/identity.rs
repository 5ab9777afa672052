//! Identities: the keys that make two readings readings of the same object.
//!
//! A counter may only be subtracted from an earlier one of the same object, and the kernel reuses
//! names: pids, paths of cgroups and names of interfaces. Each key has a part that the kernel does
//! not reuse within one boot. Kubernetes identities are validated, so that a string that only looks
//! like a pod's uid never identifies a pod.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// `/proc/sys/kernel/random/boot_id`: 36 characters, new at every start of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BootId([u8; 36]);

impl TryFrom<String> for BootId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(text.as_bytes()).ok_or("no boot id")
    }
}

impl From<BootId> for String {
    fn from(id: BootId) -> Self {
        id.to_string()
    }
}

impl BootId {
    /// The id out of the file's text, with or without its newline; `None` if it is no boot id.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let id: [u8; 36] = text.try_into().ok()?;
        let shaped = id.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
        shaped.then_some(Self(id))
    }

    /// An id of these bits.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        let mut id = [b'-'; 36];
        let digits = (0..32).rev().map(|digit| (bits >> (digit * 4)) & 0xf);
        let places = (0..36).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
        for (digit, at) in digits.zip(places) {
            id[at] = b"0123456789abcdef"[digit as usize];
        }
        Self(id)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        // `parse` let only hex digits and dashes in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One cgroup of one boot: its path below the cgroup2 mount (`/` for the root, no trailing slash)
/// and the inode of its directory, which kernfs does not give out twice.
///
/// The path is bytes: a cgroup's name may hold anything but `/` and NUL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CgroupKey {
    #[serde(with = "escaped")]
    pub path: Arc<[u8]>,
    pub inode: u64,
}

/// Names of the kernel in the state file. A name is bytes; all but plain ASCII is percent-encoded.
pub mod escaped {
    use std::borrow::Cow;
    use std::fmt::Display;

    use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

    /// Writes the name as text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(name: &impl AsRef<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&percent_encode(name.as_ref(), ESCAPED))
    }

    /// Reads the name back.
    ///
    /// # Errors
    /// The value is no text, or the bytes are not a name of this type.
    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: TryFrom<Vec<u8>, Error: Display>,
        D: Deserializer<'de>,
    {
        let text = Cow::<str>::deserialize(from)?;
        T::try_from(percent_decode_str(&text).collect()).map_err(D::Error::custom)
    }
}

/// One process of one boot: the start time (field 22 of `/proc/<pid>/stat`, in clock ticks since
/// boot) tells a reused pid from the process that had it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    pub pid: u32,
    pub start_ticks: u64,
}

/// A block device's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceNumber {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A pod's uid as its cgroup carries it.
///
/// Three forms exist: the API server's UUID; for a static pod the 32 hex digits of its
/// configuration's hash, without dashes; and the text that a static pod's manifest gives as
/// `metadata.uid`. The form is part of the identity, since the API knows the latter two only as the
/// annotation `kubernetes.io/config.hash` of the mirror pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(UidForm);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum UidForm {
    Uuid(u128),
    Hash(u128),
    /// Filled up with NUL.
    Own([u8; OWN_UID_MAX]),
}

/// The longest uid of a manifest's own, in bytes.
const OWN_UID_MAX: usize = 63;

impl PodUid {
    /// A uid with dashes (cgroupfs driver), with underscores for dashes (systemd driver, where a
    /// dash separates slices), or 32 bare hex digits (a static pod). `None` for all else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let dashed = match text.len() {
            36 => true,
            32 => false,
            _ => return None,
        };
        let mut bits: u128 = 0;
        for (at, byte) in text.iter().enumerate() {
            if dashed && matches!(at, 8 | 13 | 18 | 23) {
                if !matches!(byte, b'-' | b'_') {
                    return None;
                }
                continue;
            }
            bits = bits << 4 | u128::from(lower_hex(*byte)?);
        }
        Some(Self(if dashed { UidForm::Uuid(bits) } else { UidForm::Hash(bits) }))
    }

    /// A uid of any form that a kubelet runs: those of [`PodUid::parse`], or 1 to 63 bytes of
    /// printable ASCII without a slash. An underscore is read as a dash. `None` for all else.
    #[must_use]
    pub fn of_text(text: &[u8]) -> Option<Self> {
        if let Some(uid) = Self::parse(text) {
            return Some(uid);
        }
        let fits = |byte: &u8| byte.is_ascii_graphic() && *byte != b'/';
        if text.is_empty() || !text.iter().all(fits) {
            return None;
        }
        let mut own = [0; OWN_UID_MAX];
        own.get_mut(..text.len())?.copy_from_slice(text);
        own.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
        Some(Self(UidForm::Own(own)))
    }

    /// True if this is no uid of the API server, but that of a static pod's configuration: its hash
    /// or its own.
    #[must_use]
    pub fn is_config_hash(&self) -> bool {
        !matches!(self.0, UidForm::Uuid(_))
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            UidForm::Hash(bits) => write!(f, "{bits:032x}"),
            UidForm::Own(text) => text.iter().take_while(|byte| **byte != 0).try_for_each(|byte| {
                use fmt::Write as _;
                f.write_char(char::from(*byte))
            }),
            UidForm::Uuid(b) => write!(
                f,
                "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                b >> 96,
                b >> 80 & 0xffff,
                b >> 64 & 0xffff,
                b >> 48 & 0xffff,
                b & 0xffff_ffff_ffff
            ),
        }
    }
}

/// A container's id as the runtimes write it: 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId([u8; 32]);

impl ContainerId {
    /// `None` unless the text is 64 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != 64 {
            return None;
        }
        let mut id = [0_u8; 32];
        for (byte, pair) in id.iter_mut().zip(text.chunks_exact(2)) {
            *byte = lower_hex(pair[0])? << 4 | lower_hex(pair[1])?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn lower_hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_uid_reads_in_every_driver_form_and_writes_as_the_api_has_it() {
        let dashed = PodUid::parse(b"a533c208-0be3-44e3-adb7-a0dae664d797").unwrap();
        let systemd = PodUid::parse(b"a533c208_0be3_44e3_adb7_a0dae664d797").unwrap();
        assert_eq!(dashed, systemd);
        assert_eq!(systemd.to_string(), "a533c208-0be3-44e3-adb7-a0dae664d797");
        let hash = PodUid::parse(b"72dd719cb36a6d92769b0e001945c7b5").unwrap();
        assert!(hash.is_config_hash());
        assert_eq!(hash.to_string(), "72dd719cb36a6d92769b0e001945c7b5");
    }

    #[test]
    fn what_only_looks_like_an_identity_is_none() {
        for bad in [
            &b"a533c208-0be3-44e3-adb7-a0dae664d79"[..],
            b"a533c208-0be3-44e3-adb7-a0dae664d79z",
            b"A533C208-0BE3-44E3-ADB7-A0DAE664D797",
            b"a533c2080be3-44e3--adb7-a0dae664d797",
            b"",
        ] {
            assert_eq!(PodUid::parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(ContainerId::parse(&[b'g'; 64]), None);
        assert_eq!(ContainerId::parse(&[b'0'; 63]), None);
        assert_eq!(ContainerId::parse(&[b'a'; 64]).unwrap().to_string(), "a".repeat(64));
        assert_eq!(BootId::parse(b"not a boot id"), None);
        let boot = BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2\n").unwrap();
        assert_eq!(boot.to_string(), "dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2");
        assert_eq!(BootId::from_bits(0xdcb0_aa66_4b28_4a3b_b26c_358f_9a3b_5bb2), boot);
    }
}
