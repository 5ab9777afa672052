//! When to retry: the wait that a server asks for in the headers of its answer, and an exponential
//! backoff with jitter.

use std::time::Duration;

use fastrand::Rng;
use hyper::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::quantity::WallTime;

/// A reset of less than this is a number of seconds from now, a larger one is the time itself in
/// seconds since 1970: both are sent under the same name.
const DELTA_MAX_SECONDS: u64 = 365 * 24 * 60 * 60;

/// The waits between retries: they double with each failure up to a maximum, and are random, so
/// that a thousand nodes whose server comes back do not return to it in the same instant.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    max: Duration,
    /// The part of each wait that is not random, from 0 to 1.
    fixed_share: f64,
    failures: u32,
    random: Rng,
}

impl Backoff {
    /// Waits from nothing to all of `base * 2^failures`, at most `max`.
    pub(crate) fn full_jitter(base: Duration, max: Duration, seed: u64) -> Self {
        Self { base, max, fixed_share: 0.0, failures: 0, random: Rng::with_seed(seed) }
    }

    /// Waits from half to all of `base * 2^failures`, at most `max`.
    pub(crate) fn equal_jitter(base: Duration, max: Duration, seed: u64) -> Self {
        Self { fixed_share: 0.5, ..Self::full_jitter(base, max, seed) }
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure.
    pub(crate) fn after_failure(&mut self) -> Duration {
        let ceiling = self.base.saturating_mul(1 << self.failures.min(30)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        self.between(ceiling.mul_f64(self.fixed_share), ceiling)
    }

    /// A wait that the server asked for, and up to `base` more.
    pub(crate) fn with_jitter(&mut self, asked: Duration) -> Duration {
        self.between(asked, asked.saturating_add(self.base))
    }

    /// A random time, `least` and all below `most`.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.random.f64())
    }
}

/// The wait that `Retry-After` asks for, in seconds or as a date; else that of [`rate_limit_wait`].
/// `None`: the server asks for none. It may be of any length: the caller caps it.
///
/// A date is compared with the answer's own `Date`, the server's clock, and with `now` where there
/// is none.
pub(crate) fn asked_wait(headers: &HeaderMap, now: WallTime) -> Option<Duration> {
    if let Some(after) = text(headers, RETRY_AFTER.as_str()) {
        if let Some(seconds) = digits(after) {
            return Some(Duration::from_secs(seconds));
        }
        if let Some(date) = date(after) {
            return Some(until(date, headers, now));
        }
    }
    rate_limit_wait(headers, now)
}

/// The wait until `X-RateLimit-Reset`, where `X-RateLimit-Remaining` is 0; the same for the names
/// without `X-`. An answer to a request that was served may have it too.
pub(crate) fn rate_limit_wait(headers: &HeaderMap, now: WallTime) -> Option<Duration> {
    [("x-ratelimit-remaining", "x-ratelimit-reset"), ("ratelimit-remaining", "ratelimit-reset")]
        .into_iter()
        .find_map(|(remaining, reset)| {
            let none_left = leading_number(text(headers, remaining)?) == Some(0);
            let reset = leading_number(text(headers, reset).filter(|_| none_left)?)?;
            Some(if reset < DELTA_MAX_SECONDS {
                Duration::from_secs(reset)
            } else {
                until(reset, headers, now)
            })
        })
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A number of any length. One that 64 bits do not hold becomes the largest.
fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The first number of a list with parameters: `0, 0;w=60`.
fn leading_number(text: &str) -> Option<u64> {
    digits(text.split([',', ';']).next()?.trim())
}

/// An HTTP date in seconds since 1970.
fn date(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

/// The wait until a time in seconds since 1970.
fn until(seconds: u64, headers: &HeaderMap, now: WallTime) -> Duration {
    let date_of_answer =
        text(headers, DATE.as_str()).and_then(date).map(|date| date.saturating_mul(1000));
    let now = date_of_answer.unwrap_or_else(|| now.as_unix_millis());
    Duration::from_millis(seconds.saturating_mul(1000).saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_header_makes_a_wait_panic(
            values in prop::collection::vec(
                prop_oneof![
                    "[0-9]{0,21}",
                    "[0-9]{0,21}[,;] ?[0-9]{1,2}(;w=60)?",
                    "\\PC{0,40}",
                    "[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9:]{8} GMT",
                ],
                4,
            ),
            now_ms: u64,
        ) {
            let mut headers = HeaderMap::new();
            let names = ["retry-after", "x-ratelimit-remaining", "x-ratelimit-reset", "date"];
            for (name, value) in names.into_iter().zip(values) {
                let name = hyper::header::HeaderName::from_static(name);
                let value = hyper::header::HeaderValue::from_str(&value).ok();
                headers.extend(value.map(|value| (name, value)));
            }
            // A server may ask for any time; the caller caps it.
            let _ = asked_wait(&headers, WallTime::from_unix_millis(now_ms));
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (name.parse::<hyper::header::HeaderName>().unwrap(), value.parse().unwrap())
        });
        pairs.collect()
    }

    /// 2026-11-20T17:19:26Z
    const NOW: WallTime = WallTime::from_unix_millis(1_795_195_166_000);

    fn asked(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        asked_wait(&headers(pairs), NOW)
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn a_server_asks_for_a_wait_in_three_ways() {
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
    fn a_reset_is_a_time_or_a_number_of_seconds_from_now() {
        let none_left = ("x-ratelimit-remaining", "0");
        assert_eq!(asked(&[none_left, ("x-ratelimit-reset", "45")]), seconds(45));
        assert_eq!(asked(&[none_left, ("x-ratelimit-reset", "0")]), seconds(0));
        assert_eq!(asked(&[none_left, ("x-ratelimit-reset", "1795195166")]), seconds(0));
        assert_eq!(asked(&[none_left, ("x-ratelimit-reset", "31536000")]), seconds(0));
        assert_eq!(asked(&[none_left, ("x-ratelimit-reset", "soon")]), None);
        let unprefixed = ("ratelimit-remaining", "0");
        assert_eq!(asked(&[unprefixed, ("ratelimit-reset", "9")]), seconds(9));
        // The two spellings are not mixed.
        assert_eq!(asked(&[none_left, ("ratelimit-reset", "9")]), None);
    }

    #[test]
    fn a_number_that_is_too_large_is_a_long_wait_and_not_none() {
        let endless = "99999999999999999999";
        let hour = Duration::from_secs(3600);
        assert!(asked(&[("retry-after", endless)]).unwrap() > hour);
        let none_left = ("x-ratelimit-remaining", "0");
        assert!(asked(&[none_left, ("x-ratelimit-reset", endless)]).unwrap() > hour);
        assert_eq!(asked(&[("retry-after", "+7")]), None);
        assert_eq!(asked(&[("retry-after", "")]), None);
    }

    #[test]
    fn a_time_is_held_against_the_servers_own_clock() {
        // This node is ten minutes behind.
        let date = ("date", "Fri, 20 Nov 2026 17:29:26 GMT");
        assert_eq!(asked(&[date, ("retry-after", "Fri, 20 Nov 2026 17:29:27 GMT")]), seconds(1));
        let none_left = ("x-ratelimit-remaining", "0");
        assert_eq!(asked(&[date, none_left, ("x-ratelimit-reset", "1795195767")]), seconds(1));
        assert_eq!(asked(&[date, none_left, ("x-ratelimit-reset", "45")]), seconds(45));
        assert_eq!(asked(&[date, ("retry-after", "7")]), seconds(7));
        // One that says nothing changes nothing.
        let reset = ("x-ratelimit-reset", "1795195196");
        assert_eq!(asked(&[("date", "today"), none_left, reset]), seconds(30));
    }

    #[test]
    fn of_several_quotas_the_first_counts() {
        let none_left = ("ratelimit-remaining", "0, 0;w=60");
        assert_eq!(asked(&[none_left, ("ratelimit-reset", "9, 9;w=60")]), seconds(9));
        assert_eq!(asked(&[none_left, ("ratelimit-reset", "9;w=60")]), seconds(9));
        assert_eq!(asked(&[("ratelimit-remaining", "3, 0;w=60"), ("ratelimit-reset", "9")]), None);
        for nonsense in [",0", ";w=60", "-1", "1.5", "0x9"] {
            assert_eq!(asked(&[none_left, ("ratelimit-reset", nonsense)]), None, "{nonsense}");
        }
    }

    #[test]
    fn waits_grow_up_to_the_cap_and_fall_back_after_a_success() {
        let (base, max) = (Duration::from_millis(500), Duration::from_secs(60));
        let mut full = Backoff::full_jitter(base, max, 7);
        let mut equal = Backoff::equal_jitter(base, max, 7);
        let mut longest = Duration::ZERO;
        for failures in 0..200_u32 {
            let ceiling = (base * (1 << failures.min(7))).min(max);
            let wait = full.after_failure();
            assert!(wait < ceiling, "after {failures} failures: {wait:?}");
            longest = longest.max(wait);
            let wait = equal.after_failure();
            assert!(wait >= ceiling / 2 && wait < ceiling, "after {failures} failures: {wait:?}");
        }
        assert!(longest > Duration::from_secs(50), "full jitter reaches near the cap: {longest:?}");
        for mut backoff in [full, equal] {
            backoff.reset();
            assert!(backoff.after_failure() < base);
        }
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept_and_spread() {
        let base = Duration::from_millis(500);
        let mut backoff = Backoff::equal_jitter(base, Duration::from_secs(60), 7);
        let asked = Duration::from_secs(3);
        let waits: Vec<Duration> = (0..50).map(|_| backoff.with_jitter(asked)).collect();
        assert!(waits.iter().all(|wait| *wait >= asked && *wait < asked + base));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
        assert_eq!(backoff.between(asked, asked), asked);
    }

    #[test]
    fn two_seeds_do_not_wait_in_step() {
        let waits = |seed| {
            let (base, max) = (Duration::from_secs(1), Duration::from_secs(60));
            let mut backoff = Backoff::full_jitter(base, max, seed);
            (0..4).map(|_| backoff.after_failure()).collect::<Vec<_>>()
        };
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn after_what_was_served_only_the_rate_limit_counts() {
        let pairs = [("retry-after", "7"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "9")];
        assert_eq!(rate_limit_wait(&headers(&pairs), NOW), seconds(9));
        assert_eq!(rate_limit_wait(&headers(&pairs[..1]), NOW), None);
    }
}
