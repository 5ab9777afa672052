//! Errors of setting up an endpoint.

use thiserror::Error;

use crate::delivery::{ClientError, HttpError, UrlError};
use crate::payload::selector::SelectorError;

/// A setting of an endpoint that cannot be used. The text names the endpoint, the setting, its fault
/// and the allowed values.
#[derive(Debug, Error)]
pub enum EndpointError {
    #[error("endpoint {name}: {source}")]
    Url { name: String, source: UrlError },
    #[error("endpoint {name}: {source}")]
    Trust { name: String, source: HttpError },
    #[error("endpoint {name}: the variable {variable}, which is to hold the token, is not set")]
    TokenVariable { name: String, variable: String },
    #[error("endpoint {name}: pod_selector = \"{selector}\": {source}")]
    PodSelector { name: String, selector: String, source: SelectorError },
    #[error(transparent)]
    Client(#[from] ClientError),
}
