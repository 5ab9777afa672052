//! The requests of `check`: each kind of request that the source makes, once.

use std::time::Duration;

use super::api::{ApiClient, JSON, METADATA_ONLY};
use super::connect::Connector;
use super::error::{ApiError, ApiErrorKind, ApiRequest};
use super::options::KubernetesOptions;
use super::watch::PodWatch;
use crate::clock;
use crate::directory::objects;

/// The time limit of each request.
const DEADLINE: Duration = Duration::from_secs(10);

/// A name that no object has: an answer of 404 shows that the request is allowed.
const ABSENT_NAME: &str = "nodetally-asks-whether-it-may";

/// Makes each request of the source once. Returns the name of each request with its answer as one
/// line. There is a single entry if the server cannot be reached.
pub async fn probe(options: KubernetesOptions) -> Vec<(&'static str, Result<String, ApiError>)> {
    let made = tokio::time::timeout(DEADLINE, Connector::default().connect(&options.access)).await;
    let api = match made {
        Ok(Ok(connection)) => ApiClient::new(connection, &options),
        Ok(Err(failure)) => return vec![("connection", Err(failure))],
        Err(_) => {
            let text = format!("no credentials from {} in time", options.access.credentials());
            return vec![("connection", Err(ApiError::new(ApiErrorKind::Unreachable, text)))];
        }
    };
    let mut answers = Vec::new();
    let version = within(ApiRequest::Version, &api, async {
        let body = api.get(ApiRequest::Version, "/version", JSON).await?;
        let version = objects::version(&body);
        let version = version.map_err(|error| ApiError::unreadable(ApiRequest::Version, error))?;
        Ok(api.masked(&version))
    });
    match version.await {
        Err(failure) if failure.kind == ApiErrorKind::Unreachable => {
            return vec![("connection", Err(failure))];
        }
        version => answers.push(("version", version)),
    }
    let listed = within(ApiRequest::ListPods, &api, list(&api, &options)).await;
    let from = listed.as_ref().ok().map(|(_, resource_version)| resource_version.clone());
    answers.push(("list pods", listed.map(|(said, _)| said)));
    let watched = within(ApiRequest::WatchPods, &api, watch(&api, &options, from.as_deref())).await;
    answers.push(("watch pods", watched));
    let node = within(ApiRequest::Node, &api, async {
        let body = api.get(ApiRequest::Node, &options.node_path(), JSON).await?;
        let node = objects::node(&body, &options.limits);
        let node = node.map_err(|error| ApiError::unreadable(ApiRequest::Node, error))?;
        Ok(format!("{}, kubelet {}", node.name, node.info.kubelet_version))
    });
    answers.push((
        "get node",
        node.await.map_err(|failure| failure.or_no_such_node(&options.node_name)),
    ));
    for (name, asked, path) in [
        (
            "get replicasets",
            ApiRequest::ReplicaSet,
            "/apis/apps/v1/namespaces/default/replicasets/",
        ),
        ("get jobs", ApiRequest::Job, "/apis/batch/v1/namespaces/default/jobs/"),
    ] {
        let path = format!("{path}{ABSENT_NAME}");
        let may = match within(asked, &api, api.get(asked, &path, METADATA_ONLY)).await {
            Ok(_) => Ok("allowed".to_owned()),
            Err(failure) if failure.kind == ApiErrorKind::NotFound => Ok("allowed".to_owned()),
            Err(failure) => Err(failure),
        };
        answers.push((name, may));
    }
    answers
}

async fn within<T>(
    asked: ApiRequest,
    api: &ApiClient,
    request: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(answer) => answer,
        Err(_) => Err(ApiError::timeout(asked, &api.access, DEADLINE)),
    }
}

/// The answer as one line, and the list's resourceVersion.
async fn list(
    api: &ApiClient,
    options: &KubernetesOptions,
) -> Result<(String, Box<str>), ApiError> {
    let one = KubernetesOptions { page_limit: 1, ..options.clone() };
    let body = api.get(ApiRequest::ListPods, &one.page_path(None), JSON).await?;
    let page = objects::pods_of_list(&body, &options.limits);
    let page = page.map_err(|error| ApiError::unreadable(ApiRequest::ListPods, error))?;
    let count = if page.pods.is_empty() {
        "none"
    } else if page.continue_token.is_some() {
        "more than one"
    } else {
        "one"
    };
    Ok((
        format!("{count} on node `{}`", options.node_name),
        page.resource_version.unwrap_or_default(),
    ))
}

async fn watch(
    api: &ApiClient,
    options: &KubernetesOptions,
    from: Option<&str>,
) -> Result<String, ApiError> {
    let path = options.watch_path(from.unwrap_or("0"), 1);
    let body = api.open(ApiRequest::WatchPods, &path, JSON).await?;
    let mut watch = PodWatch::new(body, options.limits, DEADLINE, clock::timer_now());
    while let Some(event) = watch.next(&api.access).await? {
        if let objects::WatchEvent::Error(status) = event {
            return Err(api.error_of_event(&status));
        }
    }
    Ok("allowed".to_owned())
}
