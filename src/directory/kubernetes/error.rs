//! Errors of the API server, each as one line for a person.

use std::error::Error;
use std::io;
use std::time::Duration;

use hyper::StatusCode;
use rustls::CertificateError;

use super::access::ApiAccess;
use crate::certificate_fault;
use crate::descriptors;
use crate::directory::bounded;
use crate::directory::objects::{DecodeError, ErrorStatus};

/// The part of a message or of a plain body that an error repeats, in characters.
const EXCERPT_CHARS_MAX: usize = 160;

/// The requests of this source. Each needs one right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ApiRequest {
    ListPods,
    WatchPods,
    Node,
    ReplicaSet,
    Job,
    Version,
    TokenReview,
}

impl ApiRequest {
    /// Verb, resource and API group of the role's rule.
    const fn right(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ListPods => ("list", "pods", ""),
            Self::WatchPods => ("watch", "pods", ""),
            Self::Node => ("get", "nodes", ""),
            Self::ReplicaSet => ("get", "replicasets", "apps"),
            Self::Job => ("get", "jobs", "batch"),
            Self::Version => ("get", "/version", ""),
            Self::TokenReview => ("create", "tokenreviews", "authentication.k8s.io"),
        }
    }

    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::ListPods => "the list of pods",
            Self::WatchPods => "the watch of pods",
            Self::Node => "the Node object",
            Self::ReplicaSet => "a ReplicaSet",
            Self::Job => "a Job",
            Self::Version => "the version",
            Self::TokenReview => "a TokenReview",
        }
    }
}

/// The kinds of errors that are handled differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApiErrorKind {
    /// 401; new credentials may help.
    Unauthorized,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 410, as an answer or as an event; only a new list helps.
    Expired,
    /// There was no answer, or no request could be sent.
    Unreachable,
    /// The connection ended in the middle of an answer.
    Cut,
    /// 429
    Busy,
    Other,
}

/// A failed request to the API server; the text is one line for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ApiError {
    pub(super) kind: ApiErrorKind,
    pub(super) text: String,
    /// The wait that the server asks for.
    pub(super) wait: Option<Duration>,
}

impl ApiError {
    pub(super) fn new(kind: ApiErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), wait: None }
    }

    /// `true` if the same request may be refused for ever: the server has understood it, is not busy,
    /// and other credentials would not help.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self.kind, ApiErrorKind::Forbidden | ApiErrorKind::NotFound | ApiErrorKind::Other)
    }

    /// A clearer text for a Node object that does not exist.
    pub(super) fn or_no_such_node(self, name: &str) -> Self {
        if self.kind != ApiErrorKind::NotFound {
            return self;
        }
        let text =
            format!("the cluster has no node `{name}`: is this the node's name there (NODE_NAME)?");
        Self { text, ..self }
    }

    pub(super) fn unreadable(asked: ApiRequest, error: DecodeError) -> Self {
        let kind = match error {
            DecodeError::Cut { .. } => ApiErrorKind::Cut,
            _ => ApiErrorKind::Other,
        };
        let noun = asked.noun();
        Self::new(kind, format!("the API server's answer cannot be read ({noun}): {error}"))
    }

    pub(super) fn too_long(asked: ApiRequest, bytes_max: usize) -> Self {
        let noun = asked.noun();
        Self::new(
            ApiErrorKind::Other,
            format!("the API server sends more than {bytes_max} bytes ({noun})"),
        )
    }

    pub(super) fn timeout(asked: ApiRequest, access: &ApiAccess, after: Duration) -> Self {
        let (noun, server) = (asked.noun(), access.server_name());
        let text = format!("the API server{server} sends nothing for {after:?} ({noun})");
        Self::new(ApiErrorKind::Unreachable, text)
    }

    /// The error for a status other than 200. The body is a `Status`, a text or a page of a proxy.
    /// Both are without secrets.
    pub(super) fn of_answer(
        asked: ApiRequest,
        code: StatusCode,
        status: Option<&ErrorStatus>,
        body: &str,
        wait: Option<Duration>,
        access: &ApiAccess,
    ) -> Self {
        let wait = wait.or_else(|| asked_by(status?));
        Self { wait, ..Self::of_status(asked, code.as_u16(), status, body, access) }
    }

    /// The error for an `ERROR` event of a watch.
    pub(super) fn of_event(status: &ErrorStatus, access: &ApiAccess) -> Self {
        let code = status.code.unwrap_or(500);
        let wait = asked_by(status);
        Self { wait, ..Self::of_status(ApiRequest::WatchPods, code, Some(status), "", access) }
    }

    fn of_status(
        asked: ApiRequest,
        code: u16,
        status: Option<&ErrorStatus>,
        body: &str,
        access: &ApiAccess,
    ) -> Self {
        let said = status.map_or_else(|| excerpt(body), |status| excerpt(&status.message));
        let expired = status.is_some_and(|status| *status.reason == *"Expired");
        let (kind, text) = match code {
            401 => (
                ApiErrorKind::Unauthorized,
                format!("{} (401 {said})", access.credentials_not_accepted()),
            ),
            403 => (ApiErrorKind::Forbidden, forbidden(asked, &said, access)),
            404 => (
                ApiErrorKind::NotFound,
                format!("the API server has not {} (404 {said})", asked.noun()),
            ),
            410 => (ApiErrorKind::Expired, format!("what was asked for is too old (410 {said})")),
            _ if expired => {
                (ApiErrorKind::Expired, format!("what was asked for is too old ({said})"))
            }
            400 if said.contains("HTTP request to an HTTPS server") => (
                ApiErrorKind::Unreachable,
                format!("the API server{} speaks TLS, not plain HTTP", access.server_name()),
            ),
            429 => {
                (ApiErrorKind::Busy, format!("the API server has too many requests (429 {said})"))
            }
            _ => (
                ApiErrorKind::Other,
                format!("the API server answers {code} to {}: {said}", asked.noun()),
            ),
        };
        Self::new(kind, text)
    }

    /// The error for a request without an answer, by connection or credentials.
    pub(super) fn of_client(error: &kube::Error, access: &ApiAccess) -> Self {
        Self::new(ApiErrorKind::Unreachable, unreachable(error, access))
    }

    /// The error for a body that ends too early.
    pub(super) fn of_body(asked: ApiRequest, error: &kube::Error) -> Self {
        let reason = excerpt(&innermost(error));
        Self::new(
            ApiErrorKind::Cut,
            format!("the API server's answer was cut ({}): {reason}", asked.noun()),
        )
    }
}

fn asked_by(status: &ErrorStatus) -> Option<Duration> {
    status.retry_after_seconds.map(|seconds| Duration::from_secs(seconds.into()))
}

fn forbidden(asked: ApiRequest, said: &str, access: &ApiAccess) -> String {
    let (verb, resource, group) = asked.right();
    let (who, role) = access.who();
    // pods is forbidden: User "system:serviceaccount:ns:name" cannot list resource "pods" in …
    let user = said.split_once("User \"").and_then(|(_, rest)| rest.split_once('"'));
    let user = user.map_or_else(String::new, |(user, _)| format!(" ({user})"));
    let group = if group.is_empty() { String::new() } else { format!(" of API group `{group}`") };
    let of = if asked == ApiRequest::Version { "non-resource URL" } else { "resource" };
    let lacking = format!("{role} lacks verb `{verb}` on {of} `{resource}`{group}");
    format!("{who}{user} may not {verb} {resource}: {lacking}")
}

fn unreachable(error: &kube::Error, access: &ApiAccess) -> String {
    let server = access.server_name();
    let mut found = None;
    each_cause(error, &mut |cause| {
        if found.is_none() {
            found = tls_error(cause, access).or_else(|| socket_error(cause, &server));
        }
    });
    found.unwrap_or_else(|| {
        format!("the API server{server} cannot be reached: {}", excerpt(&innermost(error)))
    })
}

fn tls_error(cause: &(dyn Error + 'static), access: &ApiAccess) -> Option<String> {
    let (server, ca) = (access.server_name(), access.authority());
    Some(match cause.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                format!("the API server's certificate is not signed by the CA in {ca}")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the API server's certificate is not for the name it is called by{server}")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the API server's certificate has expired, or this host's clock is wrong".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the API server's certificate is not valid yet, or this host's clock is wrong"
                    .to_owned()
            }
            other => format!("the API server's certificate {}", certificate_fault::words(other)),
        },
        rustls::Error::InvalidMessage(_) => {
            format!("the API server{server} does not speak TLS: is that a port of plain HTTP?")
        }
        rustls::Error::AlertReceived(alert) => {
            let credentials = access.credentials();
            format!(
                "the API server{server} refuses the client certificate of {credentials} ({alert:?})"
            )
        }
        other => format!("the API server{server} and this host find no way to speak TLS: {other}"),
    })
}

fn socket_error(cause: &(dyn Error + 'static), server: &str) -> Option<String> {
    if cause.to_string().starts_with("dns error") {
        // The look-up does not say that it found no descriptor.
        if let Some(shortage) = descriptors::present_shortage() {
            return Some(shortage.to_owned());
        }
        let why = cause.source().map(ToString::to_string).unwrap_or_default();
        return Some(format!("the API server's name is not known{server}: {}", excerpt(&why)));
    }
    let error = cause.downcast_ref::<io::Error>()?;
    if let Some(shortage) = descriptors::shortage(error) {
        return Some(shortage.to_owned());
    }
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("the API server{server} refuses the connection: nothing listens there")
        }
        io::ErrorKind::TimedOut => format!("the API server{server} does not answer"),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            format!("there is no route to the API server{server}")
        }
        _ => return None,
    })
}

/// Calls `see` with the error and all its causes. The source of an `io::Error` is the source of the
/// error that it wraps, so the wrapped error is taken from it.
fn each_cause(error: &(dyn Error + 'static), see: &mut dyn FnMut(&(dyn Error + 'static))) {
    let mut next = Some(error);
    while let Some(cause) = next {
        see(cause);
        next = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    each_cause(error, &mut |cause| text = cause.to_string());
    text
}

/// One short line.
pub(super) fn excerpt(text: &str) -> String {
    bounded::line(text.trim(), EXCERPT_CHARS_MAX)
}
