//! The past of one node or pod, and the sum of many pods over time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::payload::resource_api::UsageValues;
use crate::quantity::WallTime;

/// The usage of one push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) at: WallTime,
    pub(super) usage: UsageValues,
}

// The bounds on the number of points bound the memory only while a point keeps its size.
const _: () = assert!(size_of::<Point>() == 56);

/// The points of one node or pod, in the order of their arrival. Never empty.
#[derive(Debug)]
pub(super) struct Series {
    points: VecDeque<Point>,
    last: Point,
}

impl Series {
    pub(super) fn new(first: Point) -> Self {
        Self { points: VecDeque::from([first]), last: first }
    }

    /// Appends a point. Points older than `keep`, and the oldest beyond `points_max`, are removed.
    pub(super) fn push(&mut self, point: Point, keep: Duration, points_max: usize) {
        let since = point.at.minus(keep);
        while self.points.front().is_some_and(|oldest| oldest.at < since)
            || self.points.len() >= points_max.max(1)
        {
            self.points.pop_front();
        }
        self.points.push_back(point);
        self.last = point;
    }

    /// Replaces the newest point.
    pub(super) fn replace_last(&mut self, point: Point) {
        self.points.pop_back();
        self.points.push_back(point);
        self.last = point;
    }

    pub(super) fn last(&self) -> Point {
        self.last
    }

    /// The points from `since` on. They are filtered and not searched, since a clock that was set back
    /// leaves them out of order.
    pub(super) fn since(&self, since: WallTime) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.at >= since)
    }
}

/// The alignment of pods that push at different moments, so that they add up over time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alignment {
    /// The time between two pushes of one pod.
    pub(super) interval: Duration,
    /// The time for which a pod's last push counts.
    pub(super) hold: Duration,
}

/// The sum of all pods for every interval in which any of them pushed, from `since` on.
///
/// Time is cut into intervals of the wall clock, so that two requests cut alike. An interval is
/// stamped with its latest push. CPU and memory are the sum of each pod's last push at that
/// moment, held for `hold`: a pod that pushes a little late leaves no dent. Bytes of disk and
/// network are the sum of the deltas pushed within the interval. Each push counts once, whatever its
/// jitter, so that the series adds up to what the pods moved. The newest interval is still filling.
pub(super) fn sum<'a>(
    pods: impl Iterator<Item = &'a Series> + Clone,
    since: WallTime,
    how: Alignment,
) -> Vec<Point> {
    let interval_ms = u64::try_from(how.interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let bin = |at: WallTime| at.as_unix_millis() / interval_ms;
    let first = bin(since);
    let start = WallTime::from_unix_millis(first.saturating_mul(interval_ms));

    let mut sums: Vec<Point> = Vec::new();
    for point in pods.clone().flat_map(|pod| pod.since(start)) {
        sums.push(Point { at: point.at, usage: UsageValues::default() });
    }
    sums.sort_unstable_by_key(|point| std::cmp::Reverse(point.at));
    sums.dedup_by_key(|point| bin(point.at));
    sums.reverse();

    for pod in pods {
        add(pod, &mut sums, how, bin);
    }
    sums.retain(|point| point.at >= since);
    sums
}

/// Adds one pod to the intervals, which are ordered by time.
fn add(pod: &Series, sums: &mut [Point], how: Alignment, bin: impl Fn(WallTime) -> u64) {
    let mut points = pod.points.iter().peekable();
    let mut held: Option<&Point> = None;
    for sum in sums {
        let mut moved = UsageValues::default();
        while let Some(point) = points.next_if(|point| point.at <= sum.at) {
            held = Some(point);
            if bin(point.at) == bin(sum.at) {
                add_all(&mut moved, &point.usage);
            }
        }
        let Some(held) = held.filter(|held| held.at >= sum.at.minus(how.hold)) else { continue };
        let UsageValues { cpu_millicores, memory_bytes, .. } = held.usage;
        add_all(&mut sum.usage, &UsageValues { cpu_millicores, memory_bytes, ..moved });
    }
}

/// Adds `more` to `to`, value by value.
pub(super) fn add_all(to: &mut UsageValues, more: &UsageValues) {
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

    fn at(seconds: u64) -> WallTime {
        WallTime::from_unix_millis(seconds * 1000)
    }

    /// A pod's push: cpu, and as many bytes read.
    fn point(seconds: u64, cpu: u64, read: u64) -> Point {
        let usage = UsageValues { cpu_millicores: cpu, read_bytes: read, ..UsageValues::default() };
        Point { at: at(seconds), usage }
    }

    fn series(points: &[Point]) -> Series {
        let mut series = Series::new(points[0]);
        for point in &points[1..] {
            series.push(*point, Duration::from_secs(3600), 100);
        }
        series
    }

    const EVERY_15_S: Alignment =
        Alignment { interval: Duration::from_secs(15), hold: Duration::from_secs(60) };

    #[test]
    fn old_points_and_the_oldest_beyond_the_bound_go() {
        let mut series = Series::new(point(0, 0, 0));
        for second in 1..=10 {
            series.push(point(second, second, 0), Duration::from_secs(5), 100);
        }
        let kept: Vec<_> = series.since(at(0)).map(|point| point.usage.cpu_millicores).collect();
        assert_eq!(kept, [5, 6, 7, 8, 9, 10]);
        for second in 11..=14 {
            series.push(point(second, second, 0), Duration::from_secs(3600), 3);
        }
        assert_eq!(series.since(at(0)).count(), 3);
        assert_eq!(series.last(), point(14, 14, 0));
    }

    #[test]
    fn pods_that_push_at_different_moments_add_up_within_the_interval() {
        let pods = [
            series(&[point(1, 100, 10), point(16, 110, 20)]),
            series(&[point(7, 200, 1), point(22, 210, 2)]),
        ];
        assert_eq!(sum(pods.iter(), at(0), EVERY_15_S), [point(7, 300, 11), point(22, 320, 22)]);
    }

    #[test]
    fn a_late_push_leaves_no_dent_and_no_byte_counts_twice() {
        // The second push slips from 29 s to 31 s, so the interval 15..30 has none of this pod,
        // and 30..45 has two.
        let pods = [
            series(&[point(14, 100, 10), point(31, 110, 20), point(44, 120, 30)]),
            series(&[point(2, 1, 0), point(17, 1, 0), point(32, 1, 0)]),
        ];
        assert_eq!(
            sum(pods.iter(), at(0), EVERY_15_S),
            [point(14, 101, 10), point(17, 101, 0), point(44, 121, 50)]
        );
    }

    #[test]
    fn a_pod_that_is_gone_leaves_the_sum_after_the_hold() {
        let pods = [
            series(&[point(0, 100, 5)]),
            series(&[point(0, 1, 0), point(60, 1, 0), point(75, 1, 0)]),
        ];
        assert_eq!(
            sum(pods.iter(), at(0), EVERY_15_S),
            [point(0, 101, 5), point(60, 101, 0), point(75, 1, 0)]
        );
    }

    #[test]
    fn the_windows_edge_cuts_points_and_not_what_is_held_before_it() {
        let pods = [
            series(&[point(1, 100, 10), point(44, 110, 20)]),
            series(&[point(20, 7, 1), point(35, 7, 1)]),
        ];
        assert_eq!(sum(pods.iter(), at(30), EVERY_15_S), [point(44, 117, 21)]);
        assert_eq!(sum(pods.iter(), at(20), EVERY_15_S), [point(20, 107, 1), point(44, 117, 21)]);
    }

    proptest::proptest! {
        #[test]
        fn the_deltas_of_the_sum_are_the_deltas_pushed(
            pods in proptest::collection::vec(
                proptest::collection::vec((0_u64..300, 0_u64..1000), 1..20), 1..6),
        ) {
            let mut pushed = 0;
            let pods: Vec<Series> = pods.into_iter().map(|mut points| {
                points.sort_unstable();
                pushed += points.iter().map(|(_, read)| read).sum::<u64>();
                series(&points.iter().map(|(s, read)| point(*s, 1, *read)).collect::<Vec<_>>())
            }).collect();
            let summed = sum(pods.iter(), at(0), EVERY_15_S);
            proptest::prop_assert_eq!(
                summed.iter().map(|point| point.usage.read_bytes).sum::<u64>(), pushed);
            proptest::prop_assert!(summed.is_sorted_by_key(|point| point.at));
        }
    }
}
