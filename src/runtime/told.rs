//! What each endpoint is told, as its settings have it.

use std::sync::Arc;

use bytes::Bytes;

use super::agent::AgentError;
use crate::config::{self, ClusterSettings, EndpointSettings, Settings};
use crate::delivery::{self, Late, Merge, Split, Then};
use crate::directory::pod::Labels;
use crate::payload::pod_batch::{self, ClusterContext};
use crate::payload::posts::{self, Message};
use crate::payload::resource_api;
use crate::payload::selector::Selector;
use crate::payload::subjects::{Filters, Subjects, UnknownPods, View};

/// What an endpoint is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// Figures, with every sample.
    Figures(Figures),
    /// Pods that come, change and go.
    Lifecycle(Filters),
}

/// The figures as one endpoint wants them.
#[derive(Debug, Clone)]
pub struct Figures {
    dialect: Dialect,
    cumulative: bool,
    unknown: Unknown,
    filters: Filters,
}

#[derive(Debug, Clone)]
enum Dialect {
    ResourceApi { extras: bool },
    PodBatch { cluster: Arc<ClusterContext>, annotations: Vec<Box<str>> },
}

#[derive(Debug, Clone)]
enum Unknown {
    Uid { namespace: String },
    Wait,
    Skip,
}

impl Told {
    /// # Errors
    /// Its label selector is none.
    pub fn of(endpoint: &EndpointSettings, settings: &Settings) -> Result<Self, AgentError> {
        let filters = filters(endpoint)?;
        let dialect = match endpoint.dialect {
            config::Dialect::PodLifecycle => return Ok(Self::Lifecycle(filters)),
            config::Dialect::ResourceApi => Dialect::ResourceApi { extras: endpoint.scope.extras },
            config::Dialect::PodBatch => Dialect::PodBatch {
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
        Ok(Self::Figures(Figures { dialect, cumulative, unknown, filters }))
    }

    /// All there is, for the receiver that the agent brings along. A pod without a name has the
    /// namespace `unknown` there, unless somebody is asked who knows pods.
    #[must_use]
    pub fn all(settings: &Settings) -> Self {
        let unknown = match settings.directory.knows_pods() {
            true => Unknown::Wait,
            false => Unknown::Uid { namespace: "unknown".to_owned() },
        };
        Self::Figures(Figures {
            dialect: Dialect::ResourceApi { extras: true },
            cumulative: false,
            unknown,
            filters: Filters::default(),
        })
    }
}

impl Figures {
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
        let messages: Vec<Message> = match &self.dialect {
            Dialect::ResourceApi { extras } => {
                let extras = *extras;
                let form = posts::Form { node_name, cumulative, unknown, filters, extras };
                posts::of_subjects(view, subjects, &form)
            }
            Dialect::PodBatch { cluster, annotations } => {
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

/// What of an endpoint's delivery follows from what it is told.
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

fn filters(endpoint: &EndpointSettings) -> Result<Filters, AgentError> {
    let scope = &endpoint.scope;
    let selector = Selector::parse(&scope.pod_selector).map_err(|error| AgentError::Endpoint {
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
