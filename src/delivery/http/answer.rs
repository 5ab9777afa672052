//! The meaning of an answer for the post.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::proxy::Route;
use crate::delivery::refusal::{RefusalReason, RefusedPoints, SentPoints};
use crate::delivery::settings::{AnswerReader, DeliverySettings, PointCounter};
use crate::mask::Mask;
use crate::quantity::{WallTime, counted};
use crate::retry_after::{asked_wait, rate_limit_wait};

/// The most bytes read of an answer's body. A longer one costs the connection, not memory.
const ANSWER_BYTES_MAX: usize = 4096;

/// The same where a dialect reads it: messages name what was refused.
const READ_ANSWER_BYTES_MAX: usize = 64 << 10;

/// The most characters of foreign text in the log.
const EXCERPT_CHARS_MAX: usize = 200;

/// The outcome of one try of one post.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) enum PostOutcome {
    Accepted {
        status: u16,
        /// The wait that the endpoint asks for before the next post.
        pause: Option<Duration>,
        remark: Option<Remark>,
    },
    /// A permanent error: 3xx, 4xx except those of [`PostOutcome::Retry`], and what the dialect does
    /// not retry or accept.
    Rejected { status: u16, excerpt: String, refused: RefusedPoints },
    /// 408, 425, 429 and 5xx, or those of the dialect; where the settings say so, any 4xx but 413 and
    /// refused points.
    Retry {
        status: u16,
        /// The wait that the endpoint asks for, of any length.
        pause: Option<Duration>,
        excerpt: String,
    },
    /// No connection, no whole answer in time, or a proxy that lets nothing through.
    Unanswered { reason: String },
}

/// A server's words about a post that it accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delivery) struct Remark {
    pub(in crate::delivery) refused: RefusedPoints,
    /// Masked; empty if it gives none.
    pub(in crate::delivery) message: String,
}

/// An answer before it is interpreted.
pub(super) struct ReceivedAnswer {
    status: StatusCode,
    headers: HeaderMap,
    pause: Option<Duration>,
    /// The beginning of the body.
    body: Vec<u8>,
}

/// Reads an answer, which came at `now`.
pub(super) async fn read(
    mut answer: reqwest::Response,
    now: WallTime,
    settings: &DeliverySettings,
) -> ReceivedAnswer {
    let status = answer.status();
    let headers = answer.headers().clone();
    let is_read = settings.answer_reader.is_some() && status.is_success();
    let bytes_max = if is_read { READ_ANSWER_BYTES_MAX } else { ANSWER_BYTES_MAX };
    let pause = if status.is_success() {
        // After a success, Retry-After says when the result can be read, not when to send more.
        rate_limit_wait(answer.headers(), now)
    } else {
        asked_wait(answer.headers(), now)
    };
    // Read to the end, or the connection cannot be used again.
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        let room = bytes_max - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() == bytes_max {
            break;
        }
    }
    ReceivedAnswer { status, headers, pause, body }
}

impl ReceivedAnswer {
    pub(super) const fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The number in a header; `None`: there is none.
    pub(super) fn count(&self, header: &str) -> Option<u64> {
        self.headers.get(header)?.to_str().ok()?.trim().parse().ok()
    }

    /// The outcome of a post with this body and these points; `None`: its forms count none. Where
    /// permanent 4xx are retried, 413 is not: the body would be too large again. Refused points are not
    /// either.
    pub(super) fn meaning(
        self,
        mask: &Mask,
        way: Route<'_>,
        settings: &DeliverySettings,
        points: Option<SentPoints>,
        sent: &[u8],
    ) -> PostOutcome {
        let Self { status, headers, pause, body } = self;
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default();
        let words = || with_parts(excerpt(&body, mask), points);
        let excerpt = || way.describe(words());
        // A whole body is counted only where it is refused: that costs a walk over it.
        let of_body = || settings.points.map_or(0, |PointCounter(count)| count(sent));
        let all_points = || points.map_or_else(of_body, SentPoints::not_written);
        let is_success = status.is_success();
        let refused = RefusedPoints {
            count: points
                .map_or_else(|| if is_success { 0 } else { of_body() }, SentPoints::not_written),
            reason: RefusalReason::of(&String::from_utf8_lossy(&body)),
        };
        let is_refusal = refused.count > 0 && refused.reason != RefusalReason::Other;
        // A server that does not say how much it wrote wrote everything.
        let is_part = points.is_some_and(SentPoints::is_known) && refused.count > 0;
        let part = || is_part.then(|| Remark { refused, message: words() });
        let is_retried = |code: u16| match settings.retried_statuses {
            Some(retried) => retried.contains(&code),
            None => matches!(code, 408 | 425 | 429 | 500..=599),
        };
        match status.as_u16() {
            code @ 200..=299 => match settings.answer_reader {
                None => PostOutcome::Accepted { status: code, pause, remark: part() },
                Some(AnswerReader(read)) => match read(content_type, &body) {
                    Ok((count, message)) => {
                        let refused = RefusedPoints { count, reason: RefusalReason::of(&message) };
                        let message = self::excerpt(message.as_bytes(), mask);
                        let has_remark = count > 0 || !message.is_empty();
                        let remark =
                            has_remark.then_some(Remark { refused, message }).or_else(part);
                        PostOutcome::Accepted { status: code, pause, remark }
                    }
                    Err(reason) => {
                        let excerpt = way.describe(reason);
                        let refused = RefusedPoints { count: all_points(), ..refused };
                        PostOutcome::Rejected { status: code, excerpt, refused }
                    }
                },
            },
            407 if way.ends_at_proxy() => PostOutcome::Unanswered { reason: way.refused() },
            code if is_retried(code) => {
                PostOutcome::Retry { status: code, pause, excerpt: excerpt() }
            }
            code @ 400..=499 if settings.retry_client_errors && code != 413 && !is_refusal => {
                PostOutcome::Retry { status: code, pause, excerpt: excerpt() }
            }
            code => PostOutcome::Rejected { status: code, excerpt: excerpt(), refused },
        }
    }
}

/// The beginning of a body as [`one_line`], without secrets.
pub(super) fn excerpt(body: &[u8], mask: &Mask) -> String {
    one_line(&mask.apply(&String::from_utf8_lossy(body)))
}

/// The server's words, with the part of the points that it says it wrote.
fn with_parts(words: String, points: Option<SentPoints>) -> String {
    let Some(SentPoints { sent, written: Some(written) }) = points else { return words };
    if written == 0 || written >= sent {
        return words;
    }
    let parts = format!("{written} of {} written", counted(sent, "point was", "points were"));
    if words.is_empty() { parts } else { format!("{words} ({parts})") }
}

/// The beginning of a foreign text as one line that cannot control a terminal.
pub(super) fn one_line(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(EXCERPT_CHARS_MAX)
        .collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::BaseUrl;
    use super::*;

    fn meaning(code: u16, retries_client_errors: bool) -> PostOutcome {
        let status = StatusCode::from_u16(code).unwrap();
        let pause = Some(Duration::from_secs(7));
        let base = BaseUrl::parse("http://host").unwrap();
        let settings = DeliverySettings::new("central", base.clone(), 1);
        let settings = DeliverySettings { retry_client_errors: retries_client_errors, ..settings };
        let body = b"why".to_vec();
        let received = ReceivedAnswer { status, headers: HeaderMap::new(), pause, body };
        received.meaning(&Mask::default(), Route::to(&base, None), &settings, None, b"")
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_refused() {
        let (pause, excerpt) = (Some(Duration::from_secs(7)), "why".to_owned());
        for code in [200, 201, 204] {
            assert_eq!(
                meaning(code, false),
                PostOutcome::Accepted { status: code, pause, remark: None }
            );
        }
        let later = |status| PostOutcome::Retry { status, pause, excerpt: excerpt.clone() };
        for code in [408, 425, 429, 500, 502, 503, 504, 507] {
            assert_eq!(meaning(code, false), later(code));
        }
        let none = RefusedPoints { count: 0, reason: RefusalReason::Other };
        let refused =
            |status| PostOutcome::Rejected { status, excerpt: excerpt.clone(), refused: none };
        for code in [301, 302, 304, 308, 400, 401, 403, 404, 407, 413, 415, 422] {
            assert_eq!(meaning(code, false), refused(code));
        }
        // What is tried again by the settings waits as long as is asked for.
        for code in [400, 401, 404, 407, 422, 499] {
            assert_eq!(meaning(code, true), later(code));
        }
        for code in [302, 413] {
            assert_eq!(meaning(code, true), refused(code));
        }
    }

    #[test]
    fn a_body_in_the_log_is_one_short_line() {
        let excerpt = |body: &[u8]| excerpt(body, &Mask::default());
        assert_eq!(excerpt(b"<html>\n\x1b[31mno\xff</html>\n"), "<html>  [31mno\u{fffd}</html>");
        assert_eq!(excerpt("é".repeat(300).as_bytes()).chars().count(), 200);
    }
}
