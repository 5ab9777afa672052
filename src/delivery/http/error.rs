//! Errors of the HTTP client of an endpoint.

use std::error::Error;
use std::path::PathBuf;

use reqwest::header::{HeaderName, InvalidHeaderName, InvalidHeaderValue};

use crate::small_file::{TokenError, TokenFault};

/// A client that cannot be made, or a request without a usable answer. The text is one line without
/// secrets.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("`{name}` is no header name")]
    HeaderName { name: String, source: InvalidHeaderName },
    #[error("the value of header {name} holds a character that no header may")]
    HeaderValue { name: HeaderName, source: InvalidHeaderValue },
    #[error(transparent)]
    TokenFile(#[from] TokenError),
    #[error("the variable {variable} holds no token: {fault}")]
    TokenVariable { variable: String, fault: TokenFault },
    #[error(
        "its URL begins with http://, so that ca_file, client_certificate_file, client_key_file and \
         server_name would do nothing; allowed: with https://"
    )]
    TlsUnused,
    #[error("server_name is no DNS name")]
    ServerName,
    #[error("server_name has no effect through a proxy; allowed: with the URL's host in no_proxy")]
    ServerNameThroughProxy,
    #[error("the {what} file {} {fault}{}", path.display(), detail(source.as_deref()))]
    TlsFile { what: &'static str, path: PathBuf, fault: String, source: Option<TlsCause> },
    /// The value is not repeated, as it may hold a password.
    #[error(
        "the variable {0} names no proxy that can be used; allowed: http://host:port or \
         https://host:port, with user:password@ in front of the host"
    )]
    ProxyVariable(&'static str),
    #[error("{proxy} is no proxy's URL")]
    ProxyUrl { proxy: String, source: reqwest::Error },
    /// `reason` is the innermost cause.
    #[error("{reason}")]
    Client { reason: String, source: reqwest::Error },
    /// No answer, or one of a proxy. There is no source, which could repeat a secret.
    #[error("{reason}")]
    Unanswered {
        reason: String,
        /// The connection was closed without an answer.
        closed: bool,
    },
    #[error("an answer of more than {0} bytes")]
    TooLong(usize),
    /// An answer other than 200, with the beginning of its body.
    #[error("{0}")]
    Status(String),
}

pub(super) type TlsCause = Box<dyn Error + Send + Sync>;

fn detail(source: Option<&(dyn Error + Send + Sync)>) -> String {
    source.map_or_else(String::new, |source| format!(": {source}"))
}
