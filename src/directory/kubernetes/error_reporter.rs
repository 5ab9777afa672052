//! Errors of the API server: the directory gets each one, the log gets each change.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::error::ApiRequest;
use crate::directory::publisher::Publisher;
use crate::quantity::BootTime;

pub(super) struct ErrorReporter {
    pub publisher: Publisher,
    /// The logged error of the pods.
    pods: Option<String>,
    /// The logged errors of other requests.
    others: BTreeMap<ApiRequest, String>,
}

impl ErrorReporter {
    pub(super) const fn new(publisher: Publisher) -> Self {
        Self { publisher, pods: None, others: BTreeMap::new() }
    }

    /// Reports that there is no answer about the pods.
    pub(super) fn pods_failed(&mut self, text: &str, now: BootTime) {
        self.publisher.failed(text, now);
        if self.pods.as_deref() != Some(text) {
            warn!(
                "identity source kubernetes: {text}; its last answer stays in use, retry follows"
            );
            self.pods = Some(text.to_owned());
        }
    }

    /// Logs that the pods are answered again. The publisher learns it with the pods.
    pub(super) fn pods_answered(&mut self) {
        if self.pods.take().is_some() {
            info!("identity source kubernetes answers again");
        }
    }

    /// Reports a failed request beside the pods.
    pub(super) fn request_failed(&mut self, request: ApiRequest, text: &str, now: BootTime) {
        if self.others.get(&request).is_some_and(|known| known == text) {
            return;
        }
        warn!("identity source kubernetes: {text}; known pods stay in use, retry follows");
        self.others.insert(request, text.to_owned());
        self.publish_others(now);
    }

    /// Reports that a request beside the pods is answered.
    pub(super) fn request_answered(&mut self, request: ApiRequest, now: BootTime) {
        if self.others.remove(&request).is_some() {
            info!("identity source kubernetes: {} is answered again", request.noun());
            self.publish_others(now);
        }
    }

    fn publish_others(&self, now: BootTime) {
        let texts: Vec<&str> = self.others.values().map(String::as_str).collect();
        let text = (!texts.is_empty()).then(|| texts.join("; "));
        self.publisher.set_partial_error(text.as_deref(), now);
    }
}
