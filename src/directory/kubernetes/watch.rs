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

/// The changes that are read at once, and those that are read in a second beyond them, in bytes. An
/// event counts for at least [`EVENT_BYTES_MIN`], since each makes a new catalog. A node's pods change
/// by some KiB a second; a server that sends more is read no faster, and holds the rest back.
const BURST_BYTES: u64 = 16 << 20;
const BYTES_PER_SECOND: u64 = 2 << 20;
const EVENT_BYTES_MIN: u64 = 8 << 10;

/// The bytes of changes that may be read now.
struct WatchPace {
    left_bytes: u64,
    at: Instant,
}

impl WatchPace {
    fn refill(&mut self, now: Instant) {
        let passed = u64::try_from(now.duration_since(self.at).as_micros()).unwrap_or(u64::MAX);
        let more = passed.saturating_mul(BYTES_PER_SECOND) / 1_000_000;
        self.left_bytes = self.left_bytes.saturating_add(more).min(BURST_BYTES);
        self.at = now;
    }

    /// Counts an event; the wait before the next one.
    fn count(&mut self, event_bytes: usize, now: Instant) -> Duration {
        self.refill(now);
        let cost = (event_bytes as u64).max(EVENT_BYTES_MIN);
        let lacking = cost.saturating_sub(self.left_bytes);
        self.left_bytes = self.left_bytes.saturating_sub(cost);
        Duration::from_micros(lacking.saturating_mul(1_000_000) / BYTES_PER_SECOND)
    }
}

pub(super) struct PodWatch {
    body: Body,
    pace: WatchPace,
    /// The next event is not read before this time.
    not_before: Instant,
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
            pace: WatchPace { left_bytes: BURST_BYTES, at: now },
            not_before: now,
        }
    }

    /// True while changes come faster than they are read.
    pub(super) fn is_flooded(&self) -> bool {
        self.pace.left_bytes == 0
    }

    /// True while half of what may come at once may come.
    pub(super) fn is_calm(&self) -> bool {
        self.pace.left_bytes >= BURST_BYTES / 2
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
        if self.not_before > clock::timer_now() {
            tokio::time::sleep_until(self.not_before).await;
            // The server was not silent, it was not listened to.
            self.last_heard = clock::timer_now();
        }
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
        let now = clock::timer_now();
        self.not_before = now + self.pace.count(end, now);
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

    #[tokio::test]
    async fn a_flood_is_read_at_a_steady_pace_and_a_node_s_own_changes_at_once() {
        let began = clock::timer_now();
        let at = |millis: u64| began + Duration::from_millis(millis);
        let mut pace = WatchPace { left_bytes: BURST_BYTES, at: began };
        // 16 MiB at once are 273 events of 60 KiB, or 2048 small ones.
        for _ in 0..273 {
            assert_eq!(pace.count(60 << 10, at(0)), Duration::ZERO);
        }
        let wait = pace.count(60 << 10, at(0)).as_millis();
        // What lacks is 56 KiB of 60, at 2 MiB a second.
        assert_eq!(wait, 27);
        assert_eq!(pace.count(60 << 10, at(0)).as_micros(), 29_296);
        // A second later there are 2 MiB again: 34 events.
        let waits = (0..40).filter(|_| pace.count(60 << 10, at(1000)) > Duration::ZERO).count();
        assert_eq!(waits, 6);
        // Eight seconds fill it.
        pace.refill(at(20_000));
        assert_eq!(pace.left_bytes, BURST_BYTES);
        let small = (0..2048).all(|_| pace.count(1000, at(20_000)) == Duration::ZERO);
        assert!(small && pace.count(1000, at(20_000)) > Duration::ZERO);
    }
}
