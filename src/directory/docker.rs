//! Names of containers outside Kubernetes: Docker's API, which Podman speaks too, over its socket.
//!
//! `GET /containers/json` lists the containers that run. Those of the kubelet (cri-dockerd) are left
//! out: they are pods, and known as such elsewhere.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::catalog::EntityName;
use super::pace::{self, Pace};
use super::{PODS_MAX, Publisher, SourceKind, bounded, unix_socket};
use crate::identity::ContainerId;
use crate::quantity::BootTime;

/// The label that the kubelet gives each container of a pod.
const POD_UID_LABEL: &str = "io.kubernetes.pod.uid";

/// Whose socket it is.
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

/// How the socket is asked. [`EngineOptions::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    pub engine: Engine,
    pub socket: PathBuf,
    /// From one look at the list to the next (10 s).
    pub interval: Duration,
    /// How long one answer may take (5 s).
    pub request_timeout: Duration,
    /// The largest answer, in bytes (8 MiB).
    pub answer_bytes_max: usize,
    /// Where the random parts of the waits begin.
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

/// Tells the publisher which containers there are, for ever.
pub async fn run(options: EngineOptions, publisher: Publisher) {
    let mut pace = Pace::new(options.engine.kind(), options.interval, options.seed);
    loop {
        let asked_at = (options.clock)();
        let outcome = ask(&options).await.map(|containers| {
            publisher.replace_containers(containers, asked_at);
        });
        sleep(pace.after(outcome, &publisher, (options.clock)())).await;
    }
}

/// One look, for a person.
///
/// # Errors
/// One line: what keeps it from answering.
pub async fn probe(options: &EngineOptions) -> Result<String, String> {
    let containers = ask(options).await.map_err(pace::shown)?;
    Ok(format!("{}: {} containers run", options.socket.display(), containers.len()))
}

async fn ask(options: &EngineOptions) -> Result<Vec<(ContainerId, EntityName)>, String> {
    let path = options.socket.display();
    let body = match timeout(options.request_timeout, get(options)).await {
        Ok(body) => body?,
        Err(_) => {
            return Err(format!("{path}: {}", unix_socket::no_answer(options.request_timeout)));
        }
    };
    containers_of_list(&body, options.engine).map_err(|error| format!("{path}: {error}"))
}

/// Each look has a connection of its own: it costs the server little, and none is ever stale.
async fn get(options: &EngineOptions) -> Result<Bytes, String> {
    let stream = unix_socket::connect(&options.socket, options.request_timeout)
        .await?
        .ok_or_else(|| unix_socket::absent(&options.socket))?;
    let at = |text: String| format!("{}: {text}", options.socket.display());
    let no_http = |error: hyper::Error| at(format!("no HTTP server answers: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    let request = Request::get("/containers/json")
        .header(HOST, "localhost")
        .header(USER_AGENT, concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| at(error.to_string()))?;
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(no_http)?;
        if answer.status() != StatusCode::OK {
            return Err(at(format!("answers {} to GET /containers/json", answer.status())));
        }
        match Limited::new(answer.into_body(), options.answer_bytes_max).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(at(format!("the answer is larger than {} bytes", options.answer_bytes_max)))
            }
            Err(error) => Err(at(format!("the answer broke off: {error}"))),
        }
    };
    // What ails the connection, the answer tells as well.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineContainer {
    id: String,
    /// With a slash in front; the names of links have two.
    names: Option<Vec<String>>,
    labels: Option<HashMap<String, String>>,
}

/// The containers of an engine's list (`GET /containers/json`) with their names, but for those of
/// Kubernetes' pods; no more than a source may know.
///
/// # Errors
/// One line without anything of the answer: it is no such list.
pub fn containers_of_list(
    body: &[u8],
    engine: Engine,
) -> Result<Vec<(ContainerId, EntityName)>, String> {
    // serde_json's own words quote the answer, and labels can hold secrets.
    let listed: Vec<EngineContainer> = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("the answer is no list of containers (line {line}, column {column})")
    })?;
    Ok(listed.into_iter().filter_map(|one| named(one, engine)).take(PODS_MAX).collect())
}

fn named(listed: EngineContainer, engine: Engine) -> Option<(ContainerId, EntityName)> {
    let id = ContainerId::parse(listed.id.as_bytes())?;
    let labels = listed.labels.unwrap_or_default();
    if labels.contains_key(POD_UID_LABEL) {
        return None;
    }
    let names = listed.names.unwrap_or_default();
    let own = names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    let own = own.filter(|name| !name.contains('/')).find_map(bounded::name);
    // Both engines call a container by the first 12 digits where nothing else is at hand.
    let name = own.or_else(|| listed.id.get(..12))?;
    let named = EntityName {
        namespace: engine.namespace().into(),
        name: name.into(),
        labels: bounded::labels(labels),
    };
    Some((id, named))
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
