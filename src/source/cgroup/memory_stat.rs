//! `memory.stat`: what a cgroup's memory is made of, descendants included.

use crate::quantity::Bytes;
use crate::source::Malformed;
use crate::source::text::{figure, key_and_rest, lines};

/// Gauges in bytes, and one counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryStat {
    pub anon: Bytes,
    pub file: Bytes,
    /// All kernel memory charged to the cgroup; `None` before 5.18.
    pub kernel: Option<Bytes>,
    pub shmem: Bytes,
    /// Page cache that reclaim takes first: what the working set leaves out.
    pub inactive_file: Bytes,
    pub active_file: Bytes,
    pub major_faults: u64,
}

// anon 1245184
// file 8192
// kernel 98304          since 5.18
// kernel_stack 16384
// …
// shmem 0
// …
// inactive_file 4096
// active_file 4096
// …
// pgmajfault 0
pub fn parse(text: &[u8]) -> Result<MemoryStat, Malformed> {
    let mut stat = MemoryStat::default();
    let mut seen = 0_u8;
    for line in lines(text)? {
        let (key, rest) =
            key_and_rest(line).ok_or(Malformed::expected("a key and a figure in each line"))?;
        // Seven of some fifty lines are wanted. The key's length rules out most others.
        if !matches!(key.len(), 4..=6 | 10 | 11 | 13) {
            continue;
        }
        let value = || figure(rest).ok_or(Malformed::expected("a figure behind each key"));
        match key {
            b"anon" => (stat.anon, seen) = (Bytes::from_bytes(value()?), seen | 1),
            b"file" => (stat.file, seen) = (Bytes::from_bytes(value()?), seen | 2),
            b"kernel" => stat.kernel = Some(Bytes::from_bytes(value()?)),
            b"shmem" => (stat.shmem, seen) = (Bytes::from_bytes(value()?), seen | 8),
            b"inactive_file" => {
                (stat.inactive_file, seen) = (Bytes::from_bytes(value()?), seen | 4)
            }
            b"active_file" => (stat.active_file, seen) = (Bytes::from_bytes(value()?), seen | 16),
            b"pgmajfault" => (stat.major_faults, seen) = (value()?, seen | 32),
            _ => {}
        }
    }
    if seen != 63 {
        return Err(Malformed::expected(
            "anon, file, shmem, inactive_file, active_file and pgmajfault",
        ));
    }
    Ok(stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_keys_are_told_from_their_neighbours() {
        let text = b"anon 1\nfile 2\nkernel 3\nkernel_stack 99\nshmem 4\nfile_mapped 99\n\
            inactive_anon 99\nactive_anon 99\ninactive_file 5\nactive_file 6\npgfault 99\npgmajfault 7\n";
        let stat = parse(text).unwrap();
        assert_eq!(stat.anon.as_bytes(), 1);
        assert_eq!(stat.file.as_bytes(), 2);
        assert_eq!(stat.kernel.unwrap().as_bytes(), 3);
        assert_eq!(stat.shmem.as_bytes(), 4);
        assert_eq!(stat.inactive_file.as_bytes(), 5);
        assert_eq!(stat.active_file.as_bytes(), 6);
        assert_eq!(stat.major_faults, 7);
    }

    #[test]
    fn without_inactive_file_there_is_no_working_set_to_state() {
        assert!(parse(b"anon 1\nfile 2\n").is_err());
    }
}
