//! The reason for which a server refuses points, in the server's words.

/// The reason for which a server refuses points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalReason {
    /// Older than the last point of its series.
    OutOfOrder,
    /// Older, or newer, than the server accepts.
    TooOld,
    /// The series has another value for that time.
    Duplicate,
    /// Any other, such as a limit of series, or none that is known.
    Other,
}

/// Parts of the messages of Prometheus, Mimir and Thanos, in lower case.
const WORDS: [(&str, RefusalReason); 7] = [
    ("out of order", RefusalReason::OutOfOrder),
    ("out-of-order", RefusalReason::OutOfOrder),
    ("too old", RefusalReason::TooOld),
    ("too-old", RefusalReason::TooOld),
    ("out of bounds", RefusalReason::TooOld),
    ("duplicate", RefusalReason::Duplicate),
    ("same timestamp", RefusalReason::Duplicate),
];

impl RefusalReason {
    /// The reason that a message names first.
    pub(super) fn of(message: &str) -> Self {
        let message = message.to_lowercase();
        let found = WORDS.iter().filter_map(|(words, reason)| Some((message.find(words)?, reason)));
        found.min_by_key(|(at, _)| *at).map_or(Self::Other, |(_, reason)| *reason)
    }
}

/// Points that a server refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RefusedPoints {
    /// 0: none, or the dialect has no points.
    pub(super) count: u64,
    pub(super) reason: RefusalReason,
}

/// The points of a post.
#[derive(Debug, Clone, Copy)]
pub(super) struct SentPoints {
    pub(super) sent: u64,
    /// `None`: the server does not say.
    pub(super) written: Option<u64>,
}

impl SentPoints {
    /// The points that were not written, or may not have been.
    pub(super) fn not_written(self) -> u64 {
        self.sent.saturating_sub(self.written.unwrap_or(0))
    }

    /// The server says how many it wrote.
    pub(super) const fn is_known(self) -> bool {
        self.written.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_of_a_message_counts() {
        for (message, reason) in [
            ("out of order sample\n", RefusalReason::OutOfOrder),
            ("too old sample", RefusalReason::TooOld),
            ("out of bounds", RefusalReason::TooOld),
            ("duplicate sample for timestamp\nout of order sample", RefusalReason::Duplicate),
            (
                "failed pushing to ingester: the sample has been rejected because its timestamp is too \
                 old (err-mimir-sample-timestamp-too-old)",
                RefusalReason::TooOld,
            ),
            (
                "the sample has been rejected because another sample with a more recent timestamp has \
                 already been ingested and out-of-order samples are not allowed",
                RefusalReason::OutOfOrder,
            ),
            (
                "the sample has been rejected because another sample with the same timestamp, but a \
                 different value, has already been ingested",
                RefusalReason::Duplicate,
            ),
            ("Conflict: Out Of Order", RefusalReason::OutOfOrder),
            ("max series per user reached", RefusalReason::Other),
            ("", RefusalReason::Other),
        ] {
            assert_eq!(RefusalReason::of(message), reason, "{message}");
        }
    }
}
