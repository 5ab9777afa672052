//! Errors of the polled sources: kubelet, container runtime, engines and the file of names.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use humantime::format_duration;
use hyper::StatusCode;
use rustls::CertificateError;

use super::bounded;
use super::objects::DecodeError;
use crate::certificate_fault;
use crate::descriptors::describe;
use crate::small_file::TokenError;

/// The longest error text that is kept, in characters: parsers' errors repeat what they read.
const TEXT_CHARS_MAX: usize = 400;

/// A failed poll of one source. The text is one line: the place that was asked and the reason.
#[derive(Debug, thiserror::Error)]
#[error("{}", one_line(.place, .reason))]
pub struct PollError {
    /// A socket, file or URL.
    place: String,
    #[source]
    reason: PollReason,
}

fn one_line(place: &str, reason: &PollReason) -> String {
    bounded::line(&format!("{place}: {reason}"), TEXT_CHARS_MAX)
}

impl PollError {
    pub(super) fn new(place: impl Into<String>, reason: impl Into<PollReason>) -> Self {
        Self { place: place.into(), reason: reason.into() }
    }

    pub(super) fn at(path: &Path, reason: impl Into<PollReason>) -> Self {
        Self::new(path.display().to_string(), reason)
    }
}

/// The reason of a [`PollError`], by the kind of source.
#[derive(Debug, thiserror::Error)]
pub enum PollReason {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Kubelet(#[from] KubeletError),
    #[error(transparent)]
    Cri(#[from] CriError),
    #[error(transparent)]
    File(#[from] StaticFileError),
}

/// Errors of a connection to a unix socket of the host.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("there is no such socket")]
    Absent,
    #[error("permission denied; run as root or as a member of the socket's group")]
    PermissionDenied(#[source] io::Error),
    #[error("connection refused; it is no socket, or nobody listens on it")]
    Refused(#[source] io::Error),
    #[error("no answer within {}", format_duration(*.0))]
    NoAnswer(Duration),
    #[error("{}", describe(.0))]
    Io(#[source] io::Error),
}

/// Errors of Docker's and Podman's API.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("no HTTP server answers: {0}")]
    NoHttp(#[source] hyper::Error),
    #[error("answers {0} to GET /containers/json")]
    Refused(StatusCode),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer broke off: {0}")]
    BrokenOff(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is no list of containers: {0}")]
    NoList(#[source] DecodeError),
}

/// Errors of the kubelet's `/pods`.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    #[error("no URL: {0}; it must look like https://host:10250")]
    NoUrl(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the URL must begin with https://, since a token goes there")]
    NoHttps,
    #[error("the CA file {}: cannot be read: {}", path.display(), describe(.source))]
    CaUnreadable { path: PathBuf, source: io::Error },
    #[error("the CA file {}: {reason}", path.display())]
    CaUnusable { path: PathBuf, reason: &'static str },
    #[error("the client cannot be made: {cause}")]
    Client { cause: String, source: reqwest::Error },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("no answer within {}", format_duration(*.0))]
    NoAnswer(Duration),
    #[error("connection refused; no kubelet listens there")]
    ConnectionRefused(#[source] reqwest::Error),
    #[error(
        "its certificate is not signed by the CA in {0}: let the cluster sign it (kubelet \
         `serverTLSBootstrap: true`), give its own CA as `kubelet_ca_file`, or set \
         `kubelet_insecure = true`"
    )]
    UnknownIssuer(String),
    #[error("its certificate is for other names and addresses than the URL's: use one of those")]
    WrongName,
    #[error(
        "its certificate has expired; a kubelet renews it by itself with `rotateCertificates: true`"
    )]
    Expired,
    #[error("its certificate {}", certificate_fault::words(.0))]
    Certificate(CertificateError),
    #[error("{cause}")]
    Request { cause: String, source: reqwest::Error },
    #[error(
        "401: it does not take the token of {}: the token has expired, is another cluster's, or \
         the kubelet asks nobody about tokens (`authentication.webhook`)", .0.display()
    )]
    Unauthorized(PathBuf),
    #[error("403: the role of {user} lacks `{verb}` on {rights}")]
    Forbidden { user: String, verb: String, rights: String },
    #[error("403: the role lacks `get` on nodes/proxy: {0}")]
    ForbiddenUnnamed(String),
    #[error("answers {status} to GET /pods: {text}")]
    Status { status: StatusCode, text: String },
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer is no list of pods: {0}")]
    NoList(#[source] DecodeError),
}

/// Errors of a container runtime's CRI.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// No socket exists; holds the paths that were tried.
    #[error("{0}")]
    Tried(String),
    #[error("what answers there is no gRPC server")]
    NoGrpc,
    #[error("{0} speaks only v1alpha2 of CRI; containerd 1.6 or a newer runtime is needed")]
    TooOld(String),
    #[error(
        "answers gRPC but has no CRI; containerd's is off while `cri` stands in `disabled_plugins` \
         of its config.toml"
    )]
    NoCri,
    #[error("{method}: no answer within {}", format_duration(*.timeout))]
    NoAnswer { method: &'static str, timeout: Duration },
    #[error("{method}: the answer is larger than {bytes_max} bytes")]
    TooLarge { method: &'static str, bytes_max: usize },
    #[error("{0}: the connection ended")]
    ConnectionEnded(&'static str),
    #[error("{method}: {text} ({code:?})")]
    Status { method: &'static str, text: String, code: tonic::Code },
}

/// Errors of the file of names.
#[derive(Debug, thiserror::Error)]
pub enum StaticFileError {
    #[error("cannot be read: {}", describe(.0))]
    Unreadable(#[source] io::Error),
    #[error("cannot be read: not UTF-8")]
    NotUtf8,
    /// The place names the line.
    #[error("{0}")]
    Entry(String),
}
