//! The answer of a watch: a stream of JSON values, one for each event, over minutes.

use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::client::Body;
use tokio::time::Instant;
use tracing::instrument::WithSubscriber as _;

use super::access::ApiAccess;
use super::error::{ApiError, ApiErrorKind, ApiRequest};
use crate::clock;
use crate::directory::objects::{DecodeError, ObjectLimits, WatchEvent, watch_event};

/// The longest event; etcd holds no object of more than 1.5 MiB.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// The most buffer space that is kept between events.
const IDLE_BYTES_MAX: usize = 64 << 10;

pub(super) struct PodWatch {
    body: Body,
    limits: ObjectLimits,
    /// Received bytes that are no whole event yet.
    buffer: Vec<u8>,
    scan: ObjectScan,
    silence_max: Duration,
    /// The limit after the first bookmark.
    silence_after_bookmark_max: Duration,
    last_heard: Instant,
}

impl PodWatch {
    pub(super) fn new(
        body: Body,
        limits: ObjectLimits,
        silence_max: Duration,
        now: Instant,
    ) -> Self {
        Self {
            body,
            limits,
            buffer: Vec::new(),
            scan: ObjectScan::default(),
            silence_max,
            silence_after_bookmark_max: silence_max,
            last_heard: now,
        }
    }

    /// Sets a shorter limit of silence after the first bookmark: a server that sends one sends more,
    /// about one a minute. Others are silent for as long as no pod changes.
    pub(super) fn silence_after_bookmark(self, silence_max: Duration) -> Self {
        Self { silence_after_bookmark_max: silence_max.min(self.silence_max), ..self }
    }

    /// The next event; `None` once the server has ended the watch. A dropped future loses no bytes.
    pub(super) async fn next(
        &mut self,
        access: &ApiAccess,
    ) -> Result<Option<WatchEvent>, ApiError> {
        loop {
            if let Some(event) = self.whole_event()? {
                if matches!(event, WatchEvent::Bookmark { .. }) {
                    self.silence_max = self.silence_after_bookmark_max;
                }
                return Ok(Some(event));
            }
            let frame = self.body.frame().with_subscriber(tracing::Dispatch::none());
            let deadline = self.last_heard + self.silence_max;
            let Ok(frame) = tokio::time::timeout_at(deadline, frame).await else {
                return Err(ApiError::timeout(ApiRequest::WatchPods, access, self.silence_max));
            };
            self.last_heard = clock::timer_now();
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(ApiError::of_body(ApiRequest::WatchPods, &error)),
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    let text = "the API server's watch ended in the middle of an event";
                    return Err(ApiError::new(ApiErrorKind::Cut, text));
                }
            }
        }
    }

    /// Takes the next event out of the buffer, which then begins behind it.
    fn whole_event(&mut self) -> Result<Option<WatchEvent>, ApiError> {
        let unreadable = |error| ApiError::unreadable(ApiRequest::WatchPods, error);
        let blank = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if self.scan == ObjectScan::default() && blank > 0 {
            self.buffer.drain(..blank);
        }
        let Some(end) = self.scan.end_of_object(&self.buffer).map_err(unreadable)? else {
            if self.buffer.len() > EVENT_BYTES_MAX {
                return Err(ApiError::too_long(ApiRequest::WatchPods, EVENT_BYTES_MAX));
            }
            return Ok(None);
        };
        let event = watch_event(self.buffer.get(..end).unwrap_or_default(), &self.limits);
        self.buffer.drain(..end);
        self.scan = ObjectScan::default();
        if self.buffer.capacity() > IDLE_BYTES_MAX {
            self.buffer.shrink_to(IDLE_BYTES_MAX);
        }
        event.map(Some).map_err(unreadable)
    }
}

/// The search for the end of a JSON object, byte by byte, over the parts in which it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct ObjectScan {
    /// The number of bytes that were looked at.
    searched: usize,
    /// Open objects and lists.
    depth: usize,
    in_text: bool,
    /// The byte before was a backslash in a text.
    is_escaped: bool,
}

impl ObjectScan {
    /// The length of the object that `buffer` begins with; `None`: it has no end yet. `buffer` holds
    /// the bytes of the call before, and more.
    ///
    /// # Errors
    /// `buffer` begins with something else.
    fn end_of_object(&mut self, buffer: &[u8]) -> Result<Option<usize>, DecodeError> {
        if buffer.first().is_some_and(|first| *first != b'{') {
            return Err(DecodeError::NotJson { line: 1, column: 1 });
        }
        for byte in buffer.get(self.searched..).unwrap_or_default() {
            self.searched += 1;
            match *byte {
                _ if std::mem::take(&mut self.is_escaped) => {}
                b'\\' if self.in_text => self.is_escaped = true,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Ok(Some(self.searched));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The objects at the beginning of `stream`, which arrives in parts of `part` bytes.
    fn objects(stream: &[u8], part: usize) -> Vec<String> {
        let (mut found, mut buffer, mut scan) = (Vec::new(), Vec::new(), ObjectScan::default());
        for part in stream.chunks(part) {
            buffer.extend_from_slice(part);
            loop {
                if scan == ObjectScan::default() {
                    buffer = buffer.trim_ascii_start().to_vec();
                }
                let Some(end) = scan.end_of_object(&buffer).unwrap() else { break };
                found.push(String::from_utf8(buffer.drain(..end).collect()).unwrap());
                scan = ObjectScan::default();
            }
        }
        found
    }

    #[test]
    fn objects_end_where_json_says_and_not_with_the_line() {
        let whole = [
            "{}",
            r#"{"a":"}{\"]["}"#,
            r#"{"a":"\\"}"#,
            "{\n  \"a\": [\n    {\"b\": 1},\n    [2]\n  ]\n}",
            r#"{"é":"\u007d"}"#,
        ];
        for between in ["\n", "", " \r\n\t\n", " "] {
            let stream = whole.join(between);
            for part in [1, 2, 7, stream.len()] {
                assert_eq!(objects(stream.as_bytes(), part), whole, "{between:?}, {part}");
            }
        }
        let mut scan = ObjectScan::default();
        assert_eq!(scan.end_of_object(b"{\"a\":1"), Ok(None));
        assert_eq!(scan.end_of_object(b"{\"a\":1}{"), Ok(Some(7)));
        for odd in ["[]", "1", "\"a\"", "x", "}"] {
            assert!(ObjectScan::default().end_of_object(odd.as_bytes()).is_err(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_stream_of_values_is_cut_between_them(
            values in prop::collection::vec(("\\PC{0,9}", any::<i64>(), any::<bool>()), 0..8),
            between in "[ \\n\\t]{0,3}",
            part in 1..40_usize,
        ) {
            let values: Vec<String> = values.iter().map(|(text, number, pretty)| {
                let value = serde_json::json!({ text: [number, {"}": text}], "{": text });
                let write =
                    if *pretty { serde_json::to_string_pretty } else { serde_json::to_string };
                write(&value).unwrap()
            }).collect();
            prop_assert_eq!(objects(values.join(&between).as_bytes(), part), values);
        }

        #[test]
        fn no_stream_panics(stream in any::<Vec<u8>>(), text in r#"[\{\}\[\]"\\ a]{0,30}"#) {
            for stream in [&*stream, text.as_bytes()] {
                let _ = ObjectScan::default().end_of_object(stream);
            }
        }
    }
}
