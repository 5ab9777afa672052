//! The forms of an endpoint's bodies: the preferred one that the server knows is used.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tracing::warn;

use super::answer::ReceivedAnswer;
use crate::delivery::refusal::SentPoints;
use crate::delivery::settings::BodyForm;

/// The forms of an endpoint, and the one in use.
#[derive(Debug)]
pub(super) struct Forms {
    all: Vec<BodyForm>,
    in_use: AtomicUsize,
    /// The server has shown that it knows the form in use.
    is_known: AtomicBool,
}

/// A body in one of the forms.
#[derive(Debug, Clone)]
pub(super) struct FormedBody {
    at: usize,
    pub(super) form: BodyForm,
    pub(super) bytes: Bytes,
}

impl Forms {
    pub(super) fn new(all: Vec<BodyForm>) -> Self {
        Self { all, in_use: AtomicUsize::new(0), is_known: AtomicBool::new(false) }
    }

    /// The body in the form in use; `None`: bodies have no forms.
    pub(super) fn of(&self, body: &[u8]) -> Option<FormedBody> {
        self.formed(self.in_use.load(Ordering::Relaxed), body)
    }

    fn formed(&self, at: usize, body: &[u8]) -> Option<FormedBody> {
        let form = *self.all.get(at)?;
        Some(FormedBody { at, form, bytes: (form.render)(body) })
    }

    /// The body in the next form, if the answer to `sent` shows that the server does not know that one.
    pub(super) fn next(
        &self,
        sent: Option<&FormedBody>,
        answer: &ReceivedAnswer,
        body: &[u8],
    ) -> Option<FormedBody> {
        let sent = sent?;
        let is_unknown = match answer.status() {
            415 => true,
            // A server that knows another form only finds nothing in this one, or no message at all.
            200..=299 | 400 => {
                let says_nothing = sent.form.written.is_some() && sent.written(answer).is_none();
                says_nothing && !self.is_known.load(Ordering::Relaxed)
            }
            _ => false,
        };
        is_unknown.then(|| self.formed(sent.at + 1, body)).flatten()
    }

    /// Notes whether the answer shows that the server knows the form.
    pub(super) fn note_known(&self, sent: Option<&FormedBody>, answer: &ReceivedAnswer) {
        if sent.is_some_and(|sent| sent.written(answer).is_some()) {
            self.is_known.store(true, Ordering::Relaxed);
        }
    }

    /// Uses the form of a post that was accepted from now on, and logs a change.
    pub(super) fn use_from_here(&self, endpoint: &str, sent: Option<&FormedBody>) {
        let Some(sent) = sent else { return };
        let before = self.in_use.swap(sent.at, Ordering::Relaxed);
        if before != sent.at
            && let Some(before) = self.all.get(before)
        {
            warn!(
                "endpoint {endpoint} does not know {}: {} is used from here on, until the agent starts \
                 again; `protocol` can say so",
                before.name, sent.form.name,
            );
        }
    }
}

impl FormedBody {
    /// The amount of the body that the server says it has written; `None`: it does not say.
    fn written(&self, answer: &ReceivedAnswer) -> Option<u64> {
        answer.count(self.form.written?)
    }

    /// The reason why a 2xx accepted nothing: the server does not know the form. `None`: it does.
    pub(super) fn accepted_nothing(&self, answer: &ReceivedAnswer) -> Option<String> {
        let header = self.form.written?;
        let is_success = (200..300).contains(&answer.status());
        (is_success && answer.count(header).is_none()).then(|| {
            format!(
                "status {} without the header {header}: it does not know {}",
                answer.status(),
                self.form.name
            )
        })
    }

    /// The points of the body, and those that the server says it has written.
    pub(super) fn points(&self, answer: &ReceivedAnswer, body: &[u8]) -> SentPoints {
        SentPoints { sent: (self.form.points)(body), written: self.written(answer) }
    }
}
