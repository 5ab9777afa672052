//! When to ask again: what the server asks for, else an exponential backoff, both with jitter, so
//! that a thousand nodes do not come back to a server in the same instant.

use std::time::Duration;

use fastrand::Rng;
use hyper::header::{HeaderMap, RETRY_AFTER};

use crate::quantity::WallTime;

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

/// How long the server wants to be left alone: `Retry-After`, in seconds or as a date; else until
/// `X-RateLimit-Reset`, in seconds since 1970, where `X-RateLimit-Remaining` is 0.
pub(super) fn asked_wait(headers: &HeaderMap, now: WallTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let until = |seconds: u64| {
        let then = seconds.saturating_mul(1000);
        Duration::from_millis(then.saturating_sub(now.as_unix_millis()))
    };
    if let Some(after) = text(RETRY_AFTER.as_str()) {
        if let Ok(seconds) = after.parse() {
            return Some(Duration::from_secs(seconds));
        }
        if let Ok(date) = httpdate::parse_http_date(after) {
            return date.duration_since(std::time::UNIX_EPOCH).ok().map(|at| until(at.as_secs()));
        }
    }
    let none_left = text("x-ratelimit-remaining")?.parse() == Ok(0_u64);
    text("x-ratelimit-reset").filter(|_| none_left)?.parse().ok().map(until)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_header_makes_a_wait_panic_or_longer_than_is_granted(
            values in prop::collection::vec(
                prop_oneof![
                    "[0-9]{0,21}",
                    "\\PC{0,40}",
                    "[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9:]{8} GMT",
                ],
                3,
            ),
            now_ms: u64,
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in
                ["retry-after", "x-ratelimit-remaining", "x-ratelimit-reset"].into_iter().zip(values)
            {
                headers.extend(HeaderValue::from_str(&value).ok().map(|value| {
                    (hyper::header::HeaderName::from_static(name), value)
                }));
            }
            let asked = asked_wait(&headers, WallTime::from_unix_millis(now_ms));
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), now_ms);
            prop_assert!(backoff.after_failure(asked) <= ASKED_MAX + Duration::from_secs(1));
        }
    }

    fn asked(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let pairs = pairs.iter().map(|(name, value)| {
            (name.parse::<hyper::header::HeaderName>().unwrap(), value.parse().unwrap())
        });
        // 2026-11-20T17:19:26Z
        asked_wait(&pairs.collect(), WallTime::from_unix_millis(1_795_195_166_000))
    }

    #[test]
    fn a_server_asks_for_a_wait_in_three_ways() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(asked(&[("retry-after", "7")]), seconds(7));
        assert_eq!(asked(&[("retry-after", "Fri, 20 Nov 2026 17:19:36 GMT")]), seconds(10));
        assert_eq!(asked(&[("retry-after", "Fri, 20 Nov 2026 17:00:00 GMT")]), seconds(0));
        let reset = ("x-ratelimit-reset", "1795195196");
        assert_eq!(asked(&[("x-ratelimit-remaining", "0"), reset]), seconds(30));
        assert_eq!(asked(&[("x-ratelimit-remaining", "3"), reset]), None);
        assert_eq!(asked(&[reset]), None);
        // What comes first counts, and what is nonsense does not.
        assert_eq!(
            asked(&[("retry-after", "2"), ("x-ratelimit-remaining", "0"), reset]),
            seconds(2)
        );
        assert_eq!(
            asked(&[("retry-after", "soon"), ("x-ratelimit-remaining", "0"), reset]),
            seconds(30)
        );
        assert_eq!(asked(&[("retry-after", "-1")]), None);
        assert_eq!(asked(&[]), None);
    }

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
