//! The query of a read: a namespace, and the span of a time series.
//!
//! Without parameters a list has the latest values. Each of these makes it a time series, and narrows it:
//!
//! | parameter | points |
//! |---|---|
//! | `window=<seconds>` | of the last seconds |
//! | `from=<seconds>` | from that moment on, in seconds since 1970 |
//! | `to=<seconds>` | up to that moment, in seconds since 1970 |
//! | `step=<seconds>` | those of each step of the wall clock are merged into one |
//!
//! A path that ends in `/timeseries` is one without any: it has the whole retention.

use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Query};
use axum::http::request::Parts;
use serde::Deserialize;

use super::answer::Refusal;
use super::state::ReceiverState;
use super::store::Span;
use crate::quantity::WallTime;

/// The end of a route whose answer is always a time series.
const TIMESERIES: &str = "/timeseries";

/// The longest value of a parameter that an error repeats, in characters.
const VALUE_CHARS_MAX: usize = 40;

#[derive(Deserialize)]
struct RawFilter {
    window: Option<String>,
    from: Option<String>,
    to: Option<String>,
    step: Option<String>,
    namespace: Option<String>,
}

/// The query of a read.
pub(super) struct Filter {
    /// The span of the time series; `None` where the latest values are asked for.
    pub(super) span: Option<Span>,
    pub(super) namespace: Option<String>,
}

impl FromRequestParts<ReceiverState> for Filter {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ReceiverState) -> Result<Self, Refusal> {
        let Query(raw) = Query::<RawFilter>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
        let route = parts.extensions.get::<MatchedPath>();
        let is_series = route.is_some_and(|route| route.as_str().ends_with(TIMESERIES));
        let span = span(&raw, is_series, state.now(), state.bounds().retention)?;
        Ok(Self { span, namespace: raw.namespace })
    }
}

fn span(
    raw: &RawFilter,
    is_series: bool,
    now: WallTime,
    retention: Duration,
) -> Result<Option<Span>, Refusal> {
    let longest = retention.as_secs();
    let window = raw.window.as_deref().map(|text| whole("window", text, 1, longest)).transpose()?;
    let moment = |name: &str, text: &Option<String>| {
        text.as_deref().map(|text| whole(name, text, 0, u64::MAX / 1000)).transpose()
    };
    let (from, to) = (moment("from", &raw.from)?, moment("to", &raw.to)?);
    let step = raw.step.as_deref().map(|text| whole("step", text, 1, longest)).transpose()?;
    let is_series =
        is_series || window.is_some() || from.is_some() || to.is_some() || step.is_some();
    if !is_series {
        return Ok(None);
    }
    // What is older is not kept.
    let kept_from = now.minus(window.map_or(retention, Duration::from_secs));
    Ok(Some(Span {
        from: from.map_or(kept_from, |from| seconds(from).max(kept_from)),
        until: to.map_or(now, seconds),
        step: step.map(Duration::from_secs),
    }))
}

fn seconds(seconds: u64) -> WallTime {
    WallTime::from_unix_millis(seconds.saturating_mul(1000))
}

fn whole(name: &str, text: &str, min: u64, max: u64) -> Result<u64, Refusal> {
    match text.parse() {
        Ok(seconds) if (min..=max).contains(&seconds) => Ok(seconds),
        _ => {
            let text: String = text.chars().take(VALUE_CHARS_MAX).collect();
            Err(Refusal::bad_request(format!(
                "{name} must be a whole number of seconds from {min} to {max}, not `{text}`"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &[(&str, &str)], is_series: bool) -> Result<Option<(u64, u64)>, String> {
        let value = |name: &str| {
            let found = query.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let raw = RawFilter {
            window: value("window"),
            from: value("from"),
            to: value("to"),
            step: value("step"),
            namespace: None,
        };
        let found = span(&raw, is_series, seconds(100_000), Duration::from_secs(3600));
        let found = found.map_err(|refusal| refusal.message)?;
        let in_seconds = |at: WallTime| at.as_unix_millis() / 1000;
        Ok(found.map(|span| (in_seconds(span.from), in_seconds(span.until))))
    }

    #[test]
    fn a_query_is_a_span_or_an_error_that_says_what_is_allowed() {
        for (query, is_series, expected) in [
            (&[][..], false, Ok(None)),
            (&[], true, Ok(Some((96_400, 100_000)))),
            (&[("window", "60")], false, Ok(Some((99_940, 100_000)))),
            (&[("from", "99000")], false, Ok(Some((99_000, 100_000)))),
            (&[("from", "5"), ("to", "99500")], false, Ok(Some((96_400, 99_500)))),
            (&[("window", "60"), ("step", "15")], false, Ok(Some((99_940, 100_000)))),
            // Each narrows what the others leave.
            (&[("step", "15")], false, Ok(Some((96_400, 100_000)))),
            (&[("to", "99000")], false, Ok(Some((96_400, 99_000)))),
            (&[("window", "60"), ("from", "99000")], false, Ok(Some((99_940, 100_000)))),
            (&[("window", "60"), ("from", "99950")], false, Ok(Some((99_950, 100_000)))),
            // Nothing is left.
            (&[("from", "99500"), ("to", "99000")], false, Ok(Some((99_500, 99_000)))),
            (
                &[("window", "0")],
                false,
                Err("window must be a whole number of seconds from 1 to 3600"),
            ),
            (&[("window", "3601")], false, Err("from 1 to 3600, not `3601`")),
            (&[("from", "-1")], false, Err("from must be a whole number of seconds from 0")),
            (&[("step", "")], false, Err("step must be a whole number of seconds from 1")),
        ] {
            match (of(query, is_series), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{query:?}"),
                (Err(found), Err(expected)) => {
                    assert!(found.contains(expected), "{query:?}: {found}");
                }
                (found, expected) => panic!("{query:?}: {found:?}, not {expected:?}"),
            }
        }
    }
}
