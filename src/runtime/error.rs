//! Errors that keep the agent from running.

use std::net::SocketAddr;

use thiserror::Error;

use crate::endpoint::error::EndpointError;

/// A reason why the agent cannot run.
#[derive(Debug, Error)]
pub enum AgentError {
    #[error("{path} cannot be opened: {reason}; the agent needs the host's procfs")]
    NoProcfs { path: String, reason: &'static str },
    #[error(
        "the receiver cannot listen on {address}: {source}; --listen ADDRESS names another place"
    )]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the status side cannot listen on {address}: {source}; status.listen names the place")]
    ListenStatus { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("{what}: {source}")]
    System { what: &'static str, source: std::io::Error },
}
