//! Calls to a runtime over its socket, and what their failures mean in one line.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::transport::Uri;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::super::bounded;
use super::super::unix_socket::{self, no_answer};
use super::CriOptions;
use super::messages::{
    CriContainer, ListContainersResponse, ListPodSandboxResponse, ListRequest, PodSandbox,
    VersionRequest, VersionResponse,
};

const VERSION: &str = "/runtime.v1.RuntimeService/Version";
const VERSION_V1ALPHA2: &str = "/runtime.v1alpha2.RuntimeService/Version";
const LIST_POD_SANDBOX: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
const LIST_CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";

/// How much of a runtime's own words is repeated, in characters.
const EXCERPT_CHARS_MAX: usize = 160;

/// One connection to a runtime. It is not mended: after a failure another is made.
pub(super) struct CriRuntime {
    grpc: Grpc<Channel>,
    call_timeout: Duration,
    message_bytes_max: usize,
    /// What it calls itself, such as `containerd 2.1.4`, and where.
    pub name: String,
}

impl CriRuntime {
    /// Connects to the first of the sockets that is there and asks for the version.
    ///
    /// # Errors
    /// One line: no socket, no right to it, nobody behind it, or somebody who speaks no CRI.
    pub(super) async fn connect(options: &CriOptions) -> Result<Self, String> {
        let (path, stream) = connect_first(&options.sockets, options.call_timeout).await?;
        let mut only = Some(TokioIo::new(stream));
        let connector = service_fn(move |_: Uri| {
            let stream = only.take();
            async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
        });
        let at = |text: String| format!("{}: {text}", path.display());
        // gRPC over a unix socket has no host to name; this is what other clients say.
        let endpoint = Endpoint::from_static("http://localhost")
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| at(error.to_string()))?;
        let channel = timeout(options.call_timeout, endpoint.connect_with_connector(connector))
            .await
            .map_err(|_| at(no_answer(options.call_timeout)))?
            .map_err(|_| at(NO_GRPC.to_owned()))?;
        let mut runtime = Self {
            grpc: Grpc::new(channel).max_decoding_message_size(options.message_bytes_max),
            call_timeout: options.call_timeout,
            message_bytes_max: options.message_bytes_max,
            name: path.display().to_string(),
        };
        let version = runtime.version().await.map_err(at)?;
        runtime.name = format!("{version} at {}", path.display());
        Ok(runtime)
    }

    async fn version(&mut self) -> Result<String, String> {
        let request = VersionRequest { version: "0.1.0".to_owned() };
        let error = match self.call(VERSION, request.clone()).await {
            Ok(version) => return Ok(called(&version)),
            Err(error) => error,
        };
        if !matches!(&error, CallError::Status(status) if status.code() == Code::Unimplemented) {
            return Err(self.explain(VERSION, &error));
        }
        match self.call(VERSION_V1ALPHA2, request).await {
            Ok(version) => Err(format!(
                "{} speaks only v1alpha2 of CRI; containerd 1.6 or a newer runtime is needed",
                called(&version)
            )),
            Err(_) => Err("answers gRPC but has no CRI; containerd's is off while `cri` stands \
                           in `disabled_plugins` of its config.toml"
                .to_owned()),
        }
    }

    /// # Errors
    /// One line without the socket's path.
    pub(super) async fn sandboxes(&mut self) -> Result<Vec<PodSandbox>, String> {
        let answer: Result<ListPodSandboxResponse, _> =
            self.call(LIST_POD_SANDBOX, ListRequest {}).await;
        answer.map(|list| list.items).map_err(|error| self.explain(LIST_POD_SANDBOX, &error))
    }

    /// # Errors
    /// One line without the socket's path.
    pub(super) async fn containers(&mut self) -> Result<Vec<CriContainer>, String> {
        let answer: Result<ListContainersResponse, _> =
            self.call(LIST_CONTAINERS, ListRequest {}).await;
        answer.map(|list| list.containers).map_err(|error| self.explain(LIST_CONTAINERS, &error))
    }

    async fn call<Q, A>(&mut self, method: &'static str, request: Q) -> Result<A, CallError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let grpc = &mut self.grpc;
        let answer = async move {
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let path = PathAndQuery::from_static(method);
            grpc.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await
        };
        match timeout(self.call_timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(CallError::Status(Box::new(status))),
            Err(_) => Err(CallError::TooSlow),
        }
    }

    fn explain(&self, method: &str, failed: &CallError) -> String {
        let method = method.rsplit('/').next().unwrap_or(method);
        let status = match failed {
            CallError::TooSlow => return format!("{method}: {}", no_answer(self.call_timeout)),
            CallError::Status(status) => status,
        };
        // tonic's own word for a message beyond the limit; no runtime uses it of a list.
        if status.code() == Code::OutOfRange {
            return format!("{method}: the answer is larger than {} bytes", self.message_bytes_max);
        }
        // A source means that it never got to an answer: an HTTP/1 server's words are no HTTP/2
        // frames, and a connection ends when its runtime does.
        match (status.source(), method) {
            (Some(_), "Version") => return NO_GRPC.to_owned(),
            (Some(_), _) => return format!("{method}: the connection ended"),
            (None, _) => {}
        }
        format!(
            "{method}: {} ({:?})",
            bounded::line(status.message(), EXCERPT_CHARS_MAX),
            status.code()
        )
    }
}

/// Why a call gave nothing.
enum CallError {
    TooSlow,
    Status(Box<Status>),
}

const NO_GRPC: &str = "what answers there is no gRPC server";

async fn connect_first(
    sockets: &[PathBuf],
    within: Duration,
) -> Result<(&Path, UnixStream), String> {
    for path in sockets {
        if let Some(stream) = unix_socket::connect(path, within).await? {
            return Ok((path, stream));
        }
    }
    match sockets {
        [only] => Err(unix_socket::absent(only)),
        _ => {
            let tried: Vec<String> =
                sockets.iter().map(|path| path.display().to_string()).collect();
            Err(format!("no container runtime's socket is there: {}", tried.join(", ")))
        }
    }
}

fn called(version: &VersionResponse) -> String {
    let name = bounded::name(&version.runtime_name).unwrap_or("a runtime without a name");
    match bounded::name(&version.runtime_version) {
        Some(version) => format!("{name} {version}"),
        None => name.to_owned(),
    }
}
