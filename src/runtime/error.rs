//! Errors that keep the agent from running.

use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::checkpoint::StateError;
use crate::config::ConfigError;
use crate::descriptors::describe;
use crate::directory::error::PollError;
use crate::directory::kubernetes::ApiError;
use crate::endpoint::error::EndpointError;
use crate::receiver::{FrontProxyError, TokensFileError};
use crate::small_file::TokenError;

/// A reason why the agent cannot run.
#[derive(Debug, Error)]
pub enum AgentError {
    #[error("{path} cannot be opened: {reason}; the agent needs the host's procfs")]
    NoProcfs { path: String, reason: &'static str },
    #[error("{flag} {}: {fault}; {flag} names {what}", path.display())]
    NotThePlace { flag: &'static str, path: PathBuf, fault: &'static str, what: &'static str },
    #[error(
        "the receiver cannot listen on {address}: {}; --listen ADDRESS names another place",
        describe(.source)
    )]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(
        "receiver.listen (--listen) {address}: other hosts reach it, and {missing} would keep strangers \
         out and are not set; set them, or --insecure (receiver.insecure) if the network keeps strangers \
         out"
    )]
    Exposed { address: SocketAddr, missing: &'static str },
    #[error(
        "the receiver's store ({store}) cannot be opened: {reason}; --store FILE names another \
         place, and none keeps an hour in memory"
    )]
    Store { store: String, reason: String },
    #[error(
        "{section}.listen: cannot listen on {address}: {}; choose another address or port",
        describe(.source)
    )]
    ListenStatus { section: &'static str, address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("{what}: {}", describe(.source))]
    System { what: &'static str, source: std::io::Error },
}

impl AgentError {
    /// True if a later start may do, without a change of the configuration.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Listen { .. }
                | Self::Store { .. }
                | Self::ListenStatus { .. }
                | Self::System { .. }
                | Self::State(StateError::InUse { .. })
        )
    }
}

/// A reason why a source of names does not answer a probe.
#[derive(Debug, Error)]
#[error(transparent)]
pub enum ProbeError {
    Api(#[from] ApiError),
    Poll(#[from] PollError),
}

/// A reason why a server cannot be guarded as configured.
#[derive(Debug, Error)]
pub enum AccessError {
    #[error("metrics.bearer_token_file: {0}")]
    Token(#[from] TokenError),
    #[error("receiver.tokens_file: {0}")]
    Tokens(#[from] TokensFileError),
    #[error("receiver.requestheader_client_ca_file: {0}")]
    FrontProxy(#[from] FrontProxyError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A reason why a certificate or its key cannot be used. It holds nothing of the files.
#[derive(Debug, Error)]
pub enum CertificateError {
    #[error("{key}: {} cannot be read: {source}", path.display())]
    Unreadable { key: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{key}: {} {fault}{}", path.display(), source.as_ref().map_or_else(String::new, |it| format!(": {it}")))]
    Unusable {
        key: &'static str,
        path: PathBuf,
        fault: &'static str,
        source: Option<rustls::Error>,
    },
}

/// A reason why a unix socket cannot be bound.
#[derive(Debug, Error)]
pub enum SocketBindError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the path exists and is no socket")]
    NoSocket,
    #[error("another agent answers there")]
    OtherAgent,
}
