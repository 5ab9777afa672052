//! What is wrong now, told to the directory whenever it is, and to the log when it changes.

use std::collections::BTreeMap;

use super::error::ApiRequest;
use crate::directory::Publisher;
use crate::quantity::BootTime;

pub(super) struct ErrorReporter {
    pub publisher: Publisher,
    /// Of the pods themselves.
    main: Option<String>,
    /// Beside them, by what cannot be had.
    lacking: BTreeMap<ApiRequest, String>,
}

impl ErrorReporter {
    pub(super) const fn new(publisher: Publisher) -> Self {
        Self { publisher, main: None, lacking: BTreeMap::new() }
    }

    /// The pods cannot be had.
    pub(super) fn failed(&mut self, text: &str, now: BootTime) {
        self.publisher.failed(text, now);
        if self.main.as_deref() != Some(text) {
            tracing::warn!("identity source kubernetes: {text}");
            self.main = Some(text.to_owned());
        }
    }

    /// They can be had. The publisher has heard it with the pods.
    pub(super) fn well(&mut self) {
        if self.main.take().is_some() {
            tracing::info!("identity source kubernetes answers again");
        }
    }

    /// Something else cannot be had.
    pub(super) fn lacks(&mut self, asked: ApiRequest, text: &str, now: BootTime) {
        if self.lacking.get(&asked).is_some_and(|known| known == text) {
            return;
        }
        tracing::warn!("identity source kubernetes: {text}");
        self.lacking.insert(asked, text.to_owned());
        self.tell(now);
    }

    /// It can be had.
    pub(super) fn has(&mut self, asked: ApiRequest, now: BootTime) {
        if self.lacking.remove(&asked).is_some() {
            tracing::info!("identity source kubernetes: {} can be had again", asked.noun());
            self.tell(now);
        }
    }

    fn tell(&self, now: BootTime) {
        let texts: Vec<&str> = self.lacking.values().map(String::as_str).collect();
        let text = texts.join("; ");
        self.publisher.set_partial_error(Some(text.as_str()).filter(|text| !text.is_empty()), now);
    }
}
