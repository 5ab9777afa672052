//! Calls to a container runtime over its socket.

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

use super::super::error::{CriError, PollError, SocketError};
use super::super::{bounded, unix_socket};
use super::messages::{
    CriContainer, ListContainersResponse, ListPodSandboxResponse, ListRequest, PodSandbox,
    VersionRequest, VersionResponse,
};
use super::options::CriOptions;

const VERSION: &str = "/runtime.v1.RuntimeService/Version";
const VERSION_V1ALPHA2: &str = "/runtime.v1alpha2.RuntimeService/Version";
const LIST_POD_SANDBOX: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
const LIST_CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";

/// The part of a runtime's own words that an error repeats, in characters.
const EXCERPT_CHARS_MAX: usize = 160;

/// One connection to a runtime. It is replaced after a failure and not repaired.
pub(super) struct CriRuntime {
    grpc: Grpc<Channel>,
    call_timeout: Duration,
    message_bytes_max: usize,
    /// The runtime's own name and its socket, such as `containerd 2.1.4 at /run/…`.
    pub name: String,
}

impl CriRuntime {
    /// Connects to the first socket that exists and asks for the version.
    ///
    /// # Errors
    /// There is no socket, no right to it, nothing that listens, or nothing that speaks CRI.
    pub(super) async fn connect(options: &CriOptions) -> Result<Self, PollError> {
        let (path, stream) = connect_first(&options.sockets, options.call_timeout).await?;
        let mut only = Some(TokioIo::new(stream));
        let connector = service_fn(move |_: Uri| {
            let stream = only.take();
            async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
        });
        // gRPC over a unix socket has no host to name; other clients send this.
        let endpoint = Endpoint::from_static("http://localhost");
        let connecting = timeout(options.call_timeout, endpoint.connect_with_connector(connector));
        let channel = connecting
            .await
            .map_err(|_| PollError::at(path, SocketError::NoAnswer(options.call_timeout)))?
            .map_err(|_| PollError::at(path, CriError::NoGrpc))?;
        let mut runtime = Self {
            grpc: Grpc::new(channel).max_decoding_message_size(options.message_bytes_max),
            call_timeout: options.call_timeout,
            message_bytes_max: options.message_bytes_max,
            name: String::new(),
        };
        let version = runtime.version().await.map_err(|reason| PollError::at(path, reason))?;
        runtime.name = format!("{version} at {}", path.display());
        Ok(runtime)
    }

    async fn version(&mut self) -> Result<String, CriError> {
        let request = VersionRequest { version: "0.1.0".to_owned() };
        match self.call(VERSION, request.clone()).await {
            Ok(version) => Ok(runtime_name(&version)),
            Err(CriError::Status { code: Code::Unimplemented, .. }) => {
                match self.call(VERSION_V1ALPHA2, request).await {
                    Ok(version) => Err(CriError::TooOld(runtime_name(&version))),
                    Err(_) => Err(CriError::NoCri),
                }
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn sandboxes(&mut self) -> Result<Vec<PodSandbox>, CriError> {
        let list: ListPodSandboxResponse = self.call(LIST_POD_SANDBOX, ListRequest {}).await?;
        Ok(list.items)
    }

    pub(super) async fn containers(&mut self) -> Result<Vec<CriContainer>, CriError> {
        let list: ListContainersResponse = self.call(LIST_CONTAINERS, ListRequest {}).await?;
        Ok(list.containers)
    }

    async fn call<Q, A>(&mut self, path: &'static str, request: Q) -> Result<A, CriError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let method = path.rsplit('/').next().unwrap_or(path);
        let grpc = &mut self.grpc;
        let answer = async move {
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let path = PathAndQuery::from_static(path);
            grpc.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await
        };
        match timeout(self.call_timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.error_of(method, &status)),
            Err(_) => Err(CriError::NoAnswer { method, timeout: self.call_timeout }),
        }
    }

    fn error_of(&self, method: &'static str, status: &Status) -> CriError {
        // tonic's own code for a message beyond the limit; no runtime uses it of a list.
        if status.code() == Code::OutOfRange {
            return CriError::TooLarge { method, bytes_max: self.message_bytes_max };
        }
        // A source means that there was no answer: an HTTP/1 server sends no HTTP/2 frames, and a
        // connection ends when its runtime does.
        if status.source().is_some() {
            let is_first = method == "Version";
            return if is_first { CriError::NoGrpc } else { CriError::ConnectionEnded(method) };
        }
        let text = bounded::line(status.message(), EXCERPT_CHARS_MAX);
        CriError::Status { method, text, code: status.code() }
    }
}

async fn connect_first(
    sockets: &[PathBuf],
    within: Duration,
) -> Result<(&Path, UnixStream), PollError> {
    for path in sockets {
        match unix_socket::connect(path, within).await {
            Ok(stream) => return Ok((path, stream)),
            Err(SocketError::Absent) => {}
            Err(error) => return Err(PollError::at(path, error)),
        }
    }
    if let [only] = sockets {
        return Err(PollError::at(only, SocketError::Absent));
    }
    let tried: Vec<String> = sockets.iter().map(|path| path.display().to_string()).collect();
    Err(PollError::new("no container runtime's socket is there", CriError::Tried(tried.join(", "))))
}

fn runtime_name(version: &VersionResponse) -> String {
    let name = bounded::name(&version.runtime_name).unwrap_or("a runtime without a name");
    match bounded::name(&version.runtime_version) {
        Some(version) => format!("{name} {version}"),
        None => name.to_owned(),
    }
}
