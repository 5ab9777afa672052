//! Errors of setting up an endpoint.

use thiserror::Error;

/// A setting of an endpoint that cannot be used.
#[derive(Debug, Error)]
#[error("endpoint {name}: {reason}")]
pub struct EndpointError {
    /// The endpoint's name in the settings.
    pub name: String,
    /// The setting, its fault and what is allowed.
    pub reason: String,
}
