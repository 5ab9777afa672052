//! Names of containers outside Kubernetes, from Docker's API over its socket. Podman has the same API.
//!
//! `GET /containers/json` lists the running containers. Containers of the kubelet (cri-dockerd) are
//! left out: other sources know them as pods.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::time::timeout;

use super::catalog::EntityName;
use super::error::{EngineError, PollError, PollReason, SocketError};
use super::objects::DecodeError;
use super::poll::Poller;
use super::publisher::Publisher;
use super::source_status::{PODS_MAX, SourceKind};
use super::{bounded, unix_socket};
use crate::identity::ContainerId;
use crate::quantity::{BootTime, counted};

/// The label that the kubelet gives each container of a pod.
const POD_UID_LABEL: &str = "io.kubernetes.pod.uid";

const AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// A container engine with Docker's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Docker,
    Podman,
}

impl Engine {
    const fn kind(self) -> SourceKind {
        match self {
            Self::Docker => SourceKind::Docker,
            Self::Podman => SourceKind::Podman,
        }
    }

    /// The namespace under which its containers are sent.
    #[must_use]
    pub const fn namespace(self) -> &'static str {
        self.kind().as_str()
    }
}

/// Options of an engine as a source. [`EngineOptions::new`] sets the defaults.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    pub engine: Engine,
    pub socket: PathBuf,
    /// Time between two polls (10 s).
    pub interval: Duration,
    /// The time limit of one answer (5 s).
    pub request_timeout: Duration,
    /// The largest answer, in bytes (8 MiB).
    pub answer_bytes_max: usize,
    /// Seed of the random parts of the waits.
    pub seed: u64,
    pub clock: fn() -> BootTime,
}

impl EngineOptions {
    #[must_use]
    pub fn new(engine: Engine, socket: PathBuf, seed: u64, clock: fn() -> BootTime) -> Self {
        Self {
            engine,
            socket,
            interval: Duration::from_secs(10),
            request_timeout: Duration::from_secs(5),
            answer_bytes_max: 8 << 20,
            seed,
            clock,
        }
    }
}

/// Publishes the engine's containers, for ever.
pub async fn run(options: EngineOptions, publisher: Publisher) {
    let mut poller = Poller::new(options.engine.kind(), options.interval, options.seed);
    loop {
        let asked_at = (options.clock)();
        let answer = containers(&options).await;
        let outcome = answer.map(|containers| publisher.replace_containers(containers, asked_at));
        poller.report_and_wait(outcome, &publisher, (options.clock)()).await;
    }
}

/// Asks once and returns the answer as one line for a person.
///
/// # Errors
/// The engine does not answer.
pub async fn probe(options: &EngineOptions) -> Result<String, PollError> {
    let running = counted(containers(options).await?.len(), "container runs", "containers run");
    Ok(format!("{}: {running}", options.socket.display()))
}

async fn containers(options: &EngineOptions) -> Result<Vec<(ContainerId, EntityName)>, PollError> {
    let asking = async {
        let body = timeout(options.request_timeout, get(options))
            .await
            .unwrap_or(Err(SocketError::NoAnswer(options.request_timeout).into()))?;
        Ok(containers_of_list(&body, options.engine).map_err(EngineError::NoList)?)
    };
    asking.await.map_err(|reason: PollReason| PollError::at(&options.socket, reason))
}

/// Each poll has a connection of its own: it costs the server little, and none is ever stale.
async fn get(options: &EngineOptions) -> Result<Bytes, PollReason> {
    let stream = unix_socket::connect(&options.socket, options.request_timeout).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(EngineError::NoHttp)?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = Uri::from_static("/containers/json");
    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(EngineError::NoHttp)?;
        if answer.status() != StatusCode::OK {
            return Err(EngineError::Refused(answer.status()));
        }
        match Limited::new(answer.into_body(), options.answer_bytes_max).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(EngineError::TooLarge(options.answer_bytes_max))
            }
            Err(error) => Err(EngineError::BrokenOff(error)),
        }
    };
    // An error of the connection also ends the answer, so only the answer's is reported.
    let (answer, _) = tokio::join!(answer, connection);
    Ok(answer?)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineContainer {
    id: String,
    /// Names start with a slash; the names of links have two slashes.
    names: Option<Vec<String>>,
    labels: Option<HashMap<String, String>>,
}

/// The containers of an engine's list (`GET /containers/json`) with their names. Containers of pods
/// are left out, and so are those beyond [`PODS_MAX`].
///
/// # Errors
/// The answer is no such list. The error holds nothing of the answer, since labels can be secrets.
pub fn containers_of_list(
    body: &[u8],
    engine: Engine,
) -> Result<Vec<(ContainerId, EntityName)>, DecodeError> {
    let listed: Vec<EngineContainer> = serde_json::from_slice(body)?;
    Ok(listed.into_iter().filter_map(|one| named(one, engine)).take(PODS_MAX).collect())
}

fn named(container: EngineContainer, engine: Engine) -> Option<(ContainerId, EntityName)> {
    let id = ContainerId::parse(container.id.as_bytes())?;
    let labels = container.labels.unwrap_or_default();
    if labels.contains_key(POD_UID_LABEL) {
        return None;
    }
    let names = container.names.unwrap_or_default();
    let own = names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    let own = own.filter(|name| !name.contains('/')).find_map(bounded::name);
    // Both engines show the first 12 digits where a container has no name.
    let name = own.or_else(|| container.id.get(..12))?;
    let entity = EntityName {
        namespace: engine.namespace().into(),
        name: name.into(),
        labels: bounded::labels(labels),
    };
    Some((id, entity))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_links_name_is_not_the_containers_and_one_without_name_goes_by_its_id() {
        let id = "0123456789abcdef".repeat(4);
        let name = |names: &str| {
            let body = format!(r#"[{{"Id": "{id}", "Names": {names}, "Labels": null}}]"#);
            containers_of_list(body.as_bytes(), Engine::Docker).unwrap().remove(0).1.name
        };
        assert_eq!(&*name(r#"["/web/db", "/db"]"#), "db");
        assert_eq!(&*name(r#"["db"]"#), "db");
        assert_eq!(&*name("null"), "0123456789ab");
        assert_eq!(&*name(r#"["/a\u001b[2J"]"#), "0123456789ab");
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = containers_of_list(&body, Engine::Podman);
        }

        #[test]
        fn no_list_of_odd_containers_panics(id in ".{0,70}", names in ".{0,20}", key in ".{0,9}") {
            let body = serde_json::json!(
                [{"Id": id, "Names": [names], "Labels": {key: "x"}, "Ports": [1]}]
            );
            prop_assert!(containers_of_list(body.to_string().as_bytes(), Engine::Docker).is_ok());
        }
    }
}
