//! `memory.events`: how often a cgroup met its memory limits, descendants included.

use crate::source::text::{Odd, key_and_rest, lines};
use crate::source::{Malformed, Parsed};

/// Counters since the cgroup was made. `None`: not in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEvents {
    pub low: Option<u64>,
    pub high: Option<u64>,
    pub max: Option<u64>,
    /// Allocations that were about to fail and called the OOM killer.
    pub oom: Option<u64>,
    /// Processes that the OOM killer killed.
    pub oom_kill: Option<u64>,
    pub odd: Option<Malformed>,
}

impl Parsed for MemoryEvents {
    fn odd(&self) -> Option<Malformed> {
        self.odd
    }
}

// low 0
// high 0
// max 12
// oom 1
// oom_kill 1
// oom_group_kill 0      since 5.17
pub fn parse(text: &[u8]) -> Result<MemoryEvents, Malformed> {
    let mut events = MemoryEvents::default();
    let mut odd = Odd::default();
    for line in lines(text)? {
        let Some((key, rest)) = key_and_rest(line) else {
            odd.note("a key and a figure in each line");
            continue;
        };
        let slot = match key {
            b"low" => &mut events.low,
            b"high" => &mut events.high,
            b"max" => &mut events.max,
            b"oom" => &mut events.oom,
            b"oom_kill" => &mut events.oom_kill,
            _ => continue,
        };
        *slot = odd.figure(Some(rest), "a figure behind each key");
    }
    events.odd = odd.0;
    Ok(events)
}

#[cfg(test)]
mod tests {
    #[test]
    fn kills_are_told_from_calls() {
        let events = super::parse(b"low 0\nhigh 1\nmax 12\noom 3\noom_kill 2\n").unwrap();
        assert_eq!((events.high, events.max), (Some(1), Some(12)));
        assert_eq!((events.oom, events.oom_kill), (Some(3), Some(2)));
        let events = super::parse(b"low -1\noom_kill 2\n").unwrap();
        assert_eq!((events.low, events.oom_kill, events.oom), (None, Some(2), None));
        assert!(events.odd.is_some());
    }
}
