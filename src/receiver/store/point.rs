//! One push of a node or pod, and the mean of many.

use std::time::Duration;

use crate::payload::resource_api::UsageValues;
use crate::quantity::WallTime;

/// The usage of one push, or of all pushes of a minute or hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::receiver) struct Point {
    /// The time of the push, or of the last of them.
    pub(in crate::receiver) at: WallTime,
    /// CPU and memory are means of the pushes, bytes of disk and network their sums.
    pub(in crate::receiver) usage: UsageValues,
    pub(in crate::receiver) peak: Peak,
}

/// The largest values among the pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::receiver) struct Peak {
    pub(in crate::receiver) cpu_millicores: u64,
    pub(in crate::receiver) memory_bytes: u64,
}

impl Peak {
    pub(in crate::receiver) fn of(usage: &UsageValues) -> Self {
        Self { cpu_millicores: usage.cpu_millicores, memory_bytes: usage.memory_bytes }
    }

    pub(in crate::receiver) fn larger(self, other: Self) -> Self {
        Self {
            cpu_millicores: self.cpu_millicores.max(other.cpu_millicores),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
        }
    }
}

impl Point {
    /// CPU and memory of the peak; `None` of a single push, whose peak is itself.
    pub(in crate::receiver) fn own_peak(&self) -> Option<(u64, u64)> {
        let Peak { cpu_millicores, memory_bytes } = self.peak;
        (self.peak != Peak::of(&self.usage)).then_some((cpu_millicores, memory_bytes))
    }

    /// A single push.
    pub(in crate::receiver) fn of_push(at: WallTime, usage: UsageValues) -> Self {
        Self { at, usage, peak: Peak::of(&usage) }
    }
}

/// The points of each interval of `step_millis` of the wall clock as one point. `points` are ordered
/// by time.
pub(in crate::receiver) fn merged(points: &[Point], step_millis: u64) -> Vec<Point> {
    let bin = |point: &Point| point.at.as_unix_millis() / step_millis.max(1);
    points.chunk_by(|a, b| bin(a) == bin(b)).filter_map(mean).collect()
}

/// The points of each step as one; as they are without a step.
pub(in crate::receiver) fn stepped(points: Vec<Point>, step: Option<Duration>) -> Vec<Point> {
    match step {
        None => points,
        Some(step) => merged(&points, u64::try_from(step.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// All of `points` as one; `None` where there are none.
fn mean(points: &[Point]) -> Option<Point> {
    let (first, rest) = points.split_first()?;
    if rest.is_empty() {
        return Some(*first);
    }
    let count = points.len() as u128;
    let mean_of = |value: fn(&UsageValues) -> u64| {
        let sum: u128 = points.iter().map(|point| u128::from(value(&point.usage))).sum();
        // The mean of 64-bit values is one.
        u64::try_from((sum + count / 2) / count).unwrap_or(u64::MAX)
    };
    let mut merged = *first;
    for point in rest {
        merged.at = merged.at.max(point.at);
        merged.peak = merged.peak.larger(point.peak);
        add_all(&mut merged.usage, &point.usage);
    }
    merged.usage.cpu_millicores = mean_of(|usage| usage.cpu_millicores);
    merged.usage.memory_bytes = mean_of(|usage| usage.memory_bytes);
    Some(merged)
}

/// Adds `more` to `to`, value by value.
pub(in crate::receiver) fn add_all(to: &mut UsageValues, more: &UsageValues) {
    to.cpu_millicores = to.cpu_millicores.saturating_add(more.cpu_millicores);
    to.memory_bytes = to.memory_bytes.saturating_add(more.memory_bytes);
    to.read_bytes = to.read_bytes.saturating_add(more.read_bytes);
    to.write_bytes = to.write_bytes.saturating_add(more.write_bytes);
    to.sent_bytes = to.sent_bytes.saturating_add(more.sent_bytes);
    to.recv_bytes = to.recv_bytes.saturating_add(more.recv_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(seconds: u64, cpu: u64, read: u64) -> Point {
        let usage = UsageValues { cpu_millicores: cpu, read_bytes: read, ..UsageValues::default() };
        Point::of_push(WallTime::from_unix_millis(seconds * 1000), usage)
    }

    #[test]
    fn a_minute_has_the_mean_the_sum_and_the_peak_of_its_pushes() {
        let points = [point(0, 100, 1), point(15, 200, 2), point(59, 601, 4), point(60, 7, 8)];
        let merged = merged(&points, 60_000);
        assert_eq!(merged.len(), 2);
        assert_eq!(merged[0].at, points[2].at);
        assert_eq!((merged[0].usage.cpu_millicores, merged[0].usage.read_bytes), (300, 7));
        assert_eq!(merged[0].peak.cpu_millicores, 601);
        assert_eq!(merged[1], points[3]);
    }

    #[test]
    fn values_of_any_size_are_merged() {
        let merged = merged(&[point(0, u64::MAX, u64::MAX), point(1, u64::MAX, 1)], 60_000);
        assert_eq!(merged[0].usage.cpu_millicores, u64::MAX);
        assert_eq!(merged[0].usage.read_bytes, u64::MAX);
    }
}
