//! How long a server wants to be left alone, as the headers of its answer say it.

use std::time::Duration;

use hyper::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::quantity::WallTime;

/// A reset of less than this is a number of seconds from now, a larger one is the time itself in
/// seconds since 1970: both are sent under the same name.
const DELTA_MAX_SECONDS: u64 = 365 * 24 * 60 * 60;

/// `Retry-After`, in seconds or as a date; else the wait of [`rate_limit_wait`]. `None`: the server
/// asks for none. It may be of any length.
///
/// A time is held against the answer's own `Date`, since the server's clock is what it goes by, and
/// against `now` where there is none.
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

/// Until `X-RateLimit-Reset`, where `X-RateLimit-Remaining` is 0; the same of the names without
/// `X-`. It may stand in the answer to a request that was served.
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

/// A number of any length; what 64 bits do not hold is as good as for ever.
fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The first of what may be several, each with parameters: `0, 0;w=60`.
fn leading_number(text: &str) -> Option<u64> {
    digits(text.split([',', ';']).next()?.trim())
}

/// In seconds since 1970.
fn date(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

/// Until a time in seconds since 1970.
fn until(seconds: u64, headers: &HeaderMap, now: WallTime) -> Duration {
    let told = text(headers, DATE.as_str()).and_then(date).map(|date| date.saturating_mul(1000));
    let now = told.unwrap_or_else(|| now.as_unix_millis());
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
            // A server may ask for any time; whoever waits bounds it.
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
    fn after_what_was_served_only_the_rate_limit_counts() {
        let pairs = [("retry-after", "7"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "9")];
        assert_eq!(rate_limit_wait(&headers(&pairs), NOW), seconds(9));
        assert_eq!(rate_limit_wait(&headers(&pairs[..1]), NOW), None);
    }
}
