//! Failed reads, as data.

use crate::descriptors;
use crate::quantity::counted;
use crate::source::Malformed;
use crate::source::root::ReadFailure;

/// Limit of gaps of one tick that are kept with path and reason. Others are only counted.
pub const GAPS_MAX: usize = 128;

/// One thing that is missing from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The file as the agent named it, or what is missing.
    pub path: Box<[u8]>,
    pub reason: GapReason,
}

/// The reason of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// The text is not what the kernel writes there.
    Malformed {
        expected: &'static str,
    },
    /// A row or figure of the text is not what the kernel writes there; the others count.
    Odd {
        expected: &'static str,
    },
    /// EACCES or EPERM.
    Denied,
    TooLarge,
    /// Any other errno.
    Failed {
        errno: i32,
    },
    /// The host does not have it. The text says what is missing because of it.
    NotOffered {
        consequence: &'static str,
    },
    /// More objects than the agent follows.
    Bounded {
        limit: usize,
    },
    /// Cgroups beyond the share of their parent are not followed.
    LeftOut {
        cgroups: usize,
        limit: usize,
    },
    /// A counter is lower than before, of an object that is the same.
    WentBack,
    /// A counter gained more than the hardware can do in the interval.
    Implausible,
    /// So much CPU time of the node has no owner, and the processes of the cgroup and of `others`
    /// have no CPU counter but their own. No reading failed.
    UnownedCpu {
        millis: u64,
        others: usize,
    },
}

impl GapReason {
    /// True if a reading failed or was odd; false if every reading was good and is not enough.
    #[must_use]
    pub fn is_of_reading(&self) -> bool {
        !matches!(self, Self::UnownedCpu { .. })
    }
}

impl std::fmt::Display for GapReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed { expected } => write!(f, "malformed: expected {expected}"),
            Self::Odd { expected } => {
                write!(f, "an odd row or figure is left out: expected {expected}")
            }
            Self::Denied => f.write_str("permission denied"),
            Self::TooLarge => f.write_str("larger than 4 MiB"),
            Self::Failed { errno } => f.write_str(
                descriptors::shortage_of(*errno)
                    .unwrap_or_else(|| nix::errno::Errno::from_raw(*errno).desc()),
            ),
            Self::NotOffered { consequence } => f.write_str(consequence),
            Self::Bounded { limit } => write!(f, "more than {limit}; the rest is in its parent"),
            Self::LeftOut { cgroups, limit } => write!(
                f,
                "{} followed: it has its share of {limit}; that usage is in its own",
                counted(*cgroups, "cgroup in it is not", "cgroups in it are not")
            ),
            Self::WentBack => f.write_str(
                "a counter went back although the object is the same: it gained nothing, and \
                 counts on from the new value",
            ),
            Self::Implausible => f.write_str(
                "a counter gained more than CPU, disk or link can do in the interval: the usage is \
                 not known, and counts on from the new value",
            ),
            Self::UnownedCpu { millis, others } => {
                f.write_str("processes here")?;
                if *others > 0 {
                    write!(f, " and in {}", counted(*others, "other cgroup", "other cgroups"))?;
                }
                write!(
                    f,
                    " have no CPU counter but their own, which ends with them: {millis} ms of CPU \
                     time have no owner, and processes that ended between the samples can be in them"
                )
            }
        }
    }
}

/// The gaps of one tick, and those that last as long as the agent runs.
#[derive(Debug, Clone, Default)]
pub struct Gaps {
    /// Found at the start and valid for every tick.
    pub standing: Vec<Gap>,
    /// Gaps of this tick, at most [`GAPS_MAX`].
    pub current: Vec<Gap>,
    /// Number of failed and odd readings of this tick, kept or not.
    pub count: u64,
    /// Something could not be opened for lack of descriptors; reset by who makes room.
    pub out_of_descriptors: bool,
}

impl Gaps {
    pub fn begin_tick(&mut self) {
        self.current.clear();
        self.count = 0;
    }

    /// Adds the gaps of the same tick that were found elsewhere.
    pub fn extend(&mut self, found: &Self) {
        self.count += found.count;
        let free = GAPS_MAX.saturating_sub(self.current.len());
        self.current.extend(found.current.iter().take(free).cloned());
    }

    /// Adds a gap, unless it is there. Only what is kept allocates. `path`: its parts.
    pub fn add(&mut self, path: &[&[u8]], reason: GapReason) {
        let bytes = || path.iter().copied().flatten().copied();
        // Below the root cgroup, whose own path is a slash.
        let doubled = usize::from(bytes().take(2).eq(*b"//"));
        let bytes = || bytes().skip(doubled);
        // An inner cgroup's counters are read before and after its children.
        if self
            .current
            .iter()
            .any(|gap| gap.reason == reason && bytes().eq(gap.path.iter().copied()))
        {
            return;
        }
        self.count += u64::from(reason.is_of_reading());
        if self.current.len() < GAPS_MAX {
            self.current.push(Gap { path: bytes().collect(), reason });
        }
    }

    /// Adds a gap for a failed read. A file that the kernel does not have is no gap, nor is an
    /// object that is gone.
    pub fn add_failure(&mut self, path: &[&[u8]], failure: ReadFailure) {
        self.out_of_descriptors |= failure.is_out_of_descriptors();
        match failure {
            ReadFailure::Absent | ReadFailure::Gone => {}
            ReadFailure::Denied => self.add(path, GapReason::Denied),
            ReadFailure::TooLarge => self.add(path, GapReason::TooLarge),
            ReadFailure::Failed(errno) => self.add(path, GapReason::Failed { errno }),
        }
    }

    /// Adds a gap that each process would cause, only once per tick.
    pub fn add_once(&mut self, path: &[u8], failure: ReadFailure) {
        if !self.current.iter().any(|gap| *gap.path == *path) {
            self.add_failure(&[path], failure);
        }
    }

    /// Adds the gap of a cgroup with processes that this pid namespace does not show.
    pub fn add_foreign(&mut self, path: &[u8]) {
        let consequence =
            "processes of another pid namespace: the agent needs the host's (hostPID)";
        self.add(&[path, b"/cgroup.procs"], GapReason::NotOffered { consequence });
    }

    pub fn add_malformed(&mut self, path: &[&[u8]], malformed: Malformed) {
        self.add(path, GapReason::Malformed { expected: malformed.expected });
    }

    /// Adds the gap of an odd row or figure. The same oddity in files of one name, as each cgroup
    /// has them, is one gap: that of the first.
    pub fn add_odd(&mut self, path: &[&[u8]], odd: Malformed) {
        let reason = GapReason::Odd { expected: odd.expected };
        fn name(path: &[u8]) -> Option<&[u8]> {
            path.rsplit(|byte| *byte == b'/').next()
        }
        let file = path.last().and_then(|last| name(last));
        let has_name = |gap: &Gap| name(&gap.path) == file;
        if !self.current.iter().any(|gap| gap.reason == reason && has_name(gap)) {
            self.add(path, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_beyond_what_is_kept() {
        let mut gaps = Gaps::default();
        for number in 0..GAPS_MAX + 7 {
            gaps.add_failure(&[number.to_string().as_bytes(), b"/cpu.stat"], ReadFailure::Denied);
        }
        gaps.add_failure(&[b"gone"], ReadFailure::Gone);
        assert_eq!(gaps.current.len(), GAPS_MAX);
        assert_eq!(gaps.count as usize, GAPS_MAX + 7);
        assert_eq!(*gaps.current[0].path, *b"0/cpu.stat");
    }

    #[test]
    fn an_oddity_of_every_cgroup_is_one_gap() {
        let mut gaps = Gaps::default();
        let odd = |expected| Malformed::expected(expected);
        for number in 0..200 {
            let cgroup = format!("/pods/{number}");
            gaps.add_odd(&[cgroup.as_bytes(), b"/", b"io.stat"], odd("a device"));
        }
        gaps.add_odd(&[b"/pods/0", b"/", b"io.stat"], odd("a figure"));
        gaps.add_odd(&[b"/proc/", b"17/stat"], odd("a figure"));
        gaps.add_odd(&[b"/proc/", b"18/stat"], odd("a figure"));
        let paths: Vec<&[u8]> = gaps.current.iter().map(|gap| &*gap.path).collect();
        let expected: [&[u8]; 3] = [b"/pods/0/io.stat", b"/pods/0/io.stat", b"/proc/17/stat"];
        assert_eq!((paths, gaps.count), (expected.to_vec(), 3));
    }

    #[test]
    fn a_file_that_is_read_twice_in_a_tick_is_one_gap() {
        let mut gaps = Gaps::default();
        gaps.add_failure(&[b"/", b"/", b"cpu.stat"], ReadFailure::Denied);
        gaps.add_failure(&[b"/", b"/", b"cpu.stat"], ReadFailure::Denied);
        gaps.add_failure(&[b"/", b"/", b"cpu.stat"], ReadFailure::TooLarge);
        assert_eq!(gaps.count, 2);
        assert_eq!(*gaps.current[0].path, *b"/cpu.stat");
    }
}
