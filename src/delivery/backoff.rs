//! When to try again: exponential backoff with full jitter, so that a thousand nodes whose server
//! comes back do not come back to it in the same instant.

use std::time::Duration;

use fastrand::Rng;

#[derive(Debug)]
pub(super) struct Backoff {
    base: Duration,
    max: Duration,
    failures: u32,
    random: Rng,
}

impl Backoff {
    pub(super) fn new(base: Duration, max: Duration, seed: u64) -> Self {
        Self { base, max, failures: 0, random: Rng::with_seed(seed) }
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
        ceiling.mul_f64(self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
