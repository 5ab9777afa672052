//! When to try again: exponential backoff with full jitter, so that a thousand nodes whose server
//! comes back do not come back to it in the same instant.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Backoff {
    base: Duration,
    max: Duration,
    failures: u32,
    random: SplitMix64,
}

impl Backoff {
    pub(super) fn new(base: Duration, max: Duration, seed: u64) -> Self {
        Self { base, max, failures: 0, random: SplitMix64(seed) }
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The time to wait after one more failure: anything from nothing to `base * 2^failures`, at
    /// most `max`.
    pub(super) fn after_failure(&mut self) -> Duration {
        let ceiling = self.base.saturating_mul(1 << self.failures.min(30)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        self.up_to(ceiling)
    }

    /// A short random time on top of one the endpoint asked for.
    pub(super) fn jitter(&mut self) -> Duration {
        self.up_to(self.base)
    }

    fn up_to(&mut self, ceiling: Duration) -> Duration {
        // The top 53 bits as a fraction in [0, 1).
        let fraction = (self.random.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ceiling.mul_f64(fraction)
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014). It spreads retries; nothing secret hangs on it.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_sequence() {
        // The first outputs for seed 1234567, as the reference implementation's tests list them.
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn waits_grow_up_to_the_cap_and_fall_back_after_a_success() {
        let (base, max) = (Duration::from_millis(500), Duration::from_secs(60));
        let mut backoff = Backoff::new(base, max, 7);
        let mut longest = Duration::ZERO;
        for failures in 0..200_u32 {
            let wait = backoff.after_failure();
            let ceiling = base * (1 << failures.min(7));
            assert!(wait < ceiling.min(max), "after {failures} failures: {wait:?}");
            longest = longest.max(wait);
        }
        assert!(longest > Duration::from_secs(50), "full jitter reaches near the cap: {longest:?}");
        backoff.reset();
        assert!(backoff.after_failure() < base);
    }

    #[test]
    fn two_seeds_do_not_wait_in_step() {
        let waits = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), seed);
            (0..4).map(|_| backoff.after_failure()).collect::<Vec<_>>()
        };
        assert_ne!(waits(1), waits(2));
    }
}
