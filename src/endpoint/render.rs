//! Renders a sample into the posts of an endpoint, as its settings ask.

use std::sync::Arc;

use bytes::Bytes;

use super::error::EndpointError;
use crate::config::{self, ClusterSettings, EndpointSettings, Settings};
use crate::delivery::{self, Late, Merge, Split, Then};
use crate::directory::pod::Labels;
use crate::payload::pod_batch::{self, ClusterContext};
use crate::payload::posts::{self, Message};
use crate::payload::resource_api;
use crate::payload::selector::Selector;
use crate::payload::subjects::{Filters, Subjects, UnknownPods, View};

/// The renderer of an endpoint's posts.
#[derive(Debug, Clone)]
pub enum Encoder {
    /// Posts with every sample.
    Samples(SampleEncoder),
    /// Posts when a pod is created, changed or removed; the filters choose the pods.
    Lifecycle(Filters),
}

/// Renders each sample into posts of one dialect.
#[derive(Debug, Clone)]
pub struct SampleEncoder {
    form: SampleForm,
    cumulative: bool,
    unknown: Unknown,
    filters: Filters,
}

#[derive(Debug, Clone)]
enum SampleForm {
    ResourceApi { extras: bool },
    PodBatch { cluster: Arc<ClusterContext>, annotations: Vec<Box<str>> },
}

#[derive(Debug, Clone)]
enum Unknown {
    Uid { namespace: String },
    Wait,
    Skip,
}

impl Encoder {
    /// # Errors
    /// Its label selector is none.
    pub fn of(endpoint: &EndpointSettings, settings: &Settings) -> Result<Self, EndpointError> {
        let filters = filters(endpoint)?;
        let form = match endpoint.dialect {
            config::Dialect::PodLifecycle => return Ok(Self::Lifecycle(filters)),
            config::Dialect::ResourceApi => {
                SampleForm::ResourceApi { extras: endpoint.scope.extras }
            }
            config::Dialect::PodBatch => SampleForm::PodBatch {
                cluster: Arc::new(cluster(&settings.cluster)),
                annotations: boxed(&endpoint.scope.annotations),
            },
        };
        let unknown = match endpoint.unknown_pods {
            config::UnknownPods::Uid => {
                Unknown::Uid { namespace: endpoint.unknown_namespace.clone() }
            }
            config::UnknownPods::Wait => Unknown::Wait,
            config::UnknownPods::Skip => Unknown::Skip,
        };
        let cumulative = endpoint.counters == config::Counters::Cumulative;
        Ok(Self::Samples(SampleEncoder { form, cumulative, unknown, filters }))
    }

    /// The renderer for the embedded receiver: all pods, with extra fields. Without a source of names
    /// an unnamed pod gets the namespace `unknown`; with one it waits for its name.
    #[must_use]
    pub fn all(settings: &Settings) -> Self {
        let unknown = if settings.directory.knows_pods() {
            Unknown::Wait
        } else {
            Unknown::Uid { namespace: "unknown".to_owned() }
        };
        Self::Samples(SampleEncoder {
            form: SampleForm::ResourceApi { extras: true },
            cumulative: false,
            unknown,
            filters: Filters::default(),
        })
    }
}

impl SampleEncoder {
    /// The posts of one sample: paths and bodies.
    #[must_use]
    pub fn posts(
        &self,
        view: &View<'_>,
        subjects: &Subjects<'_>,
        node_name: &str,
    ) -> Vec<(String, Bytes)> {
        let unknown = match &self.unknown {
            Unknown::Uid { namespace } => UnknownPods::Uid { namespace },
            Unknown::Wait => UnknownPods::Wait,
            Unknown::Skip => UnknownPods::Skip,
        };
        let (cumulative, filters) = (self.cumulative, &self.filters);
        let messages: Vec<Message> = match &self.form {
            SampleForm::ResourceApi { extras } => {
                let extras = *extras;
                let form = posts::Form { node_name, cumulative, unknown, filters, extras };
                posts::of_subjects(view, subjects, &form)
            }
            SampleForm::PodBatch { cluster, annotations } => {
                let form = pod_batch::Form {
                    node_name,
                    cluster,
                    cumulative,
                    unknown,
                    filters,
                    annotations,
                    resources_max: pod_batch::RESOURCES_MAX,
                };
                let node = pod_batch::nodes(view, subjects, &form);
                let pods = pod_batch::pods(view, subjects, &form);
                std::iter::once(node).chain(pods).collect()
            }
        };
        messages.into_iter().map(|message| (message.path, message.body)).collect()
    }
}

/// Sets the delivery settings that follow from the dialect.
pub fn shape(endpoint: &EndpointSettings, settings: &mut delivery::Settings) {
    let is_resource_api = endpoint.dialect == config::Dialect::ResourceApi;
    let cumulative = endpoint.counters == config::Counters::Cumulative;
    // A server that keeps the latest must not be told of a pod's birth behind its death, and one
    // that subtracts running totals must not see them go back.
    settings.in_order = match endpoint.dialect {
        config::Dialect::PodLifecycle => true,
        config::Dialect::ResourceApi => cumulative,
        config::Dialect::PodBatch => false,
    };
    settings.split =
        (endpoint.dialect == config::Dialect::PodBatch).then_some(Split(pod_batch::split));
    settings.bounds_500 = is_resource_api;
    let late = match endpoint.waiting.stale {
        config::StalePolicy::Add => Some(Then::Add(Merge(resource_api::merge))),
        config::StalePolicy::Drop => Some(Then::Drop),
        config::StalePolicy::Send => None,
    };
    let late = late.map(|then| Late { after: endpoint.waiting.stale_after, then });
    settings.late = late.filter(|_| is_resource_api);
}

fn filters(endpoint: &EndpointSettings) -> Result<Filters, EndpointError> {
    let scope = &endpoint.scope;
    let selector = Selector::parse(&scope.pod_selector).map_err(|error| EndpointError {
        name: endpoint.name.clone(),
        reason: format!("pod_selector = \"{}\": {error}", scope.pod_selector),
    })?;
    Ok(Filters {
        include: boxed(&scope.namespaces),
        exclude: boxed(&scope.namespaces_except),
        selector,
    })
}

fn cluster(settings: &ClusterSettings) -> ClusterContext {
    let boxed = |text: &Option<String>| text.as_deref().map(Into::into);
    let labels: Labels = settings
        .labels
        .iter()
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect();
    ClusterContext {
        cluster_id: settings.id.as_str().into(),
        name: settings.name.as_str().into(),
        labels,
        provider: boxed(&settings.provider),
        region: boxed(&settings.region),
        zone: boxed(&settings.zone),
    }
}

fn boxed(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}
