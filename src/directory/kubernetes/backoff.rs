//! When to ask again: what the server asks for, else an exponential backoff, both with jitter, so
//! that a thousand nodes do not come back to a server in the same instant.

use std::time::Duration;

use fastrand::Rng;

/// The longest wait that a server is granted.
const ASKED_MAX: Duration = Duration::from_secs(300);

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

    /// The wait after one more failure: from half to all of `base * 2^failures`, at most `max`;
    /// where the server asked for a wait, that and up to `base` more.
    pub(super) fn after_failure(&mut self, asked: Option<Duration>) -> Duration {
        let ceiling = self.base.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        match asked {
            Some(asked) => asked.min(ASKED_MAX) + self.base.mul_f64(self.random.f64()),
            None => ceiling.mul_f64(0.5 + self.random.f64() / 2.0),
        }
    }

    /// From `of` to a fifth more.
    pub(super) fn spread(&mut self, of: u32) -> u32 {
        let more = f64::from(of) * 0.2 * self.random.f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "less than a fifth of what is an u32"
        )]
        of.saturating_add(more as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_what_a_server_asks_for_is_capped_too() {
        let (base, max) = (Duration::from_millis(500), Duration::from_secs(60));
        let mut backoff = Backoff::new(base, max, 7);
        for failures in 0..100_u32 {
            let ceiling = (base * (1 << failures.min(7))).min(max);
            let wait = backoff.after_failure(None);
            assert!(wait >= ceiling / 2 && wait < ceiling, "after {failures}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.after_failure(None) < base);
        let asked = backoff.after_failure(Some(Duration::from_secs(3)));
        assert!(asked >= Duration::from_secs(3) && asked < Duration::from_secs(3) + base);
        let years = backoff.after_failure(Some(Duration::from_secs(1 << 40)));
        assert!(years < ASKED_MAX + base);
        let spread: Vec<u32> = (0..50).map(|_| backoff.spread(290)).collect();
        assert!(spread.iter().all(|seconds| (290..348).contains(seconds)));
        assert!(spread.iter().any(|seconds| *seconds != spread[0]));
    }
}
