//! What an answer means for the post.

use std::time::Duration;

use reqwest::StatusCode;

use crate::asked_wait::{asked_wait, rate_limit_wait};
use crate::quantity::WallTime;

/// How much of an answer's body is read, in bytes. More of it costs the connection, not memory.
const ANSWER_BYTES_MAX: usize = 4096;

/// How much of a refusal's body the log shows, in characters.
const EXCERPT_CHARS_MAX: usize = 200;

/// What became of one try of one post.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Answer {
    Accepted {
        status: u16,
        /// How long the endpoint wants to be left alone from here on.
        pause: Option<Duration>,
    },
    /// Sending it again would not help: 3xx, and 4xx but for those of [`Answer::Later`].
    Refused { status: u16, excerpt: String },
    /// 408, 425, 429 and 5xx.
    Later {
        status: u16,
        /// What the endpoint asks for, of any length.
        pause: Option<Duration>,
        excerpt: String,
    },
    /// No connection, or no whole answer in time.
    None { reason: String },
}

/// Reads the answer and says what it means at `now`.
pub(super) async fn read(mut answer: reqwest::Response, now: WallTime) -> Answer {
    let status = answer.status();
    let pause = match status.is_success() {
        // A Retry-After says when to look at what came of it, not when to send more.
        true => rate_limit_wait(answer.headers(), now),
        false => asked_wait(answer.headers(), now),
    };
    // Read to the end, or the connection cannot be used again.
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() == ANSWER_BYTES_MAX {
            break;
        }
    }
    classify(status, pause, &body)
}

fn classify(status: StatusCode, pause: Option<Duration>, body: &[u8]) -> Answer {
    let excerpt = || excerpt(body);
    match status.as_u16() {
        code @ 200..=299 => Answer::Accepted { status: code, pause },
        code @ (408 | 425 | 429 | 500..=599) => {
            Answer::Later { status: code, pause, excerpt: excerpt() }
        }
        code => Answer::Refused { status: code, excerpt: excerpt() },
    }
}

/// The beginning of a body as one line of text that cannot steer a terminal.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(EXCERPT_CHARS_MAX)
        .collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_refused() {
        let class = |code| classify(StatusCode::from_u16(code).unwrap(), None, b"why");
        for code in [200, 201, 204] {
            assert_eq!(class(code), Answer::Accepted { status: code, pause: None });
        }
        for code in [408, 425, 429, 500, 502, 503, 504, 507] {
            assert!(matches!(class(code), Answer::Later { status, .. } if status == code));
        }
        for code in [301, 302, 304, 308, 400, 401, 403, 404, 413, 415, 422] {
            assert_eq!(class(code), Answer::Refused { status: code, excerpt: "why".into() });
        }
    }

    #[test]
    fn a_body_in_the_log_is_one_short_line() {
        assert_eq!(excerpt(b"<html>\n\x1b[31mno\xff</html>\n"), "<html>  [31mno\u{fffd}</html>");
        assert_eq!(excerpt("é".repeat(300).as_bytes()).chars().count(), 200);
    }
}
