//! `memory.events`: how often a cgroup met its memory limits, descendants included.

use crate::source::Malformed;
use crate::source::text::{figure, key_and_rest, lines};

/// Counters since the cgroup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEvents {
    pub low: u64,
    pub high: u64,
    pub max: u64,
    /// Allocations that were about to fail and called the OOM killer.
    pub oom: u64,
    /// Processes that the OOM killer killed.
    pub oom_kill: u64,
}

// low 0
// high 0
// max 12
// oom 1
// oom_kill 1
// oom_group_kill 0      since 5.17
pub fn parse(text: &[u8]) -> Result<MemoryEvents, Malformed> {
    let mut events = MemoryEvents::default();
    let mut seen = 0_u8;
    for line in lines(text)? {
        let (key, rest) =
            key_and_rest(line).ok_or(Malformed::expected("a key and a figure in each line"))?;
        let value = figure(rest).ok_or(Malformed::expected("a figure behind each key"))?;
        match key {
            b"low" => (events.low, seen) = (value, seen | 1),
            b"high" => (events.high, seen) = (value, seen | 2),
            b"max" => (events.max, seen) = (value, seen | 4),
            b"oom" => (events.oom, seen) = (value, seen | 8),
            b"oom_kill" => (events.oom_kill, seen) = (value, seen | 16),
            _ => {}
        }
    }
    if seen != 31 {
        return Err(Malformed::expected("low, high, max, oom and oom_kill"));
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    #[test]
    fn kills_are_told_from_calls() {
        let events = super::parse(b"low 0\nhigh 1\nmax 12\noom 3\noom_kill 2\n").unwrap();
        assert_eq!((events.high, events.max, events.oom, events.oom_kill), (1, 12, 3, 2));
        assert!(super::parse(b"low 0\n").is_err());
    }
}
