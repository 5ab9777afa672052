//! The samples since the start, within bounds.

use std::collections::VecDeque;

use super::figure::RowFigure;
use super::sample::TopSample;

/// The most samples that are kept: 20 minutes of one each 2 s.
pub const SAMPLES_MAX: usize = 600;

/// The most bytes of them. A sample has about 90 for each row, so 600 samples of 900 rows fit.
pub const BYTES_MAX: usize = 48 << 20;

/// The samples, oldest first. Each has a number that stays.
#[derive(Debug, Default)]
pub struct SampleHistory {
    samples: VecDeque<TopSample>,
    /// Samples that were dropped: the number of the oldest one.
    dropped: u64,
    bytes: usize,
}

impl SampleHistory {
    /// Adds the newest sample, and drops the oldest beyond the bounds.
    pub fn push(&mut self, sample: TopSample) {
        self.bytes += sample.size();
        self.samples.push_back(sample);
        while self.samples.len() > SAMPLES_MAX || self.bytes > BYTES_MAX && self.samples.len() > 1 {
            let Some(oldest) = self.samples.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.size());
            self.dropped += 1;
        }
    }

    /// The number of the newest sample; `None`: there is none.
    pub fn newest(&self) -> Option<u64> {
        Some(self.dropped + self.samples.len().checked_sub(1)? as u64)
    }

    /// The number of the oldest sample that is kept.
    pub fn oldest(&self) -> u64 {
        self.dropped
    }

    pub fn get(&self, number: u64) -> Option<&TopSample> {
        self.samples.get(usize::try_from(number.checked_sub(self.dropped)?).ok()?)
    }

    /// A figure of the row in the last `count` samples up to `number`, oldest first. `None` where it was
    /// not there or its figure is not known.
    pub fn figures(
        &self,
        key: &str,
        figure: RowFigure,
        number: u64,
        count: usize,
    ) -> Vec<Option<u64>> {
        let end = usize::try_from(number.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        let end = end.saturating_add(1).min(self.samples.len());
        let samples = self.samples.range(end.saturating_sub(count)..end);
        samples.map(|sample| sample.row(key)?.figures.get(figure)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::{LINES, sample};
    use super::*;

    #[test]
    fn the_oldest_are_dropped_and_the_others_keep_their_numbers() {
        let mut history = SampleHistory::default();
        assert_eq!(history.newest(), None);
        for number in 0..SAMPLES_MAX + 5 {
            let mut sample = TopSample::default();
            sample.node.cpus = Some(number as u64);
            history.push(sample);
        }
        assert_eq!((history.oldest(), history.newest()), (5, Some(604)));
        assert_eq!(history.get(5).unwrap().node.cpus, Some(5));
        assert!(history.get(4).is_none() && history.get(605).is_none());
    }

    #[test]
    fn large_samples_are_held_within_the_bytes() {
        let mut history = SampleHistory::default();
        let rows = sample(LINES).rows;
        let large = || {
            let mut large = TopSample::default();
            large.rows = rows.iter().cycle().take(100_000).cloned().collect();
            large
        };
        for _ in 0..20 {
            history.push(large());
        }
        let kept = history.newest().unwrap() - history.oldest() + 1;
        assert!((2..20).contains(&kept), "{kept}");
        assert!(history.bytes <= BYTES_MAX);
    }

    #[test]
    fn the_figures_of_a_row_end_at_the_sample_that_is_looked_at() {
        let mut history = SampleHistory::default();
        for cpu in ["1500", "1600", "1700"] {
            let text =
                LINES.replace("\"cpu_millicores\":1500", &format!("\"cpu_millicores\":{cpu}"));
            history.push(sample(&text));
        }
        history.push(TopSample::default());
        let cpu = |number, count| history.figures("pod aa", RowFigure::Cpu, number, count);
        assert_eq!(cpu(3, 10), [Some(1500), Some(1600), Some(1700), None]);
        assert_eq!(cpu(1, 10), [Some(1500), Some(1600)]);
        assert_eq!(cpu(2, 2), [Some(1600), Some(1700)]);
    }
}
