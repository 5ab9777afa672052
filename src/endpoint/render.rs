//! Renders a sample into the posts of an endpoint, as its settings ask.

use bytes::Bytes;

use super::error::EndpointError;
use crate::config::{self, ClusterSettings, EndpointSettings, Settings};
use crate::delivery::{
    self, AnswerReader, BodyAsJson, BodyForm, MergeBodies, PointCounter, Split, StaleAction,
    StaleRule,
};
use crate::directory::pod::Labels;
use crate::payload::dialect::Dialect;
use crate::payload::entities::Observation;
use crate::payload::options::{ClusterContext, EncodeOptions, PodFilter, UnknownPodPolicy};
use crate::payload::profile::{EncodeSample, Reports, WireForm};
use crate::payload::running_totals::Entities;
use crate::payload::sample_post;
use crate::payload::selector::Selector;

/// The renderer of an endpoint's posts.
#[derive(Debug, Clone)]
pub enum Encoder {
    /// Posts with every sample.
    Samples(SampleEncoder),
    /// Posts when a pod is created, changed or removed; the filter chooses the pods.
    Lifecycle(PodFilter),
}

/// Renders each sample into posts of one dialect.
#[derive(Debug, Clone)]
pub struct SampleEncoder {
    dialect: Dialect,
    encode: EncodeSample,
    options: Box<EncodeOptions>,
}

impl Encoder {
    /// # Errors
    /// Its label selector is none.
    pub fn of(endpoint: &EndpointSettings, settings: &Settings) -> Result<Self, EndpointError> {
        let filter = filter(endpoint)?;
        let encode = match endpoint.dialect.profile().reports {
            Reports::PodChanges => return Ok(Self::Lifecycle(filter)),
            Reports::Usage(encode) => encode,
        };
        let unknown_pods = match endpoint.unknown_pods {
            config::UnknownPods::Uid => {
                UnknownPodPolicy::Uid { namespace: endpoint.unknown_namespace.as_str().into() }
            }
            config::UnknownPods::Wait => UnknownPodPolicy::Wait,
            config::UnknownPods::Skip => UnknownPodPolicy::Skip,
        };
        let options = EncodeOptions {
            cumulative: is_cumulative(endpoint),
            unknown_pods,
            filter,
            extras: endpoint.scope.extras,
            annotations: boxed(&endpoint.scope.annotations),
            cluster: cluster(&settings.cluster),
            external_labels: labels(&endpoint.external_labels),
            body_bytes_max: usize::try_from(endpoint.max_request_bytes.as_bytes())
                .unwrap_or(usize::MAX),
            ..EncodeOptions::new(&settings.node.name)
        };
        let (dialect, options) = (endpoint.dialect, Box::new(options));
        Ok(Self::Samples(SampleEncoder { dialect, encode, options }))
    }

    /// The renderer for the embedded receiver: all pods, with extra fields. Without a source of names
    /// an unnamed pod gets the namespace `unknown`; with one it waits for its name.
    #[must_use]
    pub fn all(settings: &Settings) -> Self {
        let unknown_pods = if settings.directory.knows_pods() {
            UnknownPodPolicy::Wait
        } else {
            UnknownPodPolicy::Uid { namespace: "unknown".into() }
        };
        let options =
            EncodeOptions { unknown_pods, extras: true, ..EncodeOptions::new(&settings.node.name) };
        let (encode, options) = (sample_post::encode, Box::new(options));
        Self::Samples(SampleEncoder { dialect: Dialect::Samples, encode, options })
    }
}

impl SampleEncoder {
    /// The posts of one sample: paths and bodies.
    #[must_use]
    pub fn posts(&self, view: &Observation<'_>, entities: &Entities<'_>) -> Vec<(String, Bytes)> {
        let messages = (self.encode)(view, entities, &self.options);
        messages.into_iter().map(|message| (message.path, message.body)).collect()
    }

    /// `true` where posts say that series end.
    #[must_use]
    pub const fn ends_series(&self) -> bool {
        self.dialect.profile().ends_series
    }

    /// The posts by which series end; `view` has the closing sample. Empty where posts cannot say so.
    #[must_use]
    pub fn closing_posts(&self, view: &Observation<'_>) -> Vec<(String, Bytes)> {
        if self.ends_series() { self.posts(view, &Entities::default()) } else { Vec::new() }
    }

    /// `true` where both make the same series of one sample.
    #[must_use]
    pub fn makes_same_series(&self, other: &Self) -> bool {
        self.dialect == other.dialect && self.options == other.options
    }
}

fn is_cumulative(endpoint: &EndpointSettings) -> bool {
    endpoint.counters == config::Counters::Cumulative
}

/// Sets the delivery settings that follow from the dialect.
pub fn shape(endpoint: &EndpointSettings, settings: &mut delivery::DeliverySettings) {
    let profile = endpoint.dialect.profile();
    settings.content_type = profile.content_type;
    settings.forms = forms(endpoint).iter().map(body_form).collect();
    settings.in_order = profile.order.is_kept(is_cumulative(endpoint));
    settings.split = profile.split.map(Split);
    settings.as_json = profile.as_json.map(BodyAsJson);
    settings.points = profile.points.map(PointCounter);
    settings.answer_reader = profile.read_answer.map(AnswerReader);
    settings.retried_statuses = profile.retried_statuses;
    settings.bounds_500 = profile.permanent_500;
    settings.stale = profile.timestamps.merge().and_then(|merge| {
        let then = match endpoint.waiting.stale {
            config::StalePolicy::Add => StaleAction::Add(MergeBodies(merge)),
            config::StalePolicy::Drop => StaleAction::Drop,
            config::StalePolicy::Send => return None,
        };
        Some(StaleRule { after: endpoint.waiting.stale_after, then })
    });
}

/// The forms that the setting `protocol` asks for.
fn forms(endpoint: &EndpointSettings) -> &'static [WireForm] {
    let protocols = endpoint.dialect.profile().protocols;
    let wanted = protocols.iter().find(|(word, _)| *word == endpoint.protocol.as_str());
    wanted.map_or(&[], |(_, forms)| forms)
}

fn body_form(form: &WireForm) -> BodyForm {
    let WireForm { name, headers, render, points, written } = *form;
    BodyForm { name, headers, render, points, written }
}

fn filter(endpoint: &EndpointSettings) -> Result<PodFilter, EndpointError> {
    let scope = &endpoint.scope;
    let selector = Selector::parse(&scope.pod_selector).map_err(|source| {
        let (name, selector) = (endpoint.name.clone(), scope.pod_selector.clone());
        EndpointError::PodSelector { name, selector, source }
    })?;
    Ok(PodFilter {
        include: boxed(&scope.namespaces),
        exclude: boxed(&scope.namespaces_except),
        selector,
    })
}

/// The cluster as messages name it.
#[must_use]
pub fn cluster(settings: &ClusterSettings) -> ClusterContext {
    let boxed = |text: &Option<String>| text.as_deref().map(Into::into);
    ClusterContext {
        cluster_id: settings.id.as_str().into(),
        name: settings.name.as_str().into(),
        labels: labels(&settings.labels),
        provider: boxed(&settings.provider),
        region: boxed(&settings.region),
        zone: boxed(&settings.zone),
    }
}

fn labels(pairs: &[(String, String)]) -> Labels {
    pairs.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}

fn boxed(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}
