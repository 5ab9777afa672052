//! The list of dialects.

pub use super::profile::CounterForms;
use super::profile::Profile;
use super::{ndjson, otlp, pod_batch, pod_lifecycle, remote_write, resource_api, sample_post};

/// The API that an endpoint speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    #[default]
    ResourceApi,
    PodBatch,
    PodLifecycle,
    Otlp,
    RemoteWrite,
    Ndjson,
    Samples,
}

impl Dialect {
    const ALL: &'static [Self] = &[
        Self::ResourceApi,
        Self::PodBatch,
        Self::PodLifecycle,
        Self::Otlp,
        Self::RemoteWrite,
        Self::Ndjson,
        Self::Samples,
    ];

    /// Every name, in the order in which error lines list them.
    pub const WORDS: &'static [&'static str] = &{
        let mut words = [""; Self::ALL.len()];
        let mut at = 0;
        while at < words.len() {
            words[at] = Self::ALL[at].as_str();
            at += 1;
        }
        words
    };

    /// Everything that others need to know of it.
    #[must_use]
    pub const fn profile(self) -> &'static Profile {
        match self {
            Self::ResourceApi => &resource_api::PROFILE,
            Self::PodBatch => &pod_batch::PROFILE,
            Self::PodLifecycle => &pod_lifecycle::PROFILE,
            Self::Otlp => &otlp::PROFILE,
            Self::RemoteWrite => &remote_write::PROFILE,
            Self::Ndjson => &ndjson::PROFILE,
            Self::Samples => &sample_post::PROFILE,
        }
    }

    /// The name of a dialect in a configuration file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.profile().name
    }

    /// The dialect of this name; `None` for an unknown one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dialect| dialect.as_str() == word)
    }
}
