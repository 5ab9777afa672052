//! The sum of many pods over time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::point::{Point, add_all};
use super::port::SumKey;
use crate::payload::resource_api::UsageValues;
use crate::quantity::WallTime;

/// The most intervals of one sum.
const BINS_MAX: u64 = 20_000;

/// The sum of pods that push at different moments, for every interval in which any of them pushed.
///
/// Time is cut into intervals of the wall clock, so that two requests cut alike. An interval is
/// stamped with its latest push. CPU and memory are the sum of each pod's last push up to the
/// interval's end, held for `hold`: a pod that pushes a little late leaves no dent. Bytes of disk and
/// network are the sum of the deltas pushed within the interval. Each push counts once, whatever its
/// jitter, so that the series adds up to what the pods moved. The newest interval is still filling.
#[derive(Debug)]
pub(in crate::receiver) struct Sums {
    since: WallTime,
    step_millis: u64,
    hold_millis: u64,
    /// The number of the first interval.
    first: u64,
    bins: Vec<Bin>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    /// The latest push; `None`: nobody pushed.
    at: Option<WallTime>,
    usage: UsageValues,
}

impl Sums {
    /// The sums from `since` to `until`, in intervals of `step`; longer ones where they were more than
    /// `bins_max`.
    pub(in crate::receiver) fn new(
        since: WallTime,
        until: WallTime,
        step: Duration,
        hold: Duration,
        bins_max: u64,
    ) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let length = until.as_unix_millis().saturating_sub(since.as_unix_millis());
        let step = millis(step).max(1);
        // A multiple, so that an interval never has more pushes of one pod than of another.
        let bins_max = bins_max.clamp(1, BINS_MAX);
        let step_millis = step.saturating_mul((length / step / bins_max) + 1);
        let first = since.as_unix_millis() / step_millis;
        let last = until.as_unix_millis() / step_millis;
        let count = last.saturating_sub(first).saturating_add(1).min(BINS_MAX + 2);
        let bins = vec![Bin::default(); usize::try_from(count).unwrap_or(0)];
        Self { since, step_millis, hold_millis: millis(hold), first, bins }
    }

    /// The time from which on [`Self::add`] wants points: the first interval's begin, less the time
    /// for which a push is held.
    pub(in crate::receiver) fn wants_from(&self) -> WallTime {
        let begin = self.first.saturating_mul(self.step_millis);
        WallTime::from_unix_millis(begin.saturating_sub(self.hold_millis))
    }

    /// Adds the points of one pod, which are ordered by time.
    pub(in crate::receiver) fn add(&mut self, points: &[Point]) {
        for (at, point) in points.iter().enumerate() {
            let millis = point.at.as_unix_millis();
            let bin = millis / self.step_millis;
            if let Some(of_push) = self.bin(bin) {
                of_push.at = of_push.at.max(Some(point.at));
                let moved = UsageValues { cpu_millicores: 0, memory_bytes: 0, ..point.usage };
                add_all(&mut of_push.usage, &moved);
            }
            // It is the pod's last push of each interval up to the one of the next push.
            let next = points.get(at + 1).map(|next| next.at.as_unix_millis() / self.step_millis);
            let held_until = millis.saturating_add(self.hold_millis) / self.step_millis;
            let end = next.unwrap_or(u64::MAX).min(held_until.saturating_add(1));
            let UsageValues { cpu_millicores, memory_bytes, .. } = point.usage;
            let state = UsageValues { cpu_millicores, memory_bytes, ..UsageValues::default() };
            for held in bin.max(self.first)..end.min(self.first + self.bins.len() as u64) {
                if let Some(bin) = self.bin(held) {
                    add_all(&mut bin.usage, &state);
                }
            }
        }
    }

    fn bin(&mut self, number: u64) -> Option<&mut Bin> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.bins.get_mut(at)
    }

    /// The sums, by time.
    pub(in crate::receiver) fn finish(self) -> Vec<Point> {
        let since = self.since;
        let pushed = self.bins.into_iter().filter_map(|bin| Some((bin.at?, bin.usage)));
        pushed.filter(|(at, _)| *at >= since).map(|(at, usage)| Point::of_push(at, usage)).collect()
    }
}

/// The most points of the sums of one answer, and the fewest that each sum may have.
const POINTS_OF_SUMS_MAX: u64 = 400_000;
const BINS_MIN: u64 = 100;

/// The pods of each sum of an answer. One sum is in memory at a time, and its points until the answer
/// is made.
pub(in crate::receiver) struct SumParts(Vec<(SumKey, Vec<i64>)>);

impl SumParts {
    /// `pods`: the sum and the number of each.
    pub(in crate::receiver) fn of(pods: Vec<(SumKey, i64)>) -> Self {
        let mut parts: BTreeMap<SumKey, Vec<i64>> = BTreeMap::new();
        for (of, pod) in pods {
            parts.entry(of).or_default().push(pod);
        }
        Self(parts.into_iter().collect())
    }

    pub(in crate::receiver) fn iter(&self) -> impl Iterator<Item = (SumKey, &[i64])> {
        self.0.iter().map(|(of, pods)| (of.clone(), pods.as_slice()))
    }

    /// The most intervals of each sum.
    pub(in crate::receiver) fn bins_max(&self) -> u64 {
        (POINTS_OF_SUMS_MAX / self.0.len().max(1) as u64).max(BINS_MIN)
    }
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
        Point::of_push(at(seconds), usage)
    }

    fn sum(pods: &[&[Point]], since: u64) -> Vec<Point> {
        let (step, hold) = (Duration::from_secs(15), Duration::from_secs(60));
        let mut sums = Sums::new(at(since), at(400), step, hold, BINS_MAX);
        for pod in pods {
            sums.add(pod);
        }
        sums.finish()
    }

    #[test]
    fn pods_that_push_at_different_moments_add_up_within_the_interval() {
        let pods: [&[Point]; 2] =
            [&[point(1, 100, 10), point(16, 110, 20)], &[point(7, 200, 1), point(22, 210, 2)]];
        assert_eq!(sum(&pods, 0), [point(7, 300, 11), point(22, 320, 22)]);
    }

    #[test]
    fn a_late_push_leaves_no_dent_and_no_byte_counts_twice() {
        // The second push slips from 29 s to 31 s, so the interval 15..30 has none of this pod,
        // and 30..45 has two.
        let pods: [&[Point]; 2] = [
            &[point(14, 100, 10), point(31, 110, 20), point(44, 120, 30)],
            &[point(2, 1, 0), point(17, 1, 0), point(32, 1, 0)],
        ];
        assert_eq!(sum(&pods, 0), [point(14, 101, 10), point(17, 101, 0), point(44, 121, 50)]);
    }

    #[test]
    fn a_pod_that_is_gone_leaves_the_sum_after_the_hold() {
        let pods: [&[Point]; 2] =
            [&[point(0, 100, 5)], &[point(0, 1, 0), point(60, 1, 0), point(75, 1, 0)]];
        assert_eq!(sum(&pods, 0), [point(0, 101, 5), point(60, 101, 0), point(75, 1, 0)]);
    }

    #[test]
    fn the_windows_edge_cuts_points_and_not_what_is_held_before_it() {
        let pods: [&[Point]; 2] =
            [&[point(1, 100, 10), point(44, 110, 20)], &[point(20, 7, 1), point(35, 7, 1)]];
        assert_eq!(sum(&pods, 30), [point(44, 117, 21)]);
        assert_eq!(sum(&pods, 20), [point(20, 107, 1), point(44, 117, 21)]);
    }

    #[test]
    fn a_long_window_has_longer_intervals_and_never_too_many() {
        let day = Duration::from_secs(86_400);
        for (until, step) in [(u64::MAX, Duration::from_millis(1)), (90 * 86_400_000, day / 5760)] {
            let until = WallTime::from_unix_millis(until);
            let sums = Sums::new(at(0), until, step, Duration::from_secs(60), BINS_MAX);
            assert!(sums.bins.len() as u64 <= BINS_MAX + 2, "{}", sums.bins.len());
        }
    }

    proptest::proptest! {
        #[test]
        fn the_deltas_of_the_sum_are_the_deltas_pushed(
            pods in proptest::collection::vec(
                proptest::collection::vec((0_u64..300, 0_u64..1000), 1..20), 1..6),
        ) {
            let mut pushed = 0;
            let pods: Vec<Vec<Point>> = pods.into_iter().map(|mut points| {
                points.sort_unstable();
                pushed += points.iter().map(|(_, read)| read).sum::<u64>();
                points.iter().map(|(seconds, read)| point(*seconds, 1, *read)).collect()
            }).collect();
            let pods: Vec<&[Point]> = pods.iter().map(Vec::as_slice).collect();
            let summed = sum(&pods, 0);
            proptest::prop_assert_eq!(
                summed.iter().map(|point| point.usage.read_bytes).sum::<u64>(), pushed);
            proptest::prop_assert!(summed.is_sorted_by_key(|point| point.at));
        }
    }
}
