//! Errors that keep the agent from running.

use std::net::SocketAddr;

use thiserror::Error;

use crate::checkpoint::StateError;
use crate::config::ConfigError;
use crate::descriptors::describe;
use crate::directory::error::PollError;
use crate::directory::kubernetes::ApiError;
use crate::endpoint::error::EndpointError;

/// A reason why the agent cannot run.
#[derive(Debug, Error)]
pub enum AgentError {
    #[error("{path} cannot be opened: {reason}; the agent needs the host's procfs")]
    NoProcfs { path: String, reason: &'static str },
    #[error(
        "the receiver cannot listen on {address}: {}; --listen ADDRESS names another place",
        describe(.source)
    )]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(
        "{section}.listen: cannot listen on {address}: {}; choose another address or port",
        describe(.source)
    )]
    ListenStatus { section: &'static str, address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("{what}: {}", describe(.source))]
    System { what: &'static str, source: std::io::Error },
}

/// A reason why a source of names does not answer a probe.
#[derive(Debug, Error)]
#[error(transparent)]
pub enum ProbeError {
    Api(#[from] ApiError),
    Poll(#[from] PollError),
}

/// A reason why the status socket cannot be bound.
#[derive(Debug, Error)]
pub enum SocketBindError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the path exists and is no socket")]
    NoSocket,
    #[error("another agent answers there")]
    OtherAgent,
}
