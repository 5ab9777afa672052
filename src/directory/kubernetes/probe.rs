//! What `check` asks: each kind of request that the source makes, once.

use std::time::Duration;

use super::access::Connector;
use super::api::ApiClient;
use super::error::{ApiError, ApiErrorKind, ApiRequest};
use super::watch::PodWatch;
use super::{JSON, KubernetesOptions, METADATA_ONLY, no_such_node};
use crate::directory::objects;

/// For each of the requests.
const DEADLINE: Duration = Duration::from_secs(10);

/// A name that nothing has: an answer of 404 says that one may ask.
const NOBODY: &str = "nodetally-asks-whether-it-may";

/// Asks the API server all that the source will ask it: what was asked, and what came of it, in a
/// line each. Where the server cannot be reached there is one line only.
pub async fn probe(options: KubernetesOptions) -> Vec<(&'static str, Result<String, String>)> {
    let made = tokio::time::timeout(DEADLINE, Connector::default().connect(&options.access)).await;
    let api = match made {
        Ok(Ok(client)) => ApiClient::new(client, &options),
        Ok(Err(failure)) => return vec![("connection", Err(failure.text))],
        Err(_) => {
            let text = format!("no credentials from {} in time", options.access.credentials());
            return vec![("connection", Err(text))];
        }
    };
    let mut told = Vec::new();
    let version = within(ApiRequest::Version, &api, async {
        let body = api.get(ApiRequest::Version, "/version", JSON).await?;
        let version = objects::version(&body);
        version.map(String::from).map_err(|error| ApiError::unreadable(ApiRequest::Version, error))
    });
    match version.await {
        Err(failure) if failure.kind == ApiErrorKind::Unreachable => {
            return vec![("connection", Err(failure.text))];
        }
        version => told.push(("version", version.map_err(|failure| failure.text))),
    }
    let listed = within(ApiRequest::ListPods, &api, list(&api, &options)).await;
    let from = listed.as_ref().ok().map(|(_, resource_version)| resource_version.clone());
    told.push(("list pods", listed.map(|(said, _)| said).map_err(|failure| failure.text)));
    let watched = within(ApiRequest::WatchPods, &api, watch(&api, &options, from.as_deref())).await;
    told.push(("watch pods", watched.map_err(|failure| failure.text)));
    let node = within(ApiRequest::Node, &api, async {
        let body = api.get(ApiRequest::Node, &options.node_path(), JSON).await?;
        let node = objects::node(&body, &options.limits);
        let node = node.map_err(|error| ApiError::unreadable(ApiRequest::Node, error))?;
        Ok(format!("{}, kubelet {}", node.name, node.info.kubelet_version))
    });
    told.push((
        "get node",
        node.await.map_err(|failure| match failure.kind {
            ApiErrorKind::NotFound => no_such_node(&options.node_name),
            _ => failure.text,
        }),
    ));
    for (name, asked, path) in [
        (
            "get replicasets",
            ApiRequest::ReplicaSet,
            "/apis/apps/v1/namespaces/default/replicasets/",
        ),
        ("get jobs", ApiRequest::Job, "/apis/batch/v1/namespaces/default/jobs/"),
    ] {
        let path = format!("{path}{NOBODY}");
        let may = match within(asked, &api, api.get(asked, &path, METADATA_ONLY)).await {
            Ok(_) => Ok("allowed".to_owned()),
            Err(failure) if failure.kind == ApiErrorKind::NotFound => Ok("allowed".to_owned()),
            Err(failure) => Err(failure.text),
        };
        told.push((name, may));
    }
    told
}

async fn within<T>(
    asked: ApiRequest,
    api: &ApiClient,
    request: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(answer) => answer,
        Err(_) => Err(ApiError::late(asked, &api.access, DEADLINE)),
    }
}

/// What came, and the list's resourceVersion.
async fn list(
    api: &ApiClient,
    options: &KubernetesOptions,
) -> Result<(String, Box<str>), ApiError> {
    let one = KubernetesOptions { page_limit: 1, ..options.clone() };
    let body = api.get(ApiRequest::ListPods, &one.page_path(None), JSON).await?;
    let page = objects::pods_of_list(&body, &options.limits);
    let page = page.map_err(|error| ApiError::unreadable(ApiRequest::ListPods, error))?;
    let said = match (page.pods.is_empty(), page.continue_token.is_some()) {
        (true, _) => format!("none on node `{}`", options.node_name),
        (false, true) => format!("more than one on node `{}`", options.node_name),
        (false, false) => format!("one on node `{}`", options.node_name),
    };
    Ok((said, page.resource_version.unwrap_or_default()))
}

async fn watch(
    api: &ApiClient,
    options: &KubernetesOptions,
    from: Option<&str>,
) -> Result<String, ApiError> {
    let path = options.watch_path(from.unwrap_or("0"), 1);
    let body = api.open(ApiRequest::WatchPods, &path, JSON).await?;
    let mut watch = PodWatch::new(body, options.limits, DEADLINE, tokio::time::Instant::now());
    while let Some(event) = watch.next(&api.access).await? {
        if let objects::WatchEvent::Error(status) = event {
            return Err(ApiError::of_event(&status, &api.access));
        }
    }
    Ok("allowed".to_owned())
}
